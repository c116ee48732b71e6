"""What to know about an evaluation set before believing a number measured on it."""

import pandas as pd

from helpers.pairs import normalise

SHORT = 3  # words


def audit(
    train: list[dict], evaluation: list[dict], corpus: dict[str, str], lengths: list[int], limit: int
) -> pd.DataFrame:
    """Count what could make the evaluation unfair or unclear, with an example of each.

    Args:
        train, evaluation: the two parts of the pairs.
        corpus: docid -> text.
        lengths: tokens of each passage of the corpus, in its order.
        limit: tokens that a model reads of a passage.

    Returns:
        One row a finding: `count`, `of`, `example`.
    """
    positives = [text for pair in train + evaluation for text in pair["positive"]]
    seen, repeated = set(), []
    for text in positives:
        if normalise(text) in seen:
            repeated.append(text)
        seen.add(normalise(text))
    trained = {normalise(text) for pair in train for text in pair["positive"]}
    evaluated = [text for pair in evaluation for text in pair["positive"]]
    findings = {
        "positives merged into one passage": (repeated, len(positives)),
        "passages that train and evaluate": ([t for t in evaluated if normalise(t) in trained], len(evaluated)),
        f"passages of less than {SHORT} words": ([t for t in corpus.values() if len(t.split()) < SHORT], len(corpus)),
        f"passages cut at {limit} tokens": (
            [text for text, length in zip(corpus.values(), lengths, strict=True) if length > limit],
            len(corpus),
        ),
    }
    rows = {
        finding: {"count": len(texts), "of": total, "example": texts[0][:80] if texts else ""}
        for finding, (texts, total) in findings.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")
