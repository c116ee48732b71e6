"""Query-passage pairs and distractors: where they come from, and what makes a row sound."""

import random
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from itertools import chain, count
from pathlib import Path
from typing import Any

from ftfy import fix_encoding

from helpers.base import Profile, UserError, code_of, file_fingerprint, make, manifest_of, read_jsonl, write_jsonl
from helpers.sampling.docstrings import docstring_pairs, package_versions
from helpers.sampling.sources import beir_pairs, dataset_files, is_beir, read_rows, texts_of
from helpers.sampling.texts import EMPTY, are_scores, distinct, fault, is_id, is_text, text_id

# What people call the columns; the first three win, of the others a row may have one.
NAMES = {
    "query": ("query", "question", "anchor"),
    "positive": ("positive", "pos", "answer", "passage", "text", "document", "context", "response"),
    "negative": ("negative", "neg", "negatives"),
    "id": ("id", "query_id", "_id"),
    "pos_scores": ("pos_scores",),
    "neg_scores": ("neg_scores",),
}
CLEAR = ("query", "positive", "pos")


def load_pairs(profile: Profile) -> list[dict]:
    """Return the profile's pairs, `id`, `query` and `positive` (list of str): at most `max_pairs`, in their order.

    Some have more: `negative` (list of str), a teacher's `scores` (text -> number), and of a BEIR folder `part` and
    `relevance` (text -> grade). They are kept in `pairs.jsonl` until the source, or a setting that they depend on, is
    another. What of the source is not used is printed.
    Raises UserError: a file that cannot be read, a row that is not sound, or the Hub out of reach.
    """
    path, folder = profile.data_dir / "pairs.jsonl", profile.dataset_path
    name, files = (package_versions(), []) if profile.dataset == "docstrings" else dataset_files(profile)
    made_from = {
        "source": name,
        "content": [file_fingerprint(file) for file in files],
        "COLUMNS": profile.columns,
        "FIX_TEXT": profile.fix_text and version("ftfy"),
        "MAX_PAIRS": [profile.max_pairs, profile.max_pairs and profile.split_seed],
        "code": code_of(__file__),
    }

    def write() -> dict:
        if is_beir(folder):
            pairs, unused = beir_pairs(folder)
        else:
            rows = chain.from_iterable(map(read_rows, files)) if files else (("", pair) for pair in docstring_pairs())
            pairs, unused = sound_pairs(rows, profile.columns)
        if not pairs:
            raise UserError(f"{profile.dataset} has no rows; it needs rows of 'query' and 'positive'.")
        pairs = merge_queries(map(_repaired, pairs) if profile.fix_text else pairs)
        if 0 < profile.max_pairs < len(pairs):
            drawn = random.Random(profile.split_seed).sample(range(len(pairs)), profile.max_pairs)
            pairs = [pairs[i] for i in sorted(drawn)]
        write_jsonl(path, pairs)
        return {"unused": unused}

    unused = make(manifest_of(path), made_from, write, [path])["unused"]
    pairs = [row for _, row in read_jsonl(path, "delete it and run this again")]
    if not profile.own_negatives and any("negative" in pair for pair in pairs):
        unused.append("negatives of its own, which OWN_NEGATIVES=1 uses")
    if unused:
        print(f"Not used of {name}: {'; '.join(unused)}.")
    return pairs


def _repaired(value: Any) -> Any:
    if isinstance(value, dict):
        return {fix_encoding(key): _repaired(part) for key, part in value.items()}
    return list(map(_repaired, value)) if isinstance(value, list) else fix_encoding(value) if is_text(value) else value


