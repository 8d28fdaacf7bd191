"""A camera found from points whose place in space and in the picture is known."""

from __future__ import annotations

import numpy as np

from kinelift.camera import Camera
from kinelift.errors import InputError

# What a fit may leave, root mean square; labels made by projection fit to a hundredth of it.
MAX_RMS_PX = 1.0
_MAX_POINTS = 4000


def fit_camera(world: np.ndarray, xy: np.ndarray, image_size: tuple[int, int]) -> Camera:
    """The camera with lens distortion that sees points (N, 3) in metres at pixels (N, 2), by least squares.

    Raises `InputError` where no camera does to a pixel.
    """
    import cv2

    kept = np.linspace(0, len(world) - 1, min(len(world), _MAX_POINTS)).astype(int)
    world, xy = np.ascontiguousarray(world[kept], np.float32), np.ascontiguousarray(xy[kept], np.float32)
    w, h = image_size
    guess = np.array([[1.1 * w, 0, (w - 1) / 2], [0, 1.1 * w, (h - 1) / 2], [0, 0, 1]])
    stop = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 300, 1e-14)
    try:
        rms, K, distortion, turns, shifts = cv2.calibrateCamera(
            [world], [xy], image_size, guess, np.zeros(5), flags=cv2.CALIB_USE_INTRINSIC_GUESS, criteria=stop
        )
    except cv2.error as e:
        raise InputError(f"no camera can be found from {len(world)} points ({e.err})") from None
    if not rms < MAX_RMS_PX:
        raise InputError(f"2D and 3D do not belong together: the best camera misses by {rms:.1f} px")
    return Camera(K, cv2.Rodrigues(turns[0])[0], shifts[0].ravel(), image_size, distortion.ravel()[:5])


def fit_lens(rays: np.ndarray, xy: np.ndarray, image_size: tuple[int, int]) -> Camera:
    """The camera at the origin, without distortion, that sees rays (N, 2) = (x/z, y/z) at pixels (N, 2).

    Raises `InputError` where no camera does to a pixel.
    """
    K = np.eye(3)
    for axis in (0, 1):
        slope = np.stack([rays[:, axis], np.ones(len(rays))], 1)
        (K[axis, axis], K[axis, 2]), *_ = np.linalg.lstsq(slope, xy[:, axis], rcond=None)
    rms = float(np.sqrt(np.square(rays * K[[0, 1], [0, 1]] + K[:2, 2] - xy).sum(-1).mean()))
    if not rms < MAX_RMS_PX or min(K[0, 0], K[1, 1]) <= 0:
        raise InputError(f"2D and 3D do not belong together: the best camera misses by {rms:.1f} px")
    return Camera(K, np.eye(3), np.zeros(3), image_size, np.zeros(5))
