"""How good a model gets from how many pairs: trainings of equally many steps on ever larger parts of all pairs."""

import os
import random
import shutil
import subprocess
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory

from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator, ScalarFormatter

from helpers.base import ROOT, Profile, UserError, differing, fingerprint, load_profile, read_json, write_json
from helpers.base.files import write_jsonl
from helpers.encoding import Embedder, embedder_settings
from helpers.evaluation import average, score_queries
from helpers.evaluation.results import made_of
from helpers.recall import Bm25Settings, bm25_run, build_index, search
from helpers.sampling import load_pairs, negative_pool, save_eval_set, save_training_set, split_pairs

SIZES = (100, 200, 400, 800, 1600)  # training pairs; the last size is all
SEEDS = (42, 1, 2)  # of the part that is drawn, and of the training
NEG_NUM = 10
MEASURES = ("ndcg@10", "recall@10")
STORED = ROOT / "docs" / "learning_curve.json"  # the demo's
TRAINED = ("LEARNING_RATE", "BATCH_SIZE", "GROUP_SIZE", "TEMPERATURE", "WARMUP", "NEGATIVES_SEED")


class Curve:
    """The learning curve of a profile: what it is made from, its points, and how to measure one."""

    def __init__(self, profile: Profile):
        """Split the profile's pairs and build its evaluation set. Raises UserError: as `load_pairs`, `split_pairs`."""
        pairs = load_pairs(profile)
        self.train, evaluation = split_pairs(pairs, profile.split_key, profile.eval_share, profile.split_seed)
        self.eval_set, self.profile = save_eval_set(evaluation, pairs, profile), profile
        self.batch = profile.batch_size * profile.processes
        self.path = STORED if profile.run_name == "demo" else profile.output_dir / STORED.name

    def made_from(self) -> dict[str, object]:
        """Return the identities of data, models and settings, the same on every machine."""
        settings = self.profile.model_dump(by_alias=True)
        return made_of(self.profile, embedder_settings(self.profile, "raw"), self.eval_set) | {
            "training pairs": fingerprint(row["query"] + "\n" + "\n".join(row["positive"]) for row in self.train),
            "reference": embedder_settings(self.profile, "reference").weights,
            **{key: settings[key] for key in TRAINED},
        }

    def points(self) -> list[dict[str, int]]:
        """Return `pairs`, `seed` and `steps` of every point: one of a single epoch, then seed by seed all sizes.

        All of these have as many steps as an epoch of all pairs; a small part is gone through again and again.
        """
        everything, smallest = len(self.train), min(SIZES[0], len(self.train))
        sizes, steps = [*(size for size in SIZES if size < everything), everything], ceil(everything / self.batch)
        once = {"pairs": smallest, "seed": SEEDS[0], "steps": ceil(smallest / self.batch)}
        return [once, *({"pairs": size, "seed": seed, "steps": steps} for seed in SEEDS for size in sizes)]

    def measure(self, point: dict[str, int]) -> dict[str, float]:
        """Train on a part of the pairs by the project's own script, in folders that are removed; return `MEASURES`.

        Parts of one seed are nested; negatives are drawn from the part. Raises UserError: the training failed.
        """
        order = random.Random(point["seed"]).sample(self.train, len(self.train))
        part = order[: point["pairs"]]
        epochs = (point["steps"] - 0.5) / ceil(len(part) / self.batch)  # the trainer rounds its steps up
        changes = {
            "EPOCHS": epochs,
            "TRAINING_SEED": point["seed"],
            "EVAL_STEPS": 0,
            "FORCE": 1,
            "RESUME": 0,
            "CHECK": 0,
        }
        with TemporaryDirectory() as folder:
            write_jsonl(path := Path(folder) / "part.jsonl", part)  # as a data set it has folders of its own
            environ = os.environ | {key: str(value) for key, value in changes.items()} | {"DATASET": str(path)}
            own = load_profile(self.profile.name, environ)
            try:
                save_training_set(part, negative_pool(part, []), NEG_NUM, own)
                command = ["bash", str(ROOT / f"finetune_neg{NEG_NUM}.sh")]
                environ |= {"PROFILE": self.profile.name}
                done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
                if done.returncode:
                    said = (done.stderr.strip() or done.stdout.strip()).splitlines()
                    raise UserError(f"The training on {point['pairs']} pairs failed: {said[-1] if said else 'killed'}")
                return self.score(f"neg{NEG_NUM}", own)
            finally:
                for made in (own.data_dir, own.output_dir):
                    shutil.rmtree(made, ignore_errors=True)

    def score(self, name: str, profile: Profile) -> dict[str, float]:
        """Return `MEASURES` of `bm25`, or of a profile's model `raw`, `reference`, `neg10`, on the evaluation set."""
        queries, corpus = self.eval_set.queries, self.eval_set.corpus
        if name == "bm25":
            run = bm25_run(self.eval_set, Bm25Settings())
        else:
            model = Embedder(embedder_settings(profile, name), profile)
            index = build_index(model.encode_corpus(corpus.values()), profile.index)
            run = search(index, model.encode_queries(queries.values()), list(queries), list(corpus))
        means = average(score_queries(self.eval_set.qrels, run))
        return {measure: round(means[measure], 4) for measure in MEASURES}

    def stored(self) -> dict:
        """Return what was measured last, on this profile or else on the demo. Raises UserError: nothing was."""
        return read_json(self.path if self.path.exists() else STORED, "run python -m helpers benchmark learning-curve")


