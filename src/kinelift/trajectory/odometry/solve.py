"""From tracks to a camera path: in pieces of bounded length, each turning or moving, joined where they overlap."""

from __future__ import annotations

import itertools

import numpy as np

from kinelift.kinematics import nearest_rotation
from kinelift.trajectory.odometry.bundle import Poses
from kinelift.trajectory.odometry.path import CameraPath
from kinelift.trajectory.odometry.piece import Piece, solve_piece
from kinelift.trajectory.odometry.tracks import Tracks

_FEWEST_SHARED = 8  # points that link a key frame to the one before
_PIECE, _OVERLAP = 60, 10  # key frames
_STILL_PX = 1.5
_UNSURE = 0.3
_GUESSED = 0.5  # of its confidence is what a frame keeps that is linked to the first by a guess


def solve_path(tracks: Tracks, frames: int, mode: str) -> CameraPath:
    """The path of a camera that moves over so many frames; what was never tracked is bridged.

    Mode "auto" calls it still after all when nothing in the picture would have moved by more than 1.5 px of 640.
    """
    pieces = [p for p in (solve_piece(tracks, a, b) for a, b in _ranges(tracks)) if p is not None]
    if not pieces:
        return CameraPath.still(frames, 0.0, ("The camera's motion could not be followed: too little to see.",))
    poses, confidence, broken = _joined(pieces, frames)
    if mode == "auto" and _hardly_moves(poses, pieces, tracks.focal_px):
        return CameraPath.still(frames, float(np.median(confidence)))
    translating = any(p.translating for p in pieces)
    t = poses.t / next((p.unit for p in pieces if p.translating), 1.0)
    factor = float(np.median([p.focal_factor for p in pieces]))
    warnings = _warnings(confidence, broken, factor)
    return CameraPath(poses.R, t if translating else 0 * t, True, translating, confidence, warnings, factor)


def _ranges(tracks: Tracks) -> list[tuple[int, int]]:
    """First and last numbers of the key frames of pieces: cut where the view was lost, and overlapping else."""
    keys = tracks.key_frames
    if not len(keys):
        return []
    at = np.searchsorted(tracks.frame, keys), np.searchsorted(tracks.frame, keys, "right")
    seen = [tracks.point[a:b] for a, b in zip(*at, strict=True)]
    linked = [len(np.intersect1d(a, b, assume_unique=True)) >= _FEWEST_SHARED for a, b in itertools.pairwise(seen)]
    cuts = [0, *(np.nonzero(~np.array(linked, bool))[0] + 1).tolist(), len(keys)]
    out = []
    for first, end in itertools.pairwise(cuts):
        while end - first > _PIECE:
            out.append((first, first + _PIECE - 1))
            first += _PIECE - _OVERLAP
        out.append((first, end - 1))
    return out


def _joined(pieces: list[Piece], frames: int) -> tuple[Poses, np.ndarray, int]:
    """Poses and confidence of all frames in the first one's axes, and how often the view was lost."""
    R, t = np.tile(np.eye(3), (frames, 1, 1)), np.zeros((frames, 3))
    confidence, broken = np.zeros(frames), 0
    confidence[: pieces[0].first] = 1.0  # looked at by the static test
    before: Piece | None = None
    end, trust = pieces[0].first, 1.0
    for piece in pieces:
        here = piece
        if before is not None and before.last >= piece.first:
            here = _aligned(before, piece)
            start = (before.last + piece.first) // 2
        else:
            start = piece.first
            if before is not None:
                broken, trust = broken + 1, _GUESSED
                here = _placed(piece, Poses(R[end : end + 1], t[end : end + 1]))
                R[end:start], t[end:start] = R[end], t[end]
        rows = slice(start - piece.first, None)
        R[start : piece.last + 1], t[start : piece.last + 1] = here.poses.R[rows], here.poses.t[rows]
        confidence[start : piece.last + 1] = trust * here.confidence[rows]
        before, end = here, piece.last
    R[end:], t[end:] = R[end], t[end]
    return Poses(R, t), confidence, broken


def _aligned(before: Piece, piece: Piece) -> Piece:
    """A piece in the axes and the unit of the one before, by the frames and points that both know."""
    frames = np.arange(piece.first, before.last + 1)
    a, b = before.at(frames), piece.at(frames)
    scale = 1.0
    if before.translating and piece.translating:
        middle = int(frames[len(frames) // 2])
        ids, depth = before.depths(middle)
        others, other_depth = piece.depths(middle)
        _, i, j = np.intersect1d(ids, others, assume_unique=True, return_indices=True)
        scale = float(np.median(depth[i] / other_depth[j])) if len(i) >= _FEWEST_SHARED else before.unit / piece.unit
    turn = nearest_rotation((np.swapaxes(b.R, 1, 2) @ a.R).mean(0))
    shift = np.einsum("kji,kj->ki", b.R, a.t - scale * b.t).mean(0)
    return piece.changed(turn, shift, scale)


def _placed(piece: Piece, last: Poses) -> Piece:
    """A piece whose first frame has the pose of the last one known."""
    own = piece.poses
    turn = own.R[0].T @ last.R[0]
    return piece.changed(turn, own.R[0].T @ (last.t[0] - own.t[0]), 1.0)


def _hardly_moves(poses: Poses, pieces: list[Piece], focal_px: float) -> bool:
    turn = np.linalg.norm(poses.R - np.eye(3), axis=(1, 2)) / np.sqrt(2)
    shift = np.linalg.norm(poses.t, axis=1) / pieces[0].unit
    return bool(((turn + shift) * focal_px).max() < _STILL_PX)


def _warnings(confidence: np.ndarray, broken: int, factor: float) -> tuple[str, ...]:
    said = []
    share, lost = (100 * float((confidence <= limit).mean()) for limit in (_UNSURE, 0.0))
    if share > 0:
        what = f"The camera's motion is unsure in {share:.0f} % of the frames: blur, or little to see around the person"
        said.append(what + (f"; in {lost:.0f} % it is guessed from the frames around them." if lost else "."))
    if broken:
        times = "once" if broken == 1 else f"{broken} times"
        said.append(f"The view was lost {times}: how the camera turned and moved meanwhile is not known.")
    if factor != 1:
        said.append(f"By how the camera turned, its focal length is {factor:.2f} times what was assumed.")
    return tuple(said)
