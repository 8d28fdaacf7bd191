"""What the work after detection costs: against the detector on the same clip, and from 10 s to 30 min.

    python benchmarks/speed.py --data DATA --work WORK [--minutes 30] [--threads 2]

DATA holds `media/sports2d_demo.mp4`. The detector's frames/s and those of everything after it are `kinelift.animate`'s
own `seconds_spent` on that video; the best of some runs. Longer clips are the same key points played to and fro, each
in a process of its own, so that its peak memory is its own; detection is no part of them. Nothing else should run
meanwhile. WORK gets `cost.svg` and `cost.png`.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path
from time import perf_counter

import numpy as np

import kinelift
from _kept import key_points
from kinelift.detect.keypoints_npz import write_keypoints
from kinelift.errors import KineliftError
from kinelift.records import Pose2D
from kinelift.report.plots import Chart, Dots, Line, png_file, svg_file
from lifting import Bar, Table

VIDEO = "media/sports2d_demo.mp4"
SECONDS = (10, 30, 60, 180, 600, 1800)
RUNS = 3
RATIO_BAR = Bar("cost", "ratio", low=5, aim=20)
# Time per frame of the longest clip over that of one minute: 1 is linear.
LINEAR_BAR = Bar("cost", "linear", high=1.3)


def to_and_fro(pose: Pose2D, seconds: float) -> Pose2D:
    """The key points played forwards and backwards by turns, at their own mean rate, for so long."""
    n = len(pose.times)
    step = float(np.ptp(pose.times)) / (n - 1)
    turn = np.arange(max(round(seconds / step), 2)) % (2 * n - 2)
    at = np.where(turn < n, turn, 2 * n - 2 - turn)
    return pose.replaced(
        xy=pose.xy[at], confidence=pose.confidence[at], times=np.arange(len(at)) * step, detector_3d=None
    )


def spent(path: Path, threads: int) -> dict[str, float]:
    """One `animate`: frames, seconds of detection and after it, peak memory of this process in MB."""
    report = kinelift.animate(path, threads=threads).report
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"frames": float(report["frames"]), "peak": peak, **report["seconds_spent"]}


def alone(path: Path, threads: int) -> dict[str, float]:
    """`spent` in a process of its own."""
    call = [sys.executable, __file__, "--one", str(path), "--threads", str(threads)]
    said = subprocess.run(call, capture_output=True, text=True, check=True).stdout
    return dict(json.loads(said.splitlines()[-1]))


def against_detector(table: Table, video: Path, threads: int, runs: int) -> None:
    """The ratio of the two halves' frames/s."""
    rows = [alone(video, threads) for _ in range(runs)]
    detect, after = (min(r[k] for r in rows) for k in ("detect", "after_detection"))
    frames = rows[0]["frames"]
    table.head(
        f"cost: {video.name}, {frames:.0f} frames, {threads} threads", ["detect/s", "after/s", "seconds", "ratio"]
    )
    values = {"detect/s": frames / detect, "after/s": frames / after, "seconds": after, "ratio": detect / after}
    table.line("cost", video.stem, "", values)
    table.judge("after detection x the detector's", "frames/s", detect / after, RATIO_BAR)


def by_length(table: Table, pose: Pose2D, work: Path, threads: int, longest_s: float) -> list[dict[str, float]]:
    """Seconds and memory of ever longer clips."""
    rows = []
    table.head(f"cost by length, {threads} threads", ["frames", "seconds", "frames/s", "peak MB"])
    for seconds in [s for s in SECONDS if s <= longest_s]:
        path = work / "cost" / f"{seconds}s.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_keypoints(path, to_and_fro(pose, seconds))
        began = perf_counter()
        row = alone(path, threads)
        row["whole"] = perf_counter() - began
        rows.append(row)
        rate = row["frames"] / row["after_detection"]
        values = {"frames": row["frames"], "seconds": row["after_detection"], "rate": rate, "peak": row["peak"]}
        table.line("length", f"{seconds} s", "", values)
        path.unlink()
    return rows


def fitted(table: Table, rows: list[dict[str, float]]) -> dict[str, np.ndarray]:
    """Straight lines through seconds and memory over frames, printed; relative errors count, so that all lengths do."""
    frames = np.array([r["frames"] for r in rows])
    lines = {}
    for k, unit in (("after_detection", "s"), ("peak", "MB")):
        y = np.array([r[k] for r in rows])
        lines[k] = np.polyfit(frames, y, 1, w=1 / y)
        miss = 100 * np.abs(np.polyval(lines[k], frames) / y - 1).max()
        start, slope = lines[k][1], 1000 * lines[k][0]
        print(f"  {k}: {start:.2f} {unit} + {slope:.3f} {unit} per 1000 frames; off by {miss:.0f} % at most")
    each = np.array([r["after_detection"] for r in rows]) / frames
    reference = int(np.argmin(np.abs(frames - 1800)))
    table.judge("time a frame, longest / 1 min", "", float(each[-1] / each[reference]), LINEAR_BAR)
    return lines


def plot(rows: list[dict[str, float]], lines: dict[str, np.ndarray], work: Path) -> None:
    """`cost.svg` and `cost.png`."""
    frames = np.array([r["frames"] for r in rows])
    charts = []
    for k, title in (("after_detection", "time after detection (s)"), ("peak", "peak memory (MB)")):
        dots = Dots(np.stack([frames / 1000, [r[k] for r in rows]], -1), "measured", radius=4)
        straight = Line(frames / 1000, np.polyval(lines[k], frames), "straight line", "b")
        charts.append(Chart(title, "frames / 1000", [straight], dots=[dots]))
    (work / "cost.svg").write_text(svg_file(charts, [260, 260], 640, "cost by length"))
    (work / "cost.png").write_bytes(png_file(charts, [260, 260], 640))


def cost(table: Table, data: Path, work: Path, threads: int, longest_s: float, runs: int = RUNS) -> None:
    """All of it."""
    video = data / VIDEO
    against_detector(table, video, threads, runs)
    rows = by_length(table, key_points(video, work / "keypoints"), work, threads, longest_s)
    if len(rows) > 1:
        plot(rows, fitted(table, rows), work)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--work", type=Path, default=Path("out/world"))
    parser.add_argument("--minutes", type=float, default=30, help="of the longest clip")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    try:
        if args.one:
            print(json.dumps(spent(args.one, args.threads)))
        elif args.data is None:
            parser.error("--data DATA is needed")
        else:
            cost(Table(), args.data, args.work, args.threads, 60 * args.minutes)
    except KineliftError as e:
        parser.error(str(e))


if __name__ == "__main__":
    main()
