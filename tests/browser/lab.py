"""A JupyterLab over a copy of the project, and a notebook in a browser, used as a person does."""

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
from conftest import environ_of
from playwright.sync_api import Locator, Page

from helpers.base.profile import ROOT

COMMAND = "jupyter lab --config jupyter_lab_config.py"
PATIENCE = 240  # seconds that something may take on a busy machine
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def find_browser() -> str | None:
    """Return the path of a Chromium, or None."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def until(holds: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Return what `holds` returns once that is true; fail with `what` was waited for."""
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.3)
    return found


def token_in(path: Path) -> str:
    """Return the token that JupyterLab has made for itself, from the file that tells its user."""
    content = until(path.read_text, f"the content of {path.name}")
    return json.loads(content)["token"]


class Lab:
    """A JupyterLab over a copy of the project, started by the README's command, with settings of nobody."""

    def __init__(self, project: Path, home: Path, settings: dict[str, object]):
        assert f"\n{COMMAND}\n" in (ROOT / "README.md").read_text(encoding="utf8")
        own = {"JUPYTER_RUNTIME_DIR": home, "HOME": "/dev/null/none"}  # a home that nobody can write to, not even root
        environ = environ_of(project, settings | own)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.project, self.address = project, f"http://127.0.0.1:{port}"
        words = f"{COMMAND} --no-browser --allow-root --port {port}".split()
        null = subprocess.DEVNULL
        self.process = subprocess.Popen(words, cwd=project, env=environ, stdout=null, stderr=null)
        self.token = until(lambda: [*map(token_in, home.glob("jpserver-*.json"))], "JupyterLab", 60)[0]
        until(self.answers, "JupyterLab", 60)

    def answers(self) -> bool:
        """Tell whether the server is there."""
        assert self.process.poll() is None, "JupyterLab has ended"
        try:
            self.get("/api")
            return True
        except urllib.error.URLError:
            return False

    def get(self, path: str) -> Any:
        """Return what the server answers."""
        with urllib.request.urlopen(f"{self.address}{path}?token={self.token}") as answer:
            return json.load(answer)

    def stop(self) -> None:
        """End it and its kernels."""
        self.process.terminate()
        self.process.wait(timeout=30)


class Notebook:
    """A notebook of the series in a window of its own."""

    def __init__(self, lab: Lab, page: Page, name: str):
        self.lab, self.page, self.name, self.path = lab, page, name, f"notebooks/{name}.ipynb"
        page.goto(f"{lab.address}/lab/workspaces/{name}/tree/{self.path}?token={lab.token}&reset")
        page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=60_000)
        until(lambda: self.state() == "idle", f"the kernel of {name}")

    def state(self) -> str:
        """Return what the server says of the kernel: `starting`, `idle`, `busy`, `dead`, or nothing."""
        found = [s["kernel"]["execution_state"] for s in self.lab.get("/api/sessions") if s["path"] == self.path]
        assert found != ["dead"]
        return found[0] if found else ""

    def menu(self, menu: str, *entries: str) -> None:
        """Choose from the menu bar."""
        self.page.locator("#jp-MainMenu .lm-MenuBar-itemLabel", has_text=menu).first.click()
        for entry in entries:
            self.page.locator(".lm-Menu-itemLabel").get_by_text(entry, exact=True).click()

    def edit(self, old: str, new: str) -> None:
        """Put a text in the place of another in the one code cell that has it."""
        cells = nbformat.read(self.lab.project / self.path, 4).cells
        [source] = [cell.source for cell in cells if cell.cell_type == "code" and old in cell.source]
        self.page.locator(".jp-CodeCell", has_text=old).locator(".cm-content").click()
        self.page.keyboard.press("Control+A")
        self.page.keyboard.insert_text(source.replace(old, new))

    def add(self, source: str) -> None:
        """Add a cell at the end and run it."""
        self.page.locator(".jp-Notebook .jp-Cell").last.locator(".jp-Cell-inputWrapper").click()
        for key in ("Escape", "b", "Enter"):
            self.page.keyboard.press(key)
        self.page.keyboard.insert_text(source)
        self.page.keyboard.press("Control+Enter")
        until(lambda: self.state() == "busy", "the new cell")

    def show(self) -> None:
        """Come back to the notebook from what was opened beside it."""
        self.page.locator(".lm-TabBar-tabLabel", has_text=self.name[:15]).first.click()

    def terminal(self, *commands: str) -> None:
        """Open a terminal and type commands."""
        self.menu("File", "New", "Terminal")
        self.page.locator(".jp-Terminal .xterm-screen").click()
        self.page.wait_for_timeout(1000)  # the shell's first prompt
        for command in commands:
            self.page.keyboard.type(f"{command}\n")

    def theme(self, name: str) -> None:
        """Change the colours."""
        self.menu("Settings", "Theme", name)
        until(lambda: self.page.locator(f"body[data-jp-theme-name='{name}']").count(), name)

    def table_cell(self) -> Locator:
        """Return the first cell of a table that pandas shows."""
        return self.page.locator(".jp-OutputArea-output .dataframe tbody tr").first.locator("td").first

    def run_all(self) -> list:
        """Run all cells; return the code cells as they are saved then. Fails where one has an error."""
        self.menu("Run", "Run All Cells")
        return self.finish()

    def quiet(self) -> None:
        """Wait until no cell runs or waits."""
        waiting = self.page.locator(".jp-InputPrompt", has_text="[*]")
        until(lambda: not waiting.count() and self.state() == "idle" and not waiting.count(), self.path)

    def finish(self) -> list:
        """Wait until all cells are through; return them as saved."""
        self.quiet()
        return self.saved()

    def saved(self) -> list:
        """Save; return the code cells of the file. Fails where one has an error."""
        file = self.lab.project / self.path
        before = file.stat().st_mtime_ns
        self.menu("File", "Save Notebook")
        whole = "}\n"  # ends it; while it is written it is shorter
        until(lambda: file.stat().st_mtime_ns > before and file.read_text("utf8").endswith(whole), "a saved file", 30)
        cells = [cell for cell in nbformat.read(file, 4).cells if cell.cell_type == "code"]
        wrong = [output for cell in cells for output in cell.outputs if output.output_type == "error"]
        assert not wrong, wrong
        return cells
