"""What a person stands on: one floor by default; steps, boxes and beams where stances clearly leave it.

A stance's height is known to centimetres only: depth from a body's size is off by a few per cent, which a camera that
looks down turns into height, and gravity that is off makes heights drift with position. Both are set aside before any
stance may leave the floor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from kinelift.kinematics import STATURE_PRIOR_M

# Height noise of a stance, metres at reference stature; what depth adds, as a share of how far the camera is above.
_SIGMA_HEIGHT_M, _SIGMA_DEPTH = 0.03, 0.015
# The least height of a step, metres at reference stature; no stance that is shorter, seconds, has its own level.
_LEAST_STEP_M, _LEAST_STANCE_S = 0.09, 0.12
# Who stands on something is above it: at least so high, at most so far aside, metres at reference stature.
_ABOVE_M, _ASIDE_M = 0.4, 0.3
# Slope that gravity's error gives a level floor: usual, and the most before it is taken for stairs.
_SIGMA_TILT, _STAIRS = 0.05, 0.2
# Width and grain of the density of heights, metres.
_WIDTH_M, _GRAIN_M = 0.025, 0.005


@dataclass(frozen=True, eq=False)
class Stances:
    """Spans in which a foot is planted, in order of time.

    Attributes:
        foot: (K,) 0 = left, 1 = right.
        start, stop: (K,) frames, stop excluded.
        place: (K, 3) metres, median of the lowest planted sole point.
        sigma_m: (K,) standard deviation of its height.
        carries: (K,) whether the centre of mass comes to stand above it.
    """

    foot: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    place: np.ndarray
    sigma_m: np.ndarray
    carries: np.ndarray

    def __len__(self) -> int:
        return len(self.foot)


def find_stances(
    contact: np.ndarray,
    soles: np.ndarray,
    mass_centre: np.ndarray,
    times: np.ndarray,
    stature_m: float,
    camera: np.ndarray | None = None,
) -> Stances:
    """Stances of contact (T, 4) above one half of soles (T, 4, 3), under a centre of mass (T, 3); world metres.

    `camera` (3,) or (T, 3): with its place known, heights are as unsure as depth makes them.
    """
    size = stature_m / STATURE_PRIOR_M
    rows = []
    for foot in (0, 1):
        held, points = contact[:, 2 * foot : 2 * foot + 2] > 0.5, soles[:, 2 * foot : 2 * foot + 2]
        low = np.take_along_axis(points, np.where(held, points[..., 1], np.inf).argmin(1)[:, None, None], 1)[:, 0]
        edges = np.diff(np.concatenate([[0], held.any(1), [0]]).astype(int))
        for first, stop in zip(np.flatnonzero(edges > 0), np.flatnonzero(edges < 0), strict=True):
            if times[stop - 1] - times[first] < _LEAST_STANCE_S:
                continue
            spot = np.median(low[first:stop], 0)
            line = (mass_centre[first:stop] - spot) / size
            above = (line[:, 1] > _ABOVE_M) & (np.hypot(line[:, 0], line[:, 2]) < _ASIDE_M)
            rows.append((first, stop, foot, above.mean() > 0.2, *spot, np.std(low[first:stop, 1])))
    table = np.array(sorted(rows), float).reshape(-1, 8)
    start, place = table[:, 0].astype(int), table[:, 4:7]
    sigma: np.ndarray = np.hypot(_SIGMA_HEIGHT_M * size, 0.5 * table[:, 7])
    if camera is not None:
        away = place - np.broadcast_to(camera, (len(times), 3))[start]
        sigma = np.hypot(sigma, _SIGMA_DEPTH * np.abs(away[:, 1]))
    return Stances(table[:, 2].astype(int), start, table[:, 1].astype(int), place, sigma, table[:, 3] > 0)


def supports(
    contact: np.ndarray,
    soles: np.ndarray,
    mass_centre: np.ndarray,
    times: np.ndarray,
    stature_m: float,
    floor_y: float = 0.0,
    camera: np.ndarray | None = None,
) -> np.ndarray:
    """(T, 4) height in metres of what is under each sole point: `floor_y` but for stances clearly above or below it.

    Arguments as of `find_stances`. Between two stances a foot has the lower one's.
    """
    out = np.full(contact.shape, float(floor_y))
    found = find_stances(contact, soles, mass_centre, times, stature_m, camera)
    level = levels(found, floor_y, stature_m)
    for foot in (0, 1) if (level != floor_y).any() else ():
        mine = np.flatnonzero(found.foot == foot)
        if not len(mine):
            continue
        for k, following in zip(mine, [*mine[1:], None], strict=True):
            since = 0 if k == mine[0] else found.start[k]
            out[since : found.stop[k], 2 * foot : 2 * foot + 2] = level[k]
            after = slice(found.stop[k], None if following is None else found.start[following])
            out[after, 2 * foot : 2 * foot + 2] = level[k] if following is None else min(level[k], level[following])
    return out


def levels(found: Stances, floor_y: float, stature_m: float) -> np.ndarray:
    """(K,) height of each stance's support: `floor_y`, or that of stances alike in height that leave it together."""
    out = np.full(len(found), float(floor_y))
    if not len(found):
        return out
    size = stature_m / STATURE_PRIOR_M
    above = found.place[:, 1] - tilt(found) - floor_y
    weight = 1 / found.sigma_m**2
    group = crowds(above, weight, size)
    share = np.bincount(group, weight)
    mean = np.bincount(group, weight * above) / np.maximum(share, 1e-12)
    # One level for the whole clip is the floor, whose stated height is then off.
    base = mean[share.argmax()] if np.ptp(mean[share > 0]) < _LEAST_STEP_M * size else 0.0
    for g in np.flatnonzero(share):
        some = np.flatnonzero(group == g)
        sigma = max(1 / np.sqrt(share[g]), found.sigma_m[some].min() / 2)
        if abs(mean[g] - base) > max(_LEAST_STEP_M * size, 3 * sigma) and found.carries[some].any():
            out[some] = np.average(found.place[some, 1], weights=weight[some])
    return out


