"""Ways to spoil a valid file: by its format (arrays, trees, texts, opcodes, networks) and byte by byte.

Every function takes the valid file's path, the path to write and a random generator, and returns a short name of what
was done. All are deterministic in the generator.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Rng = np.random.Generator
Mutation = Callable[[Path, Path, Rng], str]

NUMBERS = (
    "0", "-1", "1", "nan", "inf", "-inf", "1e308", "-1e308", "1e-320", "2147483648", "4294967295", "-2147483649",
    "9223372036854775808", "1000000000", "1e400", "0x10", "1_000", "", "abc", "9" * 400, "0." + "0" * 300 + "1", "٣",
)  # fmt: skip
WORDS = (
    "", " ", "\0", "\ud800", "../../etc/passwd", "/dev/zero", "a" * 5000, "\x1b[2J", "é" * 50, "%s%n", "null", "{", "[",
    "]", "}", "<", "\"", "'", "\\", "#", "---", "!!python/object/apply:os.system", "&a", "*a", "<!ENTITY x 'y'>",
)  # fmt: skip
WHOLE = (0, 1, 2, 127, 128, 255, 256, 32767, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)


def pick(rng: Rng, items: Any) -> Any:
    items = list(items)
    return items[int(rng.integers(len(items)))]


# Bytes of any format.


def byte_noise(source: Path, out: Path, rng: Rng) -> str:
    """A few changed bytes."""
    data = bytearray(source.read_bytes())
    for _ in range(int(2 ** rng.uniform(0, 6))):
        data[int(rng.integers(len(data)))] = int(rng.integers(256))
    out.write_bytes(data)
    return "bytes changed"


def byte_sizes(source: Path, out: Path, rng: Rng) -> str:
    """Extreme whole numbers of 1 to 8 bytes where counts, lengths and offsets may be; mostly near the beginning."""
    data = bytearray(source.read_bytes())
    for _ in range(int(rng.integers(1, 5))):
        width = int(pick(rng, (1, 2, 4, 4, 8)))
        reach = min(len(data), 512) if rng.random() < 0.6 else len(data)
        at = int(rng.integers(max(reach - width, 1)))
        value = int(pick(rng, (*WHOLE, len(data), len(data) * 2))) % 256**width
        data[at : at + width] = value.to_bytes(width, str(pick(rng, ("little", "big"))))  # type: ignore[arg-type]
    out.write_bytes(data)
    return "sizes changed"


def byte_cut(source: Path, out: Path, rng: Rng) -> str:
    """A file that breaks off, or lacks or repeats a piece."""
    data = source.read_bytes()
    a, b = sorted(int(v) for v in rng.integers(len(data) + 1, size=2))
    kind = int(rng.integers(4))
    out.write_bytes((data[:a], data[:a] + data[b:], data[:b] + data[a:], data[a:])[kind])
    return ("cut short", "piece missing", "piece repeated", "beginning missing")[kind]


def byte_foreign(source: Path, out: Path, rng: Rng) -> str:
    """Something else under the file's name."""
    made = {
        "empty": b"",
        "zeros": bytes(5000),
        "noise": rng.bytes(5000),
        "a long line": b"a" * 3_000_000,
        "many lines": b"1 2 3\n" * 500_000,
        "a zip of nothing": b"PK\x05\x06" + bytes(18),
        "a git-lfs pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "a pickle that runs code": b"cposix\nsystem\n(S'touch pwned'\ntR.",
        "open brackets": b"[" * 300_000,
        "open elements": b"<a>" * 200_000,
        "not UTF-8": b"\xff\xfe\xfd" * 1000,
        "only a byte order mark": b"\xef\xbb\xbf",
    }
    name = str(pick(rng, made))
    out.write_bytes(made[name])
    return name


BYTES: tuple[Mutation, ...] = (byte_noise, byte_sizes, byte_cut, byte_foreign)


# Texts: TOML, YAML, XML, BVH, prototxt, calibrations.

_NUMBER = re.compile(r"-?\d+\.?\d*(?:[eE][-+]?\d+)?")


def text_numbers(source: Path, out: Path, rng: Rng) -> str:
    """Numbers replaced by extreme ones."""
    text = source.read_text(encoding="utf-8")
    places = list(_NUMBER.finditer(text))
    few = places[: min(len(places), 40)] if rng.random() < 0.5 else places
    chosen = {int(i) for i in rng.integers(len(few), size=int(rng.integers(1, 4)))} if few else set()
    for i in sorted(chosen, reverse=True):
        a, b = few[i].span()
        text = text[:a] + str(pick(rng, NUMBERS)) + text[b:]
    _write_text(out, text)
    return "numbers changed"


def text_words(source: Path, out: Path, rng: Rng) -> str:
    """Words replaced, or something put between them."""
    words = re.split(r"(\s+|[\[\]{}<>=:,\"])", source.read_text(encoding="utf-8"))
    for _ in range(int(rng.integers(1, 4))):
        i = int(rng.integers(len(words)))
        words[i] = str(pick(rng, (*WORDS, *words[:40], pick(rng, words) * 3)))
    _write_text(out, "".join(words))
    return "words changed"


def text_lines(source: Path, out: Path, rng: Rng) -> str:
    """Lines left out, repeated, exchanged, indented, or repeated very often."""
    lines = source.read_text(encoding="utf-8").split("\n")
    a, b = sorted(int(v) for v in rng.integers(len(lines), size=2))
    kind = int(rng.integers(6))
    if kind == 0:
        del lines[a : b + 1]
    elif kind == 1:
        lines[b:b] = lines[a : b + 1]
    elif kind == 2:
        lines[a], lines[b] = lines[b], lines[a]
    elif kind == 3:
        lines[a] = " " * int(rng.integers(1, 9)) + lines[a].lstrip()
    elif kind == 4:
        lines[a:a] = [lines[a]] * min(200_000, 3_000_000 // (len(lines[a]) + 1))
    else:
        lines[a : b + 1] = ["".join(lines[a : b + 1])]
    _write_text(out, "\n".join(lines))
    return ("lines missing", "lines repeated", "lines exchanged", "indented", "a line very often", "joined")[kind]


def text_nested(source: Path, out: Path, rng: Rng) -> str:
    """A value, or all of it, inside very many brackets, elements, keys or levels."""
    text = source.read_text(encoding="utf-8")
    depth = int(10 ** rng.uniform(1, 5))
    opened, closed = pick(rng, (("[", "]"), ("{", "}"), ("<a>", "</a>"), ("(", ")"), ("a.", ""), ('{"a":', "}")))
    places = [m.span() for m in _NUMBER.finditer(text)]
    a, b = pick(rng, places) if places and rng.random() < 0.7 else (0, len(text))
    _write_text(out, text[:a] + opened * depth + text[a:b] + closed * depth + text[b:])
    return "nested deeply"


LAUGHS = {
    "xml": '<?xml version="1.0"?>\n<!DOCTYPE z [<!ENTITY a0 "ha">'
    + "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 11))
    + "]>\n<opencv_storage><image_width>&a10;</image_width></opencv_storage>",
    "xml from outside": '<!DOCTYPE z [<!ENTITY x SYSTEM "file:///etc/passwd">]><opencv_storage><k>&x;</k>'
    "</opencv_storage>",
    "yaml": "%YAML:1.0\na0: &a0 [ha]\n"
    + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 11)),
    "toml": "a = " + "[" * 50_000,
    "dotted": "a." * 400_000 + "a = 1",
    "many keys": "".join(f"k{i} = 1\n" for i in range(70_000)),
    "tables": "".join(f"[[a{'.a' * (i % 60)}]]\n" for i in range(5000)),
    "comment": "#" * 900_000,
    "json": '{"a":' * 100_000,
}


