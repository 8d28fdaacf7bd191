"""Three skinned characters as users bring them, with very different proportions: to test retargeting on.

- `mixamo`: `mixamorig1:` names, fingers and end bones; an A-pose with Y along each bone; centimetres under a node of
  scale 0.01; broad and tall.
- `vrm`: VRoid's names and VRM's humanoid, twist bones, a hair bone, a root node; a T-pose of bones without axes of
  their own; metres; a chibi of short limbs and a large head.
- `unreal`: the mannequin's names, twist and IK bones, a root bone with Z up; an A-pose with the legs apart, X along
  each bone and the right side mirrored; metres; long legs.

`rig_files.py` writes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from kinelift.export.body import Surface, body
from kinelift.export.rig import Rig, rig_of
from kinelift.kinematics import reference_offsets, rotvec_to_matrix
from kinelift.records import Motion
from kinelift.skeleton import BODY26

# (bone, its parent, joint of the body rig, how far on towards that joint's end); `{s}` stands for a side.
Row = tuple[str, str | None, str, float]


@dataclass(frozen=True, eq=False)
class SkinnedRig:
    """A character in its rest pose, glTF's axes: Y up, facing +Z, on the floor.

    Attributes:
        bones: B names, parents first.
        parents: (B,) indices, -1 for a root.
        positions: (B, 3) metres in the world.
        rotations: (B, 3, 3) each bone's own axes in the world.
        unit_m: Metres of one unit inside the rig.
        surfaces: The body by material, bound to `bones`.
        joints: Bones by joint of the standard body, for judges.
        humanoid: VRM's bone names to ours.
    """

    bones: tuple[str, ...]
    parents: np.ndarray
    positions: np.ndarray
    rotations: np.ndarray
    unit_m: float
    surfaces: dict[str, Surface]
    joints: dict[str, str]
    humanoid: dict[str, str]

    @property
    def leg_m(self) -> float:
        """Hip to ankle, along the bones."""
        hip, knee, ankle = (
            self.positions[self.bones.index(self.joints[f"left_{j}"])] for j in ("hip", "knee", "ankle")
        )
        return float(np.linalg.norm(hip - knee) + np.linalg.norm(knee - ankle))

    def local(self) -> tuple[np.ndarray, np.ndarray]:
        """Rest translations (B, 3) in the rig's units and rotations (B, 3, 3), each from the parent."""
        moved, turned = self.positions / self.unit_m, self.rotations.copy()
        for i, p in enumerate(self.parents):
            if p >= 0:
                moved[i] = self.rotations[p].T @ (self.positions[i] - self.positions[p]) / self.unit_m
                turned[i] = self.rotations[p].T @ self.rotations[i]
        return moved, turned

    def turned_about(self) -> SkinnedRig:
        """The same character facing -Z, as VRM 0 has it."""
        about = np.diag([-1.0, 1.0, -1.0])
        surfaces = {
            k: replace(s, positions=s.positions @ about, normals=s.normals @ about) for k, s in self.surfaces.items()
        }
        return replace(self, positions=self.positions @ about, rotations=about @ self.rotations, surfaces=surfaces)


def sided(*rows: Row) -> list[Row]:
    """Rows of the left side, then of the right."""

    def of(row: Row, words: tuple[str, str, str]) -> Row:
        name, parent, joint, along = row
        side, small, body_side = words
        fill = {"S": side, "s": small}
        return (name.format(**fill), parent and parent.format(**fill), body_side + joint, along)

    return [of(r, w) for w in (("Left", "l", "Left"), ("Right", "r", "Right")) for r in rows]


MIXAMO = [
    ("Hips", None, "Hips", 0), ("Spine", "Hips", "Spine", 0), ("Spine1", "Spine", "Spine", 0.5),
    ("Spine2", "Spine1", "Spine1", 0), ("Neck", "Spine2", "Neck", 0), ("Head", "Neck", "Head", 0),
    ("HeadTop_End", "Head", "Head", 1),
    *sided(("{S}Shoulder", "Spine2", "Shoulder", 0), ("{S}Arm", "{S}Shoulder", "Arm", 0),
           ("{S}ForeArm", "{S}Arm", "ForeArm", 0), ("{S}Hand", "{S}ForeArm", "Hand", 0),
           ("{S}HandIndex1", "{S}Hand", "Hand", 1), ("{S}HandIndex2", "{S}HandIndex1", "Hand", 1.5),
           ("{S}UpLeg", "Hips", "UpLeg", 0), ("{S}Leg", "{S}UpLeg", "Leg", 0), ("{S}Foot", "{S}Leg", "Foot", 0),
           ("{S}ToeBase", "{S}Foot", "ToeBase", 0), ("{S}Toe_End", "{S}ToeBase", "ToeBase", 1)),
]  # fmt: skip
MIXAMO = [(f"mixamorig1:{name}", p and f"mixamorig1:{p}", joint, along) for name, p, joint, along in MIXAMO]

