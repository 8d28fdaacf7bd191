"""Virtual cameras: held-out mocap and generated motion, seen with detector-like errors, lifted and solved.

    python benchmarks/virtual.py --mocap cmu.npz [--lifter temporal] [--weights ray=0.02 ...]

The clips that training holds out (one in eight, by name), four-second windows, static random cameras, seeded. This is
what the lifter and the solve's constants are chosen on; real clips only report.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kinelift import metrics
from kinelift.camera import Camera
from kinelift.cleanup import Settings, Weights, clean
from kinelift.datasets.mocap import SOLES, contact_labels, read_mocap
from kinelift.kinematics import motion_positions
from kinelift.lift import load_lifter
from kinelift.lift.rays import INPUT_JOINTS
from kinelift.records import Lifted, Pose2D
from kinelift.skeleton import BODY26
from kinelift.training.generate import generate
from kinelift.training.temporal import held_out
from kinelift.training.vary import add_extremities
from kinelift.training.views import detect, random_cameras, windows

LIMBS, HIPS = BODY26.indices(*metrics.LIMBS), (metrics.LIMBS.index("left_hip"), metrics.LIMBS.index("right_hip"))
FPS, FRAMES = 30.0, 120
CAMERA = Camera.from_focal(1000.0, (1280, 720))


@dataclass(frozen=True, eq=False)
class Case:
    """Key points, the true positions in the world and in the camera's axes, true contact and gravity."""

    pose: Pose2D
    world: np.ndarray
    camera: np.ndarray
    contact: np.ndarray
    gravity: np.ndarray


def cases(mocap: Path, n: int, seed: int = 5) -> dict[str, list[Case]]:
    """n windows of each kind."""
    rng = np.random.default_rng(seed)
    clips = [c for c in read_mocap(mocap) if held_out(c) and len(c.positions) / c.fps > FRAMES / FPS * 1.4]
    real, contact = windows(rng, clips, n, FRAMES)
    made = generate(rng, n, FRAMES).astype(float)
    sets = {
        "held-out mocap": (add_extremities(rng, real.astype(float)), contact),
        "generated": (made, contact_labels(made, FPS)),
    }
    return {name: observed(rng, world, contact) for name, (world, contact) in sets.items()}


def observed(rng: np.random.Generator, world: np.ndarray, contact: np.ndarray) -> list[Case]:
    x, gravity = random_cameras(rng, world)
    rays, confidence = detect(rng, x)
    joints = BODY26.indices(*INPUT_JOINTS)
    out = []
    for i in range(len(world)):
        xy, sure = np.full((FRAMES, 26, 2), np.nan), np.zeros((FRAMES, 26))
        sure[:, joints] = confidence[i]
        xy[:, joints] = np.where(confidence[i][..., None] > 0, CAMERA.rays_to_pixels(rays[i]), np.nan)
        for middle, pair in (("pelvis", "hip"), ("neck", "shoulder"), ("head", "ear")):
            both = BODY26.indices(f"left_{pair}", f"right_{pair}")
            xy[:, BODY26.index(middle)] = xy[:, both].mean(1)
            sure[:, BODY26.index(middle)] = sure[:, both].min(1)
        pose = Pose2D(BODY26, xy, sure, np.arange(FRAMES) / FPS, CAMERA.image_size)
        out.append(Case(pose, world[i], x[i], contact[i], gravity[i]))
    return [c for c in out if c.pose.detected.any()]


def measure(case: Case, lifted: Lifted, settings: Settings) -> list[float]:
    result = clean(lifted, case.pose, CAMERA, 1.70, settings=settings)
    found, true = motion_positions(result.motion), case.world
    still = np.linalg.norm(np.diff(true[:, SOLES], axis=0), axis=-1) < 0.01
    slide = np.linalg.norm(np.diff(found[:, SOLES], axis=0), axis=-1)[still]
    own = np.linalg.norm(np.diff(true[:, SOLES], axis=0), axis=-1)[still]
    down = result.camera.R_cam_world @ [0, -1.0, 0]
    return [
        metrics.mpjpe(lifted.positions[:, LIMBS], case.camera[:, LIMBS], HIPS),
        metrics.pa_mpjpe(lifted.positions[:, LIMBS], true[:, LIMBS]),
        metrics.pa_mpjpe(found[:, LIMBS], true[:, LIMBS]),
        metrics.abs_mpjpe(found[:, LIMBS], true[:, LIMBS]),
        slide.mean() * 1000 if still.any() else np.nan,
        own.mean() * 1000 if still.any() else np.nan,
        metrics.penetration(found[:, SOLES]),
        metrics.jitter(found[:, LIMBS], FPS),
        metrics.jitter(true[:, LIMBS], FPS),
        float(np.degrees(np.arccos(np.clip(down @ case.gravity, -1, 1)))),
        100 * metrics.f1(result.motion.contacts > 0.5, case.contact > 0.5),
    ]


COLUMNS = "lift MPJPE|lift PA|solved PA|Abs|slide|true slide|sink|jitter|true jitter|gravity deg|contact F1 %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mocap", type=Path, required=True)
    parser.add_argument("--lifter", default="temporal")
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--weights", nargs="*", default=[], help="constants of the solve, such as ray=0.02")
    args = parser.parse_args()
    lifter = load_lifter(args.lifter)
    changed = {k: float(v) for k, v in (w.split("=") for w in args.weights)}
    print(" " * 16 + "".join(f"{c:>13s}" for c in COLUMNS.split("|")) + "   (medians; mm, mm/frame, 10 m/s^3)")
    settings = Settings(weights=Weights(**changed))
    for name, some in cases(args.mocap, args.clips).items():
        rows = [measure(c, lifter.lift(c.pose, CAMERA), settings) for c in some]
        print(f"{name:16s}" + "".join(f"{v:13.2f}" for v in np.nanmedian(rows, 0)), flush=True)
        print(f"{'  mean':16s}" + "".join(f"{v:13.2f}" for v in np.nanmean(rows, 0)), flush=True)


if __name__ == "__main__":
    main()
