"""Gradient caching against the plain computation, which keeps the graphs of all chunks."""

import weakref

import pytest
import torch
from conftest import make_pairs
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from helpers.training.loss import cache_gradients

GROUP = 3


def make_model(folder, cached=False, **more):
    from FlagEmbedding.finetune.embedder.encoder_only.base import BiEncoderOnlyEmbedderModel
    from transformers import AutoModel

    model = BiEncoderOnlyEmbedderModel(
        AutoModel.from_pretrained(folder),
        sentence_pooling_method="mean",
        temperature=0.05,
        normalize_embeddings=True,
        **more,
    )
    if cached:
        cache_gradients(model)
    return model.train()


def make_chunks(folder, sizes):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    pairs = make_pairs(8 * GROUP)
    texts = {"query": [pair["query"] for pair in pairs[:8]], "positive": [pair["positive"][0] for pair in pairs]}
    return [
        [tokenizer(part[i : i + size], padding=True, return_tensors="pt") for i in range(0, len(part), size)]
        for part, size in zip(texts.values(), sizes, strict=True)
    ]


def gradients(model, compute):
    torch.manual_seed(3)
    model.zero_grad()
    loss = compute()
    state = torch.get_rng_state()
    return loss, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}, state


def backward(model, queries, passages, scores=None):
    loss = model(queries, passages, scores).loss
    loss.backward()
    return loss.detach()


@pytest.mark.parametrize("chunk", [1, 3, 8, 24])
@pytest.mark.parametrize("dropout", [False, True])
def test_loss_and_gradients_are_the_plain_ones(tiny_bert, certain_bert, dropout, chunk):
    folder = tiny_bert if dropout else certain_bert
    model, cached = make_model(folder), make_model(folder, cached=True)
    queries, passages = make_chunks(folder, (chunk, chunk))
    # Without dropout it does not matter how the texts are cut; with it, the masks belong to the chunks.
    reference = (queries, passages) if dropout else make_chunks(folder, (8, 24))
    expected_loss, expected, expected_state = gradients(model, lambda: backward(model, *reference))
    loss, found, state = gradients(cached, lambda: backward(cached, queries, passages))
    assert torch.isclose(loss, expected_loss, atol=1e-5)
    assert found.keys() == expected.keys()
    assert len(found) > 30
    for name, gradient in expected.items():
        assert torch.allclose(found[name], gradient, atol=1e-5), name
    assert max(gradient.abs().max() for gradient in expected.values()) > 0.1
    assert not dropout or torch.equal(state, expected_state)  # what follows draws the same numbers


@pytest.mark.parametrize("taught", [False, True])
@pytest.mark.parametrize("lengths", [[], [32, 8, 4]])
def test_a_teacher_and_matryoshka_reach_the_gradient(certain_bert, taught, lengths):
    model, cached = (make_model(certain_bert, way, use_mrl=bool(lengths), mrl_dims=lengths) for way in (False, True))
    queries, passages = make_chunks(certain_bert, (3, 5))
    scores = [float(3 * (i % GROUP == 1)) for i in range(8 * GROUP)] if taught else None
    whole = make_chunks(certain_bert, (8, 24))
    expected_loss, expected, _ = gradients(model, lambda: backward(model, *whole, scores))
    loss, found, _ = gradients(cached, lambda: backward(cached, queries, passages, scores))
    alone, *_ = gradients(make_model(certain_bert), lambda: backward(make_model(certain_bert), queries, passages))
    assert torch.isclose(loss, expected_loss, atol=1e-5)
    assert abs(loss - alone) > 0.01 or not (taught or lengths)
    for name, gradient in expected.items():
        assert torch.allclose(found[name], gradient, atol=1e-5), name


def test_the_gradients_of_chunks_are_added_up_in_float32(certain_bert):
    """Not in bf16, as where autocast keeps one copy of a weight in bf16 for all of them."""
    chunks, found = make_chunks(certain_bert, (1, 1)), []
    for cached, one_copy in ((True, True), (False, False), (False, True)):
        model = make_model(certain_bert, cached)
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=one_copy):
            loss = model(*chunks).loss
        loss.backward()
        found.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    cached, apart, together = found
    assert (cached - apart).norm() < 1e-5 * apart.norm()
    assert (together - apart).norm() > 1e-3 * apart.norm()


def test_dropout_is_replayed_and_matters(tiny_bert):
    model = make_model(tiny_bert, cached=True)
    chunks = make_chunks(tiny_bert, (4, 4))
    first, *_ = gradients(model, lambda: backward(model, *chunks))
    torch.manual_seed(4)
    assert not torch.isclose(first, backward(model, *chunks), atol=1e-3)


class Alive(TorchDispatchMode):
    """Counts the bytes of the tensors that are made under it and still there, `size`, and the most of them, `peak`."""

    def __init__(self):
        super().__init__()
        self.size = self.peak = 0
        self.known = weakref.WeakSet()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **kwargs or {})
        tree_map_only(torch.Tensor, self.note, made)
        return made

    def note(self, tensor):
        storage = tensor.untyped_storage()
        if storage not in self.known:
            self.known.add(storage)
            self.add(storage.nbytes())
            weakref.finalize(storage, self.add, -storage.nbytes())

    def add(self, size):
        self.size += size
        self.peak = max(self.peak, self.size)


def test_memory_is_that_of_one_chunk(certain_bert):
    """All that the forward and the backward pass make, at its fullest, when the batch is four times the chunk."""

    def measure(model, sizes):
        chunks = make_chunks(certain_bert, sizes)
        backward(model, *chunks)  # the gradients are there, and are not counted
        with Alive() as alive:
            backward(model, *chunks)
        return alive.peak

    whole, kept = (measure(make_model(certain_bert), sizes) for sizes in ((8, 24), (2, 6)))
    chunked = measure(make_model(certain_bert, cached=True), (2, 6))
    assert min(whole, kept) > 2.5 * chunked
