"""`real/balancing` as views: key points of a real detector beside triangulated truth. Nothing is chosen on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from _kept import key_points
from _protocol import View
from kinelift import metrics
from kinelift.camera import Camera, prior_focal_px, read_calibration
from kinelift.detect import read_keypoints
from kinelift.lift import mapped
from kinelift.records import Pose2D
from kinelift.repair import repair
from kinelift.skeleton import BODY26
from real import read_trc

CAMERAS = (1, 2, 3, 4)
_FPS = 60.0


def balancing_views(data: Path, keypoints: Path, detector: str, repaired: bool) -> list[View]:
    """The four cameras, the lens guessed as for any video; truth in axes of its own, so that only PA-MPJPE means much.

    `detector`: "MediaPipe", whose key points are kept in `keypoints` (`cam0N.npz`) and made where absent, or
    "OpenPose", the JSON that comes with the clips. Gravity is the calibration's. Raises `InputError`.
    """
    folder = data / "real/balancing"
    truth = _body26(read_trc(folder / "triangulated.trc"))
    real_cameras = read_calibration(folder / "calibration.toml")
    out = []
    for i in CAMERAS:
        real = real_cameras[f"cam_0{i}"]
        pose = key_points(folder / f"cam0{i}.mp4", keypoints) if detector == "MediaPipe" else _openpose(folder, i, real)
        body = mapped(repair(pose)[0] if repaired else pose, BODY26).replaced(detector_3d=None)
        told = Camera.from_focal(prior_focal_px(pose.image_size), pose.image_size)
        out.append(View(f"cam0{i}", body, told, truth, real.R_cam_world @ np.array([0, -1.0, 0]), None))
    return out


def _openpose(folder: Path, i: int, camera: Camera) -> Pose2D:
    return read_keypoints(folder / f"openpose/cam0{i}", layout="body_25b", fps=_FPS, image_size=camera.image_size).pose


def _body26(limbs: np.ndarray) -> np.ndarray:
    """BODY26 (T, 26, 3) of the limb joints (T, 12, 3): the pelvis between the hips, all else NaN."""
    out = np.full((len(limbs), len(BODY26), 3), np.nan)
    out[:, BODY26.indices(*metrics.LIMBS)] = limbs
    out[:, 0] = out[:, BODY26.indices("left_hip", "right_hip")].mean(1)
    return out
