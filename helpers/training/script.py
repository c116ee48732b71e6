"""A training by its script, from Python."""

import os
import subprocess
from collections.abc import Mapping

from helpers.base import ROOT, UserError, check_name


def run_script(name: str, environ: Mapping[str, str] = os.environ) -> None:
    """Train `neg10`, `hard`, ... as its script does, under an environment. Raises UserError: it says why it ended."""
    words = ["bash", str(ROOT / "finetune_neg10.sh"), check_name(name)]
    done = subprocess.run(words, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip() or done.stdout.strip()).rpartition("\n")[2]
        raise UserError(f"The training of {name} failed: {reason.removeprefix('error: ')}")
