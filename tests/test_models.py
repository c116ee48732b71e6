import pytest

from helpers import models
from helpers.encoding import embedder_settings
from helpers.errors import UserError
from helpers.models import base_model, model_folder


def test_packaged_weights_are_the_official_ones(monkeypatch):
    assert (model_folder("all-MiniLM-L6-v2") / "model.safetensors").is_file()
    package, inside, _ = models.PACKAGED["all-MiniLM-L6-v2"]
    monkeypatch.setitem(models.PACKAGED, "all-MiniLM-L6-v2", (package, inside, "0" * 64))
    with pytest.raises(UserError, match="does not hold the official weights"):
        model_folder("all-MiniLM-L6-v2")


def test_the_cut_model_is_the_lower_layers(make_profile, tiny_bert):
    import torch
    from transformers import AutoModel

    profile = make_profile(BASE_MODEL=tiny_bert, BASE_LAYERS=1)
    folder = base_model(profile)
    assert folder == profile.output_dir / "tiny-bert-first1"
    whole, cut = AutoModel.from_pretrained(tiny_bert), AutoModel.from_pretrained(folder)
    ids = torch.tensor([[2, 7, 9, 3]])
    with torch.no_grad():
        hidden = whole.eval()(ids, output_hidden_states=True).hidden_states[1]
        assert torch.equal(cut.eval()(ids).last_hidden_state, hidden)
    assert base_model(profile) == folder
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


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
    with pytest.raises(UserError, match=r"BAAI/bge-m3 could not be had .* or run PROFILE=demo, which needs no hub"):
        model_folder("BAAI/bge-m3", "5617a9f61b028005a4858fdac845db406aefb181")
    profile = make_profile(BASE_MODEL=tiny_bert, BASE_LAYERS=0)
    with pytest.raises(UserError, match="run bash finetune_neg10.sh first"):
        embedder_settings(profile, "neg10")
    with pytest.raises(UserError, match="name = 'neg' is no model of this series"):
        embedder_settings(profile, "neg")


def test_each_model_gets_what_it_was_trained_with(make_profile, tiny_bert):
    profile = make_profile(BASE_MODEL=tiny_bert, BASE_LAYERS=0)
    raw, reference = embedder_settings(profile, "raw"), embedder_settings(profile, "reference")
    assert (raw.pooling, raw.instruction, raw.query_max_len) == ("cls", profile.instruction, 24)
    assert (reference.pooling, reference.instruction, reference.query_max_len) == ("mean", "", 256)
