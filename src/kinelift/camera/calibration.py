"""Calibration files: Pose2Sim's TOML, OpenCV's YAML and XML, Qualisys's XML. Told apart by what they hold.

The world of a calibration is Z up, in metres (Qualisys: millimetres); it is turned to Y up, (x, y, z) -> (x, z, -y),
and not shifted. Files are strangers': small, parsed as data, nothing in them is expanded or run.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from kinelift.camera.pinhole import Camera
from kinelift.camera.storage import parse_xml, parse_yaml, xml_tree
from kinelift.errors import InputError

_LARGEST = 1_000_000
_LONGEST_LINE = 2000
_KNOWN = "a Pose2Sim TOML, an OpenCV YAML or XML with camera_matrix, or a Qualisys XML"
Z_UP_TO_Y_UP = np.array([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]])


@dataclass(frozen=True, eq=False)
class CalibratedCamera:
    """A camera of a calibration file.

    Attributes:
        camera: Intrinsics, and the pose in the calibration's world, Y up; at the origin where the file gives none.
        posed: Whether the file gives a pose.
    """

    camera: Camera
    posed: bool


def read_cameras(path: Path, name: str | None = None) -> dict[str, CalibratedCamera]:
    """Cameras of a calibration file by name, with or without a pose; with `name`, only that camera.

    Raises `InputError`.
    """
    try:
        with path.open("rb") as f:
            raw = f.read(_LARGEST + 1)
        if len(raw) > _LARGEST:
            raise InputError(f"{path}: too large for a calibration")
        text = raw.decode("utf-8-sig")
        entries = _entries(text, path)
    except InputError as e:
        raise InputError(str(e) if str(path) in str(e) else f"{path}: {e}") from None
    except (OSError, ArithmeticError, TypeError, ValueError, RecursionError, ElementTree.ParseError) as e:
        raise InputError(f"{path}: cannot be read as a calibration ({str(e)[:150]})") from None
    cameras = {}
    for key, (read, entry) in entries.items():
        try:
            cameras[key] = read(entry)
        except (LookupError, ArithmeticError, AttributeError, TypeError, ValueError, InputError) as e:
            said = f"{e} is missing" if isinstance(e, KeyError) else str(e)[:150]
            raise InputError(f"{path}: camera '{key}' is incomplete ({said})") from None
    if not cameras:
        raise InputError(f"{path}: holds no camera (expected {_KNOWN})")
    if name is not None:
        if name not in cameras:
            raise InputError(f"{path}: no camera '{name}'; it has: {', '.join(cameras)}")
        return {name: cameras[name]}
    return cameras


def read_calibration(path: Path, name: str | None = None) -> dict[str, Camera]:
    """Cameras of a calibration file by name, all with their pose in its world. See `read_cameras`."""
    cameras = read_cameras(path, name)
    without = [key for key, c in cameras.items() if not c.posed]
    if without:
        raise InputError(f"{path}: camera '{without[0]}' has no pose, only its lens")
    return {key: c.camera for key, c in cameras.items()}


def _entries(text: str, path: Path) -> dict[str, tuple[Any, Any]]:
    """Reader and raw entry of each camera."""
    if text.lstrip().startswith("<"):
        root = xml_tree(text)
        group = root if root.tag == "cameras" else root.find(".//cameras")
        if group is not None:
            found = [e for e in group.findall("camera") if e.find("intrinsic") is not None]
            made_by = root if root.tag == "calibration" else root.find(".//calibration")
            # Pose2Sim's converter writes lens coefficients times 64, QTM itself does not.
            unit = 64.0 if made_by is not None and made_by.get("qtm-version") == "none" else 1.0
            return {e.get("serial") or str(i + 1): (_qualisys_camera, (e, unit)) for i, e in enumerate(found)}
        return _stored(parse_xml(root), path.stem)
    if text.lstrip().startswith("%YAML") or path.suffix.lower() in (".yml", ".yaml"):
        return _stored(parse_yaml(text), path.stem)
    if max(map(len, text.splitlines()), default=0) > _LONGEST_LINE:  # dotted keys take time with their length's square
        raise ValueError(f"a line is longer than {_LONGEST_LINE} characters")
    data = tomllib.loads(text)
    tables = {k: e for k, e in data.items() if isinstance(e, dict) and "matrix" in e}
    return {str(e.get("name", key)): (_pose2sim_camera, e) for key, e in tables.items()}


def _pose2sim_camera(entry: dict) -> CalibratedCamera:
    if entry.get("fisheye"):
        raise InputError("fisheye calibrations are not supported; undistort first")
    R = _rotation(np.array(entry["rotation"], float))
    w, h = entry["size"]
    return _posed(
        np.array(entry["matrix"], float), entry.get("distortions", []), (w, h), R, np.array(entry["translation"], float)
    )


# What OpenCV's users call things, in lower case and without underscores.
_MATRIX = ("cameramatrix", "k", "intrinsicmatrix", "intrinsics", "m")
_LENS = ("distortioncoefficients", "distcoeffs", "distortion", "dist", "d")
_WIDTH, _HEIGHT, _SIZE = ("imagewidth", "width", "w"), ("imageheight", "height", "h"), ("imagesize", "size")
_ROTATION = ("rot", "rotationmatrix", "r", "rvec", "rotation", "rotationvector")
_PLACE = ("t", "tvec", "translation", "translationvector")
_FISHEYE = ("equidistant", "fisheye", "kannala_brandt", "omnidir")


def _stored(data: dict[str, Any], stem: str) -> dict[str, tuple[Any, Any]]:
    """OpenCV's: one camera, a mapping of cameras, or keys with the camera's name behind them (`K_left`)."""
    plain = _plain(data)
    if _first(plain, _MATRIX) is not None:
        return {str(plain.get("cameraname", stem)).strip('"') or stem: (_opencv_camera, plain)}
    inner = {k: _plain(v) for k, v in data.items() if isinstance(v, dict)}
    found = {k: v for k, v in inner.items() if _first(v, _MATRIX) is not None}
    if found:
        return {k: (_opencv_camera, v) for k, v in found.items()}
    behind: dict[str, dict[str, Any]] = {}
    for key, value in data.items():
        word, _, camera = key.partition("_")
        if camera:
            behind.setdefault(camera, {})[word.lower()] = value
    return {k: (_opencv_camera, v) for k, v in behind.items() if _first(v, _MATRIX) is not None}


def _plain(data: dict[str, Any]) -> dict[str, Any]:
    return {k.lower().replace("_", ""): v for k, v in data.items()}


def _first(entry: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((entry[n] for n in names if n in entry), None)


def _opencv_camera(entry: dict[str, Any]) -> CalibratedCamera:
    model = str(_first(entry, ("distortionmodel", "cameramodel", "model")) or "").lower()
    if any(word in model for word in _FISHEYE) or str(entry.get("fisheye", "0")).lower() in ("1", "true"):
        raise InputError("fisheye calibrations are not supported; undistort first")
    K, lens = _numbers(_first(entry, _MATRIX)), _first(entry, _LENS)
    size = _first(entry, _SIZE)
    if size is None:
        size = (_first(entry, _WIDTH), _first(entry, _HEIGHT))
    if any(n is None for n in size):
        raise ValueError("states no picture size: image_width and image_height are missing")
    w, h = _numbers(size).ravel()
    R, t = _first(entry, _ROTATION), _first(entry, _PLACE)
    lens = [] if lens is None else _numbers(lens).ravel()
    if (R is None) != (t is None):
        raise ValueError("a pose needs both a rotation and a translation")
    if R is None:
        return _posed(K, lens, (w, h), None, None)
    return _posed(K, lens, (w, h), _rotation(_numbers(R)), _numbers(t).ravel())


def _numbers(value: Any) -> np.ndarray:
    if isinstance(value, str):
        value = value.split()
    return np.array(value, float)


def _qualisys_camera(given: tuple[Any, float]) -> CalibratedCamera:
    """QTM's: lengths in millimetres, pixels in 1/64, columns of the rotation are the camera's axes, which looks along
    its -z with y up.
    """
    element, unit = given
    lens, place, seen = (element.find(n) for n in ("intrinsic", "transform", "fov_video"))

    def number(of: Any, name: str) -> float:
        return float(of.attrib[name])

    fu, fv, cu, cv = (number(lens, n) / 64 for n in ("focalLengthU", "focalLengthV", "centerPointU", "centerPointV"))
    if seen is not None:
        left, top, right, bottom = (number(seen, n) for n in ("left", "top", "right", "bottom"))
    else:
        left, top, right, bottom = 0.0, 0.0, *((number(lens, n) + 1) / 64 - 1 for n in ("sensorMaxU", "sensorMaxV"))
    names = ("radialDistortion1", "radialDistortion2", "tangentalDistortion1", "tangentalDistortion2")
    coefficients = [number(lens, n) / unit for n in names] + [float(lens.get("radialDistortion3", 0)) / unit]
    K = np.array([[fu, 0, cu - left], [0, fv, cv - top], [0, 0, 1]])
    size = (right - left + 1, bottom - top + 1)
    if place is None:
        return _posed(K, coefficients, size, None, None)
    R = np.array([[number(place, f"r{i}{j}") for j in (1, 2, 3)] for i in (1, 2, 3)])
    R = np.diag([1.0, -1.0, -1.0]) @ R
    at = np.array([number(place, n) for n in "xyz"]) / 1000
    return _posed(K, coefficients, size, R, -R @ at)


def _rotation(R: np.ndarray) -> np.ndarray:
    """(3, 3) of a rotation matrix or of a rotation vector."""
    from scipy.spatial.transform import Rotation

    if R.size == 3:
        return Rotation.from_rotvec(R.ravel()).as_matrix()
    if R.shape != (3, 3):
        raise ValueError(f"rotation: expected 3 or 3 x 3 numbers, got {R.shape}")
    return R


def _posed(
    K: np.ndarray, lens: Any, size: tuple[float, float], R_cam_zup: np.ndarray | None, t: np.ndarray | None
) -> CalibratedCamera:
    """A camera from what a file says, its world still Z up; checked by the record."""
    if K.shape == (3, 3) and (abs(K[0, 1]) > 1e-3 * abs(K[0, 0]) or abs(K[2] - [0, 0, 1]).max() > 1e-6):
        raise ValueError("K: a camera with skewed pixels is not supported")
    given = np.array(lens, float)
    if given.ndim != 1 or np.any(given[5:]):
        raise ValueError(f"lens: only k1, k2, p1, p2, k3 are supported, got {given.ravel().tolist()}; undistort first")
    distortion = np.zeros(5)
    distortion[: len(given[:5])] = given[:5]
    posed = R_cam_zup is not None
    R = np.eye(3) if R_cam_zup is None else R_cam_zup @ Z_UP_TO_Y_UP.T
    w, h = (round(float(v)) for v in size)
    return CalibratedCamera(Camera(K, R, np.zeros(3) if t is None else t, (w, h), distortion), posed)
