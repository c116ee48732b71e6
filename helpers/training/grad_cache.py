"""The loss over a whole batch with the memory of one chunk of it: gradient caching.

Gao, Zhang, Han and Callan 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup",
arXiv:2101.06983. The loss sees texts only through their vectors, so its gradient splits at the vectors: first all
chunks are encoded without a graph, then the loss of all vectors gives each vector's gradient, then each chunk is
encoded again, with a graph this time, and its part of the gradient sent back through it.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import chain

import torch
from FlagEmbedding.finetune.embedder.encoder_only.base import BiEncoderOnlyEmbedderModel
from torch import Tensor
from torch.utils.checkpoint import get_device_states, set_device_states


def cached_backward(
    model: BiEncoderOnlyEmbedderModel,
    queries: list[dict[str, Tensor]],
    passages: list[dict[str, Tensor]],
    teacher_scores: list[float] | None = None,
    precision: Callable[[], AbstractContextManager] = nullcontext,
    backward: Callable[[Tensor], None] = Tensor.backward,
) -> Tensor:
    """Add the gradient of FlagEmbedding's loss to the model's parameters; return the loss, a scalar.

    Equal to `model(queries, passages, teacher_scores).loss.backward()`, dropout included, at a third more computation,
    also where the model is a Matryoshka, which has vectors of several lengths. Queries and passages come in chunks,
    each tensor (texts of the chunk, tokens), in all group size times as many passages; a teacher scores each passage.
    `precision` is the context in which to encode, such as autocast; `backward` goes back from the loss, such as through
    a gradient scaler.
    """
    chunks = [*queries, *passages]
    state, states = torch.get_rng_state(), get_device_states(*chunks[0].values())
    with torch.no_grad(), precision():
        vectors = [_vectors(model, chunk) for chunk in chunks]
    for leaf in chain.from_iterable(vectors):
        leaf.requires_grad_()

    targets = None
    if teacher_scores is not None:
        texts = sum(len(chunk["input_ids"]) for chunk in queries)
        targets = torch.tensor(teacher_scores, device=vectors[0][0].device).view(texts, -1).softmax(dim=-1)
    compute = model._compute_cross_device_neg_loss if model.negatives_cross_device else model._compute_in_batch_neg_loss
    with precision():
        losses = [
            compute(torch.cat(parts[: len(queries)]), torch.cat(parts[len(queries) :]), teacher_targets=targets)[1]
            for parts in zip(*vectors, strict=True)
        ]
        loss = torch.stack(losses).mean()
    backward(loss)  # to the vectors and no further

    torch.set_rng_state(state)  # the same dropout as in the first pass
    set_device_states(*states)
    for chunk, leaves in zip(chunks, vectors, strict=True):
        with precision():
            again = _vectors(model, chunk)
        torch.autograd.backward(again, [leaf.grad for leaf in leaves])
    return loss.detach()


def _vectors(model: BiEncoderOnlyEmbedderModel, chunk: dict[str, Tensor]) -> list[Tensor]:
    """Return the vectors of a chunk, (texts of the chunk, dim), of each length that the model is trained for."""
    found = model.encode([chunk])
    return found if model.use_mrl else [found]
