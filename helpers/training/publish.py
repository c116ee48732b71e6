"""What a fine-tuned model says of itself, and pushing it to the Hugging Face Hub.

The card is ours, since the one that sentence-transformers writes knows neither the data, nor the flags, nor the
instruction of a training that another library did.
"""

import shlex
from pathlib import Path
from typing import Any

from httpx2 import HTTPError
from huggingface_hub import HfApi, ModelCardData
from huggingface_hub.utils import HFValidationError, filter_repo_objects, validate_repo_id

from helpers.base import HUB_ID, MANIFEST, ROOT, Profile, UserError, how_to_train, read_json, whole_file
from helpers.encoding import training_profile
from helpers.encoding.models import PACKAGED
from helpers.encoding.settings import is_embedder
from helpers.training.curve import POINTS, read_points
from helpers.training.folder import flags

MINED = "mined negatives, and random ones where these are too few,"
NEGATIVES = {"hard": MINED, "taught": "negatives scored by a teacher", "ready_made": "random negatives"}
BODY = Path(__file__).with_name("card.md")
TAGS, TASK = ["sentence-transformers", "feature-extraction", "retrieval"], "sentence-similarity"
LEFT_OUT = ["checkpoint-*", MANIFEST, POINTS, ".*"]  # of the training, not of the model


def write_card(folder: Path, profile: Profile, values: dict[str, Any]) -> None:
    """Write the card of a model into its folder, whose training, with these values of all flags, has just ended."""
    record, data = read_json(folder / MANIFEST), Path(values["train_data"][0])
    made_from = record["made_from"]
    name = data.stem.removeprefix("training_").replace("neg_", "neg")
    profile = training_profile(profile, name)
    losses = [point for point in read_points(folder) if "loss" in point]
    on_hub = HUB_ID.fullmatch(profile.base_model) and not Path(profile.base_model).exists()
    base = profile.base_model if on_hub and profile.base_model not in PACKAGED else None
    header = ModelCardData(base_model=base, library_name=TAGS[0], pipeline_tag=TASK, tags=TAGS, model_name=folder.name)
    source = profile.dataset_path.name if profile.dataset_path else profile.dataset
    text = BODY.read_text(encoding="utf8").format(
        **values,
        title=folder.name,
        base=profile.base_name,
        source=source + (f", revision {profile.dataset_revision}" if profile.dataset_revision else ""),
        instruction=values["query_instruction_for_retrieval"] or "",
        data=data,
        negatives=NEGATIVES.get(name, f"{name.removeprefix('neg')} random negatives a query"),
        others=values["train_group_size"] - 1,
        made_from=made_from,
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


def publish(name: str, repo: str, profile: Profile, pushed: bool) -> None:
    """Print the files of a model, `neg10`, ..., that go to a repository of the Hub; push them if they are to be.

    The repository is made, private, if it is not there, and gets the files in one commit.
    Raises UserError: no such model, no such name, or the Hub is out of reach or refuses.
    """
    folder = training_profile(profile, name).tuned_model(name)
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise UserError(f"{repo} is no name of a repository ({error}); give one such as you/your-model.") from error
    if not is_embedder(folder):
        raise UserError(f"There is no finished model in {folder}; {how_to_train(name)} first.")
    files = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file())
    names = list(filter_repo_objects(files, ignore_patterns=LEFT_OUT))
    for file in names:
        print(f"{(folder / file).stat().st_size:12,}  {file}")
    if not pushed:
        print(f"{len(names)} files would go to https://huggingface.co/{repo}, private at first; add --push to do it.")
        return
    api, message = HfApi(), f"Add {folder.name}"
    try:
        api.create_repo(repo, private=True, exist_ok=True)
        commit = api.upload_folder(repo_id=repo, folder_path=folder, allow_patterns=names, commit_message=message)
    except (HTTPError, OSError) as error:
        reason = str(error).partition("\n")[0]
        remedy = "check the connection and the name, and log in with hf auth login"
        raise UserError(f"{repo} was not pushed ({reason}); {remedy}.") from error
    print("pushed:", commit.commit_url)
