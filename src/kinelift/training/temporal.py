"""`kinelift train temporal`: one readable loop from mocap, made motion and rendered clips to an ONNX lifter.

A run is one `Config`, saved inside its checkpoint. `checkpoint.pt` is written now and then and `--resume` goes on
from it, on any number of devices (Lightning Fabric); `lifter.onnx` is the product.
"""

from __future__ import annotations

import logging
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kinelift import metrics
from kinelift.datasets.mocap import Clip, contact_labels, read_mocap
from kinelift.errors import InputError, MissingExtraError
from kinelift.skeleton import BODY26
from kinelift.training.actions import generate_actions
from kinelift.training.detected import Detected
from kinelift.training.detector_data import DetectorClip, read_detector_data
from kinelift.training.generate import generate
from kinelift.training.vary import add_extremities
from kinelift.training.views import Batch, Sources, make_batch, observe, windows

try:
    import torch
    from lightning_fabric import Fabric
except ImportError:  # pragma: no cover - depends on the installation
    raise MissingExtraError("training", "pip install 'kinelift[train]'") from None

from kinelift.training.baselines import BASELINES
from kinelift.training.calibrate import calibrated
from kinelift.training.checkpoint import Source, named_network
from kinelift.training.export import export
from kinelift.training.muon import Muon
from kinelift.training.network import Prediction, TemporalNet, widened
from kinelift.training.precision import mixed
from kinelift.training.real_poses import RealPoses

log = logging.getLogger(__name__)

_DATA = "mocap.cs.cmu.edu (funded by NSF EIA-0196217) and generated motion through virtual cameras"
# Steps between two measurements, each with a checkpoint; AdamW's rate over Muon's.
CHECK_EVERY = 500
ADAMW_SHARE = 2 / 3
NETWORKS: dict[str, Any] = {"temporal": TemporalNet, **BASELINES}


@dataclass(frozen=True)
class Config:
    """One training run.

    Attributes:
        steps: Optimiser steps. The rate rises over the first 2 %, stays, and falls to nothing over the last `decay`.
        batch: Windows a step.
        frames: Frames a window, at 30 Hz.
        random: Windows of motion generated angle by angle, made at the start.
        actions: Eight-second clips of generated actions, made at the start.
        network: A key of `NETWORKS`.
        channels: Width of the network; None: its own, or that of the lifter it starts from.
        hidden: Hidden units a layer of the temporal network; None likewise.
        learning_rate: Of matrices, by Muon; everything else has AdamW's, which is two thirds of it.
        decay: Share of the steps over which the rate falls.
        own_3d: Whether the network is told a detector's own 3D of rendered clips, in most of their windows.
        real_windows: Windows of real 2D poses a step, where a file of them is given.
        seed: Seeds numpy and torch.
        threads: Torch threads.
    """

    steps: int = 20000
    batch: int = 48
    frames: int = 64
    random: int = 8000
    actions: int = 2500
    network: str = "temporal"
    channels: int | None = None
    hidden: int | None = None
    learning_rate: float = 3e-3
    decay: float = 0.4
    own_3d: bool = False
    real_windows: int = 12
    seed: int = 0
    threads: int = 1

    def rate(self, step: int) -> float:
        """The learning rate at a step, as a share of its peak."""
        left = (self.steps - step) / max(self.steps * self.decay, 1)
        return float(min((step + 1) / min(200, max(self.steps / 50, 1)), 1.0, left))


def held_out(clip: Clip) -> bool:
    """Whether a clip is kept for validation: about one in eight, by its name."""
    return zlib.crc32(clip.name.encode()) % 8 == 0


def read_clips(data: list[Path]) -> list[Clip]:
    """Clips of every npz in the files and folders given. Raises `InputError`."""
    files = [f for d in data for f in (sorted(d.glob("*.npz")) if d.is_dir() else [d])]
    if not files:
        raise InputError(f"no mocap .npz in: {', '.join(map(str, data))}")
    return [c for f in files for c in read_mocap(f)]


