"""Query-passage pairs: where they come from, and what makes a row sound."""

import csv
import glob
import json
import random
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from helpers.docstrings import docstring_pairs
from helpers.errors import UserError
from helpers.files import read_jsonl, read_lines
from helpers.hub import fetch
from helpers.profile import Profile

REMEDY = "give the path of a file of pairs"


def normalise(text: str) -> str:
    """Return `text` in the form in which two passages count as the same: single spaces, no case."""
    return " ".join(text.split()).casefold()


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


def repair(text: str) -> str:
    """Undo mojibake: UTF-8 that was read as something else, such as the â€™ of a ’ (by the library ftfy)."""
    import ftfy

    return ftfy.fix_encoding(text)


def is_garbled(text: str) -> bool:
    """Tell whether `repair` would change a text."""
    return not text.isascii() and repair(text) != text


def repair_pair(pair: dict) -> dict:
    """Return a pair with its texts repaired; positives that are then the same become one."""
    return pair | {"query": repair(pair["query"]), "positive": distinct(map(repair, pair["positive"]))}


def _read_dataset(profile: Profile) -> Iterator[tuple[int, dict]]:
    """Yield the rows of a split of a folder, or of a data set on the Hub of which only that split is fetched."""
    split, folder = profile.dataset_split, profile.dataset_path
    if folder is None:
        name, revision = profile.dataset, profile.dataset_revision
        folder = fetch(name, "README.md", revision=revision, kind="dataset")
        with tempfile.TemporaryDirectory() as skeleton:
            for path in _listed(name, folder.name):  # the names of all files with nothing in them, and the card
                (Path(skeleton) / path).parent.mkdir(parents=True, exist_ok=True)
                (Path(skeleton) / path).touch()
            if (folder / "README.md").is_file():
                shutil.copy(folder / "README.md", skeleton)
            files = _split_files(Path(skeleton), split, name)
        fetch(name, *map(glob.escape, files), revision=folder.name, kind="dataset")
    else:
        files = _split_files(folder, split, str(folder))
    rows = (row for file in files for _, row in read_rows(folder / file))
    return enumerate(rows, start=1)


def _listed(name: str, commit: str) -> list[str]:
    from huggingface_hub import get_cached_repo_tree  # kept by `fetch`, so it is there without a connection, too
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    try:
        return [file.path for file in get_cached_repo_tree(name, repo_type="dataset", revision=commit)]
    except CachedRepoTreeNotFoundError as error:  # fetched by another program
        raise UserError(
            f"{name}: the list of its files is not on this disk; run this once with a connection."
        ) from error


def _split_files(folder: Path, split: str, name: str) -> list[str]:
    """Return the paths inside `folder` of a split's files, by the card or by their names, as `datasets` finds them.

    It judges by names alone, so the files may be empty.

    Raises:
        UserError: there is no such split.
    """
    import datasets

    try:
        with tempfile.TemporaryDirectory() as cache:  # it locks a file in there
            splits = datasets.load_dataset_builder(str(folder), cache_dir=cache).config.data_files or {}
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise UserError(f"{name} is no data set ({str(error).splitlines()[0]}); give files of pairs.") from error
    splits = {str(key): files for key, files in splits.items()}
    if not split and len(splits) == 1:
        [split] = splits
    if split not in splits:
        raise UserError(f"DATASET_SPLIT={split}: {name} has the splits {', '.join(splits)}; set it to one of them.")
    return [Path(file).relative_to(folder.resolve()).as_posix() for file in splits[split]]


def read_rows(path: Path) -> Iterator[tuple[int, dict]]:
    """Yield the line (or row) number and the row of a `.jsonl`, `.json`, `.csv` or `.parquet` file.

    Raises:
        UserError: the file is not what its ending says.
    """
    readers = {".jsonl": _read_json, ".json": _read_json, ".csv": _read_csv, ".parquet": _read_parquet}
    if path.suffix.lower() not in readers:
        raise UserError(f"{path}: pairs are read from {', '.join(readers)}; convert it.")
    return readers[path.suffix.lower()](path)


def _read_json(path: Path) -> Iterator[tuple[int, dict]]:
    lines = (line for _, line in read_lines(path, REMEDY))
    if not next(filter(str.strip, lines), "").lstrip().startswith("["):  # one object a line, whatever the ending says
        return read_jsonl(path, REMEDY)
    try:
        rows = json.loads("".join(line for _, line in read_lines(path, REMEDY)))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}: not JSON ({error.msg}); mend the list there.") from error
    return enumerate(rows, start=1)


def _read_csv(path: Path) -> Iterator[tuple[int, dict]]:
    csv.field_size_limit(2**30)  # passages may be long
    reader = csv.DictReader((line for _, line in read_lines(path, REMEDY)), strict=True)
    try:
        for row in reader:
            yield reader.line_num, {key: value for key, value in row.items() if value}
    except csv.Error as error:  # a quote that is never closed would swallow the rest of the file
        raise UserError(f"{path}, after line {reader.line_num}: not CSV ({error}); mend the quotes there.") from error


def _read_parquet(path: Path) -> Iterator[tuple[int, dict]]:
    import pyarrow
    import pyarrow.parquet

    try:
        rows = pyarrow.parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path} is not a readable Parquet file; write it again.") from error
    return enumerate(rows, start=1)


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


def distinct(texts: Iterable[str]) -> list[str]:
    """Return the texts that differ after `normalise`, the first spelling of each, in order."""
    first: dict[str, str] = {}
    for text in texts:
        first.setdefault(normalise(text), text)
    return list(first.values())


def merge_queries(pairs: list[dict]) -> list[dict]:
    """Unite the positives of rows that ask the same query; files often give one positive a row."""
    merged: dict[str, dict] = {}
    for pair in pairs:
        row = merged.setdefault(normalise(pair["query"]), pair | {"positive": []})
        row["positive"] = distinct(row["positive"] + pair["positive"])
    return list(merged.values())
