"""Lifters against 3D truth: `evaluate` gives a `Table` that prints itself and writes CSV."""

from kinelift.evaluate.answers import FrameLifter, Method, read_method
from kinelift.evaluate.protocols import PROTOCOLS
from kinelift.evaluate.run import evaluate
from kinelift.evaluate.table import Score, Table

__all__ = ["PROTOCOLS", "FrameLifter", "Method", "Score", "Table", "evaluate", "read_method"]
