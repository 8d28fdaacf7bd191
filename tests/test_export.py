"""The registry, whole files or none, resampling, CSV; and the takes that the other exporters' tests write."""

from contextlib import nullcontext

import numpy as np
import pytest

from kinelift.camera import Camera
from kinelift.errors import InputError, KineliftError, UnknownNameError
from kinelift.export import EXPORTERS, export
from kinelift.export.resample import constant_fps, resampled, slerp
from kinelift.kinematics import (
    continuous_quats,
    matrix_to_quat,
    motion_positions,
    quat_to_matrix,
    reference_offsets,
    rotvec_to_matrix,
)
from kinelift.records import CONTACT_JOINTS, Motion, Pose2D, Take
from kinelift.skeleton import BODY26, COCO17, Skeleton, make_skeleton


def smooth_motion(times, seed=0, bend=0.6, skeleton: Skeleton = BODY26) -> Motion:
    """A random smooth motion: every joint swings, the root wanders."""
    rng = np.random.default_rng(seed)
    times, n = np.asarray(times, float), len(skeleton)
    rate, phase = rng.uniform(0.2, 0.8, (n, 3)), rng.uniform(0, 6.3, (n, 3))
    swing = bend * np.sin(2 * np.pi * rate * times[:, None, None] + phase)
    quats = continuous_quats(matrix_to_quat(rotvec_to_matrix(swing)))
    offsets = reference_offsets(1.75) if skeleton is BODY26 else 0.3 * rng.normal(size=(n, 3))
    offsets[0] = 0
    root = np.stack([0.4 * times, 0.9 + 0.05 * np.sin(3 * times), 0.5 * np.sin(times)], -1)
    feet = BODY26.indices(*CONTACT_JOINTS) if skeleton is BODY26 else [n - 1]
    contacts = rng.uniform(0, 1, (len(times), len(feet)))
    sigma = rng.uniform(0.01, 0.05, (len(times), n))
    return Motion(skeleton, offsets, quats, root, contacts, feet, rng.uniform(size=len(times)) > 0.2, sigma, times)


def smooth_take(times, people=1, **kwargs) -> Take:
    rng = np.random.default_rng(9)
    t = len(times)
    motions = tuple(smooth_motion(times, seed=i, **kwargs).replaced(person_id=i + 1) for i in range(people))
    xy = rng.uniform(0, 700, (t, 17, 2))
    xy[:, 3] = np.nan
    confidence = rng.uniform(size=(t, 17)) * np.isfinite(xy).all(-1)
    poses = tuple(Pose2D(COCO17, xy, confidence, times, (1280, 720), m.person_id) for m in motions)
    return Take(motions, Camera.from_focal(900, (1280, 720)), poses, {"input": "clip.mp4", "seed": 7})


def at_fps(fps, seconds=1.0, start=0.0) -> np.ndarray:
    return start + np.arange(round(seconds * fps) + 1) / fps


# Through Blender, which takes seconds to start: its own tests write it (test_export_fbx.py).
QUICK = [name for name in EXPORTERS if name != "fbx"]
# Formats that name a human body's own bones or joints.
BODY_ONLY = ("vmd", "mot")


def files_of(name, stem) -> list[str]:
    """The names that an exporter writes for one motion: its own file, then its sidecars."""
    return [f"{stem}{ending}" for ending in (EXPORTERS[name].suffix, *getattr(EXPORTERS[name], "sidecars", {}))]


