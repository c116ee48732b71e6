import shlex
import subprocess
import sys

import pytest

from helpers.base.errors import UserError
from helpers.base.profile import KEYS, ROOT, load_profile


@pytest.mark.parametrize("name", ["demo", "msmarco", "test"])
def test_profiles_are_complete(name):
    profile = load_profile(name, {})
    assert profile.run_name == name
    assert profile.data_dir == ROOT / "ft_data" / name


def test_msmarco_is_the_article():
    profile = load_profile("msmarco", {})
    assert (profile.base_model, profile.pooling, profile.query_max_len, profile.passage_max_len) == (
        "bert-base-uncased",
        "cls",
        512,
        512,
    )
    assert (profile.group_size, profile.batch_size, profile.epochs) == (8, 4, 3)
    assert (profile.learning_rate, profile.temperature, profile.warmup, profile.precision) == (1e-5, 0.02, 0.1, "fp16")
    assert profile.instruction == "Represent this sentence for searching relevant passages: "
    assert profile.tuned_model(10) == ROOT / "output/msmarco/bert-base-uncased_neg10"


def test_environment_overrides_a_key():
    assert load_profile("demo", {"EPOCHS": "2", "PROFILE": "msmarco"}).epochs == 2
    assert load_profile(None, {"PROFILE": "msmarco"}).name == "msmarco"
    assert load_profile(None, {}).name == "demo"


def test_own_data_has_its_own_folders(tmp_path):
    path = tmp_path / "my pairs.jsonl"
    path.touch()
    profile = load_profile("msmarco", {"DATASET": str(path)})
    assert profile.run_name == "msmarco-my pairs"
    assert profile.split_key == "passage"
    assert load_profile("msmarco", {"DATASET": str(path), "SPLIT_KEY": "query"}).split_key == "query"


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"PROFILE": "nope"}, "PROFILE=nope: there is no profiles/nope.env; the profiles are demo, msmarco, test."),
        ({"EPOCHS": "many"}, "environment variable: EPOCHS='many': input should be a valid number"),
        ({"BATCH_SIZE": "0"}, "environment variable: BATCH_SIZE='0': input should be greater than or equal to 1"),
        ({"POOLING": "max"}, "environment variable: POOLING='max': input should be 'cls' or 'mean'"),
        ({"DATASET": "/no/such.jsonl"}, "DATASET=/no/such.jsonl: no such file"),
        ({"DATASET": ""}, "DATASET=: no such file"),
        ({"DATASET": __file__}, "give the path of one that ends in .json, .jsonl, .csv, .parquet"),
    ],
)
def test_bad_settings_are_one_sentence(environ, sentence):
    with pytest.raises(UserError) as error:
        load_profile(None, environ)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("COLOUR=red", "unknown key COLOUR"),
        ("EPOCHS 3", "not KEY=VALUE"),
        ("INSTRUCTION=two words", "not KEY=VALUE; quote a value that has spaces"),
        ("INSTRUCTION='open", "close the quote"),
        ("EPOCHS=-1", "profiles/test.env: EPOCHS='-1': input should be greater than 0"),
    ],
)
def test_bad_lines_are_one_sentence(make_profile, tmp_path, line, sentence):
    with (tmp_path / "profiles/test.env").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(UserError, match="profiles/test.env") as error:
        make_profile()
    assert sentence in str(error.value)


def test_a_missing_key_is_named(make_profile, tmp_path):
    path = tmp_path / "profiles/test.env"
    path.write_text("\n".join(line for line in path.read_text().splitlines() if not line.startswith("TRAINING_SEED")))
    with pytest.raises(UserError, match="TRAINING_SEED=None: field required"):
        make_profile()


def test_a_shell_reads_the_settings_back(tmp_path):
    path = tmp_path / "it's a file.jsonl"
    path.touch()
    script = f"""
    settings=$({shlex.quote(sys.executable)} -m helpers settings)
    source /dev/stdin <<< "$settings"
    printf '%s\\n' "$PROFILE" "$INSTRUCTION" "$DATASET" "$EPOCHS"
    """
    environ = {"DATASET": str(path), "EPOCHS": "2", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["bash", "-c", script], env=environ, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n") == [
        "demo",
        "Represent this sentence for searching relevant passages: ",
        str(path),
        "2.0",
        "",
    ]


def test_every_key_is_in_every_profile():
    for path in (ROOT / "profiles").glob("*.env"):
        found = [line.partition("=")[0] for line in path.read_text().splitlines() if "=" in line and line[0] != "#"]
        assert sorted(found) == sorted(KEYS), path.name
