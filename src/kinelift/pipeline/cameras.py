"""The camera that the user, a file or a prior states, and how it moved."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from kinelift.camera import CalibratedCamera, Camera, focal_from_fov, prior_focal_px, read_cameras
from kinelift.detect import Detection
from kinelift.errors import InputError
from kinelift.lift import Lifter, answer
from kinelift.pipeline.inputs import Progress, frames_again, has_pictures
from kinelift.pipeline.options import Options
from kinelift.records import Pose2D, Take
from kinelift.repair.edits import Edits, read_edits
from kinelift.skeleton import BODY26
from kinelift.trajectory.depth import DepthNetwork, PersonDepth, person_depth
from kinelift.trajectory.focal import PRIOR_SIGMA, refine_focal
from kinelift.trajectory.odometry import CameraPath, track_camera

_FILM_DIAGONAL_MM = 43.267  # of the 35 mm film that equivalent focal lengths refer to


def stated_camera(
    path: str | Path, pose: Pose2D, detection: Detection, options: Options, stored: Take | None
) -> tuple[Camera, str, bool]:
    """The camera, where its focal length came from, and whether its pose in the world is known."""
    size = pose.image_size
    if options.calibration is not None:
        found = _calibrated(path, options.calibration, options.camera_name, size)
        return found.camera, "calibration", found.posed
    if options.focal_px is not None:
        return Camera.from_focal(options.focal_px, size), "given", False
    if options.fov_deg is not None:
        return Camera.from_focal(focal_from_fov(options.fov_deg, size), size), "field of view given", False
    if stored is not None:
        known = stored.meta.get("world_source") == "calibration"
        camera = stored.camera
        if camera.R_cam_world.ndim == 3 or camera.t_cam_world.ndim == 2:  # its path is `camera_path`'s
            camera = camera.replaced(R_cam_world=np.eye(3), t_cam_world=np.zeros(3))
        return camera, str(stored.meta.get("focal_source", "motion.npz")), known
    film = detection.source.get("focal_35mm")
    if film:
        return Camera.from_focal(float(film) / _FILM_DIAGONAL_MM * float(np.hypot(*size)), size), "metadata", False
    return Camera.from_focal(prior_focal_px(size), size), "prior (0.85 x long side)", False


def refined_lens(
    lifter: Lifter, body: Pose2D, camera: Camera, source: str, seen: Surroundings, stored_sigma: float | None
) -> tuple[Camera, str, float]:
    """The camera with the focal length that the clip gives away, what that was found from, and its uncertainty as a
    share: where nothing but the prior stated it, the camera stands still and the lifter works on rays of body26.

    `stored_sigma` is an earlier solve's, where that is solved again.
    """
    if not source.startswith("prior ("):
        return camera, source, (stored_sigma or 0.0) if source.startswith("prior") else 0.0
    if seen.path is not None or lifter.skeleton.joints != BODY26.joints:
        return camera, source, PRIOR_SIGMA
    found = refine_focal(lambda pose, tried: answer(lifter, pose, tried), body, camera, seen.depth)
    K = camera.K.copy()
    K[[0, 1], [0, 1]] *= found.focal_px / camera.focal_px
    return camera.replaced(K=K), found.source, found.sigma_px / found.focal_px


def _calibrated(path: str | Path, calibration: Path, name: str | None, size: tuple[int, int]) -> CalibratedCamera:
    cameras = read_cameras(calibration, name)
    if len(cameras) > 1:
        plain = {"".join(c for c in k if c.isalnum()).lower(): k for k in cameras}
        key = "".join(c for c in Path(path).stem if c.isalnum()).lower()
        if key not in plain:
            raise InputError(f"{calibration}: several cameras; say which with --camera-name: {', '.join(cameras)}")
        cameras = {plain[key]: cameras[plain[key]]}
    found = next(iter(cameras.values()))
    camera = found.camera
    if camera.image_size == size:
        return found
    w, h = camera.image_size
    if abs(size[0] / w - size[1] / h) > 0.02 * size[0] / w:
        raise InputError(f"{calibration}: is for pictures of {w} x {h}, the input has {size[0]} x {size[1]}")
    K = camera.K * np.array([[size[0] / w], [size[1] / h], [1.0]])
    return replace(found, camera=camera.replaced(K=K, image_size=size))


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What a second look at the pictures says.

    Attributes:
        path: How the camera moved; None: it stands still.
        depth: How far away the person is, by a depth network.
        warnings: Lines for the user.
    """

    path: CameraPath | None = None
    depth: PersonDepth | None = None
    warnings: tuple[str, ...] = ()

    @property
    def facts(self) -> dict[str, Any]:
        """For `meta`."""
        moves = "static" if self.path is None else "travelling" if self.path.translating else "turning"
        return {"camera_motion": moves} | ({"depth_source": self.depth.source} if self.depth else {})


