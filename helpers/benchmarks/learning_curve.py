"""How good a model gets from how many pairs: trainings of equally many steps on ever larger parts of all pairs."""

import json
import random
import subprocess
from math import ceil

from helpers.base import ROOT, Profile, UserError, differing, fingerprint, model_fingerprint, read_json, write_json
from helpers.benchmarks import passing_profile
from helpers.encoding import Embedder, embedder_settings, model_folder
from helpers.evaluation import average, score_queries
from helpers.recall import Bm25Settings, bm25_run, build_index, search
from helpers.sampling import load_pairs, negative_pool, save_eval_set, save_training_set, split_pairs

SIZES = (100, 200, 400, 800, 1600)  # training pairs; the last size is all
SEEDS = (42, 1, 2)  # of the part that is drawn, and of the training
NEG_NUM = 10
MEASURES = ("ndcg@10", "recall@10")
STORED = ROOT / "docs" / "learning_curve.json"  # the demo's
SETTINGS = ["BASE_LAYERS", "POOLING", "INSTRUCTION", "QUERY_MAX_LEN", "PASSAGE_MAX_LEN", "NEGATIVES_SEED", "INDEX"]
SETTINGS += ["OWN_NEGATIVES", "NPROC", "CROSS_DEVICE_NEGATIVES", "LEARNING_RATE", "BATCH_SIZE", "GROUP_SIZE"]
SETTINGS += ["TEMPERATURE", "WARMUP", "PRECISION"]
ANEW = {"EVAL_STEPS": 0, "FORCE": 1, "RESUME": 0, "CHECK": 0}  # all pairs train, whatever is set for others


class Curve:
    """The learning curve of a profile: what it is made from, its points, and how to measure one."""

    def __init__(self, profile: Profile):
        """Split the profile's pairs and build its evaluation set. Raises UserError: as `load_pairs`, `split_pairs`."""
        pairs = load_pairs(profile)
        self.train, self.evaluation = split_pairs(pairs, profile.split_key, profile.eval_share, profile.split_seed)
        self.eval_set, self.profile = save_eval_set(self.evaluation, pairs, profile), profile
        self.batch = profile.batch_size * profile.processes
        self.path = STORED if profile.run_name == "demo" else profile.output_dir / STORED.name

    def made_from(self) -> dict[str, object]:
        """Return the identities of data and models, and the settings, the same on every machine."""
        profile, settings = self.profile, self.profile.model_dump(by_alias=True)
        return {
            "training pairs": fingerprint(map(json.dumps, self.train)),
            "evaluation set": self.eval_set.fingerprint,
            "base model": model_fingerprint(model_folder(profile.base_model, profile.base_revision)),
            "reference": model_fingerprint(model_folder(profile.reference_model, profile.reference_revision)),
            **{key: settings[key] for key in SETTINGS},
        }

    def points(self) -> list[dict[str, int]]:
        """Return `pairs`, `seed` and `steps` of every point: one of a single epoch, then seed by seed all sizes.

        All of these have as many steps as an epoch of all pairs; a small part is gone through again and again.
        """
        everything = len(self.train)
        sizes, steps = [*(size for size in SIZES if size < everything), everything], ceil(everything / self.batch)
        once = {"pairs": sizes[0], "seed": SEEDS[0], "steps": ceil(sizes[0] / self.batch)}
        return [once, *({"pairs": size, "seed": seed, "steps": steps} for seed in SEEDS for size in sizes)]

    def measure(self, point: dict[str, int]) -> dict[str, float]:
        """Train on a part of the pairs by the project's own script, in folders that are removed; return `MEASURES`.

        Parts of one seed are nested; negatives are drawn from the part. Raises UserError: the training failed.
        """
        part = random.Random(point["seed"]).sample(self.train, len(self.train))[: point["pairs"]]
        epochs = (point["steps"] - 0.5) / ceil(len(part) / self.batch)  # the trainer rounds its steps up
        changes = {"PROFILE": self.profile.name, "EPOCHS": epochs, "TRAINING_SEED": point["seed"]}
        with passing_profile(part, **changes, **ANEW) as (own, environ):
            save_training_set(part, negative_pool(part, self.evaluation), NEG_NUM, own)
            script = ROOT / f"finetune_neg{NEG_NUM}.sh"
            done = subprocess.run(["bash", script], env=environ, capture_output=True, text=True, check=False)
            if done.returncode:
                reason = (done.stderr.strip() or done.stdout.strip()).rpartition("\n")[2]
                raise UserError(f"The training on {len(part)} pairs failed: {reason}")
            return self.score(f"neg{NEG_NUM}", own)

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
    before = curve.stored() if curve.path.exists() else found
    if others := differing(before["made_from"], found["made_from"]):
        print(f"{curve.path.name} is measured anew: it was made from other {others}.")
    else:
        found = before
    for name in ("bm25", "raw", "reference"):
        if name not in found["beside"]:
            found["beside"][name] = curve.score(name, profile)
            write_json(curve.path, found)
        print(f"{name:9} {found['beside'][name]}", flush=True)
    for point in curve.points():
        if not any(known | point == known for known in found["points"]):
            found["points"].append(point | curve.measure(point))
            write_json(curve.path, found)
            print(found["points"][-1], flush=True)
