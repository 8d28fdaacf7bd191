"""Retargeting: how much feet slide and sink on three characters of very different proportions, against the source.

    python benchmarks/retarget.py [motion.npz ...] [--motions sample,walk,...] [--mocap cmu.npz] [--picture OUT.png]

Motions: the bundled clip as kinelift solves it from its pixels ("sample") and as it truly is ("sample truth": a walk, a
turn, a squat), generated actions, held-out CMU clips with `--mocap`, and any motion.npz given. The characters are those
of tests/rigs.py, written as GLB with the animation in it; a small player of its own (tests/gltf_player.py) poses the
file's skin, and what is measured are points of the skin: heel and ball where the source has them, and all of the shoe.

Sliding is the mean horizontal step of heel and ball while they are in contact, mm a frame of 30 per second; sinking
their mean depth under the floor; "deepest" the deepest point of the shoe in any frame. The bar is the source + 20 %, as
seen (mm on that character) and at the source's size (times source leg / character's leg), and not under 0.1 mm. "Legs"
is how far thighs and shanks turn away from the source's, jitter is that of the limbs' joints at the source's size, and
"jump" how high the lower ankle gets, against the source's at that size. The second table has the
means of the first.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image

import kinelift
from _protocol import cmu_action, pieces, seeded, touching, with_face_and_hands
from kinelift import metrics
from kinelift.cleanup.rig import first_rotations
from kinelift.datasets.mocap import SOLES, read_mocap
from kinelift.kinematics import (
    bone_lengths,
    continuous_quats,
    matrix_to_quat,
    motion_positions,
    reference_offsets,
)
from kinelift.records import Motion
from kinelift.render.sample_motion import sample_motion
from kinelift.retarget import read_character, retarget, write_character
from kinelift.skeleton import BODY26
from kinelift.training.actions import generate_named_actions
from kinelift.training.rendered import with_trunk
from kinelift.training.temporal import held_out

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from gltf_player import Player  # noqa: E402
from judges import run_python  # noqa: E402
from rig_files import write_glb, write_vrm  # noqa: E402
from rigs import RIGS, SkinnedRig  # noqa: E402

FPS = 30.0
ACTIONS = ("walk", "side_steps", "run", "squat", "jump", "sit", "lunge", "kick")
MADE_S = 5.0
CMU = ("walking", "running", "basketball", "soccer")
MORE, LEAST_MM = 1.2, 0.1
LIMBS = metrics.LIMBS


@dataclass(frozen=True, eq=False)
class Feet:
    """What one body does: mm, at its own size.

    Attributes:
        slide, sink, deepest, jitter: As above; the source's deepest is of its sole points.
        flight_m: Height of the highest jump, NaN without one.
        leg_m: Hip to ankle.
        legs: (T, 4, 3) unit directions of thighs and shanks.
    """

    slide: float
    sink: float
    deepest: float
    jitter: float
    flight_m: float
    leg_m: float
    legs: np.ndarray


def motion_of(p: np.ndarray, contact: np.ndarray) -> Motion:
    """Positions (T, 26, 3) at 30 fps as rotations of one rig, whose bones are the clip's mean."""
    p = with_trunk(p)
    rest = reference_offsets()
    length = np.linalg.norm(rest, axis=-1)
    ratio = np.where(length > 0, np.nanmean(bone_lengths(BODY26, p), 0) / np.maximum(length, 1e-9), 0)
    ratio = np.where(np.isfinite(ratio), ratio, np.nanmedian(ratio))
    n = len(p)
    return Motion(
        BODY26, rest * ratio[:, None], continuous_quats(matrix_to_quat(first_rotations(p))), p[:, 0],
        contact.astype(float), np.array(SOLES), np.ones(n, bool), np.zeros((n, 26)), np.arange(n) / FPS,
    )  # fmt: skip


def made(action: str) -> Motion:
    p, contact, _ = generate_named_actions(seeded("retarget", action), 1, round(MADE_S * FPS), only=action)
    return motion_of(p[0].astype(float), contact[0] > 0.5)


def mocap(path: Path) -> dict[str, Callable[[], Motion]]:
    """The longest path of each action in the CMU clips that training holds out."""

    def way(p: np.ndarray) -> float:
        return metrics.path_length(p[:, 0])

    found: dict[str, np.ndarray] = {}
    for clip in (c for c in read_mocap(path) if held_out(c)):
        action = cmu_action(clip.name)
        for p in pieces(clip):
            if action in CMU and way(p) > (way(found[action]) if action in found else 0):
                found[action] = p
    return {
        f"CMU {a}": lambda p=p, a=a: motion_of(with_face_and_hands(p, seeded("retarget", a)), touching(p[:, SOLES]))
        for a, p in sorted(found.items())
    }


