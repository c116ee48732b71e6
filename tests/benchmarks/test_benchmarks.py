"""The three ways to encode give the same vectors; test_vectors.py holds the search to its memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import make_pairs, make_rows, run_python, write_jsonl

from helpers.base.errors import UserError
from helpers.base.profile import ROOT
from helpers.benchmarks import memory
from helpers.benchmarks.card import make_texts, measure_steps, products_rate, token_operations
from helpers.benchmarks.learning_curve import LearningCurve
from helpers.benchmarks.recipes import GRID, HEADLINE, MORE_SEEDS, RECIPES, Recipes, table
from helpers.benchmarks.speed import encoders, time_in_turns
from helpers.benchmarks.study import SEEDS
from helpers.encoding.settings import EmbedderSettings, read_embedder, write_embedder


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_all_libraries_make_the_same_vectors(tiny_bert, make_profile, tmp_path, pooling):
    write_embedder(tiny_bert, tmp_path, EmbedderSettings("tiny", tmp_path, pooling, "ask: ", "read: ", 24, 30))
    texts = [pair["positive"][0] for pair in make_pairs(30)] + ["banel " * 60]
    seconds, difference = time_in_turns(encoders(read_embedder("tiny", tmp_path), make_profile()), texts, rounds=2)
    assert list(seconds) == ["ours", "FlagEmbedding", "sentence-transformers"]
    assert all(len(times) == 2 and min(times) > 0 for times in seconds.values())
    assert difference < 1e-5


def test_the_operations_of_a_token_are_those_that_torch_counts(tiny_bert):
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import AutoModel

    model = AutoModel.from_pretrained(tiny_bert, attn_implementation="eager", add_pooling_layer=False).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.ones(3, 20, dtype=torch.long))
    expected = counter.get_total_flops() / 60
    assert token_operations(model.config, 20) == pytest.approx(expected)


def test_a_large_batch_is_measured_both_ways():
    """At a small size on the CPU, and by a backend that needs no compiler."""
    import torch
    from transformers import BertConfig

    config = BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    rate = products_rate("cpu", torch.float32, 512)
    for case, how in (((2, 8, 0), "packed"), ((2, 8, 4), "aot_eager"), ((4, 1, 0), "plain")):
        speed, operations, _ = measure_steps(config, case, "cpu", torch.bfloat16, how, steps=1)
        assert 0 < operations < rate
        assert operations / speed == pytest.approx(3 * (case[0] * 32 * 6144 + case[0] * case[1] * 128 * 12288))
    parts = make_texts(10, 5, 4, config, "cpu")
    assert [tuple(part["input_ids"].shape) for part in parts] == [(4, 5), (4, 5), (2, 5)]
    assert len(make_texts(10, 5, 0, config, "cpu")) == 1


def test_random_blocks_are_unit_vectors():
    blocks = list(memory.random_blocks(20_000, seed=0))
    assert [len(block) for block in blocks] == [16_384, 3_616]
    assert (blocks[0] ** 2).sum(1) == pytest.approx(1, abs=1e-5)


def test_the_memory_of_a_process_and_what_it_starts_is_measured_up_to_a_step(tmp_path):
    code = (
        "import subprocess, sys, time; kept = bytearray(100_000_000); child = 'kept = bytearray(200_000_000); input()'"
    )
    code += (
        "; p = subprocess.Popen([sys.executable, '-c', child], stdin=subprocess.PIPE); time.sleep(2); print('begins')"
    )
    code += "; print('step 1', flush=True); time.sleep(60)"
    peak, seconds = memory.measure((sys.executable, "-c", code), dict(os.environ), tmp_path / "said")
    assert 300e6 < peak < 450e6
    assert 2 < seconds < 30
    with pytest.raises(UserError, match="exit.3. failed"):
        memory.measure((sys.executable, "-c", "exit(3)"), dict(os.environ), tmp_path / "said")


def test_a_training_set_is_not_read_into_memory(tmp_path):
    """3,000 queries with 50 negatives are 43 MB of text; to open, hold out from and walk through them takes less."""
    rows = [row | {"neg": [f"{text} {row['id']}" * 4 for text in row["neg"]]} for row in make_rows(3000, 50)]
    path = write_jsonl(tmp_path / "training_neg_50.json", rows)
    assert path.stat().st_size > 40e6
    script = (
        "import sys; from pathlib import Path; from helpers.benchmarks.memory import peak_memory\n"
        "from helpers.sampling import TrainingSet; from helpers.training.held_out import split_held_out\n"
        "before = peak_memory(); rows = TrainingSet(Path(sys.argv[1]), 'ask: ', 8)\n"
        "train, held = split_held_out(rows, 1); print(sum(len(row['neg']) for row in train), peak_memory() - before)"
    )
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    negatives, growth = map(int, done.stdout.split())
    assert negatives == 50 * (3000 - 128)
    assert growth < 0.5 * path.stat().st_size


def test_the_points_of_a_learning_curve(make_profile, tmp_path):
    pairs = [{**pair, "query": f"{pair['query']} {number}"} for number, pair in enumerate(make_pairs(1000))]
    curve = LearningCurve(make_profile("demo", DATASET=write_jsonl(tmp_path / "pairs.jsonl", pairs)))
    once, *points = curve.points()
    assert once == {"pairs": 100, "seed": 42, "steps": 4}
    assert [(point["pairs"], point["seed"]) for point in points] == [
        (size, seed) for seed in (42, 1, 2) for size in (100, 200, 400, 800)
    ]
    assert {point["steps"] for point in points} == {25}


@pytest.mark.slow
def test_a_learning_curve_that_was_cut_goes_on_where_it_stopped(project, tiny_bert, tiny_embedder, tmp_path):
    """All but one of its points are there: that one alone is trained, by the script, and the others stay."""
    path = write_jsonl(tmp_path / "few.jsonl", make_pairs(60))
    settings = {"PROFILE": "test", "DATASET": path, "BASE_MODEL": tiny_bert, "REFERENCE_MODEL": tiny_embedder}
    begin = (
        "from helpers.base import load_profile, write_json\n"
        "from helpers.benchmarks.learning_curve import LearningCurve\n"
        "curve = LearningCurve(load_profile()); points = [{**point, 'ndcg@10': -1} for point in curve.points()][:-1]\n"
        "write_json(curve.path, {'made_from': curve.made_from(), 'beside': {}, 'points': points}); print(curve.path)"
    )
    kept = Path(run_python(project, "-c", begin, **settings).stdout.splitlines()[-1])
    done = run_python(project, "-m", "helpers", "benchmark", "learning-curve", **settings)
    assert done.returncode == 0, done.stderr
    found = json.loads(kept.read_text())
    *before, last = found["points"]
    assert all(point["ndcg@10"] == -1 for point in before)
    assert (last["pairs"], last["seed"], last["steps"]) == (45, 2, 12)
    assert 0 <= last["ndcg@10"] <= 1
    assert list(found["beside"]) == ["bm25", "raw", "reference"]
    assert kept.is_relative_to(project / "output")  # the stored one is the demo's
    assert not list((project / "output").glob("*-part-*"))


def test_the_points_of_the_recipes(make_profile, tmp_path):
    pairs = write_jsonl(tmp_path / "pairs.jsonl", make_pairs(60))
    points = Recipes(make_profile("demo", DATASET=pairs)).points()
    seeds = {name: [point["seed"] for point in points if point["recipe"] == name] for name in RECIPES | GRID}
    quickest, *others = RECIPES | GRID
    assert len(seeds) == len(RECIPES) + len(GRID)
    assert [point["seed"] for point in points[: len(seeds)]] == [42] * len(seeds)  # all, on one machine
    assert (points[0]["recipe"], seeds.pop(quickest)) == (quickest, [42])
    assert seeds == {name: list(MORE_SEEDS if name in HEADLINE else SEEDS) for name in others}
    assert {point["limit"] for point in points if point["training"] == "hard"} == {0, 0.6, 0.8, 0.95, 9}


def test_the_table_of_recipes():
    """Only the two of the headline have an interval, and only from three seeds on."""
    values = {("random", 42): [500, 100], ("random", 1): [512, 98], ("random", 2): [498, 102]}
    values |= {("ready-made", seed): [1000, 600] for seed in SEEDS} | {("taught", s): [500, 300] for s in SEEDS}
    points = [
        {"recipe": name, "seed": seed, "CPU seconds": 10 + seed, "texts": 99, "ndcg@10": sum(found) / 2000}
        | {"thousandths": " ".join(map(str, found))}
        for (name, seed), found in values.items()
    ]
    found = table(points)
    assert list(found.index) == ["random", "ready-made", "taught"]
    assert list(found["seeds"]) == [3, 3, 3]
    assert list(found["nDCG@10"].round(3)) == [0.302, 0.8, 0.4]
    assert found["CPU seconds"]["random"] == 52
    difference, margin = map(float, found["less random"]["ready-made"].split(" ± "))
    assert (difference, 0 < margin < 0.1) == (0.498, True)
    assert (found["less random"]["random"], found["less random"]["taught"]) == ("", "+0.098")
    assert "±" not in table([point for point in points if point["seed"] != 2])["less random"]["ready-made"]
    assert table(points, "taught")["less taught"]["ready-made"] == "+0.400"
    assert set(table(points[3:])["less random"]) == {""}  # not yet measured


def test_only_the_demo_as_it_stands_is_measured_into_the_repository(make_profile, tmp_path):
    """And what was measured with others is not overwritten."""
    assert LearningCurve(make_profile("demo")).path == ROOT / "docs" / "learning_curve.json"
    study = LearningCurve(make_profile("demo", EPOCHS=2))
    assert study.path == tmp_path / "output" / "demo" / "learning_curve.json"
    assert study.said() == "measured with what is in force"  # the stored curve has epochs of its own
    study.path.parent.mkdir(parents=True)
    kept = json.dumps({"made_from": study.made_from() | {"INDEX": "HNSW32"}, "points": [1]})
    study.path.write_text(kept)
    with pytest.raises(UserError, match="learning_curve.json was made from other INDEX; remove it to measure all anew"):
        study.run()
    assert study.path.read_text() == kept
