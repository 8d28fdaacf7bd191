"""Does the camera move at all? Points of the surroundings are compared with where they were, now and then."""

from __future__ import annotations

from enum import Enum

import numpy as np

from kinelift.trajectory.odometry.klt import cells, corners, followed
from kinelift.trajectory.odometry.pictures import Small

_SAME_PX = 0.8
_LEAST_POINTS, _LEAST_CELLS = 10, 3
# Share of the picture's cells with surroundings that must stay in place. What moves by itself (people, leaves, water)
# leaves the rest at rest; a camera that moves leaves nothing at rest but writing laid over the picture.
_STILL_SHARE = 0.3


class Verdict(Enum):
    """What one look says."""

    STILL = "still"
    MOVED = "moved"
    BLANK = "blank"


class StillWatch:
    """Compares frames with a reference frame.

    The reference is renewed when less than half of it is left to see; a point counts as at rest when it is found
    within 0.8 px of its place, in a picture of 640 px.
    """

    def __init__(self, first: Small) -> None:
        self._renew(first)

    def _renew(self, frame: Small) -> None:
        self._grey = frame.grey
        self._xy = corners(frame.plain, frame.around, np.zeros((0, 2)))

    @property
    def points(self) -> int:
        """How many points the reference has."""
        return len(self._xy)

    def look(self, frame: Small) -> Verdict:
        """Compare one more frame."""
        h, w = frame.around.shape
        x, y = self._xy.round().astype(int).T
        seen = frame.around[np.clip(y, 0, h - 1), np.clip(x, 0, w - 1)] > 0
        xy = self._xy[seen]
        where = cells(xy, (h, w))
        if len(xy) < _LEAST_POINTS or len(np.unique(where)) < _LEAST_CELLS:
            self._renew(frame)
            return Verdict.BLANK
        now, good = followed(self._grey, frame.grey, xy, xy)
        rest = good & (np.linalg.norm(now - xy, axis=-1) < _SAME_PX)
        total = np.bincount(where, minlength=where.max() + 1)
        at_rest = np.bincount(where[rest], minlength=len(total))
        share = (at_rest[total > 0] / total[total > 0] >= 0.4).mean()
        if share >= _STILL_SHARE:
            if rest.sum() < 0.5 * self.points:
                self._renew(frame)
            return Verdict.STILL
        return Verdict.MOVED
