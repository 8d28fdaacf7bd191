"""The lifter alone: bare 2D key points of known motion through fixed cameras with fixed detector noise, and bars.

    python benchmarks/lifting.py --mocap cmu.npz --bandai bandai_eval.npz [--lifter NAME=FILE ...] [--real DATA]

Sets: every clip of `bandai_eval.npz` (evaluation only: nothing trains or selects on it), the CMU clips that training
holds out, and motion generated with a seed of its own. Cameras, noise and cuts are written down in `_protocol.py`;
each set prints a fingerprint of its key points, so that two tables can be seen to have had the same input. 12 limb
joints, mm, mean over frames: MPJPE with the hips' middle at the origin, N-MPJPE with the clip's best scale as well,
PA-MPJPE after a similarity fit of each frame without reflection. Truth has a stature of 1.70 m, as a lifter's output.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from time import perf_counter

import numpy as np

from _disturbed import halved, refocused, thinned, turned
from _protocol import FPS, MADE, View, fingerprint, some, views
from kinelift import metrics
from kinelift.errors import KineliftError
from kinelift.lift import Lifter, load_lifter, mapped
from kinelift.skeleton import BODY26, joint_map

LIMBS = BODY26.indices(*metrics.LIMBS)
HIPS = (metrics.LIMBS.index("left_hip"), metrics.LIMBS.index("right_hip"))
# 90 % of an isotropic 3D Gaussian lies within this many of its per-axis sigmas (chi with 3 degrees of freedom).
RADIUS_90 = 2.5003
COLUMNS = {"mpjpe": "MPJPE", "n_mpjpe": "N-MPJPE", "pa": "PA", "gravity": "gravity deg", "f1": "contact F1"}
COLUMNS |= {"inside": "inside 90 %"}


@dataclass(frozen=True)
class Bar:
    """What a number should be: at most `high`, at least `low`; `aim` is what we hope for."""

    set: str
    metric: str
    high: float = np.inf
    low: float = -np.inf
    aim: float | None = None

    def __str__(self) -> str:
        ends = [f"{w} {v:g}" for w, v in (("at least", self.low), ("at most", self.high)) if np.isfinite(v)]
        return ", ".join(ends) + ("" if self.aim is None else f", aim {self.aim:g}")


BARS = [
    Bar("bandai", "mpjpe", 85, aim=60),
    Bar("bandai", "pa", 48, aim=36),
    Bar("cmu held out", "mpjpe", 50),
    Bar("cmu held out", "pa", 34),
    *(Bar(s, "gravity", 4) for s in ("bandai", "cmu held out", *MADE)),
    *(Bar(s, "f1", low=0.90) for s in ("bandai", "cmu held out", *MADE)),
    *(Bar(s, "inside", 95, 85) for s in ("bandai", "cmu held out", *MADE)),
]
REAL_BARS = {"MediaPipe": Bar("real", "pa", 52, aim=45), "OpenPose": Bar("real", "pa", 50)}
FAST_BAR = Bar("speed", "frames/s", low=3000)
WEIGHTS_BAR = Bar("package", "MB", 40)


@dataclass(frozen=True)
class Disturbance:
    """A change to a view, the change of PA-MPJPE allowed in %, and which frames of the undisturbed one remain."""

    change: Callable[[View], View]
    bar: float
    every: int = 1


DISTURBANCES = {
    "turned by 90 degrees": Disturbance(turned, 10),
    "focal length x 1.3": Disturbance(lambda v: refocused(v, 1.3), 5),
    "focal length x 0.7": Disturbance(lambda v: refocused(v, 0.7), 5),
    "half the frame rate": Disturbance(halved, 5, every=2),
    "20 % of joints missing": Disturbance(thinned, 25),
}


@dataclass(frozen=True, eq=False)
class Score:
    """One view measured.

    Attributes:
        action: The view's.
        mpjpe, n_mpjpe, pa, gravity: (T,) mm, mm, mm, degrees; NaN where the lifter gives none.
        inside: (T, 12) 1 where the error is inside the 90 % interval of the predicted sigma; NaN without sigma.
        contact: Hits, predicted and true contacts counted.
    """

    action: str
    mpjpe: np.ndarray
    n_mpjpe: np.ndarray
    pa: np.ndarray
    gravity: np.ndarray
    inside: np.ndarray
    contact: np.ndarray


def limbs_of(lifter: Lifter, view: View) -> tuple[np.ndarray, np.ndarray | None, object]:
    """Positions (T, 12, 3) relative to the pelvis, sigma (T, 12) or None, and all else that was lifted."""
    lifted = lifter.lift(mapped(view.pose.replaced(detector_3d=None), lifter.skeleton), view.camera)
    if lifted.skeleton.joints == BODY26.joints:
        p = lifted.positions - lifted.positions[:, :1]
        return p[:, LIMBS], None if lifted.sigma is None else lifted.sigma[:, LIMBS], lifted
    weights = joint_map(lifted.skeleton, BODY26)[LIMBS]
    return np.einsum("ij,tjc->tic", weights, np.nan_to_num(lifted.positions)), None, lifted


def measured(lifter: Lifter, view: View) -> Score:
    """One view lifted and compared with its truth."""
    found, sigma, lifted = limbs_of(lifter, view)
    true = view.truth[:, LIMBS]
    t = len(true)
    a, b = (x - x[:, HIPS].mean(1, keepdims=True) for x in (found, true))
    scale = (a * b).sum() / max((a * a).sum(), 1e-12)
    metric = lifted.scale == "metric"
    inside = np.full((t, len(LIMBS)), np.nan)
    if sigma is not None and metric:
        miss = np.linalg.norm(found - (true - view.truth[:, :1]), axis=-1)
        inside = (miss < RADIUS_90 * sigma).astype(float)
    gravity = np.full(t, np.nan)
    if lifted.gravity is not None:
        gravity = np.degrees(np.arccos(np.clip(lifted.gravity @ view.gravity, -1, 1)))
    contact = np.zeros(3)
    if lifted.contact is not None and view.contact is not None:
        said = lifted.contact > 0.5
        contact = np.array([(said & view.contact).sum(), said.sum(), view.contact.sum()], float)
    return Score(
        view.action,
        np.linalg.norm(a - b, axis=-1).mean(1) * 1000 if metric else np.full(t, np.nan),
        np.linalg.norm(scale * a - b, axis=-1).mean(1) * 1000,
        metrics.pa_errors(found, true).mean(1),
        gravity,
        inside,
        contact,
    )


def summary(scores: list[Score]) -> dict[str, float]:
    """Means over all frames, the median of gravity's error, F1 of all contacts; shares in %. NaN where not given."""
    hit, said, true = np.sum([s.contact for s in scores], 0)
    out = {k: float(np.concatenate([getattr(s, k) for s in scores]).mean()) for k in ("mpjpe", "n_mpjpe", "pa")}
    out["gravity"] = float(np.median(np.concatenate([s.gravity for s in scores])))
    out["f1"] = float(2 * hit / (said + true)) if said + true else float("nan")
    out["inside"] = 100 * float(np.concatenate([s.inside for s in scores]).mean())
    return out


