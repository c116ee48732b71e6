"""A tiny random BERT, made-up pairs, and a clean place for what a run leaves."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # read when the hub's library is imported; without it, it tries for half a minute
os.environ["OMP_NUM_THREADS"] = "1"  # workers share the cores, and threads that have none wait in a loop

import hypothesis
import pytest

from helpers.base.profile import KEYS, ROOT, load_profile

WORDS = [a + b for a in ("ba", "de", "ki", "lo", "mu", "ra", "se", "ti") for b in ("nel", "rak", "sot", "vim", "zup")]

# The first example imports libraries, and nothing is left in the folder of whoever runs the tests.
hypothesis.settings.register_profile("any machine", deadline=None, database=None)
hypothesis.settings.load_profile("any machine")


def make_pairs(count: int) -> list[dict]:
    rng = random.Random(0)
    return [
        {"query": " ".join(rng.sample(WORDS, 3)), "positive": [" ".join(rng.sample(WORDS, 12)) + f" {number}"]}
        for number in range(count)
    ]


def make_rows(count: int, neg_num: int, prompt: str = "ask: ") -> list[dict]:
    """Return training rows as notebook 01 writes them."""
    rng = random.Random(1)
    pairs = make_pairs(count)
    passages = [pair["positive"][0] for pair in pairs]
    return [
        {
            "query": pair["query"],
            "pos": pair["positive"],
            "neg": rng.sample([text for text in passages if text not in pair["positive"]], neg_num),
            "id": str(number),
            "prompt": prompt,
        }
        for number, pair in enumerate(pairs)
    ]


def write_jsonl(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf8")
    return path


def table_of(cells: list, call: str) -> list[list[str]]:
    """Return the table that the one notebook cell with a call shows in its plain form, as lines of words."""
    [table] = [
        output.data["text/plain"]
        for cell in cells
        if cell.cell_type == "code" and call in cell.source
        for output in cell.outputs
        if output.output_type in ("execute_result", "display_data")
    ]
    return [line.split() for line in table.splitlines() if line.strip()]


LONGEST = ("test_series.py", "test_languages.py", "test_faults.py", "test_stored_outputs.py", "test_finetune.py")


def pytest_collection_modifyitems(items):
    """Put the files that take minutes first: a worker that began with one at the end would keep the others waiting."""
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.fixture(autouse=True)
def no_overrides(monkeypatch):
    """Keep the settings of whoever runs the tests out of them."""
    for key in ("PROFILE", "FORCE", "RESUME", "CHECK", *KEYS):
        monkeypatch.delenv(key, raising=False)


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory) -> Path:
    """A BERT of two layers and random weights, with a tokenizer for `WORDS`."""
    return make_bert(tmp_path_factory.mktemp("models") / "tiny-bert", WORDS)


def make_bert(folder: Path, words: list[str]) -> Path:
    """Save a BERT of two layers and random weights, whose tokenizer knows ASCII and some words, in a folder."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, set_seed

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [chr(c) for c in range(33, 127)] + ["##" + chr(c) for c in range(33, 127)]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys(special + pieces + words))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    set_seed(0)
    BertModel(
        BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=64,
            initializer_range=0.2,  # at BERT's 0.02 all texts get nearly the same CLS vector
        )
    ).save_pretrained(folder)
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), special, strict=True))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_embedder(tiny_bert) -> Path:
    """`tiny_bert` as a sentence-transformers model with mean pooling and no instruction."""
    from helpers.encoding.settings import EmbedderSettings, write_embedder

    folder = tiny_bert.parent / "tiny-embedder"
    folder.mkdir()
    write_embedder(tiny_bert, folder, EmbedderSettings("tiny-embedder", folder, "mean", "", "", 24, 24))
    return folder


