"""MPI-INF-3DHP: the chest-high cameras of its training set, and its test set of six people.

Training: `S*/Seq*/annot.mat` with `camera.calibration` beside it. Test: `TS*/annot_data.mat`, MATLAB's 7.3 (HDF5),
which needs the extra `datasets`. Millimetres in the camera's axes become metres.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kinelift.camera import Camera
from kinelift.datasets.base import PoseSet, View, check_split
from kinelift.datasets.matfile import load_mat
from kinelift.datasets.resection import fit_lens
from kinelift.datasets.safe_pickle import FAULTS, reason
from kinelift.errors import InputError, MissingExtraError

# Its 28 joints begin spine3, spine4, spine2, spine, pelvis, neck, head, head_top; the seed takes 7 as nose and 6 as
# head, which puts the nose above the crown: here the head's middle stands for the nose.
JOINTS_17_OF_28 = (4, 23, 24, 25, 18, 19, 20, 3, 5, 6, 7, 9, 10, 11, 14, 15, 16)
# The test set has 17: head_top, neck, right arm, left arm, right leg, left leg, pelvis, spine, head.
JOINTS_17_OF_TEST = (14, 8, 9, 10, 11, 12, 13, 15, 1, 16, 0, 5, 6, 7, 2, 3, 4)
CHEST_CAMERAS = (0, 2, 4, 7, 8)
IMAGE_SIZE = (2048, 2048)
TEST_IMAGE_SIZES = {"TS5": (1920, 1080), "TS6": (1920, 1080)}
MAX_BYTES = 4 * 2**30
_MOST_NUMBERS = 20_000_000
SOURCE = "MPI-INF-3DHP is given out for research at https://vcai.mpi-inf.mpg.de/3dhp-dataset"


def read(path: Path, split: str, two_d: str = "gt", every: int = 5) -> PoseSet:
    """Every fifth frame of the training set's chest cameras, or every valid frame of the test set.

    Test cameras are found from 2D and 3D, which belong together exactly. Raises `InputError`, and
    `MissingExtraError` for the test set without h5py.
    """
    check_split(split)
    if two_d != "gt":
        raise InputError(f"unknown 2D '{two_d}' for MPI-INF-3DHP; known: gt")
    pattern = "S*/Seq*/annot.mat" if split == "train" else "TS*/annot_data.mat"
    files = sorted(path.rglob(pattern)) if path.is_dir() else []
    if not files:
        raise InputError(f"{path}: holds no MPI-INF-3DHP {split} set: expected {pattern}. {SOURCE}")
    views = (v for f in files for v in (_train_views(f, every) if split == "train" else _test_views(f)))
    return PoseSet.from_views(f"mpi-inf-3dhp {split}", views, None)


def _train_views(path: Path, every: int) -> Iterator[View]:
    data = load_mat(path, ["annot2", "annot3"])
    cameras = read_calibration(path.with_name("camera.calibration"))
    action = "/".join(path.parts[-3:-1])
    for number in CHEST_CAMERAS:
        if number not in cameras:
            raise InputError(f"{path.with_name('camera.calibration')}: has no camera {number}")
        xy = _cell(path, data, "annot2", number, 2)
        positions = _cell(path, data, "annot3", number, 3) / 1000
        if len(xy) != len(positions):
            raise InputError(f"{path}: camera {number}: {len(xy)} frames in 2D, {len(positions)} in 3D")
        kept = list(JOINTS_17_OF_28)
        yield from _unbroken(xy[::every, kept], positions[::every, kept], action, cameras[number])


def _unbroken(xy: np.ndarray, positions: np.ndarray, action: str, camera: Camera) -> Iterator[View]:
    """Runs of frames with every joint known and in front of the camera."""
    whole = np.isfinite(xy).all((1, 2)) & np.isfinite(positions).all((1, 2)) & (positions[..., 2] > 0).all(1)
    for run in np.split(np.arange(len(xy)), np.flatnonzero(np.diff(whole)) + 1):
        if len(run) and whole[run[0]]:
            yield View(xy[run], positions[run], action, camera)


def _cell(path: Path, data: dict[str, Any], name: str, number: int, axes: int) -> np.ndarray:
    """One camera's (T, 28, axes) out of a cell array of (T, 28 axes)."""
    try:
        rows = np.asarray(np.ravel(data[name])[number], np.float64)
        return rows.reshape(len(rows), 28, axes)
    except FAULTS as e:
        raise InputError(f"{path}: {name}: expected (T, {28 * axes}) of camera {number} ({reason(e)})") from None


