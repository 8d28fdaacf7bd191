"""Which way is down, and where the floor is: the camera's pose in a world with Y up and the floor at y = 0."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kinelift.camera import Camera

# How far the lifter's gravity, averaged over a clip, is usually off, radians.
_SIGMA_GRAVITY = np.radians(3.0)
# How far off the vertical the line from a standing person's support to the centre of mass is, as a slope.
_SIGMA_BALANCE = 0.04
# Height noise of planted soles, metres: before the whole-clip solve has seen them, and after.
SOLE_NOISE_BEFORE_M, SOLE_NOISE_AFTER_M = 0.06, 0.03


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
    slope = stated.copy()
    flat, height = points[:, [0, 2]], points[:, 1]
    w = weight.copy()
    for _ in range(6):
        centre = w @ np.concatenate([flat, height[:, None]], 1) / max(w.sum(), 1e-9)
        A, y = flat - centre[:2], height - centre[2]
        w = weight / (1 + ((y - A @ slope) / (2 * sigma_m)) ** 2)
        scaled = w * min(8.0, len(points) / 20) / max(w.sum(), 1e-9) / sigma_m**2
        H = A.T @ (scaled[:, None] * A) + np.eye(2) / _SIGMA_GRAVITY**2
        right = A.T @ (scaled * y) + stated / _SIGMA_GRAVITY**2
        if lean is not None:
            H, right = H + np.eye(2) / _SIGMA_BALANCE**2, right - lean / _SIGMA_BALANCE**2
        slope = np.linalg.solve(H, right)
    slope = stated + np.clip(slope - stated, -0.15, 0.15)
    return world_axes(-R_cam_world @ np.array([-slope[0], 1.0, -slope[1]]))


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
    down: np.ndarray, soles_cam: np.ndarray, contact: np.ndarray, first_root_cam: np.ndarray, source: str
) -> Ground:
    """Camera pose from mean gravity (3,), soles (T, F, 3) in camera axes and contact (T, F).

    The floor is the robust height of planted soles (of the lowest ones where nothing is planted); the origin is the
    first pelvis on the floor.
    """
    planted = contact > 0.6
    points, weight = soles_cam[planted], contact[planted]
    R = world_axes(down)
    if len(points) >= 10:
        R = levelled(R, points @ R, weight, down, SOLE_NOISE_BEFORE_M)
        source += "+soles"
    heights = (soles_cam @ R)[..., 1]
    floor = np.median(heights[planted]) if planted.sum() >= 3 else np.percentile(heights, 5)
    root = first_root_cam @ R
    return Ground(R, R @ np.array([root[0], floor, root[2]]), 0.0, source)


def calibrated_ground(camera: Camera, soles_cam: np.ndarray, contact: np.ndarray) -> Ground:
    """A calibration's own world, kept; only the height of the floor in it is found."""
    heights = ((soles_cam - camera.t_cam_world) @ camera.R_cam_world)[..., 1]
    planted = contact > 0.6
    floor = np.median(heights[planted]) if planted.sum() >= 3 else np.percentile(heights, 5)
    return Ground(camera.R_cam_world, camera.t_cam_world, float(floor), "calibration")
