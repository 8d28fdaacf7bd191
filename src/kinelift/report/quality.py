"""Numbers of one motion's quality, as `report.json` holds them: plain floats with units in their names."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from kinelift import metrics
from kinelift.camera import Camera
from kinelift.kinematics import motion_positions
from kinelift.records import Lifted, Motion, Pose2D
from kinelift.skeleton import BODY26


def quality(motion: Motion, camera: Camera, pose: Pose2D, lifted: Lifted) -> dict[str, Any]:
    """Measures of a motion against its key points (body26) and within itself; `lifted` is the lifter's raw answer."""
    positions = motion_positions(motion)
    soles = positions[:, motion.contact_joints]
    limbs = BODY26.indices(*metrics.LIMBS)
    miss = np.linalg.norm(camera.project(positions) - pose.xy, axis=-1)[:, limbs]
    miss = np.where(pose.seen[:, limbs], miss, np.nan)
    seen = np.isfinite(miss)
    watched = motion.observed if motion.observed.any() else slice(None)
    seconds = float(motion.times[-1] - motion.times[0])
    return {
        "frames": len(motion.times),
        "seconds": round(seconds, 4),
        "fps": round(motion.fps, 4),
        "detected_percent": round(100 * float(motion.observed.mean()), 2),
        "reprojection_error_px": round(float(np.median(miss[seen])), 3) if seen.any() else None,
        "foot_sliding_mm_per_frame": round(metrics.foot_sliding(soles, motion.contacts, motion.fps), 3),
        "foot_sliding_frame_rate": 30,
        "penetration_mm": round(metrics.penetration(soles), 3),
        "jitter_10m_s3": round(metrics.jitter(positions, motion.fps), 3),
        "bone_variation_percent": 0.0 if len(motion.times) < 2 else _bone_variation(positions),
        "lifter_bone_variation_percent": _bone_variation(lifted.positions, lifted.skeleton.parents),
        "root": root_path(motion),
        "steps": steps(motion),
        "median_sigma_mm": round(1000 * float(np.median(motion.sigma_m[watched][:, limbs])), 1),
    }


def _bone_variation(positions: np.ndarray, parents: tuple[int, ...] = BODY26.parents) -> float:
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
