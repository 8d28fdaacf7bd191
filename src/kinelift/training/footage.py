"""The user's own footage as a lifter sees it: every video and key point file of a folder, nothing known in 3D.

The last fifth of each clip is held out in time, so that what was learned can be judged on frames that were not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kinelift.camera import Camera, focal_from_fov, prior_focal_px
from kinelift.detect import Detection, Detector, detect_video, is_keypoint_input, make_detector, read_keypoints
from kinelift.errors import InputError
from kinelift.export.npz import load_motion
from kinelift.lift import mapped
from kinelift.lift.rays import RATE_HZ, encode, encode_opinion, input_joints
from kinelift.lift.temporal import regular_times, resampled_own, resampled_rays
from kinelift.records import Pose2D
from kinelift.repair import repair, within_picture
from kinelift.skeleton import BODY26

VIDEOS = frozenset({".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".mts", ".3gp"})
# A clip shorter than this (30 Hz frames) is only learned from; of longer ones the last fifth is held out.
_LEAST = 60
# Shots in which a person is seen in fewer frames than this teach nothing.
_LEAST_SEEN = 0.5
_FILM_DIAGONAL_MM = 43.267  # of the 35 mm film that equivalent focal lengths refer to

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class View:
    """How the footage was filmed, as in `animate`; one answer for the whole folder.

    Attributes:
        focal_px: Focal length in pixels; None: from `fov_deg`, the file's metadata, else a prior.
        fov_deg: Horizontal field of view in degrees.
        fps: Frames per second of key point files that state none.
        image_size: (width, height) of key point files that state none.
        detector: Name in `DETECTORS`, for videos.
    """

    focal_px: float | None = None
    fov_deg: float | None = None
    fps: float | None = None
    image_size: tuple[int, int] | None = None
    detector: str = "mediapipe"


@dataclass(frozen=True, eq=False)
class Footage:
    """One shot as the lifter sees it, at 30 Hz.

    Attributes:
        name: The file it comes from.
        features: (G, 66) float32.
        opinion: (G, 64) float32.
    """

    name: str
    features: np.ndarray
    opinion: np.ndarray

    @property
    def learned(self) -> int:
        """How many frames from the beginning are learned from."""
        count = len(self.features)
        return count if count < _LEAST else count - count // 5


def read_footage(folder: Path, view: View, tell: Progress) -> tuple[list[Footage], tuple[str, ...]]:
    """Every shot of every video, key point file and `motion.npz` in a folder, by name; and the names of other files.

    Raises `InputError` naming the file that cannot be read, and where too little is left to hold anything out.
    """
    entries = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    points = [p for p in entries if is_keypoint_input(p)]
    used = [p for p in entries if p in points or p.suffix.lower() in (*VIDEOS, ".npz")]
    if not used:
        raise InputError(f"{folder}: holds no video and no key points ({', '.join(sorted(VIDEOS))}, .json, .npz)")
    footage = []
    detectors: list[Detector] = []
    for done, path in enumerate(used):
        tell("read", done, len(used))
        if path in points:
            found = read_keypoints(path, fps=view.fps, image_size=view.image_size)
            stated = path.suffix.lower() == ".npz" or view.image_size is not None
            footage += _shots(path.name, found, view, stated)
        elif path.suffix.lower() == ".npz":
            footage += _stored(path)
        else:
            detectors = detectors or [make_detector(view.detector)]
            found = detect_video(path, detectors[0])
            footage += _shots(path.name, found, view, True)
    if not any(f.learned < len(f.features) for f in footage):
        raise InputError(f"{folder}: no clip shows a person for {_LEAST / RATE_HZ:g} s or longer; film longer clips")
    return footage, tuple(p.name for p in entries if p not in used)


def _shots(name: str, found: Detection, view: View, size_stated: bool) -> list[Footage]:
    poses = [found.pose.sliced(shot) for shot in found.shots()]
    return [_seen(name, p, _camera(p, found, view), size_stated) for p in poses if p.detected.mean() >= _LEAST_SEEN]


def _stored(path: Path) -> list[Footage]:
    """What an earlier animation keeps of its video: key points and camera."""
    take = load_motion(path)
    if not take.poses_2d:
        raise InputError(f"{path}: holds no 2D key points to learn from")
    return [_seen(path.name, pose, take.camera, False) for pose in take.poses_2d]


def _camera(pose: Pose2D, found: Detection, view: View) -> Camera:
    size = pose.image_size
    film = found.source.get("focal_35mm")
    if view.focal_px is not None:
        focal = view.focal_px
    elif view.fov_deg is not None:
        focal = focal_from_fov(view.fov_deg, size)
    elif film:
        focal = float(film) / _FILM_DIAGONAL_MM * float(np.hypot(*size))
    else:
        focal = prior_focal_px(size)
    return Camera.from_focal(focal, size)


def _seen(name: str, pose: Pose2D, camera: Camera, size_stated: bool) -> Footage:
    """The same way from key points to features as in `animate`."""
    if size_stated:
        pose, _ = within_picture(pose)
    body = mapped(repair(pose)[0], BODY26)
    grid = regular_times(body.times)
    rays, confidence = resampled_rays(body, camera, grid)
    features, _ = encode(input_joints(rays[None]), input_joints(confidence[None, ..., None])[..., 0])
    own, given = resampled_own(body, grid)
    return Footage(name, features[0], encode_opinion(own[None], given[None])[0])


def draw(rng: np.random.Generator, footage: list[Footage], n: int, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, frames, 66), opinion (n, frames, 64) of random windows; short clips are held still at their end."""
    learned = np.array([f.learned for f in footage])
    chosen = rng.choice(len(footage), n, p=learned / learned.sum())
    features, opinion = [], []
    for i in chosen:
        start = rng.integers(0, max(learned[i] - frames, 0) + 1)
        at = np.minimum(start + np.arange(frames), learned[i] - 1)
        features.append(footage[i].features[at])
        opinion.append(footage[i].opinion[at])
    return np.stack(features), np.stack(opinion)
