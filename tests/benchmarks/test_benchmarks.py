"""The three ways to encode give the same vectors; test_vectors.py holds the search to its memory."""

import pytest
from conftest import make_pairs

from helpers.benchmarks.encode import encoders, measure, token_operations
from helpers.benchmarks.search import random_blocks
from helpers.encoding.settings import EmbedderSettings, read_embedder, write_embedder


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_all_libraries_make_the_same_vectors(tiny_bert, make_profile, tmp_path, pooling):
    write_embedder(tiny_bert, tmp_path, EmbedderSettings("tiny", tmp_path, pooling, "ask: ", "read: ", 24, 30))
    texts = [pair["positive"][0] for pair in make_pairs(30)] + ["banel " * 60]
    seconds, difference = measure(encoders(read_embedder("tiny", tmp_path), make_profile()), texts, rounds=2)
    assert list(seconds) == ["ours", "FlagEmbedding", "sentence-transformers"]
    assert all(len(times) == 2 and min(times) > 0 for times in seconds.values())
    assert difference < 1e-5


def test_the_operations_of_a_token_are_those_that_torch_counts(tiny_bert):
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import AutoModel

    model = AutoModel.from_pretrained(tiny_bert, attn_implementation="eager", add_pooling_layer=False).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.ones(3, 20, dtype=torch.long))
    expected = counter.get_total_flops() / 60
    assert token_operations(EmbedderSettings("tiny", tiny_bert, "cls", "", "", 24, 24), 20) == pytest.approx(expected)


def test_random_blocks_are_unit_vectors():
    blocks = list(random_blocks(20_000, seed=0))
    assert [len(block) for block in blocks] == [16_384, 3_616]
    assert (blocks[0] ** 2).sum(1) == pytest.approx(1, abs=1e-5)
