"""Pictures of the exported character as Blender imports it, standing on Blender's grid: docs/img/blender_*.png.

    python benchmarks/blender_pictures.py [motion.npz] [--stride 22] [--stand 107] [--only formats] [--out docs/img]

Every file goes through Blender's importer with its default settings; floor and light are those of
examples/05_fbx_turntable.py, which also makes the turntable. Needs Blender (scripts/blender_env.sh).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import kinelift
from formats import ROOT, blender_python
from kinelift.camera import Camera
from kinelift.export import export
from kinelift.records import Take
from kinelift.render.sample_motion import sample_motion

EXAMPLE = ROOT / "examples" / "05_fbx_turntable.py"
MAX_BYTES = 200_000
# Where the camera stands, seen from the person who faces Blender's front view (-Y), and how high it aims.
CORNER = {"from": [2.6, -4.6, 0.7], "aim": 0.9, "size": [240, 340]}
FRONT = {"from": [0.0, -5.3, 0.0], "aim": 0.9, "size": [240, 340]}
SIDE = {"from": [5.3, 0.0, 0.0], "aim": 0.9, "size": [240, 340]}
FEET = {"from": [0.8, -1.5, 0.14], "aim": 0.1, "size": [480, 340]}


def blender(script: Path, *arguments: object) -> None:
    done = subprocess.run([blender_python(), script, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])


def sheet(pictures: list[Image.Image], labels: list[str], path: Path) -> None:
    """Pictures of one height side by side with their names, as a PNG of a palette, under 200 kB."""
    wide = sum(p.width for p in pictures)
    out = Image.new("RGB", (wide, pictures[0].height))
    x = 0
    for picture, label in zip(pictures, labels, strict=True):
        out.paste(picture, (x, 0))
        ImageDraw.Draw(out).text((x + 8, 6), label, fill=(20, 22, 26), font_size=16)
        x += picture.width
    out.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)
    if path.stat().st_size > MAX_BYTES:
        raise SystemExit(f"{path}: {path.stat().st_size} bytes, expected at most {MAX_BYTES}")
    print(f"{path}: {out.width} x {out.height}, {path.stat().st_size / 1000:.0f} kB")


def formats(take: Take, frame: int, folder: Path, out: Path) -> None:
    """One moment in four formats."""
    files = [export(take, folder / f"motion.{kind}")[0] for kind in ("bvh", "glb", "fbx", "usda")]
    views = [(path.suffix[1:].upper(), path, CORNER) for path in files]
    sheet(*rendered(take, frame, views, folder), out / "blender_formats.png")


def standing(take: Take, frame: int, folder: Path, out: Path) -> None:
    """The GLB in Blender's front and right views, and near the floor."""
    (path,) = export(take, folder / "motion.glb")
    views = [(name, path, view) for name, view in (("front", FRONT), ("right", SIDE), ("the floor", FEET))]
    sheet(*rendered(take, frame, views, folder), out / "blender_standing.png")


def rendered(take: Take, frame: int, views: list, folder: Path) -> tuple[list[Image.Image], list[str]]:
    fps = round(1 / float(np.diff(take.motions[0].times).mean()))
    pictures = [folder / f"{i}.png" for i in range(len(views))]
    items = [
        {"file": str(path), "frame": frame, "fps": fps, "out": str(picture), **view}
        for picture, (_, path, view) in zip(pictures, views, strict=True)
    ]
    job = folder / "job.json"
    job.write_text(json.dumps({"example": str(EXAMPLE), "pictures": items}))
    blender(Path(__file__).with_name("_blender_pictures.py"), job)
    return [Image.open(p).convert("RGB") for p in pictures], [name for name, *_ in views]


def turntable(take: Take, folder: Path, out: Path) -> None:
    """Six pictures of the example's turntable."""
    (glb,) = export(take, folder / "turn.glb")
    step = max(len(take.motions[0].times) // 6, 1)
    blender(EXAMPLE, "--", glb, folder / "turn", "--step", step, "--size", 200, "--png")
    paths = sorted((folder / "turn").glob("turntable_*.png"))[:6]
    times = take.motions[0].times - take.motions[0].times[0]
    labels = [f"{times[int(p.stem.split('_')[1])]:.1f} s" for p in paths]
    sheet([Image.open(p).convert("RGB") for p in paths], labels, out / "blender_turntable.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("motion", type=Path, nargs="?", help="motion.npz; without: the bundled clip's own motion")
    parser.add_argument("--stride", type=int, default=22, help="frame that all formats show, from 0")
    parser.add_argument("--stand", type=int, default=107, help="frame of the views from the front and the side")
    parser.add_argument("--only", choices=("formats", "standing", "turntable"))
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "img")
    args = parser.parse_args()
    if not blender_python().exists():
        raise SystemExit("no Blender: run scripts/blender_env.sh or set KINELIFT_BLENDER_PYTHON")
    os.environ.setdefault("KINELIFT_BLENDER", str(blender_python()))
    if args.motion:
        take = kinelift.load_motion(args.motion)
        take = take.replaced(motions=take.motions[:1], poses_2d=take.poses_2d[:1])
    else:
        take = Take((sample_motion(),), Camera.from_focal(900, (1280, 720)), ())
    with tempfile.TemporaryDirectory() as name:
        if args.only in (None, "formats"):
            formats(take, args.stride, Path(name), args.out)
        if args.only in (None, "standing"):
            standing(take, args.stand, Path(name), args.out)
        if args.only in (None, "turntable"):
            turntable(take, Path(name), args.out)


if __name__ == "__main__":
    main()
