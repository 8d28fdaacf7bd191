"""2D key points made elsewhere: OpenPose folders, COCO results, AlphaPose, MMPose, and kinelift's own npz.

Each reader turns its file into frames of candidate persons; one follower then picks the person, as for a video.
Which points a file holds is decided by a stated rule (`layout`, else the count, else for 25 points the test in
`layout_of_25`), never by a silent guess.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kinelift.detect.base import Candidate, Detection
from kinelift.detect.follow import Follower, check_person
from kinelift.detect.keypoints_npz import FORMAT, read_keypoints_npz, write_keypoints
from kinelift.detect.safe_json import load_json
from kinelift.errors import InputError, UnknownNameError
from kinelift.safe.npz import read_npz
from kinelift.skeleton import BODY_25, BODY_25B, COCO17, HALPE26, OPENPOSE_COCO18, Skeleton
from kinelift.video import IMAGE_SUFFIXES, natural_key

__all__ = ["LAYOUTS", "is_keypoint_input", "layout_of_25", "read_keypoints", "write_keypoints"]

DEFAULT_FPS = 30.0
MAX_PERSONS = 50  # in one frame; the surest are kept
MAX_FRAMES = 1_000_000


@dataclass(frozen=True, eq=False)
class Layout:
    """Which of a file's points are which: `columns[j]` is the file's index of the skeleton's joint j, -1 for none."""

    skeleton: Skeleton
    count: int
    columns: tuple[int, ...]


def _whole(skeleton: Skeleton) -> Layout:
    return Layout(skeleton, len(skeleton), tuple(range(len(skeleton))))


# COCO-WholeBody: the 17, then big toe, small toe, heel of the left and of the right foot, then face and hands.
_WHOLEBODY = (*range(17), -1, -1, -1, 17, 20, 18, 21, 19, 22)

LAYOUTS: dict[str, Layout] = {
    "body_25": _whole(BODY_25),
    "body_25b": _whole(BODY_25B),
    "coco18": _whole(OPENPOSE_COCO18),
    "coco17": _whole(COCO17),
    "halpe26": _whole(HALPE26),
    "halpe136": Layout(HALPE26, 136, tuple(range(26))),
    "wholebody133": Layout(HALPE26, 133, _WHOLEBODY),
}

# A frame's raw persons: (count, 3) rows of x, y, confidence.
_Raw = tuple[float, list[np.ndarray]]


def is_keypoint_input(path: str | Path) -> bool:
    """Whether a path is 2D key points (a JSON file, a folder with more of them than pictures, our npz)."""
    path = Path(path)
    if path.is_dir():
        suffixes = [p.suffix.lower() for p in path.iterdir()]
        return suffixes.count(".json") > sum(s in IMAGE_SUFFIXES for s in suffixes)
    if path.suffix.lower() == ".npz":
        try:
            return str(read_npz(path, "no key points", ["format"], limit=10_000)["format"]) == FORMAT
        except InputError:
            return False
    return path.suffix.lower() == ".json"


def read_keypoints(
    path: str | Path,
    person: str | int = "largest",
    layout: str | None = None,
    fps: float | None = None,
    image_size: tuple[int, int] | None = None,
) -> Detection:
    """One person of a file of 2D key points.

    Args:
        path: An OpenPose folder (one JSON a frame), a JSON file (COCO results, AlphaPose, MMPose), or our npz.
        person: As in `Follower.pose`. An npz holds one person, who is taken.
        layout: A name in `LAYOUTS`; None: by the number of points.
        fps: Frames per second; None: 30, with a warning (an npz has its own times).
        image_size: (width, height) pixels; None: from the key points' extent, with a warning.

    Raises `InputError` naming the file.
    """
    path = Path(path)
    check_person(person)
    if layout is not None and layout not in LAYOUTS:
        raise UnknownNameError("key point format", layout, LAYOUTS)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if path.suffix.lower() == ".npz":
        pose, meta = read_keypoints_npz(path)
        return Detection(pose, (), 1, (), {"kind": "keypoints", **meta, "name": str(path)}, {"keypoints": FORMAT})
    if fps is not None and not (np.isfinite(fps) and fps > 0):
        raise InputError(f"fps: expected frames per second above 0, got {fps}")
    form, frames = _openpose_folder(path) if path.is_dir() else _json_file(path)
    warnings = []
    if fps is None:
        fps = DEFAULT_FPS
        warnings.append(f"{path}: states no frame rate; {fps:g} frames/s assumed, give --fps")
    chosen = _layout(path, frames, layout)
    if image_size is None:
        image_size = _extent(frames)
        size = f"{image_size[0]} x {image_size[1]}"
        warnings.append(f"{path}: states no picture size; {size} pixels assumed from the points, give --image-size")
    follower = Follower(chosen.skeleton, image_size)
    first = frames[0][0]
    for number, people in frames:
        follower.add((number - first) / fps, [_candidate(p, chosen) for p in people])
    try:
        pose = follower.pose(person)
    except InputError as e:
        raise InputError(f"{path}: {e}") from None
    persons = len(follower.persons())
    missing = int((~pose.detected).sum())
    if missing:
        warnings.append(f"{path}: the person is not seen in {missing} of {len(pose.times)} frames")
    if persons > 1:
        warnings.append(f"{path}: {persons} persons seen, person {pose.person_id} followed; choose with --person")
    source = {"kind": "keypoints", "format": form, "name": str(path), "fps": fps}
    return Detection(pose, (), persons, tuple(warnings), source, {"keypoints": form, "layout": chosen.skeleton.name})


