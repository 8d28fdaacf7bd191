"""From lifted poses and key points to a motion in the world: scale, root, ground, contacts, solve, in that order."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kinelift.camera import Camera
from kinelift.cleanup.body import SOLES
from kinelift.cleanup.fit import Fit, growth
from kinelift.cleanup.moving import Views
from kinelift.cleanup.palms import turn_palms
from kinelift.cleanup.settings import Given, Settings
from kinelift.cleanup.sway import swayed
from kinelift.errors import InputError
from kinelift.kinematics import STATURE_PRIOR_M, continuous_quats, forward_kinematics, matrix_to_quat
from kinelift.records import Lifted, Motion, Pose2D
from kinelift.skeleton import BODY26, joint_map
from kinelift.trajectory import Ground

_NOTHING_ELSE, _USUAL = Given(), Settings()


@dataclass(frozen=True, eq=False)
class Cleaned:
    """The motion, the camera in its world, and what was found on the way.

    Attributes:
        motion: The person's animation.
        camera: The camera in the world; a pose a frame where it moves.
        ground: World source and floor, and the first camera's pose.
        lifter_scale: Metres per unit of the lifter's output.
        path_scale: Metres per unit of the camera path's `t`, found from the person; None where the camera keeps its
            place.
        path_sigma: Standard deviation of `path_scale`.
    """

    motion: Motion
    camera: Camera
    ground: Ground
    lifter_scale: float
    path_scale: float | None = None
    path_sigma: float | None = None


def to_body26(lifted: Lifted) -> Lifted:
    """The lifter's joints carried to body26 by the named table; NaN for those it does not give."""
    if lifted.skeleton.joints == BODY26.joints:
        return lifted
    weights = joint_map(lifted.skeleton, BODY26)
    if not weights[0].any():
        raise InputError(f"lifter skeleton {lifted.skeleton.name}: gives no pelvis to place the person by")
    given = (weights != 0).any(1)
    lacking = ~np.isfinite(lifted.positions).all(-1)
    positions = np.einsum("ij,tjc->tic", weights, np.nan_to_num(lifted.positions))
    positions[(lacking[:, None] & (weights != 0)).any(-1)] = np.nan
    positions -= positions[:, :1]
    positions[:, ~given] = np.nan
    sigma = None
    if lifted.sigma is not None:
        sigma = np.where(given, np.nan_to_num(lifted.sigma, nan=1.0) @ np.abs(weights).T, 1.0)
    return lifted.replaced(skeleton=BODY26, positions=positions, sigma=sigma)


def clean(
    lifted: Lifted,
    pose: Pose2D,
    camera: Camera,
    height_m: float,
    calibrated: bool = False,
    palms: np.ndarray | None = None,
    iterations: int = 1,
    given: Given = _NOTHING_ELSE,
    settings: Settings = _USUAL,
) -> Cleaned:
    """Fit one person's motion.

    `lifted` in any skeleton with a table to body26; `pose` in body26 key points; `camera` with its focal length, and
    with its pose where `calibrated`; `height_m` stature; `palms` (T, 2, 3) knuckle lines in camera axes. Each
    pass takes `iterations` Gauss-Newton steps. `given` is further evidence, `settings` how to use it. Frames before
    the person is first seen and after the last hold still.
    """
    seen = np.flatnonzero(pose.detected)
    if not len(seen):
        raise InputError("no frame shows the person")
    span = slice(int(seen[0]), int(seen[-1]) + 1)
    views = _views(given, len(pose.times))
    # Nothing but a calibration knows absolute size: without one, the reference body is fitted and scaled at the end.
    enlarged = 1.0 if calibrated else height_m / STATURE_PRIOR_M
    fit = Fit(
        _sliced(to_body26(lifted), span), pose.sliced(span), camera, height_m / enlarged, enlarged, calibrated,
        views.sliced(span), given.sliced(span), settings,
    )  # fmt: skip
    fitted = fit.run(iterations).scaled(enlarged)
    local = fitted.local
    if palms is not None:
        glob = forward_kinematics(BODY26, fitted.offsets, local, fitted.root)[1]
        rate = len(local) / max(np.ptp(pose.times[span]), 1e-3)
        lines = fitted.views.carried(palms[span]) @ fitted.ground.R_cam_world
        local = turn_palms(local, glob, lines, 0.1 * rate)
    beyond_s = np.maximum(pose.times[span.start] - pose.times, pose.times - pose.times[span.stop - 1]).clip(0)
    hold = np.clip(np.arange(len(pose.times)) - span.start, 0, len(local) - 1)
    motion = Motion(
        BODY26,
        fitted.offsets,
        continuous_quats(matrix_to_quat(local))[hold],
        fitted.root[hold],
        fitted.contact[hold],
        np.array(SOLES),
        pose.detected,
        fitted.sigma_m[hold] * growth(beyond_s)[:, None],
        pose.times,
        pose.person_id,
    )
    ground = fitted.ground
    R, t = replace(views, scale=fitted.views.scale).cameras(ground.R_cam_world, ground.t_cam_world)
    if fitted.sway is not None:
        R, t = swayed(R, t, fitted.sway[hold])
    told = (fitted.views.scale, fitted.views_sigma) if views.translating else (None, None)
    return Cleaned(motion, camera.replaced(R_cam_world=R, t_cam_world=t), ground, fitted.scale, *told)


def _views(given: Given, frames: int) -> Views:
    """How the camera moved. Raises `InputError` where the path has another number of frames."""
    path = given.path
    if path is None or not path.moving:
        return Views.still()
    if len(path.R) != frames:
        raise InputError(f"camera path: expected {frames} frames, as the key points have, got {len(path.R)}")
    return Views(path.R, path.t)


def _sliced(lifted: Lifted, frames: slice) -> Lifted:
    names = ("positions", "times", "sigma", "gravity", "contact", "depth_cue")
    return lifted.replaced(**{n: getattr(lifted, n)[frames] for n in names if getattr(lifted, n) is not None})
