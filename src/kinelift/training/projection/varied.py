"""A lifter that sees more than its pictures: trained on the bodies it lifted itself, varied and seen from anywhere.

No 3D comes in. What a trained lifter makes of its own 2D poses are 3D bodies, right for the most part; with other
proportions, limbs swung, legs of one under the trunk of another (as in LInKs, Hardy and Kim 2024), tumbled, and seen by
cameras that were never there, they are pictures with known depths, for people and views that the 2D poses lack.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from kinelift.datasets.base import PoseSet
from kinelift.errors import InputError, MissingExtraError
from kinelift.skeleton import H36M17

try:
    import torch
    from lightning_fabric import Fabric
except ImportError:  # pragma: no cover - depends on the installation
    raise MissingExtraError("training", "pip install 'kinelift[train]'") from None
from torch import Tensor

from kinelift.training.precision import mixed
from kinelift.training.projection.body import (
    BONE_MIRROR,
    ENDS,
    MIRROR,
    STARTS,
    jointed,
    limb_strain,
    trunk_strain,
)
from kinelift.training.projection.elepose import (
    BothSides,
    EleposeNet,
    Trained,
    checks,
    load_trained,
    measured_on,
    save_trained,
)
from kinelift.training.projection.export import export
from kinelift.training.projection.runs import quick_cpu
from kinelift.training.projection.seen import Seen, lifted, moved, orbiting, projected, shaped, turn_x, turn_y


def _bones(*joints: str) -> list[int]:
    return [ENDS.index(j) for j in H36M17.indices(*joints)]


_SIDES = _bones("RHip", "LHip", "RShoulder", "LShoulder")
_LEGS = _bones("RHip", "RKnee", "RFoot", "LHip", "LKnee", "LFoot")
_TRUNK = [b for b in range(len(ENDS)) if b not in _LEGS]
_LIMBS = [_bones(*(s + j for j in ends)) for s in "RL" for ends in (("Knee", "Foot"), ("Elbow", "Wrist"))]
_R, _L = H36M17.indices("RHip", "LHip")
_NEAR = 4.0  # spreads
_STRAINED = 0.05  # more than this beyond the body it came from, and a swung one is not used


@dataclass(frozen=True)
class Config:
    """One training run.

    Attributes:
        steps: Optimiser steps.
        batch: Bodies a step.
        learning_rate: Peak of AdamW's; falls to nothing along a cosine.
        bones: Standard deviation of the logarithms of bone lengths, left like right.
        widths: The same of the half widths of hips and shoulders.
        swing: Of rotations of limbs, of forearms and shanks, and of the trunk, radians.
        swapped: Share of bodies with another's legs.
        tumbled: Share that is turned in any way; the others are turned about the vertical.
        elevation: Standard deviation of the camera's elevation about the usual one, radians.
        zoom: Of the logarithm of the distance.
        kept: Share of bodies that are left as they are, in the view they were seen in.
        seed: Seeds batches and variations.
        threads: Torch threads.
        device: As `elepose.Config`'s.
    """

    steps: int = 2000
    batch: int = 256
    learning_rate: float = 5e-4
    bones: float = 0.15
    widths: float = 0.35
    swing: float = 0.3
    swapped: float = 0.3
    tumbled: float = 0.1
    elevation: float = 0.25
    zoom: float = 0.3
    kept: float = 0.25
    seed: int = 0
    threads: int = 1
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.batch < 2 or min(self.steps, self.threads) < 1:
            raise InputError("batch must be 2 or more; steps, threads 1 or more")


def train(
    config: Config,
    model: Path,
    data: PoseSet,
    held_out: PoseSet,
    out: Path,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Train the lifter in `model` (an `elepose.pt`) further and write the same files; returns `lifter.onnx`.

    3D of `data` is never looked at, that of `held_out` is only reported. Raises `InputError`.
    """
    out.mkdir(parents=True, exist_ok=True)
    trained = widened(load_trained(model, config.device), data, config, progress)
    measured = {k: v for k, v in measured_on(trained, *checks(held_out, config.device)).items() if v == v}
    save_trained(trained, asdict(config), out / "elepose.pt")
    return export(BothSides(trained.net), out / "lifter.onnx", asdict(config), measured, data.name)


def widened(
    trained: Trained, data: PoseSet, config: Config, progress: Callable[[int, int], None] | None = None
) -> Trained:
    """The same with a lifter that was trained further, on varied bodies of a set's poses; the 3D is not looked at."""
    fabric = Fabric(accelerator=config.device, devices=1, precision=mixed(config.device))
    with quick_cpu(config.threads):
        seen = Seen.of(data, fabric.device)
        bodies, elevation = trained.lift(seen), trained.elevations(seen)
        net = EleposeNet(trained.net.first.out_features).to(fabric.device)
        net.load_state_dict(trained.net.state_dict())
        model, optimiser = fabric.setup(net, torch.optim.AdamW(net.parameters(), config.learning_rate, fused=True))
        generator = torch.Generator(fabric.device).manual_seed(config.seed)
        rng = np.random.default_rng(config.seed)
        for step in range(config.steps):
            k = torch.from_numpy(rng.integers(len(seen), size=config.batch)).to(fabric.device)
            batch = varied(Bodies(bodies[k], seen.distance[k], elevation[k]), trained, config, generator)
            for group in optimiser.param_groups:
                group["lr"] = config.learning_rate * 0.5 * (1 + float(np.cos(np.pi * step / config.steps)))
            optimiser.zero_grad()
            fabric.backward(_loss(model, batch))
            torch.nn.utils.clip_grad_norm_(net.parameters(), 20.0)
            optimiser.step()
            if progress:
                progress(step + 1, config.steps)
    return replace(trained, net=net.eval().requires_grad_(False))


