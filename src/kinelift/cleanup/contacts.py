"""When heels and toes are planted: the lifter's word, checked against how the solution's feet move."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import median_filter, minimum_filter1d

from kinelift.kinematics import STATURE_PRIOR_M


def sole_speed(soles: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(T, F) speed in m/s of sole points (T, F, 3), central differences."""
    if len(times) < 2:
        return np.zeros(soles.shape[:2])
    return np.linalg.norm(np.gradient(soles, times, axis=0), axis=-1)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))


def moving_contact(soles: np.ndarray, times: np.ndarray, stature_m: float) -> np.ndarray:
    """(T, F) in [0, 1] from motion alone: slow, and near the lowest sole of the neighbouring 0.7 s."""
    size = stature_m / STATURE_PRIOR_M
    fps = (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 30.0
    low = minimum_filter1d(soles[..., 1].min(1), 2 * int(0.7 * fps) + 1, mode="nearest")
    slow = _sigmoid((0.35 * size - sole_speed(soles, times)) / (0.08 * size))
    near = _sigmoid((0.09 * size - (soles[..., 1] - low[:, None])) / (0.02 * size))
    return slow * near


def contact_of(lifted: np.ndarray | None, soles: np.ndarray, times: np.ndarray, stature_m: float) -> np.ndarray:
    """(T, 4) contact: the geometric mean of the lifter's (T, 4, or None) and the motion's, stray frames removed."""
    moving = moving_contact(soles, times, stature_m)
    contact = moving if lifted is None else np.sqrt(lifted * moving)
    if len(times) < 5:
        return contact
    fps = (len(times) - 1) / (times[-1] - times[0])
    width = 2 * max(round(fps / 30), 1) + 1
    return median_filter(contact, (width, 1), mode="nearest")
