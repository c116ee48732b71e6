"""What is drawn at random: which queries train and which evaluate, and the negatives of those that train."""

import random
from collections.abc import Iterable, Iterator, Sequence
from math import ceil

import numpy as np

from helpers.base import UserError
from helpers.sampling.sources import NOTHING
from helpers.sampling.texts import distinct, text_id


def split_pairs(pairs: list[dict], split_key: str, eval_share: float, seed: int) -> tuple[list[dict], list[dict]]:
    """Split pairs into a training and an evaluation part of `eval_share` of the queries.

    By `query` each row falls on its own, as in `datasets.Dataset.train_test_split`: the article's split, row for row.
    By `passage` pairs that are connected through texts, a query or a positive of another, stay together, so that
    nothing of an evaluation pair was ever trained on; where most are, that is printed. Pairs with a `part` are split
    already. Of a training pair's own negatives stay those that are no positives of the evaluation.
    Raises UserError: one of the parts would be empty.
    """
    rows = range(len(pairs))
    if parted := any("part" in pair for pair in pairs):
        train, held = ([row for row in rows if pairs[row]["part"] == name] for name in ("train", "test"))
        if not held:
            raise UserError("MAX_PAIRS leaves no pair that evaluates; raise it.")
    elif split_key == "query":
        drawn, count = np.random.default_rng(seed).permutation(rows).tolist(), ceil(eval_share * len(pairs))
        train, held = drawn[count:], drawn[:count]
    else:
        groups = connected([text_id(text) for text in (*pair["positive"], pair["query"])] for pair in pairs)
        if (largest := max(map(len, groups))) > len(pairs) / 2 and len(pairs) > 2:
            print(
                f"{largest} of {len(pairs)} pairs are connected through texts that they share, and train together; "
                "so few others evaluate. Give pairs whose passages differ, or set SPLIT_KEY=query, which lets "
                "trained passages into the evaluation."
            )
        held = sorted(held_rows(groups, round(eval_share * len(pairs)), seed))
        train = sorted({*rows}.difference(held))
    if not parted and not (held and (train or eval_share == 1)):
        raise UserError(
            f"{len(pairs)} pairs cannot be split by {split_key} into a training and an evaluation part with "
            f"EVAL_SHARE={eval_share}; give more pairs that do not share passages."
        )
    training, evaluation = ([pairs[row] for row in part] for part in (train, held))
    if any("negative" in pair for pair in training):
        asked_for = {text_id(text) for pair in evaluation for text in pair["positive"]}
        for number, pair in enumerate(training):
            fair = [text for text in pair.get("negative", ()) if text_id(text) not in asked_for]
            training[number] = pair | {"negative": fair}
    return training, evaluation


def connected(ids: Iterable[Iterable[int]]) -> list[set[int]]:
    """Return the groups of rows that share a text, directly or through others; rows are given by their `text_id`s."""
    from scipy.cluster.hierarchy import DisjointSet

    joined = DisjointSet()
    first: dict[int, int] = {}  # text -> the first row that has it
    for row, texts in enumerate(ids):
        joined.add(row)
        for text in texts:
            joined.merge(first.setdefault(text, row), row)
    return joined.subsets()


def held_rows(groups: list[set[int]], count: int, seed: int) -> set[int]:
    """Draw groups that `connected` has found, until they have `count` rows; one too large for the rest stays."""
    groups, held = list(groups), set[int]()
    random.Random(seed).shuffle(groups)
    for group in groups:
        held |= group if len(held) + len(group) <= count else set()
    return held


def negative_pool(train: list[dict], evaluation: list[dict]) -> list[str]:
    """Return the distinct passages that train and are no positive of the evaluation; raises UserError: none trains."""
    if not train:
        raise UserError(f"No pair trains: {NOTHING}.")
    held_out = {text_id(text) for pair in evaluation for text in pair["positive"]}
    passages = distinct(text for pair in train for text in pair["positive"])
    return [text for text in passages if text_id(text) not in held_out]


def sample_negatives(
    positives: Iterable[Iterable[int]], pool: Sequence[int], neg_num: int, seed: int
) -> Iterator[list[int]]:
    """Draw `neg_num` random negatives for each query from a `pool` of distinct passages, never one of its `positives`.

    Passages are given by their `text_id`; what is drawn, uniformly and without replacement, are places in the pool. A
    list is shorter where the pool has no more.
    """
    rng = random.Random(seed)
    for own in map(set, positives):
        # Enough for `neg_num` to remain; a uniform sample less the query's own is a uniform sample of the others.
        drawn = rng.sample(range(len(pool)), min(len(pool), neg_num + len(own)))
        yield [place for place in drawn if pool[place] not in own][:neg_num]
