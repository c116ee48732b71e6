#!/usr/bin/env bash
# All checks of this project: formatter, linter, types and tests. Arguments go to pytest: bash run_tests.sh -m 'not slow'
#
#   needs   Python 3.11 or newer; a network for the requirements, and for infinity, which tests/encoding/ serves a model by
#   takes   15 to 20 minutes on two CPU cores, after the installation
#   leaves  the caches of pytest, ruff and mypy, which git ignores; tests that run scripts do it in a copy of the project
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source helpers/environment.sh
browser() { command -v chromium chromium-browser google-chrome > /dev/null; }
if ! browser && [[ $(id -u) == 0 ]] && command -v apt-get > /dev/null; then
  echo "Installing Debian's Chromium for tests/browser/; this takes a minute, once."
  (apt-get update && apt-get install --yes --no-install-recommends chromium) > /dev/null 2>&1 || true
fi
if ! python -c "import ray" 2> /dev/null; then
  echo "Installing Ray for tests/scale/."
  python -m pip install --quiet -r requirements-ray.txt || echo "Ray cannot be installed: its tests are left out."
fi
browser || echo "There is no Chromium: the tests in a browser are left out."
ruff format --check .
ruff check .
mypy
python -m pytest -n 3 --dist loadfile --no-loadscope-reorder "$@"
