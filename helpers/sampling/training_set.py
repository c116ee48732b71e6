"""The training set on disk: one row a query, in the form that FlagEmbedding's trainer reads."""

from helpers.base import Profile, UserError, read_jsonl, write_jsonl


def save_training_rows(rows: list[dict], neg_num: int, profile: Profile) -> str:
    """Write the rows to `profile.training_file(neg_num)` and return a sentence that says what was written."""
    path = profile.training_file(neg_num)
    write_jsonl(path, rows)
    short = [row for row in rows if len(row["neg"]) < neg_num]
    fewest = min(len(row["neg"]) for row in rows)
    note = f"; {len(short)} of them have fewer than {neg_num} negatives, the fewest {fewest}" if short else ""
    return f"{path.name}: {len(rows)} queries with {neg_num} negatives each, {path.stat().st_size / 1e6:.1f} MB{note}"


def read_training_file(neg_num: int, profile: Profile) -> list[dict]:
    """Return the rows of the training set for `neg_num`, once all of them are sound.

    Raises:
        UserError: it is missing or empty; a row is not sound, has too few negatives for the group size, or another
            instruction than the profile's.
    """
    path = profile.training_file(neg_num)
    remedy = f"run notebooks/01_build_train_dataset.ipynb with neg_num = {neg_num} first"
    rows = []
    for number, row in read_jsonl(path, remedy):
        where = f"{path}, line {number}"
        for field in ("pos", "neg"):
            if not isinstance(row.get(field), list) or not all(isinstance(text, str) for text in row[field]):
                raise UserError(f"{where}: '{field}' is not a list of texts; {remedy}.")
        if not isinstance(row.get("query"), str) or not row["pos"]:
            raise UserError(f"{where}: 'query' or 'pos' is missing; {remedy}.")
        if len(row["neg"]) < profile.group_size - 1:
            raise UserError(
                f"{where}: {len(row['neg'])} negatives, but GROUP_SIZE={profile.group_size} draws "
                f"{profile.group_size - 1} for each query; lower GROUP_SIZE or build the set with more."
            )
        if row.get("prompt") != profile.instruction:
            raise UserError(
                f"{where}: 'prompt' is {row.get('prompt')!r}, but INSTRUCTION is {profile.instruction!r}; "
                "set it to that, or build the training set again."
            )
        rows.append(row)
    if not rows:
        raise UserError(f"{path} is empty; {remedy}.")
    return rows
