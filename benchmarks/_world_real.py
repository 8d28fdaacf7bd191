"""Real clips for `world.py`: the balance beam in its calibration's frame, and planted feet of two phone clips.

The beam's stature is the triangulated legs' length over .491 (thigh and shank, Winter 2009, table 4.1). Each camera is
solved alone. Nothing trains or selects anything here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from _balancing import CAMERAS
from _kept import key_points
from _world_baselines import placed
from _world_measures import LIMBS
from kinelift import metrics
from kinelift.camera import Camera, prior_focal_px, read_calibration
from kinelift.cleanup import clean
from kinelift.cleanup.evidence import Weights
from kinelift.cleanup.settings import Settings
from kinelift.datasets.mocap import SOLES
from kinelift.kinematics import STATURE_PRIOR_M, motion_positions
from kinelift.lift import Lifter, answer, mapped
from kinelift.records import Lifted, Motion, Pose2D
from kinelift.repair import repair, within_picture
from kinelift.skeleton import BODY26
from lifting import Bar, Table
from real import read_trc

LEGS_OF_STATURE = 0.491
PLAIN, SOLVED = "least squares", "kinelift"
TRUTH_BAR = Bar("real", "rigid", 80, aim=60)
AGREE_BAR = Bar("real", "agree", 150, aim=90)
DRIFT_BAR = Bar("real", "drift", 10)
# So much worse in the picture still counts as "as good as without contacts", %.
REPROJECTION_SLACK = 5.0
PHONE_CLIPS = ("sports2d_demo", "pose_squats")
JUDGED = "sports2d_demo"  # in the squats a toe turns in its first 0.2 s, in the picture too


@dataclass(frozen=True, eq=False)
class Seen:
    """A real clip up to the solve: mended key points, the camera as it is known, the lifter's answer."""

    pose: Pose2D
    camera: Camera
    lifted: Lifted


def seen(pose: Pose2D, camera: Camera, lifter: Lifter) -> Seen:
    mended = repair(within_picture(pose)[0])[0]
    return Seen(mapped(mended, BODY26), camera, answer(lifter, mapped(mended, lifter.skeleton), camera))


def legs_m(limbs: np.ndarray) -> float:
    """Median thigh and shank together, metres, mean of both sides, of limb joints (T, 12, 3)."""
    at = metrics.LIMBS.index
    legs = [[at(f"{s}_{j}") for j in ("hip", "knee", "ankle")] for s in ("left", "right")]
    return float(np.mean([np.median(np.linalg.norm(np.diff(limbs[:, leg], axis=1), axis=-1).sum(1)) for leg in legs]))


def balancing(table: Table, data: Path, work: Path, lifter: Lifter) -> None:
    """Each camera alone against the triangulation, and against the other cameras."""
    folder = data / "real/balancing"
    truth = read_trc(folder / "triangulated.trc")
    height = legs_m(truth) / LEGS_OF_STATURE
    cameras = read_calibration(folder / "calibration.toml")
    found: dict[str, list[np.ndarray]] = {PLAIN: [], SOLVED: []}
    for i in CAMERAS:
        clip = seen(key_points(folder / f"cam0{i}.mp4", work / "keypoints"), cameras[f"cam_0{i}"], lifter)
        found[PLAIN].append(placed(clip.lifted, clip.pose, clip.camera, height, calibrated=True)[:, LIMBS])
        motion = clean(clip.lifted, clip.pose, clip.camera, height, calibrated=True).motion
        found[SOLVED].append(motion_positions(motion)[:, LIMBS])
    names = [f"cam0{i}" for i in CAMERAS]
    table.head(f"balancing, stature {height:.2f} m: mm after one rigid fit", [*names, "mean", "PA"])
    for row, some in found.items():
        errors = [metrics.abs_mpjpe(p, truth) for p in some]
        values = dict(zip(names, errors)) | {"mean": float(np.mean(errors))}
        table.line("balancing", row, "", values | {"pa": float(np.mean([metrics.pa_mpjpe(p, truth) for p in some]))})
    for name, p in zip(names, found[SOLVED]):
        table.judge(f"{name}: rigid", SOLVED, metrics.abs_mpjpe(p, truth), TRUTH_BAR)
    pairs = list(combinations(range(len(CAMERAS)), 2))
    table.head("balancing: cameras apart, unaligned, mm", [f"{CAMERAS[a]}-{CAMERAS[b]}" for a, b in pairs] + ["mean"])
    for row, some in found.items():
        apart = [float(np.linalg.norm(some[a] - some[b], axis=-1).mean() * 1000) for a, b in pairs]
        table.line("agreement", row, "", {f"{a}-{b}": v for (a, b), v in zip(pairs, apart)} | {"mean": np.mean(apart)})
    table.judge("cameras apart, mean of pairs", SOLVED, float(np.mean(apart)), AGREE_BAR)
    table.judge("cameras apart, worst pair", SOLVED, max(apart), AGREE_BAR)


