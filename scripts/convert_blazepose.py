"""MediaPipe's pose networks (TensorFlow Lite) as the ONNX files in `src/kinelift/assets`; run once by a developer.

    pip install onnx onnxruntime tflite && npm pack @mediapipe/pose && tar xf mediapipe-pose-*.tgz
    python scripts/convert_blazepose.py package/pose_landmark_heavy.tflite src/kinelift/assets/blazepose_heavy.onnx

`blazepose_full` is made of `pose_landmark_full.tflite`, `blazepose_finder` of the `pose_detection.tflite` that is in
MediaPipe's wheel. Kernels that bear it are stored in 8 bits, an output channel with its own scale; the rest in 16.
What leads only to the silhouette, which nobody here looks at, is left out. Pictures go in as (1, 3, H, W).
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tflite
from onnx import TensorProto, helper, numpy_helper

SILHOUETTE = (1, 256, 256, 1)
LICENCE = "Apache-2.0, The MediaPipe Authors"
# Added to the log-odds of a landmark's visibility. Of rendered people the heavy network says 0.08 where the full one
# says 0.5 of points that are as wrong, 0.4 for 0.9: always about 2.5 less (`benchmarks/detector_errors.py`).
MODESTY = {"pose_landmark_heavy.tflite": 2.5}
_NAMES = {v: k for k, v in vars(tflite.BuiltinOperator).items() if isinstance(v, int)}
_MODES = {(False, True): "half_pixel", (True, False): "align_corners", (False, False): "asymmetric"}


class Converter:
    """One subgraph, operator by operator. Pictures are (N, C, H, W); what follows a reshape is as it was."""

    def __init__(self, data: bytes, is_robust: Callable[[int, int], bool]) -> None:
        self.is_robust = is_robust
        self.model = tflite.Model.GetRootAsModel(data, 0)
        self.graph = self.model.Subgraphs(0)
        self.nodes: list[Any] = []
        self.stored: list[Any] = []
        self.flat: set[int] = set()  # tensors whose axes are as in the original
        self.made_of: dict[int, int] = {}  # a constant's tensor -> the tensor that holds it

    # Constants
    def constant(self, tensor: int) -> np.ndarray:
        """A weight, whether it is stored in halves, sparsely or as it is."""
        tensor = self.made_of.get(tensor, tensor)
        t = self.graph.Tensors(tensor)
        kind = {tflite.TensorType.FLOAT32: np.float32, tflite.TensorType.FLOAT16: np.float16}.get(t.Type(), np.int32)
        raw = self.model.Buffers(t.Buffer()).DataAsNumpy().view(kind)
        shape = t.ShapeAsNumpy()
        return raw.reshape(shape) if t.Sparsity() is None else densified(raw, shape, t.Sparsity())

    def store(self, name: str, x: np.ndarray) -> str:
        self.stored.append(numpy_helper.from_array(x, name))
        return name

    def weight(self, name: str, x: np.ndarray) -> str:
        """A float32 value in the graph, stored in 8 or 16 bits; x has its output channels first."""
        if x.shape[2:] != (1, 1) or not self.is_robust(*x.shape[:2]):
            return self.node("Cast", [self.store(name + "_16", x.astype(np.float16))], to=TensorProto.FLOAT)
        x = x.astype(np.float32)
        scale = np.maximum(np.abs(x).max(1, keepdims=True), 1e-12) / 127
        code = self.node("Cast", [self.store(name + "_8", np.round(x / scale).astype(np.int8))], to=TensorProto.FLOAT)
        return self.node("Mul", [code, self.store(name + "_scale", scale)])

    def node(self, kind: str, inputs: list[str], out: str | None = None, **options: Any) -> str:
        out = out or f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [out], **options))
        return out

    # Operators
    def run(self) -> None:
        outputs: list[int] = list(self.graph.OutputsAsNumpy())
        wanted = {t for t in outputs if tuple(self.graph.Tensors(t).ShapeAsNumpy()) != SILHOUETTE}
        operators = [self.graph.Operators(i) for i in range(self.graph.OperatorsLength())]
        needed, used = set(wanted), []
        for op in reversed(operators):
            if needed & set(op.OutputsAsNumpy()):
                needed |= set(op.InputsAsNumpy())
                used.append(op)
        for op in reversed(used):
            code = self.model.OperatorCodes(op.OpcodeIndex())
            kind = _NAMES[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
            getattr(self, kind.lower())(op, f"t{op.Outputs(0)}", [int(i) for i in op.InputsAsNumpy()])
        self.outputs = [t for t in outputs if t in wanted]

    def options(self, op: Any, kind: type) -> Any:
        options = kind()
        options.Init(op.BuiltinOptions().Bytes, op.BuiltinOptions().Pos)
        return options

    def dequantize(self, op: Any, out: str, inputs: list[int]) -> None:
        self.made_of[op.Outputs(0)] = self.made_of.get(inputs[0], inputs[0])

    densify = dequantize

    def activated(self, value: str, out: str, function: int) -> None:
        if function == tflite.ActivationFunctionType.RELU6:
            limits = [self.store(out + "_low", np.float32(0)), self.store(out + "_high", np.float32(6))]
            self.node("Clip", [value, *limits], out)
        elif function == tflite.ActivationFunctionType.RELU:
            self.node("Relu", [value], out)
        elif function == tflite.ActivationFunctionType.NONE:
            self.node("Identity", [value], out)
        else:
            raise ValueError(f"activation {function}")

    def convolve(self, op: Any, out: str, inputs: list[int], kernel: np.ndarray, groups: int, options: Any) -> None:
        height, width = self.graph.Tensors(inputs[0]).ShapeAsNumpy()[1:3]
        strides = [options.StrideH(), options.StrideW()]
        pads = [0, 0, 0, 0]
        if options.Padding() == tflite.Padding.SAME:
            for axis, (size, step, k) in enumerate(zip((height, width), strides, kernel.shape[2:], strict=True)):
                total = max((-(-size // step) - 1) * step + k - size, 0)
                pads[axis], pads[axis + 2] = total // 2, total - total // 2
        names = [f"t{inputs[0]}", self.weight(out + "_kernel", kernel)]
        if len(inputs) > 2:
            names.append(self.weight(out + "_bias", self.constant(inputs[2])))
        value = self.node("Conv", names, strides=strides, pads=[int(p) for p in pads], group=groups)
        self.activated(value, out, options.FusedActivationFunction())

    def conv_2d(self, op: Any, out: str, inputs: list[int]) -> None:
        kernel = self.constant(inputs[1]).transpose(0, 3, 1, 2)
        self.convolve(op, out, inputs, kernel, 1, self.options(op, tflite.Conv2DOptions))

    def depthwise_conv_2d(self, op: Any, out: str, inputs: list[int]) -> None:
        kernel = self.constant(inputs[1]).transpose(3, 0, 1, 2)
        groups = int(self.graph.Tensors(inputs[0]).ShapeAsNumpy()[3])
        self.convolve(op, out, inputs, kernel, groups, self.options(op, tflite.DepthwiseConv2DOptions))

    def add(self, op: Any, out: str, inputs: list[int]) -> None:
        value = self.node("Add", [f"t{i}" for i in inputs])
        self.activated(value, out, self.options(op, tflite.AddOptions).FusedActivationFunction())

    def pad(self, op: Any, out: str, inputs: list[int]) -> None:
        pads = self.constant(inputs[1])[[0, 3, 1, 2]]
        self.node("Pad", [f"t{inputs[0]}", self.store(out + "_pads", pads.T.ravel().astype(np.int64))], out)

    def resize_bilinear(self, op: Any, out: str, inputs: list[int]) -> None:
        options = self.options(op, tflite.ResizeBilinearOptions)
        mode = _MODES[bool(options.AlignCorners()), bool(options.HalfPixelCenters())]
        _, height, width, channels = self.graph.Tensors(op.Outputs(0)).ShapeAsNumpy()
        size = self.store(out + "_size", np.array([1, channels, height, width], np.int64))
        inputs_ = [f"t{inputs[0]}", "", "", size]
        self.node("Resize", inputs_, out, mode="linear", coordinate_transformation_mode=mode)

    def max_pool_2d(self, op: Any, out: str, inputs: list[int]) -> None:
        options = self.options(op, tflite.Pool2DOptions)
        kernel, strides = [options.FilterHeight(), options.FilterWidth()], [options.StrideH(), options.StrideW()]
        if options.FusedActivationFunction() or kernel != strides:
            raise ValueError("pooling with overlap or activation")
        self.node("MaxPool", [f"t{inputs[0]}"], out, kernel_shape=kernel, strides=strides)

    def depth_to_space(self, op: Any, out: str, inputs: list[int]) -> None:
        block = self.options(op, tflite.DepthToSpaceOptions).BlockSize()
        self.node("DepthToSpace", [f"t{inputs[0]}"], out, blocksize=block, mode="DCR")

    def logistic(self, op: Any, out: str, inputs: list[int]) -> None:
        self.node("Sigmoid", [f"t{inputs[0]}"], out)

    def reshape(self, op: Any, out: str, inputs: list[int]) -> None:
        value = self.node("Transpose", [f"t{inputs[0]}"], perm=[0, 2, 3, 1])
        shape = self.graph.Tensors(op.Outputs(0)).ShapeAsNumpy().astype(np.int64)
        self.node("Reshape", [value, self.store(out + "_shape", shape)], out)
        self.flat.add(op.Outputs(0))

    def concatenation(self, op: Any, out: str, inputs: list[int]) -> None:
        if not set(inputs) <= self.flat:
            raise ValueError("concatenated pictures")
        self.node("Concat", [f"t{i}" for i in inputs], out, axis=self.options(op, tflite.ConcatenationOptions).Axis())
        self.flat.add(op.Outputs(0))

    def onnx(self, about: dict[str, str]) -> Any:
        """The whole model; outputs are named by their size, e.g. `195`, but for a heat map `heat`."""
        source = int(self.graph.Inputs(0))
        _, height, width, channels = (int(n) for n in self.graph.Tensors(source).ShapeAsNumpy())
        outputs = []
        for t in self.outputs:
            shape = [int(n) for n in self.graph.Tensors(t).ShapeAsNumpy()]
            name = f"t{t}" if t in self.flat else self.node("Transpose", [f"t{t}"], perm=[0, 2, 3, 1])
            self.node("Identity", [name], "heat" if len(shape) == 4 else str(shape[-1]))
            outputs.append(helper.make_tensor_value_info(self.nodes[-1].output[0], TensorProto.FLOAT, shape))
        picture = helper.make_tensor_value_info(f"t{source}", TensorProto.FLOAT, [1, channels, height, width])
        graph = helper.make_graph(self.nodes, "blazepose", [picture], outputs, self.stored)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        helper.set_model_props(model, about)
        onnx.checker.check_model(model)
        return model


def is_robust(outputs: int, inputs: int) -> bool:
    """Whether a 1 x 1 kernel of this shape may be stored in 8 bits.

    In 8 bits, one layer at a time, the answers of the heavy network on twelve pictures of rendered people move by less
    than 0.15 of 256 pixels; the first and last blocks and those with 960 outputs move it by up to 14 pixels.
    """
    return outputs * inputs >= 36_000 and outputs not in (288, 480, 960)


def densified(values: np.ndarray, shape: np.ndarray, sparsity: Any) -> np.ndarray:
    """A kernel (out, 1, 1, in) of which rows say at which inputs they have numbers (TensorFlow Lite's CSR)."""
    rows, columns = 0, None
    for i in range(sparsity.DimMetadataLength()):
        d = sparsity.DimMetadata(i)
        if d.Format() == tflite.DimensionType.SPARSE_CSR:
            columns = [
                as_numbers(d.ArraySegments(), d.ArraySegmentsType()),
                as_numbers(d.ArrayIndices(), d.ArrayIndicesType()),
            ]
        elif columns is None:
            rows = max(rows, 1) * d.DenseSize()
    if columns is None or sparsity.BlockMapLength() or rows != shape[0]:
        raise ValueError("sparse kernel of another layout")
    out = np.zeros((rows, int(np.prod(shape)) // rows), values.dtype)
    segments, indices = columns
    for row in range(rows):
        here = slice(segments[row], segments[row + 1])
        out[row, indices[here]] = values[here]
    return out.reshape(shape)


def as_numbers(table: Any, kind: int) -> np.ndarray:
    """One of the three vectors in which sparse indices are stored."""
    vector = {
        tflite.SparseIndexVector.Int32Vector: tflite.Int32Vector,
        tflite.SparseIndexVector.Uint16Vector: tflite.Uint16Vector,
        tflite.SparseIndexVector.Uint8Vector: tflite.Uint8Vector,
    }[kind]()
    vector.Init(table.Bytes, table.Pos)
    return vector.ValuesAsNumpy()


def convert(source: Path, target: Path, is_robust: Callable[[int, int], bool] = is_robust) -> None:
    """One file into another."""
    data = source.read_bytes()
    converter = Converter(data, is_robust)
    converter.run()
    about = {"source": source.name, "source_sha256": hashlib.sha256(data).hexdigest(), "licence": LICENCE}
    about["modesty"] = str(MODESTY.get(source.name, 0.0))
    onnx.save(converter.onnx(about), target)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