def sound_pairs(rows: Iterable[tuple[str, Any]], columns: str) -> tuple[list[dict], list[str]]:
    """Bring rows, each with where it stands, into the form of pairs; return them and which columns are not used.

    `columns` is the profile's COLUMNS. Raises UserError: a column is missing or not the only one that could be meant,
    a text is empty or of another type, or an id stands for two queries.
    """
    names_of, pairs, unused = NAMES | parse_columns(columns), [], set()
    asked: dict[str, int] = {}  # id -> the query that has it
    for where, row in rows:
        if not isinstance(row, dict):
            raise UserError(f"{where}: not an object; every row needs 'query' and 'positive'.")
        names = {field: _column(where, row, field, known) for field, known in names_of.items()}
        unused |= row.keys() - names.values()  # and scores that are not a number a text
        query, positive, negative = (texts_of(row.get(names[field])) for field in ("query", "positive", "negative"))
        negative = [] if negative in ([None], [""]) else negative
        for field, texts in {"query": query or [""], "positive": positive or [""], "negative": negative}.items():
            wrong = "is a list" if texts is query and len(query) > 1 else next(filter(None, map(fault, texts)), "")
            if wrong:
                raise UserError(f"{where}: {names[field]!r} {wrong}; mend or remove the row.")
        pair = {"id": row.get(names["id"]), "query": query[0].strip(), "positive": positive}
        pair |= {"negative": negative} if negative else {}
        for field, texts in {"pos_scores": positive, "neg_scores": negative}.items():
            if are_scores(scores := row.get(names[field]), texts):
                pair.setdefault("scores", {}).update(zip(texts, scores, strict=True))
            elif scores:
                unused.add(names[field])
        if pair["id"] is not None:
            pair["id"] = name = str(pair["id"])
            if not is_id(name):
                raise UserError(f"{where}: id {name!r} is empty or has a space; mend it or leave 'id' out.")
            if asked.setdefault(name, text_id(query[0])) != text_id(query[0]):
                raise UserError(f"{where}: id {name!r} is another query's above; mend it or leave 'id' out.")
        pairs.append(pair)
    for number, pair in enumerate(pairs, start=1):
        if pair["id"] is None:  # it gets one that is not given
            free = chain([f"q{number}"], map(f"q{number}.{{}}".format, count(2)))
            pair["id"] = next(name for name in free if name not in asked)
    return pairs, [f"columns {', '.join(sorted(unused))}"] if unused else []


def parse_columns(columns: str) -> dict[str, tuple[str]]:
    """Return field -> its column, from `query=question, positive=answer`; raises UserError: it has another form."""
    parts = [part.partition("=") for part in columns.split(",") if part.strip()]
    given = {field.strip(): (column.strip().casefold(),) for field, _, column in parts}
    if not all(column for (column,) in given.values()) or given.keys() - NAMES.keys():
        raise UserError(f"COLUMNS={columns!r}: write FIELD=COLUMN, ... with fields out of {', '.join(NAMES)}.")
    return given


def _column(where: str, row: dict, field: str, names: tuple[str, ...]) -> str:
    """Return which column of a row a field is in; of one that it may be without, the first that it could be."""
    found = [name for name in names if name in row] or [names[0]]
    wrong, remedy = "", "rename one, or set COLUMNS='query=..., positive=...'"
    if found[0] not in row:
        wrong = f"no column {found[0]!r} among {', '.join(map(repr, row)) or 'none'}"
    elif len(found) > 1 and found[0] not in CLEAR:
        wrong, remedy = f"{' or '.join(found)} could be {field!r}", f"set COLUMNS='{field}={found[0]}'"
    if wrong and field in ("query", "positive"):
        raise UserError(f"{where}: {wrong}; {remedy}.")
    return found[0]


def merge_queries(pairs: Iterable[dict]) -> list[dict]:
    """Unite rows of one query, as files often give one positive a row; negatives that are positives or itself go."""
    merged: dict[int, dict] = {}
    for pair in pairs:
        row = merged.setdefault(text_id(pair["query"]), pair | {"positive": []})
        row |= {key: row.get(key, []) + pair[key] for key in ("positive", "negative") if key in pair}
        row |= {key: row.get(key, {}) | pair[key] for key in ("scores", "relevance") if key in pair}
    for query, row in merged.items():
        row["positive"] = distinct(row["positive"])
        if "negative" in row:
            own = {query, *map(text_id, row["positive"])}
            row["negative"] = [text for text in distinct(row["negative"]) if text_id(text) not in own]
    return list(merged.values())


def read_distractors(paths: Iterable[Path], fix_text: bool) -> Iterator[str]:
    """Yield passages of files of distractors; print how many rows have no text; raises UserError: one is not sound."""
    for path in paths:
        empty = 0
        for where, row in read_rows(path):
            names = ("text", *NAMES["positive"], "content")
            name = next((name for name in names if isinstance(row, dict) and name in row), None)
            if name is None:
                raise UserError(f"{where}: no column 'text'; every row needs one, which may be empty.")
            for text in texts_of(row if isinstance(row.get("text"), str | None) and name == "text" else row[name]):
                if (wrong := fault(text or "")) not in ("", EMPTY):
                    raise UserError(f"{where}: {name!r} {wrong}; mend or remove the row.")
                empty += bool(wrong)
                if not wrong:
                    yield fix_encoding(text) if fix_text else text
        if empty:
            print(f"{path.name}: {empty:,} rows without a text are passed over.")
