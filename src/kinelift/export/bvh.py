"""Biovision hierarchy (BVH): metres, Y up, T-pose rest, constant frame rate.

Every joint turns by Z, X, Y channels (R = Rz Rx Ry, degrees); the root also moves. Angles continue from frame to
frame, past 180 degrees and over the poles, so that tools which interpolate them show no flips. Blender's importer
with its default settings takes the numbers as metres and turns Y up to Z up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np

from kinelift.errors import InputError
from kinelift.export.resample import at_constant_rate
from kinelift.export.rig import Rig, rig_of
from kinelift.kinematics import quat_to_matrix
from kinelift.records import Take

suffix = ".bvh"

_ROTATIONS = "Zrotation Xrotation Yrotation"
_ROOT_CHANNELS = f"CHANNELS 6 Xposition Yposition Zposition {_ROTATIONS}"
_JOINT_CHANNELS = f"CHANNELS 3 {_ROTATIONS}"

MAX_BYTES = 256 * 2**20
MAX_JOINTS = 1000
# Joints times frames that a reader will pose; an hour at 60 frames per second has six million.
MAX_POSED = 10_000_000
# Nobody is so far from the origin, in any unit.
FARTHEST = 1e7


def write(take: Take, index: int, path: Path, fps: float | None) -> None:
    """Write one motion; `fps` None takes the source's nearest constant rate. The first frame is the first sample."""
    motion, rate = at_constant_rate(take.motions[index], fps)
    rig = rig_of(motion)
    angles = np.degrees(continuous_zxy(quat_to_matrix(rig.rotations(motion))))
    rows = np.concatenate([motion.root, angles.reshape(len(angles), -1)], axis=1)
    with path.open("w", encoding="ascii", errors="replace", newline="\n") as f:
        f.write("\n".join(_hierarchy(rig)) + "\n")
        f.write(f"MOTION\nFrames: {len(rows)}\nFrame Time: {1 / rate:.10f}\n")
        np.savetxt(f, rows, fmt="%.6f")


def _hierarchy(rig: Rig) -> list[str]:
    lines = ["HIERARCHY"]
    open_joints: list[int] = []
    for i, name in enumerate(rig.names):
        while open_joints and open_joints[-1] != rig.parents[i]:
            open_joints.pop()
            lines.append("  " * len(open_joints) + "}")
        pad = "  " * len(open_joints)
        lines += [f"{pad}{'JOINT' if i else 'ROOT'} {name}", pad + "{", f"{pad}  {_offset(rig.offsets[i])}"]
        lines.append(f"{pad}  {_JOINT_CHANNELS if i else _ROOT_CHANNELS}")
        if i in rig.ends:
            lines += [f"{pad}  End Site", f"{pad}  {{", f"{pad}    {_offset(rig.ends[i])}", f"{pad}  }}"]
        open_joints.append(i)
    return lines + ["  " * depth + "}" for depth in range(len(open_joints) - 1, -1, -1)]


def _offset(v: np.ndarray) -> str:
    return "OFFSET " + " ".join(f"{x:.6f}" for x in v)


def continuous_zxy(matrices: np.ndarray) -> np.ndarray:
    """Angles (T, N, 3) in radians about Z, X, Y with R = Rz Rx Ry of rotation matrices (T, N, 3, 3).

    Continuous in time. Every rotation has two triples, (z, x, y) and (z + pi, pi - x, y + pi), each up to whole
    turns; both are equally far from both of a neighbour's, so that the nearer one at each step makes one path.
    Where x is a quarter turn only z + y or z - y is known: z is then taken from the frames around.
    """
    r = matrices
    z = np.arctan2(-r[..., 0, 1], r[..., 1, 1])
    x = np.arcsin(np.clip(r[..., 2, 1], -1, 1))
    y = np.arctan2(-r[..., 2, 0], r[..., 2, 2])
    zxy = np.stack([z, x, y], -1)
    pole = np.hypot(r[..., 0, 1], r[..., 1, 1]) < 1e-5
    for joint in range(zxy.shape[1]):
        if pole[:, joint].any():
            zxy[:, joint] = _through_poles(zxy[:, joint], pole[:, joint], r[:, joint])
        else:
            zxy[:, joint] = _one_branch(zxy[:, joint])
    return zxy


