"""Encode a corpus on a cluster: by workers that load the model once, into shards, each whole or absent."""

import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from helpers.base import MANIFEST, UserError, whole_file, write_json
from helpers.encoding import Embedder
from helpers.encoding.encoder import BLOCK, SHARDS, computes_in
from helpers.encoding.models import skeleton
from helpers.sampling.eval_set import Corpus
from helpers.scale.cluster import Share

SETTLING = 60  # seconds until a network disk shows on one machine what another has written


class Worker:
    """Encodes blocks of a corpus with a model that it loads once, for the first of them."""

    def __init__(self, embedder: Embedder, corpus: Path, digest: str):
        self.embedder, self.path, self.digest = embedder, corpus, digest

    @cached_property
    def corpus(self):
        """The file, kept open. Raises UserError: it is not the one that is being encoded, or this machine unfit."""
        if (here := computes_in(asked := self.embedder.precision)) != asked:
            raise UserError(f"PRECISION={asked}: a machine of the cluster computes in {here}; set that.")
        file = self.path.open("rb")
        if hashlib.file_digest(file, "sha256").hexdigest() != self.digest:
            raise UserError(f"{self.path} was made again, or is another on a machine of the cluster; run this again.")
        return file

    def __call__(self, block: dict[str, np.ndarray]) -> dict[str, Any]:
        """Write the vectors of a block to its `shard`; return how many `texts` it has, or what is `wrong`."""
        (start,), (size,), (shard,), texts = block["start"], block["bytes"], block["shard"], block["texts"]
        try:
            self.corpus.seek(start)
            lines = self.corpus.read(size).split(b"\n")
            vectors = self.embedder.encode_passages([json.loads(line)["text"] for line in lines if line.strip()])
            with whole_file(Path(shard), binary=True) as file:
                np.save(file, vectors.astype(self.embedder.profile.vectors))
        except (UserError, OSError) as error:  # Ray would bury it in its own
            return {"texts": [0], "wrong": [str(error)]}
        return {"texts": texts, "wrong": [""]}


class Shards:
    """The vectors of a corpus, (texts, dim), in a file a block of `BLOCK` texts."""

    def __init__(self, folder: Path, corpus: Corpus, embedder: Embedder):
        self.folder, self.corpus, self.embedder = folder, corpus, embedder
        self.dim = skeleton(embedder.settings.folder).config.hidden_size
        self.starts = range(0, len(corpus), BLOCK)

    def path(self, start: int) -> Path:
        """Return the file of the block that begins with a passage, counted from 0."""
        return self.folder / f"{start // BLOCK:06}.npy"

    def missing(self) -> list[dict]:
        """Return what a worker needs to know of each block whose file is not there, or not whole."""
        found = []
        for start in self.starts:
            stop = min(start + BLOCK, len(self.corpus))
            try:
                whole = np.load(path := self.path(start), mmap_mode="r").shape == (stop - start, self.dim)
            except (OSError, ValueError, EOFError):  # there is none, or it ends too soon
                whole = False
            if not whole:
                place, size = self.corpus.rows.span(start, stop)
                found.append({"start": place, "bytes": size, "texts": stop - start, "shard": str(path)})
        return found

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield the vectors, block by block."""
        return (np.load(self.path(start), mmap_mode="r") for start in self.starts)


def encode_shards(shards: Shards, share: Share) -> None:
    """Encode what is missing, with progress; what a lost machine had not written the others do.

    Raises UserError: as `Embedder.encode`, or a machine does not write to the folder of this one.
    """
    import ray

    if not (missing := shards.missing()):
        return
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars, context.max_consecutive_actor_init_deaths = False, 10
    workers = ray.data.ActorPoolStrategy(min_size=1, max_size=min(share.workers, len(missing)))
    made_by = {"embedder": shards.embedder, "corpus": shards.corpus.path, "digest": shards.corpus.rows.digest}
    how: dict[str, Any] = {"num_cpus": share.cores, "num_gpus": share.cards, "batch_size": 1, "compute": workers}
    blocks = ray.data.from_items(missing, override_num_blocks=len(missing))
    done = len(shards.corpus) - sum(block["texts"] for block in missing)
    if done:
        print(f"{done:,} of {len(shards.corpus):,} passages are encoded already.")
    with tqdm(None, "encode_corpus", len(shards.corpus), initial=done, unit="text", leave=False) as bar:
        for row in blocks.map_batches(Worker, fn_constructor_kwargs=made_by, **how).iter_rows():
            if row["wrong"]:
                raise UserError(row["wrong"])
            bar.update(row["texts"])
    until = time.monotonic() + SETTLING
    while shards.missing():
        if time.monotonic() > until:
            raise UserError(f"{shards.folder} lacks shards: every machine of the cluster needs it at this path.")
        time.sleep(1)


def encode(embedder: Embedder, corpus: Corpus, share: Share) -> np.memmap:
    """Return the corpus's vectors as `Embedder.encode_corpus` does, and where it finds them; encode what is missing."""

    def spread(path: Path, made_from: dict) -> Iterator[np.ndarray]:
        shards = Shards(path.with_suffix(SHARDS), corpus, embedder)
        write_json(shards.folder / MANIFEST, {"made_from": made_from, "files": {}})  # for `clean`
        encode_shards(shards, share)
        return shards.blocks()

    vectors = embedder.encode_corpus(corpus.values(), spread)
    shutil.rmtree(Path(str(vectors.filename)).with_suffix(SHARDS), ignore_errors=True)  # all of it is in one file
    return vectors
