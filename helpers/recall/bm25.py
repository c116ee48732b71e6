"""BM25, the baseline: search by words, without a model."""

from dataclasses import dataclass

from helpers.base import DEPTH, Run
from helpers.sampling.eval_set import EvalSet


@dataclass(frozen=True)
class Bm25Settings:
    """The parameters, in the form in which a result keeps them."""

    model: str = "BM25"
    k1: float = 1.5
    b: float = 0.75


def bm25_run(eval_set: EvalSet, settings: Bm25Settings, depth: int = DEPTH) -> Run:
    """Rank the passages that share a word with a query by BM25 as Lucene scores it, English stop words left out.

    Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework: BM25 and Beyond", by the library bm25s.
    """
    import bm25s

    retriever = bm25s.BM25(k1=settings.k1, b=settings.b)
    retriever.index(bm25s.tokenize(list(eval_set.corpus.values()), show_progress=False), show_progress=False)
    asked = bm25s.tokenize(list(eval_set.queries.values()), show_progress=False)
    docids = list(eval_set.corpus)
    rows, scores = retriever.retrieve(asked, k=min(depth, len(docids)), show_progress=False)  # (queries, depth) each
    return {
        query_id: {docids[row]: float(score) for row, score in zip(found, values, strict=True) if score > 0}
        for query_id, found, values in zip(eval_set.queries, rows, scores, strict=True)
    }
