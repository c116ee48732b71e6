"""The series on pairs in Chinese, in two languages, on seven pairs, and on a folder that only evaluates."""

import json
import random
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from conftest import environ_of, make_bert, run_bash, run_python, write_jsonl

from helpers.base.manifest import read_manifest
from helpers.encoding.settings import EmbedderSettings, write_embedder

pytestmark = pytest.mark.slow

THINGS = "路由器 打印机 冰箱 洗衣机 台灯 耳机 相机 键盘 空调 水壶 电视 门锁 手表 风扇 烤箱 音箱".split()  # noqa: SIM905
ACTS = {
    "重置密码": "长按侧面的按钮直到指示灯变绿",
    "更换滤芯": "取下背后的盖板换上新的配件",
    "联网": "扫描说明书上的图案",
    "清洗": "断开电源用湿布擦拭",
}
ENGLISH = ["hold the button", "take off the cover", "scan the picture", "wipe with a wet cloth"]


def chinese_pairs() -> list[dict]:
    return [
        {"question": f"{thing}怎么{act}？", "answer": f"{answer}，{thing}就会恢复。"}
        for thing in THINGS
        for act, answer in ACTS.items()
    ]


def english_answers() -> list[dict]:
    return [
        {"question": row["question"], "answer": f"Device {i // 4}: {ENGLISH[i % 4]}."}
        for i, row in enumerate(chinese_pairs())
    ]


@pytest.fixture(scope="module")
def zh_bert(tmp_path_factory) -> Path:
    """A tiny BERT that knows the characters of these pairs."""
    characters = sorted(
        set(
            "".join(row["question"] + row["answer"] for row in chinese_pairs())
            + "为这个句子生成表示以用于检索相关文章："
        )
    )
    return make_bert(tmp_path_factory.mktemp("models") / "zh-bert", characters)


@pytest.fixture(scope="module")
def settings(zh_bert) -> dict[str, object]:
    """The profile for Chinese pairs, with models that are here, and as little training as there can be."""
    embedder = zh_bert.with_name("zh-embedder")
    embedder.mkdir()
    write_embedder(zh_bert, embedder, EmbedderSettings("zh-embedder", embedder, "mean", "", "", 64, 64))
    models = {"BASE_MODEL": zh_bert, "BASE_REVISION": "", "REFERENCE_MODEL": embedder, "REFERENCE_REVISION": ""}
    return models | {"PROFILE": "zh", "PASSAGE_MAX_LEN": 48, "EPOCHS": 1, "LEARNING_RATE": 1e-3, "EVAL_SHARE": 0.25}


def output_of(project: Path, start: str) -> Path:
    """Return the folder of results whose name begins so."""
    [folder] = (project / "output").glob(f"{start}*")
    return folder


def run_notebooks(project: Path, names: tuple[str, ...], **settings: object) -> None:
    for name in names:
        done = run_python(project, "-m", "helpers", "notebook", name, **settings)
        assert done.returncode == 0, done.stdout + done.stderr


