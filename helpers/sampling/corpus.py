"""The corpus: each distinct passage once, on disk, and read passage by passage."""

import json
from array import array
from collections.abc import ItemsView, Iterable, Iterator, Mapping, ValuesView
from pathlib import Path

from helpers.base import Profile, UserError, read_jsonl
from helpers.sampling.sources import read_rows
from helpers.sampling.texts import normalise, repair


class Corpus(Mapping[str, str]):
    """Docid -> text, in the order of the file; a text is read when it is asked for.

    Docids are `d1`, `d2`, ... Only the place of each line is kept in memory, eight bytes a passage.
    """

    def __init__(self, path: Path, remedy: str):
        """Find the lines of a file of objects with `id` and `text`.

        Args:
            remedy: how to get the file, for the sentence that says it is not right.

        Raises:
            UserError: the file is missing, or a line is not sound.
        """
        self.path = path
        self.places = array("q")
        for number, row in read_jsonl(path, remedy):
            if row.get("id") != f"d{number}" or not isinstance(row.get("text"), str):
                raise UserError(f"{path}, line {number}: not the passage d{number} with its text; {remedy}.")
        with path.open("rb") as file:
            place = 0
            for line in file:
                if line.strip():
                    self.places.append(place)
                place += len(line)

    def __len__(self) -> int:
        """Return the number of passages."""
        return len(self.places)

    def __iter__(self) -> Iterator[str]:
        """Yield the docids."""
        return (f"d{number}" for number in range(1, len(self) + 1))

    def __contains__(self, docid: object) -> bool:
        """Tell whether there is a passage of that id."""
        number = docid[1:] if isinstance(docid, str) else ""
        return number.isdecimal() and docid == f"d{int(number)}" and 1 <= int(number) <= len(self)

    def __getitem__(self, docid: str) -> str:
        """Read one passage."""
        if docid not in self:
            raise KeyError(docid)
        with self.path.open("rb") as file:
            file.seek(self.places[int(docid[1:]) - 1])
            return json.loads(file.readline())["text"]

    def values(self) -> "Texts":
        """Return a view of the texts."""
        return Texts(self)

    def items(self) -> "Items":
        """Return a view of docids and texts."""
        return Items(self)

    def read(self) -> Iterator[str]:
        """Yield the texts, going through the file once."""
        with self.path.open("rb") as file:
            for _ in range(len(self)):
                yield json.loads(file.readline())["text"]


class Texts(ValuesView):
    """The texts of a corpus; to go through them opens the file once, not once a passage."""

    def __iter__(self) -> Iterator[str]:
        """Yield the texts."""
        return self._mapping.read()


class Items(ItemsView):
    """The passages of a corpus; to go through them opens the file once, not once a passage."""

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Yield docids and texts."""
        return zip(self._mapping, self._mapping.read(), strict=True)


def corpus_rows(pairs: Iterable[dict], distractors: Iterable[str] = ()) -> Iterator[dict]:
    """Yield the rows of `corpus.jsonl`, `id` and `text`: each distinct passage once, in order, distractors last.

    Passages that differ only in white space or case are one; twice in the corpus, it would earn twice. Of what was
    seen a hash is kept, not the text.
    """
    seen: set[int] = set()
    positives = (text for pair in pairs for text in pair["positive"])
    for texts in (positives, distractors):
        for text in texts:
            key = hash(normalise(text))
            if key not in seen:
                seen.add(key)
                yield {"id": f"d{len(seen)}", "text": text}


def read_distractors(profile: Profile) -> Iterator[str]:
    """Yield the passages of the profile's file of distractors, rows with a `text`; none if it names no file.

    Raises:
        UserError: the file cannot be read, or a row has no text.
    """
    if not profile.distractors:
        return
    path = Path(profile.distractors)
    for number, row in read_rows(path):
        text = row.get("text") if isinstance(row, dict) else None
        if not isinstance(text, str) or not text.strip():
            raise UserError(f"{path}, line {number}: 'text' is missing, empty or not a text; every row needs one.")
        yield repair(text) if profile.fix_text else text
