"""A slice of the training queries that is not trained on, to score checkpoints with."""

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from helpers.metrics import average, score_queries
from helpers.pairs import normalise
from helpers.recall import build_index, search

if TYPE_CHECKING:
    from FlagEmbedding.finetune.embedder.encoder_only.base import BiEncoderOnlyEmbedderModel
    from transformers import PreTrainedTokenizerBase

QUERIES = 128  # at most, and at most a tenth of the training queries
CORPUS = 1000  # passages to find theirs among
BATCH = 64  # texts encoded at a time


@dataclass(frozen=True)
class HeldOut:
    """Queries with their instruction, a corpus of training positives, and which of them answer which query."""

    queries: dict[str, str]
    corpus: dict[str, str]
    qrels: dict[str, dict[str, int]]


def held_out_count(rows: int) -> int:
    """Return how many of `rows` training queries are held out."""
    return min(QUERIES, rows // 10)


def split_held_out(rows: list[dict], seed: int) -> tuple[list[int], list[int]]:
    """Return the places of the rows that train and of those that are held out; the same for the same seed."""
    held = set(random.Random(seed).sample(range(len(rows)), held_out_count(len(rows))))
    return [i for i in range(len(rows)) if i not in held], sorted(held)


def build_held_out(rows: list[dict], held: list[int], instruction: str) -> HeldOut:
    """Build the retrieval task of the held-out rows: their positives among those of other rows, `CORPUS` in all.

    Negatives are left alone, so that the task is the same however many a row has.
    """
    queries, corpus, qrels, docids = {}, {}, {}, {}
    others = [i for i in range(len(rows)) if i not in set(held)]
    for i in held + others:
        if i not in held and len(corpus) >= CORPUS:
            break
        for text in rows[i]["pos"]:
            docid = docids.setdefault(normalise(text), f"d{len(docids)}")
            corpus.setdefault(docid, text)
            if i in held:
                queries[f"q{i}"] = instruction + rows[i]["query"]
                qrels.setdefault(f"q{i}", {})[docid] = 1
    return HeldOut(queries, corpus, qrels)


def held_out_ndcg(
    model: "BiEncoderOnlyEmbedderModel",
    tokenizer: "PreTrainedTokenizerBase",
    held_out: HeldOut,
    query_max_len: int,
    passage_max_len: int,
) -> float:
    """Return the mean nDCG@10 of the held-out queries; dropout is off meanwhile, and no random number is drawn."""
    import torch

    def encode(texts: list[str], max_len: int):
        batches = []
        for start in range(0, len(texts), BATCH):
            inputs = tokenizer(
                texts[start : start + BATCH], truncation=True, max_length=max_len, padding=True, return_tensors="pt"
            )
            batches.append(model.encode([inputs.to(device)]).float().cpu())
        return torch.cat(batches).numpy()  # (texts, dim)

    device = next(model.parameters()).device
    training = model.training
    model.eval()
    with torch.no_grad():
        passages = encode(list(held_out.corpus.values()), passage_max_len)
        queries = encode(list(held_out.queries.values()), query_max_len)
    model.train(training)
    run = search(build_index(passages), queries, list(held_out.queries), list(held_out.corpus))
    return average(score_queries(held_out.qrels, run))["ndcg@10"]
