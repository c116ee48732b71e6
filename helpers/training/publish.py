"""Push a fine-tuned model to the Hugging Face Hub."""

from httpx2 import HTTPError
from huggingface_hub import HfApi
from huggingface_hub.utils import HFValidationError, filter_repo_objects, validate_repo_id

from helpers.base import MANIFEST, Profile, UserError, how_to_train
from helpers.encoding import training_profile
from helpers.encoding.settings import is_embedder

LEFT_OUT = ["checkpoint-*", MANIFEST, "loss.jsonl", ".*"]  # of the training, not of the model


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
        reason, remedy = (
            str(error).partition("\n")[0],
            "check the connection and the name, and log in with hf auth login",
        )
        raise UserError(f"{repo} was not pushed ({reason}); {remedy}.") from error
    print("pushed:", commit.commit_url)
