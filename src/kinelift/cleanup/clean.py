"""From lifted poses and key points to a motion in the world: scale, root, ground, contacts, solve, in that order."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kinelift.camera import Camera
from kinelift.cleanup.contacts import contact_of
from kinelift.cleanup.palms import turn_palms
from kinelift.cleanup.rig import constant_bones, first_rotations
from kinelift.cleanup.settings import Given, Settings
from kinelift.cleanup.solve import SOLES, Evidence, solve
from kinelift.errors import InputError
from kinelift.kinematics import (
    STATURE_PRIOR_M,
    continuous_quats,
    forward_kinematics,
    mass_weights,
    matrix_to_quat,
)
from kinelift.records import Lifted, Motion, Pose2D
from kinelift.skeleton import BODY26, joint_map
from kinelift.trajectory import Ground, calibrated_ground, find_ground, solve_root
from kinelift.trajectory.world import SOLE_NOISE_AFTER_M, levelled, mean_direction, standing_lean

_B = BODY26.index
# What a detector's key point is worth beside a limb joint: derived points repeat others; detectors place ears, noses
# and toe tips elsewhere on the body than the rig does.
_RAY_WORTH = {"pelvis": 0.0, "neck": 0.0, "head": 0.0, "nose": 0.15, "ear": 0.15, "hand": 0.5, "heel": 0.5, "toe": 0.3}
# Relative to the reference body: the error assumed of a joint whose lifter states none.
_SIGMA_UNSTATED = 0.06
# Metres: the error stated of a joint that the lifter does not give.
_SIGMA_FILLED_M = 0.15
# How often contacts and the level of the floor are found anew from the solution so far.
_PASSES = 2
_NOTHING_ELSE, _USUAL = Given(), Settings()


@dataclass(frozen=True, eq=False)
class Cleaned:
    """The motion, the camera in its world, and what was found on the way.

    Attributes:
        motion: The person's animation.
        camera: The camera in the world.
        ground: World source and floor.
        lifter_scale: Metres per unit of the lifter's output.
    """

    motion: Motion
    camera: Camera
    ground: Ground
    lifter_scale: float


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


def _worth(name: str) -> float:
    return next((w for word, w in _RAY_WORTH.items() if name.endswith(word)), 1.0)


def _stated_gravity(lifted: Lifted, detected: np.ndarray) -> tuple[np.ndarray, str]:
    if lifted.gravity is not None:
        return mean_direction(lifted.gravity, np.maximum(detected.astype(float), 1e-3)), "lifter"
    # A lifter without gravity: cameras are held upright and people stand; the mean trunk says which way is up.
    trunk = lifted.positions[:, 0] - lifted.positions[:, _B("neck")]
    trunk = trunk / np.maximum(np.linalg.norm(trunk, axis=-1, keepdims=True), 1e-9)
    return mean_direction(np.nan_to_num(trunk) + np.array([0, 2.0, 0]), detected.astype(float) + 1e-3), "upright camera"


def clean(
    lifted: Lifted,
    pose: Pose2D,
    camera: Camera,
    height_m: float,
    calibrated: bool = False,
    palms: np.ndarray | None = None,
    iterations: int = 2,
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
    lifted = _sliced(to_body26(lifted), span)
    # Nothing but a calibration knows absolute size: without one, the reference body is fitted and scaled at the end.
    fitted = _fit(
        lifted, pose.sliced(span), camera, height_m if calibrated else STATURE_PRIOR_M, calibrated, iterations
    )
    if not calibrated:
        fitted = fitted.scaled(height_m / STATURE_PRIOR_M)
    local = fitted.local
    if palms is not None:
        glob = forward_kinematics(BODY26, fitted.offsets, local, fitted.root)[1]
        rate = len(local) / max(np.ptp(pose.times[span]), 1e-3)
        local = turn_palms(local, glob, palms[span] @ fitted.ground.R_cam_world, 0.1 * rate)
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
        fitted.sigma_m[hold] * _growth(beyond_s)[:, None],
        pose.times,
        pose.person_id,
    )
    ground = fitted.ground
    return Cleaned(
        motion, camera.replaced(R_cam_world=ground.R_cam_world, t_cam_world=ground.t_cam_world), ground, fitted.scale
    )


@dataclass(frozen=True, eq=False)
class _Fitted:
    """A solved stretch: local rotation matrices (T, 26, 3, 3), root (T, 3), contact (T, 4) in the ground's world."""

    offsets: np.ndarray
    local: np.ndarray
    root: np.ndarray
    contact: np.ndarray
    sigma_m: np.ndarray
    ground: Ground
    scale: float

    def scaled(self, factor: float) -> _Fitted:
        """The same motion of a body `factor` times as large, seen from as much further away."""
        return replace(
            self,
            offsets=self.offsets * factor,
            root=self.root * factor,
            sigma_m=self.sigma_m * factor,
            ground=self.ground.scaled(factor),
            scale=self.scale * factor,
        )


