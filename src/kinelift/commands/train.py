"""`kinelift train ...` and `kinelift adapt`: lifters and what they learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kinelift.commands.io import Progress, parsed_size
from kinelift.errors import InputError

train_app = typer.Typer(help="Train a lifter (needs kinelift[train]).", no_args_is_help=True)


@train_app.command("temporal")
def train_temporal(
    data: Annotated[list[Path], typer.Option("--data", help="Mocap .npz files or folders; or where the data set lies")],
    out: Annotated[Path, typer.Option("--out", help="Folder for lifter.onnx, checkpoint.pt, metrics.csv")],
    dataset: Annotated[str | None, typer.Option(help="h36m or mpi-inf-3dhp instead of mocap files")] = None,
    detector_data: Annotated[
        list[Path] | None, typer.Option("--detector-data", help="Folders made by `train detector-data`")
    ] = None,
    own_3d: Annotated[bool, typer.Option("--own-3d", help="Tell the network the detector's own 3D too")] = False,
    network: Annotated[str, typer.Option(help="temporal, single-frame or videopose3d")] = "temporal",
    channels: Annotated[int | None, typer.Option(help="Width of the network")] = None,
    hidden: Annotated[int | None, typer.Option(help="Hidden units a layer of the temporal network")] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="Name or ONNX file of the lifter whose weights to begin from")
    ] = None,
    steps: Annotated[int, typer.Option(help="Optimiser steps")] = 20000,
    batch: Annotated[int, typer.Option(help="Windows a step")] = 48,
    random: Annotated[int, typer.Option(help="Windows of randomly moving joints")] = 8000,
    actions: Annotated[int, typer.Option(help="Clips of generated actions")] = 2500,
    learning_rate: Annotated[float, typer.Option(help="Of the matrices (Muon)")] = 3e-3,
    decay: Annotated[float, typer.Option(help="Share of the steps, the last ones, over which that falls")] = 0.4,
    seed: Annotated[int, typer.Option(help="Seed of numpy and torch")] = 0,
    threads: Annotated[int, typer.Option(help="Torch threads")] = 1,
    accelerator: Annotated[str, typer.Option(help="auto, cpu, cuda, mps")] = "auto",
    devices: Annotated[int, typer.Option(help="How many of them")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from checkpoint.pt")] = False,
    real_poses: Annotated[
        Path | None, typer.Option("--real-poses", help="MPII poses (.npy), which join without their 3D")
    ] = None,
) -> None:
    """Train the temporal lifter on mocap, made motion and rendered clips."""
    import logging

    from kinelift.datasets.as_clips import training_clips
    from kinelift.training.temporal import NETWORKS, Config, train

    if network not in NETWORKS:
        raise InputError(f"--network {network}: expected one of {', '.join(NETWORKS)}")
    if hidden is not None and (network != "temporal" or hidden < 1):
        raise InputError(f"--hidden {hidden}: only the temporal network has hidden units, 1 or more a layer")
    if not 0 <= decay <= 1:
        raise InputError(f"--decay {decay}: expected a share from 0 to 1")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    clips = [c for d in data for c in training_clips(dataset, d)] if dataset else []
    config = Config(
        steps, batch, random=random, actions=actions, network=network, channels=channels, hidden=hidden,
        learning_rate=learning_rate, decay=decay, own_3d=own_3d, seed=seed, threads=threads,
    )  # fmt: skip
    with Progress() as progress:
        path = train(
            config, [] if dataset else data, out, resume, lambda done, total: progress("train", done, total),
            detector_data, accelerator, devices, real_poses, clips, start,
        )  # fmt: skip
    typer.echo(f"wrote {path}")


@train_app.command("average")
def train_average(
    lifters: Annotated[
        list[Path], typer.Argument(help="Lifters that `train temporal` made, one of them from the other")
    ],
    data: Annotated[list[Path], typer.Option("--data", help="Mocap .npz files or folders: measures and calibrates")],
    out: Annotated[Path, typer.Option("--out", help="The ONNX lifter to write")],
    share: Annotated[
        list[float] | None, typer.Option("--share", help="Of each lifter, in order; default alike")
    ] = None,
    detector_data: Annotated[
        list[Path] | None, typer.Option("--detector-data", help="Folders made by `train detector-data`")
    ] = None,
) -> None:
    """Average the weights of lifters that were trained on from the same ones."""
    from kinelift.training.average import average

    path, measured = average(lifters, data, out, share or None, detector_data or ())
    for name, values in measured.items():
        pa = ", ".join(f"{k.removesuffix('_pa')} {v:.1f}" for k, v in values.items() if k.endswith("_pa"))
        typer.echo(f"{name}: held out, PA-MPJPE in mm: {pa}")
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

    with Progress() as progress:
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

    with Progress() as progress:
        learned = fit_prior(read_mpii(poses), seed=seed, progress=lambda done, total: progress("prior", done, total))
    save_prior(learned, out)
    typer.echo(f"wrote {out}")


@train_app.command("projection-gan")
def train_projection_gan(
    dataset: Annotated[str, typer.Option(help="h36m, mpii, mpi-inf-3dhp or mocap")],
    data: Annotated[Path, typer.Option("--data", help="Where the data set lies")],
    out: Annotated[Path, typer.Option("--out", help="Folder for lifter.onnx, checkpoint.pt, metrics.csv")],
    mode: Annotated[str, typer.Option(help="unsupervised or supervised")] = "unsupervised",
    two_d: Annotated[str, typer.Option("--2d", help="gt, sh, cpn or a file of detected 2D")] = "gt",
    heuristic_loss: Annotated[
        float, typer.Option("--heuristic-loss", metavar="[WEIGHT]", help="Of noses behind backs; alone: 1")
    ] = 0.0,
    batch_norm: Annotated[bool, typer.Option("--batch-norm", help="Batch norm in both networks")] = False,
    activation: Annotated[str, typer.Option(help="leaky_relu or relu")] = "leaky_relu",
    gan_accuracy_cap: Annotated[float, typer.Option(help="See the docs")] = 0.9,
    action: Annotated[str, typer.Option(help="Train on one action only")] = "all",
    epochs: Annotated[int, typer.Option(help="Passes over the data")] = 20,
    batch: Annotated[int, typer.Option(help="Poses a step")] = 16,
    snapshots: Annotated[int, typer.Option(help="Keep a lifter every so many epochs; 0: the last only")] = 0,
    seed: Annotated[int, typer.Option(help="Seed")] = 0,
    threads: Annotated[int, typer.Option(help="Torch threads")] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps")] = "cpu",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from checkpoint.pt")] = False,
) -> None:
    """Train the projection GAN (Kudo et al. 2018): 3D from 2D poses alone, or supervised."""
    from kinelift.commands.research import read_poses
    from kinelift.training.projection.gan import Config, train

    config = Config(
        mode, heuristic_loss, batch_norm, activation, gan_accuracy_cap, action, epochs, batch, snapshots=snapshots,
        seed=seed, threads=threads, device=device,
    )  # fmt: skip
    train_poses, test_poses = (read_poses(dataset, data, split, two_d) for split in ("train", "test"))
    with Progress() as progress:
        path = train(config, train_poses, test_poses, out, resume, lambda done, total: progress("epochs", done, total))
    typer.echo(f"wrote {path}")


@train_app.command("elepose")
def train_elepose(
    dataset: Annotated[str, typer.Option(help="h36m, mpii, mpi-inf-3dhp or mocap")],
    data: Annotated[Path, typer.Option("--data", help="Where the data set lies")],
    out: Annotated[Path, typer.Option("--out", help="Folder for lifter.onnx, elepose.pt, metrics.csv")],
    published: Annotated[bool, typer.Option("--published", help="ElePose's own terms alone")] = False,
    two_d: Annotated[str, typer.Option("--2d", help="gt, sh, cpn or a file of detected 2D")] = "gt",
    steps: Annotated[int, typer.Option(help="Optimiser steps")] = 3000,
    flow_steps: Annotated[int, typer.Option(help="Steps of fitting the flow before")] = 1200,
    batch: Annotated[int, typer.Option(help="Poses a step")] = 256,
    width: Annotated[int, typer.Option(help="Of the hidden layers")] = 512,
    nose_ahead: Annotated[float | None, typer.Option(help="0 for MPII, whose nose is the head's middle")] = None,
    level: Annotated[float | None, typer.Option(help="How level cameras are thought to be")] = None,
    proportions: Annotated[float | None, typer.Option(help="How near to an average body's bones")] = None,
    as_seen: Annotated[bool, typer.Option("--as-seen", help="Bones of the set's upright poses, for MPII")] = False,
    varied_steps: Annotated[int, typer.Option("--varied", help="Steps on varied bodies after it, into OUT/varied")] = 0,
    seed: Annotated[int, typer.Option(help="Seed")] = 0,
    threads: Annotated[int, typer.Option(help="Torch threads")] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps")] = "cpu",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from checkpoint.pt")] = False,
) -> None:
    """Train an unsupervised lifter by likelihood of turned views (after ElePose, Wandt et al. 2022)."""
    from kinelift.commands.research import read_poses
    from kinelift.training.projection import varied
    from kinelift.training.projection.elepose import Config, train

    weights = {"nose_ahead": nose_ahead, "level": level, "proportions": proportions}
    options: dict[str, Any] = {k: v for k, v in weights.items() if v is not None}
    options |= {"steps": steps, "flow_steps": flow_steps, "batch": batch, "width": width}
    running: dict[str, Any] = {"seed": seed, "threads": threads, "device": device}
    options |= {"as_seen": as_seen, **running}
    config = Config.published(**options) if published else Config(**options)
    train_poses, test_poses = (read_poses(dataset, data, split, two_d) for split in ("train", "test"))
    with Progress() as progress:
        path = train(config, train_poses, test_poses, out, resume, lambda done, total: progress("train", done, total))
    typer.echo(f"wrote {path}")
    if varied_steps:
        with Progress() as progress:
            more, said = varied.Config(steps=varied_steps, **running), lambda done, total: progress("vary", done, total)
            path = varied.train(more, out / "elepose.pt", train_poses, test_poses, out / "varied", said)
        typer.echo(f"wrote {path}")


# Options whose value may be left out, and what it then is: the parser knows no such options.
VALUE_ALONE = {"--heuristic-loss": "1"}


def with_values(arguments: list[str]) -> list[str]:
    """The command line with the values of `VALUE_ALONE` written out."""
    out = []
    for word, after in zip(arguments, [*arguments[1:], "--"], strict=True):
        out += [word, VALUE_ALONE[word]] if word in VALUE_ALONE and after.startswith("--") else [word]
    return out


def adapt(
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
    from kinelift.training.adapt import AdaptConfig
    from kinelift.training.adapt import adapt as run
    from kinelift.training.footage import View
    from kinelift.training.prior import load_prior

    config = AdaptConfig(steps=steps, seed=seed, threads=threads)
    view = View(focal, fov, fps, parsed_size(image_size), detector)
    with Progress() as progress:
        report = run(
            folder, out, lifter, config, view, data, load_prior(prior) if prior else None, detector_data, keep, progress
        )
    typer.echo(report.line())
    typer.echo(f"wrote {report.lifter or out / 'report.json'}")
