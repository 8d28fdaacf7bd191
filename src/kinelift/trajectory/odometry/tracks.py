"""Points of the surroundings, followed from key frame to key frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kinelift.records import _Record, frozen_array
from kinelift.trajectory.odometry.klt import corners, followed
from kinelift.trajectory.odometry.pictures import Lens, Small

# A new key frame: when so few of the last one's points are left, when they moved so far (of the picture's width), or
# when so many frames went by.
_LEFT, _MOVED, _LONGEST = 0.65, 0.08, 45
# Fewer found points than this, and than this share of the key frame's, are chance: the frame is not used.
_FEWEST, _FEWEST_SHARE = 12, 0.2
_PATIENCE = 12  # frames without sight of the last key frame before a new one is taken without a link


@dataclass(frozen=True, eq=False)
class Tracks(_Record):
    """Where points were seen. M sightings, ordered by frame.

    Attributes:
        frame: (M,) indices of frames.
        point: (M,) numbers of points, 0 to N - 1.
        ray: (M, 2) x/z and y/z in camera axes.
        key_frames: (K,) increasing indices of the frames whose pictures were the templates.
        focal_px: What makes pixels of the tracked pictures from rays.
    """

    frame: np.ndarray
    point: np.ndarray
    ray: np.ndarray
    key_frames: np.ndarray
    focal_px: float

    def __post_init__(self) -> None:
        frozen_array(self, "frame", (None,), np.int64)
        frozen_array(self, "point", (len(self.frame),), np.int64)
        frozen_array(self, "ray", (len(self.frame), 2))
        frozen_array(self, "key_frames", (None,), np.int64)


class Tracker:
    """Follows points while frames stream by. Templates come from the last key frame, so that nothing drifts between
    key frames; a point that is hidden for a moment is looked for again.
    """

    def __init__(self, lens: Lens) -> None:
        self._lens = lens
        self._key: Small | None = None
        self._sightings: list[tuple[int, np.ndarray, np.ndarray]] = []
        self._key_frames: list[int] = []
        self._next_id = 0
        self._ids = np.zeros(0, int)
        self._xy = self._at = np.zeros((0, 2), np.float32)
        self._good = np.zeros(0, bool)
        self._lost = 0

    def add(self, frame: Small) -> None:
        """Take the next frame."""
        if self._key is None:
            self._start(frame, np.zeros(0, int), np.zeros((0, 2), np.float32))
            return
        enough = max(_FEWEST, _FEWEST_SHARE * len(self._xy))
        xy, good = self._find(frame, self._guess())
        if good.sum() < enough:
            xy, good = self._find(frame, self._recognised(frame))
        if good.sum() < enough:
            self._lost += 1
            if self._lost > _PATIENCE:
                self._start(frame, np.zeros(0, int), np.zeros((0, 2), np.float32))
            return
        self._lost = 0
        self._at, self._good = np.where(good[:, None], xy, self._at), good
        moved = np.median(np.linalg.norm(xy - self._xy, axis=-1)[good])
        left = good.sum() < _LEFT * max(len(self._xy), _FEWEST)
        if left or moved > _MOVED * frame.plain.shape[1] or frame.index - self._key.index >= _LONGEST:
            self._start(frame, self._ids[good], xy[good])
        else:
            self._note(frame.index, self._ids[good], xy[good])

    def _guess(self) -> np.ndarray:
        """Where the key frame's points should be now: at their last place, the unseen ones moved like the others."""
        if not self._good.any():
            return self._at
        flow = np.median((self._at - self._xy)[self._good], axis=0)
        return np.asarray(np.where(self._good[:, None], self._at, self._xy + flow))

    def _find(self, frame: Small, guess: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert self._key is not None
        xy, good = followed(self._key.grey, frame.grey, self._xy, guess)
        h, w = frame.around.shape
        inside = good & (xy > 2).all(-1) & (xy < (w - 3, h - 3)).all(-1)
        x, y = np.where(inside[:, None], xy, 0).round().astype(int).T
        return xy, inside & (frame.around[y, x] > 0)

    def _recognised(self, frame: Small) -> np.ndarray:
        """A guess by looks alone (ORB and a homography), after fast motion or blur; the last guess where that fails."""
        import cv2

        assert self._key is not None
        orb = cv2.ORB.create(600)
        (a, da), (b, db) = (orb.detectAndCompute(f.plain, f.around) for f in (self._key, frame))
        if da is None or db is None or min(len(a), len(b)) < _FEWEST:
            return self._guess()
        pairs = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(da, db)
        if len(pairs) < _FEWEST:
            return self._guess()
        source = np.array([a[m.queryIdx].pt for m in pairs], np.float32)
        target = np.array([b[m.trainIdx].pt for m in pairs], np.float32)
        H, inliers = cv2.findHomography(source, target, cv2.RANSAC, 6.0)
        if H is None or inliers.sum() < _FEWEST or len(self._xy) == 0:
            return self._guess()
        return np.asarray(cv2.perspectiveTransform(self._xy[:, None], H)[:, 0])

    def _start(self, frame: Small, ids: np.ndarray, xy: np.ndarray) -> None:
        """Make this frame the key frame, with new corners where none are followed."""
        new = corners(frame.plain, frame.around, xy)
        self._key, self._lost = frame, 0
        self._ids = np.concatenate([ids, self._next_id + np.arange(len(new))])
        self._next_id += len(new)
        self._xy = np.concatenate([xy, new]).astype(np.float32)
        self._at, self._good = self._xy.copy(), np.ones(len(self._xy), bool)
        self._key_frames.append(frame.index)
        self._note(frame.index, self._ids, self._xy)

    def _note(self, index: int, ids: np.ndarray, xy: np.ndarray) -> None:
        rays = self._lens.rays(xy.astype(float), index)
        self._sightings.append((index, ids.astype(np.int32), rays.astype(np.float32)))

    def tracks(self) -> Tracks:
        """All that was seen so far; the last frame becomes a key frame."""
        keys = list(self._key_frames)
        if self._sightings and self._sightings[-1][0] != keys[-1]:
            keys.append(self._sightings[-1][0])
        frame = np.concatenate([np.full(len(ids), k) for k, ids, _ in self._sightings] or [np.zeros(0, int)])
        point = np.concatenate([ids for _, ids, _ in self._sightings] or [np.zeros(0, int)])
        ray = np.concatenate([r for _, _, r in self._sightings] or [np.zeros((0, 2))])
        return Tracks(frame, point, ray, np.array(keys, int), self._lens.focal_px)
