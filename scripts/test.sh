#!/usr/bin/env bash
# Everything the project is judged by: ruff, mypy, pytest with outside judges: Blender, Chromium, Khronos, ....
#   scripts/test.sh [PYTEST OPTIONS]    KINELIFT_TEST_VENV names another folder than .venv-test
# Without a judge its tests are skipped, and pytest says so; with CI=true a missing judge is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh
venv="${KINELIFT_TEST_VENV:-.venv-test}"

no_judge() {
    [ "${CI:-}" != true ] || die "$1"
    printf '%s; its tests will be skipped\n' "$1" >&2
}

make_venv "$venv"
install "$venv" --editable ".[dev,docs,train,mediapipe-needs,judges]"
# A judge too, without the 0.6 GB that its wheel names and its pose networks do not use.
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt mediapipe
say "ruff"
"$venv/bin/ruff" check .
"$venv/bin/ruff" format --check .
say "mypy"
"$venv/bin/mypy"
say "Blender"
command -v python3.11 >/dev/null || no_judge "Blender needs python3.11"
bash scripts/blender_env.sh || no_judge "Blender cannot be set up"
say "Khronos glTF validator"
command -v npm >/dev/null || system_packages nodejs npm || true
bash scripts/gltf_validator_env.sh || no_judge "the glTF validator cannot be set up"
say "three.js"
bash tests/blender/node_env.sh || no_judge "three.js cannot be set up"
say "Chromium, the viewer's sources"
command -v chromium >/dev/null || command -v google-chrome >/dev/null || system_packages chromium || no_judge "Chromium is not installed"
npm ci --prefix web --no-audit --no-fund --silent || no_judge "the viewer's sources cannot be installed"
say "pytest"
OMP_NUM_THREADS=1 "$venv/bin/python" -m pytest -n 2 --dist loadfile "$@"
