"""Each finding on texts made for it."""

import shutil

import pytest
from conftest import WORDS, make_rows, write_jsonl

from helpers.evaluation.audit import audit, audit_of, audit_table, audits, near_duplicates, setting_findings, verdict
from helpers.sampling import EvalSet, TrainingSet, load_pairs, save_eval_set, text_id
from helpers.sampling.texts import is_garbled

LONG = " ".join(WORDS[:20])
ALMOST = f"{LONG} {WORDS[20]}"  # 18 of 19 three-word sequences are those of LONG
APART = [f"passage that has number {i}" for i in range(10)]
OTHERS = [" ".join(WORDS[i : i + 12]) for i in (21, 24, 27)]


def row(query, pos, neg):
    return {"query": query, "pos": pos, "neg": neg, "prompt": "ask: "}


def task(*positives):
    corpus = {f"d{i}": text for i, text in enumerate(positives, start=1)}
    queries = {f"q{i}": f"query {i}" for i in range(len(corpus))}
    return EvalSet(queries, corpus, {f"q{i}": {f"d{i + 1}": 1} for i in range(len(corpus))})


@pytest.fixture
def profile(make_profile, tiny_bert):
    return make_profile(BASE_MODEL=tiny_bert, BASE_LAYERS=0, INSTRUCTION="ask: ", PASSAGE_MAX_LEN=24)


def kept(rows, profile, name="neg10"):
    return TrainingSet(write_jsonl(profile.training_file(name), rows), profile.instruction)


def keep_task(positive, profile, *more):
    evaluation = [{"id": "e", "query": "q", "positive": [positive]}]
    save_eval_set(evaluation, [*evaluation, *more], profile)


def audited(rows, eval_set, profile):
    return audit(kept(rows, profile), eval_set, profile)


def test_nothing_is_found_where_nothing_is(profile):
    rows = [row("a b", [OTHERS[0]], [OTHERS[1]]), row("c d", [OTHERS[1]], [OTHERS[2]])]
    findings = audited(rows, task(*APART), profile)
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
        "1 of 1 evaluation positives trained on as positives: set SPLIT_KEY=passage; "
        "1 of 1 evaluation positives trained on as negatives: set SPLIT_KEY=passage; "
    )
    assert "negative that nearly equals their positive" in said
    assert "twice" not in said  # no harm in that: they are one passage of the corpus
    table = audit_table(findings)
    assert list(table) == ["count", "of", "share", "harmful above", "example", "remedy"]
    shown = [1, 1, "100.0%", "0%", OTHERS[1][:80], "set SPLIT_KEY=passage"]
    assert list(table.loc["evaluation positives trained on as positives"]) == shown
    assert table.loc["positives that stand twice or more", "remedy"] == ""


CHINESE = ["退货需要几天才能到账", "如何修改登录密码和邮箱", "运费是多少钱一公斤呢"]
PLAIN = [row("a", [OTHERS[0]], [])]


def harmful(findings):
    return {finding.what: finding.example for finding in findings if finding.harmful}


@pytest.mark.parametrize(
    ("rows", "queries", "passages", "what", "example"),
    [
        # the pair of an evaluation query, the other way round
        ([row("answer one two", ["query 0"], [])], (), APART, "evaluation queries trained on", "query 0"),
        ([row("Query  0", [OTHERS[0]], [])], (), APART, "evaluation queries trained on", "Query  0"),
        ([row("query 99", [OTHERS[0]], ["query 0"])], (), APART, None, None),
        (PLAIN, (), APART[:9], "evaluation queries judged by fewer than 10 passages", "9 passages"),
        (PLAIN, (), APART, None, None),
        (PLAIN, (), APART + APART[:6], "evaluation queries that share a positive", "query 0"),
        (PLAIN, (), APART + APART[:3], None, None),  # 6 of 13 queries
        ([row("a", [t, t[::-1]], []) for t in CHINESE], (), APART, "unknown tokens of passages", CHINESE[1]),
        (PLAIN, CHINESE, APART, "queries that have the tokens of another", None),
        ([row("退货", [OTHERS[0]], [])], (), APART, None, None),  # two unknown tokens of many
        ([row("a", [LONG], [])] * 3, (), APART, None, None),
        ([row(f"a {i}", [f"{LONG} {LONG} {i}"], []) for i in range(30)], (), APART, "passages with a near", None),
        ([row(f"a {i}", [f"{LONG} {LONG} {i}"], []) for i in range(9)], (), APART, None, None),
        ([row(f"a {i}", [f"short {i}"], []) for i in range(30)], (), APART, "passages of less than 3 words", "short 0"),
        ([row(f"a {i}", [f"{i} {LONG} {OTHERS[0]}"], []) for i in range(30)], (), APART, "passages cut at 24", None),
    ],
)
def test_what_does_harm_and_what_does_not(profile, rows, queries, passages, what, example):
    eval_set = task(*passages)
    eval_set.queries.update({f"q{i}": text for i, text in enumerate(queries)})
    findings = audited(rows, eval_set, profile)
    found = harmful(findings)
    assert [name[: len(what or "")] for name in found if not what or name.startswith(what)] == ([what] if what else [])
    if example:
        assert example in found.values()
    assert verdict(findings).startswith("sound: ") == (not what)


