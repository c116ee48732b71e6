"""A training's curve in a notebook, while it runs and afterwards."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.base import Profile, UserError, how_to_train, load_profile, neg_num_of, read_json, read_jsonl
from helpers.encoding.settings import is_embedder
from helpers.training.checkpoints import GO_ON, last_whole
from helpers.training.record import is_running, record_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAUSE = 2.0  # seconds between two looks
LAST_LINES = 12  # of the log, when the process has died


def loss_file(folder: Path) -> Path:
    """The points of a training's curve: one JSON object a line, `step` with `loss` and more, or with `ndcg@10`."""
    return folder / "loss.jsonl"


def read_points(folder: Path) -> list[dict]:
    """Return the points of a model's curve by step; none if the training has not come to one."""
    path = loss_file(folder)
    return [point for _, point in read_jsonl(path, "train the model first")] if path.exists() else []


def follow(name: str, profile: Profile | None = None) -> None:
    """Draw the loss of a training, and the scores of its checkpoints if it has any, anew while it runs.

    Returns when the model, `neg10`, `neg50`, ..., is finished or the process has died, and says in the latter case
    what it said last. Raises UserError: nothing was trained under this name.
    """
    from IPython.display import display

    profile = profile or load_profile()
    neg_num = neg_num_of(name)
    folder = profile.tuned_model(neg_num)
    if not record_file(folder).exists():
        raise UserError(f"Nothing is trained in {folder}; {how_to_train(name)} in a terminal first.")
    picture = None
    while True:
        running = is_running(read_json(record_file(folder)))  # asked first: what it left is whole when it is gone
        state = "running" if running else "finished" if is_embedder(folder) else "died"
        figure = plot_points(read_points(folder), f"{name}, {state}")
        if picture is None:
            picture = display(figure, display_id=True)
        else:
            picture.update(figure)
        if not running:
            break
        time.sleep(PAUSE)
    if state == "died":
        log = profile.training_log(neg_num)
        lines = log.read_text(encoding="utf8").splitlines()[-LAST_LINES:] if log.exists() else []
        print("The process has died. Its last lines:", *lines, sep="\n")
        print(f"{GO_ON}." if last_whole(folder) else "There is no whole checkpoint; FORCE=1 starts again.")


def plot_points(points: list[dict], title: str) -> "Figure":
    """Draw loss over step and, on the right, the held-out nDCG@10; return a figure that pyplot does not show again."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
    losses = [(point["step"], point["loss"]) for point in points if "loss" in point]
    scores = [(point["step"], point["ndcg@10"]) for point in points if "ndcg@10" in point]
    if losses:
        axes.plot(*zip(*losses, strict=True), marker=".", color="C0")
    if scores:
        right = axes.twinx()
        right.plot(*zip(*scores, strict=True), marker="s", color="C1")
        right.set_ylabel("held-out nDCG@10", color="C1")
        right.set_ylim(0, max(score for _, score in scores) * 1.1 or 1)
    steps = points[-1]["of"] if points else 1
    axes.set(xlabel="step", xlim=(0, steps), title=f"{title}: step {points[-1]['step'] if points else 0} of {steps}")
    axes.set_ylabel("loss", color="C0")
    plt.close(figure)
    return figure
