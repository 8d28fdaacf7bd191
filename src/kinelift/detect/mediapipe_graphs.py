"""The two halves of the MediaPipe wheel's pose model, called separately.

The wheel's own `solutions.pose` ties its person finder to its landmark network and sees one person, whom it may swap
for another. Called apart, the finder lists everybody and the landmark network looks where we say, so that several
people are tracked at once, each by the region that the last frame's landmarks give. The networks, the region
formula (alignment points, square, 1.25 of the size) and the thresholds are MediaPipe's.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

_FINDER = """
input_stream: "image"
output_stream: "detections"
node {
  calculator: "PoseDetectionCpu"
  input_stream: "IMAGE:image"
  output_stream: "DETECTIONS:detections"
}
"""
_LANDMARKS = """
input_stream: "image"
input_stream: "roi"
input_side_packet: "model_complexity"
output_stream: "landmarks"
output_stream: "auxiliary"
output_stream: "world"
node {
  calculator: "PoseLandmarkByRoiCpu"
  input_side_packet: "MODEL_COMPLEXITY:model_complexity"
  input_stream: "IMAGE:image"
  input_stream: "ROI:roi"
  output_stream: "LANDMARKS:landmarks"
  output_stream: "AUXILIARY_LANDMARKS:auxiliary"
  output_stream: "WORLD_LANDMARKS:world"
}
"""
_REGION_SCALE = 1.25


@dataclass(frozen=True)
class Region:
    """A square around a person, turned with the body: centre and side in pixels from the picture's corner, radians."""

    x: float
    y: float
    side: float
    angle: float

    @classmethod
    def from_points(cls, hips: np.ndarray, reach: np.ndarray) -> Region:
        """From MediaPipe's two alignment points (2,): the middle of the hips, and one a body's radius above it."""
        dx, dy = (float(v) for v in reach - hips)
        side = 2 * float(np.hypot(dx, dy)) * _REGION_SCALE
        return cls(float(hips[0]), float(hips[1]), side, float(np.pi / 2 - np.arctan2(-dy, dx)))

    def overlaps(self, other: Region) -> bool:
        """Whether both are centred on about the same place."""
        return float(np.hypot(self.x - other.x, self.y - other.y)) < 0.15 * max(self.side, other.side)


@dataclass(frozen=True, eq=False)
class Sighting:
    """The landmark network's answer: MediaPipe's landmark lists, and where to look in the next frame."""

    landmarks: Any
    world: Any
    next_region: Region


class PoseGraphs:
    """The finder and the landmark network; a context manager.

    Args:
        min_found: Score below which the finder's persons are dropped.
        min_present: Probability of a person in the region below which there is no answer.
    """

    def __init__(self, min_found: float, min_present: float) -> None:
        with quiet_stderr(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from google.protobuf import text_format
            from mediapipe.framework import calculator_pb2
            from mediapipe.framework.formats import rect_pb2
            from mediapipe.python.solution_base import SolutionBase

            def graph(text: str, **options: Any) -> Any:
                config = text_format.Parse(text, calculator_pb2.CalculatorGraphConfig())
                return SolutionBase(graph_config=config, **options)

            self._rect = rect_pb2.NormalizedRect
            score = "posedetectioncpu__TensorsToDetectionsCalculator.min_score_thresh"
            present = "poselandmarkbyroicpu__tensorstoposelandmarksandsegmentation__ThresholdingCalculator.threshold"
            self._finder = graph(_FINDER, outputs=["detections"], calculator_params={score: min_found})
            self._network = graph(
                _LANDMARKS,
                side_inputs={"model_complexity": 1},
                outputs=["landmarks", "auxiliary", "world"],
                calculator_params={present: min_present},
            )
            blank = np.zeros((64, 64, 3), np.uint8)  # the first run logs
            self.find(blank)
            self.look(blank, Region(32, 32, 64, 0))

    def __enter__(self) -> PoseGraphs:
        return self

    def __exit__(self, *exc: object) -> None:
        with quiet_stderr():
            self._finder.close()
            self._network.close()

    def find(self, image: np.ndarray, left: int = 0, top: int = 0) -> list[Region]:
        """Regions of the persons in an RGB picture, the surest first, shifted by (left, top)."""
        height, width = image.shape[:2]
        result = self._finder.process({"image": image})
        regions = []
        for detection in sorted(result.detections or [], key=lambda d: -d.score[0]):
            points = [(p.x * width + left, p.y * height + top) for p in detection.location_data.relative_keypoints]
            regions.append(Region.from_points(*np.array(points[:2])))
        return regions

    def look(self, image: np.ndarray, region: Region) -> Sighting | None:
        """Landmarks of the person in a region; None if there is nobody."""
        height, width = image.shape[:2]
        roi = self._rect(
            x_center=region.x / width,
            y_center=region.y / height,
            width=region.side / width,
            height=region.side / height,
            rotation=region.angle,
        )
        result = self._network.process({"image": image, "roi": roi})
        if result.landmarks is None or result.auxiliary is None:
            return None
        points = np.array([(p.x * width, p.y * height) for p in result.auxiliary.landmark[:2]])
        world = None if result.world is None else result.world.landmark
        return Sighting(result.landmarks.landmark, world, Region.from_points(*points))


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Send the process's stderr to nowhere: MediaPipe's C++ logs start before any setting can reach them."""
    try:
        sys.stderr.flush()
        saved = os.dup(2)
    except (OSError, ValueError, AttributeError):
        yield
        return
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 2)
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)
        os.close(sink)
