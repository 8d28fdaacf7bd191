"""Key frames into poses and points: a camera that only turns, or one that also changes its place.

Two well-chosen key frames start it (D. Nister, five-point relative pose, 2004); the others are joined one by one by
what they share with the known, with a small bundle adjustment each, and a last one over all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kinelift.trajectory.odometry.bundle import (
    Points,
    Poses,
    Seen,
    adjusted,
    directions,
    in_camera,
    misses,
    resected,
)
from kinelift.trajectory.odometry.turning import turn_between

_SPANS = (1, 2, 3, 4, 6, 8, 12)
_FEWEST_SHARED, _LEAST_PARALLAX_PX = 20, 1.5
_ENOUGH_PARALLAX_PX = 25.0
_WINDOW = 8
_OUTLIER_PX = 3.0
_LAST_SIGMA_PX = 0.5


@dataclass(frozen=True, eq=False)
class Structure:
    """What the key frames gave. `known` (N,) bool says whose inverse distance was measured."""

    poses: Poses
    points: Points
    known: np.ndarray


def first_points(poses: Poses, seen: Seen, n: int) -> Points:
    """Points (n,) at their first sight, at distance 1."""
    first = np.unique(seen.point, return_index=True)[1]
    camera = seen.camera[first]
    axes = np.swapaxes(poses.R[camera], 1, 2)
    return Points(axes, poses.centre[camera], seen.ray[first].copy(), np.ones(n))


def turned(seen: Seen, cameras: int, n: int, focal_px: float) -> Structure:
    """The best poses of a camera that only turns; `seen` is ordered by camera."""
    R = np.tile(np.eye(3), (cameras, 1, 1))
    for k in range(1, cameras):
        a, b = _shared(seen, k - 1, k)
        R[k] = turn_between(seen.ray[a], seen.ray[b], focal_px)[0] @ R[k - 1]
    poses = Poses(R, np.zeros((cameras, 3)))
    points = replace(first_points(poses, seen, n), rho=np.zeros(n))
    free = np.arange(cameras) > 0
    poses, points = adjusted(poses, points, seen, focal_px, free, translate=False)
    return Structure(poses, points, np.zeros(n, bool))


def _shared(seen: Seen, i: int, j: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of `seen` in which cameras i and j see the same points."""
    a, b = np.nonzero(seen.camera == i)[0], np.nonzero(seen.camera == j)[0]
    _, ia, ib = np.intersect1d(seen.point[a], seen.point[b], assume_unique=True, return_indices=True)
    return a[ia], b[ib]


def moved(seen: Seen, start: Structure, focal_px: float) -> Structure | None:
    """The best poses of a camera that also changes its place, from those of one that turns; None where nothing shows
    any parallax.
    """
    K, n = len(start.poses.R), len(start.points)
    pair = _best_pair(seen, K, focal_px)
    if pair is None:
        return None
    build = _Build(seen, K, n, focal_px, start.poses.R)
    build.begin(*pair)
    for k in [*range(pair[0] + 1, pair[1]), *range(pair[1] + 1, K), *range(pair[0] - 1, -1, -1)]:
        build.join(k)
    return build.finished()


def _best_pair(seen: Seen, cameras: int, focal_px: float) -> tuple[int, int] | None:
    """Two key frames with much parallax and many shared points."""
    best, chosen = 0.0, None
    for i in range(cameras):
        for j in (i + span for span in _SPANS if i + span < cameras):
            a, b = _shared(seen, i, j)
            if len(a) < _FEWEST_SHARED:
                break
            parallax = float(np.median(turn_between(seen.ray[a], seen.ray[b], focal_px)[1]))
            score = min(parallax, _ENOUGH_PARALLAX_PX) * np.sqrt(min(len(a), 100))
            if parallax > _LEAST_PARALLAX_PX and score > best:
                best, chosen = score, (i, j)
    return chosen


