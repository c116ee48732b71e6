"""What a CUDA card makes of a step: speed, its share of what the card's matrix products allow, and memory."""

import gc
from copy import deepcopy

import torch
from FlagEmbedding.finetune.embedder.encoder_only.base import BiEncoderOnlyEmbedderModel
from torch.utils.benchmark import Timer
from transformers import BertConfig, BertModel, PretrainedConfig

from helpers.base import UserError
from helpers.training.loss import cache_gradients
from helpers.training.packing import pack

MATRIX = 8192  # rows and columns of the product that measures a card's limit
QUERY_TOKENS, PASSAGE_TOKENS = 32, 128  # nearly all of MS MARCO's queries and passages are shorter
LIMIT = 9e9  # bytes: the article's card
CASES = {  # queries a step, passages a query, texts encoded at a time (0: all)
    "the article's recipe": (4, 8, 0),
    "in-batch negatives alone": (256, 1, 0),
    "a large batch in chunks": (256, 8, 64),
}


def products_rate(device: str, dtype: torch.dtype, size: int = MATRIX) -> float:
    """Return how many floating point operations a second a large matrix product has."""
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2 * size**3 / Timer("a @ b", globals={"a": a, "b": b}).timeit(20).mean


def token_operations(config: PretrainedConfig, tokens: float) -> float:
    """Return the floating point operations of one token: two a weight of the layers, and attention's two products.

    The token is one of a text of so many; to train takes three times as many: two products go back for each.
    """
    layer = 4 * config.hidden_size**2 + 2 * config.hidden_size * config.intermediate_size
    return config.num_hidden_layers * (2 * layer + 4 * tokens * config.hidden_size)


def make_texts(count: int, tokens: int, chunk: int, config: BertConfig, device: str) -> list[dict[str, torch.Tensor]]:
    """Return `count` texts of random tokens in chunks, (chunk, tokens) each, or in one if `chunk` is 0."""
    ids = torch.randint(1000 % config.vocab_size, config.vocab_size, (count, tokens), device=device)
    return [{"input_ids": part, "attention_mask": torch.ones_like(part)} for part in ids.split(chunk or count)]


def measure_steps(
    config: BertConfig, case: tuple[int, int, int], device: str, dtype: torch.dtype, how: str, steps: int = 10
) -> tuple[float, float, int]:
    """Train random weights in half precision, one of `CASES`: `plain`, `packed`, or compiled by a backend of PyTorch's.

    Return the steps and the operations of their products a second, and the peak of memory in bytes (0 on a CPU).
    """
    batch, group, chunk = case
    encoder = BertModel(deepcopy(config)).to(device)  # to pack one changes its config
    model = BiEncoderOnlyEmbedderModel(encoder, temperature=0.02, normalize_embeddings=True)
    if how == "packed":
        pack(encoder)
    elif how != "plain":
        encoder.compile(backend=how, dynamic=False)
    if chunk:
        cache_gradients(model)
    gc.collect()  # the model before, if that caches: its own encoding refers to it
    if cuda := device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    scaler = torch.amp.GradScaler(device, enabled=dtype == torch.float16)

    def step() -> None:
        queries = make_texts(batch, QUERY_TOKENS, chunk, config, device)
        passages = make_texts(batch * group, PASSAGE_TOKENS, chunk, config, device)
        with torch.autocast(device, dtype):
            loss = model(queries, passages).loss
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()

    step()  # compiles
    speed = 1 / Timer("step()", globals={"step": step}).timeit(steps).mean  # warms up, and waits for the card
    sides = (batch, QUERY_TOKENS), (batch * group, PASSAGE_TOKENS)
    operations = sum(3 * texts * tokens * token_operations(config, tokens) for texts, tokens in sides)
    return speed, speed * operations, torch.cuda.max_memory_allocated() if cuda else 0


def card() -> None:
    """Print each of `CASES` for a bert-base: plain, packed, compiled. Raises UserError: there is no CUDA card."""
    if not torch.cuda.is_available():
        raise UserError("This measures a CUDA card, and there is none; run it on a machine that has one.")
    dtype = torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    rate, name = products_rate("cuda", dtype), torch.cuda.get_device_name()
    print(f"{name}, {dtype}: {rate / 1e12:.0f} TFLOP/s; bert-base, {QUERY_TOKENS} and {PASSAGE_TOKENS} tokens")
    for title, case in CASES.items():
        for how in ("plain", "packed", "inductor"):
            speed, operations, peak = measure_steps(BertConfig(), case, "cuda", dtype, how)
            what = f"{case[0]} queries, {case[1]} passages each, {how}"
            size = f"{peak / 1e9:6.2f} GB, {'under' if peak < LIMIT else 'NOT under'} 9 GB"
            print(f"{title:26} {what:42} {speed:7.2f} steps/s {operations / rate:6.0%} of the products' rate   {size}")
