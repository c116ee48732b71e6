# Sourced by the scripts: puts a Python on the PATH that has what requirements.txt names.
# An active virtual or conda environment is used as it is, if it has all of that; conda's base is left alone.
# Without one it is .venv in the project's folder, which is made and filled.

export PYTHONSAFEPATH=1                   # a folder helpers/ where a script is started is not ours
export PYTHONUTF8=1                       # whatever the terminal's encoding
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

fill_venv() {
  if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "error: Python 3.11 or newer is needed; install it, or activate an environment that has it." >&2
    exit 2
  fi
  exec 9>> "$project/.venv.lock"          # two scripts may be started at once
  python3 - "$project/.venv" <<'END'      # lock the open file until all that have it are gone
import fcntl, sys
try:
    try:
        fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"Another script is checking or filling {sys.argv[1]}; waiting for it.", flush=True)
        fcntl.flock(9, fcntl.LOCK_EX)
except OSError as error:  # some file systems have no locks
    print(f"warning: no lock on this file system ({error.strerror}); do not start a script twice.", file=sys.stderr)
END
  if [[ ! -e $project/.venv/bin/activate ]]; then  # written last
    python3 -m venv "$project/.venv"
  fi
  source "$project/.venv/bin/activate"
  if [[ $(command -v python) != "$project/.venv/bin/python" ]]; then
    echo "error: $project/.venv was made in another folder and does not move; remove it, a new one is made." >&2
    exit 2
  fi
  if ! lacking=$(python "$project/helpers/installed.py"); then
    torch=$(grep -o '^torch==[^ ]*' "$project/$lacking")
    if [[ $(uname) == Linux ]] && ! command -v nvidia-smi > /dev/null && ! python -c 'import torch' 2> /dev/null; then
      echo "No CUDA card: to spare gigabytes, stop this (Ctrl-C) and take the CPU build of PyTorch first:" \
        "$project/.venv/bin/pip install $torch --index-url https://download.pytorch.org/whl/cpu"
    fi
    echo "Installing $lacking into $project/.venv; this takes some minutes, once."
    (cd "$project" && python -m pip install -r "$lacking")
  fi
  exec 9>&-
}

active=${VIRTUAL_ENV:-${CONDA_PREFIX:-}}
if [[ -z ${VIRTUAL_ENV:-} && ( ${CONDA_DEFAULT_ENV:-} == base || -d $active/condabin ) ]]; then
  active=
fi
if [[ -z $active || $active == "$project/.venv" ]]; then
  fill_venv
elif PATH=$active/bin:$PATH; ! command -v python > /dev/null; then
  echo "error: $active has no python; install it there, or deactivate it to have a .venv made." >&2
  exit 2
elif ! lacking=$(python "$project/helpers/installed.py"); then
  echo "error: $active lacks some of $lacking; in $project run pip install -r $lacking, or deactivate it" \
    "to have a .venv made." >&2
  exit 2
fi
