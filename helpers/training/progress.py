"""How a training tells how far it is: short lines in the log, and `loss.jsonl` beside the model."""

import json
import math
import time
from pathlib import Path

from transformers import TrainerCallback

from helpers.base import UserError, clock, write_jsonl
from helpers.training.checkpoints import writing
from helpers.training.curve import loss_file, read_points


class Progress(TrainerCallback):
    """Print a line and append a point at each `logging_steps`; evaluate the last step, too.

    `batch` is the number of queries a step, of all processes together.
    """

    def __init__(self, folder: Path, batch: int):
        self.folder = folder
        self.batch = batch

    def on_train_begin(self, args, state, control, **kwargs):
        """Drop the points after the step that the training goes on from."""
        self.since, self.step = time.perf_counter(), state.global_step
        if state.is_world_process_zero:
            write_jsonl(loss_file(self.folder), [p for p in read_points(self.folder) if p["step"] <= state.global_step])

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
                    f"The loss is {loss} at step {state.global_step}; lower LEARNING_RATE, or set "
                    "PRECISION=bf16 where the card has it, and start again with FORCE=1."
                )
            seconds = (time.perf_counter() - self.since) / (state.global_step - self.step)  # a step
            speed, left = self.batch / seconds, clock(seconds * (state.max_steps - state.global_step))
            self._tell(
                state,
                f"loss {loss:.4f}   lr {rate:.1e}   {speed:.1f} examples/s   {left} left",
                {"loss": loss, "learning_rate": rate, "examples_per_second": round(speed, 2)},
            )
        elif "eval_ndcg@10" in logs:
            score = logs["eval_ndcg@10"]
            self._tell(state, f"held-out nDCG@10 {score:.4f}", {"ndcg@10": score})
        self.since, self.step = time.perf_counter(), state.global_step  # scoring is no training time

    def _tell(self, state, text: str, point: dict[str, float]) -> None:
        step, steps = state.global_step, state.max_steps
        if state.is_world_process_zero:
            with writing(self.folder), loss_file(self.folder).open("a", encoding="utf8") as file:
                file.write(json.dumps({"step": step, "of": steps, **point}) + "\n")
            print(f"step {step:{len(str(steps))}}/{steps}   {text}", flush=True)