_VRM_SIDE = sided(
    ("J_Bip_{s}_Shoulder", "J_Bip_C_Chest", "Shoulder", 0), ("J_Bip_{s}_UpperArm", "J_Bip_{s}_Shoulder", "Arm", 0),
    ("J_Twist_{s}_UpperArm", "J_Bip_{s}_UpperArm", "Arm", 0.5),
    ("J_Bip_{s}_LowerArm", "J_Bip_{s}_UpperArm", "ForeArm", 0),
    ("J_Twist_{s}_LowerArm", "J_Bip_{s}_LowerArm", "ForeArm", 0.5), ("J_Bip_{s}_Hand", "J_Bip_{s}_LowerArm", "Hand", 0),
    ("J_Bip_{s}_UpperLeg", "J_Bip_C_Hips", "UpLeg", 0), ("J_Bip_{s}_LowerLeg", "J_Bip_{s}_UpperLeg", "Leg", 0),
    ("J_Bip_{s}_Foot", "J_Bip_{s}_LowerLeg", "Foot", 0), ("J_Bip_{s}_ToeBase", "J_Bip_{s}_Foot", "ToeBase", 0),
)  # fmt: skip
VRM = [
    ("Root", None, "floor", 0), ("J_Bip_C_Hips", "Root", "Hips", 0), ("J_Bip_C_Spine", "J_Bip_C_Hips", "Spine", 0),
    ("J_Bip_C_Chest", "J_Bip_C_Spine", "Spine1", 0), ("J_Bip_C_Neck", "J_Bip_C_Chest", "Neck", 0),
    ("J_Bip_C_Head", "J_Bip_C_Neck", "Head", 0), ("J_Sec_Hair1_01", "J_Bip_C_Head", "Head", 0.8),
    *((n.replace("_l_", "_L_").replace("_r_", "_R_"), p and p.replace("_l_", "_L_").replace("_r_", "_R_"), j, a)
      for n, p, j, a in _VRM_SIDE),
]  # fmt: skip
HUMANOID = {"hips": "J_Bip_C_Hips", "spine": "J_Bip_C_Spine", "chest": "J_Bip_C_Chest", "neck": "J_Bip_C_Neck"}
HUMANOID |= {"head": "J_Bip_C_Head"}
HUMANOID |= {
    f"{side}{bone}": f"J_Bip_{s}_{'ToeBase' if bone == 'Toes' else bone}"
    for side, s in (("left", "L"), ("right", "R"))
    for bone in ("Shoulder", "UpperArm", "LowerArm", "Hand", "UpperLeg", "LowerLeg", "Foot", "Toes")
}

UNREAL = [
    ("root", None, "floor", 0), ("pelvis", "root", "Hips", 0), ("spine_01", "pelvis", "Spine", 0),
    ("spine_02", "spine_01", "Spine", 0.5), ("spine_03", "spine_02", "Spine1", 0), ("neck_01", "spine_03", "Neck", 0),
    ("head", "neck_01", "Head", 0),
    *sided(("clavicle_{s}", "spine_03", "Shoulder", 0), ("upperarm_{s}", "clavicle_{s}", "Arm", 0),
           ("lowerarm_{s}", "upperarm_{s}", "ForeArm", 0), ("upperarm_twist_01_{s}", "upperarm_{s}", "Arm", 0.4),
           ("hand_{s}", "lowerarm_{s}", "Hand", 0), ("lowerarm_twist_01_{s}", "lowerarm_{s}", "ForeArm", 0.6),
           ("index_01_{s}", "hand_{s}", "Hand", 1),
           ("thigh_{s}", "pelvis", "UpLeg", 0), ("calf_{s}", "thigh_{s}", "Leg", 0),
           ("thigh_twist_01_{s}", "thigh_{s}", "UpLeg", 0.4), ("foot_{s}", "calf_{s}", "Foot", 0),
           ("calf_twist_01_{s}", "calf_{s}", "Leg", 0.6), ("ball_{s}", "foot_{s}", "ToeBase", 0)),
    ("ik_foot_root", "root", "floor", 0), ("ik_foot_l", "ik_foot_root", "LeftFoot", 0),
    ("ik_foot_r", "ik_foot_root", "RightFoot", 0), ("ik_hand_root", "root", "floor", 0),
    ("ik_hand_l", "ik_hand_root", "LeftHand", 0), ("ik_hand_r", "ik_hand_root", "RightHand", 0),
]  # fmt: skip

