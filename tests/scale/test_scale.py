"""Several Ray nodes on this machine, and what becomes of an encoding and of a search when one of them is lost."""

import os
import re
import subprocess
import sys
import threading
import time
from importlib.util import find_spec

import numpy as np
import psutil
import pytest
from conftest import environ_of, make_pairs, run_python, write_jsonl

from helpers.base import UserError
from helpers.encoding import Embedder, embedder_settings
from helpers.encoding.encoder import write_vectors
from helpers.recall.index import ExactIndex
from helpers.sampling.eval_set import Corpus
from helpers.scale.cluster import Share, cluster, share
from helpers.scale.encode import encode

needs_ray = pytest.mark.skipif(
    not find_spec("ray") and not os.environ.get("CI"), reason="needs pip install -r requirements-ray.txt"
)
PASSAGES = 60_000  # four blocks
SMALL = """
import sys
from pathlib import Path
from helpers.base import load_profile, write_run
from helpers.recall import search_with
from helpers.sampling import load_eval_set, load_pairs, save_eval_set, split_pairs
profile = load_profile()
if not (profile.data_dir / "eval_set.made.json").exists():
    pairs = load_pairs(profile)
    _, evaluation = split_pairs(pairs, profile.split_key, profile.eval_share, profile.split_seed)
    save_eval_set(evaluation, pairs, profile)
if len(sys.argv) > 1:
    write_run(Path(sys.argv[1]), search_with("raw", load_eval_set(profile.data_dir), profile), "raw")
"""


def test_what_a_worker_has():
    assert share([{"CPU": 0}, {"CPU": 16, "GPU": 2}, {"CPU": 8, "GPU": 1}]) == Share(1, 1, 3)
    assert share([{}, {"CPU": 16}, {"CPU": 8}]) == Share(4, 0, 6)
    assert share([{"CPU": 2}, {"CPU": 3}]) == Share(3, 0, 1)
    assert share([{"CPU": 1}, {"CPU": 64}]) == Share(4, 0, 16)
    assert share([{}]) == Share(1, 0, 1)  # machines may come


@needs_ray
def test_a_cluster_that_is_not_there(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with (
        pytest.raises(UserError, match=r"RAY_ADDRESS=127.0.0.1:1: no cluster there .*; start one, or unset it"),
        cluster(),
    ):
        pass


@pytest.fixture
def nodes():
    """A cluster that has no workers yet, and two machines of a core each."""
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    machines = [found.add_node(num_cpus=1) for _ in range(2)]
    found.wait_for_nodes()
    yield found, machines
    found.shutdown()


@pytest.fixture(scope="module")
def settings(project, tiny_bert, tiny_embedder, tmp_path_factory):
    """An evaluation set over `PASSAGES`, and where the small road's run over it is."""
    folder = tmp_path_factory.mktemp("scale")
    pairs = make_pairs(PASSAGES + 80)
    more = [{"text": pair["positive"][0]} for pair in pairs[80:]]
    found = {"PROFILE": "test", "BASE_MODEL": tiny_bert, "REFERENCE_MODEL": tiny_embedder, "BASE_LAYERS": 0}
    found |= {"DATASET": write_jsonl(folder / "pairs.jsonl", pairs[:80]), "EVAL_SHARE": 0.5}
    found["DISTRACTORS"] = write_jsonl(folder / "more.jsonl", more)
    done = run_python(project, "-c", SMALL, folder / "small.trec", **found)
    assert done.returncode == 0, done.stderr
    for path in (project / "output").glob("test-*/vectors/*corpus*"):
        path.unlink()
    return found, folder / "small.trec"


def start(project, address, *words, **settings):
    """Start a command of the project on a cluster; return its process."""
    environ = environ_of(project, settings | {"RAY_ADDRESS": address})
    command = [sys.executable, "-m", "helpers", "scale", *words]
    return subprocess.Popen(command, cwd="/", env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def shards(project, process, seconds=300):
    """Wait until two shards are there; return those that are."""
    for _ in range(seconds * 10):
        if len(found := sorted((project / "output").glob("test-*/vectors/*.shards/[!.]*.npy"))) > 1:
            return found
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.1)
    raise AssertionError("no shards came")


def works(pattern, machine):
    """Tell whether a process of a node does something just now, which Ray writes into its name."""
    [raylet] = machine.all_processes["raylet"]
    started = psutil.Process(raylet.process.pid).children()
    return any(re.match(pattern, "".join(process.cmdline())) for process in started)


@needs_ray
@pytest.mark.slow
def test_encoding_survives_its_driver_a_node_and_a_broken_shard(project, settings, nodes):
    """And what is found then is what one machine alone finds, to the byte."""
    given, small = settings
    found, machines = nodes
    process = start(project, found.address, "encode", "raw", **given)
    _, broken, *_ = shards(project, process)
    process.kill()
    process.wait()
    time.sleep(2)  # the cluster ends what the driver had begun
    broken.write_bytes(broken.read_bytes()[:-100])
    [*_, last] = shards(project, process)
    last.write_bytes(b"")

    process = start(project, found.address, "search", "raw", **given)
    while not (busy := [machine for machine in machines if works("ray::MapWorker.*submit", machine)]):
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.05)
    found.remove_node(busy[0], allow_graceful=False)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert "passages are encoded already" in said
    assert "Task MapWorker(MapBatches(Worker)).submit failed" in said  # and was done by the other machine
    assert "60,080 passages in" in said
    [run] = (project / "output").glob("test-*/runs/raw.trec")
    assert run.read_bytes() == small.read_bytes()
    assert not list((project / "output").glob("test-*/vectors/*.shards"))


