"""The whole-clip solve: joint rotations and root fitted to everything known at once.

Gauss-Newton on the root's translation and a small world-frame rotation of each joint, per frame: 3 + 17 x 3 unknowns.
Turning joint a by w moves each descendant j by w x (p_j - p_a), which is the analytic Jacobian. Evidence: key points
(robust, in rays), the lifter's root-relative 3D with its sigma, planted soles that neither move nor leave the floor, no
sole below the floor, smooth acceleration (robust, so quick moves stay quick). Frames couple with the next two only:
the normal equations are block-banded and solved in time linear in the clip's length.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import solveh_banded

from kinelift.kinematics import forward_kinematics, nearest_rotation, rotvec_to_matrix
from kinelift.skeleton import BODY26
from kinelift.trajectory.root import second_difference

_B = BODY26.index
SOLES = BODY26.indices("left_heel", "left_toe", "right_heel", "right_toe")
TURNING = [j for j in range(len(BODY26)) if BODY26.children(j)]
_N = 3 + 3 * len(TURNING)


def _moved_pairs() -> tuple[np.ndarray, np.ndarray]:
    """Every (joint, index into TURNING) where the turning joint is an ancestor, which moves the joint."""
    pairs = []
    for j in range(len(BODY26)):
        a = BODY26.parents[j]
        while a >= 0:
            pairs.append((j, TURNING.index(a)))
            a = BODY26.parents[a]
    return tuple(np.array(pairs).T)  # type: ignore[return-value]


_MOVED, _BY = _moved_pairs()


@dataclass(frozen=True)
class Weights:
    """Standard deviations of each kind of evidence; SI units.

    Attributes:
        ray: Key point error as a fraction of the person's apparent stature.
        lifted: Multiplies the lifter's sigma, whose errors repeat from frame to frame.
        contact_speed_m_s: Speed of a planted sole.
        contact_height_m: Height of a planted sole above its floor.
        below_floor_m: Depth of any sole below the floor.
        acceleration_m_s2: Acceleration of joints, beyond which the cost grows slower than the square.
        turn_step: Radians a joint may turn in one Gauss-Newton step without cost.
    """

    ray: float = 0.012
    lifted: float = 1.0
    contact_speed_m_s: float = 0.02
    contact_height_m: float = 0.035
    below_floor_m: float = 0.005
    acceleration_m_s2: float = 8.0
    turn_step: float = 0.5


@dataclass(eq=False)
class Evidence:
    """What a clip is fitted to, in the world.

    Attributes:
        offsets: (26, 3) metres.
        times: (T,) seconds.
        rays: (T, 26, 2) key points as rays of the camera.
        ray_weight: (T, 26) 1 = fully trusted, 0 = not seen.
        lifted: (T, 26, 3) metres, root-relative, world axes; NaN where not given.
        sigma_m: (T, 26) of `lifted`.
        contact: (T, 4) in [0, 1].
        floor_y: Height of the floor.
        R_cam_world, t_cam_world: The camera, static.
        stature_m: Of the person.
    """

    offsets: np.ndarray
    times: np.ndarray
    rays: np.ndarray
    ray_weight: np.ndarray
    lifted: np.ndarray
    sigma_m: np.ndarray
    contact: np.ndarray
    floor_y: float
    R_cam_world: np.ndarray
    t_cam_world: np.ndarray
    stature_m: float

    def sliced(self, frames: slice) -> Evidence:
        """The same for some of the frames."""
        names = ("times", "rays", "ray_weight", "lifted", "sigma_m", "contact")
        return replace(self, **{n: getattr(self, n)[frames] for n in names})


def position_jacobian(positions: np.ndarray) -> np.ndarray:
    """(T, 26, 3, 54): how positions move with the root (first 3) and with world-frame turns of the 17 joints."""
    d = positions[:, _MOVED] - positions[:, np.array(TURNING)[_BY]]
    x, y, z = np.moveaxis(d, -1, 0)
    J = np.zeros((len(positions), len(BODY26), 3, _N))
    J[..., :3] = np.eye(3)
    column = 3 + 3 * _BY
    for row, turned, value in ((0, 1, z), (0, 2, -y), (1, 0, -z), (1, 2, x), (2, 0, y), (2, 1, -x)):
        J[:, _MOVED, row, column + turned] = value
    return J


# Longer clips are solved in windows that overlap; neighbours are blended over the overlap.
_WINDOW, _OVERLAP = 600, 60


def solve(
    e: Evidence, local: np.ndarray, root: np.ndarray, iterations: int, weights: Weights | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Local rotation matrices (T, 26, 3, 3) and root (T, 3) after some Gauss-Newton steps.

    Time and memory are linear in the clip's length.
    """
    weights = weights or Weights()
    T = len(root)
    if T <= _WINDOW + _OVERLAP:
        return _solve_window(e, local, root, iterations, weights)
    out_local, out_root = local.copy(), root.copy()
    for start in range(0, T - _OVERLAP, _WINDOW):
        frames = slice(start, min(start + _WINDOW + _OVERLAP, T))
        part_local, part_root = _solve_window(e.sliced(frames), local[frames], root[frames], iterations, weights)
        shared = min(_OVERLAP, len(part_root)) if start else 0
        w = ((np.arange(shared) + 1) / (shared + 1))[:, None]
        both = slice(start, start + shared)
        part_root[:shared] = (1 - w) * out_root[both] + w * part_root[:shared]
        part_local[:shared] = nearest_rotation(
            (1 - w[..., None, None]) * out_local[both] + w[..., None, None] * part_local[:shared]
        )
        out_local[frames], out_root[frames] = part_local, part_root
    return out_local, out_root


