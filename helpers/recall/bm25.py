"""BM25, the baseline: search by words, without a model."""

from collections.abc import Collection
from dataclasses import dataclass

from helpers.base import DEPTH, Run
from helpers.sampling.eval_set import EvalSet
from helpers.sampling.texts import WORD, words


@dataclass(frozen=True)
class Bm25Settings:
    """The parameters, in the form in which a result keeps them."""

    model: str = "BM25"
    k1: float = 1.5
    b: float = 0.75


def bigrams(texts: Collection[str]) -> str:
    """Return what to add to the name of what counts words: that in one text in a hundred, or more, they are bigrams."""
    unspaced = sum(not text.isascii() and any(match[1] for match in WORD.finditer(text)) for text in texts)
    return " (character bigrams)" if unspaced * 100 >= len(texts) else ""


def bm25_settings(eval_set: EvalSet) -> Bm25Settings:
    """Return the settings for an evaluation set; the model's name tells whether its words are bigrams."""
    return Bm25Settings(f"BM25{bigrams([*eval_set.queries.values(), *eval_set.corpus.values()])}")


def bm25_run(eval_set: EvalSet, settings: Bm25Settings, depth: int = DEPTH) -> Run:
    """Rank the passages that share a word with a query by BM25 as Lucene scores it, English stop words left out.

    Words of one letter are left out, too, but not characters of scripts without spaces, of which `words` makes bigrams.
    Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework: BM25 and Beyond", by the library bm25s.
    """
    import bm25s

    def tokens(texts: Collection[str]):
        kept = (" ".join(w for w in words(text) if len(w) > 1 or WORD.match(w)[1]) for text in texts)  # type: ignore
        return bm25s.tokenize(kept, token_pattern=r"\S+", show_progress=False)  # type: ignore[arg-type]

    passages, docids = tokens(eval_set.corpus.values()), list(eval_set.corpus)
    if not passages.vocab:  # bm25s would stop
        return {query_id: {} for query_id in eval_set.queries}
    retriever = bm25s.BM25(k1=settings.k1, b=settings.b)
    retriever.index(passages, show_progress=False)
    asked = tokens(eval_set.queries.values())
    rows, scores = retriever.retrieve(asked, k=min(depth, len(docids)), show_progress=False)  # (queries, depth) each
    return {
        query_id: {docids[row]: float(score) for row, score in zip(found, values, strict=True) if score > 0}
        for query_id, found, values in zip(eval_set.queries, rows, scores, strict=True)
    }
