"""A camera that moves: everything carried into its first frame's axes, and the one unknown length of its path.

`x_cam[k] = R[k] @ x_first + s t[k]` with s metres per unit of the path. Key points alone know no s: a root path fits
them for any. The person does: planted soles stay put, and people do not accelerate with the camera.
What a lifter makes of a swinging leg is damped, so that feet relative to the root are slow, and a camera that walks
along would be too: planted soles are taken where the picture shows them, at the pose's depth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kinelift.cleanup.banded import BlockBanded
from kinelift.cleanup.body import SOLES
from kinelift.trajectory.root import second_difference

# Standard deviations: of a joint's ray times its depth (m), of the root's acceleration (m/s^2), of a planted sole
# across and along its line of sight (m), and the least of one stance's scale, as a share.
_RAY_M, _ACCELERATION_M_S2, _SOLE_M, _SOLE_DEPTH_M, _STANCE_SHARE = 0.04, 4.0, 0.03, 0.12, 0.15
# What the whole-clip solve's own word on the scale errs by at least, as a share: a lifter's errors last.
_SOLVED_SHARE = 0.05
# Standard deviation of a scale of which nothing is known.
_UNKNOWN = 1e6
# Metres at which a joint's miss begins to count less.
_MISS_BEND_M = 0.10
# A stance begins and ends with a foot that still moves: contact from which a sole stands, seconds that are cut off each
# end, seconds that must be left; what an unseen sole's place by the pose alone is worth.
_STANDS, _END_S, _CORE_S, _UNSEEN = 0.6, 0.05, 0.12, 0.05
_ROUNDS = 4


@dataclass(frozen=True, eq=False)
class Views:
    """Where each frame's camera is from the first's; `x_cam = R @ x_first + scale * t`.

    Attributes:
        R: (T, 3, 3), or (3, 3) the identity for a camera that stands still.
        t: (T, 3) in the path's unit, or (3,) zeros.
        scale: Metres per unit of `t`.
    """

    R: np.ndarray
    t: np.ndarray
    scale: float = 0.0

    @classmethod
    def still(cls) -> Views:
        """A camera that stands still."""
        return cls(np.eye(3), np.zeros(3))

    @property
    def moving(self) -> bool:
        """Whether there is one pose a frame."""
        return self.R.ndim == 3

    @property
    def translating(self) -> bool:
        """Whether the camera changes its place."""
        return bool(self.t.any())

    def sliced(self, frames: slice) -> Views:
        """Some of the frames; the first camera stays the clip's."""
        return Views(self.R[frames], self.t[frames], self.scale) if self.moving else self

    def carried(self, vectors: np.ndarray) -> np.ndarray:
        """Directions (T, 3) or (T, J, 3) in each frame's axes, in the first camera's."""
        if not self.moving:
            return vectors
        return (vectors[:, None] @ self.R)[:, 0] if vectors.ndim == 2 else vectors @ self.R

    def cameras(self, R_first_world: np.ndarray, t_first_world: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """R_cam_world and t_cam_world, a frame each where the camera moves, of the first camera's pose."""
        return self.R @ R_first_world, self.R @ t_first_world + self.scale * self.t


@dataclass(frozen=True, eq=False)
class RootPath:
    """Root (T, 3) in the first camera's axes, its change (T, 3) with the scale, and the scale with its sigma."""

    root: np.ndarray
    by_scale: np.ndarray
    scale: float
    sigma: float


def find_root(
    shape: np.ndarray, rays: np.ndarray, weight: np.ndarray, times: np.ndarray, views: Views, soles: np.ndarray,
    contact: np.ndarray,
) -> RootPath:  # fmt: skip
    """Root path and scale of root-relative positions (T, J, 3) in the first camera's axes, seen at rays (T, J, 2).

    As `trajectory.solve_root`, for a camera that moves: the normal equations of each frame are turned into the first
    camera's axes and solved for the path at scale 0 and for its change with the scale. Then planted soles (T, 4, 3),
    relative to the root, with `contact` (T, 4), and the root's acceleration give the scale by robust least squares.
    """
    w0 = np.where(np.isfinite(rays).all(-1), weight, 0.0)
    uv = np.nan_to_num(rays)
    turned = np.einsum("tij,tnj->tni", views.R, shape)
    robust = np.ones_like(w0)
    scale, sigma = views.scale, np.inf
    for _ in range(_ROUNDS):
        H, right = _frame_equations(turned, uv, w0 * robust / _RAY_M**2, views)
        system = _smooth_system(H, times)
        root, by_scale = system.solve(right[0]), system.solve(right[1])
        if views.translating:
            seen = soles + (root + scale * by_scale)[:, None]
            parts = _stances(seen, uv[:, SOLES], w0[:, SOLES], contact, times, views, scale)
            scale, sigma = _agreed(*parts) if len(parts[0]) else _steadiest(root, by_scale, times, scale)
        cam = np.einsum("tij,tj->ti", views.R, root + scale * by_scale) + scale * views.t
        x = cam[:, None] + turned
        z = np.maximum(x[..., 2], 0.1)
        miss = np.linalg.norm(x[..., :2] / z[..., None] - uv, axis=-1) * z
        robust = 1 / (1 + (miss / _MISS_BEND_M) ** 2)
    return RootPath(root + scale * by_scale, by_scale, scale, sigma)


def weighed(path: RootPath, scale: float, sigma: float) -> RootPath:
    """The path at the mean of its own scale and of another with its standard deviation, by what each is worth.

    Both are of the same pose and contacts, so that the mean is taken to be as unsure as they are on average.
    """
    own, sigma = min(path.sigma, _UNKNOWN), float(np.hypot(sigma, _SOLVED_SHARE * path.scale))
    share = own**2 / (own**2 + sigma**2)
    mean = max(path.scale + share * (scale - path.scale), 0.0)
    root = path.root + (mean - path.scale) * path.by_scale
    return RootPath(root, path.by_scale, mean, own + share * (sigma - own))


def _frame_equations(
    X: np.ndarray, uv: np.ndarray, w: np.ndarray, views: Views
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Per frame, in the first camera's axes: H (T, 3, 3), and right-hand sides (T, 3) at scale 0 and by the scale.

    A joint at X from the root, seen at (u, v), says tx - u tz = u Z - X and ty - v tz = v Z - Y.
    """
    one, o = np.ones_like(w), np.zeros_like(w)
    A = np.stack([one, o, -uv[..., 0], o, one, -uv[..., 1]], -1).reshape(*w.shape, 2, 3) @ views.R[:, None]
    b = uv * X[..., 2:] - X[..., :2]
    weighted = np.swapaxes(A * w[..., None, None], -1, -2)
    H = (weighted @ A).sum(1)
    moved = -(H @ (np.swapaxes(views.R, -1, -2) @ views.t[..., None]))[..., 0]
    return H, ((weighted @ b[..., None])[..., 0].sum(1), moved)


def _smooth_system(H: np.ndarray, times: np.ndarray) -> BlockBanded:
    system = BlockBanded(len(H), 3)
    i = np.arange(3)
    own = H + 1e-6 * np.eye(3)
    if len(H) > 2:
        c, seconds = second_difference(times)
        w = (seconds * 10 / _ACCELERATION_M_S2**2)[:, None]
        for k in range(3):
            own[k : len(H) - 2 + k, i, i] += w * c[:, k, None] ** 2
        system.next[:-1, i, i] += w * c[:, :1] * c[:, 1:2]
        system.next[1:, i, i] += w * c[:, 1:2] * c[:, 2:]
        system.after[:, i, i] += w * c[:, :1] * c[:, 2:]
    system.own[...] = np.triu(own)
    system.factor()
    return system


def _stances(
    soles: np.ndarray, uv: np.ndarray, weight: np.ndarray, contact: np.ndarray, times: np.ndarray, views: Views,
    scale: float,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """The scale by each stance's core (S,), and what each is worth, one over its variance (S,).

    Soles (T, 4, 3) in the first camera's axes, as they are at `scale`, are moved into their key points' rays. A sole
    that rests at P is seen from the camera at c = -R^T t where x = P - s c: linear in P and s.
    """
    cam = np.einsum("tij,tnj->tni", views.R, soles) + scale * views.t[:, None]
    rays = np.concatenate([uv, np.ones_like(uv[..., :1])], -1)
    cam = np.where((weight > 0)[..., None], rays * cam[..., 2:], cam)
    x = np.einsum("tji,tnj->tni", views.R, cam)
    centre = -np.einsum("tji,tj->ti", views.R, views.t)
    sight = x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-6)
    along = sight[..., None] * sight[..., None, :]
    W = (np.eye(3) - along) / _SOLE_M**2 + along / _SOLE_DEPTH_M**2
    usual = max(float(np.median(weight)), 1e-6)
    W = W * np.where(weight > 0, np.clip(weight / usual, _UNSEEN, 1), _UNSEEN)[..., None, None]
    found = []
    for sole, core in _cores(contact, times):
        w, seen, moved = W[core, sole], x[core, sole], centre[core]
        total = np.linalg.inv(w.sum(0))
        seen = seen - total @ np.einsum("tij,tj->i", w, seen)
        moved = moved - total @ np.einsum("tij,tj->i", w, moved)
        worth = np.einsum("ti,tij,tj", moved, w, moved)
        if worth > 1e-9:
            found.append((-np.einsum("ti,tij,tj", moved, w, seen) / worth, worth))
    scales, worth = np.array(found).reshape(-1, 2).T
    return scales, worth


def _cores(contact: np.ndarray, times: np.ndarray) -> list[tuple[int, slice]]:
    """Sole and frames of every stance of contact (T, 4), without its first and last moments.

    The clip's own ends stay, and a stance too short to lose any is taken whole.
    """
    found = []
    for sole, on in enumerate((contact > _STANDS).T):
        edges = np.diff(np.concatenate([[0], on.astype(int), [0]]))
        for a, b in zip(np.flatnonzero(edges > 0), np.flatnonzero(edges < 0), strict=True):
            first = np.searchsorted(times, times[a] + _END_S) if a else 0
            end = np.searchsorted(times, times[b - 1] - _END_S, side="right") if b < len(times) else b
            if end <= first or times[end - 1] - times[first] < _CORE_S:
                first, end = a, b
            if end > first + 2:
                found.append((sole, slice(int(first), int(end))))
    return found


def _agreed(scales: np.ndarray, worth: np.ndarray) -> tuple[float, float]:
    """What stances' scales (S,) of worths (S,) agree on, robustly from their weighted median; and its sigma."""
    order = np.argsort(scales)
    mass = np.cumsum(worth[order])
    scale = scales[order][np.searchsorted(mass, mass[-1] / 2)]
    for _ in range(20):
        w = worth / (1 + worth * (scales - scale) ** 2)
        scale = (w * scales).sum() / w.sum()
    spread = (w**2 * ((scales - scale) ** 2 + (_STANCE_SHARE * scale) ** 2)).sum() / w.sum() ** 2
    return max(float(scale), 0.0), float(np.sqrt(spread))


def _steadiest(root: np.ndarray, by_scale: np.ndarray, times: np.ndarray, scale: float) -> tuple[float, float]:
    """The scale, and its sigma, at which the root accelerates least, robustly."""
    if len(times) < 3:
        return scale, np.inf
    c, seconds = second_difference(times)
    bend, turn = (sum(c[:, i, None] * x[i : len(x) - 2 + i] for i in range(3)) for x in (root, by_scale))
    steady = (seconds / seconds.mean() / _ACCELERATION_M_S2**2)[:, None]
    for _ in range(10):
        jolt = np.linalg.norm(bend + scale * turn, axis=-1, keepdims=True) / _ACCELERATION_M_S2
        w = steady / (1 + jolt**2)
        curve = (w * turn**2).sum()
        scale = max(-(w * turn * bend).sum() / max(curve, 1e-9), 0.0)
    return float(scale), float(1 / np.sqrt(max(curve, 1e-9)))
