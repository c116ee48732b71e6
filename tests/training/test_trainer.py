"""Trainings in this very process: the precision, under bf16 autocast on the CPU as on a card, and the gradients."""

import gc
import json
import math
import os
import shutil
import sys
from pathlib import Path

import pytest
import torch
from conftest import make_rows, write_jsonl
from safetensors.torch import load_file, save_file

from helpers.base.errors import UserError
from helpers.base.files import read_json
from helpers.base.fingerprint import file_fingerprint, model_fingerprint
from helpers.base.manifest import MANIFEST, read_manifest
from helpers.encoding.settings import is_embedder
from helpers.sampling.texts import normalise
from helpers.training.curve import read_points
from helpers.training.folder import is_whole
from helpers.training.trainer import Trainer


@pytest.fixture
def train(certain_bert, tmp_path, request, monkeypatch):
    """Return a function that trains with flags and returns the runner; the folder is a new one each time."""
    from accelerate.state import AcceleratorState, PartialState
    from FlagEmbedding.finetune.embedder.encoder_only import base
    from transformers import HfArgumentParser

    from helpers.training.finetune import Arguments, Runner, quiet

    quiet()
    kinds = (base.EncoderOnlyEmbedderModelArguments, base.EncoderOnlyEmbedderDataArguments, Arguments)
    request.addfinalizer(AcceleratorState._reset_state)
    request.addfinalizer(PartialState._reset_state)

    def run(rows=None, model=certain_bert, **flags):
        AcceleratorState._reset_state(reset_partial_state=True)  # its precision is the process's
        folder = tmp_path / f"model{len(list(tmp_path.iterdir()))}"
        data = write_jsonl(tmp_path / f"{folder.name}.json", rows or make_rows(40, 10))
        given = {
            "model_name_or_path": model,
            "train_data": data,
            "output_dir": folder,
            "train_group_size": 8,
            "query_max_len": 24,
            "passage_max_len": 24,
            "learning_rate": 1e-3,
            "num_train_epochs": 1,
            "per_device_train_batch_size": 4,
            "warmup_steps": 0.1,
            "sentence_pooling_method": "mean",
            "normalize_embeddings": True,
            "temperature": 0.05,
            "query_instruction_for_retrieval": "ask: ",
            "logging_steps": 1,
            "save_steps": 100,
            "report_to": "none",
            "use_cpu": True,
            "disable_tqdm": True,
            **flags,
        }
        words = [str(word) for name, value in given.items() for word in (f"--{name}", value)]
        monkeypatch.setattr(sys, "argv", ["finetune", *words])  # what the record and the card tell of
        *rest, training = HfArgumentParser(kinds).parse_args_into_dataclasses(words)
        training.log_level = "error"
        runner = Runner(*rest, training)
        runner.run()
        return runner

    return run


def log(runner, name):
    return [entry[name] for entry in runner.trainer.state.log_history if name in entry]


def weights(runner):
    return load_file(Path(runner.training_args.output_dir) / "model.safetensors")


def near(a, b, tolerance):
    """Compare weights, but for the keys' biases: their gradient is 0, of which Adam scales up the rounding."""
    return all((a[name] - b[name]).abs().max() <= tolerance for name in a if not name.endswith("key.bias"))


EVAL = {"eval_strategy": "steps", "eval_steps": 5, "load_best_model_at_end": True, "save_steps": 5}
EVAL |= {"metric_for_best_model": "ndcg@10", "greater_is_better": True, "save_total_limit": 2}


def test_cached_and_plain_steps_are_in_the_same_precision(train):
    """In one chunk a cached step does the products of a plain one; what differs is how bf16 sums gradients."""
    plain, cached, single = train(bf16=True), train(bf16=True, sub_batch_size=64), train()
    assert log(cached, "loss")[:2] == pytest.approx(log(plain, "loss")[:2], abs=1e-5)  # the rate of the first step is 0
    assert abs(log(single, "loss")[0] - log(plain, "loss")[0]) > 1e-3
    assert log(cached, "grad_norm")[0] == pytest.approx(log(plain, "grad_norm")[0], rel=0.02)
    assert log(cached, "loss") == pytest.approx(log(plain, "loss"), abs=0.1)


def test_without_negatives_the_passages_of_other_queries_compete(train):
    """At a high temperature all scores are alike, and the loss is that of a guess among the batch's four passages."""
    runner = train(train_group_size=1, temperature=100)
    assert log(runner, "loss")[0] == pytest.approx(math.log(4), abs=0.02)