def read_calibration(path: Path) -> dict[int, Camera]:
    """Cameras of a Skeletool calibration file by number: pixels; the world in metres. Raises `InputError`."""
    try:
        if path.stat().st_size > 1_000_000:
            raise ValueError("too large for a calibration")
        text = path.read_text("ascii", errors="replace")
        cameras = {}
        for block in re.split(r"(?m)^name\s+", text)[1:]:
            lines = {w[0]: w[1:] for line in block.splitlines()[1:] if (w := line.split())}
            intrinsic, extrinsic = (np.array(lines[k], float).reshape(4, 4) for k in ("intrinsic", "extrinsic"))
            width, height = (int(v) for v in lines["size"])
            cameras[int(block.split()[0])] = Camera(
                K=intrinsic[:3, :3],
                R_cam_world=extrinsic[:3, :3],
                t_cam_world=extrinsic[:3, 3] / 1000,
                image_size=(width, height),
                distortion=np.zeros(5),
            )
    except FAULTS as e:
        raise InputError(f"{path}: cannot be read as MPI-INF-3DHP's calibration ({reason(e)})") from None
    if not cameras:
        raise InputError(f"{path}: holds no camera")
    return cameras


def _test_views(path: Path) -> Iterator[View]:
    name = path.parent.name
    xy, positions, valid = _hdf5(path, ("annot2", "annot3", "valid_frame"))
    try:
        kept = list(JOINTS_17_OF_TEST)
        xy = xy.reshape(len(xy), 17, 2)[:, kept]
        positions = positions.reshape(len(xy), 17, 3)[:, kept] / 1000
        valid = valid.reshape(len(xy)) > 0
        xy = np.where(valid[:, None, None], xy, np.nan)
        good = valid & np.isfinite(positions).all((1, 2)) & (positions[..., 2] > 0).all(1)
        if not good.any():
            raise ValueError("no frame is valid")
        rays = (positions[..., :2] / positions[..., 2:])[good].reshape(-1, 2)
        camera = fit_lens(rays, xy[good].reshape(-1, 2), TEST_IMAGE_SIZES.get(name, IMAGE_SIZE))
    except FAULTS as e:
        raise InputError(f"{path}: is no test set of MPI-INF-3DHP ({reason(e)})") from None
    except InputError as e:
        raise InputError(f"{path}: {e}") from None
    yield from _unbroken(xy, positions, name, camera)


def _hdf5(path: Path, names: tuple[str, ...]) -> list[np.ndarray]:
    try:
        import h5py
    except ImportError:
        raise MissingExtraError("the test set of MPI-INF-3DHP", "pip install 'kinelift[datasets]'") from None
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"too large: over {MAX_BYTES >> 30} GB")
        with h5py.File(path, "r") as f:
            out = []
            for name in names:
                node = f.get(name, getlink=True)
                if not isinstance(node, h5py.HardLink) or not isinstance(f[name], h5py.Dataset):
                    raise ValueError(f"it has no array '{name}'")
                if (
                    f[name].is_virtual
                    or f[name].external
                    or f[name].size > _MOST_NUMBERS
                    or f[name].dtype.kind not in "fiu"
                ):
                    raise ValueError(f"'{name}' is no plain array of numbers in this file")
                out.append(np.asarray(f[name][()], np.float64))
            return out
    except Exception as e:  # h5py's errors are of many types
        raise InputError(f"{path}: cannot be read as MATLAB 7.3 ({reason(e)})") from None
