"""A trained network as an ONNX lifter: the `rays` layout of `kinelift-lifter/1`, with what made it in the metadata."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kinelift.lift.rays import FEATURES, INPUT_JOINTS, OPINION
from kinelift.training.network import Prediction

# Matrices of at least so many numbers are stored in 16 bits, and in 8.
_LARGE, _HUGE = 1024, 65_536
OUTPUTS = ("positions", "sigma", "gravity", "contact", "distance")


class _Exported(torch.nn.Module):
    def __init__(self, net: torch.nn.Module):
        super().__init__()
        self.net = net

    def forward(self, features: torch.Tensor, opinion: torch.Tensor | None = None) -> tuple[torch.Tensor, ...]:
        if opinion is None:
            opinion = torch.zeros_like(features[..., :1]).expand(-1, -1, OPINION)
        said: Prediction = self.net(features, opinion)
        return said.positions, torch.exp(said.log_sigma), said.gravity, torch.sigmoid(said.contact), said.distance


def export(
    net: torch.nn.Module, path: Path, config: dict[str, Any], measured: dict[str, float], own_3d: bool, data: str
) -> Path:
    """Write the network as ONNX; returns the path.

    `measured` are its metrics on held-out windows, `data` names what it was trained on. Only a network that has seen
    detectors' own 3D (`own_3d`) gets an input for it.
    """
    import onnx

    axes = {0: "batch", 1: "frames"}
    inputs = {"features": FEATURES, "opinion": OPINION} if own_3d else {"features": FEATURES}
    example = tuple(torch.zeros(1, 64, n) for n in inputs.values())
    with warnings.catch_warnings():  # the exporter tells of its own deprecation and of constants that it keeps
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Exported(net).eval(), example, str(path), input_names=list(inputs), output_names=list(OUTPUTS),
            dynamic_axes=dict.fromkeys([*inputs, *OUTPUTS], axes), opset_version=17, dynamo=False,
        )  # fmt: skip
    model = onnx.load(path)
    _shrink(model)
    about = {
        "format": "kinelift-lifter/1",
        "layout": "rays",
        "input_joints": list(INPUT_JOINTS),
        "output_skeleton": "body26",
        "scale": "metric",
        "rate_hz": 30,
        "training_data": data,
        "licence": "Apache-2.0",
        "config": config,
        "held_out": {k: round(v, 4) for k, v in measured.items()},
    }
    for key, value in about.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value if isinstance(value, str) else json.dumps(value)
    onnx.save(model, path)
    return path


def _shrink(model: Any) -> None:
    """Store large matrices in 8 bits, each column with its scale, smaller ones in 16, in place.

    The answers move by a tenth of a millimetre. The runtime widens them once, when it opens the file.
    """
    from onnx import TensorProto, helper, numpy_helper

    widened = []
    for array in list(model.graph.initializer):
        values = numpy_helper.to_array(array)
        if values.dtype != np.float32 or values.ndim != 2 or values.size < _LARGE or not np.isfinite(values).all():
            continue
        name = array.name
        if values.size >= _HUGE:
            scale = np.maximum(np.abs(values).max(0, keepdims=True), 1e-30) / 127
            array.CopyFrom(numpy_helper.from_array(np.rint(values / scale).astype(np.int8), f"{name}.steps"))
            model.graph.initializer.append(numpy_helper.from_array(scale, f"{name}.scale"))
            widened.append(helper.make_node("Cast", [f"{name}.steps"], [f"{name}.whole"], to=TensorProto.FLOAT))
            widened.append(helper.make_node("Mul", [f"{name}.whole", f"{name}.scale"], [name]))
        elif np.abs(values).max() <= np.finfo(np.float16).max:
            array.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
            widened.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*widened, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
