"""What a real detector says of rendered motion, stored beside the exact truth, for the lifter to train on.

`make_detector_data` draws clips (`training.rendered`), runs a detector over their pictures as video and follows the
person as the pipeline does. A folder holds shards of clips, one kind of motion each; a run that was stopped goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kinelift import __version__
from kinelift.camera import Camera
from kinelift.datasets.mocap import Clip
from kinelift.detect import Detector, make_detector
from kinelift.detect.follow import Follower
from kinelift.errors import InputError, RecordError
from kinelift.lift import mapped
from kinelift.lift.rays import INPUT_JOINTS, input_joints
from kinelift.records import Frame, Pose2D, _Record, frozen_array
from kinelift.safe.npz import read_npz, reason
from kinelift.skeleton import BODY26
from kinelift.training.rendered import KINDS, Scene, random_scene

# Of one shard, unpacked.
_LARGEST = 2 * 10**9
FORMAT = "kinelift-detector-data/1"
CLIPS_PER_SHARD = 16
# Fixed-point steps of the stored int16 numbers, and what stands for "not given".
_PX, _M, _ABSENT = 1 / 32, 1e-4, -32768


@dataclass(frozen=True, eq=False)
class DetectorClip(_Record):
    """One rendered clip: what the detector said, and what was so. T frames; 21 joints are `lift.rays.INPUT_JOINTS`.

    Attributes:
        kind: "generated" or "mocap".
        fps: Frames per second.
        camera: The true one; its world is the motion's (Y up, metres).
        xy: (T, 21, 2) pixels; NaN where unseen.
        confidence: (T, 21) in [0, 1]; 0 where unseen.
        detector_3d: (T, 21, 3) metres, root-relative, the detector's own; NaN where it gives none.
        positions: (T, 26, 3) metres in the camera's axes, BODY26, true; NaN for joints that the motion lacks.
        contact: (T, 4) in [0, 1], true: left heel, left toe, right heel, right toe.
    """

    kind: str
    fps: float
    camera: Camera
    xy: np.ndarray
    confidence: np.ndarray
    detector_3d: np.ndarray
    positions: np.ndarray
    contact: np.ndarray

    def __post_init__(self) -> None:
        joints = len(INPUT_JOINTS)
        frozen_array(self, "xy", (None, joints, 2))
        t = len(self.xy)
        frozen_array(self, "confidence", (t, joints))
        frozen_array(self, "detector_3d", (t, joints, 3))
        frozen_array(self, "positions", (t, len(BODY26), 3))
        frozen_array(self, "contact", (t, 4))
        if self.kind not in KINDS:
            raise RecordError(f"kind: expected {' or '.join(KINDS)}, got '{self.kind}'")
        if not (np.isfinite(self.fps) and self.fps > 0):
            raise RecordError(f"fps: expected frames per second above 0, got {self.fps}")
        if t == 0 or not np.isfinite(self.positions[:, 0]).all():
            raise RecordError("positions: expected at least one frame, and a pelvis in each")
        for name in ("confidence", "contact"):
            if not ((getattr(self, name) >= 0) & (getattr(self, name) <= 1)).all():
                raise RecordError(f"{name}: expected values in [0, 1]")
        if (self.confidence[~np.isfinite(self.xy).all(-1)] > 0).any():
            raise RecordError("confidence: expected 0 where xy is not finite")

    @property
    def times(self) -> np.ndarray:
        """(T,) seconds."""
        return np.arange(len(self.xy)) / self.fps

    def pose(self) -> Pose2D:
        """What was detected as BODY26 key points, as `lift.mapped` gives them to a lifter: ready for `repair`."""
        confidence = _with_middles(np.where(self.confidence > 0, self.confidence, np.nan)[..., None], np.min)[..., 0]
        d3 = _with_middles(self.detector_3d, np.mean)
        return Pose2D(
            skeleton=BODY26,
            xy=_with_middles(self.xy, np.mean),
            confidence=np.nan_to_num(confidence),
            times=self.times,
            image_size=self.camera.image_size,
            detector_3d=d3 if np.isfinite(d3).any() else None,
        )

    @property
    def rays(self) -> np.ndarray:
        """(T, 21, 2) x/z and y/z of what was detected; NaN where unseen."""
        return self.camera.unproject(self.xy)

    @property
    def true_xy(self) -> np.ndarray:
        """(T, 21, 2) pixels of the true joints."""
        return self.camera.project_camera(input_joints(self.positions))

    @property
    def gravity(self) -> np.ndarray:
        """(3,) unit vector that points down, in the camera's axes."""
        return np.asarray(self.camera.R_cam_world @ np.array([0, -1.0, 0]))


