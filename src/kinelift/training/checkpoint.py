"""A network's weights back out of the lifter file that was exported from it, so that it can be trained on.

The exporter of `training.export` keeps the names of biases and norms; a matrix is found by the bias that is added to
its product. What comes out must answer as the file does, or it is refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kinelift.errors import InputError, MissingExtraError
from kinelift.lift import OnnxLifter, load_lifter
from kinelift.lift.onnx import FORMAT
from kinelift.lift.rays import FEATURES, OPINION
from kinelift.safe.onnx import open_network, read_onnx

try:
    import onnx
    import torch
    from onnx import numpy_helper
except ImportError:  # pragma: no cover - depends on the installation
    raise MissingExtraError("training", "pip install 'kinelift[train]'") from None

from kinelift.training.export import OUTPUTS
from kinelift.training.network import TemporalNet

# A lifter's answers and the read network's may differ by this much: metres, or parts of a unit vector.
_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class Source:
    """A network read from a lifter file.

    Attributes:
        net: The network.
        reads_own_3d: Whether the file has an input for a detector's own 3D.
        about: The file's metadata.
    """

    net: TemporalNet
    reads_own_3d: bool
    about: dict[str, str]

    def config(self) -> dict[str, Any]:
        """The training run that made it, as far as its metadata says."""
        try:
            config = json.loads(self.about.get("config", "{}"))
        except ValueError:
            return {}
        return config if isinstance(config, dict) else {}


def read_network(path: Path) -> Source:
    """The temporal network in a lifter file. Raises `InputError` for any other file."""
    foreign = f"{path}: cannot be trained on: only lifters that `kinelift train temporal` or `adapt` made can"
    try:
        model = onnx.load_model_from_string(read_onnx(path))
    except InputError:
        raise
    except Exception:  # protobuf's own exception types
        raise InputError(f"{path}: is no ONNX file") from None
    about = {p.key: p.value for p in model.metadata_props}
    if about.get("format") != FORMAT or about.get("layout") != "rays":
        raise InputError(f"{foreign} (its metadata lacks format={FORMAT} and layout=rays)")
    try:
        state = _weights(model.graph)
        hidden, channels = len(state["blocks.0.gather.weight"]), len(state["stem.weight"])
        net = TemporalNet(channels, hidden)
        net.load_state_dict(state)
    except (LookupError, AttributeError, TypeError, ValueError, RuntimeError):
        raise InputError(f"{foreign} (its layers are others than this version's)") from None
    own = any(i.name == "opinion" for i in model.graph.input)
    try:
        off = _difference(net.eval(), path, own)
    except Exception:  # onnxruntime's private types, outputs of other names or shapes
        raise InputError(f"{foreign} (it does not answer as its layout should)") from None
    if not off < _TOLERANCE:
        raise InputError(f"{foreign} (the network read from it answers otherwise, by {off:.2g})")
    return Source(net, own, about)


def named_network(lifter: str, purpose: str) -> tuple[Path, Source]:
    """The file and the network of a lifter as `--lifter` names it: a name or an ONNX file. Raises `InputError`."""
    found = load_lifter(lifter)
    if not isinstance(found, OnnxLifter):
        raise InputError(f"lifter '{lifter}': is code; only lifters in ONNX files can be {purpose}")
    return found.path, read_network(found.path)


def _weights(graph: Any) -> dict[str, torch.Tensor]:
    """Arrays by the network's names: the named ones, and each Linear's matrix by its bias."""
    arrays = {i.name: numpy_helper.to_array(i).astype(np.float32) for i in graph.initializer}
    for node in graph.node:  # the exporter stores equal arrays once, large ones in 16 bits, huge ones in scaled 8
        if node.op_type in ("Identity", "Cast") and node.input[0] in arrays:
            arrays[node.output[0]] = arrays[node.input[0]]
        elif node.op_type == "Mul" and all(i in arrays for i in node.input):
            arrays[node.output[0]] = arrays[node.input[0]] * arrays[node.input[1]]
    products = {n.output[0]: n for n in graph.node if n.op_type == "MatMul"}
    transposes = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "Transpose"}
    state = {n.removeprefix("net."): torch.tensor(a) for n, a in arrays.items() if n.startswith("net.")}
    state = {n: a for n, a in state.items() if not n.endswith(".half")}
    for node in graph.node:
        if node.op_type != "Add":
            continue
        bias = next((i for i in node.input if i in arrays and i.endswith(".bias")), None)
        product = next((products[i] for i in node.input if i in products), None)
        if bias is None or product is None:
            continue
        matrix = product.input[1]
        array = arrays[transposes[matrix]] if matrix in transposes else arrays[matrix].T
        state[bias.removeprefix("net.").removesuffix("bias") + "weight"] = torch.tensor(array.copy())
    return state


def _difference(net: TemporalNet, path: Path, own: bool) -> float:
    """The largest difference between the answers of the network and of the file, for random input."""
    session, _ = open_network(path, "is no ONNX lifter")
    rng = np.random.default_rng(0)
    features = rng.normal(0, 0.5, (1, 70, FEATURES)).astype(np.float32)
    opinion = (rng.normal(0, 0.3, (1, 70, OPINION)) * own).astype(np.float32)
    said = session.run(list(OUTPUTS), {"features": features, "opinion": opinion} if own else {"features": features})
    with torch.no_grad():
        p = net(torch.from_numpy(features), torch.from_numpy(opinion))
    ours = (p.positions, p.log_sigma.exp(), p.gravity, p.contact.sigmoid(), p.distance)
    return max(float(np.abs(a - b.numpy()).max() / max(np.abs(a).max(), 1.0)) for a, b in zip(said, ours, strict=True))
