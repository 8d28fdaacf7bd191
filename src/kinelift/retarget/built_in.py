"""Rigs of our own with other tools' joint names: an average adult in a T-pose, for whoever has no character yet."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from kinelift.export.body import Surface, body
from kinelift.export.rig import BODY_RIG, rig_of
from kinelift.kinematics import reference_offsets
from kinelift.records import Motion
from kinelift.retarget.character import Character, Source
from kinelift.skeleton import BODY26

# What stands where, by body joint; a pair is a point a share of the way from one joint to another.
_Place = str | tuple[str, str, float]
_BETWEEN: _Place = ("spine", "chest", 0.5)
_TRUNK: tuple[_Place, ...] = ("pelvis", "spine", _BETWEEN, "chest", "neck", "head")
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
    for names, places, hung_on in ((arm, _ARM, start + 3), (leg, _LEG, start)):
        for side, word in zip(("left_", "right_"), words, strict=True):
            on = hung_on
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


def surfaces(name: str) -> dict[str, Surface]:
    """The body that the exporters draw, on the bones of a built-in rig."""
    offsets, n = reference_offsets(), len(BODY26)
    still = Motion(
        BODY26, offsets, np.tile([0, 0, 0, 1.0], (1, n, 1)), np.zeros((1, 3)), np.zeros((1, 0)), np.zeros(0),
        np.ones(1, bool), np.zeros((1, n)), np.zeros(1),
    )  # fmt: skip
    # The same joints in the same order, but that the rig has one more in the spine and perhaps one below.
    bones = np.array([i for i in range(len(BODY_RIG) + 1) if _TRUNK[i : i + 1] != (_BETWEEN,)])
    bones += BUILT_IN[name][0] is not None
    drawn = body(rig_of(still))
    return {
        k: replace(s, joints=np.where(s.weights > 0, bones[s.joints], 0).astype(np.uint8)) for k, s in drawn.items()
    }


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
