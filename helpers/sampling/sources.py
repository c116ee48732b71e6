"""Where rows come from: files, folders and data sets on the Hub."""

import csv
import glob
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import get_cached_repo_tree
from huggingface_hub.errors import CachedRepoTreeNotFoundError

from helpers.base import Profile, UserError, fetch, read_jsonl, read_lines

REMEDY = "give the path of a file of pairs"


def dataset_files(profile: Profile) -> tuple[str, list[Path]]:
    """Return what the pairs are called, a Hub data set with its commit, and their files, of which others are not had.

    They are a file, those of a split in a folder, or those of a split on the Hub.
    """
    name, split, folder = profile.dataset, profile.dataset_split, profile.dataset_path
    if folder and folder.is_file():
        return folder.name, [folder]
    called = folder.name if folder else name
    if folder:
        files = _split_files(folder, split, name)
    else:
        folder = fetch(name, "README.md", revision=profile.dataset_revision, kind="dataset")
        try:  # kept by `fetch`, so it is there without a connection, too
            listed = get_cached_repo_tree(name, repo_type="dataset", revision=folder.name)
        except CachedRepoTreeNotFoundError as error:  # fetched by another program
            remedy = "run this once with a connection"
            raise UserError(f"{name}: the list of its files is not on this disk; {remedy}.") from error
        with TemporaryDirectory() as skeleton:  # the names of all files with nothing in them, and the card
            for path in (Path(skeleton) / file.path for file in listed):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
            if (folder / "README.md").is_file():
                shutil.copy(folder / "README.md", skeleton)
            files = _split_files(Path(skeleton), split, name)
        fetch(name, *map(glob.escape, files), revision=folder.name, kind="dataset")
        called = f"{name}@{folder.name}"
    return called, [folder / file for file in files]


def _split_files(folder: Path, split: str, name: str) -> list[str]:
    """Return the paths of a split's files, found by `datasets` by card and names; raises UserError: no such split."""
    import datasets

    try:
        with TemporaryDirectory() as cache:  # it locks a file in there
            found = datasets.load_dataset_builder(str(folder), cache_dir=cache).config.data_files or {}
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise UserError(f"{name} is no data set ({str(error).splitlines()[0]}); give files of pairs.") from error
    splits = {str(key): files for key, files in found.items()}
    if not split and len(splits) == 1:
        [split] = splits
    if split not in splits:
        raise UserError(f"DATASET_SPLIT={split}: {name} has the splits {', '.join(splits)}; set it to one of them.")
    return [Path(file).relative_to(folder.resolve()).as_posix() for file in splits[split]]


def read_rows(path: Path) -> Iterator[tuple[int, dict]]:
    """Yield the line or row number and the row of a file of pairs; raises UserError: it is not what its ending says."""
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
    import pyarrow.parquet

    try:
        rows = pyarrow.parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path} is not a readable Parquet file; write it again.") from error
    return enumerate(rows, start=1)
