"""MediaPipe's two pose networks, run by ONNX Runtime: one finds people, one gives a person's 33 landmarks.

The networks, the way their pictures are cut out and their answers read (anchors, weighted suppression, heat maps, the
region of the next frame) are MediaPipe's (BlazePose, Bazarevsky et al. 2020; BlazePose GHUM, Grishchenko et al. 2022;
the graphs in the 0.10.21 wheel). Called apart from each other, they follow several people, each by the region that the
last frame's landmarks give. `scripts/convert_blazepose.py` made the files.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np

from kinelift.errors import InputError
from kinelift.safe.onnx import open_network

LICENCE = "Apache-2.0 (The MediaPipe Authors)"
_REGION_SCALE = 1.25
_FINDER_PX, _LOOK_PX = 224, 256
# The finder's grids of anchors: cells a side, anchors a cell.
_GRIDS = ((28, 2), (14, 2), (7, 6))
_SAME_PERSON_IOU = 0.3
# Half the side of the square of a heat map around a landmark, and the least peak, that refine it.
_HEAT_REACH, _HEAT_SURE = 4, 0.5
_LANDMARKS = 33
# What the networks answer: boxes and their scores; landmarks in the square, presence, heat maps, landmarks in metres.
_FOUND = {"12": (1, 2254, 12), "1": (1, 2254, 1)}
_LOOKED = {"195": (1, 195), "1": (1, 1), "heat": (1, 64, 64, 39), "117": (1, 117)}


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

    @property
    def axes(self) -> np.ndarray:
        """(2, 2) rotation from the square's own axes to the picture's."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        return np.array([[c, -s], [s, c]])

    def overlaps(self, other: Region) -> bool:
        """Whether both are centred on about the same place."""
        return float(np.hypot(self.x - other.x, self.y - other.y)) < 0.15 * max(self.side, other.side)


@dataclass(frozen=True, eq=False)
class Sighting:
    """One person's landmarks, and where to look in the next frame.

    Attributes:
        xy: (33, 2) pixels from the picture's corner.
        visibility: (33,) in [0, 1], of the same meaning from every network.
        world: (33, 3) metres from the hips' middle, x right, y down, z away, in the camera's axes.
        next_region: Around the person.
    """

    xy: np.ndarray
    visibility: np.ndarray
    world: np.ndarray
    next_region: Region


class PoseNetworks:
    """The finder and a landmark network.

    Args:
        model: The landmark network's file.
        min_found: Score below which the finder's persons are dropped.
        min_present: Probability of a person in the region below which there is no answer.
    """

    def __init__(self, model: Path, min_found: float, min_present: float) -> None:
        self._finder = _Network(weights("finder"), _FINDER_PX, _FOUND)
        self._landmarks = _Network(model, _LOOK_PX, _LOOKED)
        self._min_found, self._min_present = min_found, min_present

    def find(self, image: np.ndarray, left: int = 0, top: int = 0) -> list[Region]:
        """Regions of the persons in an RGB picture, the surest first, shifted by (left, top)."""
        height, width = image.shape[:2]
        whole = Region(width / 2, height / 2, max(width, height), 0.0)
        boxes, scores = self._finder(_cut(image, whole, _FINDER_PX, cv2.BORDER_CONSTANT) * 2 - 1)
        scores = _sigmoid(np.clip(scores[0, :, 0], -100, 100))
        sure = scores >= self._min_found
        people = _suppressed(_decoded(boxes[0])[sure], scores[sure])
        # Out of the square around the picture, in which lengths are 1.
        points = (people[:, 4:8].reshape(-1, 2, 2) - 0.5) * whole.side + (whole.x + left, whole.y + top)
        return [Region.from_points(*p) for p in points]

    def look(self, image: np.ndarray, region: Region) -> Sighting | None:
        """Landmarks of the person in a region; None if there is nobody."""
        said, present, heat, world = self._landmarks(_cut(image, region, _LOOK_PX, cv2.BORDER_REPLICATE))
        if not present[0, 0] > self._min_present:
            return None
        said = said.reshape(-1, 5).astype(np.float64)
        inside = _refined(said[:, :2] / _LOOK_PX, heat[0])
        xy = (inside - 0.5) * region.side @ region.axes.T + np.array([region.x, region.y])
        # Beyond the landmarks come the two alignment points, then four that nobody uses.
        hips, reach = xy[_LANDMARKS : _LANDMARKS + 2]
        turned = world.reshape(-1, 3)[:_LANDMARKS].astype(np.float64)
        turned[:, :2] = turned[:, :2] @ region.axes.T
        visibility = _sigmoid(said[:_LANDMARKS, 3] + self._landmarks.modesty)
        return Sighting(xy[:_LANDMARKS], visibility, turned, Region.from_points(hips, reach))


def weights(name: str) -> Path:
    """The file of "finder" or "heavy" that comes with kinelift."""
    return Path(str(files("kinelift") / "assets" / f"blazepose_{name}.onnx"))


