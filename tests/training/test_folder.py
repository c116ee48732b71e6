import shutil

import pytest
from safetensors import SafetensorError

from helpers.base.errors import UserError
from helpers.base.files import write_json, writing
from helpers.base.manifest import MANIFEST, read_manifest
from helpers.training.folder import is_whole, last_whole, mark_whole, remove_broken

MADE_FROM = {"base model": "cd" * 8, "training set": "ab" * 32, "processes": 2, "--seed": "1"}


def make_checkpoint(folder, step):
    checkpoint = folder / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    (checkpoint / "model.safetensors").write_bytes(b"weights")
    (checkpoint / "optimizer.pt").write_bytes(b"moments")
    write_json(folder / MANIFEST, {"made_from": MADE_FROM, "flags": [], "host": "here", "pid": 1})
    mark_whole(checkpoint)
    return checkpoint


def test_the_last_whole_checkpoint_is_found(tmp_path):
    assert last_whole(tmp_path) is None
    for step in (9, 10, 100):
        make_checkpoint(tmp_path, step)
    assert last_whole(tmp_path).name == "checkpoint-100"  # by number, not by letter
    (tmp_path / "checkpoint-100" / "optimizer.pt").write_bytes(b"mom")
    assert last_whole(tmp_path).name == "checkpoint-10"
    (tmp_path / "checkpoint-10" / "model.safetensors").unlink()
    assert last_whole(tmp_path).name == "checkpoint-9"
    (tmp_path / "checkpoint-9" / MANIFEST).write_text("{")
    assert last_whole(tmp_path) is None


def test_a_checkpoint_says_what_its_training_is_made_from(tmp_path):
    checkpoint = make_checkpoint(tmp_path, 1)
    made = read_manifest(checkpoint / MANIFEST)
    assert made == {"made_from": MADE_FROM, "files": {"model.safetensors": 7, "optimizer.pt": 7}}
    (checkpoint / "surplus.bin").touch()  # what the manifest does not name
    assert is_whole(checkpoint)


def test_what_a_kill_has_left_is_removed(tmp_path):
    whole, broken = make_checkpoint(tmp_path, 1), make_checkpoint(tmp_path, 2)
    (broken / MANIFEST).unlink()
    assert not is_whole(broken)
    for name in (".plain-x1", ".model-x2"):  # the folders of the last write
        (tmp_path / name / "1_Pooling").mkdir(parents=True)
    remove_broken(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {whole.name, MANIFEST}


def test_weights_are_restored_or_it_says_why_not(tiny_bert, tmp_path):
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import AutoModel

    from helpers.training.trainer import load_weights

    checkpoint = shutil.copytree(tiny_bert, tmp_path / "checkpoint-5")
    encoder = AutoModel.from_pretrained(tiny_bert)
    weights = load_file(checkpoint / "model.safetensors")
    for parameter in encoder.parameters():
        torch.nn.init.ones_(parameter)
    load_weights(encoder, checkpoint)
    assert all(torch.equal(value, weights[name]) for name, value in encoder.state_dict().items() if name in weights)

    name = "encoder.layer.0.output.dense.weight"
    for wrong, sentence in (
        ({key: value for key, value in weights.items() if key != name}, "Missing key"),
        (weights | {"surplus": torch.zeros(1)}, "Unexpected key"),
        (weights | {name: torch.zeros(1)}, "size mismatch"),
        ({f"model.{key}": value for key, value in weights.items()}, "Missing key"),
    ):
        save_file(wrong, checkpoint / "model.safetensors")
        with pytest.raises(UserError, match=f"checkpoint-5 is not a checkpoint of this model.*{sentence}"):
            load_weights(encoder, checkpoint)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (SafetensorError("Error while serializing: I/O error\nmore"), "Error while serializing: I/O error"),
        (
            RuntimeError("[enforce fail] PytorchStreamWriter failed\nmore"),
            r"\[enforce fail\] PytorchStreamWriter failed",
        ),
    ],
)
def test_failures_to_write_a_checkpoint_are_one_sentence(tmp_path, error, reason):
    """Of files, of safetensors, and of torch.save."""
    with pytest.raises(UserError, match=f"was not written: {reason}; mend it.$"), writing(tmp_path, "mend it"):
        raise error


def test_other_failures_are_no_sentence(tmp_path):
    with pytest.raises(RuntimeError, match="shapes"), writing(tmp_path):
        raise RuntimeError("shapes do not match")
