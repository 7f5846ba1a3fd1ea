#!/usr/bin/env bash
# Check jaxgan on the accelerators of this machine, within 8 minutes: see docs/accelerator.md.
#   [PYTHON=python3] [WHEELS=DIR] bash tests/accelerator.sh OUT [--small]
set -euo pipefail

if [[ $# -lt 1 || $1 == -* ]]; then
  echo "Error: expected a folder for the results: bash tests/accelerator.sh OUT [--small]" >&2
  exit 2
fi
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
shift
python=$(command -v "${PYTHON:-python3}") || {
  echo "Error: there is no ${PYTHON:-python3} here: PYTHON=FILE names another." >&2
  exit 2
}

# What the present Python has is taken from there, and what it lacks from the folder of wheels.
if [[ -n ${WHEELS:-} ]]; then
  "$python" -m venv --clear --without-pip "$out/venv"
  own=$("$out/venv/bin/python" -c 'import site; print(site.getsitepackages()[0])')
  "$python" -c 'import sys; print(*[p for p in sys.path if p.endswith("-packages")], sep="\n")' \
    > "$own/present.pth"
  install() {
    "$python" -m pip --python "$out/venv/bin/python" --disable-pip-version-check install --quiet \
      --no-index --find-links "$WHEELS" "$@"
  }
  mapfile -t wanted < <("$python" -c '
import sys, tomllib
with open(sys.argv[1], "rb") as file:
    print(*tomllib.load(file)["project"]["dependencies"], "pytest", sep="\n")
' "$root/pyproject.toml")
  if ! install "${wanted[@]}" 2> /dev/null; then
    for name in "${wanted[@]}"; do
      install "$name" 2> /dev/null || echo "Neither here nor in $WHEELS: $name"
    done
  fi
  python=$out/venv/bin/python
fi

cd "$root"
# In seconds: how long all of this may take, less what has passed.
exec "$python" -m tests.accelerator "$out" --seconds=$((480 - SECONDS)) "$@"