_MIDDLES = {"pelvis": "hip", "neck": "shoulder", "head": "ear"}


def _with_middles(x: np.ndarray, combine: Callable[..., np.ndarray]) -> np.ndarray:
    """BODY26 values (T, 26, C) of the input joints' (T, 21, C), those on the midline combined from their pair."""
    out = np.full((len(x), len(BODY26), x.shape[-1]), np.nan)
    out[:, BODY26.indices(*INPUT_JOINTS)] = x
    for middle, joint in _MIDDLES.items():
        pair = out[:, BODY26.indices(f"left_{joint}", f"right_{joint}")]
        out[:, BODY26.index(middle)] = combine(pair, axis=1)
    return out


def observe_scene(scene: Scene, detector: Detector) -> DetectorClip:
    """Draw a scene, run the detector over its pictures as video, and follow the person."""
    pose = mapped(_followed(scene, detector), BODY26)
    d3 = np.full((*pose.xy.shape[:2], 3), np.nan) if pose.detector_3d is None else pose.detector_3d
    return DetectorClip(
        kind=scene.kind,
        fps=scene.fps,
        camera=scene.camera,
        xy=input_joints(pose.xy),
        confidence=input_joints(pose.confidence[..., None])[..., 0],
        detector_3d=input_joints(d3),
        positions=scene.camera.to_camera(scene.positions),
        contact=scene.contact,
    )


def _followed(scene: Scene, detector: Detector) -> Pose2D:
    """The largest person's key points in the detector's own skeleton, nothing seen where nobody was found."""
    follower = Follower(detector.skeleton, scene.camera.image_size)
    waiting: list[Frame] = []

    def frames() -> Iterator[Frame]:
        for i, picture in enumerate(scene.pictures()):
            waiting.append(Frame(picture, i / scene.fps))
            yield waiting[-1]

    for candidates in detector.detect(frames()):
        frame = waiting.pop(0)
        follower.add(frame.time, candidates, frame.image)
    if follower.persons():
        return follower.pose("largest")
    t, j = len(scene.positions), len(detector.skeleton)
    times = np.arange(t) / scene.fps
    return Pose2D(detector.skeleton, np.full((t, j, 2), np.nan), np.zeros((t, j)), times, scene.camera.image_size)


