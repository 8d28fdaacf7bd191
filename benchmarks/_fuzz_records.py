"""Motions and key points that are well-formed and absurd: of no frame, years or nanoseconds, far away, tiny, huge."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np

from _fuzz_mutate import Rng, pick


def odd_times(times: np.ndarray, rng: Rng) -> np.ndarray:
    """Rising seconds at another rate, elsewhere in time, uneven, or with a gap."""
    if not len(times):
        return times
    steps = np.diff(times, prepend=times[:1] - 1 / 30)
    match int(rng.integers(5)):
        case 0:
            steps = steps * 10 ** rng.uniform(-9, 9)
        case 1:
            steps[int(rng.integers(len(steps)))] = 10 ** rng.uniform(0, 13)
        case 2:
            steps = steps * rng.lognormal(0, 2, len(steps))
        case 3:
            return times + pick(rng, (1e9, -1e9, 1e5, -3.0))
    return np.cumsum(np.maximum(steps, 1e-9))


def cut(n: int, rng: Rng) -> slice:
    return slice(0, int(pick(rng, (0, 1, 2, 3, n))))


def motion_values(source: Path, out: Path, rng: Rng) -> str:
    """A `motion.npz` whose take is consistent and odd."""
    from kinelift.errors import InputError
    from kinelift.export import npz

    take = npz.load_motion(source)
    done = sorted({str(pick(rng, MOTION_KINDS)) for _ in range(int(rng.integers(1, 3)))})
    for kind in done:
        with contextlib.suppress(InputError):  # a record that cannot be so
            take = odd_take(take, kind, rng)
    npz.write(take, 0, out, None)
    return f"odd {', '.join(done)}"


MOTION_KINDS = ("times", "frames", "root", "offsets", "contacts", "sigma", "size", "lens", "camera", "points")


def odd_take(take: Any, kind: str, rng: Rng) -> Any:
    """The take with one thing about it odd. Raises `RecordError` where the records do not allow it."""
    motion, camera, poses = take.motions[0], take.camera, list(take.poses_2d)
    large = float(10 ** rng.uniform(-6, 6))
    if kind == "times":
        motion = motion.replaced(times=odd_times(motion.times, rng))
    elif kind == "frames":
        s = cut(len(motion.times), rng)
        fields = ("rotations", "root", "contacts", "observed", "sigma_m", "times")
        motion = motion.replaced(**{f: getattr(motion, f)[s] for f in fields})
        poses = [p.sliced(s) for p in poses]
    elif kind == "root":
        motion = motion.replaced(root=motion.root * large + pick(rng, (0.0, 1e6, -1e6)))
    elif kind == "offsets":
        motion = motion.replaced(offsets=motion.offsets * pick(rng, (0.0, large, -1.0)))
    elif kind == "contacts":
        motion = motion.replaced(contacts=np.full_like(motion.contacts, pick(rng, (0.0, 1.0, 0.5))))
    elif kind == "sigma":
        motion = motion.replaced(sigma_m=motion.sigma_m * pick(rng, (0.0, large)))
    elif kind == "size":
        size = tuple(int(v) for v in 10 ** rng.uniform(0, 9, 2))
        camera, poses = camera.replaced(image_size=size), [p.replaced(image_size=size) for p in poses]
    elif kind == "lens":
        K = np.array(camera.K)
        K[..., 0, 0] *= large
        camera = camera.replaced(K=K)
    elif kind == "camera":
        camera = camera.replaced(t_cam_world=camera.t_cam_world * pick(rng, (0.0, large, -large)))
    else:
        poses = [odd_points(p, rng) for p in poses]
    poses = [p.replaced(times=motion.times) for p in poses]
    return take.replaced(motions=(motion,), camera=camera, poses_2d=tuple(poses))


def odd_points(pose: Any, rng: Rng) -> Any:
    """Key points unseen, on one place, far outside, or in noise."""
    xy, sure = np.array(pose.xy), np.array(pose.confidence)
    match int(rng.integers(5)):
        case 0:
            hidden = rng.random(sure.shape) < rng.random()
            xy[hidden], sure[hidden] = np.nan, 0
        case 1:
            xy = np.where(np.isfinite(xy), float(rng.uniform(0, 2000)), xy)
        case 2:
            xy = xy * 10 ** rng.uniform(-6, 9)
        case 3:
            xy = xy + rng.normal(0, 300, xy.shape)
        case _:
            xy[:], sure[:] = np.nan, 0
    own = pose.detector_3d
    if own is not None and rng.random() < 0.5:
        own = own * pick(rng, (0.0, 1e6, np.nan, -1.0))
    return pose.replaced(xy=xy, confidence=sure, detector_3d=own)


def keypoint_values(source: Path, out: Path, rng: Rng) -> str:
    """A `keypoints.npz` that is consistent and odd."""
    from kinelift.detect import write_keypoints
    from kinelift.detect.keypoints_npz import read_keypoints_npz
    from kinelift.errors import InputError

    pose, meta = read_keypoints_npz(source)
    kind = str(pick(rng, ("times", "frames", "size", "points", "points")))
    with contextlib.suppress(InputError):  # a record that cannot be so
        if kind == "times":
            pose = pose.replaced(times=odd_times(pose.times, rng))
        elif kind == "frames":
            pose = pose.sliced(cut(len(pose.times), rng))
        elif kind == "size":
            pose = pose.replaced(image_size=tuple(int(v) for v in 10 ** rng.uniform(0, 9, 2)))
        else:
            pose = odd_points(pose, rng)
    write_keypoints(out, pose, meta)
    return f"odd {kind}"
