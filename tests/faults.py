"""Make one kind of artefact again and again, each time killed or out of disk space at another point, and then whole.

    python faults.py KIND FAULT FOLDER MODEL SCRATCH

FAULT is `kill` or `full`; FOLDER stands in the place of the project's, for `full` it is a disk of a megabyte. Libraries
are loaded once; each attempt is a process of its own, forked before any of it has done anything.
"""

import json
import os
import random
import shutil
import signal
import sys
import traceback
from functools import partial
from multiprocessing.sharedctypes import RawValue
from pathlib import Path
from typing import Any

import torch  # noqa: F401  once for all attempts
from conftest import make_pairs

import helpers.base.profile as settings
from helpers.base import MANIFEST, read_manifest, run_command
from helpers.encoding import Embedder, base_model, embedder_settings
from helpers.evaluation import save_result
from helpers.evaluation.audit import audit_of
from helpers.sampling import TrainingSet, load_eval_set, load_pairs, negative_pool, save_eval_set, save_training_set
from helpers.training import finetune
from helpers.training.folder import last_whole

POINTS = 8
PAIRS = make_pairs(300)
NUMBERED = [{"id": f"q{number}"} | pair for number, pair in enumerate(PAIRS)]
TRAIN, EVALUATION = NUMBERED[:240], NUMBERED[240:]
NEG_NUM = 5


def training_set(profile):
    save_training_set(TRAIN, negative_pool(TRAIN, EVALUATION), NEG_NUM, profile)


def eval_set(profile):
    save_eval_set(EVALUATION, TRAIN + EVALUATION, profile)


def result(profile):
    found = load_eval_set(profile.data_dir)
    run = {query: {docid: 0.5 for docid in list(found.corpus)[:50]} for query in found.queries}
    raw = embedder_settings(profile, "raw")
    save_result("raw", profile, raw, found, run, {"search": 1.0})


def vectors(profile):
    Embedder(embedder_settings(profile, "raw"), profile).encode_corpus([pair["positive"][0] for pair in PAIRS])


def audit(profile):
    audit_of(TrainingSet(profile.training_file(f"neg{NEG_NUM}"), profile.instruction), profile)


def model(profile):
    folder = profile.tuned_model(f"neg{NEG_NUM}")
    rows = profile.training_file(f"neg{NEG_NUM}")
    flags = f"--model_name_or_path {base_model(profile)} --train_data {rows} --use_cpu True "
    flags += f"--output_dir {folder} --num_train_epochs 1 --per_device_train_batch_size 16 --train_group_size 2 "
    flags += "--save_steps 4 --save_total_limit 2 --logging_steps 3 --disable_tqdm True --report_to none --seed 1 "
    flags += "--query_max_len 16 --passage_max_len 24 --learning_rate 1e-3 --query_instruction_format {}{}"
    begun = last_whole(folder) if folder.exists() else None
    os.environ |= {"FORCE": "0", "RESUME": "1"} if begun else {"FORCE": "1", "RESUME": "0"}
    resumed = ["--resume_from_checkpoint", str(begun)] if begun else []
    sys.argv = ["finetune", *flags.split(), "--query_instruction_for_retrieval", profile.instruction, *resumed]
    finetune.main()


KINDS = {  # how it is made, and what must be there before
    "pairs": (load_pairs,),
    "base": (base_model,),
    "training_set": (training_set,),
    "eval_set": (eval_set,),
    "vectors": (vectors, base_model),
    "audit": (audit, training_set, eval_set),
    "result": (result, base_model, eval_set),
    "model": (model, base_model, training_set),
}


