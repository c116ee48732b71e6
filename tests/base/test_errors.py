"""What terminals, pipes, paths and locales that are not UTF-8 do to what is said: nothing; in fresh processes."""

import subprocess
import sys

import pytest
from conftest import environ_of, make_rows, run_python, write_jsonl

from helpers.base.profile import ROOT, load_profile

ENCODINGS = [
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"},
    {"LC_ALL": "C"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"LC_ALL": "en_US.ISO-8859-1"},
]


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda settings: ",".join(map("=".join, settings.items())))
def test_a_log_goes_on_whatever_comes_in_and_whatever_shows_it(tmp_path, encoding):
    environ = environ_of(ROOT, encoding)
    command = [sys.executable, "-m", "helpers", "log", tmp_path / "日志 [1].log"]
    lines = b"begins, in process 1\nstep 1 \xe4\xb8\xad\nstep 2 \xff\xfe\nfinished\n"
    done = subprocess.run(command, input=lines, env=environ, cwd="/", capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(done.stdout.splitlines()) == 4
    kept = (tmp_path / "日志 [1].log").read_text(encoding="utf8").splitlines()
    assert (kept[0], kept[3]) == ("begins, in process 1", "finished")
    if "PYTHONIOENCODING" not in encoding:
        assert kept[1] == "step 1 中"


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda settings: ",".join(map("=".join, settings.items())))
def test_what_is_said_is_said_in_other_characters_if_need_be(encoding):
    for command, status in (
        (["settings"], 0),
        (["metrics", "/没有.trec", "/没有.trec"], 2),
        (["notebook", "没有"], 2),
        (["check", "十"], 2),
        (["nope 十"], 2),
    ):
        done = run_python(ROOT, "-m", "helpers", *command, **encoding, INSTRUCTION="问题：")
        assert (done.returncode, "Traceback" in done.stderr) == (status, False)
        assert ("INSTRUCTION='" in done.stdout) == (status == 0)


def test_a_script_is_told_its_texts_and_paths_as_they_are(project, tiny_bert, tmp_path):
    pairs = tmp_path / "数据 [v2] {x} *.jsonl"
    pairs.touch()
    instruction = "为这个句子生成表示 é: "
    settings = {"PROFILE": "test", "DATASET": pairs, "BASE_MODEL": tiny_bert, "INSTRUCTION": instruction}
    name = load_profile(environ={key: str(value) for key, value in settings.items()}).run_name
    write_jsonl(project / "ft_data" / name / "training_neg_10.json", make_rows(20, 10, instruction))
    done = run_python(project, "-m", "helpers", "prepare", "neg10", **settings, PYTHONIOENCODING="ascii", BASE_LAYERS=0)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"INSTRUCTION='{instruction}'" in done.stdout
    assert f"TRAIN_DATA='{project}/ft_data/{name}/training_neg_10.json'" in done.stdout
