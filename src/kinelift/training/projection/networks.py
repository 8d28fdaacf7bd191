"""The projection lifters' networks.

The projection GAN's: four linear layers, for the depths (generator) or one verdict (discriminator), Kudo et al. 2018
(arXiv 1803.08244) and its authors' code; `kinelift.lift.projection` is the same in numpy. And `elepose`'s, with the
camera's elevation beside the depths.
"""

from __future__ import annotations

from collections.abc import Callable

from kinelift.errors import MissingExtraError, UnknownNameError
from kinelift.lift.projection import BATCH_NORM_EPS, LEAK
from kinelift.skeleton import H36M17

try:
    import torch
    from torch import Tensor, nn
except ImportError:  # pragma: no cover - depends on the installation
    raise MissingExtraError("training", "pip install 'kinelift[train]'") from None

from torch.nn.functional import leaky_relu

from kinelift.training.projection.body import MIRROR, mirrored

JOINTS = len(H36M17)
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"leaky_relu": lambda: nn.LeakyReLU(LEAK), "relu": nn.ReLU}


class PoseMLP(nn.Module):
    """34 numbers of a normalised 2D pose to `outputs`, the first hidden layer added to the third before its activation.

    Weights N(0, 0.02). Raises `UnknownNameError` for an activation that is none.
    """

    def __init__(
        self, outputs: int = JOINTS, width: int = 1024, batch_norm: bool = False, activation: str = "leaky_relu"
    ):
        super().__init__()
        if activation not in ACTIVATIONS:
            raise UnknownNameError("activation", activation, ACTIVATIONS)
        self.l1, self.l2 = nn.Linear(2 * JOINTS, width), nn.Linear(width, width)
        self.l3, self.l4 = nn.Linear(width, width), nn.Linear(width, outputs)
        for layer in (self.l1, self.l2, self.l3, self.l4):
            nn.init.normal_(layer.weight, 0, 0.02)
            nn.init.zeros_(layer.bias)
        self.bn1, self.bn2, self.bn3 = (
            nn.BatchNorm1d(width, eps=BATCH_NORM_EPS) if batch_norm else nn.Identity() for _ in range(3)
        )
        self.active = ACTIVATIONS[activation]()

    def forward(self, flat: Tensor) -> Tensor:
        """(B, 34) interleaved x, y of `normalised` poses to (B, outputs)."""
        first = self.active(self.bn1(self.l1(flat)))
        second = self.active(self.bn2(self.l2(first)))
        return self.l4(self.active(self.bn3(self.l3(second)) + first))


class _Block(nn.Module):
    """x + two linear layers, leaky ReLU after each."""

    def __init__(self, width: int):
        super().__init__()
        self.inner, self.outer = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + leaky_relu(self.outer(leaky_relu(self.inner(x))))


class EleposeNet(nn.Module):
    """Poses (N, 34) to depths (N, 17) from the hip, in spreads, and the camera's elevation (N,), radians."""

    def __init__(self, width: int = 512):
        super().__init__()
        self.first, self.shared = nn.Linear(34, width), _Block(width)
        self.pose, self.depths = nn.Sequential(_Block(width), _Block(width)), nn.Linear(width, 16)
        self.camera, self.angle = _Block(width), nn.Linear(width, 1)
        with torch.no_grad():
            self.depths.weight.mul_(0.1)
            self.angle.weight.mul_(0.1)

    def forward(self, flat: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        h = self.shared(leaky_relu(self.first(flat)))
        depths = self.depths(self.pose(h))
        return nn.functional.pad(depths, (1, 0)), 0.5 * self.angle(self.camera(h))[:, 0]


class BothSides(nn.Module):
    """The depths of an `EleposeNet`: the mean of its answers for a pose and for its mirror image."""

    def __init__(self, net: EleposeNet):
        super().__init__()
        self.net = net

    def forward(self, flat: Tensor) -> Tensor:
        """(N, 34) to (N, 17)."""
        other = mirrored(flat.unflatten(1, (17, 2))).flatten(1)
        return 0.5 * (self.net(flat)[0] + self.net(other)[0][:, MIRROR])
