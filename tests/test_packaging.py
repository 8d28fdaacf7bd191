"""What is shipped: a light import, inference without torch, assets in the wheel, README's commands, no stray paths."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest

import kinelift
from kinelift.camera import Camera
from kinelift.detect import write_keypoints
from kinelift.records import Pose2D
from kinelift.skeleton import BODY26

ROOT = Path(__file__).resolve().parent.parent
IMPORT_LIMIT_S = 0.3
HEAVY = ("torch", "onnxruntime", "cv2", "mediapipe", "scipy", "av")


def run(*command, **kwargs):
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **kwargs)


@pytest.fixture(scope="module")
def tracked():
    """Paths of the repository's files, relative to its root."""
    listed = run("git", "ls-files", "-z", cwd=ROOT) if shutil.which("git") else None
    if listed is None or listed.returncode:
        pytest.skip("not a git checkout")
    return [Path(name) for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_import_is_light():
    def seconds():
        lines = run(sys.executable, "-X", "importtime", "-c", "import kinelift").stderr.splitlines()
        (line,) = [x for x in lines if x.split("|")[-1].strip() == "kinelift"]
        return int(line.split("|")[1]) / 1e6

    assert min(seconds() for _ in range(3)) < IMPORT_LIMIT_S


def test_import_loads_nothing_heavy():
    code = f"import kinelift, sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    assert run(sys.executable, "-c", code).stdout.strip() == "[]"


BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "onnx", "jax"}:
            raise RuntimeError(f"import of {name}")

sys.meta_path.insert(0, Blocker())
from kinelift.cli import main
main()
"""


def test_animation_needs_no_torch(tmp_path, walk, look_at):
    times = np.arange(20) / 30
    camera = look_at((0.5, 1.5, 4.0), (0, 0.9, 0))
    points = tmp_path / "walk.npz"
    write_keypoints(points, Pose2D(BODY26, camera.project(walk(times)), np.ones((20, 26)), times, camera.image_size))
    done = run(sys.executable, "-c", BLOCKER, "animate", str(points), "-o", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "motion.bvh").is_file()
    # The blocker does block.
    assert (
        "import of torch" in run(sys.executable, "-c", BLOCKER.replace("from kinelift", "import torch\nfrom k")).stderr
    )


@pytest.fixture(scope="module")
def wheel(tracked, tmp_path_factory):
    """The wheel built from tracked files only."""
    folder = tmp_path_factory.mktemp("wheel")
    for path in tracked:
        target = folder / "source" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, target)
    pip = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "--disable-pip-version-check")
    built = run(*pip, "-w", str(folder / "dist"), str(folder / "source"))
    if built.returncode and "for setuptools" in built.stderr and os.environ.get("CI") != "true":
        pytest.skip("no package index to build with")
    assert built.returncode == 0, built.stderr
    (path,) = (folder / "dist").glob("*.whl")
    return path


def test_wheel_holds_every_module_and_asset(wheel, tracked):
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.startswith("kinelift/")}
        shipped = {str(p.relative_to("src")) for p in tracked if p.parts[:2] == ("src", "kinelift")}
        assert held == shipped
        for name in ("sample.mp4", "sample_truth.npz", "temporal.onnx", "blazepose_heavy.onnx"):
            assert archive.read(f"kinelift/assets/{name}") == (ROOT / "src/kinelift/assets" / name).read_bytes()
        assert "kinelift/py.typed" in held
        licences = {Path(n).name for n in archive.namelist() if "/licenses/" in n}
        assert {"LICENSE", "NOTICE"} <= licences


def test_wheel_is_small_enough_to_ship(wheel):
    assert wheel.stat().st_size < 40e6  # lifters, and the detector's networks


def readme_commands():
    first = (ROOT / "README.md").read_text().split("```")[1]
    return [line for line in first.splitlines()[1:] if line.strip()]


def test_readme_begins_with_two_commands_and_ci_runs_the_second():
    sample, test = readme_commands()
    for command in (sample, test):
        bash, script = command.split()
        assert bash == "bash"
        assert (ROOT / script).is_file()
    ci = [x for x in (ROOT / ".ci/run").read_text().splitlines() if x.startswith("bash ")]
    assert ci == [test]
    assert "animate --sample" in (ROOT / sample.split()[1]).read_text()
    assert "-m pytest" in (ROOT / test.split()[1]).read_text()


def test_scripts_are_valid_bash(tracked):
    scripts = [p for p in tracked if p.suffix == ".sh" or p == Path(".ci/run")]
    assert len(scripts) >= 5
    for path in scripts:
        assert run("bash", "-n", str(ROOT / path)).stderr == "", path


def test_constraints_pin_what_the_package_names():
    lines = [x for x in (ROOT / "constraints.txt").read_text().splitlines() if not x.startswith("#")]
    pins = dict(line.lower().replace("_", "-").split("==") for line in lines)
    assert not [v for v in pins.values() if "+" in v]  # local versions are on no index
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for line in [*project["dependencies"], *extras["mediapipe-needs"], *extras["train"], *extras["dev"]]:
        assert re.match(r"[\w.-]+", line)[0].lower().replace("_", "-") in pins, line
    assert extras["mediapipe"] == [f"mediapipe=={pins['mediapipe']}"]


def test_no_tracked_file_names_a_machines_path(tracked):
    pattern = re.compile(rb"/(work|farm|root|tmp)/")
    texts = {path: (ROOT / path).read_bytes() for path in tracked}
    named = [str(p) for p, text in texts.items() if b"\0" not in text and pattern.search(text)]
    assert not named


def test_no_large_files_are_tracked(tracked):
    assert not [str(p) for p in tracked if (ROOT / p).stat().st_size > 20e6]


def test_every_page_of_the_docs_is_listed(tracked):
    listed = re.findall(r"[\w-]+\.md", (ROOT / "mkdocs.yml").read_text())
    assert sorted(listed) == sorted(p.name for p in tracked if p.match("docs/*.md"))


def test_command_is_installed():
    command = Path(sys.executable).with_name("kinelift")
    done = run(str(command), "info")
    assert done.returncode == 0, done.stderr
    assert "lifter temporal" in done.stdout


def test_precommit_hooks_are_local(tracked):
    text = (ROOT / ".pre-commit-config.yaml").read_text()
    assert re.findall(r"repo: (\S+)", text) == ["local"]


@pytest.mark.parametrize("option", [["--help"], ["animate", "--help"], ["train", "temporal", "--help"]])
def test_help_needs_no_heavy_imports(option):
    code = (
        "import sys\n"
        "from kinelift.cli import app\n"
        "try:\n    app(sys.argv[1:], standalone_mode=False)\nexcept SystemExit:\n    pass\n"
        f"print('loaded', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = run(sys.executable, "-c", code, *option)
    assert done.returncode == 0, done.stderr
    assert "loaded []" in done.stdout


def test_public_names_exist():
    assert kinelift.Camera is Camera
    for name in kinelift.__all__:
        assert getattr(kinelift, name) is not None


def test_public_names_stay_what_they_are():
    # A submodule of the same name takes its place on the package once it is imported.
    code = "import kinelift, kinelift.pipeline as p; print(callable(kinelift.animate), callable(kinelift.save))"
    assert run(sys.executable, "-c", code).stdout.split() == ["True", "True"]