class _Build:
    """A reconstruction that grows by key frames."""

    def __init__(self, seen: Seen, cameras: int, n: int, focal_px: float, turns: np.ndarray):
        self.seen, self.focal_px, self.turns = seen, focal_px, turns
        self.poses = Poses(turns.copy(), np.zeros((cameras, 3)))
        self.points = first_points(self.poses, seen, n)
        self.known, self.joined = np.zeros(n, bool), np.zeros(cameras, bool)

    def begin(self, i: int, j: int) -> None:
        """Two cameras: the better of the five-point pose and a small motion before things at one distance."""
        a, b = _shared(self.seen, i, j)
        both = np.concatenate([a, b])
        n = len(a)
        pair = Seen(np.repeat([0, 1], n), np.tile(np.arange(n), 2), self.seen.ray[both])
        best: tuple[float, Poses, Points] | None = None
        for R, t in self._guesses(i, j, a, b):
            poses = Poses(np.stack([np.eye(3), R]), np.stack([np.zeros(3), t]))
            flat = Points(np.tile(np.eye(3), (n, 1, 1)), np.zeros((n, 3)), pair.ray[:n], np.ones(n))
            points = self._triangulated(poses, flat, pair)[0]
            poses, points = adjusted(poses, points, pair, self.focal_px, np.array([False, True]), iterations=30)
            miss = (misses(poses, points, pair, self.focal_px) ** 2).sum(1)
            cost = float(np.minimum(miss, 9.0).sum())
            if best is None or cost < best[0]:
                best = cost, poses, points
        assert best is not None
        _, poses, points = best
        unit = 1 / np.median(points.rho)
        Ri = self.turns[i]
        R, t = self.poses.R.copy(), self.poses.t.copy()
        R[i], R[j] = Ri, poses.R[1] @ Ri
        t[i], t[j] = 0, poses.t[1] / unit
        self.poses = Poses(R, t)
        self.joined[[i, j]] = True
        self._measure()

    def _guesses(self, i: int, j: int, a: np.ndarray, b: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        import cv2

        x, y = self.seen.ray[a], self.seen.ray[b]
        guesses: list[tuple[np.ndarray, np.ndarray]] = [(turn_between(x, y, self.focal_px)[0], np.zeros(3))]
        E, _ = cv2.findEssentialMat(x, y, np.eye(3), cv2.RANSAC, 0.999, 1.0 / self.focal_px)
        if E is not None and E.shape == (3, 3):
            _, R, t, _ = cv2.recoverPose(E, x, y, np.eye(3))
            guesses.append((np.asarray(R), 0.1 * np.asarray(t)[:, 0]))
        return guesses

    def _triangulated(self, poses: Poses, points: Points, seen: Seen) -> tuple[Points, np.ndarray]:
        """Inverse distances (linear least squares along each point's direction), and how well they are told, pixels
        a unit, squared.
        """
        far = np.einsum("mij,mj->mi", poses.R[seen.camera], directions(points)[seen.point])
        near = np.einsum("mij,mj->mi", poses.R[seen.camera], points.centre[seen.point]) + poses.t[seen.camera]
        z = np.maximum(far[:, 2:], 0.1)
        slope = (near[:, :2] - seen.ray * near[:, 2:]) / z * self.focal_px
        miss = (seen.ray * far[:, 2:] - far[:, :2]) / z * self.focal_px
        n = len(points)
        told = np.bincount(seen.point, (slope**2).sum(1), n)
        rho = (np.bincount(seen.point, (slope * miss).sum(1), n) + 0.02) / (told + 0.02)
        return replace(points, rho=np.clip(rho, 1e-3, 20.0)), told

    def _measure(self) -> None:
        """Give points that the joined cameras see their anchors' present pose and, where told, an inverse distance."""
        here = self.seen.taken(self.joined[self.seen.camera])
        ids, first = np.unique(here.point, return_index=True)
        new = ~self.known[ids]
        ids, camera = ids[new], here.camera[first[new]]
        axes, centre, uv = self.points.axes.copy(), self.points.centre.copy(), self.points.uv.copy()
        axes[ids] = np.swapaxes(self.poses.R[camera], 1, 2)
        centre[ids] = self.poses.centre[camera]
        uv[ids] = here.ray[first[new]]
        points = replace(self.points, axes=axes, centre=centre, uv=uv)
        measured, told = self._triangulated(self.poses, points, here)
        rho = points.rho.copy()
        rho[ids] = measured.rho[ids]
        self.points = replace(points, rho=rho)
        twice = np.bincount(here.point, minlength=len(rho)) > 1
        self.known |= twice & (told > 4.0) & np.isin(np.arange(len(rho)), ids)

    def join(self, k: int) -> None:
        """Add a key frame next to joined ones."""
        near = np.nonzero(self.joined)[0]
        near = near[np.abs(near - k).argmin()]
        R, t = self.poses.R.copy(), self.poses.t.copy()
        turn = self.turns[k] @ self.turns[near].T
        R[k], t[k] = turn @ R[near], turn @ t[near]
        mine = self.seen.taken((self.seen.camera == k) & self.known[self.seen.point])
        self.poses = Poses(R, t)
        if len(mine.point) >= 6:
            one = Poses(R[k : k + 1], t[k : k + 1])
            alone = Seen(np.zeros(len(mine.point), int), mine.point, mine.ray)
            found = resected(one, self.points, alone, self.focal_px, sigmas_px=(30.0, 15.0, 8.0, 4.0, 2.0, 2.0, 2.0))
            R[k], t[k] = found.R[0], found.t[0]
            self.poses = Poses(R, t)
        self.joined[k] = True
        self._measure()
        self._adjust_near(k)

    def _adjust_near(self, k: int) -> None:
        """A small bundle adjustment of the key frames about k; the farther ones of them stay."""
        near = np.nonzero(self.joined)[0]
        near = near[np.argsort(np.abs(near - k), kind="stable")][: _WINDOW + 3]
        keep = np.isin(self.seen.camera, near) & self.known[self.seen.point]
        ids, point = np.unique(self.seen.point[keep], return_inverse=True)
        if len(ids) < 6:
            return
        camera = np.searchsorted(np.sort(near), self.seen.camera[keep])
        local = Seen(camera, point, self.seen.ray[keep])
        near_sorted = np.sort(near)
        free = np.isin(near_sorted, near[:_WINDOW]) & (np.arange(len(near)) > -1)
        if len(near) <= _WINDOW:
            free[np.argmax(np.abs(near_sorted - k))] = False
        poses = Poses(self.poses.R[near_sorted], self.poses.t[near_sorted])
        poses, points = adjusted(poses, self.points.taken(ids), local, self.focal_px, free, iterations=6)
        self._put(near_sorted, poses, ids, points)

    def _put(self, cameras: np.ndarray, poses: Poses, ids: np.ndarray, points: Points) -> None:
        R, t = self.poses.R.copy(), self.poses.t.copy()
        R[cameras], t[cameras] = poses.R, poses.t
        uv, rho = self.points.uv.copy(), self.points.rho.copy()
        uv[ids], rho[ids] = points.uv, points.rho
        self.poses, self.points = Poses(R, t), replace(self.points, uv=uv, rho=rho)

    def finished(self) -> Structure:
        """All together, twice: the second time without what does not fit."""
        free = np.arange(len(self.poses.R)) > 0
        keep = np.ones(len(self.seen.point), bool)
        for _ in range(2):
            seen = self.seen.taken(keep)
            ids, point = np.unique(seen.point, return_inverse=True)
            local = Seen(seen.camera, point, seen.ray)
            poses, points = adjusted(
                self.poses, self.points.taken(ids), local, self.focal_px, free, iterations=25, sigma_px=_LAST_SIGMA_PX
            )
            self._put(np.arange(len(free)), poses, ids, points)
            keep = np.linalg.norm(misses(self.poses, self.points, self.seen, self.focal_px), axis=1) < _OUTLIER_PX
            counts = np.bincount(self.seen.point[keep], minlength=len(self.known))
            keep &= counts[self.seen.point] > 1
        known = self.known & (np.bincount(self.seen.point[keep], minlength=len(self.known)) > 1)
        front = in_camera(self.poses, self.points, self.seen)[:, 2] > 0
        known[self.seen.point[~front]] = False
        return Structure(self.poses, self.points, known)
