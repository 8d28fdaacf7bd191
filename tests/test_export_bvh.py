"""BVH: the same places, the exact time, no flips; and a reader that trusts nothing."""

import numpy as np
import pytest

from kinelift.errors import InputError
from kinelift.export import export
from kinelift.export.bvh import continuous_zxy, read_bvh
from kinelift.export.resample import resampled
from kinelift.export.rig import BODY_RIG, CROWN_ABOVE_HEAD, rig_of
from kinelift.kinematics import matrix_to_quat, motion_positions, rotvec_to_matrix
from kinelift.records import Motion
from kinelift.skeleton import BODY26, make_skeleton
from test_export import at_fps, smooth_motion, smooth_take

PAIRS = [(name, joint) for name, _, joint in BODY_RIG if joint] + [
    ("LeftHand_end", "left_hand"),
    ("RightHand_end", "right_hand"),
]


def error_m(bvh, motion: Motion) -> float:
    """Largest distance of any joint in any frame."""
    ours = motion_positions(motion)[:, [BODY26.index(joint) for _, joint in PAIRS]]
    theirs = bvh.positions[:, [bvh.names.index(name) for name, _ in PAIRS]]
    return float(np.linalg.norm(ours - theirs, axis=-1).max())


def matrices(angles_zxy: np.ndarray) -> np.ndarray:
    """Rz Rx Ry of angles (..., 3) in radians."""
    z, x, y = (rotvec_to_matrix(angles_zxy[..., i : i + 1] * axis) for i, axis in enumerate(np.eye(3)[[2, 0, 1]]))
    return z @ x @ y


@pytest.mark.parametrize("fps", [24000 / 1001, 25, 30000 / 1001, 30, 60, 120])
def test_every_joint_every_frame_at_the_exact_rate(fps, tmp_path):
    take = smooth_take(at_fps(fps, seconds=2, start=3.3), bend=1.2)
    (path,) = export(take, tmp_path / "m.bvh")
    bvh = read_bvh(path)
    assert error_m(bvh, take.motions[0]) < 1e-5
    assert bvh.frame_time == pytest.approx(1 / fps, abs=1e-10)
    decimals = path.read_text().split("Frame Time: ")[1].split()[0].partition(".")[2]
    assert len(decimals) >= 9


def test_60_fps_with_stamps_in_whole_milliseconds_is_60_and_untouched(tmp_path):
    take = smooth_take(np.round(at_fps(60, seconds=3), 3))
    (path,) = export(take, tmp_path / "m.bvh")
    assert "Frame Time: 0.0166666667\n" in path.read_text()
    assert error_m(read_bvh(path), take.motions[0]) < 1e-5


def test_variable_rate_becomes_constant_without_moving_anything_in_time(tmp_path):
    rng = np.random.default_rng(5)
    times = np.cumsum(np.where(rng.uniform(size=120) < 0.1, 2, 1) / 60)
    take = smooth_take(times)
    bvh = read_bvh(export(take, tmp_path / "m.bvh")[0])
    assert bvh.frame_time == pytest.approx(1 / 60, abs=1e-10)
    grid = times[0] + np.arange(len(bvh.positions)) / 60
    assert grid[-1] == pytest.approx(times[-1], abs=1 / 60)
    assert error_m(bvh, resampled(take.motions[0], grid)) < 1e-5
    assert error_m(bvh, smooth_motion(grid)) < 5e-3  # a dropped frame is bridged in a straight line


def test_fps_on_request(tmp_path):
    take = smooth_take(at_fps(60, seconds=2))
    bvh = read_bvh(export(take, tmp_path / "m.bvh", fps=24)[0])
    assert bvh.frame_time == pytest.approx(1 / 24, abs=1e-10) and len(bvh.positions) == 49
    assert error_m(bvh, smooth_motion(at_fps(24, seconds=2))) < 1e-3


def test_the_rest_pose_is_the_t_pose(tmp_path):
    bvh = read_bvh(export(smooth_take(at_fps(30)), tmp_path / "m.bvh")[0])
    rest = np.zeros_like(bvh.offsets)
    for i, p in enumerate(bvh.parents):
        if i:
            rest[i] = rest[p] + bvh.offsets[i]
    at = dict(zip(bvh.names, rest, strict=True))
    assert bvh.names[:3] == ("Hips", "Spine", "Spine1") and bvh.parents[bvh.names.index("LeftArm")] > 0
    assert np.allclose(at["LeftHand"][1:], at["LeftArm"][1:]) and at["LeftHand"][0] > at["LeftArm"][0] > 0
    assert 0 < at["LeftShoulder"][0] < at["LeftArm"][0] and at["RightShoulder"][0] < 0
    assert at["LeftToeBase_end"][2] > at["LeftToeBase"][2] > at["LeftFoot"][2]
    assert at["Head_end"][1] - at["LeftToeBase"][1] == pytest.approx(1.75, abs=0.02)
    assert at["Head_end"][1] - at["Head"][1] == pytest.approx(CROWN_ABOVE_HEAD * 1.75, rel=0.01)


def test_a_rig_keeps_the_place_of_every_joint_it_adds_nothing_to():
    motion = smooth_motion(at_fps(30))
    rig = rig_of(motion)
    assert all(p < i for i, p in enumerate(rig.parents))
    assert rig.rest_positions[:, 1].min() == pytest.approx(0)


def test_any_skeleton_goes_out_under_its_own_names(tmp_path):
    tree = [("a", None), ("b", "a"), ("left_c", "a"), ("d", "b"), ("right_c", "a"), ("e", "d")]
    take = smooth_take(at_fps(30), skeleton=make_skeleton("own", tree))
    bvh = read_bvh(export(take, tmp_path / "m.bvh")[0])
    joints = take.motions[0].skeleton.joints
    theirs = bvh.positions[:, [bvh.names.index(j) for j in joints]]
    assert np.abs(theirs - motion_positions(take.motions[0])).max() < 1e-5


