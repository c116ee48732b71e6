"""How JupyterLab starts in this folder: `jupyter lab` reads this file where it is called.

Scripts, logs and data beside the notebooks can be seen, terminals start here, and 01 is open.
"""

import os
import tempfile
from pathlib import Path

c = get_config()  # noqa: F821  traitlets puts it there
os.environ["PYTHONUTF8"] = "1"  # of the notebooks and terminals that start from here, whatever the encoding there
if not os.access(os.path.expanduser("~"), os.W_OK):  # what Jupyter and IPython keep there has a place until a reboot
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR", "MPLCONFIGDIR"):
        os.environ[name] = os.environ.get(name) or tempfile.mkdtemp()
    for name in ("user_settings_dir", "workspaces_dir"):  # which it has looked for already
        setattr(c.LabApp, name, tempfile.mkdtemp())
c.ServerApp.root_dir = str(Path(__file__).resolve().parent)
# Started without a terminal it would take login shells, which on Debian forget the PATH, and with it the environment.
c.ServerApp.terminado_settings = {"shell_command": [os.environ.get("SHELL") or "bash"]}
c.LabApp.default_url = "/lab/tree/notebooks/01_build_train_dataset.ipynb"
c.LabApp.news_url = None  # nothing fetches news, ...


def without_question(handler, page):
    """Leave out the extension that asks whether news may be fetched, which it does even where there are none."""
    page["disabledExtensions"] = [*page.get("disabledExtensions", ()), "@jupyterlab/apputils-extension:announcements"]
    return page


c.ServerApp.tornado_settings = {"page_config_hook": without_question}  # ... and nothing asks about them
