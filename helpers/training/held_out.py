"""A slice of the training queries that is not trained on, to score checkpoints with."""

from helpers.sampling import EvalSet, sample_negatives
from helpers.sampling.split import held_rows
from helpers.sampling.texts import distinct, normalise

QUERIES = 128  # at most, and at most a tenth of the training queries
CORPUS = 1000  # passages to find theirs among


def split_held_out(rows: list[dict], seed: int) -> tuple[list[dict], list[dict]]:
    """Return the rows that train and those that are held out: a tenth, at most `QUERIES`, none where that is none.

    No passage of a held-out query stands in a row that trains: rows that share positives stay together, and where one
    was drawn as a negative another passage is drawn in its place.
    """
    held = held_rows([[*row["pos"], row["query"]] for row in rows], min(QUERIES, len(rows) // 10), seed)
    kept = [row for i, row in enumerate(rows) if i not in held]
    aside = {normalise(text) for i in held for text in rows[i]["pos"]}
    left = [[text for text in row["neg"] if normalise(text) not in aside] for row in kept]
    most = max(len(row["neg"]) - len(texts) for row, texts in zip(kept, left, strict=True))  # missing in a row
    taken = (row["pos"] + texts for row, texts in zip(kept, left, strict=True))
    pool = distinct(text for row in kept for text in row["pos"])
    drawn = sample_negatives(taken, pool, most, seed)
    train = [
        row | {"neg": (texts + more)[: len(row["neg"])]} for row, texts, more in zip(kept, left, drawn, strict=True)
    ]
    return train, [rows[i] for i in sorted(held)]


def build_held_out(train: list[dict], held: list[dict], instruction: str) -> EvalSet:
    """Build the retrieval task of the held-out rows: their positives among those of other rows, `CORPUS` in all.

    Queries begin with their instruction. Negatives are left alone, so that the task is the same however many a row has.
    """
    own, others = ([text for row in rows for text in row["pos"]] for rows in (held, train))
    texts = distinct(own + others)[: max(CORPUS, len(distinct(own)))]
    docids = {normalise(text): f"d{i}" for i, text in enumerate(texts)}
    return EvalSet(
        queries={f"q{i}": instruction + row["query"] for i, row in enumerate(held)},
        corpus=dict(zip(docids.values(), texts, strict=True)),
        qrels={f"q{i}": {docids[normalise(text)]: 1 for text in row["pos"]} for i, row in enumerate(held)},
    )
