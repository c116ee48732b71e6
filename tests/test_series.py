"""The scripts and the notebooks as a user runs them: real torchrun, FlagEmbedding and FAISS on a tiny random BERT."""

import json
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
from conftest import BASE_MODEL, make_pairs, run_bash, run_python, table_of, write_jsonl
from loopback_hub import BERT, BGE_M3, MSMARCO
from safetensors.numpy import load_file

import helpers.__main__ as commands
from helpers.base.profile import ROOT, load_profile
from helpers.base.trec import read_qrels, read_run
from helpers.evaluation.metrics import average, score_queries

pytestmark = pytest.mark.slow

RAW = "bert-base-uncased"
INSTRUCTION = "Represent this sentence for searching relevant passages: "


@pytest.fixture(scope="module")
def series(project, articles_hub, tmp_path_factory):
    """The folders of one `run_all.sh` over a Hub on loopback, with the settings that led there and what it printed.

    It is the article's profile, with the lengths and the epochs of a tiny model.
    """
    settings = {"PROFILE": "msmarco", "HF_ENDPOINT": articles_hub.url, "HF_HUB_OFFLINE": 0}
    settings |= {"HF_HOME": tmp_path_factory.mktemp("hub") / "hf home", "HF_HUB_DISABLE_PROGRESS_BARS": 1}
    settings |= {"QUERY_MAX_LEN": 24, "PASSAGE_MAX_LEN": 24, "EPOCHS": 1, "LEARNING_RATE": 1e-3, "LOGGING_STEPS": 5}
    settings |= {"EVAL_SHARE": 0.25, "ENCODE_TOKENS": 256}
    done = run_bash(project / "run_all.sh", **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    return project / "ft_data" / "msmarco", project / "output" / "msmarco", settings, done


def test_from_the_hub_came_what_is_read_and_once(series, articles_hub):
    configs = ["config.json", "tokenizer.json", "tokenizer_config.json"]
    assert articles_hub.fetched(BERT) == sorted([*configs, "model.safetensors"])
    modules = [
        "modules.json",
        "sentence_bert_config.json",
        "config_sentence_transformers.json",
        "1_Pooling/config.json",
    ]
    assert articles_hub.fetched(BGE_M3) == sorted([*configs, *modules, "pytorch_model.bin"])
    assert articles_hub.fetched(MSMARCO) == ["README.md", "data/dev-00000-of-00001.parquet"]


def test_steps_are_announced(series):
    *_, done = series
    steps = re.findall(r"^\[ ?(\d+)/13\] .+  \((\d+:\d\d) since the start\)$", done.stdout, re.M)
    assert [int(number) for number, _ in steps] == list(range(1, 14))
    assert len(re.findall(r"^step +\d+/23   loss \d", done.stdout, re.M)) == 2 * 5
    assert [line.split()[0] for line in table_printed(done)] == ["bm25", "raw", "neg10", "neg50", "reference"]


def test_data(series, articles_hub):
    data, *_ = series
    commit = articles_hub.repos["datasets", MSMARCO].commit
    assert sorted(path.name for path in data.glob("[!.]*")) == [
        "corpus.jsonl",
        "eval_dataset.json",
        "eval_set.made.json",
        "pairs.jsonl",
        "pairs.made.json",
        "qrels.trec",
        "training_neg_10.audit.json",
        "training_neg_10.json",
        "training_neg_10.made.json",
        "training_neg_50.audit.json",
        "training_neg_50.json",
        "training_neg_50.made.json",
    ]
    assert json.loads((data / "pairs.made.json").read_text())["made_from"]["source"] == f"{MSMARCO}@{commit}"
    corpus = [row["text"] for row in read_rows(data / "corpus.jsonl")]
    assert len(corpus) == 120
    evaluation = read_rows(data / "eval_dataset.json")
    held_out = {text for row in evaluation for text in row["pos"]}
    assert len(evaluation) == 30
    for neg_num in (10, 50):
        rows = read_rows(data / f"training_neg_{neg_num}.json")
        assert len(rows) == 90
        assert all(len(set(row["neg"])) == neg_num and not set(row["neg"]) & set(row["pos"]) for row in rows)
        assert held_out.isdisjoint(text for row in rows for text in row["pos"] + row["neg"])


def test_training_moved_the_weights(series, tiny_bert):
    before = load_file(tiny_bert / "model.safetensors")
    for neg_num in (10, 50):
        after = load_file(series[1] / f"bert-base-uncased_neg{neg_num}" / "model.safetensors")
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
        fingerprints.add(result["made_from"]["evaluation set"])
        assert result["data"]["queries"] == 30
        assert result["data"]["corpus"] == 120
        assert result["made_from"]["pooling"] == "cls"
        assert result["made_from"]["instruction"] == ("" if name == "reference" else INSTRUCTION)
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
    assert len(table_of(cells, "ask(question, eval_set, models)")) > 5


def table_printed(done, rows=5):
    return done.stdout.splitlines()[-rows:]


def read_rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


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


def test_outputs_are_stored(series, project):
    _, output, settings, _ = series
    done = run_python(project, "-m", "helpers", "store", **settings)
    assert done.returncode == 0, done.stderr
    for path in sorted((project / "notebooks").glob("0[1-8]*.ipynb")):  # run_all.sh leaves 09 out
        executed = min((output / "notebooks").glob(f"{path.stem}*"))
        stored, source, done = (
            nbformat.read(p, as_version=4).cells for p in (path, ROOT / "notebooks" / path.name, executed)
        )
        assert [cell.source for cell in stored] == [cell.source for cell in source]
        done = [cell for cell in done if "injected-parameters" not in cell.metadata.get("tags", [])]
        assert [cell.get("outputs") for cell in stored] == [cell.get("outputs") for cell in done]
        assert [cell.get("outputs") for cell in stored] != [cell.get("outputs") for cell in source]


def test_a_second_time_without_a_network_and_with_another_number(series, project, articles_hub):
    """neg_num edited in 01, a copy of a script with it, the name in 04; what was made before is found again."""
    data, output, settings, _ = series
    settings = settings | {"HF_HUB_OFFLINE": 1}
    asked = len(articles_hub.asked)

    def notebook(*words):
        done = run_python(project, "-m", "helpers", "notebook", *words, **settings)
        return done.returncode, done.stderr

    def results():
        kept = {path.stem: json.loads(path.read_text()) for path in (output / "results").glob("*.json")}
        return {name: result["metrics"] for name, result in kept.items()}

    def vectors():
        return {path.name: path.stat().st_mtime_ns for path in (output / "vectors").glob("[!.]*")}

    before = results(), vectors()
    made = {path: path.stat().st_mtime_ns for path in data.glob("[!.]*")}
    assert len(vectors()) == (2 * 4 + 1) * 2  # four models, queries and passages, and queries without the instruction
    for words in (["01_build_train_dataset", "neg_num=25"], ["02_build_eval_dataset"]):
        assert notebook(*words) == (0, "")
    status, said = notebook("04_eval_neg10", "name=neg25")
    assert (status, len(said.splitlines())) == (2, 1)
    assert "finetune_neg25.sh" in said
    script = project / "finetune_neg25.sh"
    script.write_text(project.joinpath("finetune_neg10.sh").read_text().replace("neg_num=10", "neg_num=25"))
    done = run_bash(script, **settings)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"{output}/bert-base-uncased_neg25\n")
    assert (results(), vectors()) == before
    assert notebook("04_eval_neg10", "name=neg25") == (0, "")
    result = json.loads((output / "results" / "neg25.json").read_text())
    assert result["model"] == "output/msmarco/bert-base-uncased_neg25"
    for path in (script, output / "results" / "neg25.json", output / "runs" / "neg25.trec"):
        path.unlink()
    for words in (["01_build_train_dataset", "neg_num=10"], ["02_build_eval_dataset"]):
        assert notebook(*words) == (0, "")
    assert {path: path.stat().st_mtime_ns for path in made} == made
    assert notebook("06_eval_bge_m3") == (0, "")
    assert results() == before[0]
    assert before[1].items() <= vectors().items()
    assert len(articles_hub.asked) == asked


