"""Cuts between shots, found while the frames stream by."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from kinelift.records import Frame


class ShotDetector:
    """Finds cuts between shots while frames stream by; keeps one 32 x 32 grey thumbnail.

    A cut is a frame whose thumbnail no longer resembles the one before (correlation, so that a flash or a change of
    exposure is none), whose grey levels moved far, and whose change stands out of the last frames' (so that fast
    motion and fast pans, which change every frame, are none).

    Attributes:
        cuts: Indices of the first frames of new shots.
    """

    def __init__(self) -> None:
        self.cuts: list[int] = []
        self._count = 0
        self._last: np.ndarray | None = None
        self._changes: list[float] = []

    def add(self, image: np.ndarray) -> bool:
        """Take the next (H, W, 3) uint8 picture; True if it starts a new shot."""
        thumbnail = _thumbnail(image)
        is_cut = False
        if self._last is not None:
            change = float(np.abs(thumbnail - self._last).mean())
            known = len(self._changes) >= 3  # before that nothing is usual yet
            stands_out = known and change > max(0.06, 4.0 * float(np.median(self._changes)))
            is_cut = stands_out and _correlation(thumbnail, self._last) < 0.6
            self._changes = [*self._changes[-14:], change]
        if is_cut:
            self.cuts.append(self._count)
        self._last = thumbnail
        self._count += 1
        return is_cut


def shot_cuts(frames: Iterable[Frame]) -> list[int]:
    """Indices of the frames that start a new shot."""
    detector = ShotDetector()
    for frame in frames:
        detector.add(frame.image)
    return detector.cuts


def _thumbnail(image: np.ndarray) -> np.ndarray:
    """(32, 32) grey in [0, 1]."""
    import cv2

    step = max(1, min(image.shape[:2]) // 128)
    small = cv2.resize(np.ascontiguousarray(image[::step, ::step]), (32, 32), interpolation=cv2.INTER_AREA)
    return small.astype(np.float64).mean(-1) / 255.0


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / (np.linalg.norm(a) * np.linalg.norm(b) + 1e-9))