def _solve_window(
    e: Evidence, local: np.ndarray, root: np.ndarray, iterations: int, weights: Weights
) -> tuple[np.ndarray, np.ndarray]:
    for _ in range(iterations):
        positions, glob = forward_kinematics(BODY26, e.offsets, local, root)
        step = _gauss_newton_step(e, positions, weights)
        turn = step[:, 3:].reshape(len(step), -1, 3)
        norm = np.linalg.norm(turn, axis=-1, keepdims=True)
        turn = rotvec_to_matrix(turn * np.minimum(1, 0.6 / np.maximum(norm, 1e-9)))
        root = root + step[:, :3]
        local = local.copy()
        for k, j in enumerate(TURNING):
            parent = glob[:, BODY26.parents[j]] if j else np.broadcast_to(np.eye(3), turn[:, k].shape)
            local[:, j] = np.swapaxes(parent, -1, -2) @ turn[:, k] @ parent @ local[:, j]
    return local, root


def _gauss_newton_step(e: Evidence, p: np.ndarray, weights: Weights) -> np.ndarray:
    """(T, 54) change of root and turns."""
    J = position_jacobian(p)
    metric, gradient = _per_joint_terms(e, p, weights)
    near, far, gradient = _temporal_terms(e, p, metric, gradient, weights)
    T = len(p)
    flat = J.reshape(T, -1, _N)
    transposed = np.swapaxes(flat, 1, 2)
    blocks = np.zeros((T, _N, 3, _N))
    blocks[:, :, 0] = transposed @ (metric @ J).reshape(T, -1, _N)
    g = (transposed @ gradient.reshape(T, -1, 1))[..., 0]
    _add_lifted(e, p, J, blocks[:, :, 0], g, weights)
    if T > 1:
        blocks[:-1, :, 1] = transposed[:-1] @ (near[..., None, None] * J[1:]).reshape(T - 1, -1, _N)
    if T > 2:
        blocks[:-2, :, 2] = transposed[:-2] @ (far[..., None, None] * J[2:]).reshape(T - 2, -1, _N)
    _add_step_cost(blocks, weights)
    return -_solve_block_banded(blocks, g)


def _per_joint_terms(e: Evidence, p: np.ndarray, weights: Weights) -> tuple[np.ndarray, np.ndarray]:
    """(T, 26, 3, 3) and (T, 26, 3): quadratic cost of each joint's position by key points and floor."""
    cam = p @ e.R_cam_world.T + e.t_cam_world
    z = np.maximum(cam[..., 2], 0.2)
    uv = cam[..., :2] / z[..., None]
    miss = np.where(e.ray_weight[..., None] > 0, uv - np.nan_to_num(e.rays), 0)
    sigma = weights.ray * e.stature_m / z[:, :1]
    distance = np.linalg.norm(miss, axis=-1) / sigma
    w = e.ray_weight / sigma**2 / np.maximum(1, distance / 2.0)
    o, i = np.zeros_like(z), np.ones_like(z)
    A = (
        np.stack([i, o, -uv[..., 0], o, i, -uv[..., 1]], -1).reshape(*z.shape, 2, 3)
        / z[..., None, None]
        @ e.R_cam_world
    )
    metric = np.swapaxes(A, -1, -2) @ (w[..., None, None] * A)
    gradient = (np.swapaxes(A, -1, -2) @ (w[..., None] * miss)[..., None])[..., 0]
    height = p[:, SOLES, 1] - e.floor_y
    on = e.contact / weights.contact_height_m**2 / (1 + (height / 0.05) ** 2)
    under = np.where(height < 0, 1 / weights.below_floor_m**2, 0) / np.maximum(1, -height / 0.02)
    metric[:, SOLES, 1, 1] += on + under
    gradient[:, SOLES, 1] += (on + under) * height
    return metric, gradient


