"""What `animate` may be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from kinelift.cleanup import FOOT_LOCKS
from kinelift.errors import InputError
from kinelift.repair.edits import Edits
from kinelift.trajectory.odometry import MODES

SAMPLE = "sample"
SAMPLE_HEIGHT_M = 1.75
_HEIGHTS_M = (0.4, 2.6)


@dataclass(frozen=True)
class Options:
    """What `animate` may be told; everything has a stated default.

    Attributes:
        height_m: The person's stature in metres; None: an average adult's, stated in the report.
        focal_px: Focal length in pixels.
        fov_deg: Horizontal field of view in degrees, instead of `focal_px`.
        calibration: A calibration file (Pose2Sim TOML, OpenCV YAML or XML, Qualisys XML); where it says how the camera
            stands, the world is its own.
        camera_name: Which of the calibration's cameras; None: the only one, or the one the input is named after.
        camera: "static", "moving", or "auto": found from the surroundings.
        depth: A metric depth network (ONNX), a further opinion of how far away the person is.
        foot_lock: "auto", "always", "never" or "ground": what planted soles are held to.
        joint_limits: Whether joints keep within published ranges of motion.
        asymmetric: Whether bones of the left and of the right may differ in length.
        treadmill: Whether the person walks on a belt, in place.
        edits: Repair by hand: a file, or `Edits`.
        start: First second of the video to use.
        end: Last second of the video to use.
        person: "largest", "central" or a number.
        detector: Name in `DETECTORS`.
        pose_model: The detector's own model file, where it takes one.
        person_model: rtmpose's file that finds people.
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
    camera_name: str | None = None
    camera: str = "auto"
    depth: Path | None = None
    foot_lock: str = "auto"
    joint_limits: bool = True
    asymmetric: bool = False
    treadmill: bool = False
    edits: Path | Edits | None = None
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
        for option, value, known in (("--camera", self.camera, MODES), ("--foot-lock", self.foot_lock, FOOT_LOCKS)):
            if value not in known:
                hint = "; which camera of a calibration is --camera-name" if option == "--camera" else ""
                raise InputError(f"{option} {value}: expected {', '.join(known)}{hint}")
        if self.threads < 1:
            raise InputError(f"--threads {self.threads}: expected 1 or more")


def sample_path() -> Path:
    """The bundled sample video: a rendered figure, 1.75 m tall, whose true motion is known."""
    return Path(str(files("kinelift") / "assets" / "sample.mp4"))


def is_sample(path: str | Path) -> bool:
    """Whether the input is the bundled sample."""
    return Path(path) == sample_path()
