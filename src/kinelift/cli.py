"""The command line: thin. Options become an `Options`, errors become one line, exit codes are 0, 1, 2 and 130."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from kinelift.commands.io import OutputFolder, Progress, parsed_size
from kinelift.commands.research import demo, evaluate, openpose_options
from kinelift.commands.retarget import retarget
from kinelift.commands.show import view
from kinelift.commands.train import adapt, train_app, with_values
from kinelift.errors import InputError, KineliftError

app = typer.Typer(
    name="kinelift",
    help="Video in, world-space 3D animation out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _formats(text: str) -> list[str]:
    from kinelift.errors import UnknownNameError
    from kinelift.export import EXPORTERS

    names = [f.strip().lower().lstrip(".") for f in text.split(",") if f.strip()]
    for name in names:
        if name not in EXPORTERS:
            raise UnknownNameError("format", name, EXPORTERS)
    if not names:
        raise InputError(f"--formats: expected some of {', '.join(EXPORTERS)}")
    return list(dict.fromkeys(names))


@app.command()
def animate(
    input: Annotated[
        str | None,
        typer.Argument(help="A video, picture, folder of pictures, webcam:0, key point file or folder, or motion.npz"),
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the results")] = Path("out"),
    sample: Annotated[bool, typer.Option("--sample", help="Use the bundled sample video")] = False,
    height: Annotated[float | None, typer.Option(help="The person's stature in metres; sets the scale")] = None,
    formats: Annotated[
        str, typer.Option(help="Comma-separated: npz, bvh, glb, csv, trc, c3d, vmd, mot, usda, fbx")
    ] = "npz,bvh,glb,csv",
    start: Annotated[float | None, typer.Option(help="First second to use")] = None,
    end: Annotated[float | None, typer.Option(help="Last second to use")] = None,
    person: Annotated[str, typer.Option(help="largest, central, or a person's number")] = "largest",
    detector: Annotated[str, typer.Option(help="mediapipe, rtmpose or openpose")] = "mediapipe",
    pose_model: Annotated[Path | None, typer.Option(help="The detector's model file (.onnx, .task)")] = None,
    person_model: Annotated[Path | None, typer.Option(help="rtmpose: a person detector (.onnx)")] = None,
    proto2d: Annotated[Path | None, typer.Option(help="openpose: the network's .prototxt")] = None,
    model2d: Annotated[Path | None, typer.Option(help="openpose: its .caffemodel")] = None,
    parts: Annotated[str | None, typer.Option(help="openpose: COCO or MPI")] = None,
    lifter: Annotated[str, typer.Option(help="temporal, FILE.onnx, or package.module:Class")] = "temporal",
    focal: Annotated[float | None, typer.Option(help="Focal length in pixels")] = None,
    fov: Annotated[float | None, typer.Option(help="Horizontal field of view in degrees")] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Pose2Sim TOML, OpenCV YAML or XML, Qualisys XML; the world is then its own")
    ] = None,
    camera_name: Annotated[str | None, typer.Option(help="Which camera of the calibration")] = None,
    camera: Annotated[str, typer.Option(help="static, moving, or auto: found from the surroundings")] = "auto",
    depth: Annotated[Path | None, typer.Option(help="A metric depth network (.onnx), as a further opinion")] = None,
    foot_lock: Annotated[str, typer.Option(help="Planted feet: auto, always, never or ground")] = "auto",
    joint_limits: Annotated[bool, typer.Option(help="Keep joints within published ranges of motion")] = True,
    asymmetric: Annotated[bool, typer.Option(help="Left and right bones may differ in length")] = False,
    treadmill: Annotated[bool, typer.Option(help="The person walks on a belt, in place")] = False,
    edits: Annotated[Path | None, typer.Option(help="Repair by hand: a .toml or .json file")] = None,
    keypoints_format: Annotated[str | None, typer.Option(help="Layout of a key point file, such as body_25b")] = None,
    fps: Annotated[float | None, typer.Option(help="Frame rate: of key point files, and of BVH and GLB out")] = None,
    image_size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT of a key point file's pictures")] = None,
    pages: Annotated[bool, typer.Option(help="Write report.html and view.html")] = True,
    mp4: Annotated[bool, typer.Option("--mp4", help="Also view.mp4: overlay and two views in one video")] = False,
    threads: Annotated[int, typer.Option(help="Threads of the lifter and the solve")] = 1,
) -> None:
    """Turn a video into a world-space animation (npz, BVH, GLB, CSV) and a report."""
    from kinelift.pipeline import Options

    source = _source(input, sample)
    options = Options(
        height_m=height, focal_px=focal, fov_deg=fov, calibration=calibration, camera_name=camera_name, camera=camera,
        depth=depth, foot_lock=foot_lock, joint_limits=joint_limits, asymmetric=asymmetric, treadmill=treadmill,
        edits=edits, start=start, end=end, person=int(person) if person.isdigit() else person, detector=detector,
        pose_model=pose_model, person_model=person_model, lifter=lifter, keypoints_format=keypoints_format, fps=fps,
        image_size=parsed_size(image_size), threads=threads,
        detector_options=openpose_options(proto2d, model2d, parts),
    )  # fmt: skip
    take = _published(source, options, out, _formats(formats), pages, mp4)
    if sample:
        _against_truth(take)


def _published(source: str, options: Any, out: Path, names: list[str], pages: bool, mp4: bool) -> Any:
    """The take, after all its files are in `out`."""
    from kinelift.pipeline import animate as run

    with OutputFolder(out) as folder, Progress() as progress:
        take = run(source, options, progress)
        progress("export", 0, len(names))
        _write(take, folder, names, options.fps, Path(source), pages, mp4)
        progress("export", len(names), len(names))
        written = folder.publish()
    _summary(take, written)
    return take


def _source(input: str | None, sample: bool) -> str:
    from kinelift.pipeline import sample_path

    if sample == (input is not None):
        raise InputError("give an input or --sample" if not sample else "give either an input or --sample, not both")
    return str(sample_path() if sample else input)


def _write(
    take: Any, folder: OutputFolder, names: list[str], fps: float | None, source: Path, pages: bool, mp4: bool
) -> None:
    from kinelift.export import EXPORTERS, export
    from kinelift.pipeline import has_pictures
    from kinelift.viewer import film
    from kinelift.viewer import view as page

    for name in names:
        export(take, folder.part / f"motion{EXPORTERS[name].suffix}", None if name in ("npz", "csv", "vmd") else fps)
    (folder.part / "report.json").write_text(json.dumps(take.report, indent=2) + "\n")
    shown: Path | Literal[False] = source if has_pictures(source) and source.is_file() else False
    if mp4:
        film(take, folder.part / "view.mp4", shown)
    if pages:
        from kinelift.report.page import write_report

        write_report(take, folder.part)
        page(take, folder.part / "view.html", shown, home=folder.path)


def _summary(take: Any, written: list[Path]) -> None:
    r = take.report
    root, steps = r["root"], r["steps"]
    lines = [
        f"{r['frames']} frames, {r['seconds']:.2f} s at {r['fps']:.2f} fps; "
        f"person seen in {r['detected_percent']:.0f} %",
        f"height {r['scale']['height_m']:.2f} m ({r['scale']['source']}); "
        f"focal {r['focal']['focal_px']:.0f} px ({r['focal']['source']})",
        f"root path {root['path_m']:.2f} m, from start to end {root['travel_m']:.2f} m; "
        f"stances left {steps['left_stances']}, right {steps['right_stances']}",
        f"reprojection {r['reprojection_error_px'] or 0:.1f} px; "
        f"feet slide {r['foot_sliding_mm_per_frame']:.1f} mm/frame, sink {r['penetration_mm']:.1f} mm; "
        f"swaps repaired in {r['swapped_frames_repaired']} frames",
        f"wrote {', '.join(str(p) for p in written)}",
    ]
    for line in lines:
        typer.echo(line)
    for warning in r["warnings"]:
        typer.echo(f"warning: {warning}", err=True)


def _against_truth(take: Any) -> None:
    from kinelift.report.sample import sample_errors

    e = sample_errors(take.motions[0])
    typer.echo(
        f"against the sample's known truth: {e['mpjpe_mm']:.1f} mm MPJPE, {e['pa_mpjpe_mm']:.1f} mm PA-MPJPE, "
        f"{e['abs_mpjpe_mm']:.1f} mm in the world after one rigid alignment, path {e['path_error_percent']:+.1f} %"
    )


@app.command()
def convert(
    motion: Annotated[Path, typer.Argument(help="A motion.npz")],
    out: Annotated[Path, typer.Argument(help="The file to write; its suffix says the format")],
    fps: Annotated[float | None, typer.Option(help="Resample to this constant rate")] = None,
) -> None:
    """Write a motion.npz in another format."""
    from kinelift.export import export
    from kinelift.export.npz import load_motion

    for path in export(load_motion(motion), out, fps):
        typer.echo(f"wrote {path}")


@app.command()
def info() -> None:
    """Versions, what is installed, and the shipped weights with their licence."""
    from kinelift.report.installed import installed

    for line in installed():
        typer.echo(line)


app.command("view")(view)
app.command("retarget")(retarget)
app.command("demo")(demo)
app.command("evaluate")(evaluate)
app.add_typer(train_app, name="train")
app.command("adapt")(adapt)


def main() -> None:
    """Run the command line; exits 0 done, 2 wrong use or bad input, 1 failure, 130 stopped."""
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        code = app(with_values(sys.argv[1:]), standalone_mode=False)
        if code == 130:  # typer's own answer to Ctrl-C
            code = _fail("stopped", 130)
    except KineliftError as e:
        code = _fail(str(e), e.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        code = _fail("stopped", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as e:
        message = getattr(e, "format_message", None)  # typer's usage errors
        if message is None:
            raise
        if type(e).__name__ == "NoArgsIsHelpError":
            typer.echo(message(), err=True)
            sys.exit(2)
        code = _fail(message(), int(getattr(e, "exit_code", 2)))
    sys.exit(code or 0)


def _fail(message: str, code: int) -> int:
    typer.echo(f"kinelift: {' '.join(message.split())}", err=True)
    return code


if __name__ == "__main__":
    main()
