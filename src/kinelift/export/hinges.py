"""Knees and elbows as the hinges that other tools' rigs have there."""

from __future__ import annotations

import numpy as np

from kinelift.kinematics import forward_kinematics, quat_to_matrix, rotvec_to_matrix
from kinelift.records import Motion
from kinelift.skeleton import BODY26

# Below about this sine of the bend the limb's plane is noise, and the joint's own rotation says where it lies.
_STRAIGHT = 0.03


def posed(motion: Motion) -> tuple[np.ndarray, np.ndarray]:
    """Positions (T, J, 3) in metres and global rotations (T, J, 3, 3) of a motion."""
    return forward_kinematics(motion.skeleton, motion.offsets, quat_to_matrix(motion.rotations), motion.root)


def hinged(
    motion: Motion, positions: np.ndarray, rotations: np.ndarray, joints: tuple[str, str, str], axis: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The limb that runs through three `joints` of the body as a ball joint and a hinge.

    `axis` (3,) is the hinge in the rest pose, about which a positive angle bends. Returns the upper segment's global
    rotation (T, 3, 3) and the hinge's angle (T,) in radians, between -pi and pi; the lower segment's direction is
    `rotation @ about(axis, angle)` of its rest. The plane is the limb's own where it is bent, else the upper
    segment's. Positions (T, J, 3) and global rotations (T, J, 3, 3) are `posed` of the motion.
    """
    near, middle, far = BODY26.indices(*joints)
    upper = _unit(positions[:, middle] - positions[:, near])
    lower = _unit(positions[:, far] - positions[:, middle])
    own = rotations[:, near] @ axis
    normal = np.cross(upper, lower)
    normal *= np.where((normal * own).sum(-1, keepdims=True) < 0, -1.0, 1.0)
    hinge = normal + _STRAIGHT * own
    rest_upper, rest_lower = _unit(motion.offsets[middle]), _unit(motion.offsets[far])
    rotation = _frame(upper, hinge) @ _frame(rest_upper, axis).T
    local = np.einsum("tji,tj->ti", rotation, lower)
    across = np.cross(axis, rest_lower)
    return rotation, np.arctan2(local @ across, local @ (rest_lower - axis * (axis @ rest_lower)))


def about(axis: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Rotations (T, 3, 3) by angles (T,) in radians about one unit axis (3,)."""
    return rotvec_to_matrix(angle[:, None] * axis)


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-12)


def _frame(along: np.ndarray, hinge: np.ndarray) -> np.ndarray:
    """Right-handed frames (..., 3, 3), columns: a bone's direction, the hinge made square to it, their product."""
    hinge = _unit(hinge - along * (hinge * along).sum(-1, keepdims=True))
    return np.stack([along, hinge, np.cross(along, hinge)], -1)
