#!/usr/bin/env bash
# Install three.js (npm, 33 MB), whose MMD player and FBX reader judge the exported files; r160 still has the player.
#   tests/blender/node_env.sh [FOLDER]     default: .venv-node, where tests/judges.py looks for it
# Needs node and npm. Running it again does nothing.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder="${1:-.venv-node}"
version=0.160.0
if grep -qs "\"version\": \"$version\"" "$folder/node_modules/three/package.json"; then
    echo "$folder: three $version is there"
    exit 0
fi
mkdir -p "$folder"
npm install --prefix "$folder" --no-audit --no-fund --no-save --silent "three@$version"
echo "$folder: three $version installed"
