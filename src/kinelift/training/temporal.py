"""`kinelift train temporal`: one readable loop from mocap and generated motion to an ONNX lifter.

A run is one `Config`, saved inside its checkpoint. `checkpoint.pt` is written now and then and `--resume` goes on
from it; `lifter.onnx` is the product.
"""

from __future__ import annotations

import json
import logging
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kinelift import metrics
from kinelift.datasets.mocap import Clip, contact_labels, read_mocap
from kinelift.errors import InputError, MissingExtraError
from kinelift.skeleton import BODY26
from kinelift.training.generate import generate
from kinelift.training.views import Batch, add_extremities, make_batch, observe, windows

try:
    import torch
except ImportError:  # pragma: no cover - depends on the installation
    raise MissingExtraError("training", "pip install 'kinelift[train]'") from None

from kinelift.training.network import TemporalNet

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Config:
    """One training run.

    Attributes:
        steps: Optimiser steps.
        batch: Windows a step.
        frames: Frames a window, at 30 Hz.
        generated: Windows of generated motion made at the start.
        channels: Width of the network.
        learning_rate: Peak of the one-cycle schedule.
        seed: Seeds numpy and torch.
        threads: Torch threads.
    """

    steps: int = 8000
    batch: int = 48
    frames: int = 64
    generated: int = 24000
    channels: int = 256
    learning_rate: float = 2e-3
    seed: int = 0
    threads: int = 1


def held_out(clip: Clip) -> bool:
    """Whether a clip is kept for validation: about one in eight, by its name."""
    return zlib.crc32(clip.name.encode()) % 8 == 0


def read_clips(data: list[Path]) -> list[Clip]:
    """Clips of every npz in the files and folders given. Raises `InputError`."""
    files = [f for d in data for f in (sorted(d.glob("*.npz")) if d.is_dir() else [d])]
    if not files:
        raise InputError(f"no mocap .npz in: {', '.join(map(str, data))}")
    return [c for f in files for c in read_mocap(f)]


def _loss(net_out: tuple, batch: Batch) -> torch.Tensor:
    positions, log_sigma, gravity, contact = (o.float() for o in net_out)
    true = torch.from_numpy(batch.positions)
    known = torch.isfinite(true).all(-1)
    true = torch.where(known[..., None], true, 0)
    error = (positions - true).square().sum(-1).add(1e-8).sqrt()
    position = (error * known).sum() / known.sum()
    step = ((positions - true)[:, 1:] - (positions - true)[:, :-1]).square().sum(-1).add(1e-8).sqrt()
    velocity = (step * known[:, 1:]).sum() / known[:, 1:].sum()
    frozen = error.detach()
    nll = 3 * log_sigma + frozen.square() / 2 * torch.exp(-2 * log_sigma)
    down = (1 - (gravity * torch.from_numpy(batch.gravity)).sum(-1)).mean()
    touch = torch.nn.functional.binary_cross_entropy_with_logits(contact, torch.from_numpy(batch.contact))
    return position + 0.5 * velocity + 0.02 * (nll * known).sum() / known.sum() + 0.2 * down + 0.15 * touch


def validation_batches(clips: list[Clip], seed: int = 1234, n: int = 256, frames: int = 64) -> dict[str, Batch]:
    """Fixed windows of held-out mocap and of generated motion, seen by random cameras with detector-like errors."""
    rng = np.random.default_rng(seed)
    real, contact = windows(rng, clips, n, frames)
    made = generate(rng, n, frames).astype(np.float64)
    return {
        "mocap": observe(rng, add_extremities(rng, real.astype(np.float64)), contact),
        "generated": observe(rng, made, contact_labels(made, 30.0)),
    }


@torch.no_grad()
def validate(net: TemporalNet, batches: dict[str, Batch]) -> dict[str, float]:
    """MPJPE and PA-MPJPE of the 12 limb joints (mm), median gravity error (degrees), contact F1, per set."""
    limbs = BODY26.indices(*metrics.LIMBS)
    out = {}
    for name, b in batches.items():
        p, _, g, c = (o.float().numpy() for o in net(torch.from_numpy(b.features)))
        p, t = p[:, :, limbs].astype(float), b.positions[:, :, limbs].astype(float)
        out[f"{name}_mpjpe"] = float(np.linalg.norm(p - t, axis=-1).mean() * 1000)
        out[f"{name}_pa"] = metrics.pa_mpjpe(p, t)
        out[f"{name}_gravity"] = float(np.degrees(np.median(np.arccos(np.clip((g * b.gravity).sum(-1), -1, 1)))))
        out[f"{name}_contact_f1"] = metrics.f1(c > 0, b.contact > 0.5)
    return out


