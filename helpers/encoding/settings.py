"""How a model wants its texts, in files of sentence-transformers; which model a name means, and how it is fed."""

import re
import shutil
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from helpers.base import Profile, UserError, file_fingerprint, how_to_train, model_fingerprint, read_json, write_json
from helpers.base.manifest import MANIFEST, differing, read_manifest
from helpers.encoding.models import base_model, check_lengths, loading, model_folder, positions, skeleton
from helpers.sampling import EVAL_MANIFEST

LAST = "modules.json"  # moved into place last: where it is, the model is whole
POOLINGS = {"cls": "cls_token", "mean": "mean_tokens"}  # -> its name in the keys that all programs read
PASSAGE_PROMPTS = ("document", "passage", "corpus")
REMEDY = "get the model again"


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
    """Write the model in `plain` to `folder` as sentence-transformers loads it, the instructions as its prompts.

    https://sbert.net/docs/sentence_transformer/usage/custom_models.html
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    transformer = Transformer(str(plain), query_length=settings.query_max_len, document_length=settings.passage_max_len)
    pooling = Pooling(transformer.get_embedding_dimension(), settings.pooling)
    prompts = {"query": settings.instruction, "document": settings.passage_instruction}
    model = SentenceTransformer(modules=[transformer, pooling, Normalize()], prompts=prompts, device="cpu")
    with tempfile.TemporaryDirectory(prefix=".model-", dir=folder) as temporary:
        model.save_pretrained(temporary, create_model_card=False)
        _write_for_all(Path(temporary), settings)
        for path in sorted(Path(temporary).iterdir(), key=lambda path: path.name == LAST):
            shutil.rmtree(folder / path.name, ignore_errors=True)  # replace() replaces no folder
            path.replace(folder / path.name)


def _write_for_all(folder: Path, settings: EmbedderSettings) -> None:
    """Write what sentence-transformers 6 says of a model by the names that other programs know, and itself still reads.

    text-embeddings-inference and llama.cpp take the pooling from `pooling_mode_*`, vLLM and Ollama know a module by its
    older type, and sentence-transformers before 6 refuses keys that it does not know; but it has none for two lengths.
    """
    modules = read_json(folder / LAST)
    for module, kind in zip(modules, ("Transformer", "Pooling", "Normalize"), strict=True):
        module["type"] = f"sentence_transformers.models.{kind}"
    write_json(folder / LAST, modules)
    pooling, texts = folder / "1_Pooling" / "config.json", folder / "sentence_bert_config.json"
    modes = {f"pooling_mode_{name}": mode == settings.pooling for mode, name in POOLINGS.items()}
    size = {"word_embedding_dimension": read_json(pooling)["embedding_dimension"]}
    write_json(pooling, size | modes | {"include_prompt": True})  # after the modes: vLLM takes the first that is true
    tokenizer = read_json(folder / "tokenizer_config.json")
    for name in ("is_local", "local_files_only"):  # how it was loaded here
        tokenizer.pop(name, None)
    if tokenizer.get("tokenizer_class") == "TokenizersBackend":  # transformers 5's own names, which 4 does not know
        tokenizer["tokenizer_class"] = "PreTrainedTokenizerFast"
    if isinstance(tokenizer.get("extra_special_tokens"), list):
        tokenizer["additional_special_tokens"] = tokenizer.pop("extra_special_tokens")
    write_json(folder / "tokenizer_config.json", tokenizer)
    lengths = {settings.query_max_len, settings.passage_max_len}
    more = read_json(texts) if len(lengths) == 2 else {}
    write_json(texts, {"max_seq_length": max(lengths), "do_lower_case": False} | more)


def is_embedder(folder: Path) -> bool:
    """Tell whether the folder holds a whole sentence-transformers model."""
    return (folder / LAST).is_file()


def read_embedder(model: str, folder: Path) -> EmbedderSettings:
    """Read how a model wants its texts. Raises UserError: as `loading`, no files tell, or it wants what is not done."""
    if not is_embedder(folder):
        raise UserError(
            f"{folder} has no {LAST}, so nothing says how {model} pools its vectors; "
            "give a model saved by sentence-transformers."
        )
    with loading(folder):
        own = r"^sentence_transformers\.(.*\.)?"  # before the names of the library's modules
        paths = {re.sub(own, "", module["type"]): folder / module["path"] for module in _read(folder / LAST)}
        pooling, size = read_json(paths["Pooling"] / "config.json", REMEDY), skeleton(folder).config.hidden_size
        old = [key.removeprefix("pooling_mode_") for key in pooling if key.startswith("pooling_mode_") and pooling[key]]
        names = {long: short for short, long in POOLINGS.items()}  # without a mode it is the mean
        mode = str(pooling.get("pooling_mode") or " and ".join(names.get(key, key) for key in old) or "mean")
        dim = pooling.get("embedding_dimension", pooling.get("word_embedding_dimension", size))
        settings = _read(next(paths["Transformer"].glob("sentence_*_config.json"), folder / "none"))
        tokenizer = _read(folder / "tokenizer_config.json")
        more = _read(folder / "config_sentence_transformers.json")
        prompts = {name: text or "" for name, text in more.get("prompts", {}).items()}
        default, most = prompts.get(more.get("default_prompt_name"), ""), positions(folder)
        instruction = prompts.get("query", default)
        before_passages = next((prompts[name] for name in PASSAGE_PROMPTS if name in prompts), default)
        longest = settings.get("max_seq_length") or tokenizer.get("model_max_length", most)
        lengths = [min(settings.get(f"{side}_length") or longest, most) for side in ("query", "document")]
        compared = more.get("similarity_fn_name") or "cosine"
        alike = ("cosine", "dot", "euclidean") if "Normalize" in paths else ("cosine",)  # rank the same first
        wants = {name: name not in ("Transformer", "Pooling", "Normalize") for name in paths} | {
            f"pooling {mode}": mode not in POOLINGS,
            f"pooling of {dim} dimensions": dim != size,
            "a prompt that is not pooled": not pooling.get("include_prompt", True) and (instruction or before_passages),
            f"similarity {compared}": compared not in alike,
            "lower case": settings.get("do_lower_case") and not tokenizer.get("do_lower_case"),
        }
    if undone := [what for what, so in wants.items() if so]:
        raise UserError(
            f"{folder} wants {undone[0]}, which is not supported; give a BERT-like embedder with "
            f"{' or '.join(POOLINGS)} pooling, compared by cosine."
        )
    return EmbedderSettings(model, folder, mode, instruction, before_passages, *lengths)


def _read(path: Path) -> Any:
    return read_json(path, REMEDY) if path.exists() else {}


def training_profile(profile: Profile, name: str) -> Profile:
    """Return the settings with which `name` is trained; what it takes otherwise is in keys of its own.

    `hard` and `taught` have MINED_GROUP_SIZE and MINED_EPOCHS. `ready_made` has its model as the base, fed as the
    model's files say, READY_MADE_LEARNING_RATE; texts are cut where the profile cuts them, if it would read more.
    Raises UserError: as `read_embedder` and `model_folder`.
    """
    if name in ("hard", "taught"):
        return profile.model_copy(update={"group_size": profile.mined_group_size, "epochs": profile.mined_epochs})
    if name != "ready_made":
        return profile
    model, revision = profile.ready_made_model, profile.ready_made_revision
    wants = asdict(read_embedder(model, model_folder(model, revision)))
    fed = {key: wants[key] for key in ("pooling", "instruction", "passage_instruction")}
    fed |= {key: min(wants[key], getattr(profile, key)) for key in ("query_max_len", "passage_max_len")}
    base = {"base_model": model, "base_revision": revision, "base_layers": 0, "base_suffix": ""}
    return profile.model_copy(update=base | fed | {"learning_rate": profile.ready_made_learning_rate})


def embedder_settings(profile: Profile, name: str) -> EmbedderSettings:
    """Return a model and how it is fed: `raw`, the base, `neg10`, ..., fine-tuned, or `reference`, ready-made.

    The raw model is fed as the profile says, as the fine-tuned ones were, so that the weights are all that differs.
    Raises UserError: an unknown name, a model that is not there, or one made from another training set or base model.
    """
    if name == "reference":
        return read_embedder(profile.reference_model, model_folder(profile.reference_model, profile.reference_revision))
    if name == "raw":
        fed = profile.model_dump(include={"pooling", "instruction", "query_max_len", "passage_max_len"})
        check_lengths(profile, folder := base_model(profile))
        return EmbedderSettings(profile.base_name, folder, passage_instruction="", **fed)
    if (read_manifest(profile.data_dir / EVAL_MANIFEST) or {"made_from": {}})["made_from"].get("EVAL_SHARE") == 1:
        said = f"{profile.data_dir} evaluates on the queries that {name} was trained on"
        raise UserError(f"{said}; run notebooks/02_build_eval_dataset.ipynb without EVAL_SHARE=1.")
    trained = training_profile(profile, name)
    folder, rows = trained.tuned_model(name), trained.training_file(name)
    if not is_embedder(folder):
        raise UserError(f"There is no finished model in {folder}; {how_to_train(name)} first.")
    if (folder / MANIFEST).exists():  # else it has been brought from elsewhere
        made_from = read_json(folder / MANIFEST)["made_from"]
        now = {"training set": file_fingerprint(rows)} if rows.exists() else {}
        with suppress(UserError):  # the base may be out of reach
            now |= {"base model": model_fingerprint(base_model(trained))}
        if others := differing(made_from | now, made_from):
            how = f"with FORCE=1 {how_to_train(name)}, then notebook 04"
            raise UserError(f"{folder} was made from other {others} than there is now; {how}.")
    return read_embedder(f"output/{profile.run_name}/{folder.name}", folder)