@pytest.mark.parametrize("name", QUICK)
class TestEveryExporter:
    def test_writes_its_files_and_leaves_nothing_else(self, name, tmp_path):
        written = export(smooth_take(at_fps(30)), tmp_path / f"walk{EXPORTERS[name].suffix}")
        assert [p.name for p in written] == files_of(name, "walk")
        assert sorted(p.name for p in tmp_path.iterdir()) == sorted(files_of(name, "walk"))
        assert all(p.stat().st_size > 1000 for p in written)

    def test_same_take_same_bytes(self, name, tmp_path):
        a, b = (tmp_path / f"{n}{EXPORTERS[name].suffix}" for n in "ab")
        for path in (a, b):
            export(smooth_take(at_fps(30)), path)
        assert a.read_bytes() == b.read_bytes()

    def test_one_file_a_person(self, name, tmp_path):
        suffix = EXPORTERS[name].suffix
        written = export(smooth_take(at_fps(30), people=2), tmp_path / f"dance{suffix}")
        first, second = files_of(name, "dance_p1"), files_of(name, "dance_p2")
        assert [p.name for p in written] == [*first, *second]
        assert written[0].read_bytes() != written[len(first)].read_bytes()

    def test_a_single_frame_and_any_skeleton(self, name, tmp_path):
        export(smooth_take([4.2]), tmp_path / f"photo{EXPORTERS[name].suffix}")
        chain = make_skeleton("worm", [("a", None), ("b", "a"), ("c", "b"), ("left_d", "b"), ("right_d", "b")])
        with pytest.raises(InputError, match="standard body only") if name in BODY_ONLY else nullcontext():
            export(smooth_take(at_fps(30), skeleton=chain), tmp_path / f"worm{EXPORTERS[name].suffix}")


@pytest.mark.parametrize("name", EXPORTERS)
class TestNothingWritten:
    def test_a_failure_leaves_the_old_file_and_no_other(self, name, tmp_path, monkeypatch):
        path = tmp_path / f"walk{EXPORTERS[name].suffix}"
        path.write_text("old")

        def fail(take, index, target, fps):
            target.write_text("half")
            raise KeyboardInterrupt

        monkeypatch.setattr(EXPORTERS[name], "write", fail)
        with pytest.raises(KeyboardInterrupt):
            export(smooth_take(at_fps(30)), path)
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]

    def test_a_full_disk_is_one_clear_line(self, name, tmp_path, monkeypatch):
        def fail(take, index, target, fps):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(EXPORTERS[name], "write", fail)
        path = tmp_path / f"walk{EXPORTERS[name].suffix}"
        with pytest.raises(InputError, match=r"walk\.\w+: cannot be written \(No space left on device\)$"):
            export(smooth_take(at_fps(30)), path)

    def test_no_frames_is_an_error(self, name, tmp_path):
        with pytest.raises(InputError, match="no frames"):
            export(smooth_take([]), tmp_path / f"none{EXPORTERS[name].suffix}")


def test_unknown_suffix_lists_the_known(tmp_path):
    with pytest.raises(UnknownNameError, match=r"unknown output format '\.xyz'; known: \.bvh, "):
        export(smooth_take(at_fps(30)), tmp_path / "walk.xyz")


def test_suffix_in_capitals(tmp_path):
    assert export(smooth_take(at_fps(30)), tmp_path / "WALK.BVH")[0].read_text().startswith("HIERARCHY")


