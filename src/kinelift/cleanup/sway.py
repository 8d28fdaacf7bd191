"""What odometry does not see of a camera: small turns and shifts of each frame's, unknowns of the whole-clip solve.

A camera path drifts, and a camera in the hand moves by centimetres that far surroundings do not show. Taken for true,
the path moves the person instead, feet and all. So every frame's camera may turn and shift a little: what drifts is a
random walk, what a hand does an oscillation that white accelerations drive, and both are drawn back to the path.
Planted feet tell it from the person's motion, and that nobody jumps as gently as a hand sways. To key points, a
camera's motion is the body's the other way round: both are twists, and share their costs.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from scipy.signal import savgol_filter

from kinelift.cleanup.banded import Blocks
from kinelift.cleanup.body import DOF, PLACE
from kinelift.kinematics import rotvec_to_matrix
from kinelift.trajectory.root import second_difference

# Unknowns a frame: shift of the camera, then its turn about itself, world axes.
SWAY = 6
# Odometry's own drift: radians after one second, and the share of each step's length that it errs by. Stated as sure:
# it drifts by four times as much, but a lifter's errors, which last, must not be taken for turns of the camera.
_TURN_RAD, _STEP = np.radians(0.05), 0.05
# Radians and metres beyond which a path is hardly off at all.
_MOST_TURN_RAD, _MOST_SHIFT_M = np.radians(2.0), 0.3
# Metres that a hand shifts for each radian that it trembles, and how often it sways.
_ARM_M, _HAND_HZ = 5.0, 0.4
# A smooth course: cubic over so many seconds.
_COURSE_S, _COURSE_ORDER = 1.0, 3
_LEAST_SHIFT_M = 0.001


@dataclass(eq=False)
class Sway:
    """Corrections of a camera path and how they may vary; shift in metres, then turn in radians, world axes.

    Attributes:
        so_far: (T, 6) what the cameras have been corrected by.
        hold, slow, even: (T, 6) information of a correction, of its speed and of its acceleration, for each second that
            they last.
    """

    so_far: np.ndarray
    hold: np.ndarray
    slow: np.ndarray
    even: np.ndarray

    def sliced(self, frames: slice) -> Sway:
        """Of some of the frames."""
        return Sway(**{f.name: getattr(self, f.name)[frames] for f in fields(self)})

    def turned(self, R: np.ndarray) -> None:
        """Into axes turned by R (3, 3), in place."""
        self.so_far = (self.so_far.reshape(-1, 2, 3) @ R.T).reshape(-1, SWAY)


def expected_sway(R: np.ndarray, t: np.ndarray, times: np.ndarray, scale: float) -> Sway:
    """The sway that a path of rotations (T, 3, 3) and translations (T, 3), `scale` metres a unit, may have.

    Of a camera that keeps its place, as odometry has it, the shift is known from the trembling of its turn.
    """
    hold, slow, even = np.zeros((3, len(times), SWAY))
    slow[:, 3:] = 1 / _TURN_RAD**2
    hold[:, 3:] = _TURN_RAD**2 / _MOST_TURN_RAD**4
    if t.any():
        centre = -scale * np.einsum("tji,tj->ti", R, t)
        speed = np.linalg.norm(np.gradient(centre, times, axis=0), axis=-1)
        spread = (_STEP * speed) ** 2 * np.gradient(times) + _LEAST_SHIFT_M**2
        slow[:, :3] = 1 / spread[:, None]
        hold[:, :3] = spread[:, None] / _MOST_SHIFT_M**4
    else:
        shift, pace = max(_ARM_M * trembling(R, times), _LEAST_SHIFT_M), 2 * np.pi * _HAND_HZ
        even[:, :3] = 1 / (2 * np.sqrt(2) * shift**2 * pace**3)
        hold[:, :3] = pace**4 * even[:, :3]
    return Sway(np.zeros_like(hold), hold, slow, even)


def trembling(R: np.ndarray, times: np.ndarray) -> float:
    """Radians about any axis, by which rotations (T, 3, 3) usually leave their own smooth course."""
    rate = (len(times) - 1) / max(float(np.ptp(times)), 1e-6)
    window = min(round(rate * _COURSE_S), len(times) - 1) // 2 * 2 + 1
    if window <= _COURSE_ORDER + 1:
        return 0.0
    rest = R - savgol_filter(R, window, _COURSE_ORDER, axis=0)
    return float(np.sqrt(np.median((rest**2).sum((1, 2))) / 6))


def swayed(R: np.ndarray, t: np.ndarray, by: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cameras R (T, 3, 3), t (T, 3) shifted and turned by (T, 6)."""
    centre = -np.einsum("tji,tj->ti", R, t) + by[:, :3]
    R = R @ rotvec_to_matrix(-by[:, 3:])
    return R, -np.einsum("tij,tj->ti", R, centre)


