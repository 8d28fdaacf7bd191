"""What every data set of poses is read into: one record of single poses, grouped by clip and camera.

17 joints in the order of `H36M17`; 3D in the camera's axes (x right, y down, z forward) in metres. Poses are whole:
a reader leaves out those with an unseen joint.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from kinelift.camera import Camera
from kinelift.errors import InputError, RecordError, UnknownNameError
from kinelift.records import _Record, frozen_array
from kinelift.skeleton import H36M17

SPLITS = ("train", "test")


def check_split(split: str, known: tuple[str, ...] = SPLITS) -> str:
    """The split's name, if it is one; raises `UnknownNameError`."""
    if split not in known:
        raise UnknownNameError("split", split, known)
    return split


@dataclass(frozen=True, eq=False)
class View:
    """One clip seen by one camera: what a reader collects before `PoseSet.from_views`.

    Attributes:
        xy: (T, 17, 2) pixels, or the units of the source where `camera` is None.
        positions: (T, 17, 3) metres in the camera's axes, or None.
        action: What is done in it.
        camera: Lens (and place in the world, where known), or None.
    """

    xy: np.ndarray
    positions: np.ndarray | None
    action: str = ""
    camera: Camera | None = None


@dataclass(frozen=True, eq=False)
class PoseSet(_Record):
    """N poses of 17 joints, clip by clip.

    Attributes:
        name: Which data this is.
        xy: (N, 17, 2) float32 pixels, or the units of the source where the lens is unknown.
        positions: (N, 17, 3) float32 metres, absolute in the camera's axes, or None: 2D only.
        sequence: (N,) int64, never falling: equal numbers are consecutive frames of one clip seen by one camera.
        actions: (N,) str.
        cameras: One for each sequence number; None where the lens is unknown. `camera.project_camera(positions)` is
            the 2D truth; its rotation and place lead from the source's world.
        fps: Frames per second within a sequence, or None where unknown or mixed.
    """

    name: str
    xy: np.ndarray
    positions: np.ndarray | None
    sequence: np.ndarray
    actions: np.ndarray
    cameras: tuple[Camera | None, ...]
    fps: float | None

    def __post_init__(self) -> None:
        frozen_array(self, "xy", (None, len(H36M17), 2), np.float32)
        n = len(self.xy)
        if self.positions is not None:
            frozen_array(self, "positions", (n, len(H36M17), 3), np.float32)
        frozen_array(self, "sequence", (n,), np.int64)
        frozen_array(self, "actions", (n,), str)
        object.__setattr__(self, "cameras", tuple(self.cameras))
        for name in ("xy", "positions"):
            if (values := getattr(self, name)) is not None and not np.isfinite(values).all():
                raise RecordError(f"{name}: expected finite numbers")
        if n and (self.sequence[0] < 0 or self.sequence[-1] >= len(self.cameras) or (np.diff(self.sequence) < 0).any()):
            raise RecordError(f"sequence: expected rising numbers of the {len(self.cameras)} cameras")
        if self.fps is not None and not 0 < self.fps < np.inf:
            raise RecordError(f"fps: expected a positive number, got {self.fps}")

    @classmethod
    def from_views(cls, name: str, views: Iterable[View], fps: float | None) -> PoseSet:
        """The views one after the other, each a sequence; empty ones are left out. Raises `InputError` for none."""
        kept = [v for v in views if len(v.xy)]
        if not kept:
            raise InputError(f"{name}: holds no pose of all {len(H36M17)} joints for this choice")
        truth = [v.positions for v in kept if v.positions is not None]
        if truth and len(truth) < len(kept):
            raise RecordError(f"{name}: some views have 3D and some have none")
        lengths = [len(v.xy) for v in kept]
        return cls(
            name=name,
            xy=np.concatenate([v.xy for v in kept]),
            positions=np.concatenate(truth) if truth else None,
            sequence=np.repeat(np.arange(len(kept)), lengths),
            actions=np.repeat(np.array([v.action for v in kept], dtype=str), lengths),
            cameras=tuple(v.camera for v in kept),
            fps=fps,
        )

    def __len__(self) -> int:
        return len(self.xy)

    def rays(self) -> np.ndarray:
        """(N, 17, 2) float64: x/z and y/z through each sequence's camera, lens distortion removed.

        Where the camera is unknown, `xy` from the root: only its shape means something.
        """
        out = self.xy.astype(np.float64)
        lenses = {id(c): c for c in self.cameras}
        lens = np.array([id(c) for c in self.cameras])[self.sequence] if len(self) else np.empty(0)
        for key, camera in lenses.items():
            seen = lens == key
            out[seen] = out[seen] - out[seen][:, :1] if camera is None else camera.unproject(out[seen])
        return out

    def sliced(self, which: np.ndarray | slice) -> PoseSet:
        """The poses of a mask (N,), of rising indices, or of a slice.

        Frames that were no neighbours before become different sequences, so that a sequence stays without gaps.
        """
        index = np.arange(len(self))[which]
        if (np.diff(index) <= 0).any():
            raise RecordError("which: expected rising indices")
        old = self.sequence[index]
        starts = np.r_[True, (np.diff(index) != 1) | (np.diff(old) != 0)][: len(index)]
        return self.replaced(
            xy=self.xy[index],
            positions=None if self.positions is None else self.positions[index],
            sequence=np.cumsum(starts) - 1,
            actions=self.actions[index],
            cameras=tuple(self.cameras[s] for s in old[starts]),
        )
