"""Which way is down, and where the floor is: the camera's pose in a world with Y up and the floor at y = 0."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kinelift.camera import Camera
from kinelift.skeleton import BODY26

# How far the lifter's gravity, averaged over a clip, is usually off, radians.
_SIGMA_GRAVITY = np.radians(3.0)
# How far off the vertical the line from a standing person's support to the centre of mass is, as a slope.
_SIGMA_BALANCE = 0.04
# Height noise of planted soles, metres: before the whole-clip solve has seen them, and after.
SOLE_NOISE_BEFORE_M, SOLE_NOISE_AFTER_M = 0.06, 0.03
# Slopes of planted soles beyond this are stairs, not an error of gravity, which is the limit after it.
_STAIRS, _MOST_TILT = 0.22, 0.15
# Heights of planted soles between which nothing stands for so many metres are levels of their own; the lowest level
# that holds this share of all that is planted is the floor.
_GAP_M, _FLOOR_SHARE = 0.055, 0.1
# Height of joints above a floor that a body lies, sits or kneels on, metres.
_FLESH_M = {"pelvis": 0.10, "hip": 0.09, "spine": 0.09, "chest": 0.11, "neck": 0.07, "head": 0.09, "shoulder": 0.05}
_FLESH_M |= {"elbow": 0.035, "wrist": 0.03, "hand": 0.02, "knee": 0.055, "ankle": 0.05}


@dataclass(frozen=True, eq=False)
class Ground:
    """Where the world lies.

    Attributes:
        R_cam_world: (3, 3) rotation, world to camera.
        t_cam_world: (3,) metres.
        floor_y: Height of the floor in this world, metres: 0 unless a calibration fixed the world.
        source: What it was found from, for `meta.world_source`.
    """

    R_cam_world: np.ndarray
    t_cam_world: np.ndarray
    floor_y: float
    source: str

    def moved(self, origin: np.ndarray) -> Ground:
        """The same world with its origin moved to the point `origin` (3,)."""
        return replace(self, t_cam_world=self.t_cam_world + self.R_cam_world @ origin)

    def scaled(self, factor: float) -> Ground:
        """The same world with all lengths times `factor`."""
        return replace(self, t_cam_world=self.t_cam_world * factor, floor_y=self.floor_y * factor)


def mean_direction(vectors: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """A robust mean unit vector (3,) of unit vectors (T, 3) with weights (T,)."""
    w = weight.copy()
    mean = np.zeros(3)
    for _ in range(5):
        mean = (vectors * w[:, None]).sum(0)
        mean /= max(np.linalg.norm(mean), 1e-9)
        angle = np.arccos(np.clip(vectors @ mean, -1, 1))
        w = weight / (1 + (angle / np.radians(10)) ** 2)
    return mean


def world_axes(down_cam: np.ndarray) -> np.ndarray:
    """R_cam_world (3, 3) of a camera that sees gravity along `down_cam`: Y up, its horizontal view direction -Z."""
    up = -down_cam / np.linalg.norm(down_cam)
    view = np.array([0, 0, 1.0]) if abs(up[2]) < 0.98 else np.array([0, np.sign(up[2]), 0])
    back = -(view - up * (view @ up))
    back /= np.linalg.norm(back)
    return np.stack([np.cross(up, back), up, back], -1)


def levelled(
    R_cam_world: np.ndarray,
    points: np.ndarray,
    weight: np.ndarray,
    down_cam: np.ndarray,
    sigma_m: float,
    lean: np.ndarray | None = None,
) -> np.ndarray:
    """R_cam_world (3, 3) turned so that planted soles (N, 3), world metres with weights (N,), lie level.

    The plane y = a x + b z + c is fitted robustly; its slopes stray from `down_cam`, the lifter's gravity, only as far
    as both kinds of evidence allow. Soles of one step repeat one measurement: a clip counts at most eight. `lean` (2,)
    is the slope along x and z of the line from support to centre of mass of a person who stands still: who stands
    does not fall.
    """
    up = -down_cam @ R_cam_world
    stated = -up[[0, 2]] / max(up[1], 0.2)
    free = _common_slope(points, weight, stated, sigma_m, 10 * _SIGMA_GRAVITY, None)
    if np.linalg.norm(free - stated) > _STAIRS:
        weight = np.zeros_like(weight)
    slope = _common_slope(points, weight, stated, sigma_m, _SIGMA_GRAVITY, lean)
    slope = stated + np.clip(slope - stated, -_MOST_TILT, _MOST_TILT)
    return world_axes(-R_cam_world @ np.array([-slope[0], 1.0, -slope[1]]))


def _common_slope(
    points: np.ndarray,
    weight: np.ndarray,
    stated: np.ndarray,
    sigma_m: float,
    sigma_stated: float,
    lean: np.ndarray | None,
) -> np.ndarray:
    """Slopes (2,) along x and z of a plane through most of the points (N, 3), drawn to the `stated` ones."""
    slope = stated.copy()
    flat, height = points[:, [0, 2]], points[:, 1]
    w = weight.copy()
    for _ in range(6):
        centre = w @ np.concatenate([flat, height[:, None]], 1) / max(w.sum(), 1e-9)
        A, y = flat - centre[:2], height - centre[2]
        w = weight / (1 + ((y - A @ slope) / (2 * sigma_m)) ** 2)
        scaled = w * min(8.0, len(points) / 20) / max(w.sum(), 1e-9) / sigma_m**2
        H = A.T @ (scaled[:, None] * A) + np.eye(2) / sigma_stated**2
        right = A.T @ (scaled * y) + stated / sigma_stated**2
        if lean is not None:
            H, right = H + np.eye(2) / _SIGMA_BALANCE**2, right - lean / _SIGMA_BALANCE**2
        slope = np.linalg.solve(H, right)
    return slope


def standing_lean(
    positions: np.ndarray, soles: np.ndarray, contact: np.ndarray, times: np.ndarray, mass: np.ndarray
) -> np.ndarray | None:
    """Slope (2,) along x and z of the line from support to centre of mass, over frames in which a person stands still.

    `positions` (T, J, 3), planted `soles` (T, F, 3) with `contact` (T, F), `mass` (J,) shares. Who sits or leans on
    something is no evidence: only slopes below 0.2 count. None where fewer than 0.5 s remain.
    """
    if len(times) < 3:
        return None
    centre = mass @ positions
    speed = np.linalg.norm(np.gradient(centre, times, axis=0), axis=-1)
    support = (contact[..., None] * soles).sum(1) / np.maximum(contact.sum(1), 1e-6)[:, None]
    line = centre - support
    slope = line[:, [0, 2]] / np.maximum(line[:, 1:2], 0.2)
    good = (contact.max(1) > 0.6) & (speed < 0.3) & (np.linalg.norm(slope, axis=-1) < 0.2) & (line[:, 1] > 0.5)
    return np.median(slope[good], 0) if good.sum() * np.median(np.diff(times)) >= 0.5 else None


def find_ground(
    down: np.ndarray,
    soles_cam: np.ndarray,
    contact: np.ndarray,
    first_root_cam: np.ndarray,
    source: str,
    body_cam: np.ndarray | None = None,
) -> Ground:
    """Camera pose from mean gravity (3,), soles (T, F, 3) in camera axes and contact (T, F).

    The floor is `floor_height`'s, with all joints `body_cam` (T, 26, 3) for clips in which nobody stands; the origin
    is the first pelvis on the floor.
    """
    planted = contact > 0.6
    points, weight = soles_cam[planted], contact[planted]
    R = world_axes(down)
    if len(points) >= 10:
        R = levelled(R, points @ R, weight, down, SOLE_NOISE_BEFORE_M)
        source += "+soles"
    floor = floor_height((soles_cam @ R)[..., 1], contact, None if body_cam is None else (body_cam @ R)[..., 1])
    root = first_root_cam @ R
    return Ground(R, R @ np.array([root[0], floor, root[2]]), 0.0, source)


def calibrated_ground(
    camera: Camera, soles_cam: np.ndarray, contact: np.ndarray, body_cam: np.ndarray | None = None
) -> Ground:
    """A calibration's own world, kept; only the height of the floor in it is found, as in `find_ground`."""

    def height(x: np.ndarray) -> np.ndarray:
        return ((x - camera.t_cam_world) @ camera.R_cam_world)[..., 1]

    floor = floor_height(height(soles_cam), contact, None if body_cam is None else height(body_cam))
    return Ground(camera.R_cam_world, camera.t_cam_world, floor, "calibration")


def floor_height(soles_y: np.ndarray, contact: np.ndarray, body_y: np.ndarray | None = None) -> float:
    """Height of the floor, metres, under soles at heights (T, F) with contact (T, F).

    The median of planted soles; where they stand on levels clearly apart, that of the lowest level on which a good
    share of them stands. Where nothing is planted: what lies below all but the lowest twentieth of the frames, of
    soles and, with joints at heights `body_y` (T, 26), of the flesh around each: people sit, kneel and lie.
    """
    planted = np.sort(soles_y[contact > 0.6])
    if len(planted) >= max(3, 0.01 * soles_y.size):
        apart = np.flatnonzero(np.diff(planted) > _GAP_M)
        for level in np.split(planted, apart + 1):
            if len(level) >= _FLOOR_SHARE * len(planted):
                return float(np.median(level))
        return float(np.median(planted))
    lowest = soles_y if body_y is None else np.minimum((body_y - flesh_m()).min(1), soles_y.min(1))
    return float(np.percentile(lowest, 5))


def flesh_m() -> np.ndarray:
    """(26,) metres between each BODY26 joint and a floor that its flesh lies on; 0 for points of the sole."""
    return np.array([_FLESH_M.get(j.split("_")[-1], 0.0) for j in BODY26.joints])
