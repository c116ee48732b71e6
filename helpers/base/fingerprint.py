"""Hexadecimal digits that change when what they were taken from does."""

import hashlib
from collections.abc import Iterable
from pathlib import Path


def fingerprint(*parts: Iterable[str]) -> str:
    """Return sixteen hex digits that change when any text of any part does, or moves to another part."""
    digest = hashlib.sha256()
    for part in parts:
        for text in part:
            data = text.encode()
            digest.update(len(data).to_bytes(8, "little") + data)
        digest.update(b"\xff" * 8)  # no text is that long
    return digest.hexdigest()[:16]


def file_fingerprint(path: Path) -> str:
    """Return the sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def model_fingerprint(folder: Path) -> str:
    """Return a fingerprint of a model's weights, config and tokenizer, over the bytes of the files in its folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".safetensors", ".bin", ".json", ".txt", ".model") and path.name != "run.json":
            digest.update(path.name.encode() + bytes.fromhex(file_fingerprint(path)))
    return digest.hexdigest()[:16]
