"""The seed's demo: one moment of a picture, a video or a webcam, its 2D pose drawn on it and the lifted pose turned.

Of a video only a stretch around the moment is read: enough for a temporal lifter and to repair what the detector swaps.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kinelift.camera import Camera, focal_from_fov, prior_focal_px
from kinelift.detect import Detection, Detector, detect_video, make_detector
from kinelift.errors import InputError
from kinelift.kinematics import STATURE_PRIOR_M, reference_offsets
from kinelift.lift import Lifter, answer, load_lifter, mapped
from kinelift.metrics import LIMBS
from kinelift.records import Frame, Lifted, Pose2D
from kinelift.render.figures import Turntable, close_up, contact_sheet, gif, labelled, png, pose_on_picture
from kinelift.repair import repair
from kinelift.skeleton import BODY26, Skeleton, joint_map
from kinelift.video import FrameSource, open_frames

TURNS_DEG = tuple(range(0, 361, 15))
PICTURE, SHEET, GIF, VIEW = "pose_2d.png", "sheet.png", "turn.gif", "turn_{:03d}.png"
GIF_SECONDS = 3.0
WEBCAM_WAIT_S = 3.0
_AROUND_S = 0.5
_FAINT = 0.3  # confidence below which a point is a guess
_FEWEST = 4  # joints that make a pose
_CLOSE_UP = (670, 960)  # the sheet's part of the picture, pixels
_FILM_DIAGONAL_MM = 43.267  # of the 35 mm film that equivalent focal lengths refer to
DEFAULT_LIFTER = "temporal"  # on rendered clips far better than the single-frame `projection`
_SINGLE_FRAME = {"root-spread"}  # layouts of lifters that look at one frame alone

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, eq=False)
class Demo:
    """What a demo showed.

    Attributes:
        frame: The picture and its time.
        pose: The person's key points in it, repaired, in the detector's skeleton; T = 1.
        positions: (J, 3) metres, the lifted pose upright: x right, y up, z towards the camera; NaN where not given.
        skeleton: Names of the J joints.
        lifter: The lifter's name.
        files: What was written.
        warnings: What the user should know, a line each.
    """

    frame: Frame
    pose: Pose2D
    positions: np.ndarray
    skeleton: Skeleton
    lifter: str
    files: tuple[Path, ...]
    warnings: tuple[str, ...]


def demo(
    source: str | Path,
    out: Path,
    lifter: str | Lifter | None = None,
    detector: str | Detector = "mediapipe",
    person: str | int = "largest",
    frame: int | None = None,
    time: float | None = None,
    focal_px: float | None = None,
    fov_deg: float | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> Demo:
    """Show one moment: `pose_2d.png`, `turn_000.png` to `turn_360.png`, `sheet.png` and `turn.gif` in `out`.

    Args:
        source: A picture, a video, a folder of pictures, or `webcam:0`.
        out: Folder, made if absent; nothing is written before everything is drawn.
        lifter: What `load_lifter` takes, or a lifter; None: `DEFAULT_LIFTER`.
        detector: A name in `DETECTORS`, or a detector.
        person: "largest", "central" or a number.
        frame: Which frame, from 0.
        time: Or the first frame from this second on. Neither: the middle; of a webcam, after three seconds.
        focal_px: Focal length in pixels.
        fov_deg: Horizontal field of view in degrees, instead. Neither: from the picture's metadata, else a prior.
        threads: For ONNX Runtime.
        progress: Told the stage, what is done and what there is to do.

    Raises `InputError` for input that cannot be used or a moment that shows nobody.
    """
    tell = progress or (lambda stage, done, total: None)
    if isinstance(lifter, str) or lifter is None:
        lifter = load_lifter(lifter or DEFAULT_LIFTER, threads)
    detector = make_detector(detector) if isinstance(detector, str) else detector
    moment, detection = _watch(source, lifter, detector, person, frame, time, tell)
    window, i = _shot_around(detection, moment)
    camera = _camera(window.image_size, detection, focal_px, fov_deg)
    mended = repair(window)[0] if len(window.times) > 1 else window
    tell("lift", 0, 1)
    wanted = mapped(mended, lifter.skeleton)
    lifted = answer(lifter, wanted, camera)
    positions = upright(lifted, i, wanted.confidence[i] > 0)
    pose = mended.sliced(slice(i, i + 1))
    tell("draw", 0, 1)
    body = mapped(pose, BODY26)
    files = _drawings(moment.image, body, positions, lifted.skeleton)
    tell("draw", 1, 1)
    written = _write(Path(out), files)
    warnings = (*detection.warnings, *_remarks(body))
    return Demo(moment, pose, positions, lifted.skeleton, lifter.name, written, warnings)


class _Watched(FrameSource):
    """Another source's frames, up to a while past the moment; keeps the frame of the moment."""

    def __init__(self, inner: FrameSource, moment_s: float, after_s: float) -> None:
        super().__init__(inner.name)
        self._inner, self._moment_s, self._until_s = inner, moment_s, moment_s + after_s
        self.image_size, self.fps, self.duration = inner.image_size, inner.fps, inner.duration
        self.metadata, self.warnings = inner.metadata, inner.warnings
        self.first_s = self.last_s = math.nan
        self.kept: Frame | None = None

    def __next__(self) -> Frame:
        if self.kept is not None and self.last_s >= self._until_s - 1e-6:
            raise StopIteration
        frame = next(self._inner)
        if self.kept is None and frame.time >= self._moment_s - 1e-6:
            self.kept = frame
        self.first_s = frame.time if math.isnan(self.first_s) else self.first_s
        self.last_s = frame.time
        return frame

    def __enter__(self) -> _Watched:
        self._inner.__enter__()
        return self

    def close(self) -> None:
        self._inner.close()


