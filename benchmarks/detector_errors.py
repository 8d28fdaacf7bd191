"""How a detector errs on rendered clips, and on real ones: are made pictures like real ones to it?

    kinelift train detector-data --out MADE ...
    python benchmarks/detector_errors.py --data MADE [--real DATA]

Errors are in % of the height in pixels that the person would have standing at that depth; "up" is against gravity,
"out" away from the pelvis. DATA holds `real/balancing` (four calibrated cameras; Pose2Sim, BSD-3), whose truth is
triangulated from another detector's key points and so is itself uncertain by one or two per cent. The real numbers are
only reported: nothing is trained or chosen by them.
"""

from __future__ import annotations

import argparse
import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import minimize_scalar

from _kept import key_points
from kinelift.camera import Camera, read_calibration
from kinelift.detect import read_keypoints
from kinelift.kinematics import STATURE_PRIOR_M, rotvec_to_matrix
from kinelift.lift import mapped
from kinelift.lift.rays import INPUT_JOINTS
from kinelift.skeleton import BODY26
from kinelift.training.detector_data import DetectorClip, read_detector_data

INPUT = BODY26.indices(*INPUT_JOINTS)
MIRROR = np.array([INPUT_JOINTS.index(BODY26.joints[BODY26.mirror[j]]) for j in INPUT])
KINDS_OF_JOINT = tuple(dict.fromkeys(j.split("_")[-1] for j in INPUT_JOINTS))
COMPARED_HZ = 30.0
CONFIDENCES = (0.0, 0.3, 0.5, 0.7, 0.9, 0.97, 1.0001)
# Pairs must be this far apart in the picture (%) to tell left from right, and fit this much better when exchanged.
APART, BETTER = 5.0, 0.6
TRC_NAMES = {"BigToe": "toe", "SmallToe": "toe", **{j.title(): j for j in KINDS_OF_JOINT}}


@dataclass(frozen=True, eq=False)
class Errors:
    """One clip; % of body height.

    Attributes:
        offset: (T, 21, 2) up and out; NaN where unseen, unknown, or truly outside the picture.
        crossed: (T, 21) distance to the true place of the other side's joint.
        apart: (T, 21) distance between the true places of the two sides.
        confidence: (T, 21).
        found: (T,) bool.
        step: Frames in 1/30 s; 0 where the clip is slower than that.
    """

    offset: np.ndarray
    crossed: np.ndarray
    apart: np.ndarray
    confidence: np.ndarray
    found: np.ndarray
    step: int

    @property
    def size(self) -> np.ndarray:
        """(T, 21) length of the offset."""
        return np.linalg.norm(self.offset, axis=-1)


def errors(xy: np.ndarray, confidence: np.ndarray, true_cam: np.ndarray, camera: Camera, fps: float) -> Errors:
    """Detected pixels (T, 21, 2) against true positions (T, 21, 3) in the camera's axes."""
    true = camera.project_camera(true_cam)
    hips = np.nanmean(true_cam[:, [INPUT_JOINTS.index("left_hip"), INPUT_JOINTS.index("right_hip")]], 1)
    up_cam = camera.R_cam_world @ np.array([0, 1.0, 0])
    pelvis, above = camera.project_camera(hips), camera.project_camera(hips + 0.1 * up_cam)
    up = (above - pelvis) / np.linalg.norm(above - pelvis, axis=-1, keepdims=True)
    across = np.stack([-up[:, 1], up[:, 0]], -1)
    percent = 100 * hips[:, 2] / (camera.focal_px * STATURE_PRIOR_M)
    inside = ((true > 0) & (true < np.array(camera.image_size) - 1)).all(-1)
    d = np.where((inside & (confidence > 0))[..., None], xy - true, np.nan) * percent[:, None, None]
    side = np.sign(np.einsum("tjc,tc->tj", true - pelvis[:, None], across))
    offset = np.stack([np.einsum("tjc,tc->tj", d, up), np.einsum("tjc,tc->tj", d, across) * side], -1)
    crossed = np.linalg.norm(xy - true[:, MIRROR], axis=-1) * percent[:, None]
    apart = np.linalg.norm(true - true[:, MIRROR], axis=-1) * percent[:, None]
    step = round(fps / COMPARED_HZ)
    return Errors(offset, crossed, apart, confidence, (confidence > 0).any(1), step)


def of_clip(clip: DetectorClip) -> Errors:
    return errors(clip.xy, clip.confidence, clip.positions[:, INPUT], clip.camera, clip.fps)


def report(name: str, clips: list[Errors]) -> None:
    found = np.concatenate([c.found for c in clips])
    print(f"\n{name}: {len(clips)} clips, {len(found)} frames, person found in {found.mean():.1%}")
    swaps = [_swap_rate(clips, joints) for joints in (("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle"))]
    print(f"left and right exchanged: arms {swaps[0]:.2%}, legs {swaps[1]:.2%} of the frames that can tell")
    print("joint       up     out   median     p90   jitter   confidence")
    for kind in KINDS_OF_JOINT:
        columns = [i for i, j in enumerate(INPUT_JOINTS) if j.split("_")[-1] == kind]
        offset = np.concatenate([c.offset[:, columns].reshape(-1, 2) for c in clips])
        known = np.isfinite(offset[:, 0])
        if not known.any():
            continue
        size = np.linalg.norm(offset[known], axis=-1)
        jitter = np.concatenate([_jitter(c, columns) for c in clips])
        seen = np.concatenate([c.confidence[c.found][:, columns].ravel() for c in clips])
        up, out = np.median(offset[known], 0)
        print(
            f"{kind:9s} {up:+5.1f}   {out:+5.1f}   {np.median(size):6.1f}  {np.percentile(size, 90):6.1f}"
            f"   {np.median(jitter) if len(jitter) else np.nan:6.2f}   {seen.mean():10.2f}"
        )
    size, sure = (np.concatenate([x.ravel() for x in y]) for y in zip(*((c.size, c.confidence) for c in clips)))
    known = np.isfinite(size)
    print("confidence      share   median    p90")
    for low, high in itertools.pairwise(CONFIDENCES):
        here = known & (sure >= low) & (sure < high)
        if here.any():
            row = f"{here.sum() / known.sum():6.1%}   {np.median(size[here]):6.1f} {np.percentile(size[here], 90):6.1f}"
            print(f"{low:.2f}..{min(high, 1):.2f}     {row}")


