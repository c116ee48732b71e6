"""Texts encoded a second beside two other libraries' own ways; speed and memory of gradient caching beside plain."""

import gc
from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from FlagEmbedding.finetune.embedder.encoder_only.base import BiEncoderOnlyEmbedderModel
from sentence_transformers import SentenceTransformer
from torch.utils.benchmark import Timer
from transformers import AutoConfig, BertConfig, BertModel

from helpers.base import Profile, UserError, timed
from helpers.encoding.encoder import Embedder, computes_in, load_model, token_lengths
from helpers.encoding.settings import EmbedderSettings, embedder_settings
from helpers.sampling.eval_set import load_eval_set
from helpers.training.loss import cache_gradients

ROUNDS = 5
MATRIX = 8192  # rows and columns of the product that measures a card's limit
GROUP = 8  # the article's
QUERY_TOKENS, PASSAGE_TOKENS = 32, 128  # nearly all of MS MARCO's queries and passages are shorter
LIMIT = 9e9  # bytes: the article's card
Encode = Callable[[list[str]], np.ndarray]


def encoders(settings: EmbedderSettings, profile: Profile) -> dict[str, Encode]:
    """Return three ways to encode passages with one model, each over weights of its own and as its authors chose."""
    precision = computes_in(profile.precision) if torch.cuda.is_available() else "fp32"  # no faster on a CPU
    ours, flag = Embedder(settings, profile), load_model(settings, precision)
    sbert = SentenceTransformer(str(settings.folder), model_kwargs={"dtype": flag.model.dtype})
    prompt, max_len = settings.passage_instruction, settings.passage_max_len
    return {
        "ours": lambda texts: ours.encode([prompt + text for text in texts], max_len),
        "FlagEmbedding": lambda texts: flag.encode([prompt + text for text in texts], max_length=max_len),
        "sentence-transformers": lambda texts: sbert.encode_document(texts, normalize_embeddings=True),
    }


def time_in_turns(
    ways: dict[str, Encode], texts: list[str], rounds: int = ROUNDS
) -> tuple[dict[str, list[float]], float]:
    """Time each way `rounds` times, in turns, so that what else the machine does meets all alike.

    Return the seconds of each round, by way, and the largest difference of any number of any vector from ours.
    """
    vectors = {name: np.asarray(way(texts), np.float32) for name, way in ways.items()}  # also a round that is not timed
    laps = [{name: timed(way, texts)[1] for name, way in ways.items()} for _ in range(rounds)]
    difference = max(float(abs(other - vectors["ours"]).max()) for other in vectors.values())
    return {name: [lap[name] for lap in laps] for name in ways}, difference


def token_operations(settings: EmbedderSettings, tokens: float) -> float:
    """Return the floating point operations of one token: two a weight of the layers, and attention's two products."""
    config = AutoConfig.from_pretrained(settings.folder)
    layer = 4 * config.hidden_size**2 + 2 * config.hidden_size * config.intermediate_size
    return config.num_hidden_layers * (2 * layer + 4 * tokens * config.hidden_size)


def encoding(name: str, profile: Profile) -> None:
    """Encode the profile's corpus with `reference`, `neg10`, ... and print the speed of each way.

    Raises UserError: it is `raw`, which sentence-transformers cannot load, or there is no such model.
    """
    if name == "raw":
        raise UserError("raw is no embedder yet; give one such as reference or neg10.")
    settings = embedder_settings(profile, name)
    texts = list(load_eval_set(profile.data_dir).corpus.values())
    lengths = np.minimum(token_lengths(texts, settings.folder), settings.passage_max_len)
    tokens = int(lengths.sum())
    seconds, difference = time_in_turns(encoders(settings, profile), texts)
    where, limit = f"{torch.get_num_threads()} CPU threads", 0.0
    if torch.cuda.is_available():
        where = f"{torch.cuda.get_device_name()}, {profile.precision}"
        a, b = (torch.randn(MATRIX, MATRIX, device="cuda", dtype=torch.float16) for _ in range(2))
        speed = 2 * MATRIX**3 / Timer("a @ b", globals={"a": a, "b": b}).timeit(20).mean  # operations a second
        limit = speed / token_operations(settings, (lengths**2).sum() / tokens)  # tokens a second that this allows
    print(f"{settings.model}, {len(texts):,} passages, {tokens:,} tokens, {ROUNDS} rounds in turns, on {where}")
    for way, times in seconds.items():
        typical = median(times)
        share = f"   {tokens / typical / limit:.0%} of what the card's products allow" if limit else ""
        print(
            f"{way:22} {len(texts) / typical:8.1f} texts/s {tokens / typical:10,.0f} tokens/s   "
            f"x{typical / median(seconds['ours']):.2f} our time{share}"
        )
    print(f"largest difference of a vector from ours: {difference:.1e}")


def make_texts(count: int, tokens: int, chunk: int, config: BertConfig, device: str) -> list[dict[str, torch.Tensor]]:
    """Return `count` texts of random tokens in chunks, (chunk, tokens) each, or in one if `chunk` is 0."""
    ids = torch.randint(1000 % config.vocab_size, config.vocab_size, (count, tokens), device=device)
    return [{"input_ids": part, "attention_mask": torch.ones_like(part)} for part in ids.split(chunk or count)]


def measure_steps(config: BertConfig, batch: int, chunk: int, device: str, steps: int = 10) -> tuple[float, int]:
    """Train random weights in half precision; return the steps a second and the peak of memory in bytes (0 on a CPU).

    A step has `batch` queries with `GROUP` passages each; `chunk` texts are encoded at a time, or all if it is 0.
    """
    cuda = device == "cuda"
    model = BiEncoderOnlyEmbedderModel(BertModel(config).to(device), temperature=0.02, normalize_embeddings=True)
    if chunk:
        cache_gradients(model)
    gc.collect()  # the model before, if that caches: its own encoding refers to it
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


def grad_cache() -> None:
    """Print batch 4 plain beside batch 256 with the cache, of a bert-base. Raises UserError: there is no CUDA card."""
    if not torch.cuda.is_available():
        raise UserError("This measures the memory of a CUDA card, and there is none; run it on a machine that has one.")
    print(f"{torch.cuda.get_device_name()}, bert-base, fp16, {GROUP} passages of {PASSAGE_TOKENS} tokens a query")
    for batch, chunk in ((4, 0), (256, 64)):
        speed, peak = measure_steps(BertConfig(), batch, chunk, "cuda")
        how = f"in chunks of {chunk} texts" if chunk else "plain"
        size = f"{peak / 1e9:6.2f} GB, {'under' if peak < LIMIT else 'NOT under'} 9 GB"
        print(f"batch {batch:3} {how:22} {size}   {speed:6.2f} steps/s   {batch * speed:7.1f} queries/s")
