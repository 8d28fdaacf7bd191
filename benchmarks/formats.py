"""One motion through every format and back through an outside judge: joint error, frame rate, file size, seconds.

    python benchmarks/formats.py [motion.npz]

The motion is a `motion.npz` of kinelift's, else the bundled clip's own. The judges are those of the tests (see
docs/exporters.md): Blender for BVH, GLB, FBX and USD, three.js for FBX and for VMD on a model of the body's own
proportions (its feet), Pixar's USD, ezc3d, OpenSim for TRC and for MOT on a model with Rajagopal's joints (its legs),
NumPy for CSV and NPZ. A row is a format before one judge. The error is the largest of any joint that the format
carries, at ten frames; a judge that is not installed leaves its row empty, and the row says which.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import kinelift
from kinelift.camera import Camera
from kinelift.export import EXPORTERS, export
from kinelift.export.axes import LABORATORY, OPENSIM
from kinelift.export.resample import at_constant_rate
from kinelift.export.rig import BODY_RIG
from kinelift.kinematics import motion_positions
from kinelift.records import Motion, Take
from kinelift.render.sample_motion import sample_motion
from kinelift.skeleton import BODY26

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from judges import absent, judge, node_modules, run_node, run_python  # noqa: E402
from mmd_model import UNITS, write_pmd  # noqa: E402

RIG = {name: joint for name, _, joint in BODY_RIG if joint}
FEET = {f"{c}{bone}": f"{side}_{joint}" for c, side in (("左", "left"), ("右", "right"))
        for bone, joint in (("足首", "ankle"), ("つま先", "toe"))}  # fmt: skip
# What a judge says: its name, the joints, their places (F, J, 3) in metres in our axes at some frames, and the rate.
Said = tuple[str, list[str], np.ndarray, float]


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """One format before one judge; NaN where the judge is absent."""

    name: str
    judge: str
    joints: int
    error_mm: float
    fps: float
    kilobytes: float
    seconds: float


def blender_python() -> Path:
    return Path(os.environ.get("KINELIFT_BLENDER_PYTHON") or ROOT / ".venv-blender" / "bin" / "python")


def by_blender(kind: str, path: Path, fps: float, frames: list[int]) -> Said:
    python = blender_python()
    if not python.exists():
        absent("no Blender: run scripts/blender_env.sh or set KINELIFT_BLENDER_PYTHON")
    item = {
        "bvh": {"frames": frames},
        "glb": {"fps": round(fps), "times": [f / fps for f in frames]},
        "fbx": {"fps": fps, "frames": frames},
        "usd": {"fps": round(fps), "frames": frames},
    }[kind]
    job = path.with_suffix(".json")
    job.write_text(json.dumps({kind: [{"path": str(path), **item}]}))
    report = run_python("check_import.py", job, python=str(python))
    (said,) = report[kind]
    z_up = np.array([[heads[name] for name in RIG] for heads in said["heads"]])
    # A GLB has seconds, not a rate, and Blender leaves a USD's rate to the user: NaN.
    return f"Blender {report['blender']}", list(RIG.values()), z_up @ LABORATORY, said.get("scene_fps", np.nan)


def by_usd(path: Path, fps: float, frames: list[int]) -> Said:
    judge("pxr", "usd-core")
    said = run_python("read_usd.py", path, *frames)
    places = np.array([said["places"][str(f)] for f in frames])
    return "usd-core", list(RIG.values()), places[:, [said["joints"].index(n) for n in RIG]], said["fps"]


def by_three_fbx(path: Path, fps: float, frames: list[int]) -> Said:
    said = run_node("read_fbx.mjs", node_modules("three"), path, *[max(f / fps - 1e-5, 0) for f in frames])
    places = np.array([[at[name] for name in RIG] for at in said["places"]])
    return "three.js", list(RIG.values()), places, said["last"] / said["seconds"]


def by_three_vmd(path: Path, motion: Motion, frames: list[int]) -> Said:
    from kinelift.export.vmd import ARM_BELOW_DEG

    model = path.with_suffix(".pmd")
    write_pmd(model, motion.offsets, ARM_BELOW_DEG)
    said = run_node("play_vmd.mjs", node_modules("three"), model, path, *frames)
    places = np.array([[said["at"][str(f)][bone] for bone in FEET] for f in frames]) / UNITS
    return "three.js MMD", list(FEET.values()), places, said["last"] / said["seconds"]


def by_opensim_trc(path: Path, frames: list[int]) -> Said:
    judge("opensim")
    said = run_python("opensim_trc.py", path)
    places = np.array(said["values"]).reshape(len(said["times"]), -1, 3)
    return "OpenSim", said["names"], places[frames] @ OPENSIM, said["fps"]


def by_opensim_mot(path: Path, motion: Motion, frames: list[int]) -> Said:
    from opensim_bones import BODIES, bones

    judge("opensim")
    model = path.with_suffix(".json")
    model.write_text(json.dumps(bones(motion)))
    said = run_python("opensim_mot.py", model, path, *frames)
    legs = {f"{b}_{s}": f"{side}_{BODIES[b]}" for b in ("femur", "tibia", "talus")
            for side, s in (("left", "l"), ("right", "r"))}  # fmt: skip
    places = np.array([[at[body] for body in legs] for at in said["places"]])
    return "OpenSim", list(legs.values()), places @ OPENSIM, 1 / float(np.diff(said["times"]).mean())


def by_ezc3d(path: Path, frames: list[int]) -> Said:
    judge("ezc3d")
    from ezc3d import c3d

    file = c3d(str(path))
    points = file["data"]["points"][:3].transpose(2, 1, 0)[frames] / 1000
    values = file["parameters"]["POINT"]
    return "ezc3d", values["LABELS"]["value"], points @ LABORATORY, float(values["RATE"]["value"][0])


def by_numpy_csv(path: Path, frames: list[int]) -> Said:
    table = np.genfromtxt(path, delimiter=",", names=True)
    joints = [name.removesuffix("_x_m") for name in table.dtype.names if name.endswith("_x_m")]
    places = np.stack([np.stack([table[f"{j}_{axis}_m"] for axis in "xyz"], -1) for j in joints], 1)
    return "NumPy", joints, places[frames], 1 / float(np.diff(table["time_s"]).mean())


def by_numpy_npz(path: Path, frames: list[int]) -> Said:
    file = np.load(path, allow_pickle=False)
    return "NumPy", list(file["joint_names"]), file["positions"][frames], 1 / float(np.diff(file["times"]).mean())


def measured(name: str, take: Take, folder: Path) -> list[Row]:
    """A format's lines, one a judge, for the first motion of a take, whose frames are evenly spaced."""
    if name == "fbx" and "KINELIFT_BLENDER" not in os.environ and blender_python().exists():
        os.environ["KINELIFT_BLENDER"] = str(blender_python())
    path = folder / f"motion{EXPORTERS[name].suffix}"
    try:
        started = time.perf_counter()
        (path, *_) = export(take, path)
        seconds = time.perf_counter() - started
    except kinelift.KineliftError as e:
        return [Row(name, str(e)[:40], 0, np.nan, np.nan, np.nan, np.nan)]
    motion, fps = at_constant_rate(take.motions[0], 30.0 if name == "vmd" else None)
    frames = np.unique(np.linspace(0, len(motion.times) - 2, 10).astype(int)).tolist()
    judges: dict[str, list[Callable[[], Said]]] = {
        "npz": [lambda: by_numpy_npz(path, frames)],
        "csv": [lambda: by_numpy_csv(path, frames)],
        "bvh": [lambda: by_blender("bvh", path, fps, frames)],
        "glb": [lambda: by_blender("glb", path, fps, frames)],
        "usda": [lambda: by_blender("usd", path, fps, frames), lambda: by_usd(path, fps, frames)],
        "fbx": [lambda: by_blender("fbx", path, fps, frames), lambda: by_three_fbx(path, fps, frames)],
        "vmd": [lambda: by_three_vmd(path, motion, frames)],
        "trc": [lambda: by_opensim_trc(path, frames)],
        "mot": [lambda: by_opensim_mot(path, motion, frames)],
        "c3d": [lambda: by_ezc3d(path, frames)],
    }
    size = path.stat().st_size / 1000
    rows = []
    for ask in judges[name]:
        try:
            who, joints, places, read_fps = ask()
        except (pytest.skip.Exception, pytest.fail.Exception) as e:
            rows.append(Row(name, str(e)[:40], 0, np.nan, np.nan, size, seconds))
            continue
        ours = motion_positions(motion)[frames][:, BODY26.indices(*joints)]
        error = 1000 * float(np.linalg.norm(places - ours, axis=-1).max())
        rows.append(Row(name, who, len(joints), error, read_fps, size, seconds))
    return rows


def table(rows: list[Row]) -> str:
    """Markdown."""
    lines = ["| format | judge | joints | largest error mm | fps | kB | seconds |", "|---|---|---|---|---|---|---|"]
    for r in rows:
        cells = [r.name, r.judge, str(r.joints), f"{r.error_mm:.3f}", f"{r.fps:.4g}", f"{r.kilobytes:.0f}"]
        lines.append(f"| {' | '.join([*cells, f'{r.seconds:.2f}'])} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("motion", type=Path, nargs="?", help="motion.npz; without: the bundled clip's own motion")
    parser.add_argument("--formats", default=",".join(EXPORTERS))
    args = parser.parse_args()
    if args.motion:
        take = kinelift.load_motion(args.motion)
        take = take.replaced(motions=take.motions[:1], poses_2d=take.poses_2d[:1])
    else:
        take = Take((sample_motion(),), Camera.from_focal(900, (1280, 720)), ())
    print(f"{len(take.motions[0].times)} frames")
    with tempfile.TemporaryDirectory() as folder:
        print(table([row for name in args.formats.split(",") for row in measured(name, take, Path(folder))]))


if __name__ == "__main__":
    main()
