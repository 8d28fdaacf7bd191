"""Mends 2D key points: sides exchanged by the detector, single-frame jumps, short gaps.

Nothing is invented: what cannot be mended keeps confidence 0 and is left to the lifter and the whole-clip solve.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kinelift.records import Pose2D

# A gap of one key point up to this long is bridged by a straight line at low confidence; longer ones stay open.
GAP_LIMIT_S = 0.25
_LEG_WORDS = ("hip", "knee", "ankle", "heel", "toe", "foot")


@dataclass(frozen=True)
class RepairReport:
    """What was mended.

    Attributes:
        swapped_frames: Frames in which arms or legs had left and right exchanged.
        outliers: Key points dropped because they jumped away and back in one frame.
        bridged: Key points filled across short gaps.
    """

    swapped_frames: int
    outliers: int
    bridged: int


def repair(pose: Pose2D) -> tuple[Pose2D, RepairReport]:
    """Key points with sides put right, jumps dropped and gaps up to 0.25 s bridged; and what was done."""
    swapped, astray = find_swaps(pose)
    pose = exchanged(pose, swapped)
    pose = pose.replaced(confidence=np.where(astray[:, None], 0, pose.confidence))
    pose, outliers = _without_jumps(pose)
    outliers += int(astray.sum()) * len(pose.skeleton)
    pose, bridged = _bridged(pose)
    return pose, RepairReport(int(swapped.any(1).sum()), outliers, bridged)


def body_size_px(pose: Pose2D) -> float:
    """The figure's usual extent in pixels: the median over frames of its bounding box's diagonal."""
    xy = pose.xy[pose.detected]
    if not len(xy):
        return float(max(pose.image_size))
    extent = np.nanmax(xy, 1) - np.nanmin(xy, 1)
    return float(max(np.median(np.linalg.norm(extent, axis=-1)), 1.0))


def _groups(pose: Pose2D) -> list[list[int]]:
    """Left key points of the legs, and of the rest, that have a right counterpart."""
    legs: list[int] = []
    rest: list[int] = []
    for i, (name, m) in enumerate(zip(pose.skeleton.joints, pose.skeleton.mirror, strict=True)):
        if i < m:
            (legs if any(w in name.lower() for w in _LEG_WORDS) else rest).append(i)
    return [g for g in (legs, rest) if g]


# Costs of the dynamic programme, in nats of surprise: a change of labels, a frame unlike the detector's, a frame in
# which legs and arms disagree, a frame passed over; at most so many frames are passed over in a row.
_FLIP, _UNLIKE, _DISAGREE, _SKIP, _MOST_SKIPPED = 3.0, 0.05, 0.3, 15.0, 3
# Body sizes a second that no point's step is surprising below.
_USUAL_SPEED = 0.6
# Pairs far enough apart to tell a change of sides.
_TELLING = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle", "foot")


def find_swaps(pose: Pose2D) -> tuple[np.ndarray, np.ndarray]:
    """(T, 2) bool: frames whose legs, and whose arms and face, are exchanged; (T,) bool: frames on neither course.

    Dynamic programming over the clip (Viterbi) on four states, legs and arms exchanged or not. A step costs how far the
    points move under the labels it implies; a wrong stretch shows as a jump where it begins and ends. A few frames
    may be passed over: trackers glide from one side to the other through poses that never were. Legs and arms that
    disagree cost a little, and so do labels unlike the detector's, so that the longer side of a jump is believed.
    """
    out, skipped = np.zeros((len(pose.times), 2), bool), np.zeros(len(pose.times), bool)
    frames = np.flatnonzero(pose.detected)
    groups = _groups(pose)
    if len(frames) < 2 or not groups:
        return out, skipped
    states = [(legs, rest) for legs in (0, 1) for rest in ((0, 1) if len(groups) == 2 else (legs,))]
    change = np.array([[[i[g] ^ j[g] for g in range(len(groups))] for j in states] for i in states])
    steps = []
    for k in range(1, min(_MOST_SKIPPED + 2, len(frames))):
        costs = _step_costs(pose, groups, frames, k)
        of_group = [np.where(change[..., g], c[1][:, None, None], c[0][:, None, None]) for g, c in enumerate(costs)]
        steps.append(np.sum(of_group, axis=0))
    alone = np.array([_UNLIKE * (i[0] + i[1]) + _DISAGREE * (i[0] != i[1]) for i in states])
    path = _viterbi(steps, alone)
    out[frames] = np.array(states, bool)[np.maximum(path, 0)]
    skipped[frames] = path < 0
    return out, skipped


def _step_costs(
    pose: Pose2D, groups: list[list[int]], frames: np.ndarray, k: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Per group, the surprise (n - k,) of each detected frame becoming the k-th next with sides kept, and exchanged."""
    mirror = np.array(pose.skeleton.mirror)
    size = body_size_px(pose)
    a, b = frames[:-k], frames[k:]
    gap = np.exp(-np.maximum(pose.times[b] - pose.times[a] - 0.1, 0) / 0.3)
    step = float(np.nanmedian(_distance(pose, frames[:-1], frames[1:], slice(None), slice(None)))) / size
    usual = k * max(_USUAL_SPEED * float(np.median(np.diff(pose.times))), 1.5 * step)
    out = []
    for group in groups:
        left = np.array([i for i in group if any(w in pose.skeleton.joints[i].lower() for w in _TELLING)], int)
        points, crossed = np.concatenate([left, mirror[left]]), np.concatenate([mirror[left], left])
        costs = []
        for other in (points, crossed):
            weight = np.sqrt(pose.confidence[a][:, points] * pose.confidence[b][:, other])
            d = np.nan_to_num(_distance(pose, a, b, points, other)) / size / usual
            costs.append(k * (np.log1p(d**2) * weight).sum(1) * gap)
        out.append((costs[0], costs[1] + _FLIP))
    return out


