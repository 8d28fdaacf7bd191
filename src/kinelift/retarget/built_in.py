"""Rigs of our own with other tools' joint names: an average adult in a T-pose, for whoever has no character yet."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kinelift.kinematics import reference_offsets
from kinelift.retarget.character import Character, Source
from kinelift.skeleton import BODY26

# What stands where, by body joint; a pair is a point a share of the way from one joint to another.
_Place = str | tuple[str, str, float]
_TRUNK: tuple[_Place, ...] = ("pelvis", "spine", ("spine", "chest", 0.5), "chest", "neck", "head")
_ARM: tuple[_Place, ...] = (("chest", "shoulder", 0.3), "shoulder", "elbow", "wrist")
_LEG: tuple[_Place, ...] = ("hip", "knee", "ankle", "toe")

# Names of the trunk, of an arm from the clavicle on, of a leg; {} is the side's own word. The first may hang on a
# bone of its own on the floor.
_Names = tuple[str | None, tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, str]]
BUILT_IN: dict[str, _Names] = {
    "mixamo": (
        None,
        tuple(f"mixamorig:{n}" for n in ("Hips", "Spine", "Spine1", "Spine2", "Neck", "Head")),
        tuple(f"mixamorig:{{}}{n}" for n in ("Shoulder", "Arm", "ForeArm", "Hand")),
        tuple(f"mixamorig:{{}}{n}" for n in ("UpLeg", "Leg", "Foot", "ToeBase")),
        ("Left", "Right"),
    ),
    "vrm": (
        None,
        ("hips", "spine", "chest", "upperChest", "neck", "head"),
        ("{}Shoulder", "{}UpperArm", "{}LowerArm", "{}Hand"),
        ("{}UpperLeg", "{}LowerLeg", "{}Foot", "{}Toes"),
        ("left", "right"),
    ),
    "unreal": (
        "root",
        ("pelvis", "spine_01", "spine_02", "spine_03", "neck_01", "head"),
        ("clavicle_{}", "upperarm_{}", "lowerarm_{}", "hand_{}"),
        ("thigh_{}", "calf_{}", "foot_{}", "ball_{}"),
        ("l", "r"),
    ),
    "mmd": (
        "全ての親",
        ("センター", "上半身", "上半身1", "上半身2", "首", "頭"),
        ("{}肩", "{}腕", "{}ひじ", "{}手首"),
        ("{}足", "{}ひざ", "{}足首", "{}つま先"),
        ("左", "右"),
    ),
}


def character(name: str) -> Character:
    """The built-in rig of this name, without roles yet."""
    above, trunk, arm, leg, words = BUILT_IN[name]
    rest = _rest_positions()
    bones: list[tuple[str, int, np.ndarray]] = [] if above is None else [(above, -1, np.zeros(3))]
    for place, bone in zip(_TRUNK, trunk, strict=True):
        bones.append((bone, len(bones) - 1, _at(rest, place, "")))
    start = len(bones) - len(trunk)
    for side, word in zip(("left_", "right_"), words, strict=True):
        for names, places, on in ((arm, _ARM, start + 3), (leg, _LEG, start)):
            for bone, place in zip(names, places, strict=True):
                bones.append((bone.format(word), on, _at(rest, place, side)))
                on = len(bones) - 1
    parents = np.array([p for _, p, _ in bones])
    world = np.array([x for _, _, x in bones])
    n = len(bones)
    return Character(
        tuple(b for b, _, _ in bones),
        parents,
        world - np.where(parents[:, None] >= 0, world[parents], 0),
        np.broadcast_to(np.eye(3), (n, 3, 3)),
        np.ones(n),
        1.0,
        Source("built-in", Path(name), tuple(range(n))),
    )


def _rest_positions() -> np.ndarray:
    out = reference_offsets()
    for i, p in enumerate(BODY26.parents):
        if p >= 0:
            out[i] += out[p]
    return out - [0, out[:, 1].min(), 0]


def _at(rest: np.ndarray, place: _Place, side: str) -> np.ndarray:
    def joint(name: str) -> np.ndarray:
        return rest[BODY26.index(name if name in BODY26.joints else side + name)]

    if isinstance(place, str):
        return joint(place)
    a, b, share = place
    return joint(a) + share * (joint(b) - joint(a))
