"""Hard negatives: passages that a search takes for an answer and that are none."""

import random
from collections.abc import Iterable, Mapping
from math import inf

from helpers.base import Run, positives, ranking
from helpers.sampling import EvalSet, text_id

Found = dict[str, list[str]]  # query id -> docids


def mining_task(train: list[dict], pool: list[str]) -> EvalSet:
    """Return the pairs that train as a search of their queries among the passages that may be negatives.

    A positive has relevance 1; a query's own text, which may not be its negative, has 0.
    """
    docids = {text_id(text): f"p{number}" for number, text in enumerate(pool)}
    qrels = {}
    for pair in train:
        judged = {text_id(pair["query"]): 0} | {text_id(text): 1 for text in pair["positive"]}
        qrels[pair["id"]] = {docids[key]: relevance for key, relevance in judged.items() if key in docids}
    queries = {pair["id"]: pair["query"] for pair in train}
    return EvalSet(queries, dict(zip(docids.values(), pool, strict=True)), qrels)


def mine(task: EvalSet, run: Run, ranks: range, limit: float = inf) -> tuple[Found, Found]:
    """Return of each query the passages at `ranks` of a run, from 0, that are kept as negatives, and those thrown out.

    What has `limit` times the score of the query's best positive, or more, is thrown out, for it may be an answer that
    nobody has marked (the filter TopK-PercPos of Moreira et al. 2024, "NV-Retriever: Improving text embedding models
    with effective hard-negative mining", arXiv:2407.15831). Infinity keeps all, 0 none. A positive that the run does
    not have counts as the last that it has.
    """
    kept, thrown = Found(), Found()
    for query_id, judged in task.qrels.items():
        scores = run.get(query_id, {})
        gold = [scores[docid] for docid in positives(judged) if docid in scores]
        most = limit * max(gold, default=min(scores.values(), default=0.0)) if limit < inf else inf
        found = [docid for docid in ranking(scores)[ranks.start : ranks.stop] if docid not in judged]
        kept[query_id] = [docid for docid in found if scores[docid] < most]
        thrown[query_id] = [docid for docid in found if scores[docid] >= most]
    return kept, thrown


def with_negatives(
    train: Iterable[dict], corpus: Mapping[str, str], found: Iterable[Found], neg_num: int, seed: int
) -> list[dict]:
    """Return pairs with at most `neg_num` negatives of their own, drawn from what one or more searches have kept."""
    rng, searches, pairs = random.Random(seed), list(found), []
    for pair in train:
        docids = list(dict.fromkeys(docid for kept in searches for docid in kept[pair["id"]]))
        drawn = rng.sample(docids, min(neg_num, len(docids)))
        pairs.append(pair | {"negative": [corpus[docid] for docid in drawn]})
    return pairs
