"""MATLAB files as SciPy writes them, and files that would harm a trusting reader."""

import struct
import zlib

import numpy as np
import pytest
from scipy.io import savemat

from kinelift.datasets.matfile import load_mat
from kinelift.errors import InputError

RNG = np.random.default_rng(6)
KINDS = ["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]


def cells(*items):
    out = np.empty((1, len(items)), object)
    for i, item in enumerate(items):
        out[0, i] = item
    return out


def written(tmp_path, compressed=False, **fields):
    savemat(tmp_path / "a.mat", fields, do_compression=compressed)
    return tmp_path / "a.mat"


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_numbers_of_every_kind(tmp_path, kind, compressed):
    value = RNG.integers(0, 100, (3, 4, 2)).astype(kind)
    fields = {"a": value, "one": value[:1, 0, 0], "none": value[:0, 0], "row": value[0, :1, :], "two": value[:2, 0, 0]}
    out = load_mat(written(tmp_path, compressed, **fields), fields)
    np.testing.assert_array_equal(out["a"], value)
    assert out["a"].dtype == np.dtype(kind) and out["none"].size == 0 and out["row"].shape == (1, 2)
    assert out["one"] == float(value[0, 0, 0]) and isinstance(out["one"], float)
    assert out["two"].ravel().tolist() == value[:2, 0, 0].tolist()


@pytest.mark.parametrize("value", [-1.5, 3.0, 1e300, 70000.0, -3.0, 2.0**40])
@pytest.mark.parametrize("inside", [False, True])
def test_single_numbers_alone_and_in_cells(tmp_path, value, inside):
    kinds = ["f8"] + (["i8"] if value.is_integer() and abs(value) < 2**60 else [])
    for kind in kinds:
        number = np.array([[value]], kind)
        out = load_mat(written(tmp_path, a=cells(number, number) if inside else number), ["a"])["a"]
        assert (out[0, 1] if inside else out) == value


def test_text_cells_and_structs(tmp_path):
    people = np.zeros((1, 2), dtype=[("name", object), ("xy", object), ("inner", object)])
    for i, name in enumerate(("Añe", "b")):
        people[0, i] = (name, np.arange(6.0).reshape(3, 2) + i, {"deep": {"deeper": 4.0}})
    path = written(tmp_path, people=people, some=cells("x", np.eye(3), cells()), other=np.ones(1000))
    out = load_mat(path, ["people", "some", "absent"])
    assert set(out) == {"people", "some"} and out["people"].shape == (1, 2)
    for i, name in enumerate(("Añe", "b")):
        person = out["people"][0, i]
        assert person["name"] == name
        np.testing.assert_array_equal(person["xy"], people[0, i]["xy"])
        assert person["inner"].item()["deep"].item() == {"deeper": 4.0}
    assert out["some"][0, 0] == "x" and (out["some"][0, 1] == np.eye(3)).all() and out["some"][0, 2].size == 0


def element(kind, raw, order="<"):
    return struct.pack(order + "II", kind, len(raw)) + raw + bytes(-len(raw) % 8)


def matrix(cls, dims, *parts, name=b"a", order="<"):
    head = element(6, struct.pack(order + "II", cls, 0), order)
    head += element(5, struct.pack(f"{order}{len(dims)}i", *dims), order)
    return element(14, head + element(1, name, order) + b"".join(parts), order)


def file_of(*elements, mark=b"IM", head=b"MATLAB 5.0 MAT-file"):
    return head.ljust(124) + b"\x00\x01" + mark + b"".join(elements)


def doubles(*values, order="<"):
    return element(9, struct.pack(f"{order}{len(values)}d", *values), order)


def test_big_endian_files(tmp_path):
    (tmp_path / "a.mat").write_bytes(file_of(matrix(6, (2, 1), doubles(1.5, -2, order=">"), order=">"), mark=b"MI"))
    assert load_mat(tmp_path / "a.mat", ["a"])["a"].tolist() == [[1.5], [-2.0]]
    inner = matrix(6, (1, 1), doubles(7.25, order=">"), name=b"", order=">")
    (tmp_path / "a.mat").write_bytes(file_of(matrix(1, (1, 1), inner, order=">"), mark=b"MI"))
    assert load_mat(tmp_path / "a.mat", ["a"])["a"].tolist() == [[7.25]]


def nest(depth):
    inner = matrix(6, (1, 1), doubles(1.0), name=b"")
    for _ in range(depth):
        inner = matrix(1, (1, 1), inner, name=b"")
    return matrix(1, (1, 1), inner)


def packed(raw):
    body = zlib.compress(raw)
    return struct.pack("<II", 15, len(body)) + body


BIG = 2**31 - 1
FIELDS = element(5, struct.pack("<i", 4)) + element(1, b"ab\0\0")
HOSTILE = {
    "empty": b"",
    "text": b"hello",
    "no mark": file_of(mark=b"XX"),
    "version 7.3": file_of(head=b"MATLAB 7.3 MAT-file"),
    "longer than the file": file_of(struct.pack("<II", 14, 2**31)),
    "half a tag": file_of(b"\x0e\0\0"),
    "fewer numbers than the shape": file_of(matrix(6, (3, 3), doubles(1, 2))),
    "a huge shape": file_of(matrix(6, (BIG, BIG, BIG, BIG), doubles(1, 2))),
    "a negative shape": file_of(matrix(6, (-1, -1), doubles(1))),
    "no shape": file_of(matrix(6, (), doubles(1))),
    "a thousand dimensions": file_of(matrix(6, (1,) * 1000, doubles(1))),
    "cells without end": file_of(matrix(1, (BIG, BIG))),
    "structs without end": file_of(matrix(2, (BIG, 1), FIELDS)),
    "structs of no field": file_of(matrix(2, (BIG, 1), element(5, struct.pack("<i", 4)), element(1, b""))),
    "fields of no width": file_of(matrix(2, (1, 1), element(5, struct.pack("<i", 0)), element(1, b"ab"))),
    "fields of one name": file_of(matrix(2, (1, 1), element(5, struct.pack("<i", 1)), element(1, b"aa"))),
    "a cell of numbers": file_of(matrix(1, (1, 1), doubles(1))),
    "an unknown type of number": file_of(matrix(6, (1, 1), element(99, bytes(8)))),
    "an unknown type of text": file_of(matrix(4, (1, 1), element(99, bytes(8)))),
    "an object": file_of(matrix(3, (1, 1), doubles(1))),
    "a function": file_of(matrix(16, (1, 1), doubles(1))),
    "a sparse matrix": file_of(matrix(5, (1, 1), doubles(1))),
    "complex": file_of(matrix(6 | 0x800, (1, 1), doubles(1), doubles(2))),
    "deep": file_of(nest(200)),
    "not compressed": file_of(struct.pack("<II", 15, 8) + b"abcdefgh"),
    "compressed and broken off": file_of(packed(matrix(6, (1000, 1), doubles(*range(1000))))[:-5]),
    "compressed twice": file_of(packed(packed(matrix(6, (1, 1), doubles(1))))),
    "a small element too long": file_of(element(14, struct.pack("<II", (200 << 16) | 6, 0))),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_malformed_files_are_one_clear_line(tmp_path, content):
    path = tmp_path / "odd.mat"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"odd\.mat: ") as e:
        load_mat(path, ["a"])
    assert "\n" not in str(e.value)


def test_what_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    path = written(tmp_path, compressed=True, a=np.zeros((1000, 1000)))
    assert load_mat(path, ["a"])["a"].shape == (1000, 1000)
    monkeypatch.setattr("kinelift.datasets.matfile.MAX_BYTES", 100_000)
    assert path.stat().st_size < 100_000
    with pytest.raises(InputError, match="too large"):
        load_mat(path, ["a"])


def test_changed_bytes_are_an_error_or_other_data(tmp_path):
    """Any few bytes changed, any end cut off: data or one clear line, never another exception."""
    people = np.zeros((1, 3), dtype=[("name", object), ("xy", object)])
    for i in range(3):
        people[0, i] = ("abc", np.arange(6.0).reshape(3, 2))
    path = written(tmp_path, a=people)
    whole = path.read_bytes()
    assert len(load_mat(path, ["a"])["a"].flat) == 3
    refused = 0
    for i in range(400):
        b = bytearray(whole)
        for _ in range(RNG.integers(1, 5)):
            b[RNG.integers(128, len(b))] = RNG.integers(256)
        path.write_bytes(b if i % 2 else b[: RNG.integers(len(b))])
        try:
            load_mat(path, ["a"])
        except InputError as e:
            assert "\n" not in str(e)
            refused += 1
    assert refused > 100
