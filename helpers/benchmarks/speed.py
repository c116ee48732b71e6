"""Texts encoded a second beside two other libraries' own ways."""

from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from FlagEmbedding.inference.embedder.encoder_only.base import BaseEmbedder
from sentence_transformers import SentenceTransformer
from transformers import AutoConfig

from helpers.base import Profile, UserError, timed
from helpers.benchmarks.card import products_rate, token_operations
from helpers.encoding.encoder import Embedder, computes_in, token_lengths
from helpers.encoding.settings import EmbedderSettings, embedder_settings
from helpers.sampling.eval_set import load_eval_set

ROUNDS = 5
Encode = Callable[[list[str]], np.ndarray]


def encoders(settings: EmbedderSettings, profile: Profile) -> dict[str, Encode]:
    """Return three ways to encode passages with one model, each over weights of its own and as its authors chose."""
    precision = computes_in(profile.precision) if torch.cuda.is_available() else "fp32"  # no faster on a CPU
    half = {"use_fp16": precision == "fp16", "use_bf16": precision == "bf16"}
    ours, flag = (
        Embedder(settings, profile),
        BaseEmbedder(str(settings.folder), pooling_method=settings.pooling, **half),
    )
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
        config, seen = AutoConfig.from_pretrained(settings.folder), (lengths**2).sum() / tokens
        limit = products_rate("cuda", torch.float16) / token_operations(config, seen)  # tokens a second it allows
    print(f"{settings.model}, {len(texts):,} passages, {tokens:,} tokens, {ROUNDS} rounds in turns, on {where}")
    for way, times in seconds.items():
        typical = median(times)
        share = f"   {tokens / typical / limit:.0%} of what the card's products allow" if limit else ""
        print(
            f"{way:22} {len(texts) / typical:8.1f} texts/s {tokens / typical:10,.0f} tokens/s   "
            f"x{typical / median(seconds['ours']):.2f} our time{share}"
        )
    print(f"largest difference of a vector from ours: {difference:.1e}")
