"""What an evaluation leaves behind: a result that can be compared and a run that others can score."""

import json
from dataclasses import asdict
from pathlib import Path

from helpers.embedder_files import EmbedderSettings
from helpers.evalset import EvalSet
from helpers.files import write_json
from helpers.metrics import average
from helpers.model_card import write_card
from helpers.profile import Profile, neg_num_of
from helpers.training.record import record_file
from helpers.trec import Run, write_run


def save_result(
    name: str,
    profile: Profile,
    settings: EmbedderSettings,
    eval_set: EvalSet,
    run: Run,
    per_query: dict[str, dict[str, float]],
    seconds: dict[str, float],
) -> Path:
    """Write `results/<name>.json` and `runs/<name>.trec` in `profile.output_dir`; return the result's path.

    A fine-tuned model's card gets the metrics, too.

    The result has the model and how it was fed, the size and the fingerprint of what it was measured on, seconds,
    the mean `metrics` and the values `per_query`.
    """
    fed = {key: value for key, value in asdict(settings).items() if key != "folder"}
    result = {
        "name": name,
        "profile": profile.name,
        **fed,
        "data": {
            "fingerprint": eval_set.fingerprint,
            "queries": len(eval_set.queries),
            "corpus": len(eval_set.corpus),
        },
        "seconds": {key: round(value, 3) for key, value in seconds.items()},
        "metrics": average(per_query),
        "per_query": per_query,
    }
    path = profile.output_dir / "results" / f"{name}.json"
    write_run(profile.output_dir / "runs" / f"{name}.trec", run, name)
    write_json(path, result)
    if name.startswith("neg") and record_file(profile.tuned_model(neg_num_of(name))).exists():
        write_card(neg_num_of(name), profile, result)
    return path


def load_results(profile: Profile, eval_set: EvalSet) -> tuple[dict[str, dict], list[str]]:
    """Read the saved results, raw model first and reference last.

    Returns:
        The results measured on this evaluation set, by name, and the names of those measured on another one, which
        cannot stand beside them.
    """
    results, others = {}, []
    for path in sorted((profile.output_dir / "results").glob("*.json"), key=_place):
        result = json.loads(path.read_text(encoding="utf8"))
        if result["data"]["fingerprint"] == eval_set.fingerprint:
            results[result["name"]] = result
        else:
            others.append(result["name"])
    return results, others


def _place(path: Path) -> tuple[int, int]:
    name = path.stem
    digits = "".join(filter(str.isdigit, name))
    return {"raw": 0, "reference": 2}.get(name, 1), int(digits or 0)
