"""Pictures in: a video file, an image, a folder of images or a webcam as a stream of upright, time-stamped frames.

`open_frames` is the one entry. Frames are decoded one at a time and none is kept, so memory does not grow with the
clip. Times are the container's own (variable frame rate honoured), forced to increase strictly; rotation metadata and
EXIF orientation are applied; nothing is scaled down. What is odd but usable becomes a line in `warnings`.
"""

from __future__ import annotations

import math
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np

from kinelift.errors import InputError
from kinelift.records import Frame

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
FOLDER_FPS = 30.0

# More pixels than any camera's video has; a picture of so many takes a gigabyte on its way.
MAX_PIXELS = 100_000_000
# What FFmpeg may open: no playlists, no network formats, no text art.
_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,flv,asf,ogg,gif,h264,hevc,m4v,apng,mxf"
_APPLE_FOCAL = "com.apple.quicktime.camera.focal_length.35mm_equivalent"
_EXIF_IFD, _EXIF_FOCAL_35MM = 0x8769, 0xA405


class FrameSource:
    """An iterator of `Frame`, and a context manager; made by `open_frames`, read once.

    Attributes:
        name: What the user called it.
        image_size: (width, height) pixels, upright.
        fps: Nominal frames per second (the time stamps may vary around it).
        frame_count: Estimated number of frames between start and end, or None.
        duration: Estimated seconds between start and end, or None.
        metadata: What the container says: `kind`, `codec`, `rotation_deg`, `focal_35mm` (mm) and so on, where known.
        warnings: Lines that grow while the source is read.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.image_size: tuple[int, int] = (0, 0)
        self.fps: float = FOLDER_FPS
        self.frame_count: int | None = None
        self.duration: float | None = None
        self.metadata: dict[str, Any] = {}
        self.warnings: list[str] = []
        self._frames: Iterator[Frame] = iter(())
        self._first: Frame | None = None

    def _begin(self, frames: Iterator[Frame], nothing: str) -> None:
        """Read the first frame, so that what cannot be read fails now; raises `InputError(nothing)`."""
        self._frames = frames
        self._first = next(frames, None)
        if self._first is None:
            self.close()
            raise InputError(nothing)
        self.image_size = (self._first.image.shape[1], self._first.image.shape[0])

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        if self._first is not None:
            frame, self._first = self._first, None
            return frame
        return next(self._frames)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file or the device; may be called twice."""


def open_frames(
    source: str | Path | int, start: float | None = None, end: float | None = None, fps: float = FOLDER_FPS
) -> FrameSource:
    """Open a video, an image, a folder of images, or a webcam (`0`, `"webcam:0"`).

    Args:
        source: Path, or the webcam's number.
        start: First time kept, seconds.
        end: Frames from this time on are left out, seconds. For a webcam: how long to record.
        fps: Frame rate of a folder of images.

    Raises `InputError` where nothing can be read.
    """
    for option, value in (("start", start), ("end", end)):
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise InputError(f"{option}: expected seconds of at least 0, got {value}")
    if start is not None and end is not None and start >= end:
        raise InputError(f"start ({start:g} s) must come before end ({end:g} s)")
    if not (math.isfinite(fps) and fps > 0):
        raise InputError(f"fps: expected frames per second above 0, got {fps}")
    webcam = re.fullmatch(r"(?:webcam:)?(\d+)", str(source))
    if webcam and not Path(str(source)).exists():
        return WebcamSource(int(webcam[1]), start, end)
    path = Path(str(source))
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if path.is_dir():
        return ImageSource(str(path), _images_in(path), start, end, fps)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageSource(str(path), [path], start, end, fps)
    return VideoSource(path, start, end)


