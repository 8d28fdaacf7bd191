"""When heels and toes are planted: the lifter's word, checked against how the solution's feet move."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import median_filter, minimum_filter1d

from kinelift.errors import UnknownNameError
from kinelift.kinematics import STATURE_PRIOR_M

FOOT_LOCKS = ("auto", "always", "never", "ground")


@dataclass(frozen=True, eq=False)
class SeenSoles:
    """Where the picture shows the sole points, and the camera that shows them.

    Attributes:
        rays: (T, 4, 2) key points as rays of the camera; NaN where not seen.
        weight: (T, 4) 1 = fully trusted, 0 = not seen.
        R_cam_world: (3, 3), or (T, 3, 3) of a moving camera.
        t_cam_world: (3,) or (T, 3) metres.
    """

    rays: np.ndarray
    weight: np.ndarray
    R_cam_world: np.ndarray
    t_cam_world: np.ndarray


@dataclass(frozen=True, eq=False)
class Planted:
    """What a body stands on, frame by frame; sole points are left heel, left toe, right heel, right toe.

    Attributes:
        contact: (T, 4) in [0, 1], probability that a sole point is planted.
        support_y: (T, 4) metres, height of what is under each sole point.
        drift: (T, 3) m/s, velocity of the support: zero but on a treadmill.
        others: (T, 4) in [0, 1], left hand, right hand, left knee, right knee on the floor.
    """

    contact: np.ndarray
    support_y: np.ndarray
    drift: np.ndarray
    others: np.ndarray


def plant(
    said: np.ndarray | None,
    soles: np.ndarray,
    times: np.ndarray,
    stature_m: float,
    mode: str = "auto",
    *,
    floor_y: float = 0.0,
    body: np.ndarray | None = None,
    seen: SeenSoles | None = None,
    treadmill: bool = False,
) -> Planted:
    """What soles (T, 4, 3) in world metres stand on, from the lifter's word `said` (T, 4) or None and the motion.

    `body` (T, 26, 3) are all joints of the solution, for hands and knees on the floor; `seen` the soles in the picture;
    `floor_y` the floor's height.

    Raises:
        UnknownNameError: `mode` is none of `FOOT_LOCKS`.
    """
    if mode not in FOOT_LOCKS:
        raise UnknownNameError("foot lock", mode, FOOT_LOCKS)
    contact = contact_of(said, soles, times, stature_m)
    if mode == "never":
        contact = np.zeros_like(contact)
    return Planted(contact, np.full(contact.shape, floor_y), np.zeros((len(times), 3)), np.zeros((len(times), 4)))


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
