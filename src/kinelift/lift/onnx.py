"""A lifter as a file: ONNX whose metadata says `kinelift-lifter/1` and how its input is laid out.

Layouts: `rays` (this project's temporal lifter), `root-spread` (single frame, 17 joints, hip at the origin, divided by
the mean distance to it, as in Kudo et al. 2018), `screen` (VideoPose3D's and MotionBERT's: x / w * 2 - 1,
y * 2 / w - h / w).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from kinelift.camera import Camera
from kinelift.errors import InputError, UnknownNameError
from kinelift.lift.temporal import lift_rays
from kinelift.records import Lifted, Pose2D
from kinelift.safe.onnx import open_network
from kinelift.skeleton import BODY26, H36M17, Skeleton

FORMAT = "kinelift-lifter/1"


def _filled(pose: Pose2D) -> np.ndarray:
    """(T, J, 2) pixels with gaps held or interpolated over time; joints never seen sit on the root."""
    xy = np.where(pose.seen[..., None], pose.xy, np.nan)
    frames = np.arange(len(xy))
    for j in range(xy.shape[1]):
        k = np.flatnonzero(np.isfinite(xy[:, j, 0]))
        source = xy[:, j] if len(k) else xy[:, 0]
        k = k if len(k) else np.flatnonzero(np.isfinite(source[:, 0]))
        if not len(k):
            raise InputError("no frame shows enough of the person for this lifter")
        xy[:, j] = np.stack([np.interp(frames, k, source[k, i]) for i in range(2)], -1)
    return xy


def _lift_root_spread(session: Any, pose: Pose2D, camera: Camera) -> Lifted:
    rays = camera.unproject(_filled(pose))
    rays = rays - rays[:, :1]
    spread = np.linalg.norm(rays[:, 1:], axis=-1).mean(1)[:, None, None]
    flat = (rays / np.maximum(spread, 1e-9)).astype(np.float32)
    out = _run(session, flat.reshape(len(flat), -1))
    out = out.reshape(len(flat), len(pose.skeleton), -1)
    positions = out if out.shape[-1] == 3 else np.concatenate([flat, out], -1)
    return Lifted(pose.skeleton, positions - positions[:, :1], pose.times, "unit")


def _lift_screen(session: Any, pose: Pose2D, camera: Camera) -> Lifted:
    w, h = pose.image_size
    screen = (_filled(pose) * 2 / w - [1, h / w])[None].astype(np.float32)
    if session.get_inputs()[0].shape[-1] == 3:
        screen = np.concatenate([screen, pose.confidence[None, ..., None].astype(np.float32)], -1)
    out = _run(session, screen).reshape(len(pose.times), len(pose.skeleton), 3)
    return Lifted(pose.skeleton, out - out[:, :1], pose.times, "unit")


def _run(session: Any, x: np.ndarray) -> np.ndarray:
    out = np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0], float)
    if not np.isfinite(out).all():
        raise InputError("the lifter's output is not finite")
    return out


LAYOUTS: dict[str, tuple[Skeleton, Callable[[Any, Pose2D, Camera], Lifted]]] = {
    "rays": (BODY26, lift_rays),
    "root-spread": (H36M17, _lift_root_spread),
    "screen": (H36M17, _lift_screen),
}


class OnnxLifter:
    """A lifter read from an ONNX file. Raises `InputError` for a file that is none."""

    def __init__(self, path: Path, threads: int = 1):
        self.path = Path(path)
        self.name = self.path.stem
        self._session, weights = open_network(self.path, "is no ONNX lifter", threads)
        self._about = self._session.get_modelmeta().custom_metadata_map
        if self._about.get("format") != FORMAT:
            raise InputError(f"{path}: is no lifter: its metadata lacks format={FORMAT} (see docs, adding a lifter)")
        layout = self._about.get("layout", "")
        if layout not in LAYOUTS:
            raise UnknownNameError(f"layout in {path}", layout, LAYOUTS)
        self.skeleton, self._lift = LAYOUTS[layout]
        self._hash = hashlib.sha256(weights).hexdigest()

    def lift(self, pose: Pose2D, camera: Camera) -> Lifted:
        """See `Lifter`."""
        try:
            return self._lift(self._session, pose, camera)
        except InputError as e:
            raise InputError(f"{self.path}: {e}") from None
        except Exception as e:  # shapes that do not fit, in numpy's words or in ONNX Runtime's private types
            reason = str(e).splitlines()[0][:200] if str(e) else type(e).__name__
            raise InputError(f"{self.path}: does not answer as its layout should ({reason})") from None

    def provenance(self) -> dict[str, Any]:
        """See `Lifter`."""
        about = {k: self._about[k] for k in ("licence", "training_data", "layout") if k in self._about}
        if "held_out" in self._about:
            with suppress(ValueError):
                about["held_out"] = json.loads(self._about["held_out"])
        return {"name": self.name, "sha256": self._hash, **about}