def train(
    config: Config,
    data: list[Path],
    out: Path,
    resume: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Train and export; returns the path of `lifter.onnx`. Metrics go to `metrics.csv` beside it."""
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    clips = read_clips(data)
    train_clips = [c for c in clips if not held_out(c)]
    checks = validation_batches([c for c in clips if held_out(c)] or clips)
    log.info("%d clips to train on, %d held out", len(train_clips), len(clips) - len(train_clips))
    generated = np.concatenate([generate(rng, 1000, config.frames) for _ in range(max(config.generated // 1000, 1))])
    net = TemporalNet(config.channels)
    optimiser: torch.optim.Optimizer = torch.optim.AdamW(net.parameters(), config.learning_rate, weight_decay=0.01)
    schedule: Any = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.learning_rate, total_steps=config.steps + 1, pct_start=0.15
    )
    out.mkdir(parents=True, exist_ok=True)
    first, checkpoint = 0, out / "checkpoint.pt"
    if resume and checkpoint.exists():
        first, planned = _restore(checkpoint, net, optimiser, schedule, rng)
        if planned.steps != config.steps:
            rate = None if planned.learning_rate == config.learning_rate else config.learning_rate
            schedule = _replanned(optimiser, config.steps - first, rate)
    began = time.monotonic()
    row = {"step": float(first), **validate(net, checks)} if first >= config.steps else {}
    for step in range(first, config.steps):
        batch = make_batch(rng, train_clips, generated, config.batch, config.frames)
        with torch.autocast("cpu", torch.bfloat16):
            prediction = net(torch.from_numpy(batch.features))
        loss = _loss(prediction, batch)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if progress:
            progress(step + 1, config.steps)
        if (step + 1) % 250 == 0 or step + 1 == config.steps:
            row = {"step": step + 1, "loss": loss.item(), "minutes": (time.monotonic() - began) / 60}
            row |= validate(net, checks)
            _write_row(out / "metrics.csv", row, new=step < 250)
            log.info(" ".join(f"{k}={v:.4g}" for k, v in row.items()))
            _save(checkpoint, net, optimiser, schedule, rng, step + 1, config)
    return export(net, out / "lifter.onnx", config, row)


def _write_row(path: Path, row: dict[str, float], new: bool) -> None:
    with path.open("w" if new else "a") as f:
        if new:
            f.write(",".join(row) + "\n")
        f.write(",".join(f"{v:.5g}" for v in row.values()) + "\n")


def _save(path: Path, net: Any, optimiser: Any, schedule: Any, rng: np.random.Generator, step: int, c: Config) -> None:
    state = {
        "config": asdict(c),
        "net": net.state_dict(),
        "optimiser": optimiser.state_dict(),
        "schedule": schedule.state_dict(),
        "torch": torch.get_rng_state(),
        "numpy": json.dumps(rng.bit_generator.state),
        "step": step,
    }
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)


def _replanned(optimiser: torch.optim.Optimizer, steps: int, rate: float | None) -> Any:
    """A schedule from `rate` (None: the present one) down to nothing: a run resumed with another number of steps."""
    for group in optimiser.param_groups:
        group["initial_lr"] = group["lr"] = group["lr"] if rate is None else rate
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(steps, 1))


def _restore(path: Path, net: Any, optimiser: Any, schedule: Any, rng: np.random.Generator) -> tuple[int, Config]:
    """Load a checkpoint in place; the step it was written at, and its run's configuration."""
    state = torch.load(path, weights_only=True)
    net.load_state_dict(state["net"])
    optimiser.load_state_dict(state["optimiser"])
    schedule.load_state_dict(state["schedule"])
    torch.set_rng_state(state["torch"])
    rng.bit_generator.state = json.loads(state["numpy"])
    return int(state["step"]), Config(**state["config"])


class _Exported(torch.nn.Module):
    def __init__(self, net: TemporalNet):
        super().__init__()
        self.net = net

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, ...]:
        positions, log_sigma, gravity, contact = self.net(features)
        return positions, torch.exp(log_sigma), gravity, torch.sigmoid(contact)


def export(net: TemporalNet, path: Path, config: Config, measured: dict[str, float]) -> Path:
    """Write the network as ONNX with the metadata of `kinelift-lifter/1`."""
    import onnx

    from kinelift.lift.rays import INPUT_JOINTS

    axes = {0: "batch", 1: "frames"}
    outputs = ["positions", "sigma", "gravity", "contact"]
    example = torch.zeros(1, config.frames, net.stem.in_channels)
    torch.onnx.export(
        _Exported(net).eval(), (example,), str(path), input_names=["features"], output_names=outputs,
        dynamic_axes=dict.fromkeys(["features", *outputs], axes), opset_version=17, dynamo=False,
    )  # fmt: skip
    model = onnx.load(path)
    about = {
        "format": "kinelift-lifter/1",
        "layout": "rays",
        "input_joints": list(INPUT_JOINTS),
        "output_skeleton": "body26",
        "scale": "metric",
        "rate_hz": 30,
        "training_data": "mocap.cs.cmu.edu (funded by NSF EIA-0196217) and generated motion, virtual cameras",
        "licence": "Apache-2.0",
        "config": asdict(config),
        "held_out": {k: round(v, 4) for k, v in measured.items()},
    }
    for key, value in about.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value if isinstance(value, str) else json.dumps(value)
    onnx.save(model, path)
    return path
