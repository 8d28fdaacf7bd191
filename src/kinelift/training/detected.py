"""Rendered clips as a detector saw them: training windows at the lifter's 30 Hz, and its errors to lend to others.

Few clips can be rendered; their errors go further. A window of other motion that looks alike in the picture borrows the
errors and confidences of a rendered one: bias, drift, jitter, gaps and exchanged sides as they really occur.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kinelift.errors import InputError
from kinelift.kinematics import rotvec_to_matrix
from kinelift.lift.rays import INPUT_JOINTS, INPUT_MIRROR, OPINION, RATE_HZ, encode_opinion, input_joints
from kinelift.repair import repair
from kinelift.skeleton import BODY26
from kinelift.training.vary import vary_bodies

if TYPE_CHECKING:
    from kinelift.training.detector_data import DetectorClip
    from kinelift.training.views import Batch

_MIRROR = np.array(BODY26.mirror)
_NAMES = {j: i for i, j in enumerate(INPUT_JOINTS)}
_INPUT = BODY26.indices(*INPUT_JOINTS)
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
            self.rays[:, INPUT_MIRROR] * _X[:2],
            self.confidence[:, INPUT_MIRROR],
            self.own[:, _MIRROR] * _X,
            self.positions[:, _MIRROR] * _X,
            self.contact[:, [2, 3, 0, 1]],
            self.gravity * _X,
        )

    def played(self, rng: np.random.Generator, frames: int) -> _Seen:
        """A window of some frames, 0.75 to 1.33 times as fast; a joint is seen where both its neighbours are."""
        last = len(self.rays) - 1.001
        step = min(np.exp(rng.uniform(-0.29, 0.29)), last / (frames - 1))
        u = rng.uniform(0, last - step * (frames - 1)) + step * np.arange(frames)
        k, at = u.astype(int), _between(u)
        seen = np.minimum(self.confidence[k], self.confidence[k + 1]) > 0
        confidence = np.where(seen, at(self.confidence), 0.0)
        return _Seen(at(self.rays), confidence, at(self.own), at(self.positions), at(self.contact), self.gravity)


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
        """n windows, varied; the detector's own 3D withheld from some of them, or from all.

        As they are, a few hundred clips are soon known by heart. So each plays a little slower or faster, is turned a
        little about its root, has other proportions and arms, and keeps the errors that the detector made of it.
        """
        from kinelift.training.views import described

        chosen = [self.clips[i].played(rng, self.frames) for i in rng.integers(0, len(self.clips), n)]
        R = rotvec_to_matrix(np.radians(rng.normal(0, [6.0, 12.0, 5.0], (n, 3))))
        x = _turned(R, np.stack([c.positions for c in chosen]))
        gravity = np.einsum("nij,nj->ni", R, np.stack([c.gravity for c in chosen]))
        own = np.stack([c.own for c in chosen]) @ np.swapaxes(R, -1, -2)[:, None]
        seed = rng.integers(2**32)  # the same body for the truth and for what the detector thinks of it
        x, own = (vary_bodies(np.random.default_rng(seed), p, forearm=1.0) for p in (x, own))
        opinion = self._opinions(rng, own)
        said, true = np.stack([c.rays for c in chosen]), np.stack([c.true_rays for c in chosen])
        confidence = np.stack([c.confidence for c in chosen])
        seen = confidence[..., None] > 0
        error = np.where(seen, (said - true) / apparent_size(true), 0.0) * rng.uniform(0.8, 1.2, (n, 1, 1, 1))
        now = input_joints(x)
        now = now[..., :2] / np.maximum(now[..., 2:], 0.1)
        rays = np.where(seen, now + error * apparent_size(now), 0.0)
        contact = np.stack([c.contact for c in chosen])
        return described(rays, confidence, opinion, x, gravity[:, None], contact, fresh=False)

    def _opinions(self, rng: np.random.Generator, own: np.ndarray) -> np.ndarray:
        """(n, T, 64) the detector's own 3D (n, T, 26, 3) as the network is told it; zeros where it is withheld."""
        out = np.zeros((*own.shape[:2], OPINION), np.float32)
        told = rng.random(len(own)) >= self._withheld
        if told.any():
            out[told] = encode_opinion(np.nan_to_num(own[told]), np.isfinite(own[told]).all(-1))
        return out

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


def _turned(R: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Windows (n, T, 26, 3) in camera axes turned by R (n, 3, 3) about the root in the middle of each.

    Who would come too near moves back along the root's ray.
    """
    root = x[:, x.shape[1] // 2, None, :1]
    y = (x - root) @ np.swapaxes(R, -1, -2)[:, None]
    near = np.nanmin(y[..., 2] + root[..., 2], (1, 2))
    back = 1 + np.maximum(0.7 - near, 0) / np.maximum(root[:, 0, 0, 2], 0.5)
    return np.asarray(y + root * back[:, None, None, None])


def apparent_size(rays: np.ndarray) -> np.ndarray:
    """(n, 1, 1, 1) mean diagonal of the figure's box, of rays (n, T, 21, 2)."""
    return np.asarray(np.linalg.norm(rays.max(2) - rays.min(2), axis=-1).mean(1)[:, None, None, None])


def _looks(rays: np.ndarray) -> np.ndarray:
    """(n, 84) what a window looks like: the mean shape about the hips, and how much each joint moves, over its size."""
    shape = (rays - rays[:, :, _HIPS].mean(2, keepdims=True)) / apparent_size(rays)
    return np.concatenate([shape.mean(1), shape.std(1)], 1).reshape(len(rays), -1)


def _between(u: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Linear interpolation of any (T, ...) at fractional frames u (N,), all below T - 1."""
    k, f = u.astype(int), u % 1

    def at(x: np.ndarray) -> np.ndarray:
        w = f.reshape(-1, *(1,) * (x.ndim - 1))
        return np.asarray(x[k] * (1 - w) + x[k + 1] * w)

    return at


def _regular(clip: DetectorClip) -> _Seen:
    """A clip repaired as the pipeline does, on the lifter's grid: a joint is seen where both its neighbours are."""
    pose = repair(clip.pose())[0]
    count = int((len(clip.xy) - 1) / clip.fps * RATE_HZ) + 1
    u = np.minimum(np.arange(count) * clip.fps / RATE_HZ, len(clip.xy) - 1.001)
    k, at = u.astype(int), _between(u)
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
