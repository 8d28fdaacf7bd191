"""The root's translation by least squares over the whole clip.

With the root-relative pose (X, Y, Z) and rays (u, v) every joint says `tx - u tz = u Z - X`, `ty - v tz = v Z - Y`:
linear in the three unknowns of a frame. Frames are joined by a small cost on acceleration, so that noise in depth and
gaps are bridged; the normal equations are banded in time and solved in linear time.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import solveh_banded

from kinelift.camera import Camera
from kinelift.kinematics import reference_offsets
from kinelift.records import Lifted, Pose2D
from kinelift.skeleton import BODY26

LIMBS = BODY26.indices(
    *(f"{s}_{j}" for s in ("left", "right") for j in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle"))
)

# Standard deviations: of a joint's ray times depth (m), and of the root's acceleration (m/s^2) sideways and in depth.
_SIGMA_JOINT_M = 0.04
_SIGMA_ACCELERATION = np.array([6.0, 6.0, 3.0])


def second_difference(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (T-2, 3) of the second derivative on uneven times, and the seconds (T-2,) each stands for."""
    d0, d1 = np.diff(times)[:-1], np.diff(times)[1:]
    mean = (d0 + d1) / 2
    return np.stack([1 / (d0 * mean), -(1 / d0 + 1 / d1) / mean, 1 / (d1 * mean)], -1), mean


def solve_root(positions: np.ndarray, rays: np.ndarray, weight: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Translation (T, 3) in metres, camera axes, of root-relative positions (T, J, 3) that are seen at rays (T, J, 2).

    `weight` (T, J), 0 where unseen. The equations are in metres at the joint's depth over depth, so far and near
    figures count alike after one reweighting by the first answer's depth.
    """
    T = len(times)
    w0 = np.where(np.isfinite(positions).all(-1) & np.isfinite(rays).all(-1), weight, 0.0)
    X, uv = np.nan_to_num(positions), np.nan_to_num(rays)
    robust = np.ones_like(w0)
    root = np.zeros((T, 3))
    for _ in range(4):
        H, g = _normal_equations(X, uv, w0 * robust / _SIGMA_JOINT_M**2)
        root = _banded_solve(H, g, times)
        z = np.maximum(root[:, None, 2] + X[..., 2], 0.1)
        miss = np.linalg.norm((root[:, None, :2] + X[..., :2]) / z[..., None] - uv, axis=-1) * z
        robust = 1 / (1 + (miss / 0.10) ** 2)
    return root


def in_metres(lifted: Lifted) -> Lifted:
    """A body26 answer whose limbs are as long as the reference body's, where the lifter's unit is its own."""
    if lifted.scale == "metric":
        return lifted
    parts = BODY26.indices(*(f"{s}_{j}" for s in ("left", "right") for j in ("knee", "ankle", "elbow", "wrist")))
    parents = [BODY26.parents[j] for j in parts]
    lengths = np.linalg.norm(lifted.positions[:, parts] - lifted.positions[:, parents], axis=-1)
    factor = np.linalg.norm(reference_offsets()[parts], axis=-1).sum() / max(np.nanmedian(lengths, 0).sum(), 1e-9)
    sigma, cue = (None if x is None else x * factor for x in (lifted.sigma, lifted.depth_cue))
    return lifted.replaced(positions=lifted.positions * factor, sigma=sigma, depth_cue=cue, scale="metric")


def first_root(lifted: Lifted, pose: Pose2D, camera: Camera) -> np.ndarray:
    """Path (T, 3) in camera axes, metres of the reference body: what geometry says before any clean-up.

    `lifted` and `pose` in body26; only limb joints count.
    """
    rays = camera.unproject(pose.xy)
    weight = np.zeros(rays.shape[:2])
    weight[:, LIMBS] = np.where(np.isfinite(rays).all(-1), pose.confidence, 0.0)[:, LIMBS]
    return solve_root(in_metres(lifted).positions, rays, weight, pose.times)


def _normal_equations(X: np.ndarray, uv: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per frame A^T W A (T, 3, 3) and A^T W b (T, 3)."""
    b = uv * X[..., 2:] - X[..., :2]
    s, su, suu = w.sum(1), np.einsum("tj,tji->ti", w, uv), (w[..., None] * uv**2).sum((1, 2))
    H = np.zeros((len(X), 3, 3))
    H[:, 0, 0] = H[:, 1, 1] = s
    H[:, 0, 2] = H[:, 2, 0] = -su[:, 0]
    H[:, 1, 2] = H[:, 2, 1] = -su[:, 1]
    H[:, 2, 2] = suu
    g = np.concatenate([np.einsum("tj,tji->ti", w, b), -(w[..., None] * uv * b).sum((1, 2))[:, None]], 1)
    return H, g


def _banded_solve(H: np.ndarray, g: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Solve the frames together with the acceleration cost; upper banded form, bandwidth 3 x 2 + 2."""
    T = len(H)
    n = 3 * T
    band = np.zeros((9, n))  # band[8 + i - j, j] = A[i, j], i <= j
    for a in range(3):
        for b in range(a, 3):
            band[8 + a - b, b::3] += H[:, a, b]
    band[8] += 1e-6
    if T > 2:
        c, seconds = second_difference(times)
        for a in range(3):
            weight = seconds * 10 / _SIGMA_ACCELERATION[a] ** 2
            for i in range(3):
                for j in range(i, 3):
                    columns = 3 * (np.arange(T - 2) + j) + a
                    band[8 - 3 * (j - i), columns] += weight * c[:, i] * c[:, j]
    return solveh_banded(band, g.reshape(-1)).reshape(T, 3)
