"""What is fetched from a Hub, how often, and what is said when it says no; each time in a fresh process."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import BASE_MODEL, environ_of, make_pairs
from loopback_hub import BERT, BGE_M3, BGE_M3_COMMIT, CORPUS, MSMARCO, Fault
from safetensors.numpy import save

MODEL = ("-c", BASE_MODEL)
REFERENCE = ("-c", "import sys; from helpers.encoding.models import model_folder; print(model_folder(*sys.argv[1:]))")
PAIRS = (
    "-c",
    "import json; from helpers.sampling.pairs import load_pairs; from helpers.base.profile import load_profile; "
    "from helpers.base.errors import run_command; run_command(lambda: print(json.dumps(load_pairs(load_profile()))))",
)
CONFIGS = ["config.json", "tokenizer.json", "tokenizer_config.json"]


@pytest.fixture
def ask(articles_hub, tmp_path, project):
    """Return a function that runs Python with a cache of its own and the Hub on loopback for its Hub."""
    articles_hub.asked.clear()
    articles_hub.served.clear()
    articles_hub.faults.clear()

    def run(*words, **settings):
        environ = environ_of(project, {}) | {"HF_ENDPOINT": articles_hub.url, "HF_HOME": str(tmp_path / "hf home")}
        environ |= {"PROFILE": "msmarco", "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_PROGRESS_BARS": "1"} | settings
        environ.pop("HF_TOKEN", None)
        return subprocess.run(
            [sys.executable, *words], env=environ, cwd="/", capture_output=True, text=True, check=False
        )

    yield run
    shutil.rmtree(project / "ft_data" / "msmarco", ignore_errors=True)  # its pairs


def test_a_model_is_fetched_once_and_no_more_than_is_read(ask, articles_hub):
    done = ask(*MODEL)
    assert done.returncode == 0, done.stderr
    assert articles_hub.fetched(BERT) == sorted([*CONFIGS, "model.safetensors"])
    asked = len(articles_hub.asked)
    assert ask(*MODEL, HF_HUB_OFFLINE="1").stdout == done.stdout
    assert len(articles_hub.asked) == asked
    assert ask(*MODEL).stdout == done.stdout
    assert len(articles_hub.fetched(BERT)) == 4


def test_a_model_of_pickled_weights_and_its_modules(ask, articles_hub):
    done = ask(*REFERENCE, BGE_M3, BGE_M3_COMMIT)
    assert done.returncode == 0, done.stderr
    modules = ["modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"]
    pooling = ["1_Pooling/config.json"]
    assert articles_hub.fetched(BGE_M3) == sorted([*CONFIGS, *modules, *pooling, "pytorch_model.bin"])


def test_of_a_data_set_one_split_is_fetched(ask, articles_hub):
    done = ask(*PAIRS)
    assert done.returncode == 0, done.stderr
    assert [pair["query"] for pair in json.loads(done.stdout)] == [pair["query"] for pair in make_pairs(120)]
    assert articles_hub.fetched(MSMARCO) == ["README.md", "data/dev-00000-of-00001.parquet"]
    assert ask(*PAIRS, HF_HUB_OFFLINE="1").stdout == done.stdout
    wrong = ask(*PAIRS, DATASET_SPLIT="test")
    assert wrong.stderr == f"error: DATASET_SPLIT=test: {MSMARCO} has the splits train, dev; set it to one of them.\n"


def test_distractors_come_from_the_hub(ask, articles_hub):
    """Those of `msmarco_full`, of which ten of eleven are passages that the pairs have."""
    script = (
        "from helpers.base import load_profile, run_command; from helpers.sampling import *\n"
        "def main():\n"
        "    profile = load_profile(); pairs = load_pairs(profile)\n"
        "    _, evaluation = split_pairs(pairs, profile.split_key, profile.eval_share, profile.split_seed)\n"
        "    found = save_eval_set(evaluation, pairs, profile)\n"
        "    print(len(found.queries), len(found.corpus), found.corpus['d121'])\n"
        "run_command(main)"
    )
    done = ask("-c", script, PROFILE="msmarco_full")
    assert done.stdout == "24 121 not asked for\n", done.stderr
    assert articles_hub.fetched(CORPUS) == ["data/train-00000-of-00001.parquet"]
    everything = ask("-c", script, PROFILE="msmarco_full", EVAL_SHARE="1").stdout.splitlines()
    assert everything[-1] == "120 121 not asked for"
    wrong = ask("-c", script, PROFILE="msmarco_full", DISTRACTORS="nobody/nothing")
    assert wrong.stderr.startswith("error: nobody/nothing could not be had from the Hugging Face Hub: ")


def test_a_cut_stream_is_resumed_within_the_call(ask, articles_hub, monkeypatch):
    """The client keeps what has come in pieces of ten megabytes, so the file has two and a half of them."""
    piece = 10 * 2**20
    content = save({"weight": np.frombuffer(os.urandom(piece) + bytes(piece) + os.urandom(piece // 2), np.uint8)})
    monkeypatch.setitem(articles_hub.repos["models", BERT].files, "model.safetensors", content)
    articles_hub.faults.append(Fault("*/model.safetensors", cut_after=piece + 5000, times=2))
    done = ask(*MODEL)
    assert done.returncode == 0, done.stderr
    assert [asked for *_, asked in articles_hub.asked if asked] == [f"bytes={piece}-", f"bytes={2 * piece}-"]
    assert Path(done.stdout.strip(), "model.safetensors").read_bytes() == content


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault("*/ tree", 401), "status 401, so it is private or not there; check the name, or hf auth login"),
        (Fault("*/ tree", 403), "status 403, so it is private or not there"),
        (Fault("*/model.safetensors", 403, "GatedRepo"), "it is gated; ask for access at http://"),
        (Fault("*/ tree", 404, "RepoNotFound"), "status 404, so it is private or not there"),
        (
            Fault("*/ tree", 404, "RevisionNotFound"),
            "it has no such revision; check the _REVISION of it in the profile",
        ),
        (Fault("*/model.safetensors", 429), "too many requests; wait some minutes"),
        (Fault("*/model.safetensors", 500), "its server failed with status 500; try again later"),
        (Fault("*/model.safetensors", cut_after=100), "no whole answer"),
    ],
    ids=lambda value: value.pattern[2:] + str(value.status) + value.code if isinstance(value, Fault) else "",
)
def test_a_hub_that_says_no_is_one_sentence(ask, articles_hub, tmp_path, fault, said):
    articles_hub.faults.append(fault)
    done = ask(*MODEL)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: bert-base-uncased could not be had from the Hugging Face Hub: {said}")
    assert done.stderr.endswith(", or run PROFILE=demo, which needs no hub.\n")
    assert len(done.stderr.splitlines()) == 1
    files = [path for path in (tmp_path / "hf home").rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert not [path for path in files if "incomplete" in path.name or path.name.startswith("tmp")]
    assert not [path for path in files if path.name == "model.safetensors"]
    kept = articles_hub.fetched(BERT).count("tokenizer.json")
    articles_hub.faults.clear()
    assert ask(*MODEL).returncode == 0
    assert articles_hub.fetched(BERT).count("tokenizer.json") == 1  # what had come whole was not fetched again
    assert kept == ("tree" not in fault.pattern)


def test_a_cache_that_cannot_be_written_is_one_sentence(ask):
    for words in (MODEL, PAIRS):
        done = ask(*words, HF_HOME="/dev/null/none")
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
        assert "could not be had from the Hugging Face Hub: Not a directory (/dev/null/none" in done.stderr
        assert "; free some space or check the folder, or run PROFILE=demo" in done.stderr


def test_names_that_are_not_there_are_one_sentence(ask):
    for name in ("no/such-model", "a--b/c..d"):
        done = ask(*MODEL, BASE_MODEL=name, BASE_REVISION="")
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
        assert done.stderr.startswith(f"error: {name} could not be had from the Hugging Face Hub: ")
    done = ask(*PAIRS, DATASET="no/such-pairs")
    assert done.stderr.startswith("error: no/such-pairs could not be had from the Hugging Face Hub: status 401")
    done = ask(*MODEL, HF_HUB_OFFLINE="1")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
