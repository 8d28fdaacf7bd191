"""How large the person is: all that says so, weighed together in log-space.

One camera sees a large person far away as it sees a small one near by. What knows metres: the height given, people's
own spread, and a metric depth network. All sizes are found as a ratio to the reference body, which geometry fits first
(`STATURE_PRIOR_M`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kinelift.errors import InputError
from kinelift.kinematics import STATURE_PRIOR_M, STATURE_PRIOR_SIGMA
from kinelift.trajectory.depth import PersonDepth

# Standard deviations, as shares of the height: a tape measure; a metric depth network's scale of a whole clip (their
# papers' errors on data they were not trained on).
_SIGMA_GIVEN, _SIGMA_NETWORK = 0.005, 0.15
# All frames of one step repeat one measurement: a clip counts as so many at most.
_STEPS = 8


@dataclass(frozen=True)
class Scale:
    """The person's stature, which sets every length of the result.

    Attributes:
        height_m: Barefoot, floor to crown, metres.
        sigma_m: Its standard deviation, metres.
        source: What it was found from, in plain words for the report.
    """

    height_m: float
    sigma_m: float
    source: str


@dataclass(frozen=True)
class Stature:
    """One witness of the person's height.

    Attributes:
        height_m: What it says, metres.
        sigma: Standard deviation of its logarithm.
        source: Plain words.
    """

    height_m: float
    sigma: float
    source: str


def given(height_m: float) -> Stature:
    """A height that the user gave."""
    return Stature(height_m, _SIGMA_GIVEN, "height given")


def people() -> Stature:
    """What is known of a person of whom nothing is known."""
    return Stature(
        STATURE_PRIOR_M, STATURE_PRIOR_SIGMA, f"prior height {STATURE_PRIOR_M} m +- {STATURE_PRIOR_SIGMA:.0%}"
    )


def of_network(depth: PersonDepth, reference_z: np.ndarray, focal_sigma: float = 0.0) -> Stature | None:
    """A metric depth network's word: its depths over those (T,) that geometry gives a body of 1.70 m.

    `focal_sigma` is the uncertainty of the focal length's logarithm, which geometry's depths share. None where the
    network is not metric or saw nothing.
    """
    ratio = depth.z / np.where(reference_z > 0.1, reference_z, np.nan)
    ratio = ratio[np.isfinite(ratio) & (ratio > 0)]
    if not depth.metric or not len(ratio):
        return None
    return _from_ratios(ratio, float(np.hypot(_SIGMA_NETWORK, focal_sigma)), depth.source)


def _from_ratios(ratio: np.ndarray, sigma: float, source: str) -> Stature:
    """A witness of the median of sizes over the reference body's, with a common error and the median's own."""
    logs = np.log(ratio)
    middle = float(np.median(logs))
    spread = 1.48 * float(np.median(np.abs(logs - middle))) / np.sqrt(min(len(logs), _STEPS))
    return Stature(STATURE_PRIOR_M * float(np.exp(middle)), float(np.hypot(sigma, spread)), source)


def combined(witnesses: Sequence[Stature | None]) -> Scale:
    """The height on which witnesses agree best: robust weighted mean of logarithms; None is no witness.

    One that contradicts surer ones by several of its sigmas counts little (a depth network that takes a telephoto lens
    for a phone's), and the result is as unsure as they are apart (Birge's ratio). Raises `InputError` without any.
    """
    known = [w for w in witnesses if w is not None]
    if not known:
        raise InputError("nothing says how large the person is")
    if len(known) == 1:  # to the last bit
        return Scale(known[0].height_m, known[0].height_m * known[0].sigma, known[0].source)
    logs, stated = np.log([w.height_m for w in known]), np.array([w.sigma**-2 for w in known])
    weight = stated
    for _ in range(10):
        mean = float(logs @ weight / weight.sum())
        weight = stated / (1 + stated * (logs - mean) ** 2 / 3**2)
    apart = float(weight @ (logs - mean) ** 2) / max(len(known) - 1, 1)
    height = float(np.exp(mean))
    sigma = height * float(np.sqrt(max(apart, 1.0) / weight.sum()))
    return Scale(height, sigma, " and ".join(w.source for w in known))
