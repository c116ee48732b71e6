"""Scores beyond a search's: of single pairs, to rerank what it has found or to teach a training; of fused runs."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from helpers.base import DEPTH, Profile, Run, UserError, ranking
from helpers.encoding import Embedder, model_folder
from helpers.encoding.encoder import computes_in
from helpers.encoding.models import loading, positions
from helpers.sampling import EvalSet, TrainingSet

RERANKED = 50  # passages of a query, at most
LONGEST = 512  # tokens of query and passage together, at most
K = 60  # of the fusion, the paper's; the larger, the less the first ranks count before the others
Score = Callable[[list[tuple[str, str]]], Sequence[float]]  # of query and passage


def cosines(model: Embedder) -> Score:
    """Return what scores pairs by the cosine of an embedder's vectors, in [-1, 1]."""

    def score(pairs: list[tuple[str, str]]) -> list[float]:
        queries, passages = (list(dict.fromkeys(side)) for side in zip(*pairs, strict=True))
        # In half precision close passages would tie.
        asked = dict(zip(queries, model.encode_queries(queries).astype(np.float32), strict=True))
        shown = dict(zip(passages, model.encode_corpus(passages).astype(np.float32), strict=True))
        return [float(asked[query] @ shown[passage]) for query, passage in pairs]

    return score


def cross_encoder(profile: Profile) -> Score:
    """Return what scores pairs by RERANKER_MODEL, which reads both texts together, in logits.

    Nogueira and Cho 2019, "Passage Re-ranking with BERT", arXiv:1901.04085; by sentence-transformers. Raises
    UserError: the profile names none, or as `model_folder` and `loading`.
    """
    if not profile.reranker_model:
        raise UserError(f"{profile.name} has no RERANKER_MODEL; give a folder or, on the Hub, BAAI/bge-reranker-base.")
    folder = model_folder(profile.reranker_model, profile.reranker_revision)
    with loading(folder):
        import torch
        from sentence_transformers import CrossEncoder

        half = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(computes_in(profile.precision), torch.float32)
        how = {"max_length": min(LONGEST, positions(folder)), "activation_fn": torch.nn.Identity()}
        model = CrossEncoder(str(folder), local_files_only=True, model_kwargs={"dtype": half}, **how)
    if model.num_labels != 1:
        raise UserError(f"{folder} gives {model.num_labels} numbers a pair; give a reranker, which gives one.")
    return lambda pairs: model.predict(pairs, show_progress_bar=len(pairs) > 1000).tolist()


def rerank(eval_set: EvalSet, run: Run, score: Score, depth: int = RERANKED) -> Run:
    """Return a run with the first `depth` passages of each query in the order of their scores, the rest below."""
    ranked = {query_id: ranking(scores) for query_id, scores in run.items()}
    pairs = [(eval_set.queries[key], eval_set.corpus[docid]) for key in ranked for docid in ranked[key][:depth]]
    numbers = iter(score(pairs) if pairs else [])
    reranked = {}
    for query_id, docids in ranked.items():
        scores = {docid: next(numbers) for docid in docids[:depth]}
        rest = enumerate(docids[depth:], start=1)
        reranked[query_id] = scores | {docid: min(scores.values()) - below for below, docid in rest}
    return reranked


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


def taught_pairs(rows: TrainingSet, score: Score) -> list[dict]:
    """Return the rows of a training set as pairs with `scores`, text -> what a teacher gives it for the query."""
    pairs = [{"id": row["id"], "query": row["query"], "positive": row["pos"], "negative": row["neg"]} for row in rows]
    asked = [(pair["query"], text) for pair in pairs for text in pair["positive"] + pair["negative"]]
    numbers = iter(score(asked))
    for pair in pairs:
        pair["scores"] = {text: next(numbers) for text in pair["positive"] + pair["negative"]}
    return pairs


def at_temperature(pairs: Iterable[dict], temperature: float) -> list[dict]:
    """Return the pairs of whose texts all have scores, these divided by `temperature`.

    FlagEmbedding makes a distribution of a query's scores by a softmax of what the file has (`AbsModeling.py`). Hinton,
    Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network", arXiv:1503.02531.
    Raises UserError: the temperature is not above 0, or there is no such pair.
    """
    if not temperature > 0:
        raise UserError(f"temperature = {temperature:g}: give a number above 0.")
    scored = [
        pair | {"scores": {text: value / temperature for text, value in pair["scores"].items()}}
        for pair in pairs
        if pair.get("negative") and all(t in pair.get("scores", ()) for t in pair["positive"] + pair["negative"])
    ]
    if not scored:
        raise UserError(
            "No pair has a score for each of its texts; give pos_scores and neg_scores, or another teacher."
        )
    return scored
