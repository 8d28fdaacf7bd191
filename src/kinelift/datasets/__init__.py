"""Readers of motion data sets; nothing is downloaded and no pickle is ever run."""

from __future__ import annotations

from kinelift.datasets.base import PoseSet, View

__all__ = ["PoseSet", "View"]
