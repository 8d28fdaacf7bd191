"""How large the viewer's page is, how fast it opens, and how much script a frame takes.

    python benchmarks/viewer.py [--minutes 5] [--people 1] [--opens 5] [--seconds 5]

The clip is the bundled sample's true motion, run forwards and backwards at 30 fps. Needs Playwright and a Chromium
(named by KINELIFT_CHROMIUM, else found on the path), which draws in software here: times of script are measured inside
the page, and say nothing of a graphics card. `opens` counts from the address to the first picture of the body.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from kinelift.camera import Camera
from kinelift.records import Motion, Take
from kinelift.render.sample_motion import sample_motion
from kinelift.viewer import view

FPS = 30
LIMITS = {"open_ms": 2000.0, "script_ms": 8.0, "page_mb": 15.0}


def long_take(minutes: float, people: int) -> Take:
    """The sample's motion, to and fro for `minutes`, for each of `people` side by side."""
    short = sample_motion()
    n, count = len(short.times), round(minutes * 60 * FPS)
    place = np.arange(count) % (2 * n - 2)
    frames = np.where(place < n, place, 2 * n - 2 - place)
    motions = []
    for i in range(people):
        motions.append(
            Motion(
                short.skeleton, short.offsets, short.rotations[frames], short.root[frames] + np.array([1.2 * i, 0, 0]),
                short.contacts[frames], short.contact_joints, short.observed[frames], short.sigma_m[frames],
                np.arange(count) / FPS, i,
            )
        )  # fmt: skip
    camera = Camera.from_focal(816.0, (960, 540)).replaced(
        R_cam_world=np.diag([1.0, -1, -1]), t_cam_world=np.array([0, 1.3, 6.0])
    )
    return Take(tuple(motions), camera, (), {"input": "long"})


def measured(page_path: Path, opens: int, seconds: float) -> dict[str, Any]:
    """Milliseconds: `open_ms` and its stages, medians of `opens`; `script_ms` of the frames of `seconds` of playing,
    by the clock, and `cpu_ms`, the processor's time for the script of one of them."""
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("KINELIFT_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--disable-gpu"])
        times, stages = [], []
        for _ in range(opens):
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            session = page.context.new_cdp_session(page)
            session.send("Performance.enable", {"timeDomain": "threadTicks"})
            page.goto(page_path.as_uri())
            times.append(page.evaluate("kinelift.load_ms"))
            stages.append(page.evaluate("kinelift.timing.marks"))
            if len(times) < opens:
                page.close()
        before = _script_seconds(session)
        page.evaluate("kinelift.play()")
        page.wait_for_timeout(1000 * seconds)
        frames = page.evaluate("kinelift.timing.summary")
        cpu = 1000 * (_script_seconds(session) - before) / max(frames["frames"], 1)
        browser.close()
    marks = {name: statistics.median(s[name] for s in stages) for name in stages[0]}
    return {"open_ms": statistics.median(times), "stages_ms": marks, "script_ms": frames, "cpu_ms": cpu}


def _script_seconds(session: Any) -> float:
    metrics = session.send("Performance.getMetrics")["metrics"]
    return next(m["value"] for m in metrics if m["name"] == "ScriptDuration")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--people", type=int, default=1)
    parser.add_argument("--opens", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        page = view(long_take(args.minutes, args.people), Path(folder) / "view.html")
        size = page.stat().st_size / 1e6
        m = measured(page, args.opens, args.seconds)
    script = m["script_ms"]
    stages = ", ".join(f"{name} {ms:.0f}" for name, ms in m["stages_ms"].items())
    print(f"{args.minutes:g} minutes at {FPS} fps, {args.people} people")
    print(f"page    {size:.2f} MB (limit {LIMITS['page_mb']:g})")
    print(f"opens   {m['open_ms']:.0f} ms (limit {LIMITS['open_ms']:g}); done by: {stages}")
    print(
        f"script  {script['median']:.2f} ms a frame, 95 % under {script['p95']:.2f}, worst {script['worst']:.2f} "
        f"(limit {LIMITS['script_ms']:g}; {script['frames']} frames); processor {m['cpu_ms']:.2f} ms a frame"
    )


if __name__ == "__main__":
    main()
