"""The README of a fine-tuned model: data, recipe, metrics, and the command that made it.

`python -m helpers.training.card 10` writes it beside the model trained on 10 negatives a query.
"""

import shlex
import sys
from pathlib import Path
from typing import Any

from helpers.base.errors import run_command
from helpers.base.files import read_json, whole_file
from helpers.base.profile import ROOT, Profile, load_profile
from helpers.training.curve import read_points
from helpers.training.record import flags, record_file

MEASURES = ("hit@1", "recall@10", "mrr@10", "ndcg@10")

BODY = """
# {title}

An embedder for retrieval: {base} fine-tuned to bring a query near the passage that answers it.

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("{title}")  # the folder, or the repository it was pushed to
queries = model.encode_query(["..."])  # puts the instruction in front
passages = model.encode_document(["..."])
scores = model.similarity(queries, passages)
```

Vectors come by {pooling} pooling and have length 1. Queries begin with `{instruction}` and are cut at {query_max_len}
tokens, passages at {passage_max_len}.

## Data

{data}

## Recipe

Contrastive loss over the passages of the batch (InfoNCE), each query with one positive and {others} of its random
negatives a step; temperature {temperature}, learning rate {learning_rate}, {epochs} epochs, {batch} queries a step and
process, {processes} processes. The last loss logged was {loss}.

```bash
{command}
```

## Metrics

{metrics}
"""


def write_card(neg_num: int, profile: Profile, result: dict[str, Any] | None = None) -> Path:
    """Write the model card into the folder of a finished model and return its path.

    Args:
        result: the model's result as `evaluation.save_result` writes it; None while there is none.
    """
    from huggingface_hub import EvalResult, ModelCardData

    folder = profile.tuned_model(neg_num)
    record, points = read_json(record_file(folder)), read_points(folder)
    given = flags(record["flags"])
    evaluations = [
        EvalResult("information-retrieval", "text", profile.run_name, name, value, task_name="retrieval")
        for name, value in (result["metrics"] if result else {}).items()
        if name in MEASURES
    ]
    header = ModelCardData(
        library_name="sentence-transformers",
        pipeline_tag="sentence-similarity",
        tags=["sentence-transformers", "feature-extraction", "retrieval"],
        base_model=profile.base_model if "/" in profile.base_model and not Path(profile.base_model).is_dir() else None,
        model_name=folder.name,
        eval_results=evaluations or None,
    )
    text = BODY.format(
        title=folder.name,
        base=profile.base_name,
        pooling=given["sentence_pooling_method"],
        instruction=profile.instruction,
        query_max_len=given["query_max_len"],
        passage_max_len=given["passage_max_len"],
        data=_data(neg_num, profile, record),
        others=int(given["train_group_size"]) - 1,
        temperature=given["temperature"],
        learning_rate=given["learning_rate"],
        epochs=given["num_train_epochs"],
        batch=given["per_device_train_batch_size"],
        processes=record["processes"],
        loss=next(
            (f"{point['loss']:.4f} at step {point['step']}" for point in reversed(points) if "loss" in point), "-"
        ),
        command=_command(record),
        metrics=_metrics(result),
    )
    with whole_file(folder / "README.md") as file:
        file.write(f"---\n{header.to_yaml()}\n---\n{text}")
    return folder / "README.md"


def _data(neg_num: int, profile: Profile, record: dict) -> str:
    source = profile.dataset_path.name if profile.dataset_path else profile.dataset
    revision = f", revision {profile.dataset_revision}" if profile.dataset_revision else ""
    return (
        f"Pairs of query and passage from `{source}`{revision}; {neg_num} random negatives a query to draw from. "
        f"The training file's sha256 begins with `{record['data'][0][:16]}`."
    )


def _command(record: dict) -> str:
    """Return the command line with the project's folder left out and other folders cut to their names."""
    lines = [f"torchrun --nproc_per_node {record['processes']} -m helpers.training.finetune"]
    for name, value in flags(record["flags"]).items():
        path = Path(value)
        if path.is_absolute():
            value = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name
        if name != "resume_from_checkpoint":
            lines.append(f"  --{name} {shlex.quote(value)}")
    return " \\\n".join(lines)


def _metrics(result: dict[str, Any] | None) -> str:
    if not result:
        return "Not measured yet."
    rows = "\n".join(f"| {name} | {result['metrics'][name]:.4f} |" for name in MEASURES)
    data = result["data"]
    return (
        f"On {data['queries']:,} queries that were not trained on, searched exactly among {data['corpus']:,} passages; "
        f"measures are trec_eval's.\n\n| measure | mean |\n|---|---|\n{rows}"
    )


def main() -> None:
    """Write the card of one model."""
    write_card(int(sys.argv[1]), load_profile())


if __name__ == "__main__":
    run_command(main)