def _candidate(points: np.ndarray, layout: Layout) -> Candidate:
    columns = np.array(layout.columns)
    rows = np.where((columns >= 0)[:, None], points[columns], 0.0)
    seen = rows[:, 2] > 0
    return Candidate(np.where(seen[:, None], rows[:, :2], np.nan), np.clip(rows[:, 2], 0, 1))


def _layout(path: Path, frames: list[_Raw], name: str | None) -> Layout:
    """The layout by name, else by the number of points, else for 25 by the test below."""
    counts = {len(p) for _, people in frames for p in people}
    if not counts:
        raise InputError(f"{path}: nobody is in it (no frame holds key points)")
    if len(counts) > 1:
        raise InputError(f"{path}: persons have different numbers of key points: {sorted(counts)}")
    count = counts.pop()
    known = ", ".join(f"{n} ({v.count})" for n, v in LAYOUTS.items())
    if name is not None:
        if LAYOUTS[name].count != count:
            asked = f"{name} has {LAYOUTS[name].count}"
            raise InputError(f"{path}: holds {count} key points a person, {asked}; known: {known}")
        return LAYOUTS[name]
    if count == 25:
        return LAYOUTS[layout_of_25(path, [p for _, people in frames for p in people])]
    matches = [v for v in LAYOUTS.values() if v.count == count]
    if not matches:
        raise InputError(f"{path}: holds {count} key points a person; known: {known}")
    return matches[0]


def layout_of_25(path: Path, people: list[np.ndarray]) -> str:
    """Tell OpenPose's two sets of 25 points apart: "body_25" or "body_25b".

    BODY_25's point 8 is the middle of its hips, points 9 and 12. In BODY_25B these are an elbow, a wrist and a hip.
    The distance of point 8 from the middle of 9 and 12, in diagonals of the person's box, median over all sightings:
    below 0.04 it is BODY_25, above 0.08 BODY_25B, between `InputError` asks for `--keypoints-format`.
    """
    off = []
    for points in people:
        seen = points[:, 2] > 0
        if seen[[8, 9, 12]].all():
            diagonal = float(np.linalg.norm(np.ptp(points[seen, :2], axis=0)))
            distance = float(np.linalg.norm(points[8, :2] - points[[9, 12], :2].mean(0)))
            off.append(distance / max(diagonal, 1e-9))
    median = float(np.median(off)) if off else 0.06
    if 0.04 <= median <= 0.08:
        raise InputError(
            f"{path}: 25 key points that may be BODY_25 or BODY_25B; say which with --keypoints-format body_25|body_25b"
        )
    return "body_25" if median < 0.04 else "body_25b"


def _extent(frames: list[_Raw]) -> tuple[int, int]:
    points = np.concatenate([p[p[:, 2] > 0, :2] for _, people in frames for p in people])
    width, height = (max(2, int(np.ceil(v)) + 1) for v in (points.max(0) if len(points) else (1, 1)))
    return width, height


def _openpose_folder(folder: Path) -> tuple[str, list[_Raw]]:
    """Frames of an OpenPose folder, numbered by the last number in each file's name where these increase."""
    paths = sorted((p for p in folder.iterdir() if p.suffix.lower() == ".json"), key=natural_key)
    if not paths:
        raise InputError(f"{folder}: the folder holds no JSON files")
    found = [re.findall(r"\d+", p.stem) for p in paths]
    numbers = [int(f[-1][:12]) if f else -1 for f in found]
    if any(b <= a for a, b in itertools.pairwise(numbers)) or min(numbers) < 0:
        numbers = list(range(len(paths)))
    frames: list[_Raw] = []
    for number, path in zip(numbers, paths, strict=True):
        data = load_json(path)
        people = data.get("people") if isinstance(data, dict) else None
        if not isinstance(people, list):
            raise InputError(f"{path}: is no OpenPose frame (expected an object with a list 'people')")
        rows = [_triples(path, _field(path, p, "pose_keypoints_2d")) for p in people]
        frames.append((number, _surest([r for r in rows if len(r)])))
    largest = max((np.abs(p[:, :2]).max() for _, people in frames for p in people), default=0)
    if 0 < largest <= 1.5:
        raise InputError(f"{folder}: key points are scaled to [0, 1]; write pixels (OpenPose --keypoint_scale 0)")
    return "openpose", frames