@pytest.fixture(scope="session")
def tiny_m3(tmp_path_factory) -> Path:
    """An XLM-R of one layer and random weights, as a sentence-transformers model with CLS pooling."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel, set_seed

    from helpers.encoding.settings import EmbedderSettings, write_embedder

    special = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = [(token, 0.0) for token in special]
    pieces += [(piece, -1.0) for word in WORDS for piece in ("\u2581" + word, word)]
    pieces += [(chr(c), -9.0) for c in (*range(33, 127), 0x2581)]
    tokenizer = Tokenizer(models.Unigram(list(dict(pieces).items()), unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    set_seed(1)
    plain = tmp_path_factory.mktemp("models") / "plain-m3"
    XLMRobertaModel(
        XLMRobertaConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=66,
            initializer_range=0.2,
        )
    ).save_pretrained(plain)
    names = dict(zip(("cls_token", "pad_token", "sep_token", "unk_token"), special, strict=True))
    names |= {"bos_token": "<s>", "eos_token": "</s>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names).save_pretrained(plain)
    config = json.loads((plain / "tokenizer_config.json").read_text())
    (plain / "tokenizer_config.json").write_text(json.dumps(config | {"tokenizer_class": "XLMRobertaTokenizer"}))
    folder = plain.with_name("tiny-m3")
    folder.mkdir()
    write_embedder(plain, folder, EmbedderSettings("tiny-m3", folder, "cls", "", "", 64, 64))
    return folder


@pytest.fixture(scope="module")
def articles_hub(tiny_bert, tiny_m3):
    """A Hub on loopback with the article's three repositories; a test may have altered it."""
    import loopback_hub

    hub = loopback_hub.articles_hub(tiny_bert, tiny_m3, make_pairs(120)).start()
    yield hub
    hub.stop()


@pytest.fixture(scope="session")
def certain_bert(tiny_bert) -> Path:
    """`tiny_bert` without dropout."""
    folder = shutil.copytree(tiny_bert, tiny_bert.parent / "certain-bert")
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


# A program that prints where the base model of the profile in force is.
BASE_MODEL = """
from helpers.base.errors import run_command
from helpers.base.profile import load_profile
from helpers.encoding.models import base_model
print(run_command(lambda: base_model(load_profile())))
"""


@pytest.fixture
def make_profile(tmp_path, monkeypatch):
    """Return a function that loads a profile whose files go to a temporary folder."""
    monkeypatch.setattr("helpers.base.profile.ROOT", tmp_path)
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    for script in ROOT.glob("finetune_*.sh"):
        shutil.copy(script, tmp_path)

    def make(name: str = "test", **settings: object):
        return load_profile(name, {key: str(value) for key, value in settings.items()})

    return make


@pytest.fixture(scope="session")
def project(tmp_path_factory) -> Path:
    """A copy of the project, so that nobody's own data, models and results are touched; its folder has a hard name."""
    ignored = (".git", ".venv*", ".serve", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis", "tests", "*.log")
    copy = tmp_path_factory.mktemp("copy") / "pro {ject} [项目]"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*ignored))
    for name in ("ft_data", "output"):
        shutil.rmtree(copy / name)
        (copy / name).mkdir()
    return copy


def environ_of(project: Path, settings: dict[str, object]) -> dict[str, str]:
    """Return an environment in which `helpers` are those of a copy of the project, with settings for it.

    Own files need no cache of the Hub's library, which has no place there, unless the settings give it one.
    """
    environ = os.environ | {"PYTHONPATH": str(project), "HF_HOME": "/dev/null/none"}
    environ |= {key: str(value) for key, value in settings.items()}
    if not environ.get("VIRTUAL_ENV") and not environ.get("CONDA_PREFIX"):  # started by the path of this very Python
        environ |= {"VIRTUAL_ENV": sys.prefix, "PATH": f"{Path(sys.executable).parent}:{environ['PATH']}"}
    return environ


def run_bash(script: Path, *words: object, **settings: object) -> subprocess.CompletedProcess:
    """Run a script of a copy of the project from another folder, as a user would, with settings in the environment."""
    command = ["bash", str(script), *map(str, words)]
    environ = environ_of(script.parent, settings)
    return subprocess.run(command, cwd="/", env=environ, capture_output=True, text=True, timeout=600, check=False)


def run_python(project: Path, *words: object, **settings: object) -> subprocess.CompletedProcess:
    """Run Python with the `helpers` of a copy of the project, in a fresh process and another folder.

    A notebook's kernel drops the folder in which it is started from the front of its path, and with it the copy.
    """
    command = [sys.executable, *map(str, words)]
    environ = environ_of(project, settings)
    return subprocess.run(command, cwd="/", env=environ, capture_output=True, text=True, timeout=600, check=False)
