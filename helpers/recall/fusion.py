"""Several runs as one."""

from helpers.base import DEPTH, Run, ranking

K = 60  # the paper's; the larger, the less the first ranks count before the others


def fuse(*runs: Run, depth: int = DEPTH) -> Run:
    """Return the best `depth` passages of each query by the sum over runs of 1 / (`K` + rank).

    Reciprocal rank fusion; scores, which no two searches give on one scale, do not count. Cormack, Clarke and Büttcher
    2009, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods", SIGIR.
    """
    fused: Run = {}
    for run in runs:
        for query_id, scores in run.items():
            found = fused.setdefault(query_id, {})
            for rank, docid in enumerate(ranking(scores), start=1):
                found[docid] = found.get(docid, 0.0) + 1 / (K + rank)
    return {query_id: {docid: found[docid] for docid in ranking(found)[:depth]} for query_id, found in fused.items()}
