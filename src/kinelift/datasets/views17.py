"""Mocap (npz of clips, BVH, or a folder of both) seen by virtual cameras like Human3.6M's: single poses of 17 joints.

Exact 2D of real motion. Each clip is cut where the person leaves a circle of 1.5 m; four cameras stand around each
piece, 4.2 to 5.2 m away and 1.3 to 1.7 m high, aimed at the body. They depend on the clip's name alone, so that the
same clip is always seen alike, whatever else is in the folder.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from kinelift.camera import Camera
from kinelift.datasets.base import PoseSet, View, check_split
from kinelift.datasets.bvh import read_bvh_joints
from kinelift.datasets.mocap import Clip, read_mocap_raw, to_body26
from kinelift.errors import InputError
from kinelift.kinematics import STATURE_PRIOR_M, reference_offsets
from kinelift.skeleton import BODY26, H36M17, joint_map

SEED = 17
RATE_HZ = 30.0
CAMERAS = 4
FOCAL_PX, IMAGE_SIZE = 1145.0, (1000, 1000)
ROAM_M = 1.5
_B = BODY26.index


def read(path: Path, split: str, two_d: str = "gt", every: int = 1) -> PoseSet:
    """Every `every`-th frame at 30 Hz of the clips at `path`; about one clip in eight, by its name, is for the test.

    `split`: "train", "test", or "all" (for a set that is only ever tested on). People are 1.70 m tall.
    Raises `InputError`.
    """
    check_split(split, ("train", "test", "all"))
    if two_d != "gt":
        raise InputError(f"unknown 2D '{two_d}' for mocap; known: gt")
    clips = [c for c in read_clips(path) if split == "all" or held_out(c.name) == (split == "test")]
    try:
        views = [v for c in clips for v in _views(c, every)]
    except InputError as e:
        raise InputError(f"{path}: {e}") from None
    return PoseSet.from_views(f"mocap {split} {path.name}", views, RATE_HZ / every)


def held_out(name: str) -> bool:
    """Whether a clip is kept for the test, by its name; as in the training of the temporal lifter."""
    return zlib.crc32(name.encode()) % 8 == 0


def read_clips(path: Path) -> list[Clip]:
    """Clips in BODY26 with the head's joints filled in, of a file or a folder of .npz and .bvh. Raises `InputError`."""
    files = sorted(p for p in path.rglob("*") if p.suffix.lower() in (".npz", ".bvh")) if path.is_dir() else [path]
    if not files or not files[0].exists():
        raise InputError(
            f"{path}: holds no mocap: expected .bvh files, or an .npz of clips (positions, joint_names, clip_lengths, "
            "clip_names, clip_fps), for example made of the CMU set, free at http://mocap.cs.cmu.edu"
        )
    out: list[Clip] = []
    for file in files:
        if file.suffix.lower() == ".bvh":
            name = file.relative_to(path).with_suffix("").as_posix() if path.is_dir() else file.stem
            joints, names, fps = read_bvh_joints(file)
            try:
                body = to_body26(joints, names, fps)
            except InputError as e:
                raise InputError(f"{file}: {e}") from None
            out.append(_with_head(Clip(name, body, fps), _head_up(joints, names)))
        else:
            clips, positions, names = read_mocap_raw(file)
            up = _head_up(positions.astype(float), names)
            ends = np.cumsum([len(c.positions) for c in clips])
            out += [
                _with_head(c, None if up is None else up[e - len(c.positions) : e])
                for c, e in zip(clips, ends, strict=True)
            ]
    return out


def _head_up(positions: np.ndarray, names: list[str]) -> np.ndarray | None:
    """The head's direction from the neck (T, 3), where the set has both."""
    if "head" not in names or "neck" not in names:
        return None
    return positions[:, names.index("head")] - positions[:, names.index("neck")]