def test_texts_that_the_tokenizer_makes_one(profile):
    rows = [row(CHINESE[0], ["résumé of one"], []), row(CHINESE[1], ["resume of one"], [])]
    findings = {finding.what: finding for finding in audited(rows, task(*APART), profile)}
    same = findings["passages that have the tokens of another"]
    assert (same.count, same.of, same.example) == (1, 12, "résumé of one = resume of one")
    unknown = findings["unknown tokens of queries"]
    assert unknown.count == len(CHINESE[0] + CHINESE[1])  # each character is a token
    assert unknown.of == unknown.count + 10 * len("query") + 10  # the instruction and special tokens are left out


def test_a_judgement_of_zero_is_no_positive(profile):
    eval_set = task(*APART, OTHERS[1])
    eval_set.qrels["q0"]["d11"] = eval_set.qrels["q10"]["d11"] = 0
    found = audited([row("a", [OTHERS[1]], [])], eval_set, profile)
    assert not harmful(found)
    found = audited([row("a", [OTHERS[1]], [])], task(*APART, OTHERS[1]), profile)
    assert verdict(found).startswith("1 of 11 evaluation")


@pytest.mark.parametrize(
    ("queries", "settings", "what"),
    [
        (20, {"BATCH_SIZE": 20, "WARMUP": 0.1}, "steps at learning rate 0"),
        (20, {"BATCH_SIZE": 10, "NPROC": 2, "WARMUP": 0.1}, "steps at learning rate 0"),
        (20, {"BATCH_SIZE": 10, "EPOCHS": 0.4, "WARMUP": 0.1}, "steps at learning rate 0"),
        (20, {"BATCH_SIZE": 18, "EVAL_STEPS": 5, "WARMUP": 0.1}, "steps at learning rate 0"),  # two are held out
        (20, {"BATCH_SIZE": 20, "WARMUP": 0}, None),
        (21, {"BATCH_SIZE": 20, "WARMUP": 0.1}, None),
        (20, {"BATCH_SIZE": 20, "WARMUP": 0.1, "EPOCHS": 2}, None),
        (9, {"EVAL_STEPS": 5}, "training queries too few to hold a tenth out"),
        (10, {"EVAL_STEPS": 5}, None),
        (9, {"EVAL_STEPS": 0}, None),
        (99, {"QUERY_MAX_LEN": 65}, "tokens of QUERY_MAX_LEN beyond the model's positions"),
        (99, {"PASSAGE_MAX_LEN": 65}, "tokens of PASSAGE_MAX_LEN beyond the model's positions"),
        (99, {"QUERY_MAX_LEN": 64, "PASSAGE_MAX_LEN": 64}, None),
    ],
)
def test_what_settings_spoil(make_profile, tiny_bert, queries, settings, what):
    found = setting_findings(queries, make_profile(**{"BASE_MODEL": tiny_bert, "BASE_LAYERS": 0} | settings))
    assert list(harmful(found)) == ([what] if what else [])


def test_the_first_step_of_a_warm_up_moves_no_weight():
    """What the audit takes for granted of transformers."""
    import torch
    from transformers import get_scheduler

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    get_scheduler("linear", optimizer, num_warmup_steps=1, num_training_steps=1)
    assert optimizer.param_groups[0]["lr"] == 0


def test_settings_are_told_without_another_audit(profile, make_profile, capsys):
    rows = kept(make_rows(20, 10), profile)
    keep_task(APART[0], profile)
    given = {"BASE_MODEL": profile.base_model, "BASE_LAYERS": 0, "INSTRUCTION": "ask: ", "PASSAGE_MAX_LEN": 24}
    assert "steps at learning rate 0" not in harmful(audit_of(rows, profile))
    assert "steps at learning rate 0" in harmful(audit_of(rows, make_profile(**given, BATCH_SIZE=20)))
    assert capsys.readouterr().out == ""


