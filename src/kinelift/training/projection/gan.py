"""`kinelift train projection-gan`: Kudo et al. 2018 (arXiv 1803.08244) as its authors trained it, on PyTorch.

Unsupervised: a lifted pose is turned by a random angle about the vertical and projected; a discriminator tells such
projections from real 2D poses, the generator learns to deceive it. Supervised: squared error of the depths.
A stopped run goes on from `checkpoint.pt` at the last epoch's end, bit for bit on one CPU thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kinelift.datasets.base import PoseSet
from kinelift.errors import InputError, MissingExtraError, UnknownNameError

try:
    import torch
    from lightning_fabric import Fabric
except ImportError:  # pragma: no cover - depends on the installation
    raise MissingExtraError("training", "pip install 'kinelift[train]'") from None
from torch import Tensor

from kinelift.training.projection.export import export, save_weights
from kinelift.training.projection.losses import Verdict, heuristic_loss, turned
from kinelift.training.projection.networks import JOINTS, PoseMLP
from kinelift.training.projection.runs import (
    Journal,
    Poses,
    load_checkpoint,
    loggers,
    of_action,
    quick_cpu,
    save_checkpoint,
    validated,
)

MODES = ("unsupervised", "supervised")
# Options that a resumed run may change.
_FREE = ("epochs", "threads", "device", "snapshots")
_METRICS = ("z_mse", "loss_gen", "loss_heuristic", "loss_dis", "acc", "acc_real", "acc_fake", "updates_gen",
            "updates_dis")  # fmt: skip


@dataclass(frozen=True)
class Config:
    """One training run; the defaults are the authors'.

    Attributes:
        mode: "unsupervised" or "supervised".
        heuristic_loss: Weight of the loss on people whose nose points out of their back; 0: without. Unsupervised.
        batch_norm: Whether generator and discriminator have batch norm.
        activation: "leaky_relu" or "relu".
        gan_accuracy_cap: The discriminator learns only while its accuracy is at most this, the generator only while
            it is at least 1 minus this.
        action: Train on the poses of this action only; "all".
        epochs: Passes over the data.
        batch: Poses a step.
        learning_rate: Adam's.
        beta1: Adam's.
        weight_decay: Added to the gradient, as Chainer's hook does.
        width: Of the hidden layers.
        snapshots: Epochs between lifters that are kept as `epoch_N.onnx`; 0: only the last, as `lifter.onnx`.
        seed: Seeds weights, order and angles.
        threads: Torch threads. More than one may change the last bits.
        device: "cpu", "cuda" or what else Lightning Fabric calls an accelerator.
    """

    mode: str = "unsupervised"
    heuristic_loss: float = 0.0
    batch_norm: bool = False
    activation: str = "leaky_relu"
    gan_accuracy_cap: float = 0.9
    action: str = "all"
    epochs: int = 20
    batch: int = 16
    learning_rate: float = 2e-4
    beta1: float = 0.5
    weight_decay: float = 1e-5
    width: int = 1024
    snapshots: int = 0
    seed: int = 0
    threads: int = 1
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UnknownNameError("mode", self.mode, MODES)
        if not 0.5 <= self.gan_accuracy_cap <= 1:
            raise InputError(f"gan_accuracy_cap: expected 0.5 to 1, got {self.gan_accuracy_cap}")
        if not 0 <= self.heuristic_loss < float("inf"):
            raise InputError(f"heuristic_loss: expected a weight of 0 or more, got {self.heuristic_loss}")
        if self.batch < 2 or min(self.epochs, self.width, self.threads) < 1:
            raise InputError("batch must be 2 or more; epochs, width and threads 1 or more")


class _Players:
    """The networks and their optimisers. Supervised training has no discriminator."""

    def __init__(self, config: Config, fabric: Any):
        torch.manual_seed(config.seed)
        self.config, self.fabric = config, fabric
        outputs = {"gen": JOINTS} | ({"dis": 1} if config.mode == "unsupervised" else {})
        self.nets: dict[str, Any] = {}
        self.optimisers: dict[str, Any] = {}
        for name, n in outputs.items():
            net = PoseMLP(n, config.width, config.batch_norm, config.activation)
            adam = torch.optim.Adam(
                net.parameters(), config.learning_rate, (config.beta1, 0.999), weight_decay=config.weight_decay,
                fused=True,
            )  # fmt: skip
            self.nets[name], self.optimisers[name] = fabric.setup(net, adam)
        self.weights = {k: list(v.parameters()) for k, v in self.nets.items()}

    def step(self, flat: Tensor, angles: Tensor, z_true: Tensor | None) -> Tensor:
        """One step on poses (B, 34), angles (B,) and true depths (B, 17) where there are any; `_METRICS`."""
        nan = flat.new_full((), float("nan"))
        z = self.nets["gen"](flat)
        z_mse = nan if z_true is None else (z - z_true).square().mean()
        if self.config.mode == "supervised":
            self._update("gen", z_mse)
            return torch.stack([z_mse.detach(), *[nan] * 6, nan + 1, nan])
        verdict = self._judge(flat, turned(flat, z, angles))
        correct = verdict.accuracies()
        accuracy, cap = correct.mean(), self.config.gan_accuracy_cap
        learns_gen, learns_dis = accuracy.item() >= 1 - cap, accuracy.item() <= cap
        loss_gen, loss_heuristic = verdict.generator_loss(), nan
        if self.config.heuristic_loss:
            loss_heuristic = heuristic_loss(flat, z)
            loss_gen = loss_gen + self.config.heuristic_loss * loss_heuristic
        loss_dis = verdict.discriminator_loss()
        if learns_gen:
            self._update("gen", loss_gen, retain_graph=learns_dis)
        if learns_dis:
            self._update("dis", loss_dis)
        counts = flat.new_tensor([learns_gen, learns_dis])
        losses = torch.stack([z_mse, loss_gen, loss_heuristic, loss_dis, accuracy]).detach()
        return torch.cat([losses, correct, counts])

    def _judge(self, real: Tensor, fake: Tensor) -> Verdict:
        dis = self.nets["dis"]
        if self.config.batch_norm:  # real and made poses have statistics of their own
            return Verdict(dis(real), dis(fake))
        return Verdict(*dis(torch.cat([real, fake])).chunk(2))

    def _update(self, name: str, loss: Tensor, retain_graph: bool = False) -> None:
        """A step of one player; the other's weights get no gradient."""
        self.fabric.backward(loss, inputs=self.weights[name], retain_graph=retain_graph)
        self.optimisers[name].step()
        self.optimisers[name].zero_grad()

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs."""
        both = {f"net_{k}": v.state_dict() for k, v in self.nets.items()}
        return both | {f"optimiser_{k}": v.state_dict() for k, v in self.optimisers.items()}

    def load(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave."""
        for name in self.nets:
            self.nets[name].load_state_dict(state[f"net_{name}"])
            self.optimisers[name].load_state_dict(state[f"optimiser_{name}"])


