"""Feet planted again: on a body of other proportions the carried-over feet slide, sink and float; here they do not.

The clip as a whole is corrected, never frame by frame. First each ankle's path: as little and as smooth a correction
as possible, with the sole points that stand kept still and on their support. Then the pelvis' height, so that both
legs reach. What is left, a leg bends to.
"""

from __future__ import annotations

import numpy as np

# How far from a stance its correction reaches, seconds.
_SMOOTH_S = 0.12
_STEP_WEIGHT, _HEIGHT_WEIGHT, _FLOOR_WEIGHT = 20_000.0, 1000.0, 1000.0
_LIKE_SOURCE, _BOUND_WEIGHT = 2.0, 1000.0
_ROUNDS = 8
# A leg is never longer than this share of its bones, but where the source's is, up to the second.
_STRETCHED, _LONGEST = 0.985, 0.9995
# A foot that is tilted by more than 25 degrees does not stand on its sole.
_LEVEL_COSINE = 0.906


def support_heights(soles: np.ndarray, contact: np.ndarray, size: float) -> np.ndarray:
    """(T, F) metres of what is under each sole point (T, F, 3): 0, or in a stance the step that it stands on.

    A stance counts as on a step where its median height is over 6 cm times `size` (stature over 1.70 m).
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


def settled(times: np.ndarray, foot: np.ndarray, contact: np.ndarray) -> np.ndarray:
    """A foot's turns (T, 3, 3) that rest while heel and ball stand (contact (T, 2)), its sole level on the floor."""
    from scipy.spatial.transform import Rotation

    up = foot[:, :, 1]
    stands = _standing(contact).min(1) * (up[:, 1] > _LEVEL_COSINE)
    both = np.minimum(stands[1:], stands[:-1])
    step = -Rotation.from_matrix(foot[1:] @ np.swapaxes(foot[:-1], -1, -2)).as_rotvec()
    tilt = np.cross(up, [0, 1.0, 0])
    loose = np.ones(len(times))
    out = fitted_path(times, 0 * tilt, loose, step, _STEP_WEIGHT * both)
    level = _HEIGHT_WEIGHT * stands
    tilted = fitted_path(times, (level / (loose + level))[:, None] * tilt, loose + level)
    out[:, ::2] = tilted[:, ::2]
    return np.asarray(Rotation.from_rotvec(out).as_matrix() @ foot)


def _standing(contact: np.ndarray) -> np.ndarray:
    """How much a contact in [0, 1] binds: nothing up to 0.2, all from 0.5."""
    return np.clip((contact - 0.2) / 0.3, 0, 1) ** 2


def planted(
    times: np.ndarray,
    ankle: np.ndarray,
    arms: np.ndarray,
    contact: np.ndarray,
    support: np.ndarray,
    low: np.ndarray,
    clear: np.ndarray,
) -> np.ndarray:
    """An ankle's path (T, 3) whose sole points stand where they touch, and never lie under their support.

    `ankle` (T, 3) is the path before; `arms` (T, 2, 3) heel and ball from the ankle; `contact`, `support` (T, 2) of
    the two; `low` (T,) the height of the sole's lowest point over the ankle (so negative), and `clear` (T,) how far
    from its support it should be. Metres. The same goes for a wrist and its hand.
    """
    stands = _standing(contact)
    both = np.minimum(stands[1:], stands[:-1])
    total = both.sum(1)
    step = -np.einsum("tf,tfc->tc", both, np.diff(ankle[:, None] + arms, axis=0)) / np.maximum(total, 1e-9)[:, None]
    loose = np.ones(len(times))
    out = ankle + fitted_path(times, 0 * ankle, loose, step, _STEP_WEIGHT * total)
    wanted = support - arms[..., 1]
    weight = _HEIGHT_WEIGHT * stands
    least = np.max(np.where(stands > 0, support, 0.0), 1) - low
    free = np.maximum(ankle[:, 1], least + clear)
    pressed = np.zeros(len(times))
    for _ in range(_ROUNDS):
        everything = np.stack([loose, *weight.T, pressed], 1)
        goals = np.stack([free, *wanted.T, least], 1)
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
    times: np.ndarray,
    hips: np.ndarray,
    ankles: np.ndarray,
    lengths: np.ndarray,
    stretched: np.ndarray,
    stands: np.ndarray,
    least: np.ndarray,
) -> np.ndarray:
    """(T,) how much to raise the pelvis, smooth in time, so that legs reach and bend about as the source's do.

    Hip joints `hips` and `ankles` are (T, 2, 3), `lengths` (2,) the legs' metres; `stretched` (T, 2) says how long the
    source's legs are as a share of their bones, which counts while a leg `stands` (T, 2), in [0, 1]. No leg gets
    longer than nearly straight, or than the source's. `least` (T,) is what the pelvis is raised by at least, for what
    else would be under the floor; the legs go before it.
    """
    level = np.square((hips - ankles)[..., ::2]).sum(-1)

    def under(share: np.ndarray) -> np.ndarray:
        """(T, 2) by how much to raise hips so that each leg has this share of its length."""
        return np.asarray(ankles[..., 1] + np.sqrt(np.maximum((share * lengths) ** 2 - level, 0)) - hips[..., 1])

    most = under(np.clip(stretched, _STRETCHED, _LONGEST)).min(1)
    weight = np.concatenate([np.ones((len(times), 1)), _LIKE_SOURCE * stands, np.zeros((len(times), 2))], 1)
    goals = np.concatenate([np.zeros((len(times), 1)), under(stretched), least[:, None], most[:, None]], 1)
    goals = np.maximum(goals, -lengths.max())
    for _ in range(_ROUNDS):
        total = weight.sum(1)
        out = fitted_path(times, ((weight * goals).sum(1) / total)[:, None], total)[:, 0]
        off = np.stack([out < least - 1e-5, out > most + 1e-5], 1) & (weight[:, 3:] == 0)
        if not off.any():
            break
        weight[:, 3:] += _BOUND_WEIGHT * off
    return np.asarray(np.minimum(np.maximum(out, least), most))
