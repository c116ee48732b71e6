"""What to know about a training and an evaluation set before believing a number."""

from collections.abc import Container, Iterable, Sized
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from datasketch import MinHash, MinHashLSH

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


def audit(rows: list[dict], eval_set: EvalSet, profile: Profile) -> list[Finding]:
    """Count what could make a training or an evaluation unfair or unclear.

    Rows have `query`, `pos`, `neg` and `prompt`, the instruction of all queries. Distractors are left alone: nobody is
    trained or judged on them.
    """
    trained = [text for row in rows for text in row["pos"]]
    evaluated = [eval_set.corpus[docid] for docids in eval_set.qrels.values() for docid in docids]
    standing = pd.Series(trained + evaluated)
    passages = distinct(standing)
    queries = [*(row["query"] for row in rows), *eval_set.queries.values()]
    texts = queries + passages
    positives, gold = set(map(normalise, trained)), set(map(normalise, evaluated))
    against = {normalise(text): text for row in rows for text in row["neg"]}
    near = near_duplicates([*passages, *against.values()])
    near_training = {other for key in (positives | against.keys()) - gold for other in near[key]}
    too_near = [row["query"] for row in rows if _near_negative(row, near)]
    folder = model_folder(profile.base_model, profile.base_revision)

    def among(what: str, texts: list[str], keys: Container[str], harmful: bool = False) -> Finding:
        return _finding(what, [text for text in texts if normalise(text) in keys], texts, harmful)

    return [
        _finding("positives that stand twice or more", standing[standing.map(normalise).duplicated()], standing),
        among("passages with a near duplicate", passages, {key for key, others in near.items() if others}),
        among("evaluation positives trained on as positives", evaluated, positives, harmful=True),
        among("evaluation positives trained on as negatives", evaluated, against, harmful=True),
        among("evaluation positives with a near duplicate in training", evaluated, near_training, harmful=True),
        among("passages gold for one query and negative for another", distinct(trained), against),
        _finding("training queries with a negative that nearly equals their positive", too_near, rows, harmful=True),
        _finding("texts with mojibake, which FIX_TEXT=1 repairs", filter(is_garbled, texts), texts, harmful=True),
        _finding(f"passages of less than {SHORT} words", [t for t in passages if len(t.split()) < SHORT], passages),
        _cut("queries", [rows[0]["prompt"] + text for text in queries], folder, profile.query_max_len),
        _cut("passages", passages, folder, profile.passage_max_len),
    ]


def _finding(what: str, found: Iterable[str], of: Sized, harmful: bool = False) -> Finding:
    examples = list(found)
    return Finding(what, len(examples), len(of), next(iter(examples), ""), harmful)


def _near_negative(row: dict, near: dict[str, set[str]]) -> bool:
    negatives = {normalise(text) for text in row["neg"]}
    return any(({key} | near[key]) & negatives for key in map(normalise, row["pos"]))


def _cut(what: str, texts: list[str], folder: Path, limit: int) -> Finding:
    lengths = token_lengths(texts, folder)
    cut = [length - limit for length in lengths if length > limit]
    lost = f"{sum(cut) / sum(lengths):.0%} of all their tokens are not read" if cut else ""
    return Finding(f"{what} cut at {limit} tokens", len(cut), len(texts), lost)


def audit_of(neg_num: int, profile: Profile) -> list[Finding]:
    """Audit the profile's training and evaluation set. Raises UserError: one of them is missing or not sound."""
    rows = read_training_rows(profile.training_file(neg_num), profile.instruction)
    return audit(rows, load_eval_set(profile.data_dir), profile)


def audit_table(findings: list[Finding]) -> pd.DataFrame:
    """Return one row a finding: `count`, `of`, `share`, `example`."""
    rows = [(f.count, f.of, f"{f.count / max(f.of, 1):.1%}", f.example[:80]) for f in findings]
    return pd.DataFrame(rows, index=[f.what for f in findings], columns=["count", "of", "share", "example"])


def verdict(findings: list[Finding]) -> str:
    """Return one line: what stands in the way of believing the numbers, or that nothing does."""
    harms = [f"{f.count} of {f.of} {f.what}" for f in findings if f.harmful and f.count]
    return "; ".join(harms) or "sound: no evaluation passage is trained on, no text is garbled"


def near_duplicates(texts: Iterable[str]) -> dict[str, set[str]]:
    """Return, for each text in its normalised form, the others of which it is a near duplicate.

    Candidates come from MinHash (Broder 1997, "On the Resemblance and Containment of Documents") by the library
    datasketch; those whose Jaccard similarity really is `NEAR` or more remain.
    """
    shingles = {}
    for key in map(normalise, texts):
        words = key.split()
        shingles[key] = {" ".join(words[i : i + 3]) for i in range(max(1, len(words) - 2))}
    encoded = ([shingle.encode() for shingle in group] for group in shingles.values())
    sketches = dict(zip(shingles, MinHash.generator(encoded, num_perm=PERMUTATIONS), strict=True))
    index = MinHashLSH(threshold=NEAR - 0.2, num_perm=PERMUTATIONS)  # lower, so that few are overlooked
    for key, sketch in sketches.items():
        index.insert(key, sketch)

    def similar(a: str, b: str) -> bool:
        return len(shingles[a] & shingles[b]) >= NEAR * len(shingles[a] | shingles[b])

    return {
        key: {other for other in index.query(sketch) if other != key and similar(key, other)}
        for key, sketch in sketches.items()
    }
