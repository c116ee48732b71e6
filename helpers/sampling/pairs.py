"""Query-passage pairs and distractors: where they come from, and what makes a row sound."""

import random
from collections.abc import Iterable, Iterator
from pathlib import Path

from helpers.base import Profile, UserError
from helpers.sampling.docstrings import docstring_pairs
from helpers.sampling.sources import read_dataset, read_rows
from helpers.sampling.texts import distinct, is_text, normalise, repair


def load_pairs(profile: Profile) -> list[dict]:
    """Load the profile's pairs, `id`, `query` and `positive` (list of str): at most `max_pairs`, drawn, in their order.

    Raises UserError: a file that cannot be read, a row that is not sound, or the Hub out of reach.
    """
    path = profile.dataset_path
    if profile.dataset == "docstrings":
        pairs = sound_pairs(enumerate(docstring_pairs(), start=1), "docstrings")
    else:
        rows = read_dataset(profile) if path is None or path.is_dir() else read_rows(path)
        pairs = sound_pairs(rows, profile.dataset)
    if profile.fix_text:
        for pair in pairs:
            pair.update(query=repair(pair["query"]), positive=distinct(map(repair, pair["positive"])))
    if path and path.is_file():
        pairs = merge_queries(pairs)
    if profile.max_pairs and profile.max_pairs < len(pairs):
        chosen = sorted(random.Random(profile.split_seed).sample(range(len(pairs)), profile.max_pairs))
        pairs = [pairs[i] for i in chosen]
    return pairs


def sound_pairs(rows: Iterable[tuple[int, dict]], source: str) -> list[dict]:
    """Bring numbered rows of `query`, `positive` or `pos` (a text or a list) and perhaps `id` into the form of pairs.

    Raises UserError: a field is missing, empty or of the wrong type, an id stands twice, or there is no row at all.
    """
    pairs, ids = [], set()
    for number, row in rows:
        where = f"{source}, line {number}"
        if not isinstance(row, dict):
            raise UserError(f"{where}: not an object; every row needs 'query' and 'positive'.")
        query, positive = row.get("query"), row.get("positive", row.get("pos"))
        positive = [positive] if isinstance(positive, str) else positive
        if not is_text(query):
            raise UserError(f"{where}: 'query' is missing, empty or not a text; every row needs one.")
        if not isinstance(positive, list) or not positive or not all(map(is_text, positive)):
            raise UserError(f"{where}: 'positive' is missing, empty or not a text or a list of texts.")
        identifier = str(row.get("id") or f"q{number}")
        if identifier in ids or identifier.split() != [identifier]:
            raise UserError(f"{where}: id {identifier!r} stands twice or has a space; mend it or leave 'id' out.")
        ids.add(identifier)
        pairs.append({"id": identifier, "query": query.strip(), "positive": distinct(positive)})
    if not pairs:
        raise UserError(f"{source} has no rows; it needs rows of 'query' and 'positive'.")
    return pairs


def merge_queries(pairs: list[dict]) -> list[dict]:
    """Unite the positives of rows that ask the same query; files often give one positive a row."""
    merged: dict[str, dict] = {}
    for pair in pairs:
        row = merged.setdefault(normalise(pair["query"]), pair | {"positive": []})
        row["positive"] = distinct(row["positive"] + pair["positive"])
    return list(merged.values())


def read_distractors(path: str, fix_text: bool) -> Iterator[str]:
    """Yield the passages of a file of distractors, if any; raises UserError: not readable, or a row without `text`."""
    for number, row in read_rows(Path(path)) if path else ():
        if not isinstance(row, dict) or not is_text(row.get("text")):
            raise UserError(f"{path}, line {number}: 'text' is missing, empty or not a text; every row needs one.")
        yield repair(row["text"]) if fix_text else row["text"]
