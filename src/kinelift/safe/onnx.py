"""Networks of strangers in ONNX: checked before any runtime sees them, then opened with a bound on memory.

A network cannot reach files, the net or other code of the machine, if its weights are in the file itself. What it could
do is to loop for ever or to ask for terabytes: operators that repeat are refused, and memory has a limit. Protocol
buffers are walked field by field (onnx.proto3's numbers); large tensors are stepped over, never copied.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kinelift.errors import InputError

_LARGEST = 1_500_000_000
# Bytes that all networks of a process may hold and work in; the largest known here needs three gigabytes.
MAX_MEMORY = 8 * 2**30
# Operators that run a graph again and again, as often as they please.
_REPEATING = {"Loop", "Scan", "SequenceMap"}
_DEEPEST = 8
# Field numbers of onnx.proto3.
_GRAPH = 7  # of a model
_FUNCTIONS, _FUNCTION_NODES = 25, 7
_NODES, _TENSORS, _SPARSE = 1, 5, 15  # of a graph
_INPUTS, _OUTPUTS, _OP, _ATTRIBUTES = 1, 2, 4, 5  # of a node
_EXTERNAL, _LOCATION = 13, 14  # of a tensor
# What passes an output on without changing what it means.
_PASSING = {"Squeeze", "Unsqueeze", "Mul", "Identity", "Cast", "Reshape", "Resize", "Transpose", "Slice", "Gather"}


def read_onnx(path: Path, problem: str = "cannot be read as ONNX") -> bytes:
    """The bytes of an ONNX file that keeps its weights inside and has no loops. Raises `InputError`."""
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError(f"{path}: larger than {_LARGEST / 1e9:g} GB")
        data = path.read_bytes()
    except OSError as e:
        raise InputError(f"{path}: cannot be read ({e.strerror})") from None
    try:
        model = memoryview(data)
        fault = next((f for g in _under(model, _GRAPH) if (f := _fault(g))), None)
        fault = fault or next((f for g in _under(model, _FUNCTIONS) if (f := _fault(g, _FUNCTION_NODES))), None)
    except (IndexError, ValueError):
        raise InputError(f"{path}: {problem} (it is no ONNX file)") from None
    if fault:
        raise InputError(f"{path}: {fault}")
    return data


def open_network(
    path: Path, problem: str, threads: int = 1, providers: Sequence[str] = ("CPUExecutionProvider",)
) -> tuple[Any, bytes]:
    """An ONNX Runtime session of a file, and its bytes. Raises `InputError`, "PATH: PROBLEM (reason)"."""
    import onnxruntime as ort

    data = read_onnx(path, problem)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    _limit_memory()
    options.add_session_config_entry("session.use_env_allocators", "1")
    try:
        session = ort.InferenceSession(data, options, providers=list(providers))
        # Names and metadata are decoded when they are asked for, and need not be text.
        _ = (
            session.get_modelmeta().custom_metadata_map,
            [i.name for i in (*session.get_inputs(), *session.get_outputs())],
        )
        return session, data
    except Exception as e:  # ONNX Runtime's own exceptions share no base class
        said = (str(e).splitlines() or [type(e).__name__])[0][:120]
        raise InputError(f"{path}: {problem} (ONNX Runtime: {said})") from None


@functools.cache
def _limit_memory() -> None:
    """Give the process's networks one arena of `MAX_MEMORY`, if the program around us has not given them another."""
    import onnxruntime as ort

    kind = ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    place = ort.OrtMemoryInfo("Cpu", kind, 0, ort.OrtMemType.DEFAULT)
    with contextlib.suppress(Exception):  # ONNX Runtime's own exceptions share no base class
        ort.create_and_register_allocator(place, ort.OrtArenaCfg({"max_mem": MAX_MEMORY}))


def origin(data: bytes, output: str) -> str:
    """The operator that a graph's output comes from, looking through those that only reshape or scale: `Sigmoid`."""
    made: dict[str, tuple[str, list[str]]] = {}
    for graph in _under(memoryview(data), _GRAPH):
        for node in _under(graph, _NODES):
            inputs, named = [_text(v) for v in _under(node, _INPUTS)], [_text(v) for v in _under(node, _OP)]
            made.update({_text(v): (named[0] if named else "", inputs) for v in _under(node, _OUTPUTS)})
    for _ in range(64):
        op, inputs = made.get(output, ("", []))
        carried = [i for i in inputs if i in made and made[i][0] != "Constant"]
        if op not in _PASSING or not carried:
            return op
        output = carried[0]
    return ""


def _fault(graph: memoryview, nodes: int = _NODES, depth: int = 0) -> str | None:
    """Why a graph, or one inside its `nodes`, is not run (tensors outside the file, operators that repeat), or None."""
    if depth > _DEEPEST:
        raise ValueError("nested too deep")
    tensors = list(_under(graph, _TENSORS)) if nodes == _NODES else []
    for sparse in _under(graph, _SPARSE):
        tensors += [*_under(sparse, 1), *_under(sparse, 2)]
    for node in _under(graph, nodes):
        if repeating := {_text(v) for v in _under(node, _OP)} & _REPEATING:
            return f"has the operator {repeating.pop()}, which is not run: export it without loops"
        for attribute in _under(node, _ATTRIBUTES):
            for number, value in _fields(attribute):
                if isinstance(value, int):
                    continue
                if number in (5, 10):
                    tensors.append(value)
                elif number in (22, 23):
                    tensors += [*_under(value, 1), *_under(value, 2)]
                elif number in (6, 11) and (fault := _fault(value, depth=depth + 1)):
                    return fault
    if any(n == _EXTERNAL or (n == _LOCATION and v == 1) for t in tensors for n, v in _fields(t)):
        return "keeps its weights in another file; save it as one (onnx.save with all in the model)"
    return None


def _under(message: memoryview, number: int) -> Iterator[memoryview]:
    for n, value in _fields(message):
        if n == number and not isinstance(value, int):
            yield value


def _text(value: memoryview) -> str:
    return bytes(value).decode("utf-8", "replace")


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(number, value) of each field of a message; a message, text or tensor as a view. Raises on what is none."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if kind == 2:
            length, at = _varint(message, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError("no protocol buffer")
        if at + length > len(message):
            raise ValueError("cut short")
        yield key >> 3, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError("no number")
