"""Which way is down, and where the floor is: the camera's pose in a world with Y up and the floor at y = 0."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kinelift.camera import Camera

# How far the lifter's gravity, averaged over a clip, is usually off (radians), and a planted sole's depth noise (m).
_SIGMA_GRAVITY = np.radians(3.0)
_SIGMA_SOLE_M = 0.05


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
        return replace(self, t_cam_world=self.t_cam_world + self.R_cam_world @ origin, floor_y=self.floor_y)


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
    view = np.array([0, 0, 1.0]) if abs(up[2]) < 0.98 else np.array([0, -np.sign(up[2]), 0])
    back = -(view - up * (view @ up))
    back /= np.linalg.norm(back)
    return np.stack([np.cross(up, back), up, back], -1)


def _levelled(down: np.ndarray, points: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Gravity refined by planted soles (N, 3) lying in one plane; strays as far as both kinds of evidence allow."""
    R = world_axes(down)
    for _ in range(3):
        p = points @ R
        centre = (p * weight[:, None]).sum(0) / weight.sum()
        d = p - centre
        miss = np.abs(d[:, 1])
        # Planted frames of one step repeat one measurement: about eight steps' worth of evidence in any clip.
        w = weight / (1 + (miss / 0.1) ** 2)
        w *= min(8.0, len(points) / 20) / max(w.sum(), 1e-9) / _SIGMA_SOLE_M**2
        A = np.stack([d[:, 0], d[:, 2]], -1)
        H = A.T @ (w[:, None] * A) + np.eye(2) / _SIGMA_GRAVITY**2
        slope = np.linalg.solve(H, A.T @ (w * d[:, 1]))
        slope = np.clip(slope, -0.15, 0.15)
        normal = np.array([-slope[0], 1.0, -slope[1]])
        R = world_axes(-(R @ normal))
        if np.abs(slope).max() < 1e-4:
            break
    return -R[:, 1]


def find_ground(
    down: np.ndarray, soles_cam: np.ndarray, contact: np.ndarray, first_root_cam: np.ndarray, source: str
) -> Ground:
    """Camera pose from mean gravity (3,), soles (T, F, 3) in camera axes and contact (T, F).

    The floor is the robust height of planted soles (of the lowest ones where nothing is planted); the origin is the
    first pelvis on the floor.
    """
    planted = contact > 0.6
    points, weight = soles_cam[planted], contact[planted]
    if len(points) >= 10:
        down = _levelled(down, points, weight)
        source += "+soles"
    R = world_axes(down)
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
