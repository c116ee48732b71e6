"""A model that travels: FlagEmbedding and sentence-transformers make the same vectors of the same folder."""

import json
import shutil

import numpy as np
import pytest
from conftest import make_pairs

from helpers.base.errors import UserError
from helpers.base.files import write_json
from helpers.encoding.encoder import Embedder
from helpers.encoding.settings import EmbedderSettings, embedder_settings, read_embedder, write_embedder
from helpers.sampling import save_eval_set


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


def test_no_text_is_longer_than_the_models_positions(tiny_m3, tmp_path):
    folder = shutil.copytree(tiny_m3, tmp_path / "other")  # its 66 positions begin after that of the padding
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 8192})
    settings = read_embedder("other", folder)
    assert (settings.query_max_len, settings.passage_max_len) == (64, 64)
    write_json(folder / "sentence_bert_config.json", {"query_length": 20, "document_length": 500})
    settings = read_embedder("other", folder)
    assert (settings.query_max_len, settings.passage_max_len) == (20, 64)
    (folder / "sentence_bert_config.json").rename(folder / "sentence_xlm-roberta_config.json")
    write_json(folder / "sentence_xlm-roberta_config.json", {"max_seq_length": 30})
    assert read_embedder("other", folder).query_max_len == 30
    (folder / "sentence_xlm-roberta_config.json").unlink()
    config = json.loads((folder / "tokenizer_config.json").read_text())
    write_json(folder / "tokenizer_config.json", config | {"model_max_length": 10**30})
    assert read_embedder("other", folder).passage_max_len == 64


POOLING = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True}
ASK, MODULES = {"prompts": {"query": "ask: "}}, "config_sentence_transformers.json"
NO_NORMALIZE = [{"path": "", "type": "sentence_transformers.models.Transformer"}]
NO_NORMALIZE += [{"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({"1_Pooling/config.json": {"embedding_dimension": 32, "pooling_mode": "max"}}, "pooling max"),
        ({"1_Pooling/config.json": POOLING | {"pooling_mode_cls_token": True}}, "pooling mean and cls"),
        ({"1_Pooling/config.json": {"embedding_dimension": 32, "pooling_mode": ["cls", "mean"]}}, r"pooling \['cls', "),
        ({"1_Pooling/config.json": {"embedding_dimension": 32, "pooling_mode": "mean"}}, None),
        ({"1_Pooling/config.json": {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": False}}, None),
        ({"1_Pooling/config.json": POOLING | {"word_embedding_dimension": 768}}, "pooling of 768 dimensions"),
        ({"1_Pooling/config.json": POOLING | {"include_prompt": False}, MODULES: ASK}, "a prompt that is not pooled"),
        ({"1_Pooling/config.json": POOLING | {"include_prompt": False}}, None),
        ({"modules.json": NO_NORMALIZE, MODULES: {"similarity_fn_name": "dot"}}, "similarity dot"),
        ({MODULES: {"similarity_fn_name": "dot"}}, None),
        ({MODULES: {"similarity_fn_name": "euclidean"}}, None),
        ({MODULES: {"similarity_fn_name": "manhattan"}}, "similarity manhattan"),
        ({"modules.json": NO_NORMALIZE}, None),
        ({"modules.json": [*NO_NORMALIZE, {"path": "3", "type": "a.b.Dense"}]}, "a.b.Dense"),
        ({"modules.json": [*NO_NORMALIZE, {"path": "", "type": "own.Transformer"}]}, "own.Transformer"),
        ({"sentence_bert_config.json": {"do_lower_case": True}}, "lower case"),
    ],
)
def test_what_a_model_wants_is_done_or_refused(tiny_embedder, tmp_path, files, wanted):
    folder = shutil.copytree(tiny_embedder, tmp_path / "other")
    (folder / "own.py").write_text(f"open({str(tmp_path / 'was run')!r}, 'w')\n")
    for name, value in files.items():
        write_json(folder / name, value)
    if wanted is None:
        assert read_embedder("other", folder).pooling == "mean"
    else:
        with pytest.raises(UserError, match=f"/other wants {wanted}.*, which is not supported; give a BERT-like"):
            read_embedder("other", folder)
    assert not (tmp_path / "was run").exists()


def test_files_that_do_not_tell_are_one_sentence(tiny_bert, tiny_embedder, tmp_path):
    with pytest.raises(UserError, match=r"has no modules.json, so nothing says how tiny pools its vectors"):
        read_embedder("tiny", tiny_bert)
    folder = shutil.copytree(tiny_embedder, tmp_path / "other")
    for name in ("modules.json", "1_Pooling/config.json", "sentence_bert_config.json", MODULES):
        before = (folder / name).read_bytes()
        for content in ("[{", '["a"]', "5", '[{"path": 1}]', "\udcff"):
            (folder / name).write_bytes(content.encode(errors="surrogateescape"))
            with pytest.raises(UserError, match="cannot be (loaded|read) .*; get (it anew|the model again)") as error:
                read_embedder("other", folder)
            assert "\n" not in str(error.value)
        (folder / name).write_bytes(before)


def test_a_set_of_all_queries_measures_no_model_that_was_trained_on_them(make_profile):
    """Whatever the environment says by then."""
    pairs, profile = [pair | {"id": f"q{number}"} for number, pair in enumerate(make_pairs(12))], make_profile()
    save_eval_set(pairs, pairs, make_profile(EVAL_SHARE=1))
    with pytest.raises(UserError, match="evaluates on the queries that neg10 was trained on; run notebooks/02_build"):
        embedder_settings(profile, "neg10")
    save_eval_set(pairs[:3], pairs, profile)
    with pytest.raises(UserError, match="There is no finished model"):
        embedder_settings(profile, "neg10")
