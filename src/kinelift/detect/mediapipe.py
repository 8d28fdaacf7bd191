"""MediaPipe Pose, the default detector: its heavy network comes with kinelift, 33 points with heels and toes.

Tracks several people at once, from frame to frame, without MediaPipe's own smoothing, because the whole-clip solve
smooths without lag. A frame in which somebody is lost is searched again at once. A user's `.task` file runs through
MediaPipe's tasks API, for which the library must be installed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kinelift.detect.base import Candidate, sha256
from kinelift.detect.blazepose import PoseNetworks, Region, Sighting, weights
from kinelift.detect.mediapipe_task import TaskModel
from kinelift.detect.quiet import quiet_stderr
from kinelift.errors import InputError, MissingExtraError
from kinelift.records import Frame
from kinelift.skeleton import MEDIAPIPE33

INSTALL = "pip install --no-deps mediapipe==0.10.21 && pip install 'kinelift[mediapipe-needs]'"
# Confidence of a point outside the picture falls by e over this share of the picture's long side.
OUTSIDE_FALLOFF = 0.05
MIN_SIDE_PX = 32
SEARCH_EVERY = 5  # frames between searches for people who are not tracked yet
SEARCH_SQUARES_EVERY = 30  # frames between searches for those whom the whole picture shows too small
SAME_PERSON = 0.15  # mean distance of landmarks, in the person's region's sides, below which two are one
SAME_BOX = 0.55  # overlap of boxes above which two are one
_AS_IS, _MIRRORED = list(range(len(MEDIAPIPE33))), list(MEDIAPIPE33.mirror)


class MediaPipeDetector:
    """MediaPipe Pose.

    Args:
        model: None for the heavy network that comes with kinelift; another of MediaPipe's landmark networks as an
            ONNX file that `scripts/convert_blazepose.py` made; or a `.task` file, for MediaPipe's own library.
        persons: How many people are tracked at once; each costs its share of time.
        min_confidence: Probability of a person below which detection and tracking count as failed.
    """

    name = "mediapipe"
    skeleton = MEDIAPIPE33

    def __init__(self, model: str | Path | None = None, persons: int = 3, min_confidence: float = 0.5) -> None:
        if persons < 1 or not 0 < min_confidence < 1:
            raise InputError("mediapipe: expected persons of at least 1 and min_confidence between 0 and 1")
        self._model = weights("heavy") if model is None else Path(model)
        self._persons = persons
        self._min_confidence = min_confidence
        if not self._model.is_file():
            raise InputError(f"{self._model}: no such file (expected a MediaPipe .task model or its landmarks' .onnx)")
        self._mediapipe = None if self._model.suffix == ".onnx" else _import_mediapipe()
        self._networks = (
            PoseNetworks(self._model, min_confidence, min_confidence) if self._model.suffix == ".onnx" else None
        )

    def detect(self, frames: Iterable[Frame]) -> Iterator[list[Candidate]]:
        """Persons per frame; see `Detector.detect`."""
        return self._task(frames) if self._networks is None else self._own(self._networks, frames)

    def provenance(self) -> dict[str, Any]:
        """Name and hash of the weights."""
        about = {"detector": self.name, "weights": self._model.name, "weights_sha256": sha256(self._model)}
        return about if self._mediapipe is None else about | {"mediapipe": self._mediapipe.__version__}

    def _own(self, networks: PoseNetworks, frames: Iterable[Frame]) -> Iterator[list[Candidate]]:
        regions: list[Region] = []
        for i, frame in enumerate(frames):
            image = np.ascontiguousarray(frame.image)
            if min(image.shape[:2]) < MIN_SIDE_PX:
                yield []
                continue
            seen = _tracked(networks, image, regions)
            is_turn = i % SEARCH_EVERY == 0
            if is_turn or not seen or len(seen) < len(regions):
                self._admit(networks, image, networks.find(image), seen)
            if is_turn and (not seen or i % SEARCH_SQUARES_EVERY == 0):
                self._search_squares(networks, image, seen)
            regions = [s.next_region for s in seen]
            yield [_candidate(s.xy, s.visibility, s.world, image) for s in seen]

    def _search_squares(self, networks: PoseNetworks, image: np.ndarray, seen: list[Sighting]) -> None:
        """Where the whole picture, scaled to the finder's 224 pixels, is too coarse to see somebody."""
        for left, top, side in _squares(image.shape[1], image.shape[0], small=not seen):
            square = np.ascontiguousarray(image[top : top + side, left : left + side])
            self._admit(networks, image, networks.find(square, left, top), seen)

    def _admit(self, networks: PoseNetworks, image: np.ndarray, regions: list[Region], seen: list[Sighting]) -> None:
        """Add to `seen` the people of the finder's regions who are not in it yet."""
        for region in regions:
            if len(seen) >= self._persons:
                return
            if any(region.overlaps(s.next_region) for s in seen):
                continue
            rough = networks.look(image, region)
            # The finder's region is rough: look again where the landmarks are.
            sighting = None if rough is None else networks.look(image, rough.next_region)
            if sighting is not None and not _known(sighting, seen):
                seen.append(sighting)

    def _task(self, frames: Iterable[Frame]) -> Iterator[list[Candidate]]:
        with TaskModel(self._model, self._persons, self._min_confidence) as model:
            for frame in frames:
                image = np.ascontiguousarray(frame.image)
                yield [_candidate(*person, image) for person in model.persons(image)]


