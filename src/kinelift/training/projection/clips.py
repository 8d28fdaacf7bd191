"""A whole clip lifted at once, from 2D alone: start frame by frame, then agree on one body and one motion.

(1) Each limb's bones may point towards or away from the camera; of the four choices the likeliest path through the
clip is found by dynamic programming, by the flow over turned views, ranges of motion and small steps. (2) Depths, the
hip's distance and the clip's bone lengths are fitted by gradient descent to constant bones, small accelerations, likely
views and ranges of motion; the joints stay on their rays. The unit is a mean bone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kinelift.errors import MissingExtraError
from kinelift.skeleton import H36M17

try:
    import torch
except ImportError:  # pragma: no cover - depends on the installation
    raise MissingExtraError("training", "pip install 'kinelift[train]'") from None
from torch import Tensor

from kinelift.training.projection.body import bone_lengths, limb_strain, trunk_strain, with_bones
from kinelift.training.projection.elepose import Trained, even_bones
from kinelift.training.projection.seen import Seen, moved, orbiting, projected, shaped

LIMBS = tuple(
    tuple(H36M17.indices(*(s + j for j in chain)))
    for chain in (("Hip", "Knee", "Foot"), ("Shoulder", "Elbow", "Wrist"))
    for s in ("R", "L")
)
# Where turned views are taken from: the distance does not matter much, elevations vary by this many radians.
_DISTANCE, _ELEVATION_SPREAD = 11.0, 0.05
# A pose less likely than this many nats is as bad as any.
_WORST = 20.0
_FRAMES = 4000  # fitted together, in whole clips


@dataclass(frozen=True)
class Terms:
    """How much each term counts, and how wide it is; lengths in mean bones (about 0.28 m).

    Attributes:
        rounds: Times that directions are chosen and depths fitted.
        steps: Gradient steps of each fit; the first fit, before any choice, has three quarters.
        views: Turned views by which a choice of directions is judged.
        choice: Of a nat, when directions are chosen.
        step: Displacement of a limb's joints between two frames that costs 1, when directions are chosen.
        bone: Standard deviation of bones from the clip's.
        acceleration: Of joints' second differences between frames.
        start: Of depths from where they began.
        proportions: Of a clip's logarithmic bone lengths from everyone's.
        likely: Of a nat, in the fit.
        strain: Of ranges of motion, in both.
    """

    rounds: int = 1
    steps: int = 80
    views: int = 4
    choice: float = 5.0
    step: float = 0.25
    bone: float = 0.05
    acceleration: float = 0.06
    start: float = 0.3
    proportions: float = 0.2
    likely: float = 1.0
    strain: float = 5.0


def lift_clips(
    trained: Trained, seen: Seen, terms: Terms | None = None, progress: Callable[[int, int], None] | None = None
) -> Tensor:
    """Root-relative positions (N, 17, 3) in the camera's axes, unit: a mean bone. `progress` gets frames done."""
    terms, out = terms or Terms(), []
    for piece in _pieces(seen.sequence.cpu().numpy()):
        part = _part(seen, piece)
        torch.manual_seed(0)
        out.append(_lift(trained, part, terms))
        if progress:
            progress(piece.stop, len(seen))
    return torch.cat(out)


def _pieces(sequence: np.ndarray) -> list[slice]:
    """Whole clips, up to `_FRAMES` or one clip at a time."""
    ends = [*(np.flatnonzero(np.diff(sequence)) + 1).tolist(), len(sequence)]
    out, start, last = [], 0, 0
    for end in ends:
        if end - start > _FRAMES and last > start:
            out.append(slice(start, last))
            start = last
        last = end
    return [*out, slice(start, len(sequence))]


def _part(seen: Seen, piece: slice) -> Seen:
    clips = torch.unique(seen.sequence[piece], return_inverse=True)[1]
    return Seen(seen.flat[piece], seen.distance[piece], seen.rays[piece], seen.rotation[piece], clips, seen.placed)


