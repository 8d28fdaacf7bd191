"""From what the user gave to one person's 2D key points, and the person's height."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from kinelift.camera import Camera
from kinelift.cleanup import Cleaned
from kinelift.detect import Detection, detect_video, is_keypoint_input, make_detector, read_keypoints
from kinelift.errors import InputError
from kinelift.export.npz import load_motion
from kinelift.kinematics import STATURE_PRIOR_M, STATURE_PRIOR_SIGMA
from kinelift.pipeline.options import SAMPLE_HEIGHT_M, Options, is_sample
from kinelift.records import Frame, Lifted, Pose2D, Take
from kinelift.repair.edits import Edits, parsed_edits
from kinelift.skeleton import BODY26
from kinelift.trajectory.depth import PersonDepth
from kinelift.trajectory.root import first_root
from kinelift.trajectory.scale import Scale, combined, given, of_network, people
from kinelift.video import open_frames

Progress = Callable[[str, int, int | None], None]
STATED = "stated"


def stature(path: str | Path, options: Options, stored: Take | None, edits: Edits) -> tuple[float, str]:
    """The stature in metres, and where it comes from."""
    if edits.height_m is not None:
        return edits.height_m, "height edited"
    if options.height_m is not None:
        return options.height_m, "height given"
    if is_sample(path):
        return SAMPLE_HEIGHT_M, "known height of the sample"
    if stored is not None and isinstance(stored.meta.get("height_m"), int | float):
        return float(stored.meta["height_m"]), str(stored.meta.get("scale_source", "motion.npz"))
    return STATURE_PRIOR_M, f"prior height {STATURE_PRIOR_M} m +- {STATURE_PRIOR_SIGMA:.0%}"


def person_scale(
    stated: tuple[float, str],
    depth: PersonDepth | None,
    lifted: Lifted,
    body: Pose2D,
    camera: Camera,
    focal_sigma: float,
    sigma_m: float | None = None,
) -> Scale:
    """The stature with its uncertainty; a metric depth network has a word where only the prior stated it.

    `sigma_m` is an earlier solve's, where that is solved again.
    """
    height, source = stated
    if not source.startswith("prior"):
        return replace(combined([given(height)]), source=source)
    if height != STATURE_PRIOR_M:  # an earlier solve's, which knew more than the prior
        return Scale(height, sigma_m or height * STATURE_PRIOR_SIGMA, source)
    if depth is None or lifted.skeleton.joints != BODY26.joints:
        return combined([people()])
    reference = first_root(lifted, body, camera)[:, 2]
    return combined([people(), of_network(depth, reference, focal_sigma)])


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


def has_pictures(path: str | Path) -> bool:
    """Whether the input is a video or pictures that can be read a second time."""
    webcam = re.fullmatch(r"(?:webcam:)?\d+", str(path)) and not Path(str(path)).exists()
    return not (webcam or is_keypoint_input(path) or Path(path).suffix.lower() == ".npz")


@contextmanager
def frames_again(path: str | Path, pose: Pose2D) -> Iterator[Iterator[Frame]]:
    """The pictures in which `pose` was seen, read once more."""
    times = pose.times
    step = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    with open_frames(path, max(float(times[0]) - step, 0.0) or None, float(times[-1]) + step / 2) as frames:
        wanted = set(times.tolist())
        yield (f for f in frames if f.time in wanted)


def read_given_edits(options: Options, stored: Take | None) -> Edits:
    """Edits of the option; else those of the take that is solved again; else none."""
    if isinstance(options.edits, Edits):
        return options.edits
    if stored is not None and "edits" in stored.meta:
        return parsed_edits(stored.meta["edits"], "edits in motion.npz")
    return Edits()


def recut(detection: Detection, edits: Edits) -> Detection:
    """The detection with the edits' cuts instead of its own, where they name any."""
    if edits.cuts is None:
        return detection
    found = np.searchsorted(detection.pose.times, edits.cuts)
    cuts = sorted({int(k) for k in found if 0 < k < len(detection.pose.times)})
    return replace(detection, cuts=tuple(cuts))


def stored_number(stored: Take | None, key: str) -> float | None:
    """A number in `meta` of the take that is solved again; None without."""
    value = None if stored is None else stored.meta.get(key)
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else None


def grounded(result: Cleaned, edits: Edits, calibrated: bool, observed: np.ndarray) -> Cleaned:
    """The result on the floor that the edits name: it becomes y = 0, but a calibration's world stays as it is."""
    motion, camera, ground = result.motion.replaced(observed=observed), result.camera, result.ground
    if edits.floor_y is not None and calibrated:
        ground = replace(ground, floor_y=edits.floor_y)
    else:
        motion, camera = edits.grounded(motion, camera)
    return replace(result, motion=motion, camera=camera, ground=ground)


def size_stated(path: str | Path, options: Options, stored: Take | None) -> bool:
    """Whether the picture's size is known: foreign key point files state none, and their points' extent is no edge."""
    if stored is not None:
        return stored.meta.get("image_size_source", STATED) == STATED
    return options.image_size is not None or not is_keypoint_input(path) or Path(path).suffix.lower() == ".npz"


def _between(detection: Detection, options: Options) -> Detection:
    """Only the frames from `start` up to `end` seconds."""
    pose = detection.pose
    if not len(pose.times):
        raise InputError(f"{detection.source.get('name', 'the input')}: holds no frames")
    start, end = (-np.inf if options.start is None else options.start), (np.inf if options.end is None else options.end)
    keep = np.flatnonzero((pose.times >= start) & (pose.times < end))
    if not len(keep):
        held = f"{pose.times[0]:.2f} to {pose.times[-1]:.2f} s"
        raise InputError(f"--start {options.start} --end {options.end}: no frame lies between (there is {held})")
    return replace(detection, pose=pose.sliced(slice(keep[0], keep[-1] + 1)))


def one_shot(detection: Detection) -> tuple[Pose2D, list[str]]:
    """The shot in which the person is seen longest: a solve cannot cross a cut."""
    if not detection.cuts:
        return detection.pose, []
    shots = detection.shots()
    shot = max(shots, key=lambda s: int(detection.pose.detected[s].sum()))
    pose = detection.pose.sliced(shot)
    line = f"of {len(shots)} shots the one from {pose.times[0]:.2f} to {pose.times[-1]:.2f} s is animated"
    return pose, [line]