def _loss(said: Prediction, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Position, pose and velocity errors (m), sigma's likelihood, gravity, contact, and the root's distance."""
    positions, log_sigma, gravity, contact, distance = (o.float() for o in said)
    true = batch["positions"]
    known = torch.isfinite(true).all(-1)
    difference = positions - torch.where(known[..., None], true, 0)
    error = difference.square().sum(-1).add(1e-8).sqrt()
    position = (error * known).sum() / known.sum()
    step = (difference[:, 1:] - difference[:, :-1]).square().sum(-1).add(1e-8).sqrt()
    velocity = (step * known[:, 1:]).sum() / known[:, 1:].sum()
    nll = 3 * log_sigma + error.detach().square() / 2 * torch.exp(-2 * log_sigma)
    down = (1 - (gravity * batch["gravity"]).sum(-1)).mean()
    labelled = torch.isfinite(batch["contact"])
    label = torch.where(labelled, batch["contact"], 0)
    touch = torch.nn.functional.binary_cross_entropy_with_logits(contact, label, labelled.float(), reduction="sum")
    touch = touch / labelled.sum().clamp(min=1)
    far = (distance / batch["distance"]).log().abs().mean()
    counted = known * batch["fresh"][:, None, None]
    sigma = (nll * counted).sum() / counted.sum().clamp(min=1)
    pose = _pose_error(
        positions[:, :, _LIMBS], torch.where(known[..., None], true, 0)[:, :, _LIMBS], known[:, :, _LIMBS]
    )
    return position + 1.5 * pose + 0.5 * velocity + 0.02 * sigma + 0.2 * down + 0.15 * touch + 0.1 * far


_LIMBS = list(BODY26.indices(*metrics.LIMBS))


def _pose_error(positions: torch.Tensor, true: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Mean error (m) after a similarity fit of each frame (Umeyama 1991) that the gradient takes as given.

    At the best fit the error does not change with the fit, to first order; what is left is the gradient of the pose.
    """
    weight = known[..., None].float()
    count = weight.sum(-2, keepdim=True).clamp(min=1)
    a = positions - (positions * weight).sum(-2, keepdim=True) / count
    b = true - (true * weight).sum(-2, keepdim=True) / count
    with torch.no_grad():
        u, d, vt = torch.linalg.svd((b * weight).mT @ a)
        sign = torch.ones_like(d)
        sign[..., 2] = torch.linalg.det(u @ vt).sign()
        turn = (u * sign[..., None, :]) @ vt
        scale = (d * sign).sum(-1) / (a.square() * weight).sum((-1, -2)).clamp(min=1e-6)
    error = (scale[..., None, None] * a @ turn.mT - b).square().sum(-1).add(1e-8).sqrt()
    return (error * known).sum() / known.sum()


def validation_batches(
    clips: list[Clip], detected: Detected | None = None, seed: int = 1234, n: int = 192, frames: int = 64
) -> dict[str, Batch]:
    """Fixed windows of held-out mocap and of made motion, seen by random cameras with detector-like errors."""
    rng = np.random.default_rng(seed)
    real, contact = windows(rng, clips, n, frames)
    made = generate(rng, n, frames).astype(np.float64)
    acted, touch = generate_actions(rng, n, frames)
    sets = {
        "mocap": observe(rng, add_extremities(rng, real.astype(np.float64)), contact),
        "random": observe(rng, made, contact_labels(made, 30.0)),
        "actions": observe(rng, acted.astype(np.float64), touch),
    }
    if detected is not None:
        sets["rendered"] = detected.windows(rng, n)
    return sets


@torch.no_grad()
def validate(net: torch.nn.Module, batches: dict[str, Batch]) -> dict[str, float]:
    """MPJPE and PA-MPJPE of the 12 limb joints (mm), median gravity error (degrees), contact F1, per set."""
    limbs = BODY26.indices(*metrics.LIMBS)
    out = {}
    net.eval()
    for name, b in batches.items():
        said = net(torch.from_numpy(b.features), torch.from_numpy(b.opinion))
        p, _, g, c, d = (o.float().numpy() for o in said)
        p, t = p[:, :, limbs].astype(float), b.positions[:, :, limbs].astype(float)
        out[f"{name}_mpjpe"] = float(np.linalg.norm(p - t, axis=-1).mean() * 1000)
        out[f"{name}_pa"] = metrics.pa_mpjpe(p, t)
        out[f"{name}_gravity"] = float(np.degrees(np.median(np.arccos(np.clip((g * b.gravity).sum(-1), -1, 1)))))
        labelled = np.isfinite(b.contact)
        out[f"{name}_contact_f1"] = metrics.f1(c[labelled] > 0, b.contact[labelled] > 0.5)
        out[f"{name}_distance"] = float(100 * np.median(np.abs(d / b.distance - 1)))
    net.train()
    return out


class Steps(torch.utils.data.IterableDataset):
    """The batches of steps first..last, each drawn from its own seed: made ahead by a worker, the same every time."""

    def __init__(self, sources: Sources, config: Config, first: int, rank: int = 0):
        self.sources, self.config, self.first, self.rank = sources, config, first, rank

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        """Dicts of `Batch`'s fields as tensors."""
        c = self.config
        for step in range(self.first, c.steps):
            batch = make_batch(np.random.default_rng((c.seed, step, self.rank)), self.sources, c.batch, c.frames)
            yield {k: torch.from_numpy(v) for k, v in vars(batch).items()}


def read_sources(config: Config, clips: list[Clip], detected: Detected | None) -> Sources:
    """Mocap and rendered clips, and made motion drawn from the run's seed."""
    rng = np.random.default_rng(config.seed)
    parts = [min(500, config.random - i) for i in range(0, config.random, 500)]
    random = np.concatenate([generate(rng, n, config.frames) for n in parts]) if parts else None
    return Sources(clips, random, generate_actions(rng, config.actions, 240) if config.actions else None, detected)


def _optimisers(net: torch.nn.Module, config: Config) -> list[torch.optim.Optimizer]:
    """Muon for the blocks' matrices, AdamW for the rest."""
    matrices = {n: p for n, p in net.named_parameters() if p.ndim == 2 and n.startswith("blocks")}
    rest = [p for n, p in net.named_parameters() if n not in matrices]
    rate = config.learning_rate
    taps = {p: 3 for n, p in matrices.items() if n.endswith("gather.weight")}
    return [
        Muon(list(matrices.values()), rate, taps),
        torch.optim.AdamW(rest, rate * ADAMW_SHARE, weight_decay=0.01),
    ]


def train(
    config: Config,
    data: list[Path],
    out: Path,
    resume: bool = False,
    progress: Callable[[int, int], None] | None = None,
    detector_data: list[Path] | None = None,
    accelerator: str = "auto",
    devices: int | str = 1,
    real_poses: Path | None = None,
    clips: Sequence[Clip] = (),
    start: str | None = None,
) -> Path:
    """Train and export; returns the path of `lifter.onnx`. Metrics go to `metrics.csv` and, if installed, TensorBoard.

    `clips` join those of `data`, which may then be empty: `datasets.as_clips` makes them of Human3.6M's or
    MPI-INF-3DHP's poses. `real_poses` is an .npy file of MPII poses, which join without their 3D
    (`training.real_poses`). `start` names a lifter, or is one's file: the run goes on from those weights, with more
    hidden units if `config` says so. A checkpoint that is resumed goes before it.

    Raises `InputError` for data that cannot be read, and for a start that is no such lifter or of another width.
    """
    torch.set_num_threads(config.threads)
    source = _source(config, start) if start else None
    real = RealPoses(real_poses, config.real_windows, config.seed) if real_poses else None
    sources, checks = _data(config, data, detector_data or [], clips)
    fabric = Fabric(accelerator=accelerator, devices=devices, precision=mixed(accelerator), loggers=_loggers(out))
    fabric.launch()
    out.mkdir(parents=True, exist_ok=True)
    net, optimisers, first = _begin(config, source, out / "checkpoint.pt" if resume else None)
    model, *running = fabric.setup(net, *optimisers)
    dataset = Steps(sources, config, first, fabric.global_rank)
    batches = torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=1, prefetch_factor=4)
    began = time.monotonic()
    row = {"step": float(first), **validate(net, checks)} if first >= config.steps else {}
    for step, batch in enumerate(batches, first):
        loss = _step(fabric, model, running, fabric.to_device(batch), config, step, real)
        if progress:
            progress(step + 1, config.steps)
        if ((step + 1) % CHECK_EVERY == 0 or step + 1 == config.steps) and fabric.is_global_zero:
            row = {"step": step + 1, "loss": loss.item(), "minutes": (time.monotonic() - began) / 60}
            row |= validate(net, checks)
            _record(fabric, out / "metrics.csv", row, new=step < CHECK_EVERY)
            _save(out / "checkpoint.pt", net, optimisers, step + 1, config)
    said = _DATA if sources.detected is None else f"{_DATA}; rendered clips seen by a detector"
    said = said if real is None else f"{said}; MPII 2D poses"
    said = "; ".join([said, *sorted({c.name.partition("/")[0] for c in clips})])
    said = said if source is None else f"{said}; begun from weights of: {source.about.get('training_data', 'unknown')}"
    return export(calibrated(net, checks), out / "lifter.onnx", asdict(config), row, config.own_3d, said)


