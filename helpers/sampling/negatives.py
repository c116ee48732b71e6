"""Which passages a query learns to keep away from: random ones, drawn from the training part."""

import random
from collections.abc import Iterable

from helpers.sampling.texts import distinct, normalise


def negative_pool(train: list[dict], evaluation: list[dict]) -> list[str]:
    """Return the distinct passages of the training part that are no positive of the evaluation part."""
    held_out = {normalise(text) for pair in evaluation for text in pair["positive"]}
    passages = distinct(text for pair in train for text in pair["positive"])
    return [text for text in passages if normalise(text) not in held_out]


def sample_negatives(positives: Iterable[list[str]], pool: list[str], neg_num: int, seed: int) -> list[list[str]]:
    """Draw `neg_num` random negatives for each query: uniformly, without replacement, never one of its positives.

    `positives` holds those of each query, `pool` distinct passages; a list is shorter where the pool has no more.
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
