"""How far a training is: lines in the log, points in `loss.jsonl` beside the model, and their curve in a notebook."""

import json
import math
import time
from contextlib import suppress
from pathlib import Path

from tqdm import tqdm
from transformers import TrainerCallback

from helpers.base import MANIFEST, Profile, UserError, how_to_train, load_profile
from helpers.base.files import write_jsonl, writing
from helpers.encoding import training_profile
from helpers.encoding.settings import is_embedder
from helpers.training.folder import GO_ON, REMEDY, is_running, last_whole

POINTS = "loss.jsonl"  # beside the model: one JSON object a line, `step` with `loss` and more, or with `ndcg@10`


def read_points(folder: Path) -> list[dict]:
    """Return the points of a model's curve by step; none if the training has not come to one."""
    points = []
    with suppress(OSError, ValueError):  # none yet, or a full disk has cut the last one
        for line in (folder / POINTS).read_text(encoding="utf8").splitlines():
            points.append(json.loads(line))
    return points


class Progress(TrainerCallback):
    """Print a line and append a point at each `logging_steps`; evaluate the last step, too."""

    def on_train_begin(self, args, state, control, **kwargs):
        """Drop the points after the step that the training goes on from."""
        folder = Path(args.output_dir)
        if state.best_global_step:  # the folder may have moved, and its path is absolute
            state.best_model_checkpoint = str(folder / f"checkpoint-{state.best_global_step}")
        self.since, self.step = time.perf_counter(), state.global_step
        if state.is_world_process_zero:
            write_jsonl(folder / POINTS, [p for p in read_points(folder) if p["step"] <= state.global_step])

    def on_step_end(self, args, state, control, **kwargs):
        """Log and score the end of the training even where it falls between two `logging_steps` or `eval_steps`."""
        if state.global_step >= state.max_steps:
            control.should_log = True
            control.should_evaluate = args.eval_strategy != "no"

    def on_log(self, args, state, control, logs=None, **kwargs):
        """Print and keep the loss or the score. Raises UserError: the loss is no longer a number."""
        if "loss" in logs:
            loss, rate = logs["loss"], logs["learning_rate"]
            if not math.isfinite(loss):
                raise UserError(
                    f"The loss is {loss} at step {state.global_step}; lower LEARNING_RATE, or set PRECISION=bf16 where "
                    "the card has it, and start again with FORCE=1."
                )
            seconds = (time.perf_counter() - self.since) / (state.global_step - self.step)  # a step
            speed = args.per_device_train_batch_size * args.world_size / seconds  # queries of all processes together
            left = tqdm.format_interval(seconds * (state.max_steps - state.global_step))
            point = {"loss": loss, "learning_rate": rate, "examples_per_second": round(speed, 2)}
            text = f"loss {loss:.4f}   lr {rate:.1e}   {speed:.1f} examples/s   {left} left"
        elif "eval_ndcg@10" in logs:
            point = {"ndcg@10": logs["eval_ndcg@10"]}
            text = f"held-out nDCG@10 {point['ndcg@10']:.4f}"
        else:
            return  # a summary at the end
        self.since, self.step = time.perf_counter(), state.global_step  # scoring is no training time
        if state.is_world_process_zero:
            step, steps, folder = state.global_step, state.max_steps, Path(args.output_dir)
            with writing(folder, REMEDY), (folder / POINTS).open("a", encoding="utf8") as file:
                file.write(json.dumps({"step": step, "of": steps, **point}) + "\n")
            print(f"step {step:{len(str(steps))}}/{steps}   {text}", flush=True)


def follow(name: str, profile: Profile | None = None) -> None:
    """Draw the loss of a training, and the scores of its checkpoints if it has any, anew while it runs.

    Returns when the model, `neg10`, `neg50`, ..., is finished or the process has died, and says in the latter case
    what it said last. Raises UserError: nothing was trained under this name.
    """
    from IPython.display import display

    profile = training_profile(profile or load_profile(), name)
    folder = profile.tuned_model(name)
    if not (folder / MANIFEST).exists():
        raise UserError(f"Nothing is trained in {folder}; {how_to_train(name)} in a terminal first.")
    picture = display(display_id=True)
    while True:
        running = is_running(folder)  # asked first: what it left is whole when it is gone
        state = "running" if running else "finished" if is_embedder(folder) else "died"
        picture.update(plot_points(read_points(folder), f"{name}, {state}"))
        if not running:
            break
        time.sleep(2)
    if state == "died":
        log = profile.training_log(name)
        lines = log.read_text(encoding="utf8").splitlines()[-12:] if log.exists() else []
        print("The process has died. Its last lines:", *lines, sep="\n")
        print(f"{GO_ON}." if last_whole(folder) else "There is no whole checkpoint; FORCE=1 starts again.")


def plot_points(points: list[dict], title: str):
    """Draw loss over step and, on the right, the held-out nDCG@10; return a figure that pyplot does not show again."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
    losses = [(point["step"], point["loss"]) for point in points if "loss" in point]
    scores = [(point["step"], point["ndcg@10"]) for point in points if "ndcg@10" in point]
    axes.plot(*zip(*losses, strict=True), marker=".", color="C0")
    if scores:
        right = axes.twinx()
        right.plot(*zip(*scores, strict=True), marker="s", color="C1")
        right.set_ylabel("held-out nDCG@10", color="C1")
        right.set_ylim(0, max(score for _, score in scores) * 1.1 or 1)
    last = points[-1] if points else {"step": 0, "of": 1}
    axes.set(xlabel="step", xlim=(0, last["of"]), title=f"{title}: step {last['step']} of {last['of']}")
    axes.set_ylabel("loss", color="C0")
    plt.close(figure)
    return figure
