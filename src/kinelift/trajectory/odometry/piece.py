"""One stretch of a clip: turning or moving, and every frame's pose in it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kinelift.trajectory.odometry.bundle import Points, Poses, Seen, in_camera, misses, resected
from kinelift.trajectory.odometry.structure import Structure, moved, turned
from kinelift.trajectory.odometry.tracks import Tracks

_SIGMA_PX = 0.5  # of a followed point
_GRIC_CUT, _LEAST_GAIN = 8.0, 30.0
_NOISE_PX = 0.4
# What tells the focal length: a turn so large (radians), by so much less cost; within so much (logarithm).
_TELLING_TURN, _TELLING_GAIN, _FOCAL_RANGE = 0.25, 0.85, 0.4
_GOOD_PX = 2.0
_FEWEST_POINTS = 8
_SURE_POINTS = 40


@dataclass(frozen=True, eq=False)
class Piece:
    """Frames `first` to `last` of a clip, in axes and a unit of their own.

    Attributes:
        first: Index of its first frame.
        poses: Of its L frames.
        confidence: (L,) in [0, 1].
        translating: Whether it changes its place.
        points: N points of the surroundings.
        ids: (N,) their numbers in the tracks.
        seen: Sightings, by number of frame from `first`, and by row of `points`.
        unit: Median distance from the first frame's camera to what it saw.
        focal_factor: On the focal length, where a turn told a better one.
    """

    first: int
    poses: Poses
    confidence: np.ndarray
    translating: bool
    points: Points
    ids: np.ndarray
    seen: Seen
    unit: float
    focal_factor: float = 1.0

    @property
    def last(self) -> int:
        """Index of its last frame."""
        return self.first + len(self.confidence) - 1

    def at(self, frames: np.ndarray) -> Poses:
        """Poses of some of the clip's frames."""
        return Poses(self.poses.R[frames - self.first], self.poses.t[frames - self.first])

    def depths(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the points seen in a frame of the clip, and how deep they lie in its camera's axes."""
        seen = self.seen.taken(self.seen.camera == frame - self.first)
        x = in_camera(self.poses, self.points, seen)
        return self.ids[seen.point], np.maximum(x[:, 2], 1e-3) / np.maximum(self.points.rho[seen.point], 1e-3)

    def changed(self, turn: np.ndarray, shift: np.ndarray, scale: float) -> Piece:
        """In other axes: x(own) = turn @ x(other) + shift, and lengths times `scale`."""
        R, t = self.poses.R @ turn, np.einsum("kij,j->ki", self.poses.R, shift) + scale * self.poses.t
        centre = (scale * self.points.centre - shift) @ turn
        axes = np.einsum("ji,njk->nik", turn, self.points.axes)
        points = replace(self.points, axes=axes, centre=centre, rho=self.points.rho / scale)
        return replace(self, poses=Poses(R, t), points=points, unit=self.unit * scale)


def solve_piece(tracks: Tracks, first_key: int, last_key: int) -> Piece | None:
    """The frames between two key frames, numbered as in `tracks.key_frames`; None where too little was seen."""
    keys = tracks.key_frames[first_key : last_key + 1]
    rows = slice(*np.searchsorted(tracks.frame, [keys[0], keys[-1] + 1]))
    frame, point, ray = tracks.frame[rows], tracks.point[rows], tracks.ray[rows]
    at_key = np.isin(frame, keys)
    ids, counts = np.unique(point[at_key], return_counts=True)
    ids = ids[counts > 1]
    if len(keys) < 2 or len(ids) < _FEWEST_POINTS:
        return None
    shared = np.isin(point, ids)
    every = Seen(frame[shared] - keys[0], np.searchsorted(ids, point[shared]), ray[shared])
    seen = every.taken(at_key[shared])
    seen = replace(seen, camera=np.searchsorted(keys - keys[0], seen.camera))
    start = turned(seen, len(keys), len(ids), tracks.focal_px)
    if _fits(seen, start, tracks.focal_px):
        return _all_frames(keys, start, False, ids, every, tracks.focal_px)
    found = moved(seen, start, tracks.focal_px)
    factor, start = _other_focal(seen, start, tracks.focal_px)
    if found is not None and changes_place(seen, start, found, tracks.focal_px, factor):
        return _all_frames(keys, found, True, ids, every.taken(found.known[every.point]), tracks.focal_px)
    every = replace(every, ray=every.ray / factor)
    piece = _all_frames(keys, start, False, ids, every, tracks.focal_px * factor)
    return replace(piece, focal_factor=factor)


def _fits(seen: Seen, only_turns: Structure, focal_px: float) -> bool:
    """Whether a camera that only turns explains all key frames to the tracker's noise."""
    miss = np.linalg.norm(misses(only_turns.poses, only_turns.points, seen, focal_px), axis=1)
    return max(float(np.median(miss[seen.camera == k])) for k in np.unique(seen.camera)) < _NOISE_PX


def _other_focal(seen: Seen, start: Structure, focal_px: float) -> tuple[float, Structure]:
    """The factor on the focal length with which a camera that only turns explains most, and how; 1 where a turn is
    too small to tell, or another focal length explains little more (R. Hartley, Self-calibration from rotating
    cameras, 1994).
    """
    turn = np.arccos(np.clip((np.trace(start.poses.R, axis1=1, axis2=2) - 1) / 2, -1, 1)).max()
    best = _cost(seen, start, focal_px)
    chosen = 1.0, start
    if turn < _TELLING_TURN:
        return chosen
    told = _TELLING_GAIN * best
    for step in (0.15, 0.05, 0.02):
        for factor in [chosen[0] * np.exp(step * k) for k in (-2, -1, 1, 2)]:
            if abs(np.log(factor)) > _FOCAL_RANGE:
                continue
            scaled = replace(seen, ray=seen.ray / factor)
            other = turned(scaled, len(start.poses.R), len(start.points), focal_px * factor)
            cost = _cost(scaled, other, focal_px * factor)
            if cost < min(best, told):
                best, chosen = cost, (float(factor), other)
    return chosen


def _costs(seen: Seen, found: Structure, focal_px: float) -> np.ndarray:
    """(M,) of sightings, in units of the tracker's variance, cut where they are wrong."""
    return np.minimum((misses(found.poses, found.points, seen, focal_px) ** 2).sum(1) / _SIGMA_PX**2, _GRIC_CUT)


def _cost(seen: Seen, found: Structure, focal_px: float) -> float:
    return float(_costs(seen, found, focal_px).sum())


def changes_place(seen: Seen, only_turns: Structure, moves: Structure, focal_px: float, factor: float = 1.0) -> bool:
    """Which of two explanations of the same sightings costs less: P. Torr's GRIC (1998), robust misses, log 4 for
    every number of a point and the logarithm of all sightings for every number of a pose. The run of key frames with
    most to gain decides: who walks a few steps need not have walked before.

    `factor` is on the focal length with which the camera that only turns was found.
    """
    K, n, count = len(only_turns.poses.R), len(only_turns.points), len(seen.point)
    turning = _costs(replace(seen, ray=seen.ray / factor), only_turns, focal_px * factor)
    gain = np.bincount(seen.camera, turning - _costs(seen, moves, focal_px), K)
    gain -= 3 * np.log(2 * count) + np.log(4) * n / count * np.bincount(seen.camera, minlength=K)
    total = np.concatenate([[0.0], np.cumsum(gain)])
    best_run = float((total - np.minimum.accumulate(total)).max())
    return best_run > _LEAST_GAIN


def _all_frames(
    keys: np.ndarray, found: Structure, translating: bool, ids: np.ndarray, seen: Seen, focal_px: float
) -> Piece:
    """Poses of all frames on the points that the key frames gave."""
    frames = int(keys[-1] - keys[0]) + 1
    poses = between(found.poses, keys - keys[0], frames)
    poses = resected(poses, found.points, seen, focal_px, translating)
    good = np.linalg.norm(misses(poses, found.points, seen, focal_px), axis=1) < _GOOD_PX
    counts = np.bincount(seen.camera[good], minlength=frames)
    total = np.bincount(seen.camera, minlength=frames)
    confidence = np.clip(counts / _SURE_POINTS, 0, 1) * counts / np.maximum(total, 1)
    confidence[counts < _FEWEST_POINTS] = 0
    sure = np.nonzero(confidence > 0)[0]
    if 2 <= len(sure) < frames:
        poses = between(Poses(poses.R[sure], poses.t[sure]), sure, frames)
    poses, points = _from_first(poses, found.points)
    piece = Piece(int(keys[0]), poses, confidence, translating, points, ids, seen, 1.0)
    if not translating:
        return piece
    depth = piece.depths(piece.first + int(np.argmax(total >= min(_FEWEST_POINTS, total.max()))))[1]
    return replace(piece, unit=float(np.median(depth)))


def between(poses: Poses, keys: np.ndarray, frames: int) -> Poses:
    """Some frames' poses at all frames: the shortest turn between two, and a straight way."""
    from scipy.spatial.transform import Rotation, Slerp

    at = np.clip(np.arange(frames), keys[0], keys[-1])
    R = Slerp(keys, Rotation.from_matrix(poses.R))(at).as_matrix()
    centre = np.stack([np.interp(at, keys, c) for c in poses.centre.T], 1)
    return Poses(R, -np.einsum("kij,kj->ki", R, centre))


def _from_first(poses: Poses, points: Points) -> tuple[Poses, Points]:
    """The same in the first frame's axes, in which its pose is exactly nothing."""
    R0, t0 = poses.R[0], poses.t[0]
    R = poses.R @ R0.T
    t = poses.t - np.einsum("kij,j->ki", R, t0)
    R[0], t[0] = np.eye(3), 0
    return Poses(R, t), replace(points, axes=R0 @ points.axes, centre=points.centre @ R0.T + t0)
