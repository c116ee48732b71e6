"""The search box with real vectors, and what a front end without widgets shows."""

import numpy as np
import pytest
from conftest import make_pairs

from helpers.encoding.encoder import Embedder
from helpers.encoding.settings import EmbedderSettings
from helpers.evaluation.search_box import ask, search_box
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
    return eval_set, models


def test_the_best_five_of_each_model_with_gold_marked(corpora):
    eval_set, models = corpora
    question = eval_set.queries["q1"]
    table = ask(f"  {question.upper()} ".replace("  ", " "), *corpora)
    assert list(table.columns) == ["cls", "mean"]
    assert list(table.index) == [1, 2, 3, 4, 5]
    for name, (embedder, _) in models.items():
        texts = eval_set.corpus
        cosines = embedder.encode_corpus(texts.values()) @ embedder.encode_question(question)[0]
        best = [list(texts)[i] for i in np.argsort(-cosines)[:5]]
        for cell, docid in zip(table[name], best, strict=True):
            assert cell.removeprefix("★ ").startswith(texts[docid][:60])
            assert cell.startswith("★") == (docid == "d3")
    assert all(table.loc[1].str.startswith("★"))
    assert not ask("banel derak", *corpora).map(lambda cell: cell.startswith("★")).any(axis=None)


def test_typing_a_question_changes_the_answer(corpora, monkeypatch):
    shown = []
    monkeypatch.setattr("helpers.evaluation.search_box.display", shown.append)
    search_box("banel derak", *corpora)
    [widget] = shown
    box, answer = widget.children
    first = answer.value
    assert ask("banel derak", *corpora).to_html() in first
    box.value = "tinel serak"
    assert ask("tinel serak", *corpora).to_html() in answer.value
    assert answer.value != first


def test_no_output_widget_is_made(corpora, monkeypatch):
    """Its mimic in nbclient sends on the channel on which nbclient waits, and both may wait for ever."""
    import ipywidgets

    monkeypatch.setattr(ipywidgets.Output, "__init__", lambda *args, **more: pytest.fail("an Output was made"))
    search_box("banel derak", *corpora)
