"""A character to animate: its bones at rest, which of them are arms, legs and head, and where its file lies.

The rest pose is the file's own, T or A or between. Whatever axes and units the file has, `world()` gives it standing
on the floor, Y up, facing +Z, in metres: up, facing and floor are found from the mapped bones themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from kinelift.errors import InputError, RecordError
from kinelift.records import frozen_array
from kinelift.retarget.names import PARTS, SIDES, check_roles, found_roles, read_map

MAX_BONES = 20_000
HUGE = 1e9


class UprightError(InputError):
    """A rest pose that is no standing body."""


@dataclass(frozen=True, eq=False)
class Source:
    """Where a character comes from, for writing it back.

    Attributes:
        kind: "glb", "gltf", "bvh", "fbx" or "built-in".
        path: The file; a built-in rig's name.
        nodes: (B,) each bone's index in the file.
        content: What the format's own module keeps of it.
    """

    kind: str
    path: Path
    nodes: tuple[int, ...] = ()
    content: Any = None


@dataclass(frozen=True, eq=False)
class Surface:
    """Points of a character's skin at rest.

    Attributes:
        points: (V, 3) in the file's world and units.
        bones: (V,) the bone that each follows most.
    """

    points: np.ndarray
    bones: np.ndarray

    def __post_init__(self) -> None:
        frozen_array(self, "points", (None, 3))
        frozen_array(self, "bones", (len(self.points),), np.int64)


@dataclass(frozen=True, eq=False)
class Character:
    """Bones in an order that has a parent before its children; B of them.

    Attributes:
        bones: Names; they may repeat.
        parents: (B,) indices, -1 for a root.
        local: (B, 3) rest translation, in the parent's axes and units.
        rotation: (B, 3, 3) rest rotation in the parent's axes.
        stretch: (B,) rest scale, 1 for most; 0.01 at the top of many a rig.
        scale: Metres for one unit of the file's world.
        source: Where it comes from.
        roles: Bone of each part (`kinelift.retarget.names.ROLES`).
        surface: Points of its skin, or None: then the soles are guessed from the joints.
    """

    bones: tuple[str, ...]
    parents: np.ndarray
    local: np.ndarray
    rotation: np.ndarray
    stretch: np.ndarray
    scale: float
    source: Source
    roles: dict[str, int] = field(default_factory=dict)
    surface: Surface | None = None

    def __post_init__(self) -> None:
        n = len(self.bones)
        if not 0 < n <= MAX_BONES:
            raise RecordError(f"bones: expected 1 to {MAX_BONES}, got {n}")
        frozen_array(self, "parents", (n,), np.int64)
        if (self.parents >= np.arange(n)).any() or (self.parents < -1).any():
            raise RecordError("parents: expected every bone after its parent")
        frozen_array(self, "local", (n, 3))
        frozen_array(self, "rotation", (n, 3, 3))
        frozen_array(self, "stretch", (n,))
        for name in ("local", "rotation", "stretch"):
            if not np.isfinite(getattr(self, name)).all():
                raise RecordError(f"{name}: expected finite numbers")
        if not (self.stretch > 0).all() or not 0 < self.scale < np.inf:
            raise RecordError("stretch, scale: expected positive numbers")

    @cached_property
    def rest(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Positions (B, 3), rotations (B, 3, 3) and scales (B,) in the file's world and units."""
        positions, rotations, scales = self.local.copy(), self.rotation.copy(), self.stretch.copy()
        for i, p in enumerate(self.parents):
            if p >= 0:
                positions[i] = positions[p] + scales[p] * (rotations[p] @ self.local[i])
                rotations[i] = rotations[p] @ self.rotation[i]
                scales[i] = scales[p] * self.stretch[i]
        return positions, rotations, scales

    @cached_property
    def turn(self) -> np.ndarray:
        """(3, 3) from kinelift's axes (left, up, forward) to the file's: its columns are those three in the file."""
        place = self.rest[0]

        def middle(part: str) -> np.ndarray:
            return np.mean([place[self.roles[f"{s}_{part}"]] for s in SIDES], 0)

        up = _along_an_axis(middle("upper_arm") - middle("foot"))
        across = sum(
            place[self.roles[f"left_{p}"]] - place[self.roles[f"right_{p}"]] for p in ("upper_arm", "upper_leg")
        )
        across = across - up * (across @ up)
        left = _along_an_axis(across)
        left = left - up * (left @ up)
        left /= np.linalg.norm(left)
        return np.stack([left, up, np.cross(left, up)], -1)

    @cached_property
    def floor(self) -> float:
        """Height of the floor that the rest pose stands on, metres along `turn`'s up from the file's origin."""
        feet = {self.roles[f"{s}_{p}"] for s in SIDES for p in ("foot", "toes") if f"{s}_{p}" in self.roles}
        under = np.zeros(len(self.bones), bool)
        for i, p in enumerate(self.parents):
            under[i] = i in feet or (p >= 0 and under[p])
        up = self.scale * self.turn[:, 1]
        if self.surface is not None and under[self.surface.bones].any():
            return float((self.surface.points[under[self.surface.bones]] @ up).min())
        height = self.rest[0] @ up
        ankle = np.mean([height[self.roles[f"{s}_foot"]] for s in SIDES])
        hip = np.mean([height[self.roles[f"{s}_upper_leg"]] for s in SIDES])
        # An ankle stands .039 of stature over the sole and the hip joint .530 (Winter 2009, table 4.1).
        guess = min(height[under].min(), ankle - (hip - ankle) * 0.039 / 0.491)
        return 0.0 if abs(guess) < 0.05 * (hip - ankle) else float(guess)

    def in_world(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) of the file's world in metres, Y up, facing +Z, the rest pose on the floor at y = 0."""
        return self.scale * points @ self.turn - [0, self.floor, 0]

    def world(self) -> np.ndarray:
        """Rest positions (B, 3): metres, Y up, facing +Z, standing on y = 0."""
        return self.in_world(self.rest[0])


