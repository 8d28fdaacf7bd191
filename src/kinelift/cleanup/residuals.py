"""Every kind of evidence as a robust quadratic cost around the solution so far.

Costs act on joint positions, on positions relative to the root, or on joint angles; how degrees of freedom move these
is `normal`'s business. Robust losses enter as weights, taken at the solution so far (iteratively reweighted least
squares).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from kinelift.cleanup.balance import Balance, balance
from kinelift.cleanup.body import SOLES, SUPPORTS
from kinelift.cleanup.evidence import Evidence, Weights
from kinelift.cleanup.limits import Angles, range_excess
from kinelift.cleanup.sway import SwayCost, sway_cost
from kinelift.trajectory.root import second_difference

# Where robust losses bend: key points and lifter in sigma, the rest in metres, m/s, sigma and radians.
_RAY_BEND, _LIFTED_BEND, _DEPTH_BEND = 2.0, 3.0, 2.0
_BELOW_BEND_M, _SPEED_BEND_M_S, _ACCELERATION_BEND, _LIMIT_BEND = 0.015, 0.5, 0.6, 0.3
# The floor is the height of one of the soles, which rounding must not tip below itself.
_TIE_M = 1e-9
# Of a body of true size; one fitted at reference size is near enough.
_GRAVITY_M_S2 = 9.81
# By how much accelerations are freer in a flight, and where the legs push off and land.
_FLIGHT_SLACK = 3.0


@dataclass(eq=False)
class Costs:
    """Half the square, up to first order, of what degrees of freedom do to joints.

    Attributes:
        metric: (T, 26, 3, 3) curvature of the cost of each joint's position.
        force: (T, 26, 3) its gradient.
        near: (T-1, 26) curvature between a joint's position and its next, times the identity.
        far: (T-2, 26) between a position and the next but one.
        relative: (T, 26) curvature of the cost of positions relative to the root, times the identity.
        relative_force: (T, 26, 3) its gradient.
        angles: Joint angles beyond their range; None: not counted.
        balance: Centre of mass over support; None: not counted.
        sway: Corrections of the camera; None: it is where it is.
    """

    metric: np.ndarray
    force: np.ndarray
    near: np.ndarray
    far: np.ndarray
    relative: np.ndarray
    relative_force: np.ndarray
    angles: Angles | None = None
    balance: Balance | None = None
    sway: SwayCost | None = None

    def inner(self, before: int, after: int) -> Costs:
        """Of all frames but so many first and last ones, which do not move."""
        cut: dict[str, Any] = {}
        for f in fields(self):
            x, lag = getattr(self, f.name), {"near": 1, "far": 2}.get(f.name, 0)
            frames = slice(before, len(self.metric) - after - lag)
            cut[f.name] = x if x is None else x[frames] if isinstance(x, np.ndarray) else x.sliced(frames)
        return Costs(**cut)


def costs(e: Evidence, p: np.ndarray, local: np.ndarray, weights: Weights) -> Costs:
    """All evidence about positions p (T, 26, 3) and local rotations (T, 26, 3, 3)."""
    T, n = p.shape[:2]
    own = np.zeros((T, n))
    out = Costs(
        np.zeros((T, n, 3, 3)), np.zeros((T, n, 3)), np.zeros((max(T - 1, 0), n)), np.zeros((max(T - 2, 0), n)),
        np.zeros((T, n)), np.zeros((T, n, 3)),
    )  # fmt: skip
    for terms in (_SEEN, _OTHERS):
        for term, add in terms.items():
            if term not in weights.off:
                add(e, p, weights, out, own)
        if terms is _SEEN and e.sway is not None:
            out.sway = sway_cost(e.sway, e.times, out.metric.copy(), out.force.copy(), p[:, 0], e.centre)
    out.metric[..., [0, 1, 2], [0, 1, 2]] += own[..., None]
    if "limits" not in weights.off:
        out.angles = range_excess(local, weights.limit, _LIMIT_BEND)
    if "balance" not in weights.off:
        out.balance = balance(e, p, weights)
    return out


def _rays(e: Evidence, p: np.ndarray, weights: Weights, out: Costs, own: np.ndarray) -> None:
    """Key points: the joint's ray minus the ray seen (Huber)."""
    cam = e.to_camera(p)
    z = np.maximum(cam[..., 2], 0.2)
    uv = cam[..., :2] / z[..., None]
    seen = e.ray_weight > 0
    miss = np.where(seen[..., None], uv - np.nan_to_num(e.rays), 0)
    sigma = weights.ray * e.stature_m / z[:, :1]
    w = e.ray_weight / sigma**2 / np.maximum(1, np.linalg.norm(miss, axis=-1) / sigma / _RAY_BEND)
    # d(u, v)/dx = ([1, 0, -u], [0, 1, -v]) / z in camera axes.
    R = e.R_cam_world[:, None] if e.R_cam_world.ndim == 3 else e.R_cam_world
    slope = (R[..., :2, :] - uv[..., None] * R[..., 2:, :]) / z[..., None, None]
    weighted = np.swapaxes(slope * w[..., None, None], -1, -2)
    out.metric += weighted @ slope
    out.force += (weighted @ miss[..., None])[..., 0]


