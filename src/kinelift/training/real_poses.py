"""Real 2D poses without 3D beside the supervised batches: pictures of poses that no mocap here holds.

Kudo et al. 2018's idea, semi-supervised: what is lifted from a real pose must project onto it, and seen from elsewhere
must look like a real pose again (`training.unlabelled`, `training.prior`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kinelift.errors import MissingExtraError
from kinelift.lift.rays import OPINION, encode
from kinelift.training.prior import as_rays, fit_prior, read_mpii

try:
    import torch
except ImportError:  # pragma: no cover - depends on the installation
    raise MissingExtraError("training", "pip install 'kinelift[train]'") from None
from torch import Tensor, nn

from kinelift.training.unlabelled import Terms, unlabelled_losses, weighted

# The shortest window that a lifter is ever given: a pose in a picture does not move.
FRAMES = 32


class RealPoses:
    """Poses of a file as windows of people who stand still, and a prior learned from them.

    `path` is an .npy file of MPII poses, (N, 34) pixels. Raises `InputError`.
    """

    def __init__(self, path: Path, windows: int, seed: int = 0, prior_steps: int = 800, terms: Terms | None = None):
        self.poses = read_mpii(path)
        self.windows = windows
        self.terms = terms or Terms()
        self.prior = fit_prior(self.poses, steps=prior_steps, seed=seed).requires_grad_(False)

    def loss(self, net: nn.Module, rng: np.random.Generator) -> Tensor:
        """The weighted loss of some windows, differentiable in the network's parameters."""
        chosen = rng.integers(0, len(self.poses), self.windows)
        features = torch.from_numpy(encode(*as_rays(rng, self.poses[chosen], FRAMES))[0])
        features = features.to(next(net.parameters()).device)
        none = features.new_zeros(*features.shape[:2], OPINION)
        return weighted(unlabelled_losses(net, features, none, self.prior, rng), self.terms)
