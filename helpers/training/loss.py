"""The contrastive loss, in which no passage that answers a query competes with the one that was drawn for it.

In a batch a query meets the passages of all others, and among them may be a positive of its own: a copy of the gold
passage, another of its positives, or one drawn as somebody's negative. Taught to keep away from it, the model would
unlearn what its gold passage teaches.
"""

import torch
from FlagEmbedding.finetune.embedder.encoder_only.base import BiEncoderOnlyEmbedderModel
from torch import Tensor
from torch.utils.checkpoint import checkpoint


class MaskedLoss(torch.nn.CrossEntropyLoss):
    """Cross-entropy in the place of the one in FlagEmbedding's model; without false negatives it is the same.

    Where `world_size` processes let their passages compete with each other's, each computes the loss of all their
    queries, but its gradient reaches its own vectors alone; averaged over them it would be a `world_size`-th.
    """

    answers: Tensor | None = None

    def __init__(self, world_size: int = 1):
        super().__init__()
        self.world_size = world_size

    def see(self, passage_ids: Tensor, positive_ids: Tensor) -> None:
        """Note passages, (passages,), and the positives of queries, (queries, positives), by `text_id`; -1 is none."""
        self.answers = torch.zeros(len(positive_ids), len(passage_ids), dtype=torch.bool, device=passage_ids.device)
        for column in positive_ids.T:
            self.answers |= column[:, None] == passage_ids

    def forward(self, scores: Tensor, target: Tensor) -> Tensor:
        """Return the mean loss of scores, (queries, passages); target is each query's gold column, (queries,)."""
        # the scores of a query's own group alone have another shape, and nothing to leave out
        if self.answers is not None and self.answers.shape == scores.shape:
            competes = self.answers.scatter(1, target[:, None], False).logical_not()
            scores = scores.where(competes, torch.finfo(scores.dtype).min)
        loss = super().forward(scores, target)
        if self.world_size > 1 and loss.requires_grad:
            loss.register_hook(lambda gradient: gradient * self.world_size)
        return loss


def cache_gradients(model: BiEncoderOnlyEmbedderModel) -> None:
    """Let a model compute the loss of a whole batch, which then comes in chunks, with the memory of one of them.

    Gao, Zhang, Han and Callan 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup",
    arXiv:2101.06983. The loss sees texts only through their vectors, so its gradient splits at the vectors: of a chunk
    these alone are kept, and once they have their gradient it is encoded again, with the same dropout, and its part of
    the gradient sent back through it. Loss and gradient are those of `model` before, at a third more computation.
    """
    encode = model.encode  # of chunks, each tensor (texts of the chunk, tokens), to vectors, (texts, dim)

    def encode_chunks(chunks: list[dict[str, Tensor]]) -> Tensor | list[Tensor]:
        parts = []
        for chunk in chunks:
            torch.clear_autocast_cache()  # of weights in half precision, in which chunks would add up their gradients
            # In what is no plain dictionary it looks for no tensors, and so not for their device's random state.
            parts.append(checkpoint(encode, [dict(chunk)], use_reentrant=False))
        return [torch.cat(part) for part in zip(*parts, strict=True)] if model.use_mrl else torch.cat(parts)

    model.encode = encode_chunks
