"""What to know about a training and an evaluation set before believing a number."""

import random
import zlib
from collections import ChainMap, Counter, defaultdict
from collections.abc import Collection, Container
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import chain, product
from math import ceil
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from helpers import sampling
from helpers.base import Profile, code_of, make, model_fingerprint, positives
from helpers.encoding.encoder import load_tokenizer, token_ids
from helpers.encoding.models import model_folder, positions
from helpers.recall.bm25 import bigrams
from helpers.sampling import EvalSet, TrainingSet, excerpt, load_eval_set, text_id
from helpers.sampling.texts import is_garbled, words

SHORT = 3  # words
PASSAGES = 10  # that an evaluation judges by, at least
NEAR = 0.8  # Jaccard similarity of the sets of three-word sequences
HASHES, BAND = 64, 4  # of a text, and how many of them two texts share that are compared
SAMPLE = 50_000  # passages that are negatives alone, at most, among which near duplicates are looked for
NEIGHBOURS = 8  # texts on either side with which one is compared in a band
SPLIT, COPIES = "set SPLIT_KEY=passage", "take near copies out of the pairs"
TOO_NEAR = "a negative that nearly equals their positive"
MORE, LOOK = "bring more pairs", "look whether these are the passages"


@dataclass(frozen=True)
class Finding:
    """Something counted: how many of how many, an example, the share above which it does harm, what to do then."""

    what: str
    count: int
    of: int
    example: str = ""
    limit: float | None = None  # None: it harms nothing by itself
    remedy: str = ""

    @property
    def harmful(self) -> bool:
        """Tell whether there is more of it than may be."""
        return self.limit is not None and self.count > self.limit * self.of


def audit(rows: TrainingSet, eval_set: EvalSet, profile: Profile) -> list[Finding]:
    """Count what could make a training or an evaluation unfair or unclear; distractors do neither, and are left out."""
    asked = {text_id(query): query for query in eval_set.queries.values()}  # all texts go by their `text_id` here
    gold: dict[int, str] = {}
    judged: dict[int, list[int]] = defaultdict(list)  # query -> its positives
    for query_id, grades in eval_set.qrels.items():
        texts = {text_id(text): text for text in map(eval_set.corpus.__getitem__, positives(grades))}
        judged[text_id(eval_set.queries[query_id])] += texts
        gold |= texts
    evaluated = [*chain.from_iterable(judged.values())]
    standing = [key for _, own, _ in map(rows.ids, range(len(rows))) for key in own]  # as often as they stand there
    negatives = {key for _, _, drawn in map(rows.ids, range(len(rows))) for key in drawn}
    trained = set(standing)
    others = sorted(negatives - trained - gold.keys())
    left_out = set(others).difference(random.Random(0).sample(others, min(SAMPLE, len(others))))
    sampled = f" (other negatives: {SAMPLE:,} sampled)" if left_out else ""  # the rest is neither kept nor compared
    queries: dict[int, str] = {}
    passages = dict(gold)
    for number, row in enumerate(tqdm(rows, "audit", leave=False, delay=5)):
        query, own, drawn = rows.ids(number)
        queries.setdefault(query, row["query"])
        for key, text in zip(chain(own, drawn), chain(row["pos"], row["neg"]), strict=True):
            if key not in left_out:
                passages.setdefault(key, text)
    near, unit = near_duplicates(passages), bigrams(passages.values())
    training, shared, times = (trained | negatives) - gold.keys(), Counter(evaluated), Counter(standing + evaluated)
    asking, distinct, text_of = queries | asked, list(times), ChainMap(passages, queries, asked)
    spoilt = {
        query
        for query, own, drawn in map(rows.ids, range(len(rows)))
        for a, b in product(own, drawn)
        if a == b or (a in near and b in near and _similar(passages[a], passages[b]))
    }
    copied = {key for key in gold if training & near.get(key, set())}
    sharing = {query for query, found in judged.items() if any(shared[key] > 1 for key in found)}
    twice = {key for key in distinct if times[key] > 1}
    short = {key for key in distinct if len(words(passages[key])) < SHORT}
    garbled = {key for key in [*asking, *distinct] if is_garbled(text_of[key])}

    def among(what: str, keys: Collection[int], harm: Container[int], limit: float | None = None, remedy: str = ""):
        found = [key for key in keys if key in harm]
        return Finding(what, len(found), len(keys), text_of[found[0]] if found else "", limit, remedy)

    few, said = len(judged) if len(gold) < PASSAGES else 0, f"{len(gold)} passages"
    folder = model_folder(profile.base_model, profile.base_revision)
    return [
        among("positives that stand twice or more", distinct, twice),
        among(f"passages with a near duplicate{unit}", distinct, near, 0.5, COPIES),
        among("evaluation queries trained on", asked, queries.keys() | trained, 0, SPLIT),
        among("evaluation positives trained on as positives", evaluated, trained, 0, SPLIT),
        among("evaluation positives trained on as negatives", evaluated, negatives, 0, SPLIT),
        among(f"evaluation positives with a near duplicate in training{sampled}", evaluated, copied, 0, COPIES),
        among("evaluation queries that share a positive with another", judged, sharing, 0.5, MORE),
        Finding(f"evaluation queries judged by fewer than {PASSAGES} passages", few, len(judged), said, 0, MORE),
        among("passages gold for one query and negative for another", dict.fromkeys(standing), negatives),
        among(f"training queries with {TOO_NEAR}{sampled}", queries, spoilt, 0.01, COPIES),
        among("queries that are passages, too", asking, trained | negatives | gold.keys()),
        among("texts with mojibake", [*asking, *distinct], garbled, 0.01, "set FIX_TEXT=1"),
        among(f"passages of less than {SHORT} words{unit}", distinct, short, 0.5, LOOK),
        *_token_findings("queries", [*asking.values()], profile.query_max_len, profile.instruction, folder),
        *_token_findings("passages", [passages[key] for key in distinct], profile.passage_max_len, "", folder),
    ]


