import re
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from conftest import make_rows, write_jsonl
from safetensors.numpy import load_file, save_file

from helpers.base import MANIFEST, file_fingerprint, model_fingerprint, write_json
from helpers.base.errors import UserError
from helpers.encoding import base_model
from helpers.encoding.settings import EmbedderSettings, embedder_settings, write_embedder
from helpers.evaluation import pictures, tables
from helpers.evaluation.metrics import article_metrics
from helpers.evaluation.results import comparable_results, load_runs, notebook_of, save_result
from helpers.recall.bm25 import Bm25Settings, bm25_run, bm25_settings
from helpers.sampling.eval_set import EvalSet, load_eval_set, save_eval_set
from helpers.sampling.texts import EXCERPT, excerpt

EVAL_SET = EvalSet(
    queries={"q1": "one", "q2": "two", "q3": "three"},
    corpus={"d1": "alpha", "d2": "beta " * 100, "d3": "gamma"},
    qrels={"q1": {"d1": 1}, "q2": {"d1": 1}, "q3": {"d3": 1}},
)
RUN = {"q1": {"d1": 0.9, "d2": 0.5}, "q2": {"d2": 0.9, "d1": 0.9}, "q3": {"d2": 0.9, "d1": 0.1}}
EVALUATION = [
    {"id": "q1", "query": "one", "positive": ["alpha"]},
    {"id": "q3", "query": "three", "positive": ["gamma"]},
]
PAIRS = [*EVALUATION, {"id": "q2", "query": "two", "positive": ["beta", "delta"]}]


@pytest.fixture
def models(make_profile, tiny_bert, tiny_embedder, tmp_path):
    """A function that loads a profile whose models are all there: raw, neg10, neg50, neg100, reference."""
    base = shutil.copytree(tiny_bert, tmp_path / "base")
    reference = shutil.copytree(tiny_embedder, tmp_path / "ready")
    given = {"BASE_MODEL": base, "BASE_LAYERS": 0, "REFERENCE_MODEL": reference, "PASSAGE_MAX_LEN": 24}
    profile = make_profile(**given)
    for number in (10, 50, 100):
        folder = profile.tuned_model(f"neg{number}")
        folder.mkdir(parents=True)
        write_embedder(base, folder, EmbedderSettings("tuned", folder, "mean", "ask: ", "", 24, 24))
    return lambda **settings: make_profile(**given | settings)


def save(name, profile, eval_set=EVAL_SET):
    settings = Bm25Settings() if name == "bm25" else embedder_settings(profile, name)
    run = {query_id: scores for query_id, scores in RUN.items() if query_id in eval_set.queries}
    return save_result(name, profile, settings, eval_set, run, {"search": 0.12345})


NAMES = ["bm25", "raw", "neg10", "neg50", "neg100", "reference"]


def test_results_come_in_the_order_of_the_series(models, capsys, tmp_path):
    profile = models()
    for name in ("reference", "neg50", "raw", "neg10", "bm25", "neg100"):
        path = save(name, profile)
        assert str(tmp_path) not in path.read_text() or name == "reference"  # named as the settings name it
    results = comparable_results(profile, EVAL_SET)
    assert list(results) == NAMES
    assert capsys.readouterr().out == ""
    assert results["raw"]["seconds"] == {"search": 0.123}
    assert results["raw"]["model"] == profile.base_name
    assert list(tables.results_table(results)["hit@1"]) == pytest.approx([1 / 3] * 6)


def test_results_of_another_evaluation_set_are_left_out(models, capsys):
    profile = models()
    other = EvalSet(EVAL_SET.queries, EVAL_SET.corpus | {"d4": "delta"}, EVAL_SET.qrels)
    save("raw", profile, other)
    save("neg10", profile)
    assert list(comparable_results(profile, EVAL_SET)) == ["neg10"]
    said = "Left out: raw: it was made with other evaluation set; run 03_eval_raw_bert again.\n"
    assert capsys.readouterr().out == said
    with pytest.raises(UserError, match="no result of raw on this evaluation set; run 03_eval_raw_bert first"):
        comparable_results(profile, EVAL_SET, needed=("neg10", "raw"))


@pytest.fixture
def series(models):
    """All results on an evaluation set on disk."""
    profile = models()
    eval_set = save_eval_set(EVALUATION, PAIRS, profile)
    for name in NAMES:
        save(name, profile, eval_set)
    return models


