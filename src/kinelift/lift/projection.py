"""The single-frame lifter of Kudo et al. 2018 (arXiv 1803.08244) in numpy, and its authors' weights without Chainer.

A frame of 17 joints (H36M17) is normalised, and four linear layers give each joint's depth. The authors' file is an
npz of plain arrays, `l1/W` ... `l4/b`, and `bn1/gamma` ... `bn3/avg_var` where it was trained with batch norm. Its
activation is not stored in it: said after the name (`FILE.npz?activation=relu`), else read from the `options.json`
that the authors' training writes beside it, else the leaky ReLU of the published weights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np

from kinelift.camera import Camera
from kinelift.errors import InputError, UnknownNameError
from kinelift.lift.onnx import _filled
from kinelift.records import Lifted, Pose2D
from kinelift.safe.npz import read_npz
from kinelift.skeleton import H36M17

_JOINTS = len(H36M17)
_LAYERS = 4
# Chainer's own: the slope of `leaky_relu` and what batch norm adds to the variance.
LEAK = 0.2
BATCH_NORM_EPS = 2e-5
_BATCH_NORM = ("gamma", "beta", "avg_mean", "avg_var")
# The published file is 8.6 MB; eight times its width would fit.
_LARGEST_BYTES = 1 << 29

ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "leaky_relu": lambda x: np.where(x > 0, x, LEAK * x),
    "relu": lambda x: np.maximum(x, 0),
}


def normalised(xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Poses (N, 17, 2) with the hip at the origin, divided by the mean distance of the 16 others to it; (N,) that.

    Any unit and place in gives the same pose out. A pose with missing joints is NaN, one whose joints all lie on the
    hip is zero.
    """
    xy = np.asarray(xy)
    flat = xy - xy[:, :1]
    spread = np.linalg.norm(flat[:, 1:], axis=-1).mean(1)
    flat = flat / np.where(spread == 0, 1, spread)[:, None, None]
    flat[np.isnan(spread)] = np.nan
    return flat, spread


