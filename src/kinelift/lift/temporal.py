"""The shipped temporal lifter, and any ONNX file of its layout: aimed rays at 30 Hz in, body26 with sigma out."""

from __future__ import annotations

from typing import Any

import numpy as np

from kinelift.camera import Camera
from kinelift.errors import InputError
from kinelift.kinematics import rotvec_to_matrix
from kinelift.lift.rays import RATE_HZ, encode, encode_opinion, input_joints
from kinelift.records import Lifted, Pose2D
from kinelift.skeleton import BODY26

# Shorter clips are held still at both ends up to this many frames: the network has seen nothing shorter.
_MIN_FRAMES = 31
# Samples of a clip, and of one frame of it on average; beyond them a time stamp is wrong. Eight hours; ten seconds.
MAX_SAMPLES, MAX_EACH = 900_000, 300
# A joint unseen for less than this is interpolated, and told with little confidence.
BRIDGE_S, BRIDGE_TRUST = 1.5, 0.4
# A camera held more askew than this is turned upright before the network looks.
_ASKEW = np.radians(20)


def regular_times(times: np.ndarray) -> np.ndarray:
    """A 30 Hz grid that covers `times`, at least 31 samples, the clip in its middle. Raises `InputError`."""
    seconds = times[-1] - times[0]
    if seconds * RATE_HZ > min(MAX_SAMPLES, MAX_EACH * len(times) + 10_000):
        raise InputError(f"{len(times)} frames last {seconds:.3g} s: are their times right?")
    count = int(np.floor((times[-1] - times[0]) * RATE_HZ + 1e-6)) + 1
    if times[0] + (count - 1) / RATE_HZ < times[-1] - 1e-6:
        count += 1
    lead = max((_MIN_FRAMES - count + 1) // 2, 0)
    return times[0] + (np.arange(count + 2 * lead) - lead) / RATE_HZ


def _at(times: np.ndarray, known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Linear interpolation along axis 0, held at the ends."""
    k = np.clip(np.searchsorted(known, times, side="right") - 1, 0, max(len(known) - 2, 0))
    if len(known) == 1:
        return np.repeat(values, len(times), 0)
    u = np.clip((times - known[k]) / (known[k + 1] - known[k]), 0, 1).reshape(-1, *(1,) * (values.ndim - 1))
    return values[k] * (1 - u) + values[k + 1] * u


def resampled_rays(pose: Pose2D, camera: Camera, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rays (G, J, 2) and confidence (G, J) at `grid` times; a joint is seen where its neighbours in time are."""
    seen = pose.seen
    rays = camera.unproject(np.where(seen[..., None], pose.xy, 0.0))
    weight = _at(grid, pose.times, seen.astype(float))
    filled = rays.copy()
    frames = np.arange(len(pose.times))
    for j in np.flatnonzero(~seen.all(0) & seen.any(0)):
        k = np.flatnonzero(seen[:, j])
        for i in range(2):
            filled[:, j, i] = np.interp(frames, k, rays[k, j, i])
    bridged = np.where(seen, pose.confidence, _bridged(seen, pose.times))
    near = np.where(weight > 0.5, _at(grid, pose.times, pose.confidence), _at(grid, pose.times, bridged))
    return _at(grid, pose.times, filled), np.where(near > 0.01, near, 0.0)


def _bridged(seen: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(T, J) confidence of points interpolated over gaps in `seen` (T, J): 0.3, falling to 0 for a gap of a second."""
    frames = np.arange(len(times))[:, None]
    before = np.maximum.accumulate(np.where(seen, frames, -1), axis=0)
    after = np.minimum.accumulate(np.where(seen, frames, len(times))[::-1], axis=0)[::-1]
    inside = (before >= 0) & (after < len(times))
    gap = times[np.clip(after, 0, len(times) - 1)] - times[np.clip(before, 0, None)]
    return np.where(inside & ~seen, BRIDGE_TRUST * np.clip(1 - gap / BRIDGE_S, 0, 1), 0.0)


def resampled_own(pose: Pose2D, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The detector's own 3D (G, J, 3) at `grid` times, and where it is given (G, J)."""
    shape = (len(grid), len(pose.skeleton))
    if pose.detector_3d is None:
        return np.zeros((*shape, 3)), np.zeros(shape, bool)
    given = np.isfinite(pose.detector_3d).all(-1) & pose.seen
    given &= given[:, :1]
    own = _at(grid, pose.times, np.where(given[..., None], pose.detector_3d, 0.0))
    return own, _at(grid, pose.times, given.astype(float)) > 0.999


_MIRROR = np.array(BODY26.mirror)
_X = np.array([-1.0, 1.0, 1.0])


def _both_ways(x: np.ndarray) -> np.ndarray:
    """(2, T, 26, ...) of (T, 26, ...): as it is, and in a mirror; the last axis, if any, is x, y or x, y, z."""
    other = x[:, _MIRROR]
    return np.stack([x, other * _X[: x.shape[2]] if x.ndim == 3 else other])


_PARENTS = np.array(BODY26.parents)


# How much more freely a joint moves along the line of sight than across it, as variance: depth is what lifters guess.
_DEPTH_FREEDOM = 4.0


def evened(positions: np.ndarray, sight: np.ndarray) -> np.ndarray:
    """Poses (T, 26, 3) whose bones went halfway to their usual length, left as right, most of it in depth.

    A body keeps its bones. Only halfway: a lifter in doubt makes a bone short on purpose, which errs least. `sight`
    (T, 3) are unit vectors from the camera to the person. Each bone takes two steps of least squares to its length.
    """
    bones = positions[:, 1:] - positions[:, _PARENTS[1:]]
    length = np.maximum(np.linalg.norm(bones, axis=-1), 1e-6)
    usual = np.median(length, axis=0)
    wanted = length / 2 + (usual + usual[_MIRROR[1:] - 1]) / 4
    for _ in range(2):
        now = np.maximum(np.linalg.norm(bones, axis=-1, keepdims=True), 1e-6)
        along = bones / now
        freely = along + (_DEPTH_FREEDOM - 1) * (along @ sight[:, :, None]) * sight[:, None]
        bones += (wanted[..., None] - now) * freely / np.maximum((along * freely).sum(-1, keepdims=True), 1e-6)
    out = positions.copy()
    for j, parent in enumerate(BODY26.parents[1:], 1):
        out[:, j] = out[:, parent] + bones[:, j - 1]
    return out


def lift_rays(session: Any, pose: Pose2D, camera: Camera) -> Lifted:
    """Run a network of the `rays` layout over a clip of body26 key points, and its mirror image; the mean of both.

    Where the answer's gravity says that the camera was held askew, the picture is turned upright and lifted again.
    """
    lifted = _lift_turned(session, pose, camera, 0.0)
    down = np.median(lifted.gravity, 0) if lifted.gravity is not None else np.array([0, 1.0, 0])
    roll = float(np.arctan2(down[0], down[1]))
    return lifted if abs(roll) < _ASKEW else _lift_turned(session, pose, camera, roll)


def _lift_turned(session: Any, pose: Pose2D, camera: Camera, roll: float) -> Lifted:
    """The network's answer for the picture turned about its middle by `roll` radians, turned back."""
    grid = regular_times(pose.times)
    upright = rotvec_to_matrix(np.array([0, 0, roll]))
    seen, sure = resampled_rays(pose, camera, grid)
    rays, confidence = _both_ways(seen @ upright[:2, :2].T), _both_ways(sure)
    features, R = encode(input_joints(rays), input_joints(confidence[..., None])[..., 0])
    inputs = {"features": features}
    if any(i.name == "opinion" for i in session.get_inputs()):
        own, given = resampled_own(pose, grid)
        inputs["opinion"] = encode_opinion(_both_ways(own @ upright.T), _both_ways(given))
    names = [o.name for o in session.get_outputs()]
    runs = [session.run(None, {k: v[i : i + 1] for k, v in inputs.items()}) for i in range(2)]
    said = {name: np.concatenate([run[k] for run in runs]) for k, name in enumerate(names)}
    for name, values in said.items():
        if not np.isfinite(values).all():
            raise InputError(f"the lifter's output '{name}' is not finite")

    def mean(x: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
        return _at(pose.times, grid, (x.astype(float) + mirrored) / 2)

    positions = np.einsum("btij,btnj->btni", R, said["positions"])
    gravity = np.einsum("btij,btj->bti", R, said["gravity"])
    down = mean(gravity[0], gravity[1] * _X)
    sigma, contact = said["sigma"], said["contact"]
    sight = _at(pose.times, grid, R[0, :, :, 2])
    sight /= np.linalg.norm(sight, axis=-1, keepdims=True)
    depth = said["distance"] * R[..., 2, 2] if "distance" in said else None
    return Lifted(
        BODY26,
        evened(mean(positions[0], positions[1][:, _MIRROR] * _X), sight) @ upright,
        pose.times,
        "metric",
        sigma=mean(sigma[0], sigma[1][:, _MIRROR]),
        gravity=down @ upright / np.maximum(np.linalg.norm(down, axis=-1, keepdims=True), 1e-9),
        contact=np.clip(mean(contact[0], contact[1][:, [2, 3, 0, 1]]), 0, 1),
        depth_cue=None if depth is None else mean(depth[0], depth[1]),
    )