_SIDE = {"Arm": "shoulder", "ForeArm": "elbow", "Hand": "wrist", "UpLeg": "hip", "Leg": "knee", "Foot": "ankle"}
_SIDE |= {"ToeBase": "toe"}
_BODY = {"Hips": "pelvis", "Spine": "spine", "Spine1": "chest", "Neck": "neck", "Head": "head"}
_BODY |= {f"{side}{part}": f"{side.lower()}_{joint}" for side in ("Left", "Right") for part, joint in _SIDE.items()}
# Height of the ball of the foot inside the shoe, of stature.
BALL = 0.018
# Bones that move no vertex.
UNSKINNED = ("_End", "ik_", "Root", "root")


def mixamo() -> SkinnedRig:
    """Broad, tall, arms 40 degrees down."""
    offsets = sized(reference_offsets(1.85), legs=0.95, arms=1.03, shoulders=1.2, hips=1.1)
    return _character(MIXAMO, offsets, arms_deg=40, axis="y", unit_m=0.01)


def vrm() -> SkinnedRig:
    """A chibi of about a metre, arms straight out."""
    offsets = sized(reference_offsets(1.15), legs=0.55, arms=0.62, shoulders=0.8, hips=1.0)
    return replace(_character(VRM, offsets, head=2.1), humanoid=HUMANOID)


def unreal() -> SkinnedRig:
    """Long legs, arms 50 degrees down, legs 5 degrees apart, a root bone on the floor with Z up."""
    offsets = sized(reference_offsets(1.72), legs=1.3, arms=1.15, shoulders=0.95, hips=0.95)
    return _character(UNREAL, offsets, arms_deg=50, legs_deg=5, axis="x")


RIGS = {"mixamo": mixamo, "vrm": vrm, "unreal": unreal}


def sized(offsets: np.ndarray, legs: float, arms: float, shoulders: float, hips: float) -> np.ndarray:
    """Offsets (26, 3) whose limbs, shoulder and hip widths are so many times as long."""
    out = offsets.copy()
    for side in ("left", "right"):
        out[BODY26.indices(f"{side}_knee", f"{side}_ankle")] *= legs
        out[BODY26.indices(f"{side}_elbow", f"{side}_wrist", f"{side}_hand")] *= arms
        out[BODY26.index(f"{side}_shoulder"), 0] *= shoulders
        out[BODY26.index(f"{side}_hip"), 0] *= hips
    return out


def _character(
    rows: Sequence[Row], offsets: np.ndarray, arms_deg: float = 0, legs_deg: float = 0, head: float = 1,
    axis: str = "", unit_m: float = 1,
) -> SkinnedRig:  # fmt: skip
    """`axis` is the one that points along a bone, "x", "y", or "": the bones' axes are the world's."""
    rig = rig_of(_still(offsets))
    flat, turned, posed = _posed(rig, arms_deg, legs_deg)
    stature_m = flat[rig.names.index("Head"), 1] + rig.ends[rig.names.index("Head")][1]
    names, parents = (
        [r[0] for r in rows],
        np.array([-1 if r[1] is None else [q[0] for q in rows].index(r[1]) for r in rows]),
    )
    positions, follows = np.zeros((len(rows), 3)), np.zeros((len(rows), 3))
    for i, (_, _, joint, along) in enumerate(rows):
        if joint == "floor":
            continue
        j = rig.names.index(joint)
        end = _end(rig, j, flat) - flat[j]
        follows[i] = turned[j] @ end
        positions[i] = posed[j] + turned[j] @ (along * end * (head if joint == "Head" else 1))
        if joint.endswith("ToeBase"):  # tools draw the ball inside the shoe
            positions[i, 1] += BALL * stature_m
    surfaces = {k: _bound(s, rig, rows, flat, turned, posed, head) for k, s in body(rig).items()}
    ground = min(s.positions[:, 1].min() for s in surfaces.values())
    surfaces = {k: replace(s, positions=s.positions - [0, ground, 0]) for k, s in surfaces.items()}
    positions -= np.array([[0 if r[2] == "floor" else ground for r in rows]]).T * [0, 1, 0]
    rotations = np.stack([_axes(r, d, axis) for r, d in zip(rows, follows, strict=True)])
    joints = {_BODY[r[2]]: r[0] for r in reversed(rows) if r[2] in _BODY and r[3] == 0 and not r[0].startswith("ik_")}
    return SkinnedRig(tuple(names), parents, positions, rotations, unit_m, surfaces, joints, {})


