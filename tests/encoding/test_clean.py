import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import environ_of, make_pairs
from safetensors.numpy import load_file, save_file

from helpers.base.manifest import MANIFEST, manifest_of, read_manifest, write_manifest
from helpers.base.profile import ROOT
from helpers.encoding.encoder import Embedder, clean
from helpers.encoding.settings import EmbedderSettings, embedder_settings, write_embedder
from helpers.sampling import save_eval_set

PAIRS = [pair | {"id": f"q{number}"} for number, pair in enumerate(make_pairs(12))]
HOLD = "import sys, time; from pathlib import Path; from helpers.base.manifest import lock_of\n"
HOLD += "lock = lock_of(Path(sys.argv[1])); lock.acquire(); print('held', flush=True); time.sleep(60)"

# An encoding that has written half of its vectors.
WRITE = """
import sys, time
from pathlib import Path
from helpers.base import make, manifest_of, whole_file

path = Path(sys.argv[1])

def write():
    with whole_file(path, binary=True) as file:
        file.write(b"half")
        print("half", flush=True)
        time.sleep(60)

make(manifest_of(path), {}, write, [path])
"""


def double(weights, factor=2):
    save_file({name: factor * tensor for name, tensor in load_file(weights).items()}, weights, {"format": "pt"})


@pytest.fixture
def profile(make_profile, tiny_bert, tiny_embedder, tmp_path):
    base = shutil.copytree(tiny_bert, tmp_path / "base")
    return make_profile(BASE_MODEL=base, BASE_LAYERS=0, REFERENCE_MODEL=tiny_embedder)


def encode(profile, eval_set):
    for name in ("raw", "reference"):
        embedder = Embedder(embedder_settings(profile, name), profile)
        embedder.encode_queries(eval_set.queries.values())
        embedder.encode_corpus(eval_set.corpus.values())
    return set((profile.output_dir / "vectors").glob("*.npy"))


def files(profile):
    return {path for path in (profile.output_dir / "vectors").iterdir() if path.suffix != ".lock"}


def test_what_is_in_use_stays(profile, capsys):
    eval_set = save_eval_set(PAIRS[:3], PAIRS, profile)
    assert len(encode(profile, eval_set)) == 4
    before = set((profile.output_dir / "vectors").iterdir())
    clean(profile, remove=False)
    assert capsys.readouterr().out.startswith("0 files of vectors in ")
    clean(profile, remove=True)
    assert capsys.readouterr().out == f"0 files of vectors in {profile.output_dir / 'vectors'} removed.\n"
    assert set((profile.output_dir / "vectors").iterdir()) == before  # no lock is left beside, either


def test_vectors_of_a_model_that_is_trained_again_or_gone_go(profile, capsys):
    eval_set = save_eval_set(PAIRS[:3], PAIRS, profile)
    kept, lost = encode(profile, eval_set), set()
    for number in (10, 50):
        folder = profile.tuned_model(f"neg{number}")
        folder.mkdir(parents=True)
        write_embedder(Path(profile.base_model), folder, EmbedderSettings("mine", folder, "cls", "", "", 9, 9))
        double(folder / "model.safetensors", number)
        vectors = Embedder(embedder_settings(profile, f"neg{number}"), profile).encode_corpus(eval_set.corpus.values())
        lost.add(Path(vectors.filename))
    clean(profile, remove=True)
    assert kept | lost <= files(profile)  # both are there
    shutil.rmtree(profile.tuned_model("neg50"))
    double(profile.tuned_model("neg10") / "model.safetensors")
    capsys.readouterr()
    clean(profile, remove=True)
    assert capsys.readouterr().out.splitlines()[-1].startswith("2 files of vectors ")
    assert files(profile) == kept | set(map(manifest_of, kept))


@pytest.mark.parametrize("model", ["busy", "small-v1.5"])
def test_what_an_encoding_writes_right_now_stays(profile, capsys, model):
    eval_set = save_eval_set(PAIRS[:3], PAIRS, profile)
    encode(profile, eval_set)
    path = profile.output_dir / "vectors" / f"{model}-corpus-0123456789abcdef.npy"
    other = path.with_name(f".{model}-queries-0123456789abcdef.npy.0123456789ab.tmp")
    other.touch()  # of an encoding that was killed
    command = [sys.executable, "-c", WRITE, path]
    with subprocess.Popen(command, cwd="/", env=environ_of(ROOT, {}), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "half\n"
        [half] = path.parent.glob(f".{path.name}.*.tmp")
        clean(profile, remove=True)
        there = half.exists()
        process.kill()
    assert there
    assert not other.exists()
    assert capsys.readouterr().out.splitlines()[-1].startswith("1 files of vectors ")
    clean(profile, remove=True)
    assert not half.exists()


def test_vectors_that_have_lost_their_model_or_their_corpus_go(profile, capsys):
    eval_set = save_eval_set(PAIRS[:3], PAIRS, profile)
    first = encode(profile, eval_set)
    double(profile.base_model + "/model.safetensors")
    second = encode(profile, eval_set)
    assert len(second - first) == 2  # the raw model's
    third = encode(profile, save_eval_set(PAIRS[:3], PAIRS[:9], profile))
    lost = {path for path in third if "-corpus-" in path.name} - {path for path in third - second}
    lost |= {path for path in first if path.name.startswith("base-queries-")} - (second - first)
    capsys.readouterr()
    clean(profile, remove=False)
    listed = capsys.readouterr().out.splitlines()
    assert {line.split()[-1] for line in listed[:-1]} == {path.name for path in lost}
    assert listed[-1].endswith("can go; add --yes to remove them.")
    assert third <= files(profile)
    clean(profile, remove=True)
    kept = third - lost
    assert len(kept) == 4
    assert files(profile) == kept | set(map(manifest_of, kept))


def test_what_a_killed_encoding_has_left_goes_and_what_one_writes_stays(profile, capsys):
    vectors = encode(profile, save_eval_set(PAIRS[:3], PAIRS, profile))
    folder = profile.output_dir / "vectors"
    before = files(profile)
    for name in ("old-corpus-1.npy", ".new-corpus-2.npy.0123456789ab.tmp", ".busy-corpus-3.npy.0123456789ab.tmp"):
        (folder / name).write_bytes(b"vectors")
    for name in ("old-corpus-4.shards", "busy-corpus-3.shards"):  # what a cluster has encoded
        (folder / name).mkdir()
        (folder / name / "000000.npy").write_bytes(b"vectors")
    shutil.copytree(folder / "old-corpus-4.shards", present := folder / "raw-corpus-5.shards")  # whose model is there
    write_manifest(present / MANIFEST, read_manifest(manifest_of(min(vectors)))["made_from"], [])
    manifest_of(gone := min(vectors)).write_text("{")
    busy = [sys.executable, "-c", HOLD, manifest_of(folder / "busy-corpus-3.npy")]
    with subprocess.Popen(busy, cwd="/", env=environ_of(ROOT, {}), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        clean(profile, remove=True)
        process.kill()
    assert capsys.readouterr().out.splitlines()[-1].startswith("4 files of vectors ")
    left = before - {gone, manifest_of(gone)}
    left |= {folder / ".busy-corpus-3.npy.0123456789ab.tmp", folder / "busy-corpus-3.shards", present}
    assert files(profile) == left
