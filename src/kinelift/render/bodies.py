"""A dressed human figure from 26 joint positions: which round cones, how thick, in which colours.

Sizes are metres for a stature of 1.75 m and scale with the legs that the positions imply. Sources for girths: the
breadths and depths of Pheasant and Haslegrave's Bodyspace (2006), table 2.5, halfway between men and women.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kinelift.render.shapes import Parts, warp_matrix
from kinelift.skeleton import BODY26

Color = tuple[float, float, float]

_SKINS = [(0.94, 0.79, 0.69), (0.88, 0.69, 0.57), (0.78, 0.58, 0.45), (0.60, 0.42, 0.31), (0.42, 0.28, 0.20)]
_HAIRS = [(0.10, 0.08, 0.07), (0.24, 0.15, 0.09), (0.42, 0.29, 0.17), (0.72, 0.57, 0.36), (0.55, 0.53, 0.51)]
FLOORS = ("planks", "tiles", "carpet")


@dataclass(frozen=True)
class Look:
    """How a figure and its room look. Colours are sRGB in [0, 1]; directions are world axes (Y up).

    Attributes:
        skin, hair, shirt, trousers, shoes: The figure's colours.
        sleeve: Where the sleeve ends, from the shoulder 0 to the wrist 1.
        trouser_leg: Where the trousers end, from the hip 0 to the ankle 1.
        girth: Body thickness as a factor.
        hair_length: 0 = short, 1 = to the shoulders.
        sun_direction: Towards the light, any length, y > 0.
        sun, sky: Strength of the direct and of the even light; about 1 together.
        floor: One of `FLOORS`.
        floor_color, wall_color: The room's colours.
        room_m: Half the room's width; the room is square, about the world's origin.
        seed: Of the floor's grain and the pictures on the wall.
    """

    skin: Color = (0.86, 0.67, 0.55)
    hair: Color = (0.20, 0.13, 0.09)
    shirt: Color = (0.80, 0.25, 0.20)
    trousers: Color = (0.16, 0.22, 0.38)
    shoes: Color = (0.90, 0.89, 0.86)
    sleeve: float = 0.33
    trouser_leg: float = 0.97
    girth: float = 1.0
    hair_length: float = 0.0
    sun_direction: tuple[float, float, float] = (0.45, 1.0, 0.55)
    sun: float = 0.62
    sky: float = 0.50
    floor: str = "planks"
    floor_color: Color = (0.66, 0.52, 0.38)
    wall_color: Color = (0.80, 0.81, 0.78)
    room_m: float = 4.5
    seed: int = 0

    @classmethod
    def random(cls, rng: np.random.Generator) -> Look:
        """A look drawn at random; the same generator state gives the same look."""

        def color(low: float = 0.05, high: float = 0.95, spread: float = 0.18) -> Color:
            grey = rng.uniform(low, high)
            r, g, b = np.clip(grey + rng.normal(0, spread, 3), 0.02, 0.98)
            return float(r), float(g), float(b)

        azimuth, height = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 1.6)
        sun = rng.uniform(0.3, 0.8)
        return cls(
            skin=_SKINS[rng.integers(len(_SKINS))],
            hair=_HAIRS[rng.integers(len(_HAIRS))],
            shirt=color(),
            trousers=color(0.05, 0.6),
            shoes=color(),
            sleeve=float(rng.choice([0.1, 0.33, 0.45, 0.97])),
            trouser_leg=float(rng.choice([0.35, 0.5, 0.97, 0.97])),
            girth=float(rng.uniform(0.85, 1.25)),
            hair_length=float(rng.uniform(0, 1) * (rng.uniform() < 0.5)),
            sun_direction=(float(np.cos(azimuth)), float(height), float(np.sin(azimuth))),
            sun=float(sun),
            sky=float(1.1 - sun),
            floor=FLOORS[rng.integers(len(FLOORS))],
            floor_color=color(0.2, 0.8, 0.06),
            wall_color=color(0.3, 0.9, 0.05),
            room_m=float(rng.uniform(4, 9)),
            seed=int(rng.integers(2**31)),
        )


def linear(color: Color) -> np.ndarray:
    """Linear RGB (3,) of an sRGB colour, by the plain 2.2 power."""
    return np.asarray(color) ** 2.2


def _unit(v: np.ndarray) -> np.ndarray:
    return v / max(float(np.linalg.norm(v)), 1e-9)


def _frame(right_to_left: np.ndarray, up: np.ndarray) -> np.ndarray:
    """(3, 3) rows: a body part's left, up and front."""
    left = _unit(right_to_left)
    front = _unit(np.cross(left, up))
    return np.stack([left, np.cross(front, left), front])


