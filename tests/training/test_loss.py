"""What competes for a query, counted by hand, and what the loss then is; FlagEmbedding's own is the measure."""

import pytest
import torch
import torch.nn.functional as F
from FlagEmbedding.finetune.embedder.encoder_only.base import BiEncoderOnlyEmbedderModel
from FlagEmbedding.finetune.embedder.encoder_only.base import EncoderOnlyEmbedderDataArguments as DataArguments

from helpers.training.dataset import Collator, TrainDataset
from helpers.training.loss import MaskedLoss, text_id

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
def batch(tiny_bert, tmp_path):
    """Return a function that collates rows as the trainer does."""
    from conftest import write_jsonl
    from transformers import AutoTokenizer

    def collate(rows, chunk=0, **settings):
        path = write_jsonl(tmp_path / "rows.json", rows)
        args = DataArguments(train_data=[str(path)], cache_path=str(tmp_path / "cache"), train_group_size=2, **settings)
        tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
        dataset = TrainDataset(args=args, tokenizer=tokenizer)
        dataset.note_positives()
        collator = Collator(tokenizer, query_max_len=24, passage_max_len=24, sub_batch_size=chunk, return_tensors="pt")
        return collator([dataset[i] for i in range(len(dataset))])

    return collate


def test_the_batch_knows_every_positive_drawn_or_not(batch):
    rows = [
        {"query": "Banel derak", "pos": ["one", "two"], "neg": ["n"]},
        {"query": "banel  derak", "pos": ["three"], "neg": ["n"]},  # the same query in another row
        {"query": "kisot", "pos": ["four"], "neg": ["ONE"]},
    ]
    for chunk, instruction in ((0, None), (2, "read: ")):
        found = batch(rows, chunk, passage_instruction_for_retrieval=instruction)
        before = instruction or ""
        assert found["passage_ids"].shape == (6,)
        assert found["passage_ids"][5] == text_id(before + "one")
        assert [set(row.tolist()) - {-1} for row in found["positive_ids"]] == [
            {text_id(before + text) for text in texts} for texts in (["one", "two", "three"],) * 2 + (["four"],)
        ]
        assert isinstance(found["queries"], list) == bool(chunk)


def test_the_same_in_flagembeddings_model(tiny_bert):
    """Its forward pass and that of the cached gradients come to the loss without the false negative."""
    from transformers import AutoModel, AutoTokenizer

    from helpers.training.grad_cache import cached_backward

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
    assert torch.isclose(cached_backward(model, [tokens(queries)], [tokens(passages)]), expected, atol=1e-5)
    assert not torch.isclose(plain, expected, atol=1e-3)
    model.cross_entropy = seen(passages, [["kisot"], ["muzup"]])
    assert torch.equal(model(tokens(queries), tokens(passages)).loss, plain)
