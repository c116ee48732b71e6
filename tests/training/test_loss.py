"""What competes for a query, counted by hand, and what the loss then is; FlagEmbedding's own is the measure."""

import random

import pytest
import torch
import torch.nn.functional as F
from conftest import write_jsonl
from FlagEmbedding.finetune.embedder.encoder_only.base import BiEncoderOnlyEmbedderModel
from FlagEmbedding.finetune.embedder.encoder_only.base import EncoderOnlyEmbedderDataArguments as DataArguments

from helpers.sampling.texts import text_id
from helpers.sampling.training_set import TrainingSet
from helpers.training.loss import MaskedLoss, cache_gradients
from helpers.training.trainer import Collator, TrainDataset

SCORES = torch.tensor([[2.0, 1.0, 3.0, 0.5], [0.0, 1.5, 2.5, 4.0]])  # (queries, passages), two passages a query
TARGET = torch.tensor([0, 2])


def seen(passages, positives, **settings):
    loss = MaskedLoss(**settings)
    widest = max(map(len, positives))
    rows = [[text_id(text) for text in texts] + [-1] * (widest - len(texts)) for texts in positives]
    loss.see(torch.tensor([text_id(text) for text in passages]), torch.tensor(rows))
    return loss


def test_texts_that_count_as_one_have_one_id():
    assert text_id("A  passage\n") == text_id("a passage") != text_id("a passage.")
    assert 0 <= text_id("a passage") < 2**63


def test_without_a_false_negative_the_loss_is_the_plain_one():
    loss = seen(["a", "b", "c", "d"], [["a", "x"], ["c"]])
    assert torch.equal(loss(SCORES, TARGET), F.cross_entropy(SCORES, TARGET))


@pytest.mark.parametrize(
    ("passages", "positives", "competing"),
    [
        (["a", "b", "c", "d"], [["a", "c"], ["c"]], [[0, 1, 3], [0, 1, 2, 3]]),  # another positive, drawn by the other
        (["a", "b", "c", "A "], [["a"], ["c"]], [[0, 1, 2], [0, 1, 2, 3]]),  # a copy of its gold passage
        (["a", "b", "a", "d"], [["a"], ["a", "b"]], [[0, 1, 3], [2, 3]]),  # both ask for one passage
    ],
)
def test_what_answers_a_query_does_not_compete(passages, positives, competing):
    loss = seen(passages, positives)(SCORES, TARGET)
    rows = [
        F.cross_entropy(SCORES[i, columns], torch.tensor(columns.index(int(TARGET[i]))))
        for i, columns in enumerate(competing)
    ]
    assert torch.isclose(loss, torch.stack(rows).mean(), atol=1e-6)
    assert torch.isclose(seen(passages, positives)(SCORES.half(), TARGET).float(), loss, atol=1e-2)


def test_the_score_of_one_group_alone_is_left_as_it_is():
    local = SCORES[:, :2]
    assert torch.equal(
        seen(["a", "a", "a", "a"], [["a"], ["a"]])(local, TARGET * 0), F.cross_entropy(local, TARGET * 0)
    )


def test_several_processes_together_have_the_whole_gradient():
    gradients = []
    for world_size in (1, 3):
        leaf = SCORES.clone().requires_grad_()
        loss = MaskedLoss(world_size)(leaf, TARGET)
        loss.backward()
        gradients.append(leaf.grad)
        assert loss.item() == F.cross_entropy(SCORES, TARGET).item()
    assert torch.allclose(3 * gradients[0], gradients[1])


@pytest.fixture
def dataset(tmp_path):
    """Return a function that makes the trainer's data set of rows, each with one of its negatives."""

    def make(rows, **settings):
        path = write_jsonl(tmp_path / "rows.json", [{"prompt": ""} | row for row in rows])
        args = DataArguments(train_data=[str(path)], train_group_size=2, **settings)
        return TrainDataset(TrainingSet(path, settings.get("query_instruction_for_retrieval", ""), 2), args, seed=1)

    return make


@pytest.fixture
def batch(tiny_bert, dataset):
    """Return a function that collates rows as the trainer does."""
    from transformers import AutoTokenizer

    def collate(rows, chunk=0, **settings):
        tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
        collator = Collator(tokenizer, query_max_len=24, passage_max_len=24, sub_batch_size=chunk, return_tensors="pt")
        examples = dataset(rows, **settings)
        return collator([examples[i] for i in range(len(examples))])

    return collate


SHARED = [
    {"query": "Banel derak", "pos": ["one", "two"], "neg": ["n"]},
    {"query": "banel  derak", "pos": ["three"], "neg": ["n"]},  # the same query in another row
    {"query": "kisot", "pos": ["four"], "neg": ["ONE"]},
]


