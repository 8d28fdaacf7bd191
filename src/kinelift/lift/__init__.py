"""Lifters: 2D key points to root-relative 3D. Adding one is a file here and a line in `LIFTERS`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from kinelift.errors import InputError, UnknownNameError
from kinelift.lift.base import Lifter, answer, mapped
from kinelift.lift.onnx import OnnxLifter
from kinelift.lift.projection import ProjectionLifter

__all__ = ["LIFTERS", "Lifter", "OnnxLifter", "ProjectionLifter", "answer", "load_lifter", "mapped"]


def _shipped(name: str) -> Callable[[int], Lifter]:
    return lambda threads: OnnxLifter(Path(str(files("kinelift") / "assets" / f"{name}.onnx")), threads)


LIFTERS: dict[str, Callable[[int], Lifter]] = {
    "temporal": _shipped("temporal"),
    "projection": _shipped("projection"),
}


def load_lifter(name: str, threads: int = 1) -> Lifter:
    """A lifter by registry name, ONNX file, Chainer npz or `package.module:Class`.

    Raises `InputError`, `UnknownNameError`.
    """
    if name in LIFTERS:
        return LIFTERS[name](threads)
    if name.partition("?")[0].endswith(".npz"):
        return ProjectionLifter.named(name)
    if name.endswith(".onnx") or Path(name).is_file():
        if not Path(name).is_file():
            raise InputError(f"{name}: no such lifter file")
        return OnnxLifter(Path(name), threads)
    if ":" in name:
        return _from_code(name)
    raise UnknownNameError("lifter", name, [*LIFTERS, "FILE.onnx", "FILE.npz", "package.module:Class"])


def _from_code(name: str) -> Lifter:
    module, _, attribute = name.partition(":")
    try:
        lifter = getattr(importlib.import_module(module), attribute)()
    except (ImportError, AttributeError, TypeError) as e:
        raise InputError(f"lifter '{name}' cannot be loaded: {e}") from None
    if not isinstance(lifter, Lifter):
        raise InputError(f"lifter '{name}' lacks a name, a skeleton, lift() or provenance()")
    return lifter
