"""Costs of joints turned into normal equations of the degrees of freedom, without ever building a Jacobian.

Joints that hang on one another share what moves them. So each joint's cost is first written for twists (6 x 6, about
the frame's root), summed over subtrees, and only then taken along each degree of freedom: Featherstone's composite
rigid body algorithm (Rigid Body Dynamics Algorithms, 2008, ch. 6) with costs in place of masses. A joint at x moves by
A (v, w), A = [I, -[x]]; its cost M becomes A^T M A.
"""

from __future__ import annotations

import numpy as np

from kinelift.cleanup.banded import BlockBanded
from kinelift.cleanup.body import COLUMNS, DOF, HOLDS, HOLDS_STRICTLY, PLACE, SUBTREE, twists
from kinelift.cleanup.evidence import Weights
from kinelift.cleanup.residuals import Costs
from kinelift.cleanup.sway import SWAY

_UPPER = np.triu(HOLDS).astype(float)
# What keeps the root where no evidence moves it.
_ROOT_STEP = 1e-3
# So many frames' blocks fit a processor's cache.
_CHUNK = 48
# Steps of neighbouring frames are alike to this fraction of `Weights.turn_step`.
_ALIKE = 1 / 8


def normal_equations(c: Costs, p: np.ndarray, glob: np.ndarray, weights: Weights) -> tuple[BlockBanded, np.ndarray]:
    """The system (T n, T n) and the gradient (T, n) of `c` at positions (T, 26, 3), rotations (T, 26, 3, 3).

    n is `DOF`, and `SWAY` unknowns of the camera after it where `c` has its cost.
    """
    T = len(p)
    b, x = twists(p, glob), p - p[:, :1]
    system = BlockBanded(T, DOF if c.sway is None else DOF + SWAY)
    gradient = np.zeros((T, system.n))
    body, slope = system.leading(DOF), gradient[:, :DOF]
    slope[...] = _own(c, x, b, body.own)
    for lag, between, out in ((1, c.near, body.next), (2, c.far, body.after)):
        for start in range(0, T - lag, _CHUNK):
            at, later = (slice(start + k, min(start + _CHUNK, T - lag) + k) for k in (0, lag))
            _between(between[at], x[at], x[later], b[at], b[later], out[at])
    if c.angles is not None:
        c.angles.add_to(body.own, slope)
    if c.balance is not None:
        c.balance.add_to(body, slope, x, b)
    if c.sway is not None:
        c.sway.add_to(system.leading(system.n), gradient, b, _composite(c.sway.metric, x), _wrench(c.sway.force, x))
    _add_step_cost(system, weights)
    return system, gradient


def _own(c: Costs, x: np.ndarray, b: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Write each frame's own block (upper triangle) and return the gradient (T, DOF)."""
    whole = _composite(c.metric, x)
    np.multiply(b @ _pulled(whole + _composite_isotropic(c.relative, x, x), b), _UPPER, out=out)
    # Positions relative to the root do not feel its translation.
    out[:, :3] = _UPPER[:3] * _pulled(whole[:, :, :3], b)
    root = _wrench(c.force, x)
    turning = root + _wrench(c.relative_force, x)
    gradient = np.einsum("tni,tni->tn", b, turning[:, PLACE])
    gradient[:, :3] = root[:, 0, :3]
    return gradient


def _between(
    weight: np.ndarray, x: np.ndarray, y: np.ndarray, b_x: np.ndarray, b_y: np.ndarray, out: np.ndarray
) -> None:
    """Write the blocks between frames with joints at x and at y (N, 26, 3), coupled by `weight` (N, 26)."""
    pull = _composite_isotropic(weight, x, y)
    ahead = b_x @ _pulled(pull, b_y)
    back = b_y @ _pulled(np.swapaxes(pull, -1, -2), b_x)
    np.multiply(ahead, HOLDS, out=out)
    out += np.swapaxes(np.multiply(back, HOLDS_STRICTLY, out=back), 1, 2)


def _pulled(pull: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(T, n, DOF): each degree of freedom's twist (T, DOF, 6) times the matrix (n, 6) of its place, `pull`."""
    out = np.empty((len(b), pull.shape[2], DOF))
    for place, columns in COLUMNS:
        np.matmul(pull[:, place], np.swapaxes(b[:, columns], 1, 2), out=out[..., columns])
    return out


def _wrench(force: np.ndarray, x: np.ndarray) -> np.ndarray:
    """(T, 17, 6) force and torque about the root, summed over subtrees."""
    return SUBTREE @ np.concatenate([force, np.cross(x, force)], -1)


def _skew(v: np.ndarray) -> np.ndarray:
    """Cross product matrices (..., 3, 3) of vectors (..., 3)."""
    out = np.zeros((*v.shape, 3))
    out[..., 0, 1], out[..., 0, 2], out[..., 1, 2] = -v[..., 2], v[..., 1], -v[..., 0]
    out[..., 1, 0], out[..., 2, 0], out[..., 2, 1] = v[..., 2], -v[..., 1], v[..., 0]
    return out


def _composite(metric: np.ndarray, x: np.ndarray) -> np.ndarray:
    """(T, 17, 6, 6) sums over subtrees of A^T M A, M (T, 26, 3, 3) symmetric."""
    cross = _skew(x)
    mixed = metric @ cross
    turn = cross @ mixed
    parts = np.concatenate([metric, mixed, turn], -1).reshape(*x.shape[:2], 27)
    sums = (SUBTREE @ parts).reshape(len(x), -1, 3, 9)
    out = np.empty((*sums.shape[:2], 6, 6))
    out[..., :3, :3] = sums[..., :3]
    out[..., :3, 3:] = -sums[..., 3:6]
    out[..., 3:, :3] = -np.swapaxes(sums[..., 3:6], -1, -2)
    out[..., 3:, 3:] = -sums[..., 6:]
    return out


def _composite_isotropic(weight: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(T, 17, 6, 6) sums over subtrees of A_x^T A_y times weights (T, 26)."""
    w = weight[..., None]
    outer = (w * y)[..., :, None] * x[..., None, :]
    parts = np.concatenate([w, w * x, w * y, outer.reshape(*x.shape[:2], 9)], -1)
    sums = SUBTREE @ parts
    yx = sums[..., 7:].reshape(*sums.shape[:2], 3, 3)
    out = np.zeros((*sums.shape[:2], 6, 6))
    i = np.arange(3)
    out[..., i, i] = sums[..., :1]
    out[..., :3, 3:] = -_skew(sums[..., 4:7])
    out[..., 3:, :3] = _skew(sums[..., 1:4])
    out[..., 3:, 3:] = -yx
    out[..., 3 + i, 3 + i] += np.trace(yx, axis1=-2, axis2=-1)[..., None]
    return out


def _add_step_cost(system: BlockBanded, weights: Weights) -> None:
    """Keep each step small and alike between frames: what no evidence moves stays, and stays smooth."""
    turns, root = np.arange(3, DOF), np.arange(3)
    alike = 1 / (weights.turn_step * _ALIKE) ** 2
    neighbours = np.full(system.frames, 2.0)
    neighbours[[0, -1]] -= 1 if system.frames > 1 else 2
    system.own[:, turns, turns] += 1 / weights.turn_step**2 + alike * neighbours[:, None]
    system.own[:, root, root] += _ROOT_STEP
    system.next[:, turns, turns] -= alike
