"""What must hold before a model is loaded for training.

`python -m helpers.preflight training 10` tells whether the training on 10 negatives a query may start, and
`python -m helpers.preflight output 10 50` whether the folders for two models are free.
"""

import sys

from helpers.errors import UserError, run_command
from helpers.files import read_jsonl
from helpers.profile import Profile, load_profile


def check_training_file(neg_num: int, profile: Profile) -> None:
    """Check that the training set for `neg_num` is there, sound, and has negatives enough for the group size.

    Raises:
        UserError: it is not.
    """
    path = profile.training_file(neg_num)
    remedy = f"run notebooks/01_build_train_dataset.ipynb with neg_num = {neg_num} first"
    count = 0
    for number, row in read_jsonl(path, remedy):
        count += 1
        for field in ("pos", "neg"):
            if not isinstance(row.get(field), list) or not all(isinstance(text, str) for text in row[field]):
                raise UserError(f"{path}, line {number}: '{field}' is not a list of texts; {remedy}.")
        if not isinstance(row.get("query"), str) or not row["pos"]:
            raise UserError(f"{path}, line {number}: 'query' or 'pos' is missing; {remedy}.")
        if len(row["neg"]) < profile.group_size - 1:
            raise UserError(
                f"{path}, line {number}: {len(row['neg'])} negatives, but GROUP_SIZE={profile.group_size} draws "
                f"{profile.group_size - 1} for each query; lower GROUP_SIZE or build the set with more."
            )
    if not count:
        raise UserError(f"{path} is empty; {remedy}.")


def check_output(neg_num: int, profile: Profile) -> None:
    """Check that no earlier run's model is where this one's will go.

    Raises:
        UserError: the folder is there and not empty.
    """
    folder = profile.tuned_model(neg_num)
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} holds the model of an earlier run; move it away or delete it, then start again.")


def main() -> None:
    """Check the output and, for `training`, the data of each number of negatives; say nothing if all is well."""
    task, *neg_nums = sys.argv[1:]
    profile = load_profile()
    for neg_num in map(int, neg_nums):
        check_output(neg_num, profile)
        if task == "training":
            check_training_file(neg_num, profile)


if __name__ == "__main__":
    run_command(main)