def shown(profile, capsys):
    """Return the names in the results table, which are those of both reports, and what is said of the others."""
    capsys.readouterr()
    names = list(comparable_results(profile, load_eval_set(profile.data_dir)))
    said = capsys.readouterr().out
    assert [line.split()[0] for line in tables.report(profile).splitlines()[3:]] == names
    assert capsys.readouterr().out == said
    article = tables.report(profile, article=True).splitlines()
    assert list(dict.fromkeys(line.split("\t")[0] for line in article)) == names
    assert capsys.readouterr().out == said
    return names, said.splitlines()


def less(*left_out):
    return [name for name in NAMES if name not in left_out]


def test_models_may_differ_from_each_other(series, capsys):
    assert shown(series(), capsys) == (NAMES, [])
    results = comparable_results(series(), load_eval_set(series().data_dir))
    fed = {name: results[name]["made_from"].get("instruction") for name in NAMES}
    assert fed == {"bm25": None, "raw": series().instruction, "reference": ""} | dict.fromkeys(NAMES[2:5], "ask: ")
    assert len({results[name]["made_from"].get("pooling") for name in NAMES}) == 3


@pytest.mark.parametrize(
    ("changed", "part", "left_out"),
    [
        ({"INDEX": "HNSW32"}, "INDEX", NAMES[1:]),
        ({"VECTORS": "float16"}, "VECTORS", NAMES[1:]),
        ({"PRECISION": "bf16"}, "PRECISION", NAMES[1:]),
        ({"POOLING": "mean"}, "pooling", ["raw"]),  # the others say themselves how they want their texts
        ({"INSTRUCTION": "find: "}, "instruction", ["raw"]),
        ({"QUERY_MAX_LEN": 9}, "query_max_len", ["raw"]),
        ({"PASSAGE_MAX_LEN": 9}, "passage_max_len", ["raw"]),
        ({"EPOCHS": 9, "BATCH_SIZE": 9, "ENCODE_TOKENS": 99, "EVAL_SHARE": 0.1, "TEMPERATURE": 9}, "nothing", []),
    ],
)
def test_what_its_notebook_would_make_otherwise_now_is_left_out(series, capsys, changed, part, left_out):
    lines = [f"Left out: {n}: it was made with other {part}; run {notebook_of(n)} again." for n in left_out]
    assert shown(series(**changed), capsys) == (less(*left_out), lines)
    assert shown(series(), capsys) == (NAMES, [])


def test_a_result_is_of_the_weights_that_it_was_measured_with(models, capsys):
    """A notebook that is open while its model is trained anew."""
    profile = models()
    settings = embedder_settings(profile, "neg10")
    assert settings.weights
    weights = settings.folder / "model.safetensors"
    save_file({key: 2 * tensor for key, tensor in load_file(weights).items()}, weights, {"format": "pt"})
    save_result("neg10", profile, settings, EVAL_SET, RUN, {})
    assert comparable_results(profile, EVAL_SET) == {}
    said = "Left out: neg10: it was made with other weights; run 04_eval_neg10 again.\n"
    assert capsys.readouterr().out == said


def test_a_model_that_was_trained_on_other_rows_is_left_out(models, capsys):
    profile = models()
    path = write_jsonl(profile.training_file("neg10"), make_rows(20, 10))
    folder = profile.tuned_model("neg10")
    made_from = {"training set": file_fingerprint(path), "base model": model_fingerprint(base_model(profile))}
    write_json(folder / MANIFEST, {"made_from": made_from | {"--seed": "1"}})
    save("neg10", profile)
    assert list(comparable_results(profile, EVAL_SET)) == ["neg10"]
    assert capsys.readouterr().out == ""
    write_jsonl(path, make_rows(21, 10))
    assert comparable_results(profile, EVAL_SET) == {}
    how = "than there is now; with FORCE=1 run bash finetune_neg10.sh, then notebook 04.\n"
    assert capsys.readouterr().out == f"Left out: neg10: {folder} was made from other training set {how}"
    path.unlink()  # nothing to compare with
    assert list(comparable_results(profile, EVAL_SET)) == ["neg10"]
    config = Path(profile.base_model) / "config.json"
    config.write_text(config.read_text() + " ")
    assert comparable_results(profile, EVAL_SET) == {}
    assert capsys.readouterr().out == f"Left out: neg10: {folder} was made from other base model {how}"


