"""Rotations of the body carried onto a character's bones, so that every limb points where the source's does.

Everything here is relative to rest and in kinelift's axes: a character's bone turned by D stands at D times its own
rest rotation. So bones without a part of their own (clavicles, twist bones, fingers, hair) share the D of the bone
they hang on, and rest scales and bone axes do not matter until the file is written.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kinelift.errors import InputError
from kinelift.export.resample import slerp
from kinelift.kinematics import matrix_to_quat, quat_to_matrix, shortest_arc
from kinelift.retarget.character import Character
from kinelift.retarget.names import SIDES, ancestors
from kinelift.skeleton import BODY26

# Joints of the body whose rotation turns each part.
_JOINTS = {"upper_arm": "shoulder", "lower_arm": "elbow", "hand": "wrist"}
_JOINTS |= {"upper_leg": "hip", "lower_leg": "knee", "foot": "ankle"}
_LIMBS = (("upper_arm", "lower_arm", "hand"), ("upper_leg", "lower_leg", "foot"))


@dataclass(frozen=True, eq=False)
class Puppet:
    """The bones of a character that are driven, D of them, parents first; metres, kinelift's axes.

    Attributes:
        bones: (D,) bones of the character.
        parents: (D,) the nearest driven bone above, -1 for the first, which carries the path.
        rest: (D, 3) positions at rest, standing on y = 0.
        at: Role -> index into these; "hips" too.
        spine, neck: Indices between hips and shoulders, and from there to the head.
    """

    bones: np.ndarray
    parents: np.ndarray
    rest: np.ndarray
    at: dict[str, int]
    spine: tuple[int, ...]
    neck: tuple[int, ...]

    def posed(self, turned: np.ndarray, root: np.ndarray) -> np.ndarray:
        """Positions (T, D, 3) of bones turned by (T, D, 3, 3), the first at `root` (T, 3)."""
        positions = np.empty((*turned.shape[:2], 3))
        positions[:, 0] = root
        for i in range(1, len(self.bones)):
            p = self.parents[i]
            positions[:, i] = positions[:, p] + turned[:, p] @ (self.rest[i] - self.rest[p])
        return positions


def puppet(character: Character) -> Puppet:
    """Which bones are driven: the mapped ones, and hips, spine and neck as the tree has them.

    The hips are where the legs meet; the path lies on the bone where legs and arms meet, which is the hips but on
    rigs whose waist has two halves. Spine and neck are the bones from there to where arms and head meet, and on.
    """
    parents = character.parents.tolist()
    up = {i: [i, *ancestors(i, parents)] for i in character.roles.values()}

    def meeting(*roles: str) -> int:
        shared = set.intersection(*(set(up[character.roles[r]]) for r in roles if r in character.roles))
        return max(shared) if shared else -1

    legs, arms = ([f"{s}_{p}" for s in SIDES] for p in ("upper_leg", "upper_arm"))
    hips, root = meeting(*legs), meeting(*legs, *arms)
    chest = meeting(*arms, "head")
    if root < 0:
        raise InputError(f"{character.source.path}: arms and legs hang on no common bone")

    def between(low: int, high: int) -> list[int]:
        """The bones above `high`'s own, up to and without `low`, from below."""
        path = [high, *ancestors(high, parents)]
        return path[: path.index(low)][::-1] if low in path else []

    spine = between(root, chest)
    neck = between(chest, parents[character.roles["head"]]) if "head" in character.roles else []
    chosen = sorted({root, hips, *spine, *neck, *character.roles.values()})
    place = {b: i for i, b in enumerate(chosen)}
    over = [next((place[a] for a in ancestors(b, parents) if a in place), -1) for b in chosen]
    at = {role: place[b] for role, b in character.roles.items()} | {"hips": place[hips]}
    return Puppet(
        np.array(chosen), np.array(over), character.world()[chosen], at,
        tuple(place[b] for b in spine if b != hips), tuple(place[b] for b in neck),
    )  # fmt: skip


def carried(turned: np.ndarray, offsets: np.ndarray, doll: Puppet) -> np.ndarray:
    """Turns (T, D, 3, 3) of a puppet's bones from the body's (T, 26, 3, 3) and its rest offsets (26, 3)."""
    b = BODY26.index
    out = np.broadcast_to(np.eye(3), (len(turned), len(doll.bones), 3, 3)).copy()
    for k, i in enumerate(doll.spine):
        share = k / (len(doll.spine) - 1) if len(doll.spine) > 1 else 1.0
        out[:, i] = _mixed(turned[:, b("spine")], turned[:, b("chest")], share)
    for k, i in enumerate(doll.neck):
        out[:, i] = _mixed(turned[:, b("chest")], turned[:, b("neck")], (k + 1) / len(doll.neck))
    out[:, doll.at["hips"]] = turned[:, 0]
    if "head" in doll.at:
        out[:, doll.at["head"]] = turned[:, b("head")]
    for side in SIDES:
        for limb in _LIMBS:
            aligned = np.eye(3)
            for part, end in zip(limb, (*limb[1:], None), strict=True):
                if end is not None:
                    own = doll.rest[doll.at[f"{side}_{end}"]] - doll.rest[doll.at[f"{side}_{part}"]]
                    aligned = shortest_arc(aligned @ _unit(own), _unit(offsets[b(f"{side}_{_JOINTS[end]}")])) @ aligned
                elif part == "foot":
                    aligned = _straightened(doll, side)
                out[:, doll.at[f"{side}_{part}"]] = turned[:, b(f"{side}_{_JOINTS[part]}")] @ aligned
        if f"{side}_toes" in doll.at:
            out[:, doll.at[f"{side}_toes"]] = out[:, doll.at[f"{side}_foot"]]
    return out


def _straightened(doll: Puppet, side: str) -> np.ndarray:
    """About the vertical, from a foot that rests toes out to one that points ahead; flat soles stay flat."""
    if f"{side}_toes" not in doll.at:
        return np.eye(3)
    ahead = doll.rest[doll.at[f"{side}_toes"]] - doll.rest[doll.at[f"{side}_foot"]]
    ahead[1] = 0
    return shortest_arc(_unit(ahead), np.array([0, 0, 1.0])) if ahead[2] > 0 else np.eye(3)


def _unit(v: np.ndarray) -> np.ndarray:
    return v / max(float(np.linalg.norm(v)), 1e-9)


def _mixed(a: np.ndarray, b: np.ndarray, share: float) -> np.ndarray:
    """Rotations (T, 3, 3) a share of the way from `a` to `b`."""
    qa, qb = matrix_to_quat(a), matrix_to_quat(b)
    return quat_to_matrix(slerp(qa, qb, np.full(len(qa), share)))
