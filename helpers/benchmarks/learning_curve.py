"""How good a model gets from how many pairs: trainings of equally many steps on ever larger parts of all pairs."""

import random
from math import ceil

from helpers.benchmarks import passing_profile
from helpers.benchmarks.study import ANEW, SEEDS, Point, Study
from helpers.recall import search_with
from helpers.sampling import negative_pool, save_training_set
from helpers.training.script import run_script

SIZES = (100, 200, 400, 800, 1600)  # training pairs; the last size is all
NEG_NUM = 10


class LearningCurve(Study):
    """Seeds are those of the part that is drawn, and of the training."""

    name = "learning-curve"

    def points(self) -> list[Point]:
        """Return `pairs`, `seed` and `steps` of every point: one of a single epoch, then seed by seed all sizes.

        All of these have as many steps as an epoch of all pairs; a small part is gone through again and again.
        """
        everything, batch = len(self.train), self.profile.batch_size * self.profile.processes
        sizes, steps = [*(size for size in SIZES if size < everything), everything], ceil(everything / batch)
        once = {"pairs": sizes[0], "seed": SEEDS[0], "steps": ceil(sizes[0] / batch)}
        return [once, *({"pairs": size, "seed": seed, "steps": steps} for seed in SEEDS for size in sizes)]

    def measure(self, point) -> dict[str, object]:
        """Train on a part of the pairs. Parts of one seed are nested; negatives are drawn from the part."""
        part = random.Random(point["seed"]).sample(self.train, len(self.train))[: point["pairs"]]
        steps = ceil(len(part) / (self.profile.batch_size * self.profile.processes))  # of an epoch
        changes = {"EPOCHS": (point["steps"] - 0.5) / steps, "TRAINING_SEED": point["seed"]}  # they are rounded up
        changes |= ANEW | {"PROFILE": self.profile.name, "EVAL_STEPS": 0}  # all pairs train, whatever is set for others
        with passing_profile(part, **changes) as (own, environ):
            save_training_set(part, negative_pool(part, self.evaluation), NEG_NUM, own)
            run_script(name := f"neg{NEG_NUM}", environ)
            return self.means(search_with(name, self.eval_set, own))
