#!/usr/bin/env bash
# Install the Khronos glTF validator (npm, 1 MB), the judge of the exported GLB files.
#   scripts/gltf_validator_env.sh [FOLDER]     default: .venv-gltf, where tests/test_export_gltf.py looks for it
# Needs node and npm. Running it again does nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
folder="${1:-.venv-gltf}"
version=2.0.0-dev.3.10
if grep -qs "\"version\": \"$version\"" "$folder/node_modules/gltf-validator/package.json"; then
    echo "$folder: gltf-validator $version is there"
    exit 0
fi
mkdir -p "$folder"
npm install --prefix "$folder" --no-audit --no-fund --no-save --silent "gltf-validator@$version"
echo "$folder: gltf-validator $version installed"
