"""Results as pictures."""

from collections import defaultdict

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from helpers.base import DEPTH
from helpers.evaluation.significance import bootstrap_interval
from helpers.evaluation.tables import results_table

# A model keeps its colour in all pictures; C2 is for those that have none of their own.
COLOURS = defaultdict(lambda: "C2", bm25="C4", raw="0.75", neg10="C0", neg50="C1", reference="0.35")
COLOURS |= {"hard": "C3", "ready_made": "C5", "taught": "C6"}
TICKS = (1, 2, 5, 10, 20, 50, 100)


def plot_recall_curves(curves: pd.DataFrame) -> plt.Axes:
    """Draw mean recall@k over k, a line a model, from `tables.recall_curves`."""
    axes = curves.plot(figsize=(6, 3.2), color=[COLOURS[name] for name in curves], logx=True)
    axes.set(ylim=(0, 1), ylabel="recall@k", xticks=TICKS, xticklabels=TICKS)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    axes.grid(alpha=0.3)
    return axes


def plot_results(results: dict[str, dict]) -> plt.Axes:
    """Draw the results table as bars, a group a measure, a colour a model."""
    table = results_table(results)
    colours = [COLOURS[name] for name in table.index]
    axes = table.T.plot.bar(figsize=(9, 3.5), width=0.8, rot=0, color=colours, ylim=(0, 1), ylabel="mean over queries")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(table), frameon=False)
    for bars in axes.containers:
        axes.bar_label(bars, fmt="%.2f", fontsize=7)
    return axes


def plot_means(results: dict[str, dict], measure: str = "ndcg@10") -> plt.Axes:
    """Draw each model's mean and its 95 % bootstrap interval, a row a model."""
    _, axes = plt.subplots(figsize=(7, 0.6 + 0.36 * len(results)), layout="constrained", dpi=110)
    for row, (name, result) in enumerate(results.items()):
        mean = result["metrics"][measure]
        low, high = bootstrap_interval([*result["per_query"][measure].values()])
        axes.errorbar(mean, row, xerr=[[mean - low], [high - mean]], fmt="o", color=COLOURS[name], capsize=3)
        axes.annotate(f"{mean:.3f}", (mean, row), (0, 6), textcoords="offset points", ha="center", fontsize=8)
    axes.set_yticks(range(len(results)), results)
    axes.set(xlabel=measure, xlim=(0, None), ylim=(len(results) - 0.5, -0.7))
    axes.grid(axis="x", alpha=0.3)
    return axes


def plot_outcomes(outcomes: pd.DataFrame) -> plt.Axes:
    """Draw wins, ties and losses from `tables.outcomes_table` as one bar a pair, with the counts in it."""
    size = (7, 0.5 + 0.45 * len(outcomes))
    axes = outcomes.iloc[::-1].plot.barh(stacked=True, figsize=size, color=["C2", "0.85", "C3"], width=0.7)
    for bars in axes.containers:
        axes.bar_label(bars, label_type="center", fontsize=8, fmt=lambda count: f"{count:.0f}" if count else "")
    axes.set(xlabel="queries")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False)
    return axes


def plot_rank_moves(before: dict[str, int], after: dict[str, int], names: tuple[str, str]) -> plt.Axes:
    """Draw queries by their ranks with two models, `names`, from `tables.first_ranks`, in squares that count them."""
    edges = [1, 2, 3, 6, 11, 21, 51, DEPTH + 1, DEPTH + 2]
    labels = ["1", "2", "3-5", "6-10", "11-20", "21-50", f"51-{DEPTH}", "not found"]
    counts, _, _ = np.histogram2d([after[q] for q in before], list(before.values()), edges)
    _, axes = plt.subplots(figsize=(5.5, 4.5), layout="constrained")
    axes.imshow(np.sqrt(counts), cmap="Blues", origin="upper")  # of the roots, so that the small ones show
    for row, column in np.argwhere(counts):
        colour = "white" if counts[row, column] > counts.max() / 3 else "black"
        axes.text(column, row, f"{counts[row, column]:.0f}", ha="center", va="center", color=colour)
    axes.axline((0, 0), slope=1, color="C3", linewidth=1)
    axes.set_xticks(range(len(labels)), labels, rotation=30)
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel=f"rank with {names[0]}", ylabel=f"rank with {names[1]}")
    return axes


