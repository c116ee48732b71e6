"""When two texts count as one, what their words are, what is wrong with a text, and how to show one."""

import hashlib
from collections.abc import Iterable
from itertools import pairwise
from math import isfinite
from typing import Any, TypeGuard
from unicodedata import normalize

import regex
from ftfy import fix_encoding

EXCERPT = 110  # characters
EMPTY = "is empty"
INVISIBLE = regex.compile(r"[\p{Default_Ignorable_Code_Point}\p{Cc}\p{Cf}\p{Cs}--\s]", regex.V1)
_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}ー\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}&&\w]"
WORD = regex.compile(rf"({_UNSPACED}+)|[\w\p{{No}}--{_UNSPACED}]+", regex.V1)  # group 1: what has no spaces


def normalise(text: str) -> str:
    """Return the form in which two texts count as one, for comparing alone: NFC, no case, nothing invisible.

    White space is single spaces. The Unicode Standard, definition D145: decompose, fold, compose.
    """
    folded = normalize("NFD", INVISIBLE.sub("", text)).casefold()
    return " ".join(normalize("NFC", folded).split())


def text_id(text: str) -> int:
    """Return a number for a text, of 63 bits, the same in every process and for texts that count as one."""
    return int.from_bytes(hashlib.blake2b(normalise(text).encode(), digest_size=8).digest(), "little") >> 1


def words(text: str) -> list[str]:
    """Return the words of a text, without case; where its script puts no space between them, pairs of characters.

    A character that stands alone there is a word, as where a text has been cut into characters.
    """
    found: list[str] = []
    for match in WORD.finditer(normalise(text)):
        run = match[0]
        found += map("".join, pairwise(run)) if match[1] and len(run) > 1 else [run]
    return found


def fault(value: object) -> str:
    """Say why a value is no text; nothing if it is one."""
    if not isinstance(value, str):
        return f"has {excerpt(repr(value), 40)} where a text should be"
    if regex.search(r"\p{Cs}", value):
        return "has half of a surrogate pair, as a cut emoji leaves"
    return "" if normalise(value) else EMPTY


def is_text(value: object) -> TypeGuard[str]:
    """Tell whether a value is a text of which anything can be seen."""
    return not fault(value)


def is_id(text: str) -> bool:
    """Tell whether a text can stand in a TREC file: something, without white space and without what nobody sees."""
    return not fault(text) and text.split() == [text] and not INVISIBLE.search(text)


def distinct(texts: Iterable[str]) -> list[str]:
    """Return the texts that differ after `normalise`, the first spelling of each, in order."""
    first: dict[int, str] = {}
    for text in texts:
        first.setdefault(text_id(text), text)
    return list(first.values())


def are_scores(value: Any, texts: list[str]) -> TypeGuard[list[float]]:
    """Tell whether a value is a list with a number for each text."""
    numbers = isinstance(value, list) and all(type(score) in (int, float) and isfinite(score) for score in value)
    return numbers and len(value) == len(texts)


def is_garbled(text: str) -> bool:
    """Tell whether a text has mojibake: UTF-8 that was read as something else, such as the â€™ of a ’."""
    return not text.isascii() and fix_encoding(text) != text


def excerpt(text: str, length: int = EXCERPT) -> str:
    """Cut a text to `length` characters, with an ellipsis where something is missing."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"
