import pytest
from conftest import make_rows

from helpers.training.held_out import CORPUS, build_held_out, split_held_out


def test_the_slice_is_a_tenth_and_repeats():
    rows = make_rows(200, 2)
    train, held = split_held_out(rows, seed=1)
    assert (len(train), len(held)) == (180, 20)
    assert {row["id"] for row in train + held} == {row["id"] for row in rows}
    assert (train, held) == split_held_out(rows, seed=1)
    assert held != split_held_out(rows, seed=2)[1]
    assert len(split_held_out(make_rows(1500, 1), seed=1)[1]) == 128
    assert split_held_out(rows[:9], seed=1)[1] == []


def test_rows_that_share_a_passage_stay_together():
    rows = [{"query": f"q{n}", "pos": [f"Passage {n // 3}", f"own {n}"], "neg": []} for n in range(30)]
    train, held = split_held_out(rows, seed=1)
    assert len(held) == 3
    assert len({row["pos"][0] for row in held}) == 1
    one = [row | {"pos": ["the same"]} for row in rows]  # all or nothing
    assert split_held_out(one, seed=1) == (one, [])


def test_the_task_does_not_depend_on_the_negatives():
    few, many = ([row | {"neg": neg} for row in make_rows(40, 1)] for neg in ([], ["x", "y"]))
    task = build_held_out(*split_held_out(few, seed=1), "ask: ")
    assert task == build_held_out(*split_held_out(many, seed=1), "ask: ")
    assert len(task.queries) == 4
    assert len(task.corpus) == 40
    positives = {"ask: " + row["query"]: row["pos"] for row in few}
    for query_id, docids in task.qrels.items():
        assert [task.corpus[docid] for docid in docids] == positives[task.queries[query_id]]


def test_the_corpus_is_bounded_and_shared_passages_stand_once():
    rows = [{"query": f"q{n}", "pos": [f"Passage {n // 2}"], "neg": []} for n in range(3 * CORPUS)]
    task = build_held_out(rows[3:], rows[:3], "")
    assert len(task.corpus) == CORPUS
    assert task.qrels["q0"] == task.qrels["q1"] != task.qrels["q2"]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_score_is_that_of_evaluation(tiny_bert, make_profile, precision):
    """The same number as by the way of the notebooks: FlagEmbedding's inference, FAISS, trec_eval."""
    import torch
    from FlagEmbedding.finetune.embedder.encoder_only.base import BiEncoderOnlyEmbedderModel
    from transformers import AutoModel, AutoTokenizer

    from helpers.encoding.encoder import Embedder, embedder_settings
    from helpers.evaluation.metrics import average, score_queries
    from helpers.recall.index import build_index, search
    from helpers.training.dataset import Collator
    from helpers.training.trainer import held_out_ndcg

    rows = [row | {"query": row["pos"][0][:30]} for row in make_rows(200, 2)]  # so that something is found
    task = build_held_out(*split_held_out(rows, 1), "ask: ")
    settings = {"BASE_MODEL": tiny_bert, "BASE_LAYERS": 0, "POOLING": "mean", "INSTRUCTION": "ask: "}
    profile = make_profile(**settings, PRECISION=precision)
    embedder = Embedder(embedder_settings(profile, "raw"), profile)
    queries = [text.removeprefix("ask: ") for text in task.queries.values()]
    index = build_index(embedder.encode_corpus(list(task.corpus.values())))
    run = search(index, embedder.encode_queries(queries), list(task.queries), list(task.corpus))
    expected = average(score_queries(task.qrels, run))["ndcg@10"]

    model = BiEncoderOnlyEmbedderModel(
        AutoModel.from_pretrained(tiny_bert), sentence_pooling_method="mean", normalize_embeddings=True
    ).train()
    collator = Collator(AutoTokenizer.from_pretrained(tiny_bert), query_max_len=24, passage_max_len=24)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        value = held_out_ndcg(model, collator, task)
    assert value == pytest.approx(expected, abs=1e-6 if precision == "fp32" else 0.02)
    assert 0 < value < 1
    assert model.training
    assert model.model.training
