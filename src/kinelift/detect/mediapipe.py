"""MediaPipe Pose: the default detector, whose weights come inside its wheel (0.10.21), 33 points with heels and toes.

Runs as a video tracker with MediaPipe's own smoothing off, because the whole-clip solve smooths without lag. A frame
in which the tracker loses the person is looked at again from scratch. A user's `.task` file runs through the current
tasks API, which can also see several people.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kinelift.detect.base import Candidate
from kinelift.errors import InputError, MissingExtraError
from kinelift.records import Frame
from kinelift.skeleton import MEDIAPIPE33

INSTALL = "pip install --no-deps mediapipe==0.10.21 && pip install 'kinelift[mediapipe-needs]'"
# Confidence of a point outside the picture falls by e over this share of the picture's long side.
OUTSIDE_FALLOFF = 0.05
MIN_SIDE_PX = 32


class MediaPipeDetector:
    """MediaPipe Pose.

    Args:
        model: A `.task` file for the tasks API; None for the wheel's own full model (one person).
        smooth: MediaPipe's own landmark filter, which lags behind motion (bundled model only).
        persons: How many people a `.task` model may see.
        min_confidence: Below this, detection and tracking of a person count as failed.
    """

    name = "mediapipe"
    skeleton = MEDIAPIPE33

    def __init__(
        self, model: str | Path | None = None, smooth: bool = False, persons: int = 1, min_confidence: float = 0.5
    ) -> None:
        self._mediapipe = _import_mediapipe()
        self._model = None if model is None else Path(model)
        self._smooth = smooth
        self._persons = persons
        self._min_confidence = min_confidence
        if self._model is None and not hasattr(self._mediapipe, "solutions"):
            raise MissingExtraError(f"MediaPipe {self._mediapipe.__version__} carries no model; the default detector", INSTALL)
        if self._model is not None and not self._model.is_file():
            raise InputError(f"{self._model}: no such file (expected a MediaPipe .task model)")

    def detect(self, frames: Iterable[Frame]) -> Iterator[list[Candidate]]:
        """Persons per frame; see `Detector.detect`."""
        return self._bundled(frames) if self._model is None else self._task(frames)

    def provenance(self) -> dict[str, Any]:
        """Library version and the weights' hash."""
        if self._model is not None:
            path = self._model
        else:
            path = Path(self._mediapipe.__file__).parent / "modules/pose_landmark/pose_landmark_full.tflite"
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        return {
            "detector": self.name,
            "mediapipe": self._mediapipe.__version__,
            "weights": path.name,
            "weights_sha256": digest,
            "smooth": self._smooth,
        }

    def _graph(self, static: bool) -> Any:
        from mediapipe.python.solutions.pose import Pose

        return Pose(
            static_image_mode=static,
            model_complexity=1,
            smooth_landmarks=self._smooth and not static,
            min_detection_confidence=self._min_confidence,
            min_tracking_confidence=self._min_confidence,
        )

    def _bundled(self, frames: Iterable[Frame]) -> Iterator[list[Candidate]]:
        with contextlib.ExitStack() as stack:
            tracker = finder = None
            for i, frame in enumerate(frames):
                image = np.ascontiguousarray(frame.image)
                if min(image.shape[:2]) < MIN_SIDE_PX:
                    yield []
                    continue
                with _quiet_stderr() if i == 0 or finder is None else contextlib.nullcontext():
                    tracker = tracker or stack.enter_context(self._graph(static=False))
                    result = tracker.process(image)
                    if result.pose_landmarks is None and i > 0:
                        finder = finder or stack.enter_context(self._graph(static=True))
                        result = finder.process(image)
                if result.pose_landmarks is None:
                    yield []
                    continue
                world = result.pose_world_landmarks
                yield [_candidate(result.pose_landmarks.landmark, world and world.landmark, image)]

    def _task(self, frames: Iterable[Frame]) -> Iterator[list[Candidate]]:
        mp = self._mediapipe
        with _quiet_stderr():
            landmarker = self._landmarker()
        with landmarker:
            last_ms = -1
            for frame in frames:
                last_ms = max(last_ms + 1, round(frame.time * 1000))
                image = mp.Image(image_format=mp.ImageFormat.SRGB, data=np.ascontiguousarray(frame.image))
                result = landmarker.detect_for_video(image, last_ms)
                worlds = list(result.pose_world_landmarks or []) or [None] * len(result.pose_landmarks)
                yield [
                    _candidate(points, world, frame.image)
                    for points, world in zip(result.pose_landmarks, worlds, strict=True)
                ]

    def _landmarker(self) -> Any:
        from mediapipe.tasks import python as tasks
        from mediapipe.tasks.python import vision

        options = vision.PoseLandmarkerOptions(
            base_options=tasks.BaseOptions(model_asset_path=str(self._model)),
            running_mode=vision.RunningMode.VIDEO,
            num_poses=self._persons,
            min_pose_detection_confidence=self._min_confidence,
            min_pose_presence_confidence=self._min_confidence,
            min_tracking_confidence=self._min_confidence,
        )
        try:
            return vision.PoseLandmarker.create_from_options(options)
        except (RuntimeError, ValueError, OSError) as e:
            reason = str(e).strip().splitlines()[0][:120] if str(e).strip() else type(e).__name__
            raise InputError(f"{self._model}: is not a MediaPipe pose .task model ({reason})") from None


def _candidate(points: Any, world: Any, image: np.ndarray) -> Candidate:
    """MediaPipe's landmarks of one person: normalised to the picture's edges, so a pixel's centre is half a step in."""
    height, width = image.shape[:2]
    normalised = np.array([(p.x, p.y) for p in points], float)
    visibility = np.array([p.visibility if p.visibility is not None else 1.0 for p in points], float)
    xy = normalised * (width, height) - 0.5
    outside = np.linalg.norm(xy - np.clip(xy, 0, (width - 1, height - 1)), axis=1)
    confidence = np.clip(visibility, 0, 1) * np.exp(-outside / (OUTSIDE_FALLOFF * max(width, height)))
    in_metres = None if not world else np.array([(p.x, p.y, p.z) for p in world], float)
    return Candidate(xy, confidence, in_metres)


def _import_mediapipe() -> Any:
    os.environ.setdefault("GLOG_minloglevel", "3")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with _quiet_stderr():
            import mediapipe
    except ImportError:
        raise MissingExtraError("the mediapipe detector", INSTALL) from None
    return mediapipe


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Send the process's stderr to nowhere: MediaPipe's C++ logs start before any setting can reach them."""
    sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:
        yield
        return
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)
        os.close(sink)
