"""Two-bone limbs: where hip joint and ankle are given, the knee lies in the plane that the source's knee bends in."""

from __future__ import annotations

import numpy as np


def bent_limb(
    thigh: np.ndarray, shank: np.ndarray, hip: np.ndarray, ankle: np.ndarray, bones: np.ndarray, hinge: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """New turns (T, 3, 3) of thigh and shank, so that the leg reaches from `hip` (T, 3) to `ankle` (T, 3).

    `thigh`, `shank` (T, 3, 3) are turns before, `bones` (2, 3) the rest vectors hip to knee and knee to ankle, and
    `hinge` (T, 3) the knee's axis before, about which it bends to the right hand (the body's left at rest). The axis
    goes along with the leg; the knee never bends the other way. Beyond its length the leg is straight.
    """
    before = [thigh @ bones[0], shank @ bones[1]]
    upper, lower = np.linalg.norm(bones, axis=-1)
    old, new = _unit(before[0] + before[1]), ankle - hip
    far = np.clip(np.linalg.norm(new, axis=-1), abs(upper - lower) + 1e-6, (upper + lower) * (1 - 1e-7))
    new = _unit(new)
    axis = _arc(old, new, hinge)
    axis = _unit(axis - new * (axis * new).sum(-1, keepdims=True))
    ahead = np.cross(new, axis)
    cosine = np.clip((upper**2 + far**2 - lower**2) / (2 * upper * far), -1, 1)[:, None]
    knee = upper * (cosine * new + np.sqrt(1 - cosine**2) * ahead)
    after = [_unit(knee), _unit(far[:, None] * new - knee)]
    turns = [_frame(a, axis) @ np.swapaxes(_frame(_unit(b), hinge), -1, -2) for a, b in zip(after, before, strict=True)]
    return turns[0] @ thigh, turns[1] @ shank


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-9)


def _arc(a: np.ndarray, b: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Vectors v (T, 3) turned as the shortest arc turns unit vectors a onto b."""
    from kinelift.kinematics import shortest_arc

    return np.asarray((shortest_arc(a, b) @ v[..., None])[..., 0])


def _frame(along: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Rotations (T, 3, 3) whose first column is `axis` made square to `along`, the second `along`."""
    x = _unit(axis - along * (axis * along).sum(-1, keepdims=True))
    return np.stack([x, along, np.cross(x, along)], -1)
