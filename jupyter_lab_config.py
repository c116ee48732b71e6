"""How JupyterLab starts in this folder: `jupyter lab` reads this file where it is called.

Scripts, logs and data beside the notebooks can be seen, terminals start here, and 01 is open.
"""

import os
from pathlib import Path

os.environ["PYTHONUTF8"] = "1"  # of the notebooks and terminals that start from here, whatever the encoding there

c = get_config()  # noqa: F821  traitlets puts it there
c.ServerApp.root_dir = str(Path(__file__).resolve().parent)
c.LabApp.default_url = "/lab/tree/notebooks/01_build_train_dataset.ipynb"
c.LabApp.news_url = None  # nothing asks whether to fetch news, and nothing fetches any