def held_out_batches(clips: Sequence[Clip], rendered: Sequence[DetectorClip], own_3d: bool = False) -> dict[str, Batch]:
    """Fixed windows of what training holds out: an eighth of the mocap, a sixteenth of the rendered clips."""
    watched = Detected(list(rendered[::16]), own_3d=own_3d) if rendered else None
    return validation_batches([c for c in clips if held_out(c)] or list(clips), watched)


def _data(
    config: Config, data: list[Path], detector_data: list[Path], more: Sequence[Clip]
) -> tuple[Sources, dict[str, Batch]]:
    """What to train on, and fixed windows of what is held out."""
    clips = [*(read_clips(data) if data or not more else []), *more]
    train_clips = [c for c in clips if not held_out(c)]
    rendered = [c for d in detector_data for c in read_detector_data(d)]
    kept = [c for i, c in enumerate(rendered) if i % 16]
    checks = held_out_batches(clips, rendered, config.own_3d)
    log.info("%d clips, %d held out, %d rendered", len(train_clips), len(clips) - len(train_clips), len(rendered))
    return read_sources(config, train_clips, Detected(kept, config.frames, config.own_3d) if kept else None), checks


def _source(config: Config, start: str) -> Source:
    """The lifter that a run goes on from, which must be of the network that `config` describes."""
    source = named_network(start, "trained on")[1]
    channels, hidden = source.net.channels, source.net.hidden
    if config.network != "temporal" or config.own_3d != source.reads_own_3d:
        own = "with" if source.reads_own_3d else "without"
        raise InputError(f"{start}: a temporal lifter {own} a detector's own 3D; a run from it must be of that kind")
    if config.channels not in (None, channels) or (config.hidden or hidden) < hidden:
        raise InputError(f"{start}: has {channels} channels, which stay, and {hidden} hidden units, which only grow")
    return source


