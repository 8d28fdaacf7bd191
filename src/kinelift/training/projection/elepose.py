"""`kinelift train projection --method elepose`: a single-frame lifter from 2D alone, by likelihood of turned views.

ElePose (Wandt et al. 2022): a lifted pose, levelled by a predicted camera elevation, turned at random and projected
must be likely under a flow fitted to the 2D poses, and must lift to itself again. Beyond it, also without any 3D: what
never varies in 2D may not vary in turned views, ranges of motion, and bones that stay the same over a clip and from
left to right. `Config.published()` is ElePose without these.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kinelift import metrics
from kinelift.datasets.base import PoseSet
from kinelift.errors import InputError, MissingExtraError

try:
    import torch
    from lightning_fabric import Fabric
except ImportError:  # pragma: no cover - depends on the installation
    raise MissingExtraError("training", "pip install 'kinelift[train]'") from None
from torch import Tensor, nn

from kinelift.training.precision import mixed
from kinelift.training.projection.body import (
    BONE_MIRROR,
    ENDS,
    NOSE_AHEAD,
    bone_lengths,
    limb_strain,
    mirrored,
    rest_bones,
    seen_bones,
    trunk_strain,
)
from kinelift.training.projection.export import export
from kinelift.training.projection.flow import PoseFlow, fit_flow
from kinelift.training.projection.networks import BothSides, EleposeNet
from kinelift.training.projection.runs import Journal, load_checkpoint, loggers, quick_cpu, save_checkpoint
from kinelift.training.projection.seen import Seen, lifted, moved, orbiting, projected, shaped

FORMAT = "kinelift-elepose/1"
_FREE = ("threads", "device")
# Steps between two checkpoints, each with a row of metrics.
ROUND = 250
_KNOWN = 0.3  # weight of everyone's bones being the reference body's
_LEVEL = 0.2  # radians
_CHECKED = 4000  # held-out poses that a row of metrics looks at, evenly spaced


@dataclass(frozen=True)
class Config:
    """One training run; weights multiply means over the batch.

    Attributes:
        steps: Optimiser steps.
        batch: Poses a step.
        width: Of the lifter's hidden layers.
        learning_rate: Peak of AdamW's, reached after 5 % and then falling to nothing along a cosine.
        flow_steps: Steps of fitting the flow, 512 poses each.
        blur: Of the poses that the flow is fitted to, in spreads.
        dimensions: Principal components that the flow sees, the others left out; None: all that vary, the others
            Gaussian.
        cycle_3d: Weight of the distance between the turned body and what is lifted from its picture.
        cycle_2d: Of the difference between the pose and that body's picture, turned back.
        deformation: Of the change, by the cycle, of differences between bodies.
        proportions: Of squared deviations from the reference body's bone lengths over their mean.
        clip_bones: The same from the clip's own bone lengths, which are learned.
        symmetry: The same between left and right.
        trunk: Of `trunk_strain`.
        limbs: Of `limb_strain`.
        level: Of squared elevations over 0.2 radians: cameras are about level.
        as_seen: Whether the reference body is, in place of kinelift's, one with the bones that upright poses of the
            set show (`seen_bones`): annotators have their own idea of where hips are.
        nose_ahead: What `trunk_strain` asks of the nose; 0 for sets whose nose is the head's middle (MPII).
        seed: Seeds weights, batches and views.
        threads: Torch threads.
        device: "cpu", "cuda" or what else Lightning Fabric calls an accelerator.
    """

    steps: int = 3000
    batch: int = 256
    width: int = 512
    learning_rate: float = 1e-3
    flow_steps: int = 1200
    blur: float = 0.03
    dimensions: int | None = None
    cycle_3d: float = 1.0
    cycle_2d: float = 0.1
    deformation: float = 1.0
    proportions: float = 0.0
    clip_bones: float = 50.0
    symmetry: float = 10.0
    trunk: float = 8.0
    limbs: float = 8.0
    level: float = 1.0
    as_seen: bool = False
    nose_ahead: float = NOSE_AHEAD
    seed: int = 0
    threads: int = 1
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.batch < 2 or min(self.steps, self.flow_steps, self.width, self.threads) < 1 or self.blur <= 0:
            raise InputError("batch must be 2 or more; steps, flow_steps, width, threads 1 or more; blur above 0")

    @classmethod
    def published(cls, **other: Any) -> Config:
        """ElePose's own terms: 26 components, proportions of an average body, no other anatomy."""
        none = dict.fromkeys(("clip_bones", "symmetry", "trunk", "limbs", "level"), 0.0)
        return cls(**({"dimensions": 26, "proportions": 50.0} | none | other))

    def rate(self, step: int) -> float:
        """The learning rate at a step, as a share of its peak."""
        warm = max(self.steps * 0.05, 1)
        return min((step + 1) / warm, 0.5 * (1 + float(np.cos(np.pi * step / self.steps))))