class ProjectionLifter:
    """A lifter read from a Chainer npz of the projection GAN's generator; see `Lifter`.

    Raises `InputError` for a file that is none, `UnknownNameError` for an activation that is none.
    """

    skeleton = H36M17

    def __init__(self, path: Path, activation: str | None = None):
        self.path = Path(path)
        self.name = self.path.stem
        self.activation = _written_activation(self.path) if activation is None else activation
        if self.activation not in ACTIVATIONS:
            raise UnknownNameError(f"activation for {path}", self.activation, ACTIVATIONS)
        self._layers, self.batch_norm = _read_layers(self.path)
        self._hash = hashlib.sha256(self.path.read_bytes()).hexdigest()

    @classmethod
    def named(cls, name: str) -> ProjectionLifter:
        """From `FILE.npz` or `FILE.npz?activation=relu`. Raises `InputError`, `UnknownNameError`."""
        file, mark, options = name.partition("?")
        given = dict(parse_qsl(options, keep_blank_values=True))
        if (mark and not given) or set(given) - {"activation"}:
            raise InputError(f"{name}: the only option of such a file is ?activation={' or '.join(ACTIVATIONS)}")
        return cls(Path(file), given.get("activation"))

    def lift_normalised(self, flat: np.ndarray) -> np.ndarray:
        """Depths (N, 17) of `normalised` poses (N, 17, 2), in their unit, as the network gives them.

        The hip's is near 0, not 0. NaN for a pose with missing joints.
        """
        if flat.shape[1:] != (_JOINTS, 2):
            raise InputError(f"{self.path}: expected poses (N, {_JOINTS}, 2), got {flat.shape}")
        active = ACTIVATIONS[self.activation]
        (w1, b1), (w2, b2), (w3, b3), (w4, b4) = self._layers
        x = flat.reshape(len(flat), 2 * _JOINTS).astype(np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            first = active(x @ w1.T + b1)
            third = active(active(first @ w2.T + b2) @ w3.T + b3 + first)
            depths = third @ w4.T + b4
        if not np.isfinite(depths[np.isfinite(x).all(1)]).all():
            raise InputError(f"{self.path}: the lifter's output is not finite")
        return depths

    def lift(self, pose: Pose2D, camera: Camera) -> Lifted:
        """See `Lifter`. Frames are independent; gaps are interpolated over time before."""
        try:
            flat, _ = normalised(camera.unproject(_filled(pose)))
        except InputError as e:
            raise InputError(f"{self.path}: {e}") from None
        positions = np.concatenate([flat, self.lift_normalised(flat)[..., None]], -1)
        return Lifted(self.skeleton, positions - positions[:, :1], pose.times, "unit")

    def provenance(self) -> dict[str, Any]:
        """See `Lifter`."""
        about = {"layout": "root-spread", "activation": self.activation, "batch_norm": self.batch_norm}
        return {"name": self.name, "sha256": self._hash, **about}


def _written_activation(path: Path) -> str:
    """What the authors' `options.json` beside the weights says, or the published weights' where there is none."""
    options = path.with_name("options.json")
    try:
        if not options.is_file():
            return "leaky_relu"
        if options.stat().st_size > 1_000_000:
            raise ValueError("too large")
        written = json.loads(options.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as e:
        raise InputError(f"{options}: cannot be read as the weights' options ({e}); say ?activation=relu") from None
    name = written.get("activate_func", "leaky_relu") if isinstance(written, dict) else "leaky_relu"
    if not isinstance(name, str):
        raise InputError(f"{options}: expected activate_func to be a name, got {name!r}")
    return name


def _read_layers(path: Path) -> tuple[list[tuple[np.ndarray, np.ndarray]], bool]:
    """Matrices (out, in) and biases (out,) of the four layers with batch norm folded in, and whether there was any."""
    names = [f"l{i}/{k}" for i in range(1, _LAYERS + 1) for k in "Wb"]
    normed = [f"bn{i}/{k}" for i in range(1, _LAYERS) for k in _BATCH_NORM]
    arrays = read_npz(path, "cannot be read as a Chainer npz", names, normed, _LARGEST_BYTES)
    width = len(arrays["l1/b"]) if arrays["l1/b"].ndim else 0
    if arrays["l4/b"].shape == (1,):
        raise InputError(f"{path}: holds a discriminator (one output); the generator's weights are wanted")
    batch_norm = "bn1/gamma" in arrays
    sizes = [2 * _JOINTS, width, width, width, _JOINTS]
    layers = []
    for i in range(1, _LAYERS + 1):
        W = _checked(path, arrays, f"l{i}/W", (sizes[i], sizes[i - 1]))
        b = _checked(path, arrays, f"l{i}/b", (sizes[i],))
        if batch_norm and i < _LAYERS:
            gamma, beta, mean, variance = (_checked(path, arrays, f"bn{i}/{k}", (width,)) for k in _BATCH_NORM)
            if (variance < 0).any():
                raise InputError(f"{path}: bn{i}/avg_var: expected variances of 0 or more")
            gain = gamma / np.sqrt(variance + BATCH_NORM_EPS)
            W, b = gain[:, None] * W, gain * (b - mean) + beta
        layers.append((W.astype(np.float32), b.astype(np.float32)))
    return layers, batch_norm


def _checked(path: Path, arrays: dict[str, np.ndarray], name: str, shape: tuple[int, ...]) -> np.ndarray:
    """One of the arrays as float64. Raises `InputError`."""
    if name not in arrays:
        raise InputError(f"{path}: it lacks {name}")
    array = arrays[name]
    if array.shape != shape or array.dtype.kind != "f":
        raise InputError(f"{path}: {name}: expected floats {shape}, got {array.dtype} {array.shape}")
    if not np.isfinite(array).all():
        raise InputError(f"{path}: {name}: expected finite numbers")
    return array.astype(np.float64)
