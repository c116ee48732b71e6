"""Memory and speed of a large batch on a small card, at the size of bert-base with random weights."""

import time
from typing import TYPE_CHECKING

import torch

from helpers.base import UserError
from helpers.training.grad_cache import cached_backward

if TYPE_CHECKING:
    from FlagEmbedding.finetune.embedder.encoder_only.base import BiEncoderOnlyEmbedderModel
    from transformers import BertConfig

GROUP = 8  # the article's
QUERY_TOKENS, PASSAGE_TOKENS = 32, 128  # nearly all of MS MARCO's queries and passages are shorter
CHUNK = 64  # texts
STEPS, WARM_UP = 10, 2
LIMIT = 9e9  # bytes: the article's card


def make_model(config: "BertConfig") -> "BiEncoderOnlyEmbedderModel":
    """Return FlagEmbedding's model over a BERT of random weights."""
    from FlagEmbedding.finetune.embedder.encoder_only.base import BiEncoderOnlyEmbedderModel
    from transformers import BertModel

    return BiEncoderOnlyEmbedderModel(BertModel(config), temperature=0.02, normalize_embeddings=True)


def make_texts(count: int, tokens: int, config: "BertConfig", device: str) -> dict[str, torch.Tensor]:
    """Return `count` texts of random tokens, (count, tokens)."""
    ids = torch.randint(1000 % config.vocab_size, config.vocab_size, (count, tokens), device=device)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def chunked(features: dict[str, torch.Tensor], size: int) -> list[dict[str, torch.Tensor]]:
    """Split texts into chunks of at most `size`."""
    parts = {name: tensor.split(size) for name, tensor in features.items()}
    return [dict(zip(parts, tensors, strict=True)) for tensors in zip(*parts.values(), strict=True)]


def measure(config: "BertConfig", batch: int, chunk: int, device: str, steps: int = STEPS) -> dict[str, float]:
    """Train for some steps in half precision; return `steps_per_second` and `peak_bytes` (0 on a CPU).

    Args:
        batch: queries a step, each with `GROUP` passages.
        chunk: texts encoded at a time; 0 for the plain computation.
    """
    model = make_model(config).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    cuda = device == "cuda"
    scaler = torch.amp.GradScaler(device, enabled=cuda)

    def precision() -> torch.autocast:
        return torch.autocast(device, torch.float16, enabled=cuda)

    def backward(loss: torch.Tensor) -> None:
        scaler.scale(loss).backward()

    def step() -> None:
        queries = make_texts(batch, QUERY_TOKENS, config, device)
        passages = make_texts(batch * GROUP, PASSAGE_TOKENS, config, device)
        if chunk:
            cached_backward(model, chunked(queries, chunk), chunked(passages, chunk), precision, backward)
        else:
            with precision():
                loss = model(queries, passages).loss
            backward(loss)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        if cuda:
            torch.cuda.synchronize()

    for _ in range(WARM_UP):
        step()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    seconds = time.perf_counter() - start
    return {"steps_per_second": steps / seconds, "peak_bytes": torch.cuda.max_memory_allocated() if cuda else 0}


def benchmark() -> None:
    """Print batch 4 plain beside batch 256 with the cache.

    Raises:
        UserError: there is no CUDA card.
    """
    from transformers import BertConfig

    if not torch.cuda.is_available():
        raise UserError("This measures the memory of a CUDA card, and there is none; run it on a machine that has one.")
    print(f"{torch.cuda.get_device_name()}, bert-base, fp16, {GROUP} passages of {PASSAGE_TOKENS} tokens a query")
    for batch, chunk in ((4, 0), (256, CHUNK)):
        result = measure(BertConfig(), batch, chunk, "cuda")
        how = f"in chunks of {chunk} texts" if chunk else "plain"
        under = "under" if result["peak_bytes"] < LIMIT else "NOT under"
        print(
            f"batch {batch:3} {how:22} {result['peak_bytes'] / 1e9:6.2f} GB, {under} 9 GB   "
            f"{result['steps_per_second']:6.2f} steps/s   {batch * result['steps_per_second']:7.1f} queries/s"
        )
