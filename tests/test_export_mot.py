"""MOT: the angles of known poses in degrees, and OpenSim puts the joints where the motion has them."""

import json

import numpy as np
import pytest

from judges import judge, run_python
from kinelift.errors import InputError
from kinelift.export import export
from kinelift.export.axes import OPENSIM
from kinelift.export.mot import coordinates
from kinelift.kinematics import matrix_to_quat, motion_positions, rotvec_to_matrix
from kinelift.records import Motion
from kinelift.skeleton import BODY26, make_skeleton
from opensim_bones import BODIES, bones
from test_export import at_fps, smooth_motion, smooth_take
from test_export_vmd import walking


def bent(**turns) -> Motion:
    """Standing in the T-pose, joints turned by rotation vectors in degrees (x left, y up, z forwards)."""
    motion = smooth_motion(at_fps(30, 0.1), bend=0.0)
    rotations = motion.rotations.copy()
    for joint, degrees in turns.items():
        rotations[:, BODY26.index(joint)] = matrix_to_quat(rotvec_to_matrix(np.radians(np.array(degrees, float))))
    return motion.replaced(rotations=rotations, root=np.tile([0, 0.9, 0], (len(motion.times), 1)))


ARMS = {f"arm_add_{s}": -90 for s in "rl"} | {f"pro_sup_{s}": 90 for s in "rl"}
KNOWN = [
    ("standing", {}, {}),
    ("leg raised forwards", {"right_hip": (-30, 0, 0)}, {"hip_flexion_r": 30}),
    ("left leg back", {"left_hip": (20, 0, 0)}, {"hip_flexion_l": -20}),
    ("leg towards the midline", {"right_hip": (0, 0, 10)}, {"hip_adduction_r": 10}),
    ("left leg out", {"left_hip": (0, 0, 25)}, {"hip_adduction_l": -25}),
    ("right toe in", {"right_hip": (0, 15, 0)}, {"hip_rotation_r": 15}),
    ("left toe in", {"left_hip": (0, -15, 0)}, {"hip_rotation_l": 15}),
    ("knee bent", {"left_knee": (60, 0, 0)}, {"knee_angle_l": 60}),
    ("toe up", {"right_ankle": (-12, 0, 0)}, {"ankle_angle_r": 12}),
    ("toe down", {"left_ankle": (30, 0, 0)}, {"ankle_angle_l": -30}),
    ("turned to the left", {"pelvis": (0, 40, 0)}, {"pelvis_rotation": 40}),
    ("pelvis tilted forwards", {"pelvis": (8, 0, 0)}, {"pelvis_tilt": -8}),
    ("bent to the right", {"chest": (0, 0, 9)}, {"lumbar_bending": 9}),
    ("trunk bent forwards", {"spine": (20, 0, 0)}, {"lumbar_extension": -20}),
    ("right arm down", {"right_shoulder": (0, 0, 80)}, {"arm_add_r": -10}),
    ("left arm down", {"left_shoulder": (0, 0, -80)}, {"arm_add_l": -10}),
    ("right elbow bent", {"right_elbow": (0, 70, 0)}, {"elbow_flex_r": 70}),
    ("left elbow bent", {"left_elbow": (0, -70, 0)}, {"elbow_flex_l": 70}),
    ("right palm back", {"right_elbow": (25, 0, 0)}, {"pro_sup_r": 115}),
    ("left palm back", {"left_elbow": (25, 0, 0)}, {"pro_sup_l": 115}),
]


@pytest.mark.parametrize("turns, expected", [k[1:] for k in KNOWN], ids=[k[0] for k in KNOWN])
def test_known_poses(turns, expected):
    said = coordinates(bent(**turns))
    for name, values in said.items():
        if not name.startswith("pelvis_t") or name == "pelvis_tilt":
            assert np.allclose(values, (ARMS | expected).get(name, 0), atol=1e-4), name