def make_detector_data(
    out: Path,
    mocap: Sequence[Path],
    clips: int = 400,
    seed: int = 0,
    detector: str | Detector = "mediapipe",
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Make shards of rendered clips seen by a detector; shards that are there already are kept.

    Args:
        out: Folder of the shards `KIND-NNNN.npz`, made if needed.
        mocap: Motion capture npz files or folders; held-out clips are left out. Empty: generated motion only.
        clips: How many, rounded up to whole shards of 16.
        seed: Clip i is drawn from (seed, i), whatever the order.
        detector: A name in `detect.DETECTORS`, or a detector.
        progress: Called after each clip with the clips done and the number of clips.

    Returns `out`. Raises `InputError`, also where the folder holds shards of another run.
    """
    if clips < 1 or seed < 0:
        raise InputError(f"clips {clips}, seed {seed}: expected at least 1 clip and a seed of at least 0")
    train = _training_clips(list(mocap)) if mocap else []
    kinds = KINDS if train else KINDS[:1]
    detector = make_detector(detector) if isinstance(detector, str) else detector
    about = {"format": FORMAT, "seed": seed, "kinds": list(kinds), "detector": detector.provenance()}
    out.mkdir(parents=True, exist_ok=True)
    shards = -(-clips // CLIPS_PER_SHARD)
    for shard in range(shards):
        kind = kinds[shard % len(kinds)]
        path, numbers = out / f"{kind}-{shard:04d}.npz", range(shard * CLIPS_PER_SHARD, (shard + 1) * CLIPS_PER_SHARD)
        if path.exists():
            _check_same_run(path, about)
        else:
            made = []
            for i in numbers:
                made.append(_clip(seed, i, kind, train, detector))
                if progress is not None:
                    progress(i + 1, shards * CLIPS_PER_SHARD)
            write_detector_data(path, made, {**about, "first_clip": numbers[0]})
    return out


def _training_clips(mocap: list[Path]) -> list[Clip]:
    from kinelift.training.temporal import held_out, read_clips  # needs torch; generated motion alone does not

    return [c for c in read_clips(mocap) if not held_out(c)]


def _clip(seed: int, i: int, kind: str, clips: list[Clip], detector: Detector) -> DetectorClip:
    return observe_scene(random_scene(np.random.default_rng((seed, i)), kind, clips), detector)


def _check_same_run(path: Path, about: dict[str, Any]) -> None:
    there = read_about(path)
    for key, value in about.items():
        if there.get(key) != value:
            raise InputError(f"{path}: is of another run ({key} {there.get(key)}, now {value}); give another folder")


def write_detector_data(path: Path, clips: Sequence[DetectorClip], about: dict[str, Any] | None = None) -> None:
    """Write clips to one npz, whole or not at all: pixels to 1/32, true positions to 0.1 mm, the rest float16."""

    def joined(values: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(values)

    root = [c.positions[:, :1] for c in clips]
    arrays: dict[str, Any] = {
        "lengths": np.array([len(c.xy) for c in clips], np.int32),
        "kind": np.array([c.kind for c in clips]),
        "fps": np.array([c.fps for c in clips]),
        "K": np.stack([c.camera.K for c in clips]),
        "R_cam_world": np.stack([c.camera.R_cam_world for c in clips]),
        "t_cam_world": np.stack([c.camera.t_cam_world for c in clips]),
        "image_size": np.array([c.camera.image_size for c in clips], np.int32),
        "xy": _packed(joined([c.xy for c in clips]), _PX),
        "confidence": joined([c.confidence for c in clips]).astype(np.float16),
        "detector_3d": joined([c.detector_3d for c in clips]).astype(np.float16),
        "root": joined([r[:, 0] for r in root]).astype(np.float32),
        "positions": _packed(joined([c.positions - r for c, r in zip(clips, root, strict=True)]), _M),
        "contact": joined([c.contact for c in clips]).astype(np.float16),
        "joint_names": np.array(INPUT_JOINTS),
        "about": np.array(json.dumps({"format": FORMAT, **(about or {}), "kinelift": __version__})),
    }
    part = path.with_suffix(".part")
    with part.open("wb") as f:
        np.savez_compressed(f, **arrays)
    part.replace(path)


def _packed(x: np.ndarray, step: float) -> np.ndarray:
    near = np.clip(np.round(np.nan_to_num(x) / step), -32767, 32767)
    return np.where(np.isfinite(x), near, _ABSENT).astype(np.int16)


def _unpacked(x: np.ndarray, step: float) -> np.ndarray:
    return np.where(x == _ABSENT, np.nan, x.astype(np.float64) * step)


def read_about(path: Path) -> dict[str, Any]:
    """How a shard was made: format, seed, detector and its weights, kinelift's version. Raises `InputError`."""
    return dict(_load(path)[1])


def read_detector_data(path: Path) -> list[DetectorClip]:
    """Clips of one shard, or of every `*.npz` in a folder by name. Raises `InputError`."""
    files = sorted(path.glob("*.npz")) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{path}: holds no detector data (*.npz); make some with: kinelift train detector-data")
    return [c for f in files for c in _read(f)]


def _load(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    try:
        arrays = read_npz(path, "cannot be read as detector data", limit=_LARGEST)
        about = json.loads(str(arrays.pop("about")))
    except (LookupError, RecursionError, ValueError) as e:
        raise InputError(f"{path}: cannot be read as detector data ({reason(e)})") from None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise InputError(f"{path}: is not of the format {FORMAT}")
    return arrays, about


def _read(path: Path) -> list[DetectorClip]:
    a, _ = _load(path)
    try:
        if tuple(str(j) for j in a["joint_names"]) != INPUT_JOINTS:
            raise InputError(f"{path}: joint_names are not the lifter's input joints")
        ends = np.cumsum(a["lengths"].astype(int))
        if (a["lengths"] < 1).any() or any(
            len(a[k]) != ends[-1] for k in ("xy", "confidence", "detector_3d", "root", "positions", "contact")
        ):
            raise InputError(f"{path}: lengths do not fit the arrays")
        return [_one(a, i, slice(end - n, end)) for i, (n, end) in enumerate(zip(a["lengths"], ends, strict=True))]
    except (ArithmeticError, LookupError, TypeError, ValueError) as e:
        raise InputError(f"{path}: cannot be read as detector data ({reason(e)})") from None


def _one(a: dict[str, np.ndarray], i: int, frames: slice) -> DetectorClip:
    w, h = (int(v) for v in a["image_size"][i])
    return DetectorClip(
        kind=str(a["kind"][i]),
        fps=float(a["fps"][i]),
        camera=Camera(a["K"][i], a["R_cam_world"][i], a["t_cam_world"][i], (w, h), np.zeros(5)),
        xy=_unpacked(a["xy"][frames], _PX),
        confidence=a["confidence"][frames],
        detector_3d=a["detector_3d"][frames],
        positions=a["root"][frames].astype(np.float64)[:, None] + _unpacked(a["positions"][frames], _M),
        contact=a["contact"][frames],
    )
