"""A slice of the training queries that is not trained on, to score checkpoints with."""

from collections.abc import Collection, Iterable

from helpers.sampling import EvalSet, TrainingSet, sample_negatives, text_id
from helpers.sampling.split import connected, held_rows
from helpers.sampling.texts import distinct

QUERIES = 128  # at most, and at most a tenth of the training queries
CORPUS = 1000  # passages to find theirs among


def split_held_out(rows: TrainingSet, seed: int) -> tuple[TrainingSet, TrainingSet]:
    """Return the rows that train and those that are held out: a tenth, at most `QUERIES`, none where that is none.

    No passage of a held-out query stands in a row that trains: rows that share positives stay together, and where one
    was drawn as a negative another passage is drawn in its place, but not where a teacher has scored the negatives.
    """
    ids = [rows.ids(row)[:2] for row in range(len(rows))]
    groups = connected([*positives, query] for query, positives in ids)
    held = held_rows(groups, min(QUERIES, len(rows) // 10), seed)
    kept = [row for row in range(len(rows)) if row not in held]
    aside = {passage for row in held for passage in ids[row][1]}
    missing = {row: n for row in kept if (n := sum(passage in aside for passage in rows.ids(row)[2]))}
    pool: dict[int, tuple[int, int]] = {}  # passage -> the first row that has it, and which of its positives it is
    for row in kept:
        for place, passage in enumerate(ids[row][1]):
            pool.setdefault(passage, (row, place))
    places = list(pool.values())
    taken = (  # a query is never its own negative
        [*pool.keys() & {ids[row][0]}, *ids[row][1], *(p for p in rows.ids(row)[2] if p not in aside)] for row in kept
    )
    negatives = sample_negatives(taken, list(pool), max(missing.values(), default=0), seed)
    replaced = {}
    for row, drawn in zip(kept, negatives, strict=True):
        if row in missing:
            given, passages = rows[row], rows.ids(row)[2]
            left = [place for place, passage in enumerate(passages) if passage not in aside]
            fields = ("neg", "neg_scores") if rows.taught else ("neg",)
            replaced[row] = {name: [given[name][place] for place in left] for name in fields}
            if not rows.taught:
                more = [rows[other]["pos"][place] for other, place in (places[i] for i in drawn)]
                replaced[row]["neg"] = (replaced[row]["neg"] + more)[: len(passages)]
    return rows.chosen(kept, replaced), rows.chosen(sorted(held), {})


def build_held_out(
    train: Iterable[dict], held: Collection[dict], instruction: str, before_passages: str = ""
) -> EvalSet:
    """Build the retrieval task of the held-out rows: their positives among those of other rows, `CORPUS` in all.

    Queries and passages begin with their instructions. Negatives are left alone, so that the task is the same however
    many a row has.
    """
    texts = {text_id(text): text for text in distinct(text for row in held for text in row["pos"])}
    others = (text for row in train for text in row["pos"])
    while len(texts) < CORPUS and (text := next(others, None)) is not None:
        texts.setdefault(text_id(text), text)
    docids = {key: f"d{i}" for i, key in enumerate(texts)}
    return EvalSet(
        queries={f"q{i}": instruction + row["query"] for i, row in enumerate(held)},
        corpus={docid: before_passages + text for docid, text in zip(docids.values(), texts.values(), strict=True)},
        qrels={f"q{i}": {docids[text_id(text)]: 1 for text in row["pos"]} for i, row in enumerate(held)},
    )