def _json_file(path: Path) -> tuple[str, list[_Raw]]:
    data = load_json(path)
    if isinstance(data, dict) and "people" in data:
        raise InputError(f"{path}: is one OpenPose frame; give the folder that holds all of them")
    if isinstance(data, dict) and "instance_info" in data:
        data = data["instance_info"]
    if not isinstance(data, list) or not data or not all(isinstance(d, dict) for d in data):
        raise InputError(f"{path}: is none of the known key point files (COCO results, AlphaPose, MMPose)")
    if all("instances" in d for d in data):
        return "mmpose", _mmpose(path, data)
    if all("keypoint_scores" in d for d in data):
        return "mmpose", [(0, _surest([_mmpose_person(path, d) for d in data]))]
    if all("image_id" in d and "keypoints" in d for d in data):
        return "coco", _coco(path, data)
    raise InputError(f"{path}: is none of the known key point files (COCO results, AlphaPose, MMPose)")


def _coco(path: Path, rows: list[dict]) -> list[_Raw]:
    """COCO results and AlphaPose: one row a person; frames in the order of `image_id`, by the last number in it."""
    frames: dict[int, list[np.ndarray]] = {}
    for row in rows:
        digits = re.findall(r"\d+", str(row["image_id"])[:300])
        if not digits:
            raise InputError(f"{path}: image_id '{str(row['image_id'])[:40]}' holds no frame number")
        frames.setdefault(int(digits[-1][:12]), []).append(_triples(path, row["keypoints"]))
    if max(p[:, 2].max(initial=0) for people in frames.values() for p in people) > 1.5:  # COCO's 0, 1, 2 flags
        frames = {n: [p * (1, 1, 0.5) for p in people] for n, people in frames.items()}
    return _filled(path, frames)


def _mmpose(path: Path, rows: list[dict]) -> list[_Raw]:
    frames: dict[int, list[np.ndarray]] = {}
    for i, row in enumerate(rows):
        number = row.get("frame_id", i)
        if not isinstance(number, int) or isinstance(number, bool) or not isinstance(row["instances"], list):
            raise InputError(f"{path}: frame {i}: expected a number 'frame_id' and a list 'instances'")
        frames[number] = [_mmpose_person(path, person) for person in row["instances"]]
    return _filled(path, frames)


def _mmpose_person(path: Path, person: object) -> np.ndarray:
    xy = _array(path, _field(path, person, "keypoints"))
    scores = _array(path, _field(path, person, "keypoint_scores"))
    if xy.ndim != 2 or xy.shape[1] < 2 or scores.shape != xy.shape[:1]:
        raise InputError(f"{path}: expected keypoints (J, 2) and keypoint_scores (J,), got {xy.shape}, {scores.shape}")
    return np.column_stack([xy[:, :2], scores])


def _filled(path: Path, frames: dict[int, list[np.ndarray]]) -> list[_Raw]:
    """Frames in order, those that no row names as empty ones."""
    first, last = min(frames), max(frames)
    if last - first >= MAX_FRAMES:
        raise InputError(f"{path}: frame numbers run from {first} to {last}; expected less than {MAX_FRAMES} frames")
    step = int(np.gcd.reduce(np.diff(sorted(frames)))) if len(frames) > 1 else 1
    return [(n, _surest(frames.get(n, []))) for n in range(first, last + 1, max(step, 1))]


def _surest(people: list[np.ndarray]) -> list[np.ndarray]:
    return sorted(people, key=lambda p: -float(p[:, 2].mean()))[:MAX_PERSONS] if len(people) > MAX_PERSONS else people


def _field(path: Path, record: object, name: str) -> Any:
    if not isinstance(record, dict) or name not in record:
        raise InputError(f"{path}: a person has no '{name}'")
    return record[name]


def _triples(path: Path, values: object) -> np.ndarray:
    """(J, 3) x, y, confidence from a flat list."""
    flat = _array(path, values)
    if flat.ndim != 1 or len(flat) % 3:
        raise InputError(f"{path}: expected a flat list of x, y, confidence, got shape {flat.shape}")
    return flat.reshape(-1, 3)


def _array(path: Path, values: object) -> np.ndarray:
    try:
        array = np.array(values)
        if array.dtype.kind not in "iuf" and array.size:
            raise ValueError("not numbers")
        array = array.astype(float)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{path}: key points must be numbers") from None
    if not np.isfinite(array).all() or (np.abs(array) > 1e6).any():
        raise InputError(f"{path}: key points must be finite numbers of pixels")
    return array
