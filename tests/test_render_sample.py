"""Laws of the sample clip: feet stand still, bones keep their length, file and rule agree."""

from pathlib import Path

import av
import numpy as np
import pytest

import kinelift
from kinelift.camera import Camera
from kinelift.errors import InputError
from kinelift.kinematics import bone_lengths, motion_positions
from kinelift.records import CONTACT_JOINTS
from kinelift.render.sample_motion import SAMPLE_STATURE_M, sample_motion
from kinelift.skeleton import BODY26

ASSETS = Path(kinelift.__file__).parent / "assets"


@pytest.fixture(scope="module")
def motion():
    return sample_motion()


@pytest.fixture(scope="module")
def positions(motion):
    return motion_positions(motion)


@pytest.fixture(scope="module")
def truth():
    with np.load(ASSETS / "sample_truth.npz", allow_pickle=False) as data:
        return dict(data)


def knee_flexion_deg(positions, side):
    hip, knee, ankle = (positions[:, BODY26.index(f"{side}_{j}")] for j in ("hip", "knee", "ankle"))
    up, down = hip - knee, ankle - knee
    cosine = (up * down).sum(-1) / np.linalg.norm(up, axis=-1) / np.linalg.norm(down, axis=-1)
    return 180 - np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def test_planted_points_stand_on_the_floor_and_never_slide(motion, positions):
    sole, down = positions[:, motion.contact_joints], motion.contacts > 0.5
    assert np.abs(sole[..., 1][down]).max() < 1e-6
    moved = np.linalg.norm(np.diff(sole, axis=0), axis=-1)
    assert moved[down[1:] & down[:-1]].max() < 1e-6


def test_nothing_goes_below_the_floor(positions):
    assert positions[..., 1].min() > -1e-6


def test_contacts_are_in_the_records_order(motion):
    assert tuple(BODY26.joints[j] for j in motion.contact_joints) == CONTACT_JOINTS


def test_somebody_always_stands_and_each_foot_also_swings(motion):
    down = motion.contacts > 0.5
    assert down.any(1).all()
    assert not down.all(0).any()


def test_bones_keep_their_length(motion, positions):
    assert np.abs(bone_lengths(BODY26, positions) - np.linalg.norm(motion.offsets, axis=-1)).max() < 1e-9


def test_the_walk_is_a_human_walk(motion, positions):
    walk = motion.times < 1.9
    pelvis = positions[walk, 0]
    assert 0.03 < np.ptp(pelvis[:, 1]) < 0.06
    speed = np.linalg.norm(pelvis[-1, [0, 2]] - pelvis[0, [0, 2]]) / motion.times[walk][-1]
    assert 1.0 < speed < 1.5
    for side in ("left", "right"):
        flexion = knee_flexion_deg(positions[walk], side)
        assert 55 < flexion.max() < 72
        assert flexion.min() > 3
    # Arms against legs.
    heading = pelvis[-1] - pelvis[0]
    heading /= np.linalg.norm(heading)
    leg = (positions[walk][:, BODY26.index("left_ankle")] - pelvis) @ heading
    arm = (positions[walk][:, BODY26.index("left_wrist")] - positions[walk][:, BODY26.index("chest")]) @ heading
    assert np.corrcoef(leg, arm)[0, 1] < -0.8


def test_the_story_is_walk_squat_wave_and_facing_the_camera(motion, positions):
    b = BODY26.index
    assert np.linalg.norm(positions[-1, 0] - positions[0, 0]) > 3
    assert positions[:, 0, 1].min() < 0.6
    lowest, raised = positions[:, 0, 1].argmin(), positions[:, b("right_wrist"), 1].argmax()
    assert lowest < raised
    assert positions[raised, b("right_wrist"), 1] > positions[raised, b("head"), 1]
    across = positions[-1, b("left_hip")] - positions[-1, b("right_hip")]
    assert across[0] / np.linalg.norm(across) > 0.98


def test_motion_is_smooth_within_human_bounds(positions):
    acceleration = np.linalg.norm(np.diff(positions, 2, axis=0), axis=-1) * 900
    assert acceleration[:, 0].max() < 15
    assert acceleration.max() < 110


def test_the_first_pelvis_is_over_the_origin(positions):
    assert np.abs(positions[0, 0, [0, 2]]).max() < 1e-9


def test_frame_rate_does_not_change_the_motion(positions):
    assert np.abs(motion_positions(sample_motion(60))[::2] - positions).max() < 1e-9
    with pytest.raises(InputError, match="divisor"):
        sample_motion(50)


def test_truth_file_is_the_motion(motion, positions, truth):
    assert truth["positions"].dtype == np.float32
    assert np.abs(truth["positions"] - positions).max() < 1e-5
    assert np.array_equal(truth["contacts"], motion.contacts)
    assert np.allclose(truth["times"], motion.times)
    assert tuple(truth["joint_names"]) == BODY26.joints
    assert float(truth["height_m"]) == SAMPLE_STATURE_M


def test_the_person_is_in_the_picture(truth):
    w, h = (int(v) for v in truth["image_size"])
    camera = Camera(truth["K"], truth["R_cam_world"], truth["t_cam_world"], (w, h), np.zeros(5))
    xy = camera.project(truth["positions"].astype(float))
    assert xy.min() > 10
    assert (xy < (w - 10, h - 10)).all()


def test_video_has_the_truths_frames_and_times(truth):
    with av.open(str(ASSETS / "sample.mp4")) as container:
        frames = [(f.time, f.width, f.height) for f in container.decode(video=0)]
    assert np.allclose([t for t, _, _ in frames], truth["times"], atol=1e-4)
    assert set(frames[0][1:]) == set(truth["image_size"].tolist())


def test_assets_stay_small():
    assert (ASSETS / "sample.mp4").stat().st_size < 1_000_000
    assert (ASSETS / "sample_truth.npz").stat().st_size < 400_000