def _begin(
    config: Config, source: Source | None, checkpoint: Path | None
) -> tuple[torch.nn.Module, list[torch.optim.Optimizer], int]:
    """A network, its optimisers and the steps done: fresh, from another lifter, or from a checkpoint there is."""
    torch.manual_seed(config.seed)
    size = {k: v for k in ("channels", "hidden") if (v := getattr(config, k)) is not None}
    net = NETWORKS[config.network](**size) if source is None else source.net.train()
    if source is not None and config.hidden:
        net = widened(source.net, config.hidden).train()
    optimisers = _optimisers(net, config)
    if checkpoint is None or not checkpoint.exists():
        return net, optimisers, 0
    try:
        state = torch.load(checkpoint, weights_only=True)
        net.load_state_dict(state["net"])
        for optimiser, saved in zip(optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        return net, optimisers, int(state["step"])
    except Exception as e:  # torch's and its unpickler's own types
        reason = (str(e).splitlines() or [type(e).__name__])[0][:120]
        raise InputError(f"{checkpoint}: cannot be resumed ({reason})") from None


def _step(
    fabric: Any,
    model: Any,
    optimisers: list[Any],
    batch: dict[str, torch.Tensor],
    config: Config,
    step: int,
    real: RealPoses | None,
) -> torch.Tensor:
    """One step of both optimisers; the loss."""
    for optimiser, share in zip(optimisers, (1.0, ADAMW_SHARE), strict=True):
        optimiser.zero_grad()
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * share * config.rate(step)
    loss = _loss(model(batch["features"], batch["opinion"]), batch)
    if real is not None:
        loss = loss + real.loss(model, np.random.default_rng((config.seed, step, fabric.global_rank, 1)))
    fabric.backward(loss)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimiser in optimisers:
        optimiser.step()
    return loss


def _save(path: Path, net: torch.nn.Module, optimisers: list[torch.optim.Optimizer], step: int, c: Config) -> None:
    state = {"config": asdict(c), "step": step, "net": net.state_dict()}
    state["optimisers"] = [o.state_dict() for o in optimisers]
    torch.save(state, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def _loggers(out: Path) -> list[Any]:
    try:
        from lightning_fabric.loggers import TensorBoardLogger

        return [TensorBoardLogger(out, name="tensorboard")]
    except ModuleNotFoundError:
        return []


def _record(fabric: Any, path: Path, row: dict[str, float], new: bool) -> None:
    with path.open("w" if new else "a") as f:
        if new:
            f.write(",".join(row) + "\n")
        f.write(",".join(f"{v:.5g}" for v in row.values()) + "\n")
    fabric.log_dict({k: v for k, v in row.items() if k != "step"}, step=int(row["step"]))
    log.info(" ".join(f"{k}={v:.4g}" for k, v in row.items()))
