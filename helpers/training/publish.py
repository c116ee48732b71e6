"""Push a fine-tuned model to the Hugging Face Hub."""

from pathlib import Path

from helpers.base import HUB_ID, Profile, UserError, how_to_train, neg_num_of
from helpers.encoding.settings import is_embedder

# What belongs to the training and not to the model; run.json also names this machine.
LEFT_OUT = ("checkpoint-*", "run.json", "loss.jsonl", ".*")


def model_files(folder: Path) -> list[Path]:
    """Return the files of a model's folder that are pushed, by name."""
    parts = [path for path in folder.iterdir() if not any(path.match(pattern) for pattern in LEFT_OUT)]
    return sorted(file for part in parts for file in ([part] if part.is_file() else part.rglob("*")) if file.is_file())


def push(folder: Path, files: list[Path], repo: str) -> str:
    """Make the repository, private, if it is not there; upload the files in one commit; return its address.

    Raises:
        UserError: the Hub is out of reach or refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi()
    try:
        api.create_repo(repo, private=True, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo,
            folder_path=folder,
            allow_patterns=[file.relative_to(folder).as_posix() for file in files],
            commit_message=f"Add {folder.name}",
        )
    except (HfHubHTTPError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{repo} was not pushed ({reason}); log in with hf auth login and check the name.") from error
    return str(commit.commit_url)


def publish(name: str, repo: str, profile: Profile, pushed: bool) -> None:
    """Print the files of a fine-tuned model that go to a repository of the Hub, and push them if they are to be.

    Args:
        name: `neg10`, `neg50`, ...

    Raises:
        UserError: no such model, no such name, or as `push`.
    """
    folder = profile.tuned_model(neg_num_of(name))
    if not HUB_ID.fullmatch(repo):
        raise UserError(f"{repo} is no name of a repository; give one such as you/your-model.")
    if not is_embedder(folder):
        raise UserError(f"There is no finished model in {folder}; {how_to_train(name)} first.")
    files = model_files(folder)
    for file in files:
        print(f"{file.stat().st_size:12,}  {file.relative_to(folder).as_posix()}")
    if pushed:
        print("pushed:", push(folder, files, repo))
    else:
        print(f"{len(files)} files would go to https://huggingface.co/{repo}, private at first; add --push to do it.")
