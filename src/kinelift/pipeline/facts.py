"""What a take says of itself: `meta` of the native file, and the report beside the numbers of quality."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from kinelift import __version__
from kinelift.cleanup import Cleaned
from kinelift.detect import Detection
from kinelift.lift import Lifter
from kinelift.pipeline.inputs import STATED, size_stated
from kinelift.pipeline.options import Options
from kinelift.records import Lifted, Pose2D, Take
from kinelift.repair import GAP_LIMIT_S, RepairReport, Sight
from kinelift.skeleton import BODY26, joint_map

# A person unseen for longer than this is worth a warning.
_LONG_ABSENCE_S = 0.5


def repair_facts(repairs: RepairReport, sight: Sight) -> dict[str, Any]:
    """What was mended in the 2D, for the report."""
    return {
        "edge_points_distrusted": sight.distrusted,
        "swapped_frames_repaired": repairs.swapped_frames,
        "outlier_points_dropped": repairs.outliers,
        "points_bridged": repairs.bridged,
        "gap_limit_s": GAP_LIMIT_S,
    }


def facts_of(
    path: str | Path,
    options: Options,
    detection: Detection,
    lifter: Lifter,
    result: Cleaned,
    stored: Take | None,
) -> dict[str, Any]:
    """`meta` of the native file: what made it. Nothing here differs between two runs of the same input."""
    import onnxruntime
    import scipy

    given = {
        k: str(v) if isinstance(v, Path) else v
        for k, v in dataclasses.asdict(dataclasses.replace(options, edits=None)).items()
        if v is not None
    }
    return {
        "input": stored.meta.get("input", Path(path).name) if stored else Path(str(path)).name,
        "source": {k: v for k, v in detection.source.items() if k != "name"},
        "options": given,
        "detector": detection.provenance,
        "lifter": lifter.provenance(),
        "lifter_scale": round(result.lifter_scale, 6),
        "focal_px": round(result.camera.focal_px, 4),
        "image_size_source": STATED if size_stated(path, options, stored) else "extent of the key points",
        "world_source": result.ground.source,
        "floor_y": round(result.ground.floor_y, 5),
        "versions": {
            "kinelift": __version__,
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "onnxruntime": onnxruntime.__version__,
        },
        "seed": 0,
        "threads": options.threads,
    }


def sources(facts: dict[str, Any], result: Cleaned, lifted: Lifted) -> dict[str, Any]:
    """Where scale, focal length, world and pose come from, for the report."""
    first, place = result.camera.R_cam_world.reshape(-1, 3, 3)[0], result.camera.position.reshape(-1, 3)[0]
    down = first @ np.array([0, -1.0, 0])
    missing = _not_given(lifted)
    return {
        "scale": {"height_m": facts["height_m"], "source": facts["scale_source"]},
        "focal": {"focal_px": facts["focal_px"], "source": facts["focal_source"]},
        "world": {
            "source": facts["world_source"],
            "camera_height_m": round(float(place[1] - result.ground.floor_y), 3),
            "camera_pitch_down_deg": round(float(np.degrees(np.arcsin(np.clip(down[2], -1, 1)))), 2),
        },
        "lifter": facts["lifter"].get("name"),
        "filled_joints": missing,
    }


def _not_given(lifted: Lifted) -> list[str]:
    """Body joints that the lifter never gives: the solve fills them from what is seen."""
    carries = joint_map(lifted.skeleton, BODY26) != 0
    never = ~np.isfinite(lifted.positions).all(-1).any(0)
    given = carries.any(1) & ~(carries & never).any(1)
    return [j for j, g in zip(BODY26.joints, given, strict=True) if not g]


def remarks(pose: Pose2D, sight: Sight, facts: dict[str, Any]) -> list[str]:
    """Warnings, a plain line each."""
    lines = []
    if sight.entered_s is not None:
        lines.append(f"the person enters the picture at {sight.entered_s:.2f} s: a still pose until then, not observed")
    if sight.left_s is not None:
        lines.append(f"the person leaves the picture at {sight.left_s:.2f} s: a still pose from then on, not observed")
    away = _longest_absence(pose)
    if away > _LONG_ABSENCE_S:
        lines.append(f"the person is unseen for {away:.1f} s at a stretch: those frames are filled, not observed")
    if len(pose.times) == 1:
        lines.append("a single frame: the motion is one pose")
    if facts["scale_source"].startswith("prior"):
        lines.append(f"height not given: {facts['scale_source']} sets the scale; --height makes it metric")
    return lines


def _longest_absence(pose: Pose2D) -> float:
    seen = np.flatnonzero(pose.detected)
    if not len(seen):
        return 0.0
    times = pose.times
    gaps = np.diff(times[seen])[np.diff(seen) > 1]
    return float(max(times[seen[0]] - times[0], times[-1] - times[seen[-1]], gaps.max(initial=0.0)))
