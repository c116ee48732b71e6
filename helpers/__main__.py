"""The commands: `python -m helpers` lists them, `python -m helpers COMMAND --help` tells what one takes."""

import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from helpers.base import UserError, load_profile, run_command, shell_lines
from helpers.doctor import doctor
from helpers.encoding import embedder_settings, training_profile
from helpers.encoding.encoder import clean
from helpers.sampling import TrainingSet, check_trains
from helpers.sampling.documents import documents
from helpers.training.folder import check_place
from helpers.training.script import keep_log

door = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
benchmarks = typer.Typer(rich_markup_mode=None)
door.add_typer(benchmarks, name="benchmark", help="Measure speed, memory, and what pairs are worth.")
scales = typer.Typer(rich_markup_mode=None)
door.add_typer(scales, name="scale", help="Encode and search on a Ray cluster.")

Name = Annotated[str, typer.Argument(help="neg10, neg50, ...")]
Smallest = Annotated[bool, typer.Option("--smallest", help="Its quickest point alone.")]


@door.callback(invoke_without_command=True)
@benchmarks.callback(invoke_without_command=True)
@scales.callback(invoke_without_command=True)
def commands(context: typer.Context) -> None:
    """What is done outside the notebooks; PROFILE and single settings come from the environment."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@door.command()
def settings() -> None:
    """Print the settings in force."""
    print(shell_lines(load_profile().model_dump(by_alias=True)))


door.command(help="Say what this machine has, and which profiles will work.")(doctor)
door.command(help="Make pairs of Markdown and plain text, for DATASET.")(documents)


@door.command()
def check(names: list[Name]) -> None:
    """Check settings and models, and that no place is taken."""
    profile = load_profile()
    check_trains(profile)
    if profile.own_folders:
        print(profile.own_folders)
    for name in names:
        check_place(training_profile(profile, name).tuned_model(name))
    for name in ("raw", "reference"):
        embedder_settings(profile, name)


@door.command()
def prepare(name: Name) -> None:
    """Check all that a training needs; print lines for its script."""
    from helpers.training.prepare import prepare

    with redirect_stdout(sys.stderr):  # the script runs what comes out here
        lines = prepare(name, load_profile())
    sys.stdout.buffer.write(f"{lines}\n".encode(errors="surrogateescape"))  # nothing shown in another character's place


@door.command()
def log(file: Path) -> None:
    """Keep in a file what a training prints, and show it."""
    raise typer.Exit(keep_log(file))


@door.command()
def audit(name: Name) -> None:
    """Count leaks, near duplicates, garbled and cut texts."""
    from helpers.evaluation.audit import audit_of, audit_table, verdict

    profile = load_profile()
    findings = audit_of(TrainingSet(profile.training_file(name), profile.instruction), profile)
    print(f"{audit_table(findings).to_string()}\n\nverdict: {verdict(findings)}")


@door.command("clean")
def clean_vectors(yes: Annotated[bool, typer.Option("--yes", help="Remove them.")] = False) -> None:
    """List vectors whose model or texts are gone."""
    clean(load_profile(), yes)


@door.command()
def search(question: str, name: Name = "neg10") -> None:
    """Ask the corpus a question."""
    from helpers.evaluation.search_box import answer

    print(answer(question, name, load_profile()))


@door.command()
def report() -> None:
    """Print the results table."""
    from helpers.evaluation.tables import report

    print(report(load_profile()))


@door.command()
def metrics(
    qrels: Annotated[Path | None, typer.Argument()] = None,
    run: Annotated[Path | None, typer.Argument()] = None,
    article: Annotated[bool, typer.Option("--article", help="As the article; alone, all saved runs.")] = False,
) -> None:
    """Score a TREC run as trec_eval or as the article does."""
    from helpers.evaluation.metrics import score_files
    from helpers.evaluation.tables import report

    if qrels is None and article:
        with redirect_stdout(sys.stderr):  # which runs are left out
            text = report(load_profile(), article=True)
        print(text)
    elif qrels is None or run is None:
        raise UserError("Two files in TREC format are needed, as in: python -m helpers metrics QRELS RUN.")
    else:
        print(score_files(qrels, run, article))


@door.command()
def publish(name: Name, repo: str, push: Annotated[bool, typer.Option("--push", help="Do it.")] = False) -> None:
    """Show what of a model goes to the Hub; with --push, push it."""
    from helpers.training.publish import publish

    publish(name, repo, load_profile(), push)


@door.command()
def notebook(name: str, parameters: Annotated[list[str] | None, typer.Argument(help="neg_num=50 ...")] = None) -> None:
    """Run a notebook into output/<profile>/notebooks/."""
    from helpers.notebook import run_notebook

    run_notebook(name, parameters or [], load_profile())


@door.command()
def store() -> None:
    """Put the outputs of the last run into the notebooks."""
    from helpers.notebook import store_outputs

    store_outputs(load_profile())


@scales.command("encode")
def scale_encode(name: Name) -> None:
    """Encode the corpus on the cluster of RAY_ADDRESS."""
    from helpers.scale.search import scale

    scale(name, load_profile(), searches=False)


@scales.command("search")
def scale_search(name: Name) -> None:
    """Search it there, too, and save the result."""
    from helpers.scale.search import scale

    scale(name, load_profile(), searches=True)


@benchmarks.command()
def encode(name: Annotated[str, typer.Argument(help="reference, neg10, ...")] = "reference") -> None:
    """Encode the corpus beside two libraries' own ways."""
    from helpers.benchmarks.speed import encoding

    encoding(name, load_profile())