@dataclass(eq=False)
class SwayCost:
    """The cost of corrections up to second order, beside what they share with the body's.

    Attributes:
        metric, force: (T, 26, 3, 3) and (T, 26, 3) of `residuals.Costs`, of what the camera sees alone.
        arm: (T, 3) from the camera to the root.
        own: (T, 6) curvature of each frame's correction.
        near, far: (T, 6) between it and the next frame's, and the next but one's; the last are not used.
        gradient: (T, 6).
    """

    metric: np.ndarray
    force: np.ndarray
    arm: np.ndarray
    own: np.ndarray
    near: np.ndarray
    far: np.ndarray
    gradient: np.ndarray

    def sliced(self, frames: slice) -> SwayCost:
        """Of some of the frames."""
        return SwayCost(**{f.name: getattr(self, f.name)[frames] for f in fields(self)})

    def twists(self) -> np.ndarray:
        """(T, 6, 6) the body's twist (v, w) about its root that looks like each unknown: the opposite one."""
        out = np.zeros((len(self.arm), SWAY, 6))
        out[:, :3, :3] = out[:, 3:, 3:] = -np.eye(3)
        out[:, 3:, :3] = -np.cross(np.eye(3), self.arm[:, None])
        return out

    def add_to(self, blocks: Blocks, gradient: np.ndarray, b: np.ndarray, seen: np.ndarray, wrench: np.ndarray) -> None:
        """Into a system's blocks and its gradient (T, DOF + 6), in place.

        `b` (T, DOF, 6) the body's twists; `seen` (T, 17, 6, 6) and `wrench` (T, 17, 6) the sums over subtrees of
        `metric` and `force`.
        """
        away, i = self.twists(), np.arange(DOF, DOF + SWAY)
        pulled = seen @ np.swapaxes(away, 1, 2)[:, None]
        blocks.own[:, :DOF, DOF:] = np.einsum("tni,tnik->tnk", b, pulled[:, PLACE])
        blocks.own[:, DOF:, DOF:] = np.triu(away @ pulled[:, 0])
        blocks.own[:, i, i] += self.own
        blocks.next[:, i, i], blocks.after[:, i, i] = self.near[:-1], self.far[:-2]
        gradient[:, DOF:] = np.einsum("tki,ti->tk", away, wrench[:, 0]) + self.gradient

    def along(self, way: np.ndarray, blocks: Blocks, gradient: np.ndarray) -> tuple[np.ndarray, float, float]:
        """Of one more unknown that shifts every camera along `way` (T, 3): what it shares with the others (T, DOF + 6),
        its curvature and its slope.

        From `blocks` and `gradient` as `add_to` left them. To what is seen it is a shift like any; to the rest, none.
        """
        upper, i = np.triu(blocks.own[:, DOF:, DOF:]), np.arange(SWAY)
        seen = upper + np.swapaxes(np.triu(upper, 1), 1, 2)
        seen[:, i, i] -= self.own
        shift = np.concatenate([blocks.own[:, :DOF, DOF:], seen], 1)[..., :3]
        shared = (shift @ way[..., None])[..., 0]
        slope = (gradient[:, DOF : DOF + 3] - self.gradient[:, :3]) * way
        return shared, float((shared[:, DOF : DOF + 3] * way).sum()), float(slope.sum())


def sway_cost(
    sway: Sway, times: np.ndarray, metric: np.ndarray, force: np.ndarray, root: np.ndarray, centre: np.ndarray
) -> SwayCost:
    """The cost at corrections `sway.so_far`; `metric` and `force` of what cameras at `centre` (T, 3) see."""
    dt = np.gradient(times) if len(times) > 1 else np.full(1, 1 / 30)
    by, own = sway.so_far, sway.hold * dt[:, None]
    gradient, near, far = own * by, np.zeros_like(own), np.zeros_like(own)
    if len(times) > 1:
        w = (sway.slow[1:] + sway.slow[:-1]) / 2 / np.diff(times)[:, None]
        _couple(np.tile([-1.0, 1.0], (len(w), 1)), w, by, gradient, own, near)
    if len(times) > 2:
        c, seconds = second_difference(times)
        _couple(c, sway.even[1:-1] * seconds[:, None], by, gradient, own, near, far)
    return SwayCost(metric, force, root - centre, own, near, far, gradient)


def _couple(c: np.ndarray, w: np.ndarray, by: np.ndarray, gradient: np.ndarray, *lags: np.ndarray) -> None:
    """Add the cost of differences with coefficients c (N, K) of information w (N, 6), in place.

    To the gradient (T, 6), and to the curvature (T, 6) between rows so many frames apart, of each lag in turn.
    """
    N, K = c.shape
    difference = sum(c[:, k, None] * by[k : N + k] for k in range(K))
    for k in range(K):
        gradient[k : N + k] += w * c[:, k, None] * difference
        for lag in range(K - k):
            lags[lag][k : N + k] += w * (c[:, k] * c[:, k + lag])[:, None]