class TestNoFlips:
    """Angles follow the turn instead of jumping by half or whole turns."""

    @pytest.mark.parametrize("axis", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0.3, 0.5, 0.8)])
    def test_two_whole_turns_of_a_joint(self, axis, tmp_path):
        times = at_fps(60, seconds=4)
        turn = np.pi * times[:, None] * np.array(axis) / np.linalg.norm(axis)
        motion = smooth_motion(times, bend=0.2)
        rotations = motion.rotations.copy()
        rotations[:, BODY26.index("left_shoulder")] = matrix_to_quat(rotvec_to_matrix(turn))
        motion = motion.replaced(rotations=rotations)
        bvh = read_bvh(export(smooth_take(times).replaced(motions=(motion,)), tmp_path / "m.bvh")[0])
        assert error_m(bvh, motion) < 1e-5
        steps = np.abs(np.diff(bvh.angles[:, bvh.names.index("LeftArm")], axis=0))
        # 3 degrees a frame; a path near the poles of the Euler angles is steeper, but never a flip.
        assert steps.max() < 3.1 if np.count_nonzero(axis) == 1 else steps.max() < 60

    def test_a_leg_lifted_through_the_pole(self):
        x = np.radians(np.linspace(-40, -140, 51))  # exactly -90 in the middle
        z, y = 0.3 + 0.05 * np.sin(9 * x), -0.2 + 0.04 * np.cos(5 * x)
        expected = np.stack([z, x, y], -1)
        got = continuous_zxy(matrices(expected)[:, None])[:, 0]
        away = np.abs(x + np.pi / 2) > 1e-3
        assert np.abs(got - expected)[away].max() < 1e-9
        assert np.abs(np.diff(got, axis=0)).max() < 0.05
        assert np.abs(matrices(got) - matrices(expected)).max() < 1e-6

    @pytest.mark.parametrize("x", [np.pi / 2, -np.pi / 2])
    def test_a_joint_that_stays_at_the_pole(self, x):
        y = np.linspace(0, 7, 60)
        angles = np.stack([np.full(60, 0.4), np.full(60, x), y], -1)
        got = continuous_zxy(matrices(angles)[:, None])[:, 0]
        assert np.abs(matrices(got) - matrices(angles)).max() < 1e-6
        assert np.abs(np.diff(got, axis=0)).max() < 0.2

    def test_random_rotations_come_back(self):
        r = rotvec_to_matrix(np.random.default_rng(0).normal(size=(300, 4, 3)) * 2)
        assert np.abs(matrices(continuous_zxy(r)) - r).max() < 1e-9


SMALL = """HIERARCHY
ROOT a
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT b
  {
    OFFSET 0 1 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    End Site
    {
      OFFSET 0 1 0
    }
  }
}
MOTION
Frames: 2
Frame Time: 0.04
0 0 0 0 0 0 0 0 0
1 2 3 90 0 0 0 0 0
"""


class TestReader:
    def test_by_hand(self, tmp_path):
        (tmp_path / "m.bvh").write_text(SMALL)
        bvh = read_bvh(tmp_path / "m.bvh")
        assert bvh.names == ("a", "b", "b_end") and bvh.parents == (-1, 0, 1) and bvh.frame_time == 0.04
        assert np.allclose(bvh.positions, [[[0, 0, 0], [0, 1, 0], [0, 2, 0]], [[1, 2, 3], [0, 2, 3], [-1, 2, 3]]])

    @pytest.mark.parametrize(
        "old, new",
        [
            ("HIERARCHY", "nonsense"), ("ROOT a", "JOINT a"), ("JOINT b", "ROOT b"), ("OFFSET 0 1 0", "OFFSET 0 one 0"),
            ("OFFSET 0 1 0", "OFFSET 0 nan 0"), ("CHANNELS 3 Z", "CHANNELS 9 Z"), ("Zrotation", "Wrotation"),
            ("MOTION", ""), ("MOTION", "}\nMOTION"), ("}\nMOTION", "MOTION"), ("Frames: 2", "Frames: 3"),
            ("Frames: 2", "Frames: 1"), ("Frames: 2", "Frames: -2"), ("Frames: 2", "Frames: 99999999999999999999"),
            ("Frame Time: 0.04", "Frame Time: 0"), ("Frame Time: 0.04", "Frame Time: nan"), ("1 2 3", "1 2"),
            ("1 2 3", "1 2 inf"), ("1 2 3", "1 2 x"), ("1 2 3", "\x00\xff 2 3"),
            ("  JOINT b\n  {\n", "  JOINT b\n  {\n" * 5000),
        ],
    )  # fmt: skip
    def test_malformed_is_one_clear_line(self, old, new, tmp_path):
        assert old in SMALL
        (tmp_path / "m.bvh").write_text(SMALL.replace(old, new))
        with pytest.raises(InputError, match="malformed BVH") as e:
            read_bvh(tmp_path / "m.bvh")
        assert "\n" not in str(e.value) and len(str(e.value)) < 400

    @pytest.mark.parametrize("data", [b"", bytes(5000), b"HIERARCHY\n" + b"x" * 100_000])
    def test_not_a_bvh(self, data, tmp_path):
        (tmp_path / "m.bvh").write_bytes(data)
        with pytest.raises(InputError, match="malformed BVH"):
            read_bvh(tmp_path / "m.bvh")

    def test_absent(self, tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            read_bvh(tmp_path / "absent.bvh")
