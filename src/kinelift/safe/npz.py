"""Arrays out of npz and npy files of strangers: numbers and text, no pickles, never more memory than is allowed.

NumPy's own loader takes what memory a header claims, unpacks whatever a zip holds, and answers a broken file with a
dozen kinds of exceptions. Here a claim is held against the bytes that there are, those against a limit, and every fault
is one `InputError`.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from kinelift.errors import InputError

MAX_BYTES = 10**9
# An npz has a few dozen arrays; a directory of more bytes than this holds ten thousand.
MAX_DIRECTORY = 1_000_000
_CHUNK = 1 << 20
# What NumPy writes. Others unpack without a bound on what one step gives.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_npz(
    path: Path, problem: str, names: Iterable[str] | None = None, optional: Iterable[str] = (), limit: int = MAX_BYTES
) -> dict[str, np.ndarray]:
    """Arrays of an npz by name: `names` and those of the `optional` that it has; without `names`, all.

    Numbers, bools and text only. Raises `InputError`, "PATH: PROBLEM (reason)", for any other file, and for one whose
    arrays take more than `limit` bytes.
    """
    try:
        with open_zip(path) as archive:
            members = {i.filename.removesuffix(".npy"): i for i in archive.infolist()}
            wanted = list(members) if names is None else list(names)
            if missing := [n for n in wanted if n not in members]:
                raise ValueError(f"it has no {', '.join(missing)}")
            wanted += [n for n in optional if n in members and n not in wanted]
            if sum(members[n].file_size for n in wanted) > limit:
                raise ValueError(f"it declares more than {limit / 1e9:g} GB")
            return {n: _member(archive, members[n], n) for n in wanted}
    # zipfile, zlib and NumPy answer a hostile file with nearly any exception; to the user each means the same.
    except Exception as e:
        raise InputError(f"{path}: {problem} ({reason(e)})") from None


def read_npy(path: Path, problem: str, limit: int = MAX_BYTES) -> np.ndarray:
    """The array of an npy. Raises `InputError` as `read_npz` does."""
    try:
        size = path.stat().st_size
        if size > limit:
            raise ValueError(f"it takes more than {limit / 1e9:g} GB")
        with path.open("rb") as f:
            return read_array(f, size)
    except Exception as e:
        raise InputError(f"{path}: {problem} ({reason(e)})") from None


def reason(e: BaseException) -> str:
    """An exception in one short line."""
    text = getattr(e, "strerror", None) or " ".join(str(e).split())
    return text[:160] or type(e).__name__


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip whose directory is small. Raises ValueError, OSError, and what zipfile raises."""
    with path.open("rb") as f:
        if _directory_bytes(f) > MAX_DIRECTORY:
            raise ValueError("its directory is too large")
        with zipfile.ZipFile(f) as archive:
            yield archive


def _directory_bytes(f: IO[bytes]) -> int:
    """Bytes of a zip's directory, as its end says (APPNOTE 4.3.16); zipfile reads as many at once."""
    size = f.seek(0, 2)
    f.seek(max(size - 22 - 65536 - 20, 0))
    tail = f.read()
    at = len(tail) - 22
    if tail[at : at + 4] != b"PK\5\6" or tail[-2:] != b"\0\0":
        at = tail.rfind(b"PK\5\6")
    if at < 0 or at + 22 > len(tail):
        raise ValueError("it is no zip file")
    if tail[max(at - 20, 0) : at].startswith(b"PK\6\7"):
        raise ValueError("it is a zip of more than 4 GB")
    return int.from_bytes(tail[at + 12 : at + 16], "little")


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> np.ndarray:
    with open_member(archive, info) as f:
        try:
            return read_array(f, info.file_size)
        except ValueError as e:
            raise ValueError(f"{name[:40]}: {e}") from None


def open_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    """A member packed as NumPy packs, for reading. Raises ValueError, and what zipfile raises."""
    if info.compress_type not in _METHODS:
        raise ValueError("it is packed in a way that NumPy does not use")
    return archive.open(info)


def read_header(f: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, Fortran order and type of an npy. Raises ValueError."""
    version = np.lib.format.read_magic(f)
    if version not in _HEADERS:
        raise ValueError(f"unknown version {version} of npy")
    try:
        return _HEADERS[version](f)
    except Exception as e:  # NumPy's reader of old headers raises the tokeniser's own types
        raise ValueError(f"its header cannot be read: {reason(e)}") from None


def read_array(f: IO[bytes], size: int) -> np.ndarray:
    """The array of an npy that is `size` bytes long at most. Raises ValueError."""
    shape, fortran, dtype = read_header(f)
    if dtype.hasobject or dtype.kind not in "biufSU" or (dtype.kind in "iuf" and dtype.itemsize > 8):
        raise ValueError(f"unexpected type {str(dtype)[:40]}; expected numbers or text")
    count = math.prod(shape)
    if min(shape, default=0) < 0 or len(shape) > 16 or count * max(dtype.itemsize, 1) > size:
        raise ValueError(f"declares {str(shape)[:60]} {str(dtype)[:20]}, more than it holds")
    raw, filled = np.empty(count * dtype.itemsize, np.uint8), 0
    while filled < len(raw):
        piece = f.read(min(_CHUNK, len(raw) - filled))
        if not piece:
            raise ValueError("is cut short")
        raw[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
        filled += len(piece)
    if dtype.kind == "U" and raw.size:
        codes = raw.view(np.dtype(np.uint32).newbyteorder(dtype.byteorder))
        if ((codes > 0x10FFFF) | ((codes >= 0xD800) & (codes <= 0xDFFF))).any():
            raise ValueError("its text is none")
    array = raw.view(dtype) if raw.size else np.empty(count, dtype)
    array = array.reshape(shape, order="F" if fortran else "C")
    return array.view(np.uint8) != 0 if dtype.kind == "b" else array
