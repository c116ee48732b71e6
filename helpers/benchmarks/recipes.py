"""What would bring more than random negatives: recipes of training beside each other, over seeds."""

from dataclasses import asdict, dataclass, field
from itertools import product
from resource import RUSAGE_CHILDREN, getrusage
from typing import Any

import numpy as np
import pandas as pd

from helpers.base import Profile, Run
from helpers.benchmarks import passing_profile
from helpers.benchmarks.study import ANEW, SEEDS, SETTINGS, Point, Study
from helpers.encoding import Embedder, embedder_settings, model_folder, training_profile
from helpers.encoding.models import skeleton
from helpers.encoding.vectors import cut
from helpers.evaluation import score_queries
from helpers.evaluation.significance import recipe_difference
from helpers.recall import build_index, search, search_with
from helpers.recall.mining import mine, mining_task, with_negatives
from helpers.recall.scoring import cosines, taught_pairs
from helpers.sampling import TrainingSet, negative_pool, save_training_set
from helpers.training.script import run_script

MORE_SEEDS = (*SEEDS, 3, 4)  # of the two recipes of the headline
MINERS, RANKS, NEG_NUM = ("bm25", "neg10"), 50, 10
HALVES = "halves"  # `CUTS` of them
LONGER = {"GROUP_SIZE": 4, "EPOCHS": 2}
CUTS = 5  # lengths of a vector: all of it, half of it, half of that, ...


@dataclass(frozen=True)
class Recipe:
    """A training, its settings, the filter's limit for mined negatives, the temperature of the teacher's scores."""

    training: str
    settings: dict[str, Any] = field(default_factory=dict)
    limit: float = 0
    temperature: float = 0


RECIPES = {
    "random, 8 steps": Recipe("neg10", {"EPOCHS": 0.1, "EVAL_STEPS": 0}),
    "random": Recipe("neg10"),
    "ready-made": Recipe("ready_made"),
    "hard, limit 0.8": Recipe("hard", LONGER, limit=0.8),
    "random, longer": Recipe("hard", LONGER, limit=0),  # a filter that keeps nothing
    "hard, no filter": Recipe("hard", LONGER, limit=9),
    "taught": Recipe("taught", LONGER, limit=0.8, temperature=0.05),
    "taught by no one": Recipe("taught", LONGER, limit=0.8, temperature=1e6),  # a uniform teacher
    "random, 50 a query": Recipe("neg50"),
    "hard, limit 0.95": Recipe("hard", LONGER, limit=0.95),
    "random, batch 64, 2 epochs": Recipe("neg10", {"BATCH_SIZE": 64, "EPOCHS": 2}),
    "taught, cosines as they are": Recipe("taught", LONGER, limit=0.8, temperature=1),
    "ready-made, rate 3e-4": Recipe("ready_made", {"READY_MADE_LEARNING_RATE": 3e-4}),
    "hard, Matryoshka": Recipe("hard", LONGER | {"MATRYOSHKA": HALVES}, limit=0.8),
    "ready-made, 3 of 6 layers frozen": Recipe("ready_made", {"FROZEN_LAYERS": 3}),
    "hard, limit 0.6": Recipe("hard", LONGER, limit=0.6),
    "taught, temperature 0.2": Recipe("taught", LONGER, limit=0.8, temperature=0.2),
    "ready-made, rate 1e-5": Recipe("ready_made", {"READY_MADE_LEARNING_RATE": 1e-5}),
}
ARTICLE = "random"  # the demo's form of the article's recipe
HEADLINE = (ARTICLE, "ready-made")


class Recipes(Study):
    """Seeds are those of the training; negatives are drawn and mined once."""

    name = "recipes"
    settings = [*SETTINGS, "EPOCHS", "EVAL_STEPS", "READY_MADE_LEARNING_RATE"]

    def __init__(self, profile: Profile):
        super().__init__(profile)
        self.runs: dict[int, list[Run]] = {}  # seed -> what its miners have found

    def points(self) -> list[Point]:
        """Return `recipe`, what it is, and `seed`: the quickest, the article's, then seed by seed the others."""
        quickest, *others = RECIPES
        named = [(quickest, SEEDS[0]), *((ARTICLE, seed) for seed in MORE_SEEDS)]
        others.remove(ARTICLE)
        named += [(name, seed) for seed, name in product(MORE_SEEDS, others) if seed in SEEDS or name in HEADLINE]
        return [{"recipe": name, **asdict(RECIPES[name]), "seed": seed} for name, seed in named]

    def measure(self, point) -> dict[str, object]:
        """Build the training set as notebooks 01, 10, 11 and 12 do, and train on it."""
        name, hard = point["training"], self._mined(point["seed"], point["limit"]) if point["limit"] else []
        changes = ANEW | {"PROFILE": self.profile.name, "TRAINING_SEED": point["seed"]} | point["settings"]
        size = skeleton(model_folder(self.profile.base_model, self.profile.base_revision)).config.hidden_size
        dims = [size >> halved for halved in range(CUTS)]
        changes |= {key: ",".join(map(str, dims)) for key, value in changes.items() if value == HALVES}
        with passing_profile(self.train, **changes) as (own, environ):
            self._build(name, hard, point["temperature"], own)
            before = getrusage(RUSAGE_CHILDREN)
            run_script(name, environ)
            after = getrusage(RUSAGE_CHILDREN)
            model, values = Embedder(embedder_settings(own, name), own), self.eval_set
            queries, passages = (
                model.encode_queries(values.queries.values()),
                model.encode_corpus(values.corpus.values()),
            )
            runs = {
                dim: search(
                    build_index(cut(passages, dim)), cut(queries, dim), list(values.queries), list(values.corpus)
                )
                for dim in reversed(dims)
            }
            *_, run = runs.values()
            per_query = score_queries(self.eval_set.qrels, run)["ndcg@10"].values()
            rows = len(TrainingSet(own.training_file(name)))
        return self.means(run) | {
            "CPU seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime),
            "texts": round(own.epochs * rows * (1 + own.group_size)),
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
        if name in ("hard", "taught"):
            save_training_set(hard or self.train, pool, NEG_NUM, own, name="hard", own=bool(hard))
        else:
            neg_num = 50 if name == "neg50" else NEG_NUM
            save_training_set(self.train, pool, neg_num, training_profile(own, name), name=name)
        if name == "taught":
            teacher = Embedder(embedder_settings(own, "reference"), own)
            pairs = taught_pairs(TrainingSet(own.training_file("hard")), cosines(teacher), temperature)
            save_training_set(pairs, [], NEG_NUM, own, name=name, own=True)


def table(points: list[dict]) -> pd.DataFrame:
    """Return a row a recipe: over its seeds the mean and the difference to the article's recipe, and what it takes."""
    frame, rows = pd.DataFrame(points), {}
    values = {
        name: np.array([[int(n) / 1000 for n in kept.split()] for kept in part["thousandths"]])  # (seeds, queries)
        for name, part in frame.groupby("recipe", sort=False)
    }
    for name, part in frame.groupby("recipe", sort=False):
        more = ""
        if name != ARTICLE and min(len(values[name]), len(values[ARTICLE])) > 1:  # of one seed nothing is known
            found = recipe_difference(values[name], values[ARTICLE])
            more = f"{found.mean:+.3f} ± {found.margin:.3f}"
        rows[name] = {
            "seeds": len(part),
            "CPU seconds": round(part["CPU seconds"].median()),
            "texts": part["texts"].iloc[0],
            "nDCG@10": round(part["ndcg@10"].mean(), 3),
            f"less {ARTICLE}": more,
        }
    return pd.DataFrame(rows).T
