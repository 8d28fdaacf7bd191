"""Corners, and where they went: pyramidal Lucas and Kanade there and back again.

J.-Y. Bouguet, Pyramidal implementation of the Lucas Kanade feature tracker, 2000; J. Shi and C. Tomasi, Good features
to track, 1994; Z. Kalal et al., Forward-backward error, 2010.
"""

from __future__ import annotations

from typing import Any

import numpy as np

COLUMNS, ROWS, PER_CELL = 10, 6, 5
_WINDOW = (15, 15)
_DEEPEST = 4
# Smallest eigenvalue of a corner, of a picture in [0, 1], and over the picture's median, which noise makes.
_LEAST_CORNER, _OVER_NOISE = 2e-5, 4.0
_THERE_AND_BACK_PX = 0.7
_ALIKE = 28.0  # mean difference in the window; 45 between pictures that have nothing to do with each other


def cells(xy: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(n,) which cell of a grid over the picture (h, w) small pixels lie in."""
    column = np.clip((xy[:, 0] * COLUMNS / shape[1]).astype(int), 0, COLUMNS - 1)
    row = np.clip((xy[:, 1] * ROWS / shape[0]).astype(int), 0, ROWS - 1)
    return row * COLUMNS + column


def corners(plain: np.ndarray, around: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """(n, 2) float32 pixels of new corners in the surroundings, spread over the picture, away from those `taken`."""
    import cv2

    strength = cv2.cornerMinEigenVal(plain.astype(np.float32) / 255, 7, ksize=3) * 49
    free = cv2.erode(around, np.ones((9, 9), np.uint8))
    free[:8] = free[-8:] = 0
    free[:, :8] = free[:, -8:] = 0
    for x, y in taken.round().astype(int):
        cv2.circle(free, (int(x), int(y)), 10, 0, -1)
    least = max(_LEAST_CORNER, _OVER_NOISE * float(np.median(strength)))
    peak = (strength == cv2.dilate(strength, np.ones((15, 15), np.uint8))) & (strength > least) & (free > 0)
    y, x = np.nonzero(peak)
    xy = np.stack([x, y], -1).astype(np.float32)
    cell = cells(xy, plain.shape)
    room = PER_CELL - np.bincount(cells(taken, plain.shape), minlength=ROWS * COLUMNS)
    order = np.lexsort((-strength[y, x], cell))
    cell = cell[order]
    rank = np.arange(len(cell)) - np.searchsorted(cell, cell)
    return xy[order[rank < room[cell]]]


def followed(before: np.ndarray, after: np.ndarray, xy: np.ndarray, guess: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where points (n, 2) of one picture are in another, near `guess`, and (n,) bool whether the way back agrees and
    it looks the same; the pictures are evened out.
    """
    import cv2

    if not len(xy):
        return np.zeros((0, 2), np.float32), np.zeros(0, bool)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 0.01)
    rest: tuple[Any, ...] = (None, None, _WINDOW, _DEEPEST, stop, cv2.OPTFLOW_USE_INITIAL_FLOW)
    xy, guess = (np.ascontiguousarray(a, np.float32) for a in (xy, guess))
    there, ok, unlike = cv2.calcOpticalFlowPyrLK(before, after, xy, guess.copy(), *rest)
    back, returned, _ = cv2.calcOpticalFlowPyrLK(after, before, there, xy.copy(), *rest)
    good = (ok[:, 0] > 0) & (returned[:, 0] > 0) & (unlike[:, 0] < _ALIKE)
    good &= np.linalg.norm(back - xy, axis=-1) < _THERE_AND_BACK_PX
    return there, good & np.isfinite(there).all(-1)
