"""Videos as browsers play them: H.264 in upright pictures with square pixels, at the source's own times."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from kinelift.errors import InputError
from kinelift.video import open_frames

Progress = Callable[[str, int, int | None], None]

# What Chromium, Firefox and Safari all play from a file: (FFmpeg's containers, codecs).
_PLAYED = (({"mov", "mp4"}, {"h264"}), ({"webm"}, {"vp8", "vp9"}))
_TICKS = 90000  # a second in the copy
NEAR_S = 2e-3  # time stamps so near are one: containers round them
_KEY_EVERY = 12  # frames from one key frame to the next: scrubbing decodes no more than these


def browser_plays(path: Path) -> bool:
    """Whether browsers show this file as kinelift sees it: known codec, 8 bits, no rotation, time from 0.

    Raises `InputError` for what is no video, picture or folder of pictures.
    """
    import av

    with open_frames(path) as source:
        told = source.metadata
        first = next(iter(source)).time
    containers = set(str(told.get("container", "")).split(","))
    codec = str(told.get("codec", ""))
    if not any(containers & known and codec in codecs for known, codecs in _PLAYED):
        return False
    if told.get("rotation_deg") or abs(first) > NEAR_S or path.suffix.lower() == ".mkv":
        return False
    with av.open(f"file:{path}", metadata_errors="ignore") as container:
        context = container.streams.video[0].codec_context
        square = float(context.sample_aspect_ratio or 1) == 1
        return bool(square and context.pix_fmt in ("yuv420p", "yuvj420p"))


def write_proxy(
    source: Path, path: Path, start: float, end: float, longest_side: int, progress: Progress | None = None
) -> float:
    """Write the pictures from `start` to `end` seconds of `source` as an MP4; the time of its first picture, seconds.

    Raises `InputError` where the source cannot be read or has no picture then.
    """
    if longest_side < 16:
        raise InputError(f"longest side of the video: expected at least 16 pixels, got {longest_side}")
    first = None
    with open_frames(source, max(0.0, start - NEAR_S) or None, end + NEAR_S) as frames, Movie(path) as movie:
        for count, frame in enumerate(frames, 1):
            first = frame.time if first is None else first
            movie.add(fitted(frame.image, longest_side), frame.time - first)
            if progress:
                progress("video", count, frames.frame_count)
    if first is None:
        raise InputError(f"{source}: has no picture between {start:.2f} and {end:.2f} s")
    return first


def fitted(image: np.ndarray, longest_side: int) -> np.ndarray:
    """A picture (H, W, 3) scaled down to even sides of at most `longest_side` pixels."""
    import cv2

    height, width = image.shape[:2]
    share = min(1.0, longest_side / max(height, width))
    size = (max(2, round(width * share / 2) * 2), max(2, round(height * share / 2) * 2))
    return image if size == (width, height) else cv2.resize(image, size, interpolation=cv2.INTER_AREA)


class Movie:
    """An H.264 MP4 being written; a context manager, given pictures (H, W, 3) uint8 RGB with even sides."""

    def __init__(self, path: Path, quality: int = 23):
        import av

        # No name of the muxer's version: the same pictures give the same bytes.
        options = {"movflags": "+faststart", "fflags": "+bitexact"}
        self._container = av.open(str(path), "w", format="mp4", options=options)
        self._quality = quality
        self._stream: Any = None
        self._last = -1

    def add(self, image: np.ndarray, time: float) -> None:
        """Append a picture that is shown from `time` seconds on; times must rise."""
        import av

        height, width = image.shape[:2]
        if self._stream is None:
            self._stream = self._container.add_stream("libx264", rate=30, width=width, height=height)
            self._stream.pix_fmt = "yuv420p"
            self._stream.codec_context.time_base = Fraction(1, _TICKS)
            # One thread and no B frames: the same bytes each time, and time stamps that start at 0.
            self._stream.codec_context.thread_count = 1
            self._stream.options = {
                "crf": str(self._quality), "preset": "veryfast", "bf": "0", "g": str(_KEY_EVERY), "flags": "+bitexact",
            }  # fmt: skip
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
        self._last = max(self._last + 1, math.floor(time * _TICKS + 0.5))
        frame.pts, frame.time_base = self._last, Fraction(1, _TICKS)
        self._container.mux(self._stream.encode(frame))

    def __enter__(self) -> Movie:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._stream is not None:
            self._container.mux(self._stream.encode())
        self._container.close()
