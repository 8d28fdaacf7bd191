"""`animate` with what a user knows of camera, floor and feet: edits, moving cameras, refusals in one line."""

import json

import numpy as np
import pytest

import kinelift
from kinelift.detect import write_keypoints
from kinelift.errors import InputError
from kinelift.export import export
from kinelift.kinematics import motion_positions
from kinelift.pipeline import sample_path
from kinelift.pipeline.cameras import camera_path
from kinelift.records import Pose2D
from kinelift.repair.edits import parsed_edits
from kinelift.report.sample import sample_truth
from kinelift.skeleton import BODY26

LEFT, RIGHT = (BODY26.indices(*(f"{s}_{j}" for j in ("knee", "ankle"))) for s in ("left", "right"))


@pytest.fixture(scope="module")
def seen(look_at):
    """A second and a half of the sample's true walk, seen exactly."""
    world, times = sample_truth()
    part = slice(20, 65)
    centre = world[part, 0].mean(0)
    camera = look_at(np.add(centre, [0.5, 0.5, 5.0]), centre)
    xy = camera.project(world[part])
    return Pose2D(BODY26, xy, np.ones(xy.shape[:2]), times[part], camera.image_size)


@pytest.fixture(scope="module")
def points(seen, tmp_path_factory):
    path = tmp_path_factory.mktemp("seen") / "seen.npz"
    write_keypoints(path, seen)
    return path


@pytest.fixture(scope="module")
def take(points):
    return kinelift.animate(points, height_m=1.75, focal_px=1200)


@pytest.fixture(scope="module")
def stored(take, tmp_path_factory):
    return export(take, tmp_path_factory.mktemp("stored") / "motion.npz")[0]


def test_a_swap_of_all_exchanges_the_sides(take, stored, tmp_path):
    file = tmp_path / "edits.toml"
    file.write_text('[[swap]]\nparts = "legs"\n')
    before, after = (motion_positions(t.motions[0]) for t in (take, kinelift.animate(stored, edits=file)))
    crossed = np.linalg.norm(after[:, LEFT] - before[:, RIGHT], axis=-1).mean()
    kept = np.linalg.norm(after[:, LEFT] - before[:, LEFT], axis=-1).mean()
    assert crossed < kept


def test_edits_travel_with_the_file_and_a_new_file_replaces_them(stored, tmp_path):
    file = tmp_path / "edits.json"
    file.write_text(json.dumps({"height_m": 1.9}))
    edited = kinelift.animate(stored, edits=file)
    again = kinelift.animate(export(edited, tmp_path / "edited.npz")[0])
    assert edited.report["scale"] == again.report["scale"] == {"height_m": 1.9, "source": "height edited"}
    file.write_text(json.dumps({"format": "kinelift-edits/1"}))
    assert kinelift.animate(stored, edits=file).report["scale"]["height_m"] == 1.75


def test_a_floor_that_was_taken_for_another_is_put_at_zero(take, stored):
    lowered = kinelift.animate(stored, edits=parsed_edits({"floor_y": -0.4}))
    rise = lowered.motions[0].root[:, 1] - take.motions[0].root[:, 1]
    assert np.allclose(rise, 0.4, atol=0.05)
    at = [t.camera.position[1] for t in (lowered, take)]
    assert at[0] - at[1] == pytest.approx(0.4, abs=0.05)


def test_a_cut_leaves_one_shot(stored, seen):
    middle = float(seen.times[30])
    cut = kinelift.animate(stored, edits=parsed_edits({"cuts": [middle]}))
    assert np.array_equal(cut.motions[0].times, seen.times[:30])


def test_edits_of_another_clip_are_refused(stored):
    with pytest.raises(InputError, match="lies outside the clip"):
        kinelift.animate(stored, edits=parsed_edits({"swap": [{"from": 100, "to": 101}]}))


def test_a_foot_that_is_said_to_be_free_is_free(stored, take):
    soles = list(kinelift.load_motion(stored).motions[0].contact_joints)
    assert (take.motions[0].contacts > 0.5).any()
    free = kinelift.animate(stored, edits=parsed_edits({"contact": [{"soles": "feet", "planted": False}]}))
    assert (free.motions[0].contacts < 0.5).all()
    assert len(soles) == 4


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"camera": "cam_02"}, "--camera cam_02: expected auto, static, moving; .*--camera-name"),
        ({"foot_lock": "glue"}, "--foot-lock glue: expected auto, always, never, ground"),
        ({"camera": "moving"}, "--camera moving: .* holds no pictures"),
        ({"depth": "depth.onnx"}, "depth.onnx"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(points, changes, said):
    with pytest.raises(InputError, match=said) as e:
        kinelift.animate(points, **changes)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("changes", [{"foot_lock": "never"}, {"treadmill": True}, {"asymmetric": True}])
def test_settings_reach_the_solve(take, stored, changes):
    other = kinelift.animate(stored, **changes)
    assert np.abs(motion_positions(other.motions[0]) - motion_positions(take.motions[0])).max() > 1e-4


def test_a_moving_cameras_path_is_kept_when_solved_again(take, seen, tmp_path):
    """The path that a file holds is the one that the next solve uses, whatever the first camera's pose."""
    turn = np.linspace(0, 0.3, len(seen.times))
    c, s, o, i = np.cos(turn), np.sin(turn), np.zeros_like(turn), np.ones_like(turn)
    R = np.stack([c, o, s, o, i, o, -s, o, c], -1).reshape(-1, 3, 3) @ take.camera.R_cam_world
    position = take.camera.position + np.linspace(0, 1, len(R))[:, None] * [0.5, 0, 0]
    moving = take.camera.replaced(R_cam_world=R, t_cam_world=-np.einsum("tij,tj->ti", R, position))
    path = export(take.replaced(camera=moving), tmp_path / "moving.npz")[0]
    back = kinelift.load_motion(path)
    found = camera_path(path, seen, back.camera, False, kinelift.Options(), back)
    assert found.moving
    assert found.translating
    again = found.moved(back.camera.replaced(R_cam_world=R[0], t_cam_world=moving.t_cam_world[0]))
    assert np.abs(again.R_cam_world - R).max() < 1e-6
    assert np.abs(again.t_cam_world - moving.t_cam_world).max() < 1e-6


def test_the_sample_stands_still():
    """Its camera does, and looking at the surroundings says so."""
    take = kinelift.animate(sample_path(), end=1.0)
    assert take.meta["camera_motion"] == "static"
    assert take.camera.R_cam_world.shape == (3, 3)
