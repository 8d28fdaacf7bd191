"""Pickles and npz files of strangers, read as data: arrays, numbers, text and containers, and nothing is ever called.

Python's own unpickler imports and calls whatever a file names. Here a small machine walks the file's operations
itself (the standard library's `pickletools` only takes them apart) and builds what it knows how to build; any other
name in the file is an error, never an import. Understands protocols 0 to 5, of Python 2 too.
"""

from __future__ import annotations

import codecs
import io
import math
import mmap
import pickletools
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from kinelift.errors import InputError
from kinelift.safe.npz import open_member, open_zip, read_array, read_header, reason

MAX_BYTES = 4 * 2**30
MAX_NPZ_BYTES = 10**9
# Numbers in one list of lists: a file can hold the same list in many places, and be small.
MAX_LISTED = 100_000
FAULTS = (
    *(OSError, EOFError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, AssertionError),
    *(MemoryError, RuntimeError, struct.error, zipfile.BadZipFile, zlib.error),
)


class _Name(NamedTuple):
    """Something a file wants to import; never imported."""

    module: str
    name: str


class _Dtype:
    """An array's type while the file still describes it."""

    def __init__(self, dtype: np.dtype):
        self.dtype = dtype


class _Refused(ValueError):
    pass


def load_pickle(path: Path) -> Any:
    """The content of a pickle of arrays and containers. Raises `InputError`."""
    try:
        _check_size(path.stat().st_size, MAX_BYTES)
        with path.open("rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return read_pickle(data)
    except FAULTS as e:
        raise InputError(f"{path}: cannot be read as a pickle of arrays ({reason(e)})") from None


def load_npz(path: Path, names: Iterable[str]) -> dict[str, Any]:
    """Arrays of an npz by name; pickled ones as what they hold. Raises `InputError`."""
    out = {}
    try:
        with open_zip(path) as archive:
            for name in names:
                if f"{name}.npy" not in archive.namelist():
                    raise ValueError(f"it has no '{name}'")
                info = archive.getinfo(f"{name}.npy")
                _check_size(info.file_size, MAX_NPZ_BYTES)
                with open_member(archive, info) as f:
                    out[name] = _read_npy(f, info.file_size)
    except FAULTS as e:
        raise InputError(f"{path}: cannot be read as npz ({reason(e)})") from None
    return out


def _check_size(n: int, most: int) -> None:
    if n > most:
        raise _Refused(f"too large: {n / 1e9:.1f} GB, at most {most / 1e9:.1f}")
    if n == 0:
        raise _Refused("it is empty")


def _read_npy(f: IO[bytes], size: int) -> Any:
    shape, _, dtype = read_header(f)
    if not dtype.hasobject:
        f.seek(0)
        return read_array(f, size)
    held = read_pickle(io.BytesIO(f.read()))
    return held.item() if shape == () and isinstance(held, np.ndarray) and held.shape == () else held


def as_numbers(values: Any) -> np.ndarray:
    """Float64 numbers of an array, or of lists of numbers and arrays. Raises ValueError, TypeError."""
    if not isinstance(values, np.ndarray) and _listed(values, {}, 0) > MAX_LISTED:
        raise ValueError("its lists hold too many numbers")
    return np.asarray(values, np.float64)


def _listed(value: Any, known: dict[int, float], depth: int) -> float:
    """How many numbers nested lists have when written out; infinite where they hold themselves or go deep."""
    if not isinstance(value, list | tuple):
        return float(value.size) if isinstance(value, np.ndarray) else 1.0
    if depth > 8:
        return math.inf
    if id(value) not in known:
        known[id(value)] = math.inf  # until it is known: a list inside itself
        known[id(value)] = sum(_listed(v, known, depth + 1) for v in value)
    return known[id(value)]


_OPERATIONS = {op.code: op for op in pickletools.opcodes}


def read_pickle(data: Any) -> Any:
    """The object of a pickle in an open binary file of bounded length. Raises one of `FAULTS`."""
    machine = _Machine(_length(data))
    while True:
        code = data.read(1)
        op = _OPERATIONS.get(code.decode("latin-1"))
        if op is None:
            raise _Refused("it breaks off" if not code else "it is no pickle")
        if op.name == "STOP":
            return machine.pop()
        if op.name == "STRING":  # Python 2's bytes, which need not be ASCII
            text = pickletools.read_stringnl(data, decode=False)  # type: ignore[call-arg]
            arg: Any = codecs.escape_decode(text)[0].decode("latin-1")  # type: ignore[attr-defined]
        else:
            arg = op.arg.reader(data) if op.arg else None
        machine.step(op.name, arg)


def _length(data: Any) -> int:
    at = data.tell()
    size = data.seek(0, 2) or data.tell()
    data.seek(at)
    return size


# Operations whose argument is the value itself, in all their sizes: BININT1, SHORT_BINBYTES, UNICODE...
_PUSHED = tuple(
    f"{size}{kind}" for size in ("", "BIN", "SHORT_BIN") for kind in ("INT", "FLOAT", "STRING", "BYTES", "UNICODE")
)
_PUSHED += ("LONG1", "LONG4", "BYTEARRAY8")
_NEW: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Machine:
    """Pickle's stack, its marks and its memo."""

    def __init__(self, room: int) -> None:
        self.room = 4 * room + 1_000_000  # bytes that may still be there again
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def spend(self, n: int) -> None:
        """Take from the room for copies."""
        self.room -= n
        if self.room < 0:
            raise _Refused("it repeats more than it holds")

    def pop(self) -> Any:
        return self.stack.pop()

    def pop_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marked.pop()
        return items

    def step(self, op: str, arg: Any) -> None:
        """One operation with its argument."""
        push = self.stack.append
        if op == "LONG" or op.startswith(_PUSHED):
            push(arg)
        elif op in _NEW:
            push(_NEW[op]())
        elif op in _TUPLES:
            n = _TUPLES[op]
            items = tuple(self.stack[-n:])
            if len(items) < n:
                raise _Refused("its stack is empty")
            self.stack[-n:] = [items]
        elif op in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memo[len(self.memo) if op == "MEMOIZE" else arg] = self.stack[-1]
        elif op in ("GET", "BINGET", "LONG_BINGET"):
            again = self.memo[arg]
            self.spend(again.nbytes if isinstance(again, np.ndarray) else 0)
            push(again)
        elif op not in ("PROTO", "FRAME"):
            other = getattr(self, f"_{op.lower()}", None)
            if other is None:
                raise _Refused(f"it holds more than arrays and containers: {op}")
            other(arg)

    def _mark(self, _: Any) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def _dup(self, _: Any) -> None:
        self.stack.append(self.stack[-1])

    def _pop(self, _: Any) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.pop_mark()

    def _pop_mark(self, _: Any) -> None:
        self.pop_mark()

    def _list(self, _: Any) -> None:
        items = self.pop_mark()
        self.stack.append(items)

    def _tuple(self, _: Any) -> None:
        items = self.pop_mark()
        self.stack.append(tuple(items))

    def _frozenset(self, _: Any) -> None:
        items = self.pop_mark()
        self.stack.append(frozenset(map(_key, items)))

    def _dict(self, _: Any) -> None:
        items = self.pop_mark()
        self.stack.append({})
        self._fill(items)

    def _append(self, _: Any) -> None:
        item = self.pop()
        _expect(self.stack[-1], list).append(item)

    def _appends(self, _: Any) -> None:
        items = self.pop_mark()
        _expect(self.stack[-1], list).extend(items)

    def _additems(self, _: Any) -> None:
        items = self.pop_mark()
        _expect(self.stack[-1], set).update(map(_key, items))

    def _setitem(self, _: Any) -> None:
        value, key = self.pop(), self.pop()
        self._fill([key, value])

    def _setitems(self, _: Any) -> None:
        self._fill(self.pop_mark())

    def _fill(self, items: list[Any]) -> None:
        _expect(self.stack[-1], dict).update(zip(map(_key, items[::2]), items[1::2], strict=True))

    def _global(self, arg: str) -> None:
        module, name = arg.split(" ", 1)
        self.stack.append(_Name(module, name))

    def _stack_global(self, _: Any) -> None:
        name, module = self.pop(), self.pop()
        self.stack.append(_Name(_expect(module, str), _expect(name, str)))

    def _reduce(self, _: Any) -> None:
        args, name = self.pop(), self.pop()
        self.spend(sum(len(a) for a in _expect(args, tuple) if isinstance(a, (str, bytes, bytearray, list))))
        self.stack.append(_made(_expect(name, _Name), args))

    def _build(self, _: Any) -> None:
        state = _expect(self.pop(), tuple)
        thing = self.stack[-1]
        if isinstance(thing, _Dtype):
            thing.dtype = _with_order(thing.dtype, state)
        elif isinstance(thing, np.ndarray):
            _fill_array(thing, *state)
        else:
            raise _Refused("it sets the state of something that is no array")


def _expect(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise _Refused(f"expected a {kind.__name__.strip('_').lower()}, got a {type(value).__name__}")
    return value


def _key(value: Any) -> Any:
    """A key of a dict or set; tuples only one deep, since hashing deep ones overflows the interpreter's stack."""
    flat = value if isinstance(value, tuple) else (value,)
    if not all(v is None or isinstance(v, (str, bytes, int, float, np.generic)) for v in flat):
        raise _Refused("a key is no text or number")
    return value


def _made(asked: _Name, args: tuple) -> Any:
    """What a call in the file stands for."""
    module, name = asked
    module = module.replace("numpy._core", "numpy.core").replace("__builtin__", "builtins")
    match (module, name, args):
        case ("numpy.core.multiarray", "_reconstruct", (_Name("numpy", "ndarray"), _, _)):
            return np.empty(0, np.int8)
        case ("numpy", "dtype", (str() | bytes() as code, *_)):
            return _Dtype(_plain_dtype(_text(code)))
        case ("numpy.core.multiarray", "scalar", (_Dtype() as d, (str() | bytes()) as raw)):
            return _from_bytes(_raw(raw), d.dtype, ())[()]
        case (
            "numpy.core.numeric",
            "_frombuffer",
            (bytes() | bytearray() as raw, _Dtype() as d, tuple() as s, "C" | "F"),
        ):
            return _from_bytes(raw, d.dtype, s, args[3])
        case ("_codecs", "encode", (str() as text, "latin1" | "latin-1")):
            return text.encode("latin-1")
        case ("builtins", "bytes" | "str", ()):
            return b""
        case ("builtins", "bytearray", (bytes() as raw,)):
            return raw
        case ("builtins", "set" | "frozenset", (list() as items,)):
            return set(map(_key, items))
        case ("collections", "OrderedDict" | "defaultdict", (None | _Name(),) | ()):
            return {}
        case ("collections", "OrderedDict", (list() as pairs,)):
            return {_key(k): v for k, v in pairs}
    raise _Refused(f"it asks for {asked.module}.{asked.name}; only arrays and containers are read"[:160])


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _raw(value: Any) -> bytes:
    return value.encode("latin-1") if isinstance(value, str) else value


def _plain_dtype(code: str) -> np.dtype:
    if not re.fullmatch(r"[<>|=]?([fiuc]\d{1,2}|b1|O8?|[SU]\d{1,6})", code):
        raise _Refused(f"arrays of type {code[:20]!r} are not read")
    return np.dtype(code)


def _with_order(dtype: np.dtype, state: tuple) -> np.dtype:
    """A type with the byte order of its pickled state (version, order, sub-array, names, fields, ...)."""
    order = _text(state[1])
    if order not in ("<", ">", "|", "=") or any(s is not None for s in state[2:5]):
        raise _Refused("structured arrays are not read")
    return dtype if order == "|" else dtype.newbyteorder(order)  # type: ignore[arg-type]


def _fill_array(array: np.ndarray, _version: Any, shape: Any, dtype: Any, fortran: Any, raw: Any) -> None:
    """Give an empty array its pickled state in place, since the file may already refer to it."""
    if array.shape != (0,) or array.dtype != np.int8:
        raise _Refused("it sets the state of an array twice")
    dtype = _expect(dtype, _Dtype).dtype
    if dtype.hasobject:
        if len(_expect(raw, list)) != math.prod(_shape(shape)):
            raise _Refused("an array's items do not fill its shape")
        array.__setstate__((1, shape, dtype, bool(fortran), raw))  # type: ignore[arg-type]
        return
    _from_bytes(_raw(raw), dtype, shape)
    array.__setstate__((1, shape, dtype, bool(fortran), bytes(_raw(raw))))  # type: ignore[arg-type]


def _shape(shape: Any) -> tuple[int, ...]:
    if type(shape) is not tuple or len(shape) > 32 or any(type(n) is not int or not 0 <= n < 2**40 for n in shape):
        raise _Refused("an array's shape is none")
    return shape


def _from_bytes(raw: Any, dtype: np.dtype, shape: Any, order: str = "C") -> np.ndarray:
    if dtype.hasobject or not isinstance(raw, (bytes, bytearray)):
        raise _Refused("an array holds no plain numbers")
    if math.prod(_shape(shape)) * dtype.itemsize != len(raw):
        raise _Refused("an array's bytes do not fill its shape")
    if not raw:
        return np.empty(shape, dtype)
    return np.frombuffer(raw, dtype).reshape(shape, order=order)  # type: ignore[call-overload]