def _token_findings(kind: str, texts: list[str], limit: int, prefix: str, folder: Path) -> list[Finding]:
    """Count what the tokenizer makes of texts behind a prefix: too many tokens, unknown ones, those of another text."""
    unknown = load_tokenizer(folder).unk_token_id
    [before] = token_ids([prefix], folder)  # with the special tokens
    tokens = token_ids((prefix + text for text in texts), folder)
    found = ((len(ids), ids.count(unknown), hash(tuple(ids))) for ids in tokens)
    lengths, unknowns, hashes = np.fromiter(found, np.dtype((int, 3)), len(texts)).T
    unknowns -= before.count(unknown)
    own = lengths.sum() - len(before) * len(texts)
    cut = np.maximum(lengths - limit, 0)
    lost = f"{cut.sum() / lengths.sum():.0%} of all their tokens are not read" if cut.any() else ""
    worst = texts[unknowns.argmax()] if unknowns.any() else ""
    same = np.flatnonzero(pd.Series(hashes).duplicated())
    first = np.flatnonzero(hashes == hashes[same[0]])[:2] if same.size else ()
    pair = " = ".join(excerpt(texts[row], 38) for row in first)
    other, side = "take a BASE_MODEL that knows the language", "QUERY" if kind == "queries" else "PASSAGE"
    return [
        Finding(f"{kind} cut at {limit} tokens", int((cut > 0).sum()), len(texts), lost, 0.5, f"raise {side}_MAX_LEN"),
        Finding(f"unknown tokens of {kind}", int(unknowns.sum()), int(own), worst, 0.1, other),
        Finding(f"{kind} that have the tokens of another", len(same), len(texts), pair, 0.01, other),
    ]


