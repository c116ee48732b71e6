"""The settings of a run: one file in `profiles/`, overridden key by key from the environment."""

import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from helpers.base.errors import UserError
from helpers.base.files import read_lines
from helpers.base.fingerprint import fingerprint

ROOT = Path(__file__).resolve().parents[2]
PAIR_FORMATS = (".json", ".jsonl", ".csv", ".parquet")
# Beside neg10, neg50, ...: name -> the notebook that writes its training set.
TRAININGS = {"hard": "10_mine_hard_negatives", "ready_made": "11_finetune_ready_made", "taught": "12_teach_from_scores"}
HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")

Count = Annotated[int, Field(ge=1)]
CountOrNone = Annotated[int, Field(ge=0)]  # 0 means: all, or none
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Profile(BaseModel):
    """All settings of a run; an attribute is its key in lower case. `profiles/*.env` give the reasons."""

    model_config = ConfigDict(frozen=True, alias_generator=str.upper)
    name: str = Field(alias="PROFILE")
    data_suffix: str = Field("", exclude=True)  # of folders, where the environment gives other data than the file
    base_suffix: str = Field("", exclude=True)  # of the base model's name, where it gives another base model

    dataset: str  # "docstrings", a Hub id, or an absolute path
    dataset_revision: str  # commit of a Hub data set
    dataset_split: str  # split of a Hub data set
    columns: str  # what the columns of pairs are called, where that is not to be seen
    own_negatives: bool  # those of the pairs come before random ones
    max_pairs: CountOrNone
    split_key: Literal["query", "passage"]
    eval_share: Annotated[float, Field(gt=0, le=1)]  # of the queries; 1: nothing trains
    fix_text: bool  # repair mojibake in the pairs before anything else
    distractors: str  # an absolute path or a Hub id of more passages for the corpus, or empty
    split_seed: Seed  # of the pairs drawn for MAX_PAIRS, too
    negatives_seed: Seed

    base_model: Annotated[str, Field(min_length=1)]  # a Hub id, a folder, or all-MiniLM-L6-v2 from its package
    base_revision: str
    base_layers: CountOrNone  # keep the lowest n layers
    pooling: Literal["cls", "mean"]
    instruction: str  # put before every query
    query_max_len: Count  # tokens
    passage_max_len: Count  # tokens

    reference_model: Annotated[str, Field(min_length=1)]
    reference_revision: str

    ready_made_model: Annotated[str, Field(min_length=1)]  # an embedder to fine-tune, which says how it wants its texts
    ready_made_revision: str
    ready_made_learning_rate: Positive
    mined_group_size: Annotated[int, Field(ge=2)]  # in the place of GROUP_SIZE where negatives are mined, ...
    mined_epochs: Positive  # ... and of EPOCHS
    reranker_model: str  # a cross-encoder: reads query and passage together; empty: none
    reranker_revision: str
    passage_instruction: str = Field("", exclude=True)  # put before every passage, where a ready-made one wants it

    training_seed: Seed  # of the draws, the dropout and the held-out queries
    learning_rate: Positive
    epochs: Positive
    batch_size: Count  # queries per device and step
    group_size: Count  # passages per query: one positive, the rest negatives; 1: other queries' passages alone compete
    temperature: Positive
    frozen_layers: CountOrNone  # the embeddings and the lowest n layers stay as they are
    # dimensions, the whole first, that are each trained
    matryoshka: Annotated[str, Field(pattern=r"^(\d+(,\d+)*)?$", description="give numbers with commas between them")]
    warmup: Annotated[float, Field(ge=0, lt=1)]  # share of the steps
    precision: Literal["fp32", "fp16", "bf16"]  # of training and encoding; a CPU has no fp16
    logging_steps: Count
    save_steps: Count
    eval_steps: CountOrNone  # between two scores on held-out training queries; then also the steps between checkpoints
    report_to: Literal["none", "tensorboard"]

    nproc: Count  # processes on this machine, one a card
    nnodes: Count  # machines
    node_rank: CountOrNone  # which of them this one is
    master_addr: Annotated[str, Field(min_length=1)]  # the machine with node_rank 0
    master_port: Count
    cross_device_negatives: bool  # the passages of all processes compete for a query
    grad_cache: CountOrNone  # texts encoded at a time; the loss is still over the whole batch

    encode_tokens: Count  # in a batch, padding included
    vectors: Literal["float32", "float16"]  # how they are kept on disk; they are compared in float32
    index: Annotated[str, Field(min_length=1)]  # a FAISS factory string; Flat is exact

    @property
    def dataset_path(self) -> Path | None:
        """The pairs on this disk, or None when they come from docstrings or the Hub."""
        return Path(self.dataset) if os.path.isabs(self.dataset) else None

    @property
    def run_name(self) -> str:
        """The folder under `ft_data/` and `output/` that keeps this run apart from others."""
        last = Path(self.dataset).stem if self.dataset_path or self.data_suffix else ""
        return "-".join(part for part in (self.name, last, self.data_suffix) if part)

    @property
    def data_dir(self) -> Path:
        """Where the training and the evaluation sets are."""
        return ROOT / "ft_data" / self.run_name

    @property
    def output_dir(self) -> Path:
        """Where models, executed notebooks, runs and results go."""
        return ROOT / "output" / self.run_name

    @property
    def processes(self) -> int:
        """How many processes train, on all machines together."""
        return self.nproc * self.nnodes

    @property
    def base_name(self) -> str:
        """The base model's name, as the names of the fine-tuned ones begin with it."""
        first = f"first{self.base_layers}" if self.base_layers else ""
        return "-".join(part for part in (Path(self.base_model).name, self.base_suffix, first) if part)

    @property
    def own_folders(self) -> str:
        """A line that says where data and models of an override go that has folders of its own; else nothing."""
        folders = f"{'folders':10} {self.data_dir}, {self.output_dir}, with models named {self.base_name}_neg..."
        return folders if self.data_suffix or self.base_suffix else ""

    def training_file(self, name: str) -> Path:
        """The training set of `neg10`, `hard`, ...; raises UserError: as `check_name`."""
        return self.data_dir / f"training_{check_name(name).replace('neg', 'neg_')}.json"

    def tuned_model(self, name: str) -> Path:
        """The folder of the model trained on `training_file(name)`; raises UserError: as `check_name`."""
        return self.output_dir / f"{self.base_name}_{check_name(name)}"

    def training_log(self, name: str) -> Path:
        """What the training of `tuned_model(name)` printed on this machine."""
        node = f"_node{self.node_rank}" if self.node_rank else ""
        return self.output_dir / f"finetune_{name}{node}.log"


