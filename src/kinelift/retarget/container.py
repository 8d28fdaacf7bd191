"""glTF files as JSON and bytes: `.glb` and `.vrm` are one container, `.gltf` is the JSON alone.

Everything in them is a stranger's: lengths, offsets and counts are checked against the bytes there are before any
memory is taken for them.
"""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kinelift.errors import InputError

MAX_BYTES = 1 << 30
MAX_JSON_BYTES = 64 << 20
# No rig's numbers are as large.
HUGE = 1e9
_MAGIC, _JSON, _BIN = 0x46546C67, 0x4E4F534A, 0x004E4942
# glTF's numbers for component types, and components of an element (specification 2.0, 3.6.2.2).
TYPES = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
COMPONENTS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class UnreadableError(Exception):
    """Valid data that is not read here: sparse, compressed, or in another file."""


@dataclass(frozen=True, eq=False)
class Gltf:
    """A glTF file.

    Attributes:
        json: Its JSON, as it was read.
        binary: The container's own bytes; empty for a .gltf.
        rest: Chunks that follow, unknown to glTF 2.0, as they are.
        path: The file.
        decoded: Buffers of data URIs, once they were asked for.
    """

    json: dict[str, Any]
    binary: bytes
    rest: bytes
    path: Path
    decoded: dict[int, bytes] = field(default_factory=dict)


@contextmanager
def explained(path: Path, what: str = "glTF") -> Iterator[None]:
    """Whatever a malformed file makes Python raise, as one line."""
    try:
        yield
    except InputError:
        raise
    except OSError as e:
        raise InputError(f"{path}: cannot be read ({e.strerror or e})") from None
    except RecursionError:
        raise InputError(f"{path}: malformed {what} (nested too deeply)") from None
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, struct.error) as e:
        reason = " ".join(str(e).split())[:160] or type(e).__name__
        raise InputError(f"{path}: malformed {what} ({type(e).__name__}: {reason})") from None


def read_container(path: Path) -> Gltf:
    """Read .glb, .vrm or .gltf; raises `InputError`."""
    with explained(path):
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"over {MAX_BYTES >> 20} MB")
        data = path.read_bytes()
        if path.suffix.lower() == ".gltf":
            return Gltf(_json(data), b"", b"", path)
        if len(data) < 20:
            raise ValueError("no glTF binary: too short")
        magic, version, length = struct.unpack_from("<III", data)
        if magic != _MAGIC or version != 2 or length > len(data):
            raise ValueError("expected a glTF 2.0 binary of the length that it states")
        chunks, at = [], 12
        while at + 8 <= length:
            size, kind = struct.unpack_from("<II", data, at)
            if at + 8 + size > length:
                raise ValueError("a chunk is longer than the file")
            chunks.append((kind, at + 8, size))
            at += 8 + size
        if not chunks or chunks[0][0] != _JSON:
            raise ValueError("expected JSON first")
        binary, after = b"", chunks[0][1] + chunks[0][2]
        if len(chunks) > 1 and chunks[1][0] == _BIN:
            _, start, size = chunks[1]
            binary, after = data[start : start + size], start + size
        return Gltf(_json(data[20 : 20 + chunks[0][2]]), binary, data[after:length], path)


