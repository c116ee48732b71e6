"""Programs that people serve models with read ours right: each by the files and keys that it is documented to read.

A reader returns the pooling, and whether vectors are made of length 1, or raises. A folder as sentence-transformers 6
writes it none of them reads right, so that a test here fails where ours would be read wrongly.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from helpers.encoding.settings import EmbedderSettings, read_embedder, write_embedder

OLD = "3.4.1"  # of sentence-transformers
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
    write_embedder(tiny_bert, tmp_path, EmbedderSettings("tiny", tmp_path, request.param, "ask: ", "", 24, 24))
    return tmp_path, request.param


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


@pytest.mark.slow
def test_an_older_sentence_transformers_makes_the_same_vectors(model, tmp_path):
    from sentence_transformers import SentenceTransformer

    folder, _ = model
    older, out = tmp_path / "older", tmp_path / "vectors.npy"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", older]
    if subprocess.run([*pip, f"sentence-transformers=={OLD}"], check=False).returncode:
        pytest.skip("pip could not fetch an older sentence-transformers")
    script = (
        f"import sys; sys.path.insert(0, {str(older)!r}); import numpy, sentence_transformers\n"
        f"assert sentence_transformers.__version__ == {OLD!r}\n"
        f"model = sentence_transformers.SentenceTransformer({str(folder)!r}, device='cpu')\n"
        f"numpy.save({str(out)!r}, model.encode({TEXTS!r}, prompt_name='query'))"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    now = SentenceTransformer(str(folder), device="cpu").encode_query(TEXTS)
    assert np.abs(np.load(out) - now).max() < 1e-6
