"""Rotation between rays of two pictures, and of a chain of key frames."""

from __future__ import annotations

import numpy as np

from kinelift.kinematics import nearest_rotation

_DRAWS = 60


def unit(rays: np.ndarray) -> np.ndarray:
    """(n, 3) unit vectors of rays (n, 2)."""
    v = np.concatenate([rays, np.ones((len(rays), 1))], 1)
    return np.asarray(v / np.linalg.norm(v, axis=1, keepdims=True))


def turn_between(a: np.ndarray, b: np.ndarray, focal_px: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The rotation (3, 3) that takes rays a (n, 2) to rays b robustly, and the misses (n,) it leaves in pixels.

    RANSAC on two bearings, then Kabsch's fit with weights (G. Wahba, 1965), wide at first.
    """
    a, b = unit(a), unit(b)
    if len(a) < 2:
        return np.eye(3), np.zeros(len(a))
    rng = np.random.default_rng(seed)
    pick = rng.integers(0, len(a), (_DRAWS, 2))
    R = nearest_rotation(np.einsum("dki,dkj->dij", b[pick], a[pick]) + 1e-3 * np.eye(3))
    every = np.concatenate([R, nearest_rotation(b.T @ a + 1e-6 * np.eye(3))[None]])
    miss = np.linalg.norm(np.einsum("dij,nj->dni", every, a) - b, axis=-1) * focal_px
    best = every[np.minimum(miss, 6.0).sum(1).argmin()]
    for sigma in (8.0, 4.0, 2.0, 1.0, 1.0):
        left = np.linalg.norm(a @ best.T - b, axis=1) * focal_px
        best = nearest_rotation((b / (1 + (left / sigma) ** 2)[:, None]).T @ a)
    return best, np.linalg.norm(a @ best.T - b, axis=1) * focal_px