@needs_ray
@pytest.mark.slow
def test_what_stops_a_worker_is_said_as_on_one_machine(make_profile, tiny_bert, tmp_path):
    """Here the model has become another one since the command began."""
    profile = make_profile(BASE_MODEL=tiny_bert, BASE_LAYERS=0)
    embedder = Embedder(embedder_settings(profile, "raw"), profile)
    vars(embedder.settings)["weights"] = "another's"
    rows = [{"id": f"d{number}", "text": "one two"} for number in (1, 2)]
    corpus = Corpus(write_jsonl(tmp_path / "corpus.jsonl", rows))
    with cluster() as part:
        with pytest.raises(UserError, match="has been replaced by another model"):
            encode(embedder, corpus, part)
        write_jsonl(tmp_path / "corpus.jsonl", [row | {"text": "two one"} for row in rows])
        with pytest.raises(UserError, match="corpus.jsonl was made again, or is another on a machine of the cluster"):
            encode(embedder, corpus, part)


@needs_ray
@pytest.mark.slow
def test_ray_beside_a_single_process(project):
    done = run_python(project, "-m", "helpers", "benchmark", "scale", 300)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^ +encoding +[\d.]+ s alone +[\d.]+ s by Ray +[\d.]+$", done.stdout, re.M)
    assert done.stdout.endswith("100.00% of what is found is the same\n")


@needs_ray
@pytest.mark.slow
def test_a_search_survives_a_node(nodes, tmp_path, monkeypatch):
    found, machines = nodes
    rng = np.random.default_rng(0)
    blocks = [rng.standard_normal((10_000, 128), dtype=np.float32) for _ in range(20)]
    write_vectors(path := tmp_path / "vectors.npy", blocks, (200_000, 128), "float32")
    queries, vectors = rng.standard_normal((2000, 128), dtype=np.float32), np.load(path, mmap_mode="r")
    monkeypatch.setenv("RAY_ADDRESS", found.address)
    with cluster() as part:
        from helpers.scale.search import SpreadIndex

        assert part == Share(1, 0, 2)
        answer = []
        thread = threading.Thread(target=lambda: answer.append(SpreadIndex(vectors, part).search(queries, 10)))
        thread.start()
        while not works("ray::_search_part", machines[0]):
            assert thread.is_alive()
            time.sleep(0.01)
        found.remove_node(machines[0], allow_graceful=False)
        assert thread.is_alive()
        thread.join(timeout=200)
    scores, rows = ExactIndex(vectors).search(queries, 10)
    assert np.array_equal(answer[0][1], rows)
    assert np.abs(answer[0][0] - scores).max() < 1e-4  # of scores near 50
