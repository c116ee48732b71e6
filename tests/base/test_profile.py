import re
import shlex
import shutil
import subprocess
import sys

import pytest

from helpers.base.errors import UserError
from helpers.base.profile import KEYS, ROOT, load_profile


@pytest.mark.parametrize("name", ["demo", "msmarco", "msmarco_full", "test"])
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
    assert profile.tuned_model("neg10") == ROOT / "output/msmarco/bert-base-uncased_neg10"


def test_the_large_corpus_is_all_that_tells_msmarco_full_from_msmarco():
    small, large = (load_profile(name, {}).model_dump() for name in ("msmarco", "msmarco_full"))
    assert {key for key in small if small[key] != large[key]} == {"name", "distractors", "vectors"}


def test_environment_overrides_a_key():
    assert load_profile("demo", {"EPOCHS": "2", "PROFILE": "msmarco"}).epochs == 2
    assert load_profile(None, {"PROFILE": "msmarco"}).name == "msmarco"
    assert load_profile(None, {}).name == "demo"


def test_own_data_has_its_own_folders(tmp_path):
    path = tmp_path / "my pairs.jsonl"
    path.touch()
    profile = load_profile("msmarco", {"DATASET": str(path)})
    assert re.fullmatch(r"msmarco-my pairs-[0-9a-f]{6}", profile.run_name)
    assert profile.data_dir == ROOT / "ft_data" / profile.run_name
    assert profile.split_key == "passage"
    assert load_profile("msmarco", {"DATASET": str(path), "SPLIT_KEY": "query"}).split_key == "query"


def names(*environs: dict, profile: str = "msmarco", name: str = "run_name") -> list[str]:
    return [getattr(load_profile(profile, {k: str(v) for k, v in environ.items()}), name) for environ in environs]


def test_other_data_in_the_environment_have_other_names(tmp_path):
    """Two files of one name in two folders, two data sets of one name on the Hub, two commits, two splits."""
    paths = [tmp_path / folder / "pairs.jsonl" for folder in ("one", "other")]
    for path in paths:
        path.parent.mkdir()
        path.touch()
    hub = [{"DATASET": "owner/pairs"}, {"DATASET": "another/pairs"}]
    hub += [hub[0] | {"DATASET_REVISION": "abc"}, hub[0] | {"DATASET_SPLIT": "train"}]
    article = [{"DATASET_REVISION": "abc"}, {"DATASET_SPLIT": "train"}, {"DATASET_REVISION": "train"}]
    found = names({}, *({"DATASET": path} for path in paths), *hub, *article)
    assert len(set(found)) == len(found) == 10
    assert {re.sub("[0-9a-f]{6}$", "X", name) for name in found} == {"msmarco", "msmarco-pairs-X", "msmarco-msmarco-X"}


def test_the_same_data_have_the_same_name_however_they_are_given(tmp_path, monkeypatch):
    (tmp_path / "pairs.jsonl").touch()
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "pairs.jsonl")
    monkeypatch.chdir(tmp_path)
    given = ("pairs.jsonl", "./pairs.jsonl", tmp_path / "pairs.jsonl", tmp_path / "x/../pairs.jsonl", "link.jsonl")
    (tmp_path / "x").mkdir()
    assert len(set(names(*({"DATASET": path} for path in given)))) == 1
    folders = ("x", "./x", "x/", tmp_path / "x", tmp_path / "x/../x")
    assert len(set(names(*({"BASE_MODEL": path} for path in folders), name="base_name"))) == 1


def test_other_base_models_in_the_environment_have_other_names(tmp_path):
    folders = [tmp_path / folder / "model" for folder in ("one", "other")]
    for folder in folders:
        folder.mkdir(parents=True)
    given = [{"BASE_MODEL": str(folder)} for folder in folders]
    given += [{"BASE_MODEL": "owner/model"}, {"BASE_MODEL": "another/model"}, {"BASE_REVISION": "abc"}]
    found = names({}, *given, given[0] | {"BASE_LAYERS": 2}, name="base_name")
    assert len(set(found)) == len(found)
    assert [re.sub("-[0-9a-f]{6}", "-X", name) for name in found] == [
        "bert-base-uncased", *["model-X"] * 4, "bert-base-uncased-X", "model-X-first2",
    ]  # fmt: skip
    assert found[-1] == f"{found[1]}-first2"
    profile = load_profile("msmarco", given[0])
    assert (
        profile.tuned_model("neg10") == ROOT / "output/msmarco" / f"{found[1]}_neg10"
    )  # the data are those of the profile


