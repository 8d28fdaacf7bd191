"""Rendered clips as training windows: truth and key points agree, errors are lent to what looks alike."""

import numpy as np
import pytest

from kinelift.camera import Camera
from kinelift.errors import InputError
from kinelift.kinematics import rotvec_to_matrix
from kinelift.lift.rays import INPUT_JOINTS, input_joints
from kinelift.skeleton import BODY26
from kinelift.training.detected import Detected, apparent_size
from kinelift.training.detector_data import DetectorClip
from kinelift.training.generate import generate

FRAMES, FPS = 64, 30.0


def clip(seed: int, error_px: float, own_scale: float = 1.0, fps: float = FPS) -> DetectorClip:
    """A made figure 4 m away; every key point `error_px` too far right, its own 3D the truth times `own_scale`."""
    world = generate(np.random.default_rng(seed), 1, 150)[0].astype(float)[:: round(30 / fps)]
    flip = np.diag([1.0, -1.0, -1.0])
    camera = Camera.from_focal(500.0, (640, 480)).replaced(R_cam_world=flip, t_cam_world=np.array([0, 1.0, 4.0]))
    x = camera.to_camera(world - [*world[:, 0].mean(0)[:1], 0, world[:, 0, 2].mean()])
    xy = camera.project_camera(input_joints(x)) + np.array([error_px, 0])
    own = input_joints(x - x[:, :1]) * own_scale
    contact = np.zeros((len(x), 4))
    return DetectorClip("generated", fps, camera, xy, np.full(xy.shape[:2], 0.9), own, x, contact)


def test_windows_hold_what_was_seen_and_what_was_so():
    seen = Detected([clip(1, 0.0), clip(2, 0.0)], FRAMES)
    batch = seen.windows(np.random.default_rng(0), 12)
    assert batch.features.shape[:2] == (12, FRAMES) and np.isfinite(batch.features).all()
    # with perfect key points a ray times its depth is the joint, in the aimed camera's axes
    true = input_joints(batch.positions.astype(float)) + np.array([0, 0, 1.0]) * batch.distance[..., None, None]
    spread = np.exp(batch.features[..., 63])[..., None, None]
    rays = batch.features[..., : 2 * len(INPUT_JOINTS)].reshape(12, FRAMES, -1, 2) * spread
    np.testing.assert_allclose(rays, true[..., :2] / true[..., 2:], atol=2e-3)
    upright = np.degrees(np.arccos(np.clip((batch.gravity * [0, 1, 0]).sum(-1), -1, 1)))
    assert np.median(upright) < 20


def test_a_detectors_own_3d_comes_at_the_reference_bodys_scale_or_not_at_all():
    small, large = (
        Detected([clip(3, 0.0, s)], FRAMES, own_3d=True).windows(np.random.default_rng(1), 40) for s in (0.5, 2.0)
    )
    np.testing.assert_allclose(small.opinion, large.opinion, atol=1e-4)
    given = small.opinion[:, 0, -1] > 0
    assert 0.3 < given.mean() < 0.9 and (small.opinion[~given] == 0).all()


def test_errors_are_lent_to_what_looks_alike():
    """Two clips with different errors; a copy of one borrows that one's."""
    a, b = clip(4, 8.0), clip(5, 0.0)
    seen = Detected([a, b], FRAMES)
    for source, error in ((a, 8.0 / 500), (b, 0.0)):
        x = input_joints(source.positions[:FRAMES])
        true = np.repeat((x[..., :2] / x[..., 2:])[None], 30, 0)
        lent, confidence = seen.lend(np.random.default_rng(2), true)
        assert confidence.shape == (30, FRAMES, 21) and (confidence > 0.85).all()
        shift = np.abs((lent - true)[..., 0]).mean((1, 2))
        assert np.median(shift) == pytest.approx(error * 0.9, rel=0.25, abs=2e-3)


def test_half_the_rate_is_interpolated():
    whole, half = (Detected([clip(6, 0.0, fps=f)], FRAMES) for f in (30.0, 15.0))
    n = min(len(whole.clips[0].rays), len(half.clips[0].rays))
    miss = np.abs(whole.clips[0].rays[:n] - half.clips[0].rays[:n]).max((1, 2))
    assert miss[::2].max() < 1e-4 and miss.max() < 0.02


def test_mirrored_clips_are_the_same_figure_the_other_way_round():
    seen = Detected([clip(7, 0.0)], FRAMES).clips
    left, right = INPUT_JOINTS.index("left_ankle"), INPUT_JOINTS.index("right_ankle")
    np.testing.assert_allclose(seen[1].rays[:, left], seen[0].rays[:, right] * [-1, 1])
    np.testing.assert_allclose(seen[1].true_rays, seen[1].rays, atol=1e-4)


def test_size_is_the_boxs_diagonal_and_turning_the_picture_moves_nobody():
    square = np.array([[0.0, 0], [3, 0], [3, 4], [0, 4]])
    assert apparent_size(np.tile(square, (2, 5, 1, 1))) == pytest.approx(5)
    batch = Detected([clip(8, 0.0)], FRAMES).windows(np.random.default_rng(3), 8)
    limb = BODY26.indices("left_knee", "left_ankle")
    length = np.linalg.norm(np.diff(batch.positions[:, :, limb], axis=2), axis=-1)
    assert np.ptp(length) < 1e-3
    assert np.linalg.det(rotvec_to_matrix(np.array([0, 0, 0.1]))) == pytest.approx(1)


def test_nobody_seen_is_an_error_in_one_line():
    lost = clip(9, 0.0)
    lost = lost.replaced(xy=np.full_like(lost.xy, np.nan), confidence=np.zeros_like(lost.confidence))
    with pytest.raises(InputError, match="somebody was seen"):
        Detected([lost], FRAMES)