def _distance(pose: Pose2D, a: np.ndarray, b: np.ndarray, i: np.ndarray | slice, j: np.ndarray | slice) -> np.ndarray:
    return np.linalg.norm(pose.xy[b][:, j] - pose.xy[a][:, i], axis=-1)


def _viterbi(steps: list[np.ndarray], alone: np.ndarray) -> np.ndarray:
    """(n,) states of least cost, -1 where passed over.

    `steps[k]` (n - k - 1, S, S) costs going from a frame's state to one k + 1 frames on; `alone` (S,) being there.
    """
    n, S = len(steps[0]) + 1, len(alone)
    cost = np.zeros((n, S))
    came = np.zeros((n, S, 2), int)
    cost[0] = alone
    for t in range(1, n):
        totals = np.stack(
            [cost[t - 1 - k][:, None] + s[t - 1 - k] + k * _SKIP for k, s in enumerate(steps) if t - 1 - k >= 0]
        )
        best = totals.reshape(-1, S).argmin(0)
        came[t, :, 0], came[t, :, 1] = best // S + 1, best % S
        cost[t] = totals.reshape(-1, S)[best, np.arange(S)] + alone
    path = np.full(n, -1)
    t, state = n - 1, int(cost[-1].argmin())
    while True:
        path[t] = state
        if t == 0:
            return path
        back, state = came[t, state]
        t -= back


def exchanged(pose: Pose2D, swapped: np.ndarray) -> Pose2D:
    """Key points, and the detector's 3D, with the marked groups' sides exchanged."""
    if not swapped.any():
        return pose
    mirror = np.array(pose.skeleton.mirror)
    arrays = [pose.xy.copy(), pose.confidence.copy()]
    if pose.detector_3d is not None:
        arrays.append(pose.detector_3d.copy())
    for k, left in enumerate(_groups(pose)):
        frames = np.flatnonzero(swapped[:, k])[:, None]
        both = np.concatenate([left, mirror[left]])
        for x in arrays:
            x[frames, both] = x[frames, mirror[both]]
    d3 = arrays[2] if len(arrays) == 3 else None
    return pose.replaced(xy=arrays[0], confidence=arrays[1], detector_3d=d3)


def _without_jumps(pose: Pose2D) -> tuple[Pose2D, int]:
    """Drop points far from the line between their neighbours in time while those neighbours agree."""
    if len(pose.times) < 3:
        return pose, 0
    size = body_size_px(pose)
    before, here, after = pose.xy[:-2], pose.xy[1:-1], pose.xy[2:]
    away = np.linalg.norm(here - (before + after) / 2, axis=-1)
    step = np.linalg.norm(after - before, axis=-1)
    bad = np.zeros_like(pose.seen)
    bad[1:-1] = (away > 0.10 * size) & (away > 2.5 * step)
    return pose.replaced(confidence=np.where(bad, 0, pose.confidence)), int(bad.sum())


def _bridged(pose: Pose2D) -> tuple[Pose2D, int]:
    """Fill gaps of single points up to `GAP_LIMIT_S` with straight lines at a quarter of the neighbours' confidence."""
    xy, confidence = pose.xy.copy(), pose.confidence.copy()
    seen, times, count = pose.seen, pose.times, 0
    for j in np.flatnonzero(~seen.all(0)):
        k = np.flatnonzero(seen[:, j])
        if len(k) < 2:
            continue
        inside = np.flatnonzero(~seen[:, j] & (np.arange(len(times)) > k[0]) & (np.arange(len(times)) < k[-1]))
        nxt = np.searchsorted(k, inside)
        span = times[k[nxt]] - times[k[nxt - 1]]
        fill = inside[span <= GAP_LIMIT_S + 1e-9]
        for i in range(2):
            xy[fill, j, i] = np.interp(times[fill], times[k], pose.xy[k, j, i])
        confidence[fill, j] = 0.25 * np.interp(times[fill], times[k], confidence[k, j])
        count += len(fill)
    return pose.replaced(xy=xy, confidence=confidence), count