def _lift(trained: Trained, seen: Seen, terms: Terms) -> Tensor:
    aimed = trained.lift(seen)
    size = bone_lengths(aimed).mean(1)
    hip = torch.nn.functional.normalize(_on_rays(seen.rays, torch.ones_like(seen.flat[..., 0]))[:, 0], dim=-1)
    x = seen.in_camera(aimed / size[:, None, None]) + hip[:, None] * (seen.distance / size)[:, None, None]
    elevation = _clip_means(trained.elevations(seen), seen.sequence)
    x = _fitted(trained, seen, elevation, x, terms, terms.steps * 3 // 4, likely=False)
    for _ in range(terms.rounds):
        x = _directed(trained, seen, elevation, x, terms)
        x = _fitted(trained, seen, elevation, x, terms, terms.steps, likely=True)
    return x - x[:, :1]


def _clip_means(values: Tensor, clip: Tensor) -> Tensor:
    """(N,) each clip's mean of values (N,)."""
    count = torch.bincount(clip).to(values)
    return (torch.zeros_like(count).index_add_(0, clip, values) / count)[clip]


def _on_rays(rays: Tensor, depths: Tensor) -> Tensor:
    return torch.cat([rays * depths[..., None], depths[..., None]], -1)


def unlikeliness(trained: Trained, aimed: Tensor, elevation: Tensor, azimuth: Tensor, wander: Tensor) -> Tensor:
    """(N,) nats by which turned views of positions (N, 17, 3) in aimed axes are unlikely.

    The pose counts, not the body: it is given everyone's bone lengths first, as a body unlike those that the flow knows
    would be pressed towards them. elevation: (N,) of the views, radians; azimuth: (N,) or (1,) radians; wander: the
    same, standard deviations of the new view's elevation.
    """
    mean = aimed.new_full((1,), trained.elevation[0])
    turn = orbiting(elevation, azimuth.expand_as(elevation), (mean + _ELEVATION_SPREAD * wander).expand_as(elevation))
    there = moved(turn, with_bones(aimed, trained.bones))
    there = there / there[:, 1:].norm(dim=-1).mean(1).detach()[:, None, None]
    return trained.flow(shaped(projected(there, there.new_full((len(there),), _DISTANCE)))[0])


def _fitted(
    trained: Trained, seen: Seen, elevation: Tensor, start: Tensor, terms: Terms, steps: int, likely: bool
) -> Tensor:
    """Absolute positions (N, 17, 3) in the camera's axes after `steps` of Adam from `start`."""
    rays, clip = seen.rays, seen.sequence
    inner = (clip[2:] == clip[:-2])[:, None, None] if len(clip) > 2 else None
    began = (start[:, 1:, 2] - start[:, :1, 2]).detach()
    depths, distance = began.clone().requires_grad_(), start[:, 0, 2].log().detach().requires_grad_()
    own = torch.zeros(int(clip[-1]) + 1, 16, device=rays.device, requires_grad=True)
    optimiser = torch.optim.Adam([depths, distance, own], 0.02, betas=(0.9, 0.98))
    for i in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = 0.02 * min(1.0, 3 * (steps - i) / steps)
        hip = distance.exp()[:, None]
        x = _on_rays(rays, torch.cat([hip, hip + depths], 1))
        bones = even_bones(trained.bones.log() + own)[clip]
        loss = 4 * _robust((bone_lengths(x) - bones) / (2 * terms.bone)).sum()
        loss = loss + 0.2 * _robust((depths - began) / terms.start).sum() + (own / terms.proportions).square().sum()
        loss = loss + terms.strain * (trunk_strain(x, trained.nose_ahead) + limb_strain(x)).sum()
        if inner is not None:
            moving = x if seen.placed else x - x[:, :1]
            second = (moving[2:] - 2 * moving[1:-1] + moving[:-2]) * inner / terms.acceleration
            loss = loss + ((1 + second.square().sum(-1)).sqrt() - 1).sum()
        if likely:
            azimuth = 2 * np.pi * torch.rand(len(x), device=x.device)
            nats = unlikeliness(trained, seen.in_aimed(x), elevation, azimuth, torch.randn_like(azimuth))
            loss = loss + terms.likely * _WORST * torch.tanh(nats / _WORST).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return x.detach()


def _robust(x: Tensor) -> Tensor:
    """About x^2 / 2 near 0, about |x| far away."""
    return (1 + x.square()).sqrt() - 1


@torch.no_grad()
def _directed(trained: Trained, seen: Seen, elevation: Tensor, x: Tensor, terms: Terms) -> Tensor:
    """Positions (N, 17, 3) with each limb's bones towards or away from the camera, whichever is the likeliest path."""
    clip = seen.sequence.cpu().numpy()
    for limb in LIMBS:
        choices = torch.stack(_directions(x, seen.rays, limb), 1)
        cost = torch.stack([_cost(trained, seen.in_aimed(c), elevation, terms) for c in choices.unbind(1)], 1)
        joints = choices[:, :, list(limb[1:])] - x[:, None, :1]
        step = joints[1:, :, None] - joints[:-1, None]
        between = (step.square().sum((-1, -2)) / terms.step**2).cpu().numpy()
        best = likeliest_path(cost.cpu().numpy(), between, clip)
        x = choices[torch.arange(len(x)), torch.from_numpy(best)]
    return x


def _directions(x: Tensor, rays: Tensor, limb: tuple[int, ...]) -> list[Tensor]:
    """The four poses in which a limb's two bones keep or swap the sign of their depth; joints stay on their rays."""
    out = []
    z = x[..., 2]
    upper, lower = z[:, limb[1]] - z[:, limb[0]], z[:, limb[2]] - z[:, limb[1]]
    for u in (1, -1):
        for v in (1, -1):
            depths = z.clone()
            depths[:, limb[1]] = z[:, limb[0]] + u * upper
            depths[:, limb[2]] = depths[:, limb[1]] + v * lower
            out.append(_on_rays(rays, depths))
    return out


def _cost(trained: Trained, aimed: Tensor, elevation: Tensor, terms: Terms) -> Tensor:
    """(N,) cost of a choice: mean unlikeliness over views all around, and strain."""
    aimed = aimed / aimed[:, 1:].norm(dim=-1).mean(1)[:, None, None]
    total = terms.strain * (trunk_strain(aimed, trained.nose_ahead) + limb_strain(aimed))
    for k in range(terms.views):
        azimuth = aimed.new_full((1,), 2 * np.pi * (k + 0.5) / terms.views)
        wander = aimed.new_full((1,), float(np.sin(2.4 * k)))
        nats = unlikeliness(trained, aimed, elevation, azimuth, wander)
        total = total + terms.choice / terms.views * nats.clamp(max=60)
    return total


def likeliest_path(cost: np.ndarray, between: np.ndarray, clip: np.ndarray) -> np.ndarray:
    """(N,) states of least total cost (Viterbi), all clips at once.

    cost: (N, S); between: (N - 1, S, S) from the state before (last axis) to the next (middle); clip: (N,) rising
    numbers, with nothing between frames of different clips.
    """
    first = np.flatnonzero(np.r_[True, np.diff(clip) != 0])
    length = np.diff(np.r_[first, len(cost)])
    frame = first[:, None] + np.minimum(np.arange(length.max()), length[:, None] - 1)
    total, came = cost[first], []
    for t in range(1, length.max()):
        live = (t < length)[:, None]
        paths = total[:, None] + between[np.maximum(frame[:, t] - 1, 0)]
        came.append(np.where(live, paths.argmin(2), np.arange(cost.shape[1])))
        total = np.where(live, paths.min(2) + cost[frame[:, t]], total)
    state, out = total.argmin(1), np.zeros(len(cost), int)
    clips = np.arange(len(first))
    for t in range(length.max() - 1, -1, -1):
        live = t < length
        out[frame[live, t]] = state[live]
        if t:
            state = came[t - 1][clips, state]
    return out
