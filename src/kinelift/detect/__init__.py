"""2D key points: detectors by name, the run over a video, and files of key points made elsewhere.

Adding a detector is one class (see `Detector`) and one line in `DETECTORS`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kinelift.detect.base import Candidate, Detection, Detector
from kinelift.detect.files import is_keypoint_input, read_keypoints, write_keypoints
from kinelift.detect.follow import Follower, check_person
from kinelift.detect.mediapipe import MediaPipeDetector
from kinelift.detect.openpose import OpenPoseDetector
from kinelift.detect.rtmpose import RTMPoseDetector
from kinelift.detect.shots import ShotDetector
from kinelift.errors import InputError, UnknownNameError
from kinelift.records import Frame, Pose2D
from kinelift.video import FrameSource, open_frames

__all__ = [
    "DETECTORS",
    "Candidate",
    "Detection",
    "Detector",
    "ShotDetector",
    "detect_video",
    "is_keypoint_input",
    "make_detector",
    "read_keypoints",
    "write_keypoints",
]

DETECTORS: dict[str, Callable[..., Detector]] = {
    "mediapipe": MediaPipeDetector,
    "openpose": OpenPoseDetector,
    "rtmpose": RTMPoseDetector,
}


def make_detector(name: str, **options: Any) -> Detector:
    """A detector by name; raises `UnknownNameError` for a name or an option that is none."""
    if name not in DETECTORS:
        raise UnknownNameError("detector", name, DETECTORS)
    known = inspect.signature(DETECTORS[name]).parameters
    for option in options:
        if option not in known:
            raise UnknownNameError(f"option of detector {name}", option, known)
    if "model" not in options and "model" in known and known["model"].default is inspect.Parameter.empty:
        raise InputError(f"detector {name} needs a model file: give --pose-model FILE")
    return DETECTORS[name](**options)


def detect_video(
    source: str | Path | FrameSource,
    detector: str | Detector = "mediapipe",
    person: str | int = "largest",
    start: float | None = None,
    end: float | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> Detection:
    """Run a detector over a video and follow one person through it.

    Args:
        source: What `open_frames` takes, or an open source (read to its end, closed here).
        detector: A name in `DETECTORS`, or a detector.
        person: "largest", "central" or a number; see `Follower.pose`.
        start: First time kept, seconds; only for a source that is not open yet.
        end: Frames from this time on are left out, seconds; likewise.
        progress: Called after each frame with the frames done and the expected number or None.

    Raises `InputError` if the source cannot be read or holds nobody.
    """
    check_person(person)
    if isinstance(detector, str):
        detector = make_detector(detector)
    with source if isinstance(source, FrameSource) else open_frames(source, start, end) as frames:
        follower = Follower(detector.skeleton, frames.image_size)
        shots = ShotDetector()
        times: list[float] = []
        for frame, candidates in _paired(detector, frames):
            new_shot = shots.add(frame.image)
            follower.add(frame.time, candidates, frame.image, new_shot)
            times.append(frame.time)
            if progress is not None:
                progress(len(times), frames.frame_count)
        try:
            pose = follower.pose(person)
        except InputError as e:
            raise InputError(f"{frames.name}: {e}") from None
        persons = len(follower.persons())
        warnings = [*frames.warnings, *_remarks(frames.name, pose, persons, [times[c] for c in shots.cuts])]
        source_facts = {**frames.metadata, "name": frames.name, "fps": frames.fps}
    return Detection(pose, tuple(shots.cuts), persons, tuple(warnings), source_facts, detector.provenance())


def _paired(detector: Detector, frames: FrameSource) -> Iterator[tuple[Frame, list[Candidate]]]:
    """Each frame with its persons; holds only the frames that the detector has read and not yet answered."""
    waiting: list[Frame] = []

    def read() -> Iterator[Frame]:
        for frame in frames:
            waiting.append(frame)
            yield frame

    for candidates in detector.detect(read()):
        yield waiting.pop(0), candidates


def _remarks(name: str, pose: Pose2D, persons: int, cut_times: list[float]) -> list[str]:
    lines = []
    if cut_times:
        at = ", ".join(f"{t:.2f}" for t in cut_times[:5]) + (", ..." if len(cut_times) > 5 else "")
        lines.append(f"{name}: the shot changes at {at} s; take one shot with --start and --end")
    missing = 1.0 - float(pose.detected.mean())
    if missing > 0:
        count = int((~pose.detected).sum())
        lines.append(f"{name}: the person is not found in {count} of {len(pose.times)} frames ({missing:.0%})")
    if persons > 1:
        lines.append(f"{name}: {persons} persons seen, person {pose.person_id} followed; choose with --person")
    return lines
