"""The command line: thin. Options become an `Options`, errors become one line, exit codes are 0, 1, 2 and 130."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from kinelift.errors import InputError, KineliftError

app = typer.Typer(
    name="kinelift",
    help="Video in, world-space 3D animation out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
train_app = typer.Typer(help="Train a lifter (needs kinelift[train]).", no_args_is_help=True)
app.add_typer(train_app, name="train")

_STAGES = {"detect": "2D pose", "repair": "repair", "lift": "lift", "solve": "solve", "export": "export"}


class _Progress:
    """A live bar per stage on a terminal; nothing where standard error is not one."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bars = Progress(
            TextColumn("{task.description:>8}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> _Progress:
        self._bars.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bars.stop()

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        if stage not in self._tasks:
            for task in self._tasks.values():
                self._bars.update(task, completed=self._bars.tasks[task].total or self._bars.tasks[task].completed)
            self._tasks[stage] = self._bars.add_task(_STAGES.get(stage, stage), total=total)
        self._bars.update(self._tasks[stage], completed=done, total=total)


class _OutputFolder:
    """The output folder: proved writable before any work, filled all at once at the end, untouched on failure."""

    def __init__(self, path: Path):
        self.path = path
        if path.exists() and not path.is_dir():
            raise InputError(f"{path}: is a file; -o names a folder")
        missing = [p for p in (path, *path.parents) if not p.exists()]
        self._made = list(missing)
        try:
            path.mkdir(parents=True, exist_ok=True)
            self.part = path / f".kinelift-{secrets.token_hex(4)}"
            self.part.mkdir()
        except OSError as e:
            self._remove_made()
            raise InputError(f"{path}: cannot be written ({e.strerror}); choose another folder with -o") from None

    def __enter__(self) -> _OutputFolder:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        shutil.rmtree(self.part, ignore_errors=True)
        if kind is not None:
            self._remove_made()

    def publish(self) -> list[Path]:
        """Move everything written into place; the files' paths."""
        out = []
        for file in sorted(self.part.iterdir()):
            target = self.path / file.name
            file.replace(target)
            out.append(target)
        return out

    def _remove_made(self) -> None:
        for folder in self._made:
            with suppress(OSError):
                folder.rmdir()


def _image_size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    parts = text.lower().replace("x", " ").split()
    if len(parts) != 2 or not all(p.isdigit() and int(p) > 0 for p in parts):
        raise InputError(f"--image-size {text}: expected WIDTHxHEIGHT in pixels, such as 1920x1080")
    return int(parts[0]), int(parts[1])


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
    formats: Annotated[str, typer.Option(help="Comma-separated: npz, bvh, glb, csv")] = "npz,bvh,glb,csv",
    start: Annotated[float | None, typer.Option(help="First second to use")] = None,
    end: Annotated[float | None, typer.Option(help="Last second to use")] = None,
    person: Annotated[str, typer.Option(help="largest, central, or a person's number")] = "largest",
    detector: Annotated[str, typer.Option(help="mediapipe or rtmpose")] = "mediapipe",
    pose_model: Annotated[Path | None, typer.Option(help="The detector's model file (.onnx, .task)")] = None,
    person_model: Annotated[Path | None, typer.Option(help="rtmpose: a person detector (.onnx)")] = None,
    lifter: Annotated[str, typer.Option(help="temporal, FILE.onnx, or package.module:Class")] = "temporal",
    focal: Annotated[float | None, typer.Option(help="Focal length in pixels")] = None,
    fov: Annotated[float | None, typer.Option(help="Horizontal field of view in degrees")] = None,
    calibration: Annotated[Path | None, typer.Option(help="Pose2Sim TOML; the world is then its own")] = None,
    camera: Annotated[str | None, typer.Option(help="Which camera of the calibration")] = None,
    keypoints_format: Annotated[str | None, typer.Option(help="Layout of a key point file, such as body_25b")] = None,
    fps: Annotated[float | None, typer.Option(help="Frame rate: of key point files, and of BVH and GLB out")] = None,
    image_size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT of a key point file's pictures")] = None,
    threads: Annotated[int, typer.Option(help="Threads of the lifter and the solve")] = 1,
) -> None:
    """Turn a video into a world-space animation (npz, BVH, GLB, CSV) and a report."""
    from kinelift.pipeline import Options, sample_path
    from kinelift.pipeline import animate as run

    if sample == (input is not None):
        raise InputError("give an input or --sample" if not sample else "give either an input or --sample, not both")
    options = Options(
        height, focal, fov, calibration, camera, start, end, int(person) if person.isdigit() else person,
        detector, pose_model, person_model, lifter, keypoints_format, fps, _image_size(image_size), threads,
    )  # fmt: skip
    names = _formats(formats)
    with _OutputFolder(out) as folder, _Progress() as progress:
        take = run(sample_path() if sample else str(input), options, progress)
        progress("export", 0, len(names))
        _write(take, folder.part, names, fps)
        progress("export", len(names), len(names))
        written = folder.publish()
    _summary(take, written)
    if sample:
        _against_truth(take)


def _write(take: Any, folder: Path, names: list[str], fps: float | None) -> None:
    from kinelift.export import EXPORTERS, export

    for name in names:
        export(take, folder / f"motion{EXPORTERS[name].suffix}", None if name in ("npz", "csv") else fps)
    (folder / "report.json").write_text(json.dumps(take.report, indent=2) + "\n")


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
    out: Annotated[Path, typer.Argument(help="The file to write: .bvh, .glb, .csv, .npz")],
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