def test_chinese_pairs_get_through_the_whole_series(project, settings, tmp_path):
    """In a terminal and a locale of another time; killed on the way, and started again."""
    faq = write_jsonl(tmp_path / "常见 问题" / "faq.jsonl", chinese_pairs())
    some = settings | {"LC_ALL": "C", "PYTHONCOERCECLOCALE": 0, "PYTHONIOENCODING": "ascii", "DATASET": faq}
    some |= {"BASE_LAYERS": 1, "SAVE_STEPS": 3, "LOGGING_STEPS": 1}
    rng = random.Random(12)
    command, environ = ["bash", project / "run_all.sh"], environ_of(project, some)
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE) as series:
        for _ in range(rng.randrange(10, 30)):  # lines, of which the trainings print most
            assert series.stdout.readline()
        time.sleep(rng.random())
        for process in (psutil.Process(series.pid), *psutil.Process(series.pid).children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                process.kill()
    folder = output_of(project, "zh-faq")
    assert not (folder / "results" / "neg50.json").exists()
    done = run_bash(project / "run_all.sh", **some, RESUME=1)
    assert done.returncode == 0, done.stdout + done.stderr
    results = {path.stem: json.loads(path.read_text()) for path in (folder / "results").glob("*.json")}
    assert results.keys() == {"bm25", "raw", "neg10", "neg50", "reference"}
    assert results["bm25"]["metrics"]["recall@10"] > 0.9  # the thing asked about stands in its passage
    assert "bigrams" in results["bm25"]["model"]
    assert "bigrams" in done.stdout
    assert "\naudit  " in done.stdout
    assert "unknown" not in done.stdout and "Left out" not in done.stdout
    data = project / "ft_data" / folder.name
    assert not [path for place in (folder, data) for path in place.rglob("*") if ".tmp" in path.name]
    manifests = [*data.glob("*.made.json"), *folder.rglob("*.made.json"), *folder.glob("*first1/made.json")]
    manifests += [*folder.glob("results/*.json"), *folder.glob("*_neg*/checkpoint-*/made.json")]
    assert len(manifests) > 20
    assert all(map(read_manifest, manifests))


def test_questions_and_passages_of_two_languages(project, settings, tmp_path):
    pairs = write_jsonl(tmp_path / "cross.jsonl", english_answers())
    before = "01_build_train_dataset", "02_build_eval_dataset", "03_eval_raw_bert", "06_eval_bge_m3"
    run_notebooks(project, before, DATASET=pairs, **settings)
    words = ("notebook", "07_compare_models", "after=reference")
    done = run_python(project, "-m", "helpers", *words, DATASET=pairs, **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((output_of(project, "zh-cross") / "results" / "bm25.json").read_text())
    assert result["metrics"]["recall@100"] == 0.0  # no word in common: a row of zeros


def test_a_handful_of_pairs_runs_to_the_end(project, settings, tmp_path):
    pairs = write_jsonl(tmp_path / "tiny.jsonl", chinese_pairs()[::5][:7])
    some = settings | {"EVAL_STEPS": 20, "EVAL_SHARE": 0.2, "DATASET": pairs}
    before = "01_build_train_dataset", "02_build_eval_dataset", "03_eval_raw_bert"
    run_notebooks(project, before, **some)
    done = run_bash(project / "finetune_neg10.sh", **some)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "held out   nothing" in done.stderr
    after = "04_eval_neg10", "06_eval_bge_m3", "07_compare_models", "08_contrastive_loss"
    run_notebooks(project, after, **some)


def test_a_folder_that_only_evaluates(project, settings, tmp_path):
    folder = tmp_path / "beir"
    rows = chinese_pairs()
    write_jsonl(
        folder / "corpus.jsonl", [{"_id": f"d{i}", "title": "", "text": row["answer"]} for i, row in enumerate(rows)]
    )
    write_jsonl(folder / "queries.jsonl", [{"_id": f"q{i}", "text": row["question"]} for i, row in enumerate(rows)])
    (folder / "qrels").mkdir()
    judged = "".join(f"q{i}\td{i}\t{1 + i % 2}\n" for i in range(12))
    (folder / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    some = "02_build_eval_dataset", "03_eval_raw_bert", "06_eval_bge_m3", "07_compare_models"
    run_notebooks(project, some, DATASET=folder, **settings)
    result = json.loads((output_of(project, "zh-beir") / "results" / "reference.json").read_text())
    assert result["data"] == {"queries": 12, "corpus": len(rows)}
    for done in (
        run_python(project, "-m", "helpers", "notebook", "01_build_train_dataset", DATASET=folder, **settings),
        run_bash(project / "finetune_neg10.sh", DATASET=folder, **settings),
        run_bash(project / "run_all.sh", DATASET=folder, **settings),
    ):
        assert done.returncode != 0
        assert "nothing to train; notebooks 02, 03, 06 and 07 run" in done.stderr
        assert "Traceback" not in done.stderr
