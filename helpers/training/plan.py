"""What a training will do and need, reckoned before it starts."""

import math
import shutil
from dataclasses import dataclass
from pathlib import Path

from helpers.base import Profile
from helpers.encoding.encoder import token_lengths
from helpers.encoding.models import model_folder

SAMPLE = 200  # rows whose texts are tokenised for the estimate
STATE_BYTES = 16  # a parameter: float32 weight, gradient and Adam's two moments
CHECKPOINT_BYTES = 12  # a parameter: the weight and the two moments
CHECKPOINTS = 3  # two are kept, and a third is written before the older goes
MODELS = 3  # the final weights, with those they are written from


@dataclass(frozen=True)
class Plan:
    """The size of a training; bytes are estimates."""

    examples: int
    held_out: int
    steps: int
    batch: int  # queries a step, of all processes
    negatives: int  # passages that compete with a query's positive
    query_tokens: float  # mean, with the instruction, after the cut
    passage_tokens: float
    tokens: int  # of the whole training, padding left out
    parameters: int
    memory: int  # bytes a process
    disk: int  # bytes
    free: int  # bytes


def count_parameters(folder: Path, layers: int) -> tuple[int, int, int, int]:
    """Return a model's parameters, hidden size, layers and attention heads, from its config alone.

    Args:
        layers: as in `Profile.base_layers`; 0 for all.
    """
    import torch
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.from_pretrained(folder, **({"num_hidden_layers": layers} if layers else {}))
    with torch.device("meta"):
        model = AutoModel.from_config(config)
    size = sum(parameter.numel() for parameter in model.parameters())
    return size, config.hidden_size, config.num_hidden_layers, config.num_attention_heads


def activation_bytes(texts: int, tokens: int, hidden: int, layers: int, heads: int, half: bool) -> int:
    """Return what a forward pass keeps for the backward pass.

    Korthikanti et al. 2022, "Reducing Activation Recomputation in Large Transformer Models", arXiv:2205.05198,
    equation 2: a layer keeps s·b·h·(34 + 5·a·s/h) bytes in half precision; twice that in float32.
    """
    layer = tokens * texts * hidden * (34 + 5 * heads * tokens / hidden)
    return round(layer * layers * (1 if half else 2))


def make_plan(rows: list[dict], held_out: int, profile: Profile, half: bool) -> Plan:
    """Reckon a training on `rows`.

    Args:
        held_out: how many more rows score checkpoints.
        half: whether it computes in half precision.
    """
    examples = len(rows)
    steps_an_epoch = math.ceil(examples / (profile.batch_size * profile.processes))
    folder = model_folder(profile.base_model, profile.base_revision)
    parameters, hidden, layers, heads = count_parameters(folder, profile.base_layers)

    sample = rows[:: max(1, len(rows) // SAMPLE)]
    queries = [
        min(n, profile.query_max_len) for n in token_lengths([row["prompt"] + row["query"] for row in sample], folder)
    ]
    texts = [text for row in sample for text in (row["pos"][0], row["neg"][0])]
    passages = [min(n, profile.passage_max_len) for n in token_lengths(texts, folder)]
    query_tokens, passage_tokens = sum(queries) / len(queries), sum(passages) / len(passages)

    sizes = (profile.batch_size, max(queries)), (profile.batch_size * profile.group_size, max(passages))
    if profile.grad_cache:
        kept = max(activation_bytes(min(n, profile.grad_cache), s, hidden, layers, heads, half) for n, s in sizes)
    else:
        kept = sum(activation_bytes(n, s, hidden, layers, heads, half) for n, s in sizes)
    devices = profile.processes if profile.cross_device_negatives else 1
    existing = next(path for path in (profile.output_dir, *profile.output_dir.parents) if path.exists())
    return Plan(
        examples=examples,
        held_out=held_out,
        steps=math.ceil(profile.epochs * steps_an_epoch),
        batch=profile.batch_size * profile.processes,
        negatives=profile.group_size * profile.batch_size * devices - 1,
        query_tokens=query_tokens,
        passage_tokens=passage_tokens,
        tokens=round(profile.epochs * examples * (query_tokens + profile.group_size * passage_tokens)),
        parameters=parameters,
        memory=STATE_BYTES * parameters + kept,
        disk=CHECKPOINTS * CHECKPOINT_BYTES * parameters + MODELS * 4 * parameters,
        free=shutil.disk_usage(existing).free,
    )


def describe(plan: Plan, profile: Profile, precision: str, device: str) -> str:
    """Return the plan in lines of a name and a value.

    Args:
        precision, device: what the training will compute in, and on.
    """
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
        "memory": f"about {plan.memory / 1e9:.2g} GB a process, for {plan.parameters / 1e6:.3g} million parameters",
        "disk": f"about {plan.disk / 1e9:.2g} GB, of {plan.free / 1e9:.3g} GB free",
    }
    return "\n".join(f"{name:10} {value}" for name, value in lines.items())
