"""What an evaluation leaves behind: a result that can be compared and a run that others can score."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard

from helpers.base import Profile, Run, UserError, differing, file_fingerprint, make, read_manifest, whole_file, writing
from helpers.base.trec import read_run, write_run
from helpers.encoding.encoder import computes_in
from helpers.encoding.settings import EmbedderSettings, embedder_settings
from helpers.evaluation.metrics import average, score_queries
from helpers.recall.bm25 import Bm25Settings
from helpers.recall.index import EXACT
from helpers.sampling.eval_set import EvalSet

NOTEBOOKS = {"bm25": "07_compare_models", "raw": "03_eval_raw_bert", "reference": "06_eval_bge_m3"}
NOTEBOOKS |= {"neg10": "04_eval_neg10", "neg50": "05_eval_neg50"}
# In a table; neg10, neg50, ... have 2.
PLACES = {"bm25": 0, "raw": 1, "hard": 3, "taught": 4, "reference": 5, "ready_made": 6}
METRICS = "\n## Metrics\n"  # the last heading of training/card.md

Settings = EmbedderSettings | Bm25Settings


def save_result(
    name: str, profile: Profile, settings: Settings, eval_set: EvalSet, run: Run, seconds: dict[str, float]
) -> Path:
    """Write `runs/<name>.trec` and its manifest, `results/<name>.json`, in `profile.output_dir`; return that path.

    The result has the model, what it was made from, the size of what it was measured on, seconds, the mean `metrics`
    and the values `per_query`. A fine-tuned model's card gets metrics, too.
    """
    per_query = score_queries(eval_set.qrels, run)
    result = {
        "name": name,
        "profile": profile.name,
        "model": settings.model,
        "data": {"queries": len(eval_set.queries), "corpus": len(eval_set.corpus)},
        "seconds": {key: round(value, 3) for key, value in seconds.items()},
        "metrics": average(per_query),
        "per_query": per_query,
    }
    path, run_path = profile.output_dir / "results" / f"{name}.json", profile.output_dir / "runs" / f"{name}.trec"

    def write() -> dict:
        write_run(run_path, run, name)
        return result | {"run": file_fingerprint(run_path)}

    with writing(path):
        path.unlink(missing_ok=True)  # it was measured anew
    make(path, made_of(profile, settings, eval_set), write, [run_path])
    if isinstance(settings, EmbedderSettings) and name not in ("raw", "reference"):
        _tell_card(settings.folder / "README.md", profile, result)
    return path


def _tell_card(path: Path, profile: Profile, result: dict) -> None:
    """Put a result's measures in the place of the last line of the model card, if the training has written one."""
    if not path.exists():
        return
    card, data = ModelCard(path.read_text(encoding="utf8")), result["data"]
    means = {name: result["metrics"][name] for name in ("hit@1", "recall@10", "mrr@10", "ndcg@10")}
    card.data["eval_results"] = [
        EvalResult("information-retrieval", "text", profile.run_name, name, value, task_name="retrieval")
        for name, value in means.items()
    ]
    how = "exactly" if profile.index == EXACT else f"with the index {profile.index}"
    said = f"On {data['queries']:,} queries that were not trained on, searched {how} among {data['corpus']:,} passages"
    said += "; measures are trec_eval's.\n\n| measure | mean |\n|---|---|\n"
    rows = "".join(f"| {name} | {value:.4f} |\n" for name, value in means.items())
    card.text = f"{card.text.partition(METRICS)[0]}{METRICS}\n{said}{rows}"
    with whole_file(path) as file:
        file.write(str(card))


def made_of(profile: Profile, settings: Settings, eval_set: EvalSet) -> dict[str, object]:
    """Return what a result is made from: what it is measured on, how texts are fed, a model's weights, its search."""
    parts = {key: value for key, value in asdict(settings).items() if key not in ("model", "folder")}
    if isinstance(settings, EmbedderSettings):
        parts |= {"weights": settings.weights, "PRECISION": computes_in(profile.precision)}
        parts |= {"VECTORS": profile.vectors, "INDEX": profile.index}
    return {"evaluation set": eval_set.fingerprint, **parts}


def comparable_results(profile: Profile, eval_set: EvalSet, needed: Iterable[str] = ()) -> dict[str, dict]:
    """Return the results that their notebooks would make now, by name; say of each other one why it is left out.

    BM25 comes first, then the raw model, the fine-tuned ones, the reference. Raises UserError: one `needed` is missing.
    """
    results, paths = {}, (profile.output_dir / "results").glob("*.json")
    for path in sorted(paths, key=lambda path: (PLACES.get(path.stem, 2), len(path.stem), path.stem)):
        name, made, again = path.stem, read_manifest(path), f"run {notebook_of(path.stem)} again"
        try:
            settings = Bm25Settings() if name == "bm25" else embedder_settings(profile, name)
            if not made or file_fingerprint(profile.output_dir / "runs" / f"{name}.trec") != made["run"]:
                raise UserError(f"it or its run is not whole; {again}.")
            if others := differing(made["made_from"], made_of(profile, settings, eval_set)):
                raise UserError(f"it was made with other {others}; {again}.")
            results[name] = made
        except UserError as error:
            print(f"Left out: {name}: {error}")
    for name in needed:
        if name not in results:
            raise UserError(f"There is no result of {name} on this evaluation set; run {notebook_of(name)} first.")
    return results


def load_runs(profile: Profile, names: Iterable[str]) -> dict[str, Run]:
    """Read the saved runs of results, by name. Raises UserError: a run is missing or not sound."""
    return {name: read_run(profile.output_dir / "runs" / f"{name}.trec") for name in names}


def notebook_of(name: str) -> str:
    """Return the notebook that writes a result."""
    return NOTEBOOKS.get(name, f"04_eval_neg10 with name = {name!r}")
