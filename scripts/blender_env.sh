#!/usr/bin/env bash
# Make a virtual environment with Blender as a Python module, the judge of the exported files.
#   scripts/blender_env.sh [FOLDER]        default: .venv-blender, where tests/test_export_blender.py looks for it
# Needs python3.11 and 1 GB of disk. It is apart from kinelift's own environment because Blender is GPL and pins its own
# NumPy. Running it again does nothing. As root on Debian it installs the system libraries that Blender links to.
set -euo pipefail
cd "$(dirname "$0")/.."
folder="${1:-.venv-blender}"
version=5.0.1
libraries=(libx11-6 libxrender1 libxfixes3 libxi6 libxkbcommon0 libxxf86vm1 libsm6 libice6 libgl1 libegl1)

works() { "$folder/bin/python" -c "import bpy; assert bpy.app.version_string == '$version', bpy.app.version_string" 2>/dev/null; }

if [ -x "$folder/bin/python" ] && works; then
    echo "$folder: Blender $version is there"
    exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    missing=()
    for library in "${libraries[@]}"; do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$library" 2>/dev/null)" = installed ] || missing+=("$library")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
    fi
fi
[ -x "$folder/bin/python" ] || python3.11 -m venv "$folder"
"$folder/bin/pip" install --quiet --no-cache-dir "bpy==$version"
works || { echo "$folder: Blender does not start; it needs: ${libraries[*]}" >&2; exit 1; }
echo "$folder: Blender $version installed"