def solved_sample() -> Motion:
    return kinelift.animate(str(files("kinelift") / "assets" / "sample.mp4")).motions[0]


def of_source(motion: Motion) -> Feet:
    p = motion_positions(motion)
    leg = np.linalg.norm(motion.offsets[BODY26.indices("left_knee", "left_ankle")], axis=-1).sum()
    return measured(p[:, SOLES], p[:, SOLES], p[:, BODY26.indices(*LIMBS)], contacts(motion), motion.fps, float(leg))


def contacts(motion: Motion) -> np.ndarray:
    order = [motion.contact_joints.tolist().index(j) for j in SOLES]
    return motion.contacts[:, order]


def measured(
    soles: np.ndarray, shoe: np.ndarray, limbs: np.ndarray, contact: np.ndarray, fps: float, leg_m: float
) -> Feet:
    # A larger foot that hangs takes nothing from a jump: the lower ankle over where flat feet have it.
    ankles = limbs[:, [LIMBS.index(f"{s}_ankle") for s in ("left", "right")]]
    flat = contact.reshape(len(contact), 2, 2).min(2) > 0.5
    stand = float(np.median(ankles[..., 1][flat])) if flat.any() else 0.0
    flown = metrics.flights(soles, fps, contact, least_m=0.12 * leg_m)
    height = max((metrics.flight_height(ankles, s, stand) for s in flown), default=np.nan)
    leg = [[LIMBS.index(f"{s}_{j}") for j in ("hip", "knee", "ankle")] for s in ("left", "right")]
    bones = np.diff(limbs[:, leg], axis=2).reshape(len(limbs), 4, 3)
    return Feet(
        metrics.foot_sliding(soles, contact, fps), metrics.penetration(soles), float(-1000 * shoe[..., 1].min()),
        metrics.jitter(limbs, fps), height, leg_m, bones / np.linalg.norm(bones, axis=-1, keepdims=True),
    )  # fmt: skip


def sole_points(rig: SkinnedRig, player: Player) -> tuple[np.ndarray, np.ndarray]:
    """Points of the skin: heel and ball of both feet, nearest to where the standard body has them, and all shoes.

    The heel moves with the foot's bone, the ball with the toes': skin between the two is bent by neither alone.
    """
    rest = player.skinned(player.matrices())[0]
    at = dict(zip(rig.bones, rig.positions, strict=True))
    sole = rest[:, 1] < 0.1 * at[rig.joints["left_ankle"]][1]
    _, nodes, weights = player.skin()
    chosen = []
    for side in ("left", "right"):
        ankle, toe = at[rig.joints[f"{side}_ankle"]], at[rig.joints[f"{side}_toe"]]
        for joint, along in (("ankle", -0.028 / 0.085), ("toe", 1.0)):
            bone = player.names.index(rig.joints[f"{side}_{joint}"])
            own = np.flatnonzero(sole & ((weights * (nodes == bone)).sum(1) > 0.95))
            spot = (ankle + along * (toe - ankle)) * [1, 0, 1]
            chosen.append(own[np.linalg.norm(rest[own] - spot, axis=-1).argmin()])
    under = rest[:, 1] < at[rig.joints["left_ankle"]][1]
    return np.array(chosen), np.flatnonzero(under)


def of_rig(rig: SkinnedRig, path: Path, motion: Motion) -> Feet:
    """The animated file, played at the motion's times."""
    player = Player(path)
    world = player.matrices(motion.times - motion.times[0])
    points, shoe = sole_points(rig, player)
    limbs = world[..., :3, 3][:, [player.names.index(rig.joints[j]) for j in LIMBS]]
    soles, whole = player.skinned(world, points), player.skinned(world, shoe)
    return measured(soles, whole, limbs, contacts(motion), motion.fps, rig.leg_m)


def animated(name: str, motion: Motion, folder: Path) -> tuple[SkinnedRig, Path]:
    """A character of tests/rigs.py as a user brings it, and its file with the motion."""
    rig = RIGS[name]()
    suffix = ".vrm" if rig.humanoid else ".glb"
    given, out = folder / f"{name}{suffix}", folder / f"{name}_moved{suffix}"
    (write_vrm if rig.humanoid else write_glb)(rig, given)
    character = read_character(given)
    write_character(character, retarget(motion, character), out)
    return rig, out