def train(
    config: Config,
    data: PoseSet,
    held_out: PoseSet,
    out: Path,
    resume: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Train and export; returns the path of `lifter.onnx`, beside it `lifter.safetensors` and `metrics.csv`.

    3D of `data` is used in supervised mode only, and reported in the other; `progress` gets steps done and in all.
    Raises `InputError` for data or a checkpoint that does not fit.
    """
    data, held_out = of_action(data, config.action), of_action(held_out, config.action)
    if config.mode == "supervised" and data.positions is None:
        raise InputError(f"{data.name}: supervised training needs 3D, and this data is 2D only")
    out.mkdir(parents=True, exist_ok=True)
    fabric = _fabric(config.device, out)
    with quick_cpu(config.threads):
        players, done = _Players(config, fabric), 0
        poses, checks = Poses.of(data, fabric.device), Poses.of(held_out, fabric.device)
        if len(poses) < 2:
            raise InputError(f"{data.name}: one pose is too few to train on")
        state = load_checkpoint(out / "checkpoint.pt", asdict(config), data, _FREE) if resume else None
        if state is not None:
            players.load(state)
            done = int(state["epoch"])
        journal = Journal(fabric, out / "metrics.csv", done)
        for epoch in range(done + 1, config.epochs + 1):
            row = _epoch(players, poses, epoch, progress) | validated(players.nets["gen"], checks)
            journal.write(row)
            save_checkpoint(out / "checkpoint.pt", players.state(), asdict(config), data, epoch)
            if config.snapshots and epoch % config.snapshots == 0:
                _export(players, config, row, data.name, out / f"epoch_{epoch}.onnx")
        return _export(players, config, validated(players.nets["gen"], checks), data.name, out / "lifter.onnx")


def _fabric(device: str, out: Path) -> Any:
    """Lightning's hold on a device. Raises `InputError` for one that is not there."""
    try:
        return Fabric(accelerator=device, devices=1, loggers=loggers(out))
    except (ValueError, RuntimeError) as e:
        reason = (str(e).splitlines() or [type(e).__name__])[0][:200]
        raise InputError(f"device '{device}' cannot be used ({reason}); cpu always can") from None


def _epoch(
    players: _Players, poses: Poses, epoch: int, progress: Callable[[int, int], None] | None
) -> dict[str, float]:
    """One pass over the poses, in an order and with angles of its own; the means of its metrics.

    A last batch that is not full is left out, unless it is the only one.
    """
    config, device = players.config, poses.flat.device
    rng = np.random.default_rng((config.seed, epoch))
    order = torch.from_numpy(rng.permutation(len(poses))).to(device)
    angles = torch.from_numpy(rng.uniform(0, 2 * np.pi, len(poses)).astype(np.float32)).to(device)
    steps = max(len(poses) // config.batch, 1)
    flat = poses.flat[order].split(config.batch)
    depths = None if poses.truth is None else poses.truth[order, :, 2].split(config.batch)
    turns = angles.split(config.batch)
    began, total = time.perf_counter(), torch.zeros(len(_METRICS), device=device)
    for i in range(steps):
        total += players.step(flat[i], turns[i], None if depths is None else depths[i])
        if progress:
            progress((epoch - 1) * steps + i + 1, config.epochs * steps)
    means = dict(zip(_METRICS, (total / steps).tolist(), strict=True))
    seconds = time.perf_counter() - began
    return {"epoch": epoch, "iteration": epoch * steps, **means, "iterations_per_s": steps / seconds}


def _export(players: _Players, config: Config, measured: dict[str, float], data: str, path: Path) -> Path:
    net = players.nets["gen"].module
    told = {k: v for k, v in measured.items() if k.startswith("val") and v == v}
    save_weights(net, path.with_suffix(".safetensors"), asdict(config))
    return export(net, path, asdict(config), told, data)
