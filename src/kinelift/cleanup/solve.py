"""The whole-clip solve: joint rotations and root fitted to everything known at once.

Gauss-Newton on the degrees of freedom of `body`. `residuals` says what is known, `normal` turns it into equations in
which a frame meets only the next two, `banded` solves them in time linear in the clip's length. Long clips are solved
in windows that overlap.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kinelift.cleanup.body import moved
from kinelift.cleanup.evidence import Evidence, Weights
from kinelift.cleanup.normal import normal_equations
from kinelift.cleanup.residuals import costs
from kinelift.kinematics import forward_kinematics, nearest_rotation
from kinelift.skeleton import BODY26

# Frames of a window, and frames it shares with the next: of these the quarter at either end is thrown away, and over
# the middle half one window fades into the other.
WINDOW, OVERLAP = 600, 80


def solve(
    e: Evidence, local: np.ndarray, root: np.ndarray, iterations: int, weights: Weights | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Local rotation matrices (T, 26, 3, 3) and root (T, 3) after some Gauss-Newton steps.

    Time is linear in the clip's length; working memory is that of a window.
    """
    weights = weights or Weights()
    out_local, out_root = np.empty_like(local), np.empty_like(root)
    for frames, new in windows(len(root), WINDOW, OVERLAP):
        part = _steps(e.sliced(frames), local[frames], root[frames], iterations, weights)
        fading = np.flatnonzero(new[: frames.stop - frames.start] < 1)
        kept = slice(frames.start + (fading[-1] + 1 if len(fading) else 0), frames.stop)
        both = np.flatnonzero((new > 0) & (new < 1))
        at, w = frames.start + both, new[both, None]
        out_root[at] = (1 - w) * out_root[at] + w * part[1][both]
        w = w[..., None, None]
        out_local[at] = nearest_rotation((1 - w) * out_local[at] + w * part[0][both])
        out_local[kept], out_root[kept] = (x[kept.start - frames.start :] for x in part)
    return out_local, out_root


def windows(T: int, window: int, overlap: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Slices of T frames in order, and how much (N,) of each slice's answer counts where the one before has one too."""
    start = 0
    while True:
        stop = T if T - start <= window + overlap else start + window + overlap
        new = np.ones(stop - start)
        if start:
            quarter = overlap // 4
            new[:overlap] = np.clip((np.arange(overlap) - quarter + 0.5) / (overlap - 2 * quarter), 0, 1)
        yield slice(start, stop), new
        if stop == T:
            return
        start += window


def _steps(
    e: Evidence, local: np.ndarray, root: np.ndarray, iterations: int, weights: Weights
) -> tuple[np.ndarray, np.ndarray]:
    for _ in range(iterations):
        positions, glob = forward_kinematics(BODY26, e.offsets, local, root)
        system, gradient = normal_equations(costs(e, positions, local, weights), positions, glob, weights)
        system.factor()
        local, root = moved(local, root, -system.solve(gradient))
    return local, root
