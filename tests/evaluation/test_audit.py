"""Each finding on texts made for it."""

import shutil

import pytest
from conftest import WORDS, make_rows, write_jsonl

from helpers.evaluation.audit import audit, audit_of, audit_table, audits, near_duplicates, verdict
from helpers.sampling import EvalSet, TrainingSet, load_pairs, save_eval_set, text_id
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


def audited(rows, eval_set, profile):
    path = write_jsonl(profile.training_file(10), rows)
    return audit(TrainingSet(path, profile.instruction), eval_set, profile)


def test_nothing_is_found_where_nothing_is(profile):
    rows = [row("a b", [OTHERS[0]], [OTHERS[1]]), row("c d", [OTHERS[1]], [OTHERS[2]])]
    findings = audited(rows, task("one two three"), profile)
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
    found = {finding.what: finding.count for finding in audited(rows, task(gold), profile) if finding.count}
    assert [found[name] for name in found if name.startswith(what)] == [count]


def test_the_verdict_names_what_does_harm(profile):
    findings = audited([row("a", [OTHERS[1]], [OTHERS[1]])], task(OTHERS[1]), profile)
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
    findings = {f.what: f for f in audited([row("a", ["banel " * 46], [])], task("banel derak kisot"), profile)}
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

    pairs = {
        a: {b for b in texts if a != b and len(sequences(a) & sequences(b)) >= 0.8 * len(sequences(a) | sequences(b))}
        for a in texts
    }
    assert sum(map(len, pairs.values())) > 30
    expected = {text_id(a): set(map(text_id, others)) for a, others in pairs.items() if others}
    assert near_duplicates({text_id(text): text for text in texts}) == expected


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


def test_what_is_on_disk_is_audited_once(profile, monkeypatch, capsys):
    from helpers.evaluation import audit as module

    rows = make_rows(20, 10)
    write_jsonl(profile.training_file(10), rows)
    write_jsonl(profile.training_file(5), [row | {"neg": row["neg"][:5]} for row in rows])
    evaluation = [{"id": "e", "query": "q", "positive": rows[0]["pos"]}]
    save_eval_set(evaluation, evaluation, profile)
    found = audits(profile)
    assert list(found) == ["training_neg_5", "training_neg_10"]
    assert "passages cut at 24 tokens" in audit_table(found["training_neg_10"]).index
    assert verdict(found["training_neg_10"]).startswith("1 of 1 evaluation positives trained on as positives")

    asked = []
    monkeypatch.setattr(module, "audit", lambda rows, *others: asked.append(rows.path) or audit(rows, *others))
    assert audits(profile) == found
    assert not asked
    write_jsonl(profile.training_file(5), rows[:9])
    assert audits(profile)["training_neg_5"] != found["training_neg_5"]
    assert asked == [profile.training_file(5)]
    assert "training_neg_5.audit.json is made again: it was made from other training set.\n" in capsys.readouterr().out
    save_eval_set(evaluation, evaluation + [{"id": "t", "query": "r", "positive": ["one more"]}], profile)
    audit_of(TrainingSet(profile.training_file(10), profile.instruction), profile)
    assert "it was made from other evaluation set.\n" in capsys.readouterr().out


def test_an_audit_is_made_again_when_what_it_is_made_from_is_another(
    profile, make_profile, tmp_path, capsys, monkeypatch
):
    rows = TrainingSet(write_jsonl(profile.training_file(10), make_rows(20, 10)), profile.instruction)
    evaluation = [{"id": "e", "query": "q", "positive": rows[0]["pos"]}]
    save_eval_set(evaluation, evaluation, profile)
    model = shutil.copytree(profile.base_model, tmp_path / "model")
    given = {"BASE_MODEL": model, "BASE_LAYERS": 0, "INSTRUCTION": "ask: ", "PASSAGE_MAX_LEN": 24}
    place = "ft_data/test/training_neg_10.audit.json is made again: it was made from other"

    def said(**settings):
        audit_of(rows, make_profile(**given | settings))
        return capsys.readouterr().out

    assert (said(), said(EPOCHS=9, BASE_MODEL=profile.base_model)) == ("", "")  # the same model elsewhere, too
    assert said(PASSAGE_MAX_LEN=9) == said() == f"{place} lengths.\n"
    assert said(QUERY_MAX_LEN=9) == said() == f"{place} lengths.\n"
    tokenizer = model / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text() + "\n")
    assert (said(), said()) == (f"{place} tokenizer.\n", "")
    monkeypatch.setattr("helpers.evaluation.audit.code_of", lambda file: "another")
    assert (said(), said()) == (f"{place} code.\n", "")


def test_a_copy_of_a_training_set_is_no_training_set(profile):
    path = write_jsonl(profile.training_file(10), make_rows(20, 10))
    evaluation = [{"id": "e", "query": "q", "positive": ["banel derak"]}]
    save_eval_set(evaluation, evaluation, profile)
    shutil.copy(path, path.with_name("training_neg_10_old.json"))
    assert list(audits(profile)) == ["training_neg_10"]


def test_the_audit_is_of_the_rows_that_were_read(profile):
    rows = make_rows(20, 10)
    evaluation = [{"id": "e", "query": "q", "positive": rows[0]["pos"]}]
    save_eval_set(evaluation, evaluation, profile)
    read = TrainingSet(write_jsonl(profile.training_file(10), rows[1:]), profile.instruction)
    profile.training_file(10).unlink()  # as `replace` does
    write_jsonl(profile.training_file(10), rows)
    before = audit_of(read, profile)
    assert {finding.what: finding.count for finding in before}["evaluation positives trained on as positives"] == 0
    after = audits(profile)["training_neg_10"]
    assert {finding.what: finding.count for finding in after}["evaluation positives trained on as positives"] == 1
