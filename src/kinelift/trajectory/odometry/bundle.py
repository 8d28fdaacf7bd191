"""Bundle adjustment of our own: camera poses and points, refined together until rays agree with what was seen.

A point is a direction and an inverse distance from a fixed place (J. Civera et al., 2008), so that points at infinity
are no special case and a camera that only turns is the same problem with fewer unknowns. Levenberg and Marquardt's
steps with Schur's complement (B. Triggs et al., Bundle adjustment, 2000); sparse, so the cost is linear in frames.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kinelift.kinematics import rotvec_to_matrix

_RHO_PRIOR = 0.15  # pull of inverse distances to 1, pixels: tells only where nothing else does
_LEAST_RHO = 1e-4


@dataclass(frozen=True, eq=False)
class Points:
    """N points: x(first axes) ~ direction / inverse distance + centre, `direction = axes @ (u, v, 1)`.

    Attributes:
        axes: (N, 3, 3) rotations from the camera that first saw each point to the first camera's axes.
        centre: (N, 3) where that camera was.
        uv: (N, 2) rays in its axes.
        rho: (N,) inverse distances along its z axis; 0 is infinitely far away.
    """

    axes: np.ndarray
    centre: np.ndarray
    uv: np.ndarray
    rho: np.ndarray

    def __len__(self) -> int:
        return len(self.rho)

    def taken(self, which: np.ndarray) -> Points:
        """Some of the points."""
        return Points(self.axes[which], self.centre[which], self.uv[which], self.rho[which])


@dataclass(frozen=True, eq=False)
class Seen:
    """M sightings: of which point, by which camera, at which ray (M, 2)."""

    camera: np.ndarray
    point: np.ndarray
    ray: np.ndarray

    def taken(self, which: np.ndarray) -> Seen:
        """Some of the sightings."""
        return Seen(self.camera[which], self.point[which], self.ray[which])


@dataclass(frozen=True, eq=False)
class Poses:
    """K cameras: `x_cam = R @ x_first + t`, (K, 3, 3) and (K, 3)."""

    R: np.ndarray
    t: np.ndarray

    @property
    def centre(self) -> np.ndarray:
        """(K, 3) in the first camera's axes."""
        return -np.einsum("kji,kj->ki", self.R, self.t)


def directions(points: Points) -> np.ndarray:
    """(N, 3) in the first camera's axes."""
    return np.einsum("nij,nj->ni", points.axes, np.concatenate([points.uv, np.ones((len(points), 1))], 1))


def in_camera(poses: Poses, points: Points, seen: Seen) -> np.ndarray:
    """(M, 3) sighted points in camera axes, times their inverse distances."""
    far = directions(points) + points.rho[:, None] * points.centre
    a, p = seen.camera, seen.point
    return np.einsum("mij,mj->mi", poses.R[a], far[p]) + points.rho[p, None] * poses.t[a]


def misses(poses: Poses, points: Points, seen: Seen, focal_px: float) -> np.ndarray:
    """(M, 2) pixels from where points were seen to where they should be; 1e3 for those behind the camera."""
    x = in_camera(poses, points, seen)
    front = x[:, 2] > 1e-3
    miss = (x[:, :2] / np.where(front, x[:, 2], 1.0)[:, None] - seen.ray) * focal_px
    return np.where(front[:, None], np.clip(miss, -1e3, 1e3), 1e3)


def robust_cost(miss: np.ndarray, sigma_px: float) -> float:
    """Cauchy's cost of misses (M, 2)."""
    return float(np.log1p((miss**2).sum(1) / sigma_px**2).sum() * sigma_px**2)