def plot_recipes(points: list[dict], named: dict[str, str]) -> plt.Axes:
    """Draw mean nDCG@10 of trainings over the seconds of one; `named` has the side of the dot that a name stands on."""
    how = {"training": "first", "CPU seconds": "first", "ndcg@10": "mean"}
    means = pd.DataFrame(points).groupby("recipe").agg(how)
    _, axes = plt.subplots(figsize=(8, 4), layout="constrained", dpi=110)
    for training, part in means.groupby("training"):
        axes.plot(part["CPU seconds"], part["ndcg@10"], "o", color=COLOURS[training], label=training)
    for name in means.index.intersection(list(named)):
        at, left = means.loc[name, ["CPU seconds", "ndcg@10"]], named[name] == "left"
        side = "right" if left else "left"  # of the text, which is where the dot is
        axes.annotate(
            str(name), tuple(at), (-6 if left else 6, 0), textcoords="offset points", fontsize=8, va="center", ha=side
        )
    ticks = [30, 60, 120, 240, 480, 960]
    axes.set(xscale="log", xticks=ticks, xticklabels=ticks, xlabel="CPU seconds", ylabel="nDCG@10")
    axes.minorticks_off()
    axes.margins(0.2, 0.1)
    axes.legend(loc="lower right", frameon=False)
    axes.grid(alpha=0.3)
    return axes


def gold_and_random(queries: np.ndarray, corpus: np.ndarray, gold: list[int], seed: int = 42) -> np.ndarray:
    """Return the cosines, (2, queries), of each query with its positive and with a passage drawn at random.

    Queries and corpus are vectors, (queries, dim) and (passages, dim); `gold` is the row of a positive of each query.
    """
    others = np.random.default_rng(seed).integers(len(corpus), size=len(queries))
    passages = corpus[np.stack([gold, others])].astype(np.float32)  # (2, queries, dim)
    return np.einsum("qd,pqd->pq", queries.astype(np.float32), passages)


def plot_similarities(cosines: dict[str, np.ndarray]) -> plt.Figure:
    """Draw the histograms of each model's cosines from `gold_and_random`, a panel a model."""
    bins = np.linspace(min(0.99, *map(np.min, cosines.values())), 1, 60)
    figure, panels = plt.subplots(1, len(cosines), figsize=(9, 2.6), sharey=True, layout="constrained", squeeze=False)
    for axes, (name, (gold, others)) in zip(panels[0], cosines.items(), strict=True):
        for values, label, colour in ((others, "random", "0.6"), (gold, "gold", "C1")):
            axes.hist(values, bins=bins, weights=np.full(len(values), 1 / len(values)), color=colour, alpha=0.7)
            axes.axvline(values.mean(), color=colour, linestyle="--", label=f"{label}, mean {values.mean():.2f}")
        axes.set(title=name, xlabel="cosine of query and passage")
        axes.legend(fontsize=8, frameon=False)
    panels[0][0].set_ylabel("share")
    return figure


def plot_map(vectors: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> plt.Figure:
    """Draw each model's queries (n, dim), positives (n, dim) and others (m, dim) on its first two principal axes."""
    from sklearn.decomposition import PCA

    figure, panels = plt.subplots(1, len(vectors), figsize=(9, 4), layout="constrained", squeeze=False)
    for axes, (name, parts) in zip(panels[0], vectors.items(), strict=True):
        plane = PCA(2, svd_solver="full").fit(np.concatenate(parts))
        queries, positives, others = map(plane.transform, parts)  # (n, 2) each
        axes.scatter(*others.T, s=6, color="0.8")
        colours = [f"C{row}" for row in range(len(queries))]  # as the lines get them
        axes.plot(*np.stack([queries, positives], axis=1).T, linewidth=1, alpha=0.6)  # x and y, (2, n) each
        axes.scatter(*queries.T, color=colours, marker="o", s=36)
        axes.scatter(*positives.T, color=colours, marker="*", s=90)
        axes.set(title=name, xticks=[], yticks=[], aspect="equal", adjustable="datalim")
    return figure
