"""Standing in the world: trajectory, depth, ground and feet, against the truth, baselines and bars, by one command.

    python benchmarks/world.py --data DATA --work WORK [--part NAME ...] [--quick]

DATA holds `mocap/cmu.npz` (its held-out clips), `mocap/bandai_eval.npz`, `real/balancing` and `media`; WORK keeps what
is slow to make (key points, drawn clips). Nothing here trains or selects anything. Parts:

`static`, `moving`: virtual cameras with detector noise (`_world_cases.py`), the stature told or not, camera paths
disturbed like odometry's. 12 limb joints. Abs: mean error after one rigid alignment of the clip, mm; WA100, W100:
WHAM's chunks; RTE: root error over path, of paths over 4 m together; root: mean root error of the shorter ones, mm;
scale: size of the error of the best similarity's scale; wobble: how the body's depth sways, the standard deviation of
the limbs' mean error along the line of sight, mm; slide: mean step of heel and toe where the true point moves
below 1 cm, mm a frame at 30 fps; jitter: 10 m/s^3; sink: mean depth of soles below the floor, float: mean height of the
lowest sole during contact, mm; flight: mean error of the peak of a jump, %, where the true centre of mass falls by 0.5
to 2 g and no true sole is faster than 12 m/s (mocap leaps where its markers are lost). `true` is the truth's own
number. Means over clips.

`rendered`: `_world_rendered.py`, textured surroundings and a moving camera through the real detector and odometry; the
camera's turn against the truth in degrees, its place after one scale in % of its way. `ablation`: each term off.
`depth`: `_world_depth.py`, geometry, depth cue and depth network (synthetic), alone and combined.
`focal`: the focal length told, by the prior (0.85 x the long side), and refined on the clip.
`sigma`: `_world_sigma.py`, the solve's own uncertainty against its errors.
`cost`: `speed.py`; nothing else should run meanwhile.

`real`: `_world_real.py`. The balance beam in its calibration's frame, each camera alone, against the triangulation and
against each other; two phone clips, where the drift of a stance is the farthest that a planted sole point gets from
where its stance began, over the floor.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import _world_depth
import _world_real
import _world_rendered
import _world_sigma
import speed
from _protocol import FPS
from _world_baselines import pinned, placed, post_processed, smoothed
from _world_cases import MOVES, STATIC, Case, cases, true_path
from _world_measures import HOW, WHERE, Score, bars_how, bars_where, pooled, score
from kinelift.camera import Camera, prior_focal_px
from kinelift.cleanup import clean
from kinelift.cleanup.evidence import TERMS, Weights
from kinelift.cleanup.settings import Given, Settings
from kinelift.errors import KineliftError
from kinelift.kinematics import STATURE_PRIOR_M, motion_positions
from kinelift.lift import Lifter, answer, load_lifter, mapped
from kinelift.records import Lifted
from kinelift.trajectory.focal import refine_focal
from lifting import Table

PLAIN, RECIPE, PINNED, SOLVED = "least squares", "GVHMR's recipe", "root pinned", "kinelift"
QUICK_CLIPS, QUICK_S = 2, 2.0
CLIPS, ABLATED_CLIPS, DEPTH_CLIPS = 16, 4, 6


@dataclass(frozen=True, eq=False)
class Run:
    """What every part gets.

    Attributes:
        data, work: Folders; data is None where only generated motion is measured.
        lifter: The lifter.
        table: Where numbers go.
        quick: Few and short clips.
        clips: Of each set.
        threads, minutes: Of the cost: threads, and the longest clip.
        worst: How many of the worst clips to name.
    """

    data: Path | None
    work: Path
    lifter: Lifter
    table: Table
    quick: bool
    clips: int
    threads: int
    minutes: float
    worst: int = 3


def lifted_of(run: Run, case: Case) -> Lifted:
    return answer(run.lifter, mapped(case.pose, run.lifter.skeleton), case.lens)


def solved(case: Case, lifted: Lifted, height_m: float, settings: Settings | None = None) -> Score:
    """The whole-clip solve of one case, measured."""
    given = Given(path=case.path)
    motion = clean(lifted, case.pose, case.lens, height_m, given=given, settings=settings or Settings()).motion
    return score(
        case.name, motion_positions(motion), case.truth, FPS, motion.contacts, case.contact, case.camera.position
    )


def baselines(case: Case, lifted: Lifted, height_m: float) -> dict[str, Score]:
    """Ways without a whole-clip solve, measured."""
    plain = placed(lifted, case.pose, case.lens, height_m, case.path)
    calm = smoothed(plain, FPS)
    found = {
        PLAIN: plain,
        RECIPE: post_processed(calm, lifted.contact, FPS),
        PINNED: pinned(calm, lifted.contact),
    }
    eye = case.camera.position
    return {k: score(case.name, p, case.truth, FPS, lifted.contact, case.contact, eye) for k, p in found.items()}


def compared(run: Run, some: list[Case]) -> dict[str, list[Score]]:
    """Every way on every case, the true stature told; and the solve without it, by the prior."""
    out: dict[str, list[Score]] = {}
    for case in some:
        lifted = lifted_of(run, case)
        rows = baselines(case, lifted, case.stature_m)
        rows[SOLVED] = solved(case, lifted, case.stature_m)
        if case.move == STATIC:
            rows[f"{PLAIN}, prior"] = baselines(case, lifted, STATURE_PRIOR_M)[PLAIN]
            rows[f"{SOLVED}, prior"] = solved(case, lifted, STATURE_PRIOR_M)
        for name, s in rows.items():
            out.setdefault(name, []).append(s)
    return out


def tables(run: Run, title: str, some: list[Case], kind: str) -> None:
    """Tables 1 and 2 of some cases: all rows per set and together, then the bars of the solve, then its worst clips."""
    rows = compared(run, some)
    sets = {name: [i for i, c in enumerate(some) if c.set == name] for name in dict.fromkeys(c.set for c in some)}
    sets = {k: v for k, v in {**sets, "all": list(range(len(some)))}.items() if k != "all" or len(sets) > 1}
    for name, chosen in sets.items():
        means = {row: pooled([scores[i] for i in chosen]) for row, scores in rows.items()}
        group = f"{title}, {name}"
        run.table.head(f"{group}: {len(chosen)} clips", list(WHERE.values()))
        for row, m in means.items():
            run.table.line(group, row, "", {k: m[k] for k in WHERE})
        given = [r for r in means if not r.endswith("prior")]
        run.table.head(f"{group}: feet", list(HOW.values()))
        for row in given:
            run.table.line(group, row, "", {k: means[row][k] for k in HOW})
        bars = [(SOLVED, bars_where(kind)), (SOLVED, bars_how(means[SOLVED], means[PLAIN]))]
        bars += [(f"{SOLVED}, prior", bars_where("prior"))] if kind == "given" else []
        for row, wanted in bars:
            for k, bar in wanted.items():
                if np.isfinite(means[row][k]):
                    run.table.judge(f"{name}: {(WHERE | HOW)[k]}", row, means[row][k], bar)
    _worst(run, rows[SOLVED])


def _worst(run: Run, scores: list[Score]) -> None:
    for k in ("abs", "wa", "slide", "sink"):
        excess = [s.values[k] - s.values.get(f"own_{k}", 0.0) for s in scores]
        order = np.argsort(np.nan_to_num(np.array(excess), nan=-1))[::-1][: run.worst]
        named = (f"{scores[i].name} {scores[i].values[k]:.1f}" for i in order)
        print(f"  worst {(WHERE | HOW)[k]}: " + "; ".join(named), flush=True)
    jumps = [f"{s.name} {' '.join(f'{f:.2f}' for f in s.flights)}" for s in scores if s.flights]
    print("  flight, found / true: " + "; ".join(jumps or ["none"]), flush=True)
    doubted = [s.name for s in scores if s.doubted]
    print("  off the floor in the truth, but no flight: " + "; ".join(doubted or ["none"]), flush=True)


def static(run: Run) -> None:
    """Static virtual cameras."""
    tables(run, "static", _cases(run, False), "given")


def moving(run: Run) -> None:
    """Moving virtual cameras, each kind by itself and all."""
    some = [c for c in _cases(run, True) if c.move != STATIC]
    for move in MOVES:
        chosen = [c for c in some if c.move == move]
        if chosen:
            tables(run, move, chosen, "moving")


def real(run: Run) -> None:
    """Real clips."""
    if run.data is None:
        print("\nreal: skipped, no --data", flush=True)
        return
    _world_real.balancing(run.table, run.data, run.work, run.lifter)
    _world_real.phone_clips(run.table, run.data, run.work, run.lifter)


def rendered(run: Run) -> None:
    """Rendered clips: odometry from pixels, then the tables; and the same with the true camera path."""
    if run.quick:
        print("\nrendered: left out of --quick", flush=True)
        return
    some = _world_rendered.rendered_cases(run.work, run.clips)
    run.table.head("rendered: odometry", ["angle deg", "largest", "miss %", "way m"])
    for case in some:
        run.table.line("odometry", case.name, "", _world_rendered.path_errors(case.path, case.camera))
    tables(run, "rendered", some, "moving")
    tables(run, "rendered, true path", [replace(c, path=true_path(c.camera)) for c in some], "moving")


def ablation(run: Run) -> None:
    """Each term of the solve off, one at a time, on some static clips of each set."""
    some = _cases(run, False, ABLATED_CLIPS)
    lifted = [lifted_of(run, c) for c in some]
    columns = ("abs", "wa", "pa", "slide", "own_slide", "jitter", "own_jitter", "sink", "float", "flight")
    run.table.head(f"ablation: {len(some)} static clips, stature told", [(WHERE | HOW)[k] for k in columns])
    rows = {"all terms": Settings()} | {f"no {t}": Settings(weights=Weights().without(t)) for t in TERMS}
    for row, settings in rows.items():
        means = pooled([solved(c, x, c.stature_m, settings) for c, x in zip(some, lifted)])
        run.table.line("ablation", row, "", {k: means[k] for k in columns})


def sigma(run: Run) -> None:
    """The solve's own uncertainty against its errors, stature told."""
    columns = _world_sigma.COLUMNS
    sets: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for case in _cases(run, False):
        motion = clean(lifted_of(run, case), case.pose, case.lens, case.stature_m).motion
        sets.setdefault(case.set, []).append(_world_sigma.stated(motion, case.truth))
    tuned = [s for name, some in sets.items() if name != "bandai" for s in some]
    run.table.head("sigma: limbs inside the 90 % ball", list(columns.values()))
    for name, some in (sets | {"all but bandai": tuned}).items():
        run.table.line("sigma", f"{name}, {len(some)} clips", "", _world_sigma.honesty(some))


