"""A folder in BEIR's form (Thakur et al. 2021, arXiv:2104.08663), whose split is its own.

https://github.com/beir-cellar/beir/wiki/Load-your-custom-dataset: `corpus.jsonl`, `queries.jsonl` and `qrels/*.tsv`.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

from helpers.base import Profile, Qrels, UserError, read_jsonl, read_lines
from helpers.sampling.sources import texts_of
from helpers.sampling.texts import is_id, is_text, text_id

CORPUS, QUERIES = "corpus.jsonl", "queries.jsonl"
PARTS = {"train": "train", "dev": "test", "test": "test"}  # of a file of judgements; test.tsv rather than dev.tsv
NOTHING = "there is no qrels/train.tsv, so there is nothing to train; notebooks 02, 03, 06 and 07 run"


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
    """Tell whether the profile's pairs train: all but those of a folder with judgements that only evaluate."""
    return not is_beir(folder := profile.dataset_path) or "train" in qrels_files(folder)


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
