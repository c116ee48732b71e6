"""A batch without its padding: attention alone has to know which of the tokens are of one text."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, BertModel, PreTrainedModel, RobertaModel, XLMRobertaModel
from transformers.modeling_outputs import BaseModelOutput

PACKABLE = (BertModel, RobertaModel, XLMRobertaModel)  # whose tokens see each other in attention alone
TOGETHER = 16  # texts of like length that attend at a time on a CPU, padded to the longest of them; on a card, all


def pack(encoder: PreTrainedModel) -> None:
    """Let an encoder go through the tokens of a batch in one row; what it returns has its padding again, as zeros.

    Where texts are of different length a third of the tokens only pads, and takes as much time as the others. What a
    token becomes does not depend on these: vectors, loss and gradient are the same, but for the numbers that dropout
    draws. Zeng et al. 2022, "Boosting Distributed Training Performance of the Unpadded BERT Model", arXiv:2208.08124.
    One of another class, or set up otherwise, stays as it is. A copy of a packed one computes with its weights.
    """
    config = encoder.config
    if type(encoder) not in PACKABLE or config.is_decoder or config.chunk_size_feed_forward:
        return
    forward, padding = encoder.forward, encoder.embeddings.position_embeddings.padding_idx

    def packed(input_ids: Tensor, attention_mask: Tensor, **more: Any) -> BaseModelOutput:
        mask = attention_mask.bool()  # (texts, longest)
        order = mask.sum(1).argsort(stable=True)  # the shortest text first
        columns = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
        row = (order[:, None] * mask.shape[1] + columns)[mask[order]]  # the row's tokens in the batch, (tokens,)
        if padding is not None:  # RoBERTa's way to count: after the position of its padding
            columns = input_ids.ne(padding).cumsum(1) * input_ids.ne(padding) + padding
        kinds = {name: ids for name, ids in more.items() if name == "token_type_ids"}
        inputs = {"input_ids": input_ids, "position_ids": columns, **kinds}
        together = TOGETHER if mask.device.type == "cpu" else len(mask)
        groups = [part[:, part.any(0)] for part in mask[order].split(together)]
        hidden = forward(
            **{name: part.flatten()[row][None] for name, part in inputs.items()},
            groups=[(part, part.flatten().nonzero()[:, 0]) for part in groups],
            return_dict=True,
        )
        return BaseModelOutput(last_hidden_state=spread(hidden.last_hidden_state[0], mask, row))

    encoder.set_attn_implementation("packed")
    encoder.forward = packed
    for part in encoder.modules():
        if type(part) is torch.nn.Dropout:
            part.__class__ = Dropout


def spread(row: Tensor, mask: Tensor, places: Tensor) -> Tensor:
    """Return what there is for each token, (tokens, ...), at its place in (texts, longest, ...), between zeros."""
    return row.new_zeros(mask.numel(), *row.shape[1:]).index_copy(0, places, row).unflatten(0, mask.shape)


def attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None,
    dropout: float,
    scaling: float,
    groups: list[tuple[Tensor, Tensor]],
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attend within each text; query, key and value are (1, heads, tokens, dim), what is found (1, tokens, heads, dim).

    `groups` are masks of texts that follow each other in the row, (texts, longest), and where in them the tokens are.
    """
    sizes, found = [len(places) for _, places in groups], []
    parts = zip(*(side[0].transpose(0, 1).split(sizes) for side in (query, key, value)), strict=True)
    for part, (mask, places) in zip(parts, groups, strict=True):
        q, k, v = (spread(side, mask, places).transpose(1, 2) for side in part)  # (texts, heads, longest, dim)
        seen = mask[:, None, None]
        if dropout and query.device.type == "cpu":
            scores = (q @ k.mT * scaling).masked_fill(~seen, torch.finfo(q.dtype).min)
            near = drop(scores.softmax(-1), dropout) @ v
        else:
            near = scaled_dot_product_attention(q, k, v, attn_mask=seen, dropout_p=dropout, scale=scaling)
        found.append(near.transpose(1, 2).flatten(0, 1).index_select(0, places))
    return torch.cat(found)[None], None


AttentionInterface.register("packed", attend)


class Dropout(torch.nn.Dropout):
    """Dropout whose numbers a CPU draws in a fifth of the time."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the input as `drop`, or outside a training as it is."""
        quick = self.training and 0 < self.p < 1 and input.device.type == "cpu"
        return drop(input, self.p) if quick else super().forward(input)


def drop(x: Tensor, p: float) -> Tensor:
    """Return x with a share p of its numbers 0, and the others larger for it; 16 random bits each, so p to 1e-5."""
    bits = torch.empty(x.numel() // 4 + 1, dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
    kept = bits[: x.numel()].view(x.shape) >= round(p * 2**16) - 2**15
    return x * kept.to(x.dtype).div_(1 - p)