def benchmark(profile: Profile, smallest: bool = False) -> None:
    """Measure BM25, the models that are not trained and every point, and keep each as soon as it is there.

    A run that was cut goes on where it stopped, as long as data, models and settings are the same. With `smallest`
    only the quickest point is measured, and printed beside what is stored.
    """
    curve = Curve(profile)
    if smallest:
        point = curve.points()[0]
        known = [{key: kept[key] for key in MEASURES} for kept in curve.stored()["points"] if kept | point == kept]
        print(f"{point}: now {curve.measure(point)}, stored {known[0] if known else 'nothing'}")
        return
    found: dict = {"made_from": curve.made_from(), "beside": {}, "points": []}
    if curve.path.exists():
        before = curve.stored()
        if others := differing(before["made_from"], found["made_from"]):
            print(f"{curve.path.name} is measured anew: it was made from other {others}.")
        else:
            found = before
    for name in ("bm25", "raw", "reference"):
        found["beside"][name] = curve.score(name, profile)
        print(f"{name:9} {found['beside'][name]}", flush=True)
    for point in curve.points():
        if not any(known | point == known for known in found["points"]):
            found["points"].append(point | curve.measure(point))
            write_json(curve.path, found)
            print(found["points"][-1], flush=True)


def plot_curve(stored: dict, measure: str = MEASURES[0]) -> Axes:
    """Draw a measure over the number of pairs: a dot a training, a line through the means, one for each other model."""
    import pandas as pd

    points = pd.DataFrame(stored["points"])
    full = points[points["steps"] == points["steps"].max()]
    axes = full.plot.scatter("pairs", measure, figsize=(7, 3.5), logx=True, color="C0")
    means = full.groupby("pairs")[measure].mean()
    means.plot(ax=axes, color="C0", label=f"fine-tuned, {full['steps'].max()} steps, mean of the seeds")
    once = points.drop(full.index)
    axes.scatter(once["pairs"], once[measure], color="C3", label="fine-tuned, one epoch")
    for (name, values), style in zip(stored["beside"].items(), ("--", ":", "-."), strict=True):
        axes.axhline(values[measure], color="0.4", linestyle=style, label=name)
    axes.set(xlabel="training pairs", ylabel=measure, ylim=(0, None), xticks=means.index)
    axes.xaxis.set(major_formatter=ScalarFormatter(), minor_locator=NullLocator())
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return axes