def test_all_parts_that_are_others_are_named(series, capsys):
    _, said = shown(series(INDEX="HNSW32", POOLING="mean"), capsys)
    assert said[0] == "Left out: raw: it was made with other pooling, INDEX; run 03_eval_raw_bert again."
    assert said[1] == "Left out: neg10: it was made with other INDEX; run 04_eval_neg10 again."


@pytest.mark.parametrize(
    ("evaluation", "pairs"),
    [
        ([EVALUATION[0] | {"query": "another"}, EVALUATION[1]], PAIRS),
        (EVALUATION[:1], PAIRS),
        (EVALUATION, [*PAIRS, {"id": "q4", "query": "four", "positive": ["epsilon"]}]),
        (EVALUATION, PAIRS[::-1]),
        ([EVALUATION[0] | {"positive": ["gamma"]}, EVALUATION[1]], PAIRS),
    ],
    ids=["a query", "fewer queries", "a passage", "their order", "a judgement"],
)
def test_nothing_stays_of_another_evaluation_set(series, capsys, evaluation, pairs):
    profile = series()
    again = save_eval_set(evaluation, pairs, profile)
    save("bm25", profile, again)
    names, said = shown(profile, capsys)
    assert names == ["bm25"]
    part = "evaluation set"
    assert said == [f"Left out: {n}: it was made with other {part}; run {notebook_of(n)} again." for n in NAMES[1:]]
    save_eval_set(EVALUATION, PAIRS, profile)
    assert shown(profile, capsys)[0] == NAMES[1:]


@pytest.mark.parametrize("name", ["raw", "neg10", "neg100", "reference"])
def test_results_of_a_model_with_other_weights_are_left_out(series, capsys, name):
    weights = embedder_settings(series(), name).folder / "model.safetensors"
    before = weights.read_bytes()
    save_file({key: 2 * tensor for key, tensor in load_file(weights).items()}, weights, {"format": "pt"})
    said = [f"Left out: {name}: it was made with other weights; run {notebook_of(name)} again."]
    assert shown(series(), capsys) == (less(name), said)
    save(name, series(), load_eval_set(series().data_dir))
    assert shown(series(), capsys) == (NAMES, [])
    weights.write_bytes(before)
    assert shown(series(), capsys) == (less(name), said)


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({"pooling": "cls"}, "pooling"),
        ({"instruction": "find: "}, "instruction"),
        ({"passage_instruction": "passage: "}, "passage_instruction"),
        ({"query_max_len": 9}, "query_max_len"),
        ({"passage_max_len": 9}, "passage_max_len"),
    ],
)
def test_results_of_a_model_that_wants_its_texts_otherwise_are_left_out(series, capsys, changed, part):
    settings = embedder_settings(series(), "neg50")
    write_embedder(Path(series().base_model), settings.folder, replace(settings, **changed))
    names, [said] = shown(series(), capsys)
    assert names == less("neg50")
    assert re.fullmatch(f"Left out: neg50: it was made with other {part}(, weights)?; run 05_eval_neg50 again.", said)


def test_bm25_with_other_parameters_is_left_out(series, capsys, monkeypatch):
    monkeypatch.setattr("helpers.evaluation.results.Bm25Settings", partial(Bm25Settings, k1=2))
    said = "Left out: bm25: it was made with other k1; run 07_compare_models again."
    assert shown(series(), capsys) == (less("bm25"), [said])


@pytest.mark.parametrize("name", ["bm25", "neg10"])
@pytest.mark.parametrize("how", ["cut short", "replaced", "empty", "gone"])
@pytest.mark.parametrize("kind", ["runs", "results"])
def test_what_is_not_whole_is_left_out(series, capsys, kind, how, name):
    path, other = (next((series().output_dir / kind).glob(f"{stem}.*")) for stem in (name, "reference"))
    text = path.read_text()
    changed = {"cut short": text[:-20], "empty": "", "gone": ""}
    changed["replaced"] = text.replace(" 0.5 ", " 0.4 ") if kind == "runs" else other.read_text()
    assert changed[how] != text
    path.unlink() if how == "gone" else path.write_text(changed[how])
    said = [f"Left out: {name}: it or its run is not whole; run {notebook_of(name)} again."]
    assert shown(series(), capsys) == (less(name), [] if (kind, how) == ("results", "gone") else said)