COMMANDS = {
    "settings": r"^PROFILE=msmarco$",
    "doctor": r"^msmarco +PROFILE=msmarco works, without the Hub$",
    "audit neg10": r"^verdict: ",
    "metrics {data}/qrels.trec {output}/runs/neg10.trec": r"^recall@100\t0\.[5-9]",
    "metrics --article": r"^neg50\tndcg@10\t0\.\d{4}$",
    "search banel reference": r"^5 +.+ \(0\.\d\d\)$",
    "report": r"^reference +bge-m3 +0\.\d{4} ",
    "check neg26": r"^$",
    "clean": r"^0 files of vectors in .*vectors can go; add --yes to remove them\.$",
    "publish neg10 you/your-model": r"^ +[\d,]+  model\.safetensors$",
    "benchmark encode neg10": r"^sentence-transformers +[\d.]+ texts/s",
    "benchmark step neg10 3": r"^without dropout, the loss of a step differs by (0\.0e\+00|[\d.]+e-(0[5-9]|1\d))",
    "benchmark search 2000": r"^2,000 vectors of 384, 3 MB on disk",
    "benchmark index 2000": r"^ +2,000  IVF128,PQ48np +finds +\d+\.\d%  ",
    "benchmark memory 1000": r"^1,000 queries, 0\.0\d GB of rows$",
}
# run_all.sh or another test has run them
ON_THE_WAY = {"scale", "prepare", "log", "notebook", "store", "card", "documents", "learning-curve", "recipes"}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_in_a_process_of_its_own(series, project, command):
    data, output, settings, _ = series
    words = [word.format(data=data, output=output) for word in command.split()]
    done = run_python(project, "-m", "helpers", *words, **settings | {"HF_HUB_OFFLINE": 1})
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(COMMANDS[command], done.stdout, re.M), done.stdout


