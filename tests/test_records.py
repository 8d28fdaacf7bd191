"""Records refuse what they do not say they hold, and cannot be changed."""

import dataclasses

import numpy as np
import pytest

from kinelift.camera import Camera
from kinelift.errors import InputError, RecordError
from kinelift.kinematics import reference_offsets
from kinelift.records import Frame, Lifted, Motion, Pose2D, Pose3D
from kinelift.skeleton import BODY26, COCO17

T = 4
TIMES = np.arange(T) / 30


def pose(**changes):
    given = {"xy": np.full((T, 17, 2), 5.0), "confidence": np.ones((T, 17)), "times": TIMES, "image_size": (640, 480)}
    return Pose2D(COCO17, **given | changes)


def lifted(**changes):
    return Lifted(COCO17, **{"positions": np.zeros((T, 17, 3)), "times": TIMES} | changes)


def motion(**changes):
    given = {
        "offsets": reference_offsets(),
        "rotations": np.broadcast_to([0, 0, 0, 1.0], (T, 26, 4)),
        "root": np.zeros((T, 3)),
        "contacts": np.zeros((T, 2)),
        "contact_joints": [16, 17],
        "observed": np.ones(T),
        "sigma_m": np.zeros((T, 26)),
        "times": TIMES,
    }
    return Motion(BODY26, **given | changes)


def pose3d(**changes):
    given = {"positions": np.zeros((T, 17, 3)), "times": TIMES, "sigma_m": np.zeros((T, 17))}
    return Pose3D(COCO17, world=True, absolute=True, **given | changes)


CAMERA = Camera.from_focal(500, (640, 480))


def changed(array, index, value):
    out = np.array(array, float)
    out[index] = value
    return out


