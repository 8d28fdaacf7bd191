"""Human3.6M in both forms that go round: the common npz files of joint positions, and the seed's three pickles.

A folder holds `data_3d_h36m.npz` (world, metres) or `points_3d.pkl` (world, millimetres); `cameras.pkl`, or
`data_2d_h36m_gt.npz`, whose exact projections give the cameras back; and detected 2D where it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kinelift.camera import Camera
from kinelift.datasets.base import PoseSet, View, check_split
from kinelift.datasets.resection import fit_camera
from kinelift.datasets.safe_pickle import FAULTS, as_numbers, load_npz, load_pickle, reason
from kinelift.errors import InputError

SUBJECTS = {"train": ("S1", "S5", "S6", "S7", "S8"), "test": ("S9", "S11")}
CAMERAS = ("54138969", "55011271", "58860488", "60457274")  # in the order of the common 2D files
JOINTS_17_OF_32 = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
LEFT_OUT = ("S11", "Directions", CAMERAS[0])
RATE_HZ = 50.0
IMAGE_SIZE = (1000, 1002)
POINTS_NPZ, POINTS_PKL, CAMERAS_PKL = "data_3d_h36m.npz", "points_3d.pkl", "cameras.pkl"
GT_NPZ = "data_2d_h36m_gt.npz"
TWO_D = {"cpn": "data_2d_h36m_cpn_ft_h36m_dbb.npz", "sh": "sh_detect_2d.pkl"}
SOURCE = "Human3.6M is given to registered users at http://vision.imar.ro/human3.6m"

# Takes of a subject, or cameras.
_MOST_NAMES = 1000

# subject -> action and take ("Walking 1") -> (T, 17, 3) metres, and the same -> camera -> (T, 17, 2) pixels
Points = dict[str, dict[str, np.ndarray]]
Pixels = dict[str, dict[str, dict[str, np.ndarray]]]
Lenses = dict[str, dict[str, Camera]]


def read(path: Path, split: str, two_d: str = "gt", every: int = 5) -> PoseSet:
    """Every fifth frame (10 Hz) of the four cameras, subjects 1, 5, 6, 7, 8 to train and 9, 11 to test.

    `two_d`: "gt" (projected), "cpn", "sh", or a file in the form of either. S11's Directions in camera 54138969,
    whose 3D is known to be wrong, is left out. Raises `InputError`.
    """
    folder = path if path.is_dir() else path.parent
    subjects = SUBJECTS[check_split(split)]
    points = _points(folder, subjects)
    cameras = _cameras(folder, points)
    gt = folder / GT_NPZ
    pixels: Pixels | None = None
    if two_d != "gt":
        named = folder / TWO_D[two_d] if two_d in TWO_D else Path(two_d)
        if two_d not in TWO_D and not named.is_file():
            raise InputError(f"unknown 2D '{two_d}' for Human3.6M; known: gt, {', '.join(sorted(TWO_D))}, or a file")
        pixels = _pixels(named, subjects)
    elif gt.is_file() and not (folder / CAMERAS_PKL).is_file():
        pixels = _pixels(gt, subjects)
    views = _views(points, cameras, pixels, two_d, every)
    return PoseSet.from_views(f"h36m {split} {two_d}", views, RATE_HZ / every)


def _views(points: Points, cameras: Lenses, pixels: Pixels | None, two_d: str, every: int) -> Iterator[View]:
    for subject, takes in points.items():
        for take, world in takes.items():
            action = take.split()[0]
            for name, camera in cameras[subject].items():
                if (subject, action, name) == LEFT_OUT:
                    continue
                positions = camera.to_camera(world[::every])
                if pixels is None:
                    yield View(camera.project_camera(positions), positions, action, camera)
                    continue
                xy = pixels.get(subject, {}).get(take, {}).get(name)
                if xy is None or len(xy) < len(world):
                    got = "none" if xy is None else str(len(xy))
                    raise InputError(
                        f"2D '{two_d}': {subject} '{take}', camera {name}: expected {len(world)} frames, got {got}"
                    )
                yield View(xy[: len(world)][::every], positions, action, camera)


def _take(name: str) -> str:
    """The name of an action and take as most subjects have it; S1 has two names of its own."""
    return name.replace("TakingPhoto", "Photo").replace("WalkingDog", "WalkDog")


def _points(folder: Path, subjects: tuple[str, ...]) -> Points:
    npz, pickled = folder / POINTS_NPZ, folder / POINTS_PKL
    if npz.is_file():
        path, scale, data = npz, 1.0, load_npz(npz, ["positions_3d"])["positions_3d"]
    elif pickled.is_file():
        path, scale, data = pickled, 1e-3, load_pickle(pickled)
    else:
        known = f"{POINTS_NPZ} and {GT_NPZ}, or {POINTS_PKL} and {CAMERAS_PKL}"
        raise InputError(f"{folder}: holds no Human3.6M: expected {known}. {SOURCE}")
    out = {s: {_take(k): _joints(path, s, k, v) * scale for k, v in _dict(path, data, s).items()} for s in subjects}
    thigh = np.median(
        np.concatenate([np.linalg.norm(x[:, 1] - x[:, 2], axis=-1) for t in out.values() for x in t.values()])
    )
    if not 0.2 < thigh < 0.8:
        raise InputError(f"{path}: thighs of {thigh:.3g} m: expected {'metres' if scale == 1 else 'millimetres'}")
    return out


def _joints(path: Path, subject: str, take: str, values: Any) -> np.ndarray:
    """World positions (T, 17, 3) of 32 or 17 joints, flat or not, in the file's unit."""
    points = _array(path, f"{subject} '{take}'", values)
    points = points.reshape(len(points), -1, 3) if points.ndim == 2 and points.shape[1] % 3 == 0 else points
    if points.ndim != 3 or points.shape[1] not in (17, 32) or points.shape[2] != 3:
        raise InputError(f"{path}: {subject} '{take}': expected (T, 32, 3) or (T, 96), got {np.shape(values)}")
    return points[:, JOINTS_17_OF_32] if points.shape[1] == 32 else points


