import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import BASE_MODEL, environ_of
from safetensors.numpy import load_file

from helpers.base.errors import UserError
from helpers.base.fingerprint import model_fingerprint
from helpers.encoding import models
from helpers.encoding.encoder import Embedder
from helpers.encoding.models import base_model, interpolate, load_encoder, model_folder, positions
from helpers.encoding.settings import EmbedderSettings, embedder_settings, read_embedder, write_embedder


def test_packaged_weights_are_the_official_ones(monkeypatch):
    assert (model_folder("all-MiniLM-L6-v2") / "model.safetensors").is_file()
    package, _ = models.PACKAGED["all-MiniLM-L6-v2"]
    monkeypatch.setitem(models.PACKAGED, "all-MiniLM-L6-v2", (package, "0" * 64))
    with pytest.raises(UserError, match="does not hold the official weights"):
        model_folder("all-MiniLM-L6-v2")


def test_the_cut_model_is_the_lower_layers(make_profile, tiny_bert):
    import torch
    from transformers import AutoModel

    profile = make_profile(BASE_MODEL=tiny_bert, BASE_LAYERS=1)
    folder = base_model(profile)
    assert folder == profile.output_dir / profile.base_name
    assert re.fullmatch("tiny-bert-[0-9a-f]{6}-first1", folder.name)
    whole, cut = AutoModel.from_pretrained(tiny_bert), AutoModel.from_pretrained(folder)
    ids = torch.tensor([[2, 7, 9, 3]])
    with torch.no_grad():
        hidden = whole.eval()(ids, output_hidden_states=True).hidden_states[1]
        assert torch.equal(cut.eval()(ids).last_hidden_state, hidden)
    time = (folder / "model.safetensors").stat().st_mtime_ns
    assert base_model(profile) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == time
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_cut_model_is_made_again_when_its_source_is_another(make_profile, tiny_bert, certain_bert, tmp_path, capsys):
    source = shutil.copytree(tiny_bert, tmp_path / "model")
    profile = make_profile(BASE_MODEL=source, BASE_LAYERS=1)
    folder = base_model(profile)
    shutil.copy(certain_bert / "config.json", source)
    assert base_model(profile) == folder
    assert json.loads((folder / "config.json").read_text())["hidden_dropout_prob"] == 0
    said = f"output/test/{folder.name} is made again: it was made from other base model.\n"
    assert capsys.readouterr().out == said


def test_another_model_of_the_same_name_is_cut_anew(make_profile, tiny_bert, certain_bert, tmp_path):
    folders, models_of = [], set()
    for base in (tiny_bert, certain_bert):
        same_name = shutil.copytree(base, tmp_path / base.name / "model")
        profile = make_profile(BASE_MODEL=same_name, BASE_LAYERS=1)
        folders.append(base_model(profile))
        models_of.add(profile.tuned_model("neg10"))
    assert len(models_of) == 2
    configs = [json.loads((folder / "config.json").read_text())["hidden_dropout_prob"] for folder in folders]
    assert configs == [0.1, 0.0]


