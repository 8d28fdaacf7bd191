"""The focal length of a clip whose camera is unknown, as far as the person gives it away.

A wrong focal length bends everything a little: what the lifter says then agrees less with the picture, its gravity
turns as the person goes about, and planted feet do not lie on one floor. None of this is strong, so the clip is lifted
for a few focal lengths, each is weighed by these spreads together with the prior, and the answer has an uncertainty.
The camera stands still: seen by a moving one, gravity turns and the floor tilts for other reasons.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kinelift.camera import Camera
from kinelift.records import Lifted, Pose2D
from kinelift.skeleton import BODY26
from kinelift.trajectory.depth import PersonDepth
from kinelift.trajectory.root import LIMBS, first_root, in_metres
from kinelift.trajectory.world import mean_direction

# Standard deviation of the logarithm of an unknown camera's focal length over the assumed one: phones, webcams and
# system cameras lie between half and twice the assumed 0.85 x long side.
PRIOR_SIGMA = 0.4
# What a depth network that sees the whole room says of it, once a clip.
_SIGMA_NETWORK = 0.12
# Focal lengths that are tried, over the assumed one.
_TRIED = np.array([0.5, 0.72, 1.0, 1.6, 2.6])
# Each spread counts as so many independent residuals: reprojection, height of planted soles, turn of gravity. Fitted
# on 78 six-second clips of held-out motion with focal lengths of 0.5 to 2 x the long side, then times 0.7 so that the
# stated sigma holds.
_COUNTS = np.array([9.0, 2.5, 5.3])
_CLIP_S = 6.0
# At most so much of a clip is lifted for each focal length; less than this narrowing of the prior is called nothing.
_LONGEST_S, _WEAK = 10.0, 0.85
_SOLES = BODY26.indices("left_heel", "left_toe", "right_heel", "right_toe")


@dataclass(frozen=True)
class Focal:
    """A focal length and how it was found.

    Attributes:
        focal_px: Pixels.
        sigma_px: Its standard deviation, pixels.
        source: Plain words for the report.
        moved: Whether it lies more than a tenth from where it began: the clip is worth lifting again.
    """

    focal_px: float
    sigma_px: float
    source: str
    moved: bool


def refine_focal(
    lift: Callable[[Pose2D, Camera], Lifted], pose: Pose2D, camera: Camera, depth: PersonDepth | None = None
) -> Focal:
    """The focal length on which prior, picture, gravity and floor agree best.

    `lift` answers body26 key points seen by a camera, in body26; `pose` are the clip's, `camera` has the assumed
    focal length. `depth` may carry a network's own word on it. The assumed one comes back where the clip says little.
    """
    part = _part(pose)
    spreads = np.full((len(_TRIED), len(_COUNTS)), np.nan)
    if part.detected.sum() >= 30:
        for i, factor in enumerate(_TRIED):
            tried = _refocused(camera, float(factor))
            spreads[i] = _spreads(lift(part, tried), part, tried)
    known = np.isfinite(spreads).all(0)
    seconds = float(np.ptp(part.times[part.detected])) if part.detected.any() else 0.0
    cost = np.log(spreads[:, known]) @ _COUNTS[known] * min(seconds / _CLIP_S, 1.0)
    words = ["the clip"] if known.any() else []
    beliefs = [(0.0, PRIOR_SIGMA)]
    if depth is not None and depth.focal_px is not None:
        beliefs.append((float(np.log(depth.focal_px / camera.focal_px)), _SIGMA_NETWORK))
        words.append(depth.source)
    mean, sigma = _moments(cost, beliefs)
    if sigma > _WEAK * PRIOR_SIGMA:
        sigma, start = PRIOR_SIGMA, camera.focal_px
        return Focal(start, start * sigma, "prior (0.85 x long side); the clip does not say more", False)
    found = float(camera.focal_px * np.exp(mean))
    return Focal(found, found * sigma, f"prior, refined by {' and '.join(words)}", bool(abs(mean) > np.log(1.1)))


def _refocused(camera: Camera, factor: float) -> Camera:
    K = camera.K.copy()
    K[..., [0, 1], [0, 1]] *= factor
    return camera.replaced(K=K)


def _part(pose: Pose2D) -> Pose2D:
    """The stretch of at most 10 s in which the person is seen most."""
    times = pose.times
    if np.ptp(times) <= _LONGEST_S:
        return pose
    seen = np.concatenate([[0], np.cumsum(pose.detected)])
    stop = np.searchsorted(times, times + _LONGEST_S)
    start = int(np.argmax(seen[stop] - seen[:-1]))
    return pose.sliced(slice(start, int(stop[start])))


def _spreads(lifted: Lifted, pose: Pose2D, camera: Camera) -> np.ndarray:
    """(3,) reprojection (m), height of planted soles (m), turn of gravity (rad); NaN where the lifter does not say or
    nothing is planted.
    """
    lifted = in_metres(lifted)
    root = first_root(lifted, pose, camera)
    at = lifted.positions + root[:, None]
    rays = at[:, LIMBS, :2] / np.maximum(at[:, LIMBS, 2:], 0.1)
    miss = np.linalg.norm(rays - camera.unproject(pose.xy[:, LIMBS]), axis=-1) * root[:, 2:]
    weight = np.where(np.isfinite(miss), pose.confidence[:, LIMBS], 0.0)
    out = np.full(len(_COUNTS), np.nan)
    if weight.any():
        out[0] = np.sqrt((weight * np.minimum(np.nan_to_num(np.abs(miss)), 0.15) ** 2).sum() / weight.sum())
    if lifted.gravity is not None:
        down = mean_direction(lifted.gravity, pose.detected + 1e-3)
        turn = np.minimum(np.arccos(np.clip(lifted.gravity @ down, -1, 1)), 0.5)
        out[2] = np.sqrt((turn[pose.detected] ** 2).mean() + 0.02**2)
        planted = (pose.detected[:, None] & (lifted.contact > 0.6)) if lifted.contact is not None else np.zeros(1, bool)
        if planted.sum() > 30:
            out[1] = max(np.std((at[:, _SOLES] @ down)[planted]), 1e-3)
    return np.maximum(out, 1e-6)


def _moments(cost: np.ndarray, beliefs: list[tuple[float, float]]) -> tuple[float, float]:
    """Mean and standard deviation of a logarithm over the assumed focal length's, of which the clip says `cost`, a
    negative log-likelihood at the places tried, and others a mean and a standard deviation.
    """
    from scipy.interpolate import PchipInterpolator

    logs = np.log(_TRIED)
    fine = np.linspace(logs[0], logs[-1], 241)
    between = PchipInterpolator(logs, cost)(fine)
    between += sum(0.5 * ((fine - mean) / sigma) ** 2 for mean, sigma in beliefs)
    density = np.exp(between.min() - between)
    density /= density.sum()
    mean = float(density @ fine)
    return mean, float(np.sqrt(density @ (fine - mean) ** 2))