def test_results_of_a_model_that_is_not_there_are_left_out(series, capsys):
    profile = series()
    (profile.tuned_model("neg100") / "modules.json").unlink()  # it is being trained
    names, [said] = shown(profile, capsys)
    assert names == less("neg100")
    assert said.startswith(f"Left out: neg100: There is no finished model in {profile.tuned_model('neg100')}; copy ")
    other = series(BASE_MODEL=profile.reference_model)
    names, said = shown(other, capsys)
    assert names == ["bm25", "reference"]
    assert said[0] == "Left out: raw: it was made with other weights; run 03_eval_raw_bert again."
    assert [line.split(":")[1] for line in said[1:]] == [" neg10", " neg50", " neg100"]


def test_a_file_that_is_no_result_is_left_out(series, capsys):
    results = series().output_dir / "results"
    for stray in ("neg10-old", "mine"):
        shutil.copy(results / "neg10.json", results / f"{stray}.json")
    names, said = shown(series(), capsys)
    assert names == NAMES
    assert sorted(line.split(":")[1] for line in said) == [" mine", " neg10-old"]


def test_all_saved_runs_as_the_article_scores_them(models, monkeypatch):
    profile = models()
    monkeypatch.setattr(tables, "load_eval_set", lambda folder: EVAL_SET)
    for article in (False, True):
        with pytest.raises(UserError, match="There are no results in .*; run notebooks 03 to 06 first"):
            tables.report(profile, article)
    for name in ("raw", "neg10"):
        save(name, profile)
    means = article_metrics(EVAL_SET.qrels, RUN)
    lines = [f"{name}\t{measure}\t{value:.4f}" for name in ("raw", "neg10") for measure, value in means.items()]
    assert tables.report(profile, article=True).splitlines() == lines


def saved_bm25(query, passage, profile):
    pairs = [{"id": "q1", "query": query, "positive": [passage]}]
    eval_set = save_eval_set(pairs, pairs, profile)
    settings = bm25_settings(eval_set)
    save_result("bm25", profile, settings, eval_set, bm25_run(eval_set, settings), {})
    return eval_set


def test_a_retriever_that_finds_nothing_is_a_row_of_zeros(models):
    """From the corpus through the files to all that reads them."""
    profile = models()
    eval_set = saved_bm25("?", "...", profile)
    results = comparable_results(profile, eval_set)
    assert load_runs(profile, results) == {"bm25": {}}
    assert set(tables.report(profile).splitlines()[-1].split()) == {"bm25", "BM25", "0.0000"}
    assert {line.split("\t")[2] for line in tables.report(profile, article=True).splitlines()} == {"0.0000"}


def test_the_words_of_bm25_are_told_with_the_result(models):
    profile = models()
    saved_bm25("退货", "退货要几天", profile)
    assert "BM25 (character bigrams)" in tables.report(profile)


def test_every_result_has_its_notebook():
    from helpers.evaluation.results import NOTEBOOKS
    from helpers.notebook import NOTEBOOKS as FOLDER

    assert all((FOLDER / f"{stem}.ipynb").exists() for stem in NOTEBOOKS.values())
    assert notebook_of("neg20") == "04_eval_neg10 with name = 'neg20'"


def test_ranks_of_positives():
    assert [tables.positive_rank(EVAL_SET, RUN, query_id) for query_id in RUN] == [1, 2, None]  # q2 by the tie rule


def test_passages_of_a_query():
    table = tables.top_passages(EVAL_SET, RUN, "q2")
    assert list(table.index) == [1, 2]
    assert list(table["gold"]) == ["", "★"]
    assert list(table["passage"].str.len()) == [EXCERPT, 5]


def test_failures_say_what_was_found_and_wanted():
    table = tables.failures(EVAL_SET, RUN)
    assert list(table["query"]) == ["two", "three"]
    assert list(table["wanted"]) == ["alpha", "gamma"]
    assert list(table["at rank"]) == [2, "> 2"]
    assert len(tables.failures(EVAL_SET, RUN, count=1)) == 1


def test_a_picture_has_a_bar_for_each_value(models):
    profile = models()
    for name in ("raw", "neg10"):
        save(name, profile)
    axes = pictures.plot_results(comparable_results(profile, EVAL_SET))
    assert [len(bars) for bars in axes.containers] == [len(tables.COLUMNS)] * 2
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["raw", "neg10"]


def test_excerpt():
    assert excerpt("short") == "short"
    assert excerpt("a longer text", 9) == "a longer…"
