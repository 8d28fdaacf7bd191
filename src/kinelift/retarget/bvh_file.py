"""A BVH file as a character: its offsets are the rest pose, and the same hierarchy comes back with other frames.

Where the offsets alone are no standing body (some tools write them with all joints turned), the file's first frame
is the rest pose.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kinelift.errors import InputError
from kinelift.export.bvh import continuous_zxy, read_bvh
from kinelift.export.resample import constant_fps
from kinelift.kinematics import quat_to_matrix
from kinelift.retarget.animation import Animation
from kinelift.retarget.character import Character, Source

# Metres of the units that BVH files are in: m, cm, inches, mm, and the inches times .45 of old Biovision files.
_UNITS_M = np.array([1.0, 0.01, 0.0254, 0.001, 0.0254 / 0.45])


@dataclass(frozen=True, eq=False)
class Hierarchy:
    """A BVH's own text, and what each of its columns is.

    Attributes:
        text: From HIERARCHY to the line before MOTION.
        channels: Every joint's, end sites included, in the order of the columns.
    """

    text: str
    channels: tuple[tuple[str, ...], ...]


def read(path: Path) -> Character:
    """The character of a BVH file. Raises `InputError`."""
    bvh = read_bvh(path)
    hierarchy = _hierarchy(path)
    n = len(bvh.names)
    extent = np.ptp(_rest_positions(bvh.parents, bvh.offsets), axis=0).max()
    if not 1e-6 < extent < 1e9:
        raise InputError(f"{path}: the skeleton has no size")
    scale = float(_UNITS_M[np.argmin(np.abs(np.log(extent * _UNITS_M / 1.7)))])
    scale = scale if 0.4 < extent * scale < 4 else 1.7 / extent
    return Character(
        bvh.names,
        np.array(bvh.parents),
        bvh.offsets,
        np.broadcast_to(np.eye(3), (n, 3, 3)),
        np.ones(n),
        scale,
        Source("bvh", path, tuple(range(n)), hierarchy),
    )


def _rest_positions(parents: tuple[int, ...], offsets: np.ndarray) -> np.ndarray:
    out = offsets.copy()
    for i, p in enumerate(parents):
        if p >= 0:
            out[i] += out[p]
    return out


def _hierarchy(path: Path) -> Hierarchy:
    """Of a file that `read_bvh` has accepted."""
    lines: list[str] = []
    channels: list[list[str]] = []
    stack: list[int] = []
    with path.open(encoding="utf-8", errors="replace") as f:
        for line in f:
            match line.split():
                case ["MOTION"]:
                    break
                case ["ROOT" | "JOINT" | "End", *_]:
                    stack.append(len(channels))
                    channels.append([])
                case ["}"]:
                    stack.pop()
                case ["CHANNELS", _, *kinds]:
                    channels[stack[-1]] = kinds
            lines.append(line.rstrip("\r\n"))
    return Hierarchy("\n".join(lines), tuple(tuple(c) for c in channels))


def write(character: Character, animation: Animation, path: Path) -> None:
    """Write the character's own hierarchy with the animation's frames; they must be at a constant rate.

    Raises `InputError` for a joint that must turn but has no three rotation channels.
    """
    hierarchy: Hierarchy = character.source.content
    t = len(animation.times)
    place = {int(b): k for k, b in enumerate(animation.driven)}
    columns: list[np.ndarray] = []
    for joint, kinds in enumerate(hierarchy.channels):
        turns = [k[0] for k in kinds if k.endswith("rotation")]
        angles = np.zeros((t, 3))
        if joint in place:
            if sorted(turns) != ["X", "Y", "Z"]:
                raise InputError(
                    f"{character.source.path}: '{character.bones[joint]}' has {len(turns)} rotation channels, "
                    "not X, Y and Z: it cannot be animated"
                )
            angles = np.degrees(euler(quat_to_matrix(animation.rotations[:, place[joint]]), "".join(turns)))
        moved = animation.translation if joint == animation.root else np.tile(character.local[joint], (t, 1))
        turn = iter(angles.T)
        columns += [next(turn) if k.endswith("rotation") else moved[:, "XYZ".index(k[0])] for k in kinds]
    step = 1 / constant_fps(animation.times)
    with path.open("w", encoding="utf-8", newline="\n") as f:
        f.write(f"{hierarchy.text}\nMOTION\nFrames: {t}\nFrame Time: {step:.10f}\n")
        np.savetxt(f, np.stack(columns, 1), fmt="%.6f")


def euler(matrices: np.ndarray, order: str) -> np.ndarray:
    """Angles (T, 3) in radians of rotations (T, 3, 3) about three different axes, R = R_order[0] R_order[1] R_order[2].

    Continuous in time. Axes renamed so that the order is Z, X, Y turn the same way, or all the other way where the
    renaming mirrors.
    """
    rename = np.zeros((3, 3))
    for new, old in zip("ZXY", order, strict=True):
        rename["XYZ".index(new), "XYZ".index(old)] = 1
    return continuous_zxy((rename @ matrices @ rename.T)[:, None])[:, 0] * np.linalg.det(rename)