def depth(run: Run) -> None:
    """Depth and scale: each kind of evidence alone and combined, the stature told and not."""
    some = _cases(run, False, DEPTH_CLIPS)
    lifted = [lifted_of(run, c) for c in some]
    ways = {
        "alone, stature told": lambda c, x: _world_depth.alone(c, x, c.stature_m),
        "alone, prior": lambda c, x: _world_depth.alone(c, x, STATURE_PRIOR_M),
        "solve, stature told": lambda c, x: _world_depth.in_solve(c, x, c.stature_m),
        "solve, not told": lambda c, x: _world_depth.in_solve(c, x, None),
    }
    columns = ("abs", "rte", "root", "scale")
    run.table.head(f"depth: {len(some)} static clips", [*(WHERE[k] for k in columns), "depth mm"])
    for way, measure in ways.items():
        measured = [measure(c, x) for c, x in zip(some, lifted)]
        for kind in measured[0]:
            means = pooled([m[kind][0] for m in measured])
            off = float(np.mean([m[kind][1] for m in measured]))
            run.table.line(way, kind, way, {k: means[k] for k in columns} | {"depth": off})


def focal(run: Run) -> None:
    """The lens told, by the prior, and refined on the clip; the stature told."""
    some = _cases(run, False, DEPTH_CLIPS)
    columns = ("abs", "rte", "root", "scale")
    run.table.head(f"focal length: {len(some)} static clips", [*(WHERE[k] for k in columns), "focal off %"])
    measured: dict[str, list[tuple[Score, float]]] = {}
    for case in some:
        prior = Camera.from_focal(prior_focal_px(case.camera.image_size), case.camera.image_size)
        found = refine_focal(
            lambda pose, lens: answer(run.lifter, mapped(pose, run.lifter.skeleton), lens), case.pose, prior
        )
        lenses = {"told": case.camera.focal_px, "prior": prior.focal_px, "refined": found.focal_px}
        for name, focal_px in lenses.items():
            guessed = replace(case, told_px=focal_px)
            s = solved(guessed, lifted_of(run, guessed), case.stature_m)
            measured.setdefault(name, []).append((s, 100 * abs(focal_px / case.camera.focal_px - 1)))
    for name, rows in measured.items():
        means = pooled([s for s, _ in rows])
        run.table.line(
            "focal", name, "", {k: means[k] for k in columns} | {"focal": float(np.mean([f for _, f in rows]))}
        )