class _Learner(nn.Module):
    """The lifter and the bone lengths that are learned with it.

    Attributes:
        bones: (16,) logarithm of everyone's bone lengths over their mean.
        own: (C, 16) what each clip's differ by.
        share: (C,) what a pose counts in its clip.
    """

    rest: Tensor
    share: Tensor

    def __init__(self, config: Config, seen: Seen):
        super().__init__()
        self.config, self.net = config, EleposeNet(config.width)
        self.register_buffer("rest", seen_bones(seen.flat).cpu() if config.as_seen else rest_bones())
        self.register_buffer("share", 1 / torch.bincount(seen.sequence).cpu())
        self.bones = nn.Parameter(self.rest.log())
        self.own = nn.Parameter(torch.zeros(len(self.share), len(ENDS)))

    def forward(self, flow: PoseFlow, flat: Tensor, distance: Tensor, clip: Tensor, azimuth: Tensor, unit: Tensor):  # type: ignore[no-untyped-def]
        """Weighted losses by name, of poses (B, 17, 2) at distances (B,) of clips (B,), turned by azimuths (B,).

        unit: (B,) standard normal: new elevations are drawn from the mean and spread of those predicted.
        """
        c = self.config
        depths, elevation = (a.float() for a in self.net(flat.flatten(1)))
        x = lifted(flat, depths, distance)
        turn = orbiting(elevation, azimuth, elevation.mean() + elevation.detach().std() * unit)
        there = moved(turn, x)
        picture, spread = shaped(projected(there, distance))
        again = lifted(picture, self.net(picture.flatten(1))[0].float(), distance / spread) * spread[:, None, None]
        back = moved(turn.transpose(1, 2), again)
        half = len(x) // 2
        change = (x[:half] - x[half : 2 * half]) - (back[:half] - back[half : 2 * half])
        losses = {
            "nll": flow(picture).mean(),
            "cycle_3d": c.cycle_3d * _size(again - there).mean(),
            "cycle_2d": c.cycle_2d * (projected(back, distance) - flat).abs().sum((1, 2)).mean(),
            "deformation": c.deformation * _size(change).mean(),
        }
        if c.level:
            losses["level"] = c.level * (elevation / _LEVEL).square().mean()
        return losses | self._anatomy(x, clip)

    def _anatomy(self, x: Tensor, clip: Tensor) -> dict[str, Tensor]:
        c = self.config
        bones = bone_lengths(x)
        bones = bones / bones.mean(1, keepdim=True)
        losses = {}
        if c.proportions:
            losses["proportions"] = c.proportions * (bones - self.rest).square().sum(1).mean()
        if c.clip_bones:
            off = (bones - even_bones(self.bones + self.own[clip])).square().sum(1).mean()
            # A clip's difference costs once, however many poses show it.
            own = (self.own[clip].square().sum(1) * self.share[clip]).mean()
            losses["clip_bones"] = c.clip_bones * (off + own) + _KNOWN * (self.bones - self.rest.log()).square().sum()
        if c.symmetry:
            losses["symmetry"] = c.symmetry * (bones - bones[:, BONE_MIRROR]).square().sum(1).mean()
        if c.trunk:
            losses["trunk"] = c.trunk * trunk_strain(x, c.nose_ahead).mean()
        if c.limbs:
            losses["limbs"] = c.limbs * limb_strain(x).mean()
        return losses


def even_bones(logarithms: Tensor) -> Tensor:
    """Bone lengths (..., 16), left like right and 1 on average, of unconstrained logarithms (..., 16)."""
    lengths = (0.5 * (logarithms + logarithms[..., BONE_MIRROR])).exp()
    return lengths / lengths.mean(-1, keepdim=True)


