"""When two texts count as one, and what their words are."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.sampling.texts import is_text, normalise, text_id, words


@given(st.text())
def test_normalise_is_the_same_once_more_and_for_each_canonical_form(text):
    once = normalise(text)
    assert normalise(once) == once
    for form in ("NFC", "NFD"):
        assert normalise(unicodedata.normalize(form, text)) == once
    assert text_id(text) == text_id(once)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("caf\u00e9", "cafe\u0301"),
        ("Stra\u00dfe", "STRASSE"),
        ("zero\u200bwidth", "zerowidth"),
        ("soft\u00adhyphen", "softhyphen"),
        ("a\u00a0b", " a \u2028 b\t"),
        ("\ufeffmark", "mark"),
        ("nul\x00here", "nulhere"),
    ],
)
def test_texts_that_look_alike_count_as_one(one, other):
    assert text_id(one) == text_id(other)


@pytest.mark.parametrize(
    ("one", "other"), [("a b", "ab"), ("\uff21", "A"), ("x\u00b2", "x2"), ("resume", "r\u00e9sum\u00e9")]
)
def test_texts_that_look_otherwise_do_not(one, other):
    assert text_id(one) != text_id(other)


@pytest.mark.parametrize("value", ["", " \n", "\u200b\u200b", "\u3164", "\x00", "half \ud83d", None, 7, True, ["a"]])
def test_what_nobody_can_see_or_write_is_no_text(value):
    assert not is_text(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Reset the v2.0 router", ["reset", "the", "v2", "0", "router"]),
        ("重置密码", ["重置", "置密", "密码"]),  # four characters, three bigrams
        ("重 置", ["重", "置"]),
        ("USB接口 3", ["usb", "接口", "3"]),
        ("हिन्दी", ["हिन्दी"]),  # vowel signs are part of a Hindi word
        ("한국어 문장", ["한국어", "문장"]),  # Korean has spaces
        ("...", []),
    ],
)
def test_words_of_scripts_with_and_without_spaces(text, expected):
    assert words(text) == expected
