"""From pixels to world motion with exact truth: rendered clips of motion that training never saw.

    python benchmarks/end_to_end.py --mocap cmu.npz [--lifter FILE] [--work DIR] [--seed N] [--clips N] [--csv FILE]

Clips are described in `_filmed.py`; DIR keeps them with what the detector saw, so that a second run only lifts and
solves. `kinelift.animate` gets the video and the person's stature; the lens is a guess (0.85 x the long side) but in
rows that say "known". With the true key points as well, what remains is the lifter's and the solve's.

12 limb joints, millimetres, means over a clip's frames, then over clips. *In the camera's axes*: MPJPE with the hips'
middle at the origin; PA after a similarity fit of each frame without reflection. MediaPipe's 3D is measured where it
gives any: as it is; with its limb bones as long as the true ones; and in its favour, turned to the true hips' ray and
at the scale that fits each clip best. The lifter alone is scaled to the true stature, which it is told. *In the world*:
"rigid" is the mean error after one rigid fit of the clip; "floor" allows only a turn about the vertical and a shift
along the floor, so that gravity and the floor's height count. Sliding (mm a frame at 30 fps) is of true contacts; below
the floor is the soles' mean depth; gravity in degrees; the pelvis' path over the floor in steps of 0.2 s is compared
where it is over 1 m.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

import kinelift
from _filmed import FPS, SOLES, Filmed, drawn, films, lens
from _protocol import KEY_POINTS, pose_of
from kinelift import metrics
from kinelift.camera import Camera, prior_focal_px
from kinelift.datasets.mocap import read_mocap
from kinelift.detect import make_detector
from kinelift.detect.keypoints_npz import read_keypoints_npz, write_keypoints
from kinelift.errors import InputError, KineliftError
from kinelift.kinematics import STATURE_PRIOR_M, bone_lengths, motion_positions
from kinelift.lift import Lifter, load_lifter, mapped
from kinelift.lift.rays import aim
from kinelift.records import Pose2D, Take
from kinelift.repair import repair, within_picture
from kinelift.skeleton import BODY26, joint_map
from lifting import Bar, Table

LIMBS = BODY26.indices(*metrics.LIMBS)
HIPS = (metrics.LIMBS.index("left_hip"), metrics.LIMBS.index("right_hip"))
BONES = BODY26.indices(*(f"{s}_{j}" for s in ("left", "right") for j in ("elbow", "wrist", "knee", "ankle")))
PATH_STEP_S, PATH_FROM_M = 0.2, 1.0
COLUMNS = {"mpjpe": "MPJPE", "pa": "PA", "rigid": "rigid", "floor": "floor", "slide": "slide", "below": "below floor"}
COLUMNS |= {"gravity": "gravity deg", "path": "path %", "f1": "contact F1", "frames": "frames %"}
DETECTOR, BONES_TRUE, FAVOURED = "MediaPipe's own 3D", "its bones true", "in its favour"
LIFTER, SOLVED, KNOWN, PERFECT = "lifter alone", "kinelift", "lens known", "lens, 2D known"
LIFTER_PERFECT, TRUTH = "lifter, both known", "the truth"
LOWER_BAR, PA_BAR = Bar("end to end", "lower %", low=35), Bar("end to end", "pa", 40)


def camera_errors(found: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """MPJPE and PA-MPJPE of limb joints (T, 12, 3) in the same axes; frames with NaN are left out and counted."""
    given = np.isfinite(found).all((1, 2))
    share = {"frames": 100 * float(given.mean())}
    if not given.any():
        return share
    found, true = found[given], true[given]
    return {"mpjpe": metrics.mpjpe(found, true, HIPS), "pa": metrics.pa_mpjpe(found, true), **share}


def on_floor(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """World positions (T, J, 3) turned about the vertical and shifted along the floor, by one fit of the whole clip."""
    a, b = found.reshape(-1, 3)[:, ::2], true.reshape(-1, 3)[:, ::2]
    mean_a, mean_b = a.mean(0), b.mean(0)
    a, b = (a - mean_a) @ [1, 1j], (b - mean_b) @ [1, 1j]
    turn = np.exp(1j * np.angle(np.vdot(a, b)))
    moved = a * turn
    out = np.empty_like(found)
    out[..., 0] = (moved.real + mean_b[0]).reshape(found.shape[:-1])
    out[..., 1] = found[..., 1]
    out[..., 2] = (moved.imag + mean_b[1]).reshape(found.shape[:-1])
    return out


def path_m(root: np.ndarray, fps: float) -> float:
    """Length over the floor of a path (T, 3), in steps of 0.2 s, so that trembling does not add to it."""
    every = max(round(PATH_STEP_S * fps), 1)
    return float(np.linalg.norm(np.diff(root[::every, ::2], axis=0), axis=-1).sum())


def world_errors(found: np.ndarray, true: np.ndarray, contact: np.ndarray, fps: float) -> dict[str, float]:
    """BODY26 world positions (T, 26, 3) against the truth, of which only limbs, soles and pelvis need be known."""
    a, b = found[:, LIMBS], true[:, LIMBS]
    true_path = path_m(true[:, 0], fps)
    far = true_path >= PATH_FROM_M
    return {
        "rigid": metrics.abs_mpjpe(a, b),
        "floor": float(np.linalg.norm(on_floor(a, b) - b, axis=-1).mean() * 1000),
        "slide": metrics.foot_sliding(found[:, SOLES], contact, fps),
        "below": metrics.penetration(found[:, SOLES]),
        "path": 100 * abs(path_m(found[:, 0], fps) / true_path - 1) if far else float("nan"),
    }


def angle_deg(a: np.ndarray, b: np.ndarray) -> float:
    """Degrees between two vectors (3,)."""
    return float(np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b)), a @ b)))


def down(camera: Camera) -> np.ndarray:
    """(3,) unit vector in the camera's axes that points down in its world."""
    return np.asarray(camera.R_cam_world @ np.array([0, -1.0, 0]))


