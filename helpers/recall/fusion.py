"""Several runs as one."""

from collections import Counter, defaultdict

from helpers.base import DEPTH, Run, ranking

K = 60  # the paper's; the larger, the less the first ranks count before the others


def fuse(*runs: Run, depth: int = DEPTH) -> Run:
    """Return the best `depth` passages of each query by the sum over runs of 1 / (`K` + rank).

    Reciprocal rank fusion; scores, which no two searches give on one scale, do not count. Cormack, Clarke and Büttcher
    2009, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods", SIGIR.
    """
    fused: dict[str, Counter] = defaultdict(Counter)
    for run in runs:
        for query_id, scores in run.items():
            fused[query_id].update({docid: 1 / (K + rank) for rank, docid in enumerate(ranking(scores), start=1)})
    return {query_id: {docid: found[docid] for docid in ranking(found)[:depth]} for query_id, found in fused.items()}
