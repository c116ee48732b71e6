"""Texts to vectors: which model a name stands for, and how it wants its texts."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.embedder_files import EmbedderSettings, is_embedder, read_embedder
from helpers.errors import UserError
from helpers.models import base_model, model_folder
from helpers.profile import ROOT, Profile, neg_num_of

if TYPE_CHECKING:
    from FlagEmbedding.inference.embedder.encoder_only.base import BaseEmbedder


def embedder_settings(profile: Profile, name: str) -> EmbedderSettings:
    """Return the model that a result's name stands for, with what its own files say about its texts.

    Args:
        name: `raw` for the base model, `neg10`, `neg50`, ... for those fine-tuned from it, `reference` for the
            ready-made embedder. The raw model is no embedder yet; it gets the profile's texts, as the fine-tuned ones
            did, so that the weights are all that differs.

    Raises:
        UserError: an unknown name, or a model that is not there.
    """
    if name == "reference":
        folder = model_folder(profile.reference_model, profile.reference_revision)
        return read_embedder(profile.reference_model, folder)
    if name == "raw":
        return EmbedderSettings(
            model=profile.base_name,
            folder=base_model(profile),
            pooling=profile.pooling,
            instruction=profile.instruction,
            passage_instruction="",
            query_max_len=profile.query_max_len,
            passage_max_len=profile.passage_max_len,
        )
    folder = profile.tuned_model(neg_num_of(name))
    if not is_embedder(folder):
        raise UserError(f"There is no finished model in {folder}; run bash finetune_{name}.sh first.")
    return read_embedder(folder.relative_to(ROOT).as_posix(), folder)


def load_embedder(settings: EmbedderSettings, profile: Profile) -> "BaseEmbedder":
    """Load a model as FlagEmbedding's `BaseEmbedder`, whose vectors have length 1."""
    import torch
    import transformers
    from FlagEmbedding.inference.embedder.encoder_only.base import BaseEmbedder

    transformers.utils.logging.disable_progress_bar()  # the reading of weights takes a moment
    half = torch.cuda.is_available()  # FlagEmbedding would round the weights of a CPU model, too, and compute in fp32
    return BaseEmbedder(
        str(settings.folder),
        normalize_embeddings=True,
        use_fp16=half and profile.precision == "fp16",
        use_bf16=half and profile.precision == "bf16",
        query_instruction_for_retrieval=settings.instruction or None,
        passage_instruction_for_retrieval=settings.passage_instruction or None,
        pooling_method=settings.pooling,
        batch_size=profile.encode_batch_size,
        query_max_length=settings.query_max_len,
        passage_max_length=settings.passage_max_len,
    )


def timed(function: Callable[..., Any], *args: Any) -> tuple[Any, float]:
    """Call `function(*args)`; return its value and the seconds it took."""
    start = time.perf_counter()
    value = function(*args)
    return value, time.perf_counter() - start


def token_lengths(texts: list[str], folder: Path) -> list[int]:
    """Return how many tokens each text is to the model in `folder`, with its special tokens, before any cut."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.model_max_length = 10**9  # no warning about what will be cut; that is what is being counted
    return [len(ids) for ids in tokenizer(texts)["input_ids"]]
