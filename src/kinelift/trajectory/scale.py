"""How large the person is: all that says so, weighed together in log-space.

One camera sees a large person far away as it sees a small one near by. What knows metres: the height given, people's
own spread, a metric depth network, and a floor whose distance from the camera is known. All sizes are found as a ratio
to the reference body, which geometry fits first (`STATURE_PRIOR_M`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kinelift.camera import Camera
from kinelift.errors import InputError
from kinelift.kinematics import STATURE_PRIOR_M, STATURE_PRIOR_SIGMA
from kinelift.trajectory.depth import PersonDepth

# Standard deviations, as shares of the height: a tape measure; a metric depth network's scale of a whole clip (their
# papers' errors on data they were not trained on); what the fitted body leaves open even where the floor is known.
_SIGMA_GIVEN, _SIGMA_NETWORK, _SIGMA_BODY = 0.005, 0.15, 0.02
# Metres that planted soles lie off a stated floor; heights outside these say that the feet stood on something else.
_SIGMA_SOLE_M, _BELIEVED_M = 0.03, (0.8, 2.3)
# How far a gravity found from the clip is off, radians.
_SIGMA_LEVEL = np.radians(2.0)
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


def of_floor(camera: Camera, soles_cam: np.ndarray, contact: np.ndarray, floor_y: float = 0.0) -> Stature | None:
    """Where a calibration's floor is known: planted soles lie on it.

    `soles_cam` (T, F, 3) are a body of 1.70 m's in camera axes, `contact` (T, F), the calibration's floor at height
    `floor_y` of the world. Their rays meet the floor at metric distances. None where fewer than 5 soles are planted,
    the camera looks along the floor, or the height would be nobody's: the feet stood on something else.
    """
    R, t = np.asarray(camera.R_cam_world), np.asarray(camera.t_cam_world)
    above = camera.position[..., 1] - floor_y
    fall = -np.einsum("...ji,...fj->...fi", R, soles_cam)[..., 1]  # height lost on the way to the sole
    ratio = np.broadcast_to(above, t.shape[:-1])[..., None] / np.where(np.abs(fall) > 0.1, fall, np.nan)
    ratio = ratio[(contact > 0.6) & np.isfinite(ratio) & (ratio > 0)]
    if len(ratio) < 5:
        return None
    unsure = np.hypot(_SIGMA_BODY, _SIGMA_SOLE_M / max(float(np.median(np.abs(above))), 1e-3))
    found = _from_ratios(ratio, float(unsure), "the calibration's floor")
    return found if _BELIEVED_M[0] < found.height_m < _BELIEVED_M[1] else None


def of_camera_height(camera_m: float, reference_m: float, distance_m: float) -> Stature | None:
    """A camera's known height above the floor, over the height `reference_m` at which geometry puts it for a body of
    1.70 m that stands `distance_m` away: the flatter the look, the more an error of gravity counts.
    """
    if camera_m <= 0 or reference_m <= 0.1:
        return None
    sigma = np.hypot(_SIGMA_BODY, _SIGMA_LEVEL * distance_m / reference_m)
    return Stature(STATURE_PRIOR_M * camera_m / reference_m, float(sigma), "the camera's height")


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
