"""Ranges of motion: how far joints turn, and a soft one-sided cost beyond.

Ranges are those of healthy adults measured by goniometer, of the American Academy of Orthopaedic Surgeons (Greene and
Heckman (eds.), The Clinical Measurement of Joint Motion, 1994), widened by some 10 to 20 degrees: they are means of
people, bodies differ, and clinical angles are measured from other reference poses. Spine and neck are each two joints
here, which share the range.

Angles are read off the bone's direction u in its parent's frame (x to the body's left, y up, z forwards at rest; the
right side is mirrored): *flexion* is its angle in a plane, *elevation* its angle out of a plane, *twist* the turn about
the bone after the shortest swing (Dobrowolski, arXiv 1506.05481).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from kinelift.cleanup.body import AXIS, CENTRE
from kinelift.kinematics import matrix_to_quat
from kinelift.skeleton import BODY26

_X, _Y, _Z = np.eye(3)
# Joint: (what, the bone at rest, direction(s), lowest, highest) in degrees, left side. "flexion" is the angle of u
# from the first direction towards the second; "elevation" that of u towards the direction; "twist" about the bone.
_RANGES: dict[str, tuple[tuple, ...]] = {
    "spine": (
        ("flexion", _Y, (_Y, _Z), -30, 55),
        ("elevation", _Y, _X, -30, 30),
    ),
    "chest": (
        ("flexion", _Y, (_Y, _Z), -30, 55),
        ("elevation", _Y, _X, -30, 30),
        ("twist", _Y, None, -55, 55),
    ),
    "neck": (
        ("flexion", _Y, (_Y, _Z), -50, 50),
        ("elevation", _Y, _X, -40, 40),
    ),
    "head": (
        ("flexion", _Y, (_Y, _Z), -50, 50),
        ("elevation", _Y, _X, -40, 40),
        ("twist", _Y, None, -90, 90),
    ),
    "shoulder": (
        ("elevation", _X, _Z, -65, 90),
        ("elevation", _X, _X, -60, 90),
        ("twist", _X, None, -110, 110),
    ),
    "elbow": (
        ("flexion", _X, (_X, _Z), -10, 160),
        ("elevation", _X, _Y, -12, 12),
    ),
    "wrist": (("elevation", _X, _X, 5, 90),),
    "hip": (
        ("flexion", -_Y, (-_Y, _Z), -40, 135),
        ("elevation", -_Y, _X, -40, 65),
        ("twist", _Y, None, -65, 65),
    ),
    "knee": (
        ("flexion", -_Y, (-_Y, -_Z), -8, 160),
        ("elevation", -_Y, _X, -10, 10),
    ),
    "ankle": (
        ("elevation", _Z, _Y, -65, 40),
        ("flexion", _Z, (_Z, _X), -45, 45),
        ("twist", _Z, None, -45, 45),
    ),
}
_MIRROR = np.array([-1.0, 1, 1])


@dataclass(frozen=True)
class Range:
    """One angle of one joint and where it may be, radians; `bone`, `first`, `second` as in the table of ranges."""

    joint: int
    what: str
    bone: np.ndarray
    first: np.ndarray
    second: np.ndarray
    low: float
    high: float


def _ranges() -> Iterator[Range]:
    for name, rows in _RANGES.items():
        sides = [name] if name in BODY26.joints else [f"left_{name}", f"right_{name}"]
        for side, (what, bone, toward, low, high) in ((s, r) for s in sides for r in rows):
            first, second = toward if isinstance(toward, tuple) else (toward, toward)
            first, second = (np.zeros(3) if v is None else v for v in (first, second))
            if side.startswith("right"):
                # A mirrored turn about an axis in the mirror's plane runs the other way round.
                bone, first, second = bone * _MIRROR, first * _MIRROR, second * _MIRROR
                if what == "twist":
                    bone = -bone
            lowest, highest = np.radians([low, high])
            yield Range(BODY26.index(side), what, bone, first, second, lowest, highest)


RANGES = tuple(_ranges())


def _group(what: str) -> tuple[np.ndarray, ...]:
    some = [r for r in RANGES if r.what == what]
    fields = ("joint", "bone", "first", "second", "low", "high")
    return tuple(np.array([getattr(r, f) for r in some]) for f in fields)


_GROUPS = {what: _group(what) for what in ("flexion", "elevation", "twist")}
ORDER = [r for what in _GROUPS for r in RANGES if r.what == what]
_LOW, _HIGH = (np.concatenate([g[i] for g in _GROUPS.values()]) for i in (4, 5))
_JOINT = np.concatenate([g[0] for g in _GROUPS.values()])


def joint_angles(local: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Angles (T, R) of local rotations (T, 26, 3, 3), radians, one a row of `ORDER`, and their slopes (T, R, 3).

    The slope is by a small turn of the joint about the axes of its own frame.
    """
    angles, slopes = [], []
    for what, (joint, bone, first, second, _, _) in _GROUPS.items():
        Q = local[:, joint]
        if what == "twist":
            angle, slope = _twist(Q, bone)
        else:
            u = (Q @ bone[..., None])[..., 0]
            angle, by_parent = _flexion(u, first, second) if what == "flexion" else _elevation(u, first)
            slope = (by_parent[..., None, :] @ Q)[..., 0, :]
        angles.append(angle)
        slopes.append(slope)
    return np.concatenate(angles, 1), np.concatenate(slopes, 1)


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(-1)


