import json

import pytest
from conftest import make_pairs, make_rows, write_jsonl

from helpers.base.errors import UserError
from helpers.encoding import Embedder
from helpers.encoding.settings import read_embedder
from helpers.recall.scoring import at_temperature, cosines, cross_encoder, fuse, rerank, taught_pairs
from helpers.sampling import EvalSet, TrainingSet, save_training_set


@pytest.fixture(scope="module")
def tiny_reranker(tiny_bert):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, set_seed

    set_seed(3)
    folder = tiny_bert.parent / "tiny-reranker"
    AutoModelForSequenceClassification.from_pretrained(tiny_bert, num_labels=1).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(folder)
    return folder


def test_cosines_are_those_of_the_models_own_library(tiny_embedder, make_profile):
    from sentence_transformers import SentenceTransformer

    pairs = [(pair["query"], other["positive"][0]) for pair in make_pairs(4) for other in make_pairs(3)]
    found = cosines(Embedder(read_embedder("tiny", tiny_embedder), make_profile()))(pairs)
    model = SentenceTransformer(str(tiny_embedder), device="cpu")
    asked, shown = (model.encode(list(side)) for side in zip(*pairs, strict=True))
    assert found == pytest.approx((asked * shown).sum(axis=1).tolist(), abs=1e-5)
    assert len(set(found)) == 12


def test_a_cross_encoder_reads_both_texts(tiny_reranker, make_profile):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    pairs = [(pair["query"], pair["positive"][0]) for pair in make_pairs(3)] + [("banel " * 40, "derak " * 90)]
    found = cross_encoder(make_profile(RERANKER_MODEL=tiny_reranker))(pairs)
    model = AutoModelForSequenceClassification.from_pretrained(tiny_reranker).eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny_reranker)
    for pair, score in zip(pairs, found, strict=True):
        with torch.no_grad():
            logits = model(**tokenizer(*pair, truncation=True, max_length=64, return_tensors="pt")).logits
        assert score == pytest.approx(logits.item(), abs=1e-5)  # no sigmoid, which would bring high scores together
    half = cross_encoder(make_profile(RERANKER_MODEL=tiny_reranker, PRECISION="bf16"))(pairs)
    assert half != found and half == pytest.approx(found, abs=0.05)


def test_what_is_no_reranker(tiny_bert, tiny_reranker, make_profile, tmp_path):
    with pytest.raises(UserError, match="test has no RERANKER_MODEL; give a folder or, on the Hub"):
        cross_encoder(make_profile())
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    AutoModelForSequenceClassification.from_pretrained(tiny_bert, num_labels=3).save_pretrained(tmp_path / "three")
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(tmp_path / "three")
    with pytest.raises(UserError, match="three gives 3 numbers a pair; give a reranker"):
        cross_encoder(make_profile(RERANKER_MODEL=tmp_path / "three"))


def test_the_first_are_reranked_and_the_rest_stay_below():
    corpus = {"d1": "a", "d2": "bbb", "d3": "bb", "d4": "bbbbbb"}
    task = EvalSet({"q1": "b?", "q2": "c?"}, corpus, {"q1": {"d2": 1}, "q2": {"d1": 1}})
    run = {"q1": {"d1": 0.9, "d3": 0.8, "d2": 0.7, "d4": 0.6}, "q2": {}}
    asked = []

    def score(pairs):
        asked.extend(pairs)
        return [float(len(passage)) for _, passage in pairs]

    found = rerank(task, run, score, depth=3)
    assert asked == [("b?", "a"), ("b?", "bb"), ("b?", "bbb")]
    assert found == {"q1": {"d1": 1.0, "d3": 2.0, "d2": 3.0, "d4": 0.0}, "q2": {}}
    assert rerank(task, {"q2": {}}, score) == {"q2": {}}


def test_a_teachers_scores_are_written_beside_the_texts(make_profile):
    profile = make_profile(INSTRUCTION="ask: ")
    rows = [row | {"pos": [*row["pos"], f"another {row['id']}"]} for row in make_rows(12, 4)]
    path = write_jsonl(profile.training_file("hard"), rows)

    def score(pairs):
        return [len(query) + len(passage) / 1000 for query, passage in pairs]

    pairs = at_temperature(taught_pairs(TrainingSet(path, "ask: "), score), 0.5)
    save_training_set(pairs, [], 4, profile, name="taught", own=True)
    taught = [json.loads(line) for line in profile.training_file("taught").read_text().splitlines()]
    for row, before in zip(taught, rows, strict=True):
        scores = {f"{s}_scores": [2 * n for n in score([(row["query"], t) for t in row[s]])] for s in ("pos", "neg")}
        assert row == before | scores
    assert len(TrainingSet(profile.training_file("taught"), "ask: ", 5)) == 12


@pytest.mark.parametrize("scores", [None, [1.0, 2.0], [1.0, 2.0, True], [1.0, 2.0, "3"], [1.0, 2.0, float("nan")]])
def test_a_row_whose_scores_are_not_sound_is_named(make_profile, scores):
    good = make_rows(5, 3)[0] | {"pos_scores": [3.0], "neg_scores": [1.0, 2, 3.5]}
    path = write_jsonl(make_profile().training_file("taught"), [good, good | {"neg_scores": scores}])
    with pytest.raises(UserError, match="line 2: 'pos_scores' or 'neg_scores' is not a number for each text; run note"):
        TrainingSet(path)
    write_jsonl(path.with_name("training_neg_3.json"), [good | {"neg_scores": scores}])
    TrainingSet(path.with_name("training_neg_3.json"))  # of no concern there


def test_only_pairs_that_are_wholly_scored_teach():
    whole = {"query": "q", "positive": ["a"], "negative": ["b"], "scores": {"a": 1.0, "b": 0.5}}
    part, alone = whole | {"negative": ["b", "c"]}, whole | {"negative": []}
    found = at_temperature([part, whole, alone, {"query": "r", "positive": ["a"], "negative": ["b"]}], 0.25)
    assert found == [whole | {"scores": {"a": 4.0, "b": 2.0}}]
    assert whole["scores"] == {"a": 1.0, "b": 0.5}
    with pytest.raises(UserError, match="No pair has a score for each of its texts"):
        at_temperature([part], 1)
    for temperature in (0, -1, float("nan")):
        with pytest.raises(UserError, match="give a number above 0"):
            at_temperature([whole], temperature)


def test_ranks_count_and_scores_do_not():
    """Of the paper's formula by hand: 1 / (60 + rank), over the runs that have the passage."""
    words = {"q1": {"d1": 31.0, "d2": 30.0, "d3": 2.0}, "q2": {}}
    vectors = {"q1": {"d3": 0.9, "d2": 0.8}, "q3": {"d9": 0.1}}
    fused = fuse(words, vectors)
    assert list(fused["q1"]) == ["d3", "d2", "d1"]
    assert fused["q1"] == pytest.approx({"d2": 1 / 62 + 1 / 62, "d3": 1 / 63 + 1 / 61, "d1": 1 / 61})
    assert fused["q2"] == {} and fused["q3"] == {"d9": 1 / 61}
    assert list(fuse(words, vectors, depth=1)["q1"]) == ["d3"]
    assert fuse(words)["q1"].keys() == words["q1"].keys()
