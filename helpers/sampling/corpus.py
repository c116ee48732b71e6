"""The corpus: each distinct passage once, on disk, and read passage by passage."""

import json
from array import array
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate, chain, islice
from mmap import ACCESS_READ, mmap
from pathlib import Path

from helpers.base import UserError, read_jsonl
from helpers.sampling.sources import read_rows
from helpers.sampling.texts import is_text, normalise, repair


class Corpus(Mapping[str, str]):
    """Docid, `d1`, `d2`, ..., -> text, read from a file of objects with `id` and `text` when it is asked for.

    It keeps eight bytes a passage in memory. `datasets` would make dates of texts that look like them.
    Raises UserError: the file is missing or empty, which `remedy` mends, or a line is not sound.
    """

    def __init__(self, path: Path, remedy: str):
        number = 0
        for number, row in read_jsonl(path, remedy):
            if row.get("id") != f"d{number}" or not isinstance(row.get("text"), str):
                raise UserError(f"{path}, line {number}: not the passage d{number} with its text; {remedy}.")
        if not number:
            raise UserError(f"{path} is empty; {remedy}.")
        with path.open("rb") as file:
            self.places = array("q", accumulate(map(len, islice(file, number)), initial=0))
            self.lines = mmap(file.fileno(), 0, access=ACCESS_READ)

    def __len__(self) -> int:
        return len(self.places) - 1

    def __iter__(self) -> Iterator[str]:
        return (f"d{number}" for number in range(1, len(self) + 1))

    def __getitem__(self, docid: str) -> str:
        number = int(docid[1:]) if isinstance(docid, str) and docid[1:].isdecimal() else 0
        if docid != f"d{number}" or not 1 <= number <= len(self):
            raise KeyError(docid)
        return json.loads(self.lines[self.places[number - 1] : self.places[number]])["text"]


def corpus_rows(pairs: Iterable[dict], distractors: Iterable[str] = ()) -> Iterator[dict]:
    """Yield the rows of `corpus.jsonl`, `id` and `text`: each distinct passage once, in order, distractors last.

    Passages that differ only in white space or case are one; twice in the corpus, it would earn twice.
    """
    seen: set[int] = set()  # hashes, which take less memory than texts
    positives = (text for pair in pairs for text in pair["positive"])
    for text in chain(positives, distractors):
        key = hash(normalise(text))
        if key not in seen:
            seen.add(key)
            yield {"id": f"d{len(seen)}", "text": text}


def read_distractors(path: str, fix_text: bool) -> Iterator[str]:
    """Yield the passages of a file of distractors, if any; raises UserError: not readable, or a row without `text`."""
    for number, row in read_rows(Path(path)) if path else ():
        if not isinstance(row, dict) or not is_text(row.get("text")):
            raise UserError(f"{path}, line {number}: 'text' is missing, empty or not a text; every row needs one.")
        yield repair(row["text"]) if fix_text else row["text"]
