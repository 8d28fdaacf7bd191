"""What each source of training motion and each network brings: short runs that differ in one thing, side by side.

    python benchmarks/ablation.py --mocap cmu.npz --bandai bandai_eval.npz --detector-data rendered --work DIR

Every run has the same steps, batch, seed and schedule; finished ones are kept in DIR. They are far shorter than the run
that made the shipped weights, so differences count, not levels. Measured as in lifting.py, bare 2D, PA-MPJPE and
MPJPE in mm, gravity in degrees, contact F1.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from _protocol import views
from kinelift.lift import load_lifter
from kinelift.training.temporal import Config, train
from lifting import measured, summary

RUNS = {
    "mocap alone": {"random": 0, "actions": 0},
    "+ random angles": {"actions": 0},
    "+ actions": {},
    "+ rendered clips": {"rendered": True},
    "+ real 2D poses (MPII)": {"rendered": True, "real": True},
    "single frame (Martinez)": {"network": "single-frame"},
    "27 frames (VideoPose3D)": {"network": "videopose3d"},
}
COLUMNS = ("mpjpe", "pa", "gravity", "f1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mocap", type=Path, required=True)
    parser.add_argument("--bandai", type=Path)
    parser.add_argument("--detector-data", type=Path)
    parser.add_argument("--poses", type=Path, help="mpii_poses.npy")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--clips", type=int, default=40, help="of each set, for measuring; 0: all")
    parser.add_argument("--train-only", action="store_true")
    args = parser.parse_args()
    lifters = {}
    for name, change in RUNS.items():
        rendered = [args.detector_data] if change.get("rendered") and args.detector_data else []
        poses = args.poses if change.get("real") else None
        if (change.get("rendered") and not rendered) or (change.get("real") and not poses):
            continue
        plain = {k: v for k, v in change.items() if k not in ("rendered", "real")}
        folder = args.work / name.replace(" ", "-").strip("+-()").replace("(", "").replace(")", "")
        if not (folder / "lifter.onnx").is_file():
            config = dataclasses.replace(Config(steps=args.steps, batch=args.batch, random=2000, actions=600), **plain)
            train(config, [args.mocap], folder, resume=True, detector_data=rendered, real_poses=poses)
        lifters[name] = load_lifter(str(folder / "lifter.onnx"))
        print("trained", name, flush=True)
    if args.train_only:
        return
    for title, some_views in views(args.mocap, args.bandai, args.clips).items():
        print(f"\n{title:28s}" + "".join(f"{c:>10s}" for c in COLUMNS))
        for name, lifter in lifters.items():
            said = summary([measured(lifter, v) for v in some_views])
            print(f"  {name:26s}" + "".join(f"{said[c]:10.2f}" for c in COLUMNS), flush=True)


if __name__ == "__main__":
    main()
