"""What a model says of itself, and what of it is pushed."""

import math
import shutil

import pytest
from conftest import run_python

from helpers.base.errors import UserError
from helpers.base.files import write_json, write_jsonl
from helpers.base.manifest import MANIFEST
from helpers.base.profile import load_profile
from helpers.encoding.settings import read_embedder
from helpers.evaluation.results import save_result
from helpers.sampling.eval_set import EvalSet
from helpers.training.curve import POINTS
from helpers.training.publish import publish, write_card

FLAGS = {
    "query_max_len": 24,
    "passage_max_len": 24,
    "train_group_size": 8,
    "temperature": 0.02,
    "learning_rate": 1e-3,
    "num_train_epochs": 1.0,
    "per_device_train_batch_size": 4,
    "sentence_pooling_method": "mean",
    "query_instruction_for_retrieval": "ask: ",
    "train_data": ["/elsewhere/training_neg_10.json"],
}


@pytest.fixture
def trained(make_profile, tiny_embedder, tmp_path, monkeypatch):
    """A finished model as a training leaves it."""
    monkeypatch.setattr("helpers.training.publish.ROOT", tmp_path)
    profile = make_profile(BASE_MODEL="someone/tiny-bert", BASE_LAYERS=0, INSTRUCTION="ask: ")
    folder = profile.tuned_model("neg10")
    folder.parent.mkdir(parents=True)
    shutil.copytree(tiny_embedder, folder)
    command = ["--output_dir", str(folder), "--model_name_or_path", "/somewhere/else/tiny-bert"]
    command += ["--query_instruction_for_retrieval", "ask: ", "--resume_from_checkpoint", "x"]
    made_from = {"base model": "cd" * 8, "training set": "ab" * 32, "processes": 2}
    write_json(folder / MANIFEST, {"made_from": made_from, "flags": command, "host": "secret"})
    write_jsonl(folder / POINTS, [{"step": 9, "of": 9, "loss": 1.25}, {"step": 9, "of": 9, "ndcg@10": 0.5}])
    (folder / "checkpoint-9").mkdir()
    (folder / "checkpoint-9" / "optimizer.pt").write_bytes(b"moments")
    return profile


def test_the_card(trained):
    from huggingface_hub import ModelCard

    folder = trained.tuned_model("neg10")
    write_card(folder, trained, FLAGS)
    assert "Not measured yet" in (folder / "README.md").read_text()
    settings, qrels = read_embedder("tiny", folder), {"q1": {"d1": 1}, "q2": {"d2": 1}}
    eval_set = EvalSet({"q1": "one", "q2": "two"}, {"d1": "first", "d2": "second"}, qrels)
    run = {"q1": {"d1": 0.5, "d2": 0.25}, "q2": {"d1": 0.5, "d2": 0.25}}
    save_result("neg10", trained, settings, eval_set, run, {})
    means = {"hit@1": 0.5, "recall@10": 1.0, "mrr@10": 0.75, "ndcg@10": pytest.approx((1 + 1 / math.log2(3)) / 2)}
    indexed = trained.model_copy(update={"index": "HNSW32"})
    save_result("neg10", indexed, settings, eval_set, run, {})
    assert "searched with the index HNSW32 among" in (folder / "README.md").read_text()
    save_result("neg10", trained, settings, eval_set, run, {})
    card = ModelCard.load(folder / "README.md")
    assert "Not measured yet" not in card.text
    assert "2 queries that were not trained on, searched exactly among 2 passages" in card.text
    assert card.data.to_dict()["library_name"] == "sentence-transformers"
    assert card.data.base_model == "someone/tiny-bert"
    assert {result.metric_type: result.metric_value for result in card.data.eval_results} == means
    assert "| mrr@10 | 0.7500 |" in card.text
    assert "`ask: `" in card.text
    assert "with 10 random negatives a query" in card.text
    assert "abababababababab" in card.text
    assert "1.2500 at step 9" in card.text
    assert "torchrun --nproc_per_node 2 -m helpers.training.finetune" in card.text
    assert f"  --output_dir output/test/{trained.base_name}_neg10 \\\n" in card.text
    assert "--query_instruction_for_retrieval 'ask: '" in card.text
    assert "--model_name_or_path tiny-bert" in card.text
    assert "resume" not in card.text
    assert "secret" not in card.text


def test_publish(trained, monkeypatch, capsys):
    calls = []

    class Client:
        def create_repo(self, repo, private, exist_ok):
            calls.append(("create", repo, private, exist_ok))

        def upload_folder(self, **kwargs):
            calls.append(("upload", kwargs))
            return type("Commit", (), {"commit_url": "https://hub/commit/1"})

    monkeypatch.setattr("helpers.training.publish.HfApi", Client)
    write_card(trained.tuned_model("neg10"), trained, FLAGS)
    publish("neg10", "me/mine", trained, pushed=False)
    said = capsys.readouterr().out
    assert calls == []
    assert "files would go to https://huggingface.co/me/mine" in said
    publish("neg10", "me/mine", trained, pushed=True)
    assert "pushed: https://hub/commit/1" in capsys.readouterr().out
    create, (_, upload) = calls
    assert create == ("create", "me/mine", True, True)
    names = set(upload["allow_patterns"])
    assert {"README.md", "model.safetensors", "modules.json", "1_Pooling/config.json", "tokenizer.json"} <= names
    assert not any(name.startswith(("checkpoint", MANIFEST, "loss", ".")) for name in names)
    assert all(f"  {name}\n" in said for name in names)

    class Refusing(Client):
        def create_repo(self, *args, **kwargs):
            raise OSError("401 Unauthorized\nmore")

    monkeypatch.setattr("helpers.training.publish.HfApi", Refusing)
    with pytest.raises(UserError, match=r"me/mine was not pushed \(401 Unauthorized\); check .*hf auth login"):
        publish("neg10", "me/mine", trained, pushed=True)


@pytest.mark.parametrize("repo", ["not a repo", "you/my--model", "a/b/c", "you/模型", "you/model.git", ""])
def test_a_name_that_the_hub_refuses_is_refused_before_anything_is_sent(trained, repo):
    with pytest.raises(
        UserError, match=f"^{repo} is no name of a repository .*; give one such as you/your-model"
    ) as error:
        publish("neg10", repo, trained, pushed=True)
    assert "\n" not in str(error.value)


def test_a_hub_that_does_not_answer_is_one_sentence(project, tiny_embedder, tmp_path):
    pairs = tmp_path / "pushed.jsonl"
    pairs.touch()
    settings = {"PROFILE": "test", "DATASET": str(pairs), "BASE_MODEL": str(tiny_embedder), "BASE_LAYERS": "0"}
    profile = load_profile(environ=settings)
    shutil.copytree(tiny_embedder, project / "output" / profile.run_name / profile.tuned_model("neg10").name)
    closed = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": 0, "HF_TOKEN": "hf_token"}
    done = run_python(project, "-m", "helpers", "publish", "neg10", "you/model", "--push", **settings, **closed)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert done.stderr.startswith("error: you/model was not pushed (")


def test_publish_says_what_is_wrong(trained):
    with pytest.raises(UserError, match=r"no finished model in .*neg50; run bash finetune_neg50.sh"):
        publish("neg50", "me/mine", trained, pushed=False)