def test_negatives_beyond_a_sample_are_named(profile, monkeypatch):
    monkeypatch.setattr("helpers.evaluation.audit.SAMPLE", 5)
    rows = [row(f"ask {i}", [f"{LONG} {i}"], [f"{OTHERS[0]} {i} {j}" for j in range(4)]) for i in range(2)]
    what = [finding.what for finding in audited(rows, task(*APART), profile)]
    assert "evaluation positives with a near duplicate in training (other negatives: 5 sampled)" in what
    assert audited(rows, task(*APART), profile)[1].count == 2  # positives are all compared


def test_near_duplicates_without_spaces():
    text = "".join(chr(0x4E00 + i) for i in range(60))
    texts = [text, text[:57] + "他们说", text[::-1], "中文".join(text[:20]), "😀", "🎉"]  # no words in the last
    near = near_duplicates({text_id(text): text for text in texts})
    assert near.keys() == {text_id(text) for text in texts[:2]}


def test_thousands_alike_are_compared_with_some():
    """All of them pairwise would be two million comparisons."""
    texts = {text_id(text): text for text in (f"{LONG} {LONG[::-1]} {i}" for i in range(2000))}
    near = near_duplicates(texts)
    assert near.keys() == texts.keys()
    assert max(map(len, near.values())) < 300


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
    garbled = {"query": "whatâ€™s it", "positive": ["itâ€™s this", "it’s this"]}
    path = write_jsonl(tmp_path / "pairs.jsonl", [garbled, {"query": "naïve café", "positive": "x y"}])
    as_they_are, repaired = (load_pairs(make_profile(DATASET=path, FIX_TEXT=fix)) for fix in (0, 1))
    assert [pair["positive"] for pair in as_they_are] == [["itâ€™s this", "it’s this"], ["x y"]]
    found = {pair["query"]: pair["positive"] for pair in repaired}
    assert found == {"what’s it": ["it’s this"], "naïve café": ["x y"]}
    assert is_garbled("whatâ€™s it")
    assert not is_garbled("naïve café, “quoted” – dash")


def test_what_is_on_disk_is_audited_once(profile, monkeypatch, capsys):
    from helpers.evaluation import audit as module

    rows = make_rows(20, 10)
    read = kept(rows, profile)
    kept([row | {"neg": row["neg"][:5]} for row in rows], profile, "neg5")
    keep_task(rows[0]["pos"][0], profile)
    found = audits(profile)
    assert list(found) == ["training_neg_5", "training_neg_10"]
    assert "passages cut at 24 tokens" in audit_table(found["training_neg_10"]).index
    assert verdict(found["training_neg_10"]).startswith("1 of 1 evaluation positives trained on as positives")

    asked = []
    monkeypatch.setattr(module, "audit", lambda rows, *others: asked.append(rows.path) or audit(rows, *others))
    assert audits(profile) == found
    assert not asked
    kept(rows[:9], profile, "neg5")
    assert audits(profile)["training_neg_5"] != found["training_neg_5"]
    assert asked == [profile.training_file("neg5")]
    assert "training_neg_5.audit.json is made again: it was made from other training set.\n" in capsys.readouterr().out
    keep_task(rows[0]["pos"][0], profile, {"id": "t", "query": "r", "positive": ["one more"]})
    audit_of(read, profile)
    assert "it was made from other evaluation set.\n" in capsys.readouterr().out


def test_an_audit_is_made_again_when_what_it_is_made_from_is_another(
    profile, make_profile, tmp_path, capsys, monkeypatch
):
    rows = kept(make_rows(20, 10), profile)
    keep_task(rows[0]["pos"][0], profile)
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
    path = kept(make_rows(20, 10), profile).path
    keep_task("banel derak", profile)
    shutil.copy(path, path.with_name("training_neg_10_old.json"))
    assert list(audits(profile)) == ["training_neg_10"]


def test_the_audit_is_of_the_rows_that_were_read(profile):
    rows = make_rows(20, 10)
    keep_task(rows[0]["pos"][0], profile)
    read = kept(rows[1:], profile)
    read.path.unlink()  # as `replace` does
    kept(rows, profile)
    for findings, count in ((audit_of(read, profile), 0), (audits(profile)["training_neg_10"], 1)):
        found = {finding.what: finding.count for finding in findings}
        assert found["evaluation positives trained on as positives"] == count
