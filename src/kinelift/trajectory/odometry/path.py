"""How a camera moved through a clip, as a record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from kinelift.camera import Camera
from kinelift.errors import RecordError
from kinelift.records import _Record, frozen_array


@dataclass(frozen=True, eq=False)
class CameraPath(_Record):
    """A camera's motion over T frames, relative to where it was in the first: `x_cam[k] = R[k] @ x_first + t[k]`.

    Attributes:
        R: (T, 3, 3) rotations; `R[0]` is the identity.
        t: (T, 3) in one unit that is unknown for the whole clip; `t[0]` is zero, and all of it where the camera only
            turns. The unit is the median distance from the first camera to the surroundings it tracked, so that a
            guess of some metres is never far off.
        moving: False for a camera that stands still: then R is exactly the identity and t exactly zero.
        translating: True where t is more than zero.
        confidence: (T,) in [0, 1], how well each frame's pose is supported by what was seen in it.
        warnings: What a user should know, in plain words.
        focal_factor: How many times longer than assumed the focal length is, by a camera that turned far enough to
            tell; 1 where it is as assumed, or nothing tells.
    """

    R: np.ndarray
    t: np.ndarray
    moving: bool
    translating: bool
    confidence: np.ndarray
    warnings: tuple[str, ...] = ()
    focal_factor: float = 1.0

    def __post_init__(self) -> None:
        frozen_array(self, "R", (None, 3, 3))
        frozen_array(self, "t", (len(self.R), 3))
        frozen_array(self, "confidence", (len(self.R),))
        for name in ("R", "t"):
            if not np.isfinite(getattr(self, name)).all():
                raise RecordError(f"{name}: expected finite numbers")
        skew = np.abs(self.R @ np.swapaxes(self.R, -1, -2) - np.eye(3)).max(initial=0)
        if skew > 1e-4 or not (np.linalg.det(self.R) > 0).all():
            raise RecordError("R: expected rotations")
        if not self.moving and (self.translating or np.abs(self.R - np.eye(3)).any()):
            raise RecordError("R: expected the identity for a camera that does not move")
        if not self.translating and self.t.any():
            raise RecordError("t: expected zero for a camera that does not change its place")
        if not ((self.confidence >= 0) & (self.confidence <= 1)).all():
            raise RecordError("confidence: expected values in [0, 1]")

    @classmethod
    def still(cls, frames: int, confidence: float = 1.0, warnings: tuple[str, ...] = ()) -> Self:
        """The path of a camera that stands still for so many frames."""
        R = np.tile(np.eye(3), (frames, 1, 1))
        return cls(R, np.zeros((frames, 3)), False, False, np.full(frames, confidence), warnings)

    def __len__(self) -> int:
        return len(self.R)

    @property
    def position(self) -> np.ndarray:
        """(T, 3) the camera's centre in the first camera's axes, in the unit of t."""
        return -np.einsum("tji,tj->ti", self.R, self.t)

    def moved(self, first: Camera, unit_m: float = 1.0) -> Camera:
        """The camera of each frame, of the `first` frame's camera; `unit_m` is the unit of t in metres.

        Returns `first` itself where nothing moves. Raises `RecordError` for a camera that already has a pose per frame.
        """
        if first.R_cam_world.ndim == 3 or first.t_cam_world.ndim == 2:
            raise RecordError("first: expected one pose, got a pose per frame")
        if not self.moving:
            return first
        return first.replaced(
            R_cam_world=self.R @ first.R_cam_world, t_cam_world=self.R @ first.t_cam_world + unit_m * self.t
        )
