"""What a trained network says of itself, set right on motion that it was not trained on: sigma and contact."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch

from kinelift import metrics
from kinelift.lift.rays import INPUT_MIRROR
from kinelift.skeleton import BODY26
from kinelift.training.network import DEFINITION_M, OUTPUTS, SEEN, Prediction
from kinelift.training.views import Batch

_MIRROR = list(BODY26.mirror)

# Radius of the ball that holds 90 % of an isotropic 3D Gaussian of unit standard deviation per axis.
_RADIUS_90 = 2.5003
# Windows are harder than clips (limbs hidden for long, steep cameras): this share of their errors inside makes 95 % of
# held-out clips' errors.
_INSIDE = 0.899


@torch.no_grad()
def calibrated(net: torch.nn.Module, batches: dict[str, Batch]) -> torch.nn.Module:
    """A copy whose 90 % ball holds 90 % of the limb errors of `batches`, and whose contact is likely at the best F1.

    Both are shifts of the last layer's biases, measured on what a lifter tells: the mean of its answers for a clip and
    its mirror image. Sets count alike.
    """
    net = copy.deepcopy(net).eval()
    limbs = BODY26.indices(*metrics.LIMBS)
    errors, sigmas, logits, labels = [], [], [], []
    for b in batches.values():
        said = _told(net, b)
        errors.append(np.linalg.norm(said.positions.numpy() - b.positions, axis=-1)[:, :, limbs])
        sigmas.append(np.exp(said.log_sigma.numpy()[:, :, limbs]))
        labelled = np.isfinite(b.contact)
        logits.append(said.contact.numpy()[labelled])
        labels.append(b.contact[labelled] > 0.5)
    shifts = np.linspace(-1.5, 1.5, 31)
    scores = [np.mean([metrics.f1(x + d > 0, y) for x, y in zip(logits, labels, strict=True)]) for d in shifts]
    head: Any = net.head
    bias = (head if isinstance(head, torch.nn.Linear) else head.last).bias.view(-1, OUTPUTS)  # a row each frame
    joints = len(BODY26)
    bias[:, 3 * joints : 4 * joints] += _sigma_shift(errors, sigmas)
    bias[:, 4 * joints + 3 : 4 * joints + 7] += float(shifts[int(np.argmax(scores))])
    return net


def _sigma_shift(errors: list[np.ndarray], sigmas: list[np.ndarray]) -> float:
    """What to add to the logarithm of sigma, above its floor: then the mean set has 90 % of its errors inside."""
    free = [np.maximum(s**2 - DEFINITION_M**2, 0) for s in sigmas]

    def ratio(shift: float) -> float:
        wide = [np.sqrt(f * np.exp(2 * shift) + DEFINITION_M**2) for f in free]
        return float(np.mean([np.nanquantile(e / s, _INSIDE) for e, s in zip(errors, wide, strict=True)]))

    low, high = -8.0, 8.0  # the ratio falls as sigma grows
    for _ in range(16):
        middle = (low + high) / 2
        low, high = (middle, high) if ratio(middle) > _RADIUS_90 else (low, middle)
    return high


def _told(net: torch.nn.Module, b: Batch) -> Prediction:
    """The mean of what the network says of windows and of their mirror images."""
    x = torch.tensor([-1.0, 1.0, 1.0])
    rays, confidence, rest = torch.from_numpy(b.features).split([2 * SEEN, SEEN, 3], -1)
    own, flag = torch.from_numpy(b.opinion).split([3 * SEEN, 1], -1)
    rays, own = rays.unflatten(-1, (SEEN, 2)), own.unflatten(-1, (SEEN, 3))
    there = net(torch.from_numpy(b.features), torch.from_numpy(b.opinion))
    mirrored = (rays[..., INPUT_MIRROR, :] * x[:2]).flatten(-2)
    back = net(
        torch.cat([mirrored, confidence[..., INPUT_MIRROR], rest * x[[1, 0, 1]]], -1),
        torch.cat([(own[..., INPUT_MIRROR, :] * x).flatten(-2), flag], -1),
    )
    return Prediction(
        (there.positions + back.positions[..., _MIRROR, :] * x) / 2,
        torch.log((there.log_sigma.exp() + back.log_sigma[..., _MIRROR].exp()) / 2),
        torch.nn.functional.normalize(there.gravity + back.gravity * x, dim=-1),
        torch.logit((there.contact.sigmoid() + back.contact[..., [2, 3, 0, 1]].sigmoid()) / 2, 1e-6),
        (there.distance + back.distance) / 2,
    )
