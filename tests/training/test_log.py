"""What people read while a training runs."""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest
from filelock import FileLock

from helpers.base.errors import UserError
from helpers.base.files import write_json
from helpers.base.fingerprint import file_fingerprint
from helpers.base.manifest import MANIFEST
from helpers.base.profile import ROOT
from helpers.training import curve
from helpers.training.curve import POINTS, follow, plot_points
from helpers.training.folder import GO_ON, check_place, check_same, flags, is_running, make_record
from helpers.training.script import for_people, keep_log

AGENT = [
    "E1124 16:49:19.385000 4454 torch/distributed/elastic/multiprocessing/api.py:882] failed (exitcode: {code}) "
    "local_rank: 1 (pid: 7) of binary: python\n",
    "Traceback (most recent call last):\n",
    '  File "/bin/torchrun", line 8, in <module>\n',
    "    sys.exit(main())\n",
    "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: \n",
    "============================================================\n",
    "Root Cause (first observed failure):\n",
]


@pytest.fixture(autouse=True)
def no_flags(monkeypatch):
    """Keep the flags of whoever runs the tests out of the records."""
    monkeypatch.setattr(sys, "argv", ["finetune"])


def shown(lines):
    texts, statuses = zip(*for_people(lines), strict=True)
    return "".join(texts).splitlines(keepends=True), statuses[-1]


def test_the_log_keeps_what_is_for_people():
    lines = ["step 5/10   loss 1.0\n", "W1124 16:49:19.385000 1 torch/distributed/run.py:874] *****\n", "finished\n"]
    lines += ["*" * 41 + "\n", "Setting OMP_NUM_THREADS environment variable for each process to be 1 in default\n"]
    assert shown(lines) == ([lines[0], lines[2]], 0)


def test_a_killed_process_is_one_sentence():
    text, status = shown(["step 5/10\n", *[line.format(code=-9) for line in AGENT]])
    assert text == ["step 5/10\n", f"error: Process 1 of the training was killed by SIGKILL; {GO_ON}.\n"]
    assert status == 1


def test_a_process_that_said_why_is_not_repeated():
    text, status = shown(["error: The disk is full.\n", *[line.format(code=2) for line in AGENT]])
    assert (text, status) == (["error: The disk is full.\n"], 2)


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        (["error: no place\n"], "before\n"),
        (["warning: no lock\n", "error: no place\n"], "before\n"),
        (["begins, in process 1\n", "step\n", "error: no more\n"], "begins, in process 1\nstep\nerror: no more\n"),
        (["warning: no lock\n", "goes on from checkpoint-4\n"], "before\ngoes on from checkpoint-4\n"),
    ],
)
def test_the_file_is_that_of_a_training_that_has_begun(tmp_path, monkeypatch, capsys, lines, kept):
    monkeypatch.setattr("sys.stdin", lines)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    (tmp_path / "log").write_text("before\n")
    assert keep_log(tmp_path / "log") == 0
    assert (tmp_path / "log").read_text() == kept
    said = capsys.readouterr()
    assert said.err == "".join(line for line in lines if line.startswith("error"))
    assert said.out == "".join(line for line in lines if not line.startswith("error"))


def test_of_several_processes_the_first_says_why():
    text, status = shown(["error: It is taken.\n", "error: stopped.\n", *[line.format(code=2) for line in AGENT]])
    assert ([line for line in text if line], status) == (["error: It is taken.\n"], 2)


def test_a_tracebacks_of_a_process_are_kept():
    own = ["Traceback (most recent call last):\n", '  File "x.py", line 1\n', "ValueError: no\n"]
    text, status = shown([*own, *[line.format(code=1) for line in AGENT]])
    assert text[:3] == own
    assert "ended with status 1" in text[3]
    assert (len(text), status) == (4, 1)


def test_flags():
    words = ["--a", "1", "--instruction", "ends in: ", "--empty", "", "--list", "x", "y", "--alone"]
    assert flags(words) == {"a": "1", "instruction": "ends in: ", "empty": "", "list": "x y", "alone": ""}


@pytest.fixture
def record(tmp_path, tiny_bert, monkeypatch):
    """Return a function that makes the record of a training with flags, on a file that one may change."""
    data = tmp_path / "training.json"
    data.write_text("one\n")

    def make(*words, base=tiny_bert, processes=1):
        monkeypatch.setattr(sys, "argv", ["finetune", *words])
        return make_record(str(base), file_fingerprint(data), processes)

    return make


