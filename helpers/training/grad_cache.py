"""The loss over a whole batch with the memory of one chunk of it: gradient caching.

Gao, Zhang, Han and Callan 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup",
arXiv:2101.06983. The loss sees texts only through their vectors, so its gradient splits at the vectors: first all
chunks are encoded without a graph, then the loss of all vectors gives each vector's gradient, then each chunk is
encoded again, with a graph this time, and its part of the gradient sent back through it.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from FlagEmbedding.finetune.embedder.encoder_only.base import BiEncoderOnlyEmbedderModel
from torch import Tensor
from torch.utils.checkpoint import get_device_states, set_device_states


def cached_backward(
    model: BiEncoderOnlyEmbedderModel,
    queries: list[dict[str, Tensor]],
    passages: list[dict[str, Tensor]],
    precision: Callable[[], AbstractContextManager] = nullcontext,
    backward: Callable[[Tensor], None] = Tensor.backward,
) -> Tensor:
    """Add the gradient of FlagEmbedding's contrastive loss to the model's parameters; return the loss, a scalar.

    Equal to `model(queries, passages).loss.backward()`, dropout included, at a third more computation. Queries and
    passages come in chunks, each tensor (texts of the chunk, tokens), in all group size times as many passages.
    `precision` is the context in which to encode, such as autocast; `backward` goes back from the loss, such as through
    a gradient scaler.
    """
    chunks = [*queries, *passages]
    state, states = torch.get_rng_state(), get_device_states(*chunks[0].values())
    with torch.no_grad(), precision():
        vectors = [model.encode([chunk]) for chunk in chunks]  # (texts of the chunk, dim)

    for leaf in vectors:
        leaf.requires_grad_()
    compute = model._compute_cross_device_neg_loss if model.negatives_cross_device else model._compute_in_batch_neg_loss
    with precision():
        _, loss = compute(torch.cat(vectors[: len(queries)]), torch.cat(vectors[len(queries) :]))
    backward(loss)  # to the vectors and no further

    torch.set_rng_state(state)  # the same dropout as in the first pass
    set_device_states(*states)
    for chunk, leaf in zip(chunks, vectors, strict=True):
        with precision():
            again = model.encode([chunk])
        again.backward(leaf.grad)
    return loss.detach()
