"""Who is carried by their feet does not fall: the centre of mass, and how it accelerates, over what carries it.

One camera hardly sees a body lean towards it or away. But a body that touches the ground with its feet alone
accelerates away from the point its weight rests on, by gravity over height times how far aside the centre of mass is
(the zero moment point, Vukobratovic and Borovac 2004, of an inverted pendulum). A sway of 10 cm in 1.6 s that the
pose has and the feet have not would need feet 25 cm longer. Segment masses are Winter's (2009).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from kinelift.cleanup.banded import Blocks
from kinelift.cleanup.body import PLACE, SOLES, SUBTREE
from kinelift.cleanup.evidence import Evidence, Weights
from kinelift.kinematics import STATURE_PRIOR_M, mass_weights
from kinelift.trajectory.root import second_difference

# Metres more for each m/s of the centre of mass: quick bodies turn and swing, which a pendulum does not.
_BY_SPEED_S = 0.25
# In sigma: from where on the body leans on something.
_BEND = 2.0
# The centre of mass of who stands or squats is so high at least, metres at reference stature; below, people sit.
_LEAST_M, _SOFT_M = 0.45, 0.05
_GRAVITY_M_S2, _LIGHT, _HEAVY = 9.81, 0.5, 3.0
_MASS = mass_weights()


@dataclass(eq=False)
class Balance:
    """The cost of the zero moment point's way from the support, by frame; each takes part in its own, the row before's
    and the row after's.

    Attributes:
        share: (T, 3) shares of the centre of mass in rows t - 1, t, t + 1.
        rests: (T, 26) shares of the joints in row t's support.
        miss: (T, 3, 2) these rows' way along x and z, metres.
        W: (T, 3, 2, 2) their information.
    """

    share: np.ndarray
    rests: np.ndarray
    miss: np.ndarray
    W: np.ndarray

    def sliced(self, frames: slice) -> Balance:
        """Of some of the frames."""
        return Balance(**{f.name: getattr(self, f.name)[frames] for f in fields(self)})

    def add_to(self, system: Blocks, gradient: np.ndarray, x: np.ndarray, b: np.ndarray) -> None:
        """Into a system's blocks and the gradient (T, DOF), in place.

        `x` (T, 26, 3) joints from the root, `b` (T, DOF, 6) twists.
        """
        centre, support = (_jacobian(w, x, b) for w in (np.broadcast_to(_MASS, self.rests.shape), self.rests))
        J = self.share[:, :, None, None] * centre[:, None]
        J[:, 1] -= support
        weighted = J @ self.W
        across = np.swapaxes(J, -1, -2)
        system.own[...] += np.triu((weighted @ across).sum(1))
        gradient += (weighted @ self.miss[..., None])[..., 0].sum(1)
        system.next[...] += (weighted[:-1, 1:] @ across[1:, :2]).sum(1)
        system.after[...] += weighted[:-2, 2] @ across[2:, 0]


def _jacobian(share: np.ndarray, x: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(T, DOF, 2) how sums of joints by `share` (T, 26) move along x and z."""
    moved = SUBTREE @ np.concatenate([share[..., None], share[..., None] * x], -1)
    return (b[..., :3] * moved[:, PLACE, :1] + np.cross(b[..., 3:], moved[:, PLACE, 1:]))[..., ::2]


def balance(e: Evidence, p: np.ndarray, weights: Weights) -> Balance | None:
    """The cost at positions p (T, 26, 3); None for fewer than three frames.

    Support is the mean of planted soles by their contact; as far as these are apart, weight may rest on any of them.
    """
    if len(p) < 3:
        return None
    contact = e.contact[:, : len(SOLES)]
    rests = contact / np.maximum(contact.sum(1, keepdims=True), 1e-6)
    centre = p.transpose(0, 2, 1) @ _MASS
    support = np.einsum("tf,tfc->tc", rests, p[:, SOLES])
    c, seconds = second_difference(e.times)
    acceleration = sum(c[:, k, None] * centre[k : len(p) - 2 + k] for k in range(3))
    height = (centre - support)[1:-1, 1]
    heavy = np.clip(acceleration[:, 1] / _GRAVITY_M_S2 + 1, _LIGHT, _HEAVY)
    lever = height / _GRAVITY_M_S2 / heavy
    # The first and the last frame stand still: a falling pendulum keeps the law, too.
    lever, c, seconds = (np.pad(v, [(1, 1)] + [(0, 0)] * (v.ndim - 1)) for v in (lever, c, seconds))
    acceleration = np.pad(acceleration, ((1, 1), (0, 0)))
    seconds[[0, -1]] = seconds[[1, -2]]
    miss = (centre - support - lever[:, None] * acceleration)[:, ::2]
    W = _information(e, p, rests, support, centre, weights)
    off = np.einsum("ti,tij,tj->t", miss, W, miss)
    W = W * (30 * seconds / (1 + off / _BEND**2))[:, None, None]
    share = [0, 1, 0] - lever[:, None] * c
    miss, W, share = (np.pad(v, [(1, 1)] + [(0, 0)] * (v.ndim - 1)) for v in (miss, W, share))
    near = [slice(k, k + len(p)) for k in range(3)]
    joints = np.zeros((len(p), p.shape[1]))
    joints[:, SOLES] = rests
    return Balance(
        np.stack([share[s, 2 - k] for k, s in enumerate(near)], 1), joints,
        np.stack([miss[s] for s in near], 1), np.stack([W[s] for s in near], 1),
    )  # fmt: skip


def _information(
    e: Evidence, p: np.ndarray, rests: np.ndarray, support: np.ndarray, centre: np.ndarray, weights: Weights
) -> np.ndarray:
    """(T, 2, 2) of the zero moment point about the support: none where others than feet may carry."""
    contact, others = e.contact[:, : len(SOLES)], e.contact[:, len(SOLES) :]
    speed = np.linalg.norm((np.gradient(centre, e.times, axis=0) - e.drift)[:, ::2], axis=-1)
    spread = (p[:, SOLES] - support[:, None])[..., ::2]
    covariance = np.einsum("tf,tfi,tfj->tij", rests, spread, spread)
    covariance[:, [0, 1], [0, 1]] += (weights.balance_m**2 + (_BY_SPEED_S * speed) ** 2)[:, None]
    height = (centre - support)[:, 1] * STATURE_PRIOR_M / e.stature_m
    stands = 1 / (1 + np.exp(-np.clip((height - _LEAST_M) / _SOFT_M, -30, 30)))
    alone = contact.max(1) * (1 - others.max(1)).clip(0, 1)
    return np.linalg.inv(covariance) * (stands * alone)[:, None, None]
