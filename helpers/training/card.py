"""The README of a fine-tuned model.

Ours, since the one that sentence-transformers writes knows neither the data, nor the flags, nor the instruction of a
training that another library did.
"""

import shlex
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData

from helpers.base import HUB_ID, MANIFEST, ROOT, Profile, read_json, whole_file
from helpers.encoding import training_profile
from helpers.encoding.models import PACKAGED
from helpers.training.curve import read_points
from helpers.training.record import flags

MINED = "mined negatives, and random ones where these are too few,"
NEGATIVES = {"hard": MINED, "taught": "negatives scored by a teacher", "ready_made": "random negatives"}
BODY = Path(__file__).with_name("card.md")


def write_card(folder: Path, profile: Profile, values: dict[str, Any]) -> None:
    """Write the card of a model into its folder, whose training, with these values of all flags, has just ended."""
    record, data = read_json(folder / MANIFEST), Path(values["train_data"][0])
    name = data.stem.removeprefix("training_").replace("neg_", "neg")
    profile = training_profile(profile, name)
    made_from = record["made_from"]
    losses = [point for point in read_points(folder) if "loss" in point]
    on_hub = HUB_ID.fullmatch(profile.base_model) and not Path(profile.base_model).exists()
    header = ModelCardData(
        library_name="sentence-transformers",
        pipeline_tag="sentence-similarity",
        tags=["sentence-transformers", "feature-extraction", "retrieval"],
        base_model=profile.base_model if on_hub and profile.base_model not in PACKAGED else None,
        model_name=folder.name,
    )
    source = profile.dataset_path.name if profile.dataset_path else profile.dataset
    text = BODY.read_text(encoding="utf8").format(
        **values,
        title=folder.name,
        base=profile.base_name,
        source=source + (f", revision {profile.dataset_revision}" if profile.dataset_revision else ""),
        instruction=values["query_instruction_for_retrieval"] or "",
        file=data.name,
        negatives=NEGATIVES.get(name, f"{name.removeprefix('neg')} random negatives a query"),
        digest=made_from["training set"][:16],
        others=values["train_group_size"] - 1,
        processes=made_from["processes"],
        loss="{loss:.4f} at step {step}".format(**losses[-1]) if losses else "-",
        command=_command(flags(record["flags"]), made_from["processes"]),
    )
    with whole_file(folder / "README.md") as file:
        file.write(f"---\n{header.to_yaml()}\n---\n\n{text}")


def _command(given: dict[str, str], processes: int) -> str:
    """Return the command line with the project's folder left out and other folders cut to their names."""
    lines = [f"torchrun --nproc_per_node {processes} -m helpers.training.finetune"]
    for name, value in given.items():
        path = Path(value)
        if path.is_absolute():
            value = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name
        if name != "resume_from_checkpoint":
            lines.append(f"  --{name} {shlex.quote(value)}")
    return " \\\n".join(lines)
