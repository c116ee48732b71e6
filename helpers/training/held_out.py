"""A slice of the training queries that is not trained on, to score checkpoints with."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from helpers.base import Qrels
from helpers.encoding.encoder import encode_texts
from helpers.evaluation.metrics import average, score_queries
from helpers.sampling.negatives import sample_negatives
from helpers.sampling.split import held_rows
from helpers.sampling.texts import distinct, normalise

if TYPE_CHECKING:
    from FlagEmbedding.finetune.embedder.encoder_only.base import BiEncoderOnlyEmbedderModel
    from transformers import BatchEncoding, PreTrainedTokenizerBase

QUERIES = 128  # at most, and at most a tenth of the training queries
CORPUS = 1000  # passages to find theirs among
TOKENS = 8192  # encoded at a time, at most


@dataclass(frozen=True)
class HeldOut:
    """Queries with their instruction, a corpus of training positives, and which of them answer which query."""

    queries: dict[str, str]
    corpus: dict[str, str]
    qrels: Qrels


def split_held_out(rows: list[dict], seed: int) -> tuple[list[dict], list[dict]]:
    """Return the rows that train and those that are held out: a tenth, at most `QUERIES`, none where that is none.

    No passage of a held-out query stands in a row that trains: rows that share positives stay together, and where one
    was drawn as a negative another passage is drawn in its place.
    """
    held = held_rows([[*row["pos"], row["query"]] for row in rows], min(QUERIES, len(rows) // 10), seed)
    kept = [row for i, row in enumerate(rows) if i not in held]
    aside = {normalise(text) for i in held for text in rows[i]["pos"]}
    left = [[text for text in row["neg"] if normalise(text) not in aside] for row in kept]
    missing = [len(row["neg"]) - len(texts) for row, texts in zip(kept, left, strict=True)]
    taken = (row["pos"] + texts for row, texts in zip(kept, left, strict=True))
    pool = distinct(text for row in kept for text in row["pos"])
    drawn = sample_negatives(taken, pool, max(missing, default=0), seed)
    train = [
        row | {"neg": texts + more[:count]} for row, texts, more, count in zip(kept, left, drawn, missing, strict=True)
    ]
    return train, [rows[i] for i in sorted(held)]


def build_held_out(train: list[dict], held: list[dict], instruction: str) -> HeldOut:
    """Build the retrieval task of the held-out rows: their positives among those of other rows, `CORPUS` in all.

    Negatives are left alone, so that the task is the same however many a row has.
    """
    queries: dict[str, str] = {}
    corpus: dict[str, str] = {}
    docids: dict[str, str] = {}
    qrels: Qrels = {}
    for i, row in enumerate(held + train):
        if i >= len(held) and len(corpus) >= CORPUS:
            break
        for text in row["pos"]:
            docid = docids.setdefault(normalise(text), f"d{len(docids)}")
            corpus.setdefault(docid, text)
            if i < len(held):
                queries[f"q{i}"] = instruction + row["query"]
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

    device, training = next(model.parameters()).device, model.training

    def forward(inputs: "BatchEncoding") -> torch.Tensor:
        return model.encode([inputs.to(device)])

    model.eval()
    with torch.no_grad():
        passages, _ = encode_texts(list(held_out.corpus.values()), passage_max_len, tokenizer, forward, TOKENS)
        queries, _ = encode_texts(list(held_out.queries.values()), query_max_len, tokenizer, forward, TOKENS)
    model.train(training)
    # Not by FAISS, which would take its own memory on every card beside the training's.
    scores = (queries @ passages.T).tolist()  # (queries, passages)
    run = {q: dict(zip(held_out.corpus, row, strict=True)) for q, row in zip(held_out.queries, scores, strict=True)}
    return average(score_queries(held_out.qrels, run))["ndcg@10"]
