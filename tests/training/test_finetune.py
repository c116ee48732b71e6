"""Trainings as a user starts them: torchrun, kills, several processes, several machines."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from conftest import environ_of, make_pairs, make_rows, run_bash, write_jsonl
from safetensors.numpy import load_file

from helpers.base.manifest import MANIFEST
from helpers.base.profile import ROOT, load_profile
from helpers.training.curve import read_points
from helpers.training.folder import GO_ON, is_whole, last_whole

pytestmark = pytest.mark.slow


class Run:
    """A place of its own for a training, under the profile `test`, and the settings that lead there."""

    def __init__(self, project, name, model, tmp_path, **settings):
        pairs = write_jsonl(tmp_path / f"{name} with space.jsonl", [])
        self.script = project / "finetune_neg10.sh"
        self.settings = {"PROFILE": "test", "DATASET": pairs, "BASE_MODEL": model, "BASE_LAYERS": 0}
        self.settings |= {"INSTRUCTION": "ask: ", "POOLING": "mean", "LOGGING_STEPS": 1, **settings}
        self.profile = load_profile("test", {key: str(value) for key, value in self.settings.items()})
        self.data = project / "ft_data" / self.profile.run_name / "training_neg_10.json"
        write_jsonl(self.data, make_rows(40, 10))
        self.output = project / "output" / self.profile.run_name
        self.folder = self.output / self.profile.tuned_model("neg10").name

    def bash(self, **more):
        return run_bash(self.script, **self.settings | more)

    def done(self, **more):
        done = self.bash(**more)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr == ""
        return done

    def start(self, script="finetune_neg10.sh", **more):
        return subprocess.Popen(
            ["bash", self.script.with_name(script)],
            cwd="/",
            env=environ_of(self.script.parent, self.settings | more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait(self, condition):
        end = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.001)

    def move(self, place):
        """Move the project's folder."""
        before = self.script.parent
        shutil.copytree(before, place)
        shutil.rmtree(self.output)
        for name in ("script", "data", "output", "folder"):
            setattr(self, name, place / getattr(self, name).relative_to(before))

    def weights(self):
        return load_file(self.folder / "model.safetensors")

    def losses(self):
        return [point["loss"] for point in read_points(self.folder) if "loss" in point]

    def norms(self):
        """Return the length of each step's gradient, as the last checkpoint has them."""
        state = json.loads((last_whole(self.folder) / "trainer_state.json").read_text())
        return [entry["grad_norm"] for entry in state["log_history"] if "grad_norm" in entry]

    def pid(self):
        return json.loads((self.folder / MANIFEST).read_text())["pid"]


@pytest.fixture(scope="module")
def new_run(project, tmp_path_factory, certain_bert):
    def make(name, model=certain_bert, **settings):
        return Run(project, name, model, tmp_path_factory.mktemp(name), **settings)

    return make


def same(a, b):
    return a.keys() == b.keys() and all((a[name] == b[name]).all() for name in a)


def near(a, b, tolerance=1e-5):
    """Compare weights, but for the keys' biases: their gradient is 0, of which Adam scales up the rounding."""
    names = [name for name in a if not name.endswith("key.bias")]
    return a.keys() == b.keys() and all(abs(a[name] - b[name]).max() <= tolerance for name in names)


def test_flagembedding_comes_to_the_same(certain_bert, tmp_path):
    """No dropout, one positive and the one negative that a group of 2 draws: nothing is left to chance."""
    others = (pair["positive"] for pair in make_pairs(80)[40:])  # nobody's positives, so that none is left out
    data = write_jsonl(tmp_path / "training.json", [row | {"neg": next(others)} for row in make_rows(40, 1)])
    found = {}
    for module in ("FlagEmbedding.finetune.embedder.encoder_only.base", "helpers.training.finetune"):
        output = tmp_path / module
        flags = f"--model_name_or_path {certain_bert} --train_data {data} --output_dir {output} --train_group_size 2 "
        flags += "--query_max_len 24 --passage_max_len 24 --learning_rate 1e-3 --num_train_epochs 2 --logging_steps 1 "
        flags += "--per_device_train_batch_size 4 --warmup_steps 0.1 --sentence_pooling_method mean --temperature 0.05 "
        flags += "--query_instruction_for_retrieval ask: --seed 42 --report_to none --use_cpu True --save_steps 20"
        done = subprocess.run(
            [sys.executable, "-m", module, *flags.split()], capture_output=True, text=True, cwd=ROOT, check=False
        )
        assert done.returncode == 0, done.stderr
        state = json.loads((output / "checkpoint-20" / "trainer_state.json").read_text())
        losses = [entry["loss"] for entry in state["log_history"] if "loss" in entry]
        found[module] = losses, load_file(output / "model.safetensors")
    (theirs, their_weights), (ours, our_weights) = found.values()
    assert len(ours) == 20
    assert ours == pytest.approx(theirs, abs=1e-5)
    assert near(our_weights, their_weights)
    assert not near(our_weights, load_file(certain_bert / "model.safetensors"), 1e-3)


