"""Texts a second of our `Embedder.encode` beside the plain ones of FlagEmbedding and sentence-transformers, in one run.

All three start from the texts and keep the settings that their authors chose.
"""

import time
from collections.abc import Callable
from statistics import median

import numpy as np

from helpers.base import Profile, UserError
from helpers.encoding.encoder import Embedder, computes_in, embedder_settings, load_model
from helpers.encoding.settings import EmbedderSettings
from helpers.sampling.eval_set import load_eval_set

ROUNDS = 5
MATRIX = 8192  # rows and columns of the product that measures a card's limit
Encode = Callable[[list[str]], np.ndarray]


def encoders(settings: EmbedderSettings, profile: Profile) -> dict[str, Encode]:
    """Return the three ways to encode passages with one model, each over weights of its own."""
    import torch
    from sentence_transformers import SentenceTransformer

    precision = computes_in(profile.precision) if torch.cuda.is_available() else "fp32"  # a CPU rounds for nothing
    ours, flag = Embedder(settings, profile), load_model(settings, precision)
    dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]
    sbert = SentenceTransformer(str(settings.folder), model_kwargs={"dtype": dtype})
    return {
        "ours": lambda texts: ours.encode(
            [settings.passage_instruction + text for text in texts], settings.passage_max_len
        ),
        "FlagEmbedding": lambda texts: flag.encode_corpus(texts),
        "sentence-transformers": lambda texts: sbert.encode_document(texts, normalize_embeddings=True),
    }


def measure(ways: dict[str, Encode], texts: list[str], rounds: int = ROUNDS) -> tuple[dict[str, list[float]], float]:
    """Time each way `rounds` times, in turns, so that what else the machine does meets all alike.

    Returns:
        The seconds of each round, by way, and the largest difference of any number of any vector from ours.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    vectors = {}
    for name, way in ways.items():
        vectors[name] = np.asarray(way(texts), dtype=np.float32)  # (texts, dim); also a first round that is not timed
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way(texts)
            seconds[name].append(time.perf_counter() - start)
    return seconds, max(float(abs(other - vectors["ours"]).max()) for other in vectors.values())


def card_limit() -> float:
    """Return the floating point operations a second of the card in a large product of half precision, measured."""
    import torch

    a, b = (torch.randn(MATRIX, MATRIX, device="cuda", dtype=torch.float16) for _ in range(2))
    for repeats in (3, 20):  # the first to warm up
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(repeats):
            a @ b
        torch.cuda.synchronize()
    return 2 * MATRIX**3 * repeats / (time.perf_counter() - start)


def token_operations(settings: EmbedderSettings, tokens: float) -> float:
    """Return the floating point operations of one token: two a weight of the layers, and attention's two products."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(settings.folder)
    hidden = config.hidden_size
    layer = 4 * hidden**2 + 2 * hidden * config.intermediate_size
    return config.num_hidden_layers * (2 * layer + 4 * tokens * hidden)


def benchmark(name: str, profile: Profile) -> None:
    """Encode the profile's corpus with one of its embedders and print the speed of each way.

    Args:
        name: `reference`, `neg10`, ...

    Raises:
        UserError: it is `raw`, which sentence-transformers cannot load, or there is no such model.
    """
    import torch

    from helpers.encoding.encoder import token_lengths

    if name == "raw":
        raise UserError("raw is no embedder yet; give one such as reference or neg10.")
    settings = embedder_settings(profile, name)
    texts = list(load_eval_set(profile.data_dir).corpus.values())
    lengths = [min(length, settings.passage_max_len) for length in token_lengths(texts, settings.folder)]
    seconds, difference = measure(encoders(settings, profile), texts)
    cuda = torch.cuda.is_available()
    print(f"{settings.model}, {len(texts):,} passages, {sum(lengths):,} tokens, {ROUNDS} rounds in turns, on", end=" ")
    print(f"{torch.cuda.get_device_name()}, {profile.precision}" if cuda else f"{torch.get_num_threads()} CPU threads")
    limit = card_limit() / token_operations(settings, sum(n * n for n in lengths) / sum(lengths)) if cuda else None
    for way, times in seconds.items():
        ratio = median(times) / median(seconds["ours"])
        speed = sum(lengths) / median(times)
        share = f"   {speed / limit:.0%} of what the card's products allow" if limit else ""
        print(
            f"{way:22} {len(texts) / median(times):8.1f} texts/s {speed:10,.0f} tokens/s   x{ratio:.2f} our time{share}"
        )
    print(f"largest difference of a vector from ours: {difference:.1e}")