class Table:
    """Prints aligned rows and keeps every number for the CSV: set, row, lifter, metric, value."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, str, str, float]] = []

    def head(self, title: str, columns: list[str]) -> None:
        """A title line with the columns' names."""
        print(f"\n{title:44s}" + "".join(f"{c:>13s}" for c in columns), flush=True)

    def line(self, group: str, row: str, lifter: str, values: dict[str, float], digits: int = 1) -> None:
        """One row of numbers."""
        self.rows += [(group, row, lifter, k, v) for k, v in values.items()]
        cells = (
            f"{v:13.{2 if k == 'f1' else digits}f}" if np.isfinite(v) else f"{'-':>13s}" for k, v in values.items()
        )
        print(f"  {row:24s}{lifter:18s}" + "".join(cells), flush=True)

    def judge(self, what: str, lifter: str, value: float, bar: Bar) -> None:
        """A number beside its bar."""
        met = "met" if bar.low <= value <= bar.high else "missed"
        self.rows.append((bar.set, what, lifter, "met", float(met == "met")))
        print(f"  {what:38s}{lifter:18s}{value:9.2f}   {met:7s} ({bar})", flush=True)

    def write(self, path: Path) -> None:
        """All rows as CSV."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as f:
            writer = csv.writer(f)
            writer.writerow(["set", "row", "lifter", "metric", "value"])
            writer.writerows((*r[:4], f"{r[4]:.6g}") for r in self.rows)


def accuracy(table: Table, sets: dict[str, list[View]], lifters: dict[str, Lifter]) -> None:
    """Every set, whole and per action, then the bars."""
    results: dict[tuple[str, str], dict[str, float]] = {}
    for name, some_views in sets.items():
        frames = sum(len(v.truth) for v in some_views)
        title = f"{name}: {len(some_views)} views, {frames} frames, {fingerprint(some_views)}"
        table.head(title, list(COLUMNS.values()))
        scores = {label: [measured(lifter, v) for v in some_views] for label, lifter in lifters.items()}
        actions = sorted({v.action for v in some_views})
        for action in actions if len(actions) > 1 else []:
            for label, all_scores in scores.items():
                table.line(name, action, label, summary([s for s in all_scores if s.action == action]))
        for label, all_scores in scores.items():
            results[name, label] = summary(all_scores)
            table.line(name, "all", label, results[name, label])
    print("\nBars")
    for bar in (b for b in BARS if b.set in sets):
        for label in lifters:
            value = results[bar.set, label][bar.metric]
            if np.isfinite(value):
                table.judge(f"{bar.set}, {COLUMNS[bar.metric]}", label, value, bar)


def invariances(table: Table, group: str, some_views: list[View], lifters: dict[str, Lifter]) -> None:
    """How PA-MPJPE of some views changes when they are disturbed, in percent."""
    print(f"\nPA-MPJPE disturbed, {len(some_views)} views of {group}: mm before and after, change in %")
    for label, lifter in lifters.items():
        before = [measured(lifter, v).pa for v in some_views]
        for name, d in DISTURBANCES.items():
            plain = float(np.concatenate([b[:: d.every] for b in before]).mean())
            pa = float(np.concatenate([measured(lifter, d.change(v)).pa for v in some_views]).mean())
            change = 100 * (pa / plain - 1)
            met = "met" if abs(change) < d.bar else "missed"
            table.rows.append((f"disturbed, {group}", name, label, "change %", change))
            print(
                f"  {name:24s}{label:18s}{plain:9.1f}{pa:9.1f}{change:+9.1f}   {met:7s} (below {d.bar:g})", flush=True
            )


def speed(table: Table, lifters: dict[str, Lifter], view: View, threads: int = 2, seconds: float = 1.5) -> None:
    """Frames a second of the network alone in ONNX Runtime, of `lift` with all around it, and the file's size."""
    table.head(f"Speed, {threads} threads, clips of {len(view.truth)} frames", ["network/s", "lift/s", "MB"])
    fastest = {}
    for label, lifter in lifters.items():
        path = getattr(lifter, "path", None)
        network = _rate(_network(path, threads, len(view.truth)), len(view.truth), seconds) if path else float("nan")
        timed = load_lifter(str(path), threads) if path else lifter
        lift = _rate(lambda timed=timed: limbs_of(timed, view), len(view.truth), seconds)
        size = Path(path).stat().st_size / 1e6 if path else float("nan")
        table.line("speed", "", label, {"network/s": network, "lift/s": lift, "MB": size})
        fastest[label] = network
    for label, value in fastest.items():
        if np.isfinite(value):
            table.judge("network, frames/s", label, value, FAST_BAR)
    weights = sum(f.stat().st_size for f in Path(str(files("kinelift") / "assets")).glob("*.onnx")) / 1e6
    table.judge("all weights of the package, MB", "", weights, WEIGHTS_BAR)


