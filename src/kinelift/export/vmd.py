"""Vocaloid Motion Data (VMD) for MikuMikuDance: 30 frames per second, feet by inverse kinematics.

Units of 8 cm (12.5 to the metre), left-handed axes: ours with z turned round, so that a model which faces the camera
faces -Z. Positions are offsets from the model's rest. センター moves over the floor, グルーブ up and down; 左足ＩＫ
and 右足ＩＫ carry the ankles with the feet's rotation, which the toes' bones, their children, take along. The leg
bones are keyed too, so that the solver starts from the motion's own knees. Bones turn about the model's axes, arms
from an A-pose. Layout: 111 bytes a key, names in Shift-JIS.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from kinelift.errors import InputError
from kinelift.export.hinges import about, hinged, posed
from kinelift.export.resample import at_constant_rate
from kinelift.export.rig import is_body
from kinelift.kinematics import continuous_quats, matrix_to_quat
from kinelift.records import Motion, Take
from kinelift.skeleton import BODY26

suffix = ".vmd"

FPS = 30.0
UNITS_PER_METRE = 12.5
# How far below the horizontal the arms of MMD characters rest; they vary by some ten degrees.
ARM_BELOW_DEG = 36.0
SIDES = {"left": "左", "right": "右"}

# Control points of the four curves (x, y, z, rotation) at 20/127 and 107/127: a straight line.
_LINE = np.repeat([20, 20, 107, 107], 4).astype(np.uint8)
_LINEAR = np.concatenate([np.append(_LINE[k:], [1, 0, 0][:k]).astype(np.uint8) for k in range(4)])
_KEY = np.dtype([("name", "S15"), ("frame", "<u4"), ("position", "<f4", 3), ("quat", "<f4", 4), ("curve", "u1", 64)])


def write(take: Take, index: int, path: Path, fps: float | None) -> None:
    """Write one motion at 30 frames per second.

    Raises `InputError` for another `fps`, and for a skeleton other than the standard body.
    """
    if fps is not None and fps != FPS:
        raise InputError(f"VMD plays at {FPS:g} frames per second: expected no other fps, got {fps:g}")
    motion, _ = at_constant_rate(take.motions[index], FPS)
    if not is_body(motion.skeleton):
        raise InputError(f"VMD export knows the standard body only, got the skeleton '{motion.skeleton.name}'")
    with path.open("wb") as f:
        f.write(struct.pack("<30s20s", b"Vocaloid Motion Data 0002", b"kinelift"))
        tracks = _tracks(motion)
        f.write(struct.pack("<I", sum(len(position) for position, _ in tracks.values())))
        for name, (position, rotation) in tracks.items():
            f.write(_keys(name, position, rotation))
        f.write(struct.pack("<4I", 0, 0, 0, 0))  # no morphs, cameras, lights, shadows
        solvers = [f"{side}{part}ＩＫ" for side in SIDES.values() for part in ("足", "つま先")]
        f.write(struct.pack("<IIBI", 1, 0, 1, len(solvers)))
        f.write(b"".join(struct.pack("<20sB", name.encode("shift_jis"), 1) for name in solvers))


def _keys(name: str, position_m: np.ndarray, rotation: np.ndarray) -> bytes:
    """One bone's keys, one a frame, from offsets (T, 3) and local rotations (T, 3, 3) in our axes."""
    keys = np.zeros(len(position_m), _KEY)
    keys["name"] = name.encode("shift_jis")
    keys["frame"] = np.arange(len(keys))
    keys["position"] = UNITS_PER_METRE * position_m * [1, 1, -1]
    keys["quat"] = continuous_quats(matrix_to_quat(rotation)) * [-1, -1, 1, 1]
    keys["curve"] = _LINEAR
    return keys.tobytes()


def _tracks(motion: Motion) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Offsets (T, 3) in metres and local rotations (T, 3, 3), our axes, by bone."""
    positions, rotations = posed(motion)
    rest = _rest(motion.offsets)
    still = np.zeros((len(positions), 3))
    unturned = np.broadcast_to(np.eye(3), (len(positions), 3, 3))

    def turn(joint: str) -> np.ndarray:
        return rotations[:, BODY26.index(joint)]

    def moved(joint: str) -> np.ndarray:
        return positions[:, BODY26.index(joint)] - rest[BODY26.index(joint)]

    # The waist, from which upper and lower body both hang, is the lumbar joint.
    waist = moved("spine")
    tracks = {
        "センター": (waist * [1, 0, 1], unturned),
        "グルーブ": (waist * [0, 1, 0], unturned),
        "上半身": (still, turn("spine")),
        "上半身2": (still, _local(turn("spine"), turn("chest"))),
        "首": (still, _local(turn("chest"), turn("neck"))),
        "頭": (still, _local(turn("neck"), turn("head"))),
        "下半身": (still, turn("pelvis")),
    }
    for side, character in SIDES.items():
        down = about(np.array([0, 0, -1.0 if side == "left" else 1.0]), np.radians([ARM_BELOW_DEG]))
        above = turn("chest")
        for joint, bone in (("shoulder", "腕"), ("elbow", "ひじ"), ("wrist", "手首")):
            below = turn(f"{side}_{joint}") @ np.swapaxes(down, 1, 2)
            tracks[f"{character}{bone}"] = (still, _local(above, below))
            above = below
        limb = (f"{side}_hip", f"{side}_knee", f"{side}_ankle")
        thigh, bend = hinged(motion, positions, rotations, limb, np.array([1.0, 0, 0]))
        knee = about(np.array([1.0, 0, 0]), bend)
        foot = turn(f"{side}_ankle")
        tracks[f"{character}足"] = (still, _local(turn("pelvis"), thigh))
        tracks[f"{character}ひざ"] = (still, knee)
        tracks[f"{character}足首"] = (still, _local(thigh @ knee, foot))
        tracks[f"{character}足ＩＫ"] = (moved(f"{side}_ankle"), foot)
        tracks[f"{character}つま先ＩＫ"] = (still[:1], unturned[:1])
    return tracks


def _local(parent: np.ndarray, child: np.ndarray) -> np.ndarray:
    return np.swapaxes(parent, -1, -2) @ child


def _rest(offsets: np.ndarray) -> np.ndarray:
    """(26, 3) metres: the body's T-pose standing on the floor, its pelvis over the origin."""
    rest = np.zeros_like(offsets)
    for joint, parent in enumerate(BODY26.parents):
        if joint:
            rest[joint] = rest[parent] + offsets[joint]
    return rest - [0, rest[:, 1].min(), 0]
