"""The training set on disk: one row a query, in the form that FlagEmbedding's trainer reads."""

from pathlib import Path

from helpers.base import UserError, read_jsonl, write_jsonl
from helpers.sampling.split import sample_negatives


def training_rows(train: list[dict], pool: list[str], neg_num: int, instruction: str, seed: int) -> list[dict]:
    """Return FlagEmbedding's training rows: `query`, `pos`, `neg`, `id` and the instruction as `prompt`."""
    negatives = sample_negatives((pair["positive"] for pair in train), pool, neg_num, seed)
    return [
        {"query": pair["query"], "pos": pair["positive"], "neg": neg, "id": pair["id"], "prompt": instruction}
        for pair, neg in zip(train, negatives, strict=True)
    ]


def save_training_rows(rows: list[dict], neg_num: int, path: Path) -> str:
    """Write the rows to a file and return a sentence that says what was written."""
    write_jsonl(path, rows)
    short = [len(row["neg"]) for row in rows if len(row["neg"]) < neg_num]
    note = f"; {len(short)} of them have fewer than {neg_num} negatives, the fewest {min(short)}" if short else ""
    return f"{path.name}: {len(rows)} queries with {neg_num} negatives each, {path.stat().st_size / 1e6:.1f} MB{note}"


def read_training_rows(path: Path, instruction: str, group_size: int = 1) -> list[dict]:
    """Return the rows of a training set, of which `group_size` - 1 negatives a query are to be drawn.

    Raises UserError: the file is missing or empty, or a row is not sound, has too few negatives or another instruction.
    """
    remedy = f"run notebooks/01_build_train_dataset.ipynb with neg_num = {path.stem.rpartition('_')[2]} first"
    rows = []
    for number, row in read_jsonl(path, remedy):
        where = f"{path}, line {number}"
        for field in ("pos", "neg"):
            if not isinstance(row.get(field), list) or not all(isinstance(text, str) for text in row[field]):
                raise UserError(f"{where}: '{field}' is not a list of texts; {remedy}.")
        if not isinstance(row.get("query"), str) or not row["pos"]:
            raise UserError(f"{where}: 'query' or 'pos' is missing; {remedy}.")
        if len(row["neg"]) < group_size - 1:
            raise UserError(
                f"{where}: {len(row['neg'])} negatives, but GROUP_SIZE={group_size} draws {group_size - 1} for each "
                "query; lower GROUP_SIZE or build the set with more."
            )
        if row.get("prompt") != instruction:
            raise UserError(
                f"{where}: 'prompt' is {row.get('prompt')!r}, but INSTRUCTION is {instruction!r}; set it to that, or "
                "build the training set again."
            )
        rows.append(row)
    if not rows:
        raise UserError(f"{path} is empty; {remedy}.")
    return rows
