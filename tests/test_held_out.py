import pytest
from conftest import make_rows

from helpers.training.held_out import CORPUS, build_held_out, held_out_count, held_out_ndcg, split_held_out


def test_the_slice_is_a_tenth_and_repeats():
    rows = make_rows(200, 2)
    kept, held = split_held_out(rows, seed=1)
    assert len(held) == 20
    assert sorted(kept + held) == list(range(200))
    assert (kept, held) == split_held_out(rows, seed=1)
    assert held != split_held_out(rows, seed=2)[1]
    assert held_out_count(100_000) == 128


def test_the_task_does_not_depend_on_the_negatives():
    few, many = make_rows(40, 2), make_rows(40, 20)
    kept, held = split_held_out(few, seed=1)
    task = build_held_out(few, held, "ask: ")
    assert task == build_held_out(many, held, "ask: ")
    assert len(task.queries) == 4
    assert len(task.corpus) == 40
    for query_id, docids in task.qrels.items():
        row = few[int(query_id[1:])]
        assert task.queries[query_id] == "ask: " + row["query"]
        assert [task.corpus[docid] for docid in docids] == row["pos"]


def test_the_corpus_is_bounded_and_shared_passages_stand_once():
    rows = [{"query": f"q{n}", "pos": [f"Passage {n // 2}"], "neg": []} for n in range(3 * CORPUS)]
    task = build_held_out(rows, [0, 1, 2], "")
    assert len(task.corpus) == CORPUS
    assert task.qrels["q0"] == task.qrels["q1"] != task.qrels["q2"]


def test_the_score_is_that_of_evaluation(tiny_bert, make_profile):
    """The same number as by the way of the notebooks: FlagEmbedding's inference, FAISS, trec_eval."""
    from FlagEmbedding.finetune.embedder.encoder_only.base import BiEncoderOnlyEmbedderModel
    from transformers import AutoModel, AutoTokenizer

    from helpers.encoding import Embedder, embedder_settings
    from helpers.metrics import average, score_queries
    from helpers.recall import build_index, search

    rows = [row | {"query": row["pos"][0][:30]} for row in make_rows(200, 2)]  # so that something is found
    task = build_held_out(rows, split_held_out(rows, 1)[1], "ask: ")
    profile = make_profile(BASE_MODEL=tiny_bert, BASE_LAYERS=0, POOLING="mean", INSTRUCTION="ask: ")
    embedder = Embedder(embedder_settings(profile, "raw"), profile)
    queries = [text.removeprefix("ask: ") for text in task.queries.values()]
    index = build_index(embedder.encode_corpus(list(task.corpus.values())))
    run = search(index, embedder.encode_queries(queries), list(task.queries), list(task.corpus))
    expected = average(score_queries(task.qrels, run))["ndcg@10"]

    model = BiEncoderOnlyEmbedderModel(
        AutoModel.from_pretrained(tiny_bert), sentence_pooling_method="mean", normalize_embeddings=True
    ).train()
    value = held_out_ndcg(model, AutoTokenizer.from_pretrained(tiny_bert), task, 24, 24)
    assert value == pytest.approx(expected, abs=1e-6)
    assert 0 < value < 1
    assert model.training
    assert model.model.training
