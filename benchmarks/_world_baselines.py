"""What `world.py` compares with: ways to a path in the world that are not a whole-clip solve.

`placed`: the lifter's pose, each frame put where its rays say. `post_processed`: GVHMR's recipe after Shen et al. 2024
(its published post-processing, from its description), on the placed motion, smoothed. `pinned`: the lowest planted foot
is nailed to the floor. All return world positions (T, 26, 3), Y up, and use the lifter's own contact and gravity.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from kinelift.camera import Camera
from kinelift.datasets.mocap import SOLES
from kinelift.kinematics import STATURE_PRIOR_M, shortest_arc
from kinelift.records import Lifted, Pose2D
from kinelift.skeleton import BODY26
from kinelift.trajectory import find_ground, solve_root
from kinelift.trajectory.odometry import CameraPath
from kinelift.trajectory.world import mean_direction

LIMB_WORDS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
# So far apart in time, frames do not pull on each other by their acceleration: each is solved by itself.
_APART = 1e5
_LEGS = tuple(BODY26.indices(*(f"{s}_{j}" for j in ("hip", "knee", "ankle", "heel", "toe"))) for s in ("left", "right"))
_IK_PASSES = 2


def placed(
    lifted: Lifted,
    pose: Pose2D,
    camera: Camera,
    height_m: float,
    path: CameraPath | None = None,
    calibrated: bool = False,
    z: np.ndarray | None = None,
) -> np.ndarray:
    """The lifter's pose at the given stature, root by least squares frame by frame, levelled by gravity and soles.

    With `z` (T,), the pelvis' depth in metres, the root is where its ray is so deep instead. A moving camera's unit is
    the one in which planted soles move least.
    """
    shape = lifted.positions * height_m / STATURE_PRIOR_M
    first, gravity = shape + root_in_camera(shape, pose, camera, z)[:, None], lifted.gravity
    if calibrated:
        return (first - camera.t_cam_world) @ camera.R_cam_world
    if path is not None and path.moving:
        still = np.swapaxes(path.R, 1, 2)
        first = np.einsum("tij,tnj->tni", still, first)
        gravity = np.einsum("tij,tj->ti", still, gravity)
        unit = _unit(first[:, SOLES], path.position, lifted.contact) if path.translating else 0.0
        first = first + unit * path.position[:, None]
    down = mean_direction(gravity, pose.detected.astype(float) + 1e-3)
    ground = find_ground(down, first[:, SOLES], lifted.contact, first[0, 0], "lifter")
    return (first - ground.t_cam_world) @ ground.R_cam_world


def root_in_camera(shape: np.ndarray, pose: Pose2D, camera: Camera, z: np.ndarray | None = None) -> np.ndarray:
    """(T, 3) metres of the root of a root-relative shape (T, 26, 3), by least squares, or at depths `z` (T,)."""
    rays, times = camera.unproject(pose.xy), pose.times
    if z is not None:
        seen = np.isfinite(rays[:, 0]).all(-1) & np.isfinite(z)
        return _filled(times, seen, np.concatenate([rays[:, 0], np.ones((len(z), 1))], 1) * z[:, None])
    weight = pose.confidence * [any(w in j for w in LIMB_WORDS) for j in BODY26.joints]
    seen = (weight > 0).sum(1) >= 2
    root = np.full((len(times), 3), np.nan)
    root[seen] = solve_root(shape[seen], rays[seen], weight[seen], times[seen] * _APART)
    return _filled(times, seen, root)


def _filled(times: np.ndarray, seen: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Rows (T, 3) that are not `seen` (T,) bridged by straight lines."""
    return np.stack([np.interp(times, times[seen], column[seen]) for column in x.T], -1)


