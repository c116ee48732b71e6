"""A model that travels: FlagEmbedding and sentence-transformers make the same vectors of the same folder."""

import json
import shutil

import numpy as np
import pytest
from conftest import make_pairs

from helpers.base.errors import UserError
from helpers.base.files import write_json
from helpers.encoding.encoder import Embedder
from helpers.encoding.settings import EmbedderSettings, read_embedder, write_embedder


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