def _loss(net: Any, batch: Bodies) -> Tensor:
    picture, spread = shaped(projected(batch.x, batch.distance))
    depths, elevation = (a.float() for a in net(picture.flatten(1)))
    off = lifted(picture, depths, batch.distance / spread) - batch.x / spread[:, None, None]
    tilt = torch.nan_to_num(elevation - batch.elevation, nan=0.0)
    return off.square().sum((1, 2)).add(1e-8).sqrt().mean() + tilt.abs().mean()


@dataclass(frozen=True, eq=False)
class Bodies:
    """Bodies as cameras see them.

    Attributes:
        x: (N, 17, 3) in aimed axes, in spreads.
        distance: (N,) of the hip, in spreads.
        elevation: (N,) of the camera, radians; NaN where nothing is upright.
    """

    x: Tensor
    distance: Tensor
    elevation: Tensor


@torch.no_grad()
def varied(bodies: Bodies, trained: Trained, config: Config, generator: torch.Generator) -> Bodies:
    """Other bodies than those given, seen by other cameras."""
    g, n, device = generator, len(bodies.x), bodies.x.device

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, device=device)

    def chance(share: float) -> Tensor:
        return torch.rand(n, generator=g, device=device) < share

    x = torch.where(chance(0.5)[:, None, None], _mirrored(bodies.x), bodies.x)
    bones = moved(turn_x(bodies.elevation), x[:, ENDS] - x[:, STARTS])
    other = torch.randperm(n, generator=g, device=device)
    posed = _swung(_with_legs(bones, chance(config.swapped), other), config.swing * normal(n, 9, 3))
    good = _strain(posed, trained) < _strain(bones, trained) + _STRAINED
    posed = _stretched(torch.where(good[:, None, None], posed, bones), normal(n, len(ENDS)), config)
    elevation = trained.elevation[0] + config.elevation * normal(n)
    azimuth = 2 * np.pi * torch.rand(n, generator=g, device=device)
    turn = orbiting(torch.zeros_like(azimuth), azimuth, elevation)
    tumbled, kept = chance(config.tumbled), chance(config.kept)
    turn = torch.where(tumbled[:, None, None], _any_rotation(normal(n, 4)), turn)
    elevation = torch.where(tumbled, torch.nan, elevation)
    away = (bodies.distance * (config.zoom * normal(n)).exp()).clamp(min=_NEAR)
    return Bodies(
        torch.where(kept[:, None, None], x, jointed(moved(turn, posed))),
        torch.where(kept, bodies.distance, away),
        torch.where(kept, bodies.elevation, elevation),
    )


def _stretched(bones: Tensor, unit: Tensor, config: Config) -> Tensor:
    """Bones (N, 16, 3) of other lengths, by (N, 16) standard normal; as long as before on average."""
    wide = unit.new_full((len(ENDS),), config.bones)
    wide[_SIDES] = config.widths
    factor = ((unit + unit[:, BONE_MIRROR]) * 0.5**0.5 * wide).exp()
    out = bones * factor[..., None]
    return out * (bones.norm(dim=-1).mean(1) / out.norm(dim=-1).mean(1))[:, None, None]


def _mirrored(x: Tensor) -> Tensor:
    return x[:, MIRROR] * x.new_tensor([-1.0, 1.0, 1.0])


def _strain(bones: Tensor, trained: Trained) -> Tensor:
    x = jointed(bones)
    return trunk_strain(x, trained.nose_ahead) + limb_strain(x)


def _with_legs(bones: Tensor, whose: Tensor, other: Tensor) -> Tensor:
    """Bones (N, 16, 3), y vertical; where `whose` (N,) with legs and hips of pose `other` (N,), turned alike."""

    def yaw(b: Tensor) -> Tensor:
        across = b[:, ENDS.index(_L)] - b[:, ENDS.index(_R)]
        return torch.atan2(-across[:, 2], across[:, 0])

    legs = moved(turn_y(yaw(bones) - yaw(bones[other])), bones[other])
    chosen = whose[:, None] & torch.tensor([b in _LEGS for b in range(len(ENDS))], device=bones.device)
    return torch.where(chosen[..., None], legs, bones)


def _swung(bones: Tensor, angles: Tensor) -> Tensor:
    """Bones (N, 16, 3) after rotation vectors (N, 9, 3): of the trunk, of the limbs, of their lower halves."""
    R = _rotation(angles.flatten(0, 1)).unflatten(0, angles.shape[:2])
    out = bones.clone()
    out[:, _TRUNK] = out[:, _TRUNK] @ R[:, 0].transpose(1, 2)
    for i, (upper, lower) in enumerate(_LIMBS):
        out[:, [upper, lower]] = out[:, [upper, lower]] @ R[:, 1 + i].transpose(1, 2)
        out[:, [lower]] = out[:, [lower]] @ R[:, 5 + i].transpose(1, 2)
    return out


def _rotation(vector: Tensor) -> Tensor:
    """(N, 3, 3) of rotation vectors (N, 3)."""
    skew = vector.new_zeros(len(vector), 3, 3)
    x, y, z = vector.unbind(1)
    skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0] = x, y, z
    return torch.linalg.matrix_exp(skew - skew.transpose(1, 2))


def _any_rotation(q: Tensor) -> Tensor:
    """(N, 3, 3), uniform for normal quaternions (N, 4)."""
    w, x, y, z = (q / q.norm(dim=1, keepdim=True)).unbind(1)
    rows = [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
            2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
            2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]  # fmt: skip
    return torch.stack(rows, -1).view(-1, 3, 3)