def _slopes(poses: Poses, points: Points, seen: Seen, focal_px: float) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives (M, 2, 6) of the misses by a turn about the camera's axes and by t, and (M, 2, 3) by u, v and rho."""
    x = in_camera(poses, points, seen)
    a, p = seen.camera, seen.point
    z = np.maximum(x[:, 2], 1e-3)
    by_x = np.zeros((len(x), 2, 3))
    by_x[:, 0, 0] = by_x[:, 1, 1] = focal_px / z
    by_x[:, :, 2] = -x[:, :2] * (focal_px / z**2)[:, None]
    rho = points.rho[p]
    turned = x - rho[:, None] * poses.t[a]
    o = np.zeros(len(x))
    skew = np.stack(
        [o, turned[:, 2], -turned[:, 1], -turned[:, 2], o, turned[:, 0], turned[:, 1], -turned[:, 0], o], -1
    )
    by_pose = np.concatenate([by_x @ skew.reshape(-1, 3, 3), by_x * rho[:, None, None]], -1)
    axes = poses.R[a] @ points.axes[p]
    by_rho = np.einsum("mij,mj->mi", poses.R[a], points.centre[p]) + poses.t[a]
    by_point = by_x @ np.concatenate([axes[:, :, :2], by_rho[:, :, None]], -1)
    return by_pose, by_point


def adjusted(
    poses: Poses,
    points: Points,
    seen: Seen,
    focal_px: float,
    free: np.ndarray,
    translate: bool = True,
    iterations: int = 15,
    sigma_px: float = 1.0,
) -> tuple[Poses, Points]:
    """Poses and points with less robust cost.

    Args:
        poses: K cameras, with Points and Seen as a first guess.
        points: N points, each seen at least once.
        seen: Sightings.
        focal_px: Of the tracked pictures.
        free: (K,) bool, cameras that may move.
        translate: False to only turn cameras and to leave distances alone.
        iterations: At most so many steps.
        sigma_px: Where the robust cost starts to give way.
    """
    order = np.argsort(seen.point, kind="stable")
    seen = seen.taken(order)
    miss = misses(poses, points, seen, focal_px)
    cost, damping = _total(miss, points, sigma_px, translate), 1e-4
    for _ in range(iterations):
        step = _step(poses, points, seen, miss, focal_px, free, translate, sigma_px, damping)
        new_poses, new_points = _stepped(poses, points, *step, translate)
        new_miss = misses(new_poses, new_points, seen, focal_px)
        new_cost = _total(new_miss, new_points, sigma_px, translate)
        if new_cost < cost:
            done = cost - new_cost < 1e-5 * cost
            poses, points, miss, cost, damping = new_poses, new_points, new_miss, new_cost, damping / 5
            if done:
                break
        else:
            damping = max(damping, 1e-5) * 8
            if damping > 1e4:
                break
    return poses, points


def _total(miss: np.ndarray, points: Points, sigma_px: float, translate: bool) -> float:
    return robust_cost(miss, sigma_px) + translate * float(((points.rho - 1) ** 2).sum()) * _RHO_PRIOR**2


