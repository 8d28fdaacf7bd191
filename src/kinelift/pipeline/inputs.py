"""From what the user gave to one person's 2D key points, and the person's height."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from kinelift.detect import Detection, detect_video, is_keypoint_input, make_detector, read_keypoints
from kinelift.errors import InputError
from kinelift.export.npz import load_motion
from kinelift.kinematics import STATURE_PRIOR_M, STATURE_PRIOR_SIGMA
from kinelift.pipeline.options import SAMPLE_HEIGHT_M, Options, is_sample
from kinelift.records import Pose2D, Take

Progress = Callable[[str, int, int | None], None]
STATED = "stated"


def stature(path: str | Path, options: Options, stored: Take | None) -> tuple[float, str]:
    """The stature in metres, and where it comes from."""
    if options.height_m is not None:
        return options.height_m, "height given"
    if is_sample(path):
        return SAMPLE_HEIGHT_M, "known height of the sample"
    if stored is not None and isinstance(stored.meta.get("height_m"), int | float):
        return float(stored.meta["height_m"]), str(stored.meta.get("scale_source", "motion.npz"))
    return STATURE_PRIOR_M, f"prior height {STATURE_PRIOR_M} m +- {STATURE_PRIOR_SIGMA:.0%}"


def key_points(path: str | Path, options: Options, tell: Progress) -> tuple[Detection, Take | None]:
    """2D key points from whatever the input is, and the earlier take where it is a `motion.npz`."""
    if is_keypoint_input(path):
        found = read_keypoints(path, options.person, options.keypoints_format, options.fps, options.image_size)
        return _between(found, options), None
    if Path(path).suffix.lower() == ".npz":
        take = load_motion(path)
        if not take.poses_2d:
            raise InputError(f"{path}: holds no 2D key points to solve again from")
        meta = take.meta
        provenance = dict(meta.get("detector") or {})
        return _between(Detection(take.poses_2d[0], (), 1, (), {"name": str(path)}, provenance), options), take
    models = {"model": options.pose_model, "person_model": options.person_model, **options.detector_options}
    detector = make_detector(options.detector, **{k: v for k, v in models.items() if v is not None})
    found = detect_video(
        path, detector, options.person, options.start, options.end, lambda done, total: tell("detect", done, total)
    )
    return found, None


def size_stated(path: str | Path, options: Options, stored: Take | None) -> bool:
    """Whether the picture's size is known: foreign key point files state none, and their points' extent is no edge."""
    if stored is not None:
        return stored.meta.get("image_size_source", STATED) == STATED
    return options.image_size is not None or not is_keypoint_input(path) or Path(path).suffix.lower() == ".npz"


def _between(detection: Detection, options: Options) -> Detection:
    """Only the frames from `start` up to `end` seconds."""
    pose = detection.pose
    start, end = (-np.inf if options.start is None else options.start), (np.inf if options.end is None else options.end)
    keep = np.flatnonzero((pose.times >= start) & (pose.times < end))
    if not len(keep):
        held = f"{pose.times[0]:.2f} to {pose.times[-1]:.2f} s"
        raise InputError(f"--start {options.start} --end {options.end}: no frame lies between (there is {held})")
    return dataclasses.replace(detection, pose=pose.sliced(slice(keep[0], keep[-1] + 1)))


def one_shot(detection: Detection) -> tuple[Pose2D, list[str]]:
    """The shot in which the person is seen longest: a solve cannot cross a cut."""
    if not detection.cuts:
        return detection.pose, []
    shots = detection.shots()
    shot = max(shots, key=lambda s: int(detection.pose.detected[s].sum()))
    pose = detection.pose.sliced(shot)
    line = f"of {len(shots)} shots the one from {pose.times[0]:.2f} to {pose.times[-1]:.2f} s is animated"
    return pose, [line]
