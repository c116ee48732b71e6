"""What to know about a training and an evaluation set before believing a number."""

from collections.abc import Container, Iterable, Sized
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from datasketch import MinHash, MinHashLSH
from tqdm import tqdm

from helpers import sampling
from helpers.base import Profile, code_of, make, model_fingerprint
from helpers.encoding.encoder import token_lengths
from helpers.encoding.models import model_folder
from helpers.sampling import EvalSet, TrainingSet, distinct, load_eval_set, text_id
from helpers.sampling.texts import is_garbled, normalise

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


def audit(rows: TrainingSet, eval_set: EvalSet, profile: Profile) -> list[Finding]:
    """Count what could make a training or an evaluation unfair or unclear.

    Distractors are left alone: nobody is trained or judged on them.
    """
    queries: list[str] = []
    trained: list[str] = []
    negatives: dict[int, str] = {}  # by `text_id`, as all passages below
    for number, row in enumerate(tqdm(rows, "audit", leave=False, delay=5)):
        queries.append(row["query"])
        trained.extend(row["pos"])
        negatives |= dict(zip(rows.ids(number)[2], row["neg"], strict=True))
    evaluated = [eval_set.corpus[docid] for docids in eval_set.qrels.values() for docid in docids]
    positives, gold = ({text_id(text): text for text in texts} for texts in (trained, evaluated))
    standing = pd.Series(trained + evaluated)
    passages = distinct(standing)
    asked = queries + list(eval_set.queries.values())
    near = near_duplicates(negatives | gold | positives)
    training = (positives.keys() | negatives.keys()) - gold.keys()
    near_training = {other for key in training for other in near.get(key, ())}
    too_near = []
    for query, (_, own, drawn) in zip(queries, map(rows.ids, range(len(rows))), strict=True):
        if any(not ({key} | near.get(key, set())).isdisjoint(drawn) for key in own):
            too_near.append(query)
    garbled = filter(is_garbled, asked + passages)
    folder = model_folder(profile.base_model, profile.base_revision)

    def among(what: str, texts: list[str], keys: Container[int], harmful: bool = False) -> Finding:
        return _finding(what, [text for text in texts if text_id(text) in keys], texts, harmful)

    return [
        _finding("positives that stand twice or more", standing[standing.map(text_id).duplicated()], standing),
        among("passages with a near duplicate", passages, near),
        among("evaluation positives trained on as positives", evaluated, positives, harmful=True),
        among("evaluation positives trained on as negatives", evaluated, negatives, harmful=True),
        among("evaluation positives with a near duplicate in training", evaluated, near_training, harmful=True),
        among("passages gold for one query and negative for another", distinct(trained), negatives),
        _finding("training queries with a negative that nearly equals their positive", too_near, rows, harmful=True),
        _finding("texts with mojibake, which FIX_TEXT=1 repairs", garbled, asked + passages, harmful=True),
        _finding(f"passages of less than {SHORT} words", [t for t in passages if len(t.split()) < SHORT], passages),
        _cut("queries", [profile.instruction + text for text in asked], folder, profile.query_max_len),
        _cut("passages", passages, folder, profile.passage_max_len),
    ]


def _finding(what: str, found: Iterable[str], of: Sized, harmful: bool = False) -> Finding:
    examples = list(found)
    return Finding(what, len(examples), len(of), next(iter(examples), ""), harmful)


def _cut(what: str, texts: list[str], folder: Path, limit: int) -> Finding:
    lengths = token_lengths(texts, folder)
    cut = [length - limit for length in lengths if length > limit]
    lost = f"{sum(cut) / sum(lengths):.0%} of all their tokens are not read" if cut else ""
    return Finding(f"{what} cut at {limit} tokens", len(cut), len(texts), lost)


def audit_of(rows: TrainingSet, profile: Profile) -> list[Finding]:
    """Return the audit of a training set and the profile's evaluation set, which is kept until one of them is another.

    Raises UserError: there is no evaluation set.
    """
    eval_set = load_eval_set(profile.data_dir)
    made_from = {
        "training set": rows.digest,
        "evaluation set": eval_set.fingerprint,
        "tokenizer": model_fingerprint(model_folder(profile.base_model, profile.base_revision)),
        "lengths": [profile.query_max_len, profile.passage_max_len],
        "code": [code_of(__file__), code_of(sampling.__file__)],
    }
    path = profile.data_dir / f"{rows.path.stem}.audit.json"
    made = make(path, made_from, lambda: {"findings": [asdict(f) for f in audit(rows, eval_set, profile)]}, [])
    return [Finding(**finding) for finding in made["findings"]]


def audits(profile: Profile) -> dict[str, list[Finding]]:
    """Return the audits of all training sets that the profile has, by name; raises UserError: one is not sound."""
    numbers = (path.stem.removeprefix("training_neg_") for path in profile.data_dir.glob("training_neg_*.json"))
    paths = (profile.training_file(number) for number in sorted(int(n) for n in numbers if n.isdecimal()))
    return {path.stem: audit_of(TrainingSet(path, profile.instruction), profile) for path in paths}


def audit_table(findings: list[Finding]) -> pd.DataFrame:
    """Return one row a finding: `count`, `of`, `share`, `example`."""
    rows = [(f.count, f.of, f"{f.count / max(f.of, 1):.1%}", f.example[:80]) for f in findings]
    return pd.DataFrame(rows, index=[f.what for f in findings], columns=["count", "of", "share", "example"])


def verdict(findings: list[Finding]) -> str:
    """Return one line: what stands in the way of believing the numbers, or that nothing does."""
    harms = [f"{f.count} of {f.of} {f.what}" for f in findings if f.harmful and f.count]
    return "; ".join(harms) or "sound: no evaluation passage is trained on, no text is garbled"


def near_duplicates(texts: dict[int, str]) -> dict[int, set[int]]:
    """Return, for each text that is a near duplicate of others, these; texts are given and named by `text_id`.

    Candidates come from MinHash (Broder 1997, "On the Resemblance and Containment of Documents") by the library
    datasketch, in whose bands of hashes they meet; those whose Jaccard similarity really is `NEAR` or more remain.
    """
    keys = list(texts)
    bands = MinHashLSH(threshold=NEAR - 0.2, num_perm=PERMUTATIONS)  # lower, so that few are overlooked; left empty
    hashes = np.empty((len(keys), PERMUTATIONS), np.uint32)  # its own dictionaries would take a hundred times as much
    encoded = ([shingle.encode() for shingle in _shingles(text)] for text in texts.values())
    for row, sketch in enumerate(MinHash.generator(encoded, num_perm=PERMUTATIONS)):
        hashes[row] = sketch.hashvalues
    near: dict[int, set[int]] = {}
    for band in range(bands.b):
        part = hashes[:, band * bands.r : (band + 1) * bands.r]
        order = np.lexsort(part.T)
        borders = np.flatnonzero((part[order[1:]] != part[order[:-1]]).any(axis=1)) + 1
        for group in np.split(order, borders):
            for a, b in combinations([keys[row] for row in group], 2):
                if b not in near.get(a, ()) and _similar(texts[a], texts[b]):
                    near.setdefault(a, set()).add(b)
                    near.setdefault(b, set()).add(a)
    return near


def _shingles(text: str) -> set[str]:
    words = normalise(text).split()
    return {" ".join(words[i : i + 3]) for i in range(max(1, len(words) - 2))}


def _similar(a: str, b: str) -> bool:
    one, other = _shingles(a), _shingles(b)
    return len(one & other) >= NEAR * len(one | other)
