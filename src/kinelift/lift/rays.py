"""What the temporal lifter sees: rays of the key points as a camera aimed at the pelvis would see them.

Aiming a virtual camera at the root and dividing by the figure's spread makes the input the same wherever in
the picture the person stands and whatever the focal length; the spread itself and the root's true ray stay as
inputs, so perspective and the camera's tilt remain explicit. Training and inference share these functions.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import uniform_filter1d

from kinelift.kinematics import reference_offsets
from kinelift.skeleton import BODY26

RATE_HZ = 30.0
INPUT_JOINTS = tuple(j for j in BODY26.joints if j not in ("pelvis", "spine", "chest", "neck", "head"))
_INPUT = BODY26.indices(*INPUT_JOINTS)
# Where the mirror image has each input joint.
INPUT_MIRROR = [INPUT_JOINTS.index(BODY26.joints[BODY26.mirror[j]]) for j in _INPUT]
_HIPS = [INPUT_JOINTS.index(f"{s}_hip") for s in ("left", "right")]
FEATURES = 3 * len(INPUT_JOINTS) + 3
LOG_SPREAD = FEATURES - 3
OPINION = 3 * len(INPUT_JOINTS) + 1
_SPREAD_WINDOW = 63


def input_joints(x: np.ndarray) -> np.ndarray:
    """The lifter's 21 input joints of BODY26 values (..., 26, C)."""
    return x[..., _INPUT, :]


def root_rays(rays: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """(B, T, 2) rays of the hips' middle of rays (B, T, 21, 2); where hips are unseen, interpolated or the centroid."""
    seen: np.ndarray = np.asarray(confidence > 0)
    hips = rays[:, :, _HIPS].mean(2)
    known: np.ndarray = np.asarray(seen[:, :, _HIPS].all(2))
    root = np.where(known[..., None], hips, np.nan)
    frames = np.arange(rays.shape[1])
    for b in np.flatnonzero(~known.all(1)):
        k = known[b]
        if not k.any():
            weight = seen[b][..., None]
            root[b] = np.where(weight, rays[b], 0).sum(1) / np.maximum(weight.sum(1), 1)
            k = seen[b].any(1)
        if k.any():
            root[b] = np.stack([np.interp(frames, frames[k], root[b, k, i]) for i in range(2)], -1)
        else:
            root[b] = 0
    return root


def aim(root: np.ndarray) -> np.ndarray:
    """Rotations (..., 3, 3) from a camera aimed at rays (..., 2) to the real camera, without roll: R @ z = ray."""
    x, y = root[..., 0], root[..., 1]
    n = np.sqrt(1 + x * x + y * y)
    x, y, z = x / n, y / n, 1 / n
    a = 1 / (1 + z)
    rows = [1 - a * x * x, -a * x * y, x, -a * x * y, 1 - a * y * y, y, -x, -y, z]
    return np.stack(rows, -1).reshape(*root.shape[:-1], 3, 3)


def encode(rays: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features (B, T, 66) float32 and aim rotations (B, T, 3, 3), of rays (B, T, 21, 2), confidence (B, T, 21).

    At 30 Hz. Features: 21 aimed rays over the spread, 21 confidences, log spread, the root's ray.
    """
    seen = confidence > 0
    root = root_rays(np.where(seen[..., None], rays, 0), confidence)
    R = aim(root)
    direction = np.concatenate([np.where(seen[..., None], rays, 0), np.ones((*rays.shape[:-1], 1))], -1)
    aimed = direction @ R
    aimed = np.where(seen[..., None], aimed[..., :2] / np.maximum(aimed[..., 2:], 0.05), 0)
    distance = np.linalg.norm(aimed, axis=-1).sum(2)
    count = seen.sum(2).astype(float)
    total = uniform_filter1d(distance, _SPREAD_WINDOW, axis=1, mode="nearest")
    spread = np.maximum(total / np.maximum(uniform_filter1d(count, _SPREAD_WINDOW, axis=1, mode="nearest"), 0.5), 1e-3)
    features = [
        (aimed / spread[..., None, None]).reshape(*spread.shape, -1),
        confidence,
        np.log(spread)[..., None],
        root,
    ]
    return np.concatenate(features, -1).astype(np.float32), R


_LIMB_BONES = BODY26.indices(*(f"{s}_{j}" for s in ("left", "right") for j in ("elbow", "wrist", "knee", "ankle")))
_LIMB_PARENTS = [BODY26.parents[j] for j in _LIMB_BONES]


def encode_opinion(positions: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Features (B, T, 64) float32 of a detector's own 3D: BODY26 positions (B, T, 26, 3) where `given` (B, T, 26).

    Positions are in the axes of a camera aimed at the person, at any scale: each clip's limbs are scaled to the
    reference body's. 21 joints relative to the pelvis, zero where absent, and a flag for frames that have any.
    """
    use: np.ndarray = np.asarray(given & given[..., :1])
    p = np.where(use[..., None], positions, 0.0)
    bones = np.linalg.norm(p[:, :, _LIMB_BONES] - p[:, :, _LIMB_PARENTS], axis=-1)
    measured = use[:, :, _LIMB_BONES] & use[:, :, _LIMB_PARENTS] & (bones > 0.02)
    rest = np.linalg.norm(reference_offsets()[_LIMB_BONES], axis=-1)
    ratio = np.where(measured, rest / np.maximum(bones, 1e-6), np.nan).reshape(len(p), -1)
    known: np.ndarray = np.asarray(np.isfinite(ratio).any(1))
    scale = np.zeros(len(p))
    scale[known] = np.nanmedian(ratio[known], axis=1)
    relative = np.where(use[..., None], (p - p[:, :, :1]) * scale[:, None, None, None], 0.0)
    flag = np.asarray(use.any(-1) & known[:, None])[..., None]
    return np.concatenate([input_joints(relative).reshape(*p.shape[:2], -1), flag], -1).astype(np.float32)