def test_hip_knee_and_ankle_of_a_walk_from_its_positions_alone(walk_rig):
    """Included angles in the plane of a straight walk, from joint positions."""
    local, offsets, root, contact = walk_rig(at_fps(30, 2))
    motion = smooth_motion(at_fps(30, 2)).replaced(
        offsets=offsets, rotations=matrix_to_quat(local), root=root, contacts=contact
    )
    said, at = coordinates(motion), motion_positions(motion)

    def along(a, b):
        d = at[:, BODY26.index(b)] - at[:, BODY26.index(a)]
        return np.degrees(np.arctan2(d[:, 2], -d[:, 1]))  # forwards of straight down

    for side, s in (("left", "l"), ("right", "r")):
        thigh, shank = along(f"{side}_hip", f"{side}_knee"), along(f"{side}_knee", f"{side}_ankle")
        sole = along(f"{side}_heel", f"{side}_toe") - 90
        assert np.abs(said[f"hip_flexion_{s}"] - thigh).max() < 0.1
        assert np.abs(said[f"knee_angle_{s}"] - (thigh - shank)).max() < 0.1 and said[f"knee_angle_{s}"].max() > 30
        assert np.abs(said[f"ankle_angle_{s}"] - (sole - shank)).max() < 0.1


@pytest.mark.parametrize("heading", [0.0, 2.5])
def test_opensim_puts_the_joints_where_the_motion_has_them(walk_rig, heading, tmp_path):
    judge("opensim")
    times, frames = at_fps(30, seconds=2, start=1.0), [0, 11, 29, 44, 60]
    motion = walking(walk_rig, times - 1.0, heading).replaced(times=times)
    # What the model's joints cannot do: a second lumbar joint, a sideways ankle.
    straight = motion.rotations.copy()
    for joint in ("chest", "left_ankle"):
        vector = rotvec_to_matrix(0.3 * np.sin(times)[:, None] * np.array([1.0 * (joint != "chest"), 0, 0]))
        straight[:, BODY26.index(joint)] = matrix_to_quat(vector)
    motion = motion.replaced(rotations=straight)
    (path,) = export(smooth_take(times).replaced(motions=(motion,)), tmp_path / "m.mot")
    (tmp_path / "bones.json").write_text(json.dumps(bones(motion)))
    said = run_python("opensim_mot.py", tmp_path / "bones.json", path, *frames)
    assert said["degrees"] == "yes" and said["unknown"] == []
    assert np.allclose(said["times"], times - times[0], atol=1e-6)
    ours = motion_positions(motion)[frames] @ OPENSIM.T
    for side, s in (("left", "l"), ("right", "r")):
        for body, joint in BODIES.items():
            theirs = np.array([places[f"{body}_{s}"] for places in said["places"]])
            error = np.linalg.norm(theirs - ours[:, BODY26.index(f"{side}_{joint}")], axis=-1)
            assert error.max() < 0.001, (body, s, error)


def test_angles_go_on_past_180_degrees(walk_rig):
    motion = walking(walk_rig, at_fps(30, 4), 0.0)
    turn = np.stack([0 * motion.times, 2 * motion.times, 0 * motion.times], -1)
    rotations = motion.rotations.copy()
    rotations[:, 0] = matrix_to_quat(rotvec_to_matrix(turn))
    yaw = coordinates(motion.replaced(rotations=rotations))["pelvis_rotation"]
    assert np.abs(yaw - np.degrees(2 * motion.times)).max() < 1e-6


def test_the_header_counts_what_follows(tmp_path):
    path = export(smooth_take(at_fps(60)), tmp_path / "m.mot", fps=20)[0]
    head, _, table = path.read_text().partition("endheader\n")
    lines = [line.split("\t") for line in table.splitlines()]
    assert f"nRows={len(lines) - 1}\n" in head and f"nColumns={len(lines[0])}\n" in head and "inDegrees=yes" in head
    assert len(lines) == 22 and {len(line) for line in lines} == {len(lines[0])}
    assert float(lines[-1][0]) == pytest.approx(1.0)


def test_only_the_body(tmp_path):
    chain = make_skeleton("worm", [("a", None), ("b", "a")])
    with pytest.raises(InputError, match="standard body only, got the skeleton 'worm'"):
        export(smooth_take(at_fps(30), skeleton=chain), tmp_path / "m.mot")
