"""Query-passage pairs and distractors: where they come from, and what makes a row sound."""

import random
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path

from helpers.base import Profile, UserError, code_of, file_fingerprint, make, manifest_of, read_jsonl, write_jsonl
from helpers.sampling.docstrings import docstring_pairs, package_versions
from helpers.sampling.sources import dataset_files, read_rows
from helpers.sampling.texts import distinct, is_text, repair, text_id


def load_pairs(profile: Profile) -> list[dict]:
    """Return the profile's pairs, `id`, `query` and `positive` (list of str): at most `max_pairs`, in their order.

    They are kept in `pairs.jsonl` until the source, or a setting that they depend on, is another.
    Raises UserError: a file that cannot be read, a row that is not sound, or the Hub out of reach.
    """
    path = profile.data_dir / "pairs.jsonl"
    name, files = (package_versions(), []) if profile.dataset == "docstrings" else dataset_files(profile)
    made_from = {
        "source": name,
        "content": [file_fingerprint(file) for file in files],
        "FIX_TEXT": profile.fix_text and version("ftfy"),
        "MAX_PAIRS": [profile.max_pairs, profile.max_pairs and profile.split_seed],
        "code": code_of(__file__),
    }
    make(manifest_of(path), made_from, lambda: write_jsonl(path, read_pairs(files, profile)), [path])
    return [row for _, row in read_jsonl(path, "delete it and run this again")]


def read_pairs(files: list[Path], profile: Profile) -> list[dict]:
    """Read pairs from files, or docstrings without any, in the form that `load_pairs` says; draw `max_pairs` of them.

    Raises UserError: a file that cannot be read, or a row that is not sound.
    """
    rows = (row for file in files for _, row in read_rows(file)) if files else docstring_pairs()
    pairs = sound_pairs(read_rows(files[0]) if len(files) == 1 else enumerate(rows, start=1), profile.dataset)
    if profile.fix_text:
        for pair in pairs:
            pair.update(query=repair(pair["query"]), positive=distinct(map(repair, pair["positive"])))
    if profile.dataset_path and profile.dataset_path.is_file():
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
    merged: dict[int, dict] = {}
    for pair in pairs:
        row = merged.setdefault(text_id(pair["query"]), pair | {"positive": []})
        row["positive"] = distinct(row["positive"] + pair["positive"])
    return list(merged.values())


def read_distractors(path: str, fix_text: bool) -> Iterator[str]:
    """Yield the passages of a file of distractors, if any; raises UserError: not readable, or a row without `text`."""
    for number, row in read_rows(Path(path)) if path else ():
        if not isinstance(row, dict) or not is_text(row.get("text")):
            raise UserError(f"{path}, line {number}: 'text' is missing, empty or not a text; every row needs one.")
        yield repair(row["text"]) if fix_text else row["text"]