def _network(path: Path, threads: int, frames: int) -> Callable[[], object]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    shapes = {i.name: [1, frames, i.shape[-1]][-len(i.shape) :] for i in session.get_inputs()}
    given = {name: rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}
    return lambda: session.run(None, given)


def _rate(job: Callable[[], object], frames: int, seconds: float) -> float:
    """Frames a second of the fastest call in about so many seconds: what the machine does when nothing else runs."""
    job()
    times, end = [], perf_counter() + seconds
    while perf_counter() < end or len(times) < 3:
        began = perf_counter()
        job()
        times.append(perf_counter() - began)
    return frames / min(times)


def real(table: Table, data: Path, keypoints: Path, lifters: dict[str, Lifter]) -> None:
    """The balance beam: PA-MPJPE of the lifter alone on raw and on repaired key points, then disturbed."""
    from _balancing import balancing_views

    for detector in REAL_BARS:
        raw = balancing_views(data, keypoints, detector, repaired=False)
        mended = balancing_views(data, keypoints, detector, repaired=True)
        table.head(f"real/balancing, {detector}'s 2D, PA-MPJPE", [v.action for v in mended] + ["mean", "gravity deg"])
        for label, lifter in lifters.items():
            for name, some_views in (("raw", raw), ("repaired", mended)):
                scores = [measured(lifter, v) for v in some_views]
                values = {s.action: float(s.pa.mean()) for s in scores}
                values |= {"mean": float(np.mean(list(values.values()))), "gravity": summary(scores)["gravity"]}
                table.line(f"real, {detector}", name, label, values)
            table.judge(f"{detector}, repaired, mean PA", label, values["mean"], REAL_BARS[detector])
        if detector == "MediaPipe":
            invariances(table, "real/balancing, repaired", mended, lifters)


