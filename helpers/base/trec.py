"""Qrels and runs, in memory and as TREC files, with one rule for ties."""

import re
from array import array
from pathlib import Path

from helpers.base.errors import UserError
from helpers.base.files import read_lines, whole_file

Qrels = dict[str, dict[str, int]]  # query id -> docid -> relevance
Run = dict[str, dict[str, float]]  # query id -> docid -> score
DEPTH = 100  # passages that a run has of a query, at most
# trec_eval takes eight bytes for each level of relevance, and stops where it gets none; nothing is ranked by a NaN.
RELEVANCE = re.compile(r"(-\d+|\+?0*(\d{1,6}|1000000))(\.\d*)?", re.ASCII)
SCORE = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf(inity)?)", re.ASCII | re.IGNORECASE)
SHOWN = 50  # characters of what a complaint is about


def ranking(scores: dict[str, float]) -> list[str]:
    """Return docids, best first; scores that are equal in float32 go by docid, the larger first, as in trec_eval."""
    single = dict(zip(scores, array("f", scores.values()), strict=True))
    return sorted(scores, key=lambda docid: (single[docid], docid), reverse=True)


def positives(judged: dict[str, int]) -> list[str]:
    """Return the docids that were judged relevant, of all that were judged for a query."""
    return [docid for docid, relevance in judged.items() if relevance > 0]


def read_qrels(path: Path) -> Qrels:
    """Read TREC qrels, `query_id iteration docid relevance` a line, as trec_eval reads them.

    It cuts a relevance to a whole number and takes all that are negative for unjudged, here -1.
    Raises UserError: the file is missing, empty or not in UTF-8, a line has another form, or a docid stands twice.
    """
    names, wanted = "query_id iteration docid relevance", "a whole number up to 1,000,000"
    if not (found := _read(path, names, "relevance", RELEVANCE, wanted)):
        raise UserError(f"{path} is empty; write {names!r} a line.")
    return {query_id: {docid: int(max(level, -1)) for docid, level in found[query_id].items()} for query_id in found}


def read_run(path: Path) -> Run:
    """Read a TREC run, of which rank and name are not used; raises UserError: as `read_qrels`, but it may be empty."""
    return _read(path, "query_id Q0 docid rank score name", "score", SCORE, "a number")


def _read(path: Path, names: str, value: str, number: re.Pattern, wanted: str) -> Run:
    """Return query id -> docid -> the number in the column `value`; lines that are blank or a comment are none."""
    found: Run = {}
    form = names.split()
    for line_number, line in read_lines(path, "give the path of a TREC file"):
        columns, wrong = re.findall(r"\S+", line, re.ASCII), ""  # the white space of C
        if "\0" in line:
            wrong = "a NUL byte; write text"
        elif len(columns) < len(form) or (len(columns) > len(form) and value == "relevance"):
            wrong = f"{len(columns)} columns; write {names!r}"
        elif columns[2] in found.get(columns[0], ()):
            wrong = f"{columns[2][:SHOWN]} stands twice for query {columns[0][:SHOWN]}; remove one of the lines"
        elif not number.fullmatch(text := columns[form.index(value)]):
            wrong = f"{value} {text[:SHOWN]!r} is not {wanted}; the columns may be out of order"
        else:
            found.setdefault(columns[0], {})[columns[2]] = float(text)
        if wrong and columns and not line.startswith("#"):
            raise UserError(f"{path}, line {line_number}: {wrong}.")
    return found


def write_run(path: Path, run: Run, name: str) -> None:
    """Write a TREC run, best passage first, scores with the nine digits that tell any two float32 apart."""
    with whole_file(path) as file:
        for query_id, scores in run.items():
            for rank, docid in enumerate(ranking(scores), start=1):
                file.write(f"{query_id} Q0 {docid} {rank} {scores[docid]:.9g} {name}\n")