def take_errors(take: Take, clip: Filmed) -> dict[str, float]:
    """A solved clip against its truth, frames paired by time."""
    motion = take.motions[0]
    at = np.round(motion.times * FPS).astype(int)
    found, true = motion_positions(motion), clip.scene.positions[at]
    contact = clip.scene.contact[at]
    R, R_true = take.camera.R_cam_world, clip.scene.camera.R_cam_world
    out = camera_errors(found[:, LIMBS] @ R.T, true[:, LIMBS] @ R_true.T)
    out["frames"] *= len(at) / len(clip.scene.positions)
    out |= world_errors(found, true, contact, motion.fps)
    out["gravity"] = angle_deg(down(take.camera), down(clip.scene.camera))
    return out | {"f1": metrics.f1(motion.contacts > 0.5, contact > 0.5)}


def to_true_bones(own: np.ndarray, true_cam: np.ndarray) -> np.ndarray:
    """A detector's 3D (T, 26, 3) times the clip's median ratio of true to given limb bones."""
    given, true = (bone_lengths(BODY26, x)[:, BONES] for x in (own, true_cam))
    ratio = true / np.maximum(given, 1e-6)
    return own * (np.nanmedian(ratio) if np.isfinite(ratio).any() else np.nan)


def favoured(own: np.ndarray, true_cam: np.ndarray) -> np.ndarray:
    """A detector's 3D (T, 26, 3), turned from a camera aimed at the true hips to the real one, at its best scale.

    One scale a clip: limbs relative to the hips' middle fit the truth (T, 26, 3) best, in the sense of least squares.
    """
    hips = true_cam[:, [LIMBS[h] for h in HIPS]].mean(1)
    turned = np.einsum("tij,tnj->tni", aim(hips[:, :2] / hips[:, 2:]), own)
    a, b = (x[:, LIMBS] - x[:, [LIMBS[h] for h in HIPS]].mean(1, keepdims=True) for x in (turned, true_cam))
    b = np.where(np.isfinite(a), b, np.nan)
    return turned * np.nansum(a * b) / max(np.nansum(a * a), 1e-12)


def lifted_limbs(lifter: Lifter, pose: Pose2D, camera: Camera, stature_m: float) -> np.ndarray:
    """(T, 12, 3) metres in the camera's axes of a person of this stature, as the lifter says before any solve."""
    visible, _ = within_picture(pose)
    mended, _ = repair(visible)
    lifted = lifter.lift(mapped(mended, lifter.skeleton), camera)
    limbs = np.einsum("ij,tjc->tic", joint_map(lifted.skeleton, BODY26)[LIMBS], np.nan_to_num(lifted.positions))
    return limbs * stature_m / STATURE_PRIOR_M


@dataclass(frozen=True)
class Spent:
    """Seconds: drawing the clip (0: it was there), detecting, all after detection."""

    draw: float
    detect: float
    solve: float


