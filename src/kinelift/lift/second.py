"""A second opinion: a detector's own 3D averaged into the lifter's, where a detector has one.

Detectors such as MediaPipe estimate 3D from the pixels, as a camera aimed at the person would see it, at a scale of
their own. Turned to the root's ray and rescaled by bone lengths it knows what key points alone cannot tell.
"""

from __future__ import annotations

import numpy as np

from kinelift.camera import Camera
from kinelift.kinematics import bone_lengths
from kinelift.lift.rays import aim
from kinelift.records import Lifted, Pose2D
from kinelift.skeleton import BODY26

# Weight of the second opinion, chosen on rendered clips; see docs/experiments.md.
WEIGHT = 0.3
_JOINTS = BODY26.indices(
    *(f"{s}_{j}" for s in ("left", "right") for j in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle"))
)
_BONES = BODY26.indices(*(f"{s}_{j}" for s in ("left", "right") for j in ("elbow", "wrist", "knee", "ankle")))


def averaged(lifted: Lifted, body: Pose2D, camera: Camera, weight: float = WEIGHT) -> Lifted:
    """`lifted` (body26, metric) with limb joints moved towards the detector's own 3D of `body` (body26 key points)."""
    if body.detector_3d is None or lifted.skeleton.joints != BODY26.joints or weight <= 0:
        return lifted
    opinion = np.nan_to_num(body.detector_3d)
    given = np.isfinite(body.detector_3d).all(-1) & body.seen
    root = camera.unproject(np.nan_to_num(body.xy[:, 0]))
    opinion = np.einsum("tij,tnj->tni", aim(root), opinion - opinion[:, :1])
    length = [bone_lengths(BODY26, x)[:, _BONES] for x in (lifted.positions, opinion)]
    usable = given[:, _BONES] & given[:, [BODY26.parents[j] for j in _BONES]] & (length[1] > 0.02)
    if not usable.any():
        return lifted
    scale = float(np.median(length[0][usable] / length[1][usable]))
    positions = lifted.positions.copy()
    w = weight * (given & given[:, :1])[:, _JOINTS, None]
    positions[:, _JOINTS] += w * (opinion[:, _JOINTS] * scale - positions[:, _JOINTS])
    return lifted.replaced(positions=positions)
