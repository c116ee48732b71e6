"""What must hold before a training starts, and what its script then does."""

from collections.abc import Sequence
from pathlib import Path

from helpers.base import Profile, UserError, check_name, read_manifest, shell_lines, switch
from helpers.base.profile import overrides
from helpers.encoding import base_model, training_profile
from helpers.encoding.encoder import computes_in
from helpers.evaluation.audit import audit_of, verdict
from helpers.sampling import EVAL_MANIFEST, TrainingSet, check_trains
from helpers.training.checkpoints import last_whole
from helpers.training.held_out import split_held_out
from helpers.training.record import check_place


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
    model = profile.tuned_model(name)
    refusal = ""
    try:
        if profile.node_rank == 0:  # the machines share the folder, and the first may have begun to fill it
            check_place(model)
    except UserError as error:
        if not switch("CHECK"):
            raise
        refusal = f"\nerror: {error}"
    from helpers.training.plan import describe, make_plan  # and torch, for which a refusal need not wait

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
    names = ("nnodes", "node_rank", "master_addr", "master_port")
    machines = [f"--{name}={getattr(profile, name)}" for name in names] if profile.nnodes > 1 else ["--standalone"]
    values = profile.model_dump(by_alias=True) | {
        "SAID": said,
        "BASE": base_model(profile),
        "TRAIN_DATA": profile.training_file(name),
        "MODEL": model,
        "LOG": profile.training_log(name),
        "MACHINES": machines,
        "OPTIONS": options(profile, precision, device, model, rows.taught),
        "TENSORBOARD_LOGGING_DIR": profile.output_dir / "tensorboard" / name,
    }
    return f'{shell_lines(values)}\nexport TENSORBOARD_LOGGING_DIR\necho "$SAID"'


def options(profile: Profile, precision: str, device: str, model: Path, taught: bool) -> list[str]:
    """Return the training's flags that not every run has. Raises UserError: RESUME=1, and no checkpoint is whole."""
    flags = f"--save_steps {profile.eval_steps or profile.save_steps}"  # a best step is one that was kept
    prompt = [
        "--passage_instruction_for_retrieval",
        profile.passage_instruction,
        "--passage_instruction_format",
        "{}{}",
    ]
    if device == "the CPU":
        flags += " --use_cpu True"  # without it, several processes would each train alone
    if precision != "fp32":
        flags += f" --{precision}"
    if profile.grad_cache:
        flags += f" --sub_batch_size {profile.grad_cache}"
    if profile.frozen_layers:
        flags += f" --frozen_layers {profile.frozen_layers}"
    if profile.matryoshka:
        flags += f" --use_mrl True --mrl_dims {profile.matryoshka.replace(',', ' ')}"
    if taught:
        flags += " --knowledge_distillation True"
    if profile.eval_steps:
        flags += f" --eval_strategy steps --eval_steps {profile.eval_steps} --load_best_model_at_end True"
        flags += " --metric_for_best_model ndcg@10 --greater_is_better True"
    words = flags.split() + (prompt if profile.passage_instruction else [])
    if not (switch("RESUME") and model.exists()):
        return words
    if (checkpoint := last_whole(model)) is None:
        raise UserError(f"{model} has no whole checkpoint to go on from; start again with FORCE=1.")
    return [*words, "--resume_from_checkpoint", str(checkpoint)]


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
