"""Skeletons by name, and the named tables that carry joints from one to another.

A map is data: each target joint is a weighted mean of source joints. A joint that the source cannot give has
no entry, and is filled later by the whole-clip solve from what is seen, never by a guess made here.
"""

from dataclasses import dataclass

import numpy as np

from kinelift.errors import RecordError, UnknownNameError


@dataclass(frozen=True, eq=False)
class Skeleton:
    """Joint names with their tree.

    Attributes:
        name: The registry's name.
        joints: J names.
        parents: J indices; the root's is -1 and every parent comes before its children.
        mirror: J indices of each joint's counterpart on the other side of the body (itself on the midline).
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    mirror: tuple[int, ...]

    def __post_init__(self) -> None:
        n = len(self.joints)
        if len(set(self.joints)) != n:
            raise RecordError(f"skeleton {self.name}: joint names repeat")
        if len(self.parents) != n or self.parents[0] != -1:
            raise RecordError(f"skeleton {self.name}: expected {n} parents with parents[0] == -1")
        if any(not 0 <= p < i for i, p in enumerate(self.parents) if i):
            raise RecordError(f"skeleton {self.name}: every parent must come before its child")
        if sorted(self.mirror) != list(range(n)) or any(self.mirror[m] != i for i, m in enumerate(self.mirror)):
            raise RecordError(f"skeleton {self.name}: mirror must be a permutation that undoes itself")

    def __len__(self) -> int:
        return len(self.joints)

    def index(self, joint: str) -> int:
        """Index of a joint by name; raises `UnknownNameError`."""
        try:
            return self.joints.index(joint)
        except ValueError:
            raise UnknownNameError(f"joint of {self.name}", joint, self.joints) from None

    def indices(self, *joints: str) -> list[int]:
        """Indices of several joints."""
        return [self.index(j) for j in joints]

    def children(self, i: int) -> list[int]:
        """Indices of a joint's children."""
        return [c for c, p in enumerate(self.parents) if p == i]


def _mirror_name(name: str) -> str:
    swaps = (("left", "right"), ("Left", "Right"))
    for a, b in swaps:
        if a in name:
            return name.replace(a, b)
        if b in name:
            return name.replace(b, a)
    if len(name) > 1 and name[0] in "LR" and name[1].isupper():
        return ("R" if name[0] == "L" else "L") + name[1:]
    return name


def make_skeleton(name: str, tree: list[tuple[str, str | None]]) -> Skeleton:
    """Skeleton from (joint, parent name) rows; mirror from left/right in the names."""
    joints = tuple(j for j, _ in tree)
    parents = tuple(-1 if p is None else joints.index(p) for _, p in tree)
    mirror = tuple(joints.index(m) if (m := _mirror_name(j)) in joints else i for i, j in enumerate(joints))
    return Skeleton(name, joints, parents, mirror)


def _limbs(side: str) -> list[tuple[str, str | None]]:
    s = side
    return [
        (f"{s}_shoulder", "chest"),
        (f"{s}_elbow", f"{s}_shoulder"),
        (f"{s}_wrist", f"{s}_elbow"),
        (f"{s}_hand", f"{s}_wrist"),
        (f"{s}_hip", "pelvis"),
        (f"{s}_knee", f"{s}_hip"),
        (f"{s}_ankle", f"{s}_knee"),
        (f"{s}_heel", f"{s}_ankle"),
        (f"{s}_toe", f"{s}_ankle"),
    ]


BODY26 = make_skeleton(
    "body26",
    [
        ("pelvis", None),
        ("spine", "pelvis"),
        ("chest", "spine"),
        ("neck", "chest"),
        ("head", "neck"),
        ("nose", "head"),
        ("left_ear", "head"),
        ("right_ear", "head"),
        *_limbs("left"),
        *_limbs("right"),
    ],
)

