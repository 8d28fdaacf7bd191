"""The temporal lifter's network: a stack of dilated three-tap layers over time, one forward pass for all frames.

Two frames at 30 Hz make one token: people move little in 33 ms, and half the tokens are half the work. Tensors are
(B, T, C), T frames or tokens. A convolution is written as one matrix product of shifted copies, three times as fast on
a CPU in bfloat16 as `nn.Conv1d`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from kinelift.lift.rays import FEATURES, LOG_SPREAD, OPINION
from kinelift.skeleton import BODY26

J = len(BODY26)
OUTPUTS = J * 3 + J + 3 + 4 + 1
PAIR = 2  # frames a token


class Prediction(NamedTuple):
    """What a lifter says of (B, T) frames, in the aimed camera's axes.

    Attributes:
        positions: (B, T, 26, 3) metres, root-relative, of a person of 1.70 m.
        log_sigma: (B, T, 26) logarithm of the standard deviation per axis, metres.
        gravity: (B, T, 3) unit vectors pointing down.
        contact: (B, T, 4) logits of left heel, left toe, right heel, right toe.
        distance: (B, T) metres from the camera to the root.
    """

    positions: Tensor
    log_sigma: Tensor
    gravity: Tensor
    contact: Tensor
    distance: Tensor


def read_heads(y: Tensor, features: Tensor) -> Prediction:
    """A prediction from raw outputs (B, T, 112) and the features they came from."""
    positions = y[..., : J * 3].unflatten(-1, (J, 3)) * 0.3
    # The mean joint of a person of 1.70 m is about 0.45 m off the root's axis: distance = 0.45 / spread, corrected.
    distance = 0.45 * torch.exp(0.3 * y[..., J * 4 + 7] - features[..., LOG_SPREAD])
    return Prediction(
        positions - positions[..., :1, :],
        y[..., J * 3 : J * 4] - 3.0,
        nn.functional.normalize(y[..., J * 4 : J * 4 + 3], dim=-1),
        y[..., J * 4 + 3 : J * 4 + 7],
        distance,
    )


def shifted(x: Tensor, dilation: int) -> Tensor:
    """(B, T, 3C): x a dilation earlier, now and a dilation later; zero beyond the ends."""
    padded = nn.functional.pad(x, (0, 0, dilation, dilation))
    return torch.cat([padded[:, : -2 * dilation], x, padded[:, 2 * dilation :]], -1)


class Block(nn.Module):
    """x + W2 relu(W1 [n(t - d), n(t), n(t + d)]), n = norm(x), d the dilation."""

    def __init__(self, channels: int, hidden: int, dilation: int):
        super().__init__()
        self.dilation = dilation
        self.norm = nn.LayerNorm(channels)
        self.gather = nn.Linear(3 * channels, hidden)
        self.spread = nn.Linear(hidden, channels)
        with torch.no_grad():
            self.spread.weight.mul_(0.3)
            self.spread.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as x."""
        y = self.norm(x)
        if torch.is_autocast_enabled(x.device.type):
            y = y.to(torch.get_autocast_dtype(x.device.type))
        return x + self.spread(torch.relu(self.gather(shifted(y, self.dilation)))).float()


class TemporalNet(nn.Module):
    """Features (B, T, 66) and a detector's own 3D (B, T, 64; zeros where none) to a `Prediction`."""

    def __init__(self, channels: int = 256, hidden: int = 768, dilations: tuple[int, ...] = (1, 1, 2, 4, 8, 4, 2, 1)):
        super().__init__()
        self.stem = nn.Linear(PAIR * (FEATURES + OPINION), channels)
        self.blocks = nn.Sequential(*(Block(channels, hidden, d) for d in dilations))
        self.norm = nn.LayerNorm(channels)
        self.head = nn.Linear(channels, PAIR * OUTPUTS)
        with torch.no_grad():
            self.head.weight.mul_(0.3)

    def forward(self, features: Tensor, opinion: Tensor) -> Prediction:
        """See the class. The stream between blocks stays in float32: velocities need more than 8 bits."""
        x = torch.cat([features, opinion], -1)
        count = x.shape[1]
        even = torch.cat([x, x[:, -1:]], 1)[:, : count + count % PAIR]
        x = self.blocks(self.stem(even.unflatten(1, (-1, PAIR)).flatten(2)).float())
        with torch.autocast(x.device.type, enabled=False):
            y = self.head(self.norm(x)).unflatten(2, (PAIR, OUTPUTS)).flatten(1, 2)
            return read_heads(y[:, :count], features)
