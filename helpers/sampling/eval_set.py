"""The frozen queries, corpus and qrels on which every model is measured alike, and small tasks of other subjects."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, count
from pathlib import Path

from helpers.base import Profile, Qrels, Rows, UserError, fetch, file_fingerprint, fingerprint, read_qrels
from helpers.base.files import read_jsonl, whole_file, write_jsonl
from helpers.base.manifest import code_of, locked, make, read_manifest
from helpers.sampling.pairs import read_distractors
from helpers.sampling.sources import CORPUS, dataset_files, is_beir, read_rows
from helpers.sampling.texts import text_id

REMEDY = "run notebooks/02_build_eval_dataset.ipynb first"
QUERIES, PASSAGES, QRELS = "eval_dataset.json", "corpus.jsonl", "qrels.trec"
EVAL_MANIFEST = "eval_set.made.json"
# All of https://huggingface.co/collections/zeta-alpha-ai/nanobeir but NanoMSMARCO, which the article's pairs are of.
NANO_BEIR: tuple[str, ...] = ("ArguAna", "ClimateFEVER", "DBPedia", "FEVER", "FiQA2018", "HotpotQA", "NFCorpus", "NQ")
NANO_BEIR += ("QuoraRetrieval", "SCIDOCS", "SciFact", "Touche2020")


class Corpus(Mapping[str, str]):
    """Docid, `d1`, `d2`, ..., -> text, read from a file when it is asked for; raises UserError: a line is not sound."""

    def __init__(self, path: Path):
        numbers = count(1)

        def check(where: str, row: dict) -> None:
            docid = f"d{next(numbers)}"
            if row.get("id") != docid or not isinstance(row.get("text"), str):
                raise UserError(f"{where}: not the passage {docid} with its text; {REMEDY}.")

        self.path, self.rows = path, Rows(path, REMEDY, check)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[str]:
        return (f"d{number}" for number in range(1, len(self) + 1))

    def __getitem__(self, docid: str) -> str:
        number = int(docid[1:]) if isinstance(docid, str) and docid[1:].isdecimal() else 0
        if docid != f"d{number}" or not 1 <= number <= len(self):
            raise KeyError(docid)
        return self.rows[number - 1]["text"]


@dataclass(frozen=True)
class EvalSet:
    """What a model is measured on."""

    queries: dict[str, str]  # query id -> text
    corpus: Mapping[str, str]  # docid -> text, each distinct passage once
    qrels: Qrels  # query id -> docids of its positives -> 1, or their grade

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits that change when any query, passage or judgement does."""
        judged = (f"{query} {docid} {value}" for query, found in self.qrels.items() for docid, value in found.items())
        return fingerprint(*map(chain.from_iterable, (self.queries.items(), self.corpus.items())), judged)


def build_eval_rows(evaluation: list[dict], instruction: str) -> list[dict]:
    """Return the rows of `eval_dataset.json`: `query`, `pos`, `id` and the instruction as `prompt`."""
    return [{"query": p["query"], "pos": p["positive"], "id": p["id"], "prompt": instruction} for p in evaluation]


def corpus_rows(pairs: Iterable[dict], distractors: Iterable[str] = ()) -> Iterator[dict]:
    """Yield the rows of `corpus.jsonl`, `id` and `text`: each distinct passage once, in order, distractors last."""
    seen: set[int] = set()
    for text in chain(*(pair["positive"] for pair in pairs), distractors):
        if (key := text_id(text)) not in seen:
            seen.add(key)
            yield {"id": f"d{len(seen)}", "text": text}


def save_eval_set(evaluation: list[dict], pairs: list[dict], profile: Profile) -> EvalSet:
    """Write and return the evaluation set over the passages of all pairs; raises UserError: a positive is not there."""
    folder = profile.data_dir
    distractors = [profile.dataset_path / CORPUS] if is_beir(profile.dataset_path) else []
    if profile.distractors:
        more = {"dataset": profile.distractors, "dataset_revision": "", "dataset_split": ""}
        distractors += dataset_files(profile.model_copy(update=more))[1]
    files = [queries, passages, qrels] = [folder / name for name in (QUERIES, PASSAGES, QRELS)]
    made_from = {
        "queries": fingerprint(map(json.dumps, evaluation)),
        "passages": fingerprint(text for pair in pairs for text in pair["positive"]),
        "DISTRACTORS": [*map(file_fingerprint, distractors), profile.fix_text] if distractors else "",
        "INSTRUCTION": profile.instruction,
        "code": code_of(__file__),
    } | ({"EVAL_SHARE": 1} if profile.eval_share == 1 and not is_beir(profile.dataset_path) else {})

    def write() -> None:
        write_jsonl(passages, corpus_rows(pairs, read_distractors(distractors, profile.fix_text)))
        wanted = {text_id(text) for pair in evaluation for text in pair["positive"]}
        rows = (row for _, row in read_jsonl(passages, REMEDY))
        docids = {key: row["id"] for row in rows if (key := text_id(row["text"])) in wanted}
        with whole_file(qrels) as file:
            for pair in evaluation:
                for text in pair["positive"]:
                    if (key := text_id(text)) not in docids:
                        raise UserError(f"A positive of query {pair['id']} is not in the corpus; give all pairs.")
                    file.write(f"{pair['id']} 0 {docids[key]} {pair.get('relevance', {}).get(text, 1)}\n")
        write_jsonl(queries, build_eval_rows(evaluation, profile.instruction))

    make(folder / EVAL_MANIFEST, made_from, write, files)
    return load_eval_set(folder)


def load_eval_set(folder: Path) -> EvalSet:
    """Read the evaluation set, not while it is made; raises UserError: it is not whole, or a file is not sound."""
    none, path = UserError(f"There is no whole evaluation set in {folder}; {REMEDY}."), folder / QUERIES
    queries = {}
    with locked(folder / EVAL_MANIFEST):
        if not read_manifest(folder / EVAL_MANIFEST):
            raise none
        for number, row in read_jsonl(path, REMEDY):
            if not all(isinstance(row.get(name), str) for name in ("id", "query")):
                raise UserError(f"{path}, line {number}: 'id' or 'query' is missing or not a text; {REMEDY}.")
            queries[row["id"]] = row["query"]
        corpus, qrels = Corpus(folder / PASSAGES), read_qrels(folder / QRELS)
    if queries.keys() != qrels.keys() or not all(docid in corpus for found in qrels.values() for docid in found):
        raise none  # somebody has edited it
    return EvalSet(queries, corpus, {query_id: qrels[query_id] for query_id in queries})


def nano_beir(name: str) -> EvalSet:
    """Return a task of NanoBEIR, such as `SciFact`: 50 queries of BEIR in some thousand passages.

    Thakur et al. 2021, "BEIR: A Heterogeneous Benchmark for Zero-shot Evaluation of Information Retrieval Models",
    arXiv:2104.08663. Raises UserError: as `fetch`.
    """
    parts = ("queries", "corpus", "qrels")
    folder = fetch(f"zeta-alpha-ai/Nano{name}", *(f"{part}/*" for part in parts), kind="dataset")
    rows = {part: [row for path in sorted((folder / part).iterdir()) for _, row in read_rows(path)] for part in parts}
    queries, corpus = ({row["_id"]: row["text"] for row in rows[part]} for part in parts[:2])
    qrels: Qrels = {query_id: {} for query_id in queries}
    for row in rows["qrels"]:
        qrels[row["query-id"]][row["corpus-id"]] = 1
    return EvalSet(queries, corpus, qrels)
