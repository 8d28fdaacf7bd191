"""A rig from joint positions: constant symmetric bones, and a first guess of every rotation.

Twist about a bone comes from the plane it spans with its child, weighed by how bent the joint is and smoothed in
time; a straight limb carries its neighbours' twist over.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from kinelift.kinematics import (
    bone_lengths,
    fit_rotation,
    nearest_rotation,
    reference_offsets,
    shortest_arc,
    stature_from_offsets,
)
from kinelift.skeleton import BODY26

_B = BODY26.index
_REST = reference_offsets()
# (joint, child, grandchild, axis along the bone, direction the grandchild's bone bends to) at rest, left side.
_LIMBS = (
    ("shoulder", "elbow", "wrist", np.array([0, 0, 1.0])),
    ("hip", "knee", "ankle", np.array([0, 0, -1.0])),
)


def constant_bones(positions: np.ndarray, weight: np.ndarray, height_m: float, asymmetric: bool = False) -> np.ndarray:
    """Rest offsets (26, 3) in metres for a stature, from root-relative positions (T, 26, 3) and joint weights (T, 26).

    Each length is the weighted mean over the clip, left = right unless `asymmetric`; joints that are never given keep
    the average body's proportions, or those of the other side.
    """
    lengths = bone_lengths(BODY26, positions)
    parents = np.array([max(p, 0) for p in BODY26.parents])
    w = np.where(np.isfinite(lengths), np.minimum(weight, weight[:, parents]), 0.0)
    total = w.sum(0)
    mean = np.where(total > 0, (np.nan_to_num(lengths) * w).sum(0) / np.maximum(total, 1e-9), np.nan)
    mirror = np.array(BODY26.mirror)
    mean = np.where(np.isfinite(mean), mean, mean[mirror])
    both = mean if asymmetric else (mean + mean[mirror]) / 2
    rest = np.linalg.norm(_REST, axis=-1)
    ratio = np.where(np.isfinite(both) & (rest > 0), both / np.maximum(rest, 1e-9), np.nan)
    usual = np.nanmedian(ratio[1:]) if np.isfinite(ratio[1:]).any() else 1.0
    ratio = np.clip(np.where(np.isfinite(ratio), ratio, usual), 0.6 * usual, 1.5 * usual)
    offsets = _shouldered(_REST * ratio[:, None], positions, weight, asymmetric)
    return offsets * (height_m / stature_from_offsets(offsets))


def _shouldered(offsets: np.ndarray, positions: np.ndarray, weight: np.ndarray, asymmetric: bool) -> np.ndarray:
    """Offsets (26, 3) with the shoulders where the clip has them from the chest, as far away as before.

    Where a body, or a marker set, carries its shoulders differs by centimetres.
    """
    both, chest = BODY26.indices("left_shoulder", "right_shoulder"), _B("chest")
    trunk = [*both, chest, _B("neck")]
    w = np.where(np.isfinite(positions[:, trunk]).all((1, 2)), weight[:, trunk].min(1), 0.0)
    if not w.any():
        return offsets
    turned = _chest(np.nan_to_num(positions))
    aside = np.nan_to_num(positions[:, both] - positions[:, chest, None])
    mean = np.einsum("t,tji,tsj->si", w, turned, aside)
    if not asymmetric:
        mean = (mean + mean[::-1] * [-1, 1, 1]) / 2
    out = offsets.copy()
    out[both] = _units(mean) * np.linalg.norm(offsets[both], axis=-1, keepdims=True)
    return out


def _direction(p: np.ndarray, a: str, b: str) -> np.ndarray:
    d = p[:, _B(b)] - p[:, _B(a)]
    return d / np.maximum(np.linalg.norm(d, axis=-1, keepdims=True), 1e-6)


def _chest(p: np.ndarray) -> np.ndarray:
    """(T, 3, 3) from the line of the shoulders and that from pelvis to neck."""
    rest = [
        _REST[_B("left_shoulder")] - _REST[_B("right_shoulder")],
        sum(_REST[_B(j)] for j in ("spine", "chest", "neck")),
    ]
    posed = np.stack([p[:, _B("left_shoulder")] - p[:, _B("right_shoulder")], p[:, _B("neck")] - p[:, 0]], 1)
    return fit_rotation(_units(np.stack(rest)), _units(posed), np.array([1.0, 1.0]))


def _trunk(p: np.ndarray, glob: np.ndarray) -> None:
    """Pelvis, spine, chest, neck and head; the lumbar spine halves the turn between pelvis and chest."""
    hips = np.stack([p[:, _B("left_hip")] - p[:, _B("right_hip")], p[:, _B("neck")] - p[:, 0]], 1)
    rest = np.stack(
        [_REST[_B("left_hip")] - _REST[_B("right_hip")], sum(_REST[_B(j)] for j in ("spine", "chest", "neck"))]
    )
    glob[:, 0] = fit_rotation(rest / np.linalg.norm(rest, axis=-1, keepdims=True), _units(hips), np.array([1.0, 0.15]))
    glob[:, _B("chest")] = chest = _chest(p)
    glob[:, _B("spine")] = nearest_rotation(glob[:, 0] + chest)
    ears = p[:, _B("left_ear")] - p[:, _B("right_ear")]
    face = p[:, _B("nose")] - p[:, _B("head")]
    rest = np.stack([_REST[_B("left_ear")] - _REST[_B("right_ear")], _REST[_B("nose")]])
    head = fit_rotation(
        rest / np.linalg.norm(rest, axis=-1, keepdims=True), _units(np.stack([ears, face], 1)), np.ones(2)
    )
    glob[:, _B("head")] = head
    up = _REST[_B("head")] / np.linalg.norm(_REST[_B("head")])
    base = nearest_rotation(chest + head)
    glob[:, _B("neck")] = shortest_arc(base @ up, _direction(p, "neck", "head")) @ base


def _units(v: np.ndarray) -> np.ndarray:
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-6)


def _limb(p: np.ndarray, glob: np.ndarray, side: str, top: str, mid: str, end: str, bend: np.ndarray) -> None:
    parent = glob[:, BODY26.parents[_B(f"{side}_{top}")]]
    rest_upper = _units(_REST[_B(f"{side}_{mid}")])
    upper, lower = _direction(p, f"{side}_{top}", f"{side}_{mid}"), _direction(p, f"{side}_{mid}", f"{side}_{end}")
    swing = shortest_arc(parent @ rest_upper, upper) @ parent
    local = np.einsum("tji,tj->ti", swing, lower)
    across = np.cross(rest_upper, bend)
    phase = (local @ bend) + 1j * (local @ across)
    weight = np.abs(phase)
    phase = gaussian_filter1d(phase * weight, 3, mode="nearest") + 0.03
    angle = np.angle(phase)
    c, s = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    x, y, z = rest_upper
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    twist = np.eye(3) + s * skew + (1 - c) * (skew @ skew)
    glob[:, _B(f"{side}_{top}")] = swing @ twist
    rest_lower = _units(_REST[_B(f"{side}_{end}")])
    glob[:, _B(f"{side}_{mid}")] = (
        shortest_arc(glob[:, _B(f"{side}_{top}")] @ rest_lower, lower) @ (glob[:, _B(f"{side}_{top}")])
    )


def first_rotations(positions: np.ndarray) -> np.ndarray:
    """Local rotation matrices (T, 26, 3, 3) that turn the rest pose to positions (T, 26, 3), NaN where not given."""
    p = np.nan_to_num(positions)
    T = len(p)
    glob = np.broadcast_to(np.eye(3), (T, len(BODY26), 3, 3)).copy()
    _trunk(p, glob)
    for side in ("left", "right"):
        for top, mid, end, bend in _LIMBS:
            _limb(p, glob, side, top, mid, end, bend)
        forearm = glob[:, _B(f"{side}_elbow")]
        hand = _units(_REST[_B(f"{side}_hand")])
        arc = shortest_arc(forearm @ hand, _direction(p, f"{side}_wrist", f"{side}_hand"))
        has_hand = np.isfinite(positions[:, _B(f"{side}_hand")]).all(-1)[:, None, None]
        glob[:, _B(f"{side}_wrist")] = np.where(has_hand, arc @ forearm, forearm)
        feet = BODY26.indices(f"{side}_heel", f"{side}_toe")
        shank = glob[:, _B(f"{side}_knee")]
        posed = np.stack(
            [_units(p[:, feet[1]] - p[:, feet[0]]), _units(p[:, _B(f"{side}_ankle")] - p[:, feet].mean(1))], 1
        )
        rest = np.stack([_units(_REST[feet[1]] - _REST[feet[0]]), _units(-_REST[feet].mean(0))])
        given = np.isfinite(positions[:, feet]).all((1, 2))[:, None, None]
        glob[:, _B(f"{side}_ankle")] = np.where(given, fit_rotation(rest, posed, np.array([1.0, 0.7])), shank)
    given_head = np.isfinite(positions[:, BODY26.indices("nose", "left_ear", "right_ear")]).all((1, 2))[:, None, None]
    for j in BODY26.indices("neck", "head"):
        glob[:, j] = np.where(given_head, glob[:, j], glob[:, _B("chest")])
    return to_local(glob)


def to_local(glob: np.ndarray) -> np.ndarray:
    """Local rotations (T, 26, 3, 3) of global ones; leaves turn with their parents."""
    local = np.empty_like(glob)
    local[:, 0] = glob[:, 0]
    for j, parent in enumerate(BODY26.parents):
        if j:
            leaf = not BODY26.children(j)
            local[:, j] = np.eye(3) if leaf else np.swapaxes(glob[:, parent], -1, -2) @ glob[:, j]
    return local
