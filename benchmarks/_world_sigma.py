"""How honest the solve's own uncertainty is, for `world.py`: errors of the limbs against what `sigma_m` states.

After one rigid alignment of each clip, since the world's origin and axes are no part of it; the stature is told. A
joint should lie within 2.5 sigma, the radius of a Gaussian's 90 % ball, nine times out of ten.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from _world_measures import LIMBS, aligned
from kinelift.kinematics import motion_positions
from kinelift.records import Motion

BALL, SHARE = 2.5, 0.9
COLUMNS = {"inside": "inside %", "factor": "needs x, %", "worst": "worst clip %", "error": "error mm"}
COLUMNS |= {"sigma": "sigma mm", "alike": "clips' r, %"}


def stated(motion: Motion, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(T, 12) errors of limb joints against truth (T, 26, 3), and their sigmas, both mm."""
    found, true = motion_positions(motion)[:, LIMBS], truth[:, LIMBS]
    errors = np.linalg.norm(aligned(found, found, true) - true, axis=-1)
    return 1000 * errors, 1000 * np.asarray(motion.sigma_m)[:, LIMBS]


def honesty(clips: Sequence[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """Of clips' errors and sigmas: `COLUMNS`.

    The share of errors inside the ball; what sigma must be multiplied by to make that 90 %, %; the share in the worst
    clip; mean error and sigma; and the correlation of the logarithms of clips' mean errors and sigmas.
    """
    off = [e / s for e, s in clips]
    every = np.concatenate([x.ravel() for x in off])
    errors, sigmas = (np.array([c[i].mean() for c in clips]) for i in (0, 1))
    return {
        "inside": 100 * float((every < BALL).mean()),
        "factor": 100 * float(np.quantile(every, SHARE)) / BALL,
        "worst": 100 * min(float((x < BALL).mean()) for x in off),
        "error": float(errors.mean()),
        "sigma": float(sigmas.mean()),
        "alike": 100 * float(np.corrcoef(np.log(errors), np.log(sigmas))[0, 1]) if len(clips) > 2 else float("nan"),
    }
