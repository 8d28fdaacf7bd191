"""The temporal lifter's network: a stack of dilated three-tap layers over time, one forward pass for all frames.

Two frames at 30 Hz make one token: people move little in 33 ms, and half the tokens are half the work. Tensors are
(B, T, C), T frames or tokens. A convolution is written as one matrix product of shifted copies, three times as fast on
a CPU in bfloat16 as `nn.Conv1d`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from kinelift.lift.rays import FEATURES, INPUT_JOINTS, LOG_SPREAD, OPINION
from kinelift.skeleton import BODY26

J = len(BODY26)
OUTPUTS = J * 3 + J + 3 + 4 + 1
PAIR = 2  # frames a token
SEEN = len(INPUT_JOINTS)
_SEEN = list(BODY26.indices(*INPUT_JOINTS))
# Where in a body a hip or a shoulder is, two marker sets or detectors say differently by 2 to 3 cm (hips: Leardini et
# al. 1999); 14 mm an axis is 24 mm in space. One source of training motion cannot teach that, so sigma is never below.
DEFINITION_M = 0.014
# A key point moves its joint by no more than this, metres: further off, one of the two is plainly wrong.
_PULL_M = 0.25


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


def read_heads(y: Tensor, features: Tensor, trust: Tensor | None = None) -> Prediction:
    """A prediction from raw outputs (B, T, 112) and the features they came from.

    With `trust` (B, T, 21), logits, seen joints move sideways by that share of the way to their key points' rays.
    """
    positions = y[..., : J * 3].unflatten(-1, (J, 3)) * 0.3
    # The mean joint of a person of 1.70 m is about 0.45 m off the root's axis: distance = 0.45 / spread, corrected.
    distance = 0.45 * torch.exp(0.3 * y[..., J * 4 + 7] - features[..., LOG_SPREAD])
    positions = positions - positions[..., :1, :]
    return Prediction(
        positions if trust is None else _pulled(positions, distance, features, trust),
        torch.log(torch.exp(2 * y[..., J * 3 : J * 4] - 6.0) + DEFINITION_M**2) / 2,
        nn.functional.normalize(y[..., J * 4 : J * 4 + 3], dim=-1),
        y[..., J * 4 + 3 : J * 4 + 7],
        distance,
    )


def _pulled(positions: Tensor, distance: Tensor, features: Tensor, trust: Tensor) -> Tensor:
    """Root-relative positions (B, T, 26, 3), seen joints moved towards the rays that `features` say, at their depth.

    Through the layers alone, even exact key points come out 15 mm off sideways. How far is smoothed over five frames:
    what key points say better than the layers is where a limb is, not how it trembles.
    """
    rays = features[..., : 2 * SEEN].unflatten(-1, (SEEN, 2)) * features[..., LOG_SPREAD, None, None].exp()
    share = torch.sigmoid(trust) * features[..., 2 * SEEN : 3 * SEEN].clamp(0, 1)
    joints = positions[..., _SEEN, :]
    aside = rays * (distance[..., None] + joints[..., 2])[..., None] - joints[..., :2]
    pull = _smoothed(share[..., None] * aside.clamp(-_PULL_M, _PULL_M))
    moved = torch.cat([joints[..., :2] + pull, joints[..., 2:]], -1)
    return torch.cat([positions, moved], -2)[..., _SOURCE, :]


def _smoothed(x: Tensor) -> Tensor:
    """(B, T, ...) averaged over five frames by 1, 4, 6, 4, 1; the ends are held."""
    for _ in range(2):
        held = torch.cat([x[:, :1], x, x[:, -1:]], 1)
        x = (held[:, :-2] + 2 * x + held[:, 2:]) / 4
    return x


# Where each of the 26 joints lies in the 26 unmoved ones followed by the 21 moved.
_SOURCE = [J + _SEEN.index(j) if j in _SEEN else j for j in range(J)]


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

    def __init__(self, channels: int = 256, hidden: int = 1536, dilations: tuple[int, ...] = (1, 1, 2, 4, 8, 4, 2, 1)):
        super().__init__()
        self.channels, self.hidden, self.dilations = channels, hidden, dilations
        self.stem = nn.Linear(PAIR * (FEATURES + OPINION), channels)
        self.blocks = nn.Sequential(*(Block(channels, hidden, d) for d in dilations))
        self.norm = nn.LayerNorm(channels)
        self.head = nn.Linear(channels, PAIR * OUTPUTS)
        self.trust = nn.Linear(channels, PAIR * SEEN)
        with torch.no_grad():
            self.head.weight.mul_(0.3)
            self.trust.weight.mul_(0.1)
            self.trust.bias.fill_(-0.5)

    def forward(self, features: Tensor, opinion: Tensor) -> Prediction:
        """See the class. The stream between blocks stays in float32: velocities need more than 8 bits."""
        x = torch.cat([features, opinion], -1)
        count = x.shape[1]
        even = torch.cat([x, x[:, -1:]], 1)[:, : count + count % PAIR]
        x = self.blocks(self.stem(even.unflatten(1, (-1, PAIR)).flatten(2)).float())
        with torch.autocast(x.device.type, enabled=False):
            x = self.norm(x)
            y = self.head(x).unflatten(2, (PAIR, OUTPUTS)).flatten(1, 2)
            trust = self.trust(x).unflatten(2, (PAIR, SEEN)).flatten(1, 2)
            return read_heads(y[:, :count], features, trust[:, :count])


def widened(net: TemporalNet, hidden: int) -> TemporalNet:
    """The same answers from a network with more hidden units a layer, the new ones silent at first.

    What goes into them is drawn, what comes out of them begins at zero (after Chen et al. 2016, "Net2Net").
    """
    out = TemporalNet(net.channels, hidden, net.dilations)
    with torch.no_grad():
        for (name, new), old in zip(out.state_dict().items(), net.state_dict().values(), strict=True):
            if name.endswith("spread.weight"):
                new.zero_()
            new[tuple(slice(n) for n in old.shape)] = old
    return out
