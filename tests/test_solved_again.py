"""A moving camera's `motion.npz` solved again: from what odometry said, not from what the solve made of it."""

import numpy as np
import pytest

import kinelift
from kinelift.camera import Camera
from kinelift.detect import write_keypoints
from kinelift.errors import InputError
from kinelift.export import export
from kinelift.kinematics import motion_positions, rotvec_to_matrix
from kinelift.records import Pose2D
from kinelift.repair.edits import parsed_edits
from kinelift.report.sample import sample_truth
from kinelift.skeleton import BODY26
from kinelift.trajectory.odometry import CameraPath

FRAMES = 45


def spread(a, b):
    return np.abs(motion_positions(a.motions[0]) - motion_positions(b.motions[0])).max()


@pytest.fixture(scope="module")
def takes(look_at, tmp_path_factory):
    """A walk seen by a hand that turns after it and sways, of which odometry knows the turn; solved, and once more."""
    folder = tmp_path_factory.mktemp("again")
    world, times = sample_truth()
    world, times = world[20 : 20 + FRAMES], times[20 : 20 + FRAMES]
    eye = world[:, 0].mean(0) + [0.5, 0.5, 5] + 0.03 * np.sin(3 * times)[:, None] * [1, 1, 0]
    trembling = rotvec_to_matrix(np.radians(0.4) * np.sin(np.outer(times, [11, 14, 9])))
    cameras = [look_at(e, p[0] * [1, 0, 1] + [0, 0.9, 0]) for e, p in zip(eye, world, strict=True)]
    R = trembling @ [c.R_cam_world for c in cameras]
    seen = cameras[0].replaced(R_cam_world=R, t_cam_world=-np.einsum("tij,tj->ti", R, eye))
    xy = seen.project(world)
    pose = Pose2D(BODY26, xy, np.ones(xy.shape[:2]), times, seen.image_size)
    path = CameraPath(R @ R[0].T, np.zeros((FRAMES, 3)), True, False, np.ones(FRAMES))
    tracked = path.moved(Camera.from_focal(seen.focal_px, seen.image_size))
    detected = folder / "seen.npz"
    write_keypoints(detected, pose)
    unsolved = kinelift.animate(detected, height_m=1.75, focal_px=seen.focal_px).replaced(tracked=tracked)
    first = kinelift.animate(export(unsolved, folder / "unsolved.npz")[0])
    stored = export(first, folder / "motion.npz")[0]
    return first, stored, kinelift.animate(stored)


def test_solving_again_gives_the_same_motion_and_the_same_camera(takes):
    first, _, again = takes
    assert first.camera.R_cam_world.shape == (FRAMES, 3, 3)
    assert spread(first, again) < 1e-6
    for name in ("R_cam_world", "t_cam_world"):
        np.testing.assert_allclose(getattr(again.camera, name), getattr(first.camera, name), atol=1e-6)
    assert first.meta["camera_motion"] == again.meta["camera_motion"] == "turning"


def test_the_file_keeps_what_odometry_said_beside_what_was_solved(takes):
    first, stored, _ = takes
    back = kinelift.load_motion(stored)
    np.testing.assert_array_equal(back.tracked.R_cam_world, first.tracked.R_cam_world)
    assert not back.tracked.t_cam_world.any()
    R = back.camera.R_cam_world @ back.camera.R_cam_world[0].T
    off = np.degrees(np.arccos(np.clip((np.trace(R @ back.tracked.R_cam_world.mT, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    assert 0.001 < off.max() < 2
    assert np.ptp(back.camera.position, axis=0).max() > 0.005


def test_a_file_without_it_is_believed_as_it_is(takes, tmp_path):
    first, *_ = takes
    older = export(first.replaced(tracked=None), tmp_path / "older.npz")[0]
    assert kinelift.load_motion(older).tracked is None
    once_more = kinelift.animate(older)
    assert once_more.meta["camera_motion"] == "travelling"
    assert spread(first, once_more) > 1e-4


def test_edits_start_from_what_odometry_said_too(takes):
    first, stored, _ = takes
    freed = kinelift.animate(stored, edits=parsed_edits({"contact": [{"soles": "feet", "planted": False}]}))
    assert (freed.motions[0].contacts < 0.5).all() and (first.motions[0].contacts > 0.5).any()
    np.testing.assert_array_equal(freed.tracked.R_cam_world, first.tracked.R_cam_world)
    cut = kinelift.animate(stored, edits=parsed_edits({"cuts": [float(first.motions[0].times[30])]}))
    np.testing.assert_allclose(cut.tracked.R_cam_world, first.tracked.R_cam_world[:30], atol=1e-12)
    assert kinelift.animate(stored, camera="static").tracked is None


@pytest.mark.parametrize("spoil", ["short", "alone", "no rotation"])
def test_a_spoiled_path_is_one_clear_line(takes, tmp_path, spoil):
    with np.load(takes[1]) as file:
        arrays = dict(file)
    R, t = arrays.pop("R_cam_first"), arrays.pop("t_cam_first")
    arrays |= {"R_cam_first": 2 * R if spoil == "no rotation" else R[: 9 if spoil == "short" else None]}
    arrays |= {} if spoil == "alone" else {"t_cam_first": t}
    np.savez(tmp_path / "spoiled.npz", **arrays)
    with pytest.raises(InputError, match=r"R_cam_first, t_cam_first: .*expected") as e:
        kinelift.load_motion(tmp_path / "spoiled.npz")
    assert "\n" not in str(e.value)
