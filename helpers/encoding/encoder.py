"""Texts to vectors: batches of like length; vectors on disk, read without being loaded, and those that are lost."""

import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cached_property
from mmap import mmap
from pathlib import Path

import numpy as np
from huggingface_hub.utils import chunk_iterable
from tqdm import tqdm

from helpers.base import Profile, UserError, fingerprint, make, manifest_of, model_fingerprint, whole_file
from helpers.base.manifest import MANIFEST, busy, read_manifest
from helpers.encoding.models import load_encoder, loading, skeleton
from helpers.encoding.settings import EmbedderSettings, embedder_settings
from helpers.sampling import load_eval_set

BLOCK = 16_384  # vectors in memory at a time: 25 MB of 384 float32
SHARDS = ".shards"  # the folder of the blocks that a cluster has encoded, until all are there
Spread = Callable[[Path, dict], Iterable[np.ndarray]]


def computes_in(precision: str) -> str:
    """Return what this machine computes in where `precision` is asked for: fp16 is for CUDA cards alone."""
    import torch

    return precision if precision != "fp16" or torch.cuda.is_available() else "fp32"


def pool(hidden, mask, pooling: str):
    """Return the vectors, (texts, dim), of hidden states, (texts, tokens, dim), by `cls` or `mean`.

    `mask`, (texts, tokens), is 0 at padding. As FlagEmbedding's `inference/embedder/encoder_only/base.py`, without the
    seconds that its import takes.
    """
    if pooling == "cls":
        return hidden[:, 0]
    return (hidden * mask.unsqueeze(-1).float()).sum(dim=1) / mask.sum(dim=1, keepdim=True).float()


