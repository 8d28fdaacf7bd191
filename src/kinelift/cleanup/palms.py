"""Forearm twist and palms: from the detector's own 3D of the knuckles, where it has one.

At rest both palms face down and the line from the little finger's knuckle to the index's points forwards (+Z). The
twist that brings it to where the detector sees it is shared by forearm and hand, as in a real arm.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from kinelift.kinematics import rotvec_to_matrix
from kinelift.records import Pose2D
from kinelift.skeleton import BODY26

_B = BODY26.index
_LIMIT = np.radians(100)


def knuckle_lines(pose: Pose2D) -> np.ndarray | None:
    """(T, 2, 3) little finger to index knuckle, left and right, camera axes, length = confidence; None without them."""
    names = [f"{s}_{f}" for s in ("left", "right") for f in ("index", "pinky")]
    if pose.detector_3d is None or not set(names) <= set(pose.skeleton.joints):
        return None
    i = np.array(pose.skeleton.indices(*names)).reshape(2, 2)
    line = pose.detector_3d[:, i[:, 0]] - pose.detector_3d[:, i[:, 1]]
    length = np.linalg.norm(line, axis=-1, keepdims=True)
    confidence = pose.confidence[:, i].min(-1)[..., None]
    return np.where((confidence > 0) & (length > 1e-6), line / np.maximum(length, 1e-6) * confidence, 0.0)


def turn_palms(local: np.ndarray, glob: np.ndarray, lines_world: np.ndarray, smooth_frames: float) -> np.ndarray:
    """Local rotations (T, 26, 3, 3) with forearms and hands twisted to knuckle lines (T, 2, 3) in the world.

    No joint moves: twists are about the bones. `smooth_frames` is the standard deviation of the smoothing in time.
    """
    local = local.copy()
    for k, side in enumerate(("left", "right")):
        axis = np.array([1.0 if side == "left" else -1.0, 0, 0])
        elbow, wrist = _B(f"{side}_elbow"), _B(f"{side}_wrist")
        seen = np.einsum("tji,tj->ti", glob[:, elbow], lines_world[:, k])
        across = np.cross(axis, [0, 0, 1.0])
        phase = gaussian_filter1d(seen[:, 2] + 1j * (seen @ across), max(smooth_frames, 1e-3), mode="nearest")
        angle = np.clip(np.angle(phase + 0.25), -_LIMIT, _LIMIT)
        half, whole = (rotvec_to_matrix(angle[:, None] * f * axis) for f in (0.5, 1.0))
        local[:, elbow] = local[:, elbow] @ half
        local[:, wrist] = np.swapaxes(half, -1, -2) @ local[:, wrist] @ whole
    return local
