"""A user's MediaPipe pose `.task` file, run by the tasks graph.

The 0.10.21 wheel's own `PoseLandmarker` class needs protobuf 4 to hand its graph over; the graph itself does not, and
is driven here directly. The 1.x wheels, which have no `solutions`, run it through `PoseLandmarker`.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np

from kinelift.detect.quiet import quiet_stderr
from kinelift.errors import InputError

_GRAPH = """
input_stream: "IMAGE:image"
input_stream: "NORM_RECT:rect"
output_stream: "NORM_LANDMARKS:landmarks"
output_stream: "WORLD_LANDMARKS:world"
node {
  calculator: "mediapipe.tasks.vision.pose_landmarker.PoseLandmarkerGraph"
  input_stream: "IMAGE:image"
  input_stream: "NORM_RECT:rect"
  output_stream: "NORM_LANDMARKS:landmarks"
  output_stream: "WORLD_LANDMARKS:world"
}
"""
_STEP_US = 1000

# A person: landmarks (33, 2) in pixels from the picture's corner, visibility (33,), and (33, 3) metres or None.
Person = tuple[np.ndarray, np.ndarray, np.ndarray | None]


class TaskModel:
    """A `.task` file as a video tracker; a context manager.

    Args:
        path: The file.
        persons: How many people it may see.
        min_confidence: For finding, presence and tracking alike.

    Raises `InputError` if the file is no pose model.
    """

    def __init__(self, path: Path, persons: int, min_confidence: float) -> None:
        self._run: _OwnGraph | _TasksApi
        try:
            import mediapipe

            with quiet_stderr():
                kind = _OwnGraph if hasattr(mediapipe, "solutions") else _TasksApi
                self._run = kind(path, persons, min_confidence)
                self._run.persons(np.zeros((64, 64, 3), np.uint8), 0)
        except (RuntimeError, ValueError, OSError) as e:
            reason = (str(e).strip().splitlines() or [type(e).__name__])[0][:120]
            raise InputError(f"{path}: is not a MediaPipe pose .task model ({reason})") from None
        self._count = 0

    def __enter__(self) -> TaskModel:
        return self

    def __exit__(self, *exc: object) -> None:
        with quiet_stderr():
            self._run.close()

    def persons(self, image: np.ndarray) -> list[Person]:
        """People in the video's next RGB picture."""
        self._count += 1
        with quiet_stderr() if self._count == 1 else contextlib.nullcontext():
            people = self._run.persons(image, self._count)
        return [_person(points, world, image) for points, world in people]


def _person(points: Any, world: Any, image: np.ndarray) -> Person:
    """Out of MediaPipe's lists of objects with x, y, z and visibility; in the picture, shares of its size."""
    height, width = image.shape[:2]
    xy = np.array([(p.x * width, p.y * height) for p in points], float)
    visibility = np.array([1.0 if p.visibility is None else p.visibility for p in points], float)
    return xy, visibility, np.array([(p.x, p.y, p.z) for p in world], float) if world else None


class _OwnGraph:
    """MediaPipe 0.10: the tasks graph, fed by hand."""

    def __init__(self, path: Path, persons: int, min_confidence: float) -> None:
        from google.protobuf import text_format
        from mediapipe.framework import calculator_pb2
        from mediapipe.framework.formats import rect_pb2
        from mediapipe.python._framework_bindings import calculator_graph
        from mediapipe.tasks.cc.vision.pose_landmarker.proto import pose_landmarker_graph_options_pb2 as schema

        options = schema.PoseLandmarkerGraphOptions()
        options.base_options.model_asset.file_name = str(path)
        options.base_options.use_stream_mode = True
        options.pose_detector_graph_options.num_poses = persons
        options.pose_detector_graph_options.min_detection_confidence = min_confidence
        options.pose_landmarks_detector_graph_options.min_detection_confidence = min_confidence
        options.min_tracking_confidence = min_confidence
        config = text_format.Parse(_GRAPH, calculator_pb2.CalculatorGraphConfig())
        config.node[0].options.Extensions[schema.PoseLandmarkerGraphOptions.ext].CopyFrom(options)
        self._whole = rect_pb2.NormalizedRect(x_center=0.5, y_center=0.5, width=1, height=1)
        self._latest: dict[str, Any] = {}
        self._graph = calculator_graph.CalculatorGraph(graph_config=config)
        for name in ("landmarks", "world"):
            self._graph.observe_output_stream(name, self._latest.__setitem__, True)
        self._graph.start_run()

    def persons(self, image: np.ndarray, count: int) -> list[tuple[Any, Any]]:
        from mediapipe.python import packet_creator, packet_getter
        from mediapipe.python._framework_bindings import image_frame

        self._latest.clear()
        picture = packet_creator.create_image(image, image_format=image_frame.ImageFormat.SRGB)
        for name, packet in (("image", picture), ("rect", packet_creator.create_proto(self._whole))):
            self._graph.add_packet_to_input_stream(name, packet.at(count * _STEP_US))
        self._graph.wait_until_idle()
        lists = []
        for name in ("landmarks", "world"):
            packet = self._latest.get(name)
            lists.append([] if packet is None or packet.is_empty() else packet_getter.get_proto_list(packet))
        return [(points.landmark, world.landmark) for points, world in zip(*lists, strict=True)]

    def close(self) -> None:
        self._graph.close_all_packet_sources()
        self._graph.wait_until_done()


class _TasksApi:
    """MediaPipe 1.x: its own class."""

    def __init__(self, path: Path, persons: int, min_confidence: float) -> None:
        from mediapipe.tasks import python as tasks
        from mediapipe.tasks.python import vision

        options = vision.PoseLandmarkerOptions(
            base_options=tasks.BaseOptions(model_asset_path=str(path)),
            running_mode=vision.RunningMode.VIDEO,
            num_poses=persons,
            min_pose_detection_confidence=min_confidence,
            min_pose_presence_confidence=min_confidence,
            min_tracking_confidence=min_confidence,
        )
        self._landmarker = vision.PoseLandmarker.create_from_options(options)

    def persons(self, image: np.ndarray, count: int) -> list[tuple[Any, Any]]:
        import mediapipe as mp

        picture = mp.Image(image_format=mp.ImageFormat.SRGB, data=image)
        result = self._landmarker.detect_for_video(picture, count)
        return list(zip(result.pose_landmarks, result.pose_world_landmarks, strict=True))

    def close(self) -> None:
        self._landmarker.close()