def _jitter(clip: Errors, columns: list[int]) -> np.ndarray:
    """Lengths of the error's change in 1/30 s, %."""
    if clip.step < 1:
        return np.zeros(0)
    change = np.linalg.norm(clip.offset[clip.step :, columns] - clip.offset[: -clip.step, columns], axis=-1)
    return change[np.isfinite(change)]


def _swap_rate(clips: list[Errors], kinds: tuple[str, ...]) -> float:
    """Share of frames whose pairs of these joints fit the other side much better."""
    columns = [i for i, j in enumerate(INPUT_JOINTS) if j.split("_")[-1] in kinds]
    swapped = told = 0
    for c in clips:
        tells = np.isfinite(c.offset[:, columns, 0]) & (c.apart[:, columns] > APART)
        straight = np.where(tells, c.size[:, columns], 0).sum(1)
        crossed = np.where(tells, c.crossed[:, columns], 0).sum(1)
        can_tell = tells.sum(1) >= 4
        told += int(can_tell.sum())
        swapped += int((can_tell & (crossed < BETTER * straight)).sum())
    return swapped / max(told, 1)


def read_trc_body(path: Path) -> np.ndarray:
    """(T, 21, 3) metres of the input joints, NaN for those without a marker; the toe between its two markers."""
    lines = path.read_text().splitlines()
    names = [n for n in lines[3].split("\t") if n.strip()][2:]
    rows = [[float(v) for v in line.split("\t")[2 : 2 + 3 * len(names)]] for line in lines[5:] if line.strip()]
    markers = np.array(rows).reshape(len(rows), -1, 3)
    sources: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        side, rest = {"L": "left_", "R": "right_"}.get(name[0], ""), name[1:]
        joint = side + TRC_NAMES[rest] if rest in TRC_NAMES else name.lower()
        sources.setdefault(joint, []).append(i)
    nothing = np.full((len(rows), 3), np.nan)
    return np.stack([markers[:, sources[j]].mean(1) if j in sources else nothing for j in INPUT_JOINTS], 1)


def real_errors(data: Path, work: Path) -> dict[str, list[Errors]]:
    """Errors of MediaPipe and of OpenPose (the JSON beside the clips), the truth turned so that both fit best."""
    folder = data / "real/balancing"
    truth, cameras = read_trc_body(folder / "triangulated.trc"), read_calibration(folder / "calibration.toml")
    seen: dict[str, list[tuple[np.ndarray, np.ndarray, Camera]]] = {"MediaPipe": [], "OpenPose": []}
    for i in (1, 2, 3, 4):
        camera = cameras[f"cam_0{i}"]
        theirs = folder / f"openpose/cam0{i}"
        poses = {
            "MediaPipe": key_points(folder / f"cam0{i}.mp4", work),
            "OpenPose": read_keypoints(theirs, layout="body_25b", fps=60.0, image_size=camera.image_size).pose,
        }
        for name, pose in poses.items():
            body = mapped(pose, BODY26)
            seen[name].append((body.xy[:, INPUT], body.confidence[:, INPUT], camera))
    yaw = _fitted_yaw(truth, [s for views in seen.values() for s in views])
    print(f"real/balancing: truth turned by {np.degrees(yaw):.2f} degrees about the vertical")
    world = truth @ rotvec_to_matrix(np.array([0, yaw, 0])).T
    return {
        name: [errors(xy, confidence, camera.to_camera(world), camera, 60.0) for xy, confidence, camera in views]
        for name, views in seen.items()
    }


def _fitted_yaw(truth: np.ndarray, views: list[tuple[np.ndarray, np.ndarray, Camera]]) -> float:
    def misfit(yaw: float) -> float:
        world = truth @ rotvec_to_matrix(np.array([0, yaw, 0])).T
        return float(np.mean([np.nanmedian(np.linalg.norm(xy - c.project(world), axis=-1)) for xy, _, c in views]))

    start = min(np.radians(np.arange(-180, 180, 2)), key=misfit)
    return float(minimize_scalar(misfit, bounds=(start - 0.04, start + 0.04), method="bounded").x)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="detector data: a shard or a folder of them")
    parser.add_argument("--real", type=Path, help="data folder with real/balancing")
    parser.add_argument("--work", type=Path, default=Path("out/benchmarks"), help="real key points are kept here")
    args = parser.parse_args()
    clips = read_detector_data(args.data)
    for kind in dict.fromkeys(c.kind for c in clips):
        report(f"rendered, {kind}", [of_clip(c) for c in clips if c.kind == kind])
    if args.real is not None:
        args.work.mkdir(parents=True, exist_ok=True)
        for name, found in real_errors(args.real, args.work).items():
            report(f"real, {name}", found)


if __name__ == "__main__":
    main()
