"""Readers of motion data sets; nothing is downloaded and no pickle is ever run.

A reader of single poses is `reader(path, split, two_d="gt") -> PoseSet`, with "train" or "test" as the split, and one
line in `DATASETS`. Raises `InputError` for data that is missing (saying what is expected and from whom) or malformed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from kinelift.datasets import h36m, mpi_inf_3dhp, mpii, views17
from kinelift.datasets.base import PoseSet, View

__all__ = ["DATASETS", "PoseSet", "Reader", "View"]


class Reader(Protocol):
    """What an entry of `DATASETS` must do."""

    def __call__(self, path: Path, split: str, two_d: str = "gt") -> PoseSet:
        """The poses of a data set's part. Raises `InputError`."""
        ...


DATASETS: dict[str, Reader] = {
    "h36m": h36m.read,
    "mpii": mpii.read,
    "mpi-inf-3dhp": mpi_inf_3dhp.read,
    "mocap": views17.read,
}