class _Figure:
    """Collects parts; sizes in metres of a 1.75 m body."""

    def __init__(self, positions: np.ndarray, look: Look):
        self.p = dict(zip(BODY26.joints, np.asarray(positions, float), strict=True))
        p = self.p
        legs = sum(
            np.linalg.norm(p[f"{s}_hip"] - p[f"{s}_knee"]) + np.linalg.norm(p[f"{s}_knee"] - p[f"{s}_ankle"])
            for s in ("left", "right")
        )
        self.unit = legs / 2 / 0.491 / 1.75
        self.look = look
        self.rows: list[tuple] = []

    def add(
        self,
        a: np.ndarray,
        b: np.ndarray,
        radii: tuple[float, float],
        color: Color,
        *flattened: tuple[np.ndarray, float],
        group: int = -1,
        other: Color | None = None,
        split: float = 2.0,
        girth: bool = True,
    ) -> None:
        """One round cone from a to b (3,), `radii` at the two ends, flattened along directions by factors."""
        size = self.unit * (self.look.girth if girth else 1.0)
        warp = warp_matrix(*flattened)
        row = (a, b, radii[0] * size, radii[1] * size, warp, linear(color), linear(other or color), split, group)
        self.rows.append(row)

    def ball(
        self, centre: np.ndarray, frame: np.ndarray, axes: tuple[float, float, float], color: Color, group: int = -1
    ) -> None:
        """An ellipsoid with half axes along the rows of a frame; not thickened by the girth."""
        r = max(axes)
        flat = [(frame[i], axes[i] / r) for i in range(3)]
        self.add(centre, centre, (r, r), color, *flat, girth=False, group=group)

    def parts(self) -> Parts:
        columns = [np.array(c) for c in zip(*self.rows, strict=True)]
        return Parts(*columns)


def body_parts(positions: np.ndarray, look: Look) -> Parts:
    """Round cones of a dressed figure from BODY26 world positions (26, 3), metres, in the same frame."""
    figure = _Figure(positions, look)
    hips = _frame(figure.p["left_hip"] - figure.p["right_hip"], figure.p["spine"] - figure.p["pelvis"])
    chest = _frame(figure.p["left_shoulder"] - figure.p["right_shoulder"], figure.p["neck"] - figure.p["spine"])
    _add_torso(figure, hips, chest)
    for i, side in enumerate(("left", "right")):
        _add_leg(figure, side, hips, 3 + i)
        _add_arm(figure, side, chest, 1 + i)
    _add_head(figure)
    return figure.parts()


def _add_torso(fig: _Figure, hips: np.ndarray, chest: np.ndarray) -> None:
    p, u, look = fig.p, fig.unit, fig.look
    hip_left, hip_up, hip_front = hips * u
    left, up, front = chest * u
    low, mid, top = p["pelvis"], p["spine"], p["chest"]
    seat = low + 0.005 * hip_up - 0.01 * hip_front
    fig.add(seat + 0.052 * hip_left, seat - 0.052 * hip_left, (0.108, 0.108), look.trousers, (hips[2], 0.95), group=0)
    waist = 0.4 * low + 0.6 * mid
    belt, flat = low + 0.012 * hip_up, (hips[2], 0.72)
    fig.add(belt, mid, (0.164, 0.142), look.trousers, flat, group=0, other=look.shirt, split=0.06)
    fig.add(waist, top, (0.142, 0.155), look.shirt, (chest[2], 0.70), group=0)
    breast = top + 0.045 * up + 0.008 * front
    fig.add(mid + 0.02 * up, breast, (0.140, 0.160), look.shirt, (chest[2], 0.70), group=0)
    for side, sign in (("left", 1), ("right", -1)):
        shoulder = p[f"{side}_shoulder"]
        fig.add(breast + sign * 0.06 * left, shoulder - sign * 0.015 * left, (0.090, 0.058), look.shirt, group=0)
        fig.add(p["neck"] + 0.02 * up, shoulder + 0.008 * up, (0.060, 0.050), look.shirt, group=0)
    fig.add(p["neck"] - 0.01 * up, p["head"] - 0.035 * up, (0.056, 0.052), look.skin, girth=False)
    fig.add(p["neck"] + 0.012 * up, p["neck"] + 0.030 * up, (0.068, 0.060), look.shirt, girth=False)


