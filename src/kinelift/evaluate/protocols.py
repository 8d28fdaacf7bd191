"""The protocols: what of an answer is compared with the truth, and how it becomes one number a pose.

Scale. A lifter in metres is taken at its word (a body of reference stature). One of unit scale is put to metres as
the seed does (Kudo et al. 2018): the mean distance of x and y from the hip is made that of the truth. `n-mpjpe` and
`pa-mpjpe` depend on neither.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from kinelift import metrics

_FLIP = np.array([1.0, 1.0, -1.0])


@dataclass(frozen=True, eq=False)
class Compared:
    """N poses of J joints, the root first and at the origin, in the camera's axes.

    Attributes:
        true: (N, J, 3) metres.
        said: (N, J, 3) the lifter's answer in metres.
        drawn: (N, J, 3) metres: the answer's depths with the x and y of the input, both at the truth's scale.
    """

    true: np.ndarray
    said: np.ndarray
    drawn: np.ndarray

    @classmethod
    def of(cls, said: np.ndarray, metric: bool, rays: np.ndarray, true: np.ndarray) -> Compared:
        """From answers (N, J, 3) in metres or in any unit, input rays (N, J, 2) and the truth (N, J, 3)."""
        said, rays, true = (x - x[:, :1] for x in (said, rays, true))
        depths = said[..., 2:] / spread(said)
        drawn = np.concatenate([rays / spread(rays), depths], -1) * spread(true)
        return cls(true, said if metric else said / spread(said) * spread(true), drawn)

    def inverted(self) -> Compared:
        """Every answer with its depths turned about the root."""
        return replace(self, said=self.said * _FLIP, drawn=self.drawn * _FLIP)


def spread(x: np.ndarray) -> np.ndarray:
    """(N, 1, 1) mean distance in x and y of the other joints to the first, of (N, J, 2 or 3) with it at the origin."""
    return np.maximum(np.linalg.norm(x[:, 1:, :2], axis=-1).mean(1), 1e-9)[:, None, None]


@dataclass(frozen=True)
class Measure:
    """One protocol.

    Attributes:
        title: What the table's column is called, with its unit.
        poses: A number (N,) for every pose.
        higher: Whether more is better.
    """

    title: str
    poses: Callable[[Compared], np.ndarray]
    higher: bool = False

    def of(self, answers: Compared, allow_inversion: bool) -> np.ndarray:
        """(N,): a number a pose; with `allow_inversion` the better of the answer and its inversion."""
        as_said = self.poses(answers)
        if not allow_inversion:
            return as_said
        return (np.maximum if self.higher else np.minimum)(as_said, self.poses(answers.inverted()))


def _limb_errors(c: Compared) -> np.ndarray:
    return metrics.joint_errors(c.said, c.true)[:, 1:]


PROTOCOLS: dict[str, Measure] = {
    # Kudo et al. 2018: x and y are the input's, the prediction gives the depths, all at the truth's scale.
    "seed": Measure("seed mm", lambda c: metrics.joint_errors(c.drawn, c.true).mean(-1)),
    "mpjpe": Measure("MPJPE mm", lambda c: metrics.joint_errors(c.said, c.true).mean(-1)),
    "n-mpjpe": Measure("N-MPJPE mm", lambda c: metrics.n_errors(c.said, c.true).mean(-1)),
    "pa-mpjpe": Measure("PA-MPJPE mm", lambda c: metrics.pa_errors(c.said, c.true).mean(-1)),
    "pck": Measure("PCK@150 %", lambda c: metrics.correct(_limb_errors(c)), higher=True),
    "auc": Measure("AUC 0-150 %", lambda c: metrics.area_correct(_limb_errors(c)), higher=True),
}
