"""What the projection GAN measures of a batch of poses; all in the units of `normalised`, camera axes (y down)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from kinelift.skeleton import H36M17

_NECK, _NOSE = H36M17.indices("Thorax", "NeckNose")
_LEFT, _RIGHT = H36M17.indices("LShoulder", "RShoulder")


def turned(flat: Tensor, depths: Tensor, angles: Tensor) -> Tensor:
    """(B, 34) poses with depths (B, 17) turned by angles (B,) about the y axis and projected along z."""
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]
    x = flat[:, ::2] * cos + depths * sin
    return torch.stack([x, flat[:, 1::2]], -1).flatten(1)


def facing(flat: Tensor, depths: Tensor) -> Tensor:
    """(B,) sine of the angle, seen from above, from neck -> nose to left -> right shoulder.

    1 where the nose points forwards from the shoulders, -1 where the body is lifted inside out.
    """
    x = flat[:, ::2]
    ahead_z, ahead_x = depths[:, _NOSE] - depths[:, _NECK], x[:, _NOSE] - x[:, _NECK]
    across_z, across_x = depths[:, _RIGHT] - depths[:, _LEFT], x[:, _RIGHT] - x[:, _LEFT]
    lengths = (ahead_z**2 + ahead_x**2 + 1e-12).sqrt() * (across_z**2 + across_x**2 + 1e-12).sqrt()
    return (ahead_z * across_x - across_z * ahead_x) / lengths


def heuristic_loss(flat: Tensor, depths: Tensor) -> Tensor:
    """Mean of how far noses point out of people's backs."""
    return torch.relu(-facing(flat, depths)).mean()


@dataclass(frozen=True, eq=False)
class Verdict:
    """What a discriminator says of real and of made poses, (B, 1) each: above 0 where it takes them for real."""

    real: Tensor
    fake: Tensor

    def accuracies(self) -> Tensor:
        """(2,) shares of real and of made poses that are told right."""
        return torch.stack([(self.real >= 0).float().mean(), (self.fake < 0).float().mean()])

    def generator_loss(self) -> Tensor:
        """Non-saturating GAN loss, mean over the batch."""
        return softplus(-self.fake).mean()

    def discriminator_loss(self) -> Tensor:
        """Cross entropy of both, means over the batch."""
        return softplus(-self.real).mean() + softplus(self.fake).mean()