def check_name(name: str) -> str:
    """Return the name of a training: `neg10`, `neg50`, ..., or one of `TRAININGS`; raises UserError: it is none."""
    if not re.fullmatch(r"neg[1-9]\d*", name, re.ASCII) and name not in TRAININGS:
        known = f"such as neg10, neg50, {', '.join(TRAININGS)}"
        raise UserError(f"name = {name!r} is no training, {known}; raw and reference are not trained.")
    return name


def how_to_train(name: str) -> str:
    """Say which script trains `neg10`, `hard`, ..., or how to make it."""
    script = f"finetune_{check_name(name)}.sh"
    copied = f"copy finetune_neg10.sh to {script}, set neg_num={name[3:]} in it, and run it"
    return f"run bash {script}" if (ROOT / script).is_file() else copied


KEYS = [name.upper() for name, field in Profile.model_fields.items() if name != "name" and not field.exclude]
DATA = ("DATASET", "DATASET_REVISION", "DATASET_SPLIT")
BASE = ("BASE_MODEL", "BASE_REVISION")


def overrides(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the settings that an environment gives; a number in COLUMNS is the width of a terminal."""
    return {key: environ[key] for key in KEYS if key in environ and not (key == "COLUMNS" and environ[key].isdigit())}


def load_profile(name: str | None = None, environ: Mapping[str, str] = os.environ) -> Profile:
    """Read the profile `name`, else `PROFILE` of `environ`, else `demo`; a key in `environ` overrides the file's.

    Raises UserError: no such profile; a line, a key or a value that makes no sense; a data set that is not there.
    """
    name = name or environ.get("PROFILE") or "demo"
    path = ROOT / "profiles" / f"{name}.env"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in (ROOT / "profiles").glob("*.env")))
        raise UserError(f"PROFILE={name}: there is no profiles/{name}.env; the profiles are {known}.")
    own, given = _read_settings(path), overrides(environ)
    values = own | given
    for key in ("DATASET", "DISTRACTORS"):
        values[key] = _resolve(key, values.get(key, ""))
    for key in filter(re.compile("_MODEL$").search, KEYS):  # a folder is the same wherever this is asked
        path = Path(values.get(key, "?")).expanduser()
        if found := [place / path for place in (Path.cwd(), ROOT) if path.name and (place / path).is_dir()]:
            values[key] = str(found[0].resolve())
    for suffix, keys in {"DATA_SUFFIX": DATA, "BASE_SUFFIX": BASE}.items():
        if any(given.get(key, own.get(key)) != own.get(key) for key in keys):
            values[suffix] = _suffix([values.get(key, "") for key in keys])
    if os.path.isabs(values["DATASET"]) and "SPLIT_KEY" not in given:
        values["SPLIT_KEY"] = "passage"  # queries of one's own often share passages; none may stand on both sides
    for key, value in {"the project's folder": str(ROOT), **values}.items():
        if value != value.encode(errors="replace").decode():  # has bytes that Python could not decode
            raise UserError(f"{key}={value!r} is not UTF-8, as libraries need it; rename it, or write it in UTF-8.")
    try:
        return Profile.model_validate({"PROFILE": name} | values)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        message = Profile.model_fields[key.lower()].description or first["msg"].lower()
        where = "environment variable" if key in given else f"profiles/{name}.env"
        raise UserError(f"{where}: {key}={values.get(key)!r}: {message}; see profiles/demo.env.") from error


def _read_settings(path: Path) -> dict[str, str]:
    values = {}
    for number, line in read_lines(path, "restore it from the repository"):
        where = f"profiles/{path.name}, line {number}"
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            raise UserError(f"{where}: {str(error).lower()}; close the quote.") from error
        if not words:
            continue
        key, equals, value = words[0].partition("=")
        if len(words) > 1 or not equals:
            raise UserError(f"{where}: not KEY=VALUE; quote a value that has spaces.")
        if key not in KEYS:
            raise UserError(f"{where}: unknown key {key}; the keys are those of profiles/demo.env.")
        values[key] = value
    return values


def _resolve(key: str, name: str) -> str:
    """Make the path of a file, or of a folder of pairs, absolute; leave `docstrings` and Hub ids as they are."""
    if name == ("docstrings" if key == "DATASET" else ""):
        return name
    path = Path(name).expanduser()
    found = next((p.resolve() for p in (Path.cwd() / path, ROOT / path) if name and p.exists()), None)
    if found and (found.suffix.lower() in PAIR_FORMATS or (key == "DATASET" and found.is_dir())):
        return str(found)
    if not found and HUB_ID.fullmatch(name) and path.suffix.lower() not in PAIR_FORMATS:
        return name
    raise UserError(f"{key}={name}: no such file; give the path of one that ends in {', '.join(PAIR_FORMATS)}.")


def _suffix(given: list[str]) -> str:
    """Return what tells data or a base model from others of the same last name: digits of path or Hub id, and more."""
    path = Path(given[0]).resolve()
    if path.exists():  # in the project's folder it counts from there: the project may move
        given[0] = str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)
    return fingerprint(given)[:6]


def shell_lines(values: Mapping[str, object]) -> str:
    """Return one KEY=VALUE a line, quoted for a shell to source; of a list an array of its words."""
    quoted = {k: f"({shlex.join(v)})" if isinstance(v, list) else shlex.quote(str(v)) for k, v in values.items()}
    return "\n".join(f"{key}={value}" for key, value in quoted.items())


def switch(name: str) -> bool:
    """Tell whether an environment variable, such as FORCE, is 1; raises UserError: it is neither 0, 1 nor empty."""
    value = os.environ.get(name, "")
    if value not in ("", "0", "1"):
        raise UserError(f"environment variable: {name}={value!r}: it is 1 or 0.")
    return value == "1"