@pytest.mark.parametrize("folder", ["absent", "a-file"])
def test_a_folder_that_cannot_be_written(folder, tmp_path):
    (tmp_path / "a-file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        export(smooth_take(at_fps(30)), tmp_path / folder / "walk.bvh")


def test_a_target_that_is_a_folder(tmp_path):
    (tmp_path / "walk.bvh").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        export(smooth_take(at_fps(30)), tmp_path / "walk.bvh")
    assert len(list(tmp_path.iterdir())) == 1


def test_a_name_that_is_too_long(tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        export(smooth_take(at_fps(30)), tmp_path / f"{'x' * 300}.bvh")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fps", [0, -30, float("nan"), float("inf"), 1e9])
def test_unusable_fps(fps, tmp_path):
    with pytest.raises(InputError, match="fps: expected"):
        export(smooth_take(at_fps(30)), tmp_path / "walk.bvh", fps=fps)


class TestResampled:
    def test_at_its_own_times_it_is_itself(self):
        motion = smooth_motion(np.cumsum(np.random.default_rng(1).uniform(0.01, 0.08, 50)))
        again = resampled(motion, motion.times)
        assert np.abs(motion_positions(again) - motion_positions(motion)).max() < 1e-9
        assert (again.observed == motion.observed).all()

    def test_up_and_down_again_returns_every_other_frame(self):
        motion = smooth_motion(at_fps(30))
        up = resampled(motion, at_fps(60))
        assert np.abs(motion_positions(up)[::2] - motion_positions(motion)).max() < 1e-9

    def test_agrees_with_the_motion_itself_at_a_higher_rate(self):
        between = resampled(smooth_motion(at_fps(60)), at_fps(47))
        assert np.abs(motion_positions(between) - motion_positions(smooth_motion(at_fps(47)))).max() < 1e-3

    def test_stands_still_beyond_its_ends(self):
        motion = smooth_motion(at_fps(30))
        out = motion_positions(resampled(motion, np.array([-5.0, 9.0])))
        assert np.allclose(out, motion_positions(motion)[[0, -1]])

    def test_a_filled_frame_taints_what_is_between(self):
        motion = smooth_motion([0, 1, 2]).replaced(observed=[True, False, True])
        assert resampled(motion, [0, 0.5, 1, 1.5, 2]).observed.tolist() == [True, False, False, False, True]

    def test_slerp_takes_the_short_way_at_constant_speed(self):
        a, b = matrix_to_quat(rotvec_to_matrix(np.array([[0, 0.2, 0], [0, 1.4, 0]])))
        w = np.linspace(0, 1, 7)
        expected = rotvec_to_matrix(np.stack([0 * w, 0.2 + 1.2 * w, 0 * w], -1))
        for end in (b, -b):
            q = slerp(np.tile(a, (7, 1)), np.tile(end, (7, 1)), w)
            assert np.allclose(quat_to_matrix(q), expected, atol=1e-12)


@pytest.mark.parametrize("fps", [12.5, 24000 / 1001, 24, 25, 30000 / 1001, 30, 50, 60000 / 1001, 60, 120, 37.3])
@pytest.mark.parametrize("decimals", [3, 12])
def test_a_regular_source_keeps_its_exact_rate(fps, decimals):
    times = np.round(at_fps(fps, seconds=4, start=0.7), decimals)
    assert constant_fps(times) == pytest.approx(fps, rel=1e-12 if fps != 37.3 else 1e-3)


def test_an_irregular_source_gets_the_standard_rate_nearest_to_it():
    times = at_fps(30, 5)
    times = np.delete(times, [20, 21, 50, 90]) + np.random.default_rng(0).uniform(-0.004, 0.004, len(times) - 4)
    assert constant_fps(times) == 30


class TestCsv:
    def test_names_units_and_values(self, tmp_path):
        take = smooth_take(at_fps(30, start=1.5))
        (path,) = export(take, tmp_path / "walk.csv")
        table = np.genfromtxt(path, delimiter=",", names=True)
        motion = take.motions[0]
        positions = motion_positions(motion)
        assert np.allclose(table["time_s"], motion.times, atol=1e-9)
        assert (table["observed"] == motion.observed).all()
        assert np.allclose(table["right_toe_contact"], motion.contacts[:, 3], atol=1e-6)
        for joint in ("pelvis", "left_knee", "right_ear"):
            j = BODY26.index(joint)
            xyz = np.stack([table[f"{joint}_{axis}_m"] for axis in "xyz"], -1)
            assert np.abs(xyz - positions[:, j]).max() < 1e-6
            assert np.allclose(table[f"{joint}_sigma_m"], motion.sigma_m[:, j], atol=1e-6)

    def test_resampled_on_request(self, tmp_path):
        (path,) = export(smooth_take(at_fps(30)), tmp_path / "walk.csv", fps=10)
        assert np.allclose(np.genfromtxt(path, delimiter=",", names=True)["time_s"], np.arange(11) / 10)


def test_every_error_is_ours():
    assert issubclass(InputError, KineliftError) and InputError.exit_code == 2
