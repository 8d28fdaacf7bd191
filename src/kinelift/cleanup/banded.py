"""Symmetric positive definite systems in which a frame meets only the next two: solve, and the inverse's diagonal.

The matrix is kept as LAPACK's lower band, into which blocks are written through a strided view: row i of a frame's
blocks starts one column further right in the band. Time and memory are linear in the number of frames.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import lapack

from kinelift.errors import KineliftError


class Blocks(NamedTuple):
    """Views to write into, as `BlockBanded` says: (T, n, n), (T - 1, n, n) and (T - 2, n, n)."""

    own: np.ndarray
    next: np.ndarray
    after: np.ndarray


class BlockBanded:
    """A (T n, T n) symmetric matrix whose blocks (n, n) couple frame t with t, t + 1 and t + 2.

    Write the upper triangle of frame t's own block into `own[t]` (its lower triangle must stay 0), and the whole
    blocks of rows t, columns t + 1 and t + 2 into `next[t]` and `after[t]`. `factor()` then overwrites them all.
    """

    def __init__(self, frames: int, n: int) -> None:
        self.frames, self.n = frames, n
        self._width = 3 * n + 1
        self._band = np.zeros(frames * n * self._width)
        item = self._band.itemsize
        self._blocks = np.lib.stride_tricks.as_strided(
            self._band, (frames, n, 3 * n), (n * self._width * item, (self._width - 1) * item, item)
        )
        self.own = self._blocks[:, :, :n]
        self.next = self._blocks[: max(frames - 1, 0), :, n : 2 * n]
        self.after = self._blocks[: max(frames - 2, 0), :, 2 * n :]

    def leading(self, n: int) -> Blocks:
        """The blocks of each frame's first n unknowns."""
        return Blocks(*(x[:, :n, :n] for x in (self.own, self.next, self.after)))

    def factor(self) -> None:
        """Cholesky factorisation in place. Raises `KineliftError` where the matrix is not positive definite."""
        band = self._band.reshape(-1, self._width).T
        factored, info = lapack.dpbtrf(band, lower=1, overwrite_ab=1)
        if info:
            raise KineliftError(f"the whole-clip solve has no answer: its equations break down at unknown {info}")
        if not np.shares_memory(factored, band):
            band[:] = factored

    def solve(self, right: np.ndarray) -> np.ndarray:
        """Answer (T, n) for a right-hand side (T, n), after `factor()`."""
        x, _ = lapack.dpbtrs(self._band.reshape(-1, self._width).T, right.reshape(-1, 1), lower=1)
        return x.reshape(right.shape)

    def inverse_blocks(self) -> np.ndarray:
        """(T, n, n) each frame's own block of the inverse, after `factor()`.

        Takahashi's recursion from the last frame to the first, with blocks: A = L L^T; where R stands for the two
        frames after t, G = L_Rt L_tt^-1: inverse_tR = -G^T inverse_RR, inverse_tt = (L_tt L_tt^T)^-1 - inverse_tR G.
        """
        n, out = self.n, np.empty((self.frames, self.n, self.n))
        later = np.zeros((2 * n, 2 * n))
        for t in range(self.frames - 1, -1, -1):
            columns = self._blocks[t]  # row i holds column i of L
            own, info = lapack.dtrtri(np.triu(columns[:, :n]), lower=0)
            if info:
                raise KineliftError("the whole-clip solve has no uncertainty: its equations break down")
            beyond = min(self.frames - 1 - t, 2) * n
            G = own @ columns[:, n : n + beyond]
            across = -G @ later[:beyond, :beyond]
            out[t] = own @ own.T - across @ G.T
            kept = later[:n, :n].copy()
            later[:n, :n] = out[t]
            later[:n, n:], later[n:, :n] = across[:, :n] if beyond else 0, across[:, :n].T if beyond else 0
            later[n:, n:] = kept
        return out
