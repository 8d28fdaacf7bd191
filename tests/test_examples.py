"""Examples and the code in docs run, on key points of the package's own synthetic walk; nothing is detected here."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

import kinelift
from judges import absent
from kinelift.camera import Camera
from kinelift.detect import write_keypoints
from kinelift.export import export
from kinelift.export.npz import load_motion
from kinelift.kinematics import motion_positions
from kinelift.records import Pose2D
from kinelift.render.sample_motion import SAMPLE_STATURE_M, sample_motion
from kinelift.skeleton import BODY26, COCO17

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
SIZE = (960, 540)
SHARED = [j for j in COCO17.joints if j in BODY26.joints]


@pytest.fixture(scope="module")
def key_points(tmp_path_factory) -> Path:
    """1.5 s of a walk as a COCO-17 detector without errors would see it: no feet, no hands, no eyes."""
    motion = sample_motion()
    frames = slice(0, 45)
    facing = np.diag([1.0, -1.0, -1.0])
    camera = Camera.from_focal(800, SIZE).replaced(
        R_cam_world=facing, t_cam_world=-facing @ (motion.root[22] * (1, 0, 1) + (0, 1.2, 4.5))
    )
    pixels = camera.project(motion_positions(motion)[frames])
    xy = np.full((45, len(COCO17), 2), np.nan)
    xy[:, COCO17.indices(*SHARED)] = pixels[:, BODY26.indices(*SHARED)]
    seen = np.isfinite(xy).all(-1).astype(float)
    path = tmp_path_factory.mktemp("examples") / "walk.npz"
    write_keypoints(path, Pose2D(COCO17, xy, seen, motion.times[frames], SIZE))
    return path


def run(*command, cwd=None, **environment):
    env = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, env=env, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def animated(key_points) -> tuple[Path, str]:
    """The folder that the first example writes, and what it prints."""
    out = key_points.parent / "out"
    return out, run(sys.executable, EXAMPLES / "01_animate.py", key_points, out, SAMPLE_STATURE_M)


def number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    assert found, text
    return float(found[1])


def test_every_example_is_tested():
    here = Path(__file__).read_text()
    assert [p.name for p in sorted(EXAMPLES.glob("*.py")) if p.name not in here] == []


def test_01_animate(animated):
    out, said = animated
    assert sorted(p.name for p in out.iterdir()) == ["motion.bvh", "motion.csv", "motion.glb", "motion.npz"]
    motion = sample_motion()
    true = np.linalg.norm((motion.root[44] - motion.root[0])[[0, 2]])
    assert number(r"travels ([\d.]+) m", said) == pytest.approx(true, rel=0.25)
    assert number(r"within ([\d.]+) px", said) < 8


def test_02_read_motion(animated):
    out, _ = animated
    said = run(sys.executable, EXAMPLES / "02_read_motion.py", out / "motion.npz")
    take = load_motion(out / "motion.npz")
    assert said.startswith("45 frames, 1.47 s, from walk.npz")
    assert number(r"reprojection: ([\d.]+) px", said) == pytest.approx(
        np.nanmedian(
            np.linalg.norm(
                take.camera.project(motion_positions(take.motions[0]))[:, BODY26.indices(*SHARED)]
                - take.poses_2d[0].xy[:, COCO17.indices(*SHARED)],
                axis=-1,
            )
        ),
        abs=0.06,
    )


def test_02_needs_no_kinelift(animated):
    code = (
        "import runpy, sys; sys.modules['kinelift'] = None; sys.argv = sys.argv[1:];"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    run(sys.executable, "-c", code, EXAMPLES / "02_read_motion.py", animated[0] / "motion.npz")


def test_03_own_lifter(key_points):
    said = run(sys.executable, EXAMPLES / "03_own_lifter.py", key_points)
    assert "spine, chest" in said and "left_toe" in said
    assert number(r"within ([\d.]+) px", said) < 20


def test_03_own_lifter_by_name(key_points, tmp_path):
    command = Path(sys.executable).parent / "kinelift"
    if not command.exists():
        pytest.skip(f"no kinelift command at {command}")
    name = "03_own_lifter:ForeshorteningLifter"
    run(command, "animate", key_points, "-o", tmp_path, "--lifter", name, "--formats", "bvh", PYTHONPATH=str(EXAMPLES))
    assert (tmp_path / "motion.bvh").read_text().startswith("HIERARCHY")


def blocks(name: str) -> list[str]:
    """The Python code of a page of documentation."""
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / name).read_text(), re.DOTALL)


def test_native_file_page_runs(animated, monkeypatch):
    monkeypatch.chdir(animated[0])
    names: dict = {}
    for block in blocks("motion-npz.md"):
        exec(block, names)
    assert names["wrist"].shape == (45, 3)


def test_python_page_runs(key_points, tmp_path, monkeypatch):
    shutil.copy(key_points, tmp_path / "walk.npz")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in blocks("python.md")[:-1]:  # the last one detects
        exec(block.replace("walk.mp4", "walk.npz"), names)
    assert len(names["slow"].times) == 200
    assert (tmp_path / "walk_24.bvh").exists()


def test_lifter_page_runs(key_points, tmp_path, monkeypatch):
    _, _, flat, own_joints = blocks("lifters.md")
    (tmp_path / "flat_lifter.py").write_text(flat)
    (tmp_path / "own_joints.py").write_text(flat + own_joints + flat[flat.index("class") :].replace("H36M17", "LEGS10"))
    monkeypatch.syspath_prepend(tmp_path)
    filled = kinelift.animate(key_points, lifter="flat_lifter:FlatLifter").report["filled_joints"]
    more = kinelift.animate(key_points, lifter="own_joints:FlatLifter").report["filled_joints"]
    assert "left_toe" in filled and set(filled) < set(more)


@pytest.fixture(scope="module")
def blender() -> Path:
    python = Path(os.environ.get("KINELIFT_BLENDER_PYTHON") or ROOT / ".venv-blender" / "bin" / "python")
    if not python.exists():
        absent(f"no Blender at {python}: run scripts/blender_env.sh or set KINELIFT_BLENDER_PYTHON")
    return python


@pytest.mark.blender
@pytest.mark.parametrize("name", ["motion.bvh", "motion.glb"])
def test_04_blender(animated, blender, name):
    said = run(blender, EXAMPLES / "04_blender.py", "--", animated[0] / name)
    assert number(r"at ([\d.]+) fps", said) == 30


@pytest.fixture(scope="module")
def turned(animated, blender) -> Path:
    """The folder that the turntable example writes: tiny, three pictures of the clip's 45 frames."""
    out = animated[0].parent / "turned"
    options = ("--step", 15, "--size", 64, "--samples", 1)
    said = run(blender, EXAMPLES / "05_fbx_turntable.py", "--", animated[0] / "motion.glb", out, *options)
    assert "motion.fbx and a turntable of 3 pictures" in said
    return out