class _Network:
    """One of the networks: a picture (1, 3, size, size) in, finite answers of these names and shapes out.

    `modesty` is by how much the log-odds of its visibilities are too low, beside those of MediaPipe's full network.
    """

    def __init__(self, path: Path, size: int, answers: Mapping[str, tuple[int, ...]]) -> None:
        self._path, self._answers = path, answers
        self._session, _ = open_network(path, "cannot be read as a pose network", _cores())
        inputs, given = self._session.get_inputs(), {o.name for o in self._session.get_outputs()}
        if [i.shape for i in inputs] != [[1, 3, size, size]] or not set(answers) <= given:
            raise InputError(f"{path}: is not one of MediaPipe's pose networks (see scripts/convert_blazepose.py)")
        self._input = inputs[0].name
        said = self._session.get_modelmeta().custom_metadata_map.get("modesty", "0")
        try:
            self.modesty = float(said)
        except ValueError:
            self.modesty = np.inf
        if not abs(self.modesty) < 100:
            raise InputError(f"{path}: expected a number as modesty in its metadata, got {said[:40]!r}")

    def __call__(self, picture: np.ndarray) -> list[np.ndarray]:
        try:
            said = self._session.run(list(self._answers), {self._input: picture})
        except Exception as e:  # ONNX Runtime's exceptions share no base class
            raise InputError(f"{self._path}: the network cannot run ({str(e).splitlines()[0][:120]})") from None
        for x, shape in zip(said, self._answers.values(), strict=True):
            if x.shape != shape or not np.isfinite(x).all():
                raise InputError(f"{self._path}: the network answers what no pose network does")
        return list(said)


def _cores() -> int:
    """Of those that this process may use; ONNX Runtime counts the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cut(image: np.ndarray, region: Region, size: int, border: int) -> np.ndarray:
    """(1, 3, size, size) float32 in [0, 1]: the region's square of an RGB picture."""
    half = region.side / 2
    corners = np.array([(-half, half), (-half, -half), (half, -half), (half, half)]) @ region.axes.T
    source = (corners + np.array([region.x, region.y])).astype(np.float32)
    target = np.array([(0, size), (0, 0), (size, 0), (size, size)], np.float32)
    square = cv2.warpPerspective(
        image, cv2.getPerspectiveTransform(source, target), (size, size), flags=cv2.INTER_LINEAR, borderMode=border
    )
    return np.ascontiguousarray(square.transpose(2, 0, 1)[None], dtype=np.float32) / np.float32(255)


@cache
def _anchors() -> np.ndarray:
    """(2254, 2) centres of the finder's anchors in the unit square."""
    grids = []
    for cells, count in _GRIDS:
        y, x = np.mgrid[:cells, :cells]
        grids.append(np.repeat((np.stack([x, y], -1).reshape(-1, 2) + 0.5) / cells, count, axis=0))
    return np.concatenate(grids)


def _decoded(raw: np.ndarray) -> np.ndarray:
    """(N, 12): the finder's box (left, top, right, bottom) and four points, in the unit square."""
    out = raw.astype(np.float64) / _FINDER_PX
    centre, half = out[:, :2] + _anchors(), out[:, 2:4] / 2
    points = out[:, 4:].reshape(-1, 4, 2) + _anchors()[:, None]
    return np.concatenate([centre - half, centre + half, points.reshape(-1, 8)], axis=1)


def _suppressed(people: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(P, 12): of answers that overlap the surest one, the mean weighted by their scores."""
    order = np.argsort(-scores, kind="stable")
    kept = []
    while len(order):
        same = _iou(people[order[0], :4], people[order, :4]) > _SAME_PERSON_IOU
        same[0] = True
        kept.append(np.average(people[order[same]], axis=0, weights=scores[order[same]]))
        order = order[~same]
    return np.array(kept).reshape(-1, 12)


def _iou(one: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of a box (4,) with boxes (N, 4)."""
    sides = np.clip(np.minimum(one[2:], boxes[:, 2:]) - np.maximum(one[:2], boxes[:, :2]), 0, None)
    common = sides.prod(1)
    areas = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(1)
    return np.asarray(common / np.maximum(areas + float(np.prod(one[2:] - one[:2])) - common, 1e-12))


def _refined(points: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Landmarks (39, 2) in the unit square moved to the middle of their heat (H, W, 39) nearby, where that is sure."""
    height, width = heat.shape[:2]
    size = np.array([width, height])
    cell = np.trunc(points * size).astype(int)
    reach = np.arange(-_HEAT_REACH, _HEAT_REACH + 1)
    columns, rows = (cell[:, axis, None] + reach for axis in (0, 1))
    here_x, here_y = (columns >= 0) & (columns < width), (rows >= 0) & (rows < height)
    x, y = np.clip(columns, 0, width - 1), np.clip(rows, 0, height - 1)
    patch = _sigmoid(heat[y[:, :, None], x[:, None, :], np.arange(len(points))[:, None, None]])
    patch = patch * (here_y[:, :, None] & here_x[:, None, :])
    total = np.maximum(patch.sum((1, 2)), 1e-12)
    middle = np.stack([(patch.sum(1) * columns).sum(1), (patch.sum(2) * rows).sum(1)], -1) / total[:, None]
    within = ((points * size >= 0) & (cell < size)).all(1)
    sure = within & (patch.max((1, 2)) >= _HEAT_SURE)
    return np.where(sure[:, None], middle / size, points)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x.astype(np.float64))))
