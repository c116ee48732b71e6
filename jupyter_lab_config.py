"""How JupyterLab starts in this folder: `jupyter lab` reads this file where it is called.

Scripts, logs and data beside the notebooks can be seen, terminals start here, and 01 is open.
"""

from pathlib import Path

c = get_config()  # noqa: F821  traitlets puts it there
c.ServerApp.root_dir = str(Path(__file__).resolve().parent)
c.LabApp.default_url = "/lab/tree/notebooks/01_build_train_dataset.ipynb"
c.LabApp.news_url = None  # nothing asks whether to fetch news, and nothing fetches any