def _with_head(clip: Clip, up: np.ndarray | None) -> Clip:
    """A clip with the reference body's head, nose and ears, turned with the neck (else the trunk) and the shoulders."""
    p = clip.positions.astype(np.float64)
    neck, left = p[:, _B("neck")], p[:, _B("left_shoulder")] - p[:, _B("right_shoulder")]
    trunk = neck - p[:, 0]
    up = trunk if up is None else np.where(np.linalg.norm(up, axis=-1, keepdims=True) > 1e-6, up, trunk)
    y = _unit(up)
    x = _unit(left - (left * y).sum(-1, keepdims=True) * y)
    R = np.stack([x, y, np.cross(x, y)], -1)
    offsets = reference_offsets(STATURE_PRIOR_M)
    for joint in ("head", "nose", "left_ear", "right_ear"):
        place, i = np.zeros(3), _B(joint)
        while i != _B("neck"):
            place, i = place + offsets[i], BODY26.parents[i]
        p[:, _B(joint)] = neck + R @ place
    return Clip(clip.name, p.astype(np.float32), clip.fps)


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-9)


def joints17(clip: Clip) -> np.ndarray:
    """Positions (T, 17, 3) in metres, Y up, at 30 Hz, by the table from BODY26 to H36M17."""
    if not 1 <= clip.fps <= 1000:
        raise InputError(f"clip '{clip.name}': {clip.fps:g} frames per second")
    weights = joint_map(BODY26, H36M17)
    used = np.abs(weights).sum(0) > 0
    p = clip.positions[:, used].astype(np.float64)
    if not np.isfinite(p).all():
        raise InputError(f"clip '{clip.name}': a joint is not known in every frame")
    p = weights[:, used] @ p
    if clip.fps == RATE_HZ:
        return p
    times = np.arange(int((len(p) - 1) * RATE_HZ / clip.fps + 1e-6) + 1) * (clip.fps / RATE_HZ)
    before = np.minimum(times.astype(int), max(len(p) - 2, 0))
    part = (times - before)[:, None, None]
    return p[before] * (1 - part) + p[np.minimum(before + 1, len(p) - 1)] * part


def _views(clip: Clip, every: int) -> Iterator[View]:
    positions = joints17(clip)[::every]
    action = action_of(clip.name)
    for i, piece in enumerate(pieces(positions[:, 0])):
        world = positions[piece]
        for camera in cameras_around(world[:, 0], np.random.default_rng([SEED, zlib.crc32(clip.name.encode()), i])):
            seen = camera.to_camera(world)
            yield View(camera.project_camera(seen), seen, action, camera)


def action_of(name: str) -> str:
    """The last part of a clip's name without its number; where nothing is left, the folder.

    Bandai Namco's sets name a clip dataset-N_ACTION_STYLE_NNN.
    """
    if bandai := re.match(r"dataset-\d+_([^_]+)_", name):
        return bandai[1]
    folder, _, last = name.rpartition("/")
    word = re.sub(r"[_\-\s]*\d+$", "", last)
    return word if re.search(r"[^\W\d]", word) else folder or name


def pieces(root: np.ndarray) -> Iterator[slice]:
    """Runs of frames in which the root (T, 3) stays within 1.5 m, along the floor, of where the run began."""
    start = 0
    while start < len(root):
        gone = np.linalg.norm((root[start:] - root[start])[:, ::2], axis=-1) > ROAM_M
        end = start + int(gone.argmax()) if gone.any() else len(root)
        yield slice(start, end)
        start = end


def cameras_around(root: np.ndarray, rng: np.random.Generator) -> list[Camera]:
    """Four cameras a quarter turn apart, give or take ten degrees, around the middle of a path (T, 3)."""
    middle = (root.min(0) + root.max(0)) / 2
    first = rng.uniform(0, 2 * np.pi)
    out = []
    for i in range(CAMERAS):
        yaw = first + i * 2 * np.pi / CAMERAS + rng.normal(0, np.radians(10))
        away, height = rng.uniform(4.2, 5.2), rng.uniform(1.3, 1.7)
        place = np.array([middle[0] + away * np.sin(yaw), height, middle[2] + away * np.cos(yaw)])
        target = np.array([middle[0], 0.9 + rng.normal(0, 0.05), middle[2]])
        forward = _unit(target - place)
        right = _unit(np.cross(forward, [0, 1.0, 0]))
        R = np.stack([right, np.cross(forward, right), forward])
        flat = Camera.from_focal(FOCAL_PX, IMAGE_SIZE)
        out.append(flat.replaced(R_cam_world=R, t_cam_world=-R @ place))
    return out