def _add_leg(fig: _Figure, side: str, hips: np.ndarray, group: int) -> None:
    p, u, look = fig.p, fig.unit, fig.look
    hip, knee, ankle, heel, toe = (p[f"{side}_{j}"] for j in ("hip", "knee", "ankle", "heel", "toe"))
    thigh_split, shank_split = 2 * look.trouser_leg, 2 * look.trouser_leg - 1
    cloth, skin = look.trousers, look.skin
    fig.add(hip, knee, (0.090, 0.059), cloth, group=group, other=skin, split=thigh_split)
    fig.add(hip - 0.035 * u * hips[2], knee, (0.093, 0.050), cloth, group=group, other=skin, split=thigh_split)
    calf = hips[2] - _unit(ankle - knee) * float(hips[2] @ _unit(ankle - knee))
    back = -_unit(calf) * u
    high, mid = knee + 0.2 * (ankle - knee) + 0.012 * back, knee + 0.42 * (ankle - knee) + 0.014 * back
    covered = cloth if shank_split > 0.4 else skin
    fig.add(knee, ankle, (0.056, 0.042), cloth, group=group, other=skin, split=shank_split)
    fig.add(high, mid, (0.056, 0.050), covered, group=group)
    along = _unit(toe - heel)
    sole_up = _unit((ankle - heel) - along * float((ankle - heel) @ along))
    across = np.cross(along, sole_up)
    fig.add(
        heel + (0.018 * along + 0.034 * sole_up) * u,
        toe + (0.008 * along + 0.034 * sole_up) * u,
        (0.043, 0.047),
        look.shoes,
        (sole_up, 0.72),
        (across, 0.92),
        group=group + 4,
        girth=False,
    )
    fig.add(
        ankle - 0.02 * u * sole_up,
        toe + (0.022 * sole_up - 0.02 * along) * u,
        (0.043, 0.024),
        look.shoes,
        group=group + 4,
        girth=False,
    )
    fig.add(ankle + 0.02 * u * sole_up, ankle - 0.03 * u * sole_up, (0.042, 0.044), look.shoes, girth=False)


def _add_arm(fig: _Figure, side: str, chest: np.ndarray, group: int) -> None:
    p, u, look = fig.p, fig.unit, fig.look
    shoulder, elbow, wrist, hand = (p[f"{side}_{j}"] for j in ("shoulder", "elbow", "wrist", "hand"))
    sleeve = look.sleeve
    # Upper arm and forearm are 56 and 44 % of the arm.
    split_upper, split_fore = sleeve / 0.56, (sleeve - 0.56) / 0.44
    fig.add(shoulder, elbow, (0.058, 0.043), look.shirt, group=group, other=look.skin, split=split_upper)
    fig.add(elbow, wrist, (0.042, 0.030), look.shirt, group=group, other=look.skin, split=split_fore)
    belly = elbow + 0.25 * (wrist - elbow)
    fig.add(elbow, belly, (0.040, 0.044), look.shirt if split_fore > 0.3 else look.skin, group=group)
    # With the forearm halfway between palm up and palm down, the palm faces along the elbow's axis.
    along = _unit(hand - wrist)
    axis = np.cross(elbow - shoulder, wrist - elbow)
    sign = 1.0 if side == "left" else -1.0
    axis = -axis / u**2 * 20 * sign + 0.15 * sign * chest[0]
    palm = _unit(axis - along * float(axis @ along))
    thumb = np.cross(palm, along) * (-sign)
    thumb = thumb if float(thumb @ (chest[2] + chest[1])) > 0 else -thumb
    tips = hand + 0.085 * u * along
    fig.add(wrist, hand, (0.030, 0.044), look.skin, (palm, 0.50), group=group, girth=False)
    fig.add(hand, tips, (0.042, 0.026), look.skin, (palm, 0.45), group=group, girth=False)
    root = wrist + (0.025 * along + 0.018 * thumb) * u
    fig.add(root, root + (0.055 * along + 0.035 * thumb) * u, (0.016, 0.011), look.skin, girth=False)


