"""Which queries train and which evaluate."""

import random
from collections import Counter

from helpers.base import UserError
from helpers.sampling.texts import normalise


def split_pairs(pairs: list[dict], split_key: str, eval_share: float, seed: int) -> tuple[list[dict], list[dict]]:
    """Split pairs into a training and an evaluation part of `eval_share` of the queries.

    With `split_key` `query` each row falls on its own, by `datasets.Dataset.train_test_split`: the article's split,
    row for row. With `passage` queries that share a passage stay together, so that no positive of an evaluation
    query was ever trained on.

    Raises:
        UserError: one of the parts would be empty.
    """
    train, evaluation = (_split_rows if split_key == "query" else _split_groups)(pairs, eval_share, seed)
    if not train or not evaluation:
        raise UserError(
            f"{len(pairs)} pairs cannot be split by {split_key} into a training and an evaluation part with "
            f"EVAL_SHARE={eval_share}; give more pairs that do not share passages."
        )
    return train, evaluation


def _split_rows(pairs: list[dict], share: float, seed: int) -> tuple[list[dict], list[dict]]:
    from datasets import Dataset

    try:
        parts = Dataset.from_dict({"row": range(len(pairs))}).train_test_split(test_size=share, seed=seed)
    except ValueError:  # a part would be empty
        return pairs, []
    return [pairs[i] for i in parts["train"]["row"]], [pairs[i] for i in parts["test"]["row"]]


def _split_groups(pairs: list[dict], share: float, seed: int) -> tuple[list[dict], list[dict]]:
    held = held_rows([pair["positive"] for pair in pairs], round(share * len(pairs)), seed)
    return [pair for i, pair in enumerate(pairs) if i not in held], [pairs[i] for i in sorted(held)]


def held_rows(positives: list[list[str]], count: int, seed: int) -> set[int]:
    """Choose at most `count` rows to set aside, so that no passage of theirs is a positive of another row.

    Whole groups of rows that share passages are drawn at random; one too large for what is left stays.

    Args:
        positives: the positive passages of each row.
    """
    groups = passage_groups(positives)
    order = list(range(max(groups, default=-1) + 1))
    random.Random(seed).shuffle(order)
    sizes = Counter(groups)
    chosen, taken = set(), 0
    for group in order:
        if taken + sizes[group] <= count:
            chosen.add(group)
            taken += sizes[group]
    return {row for row, group in enumerate(groups) if group in chosen}


def passage_groups(positives: list[list[str]]) -> list[int]:
    """Return a group number for each row; rows that share a passage, directly or through others, share a group."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    number: dict[str, int] = {}
    edges = [
        (row, len(positives) + number.setdefault(normalise(text), len(number)))
        for row, texts in enumerate(positives)
        for text in texts
    ]
    rows, passages = zip(*edges, strict=True)
    size = len(positives) + len(number)
    graph = coo_array(([1] * len(edges), (rows, passages)), shape=(size, size))  # rows and passages as nodes
    labels = connected_components(graph, directed=False)[1]
    return labels[: len(positives)].tolist()