def _fit(lifted: Lifted, pose: Pose2D, camera: Camera, height_m: float, calibrated: bool, iterations: int) -> _Fitted:
    sigma = lifted.sigma if lifted.sigma is not None else np.full(lifted.positions.shape[:2], _SIGMA_UNSTATED)
    filled = ~np.isfinite(lifted.positions).all(-1)
    trust = np.where(np.isfinite(lifted.positions).all(-1), pose.detected[:, None] / np.maximum(sigma, 0.01) ** 2, 0.0)
    offsets = constant_bones(lifted.positions, trust, height_m)
    scale = _lifter_scale(lifted.positions, offsets, trust)
    unit = 1.0 if lifted.sigma is not None or lifted.scale == "metric" else 1 / scale
    unseen_s = _unseen_seconds(pose)
    relative_cam = lifted.positions * scale
    sigma_m = np.clip(sigma * unit * scale, 0.015, 0.5) * _growth(unseen_s)[:, None]
    sigma_m = np.where(filled, np.maximum(sigma_m, _SIGMA_FILLED_M), sigma_m)
    rays = camera.unproject(pose.xy)
    worth = np.array([_worth(j) for j in BODY26.joints])
    ray_weight = np.where(np.isfinite(rays).all(-1), pose.confidence * worth, 0.0)

    local = first_rotations(relative_cam)
    shape, _ = forward_kinematics(BODY26, offsets, local, np.zeros((len(local), 3)))
    root_cam = solve_root(shape, rays, ray_weight, pose.times)
    soles_cam = shape[:, SOLES] + root_cam[:, None]
    down, source = _stated_gravity(lifted, pose.detected)
    fading = np.exp(-unseen_s / 0.2)[:, None]
    contact = _spoken_contact(lifted, soles_cam, down, pose.times, height_m) * fading
    if calibrated:
        ground = calibrated_ground(camera, soles_cam, contact)
    else:
        ground = find_ground(down, soles_cam, contact, root_cam[0], source)
    R = ground.R_cam_world
    local[:, 0] = R.T @ local[:, 0]
    root = (root_cam - ground.t_cam_world) @ R
    evidence = Evidence(
        offsets, pose.times, rays, ray_weight, relative_cam @ R, sigma_m, contact, ground.floor_y, R,
        ground.t_cam_world, height_m,
    )  # fmt: skip
    for _ in range(_PASSES):
        local, root = solve(evidence, local, root, iterations)
        positions = forward_kinematics(BODY26, offsets, local, root)[0]
        evidence.contact = contact_of(lifted.contact, positions[:, SOLES], pose.times, height_m) * fading
        if not calibrated:
            local, root, ground = _relevelled(evidence, local, root, positions, ground, down)
    local, root = solve(evidence, local, root, iterations)
    if not calibrated:
        origin = root[0] * [1, 0, 1]
        root, ground = root - origin, ground.moved(origin)
    return _Fitted(offsets, local, root, np.clip(evidence.contact, 0, 1), sigma_m, ground, scale)


def _relevelled(
    e: Evidence, local: np.ndarray, root: np.ndarray, positions: np.ndarray, ground: Ground, down: np.ndarray
) -> tuple[np.ndarray, np.ndarray, Ground]:
    """The solution in a world turned and shifted until its planted soles are level at y = 0; `e` follows.

    `positions` (T, 26, 3) are the solution's, `down` (3,) the lifter's gravity in camera axes.
    """
    soles, planted = positions[:, SOLES], e.contact > 0.6
    if planted.sum() < 10:
        return local, root, ground
    lean = standing_lean(positions, soles, e.contact, e.times, mass_weights())
    R = levelled(ground.R_cam_world, soles[planted], e.contact[planted], down, SOLE_NOISE_AFTER_M, lean)
    turn = R.T @ ground.R_cam_world
    rise = np.array([0, np.median((soles[planted] @ turn.T)[:, 1]), 0])
    ground = replace(ground, R_cam_world=R).moved(rise)
    e.R_cam_world, e.t_cam_world, e.lifted = R, ground.t_cam_world, e.lifted @ turn.T
    local = local.copy()
    local[:, 0] = turn @ local[:, 0]
    return local, root @ turn.T - rise, ground


def _unseen_seconds(pose: Pose2D) -> np.ndarray:
    """(T,) seconds to the nearest frame that shows the person: what is filled is trusted less the further it is."""
    seen = pose.times[pose.detected]
    k = np.clip(np.searchsorted(seen, pose.times), 1, max(len(seen) - 1, 1))
    return np.minimum(np.abs(pose.times - seen[k - 1]), np.abs(pose.times - seen[np.minimum(k, len(seen) - 1)]))


def _growth(unseen_s: np.ndarray) -> np.ndarray:
    """By how much standard deviations grow, so many seconds from the nearest sight of the person."""
    return 1 + unseen_s / 0.15


def _sliced(lifted: Lifted, frames: slice) -> Lifted:
    names = ("positions", "times", "sigma", "gravity", "contact", "depth_cue")
    return lifted.replaced(**{n: getattr(lifted, n)[frames] for n in names if getattr(lifted, n) is not None})


def _lifter_scale(positions: np.ndarray, offsets: np.ndarray, trust: np.ndarray) -> float:
    """Metres per unit of the lifter: total length of the bones it gives, in the rig and in its own median."""
    lengths = np.linalg.norm(positions - positions[:, [max(p, 0) for p in BODY26.parents]], axis=-1)
    given = np.isfinite(lengths).any(0) & (trust.sum(0) > 0)
    given[0] = False
    limbs = [
        j for j in np.flatnonzero(given) if any(w in BODY26.joints[j] for w in ("knee", "ankle", "elbow", "wrist"))
    ]
    if not limbs:
        raise InputError("the lifter gives no knee, ankle, elbow or wrist: no bone says how large the person is")
    return float(np.linalg.norm(offsets[limbs], axis=-1).sum() / max(np.nanmedian(lengths[:, limbs], 0).sum(), 1e-6))


def _spoken_contact(
    lifted: Lifted, soles_cam: np.ndarray, down: np.ndarray, times: np.ndarray, height_m: float
) -> np.ndarray:
    """Contact before any solve: the lifter's own, else from the motion of soles along gravity."""
    if lifted.contact is not None:
        return lifted.contact
    height = -(soles_cam @ down)
    upright = np.stack([soles_cam[..., 0], height, soles_cam[..., 2]], -1)
    return contact_of(None, upright, times, height_m)