@pytest.mark.parametrize(("chunk", "instruction"), [(0, None), (2, "read: ")])
def test_the_batch_knows_every_positive_drawn_or_not(batch, chunk, instruction):
    """By what the texts are without an instruction, which is put before all of them."""
    found = batch(SHARED, chunk, passage_instruction_for_retrieval=instruction)
    assert found["passage_ids"].shape == (6,)
    assert found["passage_ids"][0] in [text_id("one"), text_id("two")]
    assert found["passage_ids"][1:].tolist() == [text_id(text) for text in ("n", "three", "n", "four", "one")]
    assert [set(row.tolist()) - {-1} for row in found["positive_ids"]] == [
        {text_id(text) for text in texts}  # the query's own text may be another's passage
        for texts in (["banel derak", "one", "two", "three"],) * 2 + (["kisot", "four"],)
    ]
    assert isinstance(found["queries"], list) == bool(chunk)


def test_an_example_has_its_instructions(dataset):
    settings = {"query_instruction_format": "{}{}", "passage_instruction_format": "{}{}"}
    settings |= {"query_instruction_for_retrieval": "ask: ", "passage_instruction_for_retrieval": "read: "}
    rows = [row | {"prompt": "ask: "} for row in SHARED]
    *example, answers = dataset(rows, **settings)[2]
    assert example == ["ask: kisot", ["read: four", "read: ONE"], None, [text_id("four"), text_id("one")]]
    assert sorted(answers) == sorted([text_id("kisot"), text_id("four"), -1, -1])


LOOKALIKES = [
    ("2024-01-01", "2024-01-02", "2024-01-03"),
    ("2024-01-01T10:00:00", "2024-01-02 10:00:00", "2024-01-01T10:00:00Z"),
    ("12", "007", "1e3"),
    ("true", "null", "NaN"),
]


@pytest.mark.parametrize("texts", LOOKALIKES)
def test_texts_that_look_like_dates_or_numbers_reach_the_loss_as_they_are(dataset, batch, tiny_bert, texts):
    """All of a column, of which `datasets` would make another type."""
    from transformers import AutoTokenizer

    query, positive, negative = texts
    rows = [{"query": query, "pos": [positive], "neg": [negative], "id": "1"}] * 2
    assert dataset(rows)[1][:2] == (query, [positive, negative])
    found, tokenizer = batch(rows), AutoTokenizer.from_pretrained(tiny_bert)
    for name, expected in (("queries", [query] * 2), ("passages", [positive, negative] * 2)):
        assert found[name]["input_ids"].equal(tokenizer(expected, padding=True, return_tensors="pt")["input_ids"])
    assert found["passage_ids"].tolist() == [text_id(positive), text_id(negative)] * 2


def test_what_an_example_draws_hangs_on_seed_epoch_and_row_alone(dataset):
    """In whatever order, and after whatever else was drawn."""
    rows = [{"query": f"q{n}", "pos": ["a", "b"], "neg": [f"{n} {i}" for i in range(9)]} for n in range(30)]
    examples = dataset(rows)
    first = [examples[i] for i in range(30)]
    state = random.getstate()
    assert [examples[i] for i in reversed(range(30))] == first[::-1]
    assert random.getstate() == state
    examples.epoch = 1
    assert sum(examples[i][1] != first[i][1] for i in range(30)) > 15
    examples.epoch, examples.seed = 0, 2
    assert sum(examples[i][1] != first[i][1] for i in range(30)) > 15


def test_the_same_in_flagembeddings_model(tiny_bert):
    """Its forward pass and that of the cached gradients come to the loss without the false negative."""
    from transformers import AutoModel, AutoTokenizer

    encoder, tokenizer = AutoModel.from_pretrained(tiny_bert).eval(), AutoTokenizer.from_pretrained(tiny_bert)
    model = BiEncoderOnlyEmbedderModel(encoder, temperature=0.1, normalize_embeddings=True)
    model.training = True  # computes a loss, and drops nothing out

    def tokens(texts):
        return tokenizer(texts, padding="max_length", max_length=8, return_tensors="pt")

    queries, passages = ["banel", "derak"], ["kisot", "lovim", "muzup", "banel kisot"]
    answers = [["kisot", "muzup"], ["muzup"]]
    plain = model(tokens(queries), tokens(passages)).loss
    scores = model.compute_score(model.encode(tokens(queries)), model.encode(tokens(passages)))
    expected = (
        F.cross_entropy(scores[0, [0, 1, 3]], torch.tensor(0)) + F.cross_entropy(scores[1], torch.tensor(2))
    ) / 2
    model.cross_entropy = seen(passages, answers)
    assert torch.isclose(model(tokens(queries), tokens(passages)).loss, expected, atol=1e-5)
    assert not torch.isclose(plain, expected, atol=1e-3)
    model.cross_entropy = seen(passages, [["kisot"], ["muzup"]])
    assert torch.equal(model(tokens(queries), tokens(passages)).loss, plain)
    model.cross_entropy = seen(passages, answers)
    cache_gradients(model)
    assert torch.isclose(model([tokens(queries)], [tokens(passages)]).loss, expected, atol=1e-5)
