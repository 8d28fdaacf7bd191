"""Numbers of one motion's quality, as `report.json` holds them: plain floats with units in their names."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from kinelift import metrics
from kinelift.camera import Camera
from kinelift.kinematics import motion_positions
from kinelift.records import Lifted, Motion, Pose2D
from kinelift.report.series import Known, Series, over_time
from kinelift.skeleton import BODY26


def quality(
    motion: Motion, camera: Camera, pose: Pose2D, lifted: Lifted | None = None, known: Known | None = None
) -> dict[str, Any]:
    """Measures of a motion against its key points (body26) and within itself; `lifted` is the lifter's raw answer."""
    return clip_quality(motion, over_time(motion, camera, pose, known), pose, camera, lifted)


def clip_quality(
    motion: Motion, series: Series, pose: Pose2D | None, camera: Camera, lifted: Lifted | None = None
) -> dict[str, Any]:
    """The same numbers where the series are there already."""
    positions = motion_positions(motion)
    limbs = BODY26.indices(*metrics.LIMBS)
    watched = motion.observed if motion.observed.any() else slice(None)
    raw = {}
    if lifted is not None:
        raw["lifter_bone_variation_percent"] = _bone_variation(lifted.positions, lifted.skeleton.parents)
    sigma = 1000 * np.median(motion.sigma_m[watched], axis=0)
    return {
        "frames": len(motion.times),
        "seconds": round(float(motion.times[-1] - motion.times[0]), 4),
        "fps": round(motion.fps, 4),
        "detected_percent": round(100 * float(motion.observed.mean()), 2),
        "confidence": round(float(series.confidence[watched].mean()), 3),
        "reprojection_error_px": _reprojection(positions, camera, pose, limbs),
        "reprojection_error_percent": _rounded(_nan_median(series.reprojection_percent[watched]), 3),
        "foot_sliding_mm_per_frame": round(metrics.foot_sliding(series.footing, motion.contacts, motion.fps), 3),
        "foot_sliding_frame_rate": 30,
        **_stance_drift(series),
        "penetration_mm": round(metrics.penetration(series.soles), 3),
        "float_mm": _rounded(_nan_mean(series.float_mm), 3),
        "jitter_10m_s3": round(metrics.jitter(positions, motion.fps), 3),
        "bone_variation_percent": _bone_variation(positions, motion.skeleton.parents),
        **raw,
        "root": root_path(motion),
        "steps": steps(motion),
        "camera_motion": camera_motion(series),
        "median_sigma_mm": round(float(np.median(1000 * motion.sigma_m[watched][:, limbs])), 1),
        "sigma_mm": {j: round(float(v), 1) for j, v in zip(motion.skeleton.joints, sigma, strict=True)},
    }


def _reprojection(positions: np.ndarray, camera: Camera, pose: Pose2D | None, limbs: list[int]) -> float | None:
    """Median over all frames and limb joints of the distance from the key point, pixels."""
    if pose is None:
        return None
    miss = np.linalg.norm(camera.project(positions) - pose.xy, axis=-1)[:, limbs]
    return _rounded(_nan_median(np.where(pose.seen[:, limbs], miss, np.nan)), 3)


def _stance_drift(series: Series) -> dict[str, float | None]:
    """How far planted sole points get from where their stance began, of stances of 0.1 s or more: median and worst."""
    found = metrics.stances(series.contacts, series.times)
    drift = [metrics.stance_drift(series.footing, stance) for stance in found]
    return {
        "stance_drift_mm": round(float(np.median(drift)), 2) if drift else None,
        "stance_drift_max_mm": round(max(drift), 2) if drift else None,
    }


def camera_motion(series: Series) -> dict[str, Any]:
    """How far the camera went and turned over the clip."""
    path, turn = float(series.camera_step_m.sum()), float(series.camera_turn_deg.sum())
    return {"moving": path > 0 or turn > 0, "path_m": round(path, 3), "turn_deg": round(turn, 2)}


def _nan_median(x: np.ndarray) -> float:
    return float(np.median(x[np.isfinite(x)])) if np.isfinite(x).any() else float("nan")


def _nan_mean(x: np.ndarray) -> float:
    return float(x[np.isfinite(x)].mean()) if np.isfinite(x).any() else float("nan")


def _rounded(x: float, digits: int) -> float | None:
    """None where there was nothing to measure: JSON knows no NaN."""
    return round(x, digits) if np.isfinite(x) else None


def _bone_variation(positions: np.ndarray, parents: tuple[int, ...]) -> float:
    """Mean over bones of the standard deviation of their length over time, percent of the length."""
    child = [j for j, p in enumerate(parents) if p >= 0]
    length = np.linalg.norm(positions[:, child] - positions[:, [parents[j] for j in child]], axis=-1)
    length = length[:, np.isfinite(length).all(0)]
    return round(float(100 * np.mean(length.std(0) / np.maximum(length.mean(0), 1e-9))), 3) if length.size else 0.0


def root_path(motion: Motion) -> dict[str, Any]:
    """Where the root went: path and straight line over the floor, height range, metres."""
    flat = motion.root[:, ::2]
    travel = flat[-1] - flat[0]
    return {
        "path_m": round(float(np.linalg.norm(np.diff(flat, axis=0), axis=-1).sum()), 3),
        "travel_m": round(float(np.linalg.norm(travel)), 3),
        "travel_x_m": round(float(travel[0]), 3),
        "travel_z_m": round(float(travel[1]), 3),
        "height_min_m": round(float(motion.root[:, 1].min()), 3),
        "height_max_m": round(float(motion.root[:, 1].max()), 3),
    }


def steps(motion: Motion) -> dict[str, Any]:
    """Stances of each foot (heel or toe planted for 0.1 s or more) and whether the feet take turns."""
    names = [motion.skeleton.joints[j] for j in motion.contact_joints]
    onsets: list[tuple[float, str]] = []
    counts, share = {}, {}
    for side in ("left", "right"):
        columns = [i for i, n in enumerate(names) if n.startswith(side)]
        planted = motion.contacts[:, columns].max(1) > 0.5 if columns else np.zeros(len(motion.times), bool)
        edges = np.diff(np.concatenate([[0], planted.astype(int), [0]]))
        starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1
        long = motion.times[ends] - motion.times[starts] >= 0.1 if len(starts) else np.zeros(0, bool)
        onsets += [(float(motion.times[s]), side) for s in starts[long]]
        counts[side], share[side] = int(long.sum()), round(float(100 * planted.mean()), 1)
    order = [side for _, side in sorted(onsets)]
    turns = [a != b for a, b in itertools.pairwise(order)]
    return {
        "left_stances": counts["left"],
        "right_stances": counts["right"],
        "left_planted_percent": share["left"],
        "right_planted_percent": share["right"],
        "alternate_percent": round(100 * float(np.mean(turns)), 1) if turns else None,
    }
