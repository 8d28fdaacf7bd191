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


def joint_errors(predicted: np.ndarray, true: np.ndarray, root: tuple[int, ...] = (0,)) -> np.ndarray:
    """(..., J) errors in mm after moving the mean of the `root` joints to the origin, each frame."""
    return _distance(_centred(predicted, root), _centred(true, root))


def mpjpe(predicted: np.ndarray, true: np.ndarray, root: tuple[int, ...] = (0,)) -> float:
    """Mean per-joint position error in mm after moving the mean of the `root` joints to the origin, each frame."""
    return float(joint_errors(predicted, true, root).mean())


def n_errors(predicted: np.ndarray, true: np.ndarray, root: tuple[int, ...] = (0,)) -> np.ndarray:
    """(..., J) errors in mm, root-centred, after the least-squares scale of each frame (Rhodin et al. 2018, eq. 8).

    The scale is never negative: that would be a point reflection.
    """
    a, b = _centred(predicted, root), _centred(true, root)
    scale = np.maximum((a * b).sum((-1, -2)), 0) / np.maximum((a * a).sum((-1, -2)), 1e-12)
    return _distance(scale[..., None, None] * a, b)


def n_mpjpe(predicted: np.ndarray, true: np.ndarray, root: tuple[int, ...] = (0,)) -> float:
    """Mean per-joint position error in mm, root-centred, after the least-squares scale of each frame."""
    return float(n_errors(predicted, true, root).mean())