class VideoSource(FrameSource):
    """A video file, through FFmpeg (PyAV)."""

    def __init__(self, path: Path, start: float | None, end: float | None) -> None:
        super().__init__(str(path))
        self._container = _open_container(path)
        self._problems = {"packet": 0, "stamp": 0}
        self._offset = 0.0
        self._describe(path)
        self._clip(start, end)
        nothing = f"{path}: no frame could be decoded; it is damaged or empty, export it again as MP4"
        if start:
            length = "" if self._total_s is None else f" (the video is {self._total_s:.2f} s long)"
            nothing = f"{path}: no frame at or after start = {start:g} s{length}; choose an earlier start"
        self._begin(self._decoded(start or 0.0, math.inf if end is None else end), nothing)

    def _describe(self, path: Path) -> None:
        videos = [s for s in self._container.streams.video if not _is_cover(s)]
        if not videos:
            what = "sound only" if self._container.streams.audio else "no video stream (cut off or damaged?)"
            raise InputError(f"{path}: holds {what}; give a video file")
        self._stream = stream = videos[0]
        if stream.codec_context is None:
            raise InputError(f"{path}: no decoder for its video stream; export it again as H.264 MP4")
        _check_pixels(path, stream.codec_context.width, stream.codec_context.height)
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        stream.thread_type = "AUTO"
        rate = stream.average_rate or stream.guessed_rate or stream.base_rate
        self.fps = float(rate) if rate else FOLDER_FPS
        duration = None
        if stream.duration and stream.time_base:
            duration = float(stream.duration * stream.time_base)
        elif self._container.duration:
            duration = self._container.duration / 1e6
        self._total_s = duration
        self._total_frames = stream.frames or (round(duration * self.fps) if duration else None)
        self.metadata = {"kind": "video", "codec": stream.codec_context.name, "container": self._container.format.name}
        focal = _number({**self._container.metadata, **stream.metadata}.get(_APPLE_FOCAL))
        if focal:
            self.metadata["focal_35mm"] = focal

    def _clip(self, start: float | None, end: float | None) -> None:
        if self._total_s is None:
            return
        self.duration = max(0.0, min(self._total_s, end or math.inf) - (start or 0.0))
        if self._total_frames is not None:
            share = self.duration / self._total_s if self._total_s else 1.0
            self.frame_count = max(1, round(self._total_frames * share))

    def _decoded(self, start: float, end: float) -> Iterator[Frame]:
        if start > 0:
            self._seek(start)
        count, last = 0, -math.inf
        to_upright: tuple[int, int, int] | None = None
        for picture in self._pictures():
            seconds = self._stamp(picture, last)
            if seconds is None:
                continue
            if seconds >= end:
                break
            last = seconds
            if seconds < start - 1e-9:
                continue
            if to_upright is None:
                to_upright = self._upright(picture)
            width, height, turns = to_upright
            image = picture.to_ndarray(format="rgb24", width=width, height=height)
            count += 1
            yield Frame(np.ascontiguousarray(np.rot90(image, turns)), seconds)
        else:
            self._check_whole(count, last, end)
        self._report_problems()

    def _seek(self, start: float) -> None:
        import av

        try:
            self._container.seek(int(start / self._stream.time_base), stream=self._stream)
        except av.FFmpegError:  # no index: everything before start is decoded and dropped instead
            self._container.seek(0)

    def _pictures(self) -> Iterator[Any]:
        """Decoded pictures; damaged packets are counted and skipped, a damaged end is the end."""
        import av

        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError as e:
                self.warnings.append(f"{self.name}: reading stopped early ({_short(e)}); used what came before")
                return
            if packet is None:
                return
            try:
                pictures = packet.decode()
            except av.FFmpegError:
                self._problems["packet"] += 1
                continue
            for picture in pictures:
                if getattr(picture, "is_corrupt", False):
                    self._problems["packet"] += 1
                else:
                    yield picture

    def _stamp(self, picture: Any, last: float) -> float | None:
        """Seconds of a picture, after `last`; None where its time stamp repeats."""
        step = 1.0 / self.fps
        if picture.time is None:
            return 0.0 if last == -math.inf else last + step
        seconds = float(picture.time) + self._offset
        if seconds > last:
            return seconds
        if last - seconds > 0.5:  # the clock starts again, as in files glued together
            self._offset += last + step - seconds
            return last + step
        self._problems["stamp"] += 1
        return None

    def _upright(self, picture: Any) -> tuple[int, int, int]:
        """Width and height with square pixels before turning, and quarter turns counter-clockwise."""
        turns = round(picture.rotation / 90) % 4 if math.isfinite(picture.rotation) else 0
        ratio = float(self._stream.codec_context.sample_aspect_ratio or 0) or 1.0
        width = round(picture.width * ratio) if 0.2 < ratio < 5 else picture.width
        _check_pixels(self.name, width, picture.height)
        self.metadata["rotation_deg"] = 90 * turns
        return width, picture.height, turns

    def _check_whole(self, count: int, last: float, end: float) -> None:
        """Warn when the file ended well before its own header said."""
        whole = self._total_s
        if whole is None or not count or end < whole:
            return
        first = float(self._stream.start_time * self._stream.time_base) if self._stream.start_time else 0.0
        missing = whole - (last - first + 1.0 / self.fps)
        if missing > max(0.25, 3.0 / self.fps):
            self.warnings.append(
                f"{self.name}: the file ends early: {missing:.1f} s of {whole:.1f} s are missing; used what is there"
            )

    def _report_problems(self) -> None:
        if self._problems["packet"]:
            self.warnings.append(f"{self.name}: {self._problems['packet']} damaged pieces were skipped")
        if count := self._problems["stamp"]:
            self.warnings.append(f"{self.name}: {count} frames with repeated time stamps were left out")

    def close(self) -> None:  # noqa: D102
        self._container.close()


