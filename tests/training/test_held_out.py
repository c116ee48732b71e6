import pytest
from conftest import make_rows, write_jsonl

from helpers.sampling.texts import text_id
from helpers.sampling.training_set import TrainingSet
from helpers.training.held_out import CORPUS, build_held_out, split_held_out


@pytest.fixture
def split(tmp_path):
    """Return a function that splits rows, written to a file, and returns the rows that train and those held out."""

    def split_rows(rows, seed):
        path = write_jsonl(tmp_path / "training.json", [{"id": "1", "prompt": "ask: "} | row for row in rows])
        return split_held_out(TrainingSet(path, "ask: "), seed)

    return split_rows


def test_the_slice_is_a_tenth_and_repeats(split):
    rows = make_rows(200, 2)
    train, held = split(rows, 1)
    assert (len(train), len(held)) == (180, 20)
    assert {row["id"] for row in (*train, *held)} == {row["id"] for row in rows}
    again = split(rows, 1)
    assert [list(part) for part in (train, held)] == [list(part) for part in again]
    assert list(held) != list(split(rows, 2)[1])
    assert len(split(make_rows(1500, 1), 1)[1]) == 128
    train, held = split(rows[:9], 1)
    assert (list(train), list(held)) == (rows[:9], [])


def test_rows_that_share_a_passage_stay_together(split):
    rows = [{"query": f"q{n}", "pos": [f"Passage {n // 3}", f"own {n}"], "neg": []} for n in range(30)]
    train, held = split(rows, 1)
    assert len(held) == 3
    assert len({row["pos"][0] for row in held}) == 1
    one = [row | {"pos": ["the same"]} for row in rows]  # all or nothing
    train, held = split(one, 1)
    assert ([row["query"] for row in train], list(held)) == ([row["query"] for row in rows], [])


def test_rows_that_ask_the_same_stay_together(split):
    rows = [{"query": "Asked " * (1 + n // 3) + " " * (n % 3), "pos": [f"own {n}"], "neg": []} for n in range(30)]
    _, held = split(rows, 1)
    assert len(held) == 3
    assert len({row["query"].strip() for row in held}) == 1


def test_another_passage_is_drawn_for_one_that_is_held_out(split):
    """As many as before, no two alike, none the query's own or held out; other rows stay as they are."""
    rows = make_rows(60, 12)
    for i, row in enumerate(rows):
        row["pos"] = [*rows[i - i % 2]["pos"], f"own {i}"][: 1 + i % 3]
        row["neg"] = [text for text in row["neg"] if text not in row["pos"]]
        row["neg"][3] = row["neg"][3].upper()
    train, held = split(rows, 1)
    before = {row["id"]: row for row in rows}
    aside = {text_id(text) for row in held for text in row["pos"]}
    known = {text_id(text) for row in train for text in row["pos"]}
    assert (len(held), len(train)) == (6, 54)
    assert known.isdisjoint(aside)
    touched = 0
    for row in train:
        old, new = before[row["id"]]["neg"], row["neg"]
        left = [text for text in old if text_id(text) not in aside]
        assert row == before[row["id"]] | {"neg": new}
        assert (len(new), new[: len(left)]) == (len(old), left)
        assert len({text_id(text) for text in (*row["pos"], *new)}) == len(row["pos"]) + len(new)
        assert {text_id(text) for text in new[len(left) :]} <= known
        touched += len(left) < len(old)
    assert 20 < touched == len(train.replaced)
    assert list(held) == [before[row["id"]] for row in held]
    again, _ = split(rows, 1)
    assert list(again) == list(train)


def test_the_task_does_not_depend_on_the_negatives(split):
    few, many = ([row | {"neg": neg} for row in make_rows(40, 1)] for neg in ([], ["x", "y"]))
    task = build_held_out(*split(few, 1), "ask: ")
    assert task == build_held_out(*split(many, 1), "ask: ")
    assert len(task.queries) == 4
    assert len(task.corpus) == 40
    positives = {"ask: " + row["query"]: row["pos"] for row in few}
    for query_id, docids in task.qrels.items():
        assert [task.corpus[docid] for docid in docids] == positives[task.queries[query_id]]


def test_the_corpus_is_bounded_and_shared_passages_stand_once():
    rows = [{"query": f"q{n}", "pos": [f"Passage {n // 2}"], "neg": []} for n in range(3 * CORPUS)]
    task = build_held_out(rows[3:], rows[:3], "")
    fed = build_held_out(rows[3:], rows[:3], "ask: ", "read: ")
    assert fed.corpus == {docid: f"read: {text}" for docid, text in task.corpus.items()}
    assert fed.queries == {query_id: f"ask: {text}" for query_id, text in task.queries.items()}
    assert len(task.corpus) == CORPUS
    assert task.qrels["q0"] == task.qrels["q1"] != task.qrels["q2"]


def test_all_positives_of_the_held_out_queries_are_in_the_corpus():
    rows = [{"query": f"q{n}", "pos": [f"Passage {n} {i}" for i in range(3)], "neg": []} for n in range(CORPUS)]
    task = build_held_out(rows[CORPUS // 2 :], rows[: CORPUS // 2], "")
    assert len(task.corpus) == 3 * CORPUS // 2
    assert all(len(docids) == 3 for docids in task.qrels.values())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_score_is_that_of_evaluation(tiny_bert, make_profile, split, precision):
    """The same number as by the way of the notebooks: FlagEmbedding's inference, FAISS, trec_eval."""
    import torch
    from FlagEmbedding.finetune.embedder.encoder_only.base import BiEncoderOnlyEmbedderModel
    from transformers import AutoModel, AutoTokenizer

    from helpers.encoding.encoder import Embedder
    from helpers.encoding.settings import embedder_settings
    from helpers.evaluation.metrics import average, score_queries
    from helpers.recall.index import build_index, search
    from helpers.training.trainer import Collator, held_out_ndcg

    rows = [row | {"query": row["pos"][0][:30]} for row in make_rows(200, 2)]  # so that something is found
    task = build_held_out(*split(rows, 1), "ask: ")
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


def test_what_a_teacher_has_scored_is_taken_out_with_its_score(tmp_path):
    rows = [row | {"pos_scores": [9.0]} for row in make_rows(60, 12)]
    rows = [row | {"neg_scores": [float(text.split()[-1]) for text in row["neg"]]} for row in rows]
    train, held = split_held_out(TrainingSet(write_jsonl(tmp_path / "training_taught.json", rows), "ask: "), 1)
    aside = {text_id(text) for row in held for text in row["pos"]}
    assert len(held) == 6
    before = {row["id"]: row for row in rows}
    for row in train:
        left = [text for text in before[row["id"]]["neg"] if text_id(text) not in aside]
        scores = [float(text.split()[-1]) for text in left]
        assert row == before[row["id"]] | {"neg": left, "neg_scores": scores}
    assert {len(row["neg"]) for row in train} > {12}