def _wrapped(angle: np.ndarray) -> np.ndarray:
    return (angle + np.pi) % (2 * np.pi) - np.pi


def _other_branch(zxy: np.ndarray) -> np.ndarray:
    return np.stack([zxy[..., 0] + np.pi, np.pi - zxy[..., 1], zxy[..., 2] + np.pi], -1)


def _one_branch(zxy: np.ndarray) -> np.ndarray:
    """The continuous path (T, 3) through principal angles (T, 3)."""
    stay = np.square(_wrapped(np.diff(zxy, axis=0))).sum(-1)
    switch = np.square(_wrapped(_other_branch(zxy)[1:] - zxy[:-1])).sum(-1)
    odd = np.concatenate([[0], np.cumsum(switch < stay)]) % 2 == 1
    return np.unwrap(np.where(odd[:, None], _other_branch(zxy), zxy), axis=0)


def _through_poles(zxy: np.ndarray, pole: np.ndarray, r: np.ndarray) -> np.ndarray:
    """`_one_branch` where z and y are known only together in some of the frames, `pole` (T,)."""
    out = np.empty_like(zxy)
    frames = np.arange(len(zxy))
    if pole.all():
        out[:, 0] = 0.0
    else:
        out[~pole] = _one_branch(zxy[~pole])
        out[:, 0] = np.interp(frames, frames[~pole], out[~pole, 0])
    # At x = +-90 degrees: R = [[cos(y +- z), 0, sin(y +- z)], ...].
    sign = np.where(r[pole, 2, 1] > 0, 1.0, -1.0)
    together = np.arctan2(r[pole, 0, 2], r[pole, 0, 0])
    out[pole, 1] = sign * np.pi / 2
    out[pole, 2] = together - sign * out[pole, 0]
    for axis in (1, 2):
        out[:, axis] = np.unwrap(out[:, axis])
    return out


@dataclass(frozen=True, eq=False)
class Bvh:
    """What a BVH file says, end sites included (as `<joint>_end`).

    Attributes:
        names: N joint names.
        parents: N indices, -1 for the root.
        offsets: (N, 3) in the file's unit.
        frame_time: Seconds.
        angles: (T, N, 3) degrees, in the order of each joint's own channels; 0 where it has none.
        positions: (T, N, 3) world positions by forward kinematics, in the file's unit.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: np.ndarray
    frame_time: float
    angles: np.ndarray
    positions: np.ndarray


def read_bvh(path: Path) -> Bvh:
    """Read a BVH file of any channel order; raises `InputError` for one that is malformed or too large."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: too large for a BVH (over {MAX_BYTES >> 20} MB)")
        with path.open(encoding="utf-8", errors="replace") as f:
            names, parents, offsets, channels = _read_hierarchy(f)
            frame_time, rows = _read_motion(f, sum(len(c) for c in channels))
        if len(rows) * len(names) > MAX_POSED:
            raise ValueError(f"{len(rows)} frames of {len(names)} joints are too many")
    except OSError as e:
        raise InputError(f"{path}: cannot be read ({e.strerror or e})") from None
    except ValueError as e:
        raise InputError(f"{path}: malformed BVH ({e})") from None
    angles, positions = _pose(parents, offsets, channels, rows)
    if not np.abs(positions).max(initial=0) < FARTHEST:
        raise InputError(f"{path}: malformed BVH (a joint is {FARTHEST:g} units away or more)")
    return Bvh(tuple(names), tuple(parents), offsets, frame_time, angles, positions)