def _still(offsets: np.ndarray) -> Motion:
    n = len(BODY26)
    quats = np.zeros((1, n, 4))
    quats[..., 3] = 1
    soles = BODY26.indices("left_heel", "left_toe", "right_heel", "right_toe")
    return Motion(BODY26, offsets, quats, np.zeros((1, 3)), np.zeros((1, 4)), np.array(soles), np.ones(1, bool),
                  np.zeros((1, n)), np.zeros(1))  # fmt: skip


def _posed(rig: Rig, arms_deg: float, legs_deg: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Joints in the T-pose (N, 3), and their rotations (N, 3, 3) and places (N, 3) in the rest pose."""
    about = {"LeftArm": -arms_deg, "RightArm": arms_deg, "LeftUpLeg": legs_deg, "RightUpLeg": -legs_deg}
    about |= {"LeftFoot": -legs_deg, "RightFoot": legs_deg}
    flat = rig.rest_positions
    turned, posed = np.tile(np.eye(3), (len(flat), 1, 1)), flat.copy()
    for i, p in enumerate(rig.parents):
        own = rotvec_to_matrix(np.array([0, 0, np.radians(about.get(rig.names[i], 0))]))
        turned[i] = own if p < 0 else turned[p] @ own
        if p >= 0:
            posed[i] = posed[p] + turned[p] @ rig.offsets[i]
    return flat, turned, posed


def _end(rig: Rig, j: int, flat: np.ndarray) -> np.ndarray:
    """Where a joint's bone ends in the T-pose (3,): at its first child, or its end."""
    if j in rig.ends:
        return flat[j] + rig.ends[j]
    return flat[rig.parents.index(j)]


def _axes(row: Row, direction: np.ndarray, axis: str) -> np.ndarray:
    """A bone's axes (3, 3): along the bone, and forwards or, where it points forwards, up."""
    if row[2] == "floor":  # engines with Z up
        return rotvec_to_matrix(np.array([-np.pi / 2, 0, 0])) if axis == "x" else np.eye(3)
    if not axis:
        return np.eye(3)
    along = direction / np.linalg.norm(direction)
    if axis == "x" and row[2].startswith("Right"):  # the mannequin's right side is mirrored
        along = -along
    second = np.array([0, 0, 1.0]) if abs(along[2]) < 0.7 else np.array([0, 1.0, 0])
    second = second - (second @ along) * along
    second /= np.linalg.norm(second)
    if axis == "y":
        return np.stack([np.cross(along, second), along, second], -1)
    return np.stack([along, second, np.cross(along, second)], -1)


def _bound(
    surface: Surface,
    rig: Rig,
    rows: Sequence[Row],
    flat: np.ndarray,
    turned: np.ndarray,
    posed: np.ndarray,
    head: float,
) -> Surface:
    """A surface of the body rig in the rest pose, its weights shared out among the character's bones."""
    v = surface.positions
    weights = np.zeros((len(v), len(rig.names)))
    np.put_along_axis(weights, surface.joints.astype(int), 0, 1)
    for k in range(4):
        weights[np.arange(len(v)), surface.joints[:, k]] += surface.weights[:, k]
    top = rig.names.index("Head")
    v = v + weights[:, [top]] * (head - 1) * (v - flat[top])
    moved = np.einsum("jab,vjb->vja", turned, v[:, None] - flat) + posed
    out, pairs = np.zeros((len(v), len(rows))), enumerate(rows)
    bones: dict[str, list[tuple[float, int]]] = {}
    for i, (name, _, joint, along) in pairs:
        if not any(word in name for word in UNSKINNED) and joint != "floor":
            bones.setdefault(joint, []).append((along, i))
    for j, name in enumerate(rig.names):
        way = _end(rig, j, flat) - flat[j]
        station = (v - flat[j]) @ way / max(way @ way, 1e-9)
        shares = sorted(bones[name])
        left = weights[:, j]
        for along, i in shares[:0:-1]:
            u = np.clip((station - along) / 0.4 + 0.5, 0, 1)
            out[:, i], left = left * u, left * (1 - u)
        out[:, shares[0][1]] = left
    strongest = np.argsort(-out, 1, kind="stable")[:, :4]
    share = np.take_along_axis(out, strongest, 1)
    share[share < 0.01] = 0
    share = (share / share.sum(1, keepdims=True)).astype(np.float32)
    return Surface(
        np.einsum("vj,vja->va", weights, moved), np.einsum("vj,jab,vb->va", weights, turned, surface.normals),
        surface.triangles, np.where(share > 0, strongest, 0).astype(np.uint8), share,
    )  # fmt: skip
