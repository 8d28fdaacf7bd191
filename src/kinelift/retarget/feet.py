"""Feet planted again: on a body of other proportions the carried-over feet slide, sink and float; here they do not.

The clip as a whole is corrected, never frame by frame. First each ankle's path: as little and as smooth a correction
as possible, with the sole points that stand kept still and on their support. Then the pelvis' height, so that both
legs reach. What is left, a leg bends to.
"""

from __future__ import annotations

import numpy as np

# How far from a stance its correction reaches, seconds.
_SMOOTH_S = 0.12
_STEP_WEIGHT, _HEIGHT_WEIGHT, _FLOOR_WEIGHT = 3000.0, 1000.0, 1000.0
_ROUNDS = 8


def support_heights(soles: np.ndarray, contact: np.ndarray, size: float) -> np.ndarray:
    """(T, F) metres of what is under each sole point (T, F, 3): 0, or in a stance the step that it stands on.

    A stance counts as on a step where its median height is over 6 cm times `size`.
    """
    out = np.zeros(contact.shape)
    for f, on in enumerate((contact > 0.3).T):
        edges = np.flatnonzero(np.diff(on, prepend=False, append=False))
        for start, stop in edges.reshape(-1, 2):
            height = float(np.median(soles[start:stop, f, 1]))
            out[start:stop, f] = height if height > 0.06 * size else 0.0
    return out


def fitted_path(
    times: np.ndarray,
    value: np.ndarray,
    weight: np.ndarray,
    step: np.ndarray | None = None,
    step_weight: np.ndarray | None = None,
    smooth_s: float = _SMOOTH_S,
) -> np.ndarray:
    """The path x (T, C) that minimises weight (x - value)^2 + step_weight (dx - step)^2 + smooth_s^4 x''^2, summed.

    `value` (T, C), `weight` (T,); `step` (T - 1, C) is what x should change by from frame to frame, `step_weight`
    (T - 1,). Weights count a frame of 1 / 30 s. Banded, so linear in time.
    """
    from scipy.linalg import solveh_banded

    t = len(times)
    if t == 1:
        return value.copy()
    dt = np.diff(times)
    share = 30 * np.gradient(times)
    band = np.zeros((3, t))  # band[k, i] is the element (i + k, i)
    band[0] = weight * share
    right = (weight * share)[:, None] * value
    if step is not None and step_weight is not None:
        w = step_weight / (30 * dt)
        band[0, 1:] += w
        band[0, :-1] += w
        band[1, :-1] -= w
        right[1:] += w[:, None] * step
        right[:-1] -= w[:, None] * step
    if t > 2:
        a, b = 2 / (dt[:-1] * (dt[:-1] + dt[1:])), 2 / (dt[1:] * (dt[:-1] + dt[1:]))
        rows, w = np.stack([a, -a - b, b]), smooth_s**4 * share[1:-1]
        for i in range(3):
            for j in range(i + 1):
                band[i - j, j : j + t - 2] += w * rows[i] * rows[j]
    return np.asarray(solveh_banded(band, right, lower=True))


def planted(
    times: np.ndarray,
    ankle: np.ndarray,
    arms: np.ndarray,
    contact: np.ndarray,
    support: np.ndarray,
    low: np.ndarray,
) -> np.ndarray:
    """An ankle's path (T, 3) whose sole points stand where they touch, and never lie under their support.

    `ankle` (T, 3) is the path before; `arms` (T, 2, 3) heel and ball from the ankle; `contact`, `support` (T, 2) of
    the two; `low` (T,) the height of the sole's lowest point over the ankle (so negative). Metres.
    """
    stands = np.clip(2 * contact - 0.6, 0, 1) ** 2
    both = np.minimum(stands[1:], stands[:-1])
    total = both.sum(1)
    step = -np.einsum("tf,tfc->tc", both, np.diff(ankle[:, None] + arms, axis=0)) / np.maximum(total, 1e-9)[:, None]
    loose = np.ones(len(times))
    out = ankle + fitted_path(times, 0 * ankle, loose, step, _STEP_WEIGHT * total)
    wanted = support - arms[..., 1]
    weight = _HEIGHT_WEIGHT * stands
    least = np.max(np.where(stands > 0, support, 0.0), 1) - low
    pressed = np.zeros(len(times))
    for _ in range(_ROUNDS):
        everything = np.stack([loose, *weight.T, pressed], 1)
        goals = np.stack([ankle[:, 1], *wanted.T, least], 1)
        total = everything.sum(1)
        goal = (everything * goals).sum(1) / total
        height = ankle[:, 1] + fitted_path(times, (goal - ankle[:, 1])[:, None], total)[:, 0]
        under = height < least - 1e-5
        if not (under & (pressed == 0)).any():
            break
        pressed[under] = _FLOOR_WEIGHT
    out[:, 1] = np.maximum(height, least)
    return out


def pelvis_height(
    times: np.ndarray, hips: np.ndarray, ankles: np.ndarray, reach: np.ndarray, least: np.ndarray | None = None
) -> np.ndarray:
    """(T,) how much to raise the pelvis so that hip joints (T, 2, 3) are within `reach` (T, 2) of `ankles` (T, 2, 3).

    `least` (T,) is what it must be raised by at least, for what else would be under the floor. Smooth in time.
    """
    level = np.linalg.norm((hips - ankles)[..., ::2], axis=-1)
    most = (ankles[..., 1] + np.sqrt(np.maximum(reach**2 - level**2, 0)) - hips[..., 1]).min(1)
    least = np.full(len(times), -np.inf) if least is None else least
    loose, pressed, out = np.ones(len(times)), np.zeros(len(times)), np.zeros(len(times))
    for _ in range(_ROUNDS):
        goal = np.where(out > most, most, np.maximum(least, out))
        off = (out > most + 1e-5) | (out < least - 1e-5)
        pressed[off] = 100.0
        bound = np.where(pressed > 0, np.where(out > most, most, np.where(out < least, least, goal)), 0)
        new = fitted_path(times, (pressed * bound / (loose + pressed))[:, None], loose + pressed)[:, 0]
        if np.abs(new - out).max() < 1e-6:
            break
        out = new
    return np.asarray(np.minimum(out, most))
