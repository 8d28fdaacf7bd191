"""Ways to spoil pickles, MATLAB files, ONNX, GLB, and PyTorch's and safetensors' weights by their own structure."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from _fuzz_mutate import (
    BYTES,
    WHOLE,
    WORDS,
    Mutation,
    Rng,
    _Runs,
    hostile_values,
    pick,
    repeated,
    spoilt_array,
    spoilt_tree,
)


def spoilt_objects(held: Any, rng: Rng) -> Any:
    """Nested dicts of arrays with one of them changed, replaced, missing or under another name."""
    node, path = held, []
    while isinstance(node, dict | list) and len(node) and (not path or rng.random() < 0.9):
        key = pick(rng, node if isinstance(node, dict) else range(len(node)))
        path.append((node, key))
        node = node[key]
    if not path:
        return held
    parent, key = path[-1]
    match int(rng.integers(5)):
        case 0:
            del parent[key]
        case 1:
            parent[pick(rng, (None, 3, ("a", 1), "S9", b"x")) if isinstance(parent, dict) else 0] = node
        case 2:
            cycle: list[Any] = [1.0]
            cycle.append(cycle)
            shared: Any = [1.0] * 10
            for _ in range(12):
                shared = [shared] * 10
            parent[key] = pick(
                rng, (None, "x", 3, [], {}, [[1.0]], cycle, shared, _Runs(), np.array([None, "a"], object), 10**400)
            )
        case _:
            parent[key] = spoilt_array(node, rng) if isinstance(node, np.ndarray) and node.dtype != object else None
    return held


def opcode_bombs() -> dict[str, bytes]:
    """Small pickles that ask for much: copies of one text, doubled lists, deep tuples, commands."""
    big = b"X" + struct.pack("<I", 10**6) + b"a" * 10**6 + b"q\0"
    encode = b"c_codecs\nencode\n(h\0X\6\0\0\0latin1tR"
    return {
        "copies of a text": b"\x80\2" + big + b"0](" + encode * 5000 + b"e.",
        "copies of a set": b"\x80\2](" + b"".join(b"J" + struct.pack("<i", i) for i in range(100_000)) + b"eq\0"
        b"0](" + b"cbuiltins\nset\n(h\0tR" * 3000 + b"e.",
        "doubled lists": b"\x80\2]q\0" + b"".join(b"]q%c(h%ch%ce" % (i, i - 1, i - 1) for i in range(1, 9)) * 8 + b".",
        "deep tuples": b"\x80\2)" + b"\x85" * 300_000 + b".",
        "deep marks": b"(" * 300_000 + b".",
        "a long number": b"\x80\2\x8b" + struct.pack("<i", 10**6) + b"\x7f" * 10**6 + b".",
        "a command": pickle.dumps(_Runs()),
        "a huge array": b"\x80\2cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\0\x85C\1btR(K\1\x8a\6"
        b"\0\0\0\0\0\1\x85cnumpy\ndtype\nX\2\0\0\0f8\x89\x88\x87R(K\3X\1\0\0\0<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89C\0tb.",
        "a claimed text": b"\x80\4\x8d" + struct.pack("<Q", 2**62) + b"a.",
    }


def pickle_objects(source: Path, out: Path, rng: Rng) -> str:
    """A pickle of other objects than it should hold."""
    if rng.random() < 0.2:
        made = opcode_bombs()
        name = str(pick(rng, made))
        out.write_bytes(made[name])
        return f"opcodes: {name}"
    held = spoilt_objects(pickle.loads(source.read_bytes()), rng)
    out.write_bytes(pickle.dumps(held, protocol=int(rng.integers(0, 6))))
    return "objects changed"


PICKLES: tuple[Mutation, ...] = (*[pickle_objects] * 5, *BYTES)


def npz_objects(source: Path, out: Path, rng: Rng) -> str:
    """An npz of object arrays whose pickles hold other things than they should."""
    with np.load(source, allow_pickle=True) as data:
        arrays = {k: data[k] for k in data.files}
    name = str(pick(rng, arrays))
    made = opcode_bombs()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        for k, a in arrays.items():
            buffer = io.BytesIO()
            held = a.item() if a.shape == () else a
            if k == name and rng.random() < 0.6 and a.dtype == object:
                held = spoilt_objects(held, rng)
            np.lib.format.write_array(
                buffer, np.array(held, object if a.dtype == object else a.dtype), allow_pickle=True
            )
            content = buffer.getvalue()
            if k == name and rng.random() < 0.2:
                content = content[: 10 + struct.unpack("<H", content[8:10])[0]] + made[str(pick(rng, made))]
            z.writestr(f"{k}.npy", content)
    return "objects changed"


# MATLAB 5.


def mat_elements(source: Path, out: Path, rng: Rng) -> str:
    """A .mat whose elements, once unpacked, claim other types, sizes and dimensions."""
    import zlib

    data = source.read_bytes()
    at, parts = 128, [data[:128]]
    while at + 8 <= len(data):
        kind, size = struct.unpack_from("<II", data, at)
        body = data[at + 8 : at + 8 + size]
        at += 8 + size
        whole = bytearray(zlib.decompress(body) if kind == 15 else struct.pack("<II", kind, size) + body)
        for _ in range(int(rng.integers(0, 4))):
            place = 4 * int(rng.integers(min(len(whole) // 4, 400 if rng.random() < 0.6 else len(whole) // 4)))
            value = int(pick(rng, (*WHOLE, 14, 15, 9, 6, 5, 1, 8, 24)))
            whole[place : place + 4] = struct.pack("<I", value % 2**32)
        packed = zlib.compress(bytes(whole))
        parts.append(struct.pack("<II", 15, len(packed)) + packed if rng.random() < 0.7 else bytes(whole))
    out.write_bytes(b"".join(parts))
    return "elements changed"


def mat_bombs(source: Path, out: Path, rng: Rng) -> str:
    """A small .mat that unpacks to a gigabyte: of numbers, of empty cells, of structs, of widened numbers."""
    from scipy.io import whosmat

    name = whosmat(source)[0][0].encode() if b"7.3" not in source.read_bytes()[:20] else b"annot2"
    n = int(pick(rng, (10**6, 30_000_000, 130_000_000)))
    which = str(pick(rng, ("cells", "structs", "widened", "numbers")))
    class_of = {"cells": 1, "structs": 2, "widened": 6, "numbers": 9}[which]
    named = struct.pack("<II", 1, len(name)) + name.ljust(-(-len(name) // 8) * 8, b"\0")
    head = struct.pack("<4I", 6, 8, class_of, 0) + struct.pack("<IIii", 5, 8, n, 1) + named
    if which == "structs":
        head += struct.pack("<IHH", 5 | 4 << 16, 8, 0) + struct.pack("<II8s", 1, 8, b"f")
    fill = struct.pack("<II", 14, 0) if which in ("cells", "structs") else bytes(8)
    size = n * 8 if which in ("cells", "structs") else n
    if which in ("widened", "numbers"):
        head += struct.pack("<II", 2, n)
    block = fill * 125_000
    tag = struct.pack("<II", 14, len(head) + size)
    packed = repeated(tag + head, block, size // len(block), 15)
    out.write_bytes(source.read_bytes()[:128] + struct.pack("<II", 15, len(packed)) + packed)
    return f"a bomb of {which}"


MATS: tuple[Mutation, ...] = (*[mat_elements] * 14, *BYTES, mat_bombs)


# ONNX.


def onnx_graph(source: Path, out: Path, rng: Rng) -> str:
    """A network with changed nodes, shapes, constants, names or metadata."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(source)
    graph = model.graph
    kind = int(rng.integers(12))
    node = pick(rng, graph.node) if graph.node else None
    if kind == 0 and node is not None:
        graph.node.remove(node)
    elif kind == 1 and node is not None:
        node.op_type = str(
            pick(rng, ("Nothing", "Sqrt", "Loop", "If", "Gather", "Reshape", "Tile", "Expand", "Resize", "Pad", ""))
        )
    elif kind == 2 and node is not None and node.input:
        node.input[int(rng.integers(len(node.input)))] = str(pick(rng, ("", "nothing", *node.output)))
    elif kind == 3 and graph.initializer:
        tensor = pick(rng, graph.initializer)
        try:
            array = spoilt_array(numpy_helper.to_array(tensor), rng)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
        except (TypeError, ValueError, KeyError, NotImplementedError):
            tensor.data_type = 99
    elif kind == 4 and graph.initializer:
        tensor = pick(rng, graph.initializer)
        tensor.dims[:] = [int(pick(rng, (0, -1, 1, 2**31, 2**40, 2**62))) for _ in range(int(rng.integers(0, 5)))]
    elif kind == 5 and graph.initializer:
        tensor = pick(rng, graph.initializer)
        tensor.data_location = TensorProto.EXTERNAL
        tensor.ClearField("raw_data")
        tensor.external_data.add(key="location", value=str(pick(rng, ("/etc/passwd", "../x", source.name))))
    elif kind == 6:
        shape = pick(rng, [*graph.input, *graph.output]).type.tensor_type.shape
        for dim in shape.dim:
            if rng.random() < 0.5:
                dim.dim_value = int(pick(rng, (0, 1, 2, 17, 2**20, 2**31, 2**62, -1)))
    elif kind == 7:
        for prop in model.metadata_props:
            if rng.random() < 0.5:
                prop.value = str(pick(rng, [w for w in WORDS if w != "\ud800"]))
    elif kind == 8:
        hungry(graph, rng, helper, numpy_helper)
        out.write_bytes(model.SerializeToString())
        return "asks for terabytes or runs for ever"
    elif kind == 9:
        del pick(rng, (graph.output, graph.input, graph.initializer))[:]
    elif kind == 10:
        end = pick(rng, [*graph.input, *graph.output])
        end.type.tensor_type.elem_type = int(rng.integers(0, 17))
    else:
        pick(rng, [*graph.input, *graph.output]).name = str(pick(rng, ("", "x", "points", "opinion")))
    out.write_bytes(model.SerializeToString())
    return "graph changed"


