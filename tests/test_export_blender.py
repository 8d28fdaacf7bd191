"""Blender opens what is written: each joint where `motion.npz` has it, upright, facing as filmed, at the right time.

One Blender imports every BVH, GLB, FBX and USD file (each FBX was written by another). Its world is Z up: its importers
turn our (x, y, z) to (x, -z, y), so that a person who faces +Z (the camera that filmed them) faces -Y, Blender's front
view.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from judges import ROOT, absent, run_python
from kinelift.export import export
from kinelift.export.rig import BODY_RIG
from kinelift.kinematics import matrix_to_quat, motion_positions, rotvec_to_matrix
from kinelift.records import Motion, Take
from kinelift.skeleton import BODY26
from test_export import at_fps, smooth_motion, smooth_take

pytestmark = pytest.mark.blender

PAIRS = [(name, BODY26.index(joint)) for name, _, joint in BODY_RIG if joint]
FRAMES = [0, 1, 14, 27, 40, 53, 66, 77, 99, 120]
TOLERANCE_M = 0.001
# What is written of each take: formats of a constant rate resample, so uneven times go to the GLB alone; each FBX
# costs a start of Blender.
KINDS = {
    "swing60": ("bvh", "glb", "usd"),
    "standing": ("bvh", "glb", "fbx", "usd"),
    "swing2997": ("bvh", "glb", "fbx", "usd"),
    "uneven": ("glb",),
}


def standing(times) -> Motion:
    """Arms down, soles on the floor, facing +Z; the head turns."""
    motion = smooth_motion(times, bend=0.0)
    rotations = motion.rotations.copy()
    for joint, turn in (("left_shoulder", (0, 0, -1.3)), ("right_shoulder", (0, 0, 1.3))):
        rotations[:, BODY26.index(joint)] = matrix_to_quat(rotvec_to_matrix(np.array(turn, float)))
    swing = np.stack([0 * motion.times, 0.5 * np.sin(3 * motion.times), 0 * motion.times], -1)
    rotations[:, BODY26.index("neck")] = matrix_to_quat(rotvec_to_matrix(swing))
    motion = motion.replaced(rotations=rotations, root=np.zeros_like(motion.root))
    floor = motion_positions(motion)[..., 1].min()
    return motion.replaced(root=np.tile([0.0, -floor, 0.0], (len(motion.times), 1)))


def take_of(motion: Motion) -> Take:
    return smooth_take(motion.times).replaced(motions=(motion,))


@pytest.fixture(scope="module")
def blender() -> str:
    python = os.environ.get("KINELIFT_BLENDER_PYTHON") or ROOT / ".venv-blender" / "bin" / "python"
    if not Path(python).exists():
        absent(f"no Blender at {python}: run scripts/blender_env.sh or set KINELIFT_BLENDER_PYTHON")
    return str(python)


@pytest.fixture(scope="module")
def judged(blender, tmp_path_factory):
    """Takes by name, the positions of their motion.npz, and what Blender says of their files by format and name."""
    folder = tmp_path_factory.mktemp("blender")
    uneven = 0.4 + np.cumsum(np.random.default_rng(3).uniform(0.012, 0.05, 121))
    takes = {
        "swing60": take_of(smooth_motion(at_fps(60, 2), bend=1.2)),
        "standing": take_of(standing(at_fps(60, 2))),
        "swing2997": take_of(smooth_motion(at_fps(30000 / 1001, 121 * 1001 / 30000), bend=0.7)),
        "uneven": take_of(smooth_motion(uneven)),
    }
    job: dict = {"bvh": [], "glb": [], "fbx": [], "usd": []}
    truth, read = {}, []
    for name, take in takes.items():
        (npz,) = export(take, folder / f"{name}.npz")
        truth[name] = np.load(npz, allow_pickle=False)["positions"]
        times = take.motions[0].times
        fps = 60 if "2997" not in name else 30
        when = {
            "bvh": {"frames": FRAMES},
            "glb": {"fps": fps, "times": (times[FRAMES] - times[0]).tolist()},
            "fbx": {"fps": 60 if fps == 60 else 30000 / 1001, "frames": FRAMES},
            "usd": {"fps": fps, "frames": FRAMES},
        }
        for kind in KINDS[name]:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("KINELIFT_BLENDER", blender)
                (path,) = export(take, folder / f"{name}.{'usda' if kind == 'usd' else kind}")
            job[kind].append({"path": str(path), **when[kind]})
            read.append((kind, name))
    (folder / "job.json").write_text(json.dumps(job))
    report = run_python("check_import.py", folder / "job.json", python=blender)
    left = {kind: iter(report[kind]) for kind in ("bvh", "glb", "fbx", "usd")}
    return takes, truth, {(kind, name): next(left[kind]) for kind, name in read}


def y_up(p) -> np.ndarray:
    p = np.asarray(p)
    return np.stack([p[..., 0], p[..., 2], -p[..., 1]], -1)


@pytest.mark.parametrize("kind, name", [(kind, name) for name, kinds in KINDS.items() for kind in kinds])
def test_every_joint_is_where_the_motion_has_it(judged, kind, name):
    _, truth, said = judged
    heads = y_up([[frame[n] for n, _ in PAIRS] for frame in said[kind, name]["heads"]])
    assert len(heads) == 10
    assert np.linalg.norm(heads - truth[name][FRAMES][:, [j for _, j in PAIRS]], axis=-1).max() < TOLERANCE_M


@pytest.mark.parametrize("kind", KINDS["standing"])
class TestStanding:
    def test_upright_in_metres_on_the_floor(self, judged, kind):
        first = said_heads(judged, kind)
        up = first["Head"] - first["Hips"]
        assert up[2] > 0.6 and abs(up[0]) < 0.01 and abs(up[1]) < 0.05
        assert first["Hips"][2] == pytest.approx(0.93, abs=0.05)
        for side in ("Left", "Right"):
            assert abs(first[f"{side}ToeBase"][2]) < TOLERANCE_M
        if kind != "bvh":
            assert max(abs(z) for z in judged[2][kind, "standing"]["lowest"]) < 0.002

    def test_faces_blenders_front_view(self, judged, kind):
        first = said_heads(judged, kind)
        left = first["LeftUpLeg"] - first["RightUpLeg"]
        assert left[0] > 0.1 and abs(left[1]) < 0.01
        assert np.cross(left, [0, 0, 1])[1] < 0
        for side in ("Left", "Right"):
            assert first[f"{side}ToeBase"][1] < first[f"{side}Foot"][1] - 0.1


def said_heads(judged, kind) -> dict[str, np.ndarray]:
    return {n: np.array(p) for n, p in judged[2][kind, "standing"]["heads"][0].items()}


def test_bvh_runs_from_frame_1_at_the_files_rate(judged):
    said = judged[2]
    for name, fps in (("swing60", 60), ("standing", 60), ("swing2997", 30000 / 1001)):
        assert said["bvh", name]["scene_fps"] == pytest.approx(fps, rel=1e-4)
        assert said["bvh", name]["frame_range"][0] == 1
    assert said["bvh", "swing60"]["frame_range"][1] == 121


def test_fbx_brings_its_rate_and_starts_at_frame_1(judged):
    takes, _, said = judged
    for name, fps in (("standing", 60), ("swing2997", 30000 / 1001)):
        assert said["fbx", name]["scene_fps"] == pytest.approx(fps, rel=1e-5)
        seconds = np.ptp(takes[name].motions[0].times)
        assert said["fbx", name]["frame_range"] == pytest.approx([1, 1 + seconds * round(fps)], abs=1e-3)


def test_glb_lasts_as_long_as_the_motion(judged):
    takes, _, said = judged
    for name, fps in (("swing60", 60), ("swing2997", 30), ("uneven", 60)):
        times = takes[name].motions[0].times
        first, last = said["glb", name]["frame_range"]
        assert first == 0 and last / fps == pytest.approx(times[-1] - times[0], abs=1e-3)


def test_a_hand_ends_at_the_knuckles(judged):
    _, truth, said = judged
    ours = truth["swing60"][FRAMES]
    for side in ("Left", "Right"):
        tails = y_up([frame[f"{side}Hand"] for frame in said["bvh", "swing60"]["tails"]])
        assert np.linalg.norm(tails - ours[:, BODY26.index(f"{side.lower()}_hand")], axis=-1).max() < TOLERANCE_M
