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
    """Docid -> text, in the order of a file of objects with `id` and `text`; a text is read when it is asked for.

    Docids are `d1`, `d2`, ... Only the place of each line is kept in memory, eight bytes a passage. Not by `datasets`,
    whose reader of JSON makes dates of texts that look like them. `remedy` says how to get the file.
    Raises UserError: the file is missing or empty, or a line is not sound.
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

    Passages that differ only in white space or case are one; twice in the corpus, it would earn twice. Of what was
    seen a hash is kept, not the text.
    """
    seen: set[int] = set()
    positives = (text for pair in pairs for text in pair["positive"])
    for text in chain(positives, distractors):
        key = hash(normalise(text))
        if key not in seen:
            seen.add(key)
            yield {"id": f"d{len(seen)}", "text": text}


def read_distractors(path: str, fix_text: bool) -> Iterator[str]:
    """Yield the passages of a file of distractors, rows with a `text`; none if the path is empty.

    With `fix_text` mojibake is repaired. Raises UserError: the file cannot be read, or a row has no text.
    """
    for number, row in read_rows(Path(path)) if path else ():
        if not isinstance(row, dict) or not is_text(row.get("text")):
            raise UserError(f"{path}, line {number}: 'text' is missing, empty or not a text; every row needs one.")
        yield repair(row["text"]) if fix_text else row["text"]