def look(video: Path, clip: Filmed, fresh: bool) -> tuple[Path, float]:
    """Key points of the video, detected once and kept beside it, and the seconds that this took.

    They are what `animate` found in the video, before repair; another clip, detector or version looks again.
    """
    path = video.with_name("keypoints.npz")
    made_of = {"clip": clip.fingerprint(), **make_detector("mediapipe").provenance(), "version": kinelift.__version__}
    if path.is_file() and not fresh:
        _, meta = read_keypoints_npz(path)
        if {k: meta.get(k) for k in made_of} == made_of:
            return path, float(meta["seconds"])
    take = kinelift.animate(video, height_m=clip.stature_m)
    seconds = float(take.report["seconds_spent"]["detect"])
    write_keypoints(path, take.poses_2d[0], {**made_of, "seconds": seconds})
    return path, seconds


def measured(clip: Filmed, lifter: str, work: Path, fresh: bool) -> tuple[dict[str, dict[str, float]], Spent]:
    """Every row of one clip, and the time that its stages took."""
    began = perf_counter()
    video, now = drawn(clip, work, fresh)
    drawing = perf_counter() - began if now else 0.0
    keypoints, detecting = look(video, clip, fresh)
    told: dict = {"height_m": clip.stature_m, "lifter": lifter}
    take = kinelift.animate(keypoints, **told)
    focal_px = clip.scene.camera.focal_px
    rows = {
        SOLVED: take_errors(take, clip),
        KNOWN: take_errors(kinelift.animate(keypoints, focal_px=focal_px, **told), clip),
    }
    pose, _ = read_keypoints_npz(keypoints)
    perfect = true_2d(clip)
    write_keypoints(video.with_name("true2d.npz"), perfect)
    seen_truly = kinelift.animate(video.with_name("true2d.npz"), focal_px=focal_px, **told)
    rows[PERFECT] = take_errors(seen_truly, clip)
    at = np.round(pose.times * FPS).astype(int)
    true_cam = clip.in_camera[at]
    true, share = true_cam[:, LIMBS], len(at) / len(clip.scene.positions)
    own = own_3d(pose)
    network, guess = load_lifter(lifter), Camera.from_focal(prior_focal_px(pose.image_size), pose.image_size)
    found = {
        DETECTOR: (own[:, LIMBS], true),
        BONES_TRUE: (to_true_bones(own, true_cam)[:, LIMBS], true),
        FAVOURED: (favoured(own, true_cam)[:, LIMBS], true),
        LIFTER: (lifted_limbs(network, pose, guess, clip.stature_m), true),
        LIFTER_PERFECT: (lifted_limbs(network, perfect, lens(clip), clip.stature_m), clip.in_camera[:, LIMBS]),
    }
    for name, pair in found.items():
        rows[name] = camera_errors(*pair)
        rows[name]["frames"] *= share if name != LIFTER_PERFECT else 1
    p = clip.scene.positions
    truth = world_errors(p, p, clip.scene.contact, FPS)
    rows[TRUTH] = {k: truth[k] for k in ("slide", "below")}
    return rows, Spent(drawing, detecting, take.report["seconds_spent"]["after_detection"])


def own_3d(pose: Pose2D) -> np.ndarray:
    """(T, 26, 3) the detector's own 3D of BODY26 joints, metres, NaN where it gives none."""
    body = mapped(pose, BODY26)
    if body.detector_3d is None:
        return np.full((len(pose.times), len(BODY26), 3), np.nan)
    return np.array(body.detector_3d)


def true_2d(clip: Filmed) -> Pose2D:
    """What a perfect detector would say: every key point in the picture where it is, none outside, no 3D."""
    size = clip.scene.camera.image_size
    xy = clip.scene.camera.project(clip.scene.positions[:, KEY_POINTS])
    seen = ((xy >= 0) & (xy <= np.array(size) - 1)).all(-1)
    return pose_of(np.where(seen[..., None], xy, np.nan), seen.astype(float), size)


def mean_of(rows: list[dict[str, float]]) -> dict[str, float]:
    """Mean of every column over the clips that have it; NaN where none has."""
    columns = {k: [r[k] for r in rows if np.isfinite(r.get(k, np.nan))] for k in COLUMNS}
    return {k: float(np.mean(v)) if v else float("nan") for k, v in columns.items()}


