"""What must hold before a model is loaded for training.

`python -m helpers.training.prepare training 10` tells whether the training on 10 negatives a query may start; with
CHECK=1 it prints what that will do. `python -m helpers.training.prepare output 10 50` tells whether the folders for two
models are free.
An `output` in the way is replaced with FORCE=1, gone on with at RESUME=1, and refused otherwise.
"""

import os
import shutil
import sys
from pathlib import Path

from helpers.base.errors import UserError, run_command
from helpers.base.files import read_json
from helpers.base.profile import Profile, load_profile
from helpers.encoding.encoder import computes_in
from helpers.encoding.models import model_folder
from helpers.evaluation.audit import audit, verdict
from helpers.sampling.eval_set import load_eval_set
from helpers.sampling.training_set import read_training_file
from helpers.training.held_out import split_held_out
from helpers.training.record import is_running, record_file

KEEP = "FORCE=1 replaces it, RESUME=1 goes on with it"


def check_output(neg_num: int, profile: Profile) -> None:
    """Check that no earlier run's model is where this one's will go, or that the user has said what to do with it.

    Raises:
        UserError: the folder is there and neither FORCE nor RESUME is 1, or both are; or it is being filled.
    """
    folder = profile.tuned_model(neg_num)
    if record_file(folder).exists() and is_running(record := read_json(record_file(folder))):
        raise UserError(f"{folder} is being trained by process {record['pid']}; wait until it has ended, or end it.")
    if switch("FORCE") and switch("RESUME"):
        raise UserError("FORCE=1 and RESUME=1 contradict each other; give one of them.")
    if switch("FORCE") or switch("RESUME"):
        return
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} holds the model of an earlier run; {KEEP}.")


def check_machine(profile: Profile) -> str:
    """Check that the cards have the precision and the processes asked for; return what training will compute in.

    Raises:
        UserError: more processes than cards, or bf16 on cards without it; on a CPU, gradients in chunks are all right.
    """
    import torch

    if profile.node_rank >= profile.nnodes:
        raise UserError(f"NODE_RANK={profile.node_rank}: with NNODES={profile.nnodes} it is below {profile.nnodes}.")
    if profile.cross_device_negatives and profile.processes == 1:
        raise UserError("CROSS_DEVICE_NEGATIVES=1 needs several processes; set NPROC or NNODES, or leave it out.")
    precision = computes_in(profile.precision)
    if not torch.cuda.is_available():
        unused = f"; PRECISION={profile.precision} is for CUDA cards" if profile.precision != precision else ""
        return f"{precision} on the CPU{unused}"
    cards = torch.cuda.device_count()
    if profile.nproc > cards:
        raise UserError(f"NPROC={profile.nproc}: this machine has {cards} CUDA cards; give at most that.")
    if precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise UserError(f"PRECISION=bf16: {torch.cuda.get_device_name()} does not have it; set PRECISION=fp16.")
    return f"{precision} on {torch.cuda.get_device_name()}"


def check_held_out(train: list[dict], held: list[dict], profile: Profile) -> None:
    """Check that there is something to score checkpoints with, and enough negatives without it.

    Raises:
        UserError: EVAL_STEPS asks for scores that these rows cannot give.
    """
    if profile.eval_steps and not held:
        raise UserError(
            f"EVAL_STEPS={profile.eval_steps}: none of {len(train)} training queries can be held out to score "
            "checkpoints; set EVAL_STEPS=0."
        )
    if profile.eval_steps and (fewest := min(len(row["neg"]) for row in train)) < profile.group_size - 1:
        raise UserError(
            f"EVAL_STEPS={profile.eval_steps}: without the passages held out to score checkpoints a query is left with "
            f"{fewest} negatives, but GROUP_SIZE={profile.group_size} draws {profile.group_size - 1}; set EVAL_STEPS=0."
        )


def audit_line(rows: list[dict], profile: Profile, folder: Path) -> str:
    """Return the verdict on the training set and the evaluation set beside it."""
    if not (profile.data_dir / "qrels.trec").exists():
        return "left out: there is no evaluation set yet, see notebooks/02_build_eval_dataset.ipynb"
    return verdict(audit(rows, load_eval_set(profile), profile, folder))


def check_training(neg_num: int, profile: Profile) -> None:
    """Check all that a training needs; with CHECK=1 print what it will do, without it clear the way if FORCE=1.

    Prints the verdict of the audit, which is no reason to stop.

    Raises:
        UserError: something is missing, wrong, or too small.
    """
    from helpers.training.plan import describe, make_plan

    rows = read_training_file(neg_num, profile)
    folder = model_folder(profile.base_model, profile.base_revision)
    precision = check_machine(profile)
    train, held = split_held_out(rows, profile.seed) if profile.eval_steps else (rows, [])
    check_held_out(train, held, profile)
    plan = make_plan(train, len(held), profile, half=not precision.startswith("fp32"))
    if plan.disk > plan.free:
        raise UserError(
            f"{profile.output_dir} has {plan.free / 1e9:.2g} GB free, but the training writes about "
            f"{plan.disk / 1e9:.2g} GB; free some space."
        )
    if switch("CHECK"):
        print(f"neg{neg_num} of profile {profile.run_name}, into {profile.tuned_model(neg_num)}")
        print(describe(plan, profile, precision))
    print(f"{'audit':10} {audit_line(rows, profile, folder)}")
    if profile.node_rank > 0:
        return  # the machines share the folder, and the first may have begun to fill it
    check_output(neg_num, profile)
    if switch("FORCE") and not switch("CHECK"):
        shutil.rmtree(profile.tuned_model(neg_num), ignore_errors=True)


def switch(name: str) -> bool:
    """Tell whether an environment variable is 1.

    Raises:
        UserError: it is neither 0, 1 nor empty.
    """
    value = os.environ.get(name, "")
    if value not in ("", "0", "1"):
        raise UserError(f"environment variable: {name}={value!r}: it is 1 or 0.")
    return value == "1"


def main() -> None:
    """Check the output of each number of negatives, or all that one training needs."""
    task, *neg_nums = sys.argv[1:]
    profile = load_profile()
    for neg_num in map(int, neg_nums):
        (check_training if task == "training" else check_output)(neg_num, profile)


if __name__ == "__main__":
    run_command(main)
