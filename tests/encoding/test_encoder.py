"""Vectors against those computed by hand, and what is kept of them on disk."""

import json
import re
import shutil
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from conftest import make_pairs
from safetensors.numpy import load_file, save_file

from helpers.base.errors import UserError
from helpers.base.profile import ROOT
from helpers.encoding import encoder
from helpers.encoding.encoder import Embedder, computes_in, token_lengths
from helpers.encoding.models import load_encoder
from helpers.encoding.settings import EmbedderSettings, embedder_settings

TEXTS = [pair["positive"][0] for pair in make_pairs(40)]


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_vectors_by_hand(make_profile, tiny_bert, pooling):
    import torch
    from transformers import AutoModel, AutoTokenizer

    profile = make_profile(BASE_MODEL=tiny_bert, BASE_LAYERS=0, POOLING=pooling, INSTRUCTION="ask: ")
    embedder = Embedder(embedder_settings(profile, "raw"), profile)
    texts = ["banel derak", "kisot lovim muzup " * 20, "tinel"]
    tokenizer, model = AutoTokenizer.from_pretrained(tiny_bert), AutoModel.from_pretrained(tiny_bert).eval()

    def by_hand(text):
        inputs = tokenizer(text, truncation=True, max_length=24, return_tensors="pt")
        with torch.no_grad():
            hidden = model(**inputs).last_hidden_state[0]  # (tokens, dim)
        vector = hidden[0] if pooling == "cls" else hidden.mean(0)
        return (vector / vector.norm()).numpy()

    for vectors, prefix in ((embedder.encode_queries(texts), "ask: "), (embedder.encode_corpus(texts), "")):
        assert vectors.dtype == np.float32
        assert np.allclose(vectors, [by_hand(prefix + text) for text in texts], atol=1e-5)


def test_token_lengths_count_special_tokens(tiny_bert):
    assert token_lengths(["banel derak", "banel " * 100], tiny_bert) == [4, 102]
    assert json.loads((tiny_bert / "tokenizer_config.json").read_text())["model_max_length"] == 64


def make_embedder(folder, profile, **changes):
    settings = {"pooling": "mean", "instruction": "ask: ", "passage_instruction": ""}
    settings |= {"query_max_len": 24, "passage_max_len": 24, **changes}
    return Embedder(EmbedderSettings("tiny", folder, **settings), profile)


@pytest.mark.parametrize("budget", [1, 50, 10_000])
def test_batches_do_not_change_the_vectors(tiny_bert, make_profile, budget):
    embedder = make_embedder(tiny_bert, make_profile(ENCODE_TOKENS=budget))
    texts = [text[: 5 + 3 * i] for i, text in enumerate(TEXTS)]
    alone = np.concatenate([embedder.encode([text], 24) for text in texts])
    assert np.allclose(embedder.encode(texts, 24), alone, atol=1e-6)


def test_batches_are_of_like_length_and_within_the_budget(tiny_bert, make_profile, monkeypatch):
    embedder = make_embedder(tiny_bert, make_profile(ENCODE_TOKENS=48))
    model = embedder.model
    shapes = []
    forward = model.forward

    def noted(input_ids, **inputs):
        shapes.append(tuple(input_ids.shape))
        return forward(input_ids, **inputs)

    monkeypatch.setattr(model, "forward", noted)
    texts = ["banel " * n for n in (1, 20, 2, 19, 1, 2, 1, 1)]  # with two special tokens: 3, 22, 4, 21, ...
    embedder.encode(texts, 24)
    assert shapes == [(2, 22), (6, 4)]


