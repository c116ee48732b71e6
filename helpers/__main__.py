"""The commands: `python -m helpers` lists them, `python -m helpers COMMAND --help` tells what one takes."""

import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from pkgutil import resolve_name  # imports what a command does when it is called: its libraries take seconds
from typing import Annotated

import typer

from helpers.base import UserError, load_profile, neg_num_of, run_command, shell_lines
from helpers.encoding import embedder_settings
from helpers.sampling import TrainingSet
from helpers.sampling.beir import check_trains
from helpers.training.log import keep_log
from helpers.training.record import check_place

door = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
benchmarks = typer.Typer(rich_markup_mode=None)
door.add_typer(benchmarks, name="benchmark", help="Measure speed, memory, and what pairs are worth.")

Name = Annotated[str, typer.Argument(help="neg10, neg50, ...")]


@door.callback(invoke_without_command=True)
@benchmarks.callback(invoke_without_command=True)
def commands(context: typer.Context) -> None:
    """What is done outside the notebooks; PROFILE and single settings come from the environment."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@door.command()
def settings() -> None:
    """Print the settings in force."""
    print(shell_lines(load_profile().model_dump(by_alias=True)))


@door.command()
def check(names: list[Name]) -> None:
    """Check settings and models, and that no place is taken."""
    profile = load_profile()
    check_trains(profile)
    if profile.own_folders:
        print(profile.own_folders)
    for name in names:
        check_place(profile.tuned_model(neg_num_of(name)))
    for name in ("raw", "reference"):
        embedder_settings(profile, name)


@door.command()
def prepare(name: Name) -> None:
    """Check all that a training needs; print lines for its script."""
    with redirect_stdout(sys.stderr):  # the script runs what comes out here
        lines = resolve_name("helpers.training.prepare:prepare")(neg_num_of(name), load_profile())
    sys.stdout.buffer.write(f"{lines}\n".encode(errors="surrogateescape"))  # nothing shown in another character's place


@door.command()
def log(file: Path) -> None:
    """Keep in a file what a training prints, and show it."""
    raise typer.Exit(keep_log(file))


@door.command()
def audit(name: Name) -> None:
    """Count leaks, near duplicates, garbled and cut texts."""
    profile, audit = load_profile(), resolve_name("helpers.evaluation.audit")
    findings = audit.audit_of(TrainingSet(profile.training_file(neg_num_of(name)), profile.instruction), profile)
    print(f"{audit.audit_table(findings).to_string()}\n\nverdict: {audit.verdict(findings)}")


@door.command()
def documents(folder: Path, out: Path) -> None:
    """Make pairs of Markdown and plain text, for DATASET."""
    resolve_name("helpers.sampling.documents:documents")(folder, out)


@door.command()
def clean(yes: Annotated[bool, typer.Option("--yes", help="Remove them.")] = False) -> None:
    """List vectors whose model or texts are gone."""
    resolve_name("helpers.encoding.clean:clean")(load_profile(), yes)


@door.command()
def report() -> None:
    """Print the results table."""
    print(resolve_name("helpers.evaluation.tables:report")(load_profile()))


@door.command()
def metrics(
    qrels: Annotated[Path | None, typer.Argument()] = None,
    run: Annotated[Path | None, typer.Argument()] = None,
    article: Annotated[bool, typer.Option("--article", help="As the article; alone, all saved runs.")] = False,
) -> None:
    """Score a TREC run as trec_eval or as the article does."""
    if qrels is None and article:
        with redirect_stdout(sys.stderr):  # which runs are left out
            text = resolve_name("helpers.evaluation.tables:article_report")(load_profile())
        print(text)
    elif qrels is None or run is None:
        raise UserError("Two files in TREC format are needed, as in: python -m helpers metrics QRELS RUN.")
    else:
        print(resolve_name("helpers.evaluation.metrics:score_files")(qrels, run, article))


@door.command()
def publish(name: Name, repo: str, push: Annotated[bool, typer.Option("--push", help="Do it.")] = False) -> None:
    """Show what of a model goes to the Hub; with --push, push it."""
    resolve_name("helpers.training.publish:publish")(name, repo, load_profile(), push)


@door.command()
def notebook(name: str, parameters: Annotated[list[str] | None, typer.Argument(help="neg_num=50 ...")] = None) -> None:
    """Run a notebook into output/<profile>/notebooks/."""
    resolve_name("helpers.notebook:run_notebook")(name, parameters or [], load_profile())


@door.command()
def store() -> None:
    """Put the outputs of the last run into the notebooks."""
    resolve_name("helpers.notebook:store_outputs")(load_profile())


@benchmarks.command()
def encode(name: Annotated[str, typer.Argument(help="reference, neg10, ...")] = "reference") -> None:
    """Encode the corpus beside two libraries' own ways."""
    resolve_name("helpers.benchmarks.encode:benchmark")(name, load_profile())


@benchmarks.command()
def search(vectors: Annotated[int, typer.Argument(min=1)] = 1_000_000) -> None:
    """Search vectors on disk exactly."""
    resolve_name("helpers.benchmarks.search:benchmark")(vectors)


@benchmarks.command()
def memory(queries: Annotated[int, typer.Argument(min=1000)] = 500_000) -> None:
    """Build data and begin a training, at size."""
    resolve_name("helpers.benchmarks.memory:benchmark")(queries)


@benchmarks.command()
def learning_curve(
    smallest: Annotated[bool, typer.Option("--smallest", help="Its quickest point alone.")] = False,
) -> None:
    """Train on ever more pairs, in as many steps."""
    resolve_name("helpers.benchmarks.learning_curve:benchmark")(load_profile(), smallest)


@benchmarks.command()
def grad_cache() -> None:
    """Train large batches in chunks; needs a CUDA card."""
    resolve_name("helpers.benchmarks.grad_cache:benchmark")()


if __name__ == "__main__":
    if sys.getfilesystemencoding() != "utf-8":  # nor are the libraries' paths, or what processes started here say
        os.execve(sys.executable, sys.orig_argv, os.environ | {"PYTHONUTF8": "1"})
    run_command(door)
