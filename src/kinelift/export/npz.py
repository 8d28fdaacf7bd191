"""The native file, `motion.npz` ("kinelift-motion/1"): everything that a clip needs to be solved or shown again.

An uncompressed zip of plain NumPy arrays, without time stamps, so that the same content gives the same bytes. It
is written at the source's own times, and read without pickles: a file from a stranger can at worst be refused.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from kinelift.camera import Camera
from kinelift.errors import InputError, RecordError
from kinelift.kinematics import motion_positions
from kinelift.records import Motion, Pose2D, Take
from kinelift.safe.npz import read_npz
from kinelift.skeleton import BODY26, SKELETONS, Skeleton, make_skeleton

suffix = ".npz"

FORMAT = "kinelift-motion/1"
MAX_BYTES = 10**9
MAX_JOINTS = 1000
MAX_META_CHARS = 10_000_000
# How far `positions` may be from the forward kinematics of the rest of the file, metres.
POSITION_TOLERANCE_M = 1e-4

# Kinds of NumPy dtype by key: f floats (finite unless in _MAY_BE_NAN), i integers, b bool, U text.
_KEYS = {
    "format": "U", "take_id": "U", "person_id": "i", "skeleton": "U", "joint_names": "U", "parents": "i",
    "times": "f", "observed": "b", "positions": "f", "offsets": "f", "rotations": "f", "root": "f", "sigma": "f",
    "contacts": "f", "contact_joints": "i", "K": "f", "distortion": "f", "R_cam_world": "f", "t_cam_world": "f",
    "image_size": "i", "xy": "f", "confidence": "f", "xy_joint_names": "U", "xy_skeleton": "U", "detector_3d": "f",
    "R_cam_first": "f", "t_cam_first": "f", "meta": "U",
}  # fmt: skip
# Files of the contract's first version need not have these.
_OPTIONAL = {"skeleton", "xy", "confidence", "xy_joint_names", "xy_skeleton", "detector_3d"}
_OPTIONAL |= {"R_cam_first", "t_cam_first"}
_MAY_BE_NAN = {"xy", "detector_3d"}
# What `meta` holds under the keys that are used again, where it has them.
_NUMBER = "a number"
_META: dict[str, tuple[str, Any]] = {
    **dict.fromkeys(("height_m", "height_sigma_m", "focal_px", "focal_sigma", "floor_y"), (_NUMBER, (int, float))),
    **dict.fromkeys(("input", "scale_source", "focal_source", "world_source", "image_size_source"), ("text", str)),
    **dict.fromkeys(("source", "options", "detector", "edits", "versions"), ("an object", dict)),
}
_LEAST = {"height_m": 0.0, "focal_px": 0.0}


def write(take: Take, index: int, path: Path, fps: float | None) -> None:
    """Write one motion with its camera, 2D key points and meta, at the source's own times.

    Raises `InputError` when `fps` is given (the key points cannot be resampled) and where the 2D or the camera is
    not of the motion's frames.
    """
    if fps is not None:
        raise InputError(f"motion{suffix} keeps the source's own frames: fps applies to the other formats")
    arrays = motion_arrays(take, index)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, array, allow_pickle=False)
            # ZipInfo's own defaults are a fixed date and no attributes; only the system needs naming.
            info = zipfile.ZipInfo(f"{name}.npy")
            info.create_system = 3
            archive.writestr(info, buffer.getvalue())


def motion_arrays(take: Take, index: int) -> dict[str, np.ndarray]:
    """The file's content by key, for one of the take's motions."""
    m, camera = take.motions[index], take.camera
    t = len(m.times)
    for name in ("K", "R_cam_world", "t_cam_world"):
        array = getattr(camera, name)
        if array.ndim == (2 if name == "t_cam_world" else 3) and len(array) != t:
            raise InputError(f"camera's {name}: expected one or {t} frames, got {len(array)}")
    meta = _plain(take.meta)
    take_id = str(meta.get("take_id") or _take_id(camera, meta))
    meta["take_id"] = take_id
    arrays: dict[str, Any] = {
        "format": FORMAT,
        "take_id": take_id,
        "person_id": np.int64(m.person_id),
        "skeleton": m.skeleton.name,
        "joint_names": np.array(m.skeleton.joints),
        "parents": np.array(m.skeleton.parents, np.int64),
        "times": m.times,
        "observed": m.observed,
        "positions": motion_positions(m).astype(np.float32),
        "offsets": m.offsets,
        "rotations": m.rotations,
        "root": m.root,
        "sigma": m.sigma_m,
        "contacts": m.contacts,
        "contact_joints": m.contact_joints,
        "K": camera.K,
        "distortion": camera.distortion,
        "R_cam_world": camera.R_cam_world,
        "t_cam_world": camera.t_cam_world,
        "image_size": np.array(camera.image_size, np.int64),
    }
    if take.tracked is not None:
        arrays |= {"R_cam_first": take.tracked.R_cam_world, "t_cam_first": take.tracked.t_cam_world}
    if index < len(take.poses_2d):
        arrays |= _pose_arrays(take.poses_2d[index], m, camera)
    arrays["meta"] = json.dumps(meta, ensure_ascii=True)
    return {name: np.ascontiguousarray(a).reshape(np.shape(a)) for name, a in arrays.items()}


def _pose_arrays(pose: Pose2D, motion: Motion, camera: Camera) -> dict[str, Any]:
    if not np.array_equal(pose.times, motion.times):
        raise InputError(
            f"2D key points: expected the motion's {len(motion.times)} times, got {len(pose.times)} others"
        )
    if tuple(pose.image_size) != tuple(camera.image_size):
        raise InputError(f"2D key points: expected the camera's {camera.image_size} pixels, got {pose.image_size}")
    arrays = {
        "xy": pose.xy,
        "confidence": pose.confidence,
        "xy_joint_names": np.array(pose.skeleton.joints),
        "xy_skeleton": pose.skeleton.name,
    }
    return arrays if pose.detector_3d is None else arrays | {"detector_3d": pose.detector_3d}


def _plain(value: Any) -> Any:
    """`value` as strict JSON: text keys, lists, numbers (None where not finite), and text for all else."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _take_id(camera: Camera, meta: dict[str, Any]) -> str:
    """The same for every person of a take, and for the same take written again."""
    digest = hashlib.sha256(json.dumps(meta, sort_keys=True).encode())
    for array in (camera.K, camera.R_cam_world, camera.t_cam_world, camera.distortion):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def load_motion(path: Path | str) -> Take:
    """The take of one person that a `motion.npz` holds: motion, camera, meta, and the 2D key points if it has them.

    Raises `InputError` with one line for a file that is absent, malformed, inconsistent or over 1 GB.
    """
    path = Path(path)
    arrays = _read_arrays(path)
    try:
        return _take(arrays)
    except (RecordError, ValueError) as e:
        raise InputError(f"{path}: not a usable {FORMAT} file ({e})") from None


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    if not path.exists():
        raise InputError(f"{path}: there is no such file")
    problem = f"not a usable {FORMAT} file"
    arrays = read_npz(path, problem, sorted(set(_KEYS) - _OPTIONAL), sorted(_OPTIONAL), MAX_BYTES)
    for name, array in arrays.items():
        if array.dtype.kind not in {"f": "fiu", "i": "iu", "b": "b", "U": "U"}[_KEYS[name]]:
            raise InputError(f"{path}: {problem} ({name}: unexpected type {array.dtype})")
        if _KEYS[name] == "f" and (np.isinf(array) if name in _MAY_BE_NAN else ~np.isfinite(array)).any():
            raise InputError(f"{path}: {problem} ({name}: expected finite numbers)")
    return arrays