def _json(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_JSON_BYTES:
        raise ValueError(f"over {MAX_JSON_BYTES >> 20} MB of JSON")

    def finite(text: str) -> float:
        if not math.isfinite(value := float(text)):
            raise ValueError(f"{text[:20]} is no finite number")
        return value

    content = json.loads(data.decode("utf-8-sig"), parse_constant=finite, parse_float=finite)
    if b"\\ud" in data.lower():  # half a surrogate pair could be read, but never written
        json.dumps(content, ensure_ascii=False).encode()
    if not isinstance(content, dict):
        raise ValueError("expected a JSON object")
    return content


def container_bytes(gltf: Gltf) -> bytes:
    """The file's bytes: a .gltf's JSON, or the whole container."""
    text = json.dumps(gltf.json, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    if gltf.path.suffix.lower() == ".gltf":
        return text
    text += b" " * (-len(text) % 4)
    parts = [struct.pack("<II", len(text), _JSON), text]
    if gltf.binary:
        binary = gltf.binary + bytes(-len(gltf.binary) % 4)
        parts += [struct.pack("<II", len(binary), _BIN), binary]
    body = b"".join(parts) + gltf.rest
    return struct.pack("<III", _MAGIC, 2, 12 + len(body)) + body


def entries(gltf: Gltf, name: str) -> list[dict[str, Any]]:
    """One of the JSON's top-level arrays of objects, empty where it has none; raises `ValueError`."""
    found = gltf.json.get(name, [])
    if not isinstance(found, list) or not all(isinstance(e, dict) for e in found):
        raise ValueError(f"{name}: expected an array of objects")
    return found


def index(value: Any, size: int, what: str) -> int:
    """A JSON value as an index below `size`; raises `ValueError`."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < size:
        raise ValueError(f"{what}: expected an index below {size}, got {str(value)[:40]}")
    return value


def accessor(gltf: Gltf, number: Any) -> np.ndarray:
    """The values (count, components) of an accessor, normalised integers as fractions.

    Raises `ValueError` where it does not lie within its buffer, `UnreadableError` for what needs a decoder or a file.
    """
    accessors, views = entries(gltf, "accessors"), entries(gltf, "bufferViews")
    a = accessors[index(number, len(accessors), "accessor")]
    if "sparse" in a or "bufferView" not in a:
        raise UnreadableError("sparse or compressed accessor")
    view = views[index(a["bufferView"], len(views), "bufferView")]
    if "EXT_meshopt_compression" in view.get("extensions", {}):
        raise UnreadableError("compressed bufferView")
    kind = np.dtype(TYPES[a["componentType"]])
    width = COMPONENTS[a["type"]]
    data = _buffer(gltf, view.get("buffer"))
    start = index(view.get("byteOffset", 0), len(data) + 1, "byteOffset")
    end = start + index(view["byteLength"], len(data) - start + 1, "byteLength")
    start += index(a.get("byteOffset", 0), end - start + 1, "byteOffset")
    stride = view.get("byteStride") or width * kind.itemsize
    count = a["count"]
    if not isinstance(count, int) or not width * kind.itemsize <= index(stride, 253, "byteStride") or count < 0:
        raise ValueError("accessor: unusable count or stride")
    if count and start + (count - 1) * stride + width * kind.itemsize > end:
        raise ValueError(f"accessor {number}: its {count} elements do not lie within their buffer")
    values = np.ndarray((count, width), kind, data, start, (stride, kind.itemsize)).astype(np.float64)
    return values / np.iinfo(kind).max if a.get("normalized") and kind.kind in "iu" else values


def _buffer(gltf: Gltf, number: Any) -> bytes:
    """A buffer's bytes: the container's, or those of a data URI. Other files are not opened."""
    buffers = entries(gltf, "buffers")
    buffer = buffers[index(number, len(buffers), "buffer")]
    uri = buffer.get("uri")
    if uri is None:
        return gltf.binary
    if not isinstance(uri, str) or not uri.startswith("data:") or ";base64," not in uri[:200]:
        raise UnreadableError("the buffer is another file")
    if number not in gltf.decoded:
        gltf.decoded[number] = base64.b64decode(uri.split(",", 1)[1], validate=True)
    return gltf.decoded[number]


def numbers(value: Any, size: int, what: str) -> np.ndarray:
    """A JSON array of `size` finite numbers; raises `ValueError`."""
    if not isinstance(value, list) or len(value) != size:
        raise ValueError(f"{what}: expected {size} numbers")
    if not all(isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < HUGE for v in value):
        raise ValueError(f"{what}: expected finite numbers")
    return np.array(value, float)
