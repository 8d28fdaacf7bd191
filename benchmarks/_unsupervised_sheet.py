"""A contact sheet of lifted poses: each as it was seen, and its 3D from the front, the side and above."""

from __future__ import annotations

import cv2
import numpy as np

from kinelift.render.figures import png
from kinelift.render.views import side_color
from kinelift.skeleton import H36M17

CELL, COLUMNS, PAPER = 120, 3, 247
# Camera axes are x right, y down, z forward: from the person's left side in the picture, and from above.
VIEWS = {"2D": None, "front": (0, 1), "side": (2, 1), "above": (0, 2)}


def sheet(xy: np.ndarray, positions: np.ndarray) -> bytes:
    """PNG of poses seen (N, 17, 2) and lifted (N, 17, 3), three poses a row, four drawings each."""
    cells = [pose_row(a, b) for a, b in zip(xy, positions, strict=True)]
    empty = np.full_like(cells[0], PAPER)
    cells += [empty] * (-len(cells) % COLUMNS)
    rows = [np.concatenate(cells[i : i + COLUMNS], 1) for i in range(0, len(cells), COLUMNS)]
    head = np.full((20, rows[0].shape[1], 3), PAPER, np.uint8)
    for i in range(COLUMNS * len(VIEWS)):
        at = (i * CELL + i // len(VIEWS) * (CELL // 6) + 8, 14)
        cv2.putText(head, list(VIEWS)[i % len(VIEWS)], at, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (92, 96, 106), 1, cv2.LINE_AA)
    return png(np.concatenate([head, *rows]))


def pose_row(xy: np.ndarray, x: np.ndarray) -> np.ndarray:
    """(CELL, 4 CELL and a gap, 3): one pose's drawings, the three of its body on one scale."""
    size = float(np.ptp(x, axis=0).max())
    drawings = [drawn(xy) if axes is None else drawn(x[:, list(axes)] * (1, 1 if axes[1] == 1 else -1), size)
                for axes in VIEWS.values()]  # fmt: skip
    return np.concatenate([*drawings, np.full((CELL, CELL // 6, 3), PAPER, np.uint8)], 1)


def drawn(points: np.ndarray, size: float = 0.0) -> np.ndarray:
    """(CELL, CELL, 3): a skeleton (17, 2), y down, left blue, right orange; `size`, or its own, fills the cell."""
    canvas = np.full((2 * CELL, 2 * CELL, 3), PAPER, np.uint8)
    low, high = points.min(0), points.max(0)
    scale = 1.7 * CELL / max(float((high - low).max()), size, 1e-6)
    at = np.round((points - (low + high) / 2) * scale + CELL).astype(int)
    for j, p in enumerate(H36M17.parents):
        if p >= 0:
            color = tuple(int(c) for c in side_color(H36M17, j))
            cv2.line(canvas, tuple(map(int, at[p])), tuple(map(int, at[j])), color, 5, cv2.LINE_AA)
    return cv2.resize(canvas, (CELL, CELL), interpolation=cv2.INTER_AREA)
