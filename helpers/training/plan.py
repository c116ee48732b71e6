"""What a training will do and need, reckoned before it starts."""

import math
import shutil
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np

from helpers.base import Profile, UserError
from helpers.encoding import model_folder, token_lengths
from helpers.encoding.models import check_lengths, skeleton

SAMPLE = 200  # rows whose texts are tokenised for the estimate
STATE_BYTES = 16  # a parameter: float32 weight, gradient and Adam's two moments
CHECKPOINT_BYTES = 12  # a parameter: the weight and the two moments
CHECKPOINTS = 3  # two are kept, and a third is written before the older goes
MODELS = 3  # the final weights, with those they are written from


def activation_bytes(texts: int, tokens: int, config, half: bool) -> int:
    """Return what a forward pass keeps for the backward pass.

    Korthikanti et al. 2022, "Reducing Activation Recomputation in Large Transformer Models", arXiv:2205.05198,
    equation 2: a layer keeps s·b·h·(34 + 5·a·s/h) bytes in half precision; twice that in float32.
    """
    hidden, heads = config.hidden_size, config.num_attention_heads
    layer = tokens * texts * hidden * (34 + 5 * heads * tokens / hidden)
    return round(layer * config.num_hidden_layers * (1 if half else 2))


def make_plan(rows: Sequence[dict], held_out: int, profile: Profile, half: bool) -> SimpleNamespace:
    """Estimate a training on `rows`, with `held_out` more to score checkpoints, in half precision or not.

    Raises UserError: as `model_folder` and `check_lengths`.
    """
    folder = model_folder(profile.base_model, profile.base_revision)
    check_lengths(profile, folder)
    model = skeleton(folder, **({"num_hidden_layers": profile.base_layers} if profile.base_layers else {}))
    check_parts(profile, model.config)
    parameters = model.num_parameters()
    batch = profile.batch_size * profile.processes

    sample = [rows[row] for row in range(0, len(rows), max(1, len(rows) // SAMPLE))]
    asked = [row["prompt"] + row["query"] for row in sample]
    shown = [profile.passage_instruction + text for row in sample for text in (row["pos"][0], row["neg"][0])]
    queries = np.minimum(token_lengths(asked, folder), profile.query_max_len)
    passages = np.minimum(token_lengths(shown, folder), profile.passage_max_len)

    sizes = (profile.batch_size, queries.max()), (profile.batch_size * profile.group_size, passages.max())
    kept = [activation_bytes(min(n, profile.grad_cache or n), longest, model.config, half) for n, longest in sizes]
    devices = profile.processes if profile.cross_device_negatives else 1
    existing = next(path for path in (profile.output_dir, *profile.output_dir.parents) if path.exists())
    return SimpleNamespace(
        examples=len(rows),
        held_out=held_out,
        steps=math.ceil(profile.epochs * math.ceil(len(rows) / batch)),
        batch=batch,  # queries a step, of all processes
        negatives=profile.group_size * profile.batch_size * devices - 1,  # that compete with a query's positive
        query_tokens=queries.mean(),  # with the instruction, after the cut
        passage_tokens=passages.mean(),
        # of the whole training, padding left out
        tokens=round(profile.epochs * len(rows) * (queries.mean() + profile.group_size * passages.mean())),
        parameters=parameters,
        memory=STATE_BYTES * parameters + (max(kept) if profile.grad_cache else sum(kept)),  # bytes a process
        disk=CHECKPOINTS * CHECKPOINT_BYTES * parameters + MODELS * 4 * parameters,  # bytes
        free=shutil.disk_usage(existing).free,  # bytes
    )


def check_parts(profile: Profile, config) -> None:
    """Raise a UserError where the base model has not the layers to freeze, or the dimensions to cut its vectors to."""
    if profile.frozen_layers >= config.num_hidden_layers:
        said = f"FROZEN_LAYERS={profile.frozen_layers}: the model has {config.num_hidden_layers} layers"
        raise UserError(f"{said}; leave at least one to train.")
    dims = [int(dim) for dim in profile.matryoshka.split(",") if dim]
    if dims and (dims[0] != config.hidden_size or sorted(set(dims), reverse=True) != dims or not dims[-1]):
        said = f"MATRYOSHKA={profile.matryoshka}: vectors have {config.hidden_size} numbers"
        raise UserError(f"{said}; begin with that, then give ever smaller ones, as in {config.hidden_size},64.")


def describe(plan: SimpleNamespace, profile: Profile, precision: str, device: str) -> str:
    """Return the plan in lines of a name and a value; the training computes in `precision`, on `device`."""
    unused = f"; PRECISION={profile.precision} is for CUDA cards" if profile.precision != precision else ""
    held_out = f", {plan.held_out} more held out to score every {profile.eval_steps} steps" if plan.held_out else ""
    across = f" x {profile.processes} processes" if profile.cross_device_negatives and profile.processes > 1 else ""
    chunk = f", in chunks of {profile.grad_cache} texts" if profile.grad_cache else ""
    length = f"{plan.query_tokens:.0f} a query, {plan.passage_tokens:.0f} a passage"
    compete = f"{profile.group_size} passages x {profile.batch_size} queries{across}"
    lines = {
        "examples": f"{plan.examples:,} queries{held_out}",
        "steps": f"{plan.steps:,} of {plan.batch} queries{chunk}, in {profile.epochs:g} epochs",
        "negatives": f"{plan.negatives} a query: {compete}, less the positive",
        "tokens": f"about {plan.tokens / 1e6:.3g} million: {length}",
        "precision": f"{precision} on {device}{unused}",
        "memory": f"about {plan.memory / 1e9:.2g} GB a process, less PyTorch, {plan.parameters / 1e6:.3g}M weights",
        "disk": f"about {plan.disk / 1e9:.2g} GB, of {plan.free / 1e9:.3g} GB free",
    }
    return "\n".join(f"{name:10} {value}" for name, value in lines.items())
