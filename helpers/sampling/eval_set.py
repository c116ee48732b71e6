"""The frozen queries, corpus and qrels on which every model is measured alike."""

import json
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain, islice
from mmap import ACCESS_READ, mmap
from pathlib import Path

from helpers.base import Qrels, UserError, fingerprint, read_jsonl, read_qrels, whole_file, write_jsonl
from helpers.sampling.texts import normalise

REMEDY = "run notebooks/02_build_eval_dataset.ipynb first"


class Corpus(Mapping[str, str]):
    """Docid, `d1`, `d2`, ..., -> text, read from a file of objects with `id` and `text` when it is asked for.

    It keeps eight bytes a passage in memory. `datasets` would make dates of texts that look like them.
    Raises UserError: the file is missing or empty, or a line is not sound.
    """

    def __init__(self, path: Path):
        number = 0
        for number, row in read_jsonl(path, REMEDY):
            if row.get("id") != f"d{number}" or not isinstance(row.get("text"), str):
                raise UserError(f"{path}, line {number}: not the passage d{number} with its text; {REMEDY}.")
        if not number:
            raise UserError(f"{path} is empty; {REMEDY}.")
        with path.open("rb") as file:
            self.places = array("q", accumulate(map(len, islice(file, number)), initial=0))
            self.lines = mmap(file.fileno(), 0, access=ACCESS_READ)

    def __len__(self) -> int:
        return len(self.places) - 1

    def __iter__(self) -> Iterator[str]:
        return (f"d{number}" for number in range(1, len(self) + 1))

    def __getitem__(self, docid: str) -> str:
        number = int(docid[1:]) if isinstance(docid, str) and docid[1:].isdecimal() else 0
        if docid != f"d{number}" or not 1 <= number <= len(self):
            raise KeyError(docid)
        return json.loads(self.lines[self.places[number - 1] : self.places[number]])["text"]


@dataclass(frozen=True)
class EvalSet:
    """What a model is measured on."""

    queries: dict[str, str]  # query id -> text
    corpus: Mapping[str, str]  # docid -> text, each distinct passage once
    qrels: Qrels  # query id -> docids of its positives -> 1, the form that ir-measures and trec_eval read

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits that change when any query, passage or judgement does."""
        judged = (f"{query} {docid} {value}" for query, found in self.qrels.items() for docid, value in found.items())
        return fingerprint(*map(chain.from_iterable, (self.queries.items(), self.corpus.items())), judged)


def build_eval_rows(evaluation: list[dict], instruction: str) -> list[dict]:
    """Return the rows of `eval_dataset.json`: `query`, `pos`, `id` and the instruction as `prompt`."""
    return [
        {"query": row["query"], "pos": row["positive"], "id": row["id"], "prompt": instruction} for row in evaluation
    ]


def corpus_rows(pairs: Iterable[dict], distractors: Iterable[str] = ()) -> Iterator[dict]:
    """Yield the rows of `corpus.jsonl`, `id` and `text`: each distinct passage once, in order, distractors last.

    Passages that differ only in white space or case are one; twice in the corpus, it would earn twice.
    """
    seen: set[int] = set()  # hashes, which take less memory than texts
    positives = (text for pair in pairs for text in pair["positive"])
    for text in chain(positives, distractors):
        key = hash(normalise(text))
        if key not in seen:
            seen.add(key)
            yield {"id": f"d{len(seen)}", "text": text}


def save_eval_set(eval_rows: list[dict], corpus_rows: Iterable[dict], folder: Path) -> EvalSet:
    """Write an evaluation set and return what it says; raises UserError: a positive of a query is not in the corpus."""
    write_jsonl(folder / "eval_dataset.json", eval_rows)
    write_jsonl(folder / "corpus.jsonl", corpus_rows)
    positives = {normalise(text) for row in eval_rows for text in row["pos"]}
    passages = ((normalise(row["text"]), row["id"]) for _, row in read_jsonl(folder / "corpus.jsonl", REMEDY))
    docids = {key: docid for key, docid in passages if key in positives}
    with whole_file(folder / "qrels.trec") as file:
        for row in eval_rows:
            for key in map(normalise, row["pos"]):
                if key not in docids:
                    raise UserError(f"A positive of query {row['id']} is not in the corpus; build it from all pairs.")
                file.write(f"{row['id']} 0 {docids[key]} 1\n")
    return load_eval_set(folder)


def load_eval_set(folder: Path) -> EvalSet:
    """Read the evaluation set; raises UserError: a file is missing or not sound, or they are not of one build."""
    path = folder / "eval_dataset.json"
    queries = {}
    for number, row in read_jsonl(path, REMEDY):
        if not all(isinstance(row.get(name), str) for name in ("id", "query")):
            raise UserError(f"{path}, line {number}: 'id' or 'query' is missing or not a text; {REMEDY}.")
        queries[row["id"]] = row["query"]
    corpus = Corpus(folder / "corpus.jsonl")
    qrels = read_qrels(folder / "qrels.trec")
    if queries.keys() != qrels.keys() or not all(docid in corpus for found in qrels.values() for docid in found):
        raise UserError(f"{folder}: queries, corpus and qrels.trec are not of one build; {REMEDY}.")
    return EvalSet(queries, corpus, {query_id: qrels[query_id] for query_id in queries})
