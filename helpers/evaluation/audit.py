"""What to know about a training and an evaluation set before believing a number."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from helpers.base import Profile
from helpers.encoding.encoder import token_lengths
from helpers.encoding.models import model_folder
from helpers.sampling.eval_set import EvalSet, load_eval_set
from helpers.sampling.texts import distinct, is_garbled, normalise
from helpers.sampling.training_set import read_training_rows

SHORT = 3  # words
NEAR = 0.8  # Jaccard similarity of the sets of three-word sequences
PERMUTATIONS = 64


@dataclass(frozen=True)
class Finding:
    """Something counted: how many of how many, an example, and whether it harms the numbers if it is more than none."""

    what: str
    count: int
    of: int
    example: str = ""
    harmful: bool = False


def audit(rows: list[dict], eval_set: EvalSet, folder: Path, query_max_len: int, passage_max_len: int) -> list[Finding]:
    """Count what could make a training or an evaluation unfair or unclear.

    Distractors are left alone: nobody is trained or judged on them.

    Args:
        rows: training rows with `query`, `pos`, `neg` and `prompt`, the instruction of all queries.
        folder: of the model whose tokenizer cuts the texts.
        query_max_len, passage_max_len: tokens.
    """
    trained = [text for row in rows for text in row["pos"]]
    evaluated = [eval_set.corpus[docid] for docids in eval_set.qrels.values() for docid in docids]
    passages = distinct(trained + evaluated)
    positives, gold = ({normalise(text) for text in texts} for texts in (trained, evaluated))
    against = {normalise(text): text for row in rows for text in row["neg"]}
    trained_on = (positives | against.keys()) - gold
    near = near_duplicates([*passages, *against.values()])
    queries = [*(row["query"] for row in rows), *eval_set.queries.values()]
    asked = [rows[0]["prompt"] + text for text in queries]

    def finding(what: str, found: list[str], of: int, *, harmful: bool = False) -> Finding:
        return Finding(what, len(found), of, found[0] if found else "", harmful)

    def among(what: str, texts: list[str], found: Callable[[str], object], *, harmful: bool = False) -> Finding:
        return finding(what, [text for text in texts if found(normalise(text))], len(texts), harmful=harmful)

    leak = "evaluation positives trained on as"
    garbled = list(filter(is_garbled, queries + passages))
    both = [text for text in passages if normalise(text) in positives and normalise(text) in against]
    near_negatives = [row["query"] for row in rows if _near_negative(row, near)]
    return [
        finding("positives that stand twice or more", _repeated(trained + evaluated), len(trained) + len(evaluated)),
        among("passages with a near duplicate", passages, near.__getitem__),
        among(f"{leak} positives", evaluated, positives.__contains__, harmful=True),
        among(f"{leak} negatives", evaluated, against.__contains__, harmful=True),
        among(
            "evaluation positives with a near duplicate in training",
            evaluated,
            lambda key: not near[key].isdisjoint(trained_on),
            harmful=True,
        ),
        finding("passages gold for one query and negative for another", both, len(positives)),
        finding(
            "training queries with a negative that nearly equals their positive",
            near_negatives,
            len(rows),
            harmful=True,
        ),
        finding("texts with mojibake, which FIX_TEXT=1 repairs", garbled, len(queries) + len(passages), harmful=True),
        finding(f"passages of less than {SHORT} words", [t for t in passages if len(t.split()) < SHORT], len(passages)),
        _cut("queries", asked, folder, query_max_len),
        _cut("passages", passages, folder, passage_max_len),
    ]


def audit_of(neg_num: int, profile: Profile) -> list[Finding]:
    """Audit the profile's training set with `neg_num` negatives a query, and its evaluation set.

    Raises:
        UserError: one of them is missing or not sound.
    """
    rows = read_training_rows(profile.training_file(neg_num), profile.instruction)
    folder = model_folder(profile.base_model, profile.base_revision)
    return audit(rows, load_eval_set(profile.data_dir), folder, profile.query_max_len, profile.passage_max_len)


def audit_table(findings: list[Finding]) -> pd.DataFrame:
    """Return one row a finding: `count`, `of`, `share`, `example`."""
    rows = [
        {"count": f.count, "of": f.of, "share": f"{f.count / max(f.of, 1):.1%}", "example": f.example[:80]}
        for f in findings
    ]
    return pd.DataFrame(rows, index=[f.what for f in findings])


def verdict(findings: list[Finding]) -> str:
    """Return one line: what stands in the way of believing the numbers, or that nothing does."""
    harms = [f"{f.count} of {f.of} {f.what}" for f in findings if f.harmful and f.count]
    return "; ".join(harms) or "sound: no evaluation passage is trained on, no text is garbled"


def near_duplicates(texts: Iterable[str]) -> dict[str, set[str]]:
    """Return, for each text in its normalised form, the others of which it is a near duplicate.

    Candidates come from MinHash (Broder 1997, "On the Resemblance and Containment of Documents") by the library
    datasketch; those whose Jaccard similarity really is `NEAR` or more remain.
    """
    from datasketch import MinHash, MinHashLSH

    shingles = {normalise(text): _shingles(normalise(text)) for text in texts}
    words = ([shingle.encode() for shingle in group] for group in shingles.values())
    sketches = dict(zip(shingles, MinHash.generator(words, num_perm=PERMUTATIONS), strict=True))
    index = MinHashLSH(threshold=NEAR - 0.2, num_perm=PERMUTATIONS)  # lower, so that few are overlooked
    for key, sketch in sketches.items():
        index.insert(key, sketch)

    def similar(a: str, b: str) -> bool:
        return len(shingles[a] & shingles[b]) >= NEAR * len(shingles[a] | shingles[b])

    return {
        key: {other for other in index.query(sketch) if other != key and similar(key, other)}
        for key, sketch in sketches.items()
    }


def _shingles(text: str) -> set[str]:
    words = text.split()
    return {" ".join(words[i : i + 3]) for i in range(max(1, len(words) - 2))}


def _repeated(texts: list[str]) -> list[str]:
    seen, repeated = set(), []
    for text in texts:
        if (key := normalise(text)) in seen:
            repeated.append(text)
        seen.add(key)
    return repeated


def _near_negative(row: dict, near: dict[str, set[str]]) -> bool:
    negatives = {normalise(text) for text in row["neg"]}
    return any(({normalise(text)} | near[normalise(text)]) & negatives for text in row["pos"])


def _cut(what: str, texts: list[str], folder: Path, limit: int) -> Finding:
    lengths = token_lengths(texts, folder)
    cut = [length - limit for length in lengths if length > limit]
    lost = f"{sum(cut) / sum(lengths):.0%} of all their tokens are not read" if cut else ""
    return Finding(f"{what} cut at {limit} tokens", len(cut), len(texts), lost)
