"""RTMPose from ONNX files of the user's: the best key points on a CPU for those who have the files.

The pose network is top-down with a SimCC head (Jiang et al. 2023, arXiv 2303.07399): a crop in, for each key point a
distribution over columns (`simcc_x`) and one over rows (`simcc_y`) out. Crop, padding and normalisation are
MMPose's. The optional person detector is an RTMDet or YOLOX export whose outputs are `dets` (1, N, 5) and `labels`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kinelift.detect.base import Candidate, sha256
from kinelift.errors import InputError, UnknownNameError
from kinelift.records import Frame
from kinelift.safe.onnx import open_network
from kinelift.skeleton import COCO17, HALPE26, Skeleton

LAYOUTS: dict[str, Skeleton] = {s.name: s for s in (COCO17, HALPE26)}
PADDING = 1.25  # of a person's box, as in RTMPose's training
_WIDEST = 4096
DEFAULT_INPUT = (192, 256)  # (width, height) where the file leaves it open
MEAN_RGB = np.array([123.675, 116.28, 103.53], np.float32)
STD_RGB = np.array([58.395, 57.12, 57.375], np.float32)
LOST = 0.3  # mean confidence below which a person tracked by the last box counts as lost
PERSON_NETWORKS = ("rtmdet", "yolox")


class RTMPoseDetector:
    """RTMPose, with or without a person detector.

    Without one, the whole picture is looked at first, then the region of the last frame's key points: one person,
    who should be alone in the picture or fill it.

    Args:
        model: The pose network, ONNX.
        person_model: The person detector, ONNX, or None.
        layout: "coco17" or "halpe26"; None: by the network's number of key points, 17 or 26.
        person_network: "rtmdet" or "yolox", which scale colours differently; None: yolox where the file's name says
            so, else rtmdet.
        min_person: Score below which a found person is dropped.
        persons: How many people are looked at in one frame.
        threads: Of ONNX Runtime; 0: its own choice.
    """

    name = "rtmpose"

    def __init__(
        self,
        model: str | Path,
        person_model: str | Path | None = None,
        layout: str | None = None,
        person_network: str | None = None,
        min_person: float = 0.4,
        persons: int = 6,
        threads: int = 0,
    ) -> None:
        if layout is not None and layout not in LAYOUTS:
            raise UnknownNameError("RTMPose layout", layout, LAYOUTS)
        self._pose = _PoseNetwork(Path(model), threads)
        self.skeleton = _skeleton(self._pose, layout)
        self._finder = None
        if person_model is not None:
            self._finder = _PersonNetwork(Path(person_model), person_network, min_person, threads)
        self._persons = persons

    def detect(self, frames: Iterable[Frame]) -> Iterator[list[Candidate]]:
        """Persons per frame; see `Detector.detect`."""
        last: np.ndarray | None = None
        for frame in frames:
            if self._finder is not None:
                boxes = self._finder.boxes(frame.image)[: self._persons]
                yield [self._pose.person(frame.image, box) for box in boxes]
                continue
            candidate, last = self._single(frame.image, last)
            yield [] if candidate is None else [candidate]

    def _single(self, image: np.ndarray, last: np.ndarray | None) -> tuple[Candidate | None, np.ndarray | None]:
        """The one person, near the last box or in the whole picture, and their box."""
        for start in (last, _whole(image)):
            if start is None:
                continue
            candidate = self._pose.person(image, start)
            if last is None:  # found in the whole picture: look again from near
                near = _box_of(candidate, image)
                candidate = candidate if near is None else self._pose.person(image, near)
            box = _box_of(candidate, image)
            if box is not None:
                return candidate, box
            last = None
        return None, None

    def provenance(self) -> dict[str, Any]:
        """ONNX Runtime's version and the files' hashes."""
        import onnxruntime

        facts = {
            "detector": self.name,
            "onnxruntime": onnxruntime.__version__,
            "layout": self.skeleton.name,
            "weights": self._pose.path.name,
            "weights_sha256": sha256(self._pose.path),
        }
        if self._finder is not None:
            facts |= {"person_weights": self._finder.path.name, "person_weights_sha256": sha256(self._finder.path)}
        return facts


class _PoseNetwork:
    """A SimCC network on ONNX Runtime."""

    def __init__(self, path: Path, threads: int) -> None:
        self.path = path
        self._session = _session(path, threads)
        self._input, (width, height) = _image_input(path, self._session, DEFAULT_INPUT)
        self._size = (width, height)
        x, _ = self._run(np.zeros((height, width, 3), np.uint8))
        self.points = x.shape[0]

    def _run(self, crop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(J, bins) of x and of y for an RGB crop of the input's size."""
        blob = ((crop.astype(np.float32) - MEAN_RGB) / STD_RGB).transpose(2, 0, 1)[None]
        outputs = _infer(self.path, self._session, {self._input: np.ascontiguousarray(blob)})
        x, y = (outputs.get(name) for name in ("simcc_x", "simcc_y"))
        if x is None or y is None or x.ndim != 3 or y.ndim != 3 or x.shape[:2] != y.shape[:2] or x.shape[0] != 1:
            got = ", ".join(f"{n} {v.shape}" for n, v in outputs.items())
            raise InputError(
                f"{self.path}: is no RTMPose network (expected outputs simcc_x, simcc_y (1, J, bins); got {got})"
            )
        return x[0], y[0]

    def person(self, image: np.ndarray, box: np.ndarray) -> Candidate:
        """Key points of the person in a box (x0, y0, x1, y1) of an RGB picture."""
        import cv2

        width, height = self._size
        centre = (box[:2] + box[2:]) / 2
        side = np.maximum(box[2:] - box[:2], 1.0) * PADDING
        scale = float(max(side[0] / width, side[1] / height))  # picture pixels in one of the crop's
        corner = centre - scale * np.array(self._size) / 2
        to_picture = np.array([[scale, 0, corner[0]], [0, scale, corner[1]]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        x, y = self._run(cv2.warpAffine(image, to_picture, self._size, flags=flags))
        at = np.stack([_peak(x) * width / x.shape[1], _peak(y) * height / y.shape[1]], -1)
        confidence = np.clip(np.minimum(x.max(1), y.max(1)).astype(float), 0, 1)
        xy = np.where(confidence[:, None] > 0, at * scale + corner, np.nan)
        return Candidate(xy, confidence)


class _PersonNetwork:
    """A person detector on ONNX Runtime: the picture scaled into the input's top left corner, padded grey."""

    def __init__(self, path: Path, network: str | None, min_score: float, threads: int) -> None:
        if network is None:
            network = "yolox" if "yolox" in path.name.lower() else "rtmdet"
        if network not in PERSON_NETWORKS:
            raise UnknownNameError("person network", network, PERSON_NETWORKS)
        self.path = path
        self._session = _session(path, threads)
        self._input, self._size = _image_input(path, self._session, (640, 640))
        self._normalised = network == "rtmdet"
        self._min_score = min_score
        self.boxes(np.zeros((64, 64, 3), np.uint8))

    def boxes(self, image: np.ndarray) -> np.ndarray:
        """(N, 4) boxes x0, y0, x1, y1 of persons in an RGB picture, the surest first."""
        import cv2

        width, height = self._size
        ratio = min(width / image.shape[1], height / image.shape[0])
        small = cv2.resize(image, (max(1, int(image.shape[1] * ratio)), max(1, int(image.shape[0] * ratio))))
        canvas = np.full((height, width, 3), 114, np.float32)
        canvas[: small.shape[0], : small.shape[1]] = small
        if self._normalised:
            canvas = (canvas - MEAN_RGB) / STD_RGB
        blob = np.ascontiguousarray(canvas[..., ::-1].transpose(2, 0, 1)[None])  # both families were trained on BGR
        outputs = _infer(self.path, self._session, {self._input: blob})
        dets, labels = outputs.get("dets"), outputs.get("labels")
        right = dets is not None and dets.ndim == 3 and dets.shape[0] == 1 and dets.shape[2] == 5
        if dets is None or not right or (labels is not None and labels.size != dets.shape[1]):
            got = ", ".join(f"{n} {v.shape}" for n, v in outputs.items())
            raise InputError(
                f"{self.path}: is no person detector (expected output dets (1, N, 5), labels (1, N) if any; got {got})"
            )
        keep = dets[0, :, 4] >= self._min_score
        if labels is not None:
            keep &= labels.reshape(-1) == 0
        found = dets[0][keep]
        return found[np.argsort(-found[:, 4], kind="stable"), :4].astype(float) / ratio


def _skeleton(network: _PoseNetwork, layout: str | None) -> Skeleton:
    known = ", ".join(f"{name} ({len(s)})" for name, s in LAYOUTS.items())
    matches = [s for s in LAYOUTS.values() if len(s) == network.points and layout in (None, s.name)]
    if not matches:
        asked = "" if layout is None else f", asked for as {layout}"
        raise InputError(f"{network.path}: gives {network.points} key points{asked}; known layouts: {known}")
    return matches[0]


def _peak(simcc: np.ndarray) -> np.ndarray:
    """(J,) place of each row's maximum in bins, refined by the parabola through it and its neighbours."""
    bins = simcc.shape[1]
    top = simcc.argmax(1)
    rows = np.arange(len(simcc))
    inner = np.clip(top, 1, bins - 2)
    left, middle, right = (simcc[rows, inner + d].astype(float) for d in (-1, 0, 1))
    bend = left - 2 * middle + right
    shift = np.where(bend < -1e-9, 0.5 * (left - right) / np.minimum(bend, -1e-9), 0.0)
    return top + np.where(inner == top, np.clip(shift, -0.5, 0.5), 0.0)


def _whole(image: np.ndarray) -> np.ndarray:
    """The picture's own box; the crop's padding is taken off beforehand."""
    size = np.array(image.shape[1::-1], float)
    middle = (size - 1) / 2
    return np.concatenate([middle - size / 2 / PADDING, middle + size / 2 / PADDING])


def _box_of(candidate: Candidate, image: np.ndarray) -> np.ndarray | None:
    """Box around the sure key points; None where there are too few to be a person."""
    sure = candidate.confidence >= LOST
    if candidate.confidence.mean() < LOST or sure.sum() < 3:
        return None
    points = candidate.xy[sure]
    limits = np.array(image.shape[1::-1], float) - 1
    box = np.concatenate([np.clip(points.min(0), 0, limits), np.clip(points.max(0), 0, limits)])
    return box if (box[2:] - box[:2] >= 4).all() else None


def _session(path: Path, threads: int) -> Any:
    import onnxruntime as ort

    if not path.is_file():
        raise InputError(f"{path}: no such file (expected an ONNX network)")
    wanted = [p for p in ("CUDAExecutionProvider", "CPUExecutionProvider") if p in ort.get_available_providers()]
    return open_network(path, "cannot be read as an ONNX network", threads, wanted)[0]


def _image_input(path: Path, session: Any, default: tuple[int, int]) -> tuple[str, tuple[int, int]]:
    """Name and (width, height) of the picture input."""
    inputs = session.get_inputs()
    shape = inputs[0].shape if inputs else []
    if len(inputs) != 1 or len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != 3):
        raise InputError(f"{path}: expected one input of shape (1, 3, height, width), got {[i.shape for i in inputs]}")
    height, width = (int(n) if isinstance(n, int) and n > 0 else d for n, d in zip(shape[2:], default[::-1]))
    if max(height, width) > _WIDEST:
        raise InputError(f"{path}: takes pictures of {width} x {height}, expected at most {_WIDEST} x {_WIDEST}")
    return inputs[0].name, (width, height)


def _infer(path: Path, session: Any, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    names = [o.name for o in session.get_outputs()]
    try:
        return dict(zip(names, session.run(names, feeds), strict=True))
    except Exception as e:  # ONNX Runtime's own exceptions share no base class
        raise InputError(f"{path}: the network cannot run ({str(e).splitlines()[0][:120]})") from None
