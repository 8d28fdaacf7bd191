"""The whole-clip solve: joint rotations and root fitted to everything known at once.

Gauss-Newton on the degrees of freedom of `body`. `residuals` says what is known, `normal` turns it into equations in
which a frame meets only the next two, `banded` solves them in time linear in the clip's length. Long clips are solved
window by window.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kinelift.cleanup.body import DOF, moved
from kinelift.cleanup.evidence import Evidence, Weights
from kinelift.cleanup.normal import normal_equations
from kinelift.cleanup.residuals import costs
from kinelift.kinematics import forward_kinematics
from kinelift.skeleton import BODY26

# Frames that one window settles, and frames it looks ahead.
WINDOW, AHEAD = 720, 90
# A frame meets the next two: so many neighbours on either side are part of what a window knows.
_REACH = 2


def solve(
    e: Evidence, local: np.ndarray, root: np.ndarray, iterations: int, weights: Weights | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Local rotation matrices (T, 26, 3, 3) and root (T, 3) after some Gauss-Newton steps.

    Long clips take each step window by window: a window starts from where the one before ended, looks ahead, and holds
    on to the solution so far beyond. Steps end where the whole clip's would. Time is linear in the clip's length,
    working memory that of a window. Cameras that may be off follow in `e`, in place.
    """
    weights = weights or Weights()
    local, root = local.copy(), root.copy()
    for _ in range(iterations):
        for start, settled, stop in windows(len(root), WINDOW, AHEAD):
            known = slice(max(start - _REACH, 0), min(stop + _REACH, len(root)))
            step = _step(e.sliced(known), local[known], root[known], start - known.start, known.stop - stop, weights)
            new, step = slice(start, settled), step[: settled - start]
            local[new], root[new] = moved(local[new], root[new], step[:, :DOF])
            e.sway_by(new, step[:, DOF:])
    return local, root


def path_step(
    e: Evidence, local: np.ndarray, root: np.ndarray, way: np.ndarray, weights: Weights
) -> tuple[float, float]:
    """By how much cameras should lie further along `way` (T, 3), and the standard deviation.

    A Gauss-Newton step of all that `solve` moves and of this one unknown more, which borders the banded system and is
    left when all else is eliminated (Schur complement). Windows of long clips are taken as independent. For cameras
    that may be off.
    """
    slope = curvature = 0.0
    for start, stop, _ in windows(len(root), WINDOW, 0):
        part = slice(start, stop)
        positions, glob = forward_kinematics(BODY26, e.offsets, local[part], root[part])
        known = costs(e.sliced(part), positions, local[part], weights)
        system, gradient = normal_equations(known, positions, glob, weights)
        assert known.sway is not None
        shared, own, pull = known.sway.along(way[part], system.leading(system.n), gradient)
        system.factor()
        freed = system.solve(shared.copy())
        curvature += own - (shared * freed).sum()
        slope += pull - (gradient * freed).sum()
    return -slope / curvature, curvature**-0.5


def windows(T: int, window: int, ahead: int) -> Iterator[tuple[int, int, int]]:
    """Where windows over T frames start, up to where they settle, and where they stop."""
    start = 0
    while start < T:
        settled = start + window if T - start > window + ahead else T
        yield start, settled, min(settled + ahead, T)
        start = settled


def _step(e: Evidence, local: np.ndarray, root: np.ndarray, before: int, after: int, weights: Weights) -> np.ndarray:
    """(T - before - after, n) Gauss-Newton step of all frames but so many first and last ones, which stay."""
    positions, glob = forward_kinematics(BODY26, e.offsets, local, root)
    inner = slice(before, len(root) - after)
    known = costs(e, positions, local, weights).inner(before, after)
    system, gradient = normal_equations(known, positions[inner], glob[inner], weights)
    system.factor()
    return -system.solve(gradient)