def test_no_command_is_left_out():
    names = {
        command.name or command.callback.__name__.replace("_", "-")
        for door in (commands.door, commands.benchmarks)  # of `scale` tests/scale/ has what it does
        for command in door.registered_commands
    }
    assert names == ON_THE_WAY | {words.removeprefix("benchmark ").split()[0] for words in COMMANDS}


def test_the_door_lists_its_commands_and_says_what_is_wrong(project):
    done = run_python(project, "-m", "helpers")
    listed = done.stdout
    assert (done.returncode, done.stderr) == (0, "")
    assert all(f"  {command.split()[0]}  " in listed for command in COMMANDS)
    assert "..." not in listed.partition("Commands:")[2]  # each fits on its line
    wrong = run_python(project, "-m", "helpers", "metrics", "qrels")
    assert (wrong.returncode, wrong.stdout, len(wrong.stderr.splitlines())) == (2, "", 1)


def test_what_needs_a_card_says_so(project):
    import torch

    done = run_python(project, "-m", "helpers", "benchmark", "card")
    if torch.cuda.is_available():
        assert "a large batch in chunks" in done.stdout
    else:
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


def test_a_model_is_pushed_and_comes_back(series, project, articles_hub):
    _, output, settings, _ = series
    words = ("-m", "helpers", "publish", "neg10", "you/your-model", "--push")
    done = run_python(project, *words, **settings)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    done = run_python(project, *words, **settings | {"HF_TOKEN": "hf_token", "HF_HUB_DISABLE_XET": 1})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith(f"pushed: {articles_hub.url}/you/your-model/commit/")
    repo = articles_hub.repos["models", "you/your-model"]
    assert repo.private
    assert {"README.md", "modules.json", "1_Pooling/config.json"} < repo.files.keys()
    assert not any("checkpoint" in path or path in ("made.json", "loss.jsonl") for path in repo.files)
    folder = output / "bert-base-uncased_neg10"
    assert repo.files["model.safetensors"] == (folder / "model.safetensors").read_bytes()
    more = {"HF_TOKEN": "hf_token", "BASE_MODEL": "you/your-model", "BASE_REVISION": ""}
    done = run_python(project, "-c", BASE_MODEL, **settings | more)
    assert done.returncode == 0, done.stderr
    assert (
        load_file(Path(done.stdout.strip()) / "model.safetensors").keys()
        == load_file(folder / "model.safetensors").keys()
    )


def test_what_would_bring_more(series, project, articles_hub):
    """Hard negatives, a ready-made start and a teacher: trained, evaluated, compared by one script."""
    data, output, settings, _ = series
    settings = settings | {"READY_MADE_MODEL": BGE_M3, "READY_MADE_REVISION": ""}
    before = {path: path.read_bytes() for path in (output / "results").glob("*.json")}
    done = run_bash(project / "run_more.sh", **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[0] for line in table_printed(done, 8)] == [
        *["bm25", "raw", "neg10", "neg50", "hard"],
        *["taught", "reference", "ready_made"],
    ]
    rows = {name: read_rows(data / f"training_{name}.json") for name in ("neg_10", "hard", "ready_made", "taught")}
    held_out = {text for row in read_rows(data / "eval_dataset.json") for text in row["pos"]}
    for drawn, hard, taught in zip(rows["neg_10"], rows["hard"], rows["taught"], strict=True):
        assert (hard["query"], hard["pos"]) == (drawn["query"], drawn["pos"])
        assert len(set(hard["neg"])) == 10 and not set(hard["neg"]) & {*hard["pos"], *held_out}
        assert {name: taught[name] for name in hard} == hard
        assert [len(taught[f"{side}_scores"]) for side in ("pos", "neg")] == [len(hard["pos"]), 10]
    mined = sum(bool(set(a["neg"]) - set(b["neg"])) for a, b in zip(rows["hard"], rows["neg_10"], strict=True))
    assert mined > 80
    assert {row["prompt"] for row in rows["ready_made"]} == {""}
    cards = {name: (output / f"{name}" / "README.md").read_text() for name in ("bge-m3_ready_made", f"{RAW}_taught")}
    assert f"base_model: {BGE_M3}\n" in cards["bge-m3_ready_made"]
    assert "--knowledge_distillation True" in cards[f"{RAW}_taught"]
    assert len([name for name, _ in articles_hub.served if "Nano" in name]) == 12 * 3  # what a model may forget
    cells = nbformat.read(output / "notebooks" / "11_finetune_ready_made.ipynb", 4).cells
    said = "".join(o.get("text", "") for cell in cells for o in cell.get("outputs", []))
    assert len(re.findall("^NanoBEIR +5 queries, +5 passages", said, re.M)) == 12  # of 6 one is a pair
    cells = nbformat.read(output / "notebooks" / "07_compare_models.ipynb", 4).cells
    assert [row[0] for row in table_of(cells, "fuse(runs")[-1:]] == ["reference,"]  # reranked
    for name in ("hard", "ready_made", "taught"):
        for path in (output / "results" / f"{name}.json", output / "runs" / f"{name}.trec"):
            path.unlink()
    for path, content in before.items():
        path.write_bytes(content)