def test_a_value_is_no_command(new_run, tiny_bert):
    """What a shell would write to files, if anything on the way from a setting to torchrun gave it to one again."""
    run = new_run("value", tiny_bert, INSTRUCTION="ask;>x1;$(>x2)`>x3`'", EPOCHS=0.1)
    write_jsonl(run.data, make_rows(40, 10, run.profile.instruction))
    places = Path("/"), run.script.parent
    before = [sorted(os.listdir(place)) for place in places]
    run.done()
    assert run.profile.instruction in (run.folder / "config_sentence_transformers.json").read_text()
    assert [sorted(os.listdir(place)) for place in places] == before


@pytest.fixture(scope="module")
def unbroken(new_run, tiny_bert):
    """A training with dropout from its start to its end, of three epochs with checkpoints within and at their ends."""
    run = new_run("unbroken", tiny_bert, EPOCHS=3, SAVE_STEPS=4, LEARNING_RATE=1e-2, REPORT_TO="tensorboard")
    return run, run.done()


def test_the_log_is_for_people(unbroken):
    run, done = unbroken
    overrides, folders, audited, *lines = done.stdout.splitlines()
    assert folders.startswith(
        f"folders    {run.data.parent}, {run.output}, with models named {run.profile.base_name}_neg"
    )
    assert audited.startswith("audit      ")
    assert all(f"{key}={value}" in overrides for key, value in run.settings.items() if key != "PROFILE")
    assert lines == (run.output / "finetune_neg10.log").read_text().splitlines()
    assert "\r" not in done.stdout
    assert max(map(len, lines[:-1])) < 120  # the last one has a path
    pattern = r"step +\d+/30   loss \d+\.\d{4}   lr \d\.\de[-+]\d\d   \d+\.\d examples/s   \d+:\d\d left"
    assert lines[0].endswith(f" {run.pid()}")
    assert all(re.fullmatch(pattern, line) for line in lines[1:-1])
    assert len(lines) == 32
    assert lines[-1].endswith(f" {run.folder}")
    points = read_points(run.folder)
    assert [point["step"] for point in points] == list(range(1, 31))
    assert {point["of"] for point in points} == {30}
    assert points[0]["learning_rate"] < points[2]["learning_rate"] > points[-1]["learning_rate"]


def test_the_plan_is_what_happens(unbroken):
    run, done = unbroken
    refused, checked = run.bash(CHECK=1), run.bash(CHECK=1, FORCE=1)
    assert (refused.returncode, checked.returncode) == (2, 0)
    free = r"[\d.]+ GB free"  # others write to the disk, too
    said = [re.sub(free, "", check.stdout) for check in (refused, checked)]
    assert said[0].startswith(said[1])
    assert refused.stdout.splitlines()[-1].startswith(f"error: {run.folder} ")
    planned = {line.split()[0]: line.split()[1] for line in checked.stdout.splitlines()[1:]}
    assert (planned["examples"], planned["steps"], planned["negatives"]) == ("40", "30", "31")
    assert "step 30/30" in done.stdout
    assert (run.folder / "modules.json").exists()  # CHECK=1 replaces nothing


def test_the_finished_model(unbroken):
    run, _ = unbroken
    names = {path.name for path in run.folder.iterdir()}
    assert {"modules.json", "model.safetensors", "README.md", "loss.jsonl", "made.json", "1_Pooling"} <= names
    assert {name for name in names if name.startswith("checkpoint")} == {"checkpoint-28", "checkpoint-30"}
    assert not any(name.startswith(".") for name in names)
    assert "--learning_rate 0.01" in (run.folder / "README.md").read_text()
    assert list((run.output / "tensorboard" / "neg10").glob("events*"))


def test_a_resume_with_other_settings_names_them_and_changes_nothing(unbroken):
    run, _ = unbroken
    before = {path: path.read_bytes() for path in run.output.rglob("*") if path.is_file()}
    done = run.bash(RESUME=1, NPROC=2, LEARNING_RATE=2e-2)
    assert done.returncode == 2
    assert done.stderr == (
        f"error: {run.folder} was begun with other processes, --learning_rate (processes was 1, now it is 2); "
        "restore that, or start again with FORCE=1.\n"
    )
    assert {path: path.read_bytes() for path in run.output.rglob("*") if path.is_file()} == before


