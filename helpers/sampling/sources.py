"""Where rows come from: files, folders and data sets on the Hub; folders in BEIR's form, whose split is their own.

BEIR: Thakur et al. 2021, arXiv:2104.08663. Its files, `corpus.jsonl`, `queries.jsonl` and `qrels/*.tsv`:
https://github.com/beir-cellar/beir/wiki/Load-your-custom-dataset
"""

import ast
import csv
import glob
import io
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from token import STRING
from tokenize import generate_tokens
from typing import Any, TypeGuard

from huggingface_hub import get_cached_repo_tree
from huggingface_hub.errors import CachedRepoTreeNotFoundError

from helpers.base import Profile, Qrels, UserError, fetch, read_jsonl, read_lines
from helpers.sampling.texts import is_id, is_text, text_id

REMEDY = "give the path of a file of pairs"
CORPUS, QUERIES = "corpus.jsonl", "queries.jsonl"
PARTS = {"train": "train", "dev": "test", "test": "test"}  # of a file of judgements; test.tsv rather than dev.tsv
NOTHING = "all pairs evaluate, so there is nothing to train; notebooks 02, 03, 06 and 07 run"


def dataset_files(profile: Profile) -> tuple[str, list[Path]]:
    """Return what the pairs are called, and their files: one, a BEIR folder's, or a split's in a folder or on the Hub.

    A data set on the Hub is called with its commit; no other files of it are fetched.
    """
    name, split, folder = profile.dataset, profile.dataset_split, profile.dataset_path
    if is_beir(folder):
        return folder.name, [folder / CORPUS, folder / QUERIES, *qrels_files(folder).values()]
    if folder:
        files = [folder] if folder.is_file() else [folder / file for file in _split_files(folder, split, name)]
        return folder.name, files
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
        found = _split_files(Path(skeleton), split, name)
    fetch(name, *map(glob.escape, found), revision=folder.name, kind="dataset")
    return f"{name}@{folder.name}", [folder / file for file in found]


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


def read_rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield where each row of a file stands, and the row, columns in lower case; raises UserError: it is not sound."""
    readers = {".jsonl": _read_json, ".json": _read_json, ".csv": _read_csv, ".parquet": _read_parquet}
    if path.suffix.lower() not in readers:
        raise UserError(f"{path}: pairs are read from {', '.join(readers)}; convert it.")
    for place, row in readers[path.suffix.lower()](path):
        if isinstance(row, dict):
            named = {column.strip().casefold(): value for column, value in row.items()}
            if len(named) < len(row):
                columns = ", ".join(row)
                raise UserError(f"{path}, {place}: two of the columns {columns} are one but for case; rename one.")
            row = named
        yield f"{path}, {place}", row


def texts_of(value: Any) -> list:
    """Return the texts in a cell: a text, `{"title": ..., "text": ...}`, of which the title is first, or a list."""
    if isinstance(value, list | tuple):
        return [text for part in value for text in texts_of(part)]
    if isinstance(value, dict):
        parts = [value.get("title") or "", value.get("text") or ""]
        return [" ".join(filter(None, parts)) if all(isinstance(part, str) for part in parts) else None]
    return [value]


def _read_json(path: Path) -> Iterator[tuple[str, Any]]:
    first = next((line for _, line in read_lines(path, REMEDY) if line.strip()), "")
    if not first.lstrip().startswith("["):  # one object a line, whatever the ending says
        yield from ((f"line {number}", row) for number, row in read_jsonl(path, REMEDY))
        return
    try:
        rows = json.loads("".join(line for _, line in read_lines(path, REMEDY)))
    except (ValueError, RecursionError) as error:
        line, why = getattr(error, "lineno", 1), getattr(error, "msg", "too deep")
        raise UserError(f"{path}, line {line}: not JSON ({why}); mend the list there.") from error
    yield from ((f"row {number}", row) for number, row in enumerate(rows, start=1))


def _read_csv(path: Path) -> Iterator[tuple[str, dict]]:
    csv.field_size_limit(2**30)  # passages may be long
    numbered = read_lines(path, REMEDY)
    before, header = next(((number - 1, line) for number, line in numbered if line.strip()), (0, ""))
    delimiter = max(",;\t|", key=header.count)
    lines = chain([header], (line for _, line in numbered))
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=f"{delimiter} " in header, strict=True)
    where = f"line {before + 1}"
    try:
        names = [column.strip().casefold() for column in next(reader)]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise UserError(f"{path}, {where}: two columns are called {twice!r}; rename or remove one.")
        for row in reader:
            where = f"line {before + reader.line_num}"
            if len(row) > len(names):
                wrong = f"{len(row)} fields under {len(names)} columns; put quotes around texts that have {delimiter!r}"
                raise UserError(f"{path}, {where}: {wrong} in them.")
            if row:
                yield where, {name: _cell(path, where, text) for name, text in zip(names, row, strict=False)}
    except csv.Error as error:  # a quote that is never closed would swallow the rest of the file
        raise UserError(f"{path}, after {where}: not CSV ({error}); mend the quotes there.") from error


def _cell(path: Path, where: str, text: str) -> Any:
    """Return a cell's list where its text is one as JSON or Python write it, else the text."""
    if not re.fullmatch(r"""\[\s*(["'].*)?\]""", text, re.S):  # [1] and [sic] are texts
        return text
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
        found = ast.literal_eval(text)
        tokens = generate_tokens(io.StringIO(text).readline)
        if len(found) == sum(token.type == STRING for token in tokens):  # 'a' 'b' without a comma would be one
            return found
    raise UserError(f"{path}, {where}: a list that is neither JSON's nor Python's; write one positive a row.")