def kill_at(point: int, folder: Path, changes: Any) -> None:
    """Kill this process when it opens a file to write, or renames, makes or removes one, for the `point`-th time."""

    def hook(event: str, values: tuple) -> None:
        if event == "open" and not (isinstance(values[2], int) and values[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir") and str(values[0]).startswith(
            str(folder)
        ):
            if changes.value == point:
                os.kill(os.getpid(), signal.SIGKILL)
            changes.value += 1

    sys.addaudithook(hook)


def attempt(work, said: Path, fault=lambda: None) -> int:
    """Do it in a process of its own, with what it prints in a file; return its exit status, negative if killed."""
    if (pid := os.fork()) == 0:
        status = 1
        try:
            for number in (1, 2):
                os.dup2(os.open(said, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
            fault()
            run_command(work)
            status = 0
        except SystemExit as error:
            status = error.code
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def content(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all files that last, less those that say when, where and how fast."""
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    changing = ("loss.jsonl", "training_args.bin", "README.md")
    return {
        name: json.dumps(read_manifest(path)["made_from"]).encode() if name.endswith(MANIFEST) else path.read_bytes()
        for name, path in paths.items()
        if not path.name.endswith(".lock") and path.name not in changing and "checkpoint-" not in name
        if not (path.name == MANIFEST and read_manifest(path) is None)
    }


def check_whole(folder: Path, reference: dict[str, bytes]) -> None:
    """Check that what is taken for whole is what it would have been without a fault."""
    for path in folder.rglob("*.json"):
        if "checkpoint-" not in str(path) and (made := read_manifest(path)):
            for name in made["files"]:
                file = (path.parent / name).resolve()
                assert file.read_bytes() == reference[file.relative_to(folder).as_posix()], file
    for path in folder.rglob("*_neg*/modules.json"):
        weights = path.with_name("model.safetensors")
        assert weights.read_bytes() == reference[weights.relative_to(folder).as_posix()], weights


def fill(folder: Path, free: int) -> Path:
    """Leave as many bytes free on a small disk."""
    ballast = folder / "ballast"
    status = os.statvfs(folder)
    ballast.write_bytes(bytes(max(0, status.f_bavail * status.f_frsize - free)))
    return ballast


def main(kind: str, fault: str, folder: Path, bert: Path, scratch: Path) -> None:
    settings.ROOT = folder
    shutil.copytree(Path(__file__).parent.parent / "profiles", folder / "profiles")
    layers = 1 if kind == "base" else 0
    given = {"BASE_MODEL": bert, "BASE_LAYERS": layers, "POOLING": "cls", "INSTRUCTION": "ask: ", "SAVE_STEPS": 4}
    given |= {"DATASET": scratch / "pairs.jsonl"} if kind == "pairs" else {}
    (scratch / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in PAIRS))
    profile = settings.load_profile("test", {key: str(value) for key, value in given.items()})
    said, kept, changes = scratch / "said", scratch / "kept", RawValue("i")
    work, *before = (partial(step, profile) for step in KINDS[kind])
    for step in before:
        assert attempt(step, said) == 0, said.read_text()
    shutil.copytree(folder, kept)

    def restore() -> None:
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(kept, folder, dirs_exist_ok=True)

    before_it = os.statvfs(folder).f_bavail
    assert attempt(work, said, lambda: kill_at(-1, folder, changes)) == 0, said.read_text()
    reference, total = content(folder), changes.value
    size = (before_it - os.statvfs(folder).f_bavail) * os.statvfs(folder).f_frsize
    rng, done = random.Random(kind), 0
    for point in rng.sample(range(total), min(POINTS, total)) if fault == "kill" else range(POINTS):
        restore()
        changes.value = 0
        if fault == "kill":
            status = attempt(work, said, partial(kill_at, point, folder, changes))
            assert status == -signal.SIGKILL, (point, status, said.read_text())
        else:
            ballast = fill(folder, rng.randrange(size))
            status, lines = attempt(work, said), said.read_text().splitlines()
            assert status == 2, (status, lines)
            assert lines[-1].startswith("error: "), lines
            assert "Traceback" not in said.read_text(), lines
            ballast.unlink()
        check_whole(folder, reference)
        assert attempt(work, said) == 0, said.read_text()
        found = content(folder)
        others = [name for name in found | reference if found.get(name) != reference.get(name)]
        assert not others, (point, others)
        assert not [path for path in folder.rglob("*") if path.name.endswith(".tmp")]
        done += 1
    print(f"{kind}, {fault}: {done} of {total} points, {size:,} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(Path, sys.argv[3:]))