REFUSED = [
    (lambda: pose(xy=np.zeros((T, 16, 2))), r"xy: expected shape \(4, 17, 2\), got \(4, 16, 2\)"),
    (lambda: pose(xy=np.zeros((T + 1, 17, 2))), r"xy: expected shape \(4, 17, 2\), got \(5, 17, 2\)"),
    (lambda: pose(xy="wide"), "xy: expected numbers"),
    (lambda: pose(confidence=np.full((T, 17), 1.5)), r"confidence: .*\[0, 1\]"),
    (lambda: pose(confidence=np.full((T, 17), np.nan)), r"confidence: .*\[0, 1\]"),
    (lambda: pose(xy=changed(np.zeros((T, 17, 2)), (2, 3, 1), np.nan)), "confidence: expected 0"),
    (lambda: pose(xy=changed(np.zeros((T, 17, 2)), (2, 3, 1), np.inf)), "confidence: expected 0"),
    (lambda: pose(times=[0, 0.1, 0.1, 0.2]), "times: expected strictly increasing"),
    (lambda: pose(times=[0, 0.1, np.nan, 0.2]), "times: expected finite"),
    (lambda: pose(image_size=(640, 0)), "image_size"),
    (lambda: pose(detector_3d=np.zeros((T, 17, 2))), r"detector_3d: expected shape \(4, 17, 3\)"),
    (lambda: lifted(scale="feet"), "'metric' or 'unit', got 'feet'"),
    (lambda: lifted(positions=np.full((T, 17, 3), np.inf)), "positions: expected finite"),
    (lambda: lifted(sigma=np.zeros((T, 17))), "sigma: expected positive"),
    (lambda: lifted(sigma=np.full((T, 17), np.nan)), "sigma: expected positive"),
    (lambda: lifted(gravity=np.full((T, 3), np.nan)), "gravity: expected finite"),
    (lambda: lifted(contact=np.full((T, 4), 2.0)), r"contact: expected values in \[0, 1\]"),
    (lambda: lifted(contact=np.zeros((T, 5))), r"contact: expected shape \(4, 4\)"),
    (lambda: pose3d(sigma_m=np.zeros((T, 3))), "sigma_m: expected shape"),
    (lambda: motion(rotations=np.ones((T, 26, 4))), "rotations: expected unit"),
    (lambda: motion(root=np.full((T, 3), np.nan)), "root: expected finite"),
    (lambda: motion(offsets=np.ones((26, 3))), r"offsets\[0\] = 0"),
    (lambda: motion(contacts=np.full((T, 2), -1.0)), r"contacts: expected values in \[0, 1\]"),
    (lambda: motion(contacts=np.zeros((T, 3))), r"contacts: expected shape \(4, 2\)"),
    (lambda: motion(contact_joints=[3, 26]), "contact_joints: expected indices"),
    (lambda: Frame(np.zeros((4, 4)), 0.0), r"image: expected \(H, W, 3\) uint8"),
    (lambda: CAMERA.replaced(R_cam_world=np.full((3, 3), np.nan)), "R_cam_world: expected finite"),
    (lambda: CAMERA.replaced(R_cam_world=2 * np.eye(3)), "R_cam_world: expected a rotation"),
    (lambda: CAMERA.replaced(R_cam_world=np.diag([1, 1, -1])), "R_cam_world: expected a rotation"),
    (lambda: CAMERA.replaced(t_cam_world=[0, np.inf, 0]), "t_cam_world: expected finite"),
    (lambda: CAMERA.replaced(distortion=[0, 0, 0, 0, np.nan]), "distortion: expected finite"),
    (lambda: CAMERA.replaced(distortion=[0, 0]), r"distortion: expected shape \(5\)"),
    (lambda: CAMERA.replaced(K=changed(CAMERA.K, (0, 0), -5)), "K: expected positive"),
    (lambda: CAMERA.replaced(K=changed(CAMERA.K, (0, 2), np.nan)), "K: expected finite"),
    (lambda: CAMERA.replaced(image_size=(0, 480)), "image_size"),
    (lambda: CAMERA.replaced(K=np.stack([CAMERA.K] * 3), t_cam_world=np.zeros((4, 3))), r"frames, got \[3, 4\]"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[m for _, m in REFUSED])
def test_refused_in_terms_of_expected_and_got(make, message):
    with pytest.raises(RecordError, match=message) as e:
        make()
    assert isinstance(e.value, InputError) and e.value.exit_code == 2
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("record", [pose(), lifted(), motion(), pose3d(), CAMERA], ids=lambda r: type(r).__name__)
def test_frozen_means_frozen(record):
    arrays = [f.name for f in dataclasses.fields(record) if isinstance(getattr(record, f.name), np.ndarray)]
    assert len(arrays) >= 2
    for name in arrays:
        with pytest.raises(ValueError, match="read-only"):
            getattr(record, name)[...] = 0
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(record, name, None)


def test_arrays_are_copied_in():
    xy = np.full((T, 17, 2), 5.0)
    p = pose(xy=xy)
    xy[:] = 9
    assert (p.xy == 5).all()


def test_unseen_is_nan_with_no_confidence():
    confidence = np.ones((T, 17))
    confidence[1] = 0
    confidence[2, 4] = 0
    xy = np.where(confidence[..., None] > 0, [5.0, 6.0], np.nan)
    p = pose(xy=xy, confidence=confidence)
    np.testing.assert_array_equal(p.seen, confidence > 0)
    np.testing.assert_array_equal(p.detected, [True, False, True, True])


def test_lifters_need_not_state_sigma_of_joints_they_do_not_give():
    given = lifted(
        positions=changed(np.zeros((T, 17, 3)), (slice(None), 5), np.nan),
        sigma=changed(np.ones((T, 17)), (slice(None), 5), np.nan),
    )
    assert np.isnan(given.positions[:, 5]).all()


def test_slicing_keeps_frames_together():
    p = pose(xy=np.arange(T * 34.0).reshape(T, 17, 2), detector_3d=np.arange(T * 51.0).reshape(T, 17, 3))
    part = p.sliced(slice(1, 3))
    np.testing.assert_array_equal(part.xy, p.xy[1:3])
    np.testing.assert_array_equal(part.detector_3d, p.detector_3d[1:3])
    np.testing.assert_array_equal(part.times, TIMES[1:3])


def test_replacing_is_checked_again():
    with pytest.raises(RecordError, match="times"):
        pose().replaced(times=TIMES[::-1])


def test_fps_is_the_mean_rate_of_uneven_times():
    assert motion(times=[0, 0.01, 0.02, 0.1]).fps == pytest.approx(30)
    one = {k: np.asarray(getattr(motion(), k))[:1] for k in ("rotations", "root", "contacts", "observed", "sigma_m")}
    assert motion(times=[3.0], **one).fps == 30
