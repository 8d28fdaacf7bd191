"""Cameras: projection and its inverse (`pinhole`), calibration files (`calibration`)."""

from kinelift.camera.calibration import Z_UP_TO_Y_UP, CalibratedCamera, read_calibration, read_cameras
from kinelift.camera.pinhole import FOCAL_PRIOR, Camera, focal_from_fov, prior_focal_px

__all__ = [
    "FOCAL_PRIOR",
    "Z_UP_TO_Y_UP",
    "CalibratedCamera",
    "Camera",
    "focal_from_fov",
    "prior_focal_px",
    "read_calibration",
    "read_cameras",
]
