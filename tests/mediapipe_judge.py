"""MediaPipe's own library, asked the same as `kinelift.detect.blazepose`: the judge of its answers."""

import contextlib
import warnings
from pathlib import Path

import numpy as np

from kinelift.detect.blazepose import Region
from kinelift.detect.quiet import quiet_stderr

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


def networks() -> dict[str, Path]:
    """The wheel's two networks, TensorFlow Lite: "finder" and "full"."""
    import mediapipe

    modules = Path(mediapipe.__file__).parent / "modules"
    return {
        "finder": modules / "pose_detection/pose_detection.tflite",
        "full": modules / "pose_landmark/pose_landmark_full.tflite",
    }


@contextlib.contextmanager
def judge():
    """Yields two functions: (image) -> regions, and (image, region) -> landmarks, visibility, world, next region."""
    with quiet_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from google.protobuf import text_format
        from mediapipe.framework import calculator_pb2
        from mediapipe.framework.formats import rect_pb2
        from mediapipe.python.solution_base import SolutionBase

        def graph(text, **options):
            return SolutionBase(graph_config=text_format.Parse(text, calculator_pb2.CalculatorGraphConfig()), **options)

        finder = graph(_FINDER, outputs=["detections"])
        outputs = ["landmarks", "auxiliary", "world"]
        landmarks = graph(_LANDMARKS, side_inputs={"model_complexity": 1}, outputs=outputs)

        def find(image):
            found = sorted(finder.process({"image": image}).detections or [], key=lambda d: -d.score[0])
            return [Region.from_points(*_pixels(d.location_data.relative_keypoints, image)[:2]) for d in found]

        def look(image, region):
            height, width = image.shape[:2]
            roi = rect_pb2.NormalizedRect(
                x_center=region.x / width,
                y_center=region.y / height,
                width=region.side / width,
                height=region.side / height,
                rotation=region.angle,
            )
            said = landmarks.process({"image": image, "roi": roi})
            points, world = said.landmarks.landmark, said.world.landmark
            metres = np.array([(p.x, p.y, p.z) for p in world])
            around = Region.from_points(*_pixels(said.auxiliary.landmark, image)[:2])
            return _pixels(points, image), np.array([p.visibility for p in points]), metres, around

        try:
            yield find, look
        finally:
            finder.close()
            landmarks.close()


def _pixels(points, image):
    """(N, 2) pixels from the picture's corner."""
    return np.array([(p.x, p.y) for p in points]) * (image.shape[1], image.shape[0])
