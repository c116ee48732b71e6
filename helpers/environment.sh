# Sourced by the scripts: puts a Python on the PATH that has what requirements.txt names.
# That is the active virtual or conda environment if there is one, else .venv in the project's folder.

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

if [[ -z ${VIRTUAL_ENV:-}${CONDA_PREFIX:-} ]]; then
  if [[ ! -x $project/.venv/bin/python ]]; then
    if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
      echo "error: Python 3.11 or newer is needed; install it, or activate an environment that has it." >&2
      exit 2
    fi
    python3 -m venv "$project/.venv"
  fi
  source "$project/.venv/bin/activate"
fi

if ! python "$project/helpers/installed.py"; then
  echo "Installing requirements.txt into ${VIRTUAL_ENV:-$CONDA_PREFIX}; this takes some minutes, once."
  (cd "$project" && python -m pip install -r requirements.txt)
fi
