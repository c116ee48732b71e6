"""What would bring more than random negatives: recipes of training beside each other, over seeds."""

from itertools import product
from math import ceil
from resource import RUSAGE_CHILDREN, getrusage
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from helpers.base import Profile, Run, model_fingerprint
from helpers.benchmarks import passing_profile
from helpers.benchmarks.study import ANEW, SEEDS, SETTINGS, Point, Study
from helpers.encoding import Embedder, embedder_settings, model_folder, training_profile
from helpers.encoding.encoder import cut
from helpers.encoding.models import skeleton
from helpers.evaluation import score_queries
from helpers.evaluation.significance import recipe_difference
from helpers.recall import build_index, search, search_with
from helpers.recall.mining import mine, mining_task, with_negatives
from helpers.recall.scoring import at_temperature, cosines, taught_pairs
from helpers.sampling import TrainingSet, negative_pool, save_training_set
from helpers.training.prepare import hold_out
from helpers.training.script import run_script

MORE_SEEDS = (*SEEDS, 3, 4)  # of the two recipes of the headline
MINERS, RANKS, NEG_NUM = ("bm25", "neg10"), 50, 10
HALVES = "halves"  # stands for them, of the base model's size


class Recipe(NamedTuple):
    """A training, its settings, the filter's limit for mined negatives, the temperature of the teacher's scores."""

    training: str
    settings: dict[str, Any] = {}
    limit: float = 0
    temperature: float = 0


RECIPES = {
    "random, 9 steps": Recipe("neg10", {"EPOCHS": 0.1, "EVAL_STEPS": 0}),
    "random": Recipe("neg10"),
    "ready-made": Recipe("ready_made"),
    "hard, limit 0.8": Recipe("hard", limit=0.8),
    "random, longer": Recipe("hard"),  # a filter that keeps nothing
    "hard, no filter": Recipe("hard", limit=9),
    "taught": Recipe("taught", limit=0.8, temperature=0.05),
    "taught by no one": Recipe("taught", limit=0.8, temperature=1e6),  # a uniform teacher
    "random, 50 a query": Recipe("neg50"),
    "hard, limit 0.95": Recipe("hard", limit=0.95),
    "random, batch 64, 2 epochs": Recipe("neg10", {"BATCH_SIZE": 64, "EPOCHS": 2}),
    "taught, cosines as they are": Recipe("taught", limit=0.8, temperature=1),
    "ready-made, rate 3e-4": Recipe("ready_made", {"READY_MADE_LEARNING_RATE": 3e-4}),
    "hard, Matryoshka": Recipe("hard", {"MATRYOSHKA": HALVES}, limit=0.8),
    "ready-made, 3 of 6 layers frozen": Recipe("ready_made", {"FROZEN_LAYERS": 3}),
    "hard, limit 0.6": Recipe("hard", limit=0.6),
    "taught, temperature 0.2": Recipe("taught", limit=0.8, temperature=0.2),
    "ready-made, rate 1e-5": Recipe("ready_made", {"READY_MADE_LEARNING_RATE": 1e-5}),
}
# What `random` has by its settings: nothing is mined, no checkpoint scored, so that all of the time is training.
ARTICLE_BATCHES: dict[str, float] = {"GROUP_SIZE": 8, "BATCH_SIZE": 4, "EPOCHS": 3}
GRID_SETTINGS: dict[str, dict[str, float]] = {
    "half an epoch": {"EPOCHS": 0.5},
    "one epoch": {},
    "in-batch alone": {"GROUP_SIZE": 1},
    "in-batch alone, batch 64, 2 epochs": {"GROUP_SIZE": 1, "BATCH_SIZE": 64, "EPOCHS": 2},
    "4 passages a query": {"GROUP_SIZE": 4},
    "batch 16": {"BATCH_SIZE": 16},
    "batch 64": {"BATCH_SIZE": 64},
    "rate 3e-4": {"LEARNING_RATE": 3e-4},
    "rate 1.2e-3": {"LEARNING_RATE": 1.2e-3},
    "temperature 0.01": {"TEMPERATURE": 0.01},
    "temperature 0.05": {"TEMPERATURE": 0.05},
    # An eighth of the queries a step bears less: a rate between 6e-4 / 8 and 6e-4 / sqrt(8).
    "the article's batches, rate 1.5e-4": ARTICLE_BATCHES | {"LEARNING_RATE": 1.5e-4},
}
GRID = {name: Recipe("neg10", {"EVAL_STEPS": 0, **settings}) for name, settings in GRID_SETTINGS.items()}
ARTICLE = "random"  # the demo's form of the article's recipe
HEADLINE = (ARTICLE, "ready-made")


def halves(size: int) -> list[int]:
    """Return lengths to which vectors of a size are cut: all of it, half of it, ..., a sixteenth."""
    return [size >> n for n in range(5)]


