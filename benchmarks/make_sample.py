"""Render the bundled sample clip and its exact truth, then ask the default detector what it sees.

    python benchmarks/make_sample.py                 writes src/kinelift/assets/sample.mp4 and sample_truth.npz
    python benchmarks/make_sample.py --check-only    only measures the clip that is there

The motion is made by rule (kinelift.render.sample_motion) and the pictures by kinelift.render: no recorded person,
no third-party asset, no model weights.
"""

from __future__ import annotations

import argparse
import math
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from kinelift.camera import Camera, prior_focal_px
from kinelift.detect import detect_video
from kinelift.kinematics import motion_positions, rotvec_to_matrix
from kinelift.records import CONTACT_JOINTS, Motion
from kinelift.render import Look, Renderer
from kinelift.render.sample_motion import SAMPLE_FPS, SAMPLE_STATURE_M, sample_motion
from kinelift.skeleton import BODY26, MEDIAPIPE33, joint_map

ASSETS = Path(__file__).resolve().parents[1] / "src" / "kinelift" / "assets"
IMAGE_SIZE = (960, 540)
LOOK = Look(seed=7)
LIMBS = [f"{s}_{j}" for s in ("left", "right") for j in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")]


def sample_camera(motion: Motion) -> Camera:
    """A phone on a tripod: 1.3 m high, 4.3 m in front of where the person stops, 4 degrees down."""
    stop = motion.root[-1]
    centre = np.array([stop[0] - 0.75, 1.3, stop[2] + 4.3])
    R_down = rotvec_to_matrix(np.array([math.radians(4.0), 0, 0]))
    R_cam_world = R_down @ np.diag([1.0, -1.0, -1.0])
    camera = Camera.from_focal(prior_focal_px(IMAGE_SIZE), IMAGE_SIZE)
    return camera.replaced(R_cam_world=R_cam_world, t_cam_world=-R_cam_world @ centre)


def write_video(path: Path, camera: Camera, positions: np.ndarray) -> None:
    renderer = Renderer(camera, LOOK)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=SAMPLE_FPS)
        stream.width, stream.height = IMAGE_SIZE
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, 15360)
        stream.options = {"crf": "21", "preset": "slow", "threads": "1"}
        for i, joints in enumerate(positions):
            frame = av.VideoFrame.from_ndarray(renderer.frame(joints), format="rgb24")
            frame.pts, frame.time_base = i * 15360 // SAMPLE_FPS, stream.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_truth(path: Path, camera: Camera, motion: Motion, positions: np.ndarray) -> None:
    np.savez_compressed(
        path,
        positions=positions.astype(np.float32),
        times=motion.times,
        contacts=motion.contacts.astype(np.uint8),
        contact_joint_names=np.array(CONTACT_JOINTS),
        joint_names=np.array(BODY26.joints),
        K=camera.K,
        R_cam_world=camera.R_cam_world,
        t_cam_world=camera.t_cam_world,
        image_size=np.array(IMAGE_SIZE),
        height_m=SAMPLE_STATURE_M,
    )


def detect(path: Path) -> np.ndarray:
    """(T, 33, 3) pixels and confidence of every frame; NaN where nobody is found."""
    pose = detect_video(path).pose
    return np.concatenate([pose.xy, pose.confidence[..., None]], -1)


def report(seen: np.ndarray, camera: Camera, positions: np.ndarray) -> None:
    """Print how often and how well the detector sees the figure; errors in % of the body's pixel height."""
    truth = camera.project(positions)
    height = np.ptp(truth[..., 1], axis=1) * 1.07  # the skeleton ends at the ears
    body = np.einsum("ij,tjc->tic", joint_map(MEDIAPIPE33, BODY26), seen)
    found = np.isfinite(seen[:, 0, 0])
    limbs = BODY26.indices(*LIMBS)
    mirrored = [BODY26.mirror[i] for i in limbs]
    straight = np.linalg.norm(body[:, limbs, :2] - truth[:, limbs], axis=-1)
    crossed = np.linalg.norm(body[:, mirrored, :2] - truth[:, limbs], axis=-1)
    swaps = found & (crossed.mean(1) < straight.mean(1))
    leg = [i for i, n in enumerate(LIMBS) if n.split("_")[1] in ("knee", "ankle")]
    leg_swaps = found & (crossed[:, leg].mean(1) < straight[:, leg].mean(1))
    print(f"frames {len(seen)}, found {found.mean():.1%}, mean confidence {np.nanmean(seen[..., 2]):.2f}")
    print(
        f"left and right swapped in {swaps.sum()} frames, legs alone in {leg_swaps.sum()}: {np.nonzero(leg_swaps)[0]}"
    )
    print("2D error, % of body height, median (90th percentile), mean vertical offset (negative = up)")
    for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle", "heel", "toe"):
        pair = BODY26.indices(f"left_{joint}", f"right_{joint}")
        d = (body[found][:, pair, :2] - truth[found][:, pair]) / height[found, None, None] * 100
        e = np.linalg.norm(d, axis=-1)
        print(f"  {joint:9s} {np.median(e):4.1f} ({np.percentile(e, 90):4.1f})  {d[..., 1].mean():+.1f}")
    every = straight[found] / height[found, None] * 100
    print(f"  12 limb joints: median {np.median(every):.1f}, mean {every.mean():.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check-only", action="store_true")
    args = parser.parse_args()
    motion = sample_motion()
    positions, camera = motion_positions(motion), sample_camera(motion)
    video, truth = ASSETS / "sample.mp4", ASSETS / "sample_truth.npz"
    if not args.check_only:
        ASSETS.mkdir(exist_ok=True)
        write_video(video, camera, positions)
        write_truth(truth, camera, motion, positions)
    for path in (video, truth):
        print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")
    report(detect(video), camera, positions)


if __name__ == "__main__":
    main()