H36M17 = make_skeleton(
    "h36m17",
    [
        ("Hip", None),
        ("RHip", "Hip"),
        ("RKnee", "RHip"),
        ("RFoot", "RKnee"),
        ("LHip", "Hip"),
        ("LKnee", "LHip"),
        ("LFoot", "LKnee"),
        ("Spine", "Hip"),
        ("Thorax", "Spine"),
        ("NeckNose", "Thorax"),
        ("Head", "NeckNose"),
        ("LShoulder", "Thorax"),
        ("LElbow", "LShoulder"),
        ("LWrist", "LElbow"),
        ("RShoulder", "Thorax"),
        ("RElbow", "RShoulder"),
        ("RWrist", "RElbow"),
    ],
)


def _flat(name: str, joints: str) -> Skeleton:
    """A detector's key points: a list without a tree of its own, all hung on the first."""
    names = joints.split()
    return make_skeleton(name, [(j, None if i == 0 else names[0]) for i, j in enumerate(names)])


MEDIAPIPE33 = _flat(
    "mediapipe33",
    "nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer left_ear right_ear "
    "mouth_left mouth_right left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist left_pinky "
    "right_pinky left_index right_index left_thumb right_thumb left_hip right_hip left_knee right_knee left_ankle "
    "right_ankle left_heel right_heel left_foot_index right_foot_index",
)
COCO17 = _flat(
    "coco17",
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist "
    "right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle",
)
OPENPOSE_COCO18 = _flat(
    "openpose-coco18",
    "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist right_hip right_knee "
    "right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear left_ear",
)
# "torso" is the middle of shoulders and hips, which OpenPose itself calls the chest.
OPENPOSE_MPI15 = _flat(
    "openpose-mpi15",
    "head_top upper_neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist right_hip "
    "right_knee right_ankle left_hip left_knee left_ankle torso",
)
BODY_25 = _flat(
    "body_25",
    "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist mid_hip right_hip "
    "right_knee right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear left_ear left_big_toe "
    "left_small_toe left_heel right_big_toe right_small_toe right_heel",
)
BODY_25B = _flat(
    "body_25b",
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist "
    "right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle upper_neck head_top left_big_toe "
    "left_small_toe left_heel right_big_toe right_small_toe right_heel",
)
HALPE26 = _flat(
    "halpe26",
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist "
    "right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle head_top neck mid_hip left_big_toe "
    "right_big_toe left_small_toe right_small_toe left_heel right_heel",
)

SKELETONS: dict[str, Skeleton] = {
    s.name: s
    for s in (BODY26, H36M17, MEDIAPIPE33, COCO17, OPENPOSE_COCO18, OPENPOSE_MPI15, BODY_25, BODY_25B, HALPE26)
}

JointTable = dict[str, dict[str, float]]


def _sided(rows: dict[str, dict[str, float]]) -> JointTable:
    """Write out '{s}' rows for the left and the right."""
    out: JointTable = {}
    for target, sources in rows.items():
        for side in ("left", "right") if "{s}" in target else ("",):
            out[target.replace("{s}", side)] = {k.replace("{s}", side): w for k, w in sources.items()}
    return out


