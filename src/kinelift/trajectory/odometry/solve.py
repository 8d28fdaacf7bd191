"""From tracks to a camera path: which model, every frame's pose, how sure, and what to say of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kinelift.trajectory.odometry.bundle import Points, Poses, Seen, misses, resected
from kinelift.trajectory.odometry.path import CameraPath
from kinelift.trajectory.odometry.structure import Structure, moved, turned
from kinelift.trajectory.odometry.tracks import Tracks

_SIGMA_PX = 0.7  # of a followed point
_GOOD_PX = 2.0
_FEWEST_POINTS = 8
_SURE_POINTS = 40
_STILL_PX = 1.5
_UNSURE = 0.3
_GRIC_CUT = 8.0


def solve_path(tracks: Tracks, frames: int, mode: str) -> CameraPath:
    """The path of a camera that moves over so many frames; what was never tracked is bridged.

    Mode "auto" calls it still after all when nothing in the picture would have moved by more than 1.5 px of 640.
    """
    keys, seen, n = _at_keys(tracks)
    if len(keys) < 2 or n < _FEWEST_POINTS:
        return CameraPath.still(frames, 0.0, ("The camera's motion could not be followed: too little to see.",))
    start = turned(seen, len(keys), n, tracks.focal_px)
    best, translating = start, False
    found = moved(seen, start, tracks.focal_px)
    if found is not None and changes_place(seen, start, found, tracks.focal_px):
        best, translating = found, True
    return _whole_path(tracks, frames, mode, keys, best, translating)


def _at_keys(tracks: Tracks) -> tuple[np.ndarray, Seen, int]:
    """Key frames, and sightings in them of points that two of them share; points are numbered anew."""
    keys = tracks.key_frames
    keep = np.isin(tracks.frame, keys)
    counts = np.bincount(tracks.point[keep], minlength=int(tracks.point.max(initial=-1)) + 1)
    keep &= counts[tracks.point] > 1
    ids, point = np.unique(tracks.point[keep], return_inverse=True)
    return keys, Seen(np.searchsorted(keys, tracks.frame[keep]), point, tracks.ray[keep]), len(ids)


def changes_place(seen: Seen, only_turns: Structure, moves: Structure, focal_px: float) -> bool:
    """Which of two explanations of the same sightings costs less, after P. Torr's GRIC (1998): robust misses, and
    for every number that is fitted the logarithm of how many sightings there are.
    """
    count = len(seen.point)
    K, n = len(only_turns.poses.R), len(only_turns.points)
    costs = []
    for s, numbers in ((only_turns, 3 * K + 2 * n), (moves, 6 * K + 3 * n)):
        miss = (misses(s.poses, s.points, seen, focal_px) ** 2).sum(1) / _SIGMA_PX**2
        costs.append(float(np.minimum(miss, _GRIC_CUT).sum()) + np.log(2 * count) * numbers)
    return costs[1] < costs[0]


def _whole_path(
    tracks: Tracks, frames: int, mode: str, keys: np.ndarray, found: Structure, translating: bool
) -> CameraPath:
    """Poses of all frames on the points that the key frames gave."""
    points, seen = _all_sightings(tracks, keys, found, translating)
    poses = _between(found.poses, keys, frames)
    poses = resected(poses, points, seen, tracks.focal_px, translating)
    miss = np.linalg.norm(misses(poses, points, seen, tracks.focal_px), axis=1)
    good = np.bincount(seen.camera[miss < _GOOD_PX], minlength=frames)
    total = np.bincount(seen.camera, minlength=frames)
    confidence = np.clip(good / _SURE_POINTS, 0, 1) * good / np.maximum(total, 1)
    confidence[good < _FEWEST_POINTS] = 0
    first = tracks.frame.min()
    confidence[:first] = 1.0  # looked at by the static test
    poses = _bridged(poses, confidence, int(first))
    poses = _from_first(poses)
    if mode == "auto" and _hardly_moves(poses, points, tracks.focal_px):
        return CameraPath.still(frames, float(np.median(confidence)))
    if translating:
        unit = _unit(poses, points, seen)
        return CameraPath(poses.R, poses.t / unit, True, True, confidence, _warnings(confidence))
    return CameraPath(poses.R, np.zeros((frames, 3)), True, False, confidence, _warnings(confidence))


def _all_sightings(tracks: Tracks, keys: np.ndarray, found: Structure, translating: bool) -> tuple[Points, Seen]:
    """Points that may place a frame, and where every frame saw them."""
    keep = np.isin(tracks.frame, keys)
    counts = np.bincount(tracks.point[keep], minlength=int(tracks.point.max()) + 1)
    number = np.full(len(counts), -1)
    number[counts > 1] = np.arange((counts > 1).sum())
    use = found.known if translating else np.ones(len(found.points), bool)
    fine = number[tracks.point]
    take = (fine >= 0) & use[fine]
    return found.points, Seen(tracks.frame[take], fine[take], tracks.ray[take])


def _between(poses: Poses, keys: np.ndarray, frames: int) -> Poses:
    """Key frames' poses at all frames: the shortest turn between two, and a straight way."""
    from scipy.spatial.transform import Rotation, Slerp

    at = np.clip(np.arange(frames), keys[0], keys[-1])
    R = Slerp(keys, Rotation.from_matrix(poses.R))(at).as_matrix()
    centre = poses.centre
    centre = np.stack([np.interp(at, keys, centre[:, i]) for i in range(3)], 1)
    return Poses(R, -np.einsum("kij,kj->ki", R, centre))


def _bridged(poses: Poses, confidence: np.ndarray, first: int) -> Poses:
    """Frames that nothing supports, from their supported neighbours; frames before the first tracked are as it."""
    sure = np.nonzero(confidence > 0)[0]
    sure = sure[sure >= first]
    if len(sure) < 2:
        return poses
    return _between(Poses(poses.R[sure], poses.t[sure]), sure, len(poses.R))


def _from_first(poses: Poses) -> Poses:
    """The same in the first frame's axes, in which its pose is exactly nothing."""
    R0, t0 = poses.R[0], poses.t[0]
    R = poses.R @ R0.T
    t = poses.t - R @ t0
    same = (poses.R == R0).all((1, 2)) & (poses.t == t0).all(1)
    R[same], t[same] = np.eye(3), 0
    return Poses(R, t)


def _hardly_moves(poses: Poses, points: Points, focal_px: float) -> bool:
    turn = np.linalg.norm(poses.R - np.eye(3), axis=(1, 2)) / np.sqrt(2)
    shift = np.linalg.norm(poses.t, axis=1) * float(np.median(points.rho))
    return bool(((turn + shift) * focal_px).max() < _STILL_PX)


def _unit(poses: Poses, points: Points, seen: Seen) -> float:
    """Median distance from the first camera of the points that it saw; of all where it saw few."""
    with_rho = replace(points, rho=np.maximum(points.rho, 1e-3))
    early = np.unique(seen.point[seen.camera == seen.camera.min()])
    rho = with_rho.rho[early] if len(early) >= _FEWEST_POINTS else with_rho.rho[np.unique(seen.point)]
    return float(1 / np.median(rho))


def _warnings(confidence: np.ndarray) -> tuple[str, ...]:
    share = float((confidence < _UNSURE).mean())
    if share == 0:
        return ()
    lost = float((confidence == 0).mean())
    said = (
        f"The camera's motion is unsure in {100 * share:.0f} % of the frames (blur, or little to see around the person)"
    )
    return (said + (f"; in {100 * lost:.0f} % it is guessed from the frames around them." if lost else "."),)
