"""The sentence-transformers files that say how a model wants its texts, written with ours and read of every embedder.

So all who load it feed it alike. https://sbert.net/docs/sentence_transformer/usage/custom_models.html
"""

import shutil
import tempfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from helpers.base import UserError, model_fingerprint, read_json

LAST = "modules.json"  # moved into place last: where it is, the model is whole
POOLINGS = ("cls", "mean")
PASSAGE_PROMPTS = ("document", "passage", "corpus")


@dataclass(frozen=True)
class EmbedderSettings:
    """A model and what it was trained with; other pooling, instructions or lengths would measure something else."""

    model: str
    folder: Path = field(repr=False)
    pooling: str
    instruction: str  # put before every query
    passage_instruction: str  # put before every passage
    query_max_len: int  # tokens
    passage_max_len: int  # tokens

    @cached_property
    def weights(self) -> str:
        """The fingerprint of the model when this was first asked for; the folder may get another one later."""
        return model_fingerprint(self.folder)


def write_embedder(plain: Path, folder: Path, settings: EmbedderSettings) -> None:
    """Write the model in `plain` to `folder` as sentence-transformers loads it, the instructions as its prompts."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    transformer = Transformer(str(plain), query_length=settings.query_max_len, document_length=settings.passage_max_len)
    pooling = Pooling(transformer.get_embedding_dimension(), settings.pooling)
    prompts = {"query": settings.instruction, "document": settings.passage_instruction}
    model = SentenceTransformer(modules=[transformer, pooling, Normalize()], prompts=prompts, device="cpu")
    with tempfile.TemporaryDirectory(prefix=".model-", dir=folder) as temporary:
        model.save_pretrained(temporary, create_model_card=False)
        for path in sorted(Path(temporary).iterdir(), key=lambda path: path.name == LAST):
            shutil.rmtree(folder / path.name, ignore_errors=True)  # replace() replaces no folder
            path.replace(folder / path.name)


def is_embedder(folder: Path) -> bool:
    """Tell whether the folder holds a whole sentence-transformers model."""
    return (folder / LAST).is_file()


def read_embedder(model: str, folder: Path) -> EmbedderSettings:
    """Read how a model wants its texts; raises UserError: no files tell, or no transformer with CLS or mean pooling."""
    if not is_embedder(folder):
        raise UserError(
            f"{folder} has no {LAST}, so nothing says how {model} pools its vectors; "
            "give a model saved by sentence-transformers."
        )
    modules = {module["type"].rpartition(".")[2]: folder / module["path"] for module in _read(folder / LAST)}
    if unknown := modules.keys() - {"Transformer", "Pooling", "Normalize"}:
        raise UserError(f"{folder / LAST}: {', '.join(sorted(unknown))} is not supported; give a BERT-like embedder.")
    from sentence_transformers.sentence_transformer.modules import Pooling

    where = modules.get("Pooling")
    pooling = Pooling.load(str(where)).pooling_mode if where else "none"
    if pooling not in POOLINGS:
        raise UserError(f"{where}: pooling {pooling} is not supported; give an embedder with {' or '.join(POOLINGS)}.")
    settings = _read(modules["Transformer"] / "sentence_bert_config.json", {})
    prompts = _read(folder / "config_sentence_transformers.json", {})
    default = prompts.get("default_prompt_name")
    prompts = {name: text or "" for name, text in prompts.get("prompts", {}).items()}
    longest = settings.get("max_seq_length") or min(  # the tokenizer's length, at most the model's positions
        _read(folder / "config.json")["max_position_embeddings"],
        _read(folder / "tokenizer_config.json", {}).get("model_max_length", 10**9),
    )
    return EmbedderSettings(
        model=model,
        folder=folder,
        pooling=pooling,
        instruction=prompts.get("query", prompts.get(default, "")),
        passage_instruction=next((prompts[n] for n in PASSAGE_PROMPTS if n in prompts), prompts.get(default, "")),
        query_max_len=settings.get("query_length") or longest,
        passage_max_len=settings.get("document_length") or longest,
    )


def _read(path: Path, default: dict | None = None) -> Any:
    return default if default is not None and not path.exists() else read_json(path, "get the model again")
