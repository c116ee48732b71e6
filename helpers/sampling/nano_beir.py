"""Small retrieval tasks on the Hub, to see what a model forgets of other subjects than its own."""

from helpers.base import fetch
from helpers.sampling.eval_set import EvalSet
from helpers.sampling.sources import read_rows

# All of https://huggingface.co/collections/zeta-alpha-ai/nanobeir but NanoMSMARCO, which the article's pairs are of.
NAMES: tuple[str, ...] = ("ArguAna", "ClimateFEVER", "DBPedia", "FEVER", "FiQA2018", "HotpotQA", "NFCorpus", "NQ")
NAMES += ("QuoraRetrieval", "SCIDOCS", "SciFact", "Touche2020")
PARTS = ("queries", "corpus", "qrels")


def nano_beir(name: str) -> EvalSet:
    """Return a task of NanoBEIR, such as `SciFact`: 50 queries of BEIR in some thousand passages.

    Thakur et al. 2021, "BEIR: A Heterogeneous Benchmark for Zero-shot Evaluation of Information Retrieval Models",
    arXiv:2104.08663. Raises UserError: as `fetch`.
    """
    folder = fetch(f"zeta-alpha-ai/Nano{name}", "corpus/*", "queries/*", "qrels/*", kind="dataset")
    parts = {part: [row for path in sorted((folder / part).iterdir()) for _, row in read_rows(path)] for part in PARTS}
    queries, corpus = ({row["_id"]: row["text"] for row in parts[part]} for part in PARTS[:2])
    qrels: dict[str, dict[str, int]] = {query_id: {} for query_id in queries}
    for row in parts["qrels"]:
        qrels[row["query-id"]][row["corpus-id"]] = 1
    return EvalSet(queries, corpus, qrels)