def pa_errors(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """(..., J) errors in mm after a similarity fit of each frame, without reflection."""
    return _distance(transform(predicted, *similarity(predicted, true)), true)


def pa_mpjpe(predicted: np.ndarray, true: np.ndarray) -> float:
    """Mean per-joint position error in mm after a similarity fit of each frame, without reflection."""
    return float(pa_errors(predicted, true).mean())


# MPI-INF-3DHP's evaluation: correct is within 150 mm; the area is the mean over thresholds 0, 5, ..., 150 mm.
PCK_MM = 150.0
AUC_MM = np.linspace(0, PCK_MM, 31)
# Errors below a micrometre are rounding.
_ROUNDING_MM = 1e-3


def correct(errors_mm: np.ndarray, threshold_mm: float = PCK_MM) -> np.ndarray:
    """Percentage (...,) of joints whose errors (..., J) are at most `threshold_mm`."""
    return 100 * (errors_mm <= threshold_mm + _ROUNDING_MM).mean(-1)


def area_correct(errors_mm: np.ndarray) -> np.ndarray:
    """Mean (...,) of `correct` over the thresholds 0, 5, ..., 150 mm, of errors (..., J).

    MPI-INF-3DHP's own script counts errors strictly below a threshold, so that perfection scores 30/31 there; here it
    scores 100, and nothing else differs.
    """
    missed = np.searchsorted(AUC_MM, errors_mm - _ROUNDING_MM)
    return 100 * (1 - missed / len(AUC_MM)).mean(-1)


def pck(predicted: np.ndarray, true: np.ndarray, threshold_mm: float = PCK_MM, root: int = 0) -> float:
    """Percentage of joints within `threshold_mm` of the truth, root-centred, the root itself not counted.

    3D-PCK of Mehta et al., "Monocular 3D human pose estimation in the wild" (3DV 2017).
    """
    errors = np.delete(joint_errors(predicted, true, (root,)), root, axis=-1)
    return float(correct(errors, threshold_mm).mean())


def auc(predicted: np.ndarray, true: np.ndarray, root: int = 0) -> float:
    """Area under the curve of `pck` over thresholds 0, 5, ..., 150 mm, per cent (Mehta et al. 2017)."""
    return float(area_correct(np.delete(joint_errors(predicted, true, (root,)), root, axis=-1)).mean())


def _centred(x: np.ndarray, root: tuple[int, ...]) -> np.ndarray:
    return x - x[..., list(root), :].mean(-2, keepdims=True)


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(..., J) in mm between points (..., J, 3) in metres."""
    return np.linalg.norm(a - b, axis=-1) * 1000


def abs_mpjpe(predicted: np.ndarray, true: np.ndarray) -> float:
    """Mean position error in mm of world positions (T, J, 3) after one rigid alignment of the whole clip."""
    flat_p, flat_t = predicted.reshape(-1, 3), true.reshape(-1, 3)
    aligned = transform(flat_p, *similarity(flat_p, flat_t, scale=False))
    return float(_distance(aligned, flat_t).mean())


def scale_error(predicted: np.ndarray, true: np.ndarray) -> float:
    """How much too large world positions (T, J, 3) are, %: from the similarity that fits the whole clip best."""
    scale = similarity(predicted.reshape(-1, 3), true.reshape(-1, 3))[0]
    return float(100 * (1 / max(float(scale), 1e-12) - 1))


# WHAM's and GVHMR's evaluation: chunks of 100 frames at 30 fps; W- aligns on the first two frames of each.
_CHUNK_S, _FIRST_FRAMES = 100 / 30, 2


def w_mpjpe100(predicted: np.ndarray, true: np.ndarray, fps: float) -> float:
    """Mean error in mm of world positions (T, J, 3), each chunk fitted by a similarity on its first two frames."""
    return _chunked(predicted, true, fps, _FIRST_FRAMES)


def wa_mpjpe100(predicted: np.ndarray, true: np.ndarray, fps: float) -> float:
    """Mean error in mm of world positions (T, J, 3), each chunk fitted by a similarity on all of it."""
    return _chunked(predicted, true, fps, None)


def _chunked(predicted: np.ndarray, true: np.ndarray, fps: float, first: int | None) -> float:
    """Mean error over the frames of all chunks; the last one may be shorter."""
    length = max(round(_CHUNK_S * fps), 1)
    errors = []
    for start in range(0, len(true), length):
        a, b = predicted[start : start + length], true[start : start + length]
        fit = similarity(a[:first].reshape(-1, 3), b[:first].reshape(-1, 3))
        errors.append(_distance(transform(a.reshape(-1, 3), *fit), b.reshape(-1, 3)))
    return float(np.concatenate(errors).mean())


def path_length(root: np.ndarray) -> float:
    """Metres along the path (T, 3), frame by frame."""
    return float(np.linalg.norm(np.diff(root, axis=0), axis=-1).sum())


def root_error(predicted: np.ndarray, true: np.ndarray) -> float:
    """Mean distance in mm of root paths (T, 3) after one rigid alignment of the whole path."""
    return float(_distance(transform(predicted, *similarity(predicted, true, scale=False)), true).mean())


def rte(predicted: np.ndarray, true: np.ndarray) -> float:
    """Root translation error, %: `root_error` over the length of the true path (T, 3). Says little on short paths."""
    return 100 * root_error(predicted, true) / 1000 / max(path_length(true), 1e-9)


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


# Below this many metres a frame at 30 fps a true sole point counts as still (WHAM, GVHMR).
STILL_M = 0.01


def sliding_against(soles: np.ndarray, true: np.ndarray, fps: float) -> float:
    """Mean step of soles (T, F, 3), mm per frame at 30 fps, over the steps in which the true point moves below 1 cm.

    WHAM's and GVHMR's foot sliding. The truth slides too: `sliding_against(true, true, fps)`. NaN where it never rests.
    """
    step, own = (np.linalg.norm(np.diff(x, axis=0), axis=-1) * fps / 30 for x in (soles, true))
    still = own < STILL_M
    return float(step[still].mean() * 1000) if still.any() else float("nan")


def penetration(soles: np.ndarray, floor_y: float = 0.0) -> float:
    """Mean depth of sole points (T, F, 3) below the floor, mm, over all frames and points."""
    return float(np.maximum(floor_y - soles[..., 1], 0).mean() * 1000)


def floating(soles: np.ndarray, contact: np.ndarray, floor_y: float = 0.0) -> float:
    """Mean height of the lowest sole point (T, F, 3) above the floor, mm, over frames with a contact (T, F) > 0.5.

    Below the floor counts as 0: that is `penetration`. NaN without contact.
    """
    on = (contact > 0.5).any(1)
    return float(np.maximum(soles[on, :, 1].min(1) - floor_y, 0).mean() * 1000) if on.any() else float("nan")


def flights(
    soles: np.ndarray, fps: float, contact: np.ndarray | None = None, floor_y: float = 0.0, least_m: float = 0.1
) -> list[slice]:
    """Spans of frames in which all soles (T, F, 3) are above the floor, by `least_m` at the peak: jumps.

    A span is where the lowest sole is over a quarter of `least_m`, of at least 0.1 s. Who stands on something in it,
    by `contact` (T, F) > 0.5, does not fly.
    """
    low = soles[..., 1].min(1) - floor_y
    edges = np.flatnonzero(np.diff(np.concatenate([[0], (low > least_m / 4).astype(int), [0]])))
    spans = [slice(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
    inside = [s for s in spans if s.start > 0 and s.stop < len(low)]
    flown = [s for s in inside if low[s].max() >= least_m and (s.stop - s.start) / fps >= 0.1]
    return flown if contact is None else [s for s in flown if not (contact[s] > 0.5).any()]


def flight_height(soles: np.ndarray, span: slice, floor_y: float = 0.0) -> float:
    """Peak height in metres of the lowest sole (T, F, 3) above the floor during a flight."""
    return float(soles[span, :, 1].min(1).max() - floor_y)


def stances(contact: np.ndarray, times: np.ndarray, least_s: float = 0.1) -> list[tuple[slice, int]]:
    """Spans of frames, and the sole point, in which a contact (T, F) stays above 0.5 for at least `least_s`."""
    out = []
    for f in range(contact.shape[1]):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], (contact[:, f] > 0.5).astype(int), [0]])))
        out += [(slice(int(a), int(b)), f) for a, b in edges.reshape(-1, 2) if times[b - 1] - times[a] >= least_s]
    return out


def stance_drift(soles: np.ndarray, stance: tuple[slice, int]) -> float:
    """How far in mm a sole point of (T, F, 3) gets over the floor from where its stance began, at most."""
    frames, f = stance
    flat = soles[frames, f][:, ::2]
    return float(np.linalg.norm(flat - flat[0], axis=-1).max() * 1000)


def f1(predicted: np.ndarray, true: np.ndarray) -> float:
    """F1 of boolean arrays."""
    hit = (predicted & true).sum()
    return float(2 * hit / max(predicted.sum() + true.sum(), 1))
