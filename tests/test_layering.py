"""The layer table: a module imports only from a row above, and the core is light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import kinelift

SOURCE = Path(kinelift.__file__).parent
LEVELS = {
    "errors": 0,
    "skeleton": 1,
    "records": 1,
    "safe": 1,
    "camera": 2,
    "kinematics": 2,
    **dict.fromkeys(("video", "detect", "repair", "render", "lift", "trajectory", "cleanup"), 3),
    **dict.fromkeys(("export", "retarget", "datasets", "metrics"), 3),
    **dict.fromkeys(("pipeline", "report", "viewer", "training", "demo", "evaluate"), 4),
    "batch": 5,
    "commands": 6,
    "cli": 7,
    "__main__": 8,
}
# Imports between siblings, each with its reason.
ALLOWED = {
    ("records", "skeleton"): "a record names its joints by a skeleton",
    ("detect", "video"): "detectors read the frames that video yields, and key point files name frames alike",
    ("cleanup", "trajectory"): "L3b: the whole-clip solve starts from the path and shares its time differences",
    ("datasets", "export"): "the reader of BVH stands beside its writer",
    ("retarget", "export"): "a character is read and written by the exporters' own BVH, body and rates",
    ("pipeline", "report"): "a take carries its own numbers of quality; report knows nothing of the pipeline",
}
HEAVY = ("torch", "onnxruntime", "cv2", "mediapipe", "scipy", "av", "PIL", "onnx", "pygltflib", "typer", "rich")
MODULES = sorted(SOURCE.rglob("*.py"))


def part_of(path: Path) -> str:
    """The row of the table that a file belongs to."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> list[tuple[int, str, bool]]:
    """(line, full module name, whether it runs) of every import of a file; those for type checkers only do not run."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    quiet = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and ast.unparse(branch.test).endswith("TYPE_CHECKING")
        for node in ast.walk(branch)
    }
    out = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            out += [(node.lineno, a.name, id(node) not in quiet) for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            whole = [f"{node.module}.{a.name}" for a in node.names] if node.module == "kinelift" else [node.module]
            out += [(node.lineno, name, id(node) not in quiet) for name in whole]
    return out


def test_every_part_has_a_row():
    parts = {part_of(p) for p in MODULES} - {"__init__"}
    assert parts <= set(LEVELS), f"no row for: {sorted(parts - set(LEVELS))}"


@pytest.mark.parametrize("name", [str(p.relative_to(SOURCE)) for p in MODULES if part_of(p) != "__init__"])
def test_imports_only_from_a_row_above(name):
    path = SOURCE / name
    part = part_of(path)
    for line, name, runs in imports(path):
        if not runs or not name.startswith("kinelift."):
            continue
        other = name.split(".")[1]
        if other == part or other not in LEVELS:
            continue
        above = LEVELS[other] < LEVELS[part]
        assert above or (part, other) in ALLOWED, f"{path}:{line}: {part} imports {other}, which is not above it"


def test_every_exception_is_still_needed():
    used = {
        (part_of(p), name.split(".")[1])
        for p in MODULES
        for _, name, runs in imports(p)
        if runs and name.startswith("kinelift.")
    }
    assert set(ALLOWED) <= used


def test_no_star_and_no_pickle():
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert all(a.name != "*" for a in node.names), f"{path}:{node.lineno}: star import"
            if isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "weights_only"):
                assert ast.unparse(node.value) == str(node.arg == "weights_only"), f"{path}:{node.value.lineno}"
        assert not {n for _, n, _ in imports(path)} & {"pickle", "cPickle", "dill", "joblib"}, path


@pytest.mark.parametrize("statement", ["import kinelift", "from kinelift import Camera, Motion, Pose2D, Take, BODY26"])
def test_the_core_is_light(statement):
    code = f"import sys; {statement}; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []


def test_lifting_needs_no_torch():
    """Inference runs on ONNX Runtime alone; only training needs torch."""
    parts = ", ".join(f"kinelift.{p}" for p in ("lift", "trajectory", "cleanup", "repair"))
    code = f"import sys, {parts}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"


def test_public_names_resolve_or_name_what_is_missing():
    assert {"Camera", "Motion", "Take", "BODY26", "KineliftError"} <= set(dir(kinelift))
    assert kinelift.BODY26.name == "body26"
    with pytest.raises(AttributeError, match="no attribute 'Motoin'"):
        _ = kinelift.Motoin
