"""Motion capture as joint positions: the npz layout of clips laid end to end, and what it lacks filled in.

The layout: `positions` (N, J, 3) metres, Y up; `joint_names` (J,); `clip_lengths`, `clip_names`, `clip_fps`.
Marker mocap without heels, hands or a face gets them from the body's proportions, so that a lifter can learn from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kinelift.errors import InputError
from kinelift.kinematics import STATURE_PRIOR_M, fit_rotation, reference_offsets
from kinelift.safe.npz import read_npz
from kinelift.skeleton import BODY26

_B = BODY26.index
# Nobody is so far from the origin, in any unit.
FARTHEST = 1e7


MOCAP_JOINTS = tuple(
    f"{s}_{j}" for s in ("left", "right") for j in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle", "toe")
)


@dataclass(frozen=True, eq=False)
class Clip:
    """One take of one person.

    Attributes:
        name: The set's own name for it.
        positions: (T, 26, 3) float32 metres, BODY26, Y up, floor near y = 0; NaN for joints it cannot give.
        fps: Frames per second.
    """

    name: str
    positions: np.ndarray
    fps: float


def read_mocap(path: Path) -> list[Clip]:
    """Clips of an npz of mocap, in BODY26 at a reference stature of 1.70 m. Raises `InputError`."""
    return read_mocap_raw(path)[0]


def read_mocap_raw(path: Path) -> tuple[list[Clip], np.ndarray, list[str]]:
    """The clips of `read_mocap`, and the file's own positions (N, J, 3) with their joint names."""
    problem = "cannot be read as mocap npz"
    data = read_npz(path, problem, ("positions", "joint_names", "clip_lengths", "clip_names", "clip_fps"))
    positions, names = data["positions"], [str(n) for n in data["joint_names"].ravel()]
    lengths, clips, fps = data["clip_lengths"], data["clip_names"], data["clip_fps"]
    if not positions.dtype.kind == "f" or lengths.dtype.kind not in "iu" or fps.dtype.kind not in "iuf":
        raise InputError(f"{path}: {problem} (positions, clip_lengths and clip_fps: expected numbers)")
    if positions.ndim != 3 or positions.shape[1:] != (len(names), 3) or lengths.sum() != len(positions):
        raise InputError(f"{path}: positions {positions.shape} do not fit {len(names)} joints and clip_lengths")
    if not lengths.shape == clips.shape == fps.shape == (lengths.size,):
        raise InputError(f"{path}: clip_lengths, clip_names and clip_fps differ in number")
    if np.isinf(positions).any() or (np.abs(positions) > FARTHEST).any():
        raise InputError(f"{path}: positions: expected metres")
    for clip in np.flatnonzero(~(np.isfinite(fps) & (fps > 0))):
        raise InputError(f"{path}: clip '{clips[clip]}': {fps[clip]:g} frames per second")
    lacking = sorted(set(MOCAP_JOINTS) - set(names))
    if lacking:
        raise InputError(f"{path}: joint_names lack {', '.join(lacking)}")
    if (lengths < 1).any():
        raise InputError(f"{path}: a clip has no frames")
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    made = []
    for c, s, n, f in zip(clips, starts, lengths, fps, strict=True):
        try:
            made.append(Clip(str(c), to_body26(positions[s : s + n].astype(np.float64), names, float(f)), float(f)))
        except InputError as e:
            raise InputError(f"{path}: clip '{c}': {e}") from None
    return made, positions, names


def to_body26(positions: np.ndarray, names: list[str], fps: float) -> np.ndarray:
    """BODY26 positions (T, 26, 3) at reference stature of mocap joints (T, J, 3) with heels and floor filled in.

    The pelvis is the hips' midpoint and the neck the shoulders', as detectors see them. Raises `InputError`.
    """
    out = np.full((len(positions), len(BODY26), 3), np.nan)
    for joint in MOCAP_JOINTS:
        out[:, _B(joint)] = positions[:, names.index(joint)]
    out[:, 0] = out[:, BODY26.indices("left_hip", "right_hip")].mean(1)
    out[:, _B("neck")] = out[:, BODY26.indices("left_shoulder", "right_shoulder")].mean(1)
    stature = _stature(out)
    if not stature > 0:
        raise InputError("legs and trunk have no length")
    out *= STATURE_PRIOR_M / stature
    _add_soles(out, fps)
    return out.astype(np.float32)


