"""What this machine has, and which profiles will work on it."""

import os
import platform
import shutil
from pathlib import Path

import psutil
from huggingface_hub import constants, get_session, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError

from helpers.base import ROOT, UserError, load_profile
from helpers.encoding.models import PACKAGED
from helpers.installed import in_force, lacking

TESTED = "3.11"  # of Python
PATIENCE = 3  # seconds that the Hub has to answer


def doctor() -> None:
    """Print a line each about Python, packages, machine, card, FAISS and Hub, and whether each profile will work."""
    import faiss
    import torch

    requirements, others = in_force(), lacking(in_force())
    python = platform.python_version()
    card = "none, so PRECISION=fp16 computes in float32"
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 1e9
        halves = "fp16, bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
        card = f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}, {memory:.0f} GB, {halves}"
    reached, cards = _hub_answers(), getattr(faiss, "get_num_gpus", int)()
    lines = {
        "python": python + ("" if python.startswith(f"{TESTED}.") else f", untested: {TESTED} is what is tested"),
        "packages": f"not as in {requirements.name}: {', '.join(others)}" if others else f"all of {requirements.name}",
        "machine": f"{os.cpu_count()} cores, {psutil.virtual_memory().total / 1e9:.0f} GB of memory, "
        f"{shutil.disk_usage(ROOT).free / 1e9:.0f} GB of disk free",
        "card": card,
        "faiss": f"{faiss.__version__}, searches on {f'{cards} cards' if cards else 'the CPU'}",
        "hub": f"{constants.ENDPOINT} {'answers' if reached else 'does not answer, or HF_HUB_OFFLINE is set'}",
    }
    for path in sorted((ROOT / "profiles").glob("*.env")):
        lines[path.stem] = _profile_line(path.stem, reached)
    for name, text in lines.items():
        print(f"{name:12} {text}")


def _hub_answers() -> bool:
    try:
        return not constants.HF_HUB_OFFLINE and bool(get_session().head(constants.ENDPOINT, timeout=PATIENCE))
    except Exception:  # of whichever library it speaks through
        return False


def _profile_line(name: str, reached: bool) -> str:
    """Say whether a profile will work, and which of its data and the article's models are not on this disk."""
    try:
        profile = load_profile(name)
    except UserError as error:
        return f"PROFILE={name} will not work: {error}"
    wanted = [(profile.base_model, profile.base_revision), (profile.reference_model, profile.reference_revision)]
    missing = [model for model, revision in wanted if not _is_here(model, revision)]
    for source, revision in ((profile.dataset, profile.dataset_revision), (profile.distractors, "")):
        if source not in ("docstrings", "") and not os.path.isabs(source):
            found = try_to_load_from_cache(source, "README.md", None, revision or None, "dataset")
            missing += [] if isinstance(found, str) else [source]
    verdict = "works, and fetches" if reached else "will not work: it has to fetch"
    return f"PROFILE={name} {verdict} {', '.join(missing)}" if missing else f"PROFILE={name} works, without the Hub"


def _is_here(model: str, revision: str) -> bool:
    if model in PACKAGED or Path(model).is_dir():
        return True
    files = ("config.json", "model.safetensors", "pytorch_model.bin")  # the weights come last
    try:
        config, *weights = (try_to_load_from_cache(model, file, revision=revision or None) for file in files)
    except HFValidationError:  # a path to nothing
        return False
    return isinstance(config, str) and any(isinstance(path, str) for path in weights)
