"""`animate()`: the stages in order. Each takes records and returns new ones; nothing else travels between them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from kinelift import __version__
from kinelift.camera import Camera, focal_from_fov, prior_focal_px, read_calibration
from kinelift.cleanup import Cleaned, clean, knuckle_lines
from kinelift.detect import Detection, detect_video, is_keypoint_input, make_detector, read_keypoints
from kinelift.errors import InputError
from kinelift.export.npz import load_motion
from kinelift.kinematics import STATURE_PRIOR_M, STATURE_PRIOR_SIGMA
from kinelift.lift import Lifter, answer, load_lifter, mapped
from kinelift.records import Lifted, Pose2D, Take
from kinelift.repair import GAP_LIMIT_S, RepairReport, Sight, repair, within_picture
from kinelift.report import quality
from kinelift.skeleton import BODY26, joint_map

SAMPLE = "sample"
SAMPLE_HEIGHT_M = 1.75
_HEIGHTS_M = (0.4, 2.6)
# A person unseen for longer than this is worth a warning.
_LONG_ABSENCE_S = 0.5
_STATED = "stated"
_FILM_DIAGONAL_MM = 43.267  # of the 35 mm film that equivalent focal lengths refer to

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class Options:
    """What `animate` may be told; everything has a stated default.

    Attributes:
        height_m: The person's stature in metres; None: an average adult's, stated in the report.
        focal_px: Focal length in pixels.
        fov_deg: Horizontal field of view in degrees, instead of `focal_px`.
        calibration: A Pose2Sim TOML calibration; the world is then its own.
        camera: Which of the calibration's cameras; None: the only one, or the one the input is named after.
        start, end: Seconds of the video to use.
        person: "largest", "central" or a number.
        detector: Name in `DETECTORS`.
        pose_model, person_model: The detector's own model files, where it takes some.
        lifter: Name in `LIFTERS`, an ONNX file, or `package.module:Class`.
        keypoints_format: Layout of a key point file; None: decided by a stated rule.
        fps: Frames per second of a key point file that states none.
        image_size: (width, height) of a key point file that states none.
        threads: For ONNX Runtime and linear algebra.
        detector_options: What else the detector takes, by name; None as a value: its default.
    """

    height_m: float | None = None
    focal_px: float | None = None
    fov_deg: float | None = None
    calibration: Path | None = None
    camera: str | None = None
    start: float | None = None
    end: float | None = None
    person: str | int = "largest"
    detector: str = "mediapipe"
    pose_model: Path | None = None
    person_model: Path | None = None
    lifter: str = "temporal"
    keypoints_format: str | None = None
    fps: float | None = None
    image_size: tuple[int, int] | None = None
    threads: int = 1
    detector_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        low, high = _HEIGHTS_M
        if self.height_m is not None and not low <= self.height_m <= high:
            raise InputError(f"--height {self.height_m:g}: expected metres between {low} and {high}, such as 1.75")
        if self.focal_px is not None and not (np.isfinite(self.focal_px) and self.focal_px > 1):
            raise InputError(f"--focal {self.focal_px:g}: expected pixels, such as 1500")
        if self.fov_deg is not None and not 1 < self.fov_deg < 170:
            raise InputError(f"--fov {self.fov_deg:g}: expected degrees between 1 and 170")
        if sum(x is not None for x in (self.focal_px, self.fov_deg, self.calibration)) > 1:
            raise InputError("give one of --focal, --fov and --calibration")
        if self.threads < 1:
            raise InputError(f"--threads {self.threads}: expected 1 or more")


def sample_path() -> Path:
    """The bundled sample video: a rendered figure, 1.75 m tall, whose true motion is known."""
    return Path(str(files("kinelift") / "assets" / "sample.mp4"))


def animate(path: str | Path, options: Options | None = None, progress: Progress | None = None, **changes: Any) -> Take:
    """Turn a video, a picture, key points or a `motion.npz` into a world-space animation.

    `changes` are fields of `Options`: `animate("walk.mp4", height_m=1.8)`. Raises `InputError` for input that cannot be
    used; everything that is merely odd becomes a line in `take.report["warnings"]`.
    """
    from threadpoolctl import threadpool_limits

    options = dataclasses.replace(options or Options(), **changes)
    tell = progress or (lambda stage, done, total: None)
    lifter = load_lifter(options.lifter, options.threads)
    began = time.perf_counter()
    detection, stored = _key_points(path, options, tell)
    pose, shot_warnings = _one_shot(detection)
    camera, focal_source, calibrated = _camera(path, pose, detection, options, stored)
    seconds = {"detect": time.perf_counter() - began}
    with threadpool_limits(options.threads):
        began = time.perf_counter()
        tell("repair", 0, 1)
        visible, sight = within_picture(pose) if _size_stated(path, options, stored) else (pose, Sight())
        mended, repairs = repair(visible)
        body = mapped(mended, BODY26)
        tell("lift", 0, 1)
        lifted = answer(lifter, mapped(mended, lifter.skeleton), camera)
        tell("solve", 0, 1)
        height, scale_source = _height(path, options, stored)
        result = clean(lifted, body, camera, height, calibrated, knuckle_lines(mended))
        result = dataclasses.replace(result, motion=result.motion.replaced(observed=visible.detected))
        tell("solve", 1, 1)
        seconds["after_detection"] = time.perf_counter() - began
    facts = _facts(path, options, detection, lifter, result, stored)
    facts |= {"height_m": height, "scale_source": scale_source, "focal_source": focal_source}
    report = {
        **quality(result.motion, result.camera, body, lifted),
        **_repair_facts(repairs, sight),
        **_sources(facts, result, lifted),
        "seconds_spent": {k: round(v, 3) for k, v in seconds.items()},
        "warnings": [*detection.warnings, *shot_warnings, *_remarks(visible, sight, facts)],
    }
    return Take((result.motion,), result.camera, (pose,), facts, report)


def _is_sample(path: str | Path) -> bool:
    return Path(path) == sample_path()


def _height(path: str | Path, options: Options, stored: Take | None) -> tuple[float, str]:
    """The stature in metres, and where it comes from."""
    if options.height_m is not None:
        return options.height_m, "height given"
    if _is_sample(path):
        return SAMPLE_HEIGHT_M, "known height of the sample"
    if stored is not None and isinstance(stored.meta.get("height_m"), int | float):
        return float(stored.meta["height_m"]), str(stored.meta.get("scale_source", "motion.npz"))
    return STATURE_PRIOR_M, f"prior height {STATURE_PRIOR_M} m +- {STATURE_PRIOR_SIGMA:.0%}"


def _key_points(path: str | Path, options: Options, tell: Progress) -> tuple[Detection, Take | None]:
    """2D key points from whatever the input is, and the earlier take where it is a `motion.npz`."""
    if is_keypoint_input(path):
        found = read_keypoints(path, options.person, options.keypoints_format, options.fps, options.image_size)
        return _between(found, options), None
    if Path(path).suffix.lower() == ".npz":
        take = load_motion(path)
        if not take.poses_2d:
            raise InputError(f"{path}: holds no 2D key points to solve again from")
        meta = take.meta
        provenance = dict(meta.get("detector") or {})
        return _between(Detection(take.poses_2d[0], (), 1, (), {"name": str(path)}, provenance), options), take
    models = {"model": options.pose_model, "person_model": options.person_model, **options.detector_options}
    detector = make_detector(options.detector, **{k: v for k, v in models.items() if v is not None})
    found = detect_video(
        path, detector, options.person, options.start, options.end, lambda done, total: tell("detect", done, total)
    )
    return found, None


def _size_stated(path: str | Path, options: Options, stored: Take | None) -> bool:
    """Whether the picture's size is known: foreign key point files state none, and their points' extent is no edge."""
    if stored is not None:
        return stored.meta.get("image_size_source", _STATED) == _STATED
    return options.image_size is not None or not is_keypoint_input(path) or Path(path).suffix.lower() == ".npz"


def _between(detection: Detection, options: Options) -> Detection:
    """Only the frames from `start` up to `end` seconds."""
    pose = detection.pose
    start, end = (-np.inf if options.start is None else options.start), (np.inf if options.end is None else options.end)
    keep = np.flatnonzero((pose.times >= start) & (pose.times < end))
    if not len(keep):
        held = f"{pose.times[0]:.2f} to {pose.times[-1]:.2f} s"
        raise InputError(f"--start {options.start} --end {options.end}: no frame lies between (there is {held})")
    return dataclasses.replace(detection, pose=pose.sliced(slice(keep[0], keep[-1] + 1)))


def _one_shot(detection: Detection) -> tuple[Pose2D, list[str]]:
    """The shot in which the person is seen longest: a solve cannot cross a cut."""
    if not detection.cuts:
        return detection.pose, []
    shots = detection.shots()
    shot = max(shots, key=lambda s: int(detection.pose.detected[s].sum()))
    pose = detection.pose.sliced(shot)
    line = f"of {len(shots)} shots the one from {pose.times[0]:.2f} to {pose.times[-1]:.2f} s is animated"
    return pose, [line]


def _camera(
    path: str | Path, pose: Pose2D, detection: Detection, options: Options, stored: Take | None
) -> tuple[Camera, str, bool]:
    """The camera, where its focal length came from, and whether its pose in the world is known."""
    size = pose.image_size
    if options.calibration is not None:
        return _calibrated(path, options.calibration, options.camera, size), "calibration", True
    if options.focal_px is not None:
        return Camera.from_focal(options.focal_px, size), "given", False
    if options.fov_deg is not None:
        return Camera.from_focal(focal_from_fov(options.fov_deg, size), size), "field of view given", False
    if stored is not None:
        known = stored.meta.get("world_source") == "calibration"
        return stored.camera, str(stored.meta.get("focal_source", "motion.npz")), known
    film = detection.source.get("focal_35mm")
    if film:
        return Camera.from_focal(float(film) / _FILM_DIAGONAL_MM * float(np.hypot(*size)), size), "metadata", False
    return Camera.from_focal(prior_focal_px(size), size), "prior (0.85 x long side)", False


def _calibrated(path: str | Path, calibration: Path, name: str | None, size: tuple[int, int]) -> Camera:
    cameras = read_calibration(calibration, name)
    if len(cameras) > 1:
        plain = {"".join(c for c in k if c.isalnum()).lower(): k for k in cameras}
        key = "".join(c for c in Path(path).stem if c.isalnum()).lower()
        if key not in plain:
            raise InputError(f"{calibration}: several cameras; say which with --camera: {', '.join(cameras)}")
        cameras = {plain[key]: cameras[plain[key]]}
    camera = next(iter(cameras.values()))
    if camera.image_size == size:
        return camera
    w, h = camera.image_size
    if abs(size[0] / w - size[1] / h) > 0.02 * size[0] / w:
        raise InputError(f"{calibration}: is for pictures of {w} x {h}, the input has {size[0]} x {size[1]}")
    K = camera.K * np.array([[size[0] / w], [size[1] / h], [1.0]])
    return camera.replaced(K=K, image_size=size)


def _repair_facts(repairs: RepairReport, sight: Sight) -> dict[str, Any]:
    return {
        "edge_points_distrusted": sight.distrusted,
        "swapped_frames_repaired": repairs.swapped_frames,
        "outlier_points_dropped": repairs.outliers,
        "points_bridged": repairs.bridged,
        "gap_limit_s": GAP_LIMIT_S,
    }


def _facts(
    path: str | Path,
    options: Options,
    detection: Detection,
    lifter: Lifter,
    result: Cleaned,
    stored: Take | None,
) -> dict[str, Any]:
    """`meta` of the native file: what made it. Nothing here differs between two runs of the same input."""
    import onnxruntime
    import scipy

    given = {k: str(v) if isinstance(v, Path) else v for k, v in dataclasses.asdict(options).items() if v is not None}
    return {
        "input": stored.meta.get("input", Path(path).name) if stored else Path(str(path)).name,
        "source": {k: v for k, v in detection.source.items() if k != "name"},
        "options": given,
        "detector": detection.provenance,
        "lifter": lifter.provenance(),
        "lifter_scale": round(result.lifter_scale, 6),
        "focal_px": round(result.camera.focal_px, 4),
        "image_size_source": _STATED if _size_stated(path, options, stored) else "extent of the key points",
        "world_source": result.ground.source,
        "floor_y": round(result.ground.floor_y, 5),
        "versions": {
            "kinelift": __version__,
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "onnxruntime": onnxruntime.__version__,
        },
        "seed": 0,
        "threads": options.threads,
    }


def _sources(facts: dict[str, Any], result: Cleaned, lifted: Lifted) -> dict[str, Any]:
    down = result.camera.R_cam_world @ np.array([0, -1.0, 0])
    missing = _not_given(lifted)
    return {
        "scale": {"height_m": facts["height_m"], "source": facts["scale_source"]},
        "focal": {"focal_px": facts["focal_px"], "source": facts["focal_source"]},
        "world": {
            "source": facts["world_source"],
            "camera_height_m": round(float(result.camera.position[1] - result.ground.floor_y), 3),
            "camera_pitch_down_deg": round(float(np.degrees(np.arcsin(np.clip(down[2], -1, 1)))), 2),
        },
        "lifter": facts["lifter"].get("name"),
        "filled_joints": missing,
    }


def _not_given(lifted: Lifted) -> list[str]:
    """Body joints that the lifter never gives: the solve fills them from what is seen."""
    carries = joint_map(lifted.skeleton, BODY26) != 0
    never = ~np.isfinite(lifted.positions).all(-1).any(0)
    given = carries.any(1) & ~(carries & never).any(1)
    return [j for j, g in zip(BODY26.joints, given, strict=True) if not g]


def _remarks(pose: Pose2D, sight: Sight, facts: dict[str, Any]) -> list[str]:
    lines = []
    if sight.entered_s is not None:
        lines.append(f"the person enters the picture at {sight.entered_s:.2f} s: a still pose until then, not observed")
    if sight.left_s is not None:
        lines.append(f"the person leaves the picture at {sight.left_s:.2f} s: a still pose from then on, not observed")
    away = _longest_absence(pose)
    if away > _LONG_ABSENCE_S:
        lines.append(f"the person is unseen for {away:.1f} s at a stretch: those frames are filled, not observed")
    if len(pose.times) == 1:
        lines.append("a single frame: the motion is one pose")
    if facts["scale_source"].startswith("prior"):
        lines.append(f"height not given: {facts['scale_source']} sets the scale; --height makes it metric")
    return lines


def _longest_absence(pose: Pose2D) -> float:
    seen = np.flatnonzero(pose.detected)
    if not len(seen):
        return 0.0
    times = pose.times
    gaps = np.diff(times[seen])[np.diff(seen) > 1]
    return float(max(times[seen[0]] - times[0], times[-1] - times[seen[-1]], gaps.max(initial=0.0)))
