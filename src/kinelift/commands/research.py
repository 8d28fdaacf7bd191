"""`kinelift demo` and `kinelift evaluate`: what a lifter does, to look at and in numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kinelift.commands.io import OutputFolder, Progress
from kinelift.errors import UnknownNameError


def demo(
    input: Annotated[str, typer.Argument(help="A picture, a video, a folder of pictures, or webcam:0")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the pictures")] = Path("out"),
    lifter: Annotated[str | None, typer.Option(help="A name, FILE.onnx, authors' FILE.npz, or code")] = None,
    detector: Annotated[str, typer.Option(help="mediapipe, rtmpose or openpose")] = "mediapipe",
    proto2d: Annotated[Path | None, typer.Option(help="openpose: the network's .prototxt")] = None,
    model2d: Annotated[Path | None, typer.Option(help="openpose: its .caffemodel")] = None,
    parts: Annotated[str | None, typer.Option(help="openpose: COCO or MPI; default COCO")] = None,
    threshold: Annotated[float | None, typer.Option(help="openpose: how high a peak must be; default 0.1")] = None,
    width: Annotated[int | None, typer.Option(help="openpose: the network's input, pixels; default 368")] = None,
    height: Annotated[int | None, typer.Option(help="openpose: likewise; default 368")] = None,
    pose_model: Annotated[Path | None, typer.Option(help="Another detector's model file")] = None,
    person_model: Annotated[Path | None, typer.Option(help="rtmpose: a person detector (.onnx)")] = None,
    person: Annotated[str, typer.Option(help="largest, central, or a person's number")] = "largest",
    frame: Annotated[int | None, typer.Option(help="Which frame of a video, from 0")] = None,
    time: Annotated[float | None, typer.Option(help="Or which second")] = None,
    focal: Annotated[float | None, typer.Option(help="Focal length in pixels")] = None,
    fov: Annotated[float | None, typer.Option(help="Horizontal field of view in degrees")] = None,
    threads: Annotated[int, typer.Option(help="Threads of the lifter")] = 1,
) -> None:
    """Draw one moment's 2D pose and its lifted pose turned about itself: PNGs, a contact sheet, a GIF."""
    from kinelift.demo import demo as run
    from kinelift.detect import make_detector

    options = openpose_options(proto2d, model2d or pose_model, parts, threshold, width, height)
    options |= {"person_model": person_model}
    chosen = make_detector(detector, **{k: v for k, v in options.items() if v is not None})
    with OutputFolder(out) as folder, Progress() as progress:
        shown = run(
            input, folder.part, lifter, chosen, int(person) if person.isdigit() else person, frame, time, focal, fov,
            threads, progress,
        )  # fmt: skip
        written = folder.publish()
    for warning in shown.warnings:
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(f"{shown.lifter} at {shown.frame.time:.2f} s; wrote {', '.join(str(p) for p in written)}")


def openpose_options(
    proto: Path | None,
    model: Path | None,
    parts: str | None = None,
    threshold: float | None = None,
    width: int | None = None,
    height: int | None = None,
) -> dict[str, Any]:
    """What is given of OpenPose's options, by the detector's names."""
    all_of_them = {"proto": proto, "parts": parts, "threshold": threshold, "width": width, "height": height}
    given = {k: v for k, v in all_of_them.items() if v is not None}
    return given | ({"model": model} if model is not None else {})


def evaluate(
    weights: Annotated[list[str], typer.Argument(help="Lifters: names, files, patterns, NAME=FILE,FILE (seeds)")],
    dataset: Annotated[str, typer.Option(help="h36m, mpi-inf-3dhp or mocap")],
    data: Annotated[Path, typer.Option("--data", help="Where the data set lies")],
    split: Annotated[str, typer.Option(help="test or train")] = "test",
    two_d: Annotated[str, typer.Option("--2d", help="gt, sh, cpn or a file of detected 2D")] = "gt",
    protocol: Annotated[list[str] | None, typer.Option(help="seed, mpjpe, n-mpjpe, pa-mpjpe, pck, auc; all")] = None,
    allow_inversion: Annotated[
        bool, typer.Option("--allow-inversion", help="Count the better of z and -z, pose by pose")
    ] = False,
    action: Annotated[str | None, typer.Option(help="Only this action")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the table here too")] = None,
    threads: Annotated[int, typer.Option(help="Threads of the lifters")] = 1,
) -> None:
    """Measure lifters of any family against 3D truth, in one table."""
    from kinelift.evaluate import PROTOCOLS
    from kinelift.evaluate import evaluate as run

    poses = read_poses(dataset, data, split, two_d, action)
    with Progress() as progress:
        table = run(
            weights, poses, tuple(protocol or PROTOCOLS), allow_inversion, threads,
            lambda done, total: progress("evaluate", done, total),
        )  # fmt: skip
    typer.echo(str(table))
    if csv is not None:
        table.write_csv(csv)
        typer.echo(f"wrote {csv}")


def read_poses(dataset: str, data: Path, split: str, two_d: str, action: str | None = None) -> Any:
    """A part of a data set by name, all of it or one action. Raises `UnknownNameError`, `InputError`."""
    from kinelift.datasets import DATASETS

    if dataset not in DATASETS:
        raise UnknownNameError("dataset", dataset, DATASETS)
    poses = DATASETS[dataset](data, split, two_d)
    if action is None:
        return poses
    chosen = poses.actions == action
    if not chosen.any():
        raise UnknownNameError(f"action of {dataset}", action, sorted(set(poses.actions.tolist())))
    return poses.sliced(chosen)