def _read_hierarchy(f: IO[str]) -> tuple[list[str], list[int], np.ndarray, list[list[str]]]:
    names: list[str] = []
    parents: list[int] = []
    offsets: list[list[float]] = []
    channels: list[list[str]] = []
    stack: list[int] = []
    if f.readline(200).split() != ["HIERARCHY"]:
        raise ValueError("expected HIERARCHY first")
    while True:
        line = f.readline(10_000)
        words = line.split()
        if not line:
            raise ValueError("expected MOTION, got the end of the file")
        match words:
            case [] | ["{"]:
                pass
            case ["MOTION"]:
                break
            case ["ROOT" | "JOINT" | "End", *rest]:
                if (words[0] == "ROOT") == bool(names) or (words[0] != "ROOT" and not stack):
                    raise ValueError(f"expected one ROOT with all else inside, got '{line.strip()[:60]}'")
                if len(names) >= MAX_JOINTS:
                    raise ValueError(f"more than {MAX_JOINTS} joints")
                parents.append(stack[-1] if stack else -1)
                names.append(f"{names[stack[-1]]}_end" if words[0] == "End" else " ".join(rest))
                stack.append(len(names) - 1)
                offsets.append([0.0, 0.0, 0.0])
                channels.append([])
            case ["}"] if stack:
                stack.pop()
            case ["OFFSET", x, y, z] if stack:
                offsets[stack[-1]] = [float(x), float(y), float(z)]
            case ["CHANNELS", n, *kinds] if stack and n == str(len(kinds)) and len(kinds) <= 6:
                if not set(kinds) <= {a + b for a in "XYZ" for b in ("position", "rotation")}:
                    raise ValueError(f"unknown channel in '{line.strip()[:80]}'")
                channels[stack[-1]] = kinds
            case _:
                raise ValueError(f"unexpected '{line.strip()[:60]}'")
    if stack or not names or not np.isfinite(offsets).all():
        raise ValueError("the hierarchy is incomplete")
    return names, parents, np.array(offsets), channels


def _read_motion(f: IO[str], n_channels: int) -> tuple[float, np.ndarray]:
    frames, frame_time = f.readline(200).split(), f.readline(200).split()
    if len(frames) != 2 or frames[0] != "Frames:" or not frames[1].isdecimal():
        raise ValueError("expected 'Frames: N' after MOTION")
    if frame_time[:2] != ["Frame", "Time:"] or len(frame_time) != 3 or not 0 < float(frame_time[2]) < 1e6:
        raise ValueError("expected 'Frame Time: SECONDS'")
    n = int(frames[1])
    lines = islice(_lines(f, 40 * n_channels + 1000), n + 1)
    rows = np.loadtxt(lines, ndmin=2, comments=None) if n else np.empty((0, n_channels))
    if rows.shape != (n, n_channels):
        raise ValueError(f"expected {n} frames of {n_channels} numbers, got {rows.shape[0]} of {rows.shape[1]}")
    if not np.isfinite(rows).all():
        raise ValueError("a number is not finite")
    return float(frame_time[2]), rows


def _lines(f: IO[str], longest: int) -> Iterator[str]:
    """Lines that hold something. Raises ValueError for one too long for its numbers."""
    while line := f.readline(longest):
        if len(line) == longest:
            raise ValueError("a line of more numbers than there are channels")
        if line.strip():
            yield line


def _pose(
    parents: list[int], offsets: np.ndarray, channels: list[list[str]], rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    t, n = len(rows), len(parents)
    angles, positions = np.zeros((t, n, 3)), np.empty((t, n, 3))
    turned: list[np.ndarray] = []
    column = 0
    for j, p in enumerate(parents):
        local, moved, k = np.broadcast_to(np.eye(3), (t, 3, 3)), np.tile(offsets[j], (t, 1)), 0
        placed = any(c.endswith("position") for c in channels[j])
        if placed:
            moved[:] = 0
        for kind in channels[j]:
            axis, value = "XYZ".index(kind[0]), rows[:, column]
            column += 1
            if kind.endswith("position"):
                moved[:, axis] = value
            else:
                local = local @ _about(axis, np.radians(value))
                angles[:, j, min(k, 2)], k = value, k + 1
        positions[:, j] = moved if p < 0 else positions[:, p] + np.einsum("tij,tj->ti", turned[p], moved)
        turned.append(local if p < 0 else turned[p] @ local)
    return angles, positions


def _about(axis: int, angle: np.ndarray) -> np.ndarray:
    half = np.zeros((len(angle), 4))
    half[:, axis], half[:, 3] = np.sin(angle / 2), np.cos(angle / 2)
    return quat_to_matrix(half)
