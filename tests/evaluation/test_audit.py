"""Each finding on texts made for it."""

import pytest
from conftest import WORDS, make_rows, write_jsonl

from helpers.evaluation.audit import audit, audit_of, audit_table, near_duplicates, verdict
from helpers.sampling.eval_set import EvalSet
from helpers.sampling.pairs import load_pairs
from helpers.sampling.texts import is_garbled

LONG = " ".join(WORDS[:20])
ALMOST = f"{LONG} {WORDS[20]}"  # 18 of 19 three-word sequences are those of LONG
OTHERS = [" ".join(WORDS[i : i + 12]) for i in (21, 24, 27)]


def row(query, pos, neg):
    return {"query": query, "pos": pos, "neg": neg, "prompt": "ask: "}


def task(*positives):
    corpus = {f"d{i}": text for i, text in enumerate(positives, start=1)}
    return EvalSet(
        {f"q{i}": f"query {i}" for i in range(len(corpus))},
        corpus,
        {f"q{i}": {f"d{i + 1}": 1} for i in range(len(corpus))},
    )


@pytest.fixture
def profile(make_profile, tiny_bert):
    return make_profile(BASE_MODEL=tiny_bert, BASE_LAYERS=0, INSTRUCTION="ask: ", PASSAGE_MAX_LEN=24)


def counts(rows, eval_set, profile):
    return {finding.what: finding.count for finding in audit(rows, eval_set, profile) if finding.count}


def test_nothing_is_found_where_nothing_is(profile):
    rows = [row("a b", [OTHERS[0]], [OTHERS[1]]), row("c d", [OTHERS[1]], [OTHERS[2]])]
    findings = audit(rows, task("one two three"), profile)
    assert {f.what: f.count for f in findings if f.count} == {"passages gold for one query and negative for another": 1}
    assert verdict(findings).startswith("sound: ")


@pytest.mark.parametrize(
    ("rows", "gold", "what", "count"),
    [
        ([row("a", [OTHERS[0]], []), row("b", [OTHERS[0].upper()], [])], OTHERS[1], "positives that stand twice", 1),
        ([row("a", [LONG], [OTHERS[0]])], ALMOST, "passages with a near duplicate", 2),
        ([row("a", [LONG], [OTHERS[0]])], ALMOST, "evaluation positives with a near duplicate in training", 1),
        ([row("a", [OTHERS[1]], [LONG])], ALMOST, "evaluation positives with a near duplicate in training", 1),
        ([row("a", [OTHERS[1]], [])], OTHERS[1], "evaluation positives trained on as positives", 1),
        ([row("a", [OTHERS[0]], [OTHERS[1]])], OTHERS[1], "evaluation positives trained on as negatives", 1),
        ([row("a", [LONG], [ALMOST])], OTHERS[0], "training queries with a negative that nearly equals", 1),
        ([row("a", [LONG], [LONG.upper()])], OTHERS[0], "training queries with a negative that nearly equals", 1),
        ([row("itâ€™s", [OTHERS[0]], [])], "one â\x80\x93 two", "texts with mojibake", 2),
        ([row("a", [OTHERS[0]], [])], "short", "passages of less than 3 words", 1),
        ([row("a " * 40, [OTHERS[0]], [])], OTHERS[1], "queries cut at 24 tokens", 1),
        ([row("a", [LONG + " " + OTHERS[0]], [])], OTHERS[1], "passages cut at 24 tokens", 1),
    ],
)
def test_each_finding(profile, rows, gold, what, count):
    found = counts(rows, task(gold), profile)
    assert [found[name] for name in found if name.startswith(what)] == [count]


def test_the_verdict_names_what_does_harm(profile):
    findings = audit([row("a", [OTHERS[1]], [OTHERS[1]])], task(OTHERS[1]), profile)
    said = verdict(findings)
    assert said.startswith(
        "1 of 1 evaluation positives trained on as positives; 1 of 1 evaluation positives trained on "
    )
    assert "negative that nearly equals their positive" in said
    assert "twice" not in said  # no harm in that: they are one passage of the corpus
    table = audit_table(findings)
    assert table.loc["evaluation positives trained on as positives"].to_dict() == {
        "count": 1,
        "of": 1,
        "share": "100.0%",
        "example": OTHERS[1][:80],
    }


def test_how_much_is_cut(profile):
    findings = {f.what: f for f in audit([row("a", ["banel " * 46], [])], task("banel derak kisot"), profile)}
    assert findings["passages cut at 24 tokens"].example == "45% of all their tokens are not read"  # 24 of 48 + 5


def test_near_duplicates_are_those_of_the_definition():
    """Every pair of random texts, by Jaccard over their three-word sequences."""
    import random

    rng = random.Random(0)
    texts = []
    for _ in range(40):
        words = rng.choices(WORDS, k=30)
        texts += [" ".join(words), " ".join(words[: rng.randrange(20, 30)])]
    texts = list(dict.fromkeys(texts))

    def sequences(text):
        words = text.split()
        return {tuple(words[i : i + 3]) for i in range(len(words) - 2)}

    expected = {
        a: {b for b in texts if a != b and len(sequences(a) & sequences(b)) >= 0.8 * len(sequences(a) | sequences(b))}
        for a in texts
    }
    assert sum(map(len, expected.values())) > 30
    assert near_duplicates(texts) == expected


def test_fix_text_repairs_before_the_split(tmp_path, make_profile):
    rows = [
        {"query": "whatâ€™s it", "positive": ["itâ€™s this", "it’s this"]},
        {"query": "naïve café", "positive": "x y"},
    ]
    path = write_jsonl(tmp_path / "pairs.jsonl", rows)
    as_they_are, repaired = (load_pairs(make_profile(DATASET=path, FIX_TEXT=fix)) for fix in (0, 1))
    assert [pair["positive"] for pair in as_they_are] == [["itâ€™s this", "it’s this"], ["x y"]]
    assert [(pair["query"], pair["positive"]) for pair in repaired] == [
        ("what’s it", ["it’s this"]),
        ("naïve café", ["x y"]),
    ]
    assert is_garbled("whatâ€™s it")
    assert not is_garbled("naïve café, “quoted” – dash")


def test_what_is_on_disk_is_audited(profile):
    from helpers.sampling.eval_set import build_eval_rows, corpus_rows, save_eval_set

    rows = make_rows(20, 10)
    write_jsonl(profile.training_file(10), rows)
    evaluation = [{"id": "e", "query": "q", "positive": rows[0]["pos"]}]
    save_eval_set(build_eval_rows(evaluation, profile.instruction), corpus_rows(evaluation), profile.data_dir)
    findings = audit_of(10, profile)
    assert "passages cut at 24 tokens" in audit_table(findings).index
    assert verdict(findings).startswith("1 of 1 evaluation positives trained on as positives")
