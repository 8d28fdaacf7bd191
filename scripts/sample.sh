#!/usr/bin/env bash
# From nothing to an animation: set up .venv and run the bundled sample video through the whole path.
#   scripts/sample.sh [OUT]        default: out/sample;  KINELIFT_VENV names another folder than .venv
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh
venv="${KINELIFT_VENV:-.venv}"
make_venv "$venv"
install "$venv" .
say "kinelift animate --sample -o ${1:-out/sample}"
"$venv/bin/kinelift" animate --sample -o "${1:-out/sample}"