# Head in its own frame (left, up, front from between the ears), metres: centre and half axes.
_SKULL = ((0.0, 0.022, 0.000), (0.076, 0.103, 0.094))
_JAW = ((0.0, -0.045, 0.026), (0.058, 0.070, 0.066))


def _face(x: float, y: float) -> np.ndarray:
    """The face's surface at a place to the left and up, in the head's frame."""
    z = 0.0
    for (_, cy, cz), (sx, sy, sz) in (_SKULL, _JAW):
        inside = 1 - (x / sx) ** 2 - ((y - cy) / sy) ** 2
        z = max(z, cz + sz * np.sqrt(max(inside, 0.0)))
    return np.array([x, y, z])


def _add_head(fig: _Figure) -> None:
    p, u, look = fig.p, fig.unit, fig.look
    left = _unit(p["left_ear"] - p["right_ear"])
    front = p["nose"] - p["head"]
    front = _unit(front - left * float(front @ left))
    frame = np.stack([left, np.cross(front, left), front])

    def at(x: float, y: float, z: float) -> np.ndarray:
        return p["head"] + u * np.array([x, y, z]) @ frame

    for centre, axes in (_SKULL, _JAW):
        fig.ball(at(*centre), frame, axes, look.skin, group=9)
    fig.ball(at(0, 0.036, -0.018), frame, (0.083, 0.102, 0.099), look.hair)
    if look.hair_length > 0:
        low = 0.02 - 0.17 * look.hair_length
        fig.add(at(0, 0.03, -0.03), at(0, low, -0.055), (0.084, 0.075), look.hair, (front, 0.7), girth=False)
    lips = tuple(0.6 * np.array(look.skin) * (1.0, 0.62, 0.62))
    white, iris = (0.93, 0.92, 0.90), (0.10, 0.07, 0.06)
    for sign in (1, -1):
        eye = _face(sign * 0.031, 0.020)
        fig.ball(at(*(eye - np.array([0, 0, 0.004]))), frame, (0.0155, 0.0095, 0.0085), white)
        fig.ball(at(*(eye + np.array([0, 0, 0.001]))), frame, (0.0080, 0.0085, 0.0060), iris)
        inner, outer = _face(sign * 0.016, 0.042), _face(sign * 0.048, 0.044)
        fig.add(at(*inner), at(*outer), (0.0055, 0.0045), look.hair, girth=False)
        ear = at(sign * 0.079, -0.004, -0.006)
        fig.ball(ear, frame, (0.012, 0.032, 0.019), look.skin)
        cheek = _face(sign * 0.022, -0.066)
        fig.add(at(*_face(0, -0.064)), at(*cheek), (0.0075, 0.0045), lips, girth=False)
    fig.add(at(0, 0.022, 0.090), at(0, -0.012, 0.103), (0.0075, 0.0125), look.skin, girth=False)
    nose = fig.p["nose"]
    tip = nose - 0.012 * u * front
    fig.add(tip, tip, (0.012, 0.012), look.skin, girth=False)
    nostril = tuple(0.8 * np.array(look.skin))
    for sign in (1, -1):
        fig.ball(at(sign * 0.010, -0.018, 0.098), frame, (0.0085, 0.007, 0.010), nostril)