def resumed(run, unbroken):
    """Check that going on with `run` comes to the unbroken run's end."""
    step = last_whole(run.folder).name.removeprefix("checkpoint-")
    done = run.done(RESUME=1)
    assert re.search(rf"checkpoint-{step}\b.*\nstep {int(step) + 1:2}/30", done.stdout)
    assert same(run.weights(), unbroken[0].weights())
    assert run.losses() == unbroken[0].losses()
    assert not any(path.name.startswith(".") for path in run.folder.iterdir())


def test_resume_after_a_kill_between_two_checkpoints_and_a_move(unbroken, new_run, tiny_bert, tmp_path):
    step = 14  # in the second of three epochs
    run = new_run(
        "killed", tiny_bert, **{key: unbroken[0].settings[key] for key in ("EPOCHS", "SAVE_STEPS", "LEARNING_RATE")}
    )
    process = run.start()
    run.wait(lambda: len(run.losses() if (run.folder / MANIFEST).exists() else []) >= step)
    os.kill(run.pid(), signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode
    assert (errors.startswith("error: "), len(errors.splitlines())) == (True, 1)
    assert not (run.folder / "modules.json").exists()
    run.move(tmp_path / "moved")
    resumed(run, unbroken)


def test_resume_after_a_kill_while_a_checkpoint_was_written(unbroken, new_run, tiny_bert):
    run = new_run(
        "cut", tiny_bert, **{key: unbroken[0].settings[key] for key in ("EPOCHS", "SAVE_STEPS", "LEARNING_RATE")}
    )
    process = run.start()
    for step in (8, 12, 16, 20, 24):
        checkpoint = run.folder / f"checkpoint-{step}"
        run.wait(checkpoint.exists)
        os.kill(run.pid(), signal.SIGSTOP)
        time.sleep(0.05)
        if not is_whole(checkpoint):
            break
        os.kill(run.pid(), signal.SIGCONT)  # it was written faster than seen; try the next one
    assert not is_whole(checkpoint)
    os.kill(run.pid(), signal.SIGKILL)
    process.communicate(timeout=60)
    assert last_whole(run.folder).name == f"checkpoint-{step - 4}"
    resumed(run, unbroken)


@pytest.fixture(scope="module")
def large(new_run):
    """One process with batches of eight, of which in some a passage answers a query that did not bring it."""
    run = new_run("large", TEMPERATURE=0.05, BATCH_SIZE=8)
    run.done()
    return run


def same_training(run, other):
    assert run.losses() == pytest.approx(other.losses(), abs=1e-4)
    assert run.norms() == pytest.approx(other.norms(), rel=2e-3)
    assert near(run.weights(), other.weights(), 1e-4)
    assert len(run.losses()) == len(run.norms()) == 5


@pytest.mark.parametrize("chunk", [0, 3])
def test_cross_device_negatives_are_those_of_one_large_batch(new_run, large, chunk):
    """2 x batch 4 has the losses and the gradients of 1 x batch 8, plain and cached; only the first process writes."""
    run = new_run(f"across{chunk}", TEMPERATURE=0.05, GRAD_CACHE=chunk)
    run.done(NPROC=2, CROSS_DEVICE_NEGATIVES=1, SAVE_STEPS=2)
    same_training(run, large)
    assert {path.name for path in (run.folder / "checkpoint-4").iterdir()} == {
        "config.json",
        "model.safetensors",
        "optimizer.pt",
        "rng_state_0.pth",
        "rng_state_1.pth",
        "scheduler.pt",
        "tokenizer.json",
        "tokenizer_config.json",
        "trainer_state.json",
        "training_args.bin",
        "made.json",
    }


def test_processes_alone_have_half_as_many_negatives(new_run, large):
    alone = new_run("alone", TEMPERATURE=0.05)
    alone.done(NPROC=2)
    assert alone.losses()[0] < large.losses()[0] - 0.1


def test_two_machines_on_loopback(new_run, large):
    two = new_run("two-machines", TEMPERATURE=0.05)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    place = {"NNODES": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "CROSS_DEVICE_NEGATIVES": 1}
    nodes = [two.start(NODE_RANK=rank, **place) for rank in (0, 1)]
    for node in nodes:
        out, errors = node.communicate(timeout=300)
        assert node.returncode == 0, out + errors
    same_training(two, large)
    assert "step 5/5" in (two.output / "finetune_neg10.log").read_text()
    assert "step" not in (two.output / "finetune_neg10_node1.log").read_text()


def test_scripts_started_at_once(new_run, tiny_bert):
    """As people do: both scripts in the background, and one of them twice; the base model is not cut yet."""
    run = new_run("at-once", tiny_bert, BASE_LAYERS=1, EVAL_STEPS=4)
    write_jsonl(run.data.with_name("training_neg_50.json"), make_rows(60, 50))
    names = ["finetune_neg10.sh", "finetune_neg10.sh", "finetune_neg50.sh"]
    processes = [run.start(name) for name in names]
    errors = [process.communicate(timeout=300)[1] for process in processes]
    statuses = [process.returncode for process in processes]
    assert sorted(statuses[:2]) == [0, 2], errors
    assert statuses[2] == 0, errors
    folders = [run.output / run.profile.tuned_model(f"neg{neg_num}").name for neg_num in (10, 50)]
    refusal = errors[statuses.index(2)]
    assert (refusal.startswith(f"error: {folders[0]} "), len(refusal.splitlines())) == (True, 1)
    log = (run.output / "finetune_neg10.log").read_text()
    assert "error" not in log
    assert log.endswith(f"{folders[0]}\n")
    for folder in folders:
        assert (folder / "modules.json").exists()
        assert [point["step"] for point in read_points(folder) if "ndcg@10" in point][:2] == [4, 8]
    names = {".neg10.lock", ".neg50.lock", run.profile.base_name, *(folder.name for folder in folders)}
    assert {path.name for path in run.output.iterdir()} == names | {"finetune_neg10.log", "finetune_neg50.log"}


def test_a_killed_process_of_two_ends_the_other_with_a_sentence(new_run):
    run = new_run("widow")
    process = run.start(NPROC=2, EPOCHS=400)
    run.wait(lambda: (run.folder / MANIFEST).exists() and run.losses())
    workers = [
        p for p in psutil.Process(process.pid).children(recursive=True) if "helpers.training.finetune" in p.cmdline()
    ]
    workers = {p.environ()["RANK"]: p for p in workers if "RANK" in p.environ()}
    assert workers["0"].pid == run.pid()
    os.kill(workers["1"].pid, signal.SIGKILL)
    out, errors = process.communicate(timeout=60)
    assert process.returncode
    assert errors
    assert all(line.startswith("error: ") for line in errors.splitlines())
    assert "Traceback" not in out
    assert not workers["0"].is_running()


def test_a_process_that_is_leaving_does_not_mind_being_asked_to():
    """torchrun ends the others of a training that has failed, perhaps when they have ended themselves."""
    script = """
import atexit, os, signal, sys
from helpers.training import finetune
from helpers.base.errors import UserError, run_command
def run(self): raise UserError("It ended by itself.")
finetune.Runner.__init__, finetune.Runner.run = lambda *args: None, run
atexit.register(os.kill, os.getpid(), signal.SIGTERM)
sys.argv[1:] = ["--model_name_or_path", "x", "--train_data", sys.argv[1], "--output_dir", "x", "--use_cpu", "True"]
run_command(finetune.main)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, __file__], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (2, "error: It ended by itself.\n")


def test_a_full_disk_is_one_sentence(new_run):
    run = new_run("full", SAVE_STEPS=20)
    run.output.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(run.output)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounts are not allowed here")
    try:
        process = run.start(EPOCHS=100)
        run.wait(lambda: (run.folder / MANIFEST).exists() and run.losses())
        with (run.output / "filler").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(bytes(4096))
        out, errors = process.communicate(timeout=60)
        assert process.returncode
        assert "Traceback" not in out
        assert (errors.startswith(f"error: {run.folder}"), len(errors.splitlines())) == (True, 1)
        assert errors.endswith(f"; free some space, then {GO_ON}.\n")
    finally:
        subprocess.run(["umount", "-l", str(run.output)], check=True)


def test_a_teacher_a_matryoshka_and_frozen_layers(new_run, certain_bert):
    """Scored on the way, in chunks or whole to the same weights; what is frozen stays, what the teacher says counts."""
    run = new_run("taught", EVAL_STEPS=4, MATRYOSHKA="32,8", FROZEN_LAYERS=1, GROUP_SIZE=4, LEARNING_RATE=1e-2)
    found = {}
    for preferred, chunk in ((0, 0), (0, 5), (9, 0)):
        rows = [row | {"pos_scores": [1.0]} for row in make_rows(40, 10)]
        rows = [row | {"neg_scores": [float(preferred)] + [0.0] * 9} for row in rows]
        write_jsonl(run.data.with_name("training_taught.json"), rows)
        done = run_bash(run.script, "taught", **run.settings, GRAD_CACHE=chunk, FORCE=1)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "held-out nDCG@10" in done.stdout
        found[preferred, chunk] = load_file(run.output / run.profile.tuned_model("taught").name / "model.safetensors")
    assert near(found[0, 0], found[0, 5], 1e-4)
    assert not near(found[0, 0], found[9, 0], 1e-3)
    before = load_file(certain_bert / "model.safetensors")
    moved = {name for name in before if name in found[0, 0] and abs(before[name] - found[0, 0][name]).max() > 1e-4}
    assert {name.split(".")[0] for name in before} >= {"embeddings", "encoder"}
    assert moved and all(name.startswith(("encoder.layer.1.", "pooler.")) for name in moved)