def _add_lifted(e: Evidence, p: np.ndarray, J: np.ndarray, H: np.ndarray, g: np.ndarray, weights: Weights) -> None:
    """Root-relative positions against the lifter's, robust (Huber at three sigma), in place."""
    T = len(p)
    given = np.isfinite(e.lifted).all(-1)
    miss = np.where(given[..., None], p - p[:, :1] - np.nan_to_num(e.lifted), 0)
    distance = np.linalg.norm(miss, axis=-1) / e.sigma_m
    w = np.where(given, 1 / (weights.lifted * e.sigma_m) ** 2, 0) / np.maximum(1, distance / 3)
    w[:, 0] = 0
    turn = J[..., 3:].reshape(T, -1, _N - 3)
    weighted = (w[..., None, None] * J[..., 3:]).reshape(T, -1, _N - 3)
    H[:, 3:, 3:] += np.swapaxes(turn, 1, 2) @ weighted
    g[:, 3:] += np.einsum("tri,tr->ti", weighted, miss.reshape(T, -1))


def _temporal_terms(
    e: Evidence, p: np.ndarray, metric: np.ndarray, gradient: np.ndarray, weights: Weights
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Isotropic couplings with the next frame (T-1, 26) and the one after (T-2, 26); diagonal parts go into `metric`.

    Planted soles keep still between frames; all joints accelerate little, robustly (Cauchy).
    """
    T, n = p.shape[:2]
    own = np.zeros((T, n))
    near, far = np.zeros((max(T - 1, 0), n)), np.zeros((max(T - 2, 0), n))
    if T > 1:
        dt = np.diff(e.times)[:, None]
        both = np.minimum(e.contact[1:], e.contact[:-1])
        w = both**2 / (weights.contact_speed_m_s * dt) ** 2 * np.minimum(dt * 30, 1)
        step = p[1:, SOLES] - p[:-1, SOLES]
        w = w / (1 + (np.linalg.norm(step, axis=-1) / dt / 0.5) ** 2)
        own[1:, SOLES] += w
        own[:-1, SOLES] += w
        near[:, SOLES] -= w
        gradient[1:, SOLES] += w[..., None] * step
        gradient[:-1, SOLES] -= w[..., None] * step
    if T > 2:
        c, seconds = second_difference(e.times)
        a = sum(c[:, i, None, None] * p[i : T - 2 + i] for i in range(3))
        size = np.linalg.norm(a, axis=-1) / (3 * weights.acceleration_m_s2)
        w = (seconds * 30)[:, None] / weights.acceleration_m_s2**2 / (1 + size**2)
        for i in range(3):
            own[i : T - 2 + i] += w * c[:, i, None] ** 2
            gradient[i : T - 2 + i] += (w * c[:, i, None])[..., None] * a
        near[:-1] += w * (c[:, 0] * c[:, 1])[:, None]
        near[1:] += w * (c[:, 1] * c[:, 2])[:, None]
        far += w * (c[:, 0] * c[:, 2])[:, None]
    metric[..., [0, 1, 2], [0, 1, 2]] += own[..., None]
    return near, far, gradient


def _add_step_cost(blocks: np.ndarray, weights: Weights) -> None:
    """Keep each step small and alike between frames, in place: what no evidence moves stays and stays smooth."""
    turns = np.arange(3, _N)
    alone = 1 / weights.turn_step**2
    alike = 1 / (weights.turn_step / 8) ** 2
    neighbours = np.full(len(blocks), 2.0)
    neighbours[[0, -1]] -= 1
    blocks[:, turns, 0, turns] += alone + alike * neighbours[:, None] * (len(blocks) > 1)
    blocks[:, np.arange(3), 0, np.arange(3)] += 1e-3
    blocks[:-1, turns, 1, turns] -= alike


def _solve_block_banded(blocks: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Answer (T, n) of the symmetric system whose blocks [t, :, k] couple frame t (rows) with t + k (columns)."""
    T, n = g.shape
    width = min(3, T) * n
    rows = blocks.reshape(T, n, 3 * n)[..., :width]
    # LAPACK's lower band wants column j to start at its diagonal; by symmetry that is row j from its diagonal on.
    band = np.zeros((T, n, width))
    for i in range(n):
        band[:, i, : width - i] = rows[:, i, i:]
    band = band.reshape(T * n, width).T
    return solveh_banded(band, g.reshape(-1), lower=True, overwrite_ab=True, check_finite=False).reshape(T, n)
