"""What must hold before a training starts, what it will do and need, and what its script is then told."""

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from helpers.base import Profile, UserError, check_name, read_manifest, shell_lines, switch
from helpers.base.profile import overrides
from helpers.encoding import base_model, model_folder, token_lengths, training_profile
from helpers.encoding.encoder import computes_in
from helpers.encoding.models import check_lengths, skeleton
from helpers.evaluation.audit import audit_of, verdict
from helpers.sampling import EVAL_MANIFEST, TrainingSet, check_trains
from helpers.training.folder import check_place, last_whole
from helpers.training.held_out import split_held_out

SAMPLE = 200  # rows whose texts are tokenised for the estimate
STATE_BYTES = 16  # a parameter: float32 weight, gradient and Adam's two moments
DISK_BYTES = 3 * 12 + 3 * 4  # a parameter: three checkpoints, one more than is kept, with two moments; the last weights


def prepare(name: str, profile: Profile) -> str:
    """Check all that a training needs and return the lines that its script sources before it calls torchrun.

    They say which settings the environment overrides, and the audit's verdict, which is no reason to stop; they set the
    settings in force, `BASE`, `TRAIN_DATA`, `MODEL`, `LOG`, and the flags that only some machines and runs have,
    `MACHINES` and `OPTIONS`. With CHECK=1 they say what the training would do and end the script.

    Raises UserError: something is missing, wrong, or too small.
    """
    check_trains(profile)
    given, profile = profile, training_profile(profile, check_name(name))
    rows = TrainingSet(profile.training_file(name), profile.instruction, profile.group_size)
    model, refusal = profile.tuned_model(name), ""
    try:
        if profile.node_rank == 0:  # the machines share the folder, and the first may have begun to fill it
            check_place(model)
    except UserError as error:
        if not switch("CHECK"):
            raise
        refusal = f"\nerror: {error}"
    precision, device = check_machine(profile)
    train, held = hold_out(rows, profile)
    profile = profile if held else profile.model_copy(update={"eval_steps": 0})
    plan = make_plan(train, len(held), profile, half=precision != "fp32")
    if plan.disk > plan.free:
        raise UserError(
            f"{profile.output_dir} has {plan.free / 1e9:.2g} GB free, but the training writes about "
            f"{plan.disk / 1e9:.2g} GB; free some space."
        )
    audited = "left out: there is no evaluation set yet, see notebooks/02_build_eval_dataset.ipynb"
    if read_manifest(profile.data_dir / EVAL_MANIFEST):
        audited = verdict(audit_of(rows, profile))
    changed = ", ".join(f"{key}={value}" for key, value in overrides().items())
    overridden = changed and f"{'settings':10} those of {profile.name}, but {changed}"
    idle = [key for key in overrides() if getattr(given, key.lower()) != getattr(profile, key.lower())]
    unused = f"{'not used':10} {', '.join(idle)}: {name} has its own, see profiles/{profile.name}.env" if idle else ""
    said = "\n".join(filter(None, (overridden, unused, changed and profile.own_folders, f"{'audit':10} {audited}")))
    if switch("CHECK"):
        heading = f"{name} of profile {profile.run_name}, into {model}"
        text = f"{heading}\n{describe(plan, profile, precision, device)}\n{said}{refusal}"
        return f'{shell_lines({"PLAN": text})}\necho "$PLAN"\nexit {2 if refusal else 0}'
    places = ("nnodes", "node_rank", "master_addr", "master_port")
    values = profile.model_dump(by_alias=True) | {
        "SAID": said,
        "BASE": base_model(profile),
        "TRAIN_DATA": rows.path,
        "MODEL": model,
        "LOG": profile.training_log(name),
        "MACHINES": [f"--{key}={getattr(profile, key)}" for key in places] if profile.nnodes > 1 else ["--standalone"],
        "OPTIONS": options(profile, precision, device, model, rows.taught),
        "TENSORBOARD_LOGGING_DIR": profile.output_dir / "tensorboard" / name,
    }
    return f'{shell_lines(values)}\nexport TENSORBOARD_LOGGING_DIR\necho "$SAID"'


def options(profile: Profile, precision: str, device: str, model: Path, taught: bool) -> list[str]:
    """Return the training's flags that not every run has. Raises UserError: RESUME=1, and no checkpoint is whole."""
    scored = f"--eval_strategy steps --eval_steps {profile.eval_steps} --load_best_model_at_end True"
    wanted = {
        f"--save_steps {profile.eval_steps or profile.save_steps}": True,  # a best step is one that was kept
        "--use_cpu True": device == "the CPU",  # without it, several processes would each train alone
        f"--{precision}": precision != "fp32",
        f"--sub_batch_size {profile.grad_cache}": profile.grad_cache,
        f"--frozen_layers {profile.frozen_layers}": profile.frozen_layers,
        f"--use_mrl True --mrl_dims {profile.matryoshka.replace(',', ' ')}": profile.matryoshka,
        "--knowledge_distillation True": taught,
        f"{scored} --metric_for_best_model ndcg@10 --greater_is_better True": profile.eval_steps,
    }
    words = " ".join(flags for flags, so in wanted.items() if so).split()
    if before := profile.passage_instruction:
        words += ["--passage_instruction_for_retrieval", before, "--passage_instruction_format", "{}{}"]
    if switch("RESUME") and model.exists():
        if (checkpoint := last_whole(model)) is None:
            raise UserError(f"{model} has no whole checkpoint to go on from; start again with FORCE=1.")
        words += ["--resume_from_checkpoint", str(checkpoint)]
    return words