def phone_clips(table: Table, data: Path, work: Path, lifter: Lifter) -> None:
    """How far planted feet get in their stances, and what that costs in the picture."""
    columns = ["stances", "planted %", "drift", "worst", "reproj px", "slide"]
    for name in PHONE_CLIPS:
        pose = key_points(data / f"media/{name}.mp4", work / "keypoints")
        clip = seen(pose, Camera.from_focal(prior_focal_px(pose.image_size), pose.image_size), lifter)
        solve = _solver(clip)
        table.head(f"{name}: planted feet, mm a stance", columns)
        rows = {"with contacts": solve(Settings()), "without": solve(without_contacts())}
        spans = stances(rows["with contacts"][0])
        measured = {row: _feet(m, c, clip.pose, spans) for row, (m, c) in rows.items()}
        for row, values in measured.items():
            table.line(name, row, "", values)
        if name != JUDGED:
            continue
        own = measured["with contacts"]
        table.judge(f"{name}: drift, mean of stances", SOLVED, own["drift"], DRIFT_BAR)
        table.judge(f"{name}: drift, worst stance", SOLVED, own["worst"], DRIFT_BAR)
        bar = Bar("real", "reprojection", measured["without"]["reprojection"] * (1 + REPROJECTION_SLACK / 100))
        table.judge(f"{name}: reprojection, px", SOLVED, own["reprojection"], bar)


def _solver(clip: Seen) -> Callable[[Settings], tuple[Motion, Camera]]:
    def solve(settings: Settings) -> tuple[Motion, Camera]:
        result = clean(clip.lifted, clip.pose, clip.camera, STATURE_PRIOR_M, settings=settings)
        return result.motion, result.camera

    return solve


def without_contacts() -> Settings:
    """Nothing holds planted soles: not to their place, not to their height."""
    return Settings(weights=Weights().without("contact_speed", "contact_height"))


def stances(motion: Motion) -> list[tuple[slice, int]]:
    """The stances of a motion in frames that show the person."""
    return metrics.stances(motion.contacts * motion.observed[:, None], motion.times)


def _feet(motion: Motion, camera: Camera, pose: Pose2D, spans: list[tuple[slice, int]]) -> dict[str, float]:
    p = motion_positions(motion)
    soles = p[:, SOLES]
    drift = [metrics.stance_drift(soles, s) for s in spans] or [float("nan")]
    miss = np.linalg.norm(camera.project(p) - pose.xy, axis=-1)[:, LIMBS]
    return {
        "stances": float(len(spans)),
        "planted": 100 * float((motion.contacts > 0.5).mean()),
        "drift": float(np.mean(drift)),
        "worst": float(np.max(drift)),
        "reprojection": float(np.median(miss[pose.seen[:, LIMBS] & np.isfinite(miss)])),
        "slide": metrics.foot_sliding(soles, motion.contacts, motion.fps),
    }
