"""Windows of rendered clips as a detector saw them: resampled to the lifter's 30 Hz, mirrored and rolled at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kinelift.lift.rays import INPUT_JOINTS, OPINION, RATE_HZ, encode_opinion
from kinelift.skeleton import BODY26

if TYPE_CHECKING:
    from kinelift.training.detector_data import DetectorClip
    from kinelift.training.views import Batch

_MIRROR = np.array(BODY26.mirror)
_NAMES = {j: i for i, j in enumerate(INPUT_JOINTS)}
_INPUT = BODY26.indices(*INPUT_JOINTS)
_INPUT_MIRROR = np.array([_NAMES[BODY26.joints[_MIRROR[i]]] for i in _INPUT])
_X = np.array([-1.0, 1.0, 1.0])
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

    def mirrored(self) -> _Seen:
        return _Seen(
            self.rays[:, _INPUT_MIRROR] * _X[:2],
            self.confidence[:, _INPUT_MIRROR],
            self.own[:, _MIRROR] * _X,
            self.positions[:, _MIRROR] * _X,
            self.contact[:, [2, 3, 0, 1]],
            self.gravity * _X,
        )


class Detected:
    """Training windows of detector clips in which somebody was seen most of the time."""

    def __init__(self, clips: list[DetectorClip], least_seen: float = 0.5):
        self.clips = [_regular(c) for c in clips if (c.confidence > 0).any(1).mean() >= least_seen]

    def windows(self, rng: np.random.Generator, n: int, frames: int) -> Batch:
        """n windows; the detector's own 3D withheld from some of them."""
        from kinelift.training.views import described

        chosen = []
        for i in rng.integers(0, len(self.clips), n):
            clip = self.clips[i].mirrored() if rng.random() < 0.5 else self.clips[i]
            start = rng.integers(0, max(len(clip.rays) - frames, 0) + 1)
            at = np.minimum(start + np.arange(frames), len(clip.rays) - 1)
            angle = np.radians(rng.normal(0, 4))
            c, s = np.cos(angle), np.sin(angle)
            roll = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1.0]])
            own = clip.own[at] @ roll
            keep = rng.random() >= DROPPED
            opinion = np.zeros((frames, OPINION), np.float32)
            if keep:
                opinion = encode_opinion(np.nan_to_num(own)[None], np.isfinite(own).all(-1)[None])[0]
            chosen.append(
                (
                    clip.rays[at] @ roll[:2, :2],
                    clip.confidence[at],
                    opinion,
                    clip.positions[at] @ roll,
                    np.broadcast_to(clip.gravity @ roll, (frames, 3)),
                    clip.contact[at],
                )
            )
        return described(*(np.stack(x) for x in zip(*chosen, strict=True)))


def _regular(clip: DetectorClip) -> _Seen:
    """A clip on the lifter's grid: interpolated in time, a joint seen where both its neighbours are."""
    count = int((len(clip.xy) - 1) / clip.fps * RATE_HZ) + 1
    u = np.minimum(np.arange(count) * clip.fps / RATE_HZ, len(clip.xy) - 1.001)
    k, f = u.astype(int), (u % 1)

    def at(x: np.ndarray) -> np.ndarray:
        w = f.reshape(-1, *(1,) * (x.ndim - 1))
        return x[k] * (1 - w) + x[k + 1] * w

    rays = at(clip.rays)
    seen = np.isfinite(rays).all(-1) & (np.minimum(clip.confidence[k], clip.confidence[k + 1]) > 0)
    own = np.full((count, len(BODY26), 3), np.nan)
    own[:, _INPUT] = at(clip.detector_3d)
    own[:, 0] = 0.0
    own[~np.isfinite(own[:, _INPUT]).all(-1).any(-1), 0] = np.nan
    return _Seen(
        np.where(seen[..., None], rays, 0.0),
        np.where(seen, at(clip.confidence), 0.0),
        own,
        at(clip.positions),
        at(clip.contact),
        clip.gravity,
    )
