"""Qrels and runs, in memory and as TREC files, with one rule for ties."""

from array import array
from pathlib import Path

from helpers.base.errors import UserError
from helpers.base.files import read_lines, whole_file

Qrels = dict[str, dict[str, int]]  # query id -> docid -> relevance
Run = dict[str, dict[str, float]]  # query id -> docid -> score
DEPTH = 100  # passages that a run has of a query, at most


def ranking(scores: dict[str, float]) -> list[str]:
    """Return docids, best first; equal scores by docid, the larger first, as trec_eval breaks ties.

    It reads scores into float32, so those that differ only beyond that are ties, too.
    """
    single = dict(zip(scores, array("f", scores.values()), strict=True))
    return sorted(scores, key=lambda docid: (single[docid], docid), reverse=True)


def read_qrels(path: Path) -> Qrels:
    """Read TREC qrels: `query_id iteration docid relevance` a line.

    Raises:
        UserError: the file is missing or empty, or a line is not of that form.
    """
    qrels: Qrels = {}
    for where, (query_id, _, docid, relevance) in _columns(path, "query_id iteration docid relevance"):
        qrels.setdefault(query_id, {})[docid] = int(_number(relevance, where, int))
    return qrels


def read_run(path: Path) -> Run:
    """Read a TREC run: `query_id Q0 docid rank score name` a line; the score ranks, the rank column is not read.

    Raises:
        UserError: the file is missing or empty, a line is not of that form, or a docid stands twice for a query.
    """
    run: Run = {}
    for where, (query_id, _, docid, _, score, _) in _columns(path, "query_id Q0 docid rank score name"):
        if docid in run.setdefault(query_id, {}):
            raise UserError(f"{where}: {docid} stands twice for query {query_id}; remove one of the lines.")
        run[query_id][docid] = _number(score, where, float)
    return run


def _columns(path: Path, names: str) -> list[tuple[str, list[str]]]:
    rows = []
    for number, line in read_lines(path, "give the path of a TREC file"):
        columns, where = line.split(), f"{path}, line {number}"
        if columns and len(columns) != len(names.split()):
            raise UserError(f"{where}: {len(columns)} columns; write {names!r}.")
        if columns:
            rows.append((where, columns))
    if not rows:
        raise UserError(f"{path} is empty; write {names!r} a line.")
    return rows


def _number(text: str, where: str, kind: type) -> float:
    try:
        return kind(text)
    except ValueError as error:
        raise UserError(f"{where}: {text!r} is not a number; the columns may be out of order.") from error


def write_run(path: Path, run: Run, name: str) -> None:
    """Write a TREC run, best passage first, scores with the nine digits that tell any two float32 apart."""
    with whole_file(path) as file:
        for query_id, scores in run.items():
            for rank, docid in enumerate(ranking(scores), start=1):
                file.write(f"{query_id} Q0 {docid} {rank} {scores[docid]:.9g} {name}\n")
