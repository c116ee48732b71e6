"""Push a fine-tuned model to the Hugging Face Hub.

`python -m helpers.training.publish neg10 you/your-model` shows what would be pushed; with `--push` behind it, it is.
"""

import sys
from pathlib import Path

from helpers.base.errors import UserError, run_command
from helpers.base.profile import HUB_ID, how_to_train, load_profile, neg_num_of
from helpers.encoding.settings import is_embedder

# What belongs to the training and not to the model; run.json also names this machine.
LEFT_OUT = ("checkpoint-*", "run.json", "loss.jsonl", ".*")
USAGE = "usage: python -m helpers.training.publish MODEL REPO [--push], such as neg10 and you/your-model."


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


def main() -> None:
    """Show what would be pushed, or push it."""
    words = [word for word in sys.argv[1:] if word != "--push"]
    if len(words) != 2 or not HUB_ID.fullmatch(words[1]):
        raise UserError(USAGE)
    name, repo = words
    folder = load_profile().tuned_model(neg_num_of(name))
    if not is_embedder(folder):
        raise UserError(f"There is no finished model in {folder}; {how_to_train(name)} first.")
    files = model_files(folder)
    for file in files:
        print(f"{file.stat().st_size:12,}  {file.relative_to(folder).as_posix()}")
    if "--push" in sys.argv:
        print("pushed:", push(folder, files, repo))
    else:
        print(f"{len(files)} files would go to https://huggingface.co/{repo}, private at first; add --push to do it.")


if __name__ == "__main__":
    run_command(main)
