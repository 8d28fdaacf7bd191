"""2D key points made fit to lift: `picture` judges what lies at the picture's edge, `points` mends the rest.

Nothing is invented: what cannot be mended keeps confidence 0 and is left to the lifter and the whole-clip solve.
"""

from __future__ import annotations

from kinelift.repair.picture import Sight, within_picture
from kinelift.repair.points import GAP_LIMIT_S, RepairReport, body_size_px, find_swaps, repair

__all__ = [
    "GAP_LIMIT_S",
    "RepairReport",
    "Sight",
    "body_size_px",
    "find_swaps",
    "repair",
    "within_picture",
]