_LIMBS = {f"{{s}}_{j}": {f"{{s}}_{j}": 1.0} for j in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")}
_TRUNK = {
    "pelvis": {"left_hip": 0.5, "right_hip": 0.5},
    "neck": {"left_shoulder": 0.5, "right_shoulder": 0.5},
}
_FACE = {"nose": {"nose": 1.0}, "{s}_ear": {"{s}_ear": 1.0}, "head": {"left_ear": 0.5, "right_ear": 0.5}}
_TOES = {"{s}_heel": {"{s}_heel": 1.0}, "{s}_toe": {"{s}_big_toe": 0.5, "{s}_small_toe": 0.5}}

_COCO_TO_BODY = _sided(_TRUNK | _FACE | _LIMBS)
_MPI_TO_BODY = _sided(_TRUNK | _LIMBS | {"head": {"head_top": 0.5, "upper_neck": 0.5}})
_FEET_TO_BODY = _sided(_TRUNK | _FACE | _LIMBS | _TOES)
_MEDIAPIPE_TO_BODY = _sided(
    _TRUNK
    | _FACE
    | _LIMBS
    | {
        "{s}_hand": {"{s}_index": 0.5, "{s}_pinky": 0.5},
        "{s}_heel": {"{s}_heel": 1.0},
        "{s}_toe": {"{s}_foot_index": 1.0},
    }
)
_H36M_LIMBS = {
    f"{s}{h}": f"{side}_{b}"
    for s, side in (("L", "left"), ("R", "right"))
    for h, b in zip(
        ("Hip", "Knee", "Foot", "Shoulder", "Elbow", "Wrist"),
        ("hip", "knee", "ankle", "shoulder", "elbow", "wrist"),
        strict=True,
    )
}
_BODY_TO_H36M: JointTable = {h: {b: 1.0} for h, b in _H36M_LIMBS.items()} | {
    "Hip": {"pelvis": 1.0},
    "Thorax": {"neck": 1.0},
    "Spine": {"pelvis": 0.5, "neck": 0.5},
    "NeckNose": {"nose": 1.0},
    # The crown lies beyond the ears' middle, as seen from the shoulders': 0.6 of their distance.
    "Head": {"head": 1.6, "neck": -0.6},
}
# MPI has the crown and no nose: half way to the thorax, so that the crown is at thorax + 2 (nose - thorax), where the
# seed's demo puts it.
_MPI_TO_H36M: JointTable = {h: {b: 1.0} for h, b in _H36M_LIMBS.items()} | {
    "Hip": {"left_hip": 0.5, "right_hip": 0.5},
    "Thorax": {"left_shoulder": 0.5, "right_shoulder": 0.5},
    "Spine": {"left_hip": 0.25, "right_hip": 0.25, "left_shoulder": 0.25, "right_shoulder": 0.25},
    "NeckNose": {"left_shoulder": 0.25, "right_shoulder": 0.25, "head_top": 0.5},
    "Head": {"head_top": 1.0},
}
_H36M_TO_BODY: JointTable = {b: {h: 1.0} for h, b in _H36M_LIMBS.items()} | {
    "pelvis": {"Hip": 1.0},
    "neck": {"Thorax": 1.0},
}

JOINT_MAPS: dict[tuple[str, str], JointTable] = {
    ("mediapipe33", "body26"): _MEDIAPIPE_TO_BODY,
    ("coco17", "body26"): _COCO_TO_BODY,
    ("openpose-coco18", "body26"): _COCO_TO_BODY,
    ("openpose-mpi15", "body26"): _MPI_TO_BODY,
    ("openpose-mpi15", "h36m17"): _MPI_TO_H36M,
    ("body_25", "body26"): _FEET_TO_BODY,
    ("body_25b", "body26"): _FEET_TO_BODY,
    ("halpe26", "body26"): _FEET_TO_BODY,
    ("body26", "h36m17"): _BODY_TO_H36M,
    ("h36m17", "body26"): _H36M_TO_BODY,
}


def joint_map(source: Skeleton, target: Skeleton) -> np.ndarray:
    """Weights (J_target, J_source) that carry points from one skeleton to another.

    Rows of joints that the source cannot give are all zero. Raises `UnknownNameError` where no table exists.
    """
    if source.joints == target.joints:
        return np.eye(len(source))
    table = JOINT_MAPS.get((source.name, target.name))
    if table is None:
        pair = f"{source.name} -> {target.name}"
        raise UnknownNameError("skeleton map", pair, (f"{a} -> {b}" for a, b in JOINT_MAPS))
    weights = np.zeros((len(target), len(source)))
    for joint, sources in table.items():
        for name, weight in sources.items():
            weights[target.index(joint), source.index(name)] = weight
    return weights