def test_two_processes_cut_one_model_at_once(project, tiny_bert, tmp_path):
    pairs = tmp_path / "cut at once.jsonl"
    pairs.touch()
    environ = environ_of(project, {"PROFILE": "test", "DATASET": pairs, "BASE_MODEL": tiny_bert, "BASE_LAYERS": 1})
    command = [sys.executable, "-c", BASE_MODEL]
    both = [subprocess.Popen(command, cwd=project, env=environ, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    [folder] = {process.communicate(timeout=120)[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert [path.name for path in Path(folder).parent.iterdir()] == [Path(folder).name]
    assert load_file(Path(folder) / "model.safetensors")
    shutil.rmtree(Path(folder).parent)


def test_weights_are_loaded_in_float32_whatever_they_are_stored_in(tiny_bert, tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(tiny_bert, tmp_path / "half")
    halves = {name: tensor.half() for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(halves, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"dtype": "float16"}))
    for name, parameter in load_encoder(folder).named_parameters():
        assert parameter.dtype == torch.float32
        assert torch.equal(parameter, halves[name].float())


class Command:
    """What unpickles into a command that is run."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_a_bin_is_weights_or_nothing(tiny_bert, tmp_path):
    import torch

    folder = shutil.copytree(tiny_bert, tmp_path / "pickled")
    (folder / "model.safetensors").unlink()
    torch.save({"embeddings.word_embeddings.weight": Command(tmp_path / "was run")}, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="it has a .bin with something else than weights, which is not run"):
        load_encoder(folder)
    assert not (tmp_path / "was run").exists()


def test_weights_between_two_models(tiny_bert, tiny_m3, tmp_path):
    import torch
    from transformers import AutoTokenizer

    torch.manual_seed(5)
    tuned, plain = tmp_path / "tuned", tmp_path / "plain"
    encoder = load_encoder(tiny_bert)
    for parameter in encoder.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    for part in (encoder, AutoTokenizer.from_pretrained(tiny_bert)):
        part.save_pretrained(plain)
    tuned.mkdir()
    write_embedder(plain, tuned, EmbedderSettings("tiny", tuned, "mean", "ask: ", "", 24, 30))
    (tuned / "checkpoint-8").mkdir()
    before, after = load_encoder(tiny_bert).state_dict(), encoder.state_dict()
    for share in (0.0, 0.25, 1.0):
        folder = tmp_path / f"at{share}"
        interpolate(tiny_bert, tuned, share, folder)
        found = load_encoder(folder).state_dict()
        assert found.keys() == before.keys()
        for name, part in found.items():
            assert torch.allclose(part, share * after[name] + (1 - share) * before[name], atol=1e-6), name
        assert not (folder / "checkpoint-8").exists()
        assert read_embedder("tiny", folder).instruction == "ask: "
    with pytest.raises(UserError, match="has other weights than"):
        interpolate(tiny_m3, tuned, 0.5, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_too_many_layers_is_one_sentence(make_profile, tiny_bert):
    with pytest.raises(UserError, match="BASE_LAYERS=3: tiny-bert has 2 layers"):
        base_model(make_profile(BASE_MODEL=tiny_bert, BASE_LAYERS=3))


def test_missing_models_are_one_sentence(make_profile, tmp_path, tiny_bert):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="has no config.json"):
        model_folder(str(tmp_path / "empty"))
    (tmp_path / "empty" / "config.json").write_text("{}")
    with pytest.raises(UserError, match="has no weights"):
        model_folder(str(tmp_path / "empty"))
    with pytest.raises(UserError, match="There is no model folder /no/such/model"):
        model_folder("/no/such/model")
    profile = make_profile(BASE_MODEL=tiny_bert, BASE_LAYERS=0)
    with pytest.raises(UserError, match="run bash finetune_neg10.sh first"):
        embedder_settings(profile, "neg10")
    with pytest.raises(UserError, match="name = 'neg' is no training, such as neg10"):
        embedder_settings(profile, "neg")


def test_a_model_has_as_many_positions_as_it_can_count(tmp_path):
    import torch
    from transformers import BertConfig, DistilBertConfig, ModernBertConfig, RobertaConfig

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    sizes |= {"vocab_size": 12, "max_position_embeddings": 20}
    special = {"bos_token_id": 2, "cls_token_id": 2, "eos_token_id": 3, "sep_token_id": 3}
    for config, expected in (
        (BertConfig(**sizes), 20),
        (DistilBertConfig(**sizes), 20),
        (RobertaConfig(**sizes, pad_token_id=1), 18),
        (RobertaConfig(**sizes, pad_token_id=0), 19),
        (ModernBertConfig(**sizes, pad_token_id=0, **special), 20),
    ):
        folder = tmp_path / f"{config.model_type}-{expected}"
        config.save_pretrained(folder)
        assert positions(folder) == expected
        if config.model_type != "modernbert":  # whose positions rotate, without a table that ends
            from transformers import AutoModel

            model = AutoModel.from_config(config)
            model(torch.full((1, expected), 5))
            with pytest.raises((IndexError, RuntimeError)):
                model(torch.full((1, expected + 1), 5))


@pytest.mark.parametrize("key", ["QUERY_MAX_LEN", "PASSAGE_MAX_LEN"])
def test_lengths_beyond_the_positions_are_one_sentence(make_profile, tiny_bert, tiny_m3, key):
    assert getattr(embedder_settings(make_profile(BASE_MODEL=tiny_bert, **{key: 64}), "raw"), key.lower()) == 64
    for model in (tiny_bert, tiny_m3):  # of 66, XLM-R has two for its padding
        with pytest.raises(
            UserError, match=f"^{key}=65: {model.name}-.* has positions for 64 tokens; set at most that"
        ):
            embedder_settings(make_profile(BASE_MODEL=model, BASE_LAYERS=0, **{key: 65}), "raw")


BROKEN = {
    "config.json": [
        b"{",
        b"[]",
        b"{}",
        b"\xff",
        b'{"model_type": "house"}',
        b'{"model_type": "bert", "hidden_size": "x"}',
    ],
    "tokenizer.json": [None, b"", b"{}"],
    "model.safetensors": [b"", b"cut", 5000],
}
BROKEN["config.json"].append(b'{"model_type": "house", "auto_map": {"AutoConfig": "own.C", "AutoModel": "own.M"}}')
BROKEN["config.json"].append(b'{"model_type": "bert", "hidden_size": 16, "num_attention_heads": 2}')  # other weights


@pytest.mark.parametrize(("name", "content"), [(name, c) for name, contents in BROKEN.items() for c in contents])
def test_a_model_that_cannot_be_loaded_is_one_sentence(make_profile, tiny_bert, tmp_path, capfd, name, content):
    folder = shutil.copytree(tiny_bert, tmp_path / "house")  # no name that says what it is
    (folder / "own.py").write_text(f"open({str(tmp_path / 'was run')!r}, 'w')\n")
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes((folder / name).read_bytes()[:content] if isinstance(content, int) else content)
    for layers in (0, 1):
        profile = make_profile(BASE_MODEL=folder, BASE_LAYERS=layers)
        with pytest.raises(
            UserError, match="/house cannot be loaded .*; get it anew, as .safetensors, or give one that"
        ) as error:
            Embedder(embedder_settings(profile, "raw"), profile).encode(["banel"], 24)
        assert "\n" not in str(error.value)
    assert not (tmp_path / "was run").exists()
    assert "[y/N]" not in capfd.readouterr().out


def test_each_model_gets_what_it_was_trained_with(make_profile, tiny_bert):
    profile = make_profile(BASE_MODEL=tiny_bert, BASE_LAYERS=0)
    raw, reference = embedder_settings(profile, "raw"), embedder_settings(profile, "reference")
    assert (raw.pooling, raw.instruction, raw.query_max_len) == ("cls", profile.instruction, 24)
    assert (reference.pooling, reference.instruction, reference.query_max_len) == ("mean", "", 256)


def test_what_no_one_reads_does_not_make_it_another_model(tiny_bert, tmp_path):
    folder = shutil.copytree(tiny_bert, tmp_path / "model")
    before = model_fingerprint(folder)
    for name in ("vocab.txt", "pytorch_model.bin", "README.md"):  # of another program, in a cache that they share
        (folder / name).write_text("more")
    assert model_fingerprint(folder) == before
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content + b" ")
        assert model_fingerprint(folder) != before
        (folder / name).write_bytes(content)
