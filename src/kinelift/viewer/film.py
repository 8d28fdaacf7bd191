"""One video to send: the clip with the skeleton over it, and beside it the motion from the front and from the side.

Both views stand still in the world where the people stay within a few metres, else they glide along with them.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from kinelift.errors import InputError
from kinelift.kinematics import motion_positions
from kinelift.records import Take
from kinelift.video import open_frames
from kinelift.viewer.panes import Moment, View, overlaid
from kinelift.viewer.proxy import NEAR_S, Movie, Progress
from kinelift.viewer.takes import find_video, read_people

# From the people to the eye, in the world: the camera faces -Z, so +Z is where it stands.
_DIRECTIONS = ((0.25, 0.25, 1.0), (1.0, 0.6, 0.3))
_STAYS_M = 1.5  # a path within this is looked at without gliding
_GLIDE_S = 1.5  # seconds over which the gliding is smoothed
_WIDEST = 2.4  # a video's width over its height, at most


def film(
    source: Take | Path | str,
    path: Path | str,
    video: Path | str | Literal[False] | None = None,
    height: int = 720,
    progress: Progress | None = None,
) -> Path:
    """Write an MP4 of the video with skeleton beside two views of the motion; that path.

    Args:
        source: As for `view`.
        path: The video to write, `.mp4`. It is whole or not there.
        video: As for `view`; without one the two views stand alone, at the motion's times.
        height: Pixels.
        progress: Called with ("video", frames done, frames in all or None).

    Raises `InputError` where there is no motion, the video cannot be read, or nothing can be written.
    """
    path = Path(path)
    people = read_people(source)
    if path.suffix.lower() != ".mp4" or not path.parent.is_dir():
        raise InputError(f"{path}: expected a name that ends in .mp4, in a folder that is there")
    if not 64 <= height <= 2160:
        raise InputError(f"height of the video: expected 64 to 2160 pixels, got {height}")
    found = find_video(people, source, path) if video is None else Path(video) if video else None
    part = path.with_name(f".{secrets.token_hex(8)}.mp4")
    try:
        with Movie(part, quality=20) as movie:
            _write(people, found, movie, height // 2 * 2, progress)
        part.replace(path)
    except OSError as e:
        raise InputError(f"{path}: cannot be written ({e.strerror or e})") from None
    finally:
        with suppress(OSError):
            part.unlink()
    return path


def _write(people: list[Take], video: Path | None, movie: Movie, height: int, progress: Progress | None) -> None:
    places = [motion_positions(p.motions[0]) for p in people]
    times = np.unique(np.concatenate([p.motions[0].times for p in people]))
    middles, box = _followed(people, places, times)
    size = (round(0.31 * height) * 2, height // 2) if video else (round(0.35 * height) * 2, height)
    views = [View(box, direction, size) for direction in _DIRECTIONS]
    first = None
    for count, (time, image, total) in enumerate(_pictures(video, times), 1):
        first = time if first is None else first
        there = [(p, m) for p, m in ((p, _moment(p, at, time)) for p, at in zip(people, places, strict=True)) if m]
        middle = np.array([np.interp(time, times, middles[:, 0]), 0, np.interp(time, times, middles[:, 1])])
        panes = [v.picture([m for _, m in there], middle) for v in views]
        if image is not None:
            panes = [np.concatenate(panes)]
            share = min(image.shape[1] / image.shape[0], _WIDEST)
            left = cv2.resize(image, (max(2, round(height * share / 2) * 2), height), interpolation=cv2.INTER_AREA)
            for person, moment in there:
                left = overlaid(left, person.camera, moment)
            panes.insert(0, left)
        movie.add(np.concatenate(panes, 1), time - first)
        if progress:
            progress("video", count, total)
    if first is None:
        raise InputError(f"{video}: has no picture between {times[0]:.2f} and {times[-1]:.2f} s")


def _followed(people: list[Take], places: list[np.ndarray], times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the views look, x and z (T, 2) metres, and the box (2, 3) about it that holds everybody always."""
    from scipy.ndimage import uniform_filter1d

    roots = [[np.interp(times, p.motions[0].times, p.motions[0].root[:, axis]) for axis in (0, 2)] for p in people]
    middles = np.mean(roots, 0).T
    if np.ptp(middles, axis=0).max() < _STAYS_M:
        middles = np.broadcast_to((middles.max(0) + middles.min(0)) / 2, middles.shape)
    else:
        frames = max(1, round(len(times) * _GLIDE_S / max(times[-1] - times[0], 1e-6)))
        middles = uniform_filter1d(middles, min(frames, len(times)), axis=0, mode="nearest")
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for person, at in zip(people, places, strict=True):
        own = np.searchsorted(times, person.motions[0].times)
        shift = np.insert(middles[own], 1, 0, axis=1)[:, None]
        low, high = np.minimum(low, (at - shift).min((0, 1))), np.maximum(high, (at - shift).max((0, 1)))
    return middles, np.stack([[low[0], min(0, low[1]), low[2]], [high[0], high[1] + 0.1, high[2]]])


def _pictures(video: Path | None, times: np.ndarray) -> Iterator[tuple[float, np.ndarray | None, int | None]]:
    """Time, picture if there is a video, and the estimated number of all, from the motions' first time to the last."""
    if video is None:
        for time in times:
            yield float(time), None, len(times)
        return
    with open_frames(video, max(0.0, times[0] - NEAR_S) or None, times[-1] + NEAR_S) as source:
        for frame in source:
            yield frame.time, frame.image, source.frame_count


def _moment(person: Take, positions: np.ndarray, time: float) -> Moment | None:
    """The person at a time, None before its first frame and well after its last."""
    motion = person.motions[0]
    frame = int(np.searchsorted(motion.times, time + NEAR_S, side="right")) - 1
    if frame < 0 or time > motion.times[-1] + 1 / motion.fps:
        return None
    return Moment(motion, positions, frame)
