"""A simple shaded body around an export rig: one closed, smooth surface a limb, softly bound to the joints.

All shapes are swept ellipses along the bones of the rest pose. Sizes are fractions of stature, so that a taller rig
gets a larger body; the trunk's width follows the rig's own shoulders and hips.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from kinelift.errors import InputError
from kinelift.export.rig import Rig

SIDES = 16

# Linear RGB and roughness by part of the outfit.
MATERIALS: dict[str, tuple[tuple[float, float, float], float]] = {
    "skin": ((0.60, 0.36, 0.25), 0.65),
    "shirt": ((0.06, 0.22, 0.36), 0.80),
    "trousers": ((0.045, 0.05, 0.075), 0.85),
    "shoes": ((0.70, 0.70, 0.68), 0.60),
}


@dataclass(frozen=True, eq=False)
class Surface:
    """A triangle mesh in the rest pose, bound to the rig.

    Attributes:
        positions: (V, 3) metres.
        normals: (V, 3) unit, outwards.
        triangles: (F, 3) vertex indices, counter-clockwise from outside.
        joints: (V, 4) rig joints.
        weights: (V, 4), summing to 1; a joint with weight 0 is 0.
    """

    positions: np.ndarray
    normals: np.ndarray
    triangles: np.ndarray
    joints: np.ndarray
    weights: np.ndarray


def body(rig: Rig) -> dict[str, Surface]:
    """The body's surfaces by material; capsules along the bones for a rig that is not the standard body.

    A file may also hold a body of no height or upside down, to which no outfit can be fitted: it gets capsules too.
    Raises `InputError` for a rig without bones.
    """
    if rig.body:
        try:
            return _dressed(_Builder(rig))
        except ValueError:  # stations along a bone that do not rise
            pass
    capsules = _capsules(rig)
    if not capsules:
        raise InputError("the skeleton has no bones to show")
    return {"shirt": _merged(capsules)}


def _dressed(build: _Builder) -> dict[str, Surface]:
    skin, shirt, trousers, shoes = [build.neck(), *build.head()], [build.trunk()], [build.seat()], []
    for side in ("Left", "Right"):
        skin += [build.arm(side), build.hand(side)]
        shirt.append(build.sleeve(side))
        trousers.append(build.leg(side))
        shoes.append(build.shoe(side))
    parts = {"skin": skin, "shirt": shirt, "trousers": trousers, "shoes": shoes}
    return {name: _merged(surfaces) for name, surfaces in parts.items()}


def _merged(surfaces: Sequence[Surface]) -> Surface:
    starts = np.cumsum([0, *(len(s.positions) for s in surfaces)])
    return Surface(
        np.concatenate([s.positions for s in surfaces]),
        np.concatenate([s.normals for s in surfaces]),
        np.concatenate([s.triangles + n for s, n in zip(surfaces, starts[:-1], strict=True)]),
        np.concatenate([s.joints for s in surfaces]),
        np.concatenate([s.weights for s in surfaces]),
    )


def _swept(
    centres: np.ndarray, axes: tuple[np.ndarray, np.ndarray], radii: np.ndarray, blend: np.ndarray, bones: list[int]
) -> Surface:
    """Ellipses with half axes `radii` (M, 2) along two unit `axes` about `centres` (M, 3), closed at both ends.

    `blend` (M, B) are each ring's weights for the joints `bones`.
    """
    turn = 2 * np.pi * np.arange(SIDES) / SIDES
    a, b = axes
    rings = (
        centres[:, None]
        + radii[:, None, :1] * np.cos(turn)[None, :, None] * a
        + radii[:, None, 1:] * np.sin(turn)[None, :, None] * b
    )
    m = len(centres)
    positions = np.concatenate([rings.reshape(-1, 3), centres[:1], centres[-1:]])
    k = np.arange(SIDES)
    start = SIDES * np.arange(m - 1)[:, None]
    p, q = start + k, start + (k + 1) % SIDES
    sides = np.stack([p, q, q + SIDES, p, q + SIDES, p + SIDES], -1).reshape(-1, 3)
    first = np.stack([np.full(SIDES, m * SIDES), (k + 1) % SIDES, k], -1)
    last = np.stack([np.full(SIDES, m * SIDES + 1), (m - 1) * SIDES + k, (m - 1) * SIDES + (k + 1) % SIDES], -1)
    triangles = np.concatenate([sides, first, last])
    weights = np.concatenate([np.repeat(blend, SIDES, axis=0), blend[:1], blend[-1:]])
    return _surface(positions, triangles, weights, bones)


def _surface(positions: np.ndarray, triangles: np.ndarray, weights: np.ndarray, bones: list[int]) -> Surface:
    corners = positions[triangles]
    faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    middle = positions.mean(0)
    if np.einsum("fi,fi->", faces, corners.mean(1) - middle) < 0:
        triangles, faces = triangles[:, ::-1], -faces
    normals = np.zeros_like(positions)
    for corner in range(3):
        np.add.at(normals, triangles[:, corner], faces)
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)
    strongest = np.argsort(-weights, axis=1, kind="stable")[:, :4]
    top = np.zeros((len(weights), 4))
    top[:, : strongest.shape[1]] = np.take_along_axis(weights, strongest, 1)
    top[top < 0.01] = 0
    top = (top / top.sum(1, keepdims=True)).astype(np.float32)
    joints = np.zeros((len(weights), 4), np.uint8)
    joints[:, : strongest.shape[1]] = np.array(bones)[strongest]
    joints[top == 0] = 0
    return Surface(positions, normals, triangles, joints, top)


def _rounded(stations: np.ndarray, radii: np.ndarray, caps: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Stations (M,) metres and radii (M, 2) with half ellipses of length `caps` metres added before and behind."""
    theta = np.radians([80, 60, 40, 20])
    start = stations[0] - caps[0] * np.sin(theta)
    end = stations[-1] + caps[1] * np.sin(theta[::-1])
    thin = np.cos(theta)[:, None]
    return (
        np.concatenate([start, stations, end]),
        np.concatenate([radii[0] * thin, radii, radii[-1] * thin[::-1]]),
    )