def text_laughs(source: Path, out: Path, rng: Rng) -> str:
    """A small text that some parsers expand to gigabytes."""
    name = str(pick(rng, LAUGHS))
    out.write_text(LAUGHS[name], encoding="utf-8")
    return f"billion laughs, {name}"


def _write_text(out: Path, text: str) -> None:
    out.write_bytes(text.encode("utf-8", "surrogatepass"))


TEXTS: tuple[Mutation, ...] = (text_numbers, text_numbers, text_words, text_lines, text_nested, text_laughs, *BYTES)


# Trees: JSON.


def _deep(n: int, kind: str) -> str:
    return "[" * n + "]" * n if kind == "list" else '{"a":' * n + "1" + "}" * n


class _Raw(str):
    """Text that goes into the JSON as it is."""


def hostile_values(rng: Rng) -> list[Any]:
    return [
        None, True, "", "x" * 3000, [], {}, [[]], {"": {}}, 0, -1, 1e308, -1e-320, 2**63, 10**300, "1", "../../x",
        "\ud800", float("nan"), float("inf"), [None], [1, "a"], [[1, 2], [3]], 1e6, 1e7, -1e6, [0] * 300, ["\x1b[2J"],
        _Raw(_deep(int(10 ** rng.uniform(1, 5)), "list")), _Raw(_deep(int(10 ** rng.uniform(1, 5)), "dict")),
        _Raw("1" + "0" * 5000), _Raw("[" + "[]," * 400_000 + "0]"), _Raw("1e" + "9" * 50), _Raw("-"), _Raw('"\\ud800"'),
    ]  # fmt: skip