def _along_an_axis(v: np.ndarray) -> np.ndarray:
    """A unit vector; the file's own axis where one is within 10 degrees."""
    length = np.linalg.norm(v)
    if not length > 0:
        raise UprightError("the rest pose is no standing body: a T- or A-pose is needed")
    v = v / length
    axis = np.zeros(3)
    axis[np.argmax(np.abs(v))] = np.sign(v[np.argmax(np.abs(v))])
    return axis if axis @ v > np.cos(np.radians(10)) else v


def with_roles(character: Character, said: dict[str, int] | None = None, mapping: Path | None = None) -> Character:
    """The character with its parts found: what the file itself says, else names; `mapping` over both.

    Raises `InputError` where a part is missing or the rest pose does not stand.
    """
    roles = said or found_roles(character.bones, character.parents.tolist())
    if mapping is not None:
        new = read_map(mapping, character.bones)
        roles = {r: i for r, i in roles.items() if i not in new.values()} | new
    where = str(character.source.path)
    if not (np.abs(character.rest[0]) < HUGE).all() or not (character.rest[2] > 1 / HUGE).all():
        raise InputError(f"{where}: the skeleton is too large, or has no size")
    check_roles(roles, character.bones, character.parents.tolist(), where)
    character = replace(character, roles=roles)
    try:
        place = character.world()
    except UprightError as e:
        raise UprightError(f"{where}: {e}") from None
    for side in SIDES:
        down = place[roles[f"{side}_upper_leg"]] - place[roles[f"{side}_foot"]]
        for limb in (PARTS[:3], PARTS[3:6]):
            bones = [roles[f"{side}_{part}"] for part in limb]
            if (np.linalg.norm(np.diff(place[bones], axis=0), axis=-1) < 0.02 * np.linalg.norm(down)).any():
                names = ", ".join(character.bones[b] for b in bones)
                raise InputError(f"{where}: of {names} two lie in one place; correct it with --map")
        if not down[1] > 0.7 * np.linalg.norm(down):
            raise UprightError(f"{where}: the rest pose does not stand on its legs: a T- or A-pose is needed")
    return character


def read_character(rig: str | Path, mapping: Path | None = None) -> Character:
    """A character of a file (.glb, .gltf, .vrm, .bvh, .fbx) or a built-in rig's name (`BUILT_IN`).

    `mapping` is a TOML or JSON file that names bones. Raises `InputError`.
    """
    from kinelift.retarget import built_in, bvh_file, gltf_file

    if str(rig).lower() in built_in.BUILT_IN:
        return with_roles(built_in.character(str(rig).lower()), mapping=mapping)
    path = Path(rig)
    suffix = path.suffix.lower()
    if suffix in (".glb", ".vrm", ".gltf"):
        character, said = gltf_file.read(path)
        return with_roles(character, said, mapping)
    if suffix == ".bvh":
        try:
            return with_roles(bvh_file.read(path), mapping=mapping)
        except UprightError:
            return with_roles(bvh_file.read(path, first_frame=True), mapping=mapping)
    if suffix == ".fbx":
        from kinelift.retarget import blender_rig

        return with_roles(blender_rig.read(path), mapping=mapping)
    known = ", ".join(built_in.BUILT_IN)
    raise InputError(f"{rig}: expected a rig as .glb, .gltf, .vrm, .bvh or .fbx, or one of {known}")
