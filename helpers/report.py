"""Results as tables and pictures.

`python -m helpers.report` prints the profile's results table.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pandas as pd

from helpers.errors import UserError, run_command
from helpers.evalset import EvalSet, load_eval_set
from helpers.evaluation import load_results, notebook_of
from helpers.profile import Profile, load_profile
from helpers.recall import EXACT, Index, approximate
from helpers.trec import Run, ranking

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from torch import Tensor

COLUMNS = ["hit@1", "recall@10", "recall@100", "mrr@10", "ndcg@10"]
COLOURS = {"bm25": "C4", "raw": "0.75", "neg10": "C0", "neg50": "C1", "reference": "0.35"}  # a model keeps its colour
EXCERPT = 110  # characters


def excerpt(text: str, length: int = EXCERPT) -> str:
    """Cut a text to `length` characters, with an ellipsis where something is missing."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def top_passages(eval_set: EvalSet, run: Run, query_id: str, depth: int = 5) -> pd.DataFrame:
    """Return one query's best passages by rank, with score and a star at each positive."""
    scores, gold = run[query_id], eval_set.qrels[query_id]
    rows = [
        {"gold": "★" if docid in gold else "", "score": scores[docid], "passage": excerpt(eval_set.corpus[docid])}
        for docid in ranking(scores)[:depth]
    ]
    return pd.DataFrame(rows, index=pd.RangeIndex(1, len(rows) + 1, name="rank"))


def positive_rank(eval_set: EvalSet, run: Run, query_id: str) -> int | None:
    """Return the rank of the query's first positive, or None if the run does not have it."""
    order, gold = ranking(run.get(query_id, {})), eval_set.qrels[query_id]
    return next((rank for rank, docid in enumerate(order, start=1) if docid in gold), None)


def failures(eval_set: EvalSet, run: Run, count: int = 3) -> pd.DataFrame:
    """Return the first `count` queries whose best passage is no positive: what was asked, found first, and wanted."""
    rows = []
    for query_id, query in eval_set.queries.items():
        rank = positive_rank(eval_set, run, query_id)
        if rank == 1:
            continue
        rows.append(
            {
                "query": excerpt(query),
                "found first": excerpt(eval_set.corpus[ranking(run[query_id])[0]]),
                "wanted": excerpt(eval_set.corpus[next(iter(eval_set.qrels[query_id]))]),
                "at rank": rank or f"> {len(run[query_id])}",
            }
        )
        if len(rows) == count:
            break
    return pd.DataFrame(rows)


def metrics_table(means: dict[str, float]) -> pd.DataFrame:
    """Return one model's means with a row a cut-off and a column a measure."""
    parts = [name.split("@") + [value] for name, value in means.items()]
    table = pd.DataFrame(parts, columns=["measure", "k", "mean"]).pivot(index="k", columns="measure", values="mean")
    return table.loc[table.index.sort_values(key=lambda k: k.astype(int)), list(dict.fromkeys(p[0] for p in parts))]


def results_table(results: dict[str, dict]) -> pd.DataFrame:
    """Return one row a model, the measures of `COLUMNS` in the columns."""
    metrics = {name: result["metrics"] for name, result in results.items()}
    return pd.DataFrame.from_dict(metrics, orient="index")[COLUMNS]


def plot_results(results: dict[str, dict]) -> "Axes":
    """Draw the results table as bars, a group a measure, a colour a model."""
    table = results_table(results)
    colours = [COLOURS.get(name, "C2") for name in table.index]
    axes = table.T.plot.bar(figsize=(9, 3.5), width=0.8, rot=0, color=colours)
    axes.set(ylim=(0, 1), ylabel="mean over queries")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(table), frameon=False)
    for bars in axes.containers:
        axes.bar_label(bars, fmt="%.2f", fontsize=7)
    return axes


def plot_scores(
    matrix: "Tensor", passages: list[str], gold: Iterable[int], title: str, *, signed: bool = False
) -> "Axes":
    """Draw a score matrix as a heat map with the value in each cell and a frame around each row's gold column.

    Args:
        matrix: (queries, passages).
        passages: the columns' names.
        gold: the gold column of each row.
        signed: colour by sign, with 0 in the middle.
    """
    import matplotlib.pyplot as plt

    limit = float(matrix.abs().max())
    colours = {"cmap": "coolwarm", "vmin": -limit, "vmax": limit} if signed else {"cmap": "viridis"}
    _, axes = plt.subplots(figsize=(8, 1.8), layout="constrained")
    axes.imshow(matrix, aspect="auto", **colours)
    box = {"facecolor": "black", "alpha": 0.4, "edgecolor": "none", "pad": 1.5}  # to be read on any colour
    for row, column in enumerate(map(int, gold)):
        axes.add_patch(plt.Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="red", linewidth=3))
    for row, values in enumerate(matrix.tolist()):
        for column, value in enumerate(values):
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color="white", bbox=box)
    axes.set_xticks(range(len(passages)), passages, rotation=20, ha="right")
    axes.set_yticks(range(len(matrix)), [f"q{row + 1}" for row in range(len(matrix))])
    axes.set_title(title)
    return axes


def comparable_results(profile: Profile, eval_set: EvalSet, needed: Iterable[str] = ()) -> dict[str, dict]:
    """Return the results measured on this evaluation set; say which others there are and what to do about them.

    Raises:
        UserError: a result that is `needed` is not there.
    """
    results, others = load_results(profile, eval_set)
    if others:
        again = ", ".join(f"{name} ({notebook_of(name)})" for name in others)
        print(
            f"Left out, measured on another evaluation set or with another INDEX: {again}; run these notebooks again."
        )
    for name in needed:
        if name not in results:
            raise UserError(f"There is no result of {name} on this evaluation set; run {notebook_of(name)} first.")
    return results


def index_line(index: Index, vectors: "np.ndarray", query_vectors: "np.ndarray", profile: Profile) -> str:
    """Say how a search was done: exactly, or what the approximation gives up and gains."""
    if profile.index == EXACT:
        return f"exact, over {4 * vectors.size / 1e6:.1f} MB of vectors"
    found = approximate(index, vectors, query_vectors)
    return (
        f"{profile.index}: finds {found.recall:.1%} of what exact search finds, {found.bytes / 1e6:.1f} MB "
        f"(exact {found.exact_bytes / 1e6:.1f} MB), {found.speed:,.0f} queries/s (exact {found.exact_speed:,.0f})"
    )


def main() -> None:
    """Print the results table."""
    profile = load_profile()
    eval_set = load_eval_set(profile)
    results = comparable_results(profile, eval_set)
    if not results:
        raise UserError(f"There are no results in {profile.output_dir}; run notebooks 03 to 06 first.")
    print(f"profile {profile.run_name}: {len(eval_set.queries)} queries, {len(eval_set.corpus)} passages\n")
    table = results_table(results)
    table.insert(0, "model", [result["model"].rpartition("/")[2] for result in results.values()])
    print(table.to_string(float_format="{:.4f}".format))


if __name__ == "__main__":
    run_command(main)