def check_machine(profile: Profile) -> tuple[str, str]:
    """Return what this machine computes in, and on what. Raises UserError: it is not fit for what the profile asks."""
    if profile.node_rank >= profile.nnodes:
        raise UserError(f"NODE_RANK={profile.node_rank}: with NNODES={profile.nnodes} it is below {profile.nnodes}.")
    if profile.cross_device_negatives and profile.processes == 1:
        raise UserError("CROSS_DEVICE_NEGATIVES=1 needs several processes; set NPROC or NNODES, or leave it out.")
    import torch

    precision = computes_in(profile.precision)
    if not torch.cuda.is_available():
        return precision, "the CPU"
    cards, name = torch.cuda.device_count(), torch.cuda.get_device_name()
    if profile.nproc > cards:
        raise UserError(f"NPROC={profile.nproc}: this machine has {cards} CUDA cards; give at most that.")
    if precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise UserError(f"PRECISION=bf16: {name} does not have it; set PRECISION=fp16.")
    return precision, name


def hold_out(rows: TrainingSet, profile: Profile) -> tuple[TrainingSet, Sequence[dict]]:
    """Return the rows that train and those that score checkpoints: none, and why is printed, where too few are left."""
    if profile.eval_steps:
        train, held = split_held_out(rows, profile.training_seed)
        fewest = min((len(row["neg"]) for row in train.replaced.values()), default=profile.group_size)
        if held and fewest >= profile.group_size - 1:
            return train, held
        print(
            f"{'held out':10} nothing: {len(rows)} training queries are too few to set some and their passages aside; "
            "no checkpoint is scored, and the last step is kept"
        )
    return rows, []


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

    Raises UserError: as `model_folder` and `check_lengths`, or there are not the layers to freeze, or the dimensions
    to cut vectors to, or nothing competes.
    """
    folder = model_folder(profile.base_model, profile.base_revision)
    check_lengths(profile, folder)
    model = skeleton(folder, **({"num_hidden_layers": profile.base_layers} if profile.base_layers else {}))
    layers, size, parameters = model.config.num_hidden_layers, model.config.hidden_size, model.num_parameters()
    if profile.frozen_layers >= layers:
        said = f"FROZEN_LAYERS={profile.frozen_layers}: the model has {layers} layers"
        raise UserError(f"{said}; leave at least one to train.")
    dims = [int(dim) for dim in profile.matryoshka.split(",") if dim]
    if dims and (dims[0] != size or sorted(set(dims), reverse=True) != dims or not dims[-1]):
        said = f"MATRYOSHKA={profile.matryoshka}: vectors have {size} numbers"
        raise UserError(f"{said}; begin with that, then give ever smaller ones, as in {size},64.")
    devices = profile.processes if profile.cross_device_negatives else 1
    negatives = profile.group_size * profile.batch_size * devices - 1  # that compete with a query's positive
    if not negatives:
        raise UserError("GROUP_SIZE=1, BATCH_SIZE=1: nothing competes with a query's positive; raise one of the two.")

    sample = [rows[row] for row in range(0, len(rows), max(1, len(rows) // SAMPLE))]
    asked = [row["prompt"] + row["query"] for row in sample]
    shown = [profile.passage_instruction + text for row in sample for text in (row["pos"][0], row["neg"][0])]
    queries = np.minimum(token_lengths(asked, folder), profile.query_max_len)
    passages = np.minimum(token_lengths(shown, folder), profile.passage_max_len)

    batch = profile.batch_size * profile.processes
    sizes = (profile.batch_size, queries.max()), (profile.batch_size * profile.group_size, passages.max())
    kept = [activation_bytes(min(n, profile.grad_cache or n), longest, model.config, half) for n, longest in sizes]
    existing = next(path for path in (profile.output_dir, *profile.output_dir.parents) if path.exists())
    return SimpleNamespace(
        examples=len(rows),
        held_out=held_out,
        steps=math.ceil(profile.epochs * math.ceil(len(rows) / batch)),
        batch=batch,  # queries a step, of all processes
        negatives=negatives,
        query_tokens=queries.mean(),  # with the instruction, after the cut
        passage_tokens=passages.mean(),
        # of the whole training, padding left out
        tokens=round(profile.epochs * len(rows) * (queries.mean() + profile.group_size * passages.mean())),
        parameters=parameters,
        memory=STATE_BYTES * parameters + (max(kept) if profile.grad_cache else sum(kept)),  # bytes a process
        disk=DISK_BYTES * parameters,  # bytes
        free=shutil.disk_usage(existing).free,  # bytes
    )


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
