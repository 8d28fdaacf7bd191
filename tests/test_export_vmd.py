"""VMD: three.js's MMD player, its IK running, stands the feet of a model where the motion has them."""

import struct

import numpy as np
import pytest

from judges import node_modules, run_node
from kinelift.errors import InputError
from kinelift.export import export
from kinelift.export.vmd import ARM_BELOW_DEG
from kinelift.kinematics import matrix_to_quat, motion_positions, rotvec_to_matrix
from kinelift.records import Motion
from kinelift.skeleton import BODY26, make_skeleton
from mmd_model import UNITS, bone_tree, write_pmd
from test_export import at_fps, smooth_motion, smooth_take

FEET = ["足首", "つま先", "かかと"]


def walking(walk_rig, times, heading) -> Motion:
    """The walk by rule, leaning, with a turning head, swinging arms and feet that roll."""
    local, offsets, root, contact = walk_rig(times, heading=heading)
    local = local.copy()
    swing = np.sin(2 * np.pi * np.asarray(times))[:, None]
    for joint, axis in {
        "spine": (0.25, 0.2, 0.1),
        "chest": (0.1, 0.15, 0.05),
        "neck": (0.1, 0.4, 0),
        "head": (0.2, 0.2, 0.1),
        "left_wrist": (0.3, 0.3, 0.4),
        "right_wrist": (0.2, -0.3, 0.4),
        "left_ankle": (0, 0.1, 0.05),
        "right_hip": (0, 0.15, 0.1),
    }.items():
        local[:, BODY26.index(joint)] = local[:, BODY26.index(joint)] @ rotvec_to_matrix(swing * axis)
    base = smooth_motion(times)
    return base.replaced(offsets=offsets, rotations=matrix_to_quat(local), root=root, contacts=contact)


@pytest.fixture(scope="module")
def judge_folder():
    return node_modules("three")


def played(folder, tmp_path, motion: Motion, frames) -> tuple[dict, dict[str, np.ndarray]]:
    """What the player says, and each bone's places (F, 3) in metres in our axes."""
    (vmd,) = export(smooth_take(motion.times).replaced(motions=(motion,)), tmp_path / "m.vmd")
    write_pmd(tmp_path / "model.pmd", motion.offsets, ARM_BELOW_DEG)
    said = run_node("play_vmd.mjs", folder, tmp_path / "model.pmd", vmd, *frames)
    names = said["at"][str(frames[0])]
    return said, {n: np.array([said["at"][str(f)][n] for f in frames]) / UNITS for n in names}


@pytest.mark.parametrize("heading", [0.0, 2.0])
@pytest.mark.parametrize("fps", [30, 50])
def test_every_bone_is_where_the_motion_has_it(judge_folder, walk_rig, heading, fps, tmp_path):
    times, frames = at_fps(fps, seconds=2), [0, 7, 18, 33, 58]
    said, at = played(judge_folder, tmp_path, walking(walk_rig, times, heading), frames)
    assert said["seconds"] == pytest.approx(2)
    ours = motion_positions(walking(walk_rig, at_fps(30, seconds=2), heading))[frames]
    pelvis = ours[:, 0] - ours[0, 0]
    moved = at["センター"] - at["センター"][0]
    # The model's rest stands over the origin, as the motion's does.
    start = ours[0, BODY26.index("left_ankle")] - at["左足首"][0]
    assert np.abs(start).max() < 0.01
    assert np.linalg.norm(pelvis[:, [0, 2]], axis=-1).max() > 1 and np.linalg.norm(moved, axis=-1).max() > 1
    error = {name: np.linalg.norm(at[name] - ours[:, BODY26.index(joint)], axis=-1).max()
             for name, parent, joint in bone_tree() if parent and name != "グルーブ"}  # fmt: skip
    feet = {n: e for n, e in error.items() if n[1:] in FEET}
    # Between the source's 50 frames per second and 30 the walk itself is interpolated.
    assert len(feet) == 6 and max(feet.values()) < (0.001 if fps == 30 else 0.010), feet
    assert max(error.values()) < (0.002 if fps == 30 else 0.020), error


def test_a_squat_with_twisted_feet_goes_down(judge_folder, walk_rig, tmp_path):
    """Knees far bent: the groove goes down, and the feet stay on the floor."""
    times, frames = at_fps(30, 2), [0, 15, 30, 45, 58]
    motion = walking(walk_rig, times, 0.5)
    down = np.radians(70) * np.sin(np.pi * times / 2) ** 2
    rotations = motion.rotations.copy()
    offsets = motion.offsets
    thigh, shank = (np.linalg.norm(offsets[BODY26.index(j)]) for j in ("left_knee", "left_ankle"))
    for side in ("left", "right"):
        for joint, turn in (("hip", -down), ("knee", 2 * down), ("ankle", -down)):
            rotations[:, BODY26.index(f"{side}_{joint}")] = matrix_to_quat(
                rotvec_to_matrix(turn[:, None] * np.array([1.0, 0, 0]))
            )
    rotations[:, 0] = matrix_to_quat(rotvec_to_matrix(np.array([0, 0.5, 0])))
    height = (thigh + shank) * np.cos(down) - offsets[BODY26.index("left_heel"), 1]
    root = np.stack([0 * times, height, 0 * times], -1)
    motion = motion.replaced(rotations=rotations, root=root)
    _, at = played(judge_folder, tmp_path, motion, frames)
    ours = motion_positions(motion)[frames]
    assert at["グルーブ"][0, 1] - at["グルーブ"][2, 1] > 0.4
    for c, side in (("左", "left"), ("右", "right")):
        for bone, joint in (("足首", "ankle"), ("つま先", "toe"), ("ひざ", "knee")):
            error = np.linalg.norm(at[f"{c}{bone}"] - ours[:, BODY26.index(f"{side}_{joint}")], axis=-1)
            assert error.max() < 0.010, (c, bone, error)


def test_the_file_is_laid_out_as_documented(walk_rig, tmp_path):
    motion = walking(walk_rig, at_fps(30), 0.0)
    data = export(smooth_take(motion.times).replaced(motions=(motion,)), tmp_path / "m.vmd")[0].read_bytes()
    assert data.startswith(b"Vocaloid Motion Data 0002\0") and data[30:50].rstrip(b"\0") == b"kinelift"
    (count,) = struct.unpack_from("<I", data, 50)
    names = {data[54 + 111 * i :][:15].split(b"\0")[0].decode("shift_jis") for i in range(count)}
    assert {"センター", "グルーブ", "上半身", "下半身", "首", "頭", "左腕", "左足ＩＫ", "左つま先ＩＫ"} <= names
    end = 54 + 111 * count
    assert struct.unpack_from("<4I", data, end) == (0, 0, 0, 0)
    assert struct.unpack_from("<IIBI", data, end + 16) == (1, 0, 1, 4)
    assert len(data) == end + 16 + 13 + 4 * 21


def test_only_30_frames_per_second(tmp_path):
    assert export(smooth_take(at_fps(60)), tmp_path / "m.vmd", fps=30)
    with pytest.raises(InputError, match="VMD plays at 30 frames per second"):
        export(smooth_take(at_fps(60)), tmp_path / "m.vmd", fps=60)


def test_only_the_body(tmp_path):
    chain = make_skeleton("worm", [("a", None), ("b", "a")])
    with pytest.raises(InputError, match="standard body only, got the skeleton 'worm'"):
        export(smooth_take(at_fps(30), skeleton=chain), tmp_path / "m.vmd")