def _read_parquet(path: Path) -> Iterator[tuple[str, dict]]:
    import pyarrow.parquet

    number = 0
    try:
        batches = pyarrow.parquet.ParquetFile(path).iter_batches()
        for number, row in enumerate((batch.slice(i, 1) for batch in batches for i in range(len(batch))), start=1):
            yield f"row {number}", row.to_pylist()[0]
    except UnicodeDecodeError as error:
        raise UserError(f"{path}, row {number}: not text in UTF-8 ({error.reason}); write the file again.") from error
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path} is not a readable Parquet file; write it again.") from error


def is_beir(folder: Path | None) -> TypeGuard[Path]:
    """Tell whether there is a folder that has this form."""
    return folder is not None and all((folder / f).is_file() for f in (CORPUS, QUERIES)) and (folder / "qrels").is_dir()


def qrels_files(folder: Path) -> dict[str, Path]:
    """Return the judgements that train and those that evaluate, as `train` and `test`; there may be one of them."""
    paths = ((part, folder / "qrels" / f"{name}.tsv") for name, part in PARTS.items())
    if not (files := {part: path for part, path in paths if path.is_file()}):
        raise UserError(f"{folder / 'qrels'} has no train.tsv, test.tsv or dev.tsv; put the judgements there.")
    return files


def trains(profile: Profile) -> bool:
    """Tell whether any of the profile's pairs train: not with EVAL_SHARE=1, nor of a BEIR folder without train.tsv."""
    return "train" in qrels_files(folder) if is_beir(folder := profile.dataset_path) else profile.eval_share < 1


def check_trains(profile: Profile) -> None:
    """Raise a UserError if the profile's pairs only evaluate."""
    if not trains(profile):
        raise UserError(f"{profile.dataset}: {NOTHING}.")


def beir_pairs(folder: Path) -> tuple[list[dict], list[str]]:
    """Return the pairs of a folder and what is not used of it; raises UserError: a file is not sound.

    `part` is `test` for those that evaluate, where there are such; `relevance` has the grades that are over 0. Queries
    that evaluate do not train.
    """
    judged = {part: _read_qrels(path) for part, path in qrels_files(folder).items()}
    wanted = {docid for qrels in judged.values() for grades in qrels.values() for docid in grades}
    queries = {query_id: row.get("text") for query_id, row in _by_id(folder / QUERIES)}
    passages = {docid: texts_of(row)[0] for docid, row in _by_id(folder / CORPUS) if docid in wanted}
    pairs, asked, lost = [], set(), 0
    for part in ("test", "train"):
        for query_id, grades in judged.get(part, {}).items():
            query, found = queries.get(query_id), dict[str, int]()
            for docid, grade in grades.items():
                if grade > 0 and is_text(text := passages.get(docid)):
                    found[text] = max(grade, found.get(text, 0))
            if not found or not is_text(query) or not is_id(query_id) or text_id(query) in asked:
                lost += 1
                continue
            asked |= {text_id(query)} if part == "test" else set()
            pair = {"id": query_id, "query": query.strip(), "positive": list(found), "relevance": found}
            pairs.append(pair | ({"part": part} if "test" in judged else {}))
    note = f"{lost} judged queries without a text or a positive that is there, or that evaluate and train"
    return pairs, [note] if lost else []


def _by_id(path: Path) -> Iterator[tuple[str, dict]]:
    """Yield the rows of a file with their `_id`s. Raises UserError: a row has none, or that of another."""
    seen = set()
    for number, row in read_jsonl(path, "restore it"):
        if (found := str(row.get("_id"))) in seen or row.get("_id") is None:
            raise UserError(f"{path}, line {number}: '_id' is missing or another row's; give each row its own.")
        seen.add(found)
        yield found, row


def _read_qrels(path: Path) -> Qrels:
    """Read `query-id corpus-id score` a line, with tabs, under a header."""
    qrels: Qrels = {}
    for number, line in read_lines(path, "restore it"):
        query_id, *columns = (column.strip() for column in line.split("\t"))
        if not line.strip() or (number == 1 and query_id == "query-id"):
            continue
        if len(columns) != 2 or not re.fullmatch(r"-?\d{1,6}", columns[1], re.ASCII):
            raise UserError(f"{path}, line {number}: not query-id, corpus-id and a whole score with tabs between them.")
        docid, score = columns
        if docid in qrels.setdefault(query_id, {}):
            raise UserError(f"{path}, line {number}: {docid} is judged twice for query {query_id}; remove one.")
        qrels[query_id][docid] = int(score)
    return qrels