def _stature(p: np.ndarray) -> float:
    """Stature from median thigh, shank and straight trunk lengths (.245 + .246 + .288 of stature, Winter 2009)."""

    def length(a: str, b: str) -> float:
        return float(np.median(np.linalg.norm(p[:, _B(a)] - p[:, _B(b)], axis=-1)))

    legs = sum(length(f"{s}_hip", f"{s}_knee") + length(f"{s}_knee", f"{s}_ankle") for s in ("left", "right")) / 2
    return (legs + length("pelvis", "neck")) / 0.779


def point_speed(points: np.ndarray, fps: float) -> np.ndarray:
    """Speed (T, ...) in m/s of points (T, ..., 3), central differences."""
    if len(points) < 2:
        return np.zeros(points.shape[:-1])
    return np.linalg.norm(np.gradient(points, axis=0), axis=-1) * fps


def _add_soles(p: np.ndarray, fps: float) -> None:
    """Put toes on the sole, add heels, and move the floor to y = 0, in place.

    The foot's frame comes from ankle, ball and shank; its flat angle is the median over planted frames.
    """
    foot_length = np.linalg.norm(reference_offsets()[_B("left_toe")] - reference_offsets()[_B("left_heel")])
    for side in ("left", "right"):
        ankle, toe, knee = (p[:, _B(f"{side}_{j}")].copy() for j in ("ankle", "toe", "knee"))
        planted = point_speed(toe, fps) < 0.2
        planted &= toe[:, 1] < np.percentile(toe[:, 1], 30) + 0.05
        drop, reach = ankle[:, 1] - toe[:, 1], np.linalg.norm((toe - ankle)[:, ::2], axis=-1)
        flat = np.arctan2(drop, reach)[planted if planted.sum() > 5 else slice(None)]
        angle = np.clip(np.median(flat), 0.1, 0.6)
        rest = np.array([[0, -np.sin(angle), np.cos(angle)], [0, 0.35, 0]])
        posed = np.stack([toe - ankle, 0.35 * (knee - ankle)], 1)
        posed /= np.linalg.norm(posed, axis=-1, keepdims=True)
        posed[:, 1] *= 0.35
        R = fit_rotation(rest, posed, np.array([1.0, 0.2]))
        sole = toe + R @ np.array([0, -0.02, 0])
        p[:, _B(f"{side}_toe")] = sole
        p[:, _B(f"{side}_heel")] = sole + R @ np.array([0, 0, -foot_length])
    soles = p[:, BODY26.indices("left_toe", "right_toe", "left_heel", "right_heel")]
    still = point_speed(soles, fps) < 0.15
    low = soles[..., 1].min(1) if not still.any() else soles[..., 1][still]
    p[..., 1] -= np.percentile(low, 20)


SOLES = BODY26.indices("left_heel", "left_toe", "right_heel", "right_toe")


def contact_labels(positions: np.ndarray, fps: float) -> np.ndarray:
    """Soft contact (..., T, 4) of heels and toes of BODY26 positions (..., T, 26, 3) metres.

    Slow (WHAM's label, 1 / (1 + exp(5 (v - .01) / .01)), v in metres a frame at 30 fps) and near the lowest sole
    point of the neighbouring 0.7 s, so that the still top of a jump or a raised foot does not count.
    """
    from scipy.ndimage import minimum_filter1d

    soles = positions[..., SOLES, :]
    v = np.linalg.norm(np.gradient(soles, axis=-3), axis=-1) * fps / 30
    slow = 1 / (1 + np.exp(np.clip((v - 0.01) * 500, -30, 30)))
    height = soles[..., 1]
    ground = minimum_filter1d(height.min(-1), 2 * int(0.7 * fps) + 1, axis=-1, mode="nearest")
    near = 1 / (1 + np.exp(np.clip((height - ground[..., None] - 0.06) / 0.008, -30, 30)))
    return (slow * near).astype(np.float32)