@benchmarks.command("step")
def step_benchmark(
    name: Annotated[str, typer.Argument(help="neg10, ...")] = "neg10", steps: Annotated[int, typer.Argument(min=1)] = 20
) -> None:
    """Train beside FlagEmbedding's plain trainer."""
    os.environ["KINETO_LOG_LEVEL"] = "99"  # PyTorch's profiler prints when it starts and stops
    from helpers.benchmarks.step import step

    step(name, load_profile(), steps)


@benchmarks.command("search")
def search_benchmark(vectors: Annotated[int, typer.Argument(min=1)] = 1_000_000) -> None:
    """Search vectors on disk exactly."""
    from helpers.benchmarks.memory import search

    search(vectors)


@benchmarks.command()
def memory(queries: Annotated[int, typer.Argument(min=1000)] = 500_000) -> None:
    """Build data and begin a training, at size."""
    from helpers.benchmarks.memory import training

    training(queries)


@benchmarks.command()
def learning_curve(smallest: Smallest = False) -> None:
    """Train on ever more pairs, in as many steps."""
    from helpers.benchmarks.learning_curve import LearningCurve

    LearningCurve(load_profile()).run(smallest)


@benchmarks.command()
def recipes(smallest: Smallest = False) -> None:
    """Train by many recipes, over seeds; takes hours."""
    from helpers.benchmarks.recipes import Recipes

    Recipes(load_profile()).run(smallest)


@benchmarks.command("index")
def index_benchmark(vectors: Annotated[list[int] | None, typer.Argument(min=2000)] = None) -> None:
    """Build indexes over ever more vectors."""
    from helpers.benchmarks.indexes import SIZES, indexes

    indexes(vectors or SIZES, load_profile())


@benchmarks.command("scale")
def scale_benchmark(passages: Annotated[list[int] | None, typer.Argument(min=100)] = None) -> None:
    """Encode and search by Ray beside one process."""
    from helpers.benchmarks.scale import SIZES, scale

    scale(passages or SIZES)


@benchmarks.command()
def card() -> None:
    """Train steps of a bert-base; needs a CUDA card."""
    from helpers.benchmarks.card import card

    card()


if __name__ == "__main__":
    if sys.getfilesystemencoding() != "utf-8":  # nor are the libraries' paths, or what processes started here say
        os.execve(sys.executable, sys.orig_argv, os.environ | {"PYTHONUTF8": "1"})
    run_command(door)
