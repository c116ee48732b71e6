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
        (
            "\u91cd\u7f6e\u5bc6\u7801",
            ["\u91cd\u7f6e", "\u7f6e\u5bc6", "\u5bc6\u7801"],
        ),  # four characters, three bigrams
        ("\u91cd \u7f6e", ["\u91cd", "\u7f6e"]),
        ("USB\u63a5\u53e3 3", ["usb", "\u63a5\u53e3", "3"]),
        (
            "\u0939\u093f\u0928\u094d\u0926\u0940",
            ["\u0939\u093f\u0928\u094d\u0926\u0940"],
        ),  # vowel signs are part of a Hindi word
        ("\ud55c\uad6d\uc5b4 \ubb38\uc7a5", ["\ud55c\uad6d\uc5b4", "\ubb38\uc7a5"]),  # Korean has spaces
        ("...", []),
    ],
)
def test_words_of_scripts_with_and_without_spaces(text, expected):
    assert words(text) == expected
