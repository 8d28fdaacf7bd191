"""What real 2D teaches a lifter without any 3D: four losses of its own answer, used beside supervised batches.

Kudo et al. 2018's idea with ElePose's terms (Wandt et al. 2022): what is lifted must project onto what was seen; turned
about the vertical and projected again it must look like a real pose and lift to itself; bones are symmetric and do not
change. Tensors are (B, T, ...), axes those of the aimed camera, y down.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kinelift import metrics
from kinelift.errors import MissingExtraError
from kinelift.lift.rays import INPUT_JOINTS, LOG_SPREAD
from kinelift.skeleton import BODY26

try:
    import torch
except ImportError:  # pragma: no cover - depends on the installation
    raise MissingExtraError("training", "pip install 'kinelift[train]'") from None
from torch import Tensor, nn

from kinelift.training.network import Prediction
from kinelift.training.prior import PRIOR_JOINTS, PosePrior

_N = len(INPUT_JOINTS)
_INPUT = BODY26.indices(*INPUT_JOINTS)
_HIPS = BODY26.indices("left_hip", "right_hip")
_LIMBS = BODY26.indices(*metrics.LIMBS)
_PRIOR = BODY26.indices(*PRIOR_JOINTS)
# Detectors agree on what the limbs' joints are; toes, hands and ears are other points in each.
_SEEN_LIMBS = [INPUT_JOINTS.index(j) for j in metrics.LIMBS]
_SPREAD_WINDOW = 63
_BONES = BODY26.indices(*(f"{s}_{j}" for s in ("left", "right") for j in ("elbow", "wrist", "knee", "ankle")))
_BONE_PARENTS = [BODY26.parents[j] for j in _BONES]


@dataclass(frozen=True)
class Terms:
    """Weights of the four losses, beside a supervised loss in metres.

    Attributes:
        reprojection: Of the mean distance of projected and seen limbs, in units of the figure's spread (about 0.45 m).
        plausible: Of the nats by which turned views are less likely than real poses are on average.
        cycle: Of the mean distance between a lifted pose and what is lifted from its turned view, metres.
        bones: Of the mean difference of limb bones from the other side's and from their mean over time, metres.
    """

    reprojection: float = 0.1
    plausible: float = 0.0005
    cycle: float = 0.3
    bones: float = 0.3


@dataclass(frozen=True, eq=False)
class Turned:
    """A lifted figure as another camera sees it.

    Attributes:
        features: (B, T, 66) what the lifter would be given there, without noise, the same joints seen.
        poses: (B, T, 13, 2) rays of `PRIOR_JOINTS`.
        rotation: (B, T, 3, 3) that camera's axes from the first's.
    """

    features: Tensor
    poses: Tensor
    rotation: Tensor


def seen_rays(features: Tensor) -> tuple[Tensor, Tensor]:
    """Aimed rays (B, T, 21, 2) over the spread, and confidence (B, T, 21), of features (B, T, 66)."""
    return features[..., : 2 * _N].unflatten(-1, (_N, 2)), features[..., 2 * _N : 3 * _N]


def project(x: Tensor) -> Tensor:
    """Rays (..., 2) of positions (..., 3)."""
    return x[..., :2] / x[..., 2:].clamp(min=0.1)


def placed(positions: Tensor, distance: Tensor, points: list[int], rays: Tensor | float, weight: Tensor) -> Tensor:
    """Root-relative positions (B, T, 26, 3) moved to `distance` (B, T) along the axis and sideways onto rays.

    The sideways part is the weighted least-squares fit of u z = x + t over `points`, with rays (B, T, P, 2) and weights
    (B, T, P): a root that is a little off the axis is no error of the pose.
    """
    depth = (positions[..., 2] + distance[..., None]).clamp(min=0.1)
    near, w = depth[..., points, None], weight[..., None]
    off = (w * (rays * near - positions[..., points, :2]) / near**2).sum(-2) / (w / near**2).sum(-2).clamp(min=1e-6)
    return torch.cat([positions[..., :2] + off[..., None, :], depth[..., None]], -1)


def reprojection(said: Prediction, features: Tensor) -> Tensor:
    """Mean distance between projected and seen limbs, weighted by confidence, in units of the figure's spread."""
    scaled, confidence = seen_rays(features)
    spread = features[..., LOG_SPREAD].exp()[..., None, None]
    target, weight = scaled[..., _SEEN_LIMBS, :], confidence[..., _SEEN_LIMBS]
    at = placed(said.positions.float(), said.distance.float(), _LIMBS, target * spread, weight)
    error = (project(at[..., _LIMBS, :]) / spread - target).square().sum(-1).add(1e-10).sqrt()
    return (error * weight).sum() / weight.sum().clamp(min=1e-6)