def _unit(soles: np.ndarray, position: np.ndarray, contact: np.ndarray) -> float:
    """Metres per unit of a camera's path (T, 3) with which planted soles (T, 4, 3) move least."""
    both = np.minimum(contact[1:], contact[:-1])
    step, own = np.diff(soles, axis=0), np.diff(position, axis=0)
    pull = -(both[..., None] * step * own[:, None]).sum()
    return float(pull / max((both.sum(1) * (own**2).sum(1)).sum(), 1e-12))


def smoothed(p: np.ndarray, fps: float, seconds: float = 0.06) -> np.ndarray:
    """Positions smoothed by a Gaussian."""
    return gaussian_filter1d(p, seconds * fps, axis=0, mode="nearest")


def post_processed(p: np.ndarray, contact: np.ndarray, fps: float) -> np.ndarray:
    """GVHMR's post-processing of positions (T, 26, 3) with contact (T, 4).

    The softmax-weighted step of still joints is taken from the root's, the steps are summed, x and z are smoothed
    (Gaussian, 3 frames at 30 fps), the clip is dropped so that its lowest sole touches y = 0, and legs are bent by
    cyclic coordinate descent until planted soles stay: targets blend the last target with the foot by contact.
    """
    step = np.diff(p[:, SOLES], axis=0)
    said = np.clip(contact[:-1], 1e-3, 1 - 1e-3)
    still = said > 0.5
    share = np.where(still, said / (1 - said), 0)  # the softmax of the logits
    share = share / np.maximum(share.sum(1, keepdims=True), 1e-9)
    slid = np.concatenate([np.zeros((1, 3)), np.cumsum((share[..., None] * step).sum(1), 0)])
    root = p[:, 0] - slid
    root[:, ::2] = gaussian_filter1d(root[:, ::2], 3 * fps / 30, axis=0, mode="nearest")
    out = p - p[:, :1] + root[:, None]
    out[..., 1] -= out[:, SOLES, 1].min()
    targets = _targets(out[:, SOLES], contact)
    for side, leg in enumerate(_LEGS):
        for _ in range(_IK_PASSES):
            _reach(out, leg, targets[:, 2 * side : 2 * side + 2])
    return out


def _targets(soles: np.ndarray, contact: np.ndarray) -> np.ndarray:
    """Where soles (T, 4, 3) should be: the last target as far as there is contact (T, 4), else the sole."""
    out = soles.copy()
    for k in range(1, len(soles)):
        c = contact[k - 1, :, None]
        out[k] = c * out[k - 1] + (1 - c) * soles[k]
    return out


def _reach(p: np.ndarray, leg: list[int], target: np.ndarray) -> None:
    """One pass of cyclic coordinate descent of heel and toe (T, 2, 3) over ankle, knee and hip, in place."""
    hip, knee, ankle, heel, toe = leg
    for pivot, hanging in ((ankle, [heel, toe]), (knee, [ankle, heel, toe]), (hip, [knee, ankle, heel, toe])):
        ends = [toe] if pivot == ankle else [heel, toe]
        goal = target[:, 1:] if pivot == ankle else target
        have, want = (_direction(x.mean(1) - p[:, pivot]) for x in (p[:, ends], goal))
        turn = shortest_arc(have, want)
        p[:, hanging] = p[:, [pivot]] + np.einsum("tij,tnj->tni", turn, p[:, hanging] - p[:, [pivot]])


def _direction(v: np.ndarray) -> np.ndarray:
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-9)


def pinned(p: np.ndarray, contact: np.ndarray) -> np.ndarray:
    """Positions (T, 26, 3) moved so that the lowest planted sole stays where it is, at y = 0."""
    soles = p[:, SOLES]
    planted = contact > 0.5
    lowest = np.where(planted, soles[..., 1], np.inf).argmin(1)
    shift = np.zeros((len(p), 3))
    for k in range(len(p)):
        shift[k] = shift[k - 1] if k else 0
        if planted[k].any():
            f = lowest[k]
            if k:
                shift[k] -= (soles[k, f] - soles[k - 1, f]) * [1, 0, 1]
            shift[k, 1] = -soles[k, f, 1]
    return p + shift[:, None]