def test_a_resume_must_be_of_the_same_run(tmp_path, tiny_bert, tiny_m3, record):
    """Base, data, processes and flags; not what is said or kept on the way, nor where things are."""
    begun = ["--learning_rate", "1e-3", "--logging_steps", "5", "--save_steps", "4", "--output_dir", "a"]
    begun += ["--train_data", "x"]
    write_json(tmp_path / MANIFEST, record(*begun))
    resumed = "--learning_rate 1e-3 --output_dir b --save_steps 9 --report_to none"
    resumed = [*resumed.split(), "--resume_from_checkpoint", "x"]
    moved = shutil.copytree(tiny_bert, tmp_path / "elsewhere")
    check_same(tmp_path, record(*resumed))
    check_same(tmp_path, record(*resumed, "--model_name_or_path", str(moved), base=moved))

    def refused(names, first, *words, **other):
        with pytest.raises(UserError, match=r"^[^;]+\); restore that, or start again with FORCE=1.$") as error:
            check_same(tmp_path, record(*words, **other))
        assert str(error.value).startswith(f"{tmp_path} was begun with other {names} ({first}")

    same = ("--learning_rate", "1e-3")
    refused("--learning_rate", "--learning_rate was 1e-3, now it is 2e-3", "--learning_rate", "2e-3")
    refused("--learning_rate", "--learning_rate was 1e-3, now it is not given")
    refused("--fp16", "--fp16 was not given, now it is given", *same, "--fp16")
    refused("processes", "processes was 1, now it is 2", *same, processes=2)
    refused("base model", "base model was ", *same, base=tiny_m3)
    refused("base model, processes, --seed", "base model was ", *same, "--seed", "1", base=tiny_m3, processes=2)
    (tmp_path / "training.json").write_text("two\n")
    refused("training set", "training set was ", *same)


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"])
def test_another_base_is_one_with_other_weights_config_or_tokenizer(tmp_path, tiny_bert, record, file):
    base = shutil.copytree(tiny_bert, tmp_path / "base")
    write_json(tmp_path / MANIFEST, record(base=base))
    (base / "README.md").write_text("said of it")
    (base / MANIFEST).write_text("{}")  # of a base that was cut
    check_same(tmp_path, record(base=base))
    content = bytearray((base / file).read_bytes())
    content[-9] ^= 1
    (base / file).write_bytes(content)
    with pytest.raises(UserError, match="was begun with other base model "):
        check_same(tmp_path, record(base=base))


def test_running_is_told_from_ended(tmp_path, tiny_bert):
    """By the lock, which goes with its process, and never by a clock that two readings of one start may disagree on."""
    folder = tmp_path / "bert_neg10"
    record = make_record(str(tiny_bert), "", 1)
    assert record["pid"] == os.getpid()
    assert not is_running(folder)
    write_json(folder / MANIFEST, record)
    assert not is_running(folder)  # nobody has the lock
    lock = FileLock(tmp_path / ".neg10.lock")
    with lock:
        assert is_running(folder)
        assert not is_running(folder, held=True)
        write_json(folder / MANIFEST, record | {"pid": 2**22 + 1})  # of a container with this host's name, perhaps
        assert is_running(folder)
        os.utime(folder / MANIFEST, (0, 0))  # it has ended, and another base model's training has the lock
        assert not is_running(folder)


def test_a_training_on_another_host_runs_until_its_heartbeat_is_five_minutes_old(tmp_path, tiny_bert):
    folder = tmp_path / "bert_neg10"
    write_json(folder / MANIFEST, make_record(str(tiny_bert), "", 1) | {"host": "another"})
    with pytest.raises(UserError, match="on another; wait .* if it has died there, try again in five minutes"):
        check_place(folder)
    for age, running in ((0, True), (290, True), (310, False)):
        os.utime(folder / MANIFEST, (time.time() - age,) * 2)
        assert is_running(folder) == is_running(folder, held=True) == running
    script = "import sys, time, pathlib; from helpers.training.folder import keep_alive\n"
    script += "keep_alive(pathlib.Path(sys.argv[1]), seconds=0.01); time.sleep(1)"
    subprocess.run([sys.executable, "-c", script, folder], cwd=ROOT, check=True)
    assert is_running(folder)
    (folder / "modules.json").write_text("[]")  # the model is finished
    assert not is_running(folder)


def test_the_picture_shows_the_points():
    points = [{"step": s, "of": 30, "loss": 9 / s} for s in (10, 20)] + [{"step": 20, "of": 30, "ndcg@10": 0.5}]
    left, right = plot_points(points, "neg10, running").axes
    assert left.lines[0].get_xydata().tolist() == [[10, 0.9], [20, 0.45]]
    assert right.lines[0].get_xydata().tolist() == [[20, 0.5]]
    assert left.get_title() == "neg10, running: step 20 of 30"
    assert len(plot_points([], "neg10").axes) == 1


@pytest.mark.parametrize("ending", ["finished", "died"])
def test_follow_until_the_end(make_profile, tiny_bert, monkeypatch, capsys, ending):
    """A process is followed, grows its curve, and ends with or without a model."""
    import IPython.display

    titles = []

    class Picture:
        def update(self, figure):
            titles.append(figure.axes[0].get_title())

    monkeypatch.setattr(IPython.display, "display", lambda display_id: Picture())
    profile = make_profile()
    with pytest.raises(UserError, match="Nothing is trained in .*; run bash finetune_neg10.sh"):
        follow("neg10", profile)
    with pytest.raises(UserError):
        follow("raw", profile)

    folder = profile.tuned_model("neg10")
    folder.mkdir(parents=True)
    script = "import sys, pathlib; from helpers.training.folder import take_place\n"
    script += "lock = take_place(pathlib.Path(sys.argv[1])); print('taken', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", script, str(folder)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "taken\n"
    write_json(folder / MANIFEST, make_record(str(tiny_bert), "", 1) | {"pid": process.pid})
    profile.training_log("neg10").write_text("".join(f"line {n}\n" for n in range(30)))

    def pause(seconds):
        with (folder / POINTS).open("a") as file:
            file.write(json.dumps({"step": len(titles), "of": 3, "loss": 1.0}) + "\n")
        if len(titles) == 2:
            if ending == "finished":
                (folder / "modules.json").write_text("[]")
            process.kill()
            process.communicate()

    monkeypatch.setattr(curve.time, "sleep", pause)
    start = time.monotonic()
    follow("neg10", profile)
    assert time.monotonic() - start < 30
    assert titles == ["neg10, running: step 0 of 1", "neg10, running: step 1 of 3", f"neg10, {ending}: step 2 of 3"]
    said = capsys.readouterr().out
    assert ("line 29" in said and "line 18" in said and "line 17" not in said) == (ending == "died")
    assert ("FORCE=1 starts again" in said) == (ending == "died")
