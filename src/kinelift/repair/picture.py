"""Key points at the picture's edge: what a detector cannot have seen is trusted less, or not at all.

Detectors go on guessing where the picture ends. Some put points outside it with high confidence; and when a leg has
walked out, they draw it onto the leg that is still in view. Three rules, for every detector and key point file alike:
points outside fade with their distance; who walks out leaves for good, joint by joint, and who walks in arrives so; a
person of whom less than half is in view counts as away before the first and after the last good frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kinelift.errors import InputError
from kinelift.records import Pose2D
from kinelift.repair.points import body_size_px

# Shares of the body's size: how far outside the picture a point may lie before it counts nothing, and how near to
# its edge a joint is taken to have reached it.
OUTSIDE_LIMIT, RIM = 0.10, 0.05
# Seconds: a figure whose middle is this far from an edge, at its own speed, is leaving over it; what that speed is
# measured over, to either side; the longest gap that a stretch of sightings may have; how far ahead a joint's own speed
# is believed, since a detector that loses a limb may move it elsewhere in one frame.
_HORIZON_S, _SPEED_S, _GAP_S, _AHEAD_S = 0.5, 0.15, 0.3, 1 / 15
_LIMBS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")


@dataclass(frozen=True, eq=False)
class Sight:
    """How far the picture shows the person.

    Attributes:
        distrusted: Key points whose confidence was taken, outside the picture or made up for joints that had left it.
        entered_s: When at least half of the person has come into the picture; None: there from the first sighting on.
        left_s: When less than half of the person is left in it; None: there until the last sighting.
    """

    distrusted: int = 0
    entered_s: float | None = None
    left_s: float | None = None


def within_picture(pose: Pose2D) -> tuple[Pose2D, Sight]:
    """Key points with confidence for what the picture can show, and where it shows the person.

    Confidence falls to 0 over `OUTSIDE_LIMIT` body sizes beyond the edge. While the figure walks out over an edge, a
    joint that has reached it stays away; while it walks in, a joint is away until it is clear of it. Frames before
    the first and after the last with at least half of the limb joints that the clip usually shows (half of all
    twelve, for a person seen whole) lose all confidence. Raises `InputError` where no point is in the picture.
    """
    fade = np.clip(1 - _outside(pose) / (OUTSIDE_LIMIT * body_size_px(pose)), 0, 1)
    confidence = np.where(_passed(pose), 0, pose.confidence * fade)
    if pose.detected.any() and not (confidence > 0).any():
        w, h = pose.image_size
        raise InputError(f"no key point lies inside the picture of {w} x {h} pixels: check its stated size")
    span = _span(pose.replaced(confidence=confidence))
    known = np.flatnonzero(pose.detected)
    confidence[: span.start], confidence[span.stop :] = 0, 0
    distrusted = int((pose.seen & (confidence <= 0)).sum())
    entered = float(pose.times[span.start]) if len(known) and known[0] < span.start else None
    left = float(pose.times[span.stop]) if len(known) and known[-1] >= span.stop else None
    return pose.replaced(confidence=confidence), Sight(distrusted, entered, left)


def _outside(pose: Pose2D) -> np.ndarray:
    """(T, J) pixels by which a point lies outside the picture; 0 inside it and where unseen."""
    last = np.array(pose.image_size) - 1.0
    return np.linalg.norm(np.nan_to_num(pose.xy - np.clip(pose.xy, 0, last)), axis=-1)


def _limbs(pose: Pose2D) -> np.ndarray:
    """Indices of the limb joints among the key points; all of them in a skeleton that names none."""
    named = [i for i, j in enumerate(pose.skeleton.joints) if any(w in j.lower() for w in _LIMBS)]
    return np.array(named or range(len(pose.skeleton)))


def _span(pose: Pose2D) -> slice:
    """Frames from the first to the last in which at least half of the usual number of limb joints is in view."""
    inside = ((_outside(pose) == 0) & pose.seen)[:, _limbs(pose)].sum(1)
    if not inside.any():
        return slice(0, len(inside))
    enough = np.flatnonzero(inside >= max(np.median(inside[inside > 0]) / 2, 1))
    return slice(int(enough[0]), int(enough[-1]) + 1)


def _passed(pose: Pose2D) -> np.ndarray:
    """(T, J) bool: joints that have gone out over an edge the figure is leaving over, or not come in over one yet."""
    out = np.zeros(pose.xy.shape[:2], bool)
    frames = np.flatnonzero(pose.seen[:, _limbs(pose)].any(1))
    if len(frames) < 2:
        return out
    xy = np.where(pose.seen[frames][..., None], pose.xy[frames], np.nan)
    times, rim = pose.times[frames], RIM * body_size_px(pose)
    middle = np.nanmedian(xy[:, _limbs(pose)], 1)
    for axis, sign in ((0, -1), (0, 1), (1, -1), (1, 1)):
        edge = pose.image_size[axis] - 1 if sign > 0 else 0
        to_go, middle_to_go = sign * (edge - xy[..., axis]), sign * (edge - middle[:, axis])
        out[frames] |= _gone_out(to_go, middle_to_go, times, rim)
        # Who walks in is who walks out, seen backwards.
        out[frames] |= _gone_out(to_go[::-1], middle_to_go[::-1], -times[::-1], rim)[::-1]
    return out


def _gone_out(to_go: np.ndarray, middle_to_go: np.ndarray, times: np.ndarray, rim: float) -> np.ndarray:
    """(T, J) bool: the figure is leaving over an edge, and the joint has reached it since that began.

    `to_go` (T, J) and `middle_to_go` (T,) are pixels inside the edge, negative beyond it; times (T,) in seconds.
    """
    joined = np.diff(times) <= _GAP_S
    speed = _speed(-middle_to_go, times, joined)
    leaving = (speed > 0) & (middle_to_go < speed * _HORIZON_S)
    step = np.where(joined[:, None], np.diff(to_go, axis=0), 0) / np.diff(times)[:, None]
    step = np.concatenate([np.zeros((1, to_go.shape[1])), np.fmin(step, 0)])
    reached = to_go + step * _AHEAD_S < rim
    begun = _run_starts(joined & (leaving[1:] == leaving[:-1]))
    latest = np.maximum.accumulate(np.where(reached, np.arange(len(times))[:, None], -1), axis=0)
    return leaving[:, None] & (latest >= begun[:, None])


def _speed(x: np.ndarray, times: np.ndarray, joined: np.ndarray) -> np.ndarray:
    """(T,) pixels a second of x (T,), over `_SPEED_S` to either side, not across gaps; `joined` (T - 1,)."""
    first, last = _run_starts(joined), len(times) - 1 - _run_starts(joined[::-1])[::-1]
    a = np.maximum(np.searchsorted(times, times - _SPEED_S - 1e-9), first)
    b = np.minimum(np.searchsorted(times, times + _SPEED_S + 1e-9, side="right") - 1, last)
    return (x[b] - x[a]) / np.maximum(times[b] - times[a], 1e-6)


def _run_starts(joined: np.ndarray) -> np.ndarray:
    """(T,) index of the first frame of each frame's run; `joined` (T - 1,) says which continue the one before."""
    starts = np.concatenate([[True], ~joined])
    return np.maximum.accumulate(np.where(starts, np.arange(len(starts)), 0))
