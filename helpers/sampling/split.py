"""Which queries train and which evaluate."""

import random

from helpers.base import UserError
from helpers.sampling.texts import normalise


def split_pairs(pairs: list[dict], split_key: str, eval_share: float, seed: int) -> tuple[list[dict], list[dict]]:
    """Split pairs into a training and an evaluation part of `eval_share` of the queries.

    With `split_key` `query` each row falls on its own, by `datasets.Dataset.train_test_split`: the article's split,
    row for row. With `passage` queries that share a passage stay together, so that no positive of an evaluation
    query was ever trained on. Raises UserError: one of the parts would be empty.
    """
    if split_key == "query":
        train, evaluation = _split_rows(len(pairs), eval_share, seed)
    else:
        held = held_rows([pair["positive"] for pair in pairs], round(eval_share * len(pairs)), seed)
        train, evaluation = [row for row in range(len(pairs)) if row not in held], sorted(held)
    if not train or not evaluation:
        raise UserError(
            f"{len(pairs)} pairs cannot be split by {split_key} into a training and an evaluation part with "
            f"EVAL_SHARE={eval_share}; give more pairs that do not share passages."
        )
    return [pairs[row] for row in train], [pairs[row] for row in evaluation]


def _split_rows(count: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    from datasets import Dataset

    try:
        parts = Dataset.from_dict({"row": range(count)}).train_test_split(test_size=share, seed=seed)
    except ValueError:  # a part would be empty
        return [], []
    return list(parts["train"]["row"]), list(parts["test"]["row"])


def held_rows(positives: list[list[str]], count: int, seed: int) -> set[int]:
    """Choose at most `count` rows, given by their positives, so that no passage of theirs is one of another row.

    Whole groups of rows that share passages are drawn at random; one too large for what is left stays.
    """
    groups = passage_groups(positives)
    random.Random(seed).shuffle(groups)
    held: set[int] = set()
    for group in groups:
        if len(held) + len(group) <= count:
            held |= group
    return held


def passage_groups(positives: list[list[str]]) -> list[set[int]]:
    """Group the rows: those that share a passage, directly or through others, stand in one set."""
    from scipy.cluster.hierarchy import DisjointSet

    groups = DisjointSet(range(len(positives)))
    first: dict[str, int] = {}  # passage -> the first row that has it
    for row, texts in enumerate(positives):
        for text in texts:
            groups.merge(first.setdefault(normalise(text), row), row)
    return groups.subsets()