def test_vectors_are_encoded_in_the_precision_of_the_training(tiny_bert, make_profile):
    import torch

    single, half = (make_embedder(tiny_bert, make_profile(PRECISION=precision)) for precision in ("fp32", "bf16"))
    dtypes = []
    half.model.register_forward_pre_hook(
        lambda *_: dtypes.append(torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu"))
    )
    difference = abs(single.encode_corpus(TEXTS) - half.encode_corpus(TEXTS)).max()  # kept apart, too
    assert set(dtypes) == {torch.bfloat16}
    assert 1e-4 < difference < 0.05
    assert {parameter.dtype for parameter in half.model.parameters()} == {torch.float32}
    assert [computes_in(precision) for precision in ("fp32", "fp16", "bf16")] == ["fp32", "fp32", "bf16"]


def test_out_of_memory_halves_the_budget(tiny_bert, tmp_path):
    """In a process that may use 400 MB more than it has when the model is loaded, for a batch that takes far more."""
    script = """
import json, resource, sys
import numpy as np, psutil, torch
from helpers.encoding.settings import EmbedderSettings
from helpers.encoding.encoder import Embedder
from helpers.base.profile import load_profile

torch.set_num_threads(1)
folder = __import__("pathlib").Path(sys.argv[1])
settings = EmbedderSettings("tiny", folder, "mean", "", "", 64, 64)
profile = load_profile("test", {"ENCODE_TOKENS": "1000000", "BASE_MODEL": str(folder)})
embedder = Embedder(settings, profile)
embedder.encode(["banel"], 64)
limit = psutil.Process().memory_info().vms + 400 * 2**20
texts = [f"banel derak {i} " * 16 for i in range(15000)]
alone = embedder.encode(texts[:3], 64)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
vectors = embedder.encode(texts, 64)
lengths = np.linalg.norm(vectors, axis=1)
print(json.dumps([embedder.budget, float(abs(vectors[:3] - alone).max()), float(lengths.min())]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, tiny_bert], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    *said, result = done.stdout.splitlines()
    budget, difference, shortest = json.loads(result)
    assert [re.sub(r"\d+", "N", line) for line in said] == [
        "Out of memory with batches of N tokens; goes on with N."
    ] * len(said)
    assert said
    assert budget < 500_000
    assert difference < 1e-6
    assert shortest == pytest.approx(1, abs=1e-5)


def test_a_text_that_does_not_fit_is_one_sentence(tiny_bert, make_profile, monkeypatch):
    import torch

    def full(**inputs):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    embedder = make_embedder(tiny_bert, make_profile())
    monkeypatch.setattr(embedder.model, "forward", full)
    with pytest.raises(UserError, match="Not even one text of 24 tokens fits into memory; lower QUERY_MAX_LEN"):
        embedder.encode(["banel " * 100] * 4, 24)


@pytest.fixture
def calls(monkeypatch):
    """Counts what is encoded and loaded."""
    counts = Counter()

    def counted_encode(self, texts, max_len):
        counts["texts"] += len(texts)
        return encode(self, texts, max_len)

    def counted_load(*args):
        counts["loads"] += 1
        return load_encoder(*args)

    encode = Embedder.encode
    monkeypatch.setattr(Embedder, "encode", counted_encode)
    monkeypatch.setattr(encoder, "load_encoder", counted_load)
    return counts


def test_a_rerun_encodes_nothing(tiny_bert, make_profile, calls):
    first = make_embedder(tiny_bert, make_profile())
    queries, passages = first.encode_queries(TEXTS[:5]), first.encode_corpus(TEXTS)
    assert (calls["texts"], calls["loads"]) == (45, 1)
    second = make_embedder(tiny_bert, make_profile())
    assert np.array_equal(second.encode_queries(TEXTS[:5]), queries)
    assert np.array_equal(second.encode_corpus(TEXTS), passages)
    assert (calls["texts"], calls["loads"]) == (45, 1)
    assert second.seconds == first.seconds
    assert set(first.seconds) == {"encode_queries", "encode_corpus"}
    assert isinstance(passages, np.memmap)


@pytest.mark.parametrize(
    "change",
    [
        {"pooling": "cls"},
        {"passage_instruction": "passage: "},
        {"passage_max_len": 6},
        "texts",
        "order",
        "weights",
        "tokenizer",
        {"VECTORS": "float16"},
    ],
)
def test_what_has_changed_meets_no_old_vectors(tiny_bert, make_profile, tmp_path, calls, change):
    folder = shutil.copytree(tiny_bert, tmp_path / "model")
    before = make_embedder(folder, make_profile()).encode_corpus(TEXTS)
    texts, profile, changes = TEXTS, make_profile(), {}
    if change == "texts":
        texts = [*TEXTS[:-1], TEXTS[-1] + " banel"]
    elif change == "order":
        texts = TEXTS[::-1]
    elif change == "weights":
        weights = load_file(folder / "model.safetensors")
        weights["embeddings.LayerNorm.bias"][0] += 0.1
        save_file(weights, folder / "model.safetensors")
    elif change == "tokenizer":
        path = folder / "tokenizer.json"
        path.write_text(path.read_text() + "\n")
    elif "VECTORS" in change:
        profile = make_profile(**change)
    else:
        changes = change
    after = make_embedder(folder, profile, **changes).encode_corpus(texts)
    assert calls["texts"] == 2 * len(TEXTS)
    if change == {"VECTORS": "float16"}:
        assert after.dtype == np.float16
        assert np.allclose(after, before, atol=1e-3)
    elif change != "tokenizer":
        assert not np.array_equal(after, before)


def test_a_broken_encoding_leaves_nothing(tiny_bert, make_profile, monkeypatch):
    profile = make_profile()
    embedder = make_embedder(tiny_bert, profile)
    monkeypatch.setattr(encoder, "BLOCK", 10)
    done = 0

    def failing(self, texts, max_len):
        nonlocal done
        if done == 2:
            raise OSError(28, "No space left on device")
        done += 1
        return encode(self, texts, max_len)

    encode = Embedder.encode
    monkeypatch.setattr(Embedder, "encode", failing)
    with pytest.raises(UserError):
        embedder.encode_corpus(TEXTS)
    assert not list((profile.output_dir / "vectors").glob("[!.]*"))
    assert not list((profile.output_dir / "vectors").glob(".*.tmp"))
    monkeypatch.setattr(Embedder, "encode", encode)
    blocks = embedder.encode_corpus(TEXTS)  # four blocks of ten
    assert np.allclose(blocks, embedder.encode(TEXTS, 24), atol=1e-6)


def test_a_question_gets_the_instruction_and_is_not_kept(tiny_bert, make_profile):
    profile = make_profile()
    embedder = make_embedder(tiny_bert, profile)
    assert np.allclose(embedder.encode_question(TEXTS[0]), embedder.encode_queries(TEXTS[:1]), atol=1e-6)
    assert len(list((profile.output_dir / "vectors").glob("*.npy"))) == 1


def test_a_model_that_is_replaced_meanwhile_gets_no_vectors_of_the_old_one(tiny_bert, make_profile, tmp_path):
    """In a notebook that is open while FORCE=1 trains another."""
    folder = shutil.copytree(tiny_bert, tmp_path / "model")
    loaded, late = (make_embedder(folder, make_profile()) for _ in range(2))
    queries = loaded.encode_queries(TEXTS[:5])
    assert late.settings.weights  # asked, as by vectors that are found on disk, and the model not loaded yet
    weights = load_file(folder / "model.safetensors")
    weights["embeddings.LayerNorm.bias"] += 1
    save_file(weights, folder / "model.safetensors")
    old = loaded.encode_corpus(TEXTS)
    assert np.array_equal(loaded.encode_queries(TEXTS[:5]), queries)
    with pytest.raises(UserError, match="has been replaced by another model; run this again from the start"):
        late.encode_corpus(TEXTS[:7])
    new = make_embedder(folder, make_profile())
    assert not np.array_equal(new.encode_corpus(TEXTS), old)
    assert np.allclose(new.encode_corpus(TEXTS), new.encode(TEXTS, 24), atol=1e-6)