@pytest.mark.blender
def test_05_fbx_turntable(turned):
    assert sorted(p.name for p in turned.iterdir()) == ["motion.fbx", "turntable.mp4"]
    with av.open(str(turned / "turntable.mp4")) as video:
        assert video.streams.video[0].average_rate == 2  # every 15th frame of 30 a second
        pictures = [f.to_ndarray(format="rgb24").astype(float) for f in video.decode(video=0)]
    assert len(pictures) == 3 and pictures[0].shape == (64, 64, 3)
    middle = [p[20:44, 26:38].mean((0, 1)) for p in pictures]  # a blue shirt and dark trousers, not grey sky or floor
    assert all(m[2] > m[0] + 5 and m.mean() < p[:10].mean() - 20 for m, p in zip(middle, pictures, strict=True))
    assert np.abs(pictures[0] - pictures[1]).mean() > 2  # seen from another side


@pytest.mark.blender
def test_blender_page_runs(animated, turned, blender, tmp_path):
    """The documented lines, each in an empty scene: one armature, and the walk's frames at the clip's own rate."""
    (tmp_path / "out").mkdir()
    for path in (animated[0] / "motion.glb", animated[0] / "motion.bvh", turned / "motion.fbx"):
        shutil.copy(path, tmp_path / "out")
    motion = load_motion(animated[0] / "motion.npz")
    export(motion, tmp_path / "out" / "motion.usda")
    (tmp_path / "lines.json").write_text(json.dumps(blocks("blender.md")))
    said = run(blender, ROOT / "tests" / "blender" / "run_lines.py", "lines.json", cwd=tmp_path)
    scenes = json.loads(said.strip().splitlines()[-1])
    assert [s["file"] for s in scenes] == ["glb", "bvh", "usda", "fbx"]
    hips = motion_positions(motion.motions[0])[40, 0]
    for scene in scenes:
        first, last = scene["range"]
        assert last - first == pytest.approx(44, abs=1e-3) and scene["fps"] == 30
        assert first == (1 if scene["file"] in ("bvh", "fbx") else 0)
        assert scene["hips"] == pytest.approx([hips[0], -hips[2], hips[1]], abs=1e-3)
