"""A character's skin, bone by bone, as far as it can touch the floor."""

from __future__ import annotations

import numpy as np

from kinelift.retarget.character import Character
from kinelift.retarget.transfer import Puppet


def skins_of(doll: Puppet, character: Character) -> list[np.ndarray]:
    """Points (V, 3) of the skin that goes with each driven bone, metres from its joint at rest; none without a skin."""
    surface = character.surface
    if surface is None:
        return [np.empty((0, 3))] * len(doll.bones)
    parents, place = character.parents.tolist(), {int(b): i for i, b in enumerate(doll.bones)}
    owner = np.full(len(parents), -1)
    for bone, above in enumerate(parents):
        owner[bone] = place.get(bone, owner[above] if above >= 0 else -1)
    points, owners = character.in_world(surface.points), owner[surface.bones]
    return [points[owners == i] - doll.rest[i] for i in range(len(doll.bones))]


def lowest(turns: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(T,) height over its joint of the lowest of points (V, 3) on a bone turned by (T, 3, 3); without any 0."""
    return np.asarray((turns[:, 1] @ outermost(points).T).min(1)) if len(points) else np.zeros(len(turns))


def outermost(points: np.ndarray) -> np.ndarray:
    """The few of points (N, 3) that lie outermost in some direction: what can touch a floor first."""
    n = 128
    z = 1 - (2 * np.arange(n) + 1) / n
    turn = np.pi * (1 + 5**0.5) * np.arange(n)
    ways = np.stack([np.sqrt(1 - z**2) * np.cos(turn), z, np.sqrt(1 - z**2) * np.sin(turn)], -1)
    return points[np.unique((points @ ways.T).argmax(0))]


def sunk(doll: Puppet, skins: list[np.ndarray], turns: np.ndarray, place: np.ndarray) -> np.ndarray:
    """(T,) metres that trunk, head and thighs are under the floor: of their skin, or of their joints without one."""
    limbs = {"lower_arm", "hand", "lower_leg", "foot", "toes"}
    outer = {i for role, i in doll.at.items() if role.partition("_")[2] in limbs}
    height = [place[:, i, 1] + lowest(turns[:, i], skins[i]) for i in range(len(skins)) if i not in outer]
    return np.asarray(-np.min(height, axis=0))
