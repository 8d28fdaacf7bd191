"""A pinhole camera with OpenCV's lens distortion.

`x_cam = R_cam_world @ x_world + t_cam_world`; pixel centres at integers. Rays are (x/z, y/z) in camera axes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from kinelift.errors import RecordError
from kinelift.records import _Record, frozen_array


@dataclass(frozen=True, eq=False)
class Camera(_Record):
    """Intrinsics and pose, constant or per frame.

    Attributes:
        K: (3, 3) or (T, 3, 3) pixels.
        R_cam_world: (3, 3) or (T, 3, 3) rotation, world to camera.
        t_cam_world: (3,) or (T, 3) metres.
        image_size: (width, height) pixels.
        distortion: (5,) OpenCV's k1, k2, p1, p2, k3.
    """

    K: np.ndarray
    R_cam_world: np.ndarray
    t_cam_world: np.ndarray
    image_size: tuple[int, int]
    distortion: np.ndarray

    def __post_init__(self) -> None:
        for name, tail in (("K", (3, 3)), ("R_cam_world", (3, 3)), ("t_cam_world", (3,))):
            per_frame = np.ndim(getattr(self, name)) == len(tail) + 1
            frozen_array(self, name, (None, *tail) if per_frame else tail)
        frozen_array(self, "distortion", (5,))
        for name in ("K", "R_cam_world", "t_cam_world", "distortion"):
            if not np.isfinite(getattr(self, name)).all():
                raise RecordError(f"{name}: expected finite numbers")
        moving = ((self.K, 3), (self.R_cam_world, 3), (self.t_cam_world, 2))
        if len(lengths := {len(a) for a, n in moving if a.ndim == n}) > 1:
            raise RecordError(f"camera: expected one number of frames, got {sorted(lengths)}")
        skew = np.abs(self.R_cam_world @ np.swapaxes(self.R_cam_world, -1, -2) - np.eye(3)).max(initial=0)
        if skew > 1e-4 or not (np.linalg.det(self.R_cam_world) > 0).all():
            raise RecordError("R_cam_world: expected a rotation")
        if not (self.K[..., 0, 0] > 0).all() or not (self.K[..., 1, 1] > 0).all():
            raise RecordError("K: expected positive focal lengths")
        if len(self.image_size) != 2 or min(self.image_size) < 1:
            raise RecordError(f"image_size: expected positive (width, height), got {self.image_size}")

    @classmethod
    def from_focal(cls, focal_px: float, image_size: tuple[int, int]) -> Camera:
        """A camera at the origin with square pixels and the principal point in the middle."""
        w, h = image_size
        K = np.array([[focal_px, 0, (w - 1) / 2], [0, focal_px, (h - 1) / 2], [0, 0, 1]])
        return cls(K, np.eye(3), np.zeros(3), image_size, np.zeros(5))

    @property
    def focal_px(self) -> float:
        """Mean focal length, pixels."""
        return float((self.K[..., 0, 0] + self.K[..., 1, 1]).mean() / 2)

    def to_camera(self, x_world: np.ndarray) -> np.ndarray:
        """World points (T, ..., 3) or (..., 3) in camera axes."""
        R, t = self.R_cam_world, self.t_cam_world
        if t.ndim == 2:
            t = t.reshape(-1, *(1,) * (x_world.ndim - 2), 3)
        turned = np.einsum("tij,t...j->t...i", R, x_world) if R.ndim == 3 else x_world @ R.T
        return turned + t

    def project(self, x_world: np.ndarray) -> np.ndarray:
        """Pixels (..., 2) of world points (..., 3); NaN behind the camera."""
        return self.project_camera(self.to_camera(x_world))

    def project_camera(self, x_cam: np.ndarray) -> np.ndarray:
        """Pixels (..., 2) of points (..., 3) in camera axes; NaN behind the camera."""
        z = np.where(x_cam[..., 2:] > 1e-6, x_cam[..., 2:], np.nan)
        return self.rays_to_pixels(x_cam[..., :2] / z)

    def rays_to_pixels(self, rays: np.ndarray) -> np.ndarray:
        """Pixels (..., 2) of undistorted rays (..., 2)."""
        d = _distorted(rays, self.distortion)
        f, c = self._focal_centre(rays.ndim)
        return d * f + c

    def unproject(self, xy: np.ndarray) -> np.ndarray:
        """Rays (..., 2) = (x/z, y/z) of pixels (..., 2), lens distortion removed (Newton's method)."""
        f, c = self._focal_centre(xy.ndim)
        distorted = (xy - c) / f
        rays = distorted.copy()
        if np.any(self.distortion):
            for _ in range(8):
                miss = _distorted(rays, self.distortion) - distorted
                rays = rays - np.einsum("...ij,...j->...i", _inverse_slope(rays, self.distortion), miss)
        return rays

    def _focal_centre(self, ndim: int) -> tuple[np.ndarray, np.ndarray]:
        f = np.stack([self.K[..., 0, 0], self.K[..., 1, 1]], -1)
        c = self.K[..., :2, 2]
        if self.K.ndim == 3:
            shape = (-1, *(1,) * (ndim - 2), 2)
            f, c = f.reshape(shape), c.reshape(shape)
        return f, c

    @property
    def position(self) -> np.ndarray:
        """The camera's centre in the world, (3,) or (T, 3) metres."""
        R_world_cam = np.swapaxes(self.R_cam_world, -1, -2)
        return -np.einsum("...ij,...j->...i", R_world_cam, self.t_cam_world)


def _distorted(rays: np.ndarray, distortion: np.ndarray) -> np.ndarray:
    """Brown-Conrady distortion as in OpenCV's calib3d (k1, k2, p1, p2, k3)."""
    k1, k2, p1, p2, k3 = distortion
    x, y = rays[..., 0], rays[..., 1]
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    dx = 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    dy = p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    return np.stack([x * radial + dx, y * radial + dy], -1)


def _inverse_slope(rays: np.ndarray, distortion: np.ndarray) -> np.ndarray:
    """Inverse (..., 2, 2) of the derivative of `_distorted` by the rays; past the lens model's fold, where it has no
    inverse, its nearest usable value.
    """
    k1, k2, p1, p2, k3 = distortion
    x, y = rays[..., 0], rays[..., 1]
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    slope = k1 + r2 * (2 * k2 + 3 * k3 * r2)
    xx = radial + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x
    xy = 2 * x * y * slope + 2 * p1 * x + 2 * p2 * y
    yy = radial + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x
    det = np.maximum(xx * yy - xy * xy, 0.1)
    return np.stack([yy, -xy, -xy, xx], -1).reshape(*x.shape, 2, 2) / det[..., None, None]


# A phone's main camera: focal length over the picture's long side (26 mm equivalent, 4:3 and 16:9 crops).
FOCAL_PRIOR = 0.85


def prior_focal_px(image_size: tuple[int, int]) -> float:
    """The focal length assumed when nothing is known, pixels."""
    return FOCAL_PRIOR * max(image_size)


def focal_from_fov(fov_deg: float, image_size: tuple[int, int]) -> float:
    """Focal length in pixels of a horizontal field of view in degrees."""
    return image_size[0] / 2 / math.tan(math.radians(fov_deg) / 2)