def _pixels(path: Path, subjects: tuple[str, ...]) -> Pixels:
    """2D of a common npz, or of the seed's pickle."""
    if not path.is_file():
        raise InputError(f"{path}: no such file: the 2D asked for is expected there. {SOURCE}")
    if path.suffix != ".npz":
        data = load_pickle(path)
        return {s: {_take(k): _seen(path, s, k, v) for k, v in _dict(path, data, s).items()} for s in subjects}
    held = load_npz(path, ["positions_2d", "metadata"])
    layout = held["metadata"].get("layout_name") if isinstance(held["metadata"], dict) else None
    if layout != "h36m":
        raise InputError(f"{path}: its joints are laid out as '{layout}', expected 'h36m'")
    out: Pixels = {}
    for s in subjects:
        takes = _dict(path, held["positions_2d"], s)
        for k, views in takes.items():
            if not isinstance(views, (list, tuple, np.ndarray)) or len(views) != len(CAMERAS):
                raise InputError(f"{path}: {s} '{k}': expected {len(CAMERAS)} cameras")
        out[s] = {_take(k): _seen(path, s, k, dict(zip(CAMERAS, v))) for k, v in takes.items()}
    return out


def _seen(path: Path, subject: str, take: str, views: Any) -> dict[str, np.ndarray]:
    if not isinstance(views, dict):
        raise InputError(f"{path}: {subject} '{take}': expected a table of cameras")
    out = {}
    for name, values in views.items():
        xy = _array(path, f"{subject} '{take}' camera {name}", values)
        if xy.size != len(xy) * 34:
            raise InputError(f"{path}: {subject} '{take}': expected (T, 17, 2) or (T, 34), got {xy.shape}")
        out[name] = xy.reshape(-1, 17, 2)
    return out


def _cameras(folder: Path, points: Points) -> Lenses:
    path, gt = folder / CAMERAS_PKL, folder / GT_NPZ
    if path.is_file():
        data = load_pickle(path)
        return {s: {str(k): _camera(path, s, v) for k, v in _dict(path, data, s).items()} for s in points}
    if not gt.is_file():
        raise InputError(f"{folder}: the cameras are missing: expected {CAMERAS_PKL}, or {GT_NPZ} to find them from")
    pixels = _pixels(gt, tuple(points))
    return {s: {name: _fitted(gt, s, name, takes, pixels[s]) for name in CAMERAS} for s, takes in points.items()}


def _fitted(path: Path, subject: str, name: str, takes: dict[str, np.ndarray], seen: dict) -> Camera:
    """A subject's camera from where it sees the joints of all takes."""
    good = [k for k in takes if k in seen and (subject, k.split()[0], name) != LEFT_OUT]
    both = [(takes[k], seen[k][name][: len(takes[k])]) for k in good]
    pairs = [(world, xy) for world, xy in both if len(world) == len(xy)]
    try:
        if not pairs:
            raise InputError("no take is in both files")
        world, xy = (np.concatenate([p[i].reshape(-1, 3 - i) for p in pairs]) for i in (0, 1))
        return fit_camera(world, xy, IMAGE_SIZE)
    except InputError as e:
        raise InputError(f"{path}: {subject}, camera {name}: {e}") from None


_TANGENTIAL = 0.7


def _camera(path: Path, subject: str, entry: Any) -> Camera:
    """A camera of the seed's pickle: `x_cam = R (x - T)`, millimetres.

    Human3.6M bends x by x (p1 y + p2 x) + p2 r^2 where OpenCV has 2 p1 x y + p2 (r^2 + 2 x^2). Over a square picture
    the nearest of the latter has 0.7 times the numbers; they then differ by 0.2 px at most.
    """
    try:
        f, c, k, p = (as_numbers(entry[key]).ravel() for key in ("f", "c", "k", "p"))
        R, T = as_numbers(entry["R"]), as_numbers(entry["T"]).ravel() / 1000
        K = np.array([[f[0], 0, c[0]], [0, f[-1], c[1]], [0, 0, 1]])
        return Camera(K, R, -R @ T, IMAGE_SIZE, np.array([k[0], k[1], _TANGENTIAL * p[0], _TANGENTIAL * p[1], k[2]]))
    except FAULTS as e:
        raise InputError(f"{path}: {subject}: a camera is incomplete ({reason(e)})") from None


def _dict(path: Path, data: Any, key: str) -> dict[str, Any]:
    """A dict by name within another; raises `InputError`."""
    inner = data.get(key) if isinstance(data, dict) else None
    if not isinstance(inner, dict) or not 0 < len(inner) <= _MOST_NAMES or not all(isinstance(k, str) for k in inner):
        raise InputError(f"{path}: expected '{key}' with a table of names in it")
    return inner


def _array(path: Path, what: str, values: Any) -> np.ndarray:
    try:
        out = as_numbers(values)
    except (ArithmeticError, TypeError, ValueError):
        raise InputError(f"{path}: {what}: expected numbers") from None
    if out.ndim < 2 or not np.isfinite(out).all():
        raise InputError(f"{path}: {what}: expected finite numbers of frames and joints")
    return out
