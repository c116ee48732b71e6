"""A packed encoder beside the plain one: the same vectors, the same gradient, no number of a text in another's."""

from copy import deepcopy

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from helpers.training.packing import TOGETHER, Dropout, attend, drop, pack

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
LONGEST = 24


def make_encoders(kind="bert", dropout=0.0, **changes):
    """Return an encoder twice, plain and packed, with the same random weights."""
    from transformers import AutoConfig, AutoModel

    rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    config = AutoConfig.for_model(kind, vocab_size=50, max_position_embeddings=LONGEST + 2, **SIZES, **rates, **changes)
    torch.manual_seed(1)
    plain, packed = AutoModel.from_config(config), AutoModel.from_config(deepcopy(config))
    packed.load_state_dict(plain.state_dict())
    pack(packed)
    return plain.train(), packed.train()


def make_batch(texts=3 * TOGETHER - 5, longest=LONGEST, padding=1):
    torch.manual_seed(2)
    lengths = torch.randint(1, longest + 1, (texts,))
    mask = torch.arange(longest) < lengths[:, None]
    ids = torch.randint(5, 50, (texts, longest)).where(mask, padding)
    return {"input_ids": ids, "attention_mask": mask.long()}


def pooled(encoder, batch):
    mask = batch["attention_mask"][..., None]
    hidden = encoder(**batch, return_dict=True).last_hidden_state
    return torch.cat([(hidden * mask).sum(1) / mask.sum(1), hidden[:, 0]], 1)


@pytest.mark.parametrize("kind", ["bert", "roberta", "xlm-roberta"])
@pytest.mark.parametrize("texts", [1, TOGETHER, 3 * TOGETHER - 5])
@pytest.mark.parametrize("dropout", [0, 1e-6])  # so little drops no number, and goes the way of dropout
def test_vectors_and_gradients_are_the_plain_ones(kind, texts, dropout):
    plain, packed = make_encoders(kind, dropout)
    plain.eval()
    batch = make_batch(texts)
    expected, found = pooled(plain, batch), pooled(packed, batch)
    assert torch.allclose(found, expected, atol=1e-6)
    target = torch.randn_like(expected)
    for vectors in (expected, found):
        (vectors * target).sum(1).mean().backward()
    gradients = {name: p.grad for name, p in plain.named_parameters() if p.grad is not None}
    assert len(gradients) > 30
    for name, p in packed.named_parameters():
        assert (p.grad is None) == (name not in gradients), name
        assert p.grad is None or torch.allclose(p.grad, gradients[name], atol=1e-5), name


def test_token_types_reach_the_model():
    plain, packed = make_encoders()
    batch = make_batch()
    kinds = {"token_type_ids": (batch["input_ids"] % 2) * batch["attention_mask"]}
    found = pooled(packed, batch | kinds)
    assert torch.allclose(found, pooled(plain, batch | kinds), atol=1e-6)
    assert not torch.allclose(found, pooled(packed, batch), atol=1e-3)


def test_padding_costs_no_products():
    """A short text beside a long one costs the operations of its own tokens."""
    plain, packed = make_encoders()
    batch = make_batch(TOGETHER)
    batch["attention_mask"][1:, 2:] = 0
    counts = {}
    for name, encoder in (("plain", plain), ("packed", packed)):
        with FlopCounterMode(display=False) as counter:
            encoder(**batch)
        counts[name] = counter.get_total_flops()
    assert counts["packed"] < 0.35 * counts["plain"]


def test_in_bf16_it_is_as_near_to_float32_as_the_plain_one():
    plain, packed = make_encoders(dropout=1e-6)
    batch, found = make_batch(), []
    exact = pooled(plain.eval(), batch)
    with torch.autocast("cpu", torch.bfloat16):
        found = [pooled(encoder, batch) for encoder in (plain, packed)]
    apart = [(vectors - exact).norm() for vectors in found]
    assert 0 < apart[1] < 1.5 * apart[0]
    found[1].float().sum().backward()
    assert all(p.grad.isfinite().all() for p in packed.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [("electra", {}), ("bert", {"is_decoder": True}), ("bert", {"chunk_size_feed_forward": 8}), ("camembert", {})],
)
def test_what_it_is_not_known_to_be_right_for_stays_as_it_is(kind, changes):
    plain, packed = make_encoders(kind, **changes)
    batch = make_batch(TOGETHER)
    assert torch.equal(pooled(packed, batch), pooled(plain, batch))
    assert packed.config._attn_implementation == plain.config._attn_implementation


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_positions_are_counted_as_the_plain_one_does(kind):
    """Padding on the left, and its token within a text."""
    plain, packed = make_encoders(kind)
    batch = make_batch()
    batch = {name: part.flip(1) for name, part in batch.items()}
    batch["input_ids"][0, -3] = 1
    means = [pooled(encoder, batch)[:, : SIZES["hidden_size"]] for encoder in (plain, packed)]
    assert torch.allclose(*means, atol=1e-6)


def test_a_config_that_asks_for_tuples():
    plain, packed = make_encoders(return_dict=False)
    assert torch.allclose(pooled(packed, make_batch()), pooled(plain, make_batch()), atol=1e-6)


def test_dropout_drops_its_share_and_keeps_the_mean():
    torch.manual_seed(3)
    found = drop(torch.ones(1001, 999), 0.1)
    assert (found == 0).float().mean() == pytest.approx(0.1, abs=1e-3)
    assert found.mean() == pytest.approx(1, abs=1e-3)
    assert set(found.unique().tolist()) == {0.0, torch.tensor(1 / 0.9).item()}
    rows = drop(torch.ones(64, 1024), 0.5) > 0
    both = (rows.float() @ rows.float().T / 1024)[~torch.eye(64, dtype=bool)]
    assert both.sub(0.25).abs().max() < 0.1  # no row draws the numbers of another


def test_dropout_is_there_in_a_training_and_repeats_with_its_seed():
    _, packed = make_encoders(dropout=0.3)
    assert sum(isinstance(part, Dropout) for part in packed.modules()) == 7
    batch, found = make_batch(), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(pooled(packed, batch))
    assert torch.equal(found[0], found[1])
    assert not torch.allclose(found[0], found[2], atol=1e-2)
    plain, packed = (encoder.eval() for encoder in make_encoders(dropout=0.3))
    assert torch.allclose(pooled(packed, make_batch()), pooled(plain, make_batch()), atol=1e-6)


def test_attention_drops_its_share():
    """Of texts of one token, whose one weight is 1: it is dropped, or larger for it."""
    ones = torch.ones(1, 2, 20_000, 1)
    groups = [(torch.ones(20_000, 1, dtype=torch.bool), torch.arange(20_000))]
    found, _ = attend(None, ones, ones, ones, None, dropout=0.3, scaling=1.0, groups=groups)
    assert found.shape == (1, 20_000, 2, 1)
    assert (found == 0).float().mean() == pytest.approx(0.3, abs=0.02)
    assert found.mean() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_the_ends_of_dropout_are_torchs(p):
    torch.manual_seed(4)
    state, x = torch.get_rng_state(), torch.ones(10)
    assert torch.equal(Dropout(p)(x), torch.nn.Dropout(p)(x))
    assert p or torch.equal(torch.get_rng_state(), state)


def test_what_is_saved_says_nothing_of_it(tmp_path):
    import json

    _, packed = make_encoders()
    packed.save_pretrained(tmp_path)
    assert "packed" not in (tmp_path / "config.json").read_text()
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "bert"