def levelled(gravity: Tensor) -> Tensor:
    """Rotations (..., 3, 3) from the camera's axes to right, down, forward, of unit gravity (..., 3)."""
    forward = gravity.new_tensor([0.0, 0.0, 1.0]) - gravity[..., 2:] * gravity
    forward = nn.functional.normalize(forward, dim=-1, eps=1e-3)
    return torch.stack([torch.linalg.cross(gravity, forward), gravity, forward], -2)


def random_turns(rng: np.random.Generator, n: int) -> Tensor:
    """(n, 1, 3, 3) turns about the vertical by any angle, then camera pitches of N(7, 10) degrees downwards."""
    yaw, pitch = rng.uniform(0, 2 * np.pi, n), np.radians(rng.normal(7, 10, n))
    c, s, zero, one = np.cos(yaw), np.sin(yaw), np.zeros(n), np.ones(n)
    about = np.stack([c, zero, s, zero, one, zero, -s, zero, c], -1).reshape(n, 3, 3)
    c, s = np.cos(pitch), np.sin(pitch)
    down = np.stack([one, zero, zero, zero, c, -s, zero, s, c], -1).reshape(n, 3, 3)
    return torch.from_numpy((down @ about)[:, None]).float()


def turned(said: Prediction, confidence: Tensor, turns: Tensor, distance: Tensor) -> Turned:
    """The answer as seen after `turns` (B, 1, 3, 3) of the levelled figure, from `distance` (B, 1) metres.

    Confidence (B, T, 21) says which joints the new features hold.
    """
    rotation = turns @ levelled(said.gravity.float())
    x = said.positions.float() @ rotation.transpose(-1, -2)
    hips = torch.ones_like(x[..., _HIPS, 0])
    rays = project(placed(x, distance.expand(x.shape[:2]), _HIPS, 0.0, hips))
    seen: Tensor = confidence > 0
    aimed = torch.where(seen[..., None], rays[..., _INPUT, :], 0.0)
    total = aimed.square().sum(-1).add(1e-12).sqrt().mul(seen).sum(-1)
    spread = (_moving_mean(total) / _moving_mean(seen.sum(-1).float()).clamp(min=0.5)).clamp(min=1e-3)
    middle = torch.zeros_like(aimed[..., 0, :])
    parts = [(aimed / spread[..., None, None]).flatten(-2), confidence, spread.log()[..., None], middle]
    return Turned(torch.cat(parts, -1), rays[..., _PRIOR, :], rotation)


def _moving_mean(x: Tensor) -> Tensor:
    """Mean over 63 frames of (B, T), the ends held, as `rays.encode` takes it."""
    half = _SPREAD_WINDOW // 2
    padded = torch.cat([x[:, :1].expand(-1, half), x, x[:, -1:].expand(-1, half)], 1)
    return nn.functional.avg_pool1d(padded[:, None], _SPREAD_WINDOW, 1)[:, 0]


def implausibility(prior: PosePrior, poses: Tensor) -> Tensor:
    """Mean nats by which poses (..., 13, 2) are less likely than the average real one; the better ones count 0."""
    return (prior.typical - prior.log_prob(poses)).clamp(0, 100).mean()


def uneven_bones(positions: Tensor) -> Tensor:
    """Mean difference in metres of limb bones from the other side's and from their own mean over time."""
    length = (positions[..., _BONES, :] - positions[..., _BONE_PARENTS, :]).square().sum(-1).add(1e-10).sqrt()
    half = len(_BONES) // 2
    sides = (length[..., :half] - length[..., half:]).abs().mean()
    return sides + (length - length.mean(1, keepdim=True)).abs().mean()


def unlabelled_losses(
    net: nn.Module,
    features: Tensor,
    opinion: Tensor,
    prior: PosePrior | None,
    rng: np.random.Generator,
) -> dict[str, Tensor]:
    """The four losses, named as in `Terms`, of features (B, T, 66) and opinion (B, T, 64); without prior three.

    In the cycle the first answer stands as the truth of its own turned view, whatever it is: a pair of 2D and 3D that
    fit, from a pose near a real one.
    """
    said = net(features, opinion)
    n = len(features)
    distance = torch.from_numpy(np.exp(rng.uniform(np.log(2), np.log(10), (n, 1)))).float().to(features.device)
    view = turned(said, seen_rays(features)[1], random_turns(rng, n).to(features.device), distance)
    again = net(view.features.detach(), torch.zeros_like(opinion))
    back = again.positions.float() @ view.rotation.detach()
    miss = (back - said.positions.float().detach())[..., _LIMBS, :]
    out = {
        "reprojection": reprojection(said, features),
        "cycle": miss.square().sum(-1).add(1e-10).sqrt().mean(),
        "bones": uneven_bones(said.positions.float()),
    }
    if prior is not None:
        out["plausible"] = implausibility(prior, view.poses)
    return out


def weighted(losses: dict[str, Tensor], terms: Terms) -> Tensor:
    """Their sum, weighted."""
    return torch.stack([getattr(terms, k) * v for k, v in losses.items()]).sum()
