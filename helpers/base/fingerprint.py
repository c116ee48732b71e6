"""Hexadecimal digits that change when what they were taken from does."""

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path


def fingerprint(*parts: Iterable[str]) -> str:
    """Return sixteen hex digits that change when any text of any part does, or moves to another part."""
    digest = hashlib.sha256()
    for part in parts:
        for text in part:
            data = text.encode(errors="surrogatepass")
            digest.update(len(data).to_bytes(8, "little") + data)
        digest.update(b"\xff" * 8)  # no text is that long
    return digest.hexdigest()[:16]


def file_fingerprint(path: Path) -> str:
    """Return the sha256 of a file's bytes, which a process reads once as long as size and time stay."""
    status = path.stat()
    return _digest(path, status.st_size, status.st_mtime_ns)


@cache
def _digest(path: Path, size: int, modified: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def model_fingerprint(folder: Path) -> str:
    """Return a fingerprint of a model's weights, config and tokenizer, over the bytes of the files that are read."""
    # Others may come into a folder that programs share: weights as .bin, or vocabularies beside a whole tokenizer.
    digest, suffixes = hashlib.sha256(), {path.suffix for path in folder.iterdir()}
    read = {".json", ".safetensors" if ".safetensors" in suffixes else ".bin"}
    read |= set() if (folder / "tokenizer.json").exists() else {".txt", ".model"}
    for path in sorted(folder.iterdir()):
        if path.suffix in read and path.name != "made.json":
            digest.update(path.name.encode(errors="surrogatepass") + bytes.fromhex(file_fingerprint(path)))
    return digest.hexdigest()[:16]
