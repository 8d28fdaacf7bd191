"""MPII Human Pose: 2D of people in photographs, without 3D, from its own .mat or from an array of 17 joints.

MPII's 16 joints become the 17 of `H36M17`: the thorax is MPII's (the middle of the shoulders), the spine is halfway
to the pelvis, and the nose's place is taken by the middle of the head, between upper neck and head top. The seed's
array has MPII's thorax as its spine and the upper neck as its thorax; reading puts them where the 3D sets have them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kinelift.datasets.base import PoseSet, View, check_split
from kinelift.datasets.matfile import load_mat
from kinelift.datasets.safe_pickle import FAULTS, reason
from kinelift.errors import InputError
from kinelift.safe.npz import read_npy
from kinelift.skeleton import H36M17

MAT, NPY = "mpii_human_pose_v1_u12_1.mat", "mpii_poses.npy"
SOURCE = "MPII Human Pose is free for research at http://human-pose.mpi-inf.mpg.de (annotations, 12 MB)"
JOINTS = (
    *("RFoot", "RKnee", "RHip", "LHip", "LKnee", "LFoot", "pelvis", "thorax", "upper_neck", "head_top"),
    *("RWrist", "RElbow", "RShoulder", "LShoulder", "LElbow", "LWrist"),
)
# Neighbouring rows of the array are often the same picture: they go to the same side.
_BLOCK = 10


def read(path: Path, split: str, two_d: str = "gt") -> PoseSet:
    """People of whom every joint is marked; about one picture in ten, by its name or place, is for the test.

    `path`: the .mat, an .npy of (N, 34) in the seed's order, or a folder with either. Raises `InputError`.
    """
    check_split(split)
    if two_d != "gt":
        raise InputError(f"unknown 2D '{two_d}' for MPII; known: gt")
    file = _file(path)
    if file.suffix == ".npy":
        xy, keys = _array(file)
    else:
        people = list(_people(file))
        xy = _joints17(np.array([p for p, _ in people]).reshape(-1, len(JOINTS), 2))
        keys = [k for _, k in people]
    test = np.array([zlib.crc32(k.encode()) % 10 == 0 for k in keys], bool)
    chosen = xy[test if split == "test" else ~test]
    return PoseSet.from_views(f"mpii {split}", (View(p[None], None) for p in chosen), None)


def _file(path: Path) -> Path:
    if not path.is_dir():
        if not path.is_file():
            raise InputError(f"{path}: no such file: expected {MAT} or {NPY}. {SOURCE}")
        return path
    for name in (MAT, NPY):
        if (path / name).is_file():
            return path / name
    raise InputError(f"{path}: holds no MPII: expected {MAT} or {NPY}. {SOURCE}")


def _array(path: Path) -> tuple[np.ndarray, list[str]]:
    rows = read_npy(path, "cannot be read as npy")
    if rows.dtype.kind not in "fiu":
        raise InputError(f"{path}: expected numbers, got {rows.dtype}")
    rows = rows.astype(np.float32)
    if rows.ndim != 2 or rows.shape[1] != 34:
        raise InputError(f"{path}: expected (N, 34): x and y of 17 joints, got {rows.shape}")
    xy = rows.reshape(-1, 17, 2)
    keys = [str(i // _BLOCK) for i in range(len(xy))]
    whole = np.isfinite(xy).all((1, 2))
    thorax = xy[:, H36M17.index("Spine")].copy()
    xy = xy.copy()
    xy[:, H36M17.index("Thorax")] = thorax
    xy[:, H36M17.index("Spine")] = (thorax + xy[:, 0]) / 2
    return xy[whole], [k for k, w in zip(keys, whole) if w]


def _joints17(points: np.ndarray) -> np.ndarray:
    """(N, 17, 2) of MPII's 16 joints (N, 16, 2)."""
    p = {name: points[:, i] for i, name in enumerate(JOINTS)}
    p["Hip"], p["Thorax"], p["Head"] = p["pelvis"], p["thorax"], p["head_top"]
    p["Spine"] = (p["Hip"] + p["Thorax"]) / 2
    p["NeckNose"] = (p["upper_neck"] + p["Head"]) / 2
    return np.stack([p[name] for name in H36M17.joints], 1)


def _people(path: Path) -> Iterator[tuple[np.ndarray, str]]:
    """(16, 2) of everyone with all joints marked, and the picture's name."""
    held = load_mat(path, ["RELEASE"])
    if "RELEASE" not in held:
        raise InputError(f"{path}: has no RELEASE, as {MAT} has")
    try:
        (release,) = _structs(held["RELEASE"])
        for annotation in _structs(release["annolist"]):
            name = str(_structs(annotation["image"])[0]["name"])
            for person in _structs(annotation["annorect"]):
                points = {
                    int(point["id"]): (float(point["x"]), float(point["y"]))
                    for place in _structs(person.get("annopoints"))
                    for point in _structs(place.get("point"))
                }
                if set(points) == set(range(len(JOINTS))) and np.isfinite(list(points.values())).all():
                    yield np.array([points[i] for i in range(len(JOINTS))]), name
    except FAULTS as e:
        raise InputError(f"{path}: its RELEASE is not MPII's ({reason(e)})") from None


def _structs(value: Any) -> list[dict[str, Any]]:
    """MATLAB's none, one or many structs as a list."""
    return [v for v in value.flat if isinstance(v, dict)] if isinstance(value, np.ndarray) else []