def _step(
    poses: Poses,
    points: Points,
    seen: Seen,
    miss: np.ndarray,
    focal_px: float,
    free: np.ndarray,
    translate: bool,
    sigma_px: float,
    damping: float,
) -> tuple[np.ndarray, np.ndarray]:
    """One damped Gauss-Newton step, (K, 6) or (K, 3) and (N, 3) or (N, 2); `seen` is ordered by point."""
    from scipy.sparse import bsr_matrix, csr_matrix, diags, identity
    from scipy.sparse.linalg import spsolve

    by_pose, by_point = _slopes(poses, points, seen, focal_px)
    weight = np.sqrt(1 / (1 + (miss**2).sum(1) / sigma_px**2)) * (miss[:, 0] < 999)
    c, e = (6, 3) if translate else (3, 2)
    A = by_pose[..., :c] * (weight * free[seen.camera])[:, None, None]
    B = by_point[..., :e] * weight[:, None, None]
    r = -miss * weight[:, None]
    K, N, M = len(poses.R), len(points), len(miss)

    starts = np.searchsorted(seen.point, np.arange(N))
    V = np.add.reduceat(np.swapaxes(B, 1, 2) @ B, starts, axis=0)
    g_point = np.add.reduceat(np.einsum("mij,mi->mj", B, r), starts, axis=0)
    if translate:
        V[:, 2, 2] += _RHO_PRIOR**2
        g_point[:, 2] -= _RHO_PRIOR**2 * (points.rho - 1)
    V[:, np.arange(e), np.arange(e)] *= 1 + damping
    V[:, np.arange(e), np.arange(e)] += 1e-6
    inverse = bsr_matrix((np.linalg.inv(V), np.arange(N), np.arange(N + 1)), shape=(e * N, e * N)).tocsr()

    rows = np.arange(0, 2 * M * c + 1, c)
    column = np.repeat(seen.camera[:, None, None] * c + np.arange(c), 2, axis=1)
    J = csr_matrix((A.ravel(), column.ravel(), rows), shape=(2 * M, c * K))
    column = np.repeat(seen.point[:, None, None] * e + np.arange(e), 2, axis=1)
    P = csr_matrix((B.ravel(), column.ravel(), np.arange(0, 2 * M * e + 1, e)), shape=(2 * M, e * N))
    U = J.T @ J
    W = J.T @ P
    S = U + damping * diags(U.diagonal()) + 1e-6 * identity(c * K) - W @ inverse @ W.T
    fixed = np.repeat(~free, c).astype(float)
    g_pose = J.T @ r.ravel() - W @ (inverse @ g_point.ravel())
    d_pose = spsolve((S + diags(fixed)).tocsc(), g_pose)
    d_point = inverse @ (g_point.ravel() - W.T @ d_pose)
    return d_pose.reshape(K, c), d_point.reshape(N, e)


def _stepped(
    poses: Poses, points: Points, d_pose: np.ndarray, d_point: np.ndarray, translate: bool
) -> tuple[Poses, Points]:
    turn = rotvec_to_matrix(np.clip(d_pose[:, :3], -0.5, 0.5))
    t = poses.t + d_pose[:, 3:] if translate else poses.t
    rho = np.maximum(points.rho + d_point[:, 2], _LEAST_RHO) if translate else points.rho
    return Poses(turn @ poses.R, t), replace(points, uv=points.uv + d_point[:, :2], rho=rho)


def resected(
    poses: Poses,
    points: Points,
    seen: Seen,
    focal_px: float,
    translate: bool = True,
    sigmas_px: tuple[float, ...] = (8.0, 4.0, 2.0, 1.0, 1.0, 1.0),
) -> Poses:
    """Every camera by itself, on points that stay: a step for each robust width, for all cameras at once.

    Cameras without sightings stay where they are.
    """
    order = np.argsort(seen.camera, kind="stable")
    seen = seen.taken(order)
    which, starts = np.unique(seen.camera, return_index=True)
    c = 6 if translate else 3
    if not len(which):
        return poses
    for sigma in sigmas_px:
        miss = misses(poses, points, seen, focal_px)
        by_pose = _slopes(poses, points, seen, focal_px)[0][..., :c]
        weight = (1 / (1 + (miss**2).sum(1) / sigma**2) * (miss[:, 0] < 999))[:, None]
        H = np.add.reduceat(np.swapaxes(by_pose, 1, 2) @ (by_pose * weight[..., None]), starts, axis=0)
        g = np.add.reduceat(np.einsum("mij,mi->mj", by_pose, -miss * weight), starts, axis=0)
        H[:, np.arange(c), np.arange(c)] += 1e-3 + 1e-6 * H[:, np.arange(c), np.arange(c)]
        step = np.zeros((len(poses.R), c))
        step[which] = np.linalg.solve(H, g[..., None])[..., 0]
        poses = Poses(
            rotvec_to_matrix(np.clip(step[:, :3], -0.5, 0.5)) @ poses.R, poses.t + (step[:, 3:] if translate else 0)
        )
    return poses