def setting_findings(queries: int, profile: Profile) -> list[Finding]:
    """Count what the settings spoil of a training on so many queries: nothing learned or scored, texts too long."""
    most = positions(model_folder(profile.base_model, profile.base_revision))
    held = min(128, queries // 10) if profile.eval_steps else 0
    steps = ceil(profile.epochs * ceil((queries - held) / (profile.batch_size * profile.processes)))
    lost = int(profile.warmup > 0)  # the warm-up begins at a learning rate of 0
    none = queries if profile.eval_steps and not held else 0
    what, remedy = "tokens of {} beyond the model's positions", f"set at most {most}"
    lengths = {"QUERY_MAX_LEN": profile.query_max_len, "PASSAGE_MAX_LEN": profile.passage_max_len}
    return [
        Finding("steps at learning rate 0", lost, steps, "", 0.5, "set WARMUP=0 or a smaller BATCH_SIZE"),
        Finding("training queries too few to hold a tenth out", none, queries, "", 0, "set EVAL_STEPS=0"),
        *(Finding(what.format(name), max(0, n - most), n, "", 0, remedy) for name, n in lengths.items()),
    ]


def audit_of(rows: TrainingSet, profile: Profile) -> list[Finding]:
    """Audit a training set and the evaluation set, unless that is kept; raises UserError: there is none to evaluate."""
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
    return [Finding(**finding) for finding in made["findings"]] + setting_findings(len(rows), profile)


def audits(profile: Profile) -> dict[str, list[Finding]]:
    """Return the audits of all training sets that the profile has, by name; raises UserError: one is not sound."""
    numbers = (path.stem.removeprefix("training_neg_") for path in profile.data_dir.glob("training_neg_*.json"))
    paths = (profile.training_file(f"neg{number}") for number in sorted(int(n) for n in numbers if n.isdecimal()))
    return {path.stem: audit_of(TrainingSet(path, profile.instruction), profile) for path in paths}


def audit_table(findings: list[Finding]) -> pd.DataFrame:
    """Return one row a finding: `count`, `of`, `share`, the share above which it is harmful, `example`, `remedy`."""
    rows = []
    for f in findings:
        share, limit = f"{f.count / max(f.of, 1):.1%}", "" if f.limit is None else f"{f.limit:.0%}"
        rows.append((f.count, f.of, share, limit, f.example[:80], f.remedy if f.harmful else ""))
    columns = ["count", "of", "share", "harmful above", "example", "remedy"]
    return pd.DataFrame(rows, [f.what for f in findings], columns)


def verdict(findings: list[Finding]) -> str:
    """Return one line: what stands in the way of believing the numbers and what to do, or that nothing was found."""
    harms = [f"{f.count} of {f.of} {f.what}: {f.remedy}" for f in findings if f.harmful]
    limits = "all else that was counted is within its limits"
    return "; ".join(harms) or f"sound: no text of the evaluation is trained on, and {limits}"


def near_duplicates(texts: dict[int, str]) -> dict[int, set[int]]:
    """Return, for each text that is a near duplicate of others, these; texts are given and named by `text_id`.

    Candidates are texts that share a band of MinHashes (Broder 1997, "On the Resemblance and Containment of Documents")
    and most of the others, too; those whose Jaccard similarity really is `NEAR` or more remain. Where very many share a
    band, each is compared with `NEIGHBOURS` on either side there: all that have copies are found, but not all copies.
    """
    keys = sorted(texts)
    factors = np.random.default_rng(0).integers(2**63, size=HASHES, dtype=np.uint64) * 2 + 1  # x -> top half of a * x
    hashes = np.empty((len(keys), HASHES), np.uint32)
    for row, key in enumerate(keys):
        shingles = np.fromiter(_shingles(texts[key]), np.uint64)
        hashes[row] = np.multiply.outer(factors, shingles).min(axis=1) >> np.uint64(32)
    pairs = []  # each as one number
    for band in hashes.view(f"V{4 * BAND}").T:  # of each text `BAND` hashes, as one value of bytes
        order = np.argsort(band, kind="stable")
        for ahead in range(1, NEIGHBOURS + 1):
            one, other = order[:-ahead], order[ahead:]
            same = band[one] == band[other]
            one, other = one[same], other[same]
            alike = (hashes[one] == hashes[other]).mean(axis=1) >= NEAR - 0.15  # lower, so that few are overlooked
            pairs.append((one * len(keys) + other)[alike])
    candidates = np.unique(np.concatenate(pairs))
    few = pd.Series(candidates).groupby(candidates // len(keys)).cumcount() < 2 * NEIGHBOURS
    near: dict[int, set[int]] = defaultdict(set)
    for pair in candidates[few].tolist():
        a, b = (keys[place] for place in divmod(pair, len(keys)))
        if _similar(texts[a], texts[b]):
            near[a].add(b)
            near[b].add(a)
    return near


@lru_cache(1000)
def _shingles(text: str) -> frozenset[int]:
    """Return the hashes, of 32 bits, of a text's three-word sequences."""
    found = words(text) or [text]
    return frozenset(zlib.crc32(" ".join(found[i : i + 3]).encode()) for i in range(max(1, len(found) - 2)))


def _similar(a: str, b: str) -> bool:
    one, other = _shingles(a), _shingles(b)
    return len(one & other) >= NEAR * len(one | other)