def _take(a: dict[str, np.ndarray]) -> Take:
    if _text(a, "format") != FORMAT:
        raise ValueError(f"format: expected {FORMAT}, got '{_text(a, 'format')[:40]}'")
    skeleton = _skeleton(_text(a, "skeleton") if "skeleton" in a else "", a["joint_names"], a["parents"])
    person_id = int(_scalar(a, "person_id"))
    motion = Motion(
        skeleton, a["offsets"], a["rotations"], a["root"], a["contacts"], a["contact_joints"],
        a["observed"], a["sigma"], a["times"], person_id,
    )  # fmt: skip
    _check_motion(motion, a["positions"])
    t = len(motion.times)
    if a["image_size"].shape != (2,) or not (a["image_size"] > 0).all():
        raise ValueError("image_size: expected two positive numbers")
    size = (int(a["image_size"][0]), int(a["image_size"][1]))
    for name, ndim in (("K", 2), ("R_cam_world", 2), ("t_cam_world", 1)):
        if a[name].ndim > ndim and len(a[name]) != t:
            raise ValueError(f"{name}: expected one or {t} frames, got {len(a[name])}")
    camera = Camera(a["K"], a["R_cam_world"], a["t_cam_world"], size, a["distortion"])
    return Take((motion,), camera, _poses(a, motion, size), _meta(a), tracked=_tracked(a, camera, t))