def hungry(graph: Any, rng: Rng, helper: Any, numpy_helper: Any) -> None:
    """Put before a graph's first output a term of nearly endless memory or time."""
    from onnx import TensorProto

    first = graph.output[0].name
    for node in graph.node:
        node.output[:] = ["before" if o == first else o for o in node.output]
    which = int(rng.integers(3))
    if which == 0:
        graph.initializer.append(numpy_helper.from_array(np.array([2**18, 2**17], np.int64), "much"))
        graph.node.append(helper.make_node("ConstantOfShape", ["much"], ["filled"]))
    elif which == 1:
        graph.initializer.append(numpy_helper.from_array(np.array([2**18, 2**17], np.int64), "much"))
        graph.initializer.append(numpy_helper.from_array(np.ones((1, 1), np.float32), "one"))
        graph.node.append(helper.make_node("Expand", ["one", "much"], ["filled"]))
    else:
        value = helper.make_tensor_value_info
        body = helper.make_graph(
            [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Identity", ["sum"], ["sum_on"])],
            "body",
            [value("i", TensorProto.INT64, []), value("go", TensorProto.BOOL, []), value("sum", TensorProto.FLOAT, [])],
            [value("go_on", TensorProto.BOOL, []), value("sum_on", TensorProto.FLOAT, [])],
        )
        graph.initializer.append(numpy_helper.from_array(np.array(2**62, np.int64), "times"))
        graph.initializer.append(numpy_helper.from_array(np.array(True), "true"))
        graph.initializer.append(numpy_helper.from_array(np.array(0, np.float32), "zero"))
        graph.node.append(helper.make_node("Loop", ["times", "true", "zero"], ["filled"], body=body))
    graph.node.append(helper.make_node("ReduceMax", ["filled"], ["most"], keepdims=0))
    graph.node.append(helper.make_node("Add", ["before", "most"], [first]))


NETWORKS: tuple[Mutation, ...] = (*[onnx_graph] * 6, *BYTES)


# GLB and VRM.


def glb_tree(source: Path, out: Path, rng: Rng) -> str:
    """A GLB with a changed JSON chunk: indices out of range, cycles, huge counts, bad offsets, other kinds."""
    data = source.read_bytes()
    (length,) = struct.unpack_from("<I", data, 12)
    tree, rest = json.loads(data[20 : 20 + length]), data[20 + length :]
    kind = int(rng.integers(4))
    if kind == 0:
        for node in tree.get("nodes", []):
            if rng.random() < 0.3:
                node["children"] = [int(v) for v in rng.integers(-2, len(tree["nodes"]) + 2, size=2)]
        done = "cycles"
    elif kind == 1:
        for a in [*tree.get("accessors", []), *tree.get("bufferViews", [])]:
            if rng.random() < 0.3:
                field = str(
                    pick(
                        rng,
                        ("count", "byteOffset", "byteLength", "byteStride", "bufferView", "componentType", "buffer"),
                    )
                )
                a[field] = pick(rng, (*WHOLE, -1, 1.5, "x", None))
        done = "offsets"
    else:
        values = [v for v in hostile_values(rng) if type(v) in (int, float, str, bool, list, dict, type(None))]
        tree = spoilt_tree(tree, rng, values)
        done = "tree changed"
    text = json.dumps(tree).encode("utf-8", "surrogatepass")
    text = text.ljust(-(-len(text) // 4) * 4)
    total = 20 + len(text) + len(rest)
    out.write_bytes(struct.pack("<4s2II4s", data[:4], 2, total % 2**32, len(text), b"JSON") + text + rest)
    return done


GLBS: tuple[Mutation, ...] = (*[glb_tree] * 5, *BYTES)


# Weights.


def torch_objects(source: Path, out: Path, rng: Rng) -> str:
    """A PyTorch file with other tensors and values, or with a command in its pickle."""
    import torch

    state = torch.load(source, weights_only=True)
    if rng.random() < 0.15:
        torch.save(state | {"net": _Runs()}, out)
        return "a command"
    node, path = state, []
    while isinstance(node, dict | list) and len(node):
        key = pick(rng, node if isinstance(node, dict) else range(len(node)))
        path.append((node, key))
        node = node[key]
    parent, key = path[-1] if rng.random() < 0.6 else path[0]
    if rng.random() < 0.2 and isinstance(parent, dict):
        del parent[key]
    elif isinstance(node, torch.Tensor):
        parent[key] = pick(
            rng, (node[None], node.reshape(-1), node.double() * float("nan"), node.to(torch.int8), None, 3)
        )
    else:
        parent[key] = pick(rng, (None, 0, -1, 10**9, "x", [], {}, 1e308, float("nan")))
    torch.save(state, out)
    return "objects changed"


TORCHES: tuple[Mutation, ...] = (*[torch_objects] * 4, *BYTES)


def safetensors_header(source: Path, out: Path, rng: Rng) -> str:
    """A safetensors file with another header: shapes, types, offsets, metadata."""
    data = source.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    values = [v for v in hostile_values(rng) if type(v) in (int, float, str, bool, list, dict, type(None))]
    text = json.dumps(spoilt_tree(json.loads(data[8 : 8 + length]), rng, values)).encode()
    out.write_bytes(
        struct.pack("<Q", int(pick(rng, (len(text), len(text), 2**62, 0, 10**9)))) + text + data[8 + length :]
    )
    return "header changed"


SAFETENSORS: tuple[Mutation, ...] = (*[safetensors_header] * 4, *BYTES)