def crowds(values: np.ndarray, weight: np.ndarray, size: float = 1.0) -> np.ndarray:
    """(N,) which of the crowds along a line each value belongs to: hills of their density, divided at its valleys."""
    grain = _GRAIN_M * size
    cell = np.round((values - values.min()) / grain).astype(int)
    pad = round(4 * _WIDTH_M / _GRAIN_M)
    cell = np.minimum(cell, 20000) + pad
    density = gaussian_filter1d(np.bincount(cell, weight, cell.max() + pad + 1), _WIDTH_M / _GRAIN_M)
    valley = np.flatnonzero((density[1:-1] <= density[:-2]) & (density[1:-1] < density[2:])) + 1
    return np.searchsorted(valley, cell)


def tilt(found: Stances) -> np.ndarray:
    """(K,) metres that gravity's error adds to each stance's height: small slopes that most steps have in common.

    From differences between one stance and the next: a step or a box is one outlier among them, gravity's error is in
    all. Slopes far beyond it are stairs, and none of it.
    """
    if len(found) < 3:
        return np.zeros(len(found))
    step = np.diff(found.place, axis=0)
    flat, rise, sigma = step[:, ::2], step[:, 1], 1.4 * _SIGMA_HEIGHT_M

    def common(spread: float) -> np.ndarray:
        slope: np.ndarray = np.zeros(2)
        for _ in range(10):
            w = 1 / (sigma**2 * (1 + ((rise - flat @ slope) / (2 * sigma)) ** 2))
            slope = np.linalg.solve(flat.T @ (w[:, None] * flat) + np.eye(2) / spread**2, flat.T @ (w * rise))
        return slope

    slope = common(_SIGMA_TILT) if np.linalg.norm(common(10 * _SIGMA_TILT)) < _STAIRS else np.zeros(2)
    place = found.place[:, ::2]
    return (place - np.median(place, 0)) @ slope
