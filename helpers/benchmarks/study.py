"""Trainings beside each other: each is measured once and kept as soon as it is there."""

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from helpers.base import ROOT, Profile, Run, UserError, differing, fingerprint, model_fingerprint, read_json, write_json
from helpers.base.manifest import locked
from helpers.base.profile import load_profile
from helpers.encoding import model_folder
from helpers.evaluation import average, score_queries
from helpers.recall import search_with
from helpers.sampling import load_pairs, save_eval_set, split_pairs

SEEDS = (42, 1, 2)
MEASURES = ("ndcg@10", "recall@10")
SETTINGS = ["BASE_LAYERS", "POOLING", "INSTRUCTION", "QUERY_MAX_LEN", "PASSAGE_MAX_LEN", "NEGATIVES_SEED", "INDEX"]
SETTINGS += ["OWN_NEGATIVES", "NPROC", "CROSS_DEVICE_NEGATIVES", "LEARNING_RATE", "BATCH_SIZE", "GROUP_SIZE"]
SETTINGS += ["TEMPERATURE", "WARMUP", "PRECISION", "NNODES", "GRAD_CACHE", "FROZEN_LAYERS", "MATRYOSHKA", "VECTORS"]
ANEW = {"FORCE": 1, "RESUME": 0, "CHECK": 0}
BESIDE = ("bm25", "raw", "reference")

Point = dict[str, Any]


class Study(ABC):
    """What is measured of a profile: what it is made from, its points, and how to measure one."""

    name: str  # the command
    settings: list[str] = SETTINGS  # that all points share

    def __init__(self, profile: Profile):
        """Split the profile's pairs and build its evaluation set. Raises UserError: as `load_pairs`, `split_pairs`."""
        pairs = load_pairs(profile)
        self.train, self.evaluation = split_pairs(pairs, profile.split_key, profile.eval_share, profile.split_seed)
        self.eval_set, self.profile = save_eval_set(self.evaluation, pairs, profile), profile
        self.stored_path = ROOT / "docs" / f"{self.name.replace('-', '_')}.json"  # the demo's
        demo = profile == load_profile("demo", {})  # as it stands in its file
        self.path = self.stored_path if demo else profile.output_dir / self.stored_path.name

    @abstractmethod
    def points(self) -> list[Point]:
        """Return what tells the points from each other, the quickest one first."""

    @abstractmethod
    def measure(self, point: Point) -> dict[str, object]:
        """Train by the project's own script, in folders that are removed; return what was measured, `MEASURES` first.

        Raises UserError: the training failed.
        """

    def made_from(self) -> dict[str, object]:
        """Return the identities of data and models, and the settings, the same on every machine."""
        profile, settings = self.profile, self.profile.model_dump(by_alias=True)
        return {
            "training pairs": fingerprint(map(json.dumps, self.train)),
            "evaluation set": self.eval_set.fingerprint,
            "base model": model_fingerprint(model_folder(profile.base_model, profile.base_revision)),
            "reference": model_fingerprint(model_folder(profile.reference_model, profile.reference_revision)),
            **{key: settings[key] for key in self.settings},
        }

    def means(self, run: Run) -> dict[str, object]:
        """Return `MEASURES` of a run on the evaluation set."""
        means = average(score_queries(self.eval_set.qrels, run))
        return {measure: round(means[measure], 4) for measure in MEASURES}

    def stored(self) -> dict:
        """Return what was measured last, on this profile or else on the demo. Raises UserError: nothing was."""
        path: Path = self.path if self.path.exists() else self.stored_path
        return read_json(path, f"run python -m helpers benchmark {self.name}")

    def said(self) -> str:
        """Return whether what is stored was measured with the data, models and settings in force."""
        if others := differing(self.stored()["made_from"], self.made_from()):
            return f"measured with other {others} than are in force: run python -m helpers benchmark {self.name}"
        return "measured with what is in force"

    def run(self, smallest: bool = False) -> None:
        """Measure what is not trained and every point, and keep each as soon as it is there.

        A run that was cut goes on where it stopped, as long as data, models and settings are the same. With `smallest`
        only the quickest point is measured, and printed beside what is stored. Raises UserError: what is stored was
        measured with others.
        """
        if smallest:
            point = self.points()[0]
            print(self.said(), flush=True)
            known = [kept[MEASURES[0]] for kept in self.stored()["points"] if kept | point == kept]
            now = self.measure(point)[MEASURES[0]]
            print(f"{point}: {MEASURES[0]} now {now}, stored {known[0] if known else 'nothing'}")
            return
        with locked(self.path):
            made_from = self.made_from()
            found: dict = self.stored() if self.path.exists() else {"made_from": made_from, "beside": {}, "points": []}
            if others := differing(found["made_from"], made_from):
                raise UserError(f"{self.path} was made from other {others}; remove it to measure all anew.")
            for name in BESIDE:
                if name not in found["beside"]:
                    found["beside"][name] = self.means(search_with(name, self.eval_set, self.profile))
                    write_json(self.path, found)
                print(f"{name:9} {found['beside'][name]}", flush=True)
            for point in self.points():
                if not any(known | point == known for known in found["points"]):
                    found["points"].append(point | self.measure(point))
                    write_json(self.path, found)
                    print(point | {measure: found["points"][-1][measure] for measure in MEASURES}, flush=True)
