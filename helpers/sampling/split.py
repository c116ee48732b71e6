"""What is drawn at random: which queries train and which evaluate, and the negatives of those that train."""

import random
from collections.abc import Iterable

from helpers.base import UserError
from helpers.sampling.texts import distinct, normalise


def split_pairs(pairs: list[dict], split_key: str, eval_share: float, seed: int) -> tuple[list[dict], list[dict]]:
    """Split pairs into a training and an evaluation part of `eval_share` of the queries.

    By `query` each row falls on its own, by `datasets.Dataset.train_test_split`: the article's split, row for row. By
    `passage` queries that share one stay together, so that no positive of an evaluation query was ever trained on.
    Raises UserError: one of the parts would be empty.
    """
    if split_key == "query":
        from datasets import Dataset

        try:
            parts = Dataset.from_dict({"row": range(len(pairs))}).train_test_split(test_size=eval_share, seed=seed)
            train, evaluation = list(parts["train"]["row"]), list(parts["test"]["row"])
        except ValueError:  # a part would be empty
            train = evaluation = []
    else:
        held = held_rows([pair["positive"] for pair in pairs], round(eval_share * len(pairs)), seed)
        train, evaluation = [row for row in range(len(pairs)) if row not in held], sorted(held)
    if not train or not evaluation:
        raise UserError(
            f"{len(pairs)} pairs cannot be split by {split_key} into a training and an evaluation part with "
            f"EVAL_SHARE={eval_share}; give more pairs that do not share passages."
        )
    return [pairs[row] for row in train], [pairs[row] for row in evaluation]


def held_rows(positives: list[list[str]], count: int, seed: int) -> set[int]:
    """Choose at most `count` rows, given by their positives, so that no passage of theirs is one of another row.

    Whole groups of rows that share passages, directly or through others, are drawn; one too large for the rest stays.
    """
    from scipy.cluster.hierarchy import DisjointSet

    joined = DisjointSet(range(len(positives)))
    first: dict[str, int] = {}  # passage -> the first row that has it
    for row, texts in enumerate(positives):
        for text in texts:
            joined.merge(first.setdefault(normalise(text), row), row)
    groups = joined.subsets()
    random.Random(seed).shuffle(groups)
    held: set[int] = set()
    for group in groups:
        if len(held) + len(group) <= count:
            held |= group
    return held


def negative_pool(train: list[dict], evaluation: list[dict]) -> list[str]:
    """Return the distinct passages of the training part that are no positive of the evaluation part."""
    held_out = {normalise(text) for pair in evaluation for text in pair["positive"]}
    passages = distinct(text for pair in train for text in pair["positive"])
    return [text for text in passages if normalise(text) not in held_out]


def sample_negatives(positives: Iterable[list[str]], pool: list[str], neg_num: int, seed: int) -> list[list[str]]:
    """Draw `neg_num` random negatives for each query from a `pool` of distinct passages, never one of its `positives`.

    Uniformly and without replacement; a list is shorter where the pool has no more.
    """
    rng = random.Random(seed)
    keys = [normalise(text) for text in pool]
    negatives = []
    for texts in positives:
        own = {normalise(text) for text in texts}
        # Enough draws for `neg_num` to remain whichever of them are the query's own; dropping those from a
        # uniform sample leaves a uniform sample of the others.
        drawn = rng.sample(range(len(pool)), min(len(pool), neg_num + len(own)))
        negatives.append([pool[i] for i in drawn if keys[i] not in own][:neg_num])
    return negatives
