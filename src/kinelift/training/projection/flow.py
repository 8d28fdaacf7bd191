"""A density of 2D poses of 17 joints: how likely a turned and projected pose is among those seen.

ElePose (Wandt et al. 2022) keeps 26 of 34 principal components and forgets the rest. Here the rest are a Gaussian, so
what never varies in 2D (a spine joint drawn half way up, say) may not vary in a turned view either. The couplings are
those of `training.prior`.
"""

from __future__ import annotations

from collections.abc import Callable

from kinelift.errors import MissingExtraError
from kinelift.skeleton import H36M17

try:
    import torch
except ImportError:  # pragma: no cover - depends on the installation
    raise MissingExtraError("training", "pip install 'kinelift[train]'") from None
from torch import Tensor, nn

from kinelift.training.prior import Coupling
from kinelift.training.projection.body import mirrored

DIMENSIONS = 2 * len(H36M17)


class PoseFlow(nn.Module):
    """Negative log-likelihood of normalised poses.

    Attributes:
        mean: (34,) mean pose.
        basis: (34, D) whitened principal components that the couplings see.
        rest: (34, 34 - D) the others, whitened: Gaussian, or left out where `dimensions` was given.
    """

    mean: Tensor
    basis: Tensor
    rest: Tensor

    def __init__(self, dimensions: int, rest: int, hidden: int = 256, layers: int = 8):
        super().__init__()
        self.register_buffer("mean", torch.zeros(DIMENSIONS))
        self.register_buffer("basis", torch.zeros(DIMENSIONS, dimensions))
        self.register_buffer("rest", torch.zeros(DIMENSIONS, rest))
        g = torch.Generator().manual_seed(0)
        orders = [torch.randperm(dimensions, generator=g) for _ in range(layers)]
        self.couplings = nn.ModuleList(Coupling(dimensions, hidden, order) for order in orders)

    @classmethod
    def whitening(cls, flat: Tensor, blur: float, dimensions: int | None = None, hidden: int = 256) -> PoseFlow:
        """A flow, not fitted yet, whose input is white for poses (N, 17, 2) blurred by `blur`.

        Components with a standard deviation over twice the blur go through the couplings, the others are Gaussian;
        with `dimensions` that many go through the couplings and the others are left out, as ElePose does.
        """
        x = flat.flatten(1).double()
        mean = x.mean(0)
        covariance = (x - mean).T @ (x - mean) / len(x) + blur**2 * torch.eye(
            DIMENSIONS, dtype=x.dtype, device=x.device
        )
        variance, vectors = torch.linalg.eigh(covariance)
        kept = variance > 4 * blur**2
        if dimensions is not None:
            kept = torch.arange(DIMENSIONS, device=x.device) >= DIMENSIONS - dimensions
        left = ~kept if dimensions is None else torch.zeros_like(kept)
        flow = cls(int(kept.sum()), int(left.sum()), hidden).to(flat.device)
        flow.mean.copy_(mean)
        flow.basis.copy_(vectors[:, kept] / variance[kept].sqrt())
        flow.rest.copy_(vectors[:, left] / variance[left].sqrt())
        return flow

    def forward(self, flat: Tensor) -> Tensor:
        """(N,) negative log-likelihood, nats up to a constant, of poses (N, 17, 2)."""
        centred = flat.flatten(1) - self.mean
        z = centred @ self.basis
        total = 0.5 * (centred @ self.rest).square().sum(1)
        for coupling in self.couplings:
            z, change = coupling(z)
            total = total - change
        return total + 0.5 * z.square().sum(1)


def fit_flow(
    flat: Tensor,
    steps: int,
    blur: float = 0.03,
    dimensions: int | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> PoseFlow:
    """Fit to normalised poses (N, 17, 2) and their mirror images, each blurred anew by `blur` of its size; AdamW."""
    torch.manual_seed(seed)
    poses = torch.cat([flat, mirrored(flat)])
    flow = PoseFlow.whitening(poses, blur, dimensions)
    optimiser = torch.optim.AdamW(flow.couplings.parameters(), 1e-3, weight_decay=1e-4, fused=True)
    plan = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(steps, 1))
    for step in range(steps):
        x = poses[torch.randint(len(poses), (512,), device=poses.device)]
        loss = flow(x + blur * torch.randn_like(x)).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(flow.couplings.parameters(), 5.0)
        optimiser.step()
        plan.step()
        if progress:
            progress(step + 1, steps)
    return flow.eval().requires_grad_(False)
