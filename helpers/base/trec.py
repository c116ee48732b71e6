"""Qrels and runs, in memory and as TREC files, with one rule for ties."""

from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from helpers.base.errors import UserError
from helpers.base.files import read_lines, whole_file

Qrels = dict[str, dict[str, int]]  # query id -> docid -> relevance
Run = dict[str, dict[str, float]]  # query id -> docid -> score
DEPTH = 100  # passages that a run has of a query, at most


def ranking(scores: dict[str, float]) -> list[str]:
    """Return docids, best first; scores that are equal in float32 go by docid, the larger first, as in trec_eval."""
    single = dict(zip(scores, array("f", scores.values()), strict=True))
    return sorted(scores, key=lambda docid: (single[docid], docid), reverse=True)


def read_qrels(path: Path) -> Qrels:
    """Read TREC qrels: `query_id iteration docid relevance` a line; raises UserError: missing, empty, another form."""
    qrels: Qrels = {}
    for _, query_id, docid, relevance in _rows(path, "query_id iteration docid relevance", "relevance", int):
        qrels.setdefault(query_id, {})[docid] = relevance
    return qrels


def read_run(path: Path) -> Run:
    """Read a TREC run, whose column rank is not used; raises UserError: as `read_qrels`, or a docid stands twice."""
    run: Run = {}
    for where, query_id, docid, score in _rows(path, "query_id Q0 docid rank score name", "score", float):
        if docid in run.setdefault(query_id, {}):
            raise UserError(f"{where}: {docid} stands twice for query {query_id}; remove one of the lines.")
        run[query_id][docid] = score
    return run


def _rows(path: Path, names: str, value: str, kind: Callable[[str], Any]) -> Iterator[tuple[str, str, str, Any]]:
    """Yield where each line stands, its query id, its docid and the number in its column `value`."""
    lines = read_lines(path, "give the path of a TREC file")
    rows = [(number, line.split()) for number, line in lines if line.strip()]
    if not rows:
        raise UserError(f"{path} is empty; write {names!r} a line.")
    for number, columns in rows:
        where = f"{path}, line {number}"
        if len(columns) != len(names.split()):
            raise UserError(f"{where}: {len(columns)} columns; write {names!r}.")
        text = columns[names.split().index(value)]
        try:
            yield where, columns[0], columns[2], kind(text)
        except ValueError as error:
            raise UserError(f"{where}: {text!r} is not a number; the columns may be out of order.") from error


def write_run(path: Path, run: Run, name: str) -> None:
    """Write a TREC run, best passage first, scores with the nine digits that tell any two float32 apart."""
    with whole_file(path) as file:
        for query_id, scores in run.items():
            for rank, docid in enumerate(ranking(scores), start=1):
                file.write(f"{query_id} Q0 {docid} {rank} {scores[docid]:.9g} {name}\n")