@dataclass(frozen=True, eq=False)
class Line:
    """A motion on a character, beside the source."""

    motion: str
    rig: str
    own: Feet
    source: Feet

    @property
    def size(self) -> float:
        """How many times as large the source is."""
        return self.source.leg_m / self.own.leg_m

    @property
    def fine(self) -> bool:
        """Whether it slides and sinks within the bar."""
        both = ((self.own.slide, self.source.slide), (self.own.sink, self.source.sink))
        return all(own * max(1, self.size) <= max(MORE * source, LEAST_MM) for own, source in both)

    @property
    def numbers(self) -> list[float]:
        """Those of `NUMBERS`."""
        own, source = self.own, self.source
        off = np.degrees(np.arccos(np.clip((own.legs * source.legs).sum(-1), -1, 1))).mean()
        jump = 100 * self.size * own.flight_m / source.flight_m
        slides, sinks = [own.slide, own.slide * self.size, source.slide], [own.sink, source.sink, own.deepest]
        return [*slides, *sinks, float(off), own.jitter * self.size, source.jitter, jump]


NUMBERS = ["slide mm", "at source's size", "source", "sink mm", "source", "deepest mm", "legs deg", "jitter", "source"]
NUMBERS += ["jump %"]
DIGITS = (2, 2, 2, 2, 2, 1, 1, 1, 1, 0)


def group(motion: str) -> str:
    return motion.split()[0] if motion.startswith("CMU") else motion if motion not in ACTIONS else "generated"


def table(lines: list[Line], grouped: bool) -> str:
    """Markdown: a row each, or the means of each kind of motion on each character (the deepest: the largest)."""
    rows: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        rows.setdefault((group(line.motion) if grouped else line.motion, line.rig), []).append(line)
    out = ["| " + " | ".join(["motion", "rig", *NUMBERS, "within"]) + " |", "|" + "---|" * (len(NUMBERS) + 3)]
    for (motion, rig), some in rows.items():
        values = np.array([line.numbers for line in some])
        known = np.isfinite(values)
        means = np.where(known, values, 0).sum(0) / np.where(known.any(0), known.sum(0), np.nan)
        means[NUMBERS.index("deepest mm")] = values[:, NUMBERS.index("deepest mm")].max()
        cells = ["" if np.isnan(v) else f"{v:.{d}f}" for v, d in zip(means, DIGITS, strict=True)]
        out.append(f"| {motion} | {rig} | {' | '.join(cells)} | {sum(k.fine for k in some)} of {len(some)} |")
    return "\n".join(out)


def picture(paths: list[Path], seconds: float, out: Path) -> None:
    """The characters side by side on a grid of metres, by Blender."""
    python = os.environ.get("KINELIFT_BLENDER_PYTHON") or str(ROOT / ".venv-blender" / "bin" / "python")
    job = {"path": str(out.resolve()), "width": 960, "height": 500, "fps": 30, "samples": 24, "azimuth_deg": -12}
    job |= {"far_m": 6.4, "step_m": 1.5, "columns": [{"file": str(p), "seconds": [seconds]} for p in paths]}
    where = paths[0].with_name("picture.json")
    where.write_text(json.dumps(job))
    run_python("render_rigs.py", where, python=python)
    drawn = Image.open(out).convert("RGB")
    drawn.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(out, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="*", help="motion.npz of your own")
    parser.add_argument("--motions", default="sample,sample truth," + ",".join(ACTIONS))
    parser.add_argument("--mocap", type=Path, help="cmu.npz: held-out clips too")
    parser.add_argument("--picture", type=Path, help="PNG of the three characters, by Blender, in the first motion")
    parser.add_argument("--at", type=float, default=1.13, help="the picture's moment, seconds")
    args = parser.parse_args()
    motions: dict[str, Callable[[], Motion]] = {"sample": solved_sample, "sample truth": sample_motion}
    motions |= {a: lambda a=a: made(a) for a in ACTIONS}
    motions = {k: motions[k] for k in args.motions.split(",") if k}
    motions |= {f.stem: lambda f=f: kinelift.load_motion(f).motions[0] for f in args.files}
    motions |= mocap(args.mocap) if args.mocap else {}
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for k, (name, get) in enumerate(motions.items()):
            motion = get()
            source = of_source(motion)
            put = {rig: animated(rig, motion, Path(folder)) for rig in RIGS}
            lines += [Line(name, rig, of_rig(skinned, path, motion), source) for rig, (skinned, path) in put.items()]
            if args.picture and k == 0:
                picture([path for _, path in put.values()], args.at, args.picture)
    print(table(lines, grouped=False), "\n")
    print(table(lines, grouped=True), "\n")
    print(f"{sum(line.fine for line in lines)} of {len(lines)} within the source + 20 %")


if __name__ == "__main__":
    main()
