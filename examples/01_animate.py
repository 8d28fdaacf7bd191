"""From a video to animation files.

    python examples/01_animate.py walk.mp4 out 1.75

Without arguments it runs on the sample video that comes with kinelift. The input may also be a picture, a folder of
pictures, key points from another detector, or an earlier motion.npz.
"""

import sys
from pathlib import Path

import kinelift
from kinelift.pipeline import sample_path


def main(path: str | Path, out: Path, height_m: float | None) -> None:
    take = kinelift.animate(path, height_m=height_m)

    out.mkdir(parents=True, exist_ok=True)
    for name in ("motion.npz", "motion.bvh", "motion.glb", "motion.csv"):
        kinelift.save(take, out / name)

    motion, report = take.motions[0], take.report
    print(f"{len(motion.times)} frames at {motion.fps:.2f} fps, {len(motion.skeleton)} joints")
    print(f"the root travels {report['root']['travel_m']:.2f} m")
    print(f"key points are met within {report['reprojection_error_px']:.1f} px (median)")
    for warning in report["warnings"]:
        print(f"warning: {warning}")


if __name__ == "__main__":
    given = dict(enumerate(sys.argv[1:]))
    main(given.get(0, sample_path()), Path(given.get(1, "out/example")), float(given[2]) if 2 in given else None)