def spoilt_tree(tree: Any, rng: Rng, values: list[Any]) -> Any:
    """A tree with one to three of its nodes replaced, dropped, doubled or renamed."""
    box = [json.loads(json.dumps(tree))]
    for _ in range(int(rng.integers(1, 4))):
        places: list[tuple[Any, Any]] = []
        todo: list[Any] = [box]
        while todo and len(places) < 5000:
            node = todo.pop()
            for key in list(node) if isinstance(node, dict) else range(len(node)):
                places.append((node, key))
                if isinstance(node[key], dict | list):
                    todo.append(node[key])
        node, key = pick(rng, places)
        match int(rng.integers(6)):
            case 0 if node is not box:
                del node[key]
            case 1 if isinstance(node, list) and node is not box:
                node.insert(key, node[key])
            case 2 if isinstance(node, dict):
                node[str(pick(rng, WORDS))] = node.pop(key)
            case _:
                node[key] = pick(rng, values)
    return box[0]


def json_tree(source: Path, out: Path, rng: Rng) -> str:
    """JSON with nodes of wrong kinds, sizes and depths."""
    tree = spoilt_tree(json.loads(source.read_text(encoding="utf-8")), rng, hostile_values(rng))
    raw: list[str] = []

    def marked(node: Any) -> Any:
        if isinstance(node, _Raw):
            raw.append(str(node))
            return f"@raw{len(raw) - 1}@"
        if isinstance(node, dict):
            return {k: marked(v) for k, v in node.items()}
        return [marked(v) for v in node] if isinstance(node, list) else node

    text = json.dumps(marked(tree))
    for i, piece in enumerate(raw):
        text = text.replace(f'"@raw{i}@"', piece)
    _write_text(out, text)
    return "tree changed"


JSONS: tuple[Mutation, ...] = (
    json_tree,
    json_tree,
    json_tree,
    json_tree,
    text_numbers,
    text_nested,
    text_laughs,
    *BYTES,
)


# Arrays: npz and npy.


class _Runs:
    def __reduce__(self) -> tuple:
        import os

        return os.system, ("touch pwned",)


