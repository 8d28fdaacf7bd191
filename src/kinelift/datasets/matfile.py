"""MATLAB's .mat files (versions 5 to 7.2) of strangers: numbers, text, cells and structs, and nothing else.

Written for files that may be malformed: SciPy's reader is fast, but a few changed bytes can crash the process in it.
Here every length is checked against what is left of the file before it is used.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from kinelift.datasets.safe_pickle import FAULTS, reason
from kinelift.errors import InputError

MAX_BYTES = 2**30
# Cells, structs and matrices in all, a few hundred bytes each; MPII's file has four million.
MAX_OBJECTS = 10_000_000
MAX_NUMBERS = 200_000_000
MAX_VARIABLES = 10_000
_MAX_DEPTH = 24
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _CHAR = 1, 2, 4
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_LETTERS = dict(zip(_STORED, "bBhHiIfdqQ", strict=True))
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_COMPLEX = 0x800


def load_mat(path: Path, names: Iterable[str]) -> dict[str, Any]:
    """Variables of a file by name, those that it has.

    A single number becomes a float, numbers an array in MATLAB's shape, text a str, a cell array an object array, a
    struct array an object array of dicts. Raises `InputError`.
    """
    wanted = set(names)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"too large: over {MAX_BYTES >> 30} GB")
        data = memoryview(path.read_bytes())
        return _variables(data, wanted)
    except FAULTS as e:
        raise InputError(f"{path}: cannot be read as .mat ({reason(e)})") from None


def _variables(data: memoryview, wanted: set[str]) -> dict[str, Any]:
    head, mark = bytes(data[:124]), bytes(data[126:128])
    if mark not in (b"IM", b"MI"):
        raise ValueError("it does not begin as MATLAB's files do")
    if head.startswith(b"MATLAB 7.3"):
        raise ValueError("it is of version 7.3: save it in MATLAB with '-v7'")
    order = "<" if mark == b"IM" else ">"
    out: dict[str, Any] = {}
    at, room, count, spent = 128, MAX_BYTES, 0, _Spent()
    while at < len(data) and not wanted <= out.keys():
        count += 1
        if count > MAX_VARIABLES:
            raise ValueError(f"it has more than {MAX_VARIABLES} variables")
        kind, size = struct.unpack_from(order + "II", data, at)
        body, at = data[at + 8 : at + 8 + size], at + 8 + size
        if len(body) < size:
            raise ValueError("it breaks off")
        if kind == _COMPRESSED:
            if _name(_unpacked(body, 4096, cut=True), order) not in wanted:
                continue
            body = _unpacked(body, room)
            room -= len(body)
            kind, size = struct.unpack_from(order + "II", body, 0)
            body = body[8 : 8 + size]
        if kind == _MATRIX:
            name = _Reader(order, body, spent).header()[2]
            if name in wanted:
                out[name] = _Reader(order, body, spent).matrix_body(0)
    return out


def _unpacked(body: memoryview, limit: int, cut: bool = False) -> memoryview:
    machine = zlib.decompressobj()
    out = machine.decompress(body, limit)
    if machine.unconsumed_tail and not cut:
        raise ValueError(f"too large: over {limit / 1e9:.1f} GB unpacked")
    return memoryview(out)


def _name(start: memoryview, order: str) -> str:
    return _Reader(order, start[8:], _Spent()).header()[2]


_NOTHING = np.empty((0, 0))
_NOTHING.flags.writeable = False


class _Spent:
    """How much a file has been given so far: small files can ask for much."""

    def __init__(self) -> None:
        self.objects = self.numbers = 0

    def add(self, objects: int, numbers: int) -> None:
        """Count before memory is taken. Raises ValueError."""
        self.objects, self.numbers = self.objects + objects, self.numbers + numbers
        if self.objects > MAX_OBJECTS or self.numbers > MAX_NUMBERS:
            raise ValueError("too large: it holds too many numbers, cells or structs")


class _Reader:
    """A place in the bytes of one matrix."""

    def __init__(self, order: str, data: memoryview, spent: _Spent):
        self.order, self.data, self.at, self.spent = order, data, 0, spent
        self.tag, self.lone = struct.Struct(order + "II"), struct.Struct(order + "10I")

    def element(self) -> tuple[int, memoryview]:
        """The next element's type and bytes; small ones are stored inside their tag."""
        kind, size = self.tag.unpack_from(self.data, self.at)
        if kind >> 16:
            kind, size, start, step = kind & 0xFFFF, kind >> 16, self.at + 4, 8
            if size > 4:
                raise ValueError("an element is longer than its place")
        else:
            start, step = self.at + 8, 8 + size + (-size % 8)
        if start + size > len(self.data):
            raise ValueError("it breaks off")
        self.at += step
        return kind, self.data[start : start + size]

    def header(self) -> tuple[int, tuple[int, ...], str]:
        """Class and flags, dimensions and name."""
        _, flags = self.element()
        (bits,) = struct.unpack_from(self.order + "I", flags)
        _, raw = self.element()
        dims = struct.unpack(f"{self.order}{len(raw) // 4}i", raw)
        if not 2 <= len(dims) <= 8 or min(dims) < 0:
            raise ValueError("dimensions are none")
        return bits, dims, bytes(self.element()[1]).decode("latin-1")

    def matrix(self, depth: int) -> Any:
        """The next element, which is a matrix."""
        kind, body = self.element()
        if kind != _MATRIX:
            raise ValueError("expected a matrix")
        number = self.lone_number(body)
        if number is not None:
            return number
        return _Reader(self.order, body, self.spent).matrix_body(depth) if len(body) else _NOTHING

    def lone_number(self, body: memoryview) -> float | None:
        """A matrix of one real number in its usual layout, quickly: there are millions in sets of structs."""
        if len(body) not in (48, 56):
            return None
        six, eight, bits, _, *rest = self.lone.unpack_from(body)
        if (six, eight, *rest) != (6, 8, 5, 8, 1, 1, 1, 0) or bits & (0xFF | _COMPLEX) not in _CLASSES:
            return None
        kind, size = self.tag.unpack_from(body, 40)
        small = kind >> 16
        kind, size = (kind & 0xFFFF, small) if small else (kind, size)
        letter = _LETTERS.get(kind)
        if letter is None or struct.calcsize("<" + letter) != size:
            return None
        return float(struct.unpack_from(self.order + letter, body, 44 if small else 48)[0])

    def matrix_body(self, depth: int) -> Any:
        """What a matrix holds."""
        if depth > _MAX_DEPTH:
            raise ValueError("it is nested too deeply")
        bits, dims, _ = self.header()
        kind, count = bits & 0xFF, math.prod(dims)
        if bits & _COMPLEX:
            raise ValueError("complex numbers are not read")
        if kind in _CLASSES:
            return self.numbers(np.dtype(_CLASSES[kind]), dims)
        if kind == _CHAR:
            stored, raw = self.element()
            codec = _TEXTS[stored] + ({"<": "-le", ">": "-be"}[self.order] if stored in (4, 17, 18) else "")
            return bytes(raw).decode(codec, errors="replace")
        if kind == _CELL:
            self.need(count)
            return _shaped([self.matrix(depth + 1) for _ in range(count)], dims)
        if kind == _STRUCT:
            fields = self.fields()
            self.need(count * max(len(fields), count > 1))
            return _shaped([{f: self.matrix(depth + 1) for f in fields} for _ in range(count)], dims)
        raise ValueError(f"a variable of class {kind} is not read")

    def need(self, elements: int) -> None:
        """Check that as many elements fit into what is left."""
        if elements * 8 > len(self.data) - self.at:
            raise ValueError("it breaks off")
        self.spent.add(elements, 0)

    def fields(self) -> list[str]:
        """A struct's field names, laid out in equal widths."""
        _, width = self.element()
        _, names = self.element()
        (n,) = struct.unpack(self.order + "i", width)
        if not 0 < n <= 256 or len(names) % n:
            raise ValueError("a struct's field names are none")
        found = [bytes(names[i : i + n]).split(b"\0")[0].decode("latin-1") for i in range(0, len(names), n)]
        if len(set(found)) != len(found):
            raise ValueError("a struct's field names repeat")
        return found

    def numbers(self, dtype: np.dtype, dims: tuple[int, ...]) -> Any:
        """Numbers, which may be stored in a smaller type than their own."""
        stored, raw = self.element()
        values = np.frombuffer(raw, self.order + _STORED[stored])
        self.spent.add(0, len(values))
        if len(values) != math.prod(dims):
            raise ValueError("numbers do not fill their shape")
        if len(values) == 1:
            return float(values[0])
        return values.astype(dtype).reshape(dims, order="F")


def _shaped(items: list[Any], dims: tuple[int, ...]) -> np.ndarray:
    out = np.empty(len(items), object)
    for i, item in enumerate(items):
        out[i] = item
    return out.reshape(dims, order="F")
