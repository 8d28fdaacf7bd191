"""The projection GAN's network: four linear layers, for the depths (generator) or one verdict (discriminator).

Kudo et al. 2018 (arXiv 1803.08244) and its authors' code; `kinelift.lift.projection` is the same in numpy.
"""

from __future__ import annotations

from collections.abc import Callable

from kinelift.errors import MissingExtraError, UnknownNameError
from kinelift.lift.projection import BATCH_NORM_EPS, LEAK
from kinelift.skeleton import H36M17

try:
    from torch import Tensor, nn
except ImportError:  # pragma: no cover - depends on the installation
    raise MissingExtraError("training", "pip install 'kinelift[train]'") from None

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
