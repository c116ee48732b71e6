"""The frozen queries, corpus and qrels on which every model is measured alike."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from helpers.errors import UserError
from helpers.files import read_jsonl, whole_file, write_jsonl
from helpers.pairs import normalise
from helpers.profile import Profile

REMEDY = "run notebooks/02_build_eval_dataset.ipynb first"


@dataclass(frozen=True)
class EvalSet:
    """What a model is measured on.

    Attributes:
        queries: query id -> text.
        corpus: docid -> text, each distinct passage once.
        qrels: query id -> docids of its positives -> 1, the form that ir-measures and trec_eval read.
    """

    queries: dict[str, str]
    corpus: dict[str, str]
    qrels: dict[str, dict[str, int]]

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits that change when any query, passage or judgement does."""
        content = json.dumps([self.queries, self.corpus, self.qrels], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:12]


def build_eval_rows(evaluation: list[dict], profile: Profile) -> list[dict]:
    """Return the rows of `eval_dataset.json`: `query`, `pos`, `id` and the instruction as `prompt`."""
    return [
        {"query": pair["query"], "pos": pair["positive"], "id": pair["id"], "prompt": profile.instruction}
        for pair in evaluation
    ]


def build_corpus(pairs: list[dict]) -> list[dict]:
    """Return the rows of `corpus.jsonl`, `id` and `text`: each distinct passage of all pairs once, in order.

    Passages that differ only in white space or case are one; twice in the corpus, it would earn twice.
    """
    texts: dict[str, str] = {}
    for pair in pairs:
        for text in pair["positive"]:
            texts.setdefault(normalise(text), text)
    return [{"id": f"d{number}", "text": text} for number, text in enumerate(texts.values(), start=1)]


def save_eval_set(eval_rows: list[dict], corpus_rows: list[dict], profile: Profile) -> EvalSet:
    """Write `eval_dataset.json`, `corpus.jsonl` and `qrels.trec` into `profile.data_dir`; return what they say."""
    write_jsonl(profile.data_dir / "eval_dataset.json", eval_rows)
    write_jsonl(profile.data_dir / "corpus.jsonl", corpus_rows)
    eval_set = load_eval_set(profile)
    with whole_file(profile.data_dir / "qrels.trec") as file:
        for query_id, docids in eval_set.qrels.items():
            file.writelines(f"{query_id} 0 {docid} 1\n" for docid in docids)
    return eval_set


def load_eval_set(profile: Profile) -> EvalSet:
    """Read the evaluation set; positives are found in the corpus by their normalised text, and are ids from then on.

    Raises:
        UserError: a file is missing or a row is not sound.
    """
    corpus = dict(_fields(profile.data_dir / "corpus.jsonl", "id", "text"))
    docids = {normalise(text): docid for docid, text in corpus.items()}
    path = profile.data_dir / "eval_dataset.json"
    queries, qrels = {}, {}
    for query_id, query, positives in _fields(path, "id", "query", "pos"):
        queries[query_id] = query
        try:
            qrels[query_id] = {docids[normalise(text)]: 1 for text in positives}
        except KeyError as error:
            raise UserError(f"{path}: a positive of {query_id} is not in corpus.jsonl; {REMEDY}.") from error
    return EvalSet(queries, corpus, qrels)


def _fields(path: Path, *names: str) -> list[tuple]:
    rows = []
    for number, row in read_jsonl(path, REMEDY):
        if not row.keys() >= set(names):
            raise UserError(f"{path}, line {number}: {' or '.join(names)} is missing; {REMEDY}.")
        rows.append(tuple(row[name] for name in names))
    return rows
