"""A training by its script, from Python."""

import os
import subprocess
import sys
from collections.abc import Mapping

from helpers.base import ROOT, UserError, check_name


def run_script(name: str, environ: Mapping[str, str] = os.environ) -> None:
    """Train `neg10`, `hard`, ... by its script, under an environment, and show what it prints, as it comes.

    Raises UserError: it has ended otherwise than well, with the last that it said.
    """
    words, said = ["bash", str(ROOT / "finetune_neg10.sh"), check_name(name)], ""
    with subprocess.Popen(words, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            print(line, end="", file=sys.stderr, flush=True)  # which is not kept with a notebook
            said = line.strip() or said
    if process.returncode:
        raise UserError(f"The training of {name} failed: {said.removeprefix('error: ')}")
