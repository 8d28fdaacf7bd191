"""A single-frame lifter as files: ONNX of the layout `root-spread` of `kinelift-lifter/1`, and safetensors."""

from __future__ import annotations

import copy
import json
import warnings
from pathlib import Path
from typing import Any

import torch

from kinelift.errors import InputError
from kinelift.lift.onnx import FORMAT as LIFTER_FORMAT
from kinelift.skeleton import H36M17
from kinelift.training.projection.networks import PoseMLP

FORMAT = "kinelift-projection/1"


def export(
    net: torch.nn.Module,
    path: Path,
    config: dict[str, Any],
    measured: dict[str, float],
    data: str,
    licence: str | None = None,
) -> Path:
    """Write a network (B, 34) -> depths (B, 17), or positions (B, 51), as an ONNX lifter; returns the path.

    `measured` are its metrics on held-out poses, `data` names what it was trained on, `licence` is the weights', where
    it is known.
    """
    import onnx

    with warnings.catch_warnings():  # the exporter tells of its own deprecation and of constants that it keeps
        warnings.simplefilter("ignore")
        torch.onnx.export(
            copy.deepcopy(net).cpu().eval(), (torch.zeros(2, 2 * len(H36M17)),), str(path), input_names=["flat"],
            output_names=["lifted"], dynamic_axes={"flat": {0: "poses"}, "lifted": {0: "poses"}}, opset_version=17,
            dynamo=False,
        )  # fmt: skip
    model = onnx.load(path)
    about: dict[str, Any] = {
        "format": LIFTER_FORMAT,
        "layout": "root-spread",
        "output_skeleton": H36M17.name,
        "scale": "unit",
        "training_data": data,
        "config": config,
        "held_out": {k: round(v, 4) for k, v in measured.items()},
    }
    if licence is not None:
        about["licence"] = licence
    for key, value in about.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value if isinstance(value, str) else json.dumps(value)
    onnx.save(model, path)
    return path


def save_weights(net: torch.nn.Module, path: Path, config: dict[str, Any]) -> Path:
    """Write a network's weights as safetensors with the options that made it; returns the path."""
    from safetensors.torch import save_file

    state = {k: v.detach().cpu().contiguous() for k, v in net.state_dict().items()}
    save_file(state, path, {FORMAT: json.dumps(config)})  # of several keys the order would be left to chance
    return path


def load_generator(path: Path) -> PoseMLP:
    """The projection GAN's generator from `save_weights`' file, ready for inference. Raises `InputError`."""
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt") as f:
            about = f.metadata() or {}
            state = {k: f.get_tensor(k) for k in f.keys()}  # noqa: SIM118 - it is no dict
        if FORMAT not in about:
            raise ValueError(f"its format is not {FORMAT}")
        config = json.loads(about[FORMAT])
        net = PoseMLP(width=len(state["l1.bias"]), batch_norm=config["batch_norm"], activation=config["activation"])
        net.load_state_dict(state)
    except Exception as e:  # safetensors' own types, or weights that do not fit
        reason = (str(e).splitlines() or [type(e).__name__])[0][:120]
        raise InputError(f"{path}: cannot be read as a generator's weights ({reason})") from None
    return net.eval()