@pytest.mark.parametrize("chunk", [0, 3])
def test_every_forward_pass_is_under_autocast(train, chunk):
    runner = train(bf16=True, sub_batch_size=chunk, **EVAL)
    dtypes = set()
    runner.model.model.register_forward_pre_hook(
        lambda *_: dtypes.add(torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu"))
    )
    runner.trainer.evaluate()
    assert dtypes == {torch.bfloat16}
    dtypes.clear()
    batch = next(iter(runner.trainer.get_train_dataloader()))
    runner.trainer.current_gradient_accumulation_steps = 1
    runner.trainer.training_step(runner.trainer.model_wrapped, batch)
    assert dtypes == {torch.bfloat16}


@pytest.mark.parametrize("flags", [{}, {"bf16": True}, {"bf16": True, "sub_batch_size": 3}])
def test_a_base_stored_in_half_precision_is_trained_in_float32(train, certain_bert, tmp_path, flags):
    stored = {name: tensor.half() for name, tensor in load_file(certain_bert / "model.safetensors").items()}
    folders = {}
    for name, tensors in (("half", stored), ("float", {key: tensor.float() for key, tensor in stored.items()})):
        folders[name] = shutil.copytree(certain_bert, tmp_path / name)
        save_file(tensors, folders[name] / "model.safetensors", {"format": "pt"})
        config = json.loads((certain_bert / "config.json").read_text())
        dtype = "float16" if name == "half" else "float32"
        (folders[name] / "config.json").write_text(json.dumps(config | {"dtype": dtype}))
    half, whole = (train(model=folder, **flags) for folder in folders.values())
    assert {parameter.dtype for parameter in half.model.parameters()} == {torch.float32}
    assert {tensor.dtype for tensor in weights(half).values()} == {torch.float32}
    assert log(half, "loss") == log(whole, "loss")
    assert near(weights(half), weights(whole), 0)


def test_accumulated_cached_gradients_are_the_plain_ones(train):
    flags = {"gradient_accumulation_steps": 2}
    plain, cached = train(**flags), train(sub_batch_size=5, **flags)
    assert log(cached, "loss") == pytest.approx(log(plain, "loss"), abs=1e-4)
    assert log(cached, "grad_norm") == pytest.approx(log(plain, "grad_norm"), rel=1e-3)
    assert near(weights(cached), weights(plain), 1e-4)


def test_nothing_of_the_held_out_queries_is_trained_on(train):
    """Ten queries ask for five passages, two for each, and the negatives are of all the others."""
    rows = make_rows(60, 12)
    for i, row in enumerate(rows):
        row["pos"] = rows[i - i % 2]["pos"]
        row["neg"] = [text for text in row["neg"] if text not in row["pos"]]
    runner = train(rows, num_train_epochs=0.1, **EVAL)
    held = {normalise(text) for text in (runner.held_out.corpus[d] for q in runner.held_out.qrels.values() for d in q)}
    kept = runner.train_dataset.dataset
    assert (len(runner.held_out.queries), len(held), len(kept)) == (6, 3, 54)
    assert held.isdisjoint(normalise(text) for row in kept for text in row["pos"] + row["neg"])
    assert any(held & {normalise(text) for text in row["neg"]} for row in rows)  # there was something to take out
    assert [len(row["neg"]) for row in kept] == [
        len(row["neg"]) for row in rows if normalise(row["pos"][0]) not in held
    ]
    assert all(set(row["neg"]).isdisjoint(row["pos"]) and len(set(row["neg"])) == len(row["neg"]) for row in kept)


def test_the_best_checkpoint_is_kept(train, tiny_bert, capsys):
    """A rate so high that the model forgets: the last step must not be the one that is kept."""
    runner = train(model=tiny_bert, **EVAL | {"eval_steps": 2, "save_steps": 2}, learning_rate=0.3, warmup_steps=0.5)
    folder = Path(runner.training_args.output_dir)
    scores = {point["step"]: point["ndcg@10"] for point in read_points(folder) if "ndcg@10" in point}
    assert list(scores) == [2, 4, 6, 8, 9]  # 36 queries train, 4 are held out
    best = max(scores, key=lambda step: scores[step])
    assert f"the model is that of step {best}: the best held-out nDCG@10, {scores[best]:.4f}" in capsys.readouterr().out
    kept = {path.name for path in folder.glob("checkpoint-*")}
    assert kept == {f"checkpoint-{best}", "checkpoint-9"}
    assert near(weights(runner), load_file(folder / f"checkpoint-{best}" / "model.safetensors"), 0)
    shutil.rmtree(folder / f"checkpoint-{best}")
    runner.trainer._load_best_model()
    assert "the model is that of the last step: the best one's, checkpoint-" in capsys.readouterr().out


def test_a_training_that_has_moved_finds_its_best_checkpoint(train, tiny_bert, monkeypatch, capsys):
    flags = EVAL | {"eval_steps": 2, "save_steps": 2, "learning_rate": 0.3, "warmup_steps": 0.5}
    first = train(model=tiny_bert, **flags)
    folder = Path(first.training_args.output_dir)
    moved = folder.rename(folder.with_name("moved"))
    said = capsys.readouterr().out.splitlines()[-2]
    assert said.startswith("the model is that of step ")
    monkeypatch.setenv("RESUME", "1")
    real = Trainer.train

    def train_again(self, **kwargs):
        assert not is_embedder(moved)  # until it has ended
        return real(self, **kwargs)

    monkeypatch.setattr(Trainer, "train", train_again)
    again = train(model=tiny_bert, output_dir=moved, resume_from_checkpoint=moved / "checkpoint-9", **flags)
    assert capsys.readouterr().out.splitlines()[-2] == said
    assert is_embedder(moved)
    assert near(weights(again), load_file(max(moved.glob("checkpoint-[2468]")) / "model.safetensors"), 0)


def test_a_resume_of_another_training_names_what_differs_and_changes_nothing(train, tiny_bert, monkeypatch):
    folder = Path(train(save_steps=4).training_args.output_dir)
    monkeypatch.setenv("RESUME", "1")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    went_on = {"output_dir": folder, "resume_from_checkpoint": folder / "checkpoint-8", "save_steps": 4}
    for names, other in (
        ("base model", {"model": tiny_bert}),
        ("training set", {"rows": make_rows(41, 10)}),
        ("--learning_rate", {"learning_rate": 2e-3}),
        ("base model, training set, --seed", {"model": tiny_bert, "rows": make_rows(41, 10), "seed": 7}),
    ):
        gc.collect()  # the lock goes with its process, here with the runner
        with pytest.raises(UserError) as error:
            train(**went_on | other)
        assert f"{folder} was begun with other {names} (" in str(error.value)
        del error
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    gc.collect()
    train(**went_on)
    assert is_embedder(folder)


def test_what_a_model_and_its_checkpoints_are_made_from_is_in_their_manifests(train, certain_bert):
    runner = train(save_steps=4, seed=7)
    folder = Path(runner.training_args.output_dir)
    made = read_json(folder / MANIFEST)
    assert (made["pid"], made["flags"]) == (os.getpid(), sys.argv[1:])
    expected = {"base model": model_fingerprint(certain_bert), "processes": 1, "--seed": "7"}
    expected |= {"training set": file_fingerprint(Path(runner.data_args.train_data[0]))}
    assert expected.items() <= made["made_from"].items()
    checkpoint = read_manifest(folder / "checkpoint-8" / MANIFEST)
    assert checkpoint["made_from"] == made["made_from"]
    assert {"model.safetensors", "optimizer.pt", "rng_state.pth", "trainer_state.json"} <= checkpoint["files"].keys()


def test_older_checkpoints_go_only_when_the_new_one_is_whole(train, monkeypatch):
    """At the moment of each deletion, what is left must be enough to go on from."""
    deleted = []

    def rmtree(folder, **kwargs):
        if (folder := Path(folder)).name.startswith("checkpoint-"):
            steps = {int(path.name.partition("-")[2]): is_whole(path) for path in folder.parent.glob("checkpoint-*")}
            deleted.append(steps[max(steps)])
        real(folder, **kwargs)

    real = shutil.rmtree
    monkeypatch.setattr("transformers.trainer_utils.shutil.rmtree", rmtree)
    train(save_steps=2, save_total_limit=2)
    assert deleted == [True] * 3  # of 2, 4, 6, 8 and 10 the first three


def test_a_loss_that_is_no_number_stops_the_training(train):
    with pytest.raises(UserError, match=r"The loss is (nan|inf) at step \d+; lower LEARNING_RATE"):
        train(learning_rate=1e30, warmup_steps=0, logging_nan_inf_filter=False)


@pytest.mark.parametrize(("error", "status"), [(None, 0), (UserError("no."), 2), (SystemExit(3), 3), (OSError(), 1)])
def test_the_process_ends_before_anything_is_freed(error, status, capfd):
    """A process group that is freed, or whose owner is, may wait for ever for Python's lock, which it holds."""
    from helpers.training.finetune import leave

    class Group:
        def __del__(self):
            os.write(2, b"freed")

    def main():
        group = Group()
        if error:
            raise error
        return group

    if (child := os.fork()) == 0:
        leave(main)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == status
    said = capfd.readouterr().err
    assert "freed" not in said
    assert (said == "error: no.\n") == (status == 2)
