"""Outside judges of exported files: found where they are installed, else a visible skip, in CI a failure."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest

ROOT = Path(__file__).parent.parent


def absent(reason: str) -> NoReturn:
    """The judge is not here: skip, and say so; fail with CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def judge(module: str, package: str | None = None) -> None:
    """A Python module that judges must be installed; `package` is its name for pip where that is another."""
    if importlib.util.find_spec(module) is None:
        absent(f"no {package or module}: pip install 'kinelift[judges]'")


def node_modules(package: str) -> Path:
    """The node_modules folder that holds a package: $KINELIFT_NODE_JUDGES or what tests/blender/node_env.sh made."""
    folder = Path(os.environ.get("KINELIFT_NODE_JUDGES", ROOT / ".venv-node")) / "node_modules"
    if shutil.which("node") is None:
        absent(f"no node: {package} cannot judge")
    if not (folder / package).is_dir():
        absent(f"no {package}: run tests/blender/node_env.sh or set KINELIFT_NODE_JUDGES")
    return folder


def run_node(script: str, *arguments: object) -> Any:
    """What a script of tests/blender prints on its last line, JSON."""
    return _run("node", script, arguments)


def run_python(script: str, *arguments: object, python: str = sys.executable) -> Any:
    """The same with Python."""
    return _run(python, script, arguments)


def _run(program: str, script: str, arguments: tuple[object, ...]) -> Any:
    command = [program, str(ROOT / "tests" / "blender" / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.strip().splitlines()[-1])