class ImageSource(FrameSource):
    """One image, or a folder of them in natural order (`2.png` before `10.png`)."""

    def __init__(self, name: str, paths: list[Path], start: float | None, end: float | None, fps: float) -> None:
        super().__init__(name)
        if not paths:
            raise InputError(f"{name}: the folder holds no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
        first = math.ceil((start or 0.0) * fps - 1e-9)
        stop = len(paths) if end is None else min(len(paths), math.ceil(end * fps - 1e-9))
        self.fps = fps
        self.frame_count = max(0, stop - first)
        self.duration = self.frame_count / fps
        self.metadata = {"kind": "image" if len(paths) == 1 else "images"}
        beyond = f"{name}: start = {start or 0:g} s is beyond the end ({len(paths) / fps:.2f} s at {fps:g} frames/s)"
        self._begin(self._read(paths, first, stop), beyond)

    def _read(self, paths: list[Path], first: int, stop: int) -> Iterator[Frame]:
        size: tuple[int, ...] | None = None
        for i in range(first, stop):
            image, focal = _read_image(paths[i])
            if size is None:
                size = image.shape
                if focal:
                    self.metadata["focal_35mm"] = focal
            if image.shape != size:
                got, expected = (f"{s[1]} x {s[0]}" for s in (image.shape, size))
                raise InputError(f"{paths[i]}: is {got} pixels, the images before it {expected}; use one size")
            yield Frame(image, i / self.fps)


class WebcamSource(FrameSource):
    """A camera of this machine; ends after `end` seconds or at the first Ctrl-C, keeping what was recorded."""

    def __init__(self, index: int, start: float | None, end: float | None) -> None:
        super().__init__(f"webcam:{index}")
        import cv2

        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        self._capture = cv2.VideoCapture(index)
        self._stopped = False
        self._previous_handler: Callable[..., Any] | int | None = None
        if not self._capture.isOpened():
            self._capture.release()
            raise InputError(f"webcam:{index}: cannot be opened; check that it is connected and not in use")
        self.fps = self._capture.get(cv2.CAP_PROP_FPS) or FOLDER_FPS
        self.duration = None if end is None else end - (start or 0.0)
        self.frame_count = None if self.duration is None else round(self.duration * self.fps)
        self.metadata = {"kind": "webcam"}
        self._begin(self._read(start or 0.0, math.inf if end is None else end), f"{self.name}: gives no pictures")

    def _read(self, start: float, end: float) -> Iterator[Frame]:
        origin, last = time.monotonic(), -1.0
        while not self._stopped:
            good, bgr = self._capture.read()
            seconds = time.monotonic() - origin
            if not good or seconds >= end:
                return
            if seconds >= start and seconds > last:
                last = seconds
                yield Frame(np.ascontiguousarray(bgr[..., ::-1]), seconds)

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._previous_handler = signal.signal(signal.SIGINT, self._interrupted)
        return self

    def _interrupted(self, *args: object) -> None:
        if self._stopped:
            raise KeyboardInterrupt
        self._stopped = True

    def close(self) -> None:  # noqa: D102
        if self._previous_handler is not None:
            signal.signal(signal.SIGINT, self._previous_handler)
            self._previous_handler = None
        self._capture.release()


def _open_container(path: Path) -> Any:
    import av

    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty (0 bytes)")
    av.logging.set_level(None)
    options = {"protocol_whitelist": "file", "format_whitelist": _CONTAINERS, "max_pixels": str(MAX_PIXELS)}
    try:
        return av.open(f"file:{path}", options=options, metadata_errors="ignore")
    except PermissionError:
        raise InputError(f"{path}: may not be read (permission denied)") from None
    except (av.FFmpegError, OSError, ValueError) as e:
        raise InputError(
            f"{path}: cannot be read as a video ({_short(e)}); it is no video, cut off, or damaged: "
            "copy it again from its source or export it as MP4"
        ) from None


def _check_pixels(path: Path | str, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise InputError(f"{path}: pictures of {width} x {height} pixels are too large")


def _is_cover(stream: Any) -> bool:
    """A still picture stored beside music."""
    return "attached_pic" in str(getattr(stream, "disposition", ""))


def _images_in(folder: Path) -> list[Path]:
    return sorted((p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES), key=natural_key)


def natural_key(path: Path) -> list[tuple[int, int | str]]:
    """Sort key in which numbers count as numbers."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"([0-9]+)", path.name.lower())]


def _read_image(path: Path) -> tuple[np.ndarray, float | None]:
    """Upright (H, W, 3) uint8 RGB, and the 35 mm-equivalent focal length if EXIF states it."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as picture:
            _check_pixels(path, *picture.size)
            focal = _number(picture.getexif().get_ifd(_EXIF_IFD).get(_EXIF_FOCAL_35MM))
            upright = ImageOps.exif_transpose(picture) or picture
            return np.array(upright.convert("RGB")), focal
    except InputError:
        raise
    except Exception as e:  # Pillow answers a broken file with nearly any exception
        raise InputError(f"{path}: cannot be read as an image ({_short(e)})") from None


def _number(value: object) -> float | None:
    """A positive number out of metadata, or None."""
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if math.isfinite(number) and number > 0 else None


def _short(error: BaseException) -> str:
    text = str(getattr(error, "strerror", None) or error).strip()
    return (text or type(error).__name__).splitlines()[0][:120]