def _size(x: Tensor) -> Tensor:
    """(N,) norms of (N, 17, 3)."""
    return x.square().sum((1, 2)).add(1e-8).sqrt()


@dataclass(frozen=True, eq=False)
class Trained:
    """What a run made.

    Attributes:
        net: The single-frame lifter.
        flow: The density that it was trained with.
        bones: (16,) everyone's bone lengths over their mean.
        elevation: Mean and standard deviation of the predicted elevations, radians.
        nose_ahead: As in its `Config`.
    """

    net: EleposeNet
    flow: PoseFlow
    bones: Tensor
    elevation: tuple[float, float]
    nose_ahead: float

    @torch.no_grad()
    def lift(self, seen: Seen) -> Tensor:
        """Root-relative positions (N, 17, 3) in aimed axes, in spreads, frame by frame."""
        depths = torch.cat([BothSides(self.net)(f.flatten(1)) for f in seen.flat.split(8192)])
        return lifted(seen.flat, depths, seen.distance)

    @torch.no_grad()
    def elevations(self, seen: Seen) -> Tensor:
        """(N,) the cameras' predicted elevations, radians, frame by frame."""
        return torch.cat([self.net(f.flatten(1))[1] for f in seen.flat.split(8192)])


def train(
    config: Config,
    data: PoseSet,
    held_out: PoseSet,
    out: Path,
    resume: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Fit the flow, train the lifter, write `lifter.onnx` and `elepose.pt`; returns the former's path.

    3D of `data` is never looked at, that of `held_out` is only reported. `progress` gets steps done and in all, the
    flow's included. Raises `InputError` for data or a checkpoint that does not fit.
    """
    out.mkdir(parents=True, exist_ok=True)
    fabric = Fabric(accelerator=config.device, devices=1, precision=mixed(config.device), loggers=loggers(out))
    told = progress or (lambda done, total: None)
    with quick_cpu(config.threads):
        seen, held = Seen.of(data, fabric.device), checks(held_out, fabric.device)
        torch.manual_seed(config.seed)
        learner = _Learner(config, seen)
        learner, optimiser = fabric.setup(learner, _optimiser(learner, config))
        state = load_checkpoint(out / "checkpoint.pt", asdict(config), data, _FREE) if resume else None
        total = config.flow_steps + config.steps
        if state is None:
            flow = fit_flow(seen.flat, config.flow_steps, config.blur, config.dimensions, config.seed,
                            lambda i, _: told(i, total))  # fmt: skip
            done = 0
        else:
            flow = _empty_flow(state["flow"]).to(fabric.device)
            learner.load_state_dict(state["learner"])
            optimiser.load_state_dict(state["optimiser"])
            done = int(state["epoch"])
        journal, row = Journal(fabric, out / "metrics.csv", done), {}
        while done < config.steps:
            row = _round(fabric, learner, optimiser, flow, seen, config, done)
            done = int(row["iteration"])
            row |= measured_on(_trained(learner, flow, seen), *held)
            journal.write({"epoch": done, **row})
            state = {"learner": learner.state_dict(), "optimiser": optimiser.state_dict(), "flow": flow.state_dict()}
            save_checkpoint(out / "checkpoint.pt", state, asdict(config), data, done)
            told(config.flow_steps + done, total)
        trained = _trained(learner, flow, seen)
        save_trained(trained, asdict(config), out / "elepose.pt")
        measured = {k: v for k, v in measured_on(trained, *held).items() if v == v}
        return export(BothSides(trained.net), out / "lifter.onnx", asdict(config), measured, data.name)


def _optimiser(learner: _Learner, config: Config) -> torch.optim.Optimizer:
    bones = [{"params": [learner.bones, learner.own], "share": 3.0, "weight_decay": 0.0}]
    groups: list[dict[str, Any]] = [{"params": learner.net.parameters(), "share": 1.0}, *bones]
    return torch.optim.AdamW(groups, config.learning_rate, weight_decay=1e-5, fused=True)


def _round(
    fabric: Any, learner: Any, optimiser: Any, flow: PoseFlow, seen: Seen, config: Config, done: int
) -> dict[str, float]:
    """Up to `ROUND` steps, whose batches depend on the seed and on how many were done; mean losses."""
    rng, count = np.random.default_rng((config.seed, done)), min(ROUND, config.steps - done)
    began, total = time.perf_counter(), dict[str, Tensor]()
    for step in range(done, done + count):
        k = torch.from_numpy(rng.integers(len(seen), size=config.batch)).to(fabric.device)
        drawn = np.stack([rng.uniform(-np.pi, np.pi, config.batch), rng.normal(size=config.batch)])
        azimuth, unit = torch.from_numpy(drawn.astype(np.float32)).to(fabric.device)
        flip = torch.from_numpy(rng.random(config.batch) < 0.5).to(fabric.device)
        flat = seen.flat[k]
        flat = torch.where(flip[:, None, None], mirrored(flat), flat)
        losses = learner(flow, flat, seen.distance[k], seen.sequence[k], azimuth, unit)
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * group["share"] * config.rate(step)
        optimiser.zero_grad()
        fabric.backward(sum(losses.values()))
        torch.nn.utils.clip_grad_norm_(learner.net.parameters(), 20.0)
        optimiser.step()
        total = {name: total.get(name, 0) + loss.detach() for name, loss in losses.items()}
    means = {name: float(value) / count for name, value in total.items()}
    return {"iteration": done + count, **means, "iterations_per_s": count / (time.perf_counter() - began)}


@torch.no_grad()
def _trained(learner: Any, flow: PoseFlow, seen: Seen) -> Trained:
    bare: _Learner = learner.module
    elevation = bare.net(seen.flat[:: max(len(seen) // 4096, 1)].flatten(1))[1]
    spread = (float(elevation.mean()), float(elevation.std(correction=0)))
    return Trained(bare.net, flow, even_bones(bare.bones), spread, bare.config.nose_ahead)


def checks(data: PoseSet, device: torch.device | str) -> tuple[Seen, np.ndarray | None]:
    """Evenly spaced poses of a set, and their truth in aimed axes (N, 17, 3) metres where there is any."""
    data = data.sliced(slice(None, None, max(len(data) // _CHECKED, 1)))
    seen = Seen.of(data, device)
    return seen, None if data.positions is None else seen.in_aimed(
        torch.tensor(data.positions, device=device)
    ).cpu().numpy()


def measured_on(trained: Trained, seen: Seen, truth: np.ndarray | None) -> dict[str, float]:
    """N-MPJPE and PA-MPJPE in mm of single frames."""
    if truth is None:
        return dict.fromkeys(("val_n_mpjpe", "val_pa_mpjpe"), float("nan"))
    said = trained.lift(seen).cpu().numpy().astype(np.float64)
    return {"val_n_mpjpe": metrics.n_mpjpe(said, truth), "val_pa_mpjpe": metrics.pa_mpjpe(said, truth)}


def save_trained(trained: Trained, config: dict[str, Any], path: Path) -> None:
    """Write for `load_trained`, with the options that made it."""
    state = {"format": FORMAT, "elevation": list(trained.elevation), "bones": trained.bones}
    state["config"] = config | {"nose_ahead": trained.nose_ahead}
    torch.save(state | {"net": trained.net.state_dict(), "flow": trained.flow.state_dict()}, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def load_trained(path: Path, device: str = "cpu") -> Trained:
    """What `train` wrote as `elepose.pt`. Raises `InputError`."""
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        if state["format"] != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
        net = EleposeNet(len(state["net"]["first.bias"]))
        net.load_state_dict(state["net"])
        mean, spread = (float(v) for v in state["elevation"])
        bones = state["bones"].reshape(16)
        flow, ahead = _empty_flow(state["flow"]), float(state["config"]["nose_ahead"])
    except Exception as e:  # torch's and its unpickler's own types
        reason = (str(e).splitlines() or [type(e).__name__])[0][:120]
        raise InputError(f"{path}: cannot be read as a trained lifter ({reason})") from None
    net = net.eval().requires_grad_(False).to(device)
    return Trained(net, flow.to(device), bones.to(device), (mean, spread), ahead)


def _empty_flow(state: dict[str, Tensor]) -> PoseFlow:
    """A flow with the weights given, frozen."""
    layers = len({k.split(".")[1] for k in state if k.startswith("couplings.")})
    flow = PoseFlow(state["basis"].shape[1], state["rest"].shape[1], len(state["couplings.0.inner.bias"]), layers)
    flow.load_state_dict(state)
    return flow.eval().requires_grad_(False)
