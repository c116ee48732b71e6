"""The scripts and the notebooks as a user runs them: real torchrun, FlagEmbedding and FAISS on a tiny random BERT."""

import json
import re
import shutil

import nbformat
import numpy as np
import pytest
from conftest import make_pairs, run_bash, table_of, write_jsonl

from helpers.metrics import average, score_queries
from helpers.notebook import store_outputs
from helpers.profile import ROOT, load_profile
from helpers.trec import read_qrels, read_run

pytestmark = pytest.mark.slow

INSTRUCTION = "Represent this sentence for searching relevant passages: "


@pytest.fixture(scope="module")
def series(tiny_bert, tiny_embedder, tmp_path_factory, clean_run):
    """The folders of one `run_all.sh` under the profile `test`, with what it printed."""
    name = clean_run("test-series of pairs")
    path = write_jsonl(tmp_path_factory.mktemp("with space") / "series of pairs.jsonl", make_pairs(120))
    settings = {"PROFILE": "test", "DATASET": path, "BASE_MODEL": tiny_bert, "BASE_LAYERS": 0}
    settings |= {"REFERENCE_MODEL": tiny_embedder}
    done = run_bash(ROOT / "run_all.sh", **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    return ROOT / "ft_data" / name, ROOT / "output" / name, settings, done


def test_steps_are_announced(series):
    *_, done = series
    steps = re.findall(r"^\[ ?(\d+)/13\] .+  \((\d+:\d\d) since the start\)$", done.stdout, re.M)
    assert [int(number) for number, _ in steps] == list(range(1, 14))
    assert len(re.findall(r"^step +\d+/23   loss \d", done.stdout, re.M)) == 2 * 5
    table = done.stdout.splitlines()[-5:]
    assert [line.split()[0] for line in table] == ["bm25", "raw", "neg10", "neg50", "reference"]


def test_data(series):
    data, *_ = series
    assert sorted(path.name for path in data.iterdir()) == [
        "corpus.jsonl",
        "eval_dataset.json",
        "qrels.trec",
        "training_neg_10.json",
        "training_neg_50.json",
    ]
    corpus = [json.loads(line)["text"] for line in (data / "corpus.jsonl").read_text().splitlines()]
    assert len(corpus) == 120
    evaluation = [json.loads(line) for line in (data / "eval_dataset.json").read_text().splitlines()]
    held_out = {text for row in evaluation for text in row["pos"]}
    assert len(evaluation) == 30
    for neg_num in (10, 50):
        rows = [json.loads(line) for line in (data / f"training_neg_{neg_num}.json").read_text().splitlines()]
        assert len(rows) == 90
        assert all(len(set(row["neg"])) == neg_num and not set(row["neg"]) & set(row["pos"]) for row in rows)
        assert held_out.isdisjoint(text for row in rows for text in row["pos"] + row["neg"])


def test_training_moved_the_weights(series, tiny_bert):
    from safetensors.numpy import load_file

    before = load_file(tiny_bert / "model.safetensors")
    for neg_num in (10, 50):
        after = load_file(series[1] / f"tiny-bert_neg{neg_num}" / "model.safetensors")
        assert after.keys() == before.keys()
        name = "encoder.layer.1.output.dense.weight"
        assert np.isfinite(after[name]).all()
        assert not np.allclose(after[name], before[name])


def test_results_and_runs_agree(series):
    data, output, *_ = series
    qrels = read_qrels(data / "qrels.trec")
    fingerprints = set()
    for name in ("raw", "neg10", "neg50", "reference"):
        result = json.loads((output / "results" / f"{name}.json").read_text())
        fingerprints.add(result["data"]["fingerprint"])
        assert result["data"]["queries"] == 30
        assert result["data"]["corpus"] == 120
        assert result["pooling"] == ("mean" if name == "reference" else "cls")
        assert result["instruction"] == ("" if name == "reference" else INSTRUCTION)
        assert set(result["seconds"]) == {"encode_queries", "encode_corpus", "search"}
        run = read_run(output / "runs" / f"{name}.trec")
        assert result["metrics"] == pytest.approx(average(score_queries(qrels, run)))
        assert result["metrics"]["recall@100"] > 0.5  # 100 of 120 passages
        assert average(result["per_query"]) == result["metrics"]
    assert len(fingerprints) == 1


def test_the_comparison_shows_what_was_saved(series):
    _, output, *_ = series
    cells = nbformat.read(output / "notebooks" / "07_compare_models.ipynb", as_version=4).cells
    means = {}
    for name, *words in table_of(cells, "tables.intervals_table"):  # in two parts, one below the other
        if "@" not in name:
            means.setdefault(name, []).extend(float(word) for word in words if word[0] != "[" and word[-1] != "]")
    assert list(means) == ["bm25", "raw", "neg10", "neg50", "reference"]
    for name, values in means.items():
        metrics = json.loads((output / "results" / f"{name}.json").read_text())["metrics"]
        measures = ("hit@1", "recall@10", "recall@100", "mrr@10", "ndcg@10")
        assert values == pytest.approx([metrics[measure] for measure in measures], abs=6e-4)
    pairs = [words[:3] for words in table_of(cells, "tables.pairs_table") if words[1:2] == ["-"] and "±" in words]
    assert len({" ".join(pair) for pair in pairs}) == 10
    assert "vnd.jupyter.widget" not in str(cells)  # dead without its kernel; the table stands in its place
    assert table_of(cells, "search_box(") == table_of(cells, "corpora.ask(question)")


def test_a_rerun_encodes_nothing(series):
    """The vectors of a second run are those of the first, and only the question of the search box is encoded."""
    _, output, settings, _ = series
    before = {path.name: path.stat().st_mtime_ns for path in (output / "vectors").iterdir()}
    assert len(before) == 4 * 2 * 2  # four models, queries and passages, vectors and their seconds
    script = "import sys; from helpers.notebook import main; sys.argv[1:] = ['run', sys.argv[1]]; main()"
    results = output / "results" / "neg10.json"
    first = json.loads(results.read_text())
    done = run_bash("-c", 'python -c "$@"', "-", script, "04_eval_neg10", **settings)
    assert done.returncode == 0, done.stderr
    assert {path.name: path.stat().st_mtime_ns for path in (output / "vectors").iterdir()} == before
    second = json.loads(results.read_text())
    assert second["per_query"] == first["per_query"]
    assert second["seconds"]["encode_corpus"] == first["seconds"]["encode_corpus"]


def test_executed_notebooks_are_tidy(series):
    paths = sorted((series[1] / "notebooks").iterdir())
    assert [path.stem for path in paths] == [
        "01_build_train_dataset_neg_num_10",
        "01_build_train_dataset_neg_num_50",
        "02_build_eval_dataset",
        "03_eval_raw_bert",
        "04_eval_neg10",
        "05_eval_neg50",
        "06_eval_bge_m3",
        "07_compare_models",
        "08_contrastive_loss",
    ]
    for path in paths:
        for cell in nbformat.read(path, as_version=4).cells:
            assert all(output.get("name") != "stderr" for output in cell.get("outputs", []))


def test_outputs_are_stored(series, tmp_path, monkeypatch):
    _, output, settings, _ = series
    for key, value in settings.items():
        monkeypatch.setenv(key, str(value))
    copies = shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    monkeypatch.setattr("helpers.notebook.NOTEBOOKS", copies)
    store_outputs(load_profile())
    for path in sorted(copies.glob("*.ipynb")):
        executed = min((output / "notebooks").glob(f"{path.stem}*"))
        stored, source, done = (
            nbformat.read(p, as_version=4).cells for p in (path, ROOT / "notebooks" / path.name, executed)
        )
        assert [cell.source for cell in stored] == [cell.source for cell in source]
        done = [cell for cell in done if "injected-parameters" not in cell.metadata.get("tags", [])]
        assert [cell.get("outputs") for cell in stored] == [cell.get("outputs") for cell in done]
        assert [cell.get("outputs") for cell in stored] != [cell.get("outputs") for cell in source]


def test_a_second_run_does_not_overwrite_models(series):
    _, output, settings, _ = series
    before = (output / "tiny-bert_neg10" / "model.safetensors").stat().st_mtime_ns
    for script in ("run_all.sh", "finetune_neg10.sh"):
        done = run_bash(ROOT / script, **settings)
        assert done.returncode == 2
        assert done.stderr == (
            f"error: {output}/tiny-bert_neg10 holds the model of an earlier run; "
            "FORCE=1 replaces it, RESUME=1 goes on with it.\n"
        )
    assert (output / "tiny-bert_neg10" / "model.safetensors").stat().st_mtime_ns == before


def test_the_articles_path(tiny_bert, tmp_path, clean_run):
    """PROFILE=msmarco on a local stand-in: a data set with a split `dev` and columns `query` and `positive`."""
    name = clean_run("msmarco-stand_in")
    write_jsonl(tmp_path / "stand_in" / "dev.json", make_pairs(40))
    (tmp_path / "stand_in" / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: dev\n    path: dev.json\n---\n"
    )
    settings = {"PROFILE": "msmarco", "DATASET": tmp_path / "stand_in", "BASE_MODEL": tiny_bert, "SPLIT_KEY": "query"}
    settings |= {"QUERY_MAX_LEN": 64, "PASSAGE_MAX_LEN": 64, "EPOCHS": 1, "LOGGING_STEPS": 2}
    notebook = "import sys; from helpers.notebook import main; sys.argv[1:] = ['run', *sys.argv[1:]]; main()"
    for words in (["01_build_train_dataset", "neg_num=10"], ["02_build_eval_dataset"]):
        done = run_bash("-c", 'python -c "$@"', "-", notebook, *words, **settings)
        assert done.returncode == 0, done.stderr
    done = run_bash(ROOT / "finetune_neg10.sh", **settings)
    assert done.returncode == 0, done.stderr
    assert "finished: " in done.stdout
    assert (ROOT / "output" / name / "tiny-bert_neg10" / "model.safetensors").is_file()
    done = run_bash("-c", 'python -c "$@"', "-", notebook, "04_eval_neg10", **settings)
    assert done.returncode == 0, done.stderr
    result = json.loads((ROOT / "output" / name / "results" / "neg10.json").read_text())
    assert result["data"]["queries"] == 8


@pytest.mark.parametrize("script", ["finetune_neg10.sh", "finetune_neg50.sh"])
def test_scripts_say_what_is_missing(script, clean_run, tmp_path, tiny_bert):
    neg_num = script[12:14]
    path = write_jsonl(tmp_path / f"missing{neg_num}.jsonl", make_pairs(8))
    settings = {"PROFILE": "test", "DATASET": path, "BASE_MODEL": tiny_bert, "BASE_LAYERS": 0}
    data = ROOT / "ft_data" / clean_run(f"test-missing{neg_num}")

    def complaint(**more):
        done = run_bash(ROOT / script, **settings, **more)
        assert done.returncode == 2
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1
        return done.stderr

    assert f"with neg_num = {neg_num} first" in complaint()
    row = {"query": "q", "pos": ["p"], "neg": ["n"] * 3, "id": "1", "prompt": INSTRUCTION}
    write_jsonl(data / f"training_neg_{neg_num}.json", [row | {"neg": ["n"] * 7}, row])
    assert "line 2: 3 negatives, but GROUP_SIZE=8 draws 7" in complaint()
    write_jsonl(data / f"training_neg_{neg_num}.json", [row | {"pos": "p"}])
    assert "line 1: 'pos' is not a list of texts" in complaint()
    (data / f"training_neg_{neg_num}.json").write_text("")
    assert "is empty" in complaint()
    assert "EPOCHS='soon'" in complaint(EPOCHS="soon")
    shutil.rmtree(data)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"PROFILE": "nope"}, "error: PROFILE=nope: there is no profiles/nope.env"),
        ({"DATASET": "/no/such.csv"}, "error: DATASET=/no/such.csv: no such file"),
        ({"PROFILE": "test", "DATASET": "namespace-Pt/msmarco"}, "or run PROFILE=demo, which needs no hub."),
    ],
)
def test_run_all_says_what_is_wrong(settings, sentence, clean_run):
    clean_run("test")
    done = run_bash(ROOT / "run_all.sh", **settings)
    assert done.returncode != 0
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_bad_row_is_one_sentence(clean_run, tmp_path):
    clean_run("test-bad")
    path = tmp_path / "bad.jsonl"
    path.write_text('{"query": "q", "positive": "p"}\n{"query": "q2"}\n')
    done = run_bash(ROOT / "run_all.sh", PROFILE="test", DATASET=path)
    assert done.returncode == 2
    assert done.stderr == (
        f"error: notebooks/01_build_train_dataset.ipynb: {path}, line 2: "
        "'positive' is missing, empty or not a text or a list of texts.\n"
    )


def test_the_two_scripts_differ_in_their_number():
    ten, fifty = (ROOT / f"finetune_neg{neg_num}.sh" for neg_num in (10, 50))
    number = r"(neg\w*(?: ?= ?)?|: )%s\b"
    assert re.sub(number % 10, r"\1NN", ten.read_text()) == re.sub(number % 50, r"\1NN", fifty.read_text())