def spoilt_array(a: np.ndarray, rng: Rng) -> np.ndarray:
    """An array of another shape, type or content."""
    match int(rng.integers(30)):
        case 0:
            return a.reshape(-1)
        case 1:
            return a[None]
        case 2:
            return a[..., :-1] if a.ndim and a.shape[-1] else np.array([])
        case 3:
            return a[:-1] if a.ndim and len(a) else np.zeros((0, 3))
        case 4:
            return np.concatenate([a, a]) if a.ndim else np.array([a, a])
        case 5:
            return a[:0] if a.ndim else np.zeros(0)
        case 6:
            return a.astype("U8")
        case 7:
            return a.astype(complex) if a.dtype.kind in "fiub" else np.array(["\ud800", "x" * 4000])
        case 8:
            return (
                a.astype(str(pick(rng, ("f2", "i1", "u8", "b1", ">f8", "f4"))))
                if a.dtype.kind in "fiub"
                else a[..., None]
            )
        case 9:
            return np.array({"a": 1}) if rng.random() < 0.5 else np.array([_Runs()], object)
        case 10:
            return np.zeros(a.shape, [("x", "f8"), ("y", "U3")])
    out = np.array(a)
    if out.dtype.kind == "f" and out.size:
        values = (np.nan, np.inf, -np.inf, 1e300, -1e300, 1e-320, 0.0, -1.0, 1e9, 2.0)
        flat = out.reshape(-1)
        chosen = rng.integers(flat.size, size=int(rng.integers(1, 4))) if rng.random() < 0.6 else slice(None)
        with np.errstate(over="ignore"):
            flat[chosen] = pick(rng, values)
        return flat.reshape(a.shape)
    if out.dtype.kind in "iu" and out.size:
        flat = out.reshape(-1)
        info = np.iinfo(out.dtype)
        value = pick(rng, (0, -1, 1, 10**6, info.max, info.min, 1000))
        flat[int(rng.integers(flat.size))] = np.clip(value, info.min, info.max)
        return flat.reshape(a.shape)
    if out.dtype.kind == "U":
        return np.full(a.shape, str(pick(rng, WORDS[1:])))
    return ~out if out.dtype.kind == "b" else out


def _npy(a: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, a, allow_pickle=True)
    return buffer.getvalue()


def lying_header(data: bytes, rng: Rng) -> bytes:
    """An npy whose header claims another shape or type than its bytes have."""
    shape = pick(
        rng,
        ((10**12,), (2**62, 2**62), (10**9, 26, 3), (-1,), (-5, 3), (1,) * 70, (3, -(10**6)), (2**31,), (500_000_000,)),
    )
    descr = str(pick(rng, ("<f8", "|O", "<U1000000000", "|V0", "<f16", "|S0", "<M8[ns]", "<U0", ">i4", "f8,O", "<i3")))
    described = "[" * 200 + "]" * 200 if rng.random() < 0.1 else repr(descr)
    keep = rng.random()
    old = data[10 : 10 + struct.unpack("<H", data[8:10])[0]].decode("latin-1")
    if keep < 0.5:
        new = re.sub(r"\(.*?\)", repr(shape), old, count=1)
    elif keep < 0.8:
        new = re.sub(r"'descr': '[^']*'", f"'descr': {described}", old, count=1)
    else:
        new = str(pick(rng, ("{}", "{'descr': ", "__import__('os').system('touch pwned')", "(" * 3000, "1" * 9000)))
    body = data[10 + len(old) :]
    head = new.encode("latin-1", "replace")
    return data[:8] + struct.pack("<H", len(head)) + head + body


@functools.cache
def repeated(head: bytes, block: bytes, times: int, bits: int = -15) -> bytes:
    """A deflate stream (of zlib's own form for 15 bits) of `head`, then of a block so many times, without the end."""
    machine = zlib.compressobj(1, zlib.DEFLATED, bits)
    parts = [machine.compress(head) + machine.flush(zlib.Z_FULL_FLUSH)]
    machine.compress(block)
    machine.flush(zlib.Z_FULL_FLUSH)  # what refers to before the first block cannot be repeated
    part = machine.compress(block) + machine.flush(zlib.Z_FULL_FLUSH)
    return b"".join([*parts, part * times])


