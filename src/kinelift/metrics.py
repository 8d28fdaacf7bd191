"""Measures of pose, motion and contact: functions only, each named as in the literature.

Positions are metres (..., J, 3); errors come out in millimetres. Sources: MPJPE family as in Human3.6M's protocols;
W-/WA-MPJPE100, RTE, jitter and foot sliding as in WHAM's and GVHMR's published evaluation code.
"""

from __future__ import annotations

import numpy as np

LIMBS = tuple(f"{s}_{j}" for s in ("left", "right") for j in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle"))


def similarity(source: np.ndarray, target: np.ndarray, scale: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scale (...,), rotation (..., 3, 3) and translation (..., 3) that best map points (..., N, 3) onto others.

    Umeyama 1991; never a reflection. x' = s R x + t.
    """
    mu_s, mu_t = source.mean(-2, keepdims=True), target.mean(-2, keepdims=True)
    a, b = source - mu_s, target - mu_t
    u, d, vt = np.linalg.svd(np.swapaxes(b, -1, -2) @ a)
    sign = np.ones_like(d)
    sign[..., -1] = np.sign(np.linalg.det(u @ vt))
    R = (u * sign[..., None, :]) @ vt
    s = (d * sign).sum(-1) / np.maximum((a * a).sum((-1, -2)), 1e-12) if scale else np.ones(d.shape[:-1])
    t = mu_t[..., 0, :] - s[..., None] * (R @ np.swapaxes(mu_s, -1, -2))[..., 0]
    return s, R, t


def transform(points: np.ndarray, s: np.ndarray, R: np.ndarray, t: np.ndarray) -> np.ndarray:
    """s R x + t of points (..., N, 3)."""
    return s[..., None, None] * points @ np.swapaxes(R, -1, -2) + t[..., None, :]


def mpjpe(predicted: np.ndarray, true: np.ndarray, root: tuple[int, ...] = (0,)) -> float:
    """Mean per-joint position error in mm after moving the mean of the `root` joints to the origin, each frame."""
    r = list(root)
    a = predicted - predicted[..., r, :].mean(-2, keepdims=True)
    b = true - true[..., r, :].mean(-2, keepdims=True)
    return float(np.linalg.norm(a - b, axis=-1).mean() * 1000)


def pa_errors(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """(..., J) errors in mm after a similarity fit of each frame, without reflection."""
    return np.linalg.norm(transform(predicted, *similarity(predicted, true)) - true, axis=-1) * 1000


def pa_mpjpe(predicted: np.ndarray, true: np.ndarray) -> float:
    """Mean per-joint position error in mm after a similarity fit of each frame, without reflection."""
    return float(pa_errors(predicted, true).mean())


def abs_mpjpe(predicted: np.ndarray, true: np.ndarray) -> float:
    """Mean position error in mm of world positions (T, J, 3) after one rigid alignment of the whole clip."""
    flat_p, flat_t = predicted.reshape(-1, 3), true.reshape(-1, 3)
    aligned = transform(flat_p, *similarity(flat_p, flat_t, scale=False))
    return float(np.linalg.norm(aligned - flat_t, axis=-1).mean() * 1000)


def jitter(positions: np.ndarray, fps: float) -> float:
    """Mean third difference of positions (T, J, 3), in 10 m/s^3 (as GVHMR prints it)."""
    if len(positions) < 4:
        return 0.0
    return float(np.linalg.norm(np.diff(positions, 3, axis=0), axis=-1).mean() * fps**3 / 10)


def foot_sliding(soles: np.ndarray, contact: np.ndarray, fps: float) -> float:
    """Mean horizontal step of soles (T, F, 3), mm per frame at 30 fps, while contact (T, F) > 0.5 in both frames."""
    if len(soles) < 2:
        return 0.0
    step = np.linalg.norm(np.diff(soles[..., ::2], axis=0), axis=-1) * fps / 30 * 1000
    planted = (contact[1:] > 0.5) & (contact[:-1] > 0.5)
    return float(step[planted].mean()) if planted.any() else 0.0


def penetration(soles: np.ndarray, floor_y: float = 0.0) -> float:
    """Mean depth of sole points (T, F, 3) below the floor, mm, over all frames and points."""
    return float(np.maximum(floor_y - soles[..., 1], 0).mean() * 1000)


def f1(predicted: np.ndarray, true: np.ndarray) -> float:
    """F1 of boolean arrays."""
    hit = (predicted & true).sum()
    return float(2 * hit / max(predicted.sum() + true.sum(), 1))