def read_first(options: Options) -> tuple[Options, DepthNetwork | None]:
    """The user's edits and depth network, read before minutes of work go by. Raises `InputError`."""
    network = None if options.depth is None else DepthNetwork(options.depth, options.threads)
    if options.edits is None or isinstance(options.edits, Edits):
        return options, network
    return replace(options, edits=read_edits(options.edits)), network


def surroundings(
    path: str | Path,
    pose: Pose2D,
    camera: Camera,
    calibrated: bool,
    options: Options,
    stored: Take | None,
    network: DepthNetwork | None,
    tell: Progress,
) -> Surroundings:
    """The camera's path and the person's depth, from the pictures where there are any."""
    tell("camera", 0, 1)
    moves = camera_path(path, pose, camera, calibrated, options, stored)
    warnings = () if moves is None else moves.warnings
    tell("camera", 1, 1)
    depth = None
    if network is not None:
        if stored is not None or not has_pictures(path):
            raise InputError(f"--depth: {path} holds no pictures for the network to look at")
        tell("depth", 0, 1)
        with frames_again(path, pose) as frames:
            depth = person_depth(frames, pose, network)
        tell("depth", 1, 1)
    return Surroundings(moves if moves is not None and moves.moving else None, depth, warnings)


def camera_path(
    path: str | Path, pose: Pose2D, camera: Camera, calibrated: bool, options: Options, stored: Take | None
) -> CameraPath | None:
    """How the camera moved; None where it stands still, or nothing can tell."""
    if options.camera == "static":
        return None
    reason = None
    if calibrated:
        reason = "the calibration says where the camera stands"
    elif stored is not None:
        if (stored.tracked or stored.camera).R_cam_world.ndim == 3:
            return _path_of(stored, pose)
        reason = f"{path} holds no pictures, and its camera stood still"
    elif not has_pictures(path):
        reason = f"{path} holds no pictures that could be seen again"
    if reason is not None:
        if options.camera == "moving":
            raise InputError(f"--camera moving: {reason}")
        return None
    if len(pose.times) < 2:
        return None
    with frames_again(path, pose) as frames:
        found = track_camera(frames, pose, camera, options.camera)
    return found


def _path_of(stored: Take, pose: Pose2D) -> CameraPath:
    """The path in a take that is solved again, as odometry had it where the take says so, at the frames of `pose`."""
    at = np.searchsorted(stored.motions[0].times, pose.times - 1e-9)
    camera = stored.tracked or stored.camera
    R, t = camera.R_cam_world[at], camera.t_cam_world
    t = t[at] if t.ndim == 2 else np.tile(t, (len(at), 1))
    turned = R @ R[0].T
    moved = t - turned @ t[0]
    moved[np.abs(moved).max(1) < 1e-9] = 0
    turned[0], moved[0] = np.eye(3), 0
    return CameraPath(turned, moved, True, bool(moved.any()), np.ones(len(at)))
