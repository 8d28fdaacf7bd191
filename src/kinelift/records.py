"""The records that travel between stages: frozen, checked once in the constructor, arrays read-only.

Missing is NaN in coordinates and 0 in confidence. T frames, J joints, F contact points. Camera axes are
OpenCV's (x right, y down, z forward); world axes are Y up, metres, floor at y = 0.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from kinelift.errors import RecordError
from kinelift.skeleton import Skeleton

if TYPE_CHECKING:
    from kinelift.camera import Camera


def frozen_array(record: Any, name: str, shape: tuple[int | None, ...], dtype: Any = np.float64) -> None:
    """Replace a frozen record's field by a read-only copy of the expected shape (None = any length).

    Raises `RecordError` in terms of expected and got.
    """
    try:
        array = np.array(getattr(record, name), dtype=dtype)
    except (TypeError, ValueError) as e:
        raise RecordError(f"{name}: expected numbers, {e}") from None
    if array.ndim != len(shape) or any(n is not None and n != m for n, m in zip(shape, array.shape, strict=True)):
        expected = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
        raise RecordError(f"{name}: expected shape {expected}, got {array.shape}")
    array.flags.writeable = False
    object.__setattr__(record, name, array)


def _check_times(times: np.ndarray) -> None:
    if not np.isfinite(times).all():
        raise RecordError("times: expected finite seconds")
    if len(times) > 1 and (np.diff(times) <= 0).any():
        raise RecordError("times: expected strictly increasing seconds")


class _Record:
    def replaced(self, **changes: Any) -> Self:
        """A copy with some fields changed, checked again."""
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]


@dataclass(frozen=True, eq=False)
class Frame(_Record):
    """One picture of a video.

    Attributes:
        image: (H, W, 3) uint8 RGB, upright: the container's rotation has been applied.
        time: Seconds, the container's own time stamp.
    """

    image: np.ndarray
    time: float

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise RecordError(f"image: expected (H, W, 3) uint8, got {self.image.shape} {self.image.dtype}")


@dataclass(frozen=True, eq=False)
class Pose2D(_Record):
    """One person's key points through a clip.

    Attributes:
        skeleton: Names of the J key points.
        xy: (T, J, 2) pixels, centres at integers; NaN where unseen.
        confidence: (T, J) in [0, 1]; 0 where unseen.
        times: (T,) seconds, strictly increasing.
        image_size: (width, height) pixels.
        person_id: Which person of the video this is.
        detector_3d: (T, J, 3) metres in the camera's axes, root-relative, or None: the detector's own 3D.
    """

    skeleton: Skeleton
    xy: np.ndarray
    confidence: np.ndarray
    times: np.ndarray
    image_size: tuple[int, int]
    person_id: int = 0
    detector_3d: np.ndarray | None = None

    def __post_init__(self) -> None:
        n = len(self.skeleton)
        frozen_array(self, "times", (None,))
        t = len(self.times)
        frozen_array(self, "xy", (t, n, 2))
        frozen_array(self, "confidence", (t, n))
        if self.detector_3d is not None:
            frozen_array(self, "detector_3d", (t, n, 3))
        _check_times(self.times)
        if not ((self.confidence >= 0) & (self.confidence <= 1)).all():
            raise RecordError("confidence: expected values in [0, 1]")
        if (self.confidence[~np.isfinite(self.xy).all(-1)] > 0).any():
            raise RecordError("confidence: expected 0 where xy is not finite")
        w, h = self.image_size
        if w < 1 or h < 1:
            raise RecordError(f"image_size: expected positive (width, height), got {self.image_size}")

    @property
    def seen(self) -> np.ndarray:
        """(T, J) bool: key points with any confidence."""
        return self.confidence > 0

    @property
    def detected(self) -> np.ndarray:
        """(T,) bool: frames in which the person was found at all."""
        return np.asarray(self.seen.any(1))

    def sliced(self, frames: slice) -> Pose2D:
        """The same person in some of the frames."""
        d3 = None if self.detector_3d is None else self.detector_3d[frames]
        return self.replaced(
            xy=self.xy[frames], confidence=self.confidence[frames], times=self.times[frames], detector_3d=d3
        )


@dataclass(frozen=True, eq=False)
class Lifted(_Record):
    """What a lifter says of a clip, root-relative, in the camera's axes.

    Attributes:
        skeleton: Names of the J joints the lifter gives.
        positions: (T, J, 3), relative to the skeleton's root joint; metres of a body of reference stature when
            `scale` is "metric", any unit when "unit". NaN = the lifter does not give this joint.
        times: (T,) seconds.
        scale: "metric" or "unit".
        sigma: (T, J) standard deviation, in the units of `positions`, or None.
        gravity: (T, 3) vectors that point down, made unit vectors, in camera axes, or None.
        contact: (T, 4) probability that left heel, left toe, right heel, right toe are planted, or None.
        depth_cue: (T,) the root's depth in units of `positions`, or None.
    """

    skeleton: Skeleton
    positions: np.ndarray
    times: np.ndarray
    scale: str = "metric"
    sigma: np.ndarray | None = None
    gravity: np.ndarray | None = None
    contact: np.ndarray | None = None
    depth_cue: np.ndarray | None = None

    def __post_init__(self) -> None:
        frozen_array(self, "times", (None,))
        _check_times(self.times)
        t, n = len(self.times), len(self.skeleton)
        frozen_array(self, "positions", (t, n, 3))
        for name, shape in (("sigma", (t, n)), ("gravity", (t, 3)), ("contact", (t, 4)), ("depth_cue", (t,))):
            if getattr(self, name) is not None:
                frozen_array(self, name, shape)
        if self.scale not in ("metric", "unit"):
            raise RecordError(f"scale: expected 'metric' or 'unit', got '{self.scale}'")
        if np.isinf(self.positions).any():
            raise RecordError("positions: expected finite numbers or NaN")
        given = np.isfinite(self.positions).all(-1)
        if self.sigma is not None and not ((self.sigma > 0) & np.isfinite(self.sigma))[given].all():
            raise RecordError("sigma: expected positive numbers where positions are given")
        if self.gravity is not None:
            if not np.isfinite(self.gravity).all():
                raise RecordError("gravity: expected finite numbers")
            length = np.linalg.norm(self.gravity, axis=-1, keepdims=True)
            object.__setattr__(self, "gravity", self.gravity / np.maximum(length, 1e-9))
            frozen_array(self, "gravity", (t, 3))
        if self.contact is not None and not ((self.contact >= 0) & (self.contact <= 1)).all():
            raise RecordError("contact: expected values in [0, 1]")


@dataclass(frozen=True, eq=False)
class Pose3D(_Record):
    """Joint positions through a clip, before they are a rig's motion.

    Attributes:
        skeleton: Names of the J joints.
        positions: (T, J, 3) metres; NaN where not given.
        times: (T,) seconds.
        world: True for world axes (Y up), False for the camera's.
        absolute: True where positions include the root's translation.
        sigma_m: (T, J) standard deviation in metres.
    """

    skeleton: Skeleton
    positions: np.ndarray
    times: np.ndarray
    world: bool
    absolute: bool
    sigma_m: np.ndarray

    def __post_init__(self) -> None:
        frozen_array(self, "times", (None,))
        _check_times(self.times)
        t, n = len(self.times), len(self.skeleton)
        frozen_array(self, "positions", (t, n, 3))
        frozen_array(self, "sigma_m", (t, n))


CONTACT_JOINTS = ("left_heel", "left_toe", "right_heel", "right_toe")


@dataclass(frozen=True, eq=False)
class Motion(_Record):
    """One person's animation in the world: a rig, its rotations and its root path.

    Attributes:
        skeleton: The J joints.
        offsets: (J, 3) metres, rest pose (T-pose facing +Z, left = +X), each from its parent; offsets[0] = 0.
        rotations: (T, J, 4) local quaternions xyzw; identity is the rest pose.
        root: (T, 3) metres, the root joint in the world.
        contacts: (T, F) in [0, 1].
        contact_joints: (F,) joint indices of `contacts`.
        observed: (T,) bool, False where the person was not detected and the frame is filled.
        sigma_m: (T, J) metres, standard deviation of each joint's position.
        times: (T,) seconds.
        person_id: Which person of the video this is.
    """

    skeleton: Skeleton
    offsets: np.ndarray
    rotations: np.ndarray
    root: np.ndarray
    contacts: np.ndarray
    contact_joints: np.ndarray
    observed: np.ndarray
    sigma_m: np.ndarray
    times: np.ndarray
    person_id: int = 0

    def __post_init__(self) -> None:
        n = len(self.skeleton)
        frozen_array(self, "times", (None,))
        _check_times(self.times)
        t = len(self.times)
        frozen_array(self, "offsets", (n, 3))
        frozen_array(self, "rotations", (t, n, 4))
        frozen_array(self, "root", (t, 3))
        frozen_array(self, "contact_joints", (None,), np.int64)
        frozen_array(self, "contacts", (t, len(self.contact_joints)))
        frozen_array(self, "observed", (t,), bool)
        frozen_array(self, "sigma_m", (t, n))
        for name in ("offsets", "rotations", "root", "contacts", "sigma_m"):
            if not np.isfinite(getattr(self, name)).all():
                raise RecordError(f"{name}: expected finite numbers")
        if not ((self.contacts >= 0) & (self.contacts <= 1)).all():
            raise RecordError("contacts: expected values in [0, 1]")
        if not ((self.contact_joints >= 0) & (self.contact_joints < n)).all():
            raise RecordError(f"contact_joints: expected indices of {n} joints, got {self.contact_joints.tolist()}")
        if np.abs(np.linalg.norm(self.rotations, axis=-1) - 1).max(initial=0) > 1e-5:
            raise RecordError("rotations: expected unit quaternions")
        if np.abs(self.offsets[0]).max() > 0:
            raise RecordError("offsets: expected offsets[0] = 0")

    @property
    def fps(self) -> float:
        """Mean frames per second; 30 for a single frame, which has no rate of its own."""
        return (len(self.times) - 1) / (self.times[-1] - self.times[0]) if len(self.times) > 1 else 30.0


@dataclass(frozen=True, eq=False)
class Take(_Record):
    """What one video gave: one world, one camera, any number of people.

    Attributes:
        motions: One animation a person.
        camera: The camera in the world.
        poses_2d: The key points as detected, before repair, in the motions' order.
        meta: Input, detector, lifter, weights, scale, focal and world sources, versions, seed, threads.
        report: What `report.json` holds: numbers of quality and the warnings.
        tracked: A moving camera as odometry has it, before any solve: its world is the first frame's camera, its unit
            odometry's own. What a further solve starts from; None: from `camera`.
    """

    motions: tuple[Motion, ...]
    camera: Camera
    poses_2d: tuple[Pose2D, ...]
    meta: dict[str, Any] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)
    tracked: Camera | None = None
