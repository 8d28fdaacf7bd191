"""A model for MMD players (PMD) with nothing but standard bones and their IK, of a body's own proportions."""

import struct
from pathlib import Path

import numpy as np

from kinelift.kinematics import forward_kinematics
from kinelift.skeleton import BODY26

UNITS = 12.5  # to the metre
IK_BONE, ANKLE_IK = 2, 0.06


def rest_a_pose(offsets, below_deg) -> np.ndarray:
    """(26, 3) metres: standing on the floor, arms `below_deg` degrees under the horizontal."""
    local = np.broadcast_to(np.eye(3), (1, 26, 3, 3)).copy()
    for side, sign in (("left", -1), ("right", 1)):
        a = np.radians(sign * below_deg)
        local[0, BODY26.index(f"{side}_shoulder")] = [
            [np.cos(a), -np.sin(a), 0],
            [np.sin(a), np.cos(a), 0],
            [0, 0, 1],
        ]
    (rest,), _ = forward_kinematics(BODY26, offsets, local, np.zeros((1, 3)))
    return rest - [0, rest[:, 1].min(), 0]


def bone_tree() -> list[tuple[str, str | None, str]]:
    """(bone, parent, the body joint at its place)."""
    rows: list[tuple[str, str | None, str]] = [
        ("センター", None, "pelvis"),
        ("グルーブ", "センター", "pelvis"),
        ("上半身", "グルーブ", "spine"),
        ("上半身2", "上半身", "chest"),
        ("首", "上半身2", "neck"),
        ("頭", "首", "head"),
        ("鼻", "頭", "nose"),
        ("下半身", "グルーブ", "spine"),
    ]
    for side, c in (("left", "左"), ("right", "右")):
        rows += [(f"{c}腕", "上半身2", f"{side}_shoulder"), (f"{c}ひじ", f"{c}腕", f"{side}_elbow")]
        rows += [(f"{c}手首", f"{c}ひじ", f"{side}_wrist"), (f"{c}手先", f"{c}手首", f"{side}_hand")]
        rows += [(f"{c}足", "下半身", f"{side}_hip"), (f"{c}ひざ", f"{c}足", f"{side}_knee")]
        rows += [(f"{c}足首", f"{c}ひざ", f"{side}_ankle"), (f"{c}つま先", f"{c}足首", f"{side}_toe")]
        rows += [(f"{c}かかと", f"{c}足首", f"{side}_heel")]
        rows += [(f"{c}足ＩＫ", None, f"{side}_ankle"), (f"{c}つま先ＩＫ", f"{c}足ＩＫ", f"{side}_toe")]
    return rows


def write_pmd(path: Path, offsets: np.ndarray, below_deg: float) -> None:
    """Left-handed, facing -Z; one triangle, no materials."""
    rest, rows = rest_a_pose(offsets, below_deg), bone_tree()
    index = {name: i for i, (name, _, _) in enumerate(rows)}

    def text(s: str, n: int) -> bytes:
        return s.encode("shift_jis").ljust(n, b"\0")

    out = struct.pack("<3sf", b"Pmd", 1.0) + text("model", 20) + text("", 256)
    vertex = struct.pack("<8f2HBB", *[0.0] * 8, 0, 0, 100, 0)
    out += struct.pack("<I", 3) + 3 * vertex + struct.pack("<I3H", 3, 0, 1, 2) + struct.pack("<I", 0)
    out += struct.pack("<H", len(rows))
    for name, parent, joint in rows:
        place = UNITS * rest[BODY26.index(joint)] * [1, 1, -1]
        kind = IK_BONE if "ＩＫ" in name else 1
        out += text(name, 20) + struct.pack("<hhBH3f", index.get(parent, -1) if parent else -1, -1, kind, 0, *place)
    solvers = []
    for c in "左右":
        solvers.append((f"{c}足ＩＫ", f"{c}足首", 40, 0.5, (f"{c}ひざ", f"{c}足")))
        solvers.append((f"{c}つま先ＩＫ", f"{c}つま先", 3, 1.0, (f"{c}足首",)))
    out += struct.pack("<H", len(solvers))
    for target, effector, rounds, limit, links in solvers:
        out += struct.pack("<HHBHf", index[target], index[effector], len(links), rounds, limit)
        out += b"".join(struct.pack("<H", index[link]) for link in links)
    out += struct.pack("<HBBIB", 0, 0, 0, 0, 0) + 10 * text("", 100) + struct.pack("<II", 0, 0)
    path.write_bytes(out)
