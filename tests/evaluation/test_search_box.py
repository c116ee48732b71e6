"""The search box with real vectors, and what a front end without widgets shows."""

import numpy as np
import pytest
from conftest import make_pairs

from helpers.encoding.encoder import Embedder
from helpers.encoding.settings import EmbedderSettings
from helpers.evaluation.search_box import Corpora, Page, search_box
from helpers.recall.index import build_index
from helpers.sampling.eval_set import EvalSet


@pytest.fixture
def corpora(tiny_bert, make_profile):
    texts = [pair["positive"][0] for pair in make_pairs(30)]
    eval_set = EvalSet({"q1": texts[3]}, {f"d{i}": text for i, text in enumerate(texts)}, {"q1": {"d3": 1}})
    profile = make_profile()
    models = {}
    for pooling in ("cls", "mean"):
        embedder = Embedder(EmbedderSettings("tiny", tiny_bert, pooling, "", "", 24, 24), profile)
        models[pooling] = embedder, build_index(embedder.encode_corpus(eval_set.corpus.values()))
    return Corpora(eval_set, models)


def test_the_best_five_of_each_model_with_gold_marked(corpora):
    question = corpora.eval_set.queries["q1"]
    table = corpora.ask(f"  {question.upper()} ".replace("  ", " "))
    assert list(table.columns) == ["cls", "mean"]
    assert list(table.index) == [1, 2, 3, 4, 5]
    for name, (embedder, _) in corpora.models.items():
        texts = corpora.eval_set.corpus
        cosines = embedder.encode_corpus(texts.values()) @ embedder.encode_question(question)[0]
        best = [list(texts)[i] for i in np.argsort(-cosines)[:5]]
        for cell, docid in zip(table[name], best, strict=True):
            assert cell.removeprefix("★ ").startswith(texts[docid][:60])
            assert cell.startswith("★") == (docid == "d3")
    assert all(table.loc[1].str.startswith("★"))
    assert not corpora.ask("banel derak").map(lambda cell: cell.startswith("★")).any(axis=None)


def test_typing_a_question_changes_the_answer(corpora, monkeypatch):
    import IPython.display

    shown = []
    monkeypatch.setattr(IPython.display, "display", shown.append)
    search_box(corpora, "banel derak")
    [page] = shown
    box, button, answer = page.widget.children
    first = answer.value
    assert "<table" in first
    box.value = "tinel serak"
    assert answer.value == corpora.ask("tinel serak").to_html() != first
    box.value = " "
    assert answer.value == ""
    box.value = "banel derak"
    answer.value = ""
    button.click()
    assert answer.value == first


def test_a_front_end_without_widgets_shows_the_table(corpora):
    import ipywidgets

    table = corpora.ask("banel derak")
    bundle = Page(ipywidgets.Text("x"), table)._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert bundle["text/html"] == table.to_html()
    assert bundle["text/plain"] == str(table)