def named_lifters(given: list[str]) -> dict[str, Lifter]:
    """`NAME=FILE` or a registry's name, by what the table calls it; the shipped one where none is given."""
    pairs = [g.partition("=") for g in given or ["temporal"]]
    return {name: load_lifter(value or name, 2) for name, _, value in pairs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mocap", type=Path, help="cmu.npz")
    parser.add_argument("--bandai", type=Path, help="bandai_eval.npz")
    parser.add_argument(
        "--lifter", nargs="+", default=[], metavar="NAME=FILE", help="default: temporal, the shipped one"
    )
    parser.add_argument("--clips", type=int, default=0, help="at most so many clips of each set; 0: all")
    parser.add_argument("--disturbed", type=int, default=120, help="views for the disturbances; 0: none")
    parser.add_argument("--real", type=Path, metavar="DATA", help="folder that holds real/balancing")
    parser.add_argument("--keypoints", type=Path, default=Path("out/benchmarks"), help="key points of --real, kept")
    parser.add_argument("--csv", type=Path, help="write every number")
    args = parser.parse_args()
    try:
        run(args)
    except KineliftError as e:
        parser.error(str(e))


def run(args: argparse.Namespace) -> None:
    lifters, table = named_lifters(args.lifter), Table()
    sets = views(args.mocap, args.bandai, args.clips)
    accuracy(table, sets, lifters)
    every = [v for some_views in sets.values() for v in some_views]
    if args.disturbed:
        invariances(table, "all sets", some(every, args.disturbed), lifters)
    speed(table, lifters, max(every, key=lambda v: min(len(v.truth), 10 * FPS)))
    if args.real:
        real(table, args.real, args.keypoints, lifters)
    if args.csv:
        table.write(args.csv)


if __name__ == "__main__":
    main()
