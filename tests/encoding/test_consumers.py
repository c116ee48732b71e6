"""Programs that people serve models with read ours right: each by the files and keys that it is documented to read.

A reader returns the pooling, and whether vectors are made of length 1, or raises. A folder as sentence-transformers 6
writes it none of them reads right, so that a test here fails where ours would be read wrongly.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from importlib.metadata import version
from pathlib import Path

import nbformat
import numpy as np
import pytest
from conftest import make_pairs, run_python, write_jsonl

from helpers.base.profile import ROOT
from helpers.encoding.settings import EmbedderSettings, read_embedder, write_embedder

TEXTS = ["banel derak", "lozup " * 60]


def load(path: Path):
    return json.loads(path.read_text(encoding="utf8"))


def text_embeddings_inference(folder: Path) -> tuple[str, bool]:
    """router/src/lib.rs: two of the keys and a length must be there; it always normalises for its route /embed."""
    keys, lengths = load(folder / "1_Pooling/config.json"), load(folder / "sentence_bert_config.json")
    assert isinstance(lengths["max_seq_length"], int)
    modes = {"cls": keys["pooling_mode_cls_token"], "mean": keys["pooling_mode_mean_tokens"]}
    [mode] = [mode for mode, so in modes.items() if so]
    return mode, True


def vllm(folder: Path) -> tuple[str, bool]:
    """transformers_utils/config.py, get_pooling_config: types to the letter, and the first key that is true."""
    modules = {module["type"]: module["path"] for module in load(folder / "modules.json")}
    keys = load(folder / modules["sentence_transformers.models.Pooling"] / "config.json")
    first = next(key for key, value in keys.items() if value is True)
    return first.removeprefix("pooling_mode_").partition("_")[0], "sentence_transformers.models.Normalize" in modules


def llama_cpp(folder: Path) -> tuple[str, bool]:
    """convert_hf_to_gguf.py, _try_set_pooling_type; its server normalises unless told otherwise."""
    paths = [m["path"] for m in load(folder / "modules.json") if m["type"] == "sentence_transformers.models.Pooling"]
    keys = load(folder / paths[0] / "config.json")
    return "mean" if keys["pooling_mode_mean_tokens"] else "cls" if keys["pooling_mode_cls_token"] else "", True


def ollama(folder: Path) -> tuple[str, bool]:
    """convert/convert_bert.go: what it does not find is false."""
    modules = {module["type"]: module["path"] for module in load(folder / "modules.json")}
    keys = load(folder / modules.get("sentence_transformers.models.Pooling", "1_Pooling") / "config.json")
    found = [mode for mode in ("mean", "cls") if any(keys.get(f"pooling_mode_{mode}_{n}") for n in ("tokens", "token"))]
    return (*found, "")[0], "sentence_transformers.models.Normalize" in modules


READERS = [text_embeddings_inference, vllm, llama_cpp, ollama]


@pytest.fixture(params=["cls", "mean"])
def model(request, tiny_bert, tmp_path):
    from transformers import AutoTokenizer

    plain = shutil.copytree(tiny_bert, tmp_path / "plain")
    AutoTokenizer.from_pretrained(plain, extra_special_tokens=["[Q]"]).save_pretrained(plain)
    folder = tmp_path / "model"
    folder.mkdir()
    write_embedder(plain, folder, EmbedderSettings("tiny", folder, request.param, "ask: ", "", 24, 24))
    return folder, request.param


@pytest.mark.parametrize("reader", READERS)
def test_a_consumer_pools_as_the_model_was_trained(model, reader):
    folder, pooling = model
    assert reader(folder) == (pooling, True)


@pytest.mark.parametrize("reader", READERS)
def test_a_folder_that_would_be_read_wrongly_is_noticed(model, reader, tmp_path):
    """As the library writes it."""
    from sentence_transformers import SentenceTransformer

    folder, pooling = model
    SentenceTransformer(str(folder), device="cpu").save_pretrained(str(tmp_path / "new"), create_model_card=False)
    try:
        found = reader(tmp_path / "new")
    except (KeyError, IndexError, StopIteration):
        return
    assert found != (pooling, True)


@pytest.mark.parametrize("lengths", [(24, 24), (24, 12)])
def test_todays_sentence_transformers_reads_it_without_a_warning(tiny_bert, tmp_path, lengths, recwarn, caplog):
    from sentence_transformers import SentenceTransformer

    write_embedder(tiny_bert, tmp_path, EmbedderSettings("tiny", tmp_path, "cls", "ask: ", "", *lengths))
    model = SentenceTransformer(str(tmp_path), device="cpu")
    counts = [len(model.preprocess(TEXTS[1:], task=task)["input_ids"][0]) for task in ("query", "document")]
    assert tuple(counts) == lengths
    assert not [w for w in recwarn if issubclass(w.category, DeprecationWarning | FutureWarning)]
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    settings = read_embedder("tiny", tmp_path)
    assert (settings.query_max_len, settings.passage_max_len) == lengths


@pytest.fixture(scope="module")
def infinity(tmp_path_factory) -> Path:
    """The server's program, of the version that notebook 13 names, in an environment of its own.

    PyTorch, which is large, it shares with ours.
    """
    notebook = (ROOT / "notebooks" / "13_put_it_to_work.ipynb").read_text(encoding="utf8")
    [requirement] = set(re.findall(r"infinity-emb\[server,torch\]==[\d.]+", notebook))
    folder = tmp_path_factory.mktemp("serve")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    [packages] = folder.glob("lib/python*/site-packages")
    (folder / "ours.txt").write_text(f"torch=={version('torch')}\n")  # or pip would remove it, through the links
    for name in ("torch*", "functorch*", "nvidia*", "triton*"):
        for path in Path(sysconfig.get_paths()["purelib"]).glob(name):
            (packages / path.name).symlink_to(path)
    if subprocess.run(
        [folder / "bin" / "pip", "install", "-q", "-c", folder / "ours.txt", requirement], check=False
    ).returncode:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"pip could not fetch {requirement}")
    return folder / "bin" / "infinity_emb"


@pytest.mark.slow
def test_an_older_sentence_transformers_makes_the_same_vectors(infinity, model, tmp_path):
    """That of the server, with a transformers before 5."""
    from sentence_transformers import SentenceTransformer

    folder, _ = model
    out = tmp_path / "vectors.npy"
    script = (
        "import numpy, sentence_transformers, transformers\n"
        "assert sentence_transformers.__version__ < '6' and transformers.__version__ < '5'\n"
        f"model = sentence_transformers.SentenceTransformer({str(folder)!r}, device='cpu')\n"
        f"numpy.save({str(out)!r}, model.encode({TEXTS!r}, prompt_name='query'))"
    )
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([infinity.with_name("python"), "-c", script], env=environ, check=True)
    now = SentenceTransformer(str(folder), device="cpu").encode_query(TEXTS)
    assert np.abs(np.load(out) - now).max() < 1e-6


def said(project, server, settings) -> str:
    """Run notebook 13 on the reference; return what it prints."""
    done = run_python(project, "-m", "helpers", "notebook", "13_put_it_to_work", "name=reference", server, **settings)
    assert (done.returncode, done.stderr) == (0, "")
    [path] = (project / "output").glob(f"*/notebooks/13_*_{server.rpartition(':')[2]}.ipynb")
    cells = nbformat.read(path, as_version=4).cells
    return "".join(output.get("text", "") for cell in cells for output in cell.get("outputs", []))


@pytest.mark.slow
def test_what_is_served_is_what_was_measured(infinity, project, tiny_bert, tmp_path):
    """By the command that notebook 13 prints."""
    write_embedder(tiny_bert, tmp_path, EmbedderSettings("tiny", tmp_path, "mean", "ask: ", "", 24, 24))
    settings = {"PROFILE": "test", "DATASET": write_jsonl(tmp_path / "pairs.jsonl", make_pairs(60))}
    settings |= {"BASE_MODEL": tiny_bert, "BASE_LAYERS": 0, "REFERENCE_MODEL": tmp_path}
    done = run_python(project, "-m", "helpers", "notebook", "02_build_eval_dataset", **settings)
    assert (done.returncode, done.stderr) == (0, "")
    before = said(project, "server=http://127.0.0.1:9", settings)
    assert "Nothing answers at http://127.0.0.1:9 (" in before
    [command] = re.findall(r"^INFINITY_ANONYMOUS_USAGE_STATS=0 \.serve/bin/infinity_emb (.+\n.+)$", before, re.M)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = f"server=http://127.0.0.1:{port}"
    words = command.replace("\\\n", " ").replace(" 7997", f" {port}").split()
    null = subprocess.DEVNULL
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environ |= {"INFINITY_ANONYMOUS_USAGE_STATS": "0"}
    process = subprocess.Popen([infinity, *words], cwd=project, env=environ, stdout=null, stderr=null)
    try:
        end = time.monotonic() + 240
        while not answers(f"{server[7:]}/health"):
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.5)
        served, measured = re.findall(
            r"^(?:served|notebook 04) +nDCG@10 (0\.\d{4}(?:, .+)?)$", said(project, server, settings), re.M
        )
    finally:
        process.terminate()
        process.wait(timeout=60)
    score, _, differ = served.partition(", vectors differ by ")
    assert score == measured
    assert float(differ) < 1e-5


def answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address)
        return True
    except urllib.error.URLError:
        return False