def encode_texts(texts: list[str], max_len: int, tokenizer, forward: Callable, budget: int) -> tuple[np.ndarray, int]:
    """Encode texts in batches of like length; return the vectors, (texts, dim), float32, and the budget in the end.

    Texts have their instruction and are cut at `max_len` tokens. `forward` makes vectors, (texts, dim), of what the
    tokenizer makes of a batch, (texts, tokens). `budget` is the tokens of a batch, padding included, halved where they
    do not fit into memory. Raises UserError: a single text does not fit.
    """
    import torch
    from accelerate.utils.memory import should_reduce_batch_size

    ids = tokenizer(texts, truncation=True, max_length=max_len)["input_ids"]
    order = np.argsort([-len(tokens) for tokens in ids], kind="stable")  # longest first: too much fails soon
    found, start = [], 0
    while start < len(texts):
        longest = len(ids[order[start]])
        rows = order[start : start + max(1, budget // longest)]
        try:
            inputs = tokenizer.pad({"input_ids": [ids[row] for row in rows]}, return_tensors="pt")
            found.append(forward(inputs).float().cpu().numpy())
            start += len(rows)
            continue
        except RuntimeError as error:
            if not should_reduce_batch_size(error):
                raise
            if len(rows) == 1:
                raise UserError(
                    f"Not even one text of {longest} tokens fits into memory; lower QUERY_MAX_LEN or PASSAGE_MAX_LEN, "
                    "or end what else uses the memory."
                ) from error
        torch.cuda.empty_cache()  # the failed batch is free only after the except block
        before, budget = budget, min(budget, len(rows) * longest) // 2
        print(f"Out of memory with batches of {before} tokens; goes on with {budget}.")
    return np.concatenate(found)[np.argsort(order)], budget


class Embedder:
    """A model that is loaded when it first has to encode, and whose vectors are kept on disk, as the profile says.

    They are found again by the fingerprint of weights, settings and texts.
    """

    def __init__(self, settings: EmbedderSettings, profile: Profile):
        self.settings = settings
        self.profile = profile
        self.precision = computes_in(profile.precision)
        self.budget = profile.encode_tokens  # as in `encode_texts`
        self.seconds: dict[str, float] = {}  # `encode_queries` and `encode_corpus` -> what that took when it was done

    @cached_property
    def model(self):
        """The loaded model. Raises UserError: it is not the one that vectors and results are named after."""
        import torch

        folder, asked, model = self.settings.folder, self.settings.weights, load_encoder(self.settings.folder)
        if model_fingerprint(folder) != asked:
            raise UserError(f"{folder} has been replaced by another model; run this again from the start.")
        return model.to("cuda:0" if torch.cuda.is_available() else "cpu").eval()  # what the scripts train on

    @cached_property
    def tokenizer(self):
        """The model's, loaded."""
        return load_tokenizer(self.settings.folder)

    def encode_queries(self, texts: Collection[str]) -> np.memmap:
        """Return the vectors of queries, (texts, dim), of length 1, mapped from disk; encode them if need be."""
        return self._kept("queries", texts, self.settings.instruction, self.settings.query_max_len)

    def encode_corpus(self, texts: Collection[str], spread: Spread | None = None) -> np.memmap:
        """Return the vectors of passages, (texts, dim), of length 1, mapped from disk; encode them if need be.

        By this process, or by `spread`, which makes them block by block, told where they go and what they are made of.
        """
        return self._kept("corpus", texts, self.settings.passage_instruction, self.settings.passage_max_len, spread)

    def encode_passages(self, texts: Iterable[str]) -> np.ndarray:
        """Return the vectors of passages, (texts, dim), without keeping them."""
        return self.encode([self.settings.passage_instruction + text for text in texts], self.settings.passage_max_len)

    def encode_question(self, text: str) -> np.ndarray:
        """Return the vector of one query, (1, dim), without keeping it."""
        return self.encode([self.settings.instruction + text], self.settings.query_max_len)

    def encode(self, texts: list[str], max_len: int) -> np.ndarray:
        """Return vectors, (texts, dim), of length 1, computed in the precision of the training; as `encode_texts`."""
        vectors, self.budget = encode_texts(texts, max_len, self.tokenizer, self._forward, self.budget)
        return vectors

    def _forward(self, inputs):
        import torch

        inputs = inputs.to(self.model.device)
        half = torch.bfloat16 if self.precision == "bf16" else torch.float16
        with torch.inference_mode(), torch.autocast(inputs["input_ids"].device.type, half, self.precision != "fp32"):
            hidden = self.model(**inputs).last_hidden_state  # (texts, tokens, dim)
            pooled = pool(hidden, inputs["attention_mask"], self.settings.pooling).float()  # (texts, dim)
        return torch.nn.functional.normalize(pooled, dim=-1)

    def _kept(
        self, side: str, texts: Collection[str], instruction: str, max_len: int, spread: Spread | None = None
    ) -> np.memmap:
        made_from = {
            "model": self.settings.weights,
            "texts": fingerprint(texts),
            "fed": [self.settings.pooling, instruction, max_len, self.profile.vectors, self.precision],
        }
        name = f"{self.settings.folder.name}-{side}-{fingerprint(map(str, made_from.values()))}.npy"
        path = self.profile.output_dir / "vectors" / name

        def blocks() -> Iterator[np.ndarray]:
            with tqdm(total=len(texts), desc=f"encode_{side}", unit="text", leave=False, delay=5) as bar:
                for block in chunk_iterable(texts, BLOCK):
                    yield (vectors := self.encode([instruction + text for text in block], max_len))
                    bar.update(len(vectors))

        def write() -> dict[str, float]:
            config = skeleton(self.settings.folder).config if spread else self.model.config  # before the clock
            start, found = time.perf_counter(), spread(path, made_from) if spread else blocks()
            write_vectors(path, found, (len(texts), config.hidden_size), self.profile.vectors)
            return {"seconds": round(time.perf_counter() - start, 3)}

        self.seconds[f"encode_{side}"] = make(manifest_of(path), made_from, write, [path])["seconds"]
        return np.load(path, mmap_mode="r")


def write_vectors(path: Path, blocks: Iterable[np.ndarray], shape: tuple[int, int], dtype: str) -> None:
    """Write blocks, (rows, dim) each, as one `.npy` of `shape`; raises as `whole_file`."""
    header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    with whole_file(path, binary=True) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype=dtype).data)