def _candidate(corner_xy: np.ndarray, visibility: np.ndarray, world: np.ndarray | None, image: np.ndarray) -> Candidate:
    """One person's landmarks (33, 2), in pixels from the picture's corner, where a pixel's centre is half a step in."""
    height, width = image.shape[:2]
    xy = corner_xy - 0.5
    outside = np.linalg.norm(xy - np.clip(xy, 0, (width - 1, height - 1)), axis=1)
    confidence = np.clip(visibility, 0, 1) * np.exp(-outside / (OUTSIDE_FALLOFF * max(width, height)))
    return Candidate(xy, confidence, world)


def _tracked(networks: PoseNetworks, image: np.ndarray, regions: list[Region]) -> list[Sighting]:
    """Who is still where the last frame said; of two that became one, the older."""
    seen: list[Sighting] = []
    for region in regions:
        sighting = networks.look(image, region)
        if sighting is not None and not _known(sighting, seen):
            seen.append(sighting)
    return seen


def _known(new: Sighting, seen: list[Sighting]) -> bool:
    """Whether a sighting is somebody already seen in this frame, perhaps with left and right swapped."""
    points = new.xy
    for other in seen:
        theirs = other.xy
        near = SAME_PERSON * max(new.next_region.side, other.next_region.side)
        apart = min(np.linalg.norm(points - theirs[m], axis=1).mean() for m in (_AS_IS, _MIRRORED))
        if apart < near or _overlap(points, theirs) > SAME_BOX:
            return True
    return False


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of the boxes of two sets of points (N, 2)."""
    low, high = np.maximum(a.min(0), b.min(0)), np.minimum(a.max(0), b.max(0))
    common = float(np.prod(np.clip(high - low, 0, None)))
    return common / max(float(np.prod(np.ptp(a, 0)) + np.prod(np.ptp(b, 0))) - common, 1e-9)


def _squares(width: int, height: int, small: bool = True) -> list[tuple[int, int, int]]:
    """(left, top, side) of overlapping squares that cover a picture: the finder sees a small person better."""
    tiles = []
    for side in (min(width, height), min(width, height) // 2)[: 1 + small]:
        if side < 2 * MIN_SIDE_PX or side == max(width, height):
            continue
        columns, rows = (int(np.ceil(1.5 * (length - side) / side)) + 1 for length in (width, height))
        for top in np.linspace(0, height - side, rows):
            tiles += [(int(left), int(top), side) for left in np.linspace(0, width - side, columns)]
    return tiles


def _import_mediapipe() -> Any:
    os.environ.setdefault("GLOG_minloglevel", "3")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with quiet_stderr():
            import mediapipe
    except ImportError as e:
        raise MissingExtraError(f"a MediaPipe .task model (module {e.name})", INSTALL) from None
    return mediapipe
