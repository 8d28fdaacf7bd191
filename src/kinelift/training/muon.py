"""Muon (Jordan et al. 2024): momentum whose matrices are made nearly orthogonal before they are followed.

A layer that reads three taps holds three maps side by side; each is made orthogonal by itself, which is cheaper and
keeps one tap's large gradient from hiding another's.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

# The quintic Newton-Schulz iteration of the paper, which drives singular values to about 1 in five steps.
_A, _B, _C, _STEPS = 3.4445, -4.775, 2.0315, 5


def orthogonal(matrix: Tensor) -> Tensor:
    """(rows, columns) with every singular value near 1 and the same singular vectors, in float32.

    The iteration multiplies by polynomials of the matrix's own Gram matrix, which commute: they are multiplied with
    each other first, in the smaller of the two sizes, and the matrix is touched twice instead of ten times.
    """
    x = matrix.float()
    tall = len(x) > len(x.T)
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    gram = x @ x.T
    turn = None
    for left in reversed(range(_STEPS)):
        step = torch.addmm(gram, gram, gram, beta=_B, alpha=_C)
        step.diagonal().add_(_A)
        turn = step if turn is None else step @ turn
        gram = step @ gram @ step if left else gram
    x = turn @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, made orthogonal, as large as AdamW's steps would be (Liu et al. 2025); decoupled decay.

    Args:
        params: Matrices (rows, columns).
        lr: As for AdamW.
        taps: How many maps lie side by side in a matrix; 1 where absent.
        momentum: Of the gradients' running sum.
        weight_decay: As for AdamW.
    """

    def __init__(
        self,
        params: list[nn.Parameter],
        lr: float,
        taps: dict[nn.Parameter, int],
        momentum: float = 0.95,
        weight_decay: float = 0.01,
    ):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.taps = taps

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step; `closure` is not used."""
        for group in self.param_groups:
            for p in group["params"]:
                buffer = self.state[p].setdefault("momentum", torch.zeros_like(p))
                buffer.lerp_(p.grad, 1 - group["momentum"])
                ahead = p.grad.lerp(buffer, group["momentum"])
                maps = ahead.chunk(self.taps.get(p, 1), dim=1)
                size = group["lr"] * 0.2 * max(maps[0].shape) ** 0.5
                turned = torch.cat([orthogonal(m) for m in maps], 1)
                p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(turned, alpha=size)
