"""Two well-known lifters to compare with, trained by the same loop on the same data: `BASELINES` by name.

Martinez et al., "A simple yet effective baseline for 3d human pose estimation" (ICCV 2017) sees every frame alone;
Pavllo et al., "3D human pose estimation in video with temporal convolutions" (CVPR 2019) sees 27 frames. Input,
outputs and loss are this project's, so that only the network differs. A convolution over time is written as one
matrix product of shifted copies side by side, in (B, T, C): on a CPU that is several times faster than `Conv1d`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kinelift.lift.rays import FEATURES, OPINION
from kinelift.training.network import OUTPUTS, Prediction, read_heads


class Norm(nn.Module):
    """Batch normalisation of (B, T, C) over all frames of the batch, then ReLU and dropout."""

    def __init__(self, channels: int, dropout: float):
        super().__init__()
        self.norm = nn.BatchNorm1d(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as x."""
        y = self.norm(x.flatten(0, 1)).view_as(x)
        return self.dropout(torch.relu(y))


class Head(nn.Module):
    """Hidden channels (B, T, C) to a `Prediction`, in float32."""

    def __init__(self, channels: int):
        super().__init__()
        self.last = nn.Linear(channels, OUTPUTS)
        with torch.no_grad():
            self.last.weight.mul_(0.3)

    def forward(self, x: Tensor, features: Tensor) -> Prediction:
        """See the class."""
        with torch.autocast(x.device.type, enabled=False):
            return read_heads(self.last(x.float()), features)


class SingleFrameNet(nn.Module):
    """Martinez et al. 2017: two residual blocks of two linear layers; every frame alone.

    Their dropout of 0.5 is lowered: the training motion here is drawn afresh and hardly fitted twice.
    """

    def __init__(self, channels: int = 1024, dropout: float = 0.25):
        super().__init__()
        self.stem = nn.Sequential(nn.Linear(FEATURES + OPINION, channels), Norm(channels, dropout))
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Linear(channels, channels),
                Norm(channels, dropout),
                nn.Linear(channels, channels),
                Norm(channels, dropout),
            )
            for _ in range(2)
        )
        self.head = Head(channels)

    def forward(self, features: Tensor, opinion: Tensor) -> Prediction:
        """Features (B, T, 66) to a `Prediction`; a detector's own 3D (B, T, 64) is an input like any other."""
        x = self.stem(torch.cat([features, opinion], -1)).float()
        for block in self.blocks:
            x = x + block(x).float()
        return self.head(x, features)


class Taps(nn.Module):
    """A convolution 3 wide over time without padding: (B, T, C) to (B, T - 2 dilation, D)."""

    def __init__(self, channels: int, out: int, dilation: int):
        super().__init__()
        self.dilation = dilation
        self.linear = nn.Linear(3 * channels, out, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        d = self.dilation
        return self.linear(torch.cat([x[:, : -2 * d], x[:, d:-d], x[:, 2 * d :]], -1))


class VideoPose3DNet(nn.Module):
    """Pavllo et al. 2019 with 27 frames: convolutions 3 wide, dilations 1, 3 and 9, each later one residual.

    Both ends of a clip are held, as theirs are, so that output and input have the same length. They use 1024
    channels; 512 here (2.4 M parameters) train on a CPU in a quarter of the time.
    """

    def __init__(self, channels: int = 512, dropout: float = 0.25, dilations: tuple[int, ...] = (1, 3, 9)):
        super().__init__()
        self.reach = sum(dilations)
        self.stem = nn.Sequential(Taps(FEATURES + OPINION, channels, dilations[0]), Norm(channels, dropout))
        self.blocks = nn.ModuleList(
            nn.Sequential(
                Taps(channels, channels, d),
                Norm(channels, dropout),
                nn.Linear(channels, channels, bias=False),
                Norm(channels, dropout),
            )
            for d in dilations[1:]
        )
        self.cuts = dilations[1:]
        self.head = Head(channels)

    def forward(self, features: Tensor, opinion: Tensor) -> Prediction:
        """Features (B, T, 66) to a `Prediction`; a detector's own 3D (B, T, 64) is an input like any other."""
        seen = torch.cat([features, opinion], -1)
        first, last = seen[:, :1], seen[:, -1:]
        x = torch.cat([first.expand(-1, self.reach, -1), seen, last.expand(-1, self.reach, -1)], 1)
        x = self.stem(x).float()
        for block, cut in zip(self.blocks, self.cuts, strict=True):
            x = x[:, cut:-cut] + block(x).float()
        return self.head(x, features)


BASELINES: dict[str, type[nn.Module]] = {"single-frame": SingleFrameNet, "videopose3d": VideoPose3DNet}
