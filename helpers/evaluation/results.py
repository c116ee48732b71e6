"""What an evaluation leaves behind: a result that can be compared and a run that others can score."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard

from helpers.base import Profile, Run, UserError, neg_num_of, read_json, read_run, whole_file, write_json, write_run
from helpers.encoding.settings import EmbedderSettings
from helpers.evaluation.metrics import average
from helpers.recall.bm25 import Bm25Settings
from helpers.recall.index import EXACT
from helpers.sampling.eval_set import EvalSet

NOTEBOOKS = {
    "bm25": "07_compare_models",
    "raw": "03_eval_raw_bert",
    "neg10": "04_eval_neg10",
    "neg50": "05_eval_neg50",
    "reference": "06_eval_bge_m3",
}
METRICS = "\n## Metrics\n"  # the last heading of training/card.md


def save_result(
    name: str,
    profile: Profile,
    settings: EmbedderSettings | Bm25Settings,
    eval_set: EvalSet,
    run: Run,
    per_query: dict[str, dict[str, float]],
    seconds: dict[str, float],
) -> Path:
    """Write `results/<name>.json` and `runs/<name>.trec` in `profile.output_dir`; return the result's path.

    The result has the model and how it was fed, size and fingerprint of what it was measured on, the index it was
    searched with, seconds, the mean `metrics` and the values `per_query`. A fine-tuned model's card gets metrics, too.
    """
    result = {
        "name": name,
        "profile": profile.name,
        **{key: value for key, value in asdict(settings).items() if key != "folder"},
        "data": {
            "fingerprint": eval_set.fingerprint,
            "queries": len(eval_set.queries),
            "corpus": len(eval_set.corpus),
            "index": profile.index,
        },
        "seconds": {key: round(value, 3) for key, value in seconds.items()},
        "metrics": average(per_query),
        "per_query": per_query,
    }
    path = profile.output_dir / "results" / f"{name}.json"
    write_run(profile.output_dir / "runs" / f"{name}.trec", run, name)
    write_json(path, result)
    if isinstance(settings, EmbedderSettings) and name.startswith("neg") and (settings.folder / "README.md").exists():
        _tell_card(settings.folder / "README.md", profile, result)
    return path


def _tell_card(path: Path, profile: Profile, result: dict) -> None:
    """Put a result's measures in the place of the last line of the model card that the training has written."""
    card = ModelCard(path.read_text(encoding="utf8"))
    means = {name: result["metrics"][name] for name in ("hit@1", "recall@10", "mrr@10", "ndcg@10")}
    card.data["eval_results"] = [
        EvalResult("information-retrieval", "text", profile.run_name, name, value, task_name="retrieval")
        for name, value in means.items()
    ]
    how = "exactly" if profile.index == EXACT else f"with the index {profile.index}"
    card.text = card.text.partition(METRICS)[0] + (
        f"{METRICS}\nOn {result['data']['queries']:,} queries that were not trained on, searched {how} among "
        f"{result['data']['corpus']:,} passages; measures are trec_eval's.\n\n| measure | mean |\n|---|---|\n"
        + "".join(f"| {name} | {value:.4f} |\n" for name, value in means.items())
    )
    with whole_file(path) as file:
        file.write(str(card))


def comparable_results(profile: Profile, eval_set: EvalSet, needed: Iterable[str] = ()) -> dict[str, dict]:
    """Return the results measured on this evaluation set with this index, by name; print which others there are.

    BM25 comes first, then the raw model, the fine-tuned ones, the reference. Raises UserError: one `needed` is missing.
    """
    found = [read_json(path) for path in sorted((profile.output_dir / "results").glob("*.json"), key=_place)]
    same = {"fingerprint": eval_set.fingerprint, "index": profile.index}
    results = {result["name"]: result for result in found if same.items() <= result["data"].items()}
    others = [f"{result['name']} ({notebook_of(result['name'])})" for result in found if result["name"] not in results]
    if others:
        left_out = "Left out, measured on another evaluation set or with another INDEX"
        print(f"{left_out}: {', '.join(others)}; run these notebooks again.")
    for name in needed:
        if name not in results:
            raise UserError(f"There is no result of {name} on this evaluation set; run {notebook_of(name)} first.")
    return results


def _place(path: Path) -> tuple[int, int]:
    number = neg_num_of(path.stem) if path.stem.startswith("neg") else 0
    return {"bm25": 0, "raw": 1, "reference": 3}.get(path.stem, 2), number


def load_runs(profile: Profile, names: Iterable[str]) -> dict[str, Run]:
    """Read the saved runs of results, by name. Raises UserError: a run is missing or not sound."""
    return {name: read_run(profile.output_dir / "runs" / f"{name}.trec") for name in names}


def notebook_of(name: str) -> str:
    """Return the notebook that writes a result."""
    return NOTEBOOKS.get(name, f"04_eval_neg10 with name = {name!r}")