def _tracked(a: dict[str, np.ndarray], camera: Camera, frames: int) -> Camera | None:
    given = [name for name in ("R_cam_first", "t_cam_first") if name in a]
    if not given:
        return None
    shapes = [a[name].shape for name in given]
    if shapes != [(frames, 3, 3), (frames, 3)]:
        raise ValueError(f"R_cam_first, t_cam_first: expected ({frames}, 3, 3) and ({frames}, 3), got {shapes}")
    try:
        return camera.replaced(R_cam_world=a["R_cam_first"], t_cam_world=a["t_cam_first"])
    except RecordError as e:
        raise ValueError(f"R_cam_first, t_cam_first: {e}") from None


def _check_motion(motion: Motion, positions: np.ndarray) -> None:
    n, t = len(motion.skeleton), len(motion.times)
    if not ((motion.contact_joints >= 0) & (motion.contact_joints < n)).all():
        raise ValueError(f"contact_joints: expected indices of {n} joints")
    if not ((motion.contacts >= 0) & (motion.contacts <= 1)).all():
        raise ValueError("contacts: expected values in [0, 1]")
    if (motion.sigma_m < 0).any():
        raise ValueError("sigma: expected metres, not negative")
    short = np.linalg.norm(motion.offsets[1:], axis=-1) < 1e-6
    if motion.skeleton is BODY26 and short.any():
        raise ValueError(f"offsets: the bone to {motion.skeleton.joints[1 + int(short.argmax())]} has no length")
    if positions.shape != (t, n, 3):
        raise ValueError(f"positions: expected ({t}, {n}, 3), got {positions.shape}")
    off = np.abs(positions - motion_positions(motion)).max(initial=0)
    if off > POSITION_TOLERANCE_M + 1e-6 * np.abs(positions).max(initial=0):
        raise ValueError(f"positions: {off:.4g} m from what offsets, rotations and root give")


def _poses(a: dict[str, np.ndarray], motion: Motion, size: tuple[int, int]) -> tuple[Pose2D, ...]:
    if "xy" not in a:
        return ()
    if missing := {"confidence", "xy_joint_names"} - set(a):
        raise ValueError(f"it has xy but no {', '.join(sorted(missing))}")
    skeleton = _skeleton(_text(a, "xy_skeleton") if "xy_skeleton" in a else "", a["xy_joint_names"], None)
    pose = Pose2D(skeleton, a["xy"], a["confidence"], motion.times, size, motion.person_id, a.get("detector_3d"))
    return (pose,)


def _skeleton(name: str, joint_names: np.ndarray, parents: np.ndarray | None) -> Skeleton:
    """The known skeleton of this name if it is the same; else one made of the file's own joints."""
    n = joint_names.size
    if joint_names.ndim != 1 or not 0 < n <= MAX_JOINTS:
        raise ValueError(f"joint names: expected 1 to {MAX_JOINTS}, got shape {joint_names.shape}")
    names = [str(j) for j in joint_names]
    tree = [0] * n if parents is None else [int(p) for p in np.ravel(parents)]
    if len(tree) != n or any(not 0 <= p < i for i, p in enumerate(tree) if i) or len(set(names)) != n:
        raise ValueError("joint_names, parents: expected distinct joints, each after its parent")
    if parents is None:
        tree[0] = -1
    if tree[0] != -1:
        raise ValueError("parents: expected -1 for the first joint")
    for known in SKELETONS.values():
        same_tree = parents is None or known.parents == tuple(tree)
        if known.joints == tuple(names) and same_tree and name in ("", known.name):
            return known
    return make_skeleton(name or "file", [(j, None if i == 0 else names[tree[i]]) for i, j in enumerate(names)])


def _meta(a: dict[str, np.ndarray]) -> dict[str, Any]:
    text = _text(a, "meta")
    if len(text) > MAX_META_CHARS:
        raise ValueError("meta: too long")
    try:
        meta = json.loads(text)
    except RecursionError:
        raise ValueError("meta: nested too deeply") from None
    if not isinstance(meta, dict):
        raise ValueError("meta: expected a JSON object")
    for key, (kind, allowed) in _META.items():
        value = meta.get(key)
        if value is not None and (not isinstance(value, allowed) or isinstance(value, bool)):
            raise ValueError(f"meta: {key}: expected {kind}")
        if kind == _NUMBER and value is not None and not _LEAST.get(key, -1e9) < value < 1e9:
            raise ValueError(f"meta: {key}: expected a sensible number")
    return meta | {"take_id": _text(a, "take_id")}


def _scalar(a: dict[str, np.ndarray], name: str) -> Any:
    if a[name].size != 1:
        raise ValueError(f"{name}: expected one value, got shape {a[name].shape}")
    return a[name].item()


def _text(a: dict[str, np.ndarray], name: str) -> str:
    return str(_scalar(a, name))
