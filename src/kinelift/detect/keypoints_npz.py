"""kinelift's own file of 2D key points, `keypoints.npz` ("kinelift-keypoints/1"): written and read, never pickled."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from kinelift.errors import InputError
from kinelift.records import Pose2D
from kinelift.safe.npz import read_npz
from kinelift.skeleton import SKELETONS

FORMAT = "kinelift-keypoints/1"
MAX_BYTES = 10**9
_NEEDED = ("skeleton", "joint_names", "xy", "confidence", "times", "image_size", "person_id", "meta")


def write_keypoints(path: str | Path, pose: Pose2D, meta: dict[str, Any] | None = None) -> None:
    """Write one person's key points; the file appears whole or not at all.

    Fields: `format`, `skeleton`, `joint_names` (J,), `xy` (T, J, 2) px, `confidence` (T, J), `times` (T,) s,
    `image_size` (2,), `person_id`, `detector_3d` (T, J, 3) m where there is one, `meta` JSON.
    """
    path = Path(path)
    fields: dict[str, Any] = {
        "format": FORMAT,
        "skeleton": pose.skeleton.name,
        "joint_names": np.array(pose.skeleton.joints),
        "xy": pose.xy,
        "confidence": pose.confidence,
        "times": pose.times,
        "image_size": np.array(pose.image_size),
        "person_id": pose.person_id,
        "meta": json.dumps(meta or {}, sort_keys=True),
    }
    if pose.detector_3d is not None:
        fields["detector_3d"] = pose.detector_3d
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as f:
            np.savez_compressed(f, **fields)
        os.replace(part, path)  # noqa: PTH105
    except OSError as e:
        raise InputError(f"{path}: cannot be written ({e.strerror})") from None
    finally:
        part.unlink(missing_ok=True)


def read_keypoints_npz(path: str | Path) -> tuple[Pose2D, dict[str, Any]]:
    """Key points and `meta` of a file that `write_keypoints` made; raises `InputError`."""
    path = Path(path)
    problem = f"cannot be read as {FORMAT}"
    data = read_npz(path, problem, ["format"], (*_NEEDED, "detector_3d"), MAX_BYTES)
    if str(data["format"]) != FORMAT:
        raise InputError(f"{path}: is no {FORMAT} file (format: {str(data['format'])[:40]})")
    if missing := [n for n in _NEEDED if n not in data]:
        raise InputError(f"{path}: {problem} (it has no {', '.join(missing)})")
    try:
        name = str(data["skeleton"])
        skeleton = SKELETONS.get(name)
        if skeleton is None or tuple(map(str, data["joint_names"])) != skeleton.joints:
            raise InputError(f"{path}: unknown skeleton '{name[:40]}'; known: {', '.join(sorted(SKELETONS))}")
        width, height = (int(v) for v in data["image_size"])
        pose = Pose2D(
            skeleton=skeleton,
            xy=data["xy"],
            confidence=data["confidence"],
            times=data["times"],
            image_size=(width, height),
            person_id=int(data["person_id"]),
            detector_3d=data.get("detector_3d"),
        )
        if (np.abs(pose.xy) > 1e6).any():
            raise ValueError("xy: expected pixels")
        if pose.detector_3d is not None and (np.abs(pose.detector_3d) > 1e3).any():
            raise ValueError("detector_3d: expected metres")
        meta = json.loads(str(data["meta"]))
    except InputError as e:
        raise InputError(str(e) if str(path) in str(e) else f"{path}: {e}") from None
    except (ArithmeticError, RecursionError, TypeError, ValueError) as e:
        raise InputError(f"{path}: {problem} ({e})") from None
    return pose, meta if isinstance(meta, dict) else {}