def _watch(
    source: str | Path,
    lifter: Lifter,
    detector: Detector,
    person: str | int,
    frame: int | None,
    time: float | None,
    tell: Progress,
) -> tuple[Frame, Detection]:
    """The frame of the moment, and the person through the frames around it."""
    live = _is_webcam(source)
    moment_s = _moment(source, frame, time, live)
    around_s = 0.0 if lifter.provenance().get("layout") in _SINGLE_FRAME else _AROUND_S
    start = moment_s - around_s
    watched = _Watched(open_frames(source, start if start > 0 else None), moment_s, 0.0 if live else around_s)
    try:
        with closing(watched):
            detection = detect_video(
                watched, detector, person, progress=lambda done, total: tell("detect", done, total)
            )
    except InputError as e:
        if math.isnan(watched.first_s) or watched.metadata.get("kind") == "image":
            raise
        looked = f"{watched.first_s:.2f} to {watched.last_s:.2f} s"
        raise InputError(f"{e}; looked at {looked}, choose another moment with --time") from None
    if watched.kept is None:
        raise InputError(
            f"{watched.name}: no frame at or after {moment_s:g} s (the last is at {watched.last_s:.2f} s); "
            "choose an earlier --time"
        )
    return watched.kept, detection


def _is_webcam(source: str | Path) -> bool:
    return re.fullmatch(r"(webcam:)?\d+", str(source)) is not None and not Path(str(source)).exists()


def _moment(source: str | Path, frame: int | None, time: float | None, live: bool) -> float:
    """Seconds of the frame that is meant."""
    if frame is not None and time is not None:
        raise InputError("give --frame or --time, not both")
    if time is not None:
        if not (math.isfinite(time) and time >= 0):
            raise InputError(f"--time {time:g}: expected seconds of at least 0")
        return time
    if live:
        if frame is not None:
            raise InputError("--frame: a webcam has no numbered frames; give --time, seconds to wait")
        return WEBCAM_WAIT_S
    if frame is not None and frame < 0:
        raise InputError(f"--frame {frame}: expected 0 or more")
    with open_frames(source) as frames:
        if frame is None:
            return _middle(frames)
        count = 0
        for count, picture in enumerate(frames, 1):
            if count > frame:
                return picture.time
    raise InputError(f"{source}: has {count} frames; --frame {frame} is beyond them (they count from 0)")


def _middle(frames: FrameSource) -> float:
    first = next(frames).time
    if frames.metadata["kind"] == "images":
        return (frames.frame_count or 1) // 2 / frames.fps
    return first + (frames.duration or 0.0) / 2 if frames.metadata["kind"] == "video" else first


def _shot_around(detection: Detection, moment: Frame) -> tuple[Pose2D, int]:
    """The person through the shot that holds the moment, and the moment's index in it."""
    pose = detection.pose
    i = int(np.abs(pose.times - moment.time).argmin())
    if not pose.detected[i]:
        seen = pose.times[pose.detected]
        near = seen[np.abs(seen - moment.time).argmin()]
        raise InputError(
            f"{detection.source['name']}: the person is not seen at {moment.time:.2f} s, but at {near:.2f} s: "
            f"give --time {near:.3f}"
        )
    shot = next(s for s in detection.shots() if s.start <= i < s.stop)
    return pose.sliced(shot), i - shot.start


