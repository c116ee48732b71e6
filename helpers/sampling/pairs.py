"""Query-passage pairs: where they come from, and what makes a row sound."""

import random
from collections.abc import Iterable

from helpers.base import Profile, UserError
from helpers.sampling.docstrings import docstring_pairs
from helpers.sampling.sources import _read_dataset, read_rows
from helpers.sampling.texts import distinct, normalise, repair


def load_pairs(profile: Profile) -> list[dict]:
    """Load the profile's pairs: rows of `id` (str), `query` (str) and `positive` (list of str).

    At most `profile.max_pairs` of them, drawn with `profile.seed`, in their original order.

    Raises:
        UserError: a file that cannot be read, a row that is not sound, or the Hub out of reach.
    """
    path = profile.dataset_path
    if path is None and profile.dataset == "docstrings":
        pairs = sound_pairs(enumerate(docstring_pairs(), start=1), "docstrings")
    elif path is None or path.is_dir():
        pairs = sound_pairs(_read_dataset(profile), profile.dataset)
    else:
        pairs = sound_pairs(read_rows(path), str(path))
    if profile.fix_text:
        pairs = list(map(repair_pair, pairs))
    if path and path.is_file():
        pairs = merge_queries(pairs)
    if profile.max_pairs and profile.max_pairs < len(pairs):
        chosen = sorted(random.Random(profile.seed).sample(range(len(pairs)), profile.max_pairs))
        pairs = [pairs[i] for i in chosen]
    return pairs


def repair_pair(pair: dict) -> dict:
    """Return a pair with its texts repaired; positives that are then the same become one."""
    return pair | {"query": repair(pair["query"]), "positive": distinct(map(repair, pair["positive"]))}


def sound_pairs(rows: Iterable[tuple[int, dict]], source: str) -> list[dict]:
    """Check rows and bring them into one form: `id`, `query`, `positive`.

    Args:
        rows: number of the line and row; a row has `query` (a text), `positive` or `pos` (a text or a list of
            texts) and perhaps `id`; without one the row is `q<number>`.
        source: the file's name, for the sentence that says what is wrong.

    Raises:
        UserError: a field is missing, empty or of the wrong type, an id stands twice, or there is no row at all.
    """
    pairs, ids = [], set()
    for number, row in rows:
        where = f"{source}, line {number}"
        if not isinstance(row, dict):
            raise UserError(f"{where}: not an object; every row needs 'query' and 'positive'.")
        query = row.get("query")
        positive = row.get("positive", row.get("pos"))
        positive = [positive] if isinstance(positive, str) else positive
        if not isinstance(query, str) or not query.strip():
            raise UserError(f"{where}: 'query' is missing, empty or not a text; every row needs one.")
        if not isinstance(positive, list) or not positive or not all(_is_text(text) for text in positive):
            raise UserError(f"{where}: 'positive' is missing, empty or not a text or a list of texts.")
        identifier = str(row.get("id") or f"q{number}")
        if identifier in ids or identifier.split() != [identifier]:
            raise UserError(f"{where}: id {identifier!r} stands twice or has a space; mend it or leave 'id' out.")
        ids.add(identifier)
        pairs.append({"id": identifier, "query": query.strip(), "positive": distinct(positive)})
    if not pairs:
        raise UserError(f"{source} has no rows; it needs rows of 'query' and 'positive'.")
    return pairs


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def merge_queries(pairs: list[dict]) -> list[dict]:
    """Unite the positives of rows that ask the same query; files often give one positive a row."""
    merged: dict[str, dict] = {}
    for pair in pairs:
        row = merged.setdefault(normalise(pair["query"]), pair | {"positive": []})
        row["positive"] = distinct(row["positive"] + pair["positive"])
    return list(merged.values())
