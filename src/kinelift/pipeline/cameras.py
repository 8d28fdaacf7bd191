"""The camera that the user, a file or a prior states."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kinelift.camera import Camera, focal_from_fov, prior_focal_px, read_calibration
from kinelift.detect import Detection
from kinelift.errors import InputError
from kinelift.pipeline.options import Options
from kinelift.records import Pose2D, Take

_FILM_DIAGONAL_MM = 43.267  # of the 35 mm film that equivalent focal lengths refer to


def stated_camera(
    path: str | Path, pose: Pose2D, detection: Detection, options: Options, stored: Take | None
) -> tuple[Camera, str, bool]:
    """The camera, where its focal length came from, and whether its pose in the world is known."""
    size = pose.image_size
    if options.calibration is not None:
        return _calibrated(path, options.calibration, options.camera, size), "calibration", True
    if options.focal_px is not None:
        return Camera.from_focal(options.focal_px, size), "given", False
    if options.fov_deg is not None:
        return Camera.from_focal(focal_from_fov(options.fov_deg, size), size), "field of view given", False
    if stored is not None:
        known = stored.meta.get("world_source") == "calibration"
        return stored.camera, str(stored.meta.get("focal_source", "motion.npz")), known
    film = detection.source.get("focal_35mm")
    if film:
        return Camera.from_focal(float(film) / _FILM_DIAGONAL_MM * float(np.hypot(*size)), size), "metadata", False
    return Camera.from_focal(prior_focal_px(size), size), "prior (0.85 x long side)", False


def _calibrated(path: str | Path, calibration: Path, name: str | None, size: tuple[int, int]) -> Camera:
    cameras = read_calibration(calibration, name)
    if len(cameras) > 1:
        plain = {"".join(c for c in k if c.isalnum()).lower(): k for k in cameras}
        key = "".join(c for c in Path(path).stem if c.isalnum()).lower()
        if key not in plain:
            raise InputError(f"{calibration}: several cameras; say which with --camera: {', '.join(cameras)}")
        cameras = {plain[key]: cameras[plain[key]]}
    camera = next(iter(cameras.values()))
    if camera.image_size == size:
        return camera
    w, h = camera.image_size
    if abs(size[0] / w - size[1] / h) > 0.02 * size[0] / w:
        raise InputError(f"{calibration}: is for pictures of {w} x {h}, the input has {size[0]} x {size[1]}")
    K = camera.K * np.array([[size[0] / w], [size[1] / h], [1.0]])
    return camera.replaced(K=K, image_size=size)