def _camera(size: tuple[int, int], detection: Detection, focal_px: float | None, fov_deg: float | None) -> Camera:
    if focal_px is not None and fov_deg is not None:
        raise InputError("give --focal or --fov, not both")
    if focal_px is not None and not (math.isfinite(focal_px) and focal_px > 1):
        raise InputError(f"--focal {focal_px:g}: expected pixels, such as 1500")
    if fov_deg is not None and not 1 < fov_deg < 170:
        raise InputError(f"--fov {fov_deg:g}: expected degrees between 1 and 170")
    film = detection.source.get("focal_35mm")
    if fov_deg is not None:
        focal_px = focal_from_fov(fov_deg, size)
    elif focal_px is None:
        focal_px = prior_focal_px(size) if not film else film / _FILM_DIAGONAL_MM * math.hypot(*size)
    return Camera.from_focal(focal_px, size)


def upright(lifted: Lifted, i: int, seen: np.ndarray) -> np.ndarray:
    """Frame `i` as (J, 3) metres: x right, y up, z towards the camera, gravity down where the lifter knows it.

    Joints that are not `seen` (J,) in 2D are NaN where the lifter has no other way to know them: a lifter of unit scale
    works on each frame's points alone. Its answer is scaled so that the limbs are a reference body's.

    Raises `InputError` where the pose has no extent.
    """
    p = np.array(lifted.positions[i])
    if lifted.scale == "unit":
        p = np.where(seen[:, None], p, np.nan) * _metres_per_unit(p, lifted.skeleton, seen)
    down = np.array([0.0, 1.0, 0.0]) if lifted.gravity is None else lifted.gravity[i]
    p = p @ _turn_between(down, np.array([0.0, 1.0, 0.0])).T
    given = np.isfinite(p).all(1)
    if given.sum() < _FEWEST or np.ptp(p[given], axis=0).max() <= 0:
        raise InputError("too little of the person is seen to draw a pose; choose another moment with --time")
    return p * [1.0, -1.0, -1.0]


def _metres_per_unit(positions: np.ndarray, skeleton: Skeleton, seen: np.ndarray) -> float:
    """The median over the limbs of a reference body's length to the pose's; by its extent where no table knows it."""
    given = seen & np.isfinite(positions).all(1)
    try:
        weights = joint_map(skeleton, BODY26)
    except InputError:
        return STATURE_PRIOR_M / max(float(np.ptp(positions[given], axis=0).max(initial=0)), 1e-9)
    body = weights @ np.where(given[:, None], positions, 0.0)
    known = (weights != 0).any(1) & ~((weights != 0) & ~given).any(1)
    rest = np.linalg.norm(reference_offsets(), axis=1)
    limbs = BODY26.indices(*(f"{s}_{j}" for s in ("left", "right") for j in ("elbow", "wrist", "knee", "ankle")))
    ratios = []
    for j in limbs:
        p = BODY26.parents[j]
        length = float(np.linalg.norm(body[j] - body[p]))
        if known[j] and known[p] and length > 1e-6:
            ratios.append(rest[j] / length)
    return float(np.median(ratios)) if ratios else 1.0


def _turn_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(3, 3) the smallest rotation that carries unit vector a to unit vector b."""
    c = float(a @ b)
    if c < -1 + 1e-9:
        return np.diag([-1.0, -1.0, 1.0])  # upside down: half a turn in the picture's plane
    x, y, z = np.cross(a, b)
    K = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + K + K @ K / (1 + c)


def _remarks(body: Pose2D) -> list[str]:
    """A line that names the limb joints which the picture hardly shows."""
    limbs = BODY26.indices(*LIMBS)
    faint = [LIMBS[k].replace("_", " ") for k in np.flatnonzero(body.confidence[0, limbs] < _FAINT)]
    return [f"hardly seen, so their places are guessed or left out: {', '.join(faint)}"] if faint else []


def _drawings(image: np.ndarray, pose: Pose2D, positions: np.ndarray, skeleton: Skeleton) -> dict[str, bytes]:
    """The files' names and bytes."""
    picture = pose_on_picture(image, pose.xy[0], pose.confidence[0])
    table = Turntable(positions, skeleton)
    round_once = {turn: table.view(turn) for turn in TURNS_DEG if turn < 360}
    views = {turn: labelled(round_once[turn % 360], f"{turn}°") for turn in TURNS_DEG}
    files = {VIEW.format(turn): png(view) for turn, view in views.items()}
    files[PICTURE] = png(picture)
    figure = close_up(image, pose.xy[0], pose.confidence[0], _CLOSE_UP)
    files[SHEET] = png(contact_sheet(figure, [views[turn] for turn in round_once]))
    files[GIF] = gif(list(round_once.values()), GIF_SECONDS)
    return files


def _write(out: Path, files: dict[str, bytes]) -> tuple[Path, ...]:
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (out / name).write_bytes(content)
    except OSError as e:
        raise InputError(f"{out}: cannot be written ({e.strerror}); choose another folder with -o") from None
    return tuple(out / name for name in sorted(files))