def test_what_a_profile_says_itself_is_in_no_suffix(make_profile, tmp_path):
    """Nor is what the environment says again, and what is neither data nor base model."""
    own = load_profile("msmarco", {}).model_dump(by_alias=True)
    same = {key: own[key] for key in ("DATASET", "DATASET_SPLIT", "BASE_MODEL", "BASE_REVISION")}
    assert names({}, same, {"EPOCHS": 7, "MAX_PAIRS": 9, "POOLING": "mean"}) == ["msmarco"] * 3
    assert names({}, same, {"EPOCHS": 7, "POOLING": "mean"}, name="base_name") == ["bert-base-uncased"] * 3
    (tmp_path / "my pairs.jsonl").touch()
    (tmp_path / "my model").mkdir()
    settings = (tmp_path / "profiles/test.env").read_text().replace("DATASET=docstrings", "DATASET='my pairs.jsonl'")
    settings = settings.replace("BASE_MODEL=all-MiniLM-L6-v2", f"BASE_MODEL='{tmp_path}/my model'")
    (tmp_path / "profiles/mine.env").write_text(settings)
    profile = make_profile("mine")
    assert (profile.run_name, profile.base_name) == ("mine-my pairs", "my model-first1")


def test_where_an_override_goes_is_said():
    assert load_profile("msmarco", {"EPOCHS": "2", "DATASET_SPLIT": "dev"}).own_folders == ""
    for given in ({"DATASET_SPLIT": "train"}, {"BASE_MODEL": "owner/model"}):
        profile = load_profile("msmarco", given)
        said = profile.own_folders
        assert said.startswith("folders    ")
        assert all(str(part) in said for part in (profile.data_dir, profile.output_dir, f"{profile.base_name}_neg"))


def test_a_file_in_the_projects_folder_keeps_its_name_when_the_project_moves(tmp_path, monkeypatch):
    environs, found = {}, {}
    for project in (tmp_path / "here", tmp_path / "there"):
        shutil.copytree(ROOT / "profiles", project / "profiles")
        (project / "my" / "model").mkdir(parents=True)
        (project / "my" / "pairs.jsonl").touch()
        monkeypatch.setattr("helpers.base.profile.ROOT", project)
        given = {"DATASET": f"{project}/my/pairs.jsonl", "BASE_MODEL": f"{project}/my/model"}
        profile = load_profile("test", given)
        found[project.name], environs[project.name] = (profile.run_name, profile.base_name), given
        monkeypatch.chdir(project)
        assert found[project.name][:1] == tuple(names({"DATASET": "my/pairs.jsonl"}, profile="test"))
    assert found["here"] == found["there"]
    outside = load_profile("test", environs["here"])  # of the project that is there now
    assert {outside.run_name, outside.base_name}.isdisjoint(found["there"])


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"PROFILE": "nope"}, "there is no profiles/nope.env; the profiles are demo, msmarco, msmarco_full, test, zh."),
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


def test_the_width_of_a_terminal_is_no_setting():
    assert load_profile("test", {"COLUMNS": "80"}) == load_profile("test", {})
    assert load_profile("test", {"COLUMNS": "query=80"}).columns == "query=80"


def test_a_name_that_is_not_utf8_is_one_sentence():
    for key, value in {"DATASET": "/data/\udcff/pairs.jsonl", "INSTRUCTION": "\udcff: "}.items():
        with pytest.raises(UserError, match=f"{key}="):
            load_profile("test", {key: value})


def test_every_key_is_in_every_profile():
    for path in (ROOT / "profiles").glob("*.env"):
        found = [line.partition("=")[0] for line in path.read_text().splitlines() if "=" in line and line[0] != "#"]
        assert sorted(found) == sorted(KEYS), path.name
