"""Run a notebook without a browser, and keep what it shows."""

import ast
import base64
import logging
import re
import sys
from pathlib import Path

import nbformat
import papermill

from helpers.base import ROOT, Profile, UserError, whole_file

NOTEBOOKS = ROOT / "notebooks"
PICTURES = {"plot_means(": "models.png", "plot_recipes(": "recipes.png"}  # a call in a cell -> its picture in docs/
BRACES = str.maketrans({"{": "{{", "}": "}}"})  # papermill fills in what they name in a path
WIDGET = "application/vnd.jupyter.widget-view+json"


def run_notebook(name: str, assignments: list[str], profile: Profile) -> None:
    """Execute a notebook, such as `01_build_train_dataset`, with parameters, such as `neg_num=50`; keep the copy.

    Raises UserError: there is no such notebook, or a cell failed.
    """
    path = NOTEBOOKS / f"{Path(name).stem}.ipynb"  # a shell completes it to notebooks/NAME.ipynb
    if not path.is_file():
        raise UserError(f"There is no {path}; give the name of one that is in {NOTEBOOKS.name}/.")
    logging.getLogger("papermill").setLevel(logging.ERROR)
    names = papermill.inspect_notebook(str(path).translate(BRACES))
    words = [text.partition("=") for text in assignments]
    if wrong := ["".join(parts) for parts in words if not parts[1] or parts[0] not in names]:
        raise UserError(f"{name} takes no {wrong[0]!r}; write name=value with one of {', '.join(names) or 'none'}.")
    parameters = {key: value for key, _, value in words}
    for key, value in parameters.items():
        default = names[key]["default"]
        try:
            parameters[key] = type(ast.literal_eval(default))(value)  # a text, or a number
        except ValueError as error:
            raise UserError(
                f"{name} takes a number for {key}, as in {key}={default}, and not {key}={value}."
            ) from error
    stem = re.sub(r"[^\w.-]+", "_", "_".join([path.stem, *(f"{key}_{value}" for key, value in parameters.items())]))
    executed = profile.output_dir / "notebooks" / f"{stem}.ipynb"
    executed.parent.mkdir(parents=True, exist_ok=True)
    how = {"progress_bar": sys.stderr.isatty(), "extra_arguments": ["--log-level=50"]}
    files = (str(file).translate(BRACES) for file in (path, executed))
    try:  # at once: to free what it has loaded takes a kernel seconds, and all its files are whole
        notebook = papermill.execute_notebook(*files, parameters, shutdown_kernel="immediate", **how)
    except papermill.PapermillExecutionError as error:
        reason = error.evalue if error.ename == "UserError" else f"{error.ename}: {error.evalue}, see {executed}"
        raise UserError(f"notebooks/{path.name}: {reason}") from error
    with whole_file(executed) as file:
        nbformat.write(tidy(notebook), file)


def tidy(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Drop what differs from run to run or says nothing to a reader: progress bars, counts, times, tool metadata."""
    notebook.metadata = {key: value for key, value in notebook.metadata.items() if key == "kernelspec"}
    for cell in notebook.cells:
        cell.metadata = {"tags": tags} if (tags := cell.metadata.get("tags")) else {}
        if cell.cell_type == "code":
            cell.execution_count = None
            kept = (output for output in cell.outputs if output.get("name") != "stderr")  # no bar and no hint
            cell.outputs = [o for o in kept if WIDGET not in (data := o.get("data", {})) or "text/html" in data]
            for output in cell.outputs:
                if output.output_type == "execute_result":
                    output.execution_count = None
                output.get("data", {}).pop(WIDGET, None)  # dead without its kernel
    return notebook


def store_outputs(profile: Profile) -> None:
    """Copy the outputs of the profile's executed notebooks into the notebooks of the series.

    Raises UserError, before any is written: one that run_all.sh runs has not been run to its end as it is.
    """
    notebooks, series = {}, (ROOT / "run_all.sh").read_text(encoding="utf8")
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        executed = min((profile.output_dir / "notebooks").glob(f"{path.stem}*.ipynb"), default=None)
        if not executed and path.stem not in series:
            continue
        notebook = notebooks[path] = nbformat.read(path, as_version=4)
        cells = nbformat.read(executed, as_version=4).cells if executed else []
        cells = [cell for cell in cells if "injected-parameters" not in cell.metadata.get("tags", [])]
        if [cell.source for cell in cells] != [cell.source for cell in notebook.cells]:  # a failed one has more cells
            how = f"to its end under PROFILE={profile.name} as it is now"
            raise UserError(f"{path.name} has not been run {how}; run bash run_all.sh first.")
        for cell, done in zip(notebook.cells, cells, strict=True):
            if cell.cell_type == "code":
                cell.outputs = done.outputs
    for path, notebook in notebooks.items():
        with whole_file(path) as file:
            nbformat.write(tidy(notebook), file)
        for cell in notebook.cells:
            for call, name in PICTURES.items():
                for png in (o.get("data", {}).get("image/png") for o in cell.get("outputs", []) if call in cell.source):
                    if png:
                        with whole_file(ROOT / "docs" / name, binary=True) as file:
                            file.write(base64.b64decode(png))
