"""A packed encoder beside the plain one: the same vectors, the same gradient, no number of a text in another's."""

from copy import deepcopy

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from helpers.training.packing import TOGETHER, Dropout, drop, pack

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
LONGEST = 24


def make_encoders(kind="bert", dropout=0.0):
    """Return an encoder twice, plain and packed, with the same random weights."""
    from transformers import AutoConfig, AutoModel

    rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    config = AutoConfig.for_model(kind, vocab_size=50, max_position_embeddings=LONGEST + 2, **SIZES, **rates)
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
def test_vectors_and_gradients_are_the_plain_ones(kind, texts):
    plain, packed = make_encoders(kind)
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


def test_bf16_and_what_no_packing_is_known_for():
    plain, packed = make_encoders(dropout=0.1)
    with torch.autocast("cpu", torch.bfloat16):
        vectors = pooled(packed, make_batch())
    assert vectors.isfinite().all()
    vectors.float().sum().backward()
    assert all(p.grad.isfinite().all() for p in packed.parameters() if p.grad is not None)
    plain, other = make_encoders("electra")
    assert torch.equal(pooled(other, make_batch()), pooled(plain, make_batch()))
    assert other.config._attn_implementation == plain.config._attn_implementation


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


def test_the_mean_over_dropout_is_the_plain_one():
    """Attention's own dropout among it: many draws of both come to the same mean."""
    plain, packed = make_encoders(dropout=0.2)
    batch = {name: part.repeat(4000, 1) for name, part in make_batch(4).items()}
    means = [pooled(encoder, batch).unflatten(0, (4000, 4)).mean(0) for encoder in (plain, packed)]
    assert (means[0] - means[1]).abs().max() < 0.05
    quiet = pooled(plain.eval(), make_batch(4))
    assert (means[0] - means[1]).norm() < 0.2 * (means[0] - quiet).norm()


def test_what_is_saved_says_nothing_of_it(tmp_path):
    import json

    _, packed = make_encoders()
    packed.save_pretrained(tmp_path)
    assert "packed" not in (tmp_path / "config.json").read_text()
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "bert"
