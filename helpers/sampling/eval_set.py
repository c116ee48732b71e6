"""The frozen queries, corpus and qrels on which every model is measured alike."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path

from helpers.base import Qrels, UserError, fingerprint, read_jsonl, read_qrels, whole_file, write_jsonl
from helpers.sampling.corpus import Corpus
from helpers.sampling.texts import normalise

REMEDY = "run notebooks/02_build_eval_dataset.ipynb first"


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


def save_eval_set(eval_rows: list[dict], corpus_rows: Iterable[dict], folder: Path) -> EvalSet:
    """Write `eval_dataset.json`, `corpus.jsonl`, row by row as it comes, and `qrels.trec`; return what they say.

    Raises UserError: a positive of a query is not in the corpus.
    """
    docids: dict[str, str | None] = {normalise(text): None for row in eval_rows for text in row["pos"]}

    def noted() -> Iterator[dict]:
        for row in corpus_rows:
            if (key := normalise(row["text"])) in docids:
                docids[key] = row["id"]
            yield row

    write_jsonl(folder / "eval_dataset.json", eval_rows)
    write_jsonl(folder / "corpus.jsonl", noted())
    with whole_file(folder / "qrels.trec") as file:
        for row in eval_rows:
            for text in row["pos"]:
                if (docid := docids[normalise(text)]) is None:
                    raise UserError(f"A positive of query {row['id']} is not in the corpus; build it from all pairs.")
                file.write(f"{row['id']} 0 {docid} 1\n")
    return load_eval_set(folder)


def load_eval_set(folder: Path) -> EvalSet:
    """Read the evaluation set; the passages stay on disk until they are asked for.

    Raises UserError: a file is missing, a row is not sound, or the three files are not of one build.
    """
    path = folder / "eval_dataset.json"
    queries = {}
    for number, row in read_jsonl(path, REMEDY):
        if not all(isinstance(row.get(name), str) for name in ("id", "query")):
            raise UserError(f"{path}, line {number}: 'id' or 'query' is missing or not a text; {REMEDY}.")
        queries[row["id"]] = row["query"]
    corpus = Corpus(folder / "corpus.jsonl", REMEDY)
    qrels = read_qrels(folder / "qrels.trec")
    if queries.keys() != qrels.keys() or not all(docid in corpus for found in qrels.values() for docid in found):
        raise UserError(f"{folder}: queries, corpus and qrels.trec are not of one build; {REMEDY}.")
    return EvalSet(queries, corpus, {query_id: qrels[query_id] for query_id in queries})