def _blend(stations: np.ndarray, borders: Sequence[float], widths: Sequence[float]) -> np.ndarray:
    """Weights (M, B + 1) that pass from bone to bone at B rising `borders`, each over its own width (smoothstep)."""
    passed = [np.ones_like(stations)]
    for border, width in zip(borders, widths, strict=True):
        x = np.clip((stations - border) / width + 0.5, 0, 1)
        passed.append(x * x * (3 - 2 * x))
    passed.append(np.zeros_like(stations))
    return np.stack([np.maximum(a - b, 0) for a, b in pairwise(passed)], -1)


def _profile(keys: Sequence[tuple[float, float, float]], n: int) -> tuple[np.ndarray, np.ndarray]:
    """`n` stations and their smooth radii (n, 2) from (station, radius, radius) rows."""
    from scipy.interpolate import PchipInterpolator

    rows = np.array(keys)
    stations = np.linspace(rows[0, 0], rows[-1, 0], n)
    return stations, PchipInterpolator(rows[:, 0], rows[:, 1:])(stations)


X, Y, Z = np.eye(3)


class _Builder:
    """Parts of the standard body around one rig; `s` is its stature in metres."""

    def __init__(self, rig: Rig):
        self.index = {name: i for i, name in enumerate(rig.names)}
        self.rest = rig.rest_positions
        self.ends = {rig.names[i]: self.rest[i] + end for i, end in rig.ends.items()}
        self.s = float(self.ends["Head"][1])
        self.wide = abs(self.at("LeftArm")[0] - self.at("RightArm")[0]) / 0.220
        self.hips = abs(self.at("LeftUpLeg")[0] - self.at("RightUpLeg")[0]) / 0.105

    def at(self, name: str) -> np.ndarray:
        """(3,) a joint's place in the rest pose, metres."""
        return self.rest[self.index[name]]

    def bones(self, *names: str) -> list[int]:
        """Indices of joints."""
        return [self.index[n] for n in names]

    def spine_path(self, heights: np.ndarray) -> np.ndarray:
        """Centres (M, 3) of the trunk at `heights` (M,) metres."""
        knots = np.stack([self.at(n) for n in ("Hips", "Spine", "Spine1", "Neck", "Head")])
        x, z = (np.interp(heights, knots[:, 1], knots[:, i]) for i in (0, 2))
        return np.stack([x, heights, z], -1)

    def trunk_blend(self, heights: np.ndarray) -> np.ndarray:
        """Weights (M, 5) of hips, spine, chest, neck, head at `heights` (M,) metres."""
        borders = [self.at(n)[1] for n in ("Spine", "Spine1", "Neck", "Head")]
        return _blend(heights, borders, [width * self.s for width in (0.09, 0.09, 0.04, 0.05)])

    def _trunk_part(self, keys: list[tuple[float, float, float]], n: int, caps: tuple[float, float]) -> Surface:
        stations, radii = _profile(keys, n)
        stations, radii = _rounded(stations, radii, caps)
        bones = self.bones("Hips", "Spine", "Spine1", "Neck", "Head")
        return _swept(self.spine_path(stations), (X, Z), radii, self.trunk_blend(stations), bones)

    def trunk(self) -> Surface:
        """Waist to the shoulders' line."""
        s, hip, neck = self.s, self.at("Hips")[1], self.at("Neck")[1]
        chest = self.at("Spine1")[1]
        keys = [
            (hip - 0.010 * s, 0.099 * self.hips, 0.070 * s),
            (hip + 0.035 * s, 0.088 * self.hips, 0.064 * s),
            (self.at("Spine")[1] + 0.015 * s, 0.080 * self.hips, 0.060 * s),
            (chest, 0.092 * self.wide, 0.068 * s),
            (chest + 0.045 * s, 0.100 * self.wide, 0.070 * s),
            (neck - 0.015 * s, 0.104 * self.wide, 0.061 * s),
            (neck + 0.012 * s, 0.094 * self.wide, 0.052 * s),
            (neck + 0.030 * s, 0.066 * self.wide, 0.043 * s),
            (neck + 0.042 * s, 0.040 * self.wide, 0.036 * s),
        ]
        return self._trunk_part(keys, 22, (0.012 * s, 0.008 * s))

    def seat(self) -> Surface:
        """The hips, between the legs and the waist."""
        s, hip = self.s, self.at("Hips")[1]
        keys = [
            (hip - 0.055 * s, 0.080 * self.hips, 0.060 * s),
            (hip - 0.020 * s, 0.101 * self.hips, 0.071 * s),
            (hip + 0.020 * s, 0.093 * self.hips, 0.067 * s),
        ]
        return self._trunk_part(keys, 7, (0.030 * s, 0.02 * s))

    def neck(self) -> Surface:
        """Shoulders to skull."""
        s, neck, head = self.s, self.at("Neck")[1], self.at("Head")[1]
        keys = [(neck - 0.02 * s, 0.036 * s, 0.036 * s), (neck + 0.03 * s, 0.031 * s, 0.033 * s)]
        return self._trunk_part([*keys, (head - 0.02 * s, 0.031 * s, 0.034 * s)], 7, (0.01 * s, 0.01 * s))

    def head(self) -> list[Surface]:
        """An egg from chin to crown, and a nose that shows where it looks."""
        s, centre = self.s, (self.at("Head") + self.ends["Head"]) / 2
        height = self.ends["Head"][1] - self.at("Head")[1]
        bottom, top = self.at("Head")[1] - 0.060 * s, self.at("Head")[1] + height
        stations = (bottom + top) / 2 + (top - bottom) / 2 * np.sin(np.radians(np.linspace(-85, 85, 15)))
        u = (stations - (bottom + top) / 2) / ((top - bottom) / 2)
        round_ = np.sqrt(np.maximum(1 - u * u, 0)) * (1 + 0.16 * u)
        centres = np.stack([np.full_like(u, centre[0]), stations, centre[2] + (0.012 - 0.008 * u) * s], -1)
        skull = _swept(centres, (X, Z), np.stack([0.046 * s * round_, 0.057 * s * round_], -1),
                       np.ones((len(u), 1)), self.bones("Head"))  # fmt: skip
        tip = self.at("Head") + np.array([0, -0.006, 0.064]) * s
        v = np.sin(np.radians(np.linspace(-85, 85, 7)))
        slope = np.stack([np.zeros_like(v), 0.016 * s * v, -0.006 * s * v], -1)
        width = np.sqrt(1 - v * v) * (1 - 0.25 * v)
        nose = _swept(tip + slope, (X, Z), np.stack([0.008 * s * width, 0.011 * s * width], -1),
                      np.ones((len(v), 1)), self.bones("Head"))  # fmt: skip
        return [skull, nose]

    def _limb(
        self, names: Sequence[str], keys: Sequence[tuple[float, float, float]], n: int, caps: tuple[float, float],
        axes: tuple[np.ndarray, np.ndarray], parent: str, borders: Sequence[float], widths: Sequence[float],
    ) -> Surface:  # fmt: skip
        """A tube along three joints; stations count bones (0 at the first joint, 1 at the second), radii are metres."""
        points = np.stack([self.at(n) for n in names])
        lengths = np.linalg.norm(np.diff(points, axis=0), axis=-1)
        stations, radii = _profile(keys, n)
        mean = float(lengths.mean())
        stations, radii = _rounded(stations * mean, radii * self.s, (caps[0] * self.s, caps[1] * self.s))
        stations = stations / mean
        bone = np.clip(np.floor(stations), 0, len(lengths) - 1).astype(int)
        centres = points[bone] + (stations - bone)[:, None] * (points[bone + 1] - points[bone])
        return _swept(centres, axes, radii, _blend(stations, borders, widths), self.bones(parent, *names))

    def sleeve(self, side: str) -> Surface:
        """Shoulder to the middle of the upper arm."""
        keys = [(-0.20, 0.030, 0.036), (0.10, 0.035, 0.037), (0.35, 0.032, 0.033), (0.62, 0.029, 0.030)]
        return self._limb(self._arm(side), keys, 10, (0.030, 0.004), (Y, Z), f"{side}Shoulder",
                          (0.0, 1.0, 2.0), (0.35, 0.35, 0.2))  # fmt: skip

    def arm(self, side: str) -> Surface:
        """The middle of the upper arm to the wrist."""
        keys = [(0.3, 0.027, 0.027), (0.6, 0.0265, 0.0265), (1.0, 0.023, 0.024), (1.25, 0.0245, 0.025)]
        keys += [(1.7, 0.019, 0.020), (2.0, 0.014, 0.018)]
        return self._limb(self._arm(side), keys, 20, (0.01, 0.012), (Y, Z), f"{side}Shoulder",
                          (0.0, 1.0, 2.0), (0.35, 0.35, 0.2))  # fmt: skip

    def _arm(self, side: str) -> list[str]:
        return [f"{side}Arm", f"{side}ForeArm", f"{side}Hand"]

    def hand(self, side: str) -> Surface:
        """A mitten from the wrist, twice as long as the way to the knuckles."""
        wrist, reach = self.at(f"{side}Hand"), self.ends[f"{side}Hand"] - self.at(f"{side}Hand")
        u = np.sin(np.radians(np.linspace(-85, 85, 11)))
        centres = wrist + (1.0 + 1.1 * u)[:, None] * reach
        width = np.sqrt(1 - u * u) * (1 - 0.12 * u)
        radii = np.stack([0.013 * self.s * width, 0.0255 * self.s * width], -1)
        return _swept(centres, (Y, Z), radii, np.ones((len(u), 1)), self.bones(f"{side}Hand"))

    def leg(self, side: str) -> Surface:
        """Hip to ankle."""
        keys = [(-0.02, 0.040, 0.054), (0.14, 0.047, 0.057), (0.5, 0.042, 0.046), (0.9, 0.032, 0.035)]
        keys += [(1.0, 0.031, 0.034), (1.3, 0.033, 0.036), (1.7, 0.025, 0.027), (1.97, 0.024, 0.026)]
        return self._limb([f"{side}UpLeg", f"{side}Leg", f"{side}Foot"], keys, 26, (0.035, 0.012), (X, Z), "Hips",
                          (0.0, 1.0, 2.0), (0.22, 0.30, 0.12))  # fmt: skip

    def shoe(self, side: str) -> Surface:
        """Heel to toe tip with a flat sole on the floor."""
        s, ankle, toe = self.s, self.at(f"{side}Foot"), self.at(f"{side}ToeBase")
        tip = self.ends[f"{side}ToeBase"]
        along = np.array([-0.034, -0.028, -0.018, 0.0, 0.022, 0.050, 0.075, 0.095, 0.110, 0.119, 0.124]) * s
        half = np.array([0.010, 0.020, 0.0245, 0.026, 0.026, 0.029, 0.032, 0.031, 0.026, 0.018, 0.007]) * s
        tall = np.array([0.020, 0.040, 0.052, 0.058, 0.052, 0.038, 0.029, 0.024, 0.020, 0.016, 0.010]) * s
        along = along * (tip[2] - ankle[2]) / (0.124 * s)
        x = ankle[0] + (toe[0] - ankle[0]) * along / (toe[2] - ankle[2])
        centres = np.stack([x, toe[1] + tall / 2, ankle[2] + along], -1)
        blend = _blend(along, [toe[2] - ankle[2] - 0.005 * s], [0.03 * s])
        bones = self.bones(f"{side}Foot", f"{side}ToeBase")
        shoe = _swept(centres, (X, Y), np.stack([half, tall / 2], -1), blend, bones)
        flat = shoe.positions.copy()
        middle = np.concatenate([np.repeat(centres[:, 1], SIDES), centres[[0, -1], 1]])
        low = flat[:, 1] < np.minimum(toe[1] + 0.012 * s, middle)
        flat[low, 1] = toe[1]
        return Surface(flat, shoe.normals, shoe.triangles, shoe.joints, shoe.weights)


def _capsules(rig: Rig) -> list[Surface]:
    rest = rig.rest_positions
    bones = [(p, rest[p], rest[i]) for i, p in enumerate(rig.parents) if i]
    bones += [(i, rest[i], rest[i] + end) for i, end in rig.ends.items()]
    out = []
    for joint, a, b in bones:
        length = float(np.linalg.norm(b - a))
        if length < 1e-3:
            continue
        along = (b - a) / length
        across = np.cross(along, X if abs(along[0]) < 0.9 else Y)
        across /= np.linalg.norm(across)
        radius = np.clip(0.14 * length, 0.006, 0.05)
        stations, radii = _rounded(np.array([0, length]), np.full((2, 2), radius), (radius, radius))
        centres = a + stations[:, None] * along
        axes = (across, np.cross(along, across))
        out.append(_swept(centres, axes, radii, np.ones((len(centres), 1)), [joint]))
    return out
