"""Real clips: PA-MPJPE on the balance beam against its triangulated truth, timings, and what the walk and squat do.

    python benchmarks/real.py --data DATA

DATA holds `real/balancing` (four calibrated cameras, OpenPose JSON, TRC; from Pose2Sim, BSD-3) and `media` (Sports2D's
walk, BSD-3; TensorFlow's squats, Apache-2.0). Twelve limb joints, similarity fit of each frame without reflection.
Nothing here trains or selects anything.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import kinelift
from kinelift import metrics
from kinelift.camera import Camera, prior_focal_px
from kinelift.detect import detect_video
from kinelift.detect.keypoints_npz import write_keypoints
from kinelift.kinematics import motion_positions
from kinelift.lift import load_lifter, mapped
from kinelift.skeleton import BODY26, MEDIAPIPE33

LIMBS = BODY26.indices(*metrics.LIMBS)


def read_trc(path: Path) -> np.ndarray:
    """(T, 12, 3) metres of the limb markers, in the order of `metrics.LIMBS`."""
    lines = path.read_text().splitlines()
    names = [n for n in lines[3].split("\t") if n.strip()][2:]
    rows = [[float(v) for v in line.split("\t")[2 : 2 + 3 * len(names)]] for line in lines[5:] if line.strip()]
    markers = [("L" if j.startswith("left") else "R") + j.split("_")[1].title() for j in metrics.LIMBS]
    return np.array(rows).reshape(len(rows), -1, 3)[:, [names.index(m) for m in markers]]


def detect(video: Path, folder: Path) -> tuple[Path, kinelift.Pose2D]:
    """Key points of a video, written to a file, and they themselves."""
    pose = detect_video(video).pose
    path = folder / f"{video.stem}.npz"
    write_keypoints(path, pose)
    return path, pose


def balancing(data: Path, folder: Path) -> None:
    truth = read_trc(data / "real/balancing/triangulated.trc")
    lifter = load_lifter("temporal")
    rows = []
    names = ("MediaPipe's 3D", "lifter alone", "kinelift", "calibrated", "OpenPose 2D")
    print("\nPA-MPJPE, 12 limb joints, mm     " + "".join(f"{n:>15s}" for n in names))
    for i in (1, 2, 3, 4):
        path, pose = detect(data / f"real/balancing/cam0{i}.mp4", folder)
        own = pose.detector_3d[:, MEDIAPIPE33.indices(*metrics.LIMBS)]
        seen = np.isfinite(own).all((1, 2))
        camera = Camera.from_focal(prior_focal_px(pose.image_size), pose.image_size)
        lifted = lifter.lift(mapped(pose, BODY26), camera).positions[:, LIMBS]
        solved = motion_positions(kinelift.animate(path).motions[0])[:, LIMBS]
        calibration = data / "real/balancing/calibration.toml"
        calibrated = motion_positions(kinelift.animate(path, calibration=calibration).motions[0])[:, LIMBS]
        json = data / f"real/balancing/openpose/cam0{i}"
        take = kinelift.animate(json, fps=60.0, image_size=pose.image_size, keypoints_format="body_25b")
        from_json = motion_positions(take.motions[0])[:, LIMBS]
        row = [metrics.pa_mpjpe(own[seen], truth[seen])]
        row += [metrics.pa_mpjpe(x, truth) for x in (lifted, solved, calibrated, from_json)]
        rows.append(row)
        print(f"cam0{i}" + " " * 28 + "".join(f"{v:15.1f}" for v in row))
    print("mean " + " " * 28 + "".join(f"{v:15.1f}" for v in np.mean(rows, 0)))


def whole_videos(data: Path, folder: Path) -> None:
    """The whole job on each video: seconds of its two halves, and what the person does."""
    clips = [*sorted((data / "real/balancing").glob("cam0*.mp4")), *sorted((data / "media").glob("*.mp4"))]
    kinelift.animate(folder / f"{clips[0].stem}.npz")  # libraries loaded
    reports = {clip.stem: kinelift.animate(clip).report for clip in clips}
    print("\nclip               frames   detection s (fps)   after detection s (fps)   ratio")
    for name, r in reports.items():
        detecting, after, n = r["seconds_spent"]["detect"], r["seconds_spent"]["after_detection"], r["frames"]
        line = f"{name:18s} {n:6d} {detecting:12.2f} ({n / detecting:5.1f}) {after:16.3f} ({n / after:6.0f})"
        print(f"{line} {after / detecting:9.3f}")
    print("\nclip               travel m   pelvis height m   stances L R   alternate %   slide mm/frame   reproj px")
    for name, r in reports.items():
        root, steps = r["root"], r["steps"]
        print(
            f"{name:18s} {root['travel_m']:8.2f} {root['height_min_m']:10.2f}..{root['height_max_m']:.2f}"
            f" {steps['left_stances']:9d} {steps['right_stances']:2d} {steps['alternate_percent'] or 0:11.0f}"
            f" {r['foot_sliding_mm_per_frame']:14.2f} {r['reprojection_error_px']:13.1f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("out/benchmarks"))
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    balancing(args.data, args.work)
    whole_videos(args.data, args.work)


if __name__ == "__main__":
    main()
