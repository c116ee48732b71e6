"""A model that travels: FlagEmbedding and sentence-transformers make the same vectors of the same folder."""

import json
import shutil
import sys

import numpy as np
import pytest
from conftest import make_pairs

from helpers.base.errors import UserError
from helpers.base.files import write_json, write_jsonl
from helpers.encoding.encoder import Embedder
from helpers.encoding.settings import EmbedderSettings, read_embedder, write_embedder
from helpers.training import publish
from helpers.training.card import write_card
from helpers.training.curve import loss_file
from helpers.training.record import record_file


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("lengths", [(24, 24), (12, 30)])
def test_both_libraries_agree(tiny_bert, make_profile, tmp_path, pooling, lengths):
    from sentence_transformers import SentenceTransformer

    settings = EmbedderSettings("mine", tmp_path, pooling, "ask: ", "", *lengths)
    write_embedder(tiny_bert, tmp_path, settings)
    assert read_embedder("mine", tmp_path) == settings
    texts = [pair["positive"][0] for pair in make_pairs(20)] + ["banel " * 100, "tinel"]  # longer than any limit, too
    ours = Embedder(read_embedder("mine", tmp_path), make_profile())
    theirs = SentenceTransformer(str(tmp_path), device="cpu")
    for a, b in (
        (ours.encode_queries(texts), theirs.encode_query(texts)),
        (ours.encode_corpus(texts), theirs.encode_document(texts)),
    ):
        assert np.allclose(np.linalg.norm(b, axis=1), 1, atol=1e-5)
        assert (a * b).sum(1).min() > 1 - 1e-6
    assert not np.allclose(ours.encode_queries(texts[:3]), ours.encode_corpus(texts[:3]), atol=1e-3)
    assert not list(tmp_path.glob(".model-*"))


def test_the_packaged_model_says_how_it_wants_its_texts():
    from helpers.encoding.models import model_folder

    settings = read_embedder("all-MiniLM-L6-v2", model_folder("all-MiniLM-L6-v2"))
    assert (settings.pooling, settings.instruction, settings.passage_instruction) == ("mean", "", "")
    assert (settings.query_max_len, settings.passage_max_len) == (256, 256)


@pytest.mark.parametrize(
    ("prompts", "default", "expected"),
    [
        ({"query": "query: ", "passage": "passage: "}, None, ("query: ", "passage: ")),
        ({"query": "ask: ", "document": ""}, None, ("ask: ", "")),
        ({"any": "x: "}, "any", ("x: ", "x: ")),
        ({"clustering": "x: "}, None, ("", "")),
    ],
)
def test_prompts_of_other_models(tiny_embedder, tmp_path, prompts, default, expected):
    folder = shutil.copytree(tiny_embedder, tmp_path / "other")
    write_json(folder / "config_sentence_transformers.json", {"prompts": prompts, "default_prompt_name": default})
    settings = read_embedder("other", folder)
    assert (settings.instruction, settings.passage_instruction) == expected


def test_models_that_cannot_be_fed_are_one_sentence(tiny_bert, tiny_embedder, tmp_path):
    with pytest.raises(UserError, match=r"has no modules.json, so nothing says how tiny pools its vectors"):
        read_embedder("tiny", tiny_bert)
    folder = shutil.copytree(tiny_embedder, tmp_path / "other")
    write_json(folder / "1_Pooling" / "config.json", {"embedding_dimension": 32, "pooling_mode": "max"})
    with pytest.raises(UserError, match="pooling max is not supported"):
        read_embedder("other", folder)
    modules = json.loads((folder / "modules.json").read_text())
    write_json(folder / "modules.json", [*modules, {"idx": 3, "name": "3", "path": "3_Dense", "type": "a.b.Dense"}])
    with pytest.raises(UserError, match="Dense is not supported"):
        read_embedder("other", folder)
    (folder / "modules.json").write_text("[{")
    with pytest.raises(UserError, match="modules.json cannot be read"):
        read_embedder("other", folder)