def _lifted(e: Evidence, p: np.ndarray, weights: Weights, out: Costs, own: np.ndarray) -> None:
    """Root-relative positions minus the lifter's (Huber)."""
    given = np.isfinite(e.lifted).all(-1)
    given[:, 0] = False
    miss = np.where(given[..., None], p - p[:, :1] - np.nan_to_num(e.lifted), 0)
    w = given / (weights.lifted * e.sigma_m) ** 2
    w /= np.maximum(1, np.linalg.norm(miss, axis=-1) / e.sigma_m / _LIFTED_BEND)
    out.relative += w
    out.relative_force += w[..., None] * miss


def _contact_height(e: Evidence, p: np.ndarray, weights: Weights, out: Costs, own: np.ndarray) -> None:
    """Height of planted soles above what they stand on (Cauchy)."""
    height = p[:, SOLES, 1] - e.support_y
    w = e.contact[:, : len(SOLES)] / weights.contact_height_m**2 / (1 + (height / weights.contact_height_bend_m) ** 2)
    out.metric[:, SOLES, 1, 1] += w
    out.force[:, SOLES, 1] += w * height


def _below_floor(e: Evidence, p: np.ndarray, weights: Weights, out: Costs, own: np.ndarray) -> None:
    """Depth of soles below the floor, or below what they stand on where that is lower (Cauchy, one-sided).

    Far below, it is the floor that is wrong: a stiffer cost moves the person by metres along the camera's rays.
    """
    height = p[:, SOLES, 1] - np.minimum(e.support_y, e.floor_y)
    w = (height < -_TIE_M) / weights.below_floor_m**2 / (1 + (height / _BELOW_BEND_M) ** 2)
    out.metric[:, SOLES, 1, 1] += w
    out.force[:, SOLES, 1] += w * height


def _depth(e: Evidence, p: np.ndarray, weights: Weights, out: Costs, own: np.ndarray) -> None:
    """The root's depth in camera axes minus the measured (Huber)."""
    known = np.isfinite(e.depth)
    if not known.any():
        return
    miss = np.where(known, e.to_camera(p[:, :1])[:, 0, 2] - np.nan_to_num(e.depth), 0)
    sigma = np.where(known, e.depth_sigma, 1.0)
    w = known / sigma**2 / np.maximum(1, np.abs(miss) / sigma / _DEPTH_BEND)
    axis = np.broadcast_to(e.R_cam_world[..., 2, :], (len(p), 3))
    out.metric[:, 0] += (w[:, None] * axis)[..., None] * axis[:, None]
    out.force[:, 0] += (w * miss)[:, None] * axis


def _contact_speed(e: Evidence, p: np.ndarray, weights: Weights, out: Costs, own: np.ndarray) -> None:
    """Step of a planted point between two frames in contact, minus the step of what it stands on (Cauchy)."""
    if len(p) < 2:
        return
    dt = np.diff(e.times)[:, None]
    # Inside a flight nothing holds, however likely; its first and last frames count whole.
    contact = e.contact * np.minimum(4 * (1 - e.flown()[:, :1]), 1)
    both = np.minimum(contact[1:], contact[:-1])
    step = p[1:, SUPPORTS] - p[:-1, SUPPORTS] - (e.drift[:-1] * dt)[:, None]
    w = both**2 / (weights.contact_speed_m_s * dt) ** 2 * np.minimum(dt * 30, 1)
    w = w / (1 + (np.linalg.norm(step, axis=-1) / dt / _SPEED_BEND_M_S) ** 2)
    own[1:, SUPPORTS] += w
    own[:-1, SUPPORTS] += w
    out.near[:, SUPPORTS] -= w
    out.force[1:, SUPPORTS] += w[..., None] * step
    out.force[:-1, SUPPORTS] -= w[..., None] * step


def _acceleration(e: Evidence, p: np.ndarray, weights: Weights, out: Costs, own: np.ndarray) -> None:
    """Acceleration of every joint, beside gravity's where the body flies (pseudo-Huber): quick moves stay quick."""
    T = len(p)
    if T < 3:
        return
    c, seconds = second_difference(e.times)
    a = sum(c[:, i, None, None] * p[i : T - 2 + i] for i in range(3))
    flying, near = e.flown()[1:-1].T
    a[..., 1] += _GRAVITY_M_S2 * flying[:, None]
    sigma = weights.acceleration_m_s2 * (1 + (_FLIGHT_SLACK - 1) * near[:, None])
    size = np.linalg.norm(a, axis=-1) / (_ACCELERATION_BEND * weights.acceleration_m_s2)
    w = (seconds * 30)[:, None] / sigma**2 / np.sqrt(1 + size**2)
    for i in range(3):
        own[i : T - 2 + i] += w * c[:, i, None] ** 2
        out.force[i : T - 2 + i] += (w * c[:, i, None])[..., None] * a
    out.near[:-1] += w * (c[:, 0] * c[:, 1])[:, None]
    out.near[1:] += w * (c[:, 1] * c[:, 2])[:, None]
    out.far += w * (c[:, 0] * c[:, 2])[:, None]


# What cameras see, and what holds without them.
_SEEN = {"rays": _rays, "depth": _depth}
_OTHERS = {
    "lifted": _lifted,
    "contact_height": _contact_height,
    "below_floor": _below_floor,
    "contact_speed": _contact_speed,
    "acceleration": _acceleration,
}
