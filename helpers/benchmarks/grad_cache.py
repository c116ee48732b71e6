"""Memory and speed of a large batch on a small card, at the size of bert-base with random weights."""

import torch
from FlagEmbedding.finetune.embedder.encoder_only.base import BiEncoderOnlyEmbedderModel
from torch.utils.benchmark import Timer
from transformers import BertConfig, BertModel

from helpers.base import UserError
from helpers.training.loss import cache_gradients

GROUP = 8  # the article's
QUERY_TOKENS, PASSAGE_TOKENS = 32, 128  # nearly all of MS MARCO's queries and passages are shorter
LIMIT = 9e9  # bytes: the article's card


def make_texts(count: int, tokens: int, chunk: int, config: BertConfig, device: str) -> list[dict[str, torch.Tensor]]:
    """Return `count` texts of random tokens in chunks, (chunk, tokens) each, or in one if `chunk` is 0."""
    ids = torch.randint(1000 % config.vocab_size, config.vocab_size, (count, tokens), device=device)
    return [{"input_ids": part, "attention_mask": torch.ones_like(part)} for part in ids.split(chunk or count)]


def measure(config: BertConfig, batch: int, chunk: int, device: str, steps: int = 10) -> tuple[float, int]:
    """Train for some steps in half precision; return the steps a second and the peak of memory in bytes (0 on a CPU).

    A step has `batch` queries with `GROUP` passages each; `chunk` texts are encoded at a time, or all if it is 0.
    """
    cuda = device == "cuda"
    model = BiEncoderOnlyEmbedderModel(BertModel(config).to(device), temperature=0.02, normalize_embeddings=True)
    if chunk:
        cache_gradients(model)
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    scaler = torch.amp.GradScaler(device, enabled=cuda)

    def step() -> None:
        queries = make_texts(batch, QUERY_TOKENS, chunk, config, device)
        passages = make_texts(batch * GROUP, PASSAGE_TOKENS, chunk, config, device)
        with torch.autocast(device, torch.float16, enabled=cuda):
            loss = model(queries, passages).loss
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()

    seconds = Timer("step()", globals={"step": step}).timeit(steps).mean  # warms up, and waits for the card
    return 1 / seconds, torch.cuda.max_memory_allocated() if cuda else 0


def benchmark() -> None:
    """Print batch 4 plain beside batch 256 with the cache. Raises UserError: there is no CUDA card."""
    if not torch.cuda.is_available():
        raise UserError("This measures the memory of a CUDA card, and there is none; run it on a machine that has one.")
    print(f"{torch.cuda.get_device_name()}, bert-base, fp16, {GROUP} passages of {PASSAGE_TOKENS} tokens a query")
    for batch, chunk in ((4, 0), (256, 64)):
        speed, peak = measure(BertConfig(), batch, chunk, "cuda")
        how = f"in chunks of {chunk} texts" if chunk else "plain"
        size = f"{peak / 1e9:6.2f} GB, {'under' if peak < LIMIT else 'NOT under'} 9 GB"
        print(f"batch {batch:3} {how:22} {size}   {speed:6.2f} steps/s   {batch * speed:7.1f} queries/s")
