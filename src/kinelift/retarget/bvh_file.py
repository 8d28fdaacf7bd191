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
from kinelift.kinematics import quat_to_matrix, rotvec_to_matrix
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


def read(path: Path, first_frame: bool = False) -> Character:
    """The character of a BVH file, at rest in its offsets or its first frame. Raises `InputError`."""
    bvh = read_bvh(path)
    hierarchy = _hierarchy(path)
    n = len(bvh.names)
    rotation = np.broadcast_to(np.eye(3), (n, 3, 3))
    if first_frame and len(bvh.angles):
        rotation = np.stack([_turned(a, c) for a, c in zip(bvh.angles[0], hierarchy.channels, strict=True)])
    extent = np.ptp(_rest_positions(bvh.parents, bvh.offsets), axis=0).max()
    if not 1e-6 < extent < 1e9:
        raise InputError(f"{path}: the skeleton has no size")
    scale = float(_UNITS_M[np.argmin(np.abs(np.log(extent * _UNITS_M / 1.7)))])
    scale = scale if 0.4 < extent * scale < 4 else 1.7 / extent
    return Character(
        bvh.names,
        np.array(bvh.parents),
        bvh.offsets,
        rotation,
        np.ones(n),
        scale,
        Source("bvh", path, tuple(range(n)), hierarchy),
    )


def _turned(angles: np.ndarray, channels: tuple[str, ...]) -> np.ndarray:
    """(3, 3) of a joint's angles (3,), degrees in the order of its channels."""
    out = np.eye(3)
    for angle, kind in zip(angles, [c for c in channels if c.endswith("rotation")], strict=False):
        out = out @ rotvec_to_matrix(np.radians(angle) * np.eye(3)["XYZ".index(kind[0])])
    return out


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
    carrier, walked = _path(character, animation, hierarchy)
    for joint, kinds in enumerate(hierarchy.channels):
        turns = [k[0] for k in kinds if k.endswith("rotation")]
        angles = np.zeros((t, 3))
        if joint not in place and sorted(turns) == ["X", "Y", "Z"]:
            angles += np.degrees(euler(character.rotation[joint][None], "".join(turns)))
        elif joint in place:
            if sorted(turns) != ["X", "Y", "Z"]:
                raise InputError(
                    f"{character.source.path}: '{character.bones[joint]}' has {len(turns)} rotation channels, "
                    "not X, Y and Z: it cannot be animated"
                )
            angles = np.degrees(euler(quat_to_matrix(animation.rotations[:, place[joint]]), "".join(turns)))
        moved = walked if joint == carrier else np.tile(character.local[joint], (t, 1))
        turn = iter(angles.T)
        columns += [next(turn) if k.endswith("rotation") else moved[:, "XYZ".index(k[0])] for k in kinds]
    step = 1 / constant_fps(animation.times)
    if np.abs(np.diff(animation.times) - step).max(initial=0) > 0.25 * step:
        raise InputError("BVH has a constant frame rate, and this animation none: retarget it with an fps")
    with path.open("w", encoding="utf-8", newline="\n") as f:
        f.write(f"{hierarchy.text}\nMOTION\nFrames: {t}\nFrame Time: {step:.10f}\n")
        np.savetxt(f, np.stack(columns, 1), fmt="%.6f")


def _path(character: Character, animation: Animation, hierarchy: Hierarchy) -> tuple[int, np.ndarray]:
    """The joint with position channels that carries the path, and its local translation (T, 3).

    It is the animation's own, or the nearest above, all of which rest. Raises `InputError` where there is none.
    """
    joint, moved = animation.root, animation.translation - character.local[animation.root]
    while joint >= 0:
        if sum(k.endswith("position") for k in hierarchy.channels[joint]) == 3:
            return joint, character.local[joint] + moved
        joint = int(character.parents[joint])
        moved = moved @ character.rotation[joint].T
    raise InputError(f"{character.source.path}: no joint over the hips has three position channels")


def euler(matrices: np.ndarray, order: str) -> np.ndarray:
    """Angles (T, 3) in radians of rotations (T, 3, 3) about three different axes, R = R_order[0] R_order[1] R_order[2].

    Continuous in time. Axes renamed so that the order is Z, X, Y turn the same way, or all the other way where the
    renaming mirrors.
    """
    rename = np.zeros((3, 3))
    for new, old in zip("ZXY", order, strict=True):
        rename["XYZ".index(new), "XYZ".index(old)] = 1
    return continuous_zxy((rename @ matrices @ rename.T)[:, None])[:, 0] * np.linalg.det(rename)