def vector_blocks(vectors: np.ndarray, size: int = BLOCK) -> Iterator[np.ndarray]:
    """Yield the vectors in float32, `size` rows at a time."""
    # A file is mapped anew for each block, so that what was read leaves the memory with its map.
    # A part of a mapped file has the name of the whole, but only the whole has the map as its base.
    file = vectors.filename if isinstance(vectors, np.memmap) and isinstance(vectors.base, mmap) else None
    for start in range(0, len(vectors), size):
        whole = np.load(file, mmap_mode="r") if file else vectors
        yield np.array(whole[start : start + size], dtype=np.float32)


def cut(vectors: np.ndarray, dim: int) -> np.ndarray:
    """Return vectors, (texts, more), cut to their first numbers, (texts, dim), and made of length 1 again.

    Kusupati et al. 2022, "Matryoshka Representation Learning", arXiv:2205.13147.
    """
    part = np.array(vectors[:, :dim], dtype=np.float32)
    return part / np.linalg.norm(part, axis=1, keepdims=True)


def clean(profile: Profile, remove: bool) -> None:
    """Print the files of vectors of which the profile has no model, queries or corpus any more, or that are not whole.

    Remove them if told so; those of an encoding that runs are none of them.
    Raises UserError: there is no evaluation set, or the base or the reference is out of reach.
    """
    eval_set = load_eval_set(profile.data_dir)
    present = {fingerprint(part.values()) for part in (eval_set.queries, eval_set.corpus)}
    present |= {embedder_settings(profile, name).weights for name in ("raw", "reference")}
    present |= {model_fingerprint(path.parent) for path in profile.output_dir.glob("*/config.json")}  # tuned or cut
    lost, folder = 0, profile.output_dir / "vectors"
    for path in sorted([*folder.glob("*.npy"), *folder.glob(".*.tmp"), *folder.glob(f"*{SHARDS}")]):
        # What is being written is `.NAME.npy.DIGITS.tmp`.
        manifest = manifest_of(path.with_name(path.name[1:].rsplit(".", 2)[0]) if path.suffix == ".tmp" else path)
        inside = path / MANIFEST if path.is_dir() else manifest
        made_from = (read_manifest(inside) or {}).get("made_from", {}) if path.suffix != ".tmp" else {}
        if not {made_from.get("model"), made_from.get("texts")} <= present and not busy(manifest):
            size = sum(file.stat().st_size for file in (path.iterdir() if path.is_dir() else [path]))
            print(f"{size:14,}  {path.name}")
            lost += 1
            if remove and path.is_dir():
                shutil.rmtree(path)
            elif remove:
                path.unlink()
                manifest_of(path).unlink(missing_ok=True)
    print(f"{lost} files of vectors in {folder} {'removed' if remove else 'can go; add --yes to remove them'}.")


def token_lengths(texts: list[str], folder: Path) -> list[int]:
    """Return how many tokens each text is to the model in `folder`, with its special tokens, before any cut."""
    return [len(ids) for ids in token_ids(texts, folder)]


def token_ids(texts: Iterable[str], folder: Path) -> Iterator[list[int]]:
    """Yield the ids of the tokens of each text, as `token_lengths` counts them."""
    tokenizer = load_tokenizer(folder)
    for block in chunk_iterable(texts, 1000):
        yield from tokenizer(list(block), return_attention_mask=False)["input_ids"]


def load_tokenizer(folder: Path):
    """Return the tokenizer of the model in `folder`, which counts what is longer than the model can read."""
    from transformers import AutoTokenizer

    with loading(folder):
        return AutoTokenizer.from_pretrained(folder, model_max_length=10**9)  # no warning where a text is longer
