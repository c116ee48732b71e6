"""When two texts count as one, what is wrong with a text, and how to show one."""

import hashlib
from collections.abc import Iterable
from typing import TypeGuard

EXCERPT = 110  # characters


def normalise(text: str) -> str:
    """Return `text` in the form in which two passages count as the same: single spaces, no case."""
    return " ".join(text.split()).casefold()


def text_id(text: str) -> int:
    """Return a number for a text, of 63 bits, the same in every process and for texts that count as one."""
    digest = hashlib.blake2b(normalise(text).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def is_text(value: object) -> TypeGuard[str]:
    """Tell whether a value is a text, and not white space alone."""
    return isinstance(value, str) and bool(value.strip())


def distinct(texts: Iterable[str]) -> list[str]:
    """Return the texts that differ after `normalise`, the first spelling of each, in order."""
    first: dict[int, str] = {}
    for text in texts:
        first.setdefault(text_id(text), text)
    return list(first.values())


def repair(text: str) -> str:
    """Undo mojibake: UTF-8 that was read as something else, such as the â€™ of a ’ (by the library ftfy)."""
    import ftfy

    return ftfy.fix_encoding(text)


def is_garbled(text: str) -> bool:
    """Tell whether `repair` would change a text."""
    return not text.isascii() and repair(text) != text


def excerpt(text: str, length: int = EXCERPT) -> str:
    """Cut a text to `length` characters, with an ellipsis where something is missing."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"