def bomb(rng: Rng, name: str) -> bytes:
    """A zip of one deflated member of a gigabyte or more, whose directory tells the truth or lies."""
    header = _npy(np.zeros(0, np.uint8)).replace(b"(0,)", b"(1500000000,)").ljust(128)[:128]
    stream, size = repeated(header, bytes(10**7), 150) + b"\3\0", 1_500_000_128
    said = int(pick(rng, (size, size, 1000, 2**32 - 2)))
    compressed = int(pick(rng, (len(stream), len(stream), 10)))
    member = name.encode()
    head = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 8, 0, 33, 0, compressed, said, len(member), 0) + member
    entry = struct.pack(
        "<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 8, 0, 33, 0, compressed, said, len(member), 0, 0, 0, 0, 0, 0
    )
    directory = (entry + member) * int(pick(rng, (1, 1, 50)))
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(directory), len(head) + len(stream), 0)
    return head + stream + directory + end


def npz_arrays(source: Path, out: Path, rng: Rng) -> str:
    """An npz with arrays of other shapes, types, values, with some missing, or with lying headers."""
    with zipfile.ZipFile(source) as z:
        original = {n: z.read(n) for n in z.namelist()}
    members = dict(original)
    done = "arrays changed"
    for _ in range(int(rng.integers(1, 3))):
        name = str(pick(rng, members))
        kind = int(rng.integers(10))
        if kind == 0 and len(members) > 1:
            del members[name]
        elif kind == 1:
            members[str(pick(rng, ("x.npy", name + "x", "../x.npy", "", "a" * 60000)))] = members[name]
        elif kind in (2, 3):
            members[name] = lying_header(members[name], rng)
            done = "headers lie"
        elif kind == 4:
            members[name] = (
                rng.bytes(200) if rng.random() < 0.5 else members[name][: int(rng.integers(len(members[name])))]
            )
        elif kind == 5 and {"meta.npy", "about.npy"} & set(original):
            name = "meta.npy" if "meta.npy" in original else "about.npy"
            text = str(np.load(io.BytesIO(original[name]), allow_pickle=False))
            tree = spoilt_tree(json.loads(text), rng, [v for v in hostile_values(rng) if not isinstance(v, _Raw)])
            members[name] = _npy(np.array(json.dumps(tree)))
            done = "meta changed"
        else:
            with contextlib.suppress(Exception):  # its header was spoilt before
                members[name] = _npy(spoilt_array(np.load(io.BytesIO(members[name]), allow_pickle=False), rng))
    usual = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) * 9
    method = int(pick(rng, (*usual, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)))
    with zipfile.ZipFile(out, "w", method) as z:
        for name, data in members.items():
            z.writestr(zipfile.ZipInfo(name), data, method)
    return done


def npz_bombs(source: Path, out: Path, rng: Rng) -> str:
    """A zip that unpacks to gigabytes, or whose directory has a million entries."""
    with zipfile.ZipFile(source) as z:
        names = z.namelist()
    if rng.random() < 0.3:
        with zipfile.ZipFile(out, "w", zipfile.ZIP_BZIP2) as z:
            for name in names[:-1]:
                z.writestr(name, b"")
            with z.open(names[-1], "w", force_zip64=True) as f:
                for _ in range(3):
                    f.write(bytes(10**7))
        return "a bzip2 bomb"
    if rng.random() < 0.2:
        entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
        directory = entry * 1_000_000
        out.write_bytes(directory + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 65535, 65535, len(directory), 0, 0))
        return "a directory of a million entries"
    out.write_bytes(bomb(rng, str(pick(rng, names))))
    return "a deflate bomb"


NPZ: tuple[Mutation, ...] = (*[npz_arrays] * 16, *BYTES, npz_bombs)


def npy_array(source: Path, out: Path, rng: Rng) -> str:
    """An npy with another shape, type, content, or a lying header."""
    data = source.read_bytes()
    if rng.random() < 0.4:
        out.write_bytes(lying_header(data, rng))
        return "header lies"
    out.write_bytes(_npy(spoilt_array(np.load(source, allow_pickle=False), rng)))
    return "array changed"


NPY: tuple[Mutation, ...] = (npy_array, npy_array, npy_array, *BYTES)