def test_a_second_run_does_not_overwrite_models(series, project):
    _, output, settings, _ = series
    before = (output / "bert-base-uncased_neg10" / "model.safetensors").stat().st_mtime_ns
    for script in ("run_all.sh", "finetune_neg10.sh"):
        done = run_bash(project / script, **settings)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
        assert done.stderr.startswith(f"error: {output}/bert-base-uncased_neg10 ")
    assert (output / "bert-base-uncased_neg10" / "model.safetensors").stat().st_mtime_ns == before


def test_a_script_says_what_is_missing(project, tmp_path, tiny_bert):
    path = write_jsonl(tmp_path / "missing.jsonl", make_pairs(8))
    settings = {"PROFILE": "test", "DATASET": path, "BASE_MODEL": tiny_bert, "BASE_LAYERS": 0}
    profile = load_profile("test", {key: str(value) for key, value in settings.items()})
    data = project / "ft_data" / profile.run_name

    def complaint(**more):
        done = run_bash(project / "finetune_neg50.sh", **settings, **more)
        assert done.returncode == 2
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1
        return done.stderr

    assert "training_neg_50.json" in complaint()
    row = {"query": "q", "pos": ["p"], "neg": ["n"] * 3, "id": "1", "prompt": INSTRUCTION}
    write_jsonl(data / "training_neg_50.json", [row | {"neg": ["n"] * 7}, row])
    assert "training_neg_50.json, line 2: " in complaint()
    assert "EPOCHS" in complaint(EPOCHS="soon")


@pytest.mark.parametrize(
    ("settings", "beginning"),
    [
        ({"PROFILE": "nope"}, "error: PROFILE=nope: "),
        ({"DATASET": "/no/such.csv"}, "error: DATASET=/no/such.csv: "),
        ({"PROFILE": "test", "PASSAGE_MAX_LEN": 513}, "error: PASSAGE_MAX_LEN=513: "),
        ({"PROFILE": "test", "REFERENCE_MODEL": "/no/such/model"}, "error: There is no model folder /no/such/model; "),
        ({"PROFILE": "test", "DATASET": "namespace-Pt/msmarco"}, "error: notebooks/01_build_train_dataset.ipynb: name"),
    ],
)
def test_run_all_says_what_is_wrong(project, settings, beginning):
    done = run_bash(project / "run_all.sh", **settings)
    assert done.returncode != 0
    assert done.stderr.startswith(beginning)
    assert len(done.stderr.splitlines()) == 1


def test_a_bad_row_is_one_sentence(project, tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text('{"query": "q", "positive": "p"}\n{"query": "q2"}\n')
    done = run_bash(project / "run_all.sh", PROFILE="test", DATASET=path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"error: notebooks/01_build_train_dataset.ipynb: {path}, line 2: ")


def test_the_scripts_are_equal_but_for_the_line_that_names_the_training():
    """And for what their headers say of it."""
    scripts = {}
    for path in ROOT.glob("finetune_neg*.sh"):
        [number] = re.findall(r"^neg_num=(\d+)$", path.read_text(), re.M)
        assert path.name == f"finetune_neg{number}.sh"
        scripts[path.name] = re.sub(rf"(neg\w*(?: ?= ?)?|: ){number}\b", r"\1NN", path.read_text())
    assert len(scripts) == 2
    assert len(set(scripts.values())) == 1