@train_app.command("temporal")
def train_temporal(
    data: Annotated[list[Path], typer.Option("--data", help="Mocap .npz files or folders of them")],
    out: Annotated[Path, typer.Option("--out", help="Folder for lifter.onnx, checkpoint.pt, metrics.csv")],
    detector_data: Annotated[
        list[Path] | None, typer.Option("--detector-data", help="Folders made by `train detector-data`")
    ] = None,
    own_3d: Annotated[bool, typer.Option("--own-3d", help="Tell the network the detector's own 3D too")] = False,
    network: Annotated[str, typer.Option(help="temporal, single-frame or videopose3d")] = "temporal",
    channels: Annotated[int | None, typer.Option(help="Width of the network")] = None,
    steps: Annotated[int, typer.Option(help="Optimiser steps")] = 20000,
    batch: Annotated[int, typer.Option(help="Windows a step")] = 48,
    random: Annotated[int, typer.Option(help="Windows of randomly moving joints")] = 8000,
    actions: Annotated[int, typer.Option(help="Clips of generated actions")] = 2500,
    learning_rate: Annotated[float, typer.Option(help="Of the matrices (Muon)")] = 3e-3,
    seed: Annotated[int, typer.Option(help="Seed of numpy and torch")] = 0,
    threads: Annotated[int, typer.Option(help="Torch threads")] = 1,
    accelerator: Annotated[str, typer.Option(help="auto, cpu, cuda, mps")] = "auto",
    devices: Annotated[int, typer.Option(help="How many of them")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from checkpoint.pt")] = False,
) -> None:
    """Train the temporal lifter on mocap, made motion and rendered clips."""
    import logging

    from kinelift.training.temporal import NETWORKS, Config, train

    if network not in NETWORKS:
        raise InputError(f"--network {network}: expected one of {', '.join(NETWORKS)}")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    config = Config(
        steps, batch, random=random, actions=actions, network=network, channels=channels,
        learning_rate=learning_rate, own_3d=own_3d, seed=seed, threads=threads,
    )  # fmt: skip
    with _Progress() as progress:
        path = train(
            config, data, out, resume, lambda done, total: progress("train", done, total), detector_data,
            accelerator, devices,
        )  # fmt: skip
    typer.echo(f"wrote {path}")


@train_app.command("detector-data")
def train_detector_data(
    data: Annotated[list[Path], typer.Option("--data", help="Mocap .npz files or folders of them")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the shards; what is there is kept")],
    clips: Annotated[int, typer.Option(help="Rendered clips of about four seconds")] = 400,
    detector: Annotated[str, typer.Option(help="Who looks at them")] = "mediapipe",
    seed: Annotated[int, typer.Option(help="Seed of motions, cameras, looks and rooms")] = 0,
) -> None:
    """Render moving figures, run a detector over the pictures, and keep what it says beside the truth."""
    from kinelift.training.detector_data import make_detector_data

    with _Progress() as progress:
        path = make_detector_data(
            out, data, clips, seed, detector, lambda done, total: progress("rendered", done, total)
        )
    typer.echo(f"wrote {path}")


@train_app.command("prior")
def train_prior(
    poses: Annotated[Path, typer.Option("--poses", help="MPII poses, .npy of (N, 34) pixels")],
    out: Annotated[Path, typer.Option("--out", help="File for the prior, .safetensors")],
    seed: Annotated[int, typer.Option(help="Seed")] = 0,
) -> None:
    """Learn what real 2D poses look like, for `adapt --prior`."""
    from kinelift.training.prior import fit_prior, read_mpii, save_prior

    with _Progress() as progress:
        learned = fit_prior(read_mpii(poses), seed=seed, progress=lambda done, total: progress("prior", done, total))
    save_prior(learned, out)
    typer.echo(f"wrote {out}")


@app.command("adapt")
def adapt_command(
    folder: Annotated[Path, typer.Argument(help="Your videos and key point files, no 3D needed")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for report.json and lifter.onnx")],
    lifter: Annotated[str, typer.Option(help="Name or ONNX file to start from; it is not changed")] = "temporal",
    data: Annotated[list[Path] | None, typer.Option("--data", help="Mocap, so that nothing is forgotten")] = None,
    detector_data: Annotated[list[Path] | None, typer.Option("--detector-data", help="Rendered clips likewise")] = None,
    prior: Annotated[Path | None, typer.Option(help="File of `kinelift train prior`")] = None,
    steps: Annotated[int, typer.Option(help="Optimiser steps")] = 300,
    focal: Annotated[float | None, typer.Option(help="Focal length in pixels")] = None,
    fov: Annotated[float | None, typer.Option(help="Horizontal field of view in degrees")] = None,
    fps: Annotated[float | None, typer.Option(help="Of key point files that state none")] = None,
    image_size: Annotated[str | None, typer.Option(help="WxH of key point files that state none")] = None,
    detector: Annotated[str, typer.Option(help="For videos")] = "mediapipe",
    keep: Annotated[bool, typer.Option("--keep", help="Write the lifter even where it did not help")] = False,
    seed: Annotated[int, typer.Option(help="Seed")] = 0,
    threads: Annotated[int, typer.Option(help="Torch threads")] = 1,
) -> None:
    """Fine-tune the lifter on your own footage without 3D, and say whether it helped."""
    from kinelift.training.adapt import AdaptConfig, adapt
    from kinelift.training.footage import View
    from kinelift.training.prior import load_prior

    config = AdaptConfig(steps=steps, seed=seed, threads=threads)
    view = View(focal, fov, fps, _image_size(image_size), detector)
    with _Progress() as progress:
        report = adapt(
            folder, out, lifter, config, view, data, load_prior(prior) if prior else None, detector_data, keep, progress
        )
    typer.echo(report.line())
    typer.echo(f"wrote {report.lifter or out / 'report.json'}")


def main() -> None:
    """Run the command line; exits 0 done, 2 wrong use or bad input, 1 failure, 130 stopped."""
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        code = app(standalone_mode=False)
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