class Recipes(Study):
    """Seeds are those of the training, and of the neg10 that mines; negatives are drawn by NEGATIVES_SEED."""

    name = "recipes"
    settings = [*SETTINGS, "EPOCHS", "EVAL_STEPS", "MINED_GROUP_SIZE", "MINED_EPOCHS", "READY_MADE_LEARNING_RATE"]

    def __init__(self, profile: Profile):
        super().__init__(profile)
        self.runs: dict[int, list[Run]] = {}  # seed -> what its miners have found

    def points(self) -> list[Point]:
        """Return `recipe`, what it is, and `seed`: all of one seed first, so of one machine."""
        first, *seeds = SEEDS
        known = RECIPES | GRID
        quickest, *others = known
        named = [*product(known, [first]), *product(HEADLINE, [seed for seed in MORE_SEEDS if seed != first])]
        named += [(name, seed) for seed, name in product(seeds, others) if name not in HEADLINE]
        return [{"recipe": name, **known[name]._asdict(), "seed": seed} for name, seed in named]

    def made_from(self) -> dict[str, object]:
        """Return the identities of data and models, the ready-made one's, too, settings, and how batches are fed."""
        folder = model_folder(self.profile.ready_made_model, self.profile.ready_made_revision)
        how = "packed on a CPU"  # padded ones take longer, and dropout draws other numbers
        return super().made_from() | {"ready-made": model_fingerprint(folder), "batches": how}

    def measure(self, point) -> dict[str, object]:
        """Build the training set as notebooks 01, 10, 11 and 12 do, and train on it."""
        name, hard = point["training"], self._mined(point["seed"], point["limit"]) if point["limit"] else []
        changes = ANEW | {"PROFILE": self.profile.name, "TRAINING_SEED": point["seed"]} | point["settings"]
        size = skeleton(model_folder(self.profile.base_model, self.profile.base_revision)).config.hidden_size
        changes |= {key: ",".join(map(str, halves(size))) for key, value in changes.items() if value == HALVES}
        with passing_profile(self.train, **changes) as (own, environ):
            trained = training_profile(own, name)
            self._build(name, hard, point["temperature"], trained)
            before = getrusage(RUSAGE_CHILDREN)
            run_script(name, environ)
            after = getrusage(RUSAGE_CHILDREN)
            rows, _ = hold_out(TrainingSet(trained.training_file(name)), trained)
            steps = ceil(trained.epochs * ceil(len(rows) / trained.batch_size))  # the trainer goes whole ones
            asked = min(steps * trained.batch_size, ceil(trained.epochs) * len(rows))
            model, task = Embedder(embedder_settings(own, name), own), self.eval_set
            sides = model.encode_queries(task.queries.values()), model.encode_corpus(task.corpus.values())
            runs = {}
            for dim in halves(sides[0].shape[1]):
                queries, passages = (cut(side, dim) for side in sides)
                runs[dim] = search(build_index(passages), queries, list(task.queries), list(task.corpus))
        run, *_ = runs.values()
        per_query = score_queries(task.qrels, run)["ndcg@10"].values()
        return self.means(run) | {
            "CPU seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime),
            "texts": asked * (1 + trained.group_size),
            "by dimension": {dim: self.means(found)["ndcg@10"] for dim, found in runs.items()},
            "thousandths": " ".join(f"{1000 * value:.0f}" for value in per_query),  # of nDCG@10, a query each
        }

    def _mined(self, seed: int, limit: float) -> list[dict]:
        """Return the pairs with hard negatives, which BM25 and the neg10 of a seed have found."""
        pool = negative_pool(self.train, self.evaluation)
        task = mining_task(self.train, pool)
        if seed not in self.runs:
            with passing_profile(self.train, **ANEW, PROFILE=self.profile.name, TRAINING_SEED=seed) as (own, environ):
                self._build("neg10", [], 0, own)
                run_script("neg10", environ)
                self.runs[seed] = [search_with(name, task, own, RANKS) for name in MINERS]
        kept = [mine(task, run, range(RANKS), limit)[0] for run in self.runs[seed]]
        return with_negatives(self.train, task.corpus, kept, NEG_NUM, self.profile.negatives_seed)

    def _build(self, name: str, hard: list[dict], temperature: float, own: Profile) -> None:
        pool = negative_pool(self.train, self.evaluation)
        first, neg_num = "hard" if name == "taught" else name, 50 if name == "neg50" else NEG_NUM
        save_training_set(hard or self.train, pool, neg_num, own, name=first, own=bool(hard))
        if name == "taught":
            teacher = Embedder(embedder_settings(own, "reference"), own)
            pairs = taught_pairs(TrainingSet(own.training_file("hard")), cosines(teacher))
            save_training_set(at_temperature(pairs, temperature), [], NEG_NUM, own, name=name, own=True)


def table(points: list[dict], against: str = ARTICLE) -> pd.DataFrame:
    """Return a row a recipe: over its seeds the mean, what it takes, and the difference to another, where that is.

    Only the recipes of the headline have seeds enough for an interval, over queries and seeds.
    """
    frame, rows = pd.DataFrame(points), {}
    parts = dict(list(frame.groupby("recipe", sort=False)))
    values = {
        name: np.array([[int(n) / 1000 for n in kept.split()] for kept in part["thousandths"]])  # (seeds, queries)
        for name, part in parts.items()
    }
    for name, part in parts.items():
        more = ""
        if name != against and against in values:
            more = f"{values[name].mean() - values[against].mean():+.3f}"
            if {name, against} == set(HEADLINE) and min(map(len, (values[name], values[against]))) >= len(SEEDS):
                more += f" ± {recipe_difference(values[name], values[against]).margin:.3f}"
        rows[name] = {
            "seeds": len(part),
            "CPU seconds": part["CPU seconds"].iloc[0],  # of the seed that all have on one machine
            "texts": part["texts"].iloc[0],
            "nDCG@10": round(part["ndcg@10"].mean(), 3),
            f"less {against}": more,
        }
    return pd.DataFrame(rows).T