@pytest.fixture
def trained(make_profile, tiny_embedder, tmp_path, monkeypatch):
    """A finished model as a training leaves it."""
    monkeypatch.setattr("helpers.training.card.ROOT", tmp_path)
    profile = make_profile(BASE_MODEL="someone/tiny-bert", BASE_LAYERS=0, INSTRUCTION="ask: ")
    folder = profile.tuned_model(10)
    folder.parent.mkdir(parents=True)
    shutil.copytree(tiny_embedder, folder)
    words = "--query_max_len 24 --passage_max_len 24 --train_group_size 8 --temperature 0.02 --learning_rate 1e-3 "
    words += "--num_train_epochs 1.0 --per_device_train_batch_size 4 --sentence_pooling_method mean --seed 42"
    command = [*words.split(), "--output_dir", str(folder), "--model_name_or_path", "/somewhere/else/tiny-bert"]
    command += ["--query_instruction_for_retrieval", "ask: ", "--resume_from_checkpoint", "x"]
    write_json(record_file(folder), {"processes": 2, "data": ["ab" * 32], "flags": command, "host": "secret"})
    write_jsonl(loss_file(folder), [{"step": 9, "of": 9, "loss": 1.25}, {"step": 9, "of": 9, "ndcg@10": 0.5}])
    (folder / "checkpoint-9").mkdir()
    (folder / "checkpoint-9" / "optimizer.pt").write_bytes(b"moments")
    return profile


def test_the_card(trained):
    from huggingface_hub import ModelCard

    path = write_card(10, trained)
    assert "Not measured yet" in path.read_text()
    means = {"hit@1": 0.25, "recall@10": 0.5, "mrr@10": 0.375, "ndcg@10": 0.4375, "hit@100": 1.0}
    card = ModelCard.load(write_card(10, trained, {"metrics": means, "data": {"queries": 30, "corpus": 120}}))
    assert card.data.to_dict()["library_name"] == "sentence-transformers"
    assert card.data.base_model == "someone/tiny-bert"
    assert {result.metric_type: result.metric_value for result in card.data.eval_results} == {
        name: value for name, value in means.items() if name != "hit@100"
    }
    assert "| ndcg@10 | 0.4375 |" in card.text
    assert "`ask: `" in card.text
    assert "abababababababab" in card.text
    assert "1.2500 at step 9" in card.text
    assert "torchrun --nproc_per_node 2 -m helpers.training.finetune" in card.text
    assert "  --output_dir output/test/tiny-bert_neg10" in card.text
    assert "--query_instruction_for_retrieval 'ask: '" in card.text
    assert "--model_name_or_path tiny-bert" in card.text
    assert "resume" not in card.text
    assert "secret" not in card.text


def run_publish(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["publish", *words])
    publish.main()


def test_publish(trained, monkeypatch, capsys):
    import huggingface_hub

    calls = []

    class Client:
        def create_repo(self, repo, private, exist_ok):
            calls.append(("create", repo, private, exist_ok))

        def upload_folder(self, **kwargs):
            calls.append(("upload", kwargs))
            return type("Commit", (), {"commit_url": "https://hub/commit/1"})

    monkeypatch.setattr(huggingface_hub, "HfApi", Client)
    monkeypatch.setattr(publish, "load_profile", lambda: trained)
    write_card(10, trained)
    run_publish(monkeypatch, "neg10", "me/mine")
    said = capsys.readouterr().out
    assert calls == []
    assert "files would go to https://huggingface.co/me/mine" in said
    run_publish(monkeypatch, "neg10", "me/mine", "--push")
    assert "pushed: https://hub/commit/1" in capsys.readouterr().out
    create, (_, upload) = calls
    assert create == ("create", "me/mine", True, True)
    names = set(upload["allow_patterns"])
    assert {"README.md", "model.safetensors", "modules.json", "1_Pooling/config.json", "tokenizer.json"} <= names
    assert not any(name.startswith(("checkpoint", "run.json", "loss")) for name in names)
    assert all(f"  {name}\n" in said for name in names)

    class Refusing(Client):
        def create_repo(self, *args, **kwargs):
            raise OSError("401 Unauthorized\nmore")

    monkeypatch.setattr(huggingface_hub, "HfApi", Refusing)
    with pytest.raises(UserError, match=r"me/mine was not pushed \(401 Unauthorized\); log in with hf auth login"):
        run_publish(monkeypatch, "neg10", "me/mine", "--push")


def test_publish_says_what_is_wrong(trained, monkeypatch):
    monkeypatch.setattr(publish, "load_profile", lambda: trained)
    for words in ([], ["neg10"], ["neg10", "not a repo"]):
        with pytest.raises(UserError, match="usage: "):
            run_publish(monkeypatch, *words)
    with pytest.raises(UserError, match=r"no finished model in .*neg50; run bash finetune_neg50.sh"):
        run_publish(monkeypatch, "neg50", "me/mine")
