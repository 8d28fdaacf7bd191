"""The rig that leaves the house: standard joint names, clavicles, and end sites for crown, knuckles and toes.

The body's solve has no clavicles (its shoulders hang on the chest) and ends in points that other tools do not know
(nose, ears, heels). This table is the one place where the two meet; BVH and glTF share it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kinelift.kinematics import stature_from_offsets
from kinelift.records import Motion
from kinelift.skeleton import BODY26, Skeleton


@dataclass(frozen=True, eq=False)
class Rig:
    """Export joints, depth first.

    Attributes:
        names: N joint names.
        parents: N indices; -1 for the root.
        offsets: (N, 3) metres, T-pose facing +Z, Y up, each from its parent; the root's is 0.
        sources: N motion joints whose rotation drives each, None where the joint stays at rest.
        ends: (3,) metres from a joint to the end of its bone, for the joints that end a chain.
        body: True for the standard body, whose names are those of `BODY_RIG`.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: np.ndarray
    sources: tuple[int | None, ...]
    ends: dict[int, np.ndarray]
    body: bool

    @property
    def rest_positions(self) -> np.ndarray:
        """(N, 3) metres: the T-pose standing on the floor at the origin."""
        positions = np.zeros_like(self.offsets)
        for i, p in enumerate(self.parents):
            if i:
                positions[i] = positions[p] + self.offsets[i]
        ends = [positions[i] + end for i, end in self.ends.items()]
        positions[:, 1] -= min(np.min(positions[:, 1]), np.min(ends, axis=0)[1])
        return positions

    def rotations(self, motion: Motion) -> np.ndarray:
        """(T, N, 4) local quaternions xyzw of the rig's joints."""
        out = np.zeros((len(motion.times), len(self.names), 4))
        out[..., 3] = 1
        driven = [i for i, s in enumerate(self.sources) if s is not None]
        out[:, driven] = motion.rotations[:, [s for s in self.sources if s is not None]]
        return out


# (export joint, its parent, the body joint at its place); None: a clavicle, placed by CLAVICLE.
BODY_RIG: tuple[tuple[str, str | None, str | None], ...] = (
    ("Hips", None, "pelvis"),
    ("Spine", "Hips", "spine"),
    ("Spine1", "Spine", "chest"),
    ("Neck", "Spine1", "neck"),
    ("Head", "Neck", "head"),
    ("LeftShoulder", "Spine1", None),
    ("LeftArm", "LeftShoulder", "left_shoulder"),
    ("LeftForeArm", "LeftArm", "left_elbow"),
    ("LeftHand", "LeftForeArm", "left_wrist"),
    ("RightShoulder", "Spine1", None),
    ("RightArm", "RightShoulder", "right_shoulder"),
    ("RightForeArm", "RightArm", "right_elbow"),
    ("RightHand", "RightForeArm", "right_wrist"),
    ("LeftUpLeg", "Hips", "left_hip"),
    ("LeftLeg", "LeftUpLeg", "left_knee"),
    ("LeftFoot", "LeftLeg", "left_ankle"),
    ("LeftToeBase", "LeftFoot", "left_toe"),
    ("RightUpLeg", "Hips", "right_hip"),
    ("RightLeg", "RightUpLeg", "right_knee"),
    ("RightFoot", "RightLeg", "right_ankle"),
    ("RightToeBase", "RightFoot", "right_toe"),
)
# The clavicle's inner end, as fractions of the way from the chest to the shoulder, per axis x, y, z.
CLAVICLE = np.array([0.18, 0.85, 1.0])
# Fractions of stature: the crown is at 1.0 over a head joint at .93, the toes' tip ends a foot of .152 (Winter 2009).
CROWN_ABOVE_HEAD = 0.070
TIP_BEFORE_TOE = 0.039


def is_body(skeleton: Skeleton) -> bool:
    """Whether a skeleton has exactly the body's joints and tree."""
    return skeleton.joints == BODY26.joints and skeleton.parents == BODY26.parents


def rig_of(motion: Motion) -> Rig:
    """The export rig of a motion: `BODY_RIG` for the standard body, the skeleton's own joints for any other."""
    return _body_rig(motion.offsets) if is_body(motion.skeleton) else _plain_rig(motion.skeleton, motion.offsets)


def _body_rig(body_offsets: np.ndarray) -> Rig:
    index = {name: i for i, (name, _, _) in enumerate(BODY_RIG)}
    parents = tuple(-1 if p is None else index[p] for _, p, _ in BODY_RIG)
    sources = tuple(None if joint is None else BODY26.index(joint) for _, _, joint in BODY_RIG)
    offsets = np.zeros((len(BODY_RIG), 3))
    for i, (name, _, joint) in enumerate(BODY_RIG):
        side = "left" if name.startswith("Left") else "right"
        shoulder = body_offsets[BODY26.index(f"{side}_shoulder")]
        if joint is None:
            offsets[i] = shoulder * CLAVICLE
        elif joint == f"{side}_shoulder":
            offsets[i] = shoulder - shoulder * CLAVICLE
        else:
            offsets[i] = body_offsets[BODY26.index(joint)]
    stature_m = stature_from_offsets(body_offsets)
    ends = {index["Head"]: np.array([0, CROWN_ABOVE_HEAD * stature_m, 0])}
    for side in ("Left", "Right"):
        ends[index[f"{side}Hand"]] = body_offsets[BODY26.index(f"{side.lower()}_hand")]
        ends[index[f"{side}ToeBase"]] = np.array([0, 0, TIP_BEFORE_TOE * stature_m])
    return Rig(tuple(index), parents, offsets, sources, ends, body=True)


def _plain_rig(skeleton: Skeleton, joint_offsets: np.ndarray) -> Rig:
    order: list[int] = []
    stack = [0]
    while stack:
        j = stack.pop()
        order.append(j)
        stack.extend(reversed(skeleton.children(j)))
    place = {j: i for i, j in enumerate(order)}
    parents = tuple(-1 if skeleton.parents[j] < 0 else place[skeleton.parents[j]] for j in order)
    offsets = joint_offsets[order]
    ends = {}
    for i in set(range(len(order))) - set(parents):
        length = np.linalg.norm(offsets[i])
        # A bone without length has no direction; a short one upwards still shows in other tools.
        ends[i] = offsets[i] * 0.3 if length > 1e-3 else np.array([0, 0.05, 0])
    names = tuple(skeleton.joints[j].replace(" ", "_") for j in order)
    return Rig(names, parents, offsets, tuple(order), dict(sorted(ends.items())), body=False)