def cost(run: Run) -> None:
    """Seconds and memory after detection."""
    if run.data is None or run.quick:
        print("\ncost: skipped, needs --data and no --quick", flush=True)
        return
    speed.cost(run.table, run.data, run.work, run.threads, 60 * run.minutes)


def _cases(run: Run, moving_too: bool, at_most: int | None = None) -> list[Case]:
    """The run's clips of each set; at most so many, and one in a quick run, for parts that solve each many times."""
    clips = run.clips if at_most is None else 1 if run.quick else min(run.clips, at_most)
    return cases(run.data, clips, moving_too, QUICK_S if run.quick else 10.0)


PARTS: dict[str, Callable[[Run], None]] = {
    "static": static,
    "moving": moving,
    "rendered": rendered,
    "real": real,
    "ablation": ablation,
    "depth": depth,
    "focal": focal,
    "sigma": sigma,
    "cost": cost,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the data folder; without it only generated motion is measured")
    parser.add_argument("--work", type=Path, default=Path("out/world"), help="key points and drawn clips are kept here")
    parser.add_argument("--part", nargs="+", choices=list(PARTS), default=list(PARTS), help="default: all")
    parser.add_argument("--lifter", default="temporal")
    parser.add_argument("--clips", type=int, default=CLIPS, help="of each set")
    parser.add_argument("--threads", type=int, default=2, help="of the cost")
    parser.add_argument("--minutes", type=float, default=30, help="of the cost's longest clip")
    parser.add_argument("--quick", action="store_true", help="a few seconds: two clips of 2 s of each set")
    parser.add_argument("--csv", type=Path, help="write every number")
    args = parser.parse_args()
    try:
        clips = QUICK_CLIPS if args.quick else args.clips
        lifter = load_lifter(args.lifter)
        run = Run(args.data, args.work, lifter, Table(), args.quick, clips, args.threads, args.minutes)
        for name in args.part:
            PARTS[name](run)
        if args.csv:
            run.table.write(args.csv)
    except KineliftError as e:
        parser.error(str(e))


if __name__ == "__main__":
    main()
