"""Rendered clips as a detector saw them: training windows at the lifter's 30 Hz, and its errors to lend to others.

Few clips can be rendered; their errors go further. A window of other motion that looks alike in the picture borrows the
errors and confidences of a rendered one: bias, drift, jitter, gaps and exchanged sides as they really occur.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kinelift.errors import InputError
from kinelift.lift.rays import INPUT_JOINTS, OPINION, RATE_HZ, encode_opinion, input_joints
from kinelift.repair import repair
from kinelift.skeleton import BODY26

if TYPE_CHECKING:
    from kinelift.training.detector_data import DetectorClip
    from kinelift.training.views import Batch

_MIRROR = np.array(BODY26.mirror)
_NAMES = {j: i for i, j in enumerate(INPUT_JOINTS)}
_INPUT = BODY26.indices(*INPUT_JOINTS)
_INPUT_MIRROR = np.array([_NAMES[BODY26.joints[_MIRROR[i]]] for i in _INPUT])
_X = np.array([-1.0, 1.0, 1.0])
_HIPS = [_NAMES["left_hip"], _NAMES["right_hip"]]
_STRIDE = 12
_ALIKE = 6
# How often the detector's own 3D is withheld, so that key points alone stay enough.
DROPPED = 0.4


@dataclass(frozen=True, eq=False)
class _Seen:
    """One clip at 30 Hz: rays (T, 21, 2), confidence (T, 21), own 3D (T, 26, 3), truth in camera axes, contact."""

    rays: np.ndarray
    confidence: np.ndarray
    own: np.ndarray
    positions: np.ndarray
    contact: np.ndarray
    gravity: np.ndarray

    @property
    def true_rays(self) -> np.ndarray:
        """(T, 21, 2)."""
        true = input_joints(self.positions)
        return np.asarray(true[..., :2] / np.maximum(true[..., 2:], 0.1))

    def mirrored(self) -> _Seen:
        """Left and right exchanged."""
        return _Seen(
            self.rays[:, _INPUT_MIRROR] * _X[:2],
            self.confidence[:, _INPUT_MIRROR],
            self.own[:, _MIRROR] * _X,
            self.positions[:, _MIRROR] * _X,
            self.contact[:, [2, 3, 0, 1]],
            self.gravity * _X,
        )


class Detected:
    """Detector clips in which somebody was seen most of the time, both ways round, key points repaired."""

    def __init__(self, clips: list[DetectorClip], frames: int = 64, own_3d: bool = False, least_seen: float = 0.5):
        used = [_regular(c) for c in clips if (c.confidence > 0).any(1).mean() >= least_seen]
        self.clips = [c for c in used for c in (c, c.mirrored()) if len(c.rays) >= frames]
        self.frames = frames
        self._withheld = DROPPED if own_3d else 1.0
        if not self.clips:
            raise InputError(f"detector data: no clip of {frames} frames at 30 Hz in which somebody was seen")
        starts = [(i, k) for i, c in enumerate(self.clips) for k in range(0, len(c.rays) - frames + 1, _STRIDE)]
        cuts = [(self.clips[i], slice(k, k + frames)) for i, k in starts]
        true = np.stack([c.true_rays[at] for c, at in cuts])
        size = apparent_size(true)
        said = np.stack([c.rays[at] for c, at in cuts])
        self._confidence = np.stack([c.confidence[at] for c, at in cuts])
        self._error = np.where(self._confidence[..., None] > 0, (said - true) / size, 0.0)
        self._looks = _looks(true)

    def windows(self, rng: np.random.Generator, n: int) -> Batch:
        """n windows as they are; the detector's own 3D withheld from some of them, or from all."""
        from kinelift.training.views import described

        chosen = []
        for i in rng.integers(0, len(self.clips), n):
            clip = self.clips[i]
            at = rng.integers(0, len(clip.rays) - self.frames + 1) + np.arange(self.frames)
            angle = np.radians(rng.normal(0, 4))
            c, s = np.cos(angle), np.sin(angle)
            roll = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1.0]])
            own = clip.own[at] @ roll
            opinion = np.zeros((self.frames, OPINION), np.float32)
            if rng.random() >= self._withheld:
                opinion = encode_opinion(np.nan_to_num(own)[None], np.isfinite(own).all(-1)[None])[0]
            down = np.broadcast_to(clip.gravity @ roll, (self.frames, 3))
            rays = clip.rays[at] @ roll[:2, :2]
            chosen.append((rays, clip.confidence[at], opinion, clip.positions[at] @ roll, down, clip.contact[at]))
        return described(*(np.stack(x) for x in zip(*chosen, strict=True)))

    def lend(self, rng: np.random.Generator, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rays and confidences that the detector might say of true rays (n, T, 21, 2), T at most `frames`.

        Each window takes the errors of one of the six that look most alike, 0.6 to 1.2 times as large.
        """
        distance = ((_looks(true)[:, None] - self._looks) ** 2).sum(-1)
        alike = np.argsort(distance, axis=1)[:, :_ALIKE]
        window = alike[np.arange(len(true)), rng.integers(0, alike.shape[1], len(true))]
        t = true.shape[1]
        error = self._error[window, :t] * rng.uniform(0.6, 1.2, (len(true), 1, 1, 1))
        return true + error * apparent_size(true), self._confidence[window, :t]


def apparent_size(rays: np.ndarray) -> np.ndarray:
    """(n, 1, 1, 1) mean diagonal of the figure's box, of rays (n, T, 21, 2)."""
    return np.asarray(np.linalg.norm(rays.max(2) - rays.min(2), axis=-1).mean(1)[:, None, None, None])


def _looks(rays: np.ndarray) -> np.ndarray:
    """(n, 84) what a window looks like: the mean shape about the hips, and how much each joint moves, over its size."""
    shape = (rays - rays[:, :, _HIPS].mean(2, keepdims=True)) / apparent_size(rays)
    return np.concatenate([shape.mean(1), shape.std(1)], 1).reshape(len(rays), -1)


def _regular(clip: DetectorClip) -> _Seen:
    """A clip repaired as the pipeline does, on the lifter's grid: a joint is seen where both its neighbours are."""
    pose = repair(clip.pose())[0]
    count = int((len(clip.xy) - 1) / clip.fps * RATE_HZ) + 1
    u = np.minimum(np.arange(count) * clip.fps / RATE_HZ, len(clip.xy) - 1.001)
    k, f = u.astype(int), (u % 1)

    def at(x: np.ndarray) -> np.ndarray:
        w = f.reshape(-1, *(1,) * (x.ndim - 1))
        return np.asarray(x[k] * (1 - w) + x[k + 1] * w)

    rays = at(clip.camera.unproject(input_joints(pose.xy)))
    confidence = input_joints(pose.confidence[..., None])[..., 0]
    seen = np.isfinite(rays).all(-1) & (np.minimum(confidence[k], confidence[k + 1]) > 0)
    own = np.full((count, len(BODY26), 3), np.nan) if pose.detector_3d is None else at(pose.detector_3d)
    positions = at(clip.positions)
    return _Seen(
        np.where(seen[..., None], rays, 0.0),
        np.where(seen, at(confidence), 0.0),
        own,
        positions,
        at(clip.contact),
        clip.gravity,
    )
