"""Feet that walk without sliding: planned footsteps turned into exact foot poses and contacts.

A planted foot rolls over fixed points: it lands on its heel, lies flat, then lifts over its toe. The point it turns
about does not move at all, so contacts are exact by construction. Between plants the foot swings on smooth curves.
Times of the phases follow the gait cycle of Perry and Burnfield (Gait Analysis, 2010): heel only for about a tenth
of the stance, heel off at half of the cycle's stance, swing about 40 % of the cycle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kinelift.kinematics import rotvec_to_matrix

LANDING_S = 0.11
ROLL_OFF_S = 0.23
LANDING_PITCH_RAD = np.radians(19.0)
ROLL_OFF_PITCH_RAD = np.radians(56.0)
# A stride this long rolls fully; shorter ones in proportion.
FULL_STRIDE_M = 1.25


@dataclass(frozen=True)
class Step:
    """One plant of one foot.

    Attributes:
        x, z: World metres, the point beneath the ankle when the foot is flat.
        yaw: Radians about +Y, 0 = the toe towards +Z.
        strike_s: When the heel lands.
        swing_s: How long the foot was in the air before.
    """

    x: float
    z: float
    yaw: float
    strike_s: float
    swing_s: float = 0.40


@dataclass(frozen=True, eq=False)
class FootPath:
    """One foot through time.

    Attributes:
        ankle: (T, 3) world metres.
        rotation: (T, 3, 3) the foot's axes in the world; identity = flat, toe towards +Z.
        heel_down, toe_down: (T,) bool, the sole point is planted.
    """

    ankle: np.ndarray
    rotation: np.ndarray
    heel_down: np.ndarray
    toe_down: np.ndarray


def foot_rotation(yaw: np.ndarray, pitch: np.ndarray) -> np.ndarray:
    """(..., 3, 3) rotations of feet; positive pitch points the toe down."""
    yaw, pitch = np.broadcast_arrays(yaw, pitch)
    zero = np.zeros_like(yaw, dtype=float)
    turn = rotvec_to_matrix(np.stack([zero, yaw, zero], -1))
    return turn @ rotvec_to_matrix(np.stack([pitch, zero, zero], -1))


def hermite(u: np.ndarray, p0: np.ndarray, p1: np.ndarray, d0: np.ndarray, d1: np.ndarray) -> np.ndarray:
    """Cubic (n, ...) from p0 to p1 at u (n,) in [0, 1] with slopes d0, d1 per unit of u."""
    u = u.reshape(-1, *(1,) * np.ndim(p0))
    return (1 + 2 * u) * (1 - u) ** 2 * p0 + u * (1 - u) ** 2 * d0 + u * u * (3 - 2 * u) * p1 + u * u * (u - 1) * d1


class _Plant:
    """The stance of one step: pitch over time, and the ankle that follows from the fixed sole point."""

    def __init__(self, step: Step, off_s: float, roll_in: float, roll_out: float, heel: np.ndarray, toe: np.ndarray):
        self.step, self.off_s = step, off_s
        self.roll_in, self.roll_out = roll_in, roll_out
        self.flat_s = step.strike_s + LANDING_S
        self.lift_s = off_s - ROLL_OFF_S
        self.heel, self.toe = heel, toe

    def pitch(self, t: np.ndarray) -> np.ndarray:
        landing = np.clip((self.flat_s - t) / LANDING_S, 0, 1)
        rolling = np.clip((t - self.lift_s) / ROLL_OFF_S, 0, 1)
        return -self.roll_in * LANDING_PITCH_RAD * landing**1.8 + self.roll_out * ROLL_OFF_PITCH_RAD * rolling**2

    def ankle(self, t: np.ndarray) -> np.ndarray:
        step = self.step
        flat = np.array([step.x, -self.heel[1], step.z])
        still = foot_rotation(np.array(step.yaw), np.array(0.0))
        pivot = np.where((t < self.flat_s)[:, None], self.heel, self.toe)
        turned = np.einsum("tij,tj->ti", foot_rotation(np.full(len(t), step.yaw), self.pitch(t)), pivot)
        return flat + pivot @ still.T - turned


def foot_path(steps: list[Step], times: np.ndarray, heel: np.ndarray, toe: np.ndarray) -> FootPath:
    """Carry one foot through its steps.

    Args:
        steps: In order of time; the first has landed by `times[0]` or is the swing's beginning before it, and the
            foot stays on the last.
        times: (T,) seconds.
        heel, toe: (3,) metres, sole points from the ankle in the rest pose; both at the same depth.
    """
    plants = []
    for i, step in enumerate(steps):
        last = i == len(steps) - 1
        off = np.inf if last else steps[i + 1].strike_s - steps[i + 1].swing_s
        stride = [
            np.hypot(s.x - step.x, s.z - step.z) / FULL_STRIDE_M for s in (steps[max(i - 1, 0)], steps[i - last + 1])
        ]
        roll_in, roll_out = (float(np.clip(s, 0.35, 1.0)) for s in stride)
        plants.append(_Plant(step, off, roll_in if i else 1.0, 0.0 if last else roll_out, heel, toe))
    n = len(times)
    ankle, yaw, pitch = np.zeros((n, 3)), np.zeros(n), np.zeros(n)
    heel_down, toe_down = np.zeros(n, bool), np.zeros(n, bool)
    for i, plant in enumerate(plants):
        here = (times >= plant.step.strike_s) & (times <= plant.off_s)
        ankle[here], pitch[here], yaw[here] = plant.ankle(times[here]), plant.pitch(times[here]), plant.step.yaw
        heel_down |= here & (times <= plant.lift_s)
        toe_down |= here & (times >= plant.flat_s)
        if i + 1 < len(plants):
            up = (times > plant.off_s) & (times < plants[i + 1].step.strike_s)
            ankle[up], yaw[up], pitch[up] = _swing(plant, plants[i + 1], times[up])
    return FootPath(ankle, foot_rotation(yaw, pitch), heel_down, toe_down)


def _swing(start: _Plant, end: _Plant, t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ankle (n, 3), yaw (n,) and pitch (n,) of the foot in the air, leaving as it rolled and landing softly."""
    begin, finish = start.off_s, end.step.strike_s
    span = finish - begin
    u = (t - begin) / span
    step = 1e-4
    before, at = start.ankle(np.array([begin - step, begin]))
    leaving = (at - before) / step * span
    landing_at = end.ankle(np.array([finish]))[0]
    forward = np.array([np.sin(end.step.yaw), 0, np.cos(end.step.yaw)])
    landing = (0.35 * forward * end.roll_in - np.array([0, 0.25, 0])) * span
    ankle = hermite(u, at, landing_at, leaving, landing)
    ankle[:, 1] += 0.03 * (4 * u * (1 - u)) ** 2
    yaw = hermite(u, np.array(start.step.yaw), np.array(end.step.yaw), np.array(0.0), np.array(0.0))
    pitch0, pitch1 = start.pitch(np.array([begin]))[0], end.pitch(np.array([finish]))[0]
    rate = 2 * start.roll_out * ROLL_OFF_PITCH_RAD / ROLL_OFF_S * span
    pitch = hermite(u, pitch0, pitch1, np.array(0.5 * rate), np.array(0.0))
    return ankle, yaw, pitch
