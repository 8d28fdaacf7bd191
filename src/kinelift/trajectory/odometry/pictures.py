"""Small grey pictures and where in them the surroundings are: what all tracking works on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from kinelift.camera import Camera
from kinelift.records import Frame, Pose2D

SIDE_PX, _LEAST_SIDE_PX = 640, 48
# Half the thickness of a limb and the radius of a head, as shares of the person's extent in the picture.
_LIMB, _HEAD = 0.075, 0.11
_LEAST_CONFIDENCE = 0.1


@dataclass(frozen=True, eq=False)
class Small:
    """One frame, scaled down.

    Attributes:
        index: Its place among the pose's times.
        grey: (h, w) uint8, evened out: local contrast is the same everywhere, so that flicker changes nothing.
        plain: (h, w) uint8, grey as filmed.
        around: (h, w) uint8, 255 where no person is.
    """

    index: int
    grey: np.ndarray
    plain: np.ndarray
    around: np.ndarray


def scale_of(image_size: tuple[int, int]) -> float:
    """How much smaller the tracked pictures are; never larger than the original."""
    return min(1.0, SIDE_PX / max(image_size))


def small_frames(frames: Iterable[Frame], pose: Pose2D) -> Iterator[Small]:
    """The frames that `pose` has a time for, scaled down, one by one; half a frame's difference is forgiven."""
    import cv2

    times = pose.times
    slack = 0.51 * float(np.median(np.diff(times))) if len(times) > 1 else np.inf
    last = -1
    hide = _Hider(pose)
    for frame in frames:
        k = int(np.abs(times - frame.time).argmin()) if len(times) else -1
        if k <= last or abs(times[k] - frame.time) > slack:
            continue
        last = k
        h, w = frame.image.shape[:2]
        scale = scale_of((w, h))
        size = (round(w * scale), round(h * scale))
        if min(size) < _LEAST_SIDE_PX:
            continue
        picture = frame.image if scale == 1 else cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA)
        plain = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        yield Small(k, evened(plain), plain, hide(k, size))


def evened(plain: np.ndarray) -> np.ndarray:
    """(h, w) uint8 grey with the local mean at 128 and the local deviation near 40; noise stays small."""
    import cv2

    x = plain.astype(np.float32)
    mean = cv2.blur(x, (31, 31))
    deviation = np.sqrt(np.maximum(cv2.blur(x * x, (31, 31)) - mean * mean, 0))
    return np.clip(128 + 40 * (x - mean) / (deviation + 10), 0, 255).astype(np.uint8)


class _Hider:
    """Draws people-shaped masks; where a person is unseen for a moment, the last sight counts."""

    def __init__(self, pose: Pose2D) -> None:
        self._pose = pose
        self._last: tuple[np.ndarray, np.ndarray] | None = None
        self._extent = 0.0

    def __call__(self, k: int, size: tuple[int, int]) -> np.ndarray:
        import cv2

        around = np.full(size[::-1], 255, np.uint8)
        pose = self._pose
        seen = pose.confidence[k] > _LEAST_CONFIDENCE
        xy = pose.xy[k] * (np.array(size) / pose.image_size)
        if seen.sum() >= 3:
            self._last = (xy, seen)
            extent = float(np.ptp(xy[seen], 0).max())
            self._extent = max(extent, 0.97 * self._extent)
        if self._last is None:
            return around
        xy, seen = self._last
        reach = np.clip(np.nan_to_num(xy), -4 * SIDE_PX, 4 * SIDE_PX).round().astype(int)
        limb = max(6, round(2 * _LIMB * self._extent))
        for joint, parent in enumerate(pose.skeleton.parents):
            if parent >= 0 and seen[joint] and seen[parent]:
                cv2.line(around, reach[joint].tolist(), reach[parent].tolist(), 0, limb)
        for joint in np.nonzero(seen)[0].tolist():
            name = pose.skeleton.joints[joint].lower()
            head = any(part in name for part in ("nose", "ear", "eye", "head", "mouth"))
            radius = _HEAD * self._extent if head else _LIMB * self._extent
            cv2.circle(around, reach[joint].tolist(), max(4, round(radius)), 0, -1)
        trunk = [
            j for j, n in enumerate(pose.skeleton.joints) if ("shoulder" in n.lower() or "hip" in n.lower()) and seen[j]
        ]
        if len(trunk) >= 3:
            cv2.fillConvexPoly(around, cv2.convexHull(reach[trunk].astype(np.int32)), 0)
        return around


@dataclass(frozen=True, eq=False)
class Lens:
    """Small pixels to rays: x/z and y/z without distortion."""

    camera: Camera
    scale: float

    @property
    def focal_px(self) -> float:
        """Of the small picture."""
        return self.camera.focal_px * self.scale

    def rays(self, xy: np.ndarray, frame: int) -> np.ndarray:
        """(n, 2) rays of small pixels (n, 2) of one frame."""
        camera = self.camera
        if camera.K.ndim == 3:
            camera = camera.replaced(K=camera.K[min(frame, len(camera.K) - 1)])
            camera = camera.replaced(R_cam_world=np.eye(3), t_cam_world=np.zeros(3))
        return camera.unproject((xy + 0.5) / self.scale - 0.5)
