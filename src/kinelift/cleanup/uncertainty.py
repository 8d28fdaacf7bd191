"""How sure the solve is of each joint: its posterior, from the same equations it was solved with.

Where evidence is independent and Gaussian, the inverse of the normal equations is the covariance of the answer. Errors
of lifters and detectors repeat from frame to frame, so evidence is thinned to some ten frames a second, and one factor,
set on held-out motion, brings the stated to the actual errors.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kinelift.cleanup.body import DOF, position_jacobian
from kinelift.cleanup.evidence import Evidence, Weights
from kinelift.cleanup.normal import normal_equations
from kinelift.cleanup.residuals import costs
from kinelift.kinematics import forward_kinematics
from kinelift.skeleton import BODY26

_RATE_HZ = 10.0
# What actual errors are of stated ones: 90 % of the limbs' errors on held-out mocap and generated motion, after one
# rigid alignment of each clip, lie within 2.5 sigma, the radius of a Gaussian's 90 % ball (`benchmarks/world.py`, part
# sigma).
FACTOR = 2.75
# Radians: a joint of which nothing is known.
_UNKNOWN_TURN = 2.0
# Thinned frames that a window tells, and more on either side that it knows.
_WINDOW, _MARGIN = 90, 30


def posterior_sigma(e: Evidence, local: np.ndarray, root: np.ndarray, weights: Weights) -> np.ndarray:
    """(T, 26) metres, standard deviation a coordinate of each joint's place in the world, given the person's height.

    Of the solution's local rotations (T, 26, 3, 3) and root (T, 3), without the uncertainty of world and scale.
    """
    rate = (len(e.times) - 1) / np.ptp(e.times) if len(e.times) > 1 else _RATE_HZ
    every = max(round(rate / _RATE_HZ), 1)
    thin = slice(0, None, every)
    few, local, root = e.sliced(thin), local[thin], root[thin]
    weights = replace(weights, turn_step=_UNKNOWN_TURN)
    out = np.empty((len(root), len(BODY26)))
    for start in range(0, len(root), _WINDOW):
        first, stop = max(start - _MARGIN, 0), min(start + _WINDOW, len(root))
        around = slice(first, min(stop + _MARGIN, len(root)))
        part = _sigma(few.sliced(around), local[around], root[around], weights)
        out[start:stop] = part[start - first : stop - first]
    return FACTOR * np.stack([np.interp(e.times, few.times, column) for column in out.T], -1)


def _sigma(e: Evidence, local: np.ndarray, root: np.ndarray, weights: Weights) -> np.ndarray:
    positions, glob = forward_kinematics(BODY26, e.offsets, local, root)
    system, _ = normal_equations(costs(e, positions, local, weights), positions, glob, weights)
    system.factor()
    J = position_jacobian(positions, glob)
    flat = J.reshape(len(J), -1, J.shape[-1])
    covariance = system.inverse_blocks()[:, :DOF, :DOF]
    variance = ((flat @ covariance) * flat).sum(-1).reshape(J.shape[:3]).mean(-1)
    return np.sqrt(np.maximum(variance, 0))
