"""The temporal lifter's network: a stack of dilated convolutions over time, one forward pass for all frames."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kinelift.lift.rays import FEATURES
from kinelift.skeleton import BODY26

J = len(BODY26)


class ChannelNorm(nn.Module):
    """Layer normalisation over channels of (B, C, T): each frame by itself, so that the clip's length is free."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Normalised x."""
        x = x - x.mean(1, keepdim=True)
        return x * torch.rsqrt((x * x).mean(1, keepdim=True) + 1e-5) * self.weight + self.bias


class Block(nn.Module):
    """x + conv1(relu(norm(conv3(relu(norm(x)))))), the 3-wide convolution dilated."""

    def __init__(self, channels: int, dilation: int):
        super().__init__()
        self.layers = nn.Sequential(
            ChannelNorm(channels),
            nn.ReLU(),
            nn.Conv1d(channels, channels, 3, padding=dilation, dilation=dilation),
            ChannelNorm(channels),
            nn.ReLU(),
            nn.Conv1d(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as x."""
        return x + self.layers(x).float()


class TemporalNet(nn.Module):
    """Features (B, T, 66) to positions (B, T, 26, 3), log sigma (B, T, 26), gravity (B, T, 3), contact (B, T, 4)."""

    def __init__(self, channels: int = 256, dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 4, 1)):
        super().__init__()
        self.stem = nn.Conv1d(FEATURES, channels, 3, padding=1)
        self.blocks = nn.Sequential(*(Block(channels, d) for d in dilations))
        last = nn.Conv1d(channels, J * 3 + J + 3 + 4, 1)
        with torch.no_grad():
            last.weight.mul_(0.3)
        self.head = nn.Sequential(ChannelNorm(channels), nn.ReLU(), last)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See the class."""
        x = self.blocks(self.stem(features.transpose(1, 2)).float())
        with torch.autocast(x.device.type, enabled=False):  # millimetres need more than bfloat16's eight bits
            y = self.head(x).transpose(1, 2)
        positions = y[..., : J * 3].unflatten(-1, (J, 3)) * 0.3
        positions = positions - positions[..., :1, :]
        log_sigma = y[..., J * 3 : J * 4] - 3.0
        gravity = torch.nn.functional.normalize(y[..., J * 4 : J * 4 + 3], dim=-1)
        return positions, log_sigma, gravity, y[..., J * 4 + 3 :]
