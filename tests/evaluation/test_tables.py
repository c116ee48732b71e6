from pathlib import Path

import pytest

from helpers.base.errors import UserError
from helpers.encoding.settings import EmbedderSettings
from helpers.evaluation import pictures, tables
from helpers.evaluation.metrics import score_queries
from helpers.evaluation.results import comparable_results, save_result
from helpers.sampling.eval_set import EvalSet
from helpers.sampling.texts import EXCERPT, excerpt

EVAL_SET = EvalSet(
    queries={"q1": "one", "q2": "two", "q3": "three"},
    corpus={"d1": "alpha", "d2": "beta " * 100, "d3": "gamma"},
    qrels={"q1": {"d1": 1}, "q2": {"d1": 1}, "q3": {"d3": 1}},
)
RUN = {"q1": {"d1": 0.9, "d2": 0.5}, "q2": {"d2": 0.9, "d1": 0.9}, "q3": {"d2": 0.9, "d1": 0.1}}
SETTINGS = EmbedderSettings("owner/model", Path("/elsewhere"), "cls", "ask: ", "", 24, 48)


def save(name, profile, eval_set=EVAL_SET):
    per_query = score_queries(eval_set.qrels, RUN)
    return save_result(name, profile, SETTINGS, eval_set, RUN, per_query, {"search": 0.12345})


def test_results_come_in_the_order_of_the_series(make_profile):
    profile = make_profile()
    for name in ("reference", "neg50", "raw", "neg10", "bm25", "neg100"):
        path = save(name, profile)
    assert "/elsewhere" not in path.read_text()
    results = comparable_results(profile, EVAL_SET)
    assert list(results) == ["bm25", "raw", "neg10", "neg50", "neg100", "reference"]
    assert results["raw"]["seconds"] == {"search": 0.123}
    assert results["raw"]["model"] == "owner/model"
    assert list(tables.results_table(results)["hit@1"]) == pytest.approx([1 / 3] * 6)


def test_results_of_another_evaluation_set_are_left_out(make_profile, capsys):
    profile = make_profile()
    other = EvalSet(EVAL_SET.queries, EVAL_SET.corpus | {"d4": "delta"}, EVAL_SET.qrels)
    save("raw", profile, other)
    save("neg10", profile)
    assert list(comparable_results(profile, EVAL_SET)) == ["neg10"]
    said = "Left out, measured on another evaluation set or with another INDEX: raw (03_eval_raw_bert); run these "
    assert capsys.readouterr().out == said + "notebooks again.\n"
    with pytest.raises(UserError, match="no result of raw on this evaluation set; run 03_eval_raw_bert first"):
        comparable_results(profile, EVAL_SET, needed=("neg10", "raw"))


def test_results_of_another_index_are_left_out(make_profile, capsys):
    save("neg10", make_profile(INDEX="HNSW32"))
    save("neg50", make_profile())
    assert list(comparable_results(make_profile(), EVAL_SET)) == ["neg50"]
    assert "neg10 (04_eval_neg10); run these" in capsys.readouterr().out


def test_every_result_has_its_notebook():
    from helpers.evaluation.results import NOTEBOOKS, notebook_of
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


def test_a_picture_has_a_bar_for_each_value(make_profile):
    profile = make_profile()
    for name in ("raw", "neg10"):
        save(name, profile)
    axes = pictures.plot_results(comparable_results(profile, EVAL_SET))
    assert [len(bars) for bars in axes.containers] == [len(tables.COLUMNS)] * 2
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["raw", "neg10"]


def test_no_results_is_one_sentence(make_profile, monkeypatch):
    profile = make_profile()
    monkeypatch.setattr(tables, "load_eval_set", lambda profile: EVAL_SET)
    with pytest.raises(UserError, match="There are no results in .*; run notebooks 03 to 06 first"):
        tables.report(profile)


def test_excerpt():
    assert excerpt("short") == "short"
    assert excerpt("a longer text", 9) == "a longer…"
