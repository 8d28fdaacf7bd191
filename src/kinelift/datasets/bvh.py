"""Mocap in BVH files: the joints a clip needs, found by the names that common tools give them.

The file itself is taken apart by `kinelift.export.bvh`, which refuses what is malformed, not finite or absurdly large.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kinelift.datasets.mocap import MOCAP_JOINTS
from kinelift.errors import InputError

# What tools call the joints of one side, {s} being left or right in their way; of several names the first that is
# there. Case, and what stands before a colon, do not matter.
_Names = tuple[tuple[str, str], dict[str, tuple[str, ...]]]
_PARTS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle", "toe")


def _naming(sides: tuple[str, str], *parts: str) -> _Names:
    return sides, {part: tuple(name.split("|")) for part, name in zip(_PARTS, parts, strict=True)}


_WORDS = ("Left", "Right")
NAMINGS: dict[str, _Names] = {
    "motionbuilder": _naming(
        _WORDS, "{s}Arm", "{s}ForeArm", "{s}Hand", "{s}UpLeg", "{s}Leg", "{s}Foot", "{s}ToeBase|{s}Toe|{s}Foot_end"
    ),
    "biovision": _naming(
        _WORDS, "{s}Shoulder", "{s}Elbow", "{s}Wrist", "{s}Hip", "{s}Knee", "{s}Ankle", "{s}Toe|{s}Ankle_end"
    ),
    "bandai": _naming(
        ("L", "R"), "UpperArm_{s}", "LowerArm_{s}", "Hand_{s}", "UpperLeg_{s}", "LowerLeg_{s}", "Foot_{s}", "Toes_{s}"
    ),
    "xsens": _naming(
        _WORDS, "{s}UpperArm", "{s}ForeArm", "{s}Hand", "{s}UpperLeg", "{s}LowerLeg", "{s}Foot", "{s}Toe|{s}Foot_end"
    ),
}


def read_bvh_joints(path: Path) -> tuple[np.ndarray, list[str], float]:
    """Positions (T, J, 3) in the file's unit, Y up, with their mocap names and the frame rate.

    J: `MOCAP_JOINTS`, and neck and head where the file has them. Raises `InputError`.
    """
    from kinelift.export.bvh import read_bvh

    bvh = read_bvh(path)
    if not len(bvh.positions):
        raise InputError(f"{path}: holds no frames")
    found = _found([name.rpartition(":")[2].lower() for name in bvh.names])
    if found is None:
        has = ", ".join(bvh.names)[:200]
        raise InputError(f"{path}: its joints are named in no known way ({', '.join(NAMINGS)}); it has: {has}")
    rest = np.zeros((len(bvh.names), 3))
    for i, parent in enumerate(bvh.parents):
        rest[i] = bvh.offsets[i] + (rest[parent] if parent >= 0 else 0)
    positions = bvh.positions[:, list(found.values())]
    if _lies_along_z(rest, found):
        positions = positions[..., [0, 2, 1]] * [1, 1, -1]
    return positions, list(found), 1 / bvh.frame_time


def _found(names: list[str]) -> dict[str, int] | None:
    """Mocap joint -> index, by the first naming that has them all."""
    place = {name: i for i, name in reversed(list(enumerate(names)))}
    for sides, parts in NAMINGS.values():
        out: dict[str, int] = {}
        for joint in MOCAP_JOINTS:
            side, _, part = joint.partition("_")
            called = [n.format(s=sides[side == "right"]).lower() for n in parts[part]]
            if present := [place[n] for n in called if n in place]:
                out[joint] = present[0]
        if len(out) == len(MOCAP_JOINTS):
            return out | {j: place[j] for j in ("neck", "head") if j in place}
    return None


def _lies_along_z(rest: np.ndarray, found: dict[str, int]) -> bool:
    """Whether the rest pose stands along z instead of y."""
    shoulders, ankles = (rest[[found[f"{s}_{j}"] for s in ("left", "right")]].mean(0) for j in ("shoulder", "ankle"))
    up = shoulders - ankles
    return bool(up[2] > 0.8 * np.linalg.norm(up))