def _flexion(u: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Angle of u (T, R, 3) from `first` towards `second` (R, 3), and its slope by turns about the parent's axes."""
    a, b = _dot(u, first), _dot(u, second)
    slope = np.cross(u, a[..., None] * second - b[..., None] * first)
    return np.arctan2(b, a), slope / np.maximum(a * a + b * b, 1e-4)[..., None]


def _elevation(u: np.ndarray, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    sine = np.clip(_dot(u, direction), -1, 1)
    return np.arcsin(sine), np.cross(u, direction) / np.sqrt(np.maximum(1 - sine**2, 1e-4))[..., None]


def _twist(Q: np.ndarray, axis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Twist of rotations (T, R, 3, 3) about axes (R, 3): with q = (v, w) it is 2 atan2(v . axis, w), w >= 0."""
    q = matrix_to_quat(Q)
    v, w = q[..., :3], q[..., 3]
    along = _dot(v, axis)
    # Turning by r about own axes: dw = -v.r / 2, dv = (w r + v x r) / 2.
    slope = w[..., None] * (w[..., None] * axis + np.cross(axis, v)) + along[..., None] * v
    return 2 * np.arctan2(along, w), slope / np.maximum(along**2 + w**2, 1e-4)[..., None]


@dataclass(eq=False)
class Angles:
    """Joint angles beyond their range: excess (T, R) rad, weight (T, R), slope (T, R, 3) by the joint's own axes."""

    excess: np.ndarray
    weight: np.ndarray
    slope: np.ndarray

    def sliced(self, frames: slice) -> Angles:
        """The same for some of the frames."""
        return Angles(self.excess[frames], self.weight[frames], self.slope[frames])

    def add_to(self, own: np.ndarray, gradient: np.ndarray) -> None:
        """Add to the upper triangle of each frame's own block (T, DOF, DOF) and to the gradient (T, DOF), in place."""
        for r in np.flatnonzero(self.weight.any(0)):
            k = np.flatnonzero(_JOINT[r] == CENTRE)
            slope, columns = self.slope[:, r, AXIS[k]], k + 3
            weighted = self.weight[:, r, None] * slope
            gradient[:, columns] += weighted * self.excess[:, r, None]
            for i, column in enumerate(columns):
                own[:, column, columns[i:]] += weighted[:, i, None] * slope[:, i:]


def range_excess(local: np.ndarray, sigma: float, bend: float) -> Angles:
    """How far local rotations (T, 26, 3, 3) lie beyond `RANGES`, with weights 1 / sigma^2, less beyond `bend` rad."""
    angles, slope = joint_angles(local)
    excess = np.minimum(angles - _LOW, 0) + np.maximum(angles - _HIGH, 0)
    weight = (excess != 0) / sigma**2 / np.maximum(1, np.abs(excess) / bend)
    return Angles(excess, weight, slope)