ORDER = (DETECTOR, BONES_TRUE, FAVOURED, LIFTER, SOLVED, KNOWN, LIFTER_PERFECT, PERFECT, TRUTH)


def report(table: Table, clips: list[Filmed], results: list[dict[str, dict[str, float]]]) -> None:
    """Clips, actions with several clips, means of every row, and the bars."""
    brief = (DETECTOR, LIFTER, SOLVED)

    def block(title: str, group: str, label: Callable[[Filmed], str], rows: tuple[str, ...]) -> None:
        table.head(title, list(COLUMNS.values()))
        for name in dict.fromkeys(label(c) for c in clips):
            of_name = [r for c, r in zip(clips, results, strict=True) if label(c) == name]
            for row in rows:
                table.line(group, name, row, mean_of([r[row] for r in of_name]))

    block("By clip", "clip", lambda c: c.name, brief)
    if len({c.action for c in clips}) < len(clips):
        block("By action", "action", lambda c: c.action, brief)
    block("By where the motion is from", "motion", lambda c: c.scene.kind, brief)
    block("By view", "view", lambda c: c.view, brief)
    block(f"All {len(clips)} clips", "all", lambda c: "mean", ORDER)
    means = {row: mean_of([r[row] for r in results]) for row in ORDER}
    print("\nBars")
    for peer, what in ((DETECTOR, "MediaPipe's"), (FAVOURED, "MediaPipe's, in its favour")):
        lower = 100 * (1 - means[SOLVED]["mpjpe"] / means[peer]["mpjpe"])
        table.judge(f"% below {what}", SOLVED, lower, LOWER_BAR)
    table.judge("PA-MPJPE, mm", SOLVED, means[SOLVED]["pa"], PA_BAR)


def times(table: Table, clips: list[Filmed], spent: list[Spent]) -> None:
    """Seconds of each stage over all clips and frames a second."""
    frames = sum(len(c.scene.positions) for c in clips)
    new = sum(len(c.scene.positions) for c, s in zip(clips, spent, strict=True) if s.draw)
    print(f"\nTime, {frames} frames: seconds (frames/s)")
    for stage, count in (("draw", new), ("detect", frames), ("solve", frames)):
        seconds = sum(getattr(s, stage) for s in spent)
        rate = count / seconds if seconds else float("nan")
        table.rows.append(("time", stage, "", "seconds", seconds))
        print(f"  {stage:10s}{seconds:10.2f} ({rate:.1f})")


def run(args: argparse.Namespace) -> None:
    if args.clips < 1 or args.seed < 0:
        raise InputError(f"--clips {args.clips} --seed {args.seed}: expected at least 1 clip and a seed of at least 0")
    load_lifter(args.lifter)
    clips = films(args.seed, args.clips, read_mocap(args.mocap) if args.mocap else [])
    work = args.work / f"seed{args.seed}"
    marks = zlib.crc32("".join(c.fingerprint() for c in clips).encode())
    print(f"{len(clips)} clips of seed {args.seed}, {marks:08x}; lifter {args.lifter}", flush=True)
    results, spent = [], []
    for clip in clips:
        rows, seconds = measured(clip, args.lifter, work, args.fresh)
        results.append(rows)
        spent.append(seconds)
        drawing = f"drawn in {seconds.draw:.0f} s, " if seconds.draw else ""
        seen = f"MPJPE {rows[DETECTOR].get('mpjpe', np.nan):.0f} -> {rows[SOLVED]['mpjpe']:.0f}"
        print(f"  {clip.name:28s}{clip.motion:40s}{drawing}{seen}", flush=True)
    table = Table()
    report(table, clips, results)
    times(table, clips, spent)
    if args.csv:
        table.write(args.csv)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mocap", type=Path, help="cmu.npz; without it only generated motion is measured")
    parser.add_argument("--lifter", default="temporal", help="a lifter's name or ONNX file; default: the shipped one")
    parser.add_argument("--clips", type=int, default=15, help="how many clips; more than 15 go round again")
    parser.add_argument("--seed", type=int, default=0, help="of motion, cameras and looks")
    parser.add_argument("--work", type=Path, default=Path("out/end_to_end"), help="clips and key points are kept here")
    parser.add_argument("--fresh", action="store_true", help="draw and detect again")
    parser.add_argument("--csv", type=Path, help="write every number")
    args = parser.parse_args()
    try:
        run(args)
    except KineliftError as e:
        parser.error(str(e))


if __name__ == "__main__":
    main()
