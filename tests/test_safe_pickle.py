"""Pickles as data: what honest files hold comes back, and nothing that a file names is ever called."""

import collections
import io
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest

from kinelift.datasets.safe_pickle import load_npz, load_pickle
from kinelift.errors import InputError

RNG = np.random.default_rng(5)
HONEST = {
    "numbers and text": {
        "S1": [1, -2.5, True, None, 2**70, "é", b"\x00\xff", (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)]
    },
    "dicts of arrays": {"S1": {"Walking 1": RNG.normal(size=(7, 96)), "Photo": RNG.normal(size=(3, 96)).astype("f4")}},
    "orders and kinds": [
        np.asfortranarray(RNG.normal(size=(3, 4))),
        np.arange(6, dtype=">i4").reshape(2, 3),
        np.array(["a", "bc"]),
        np.array(True),
        np.zeros((0, 34)),
        np.arange(5, dtype=np.uint8)[::2],
    ],
    "scalars": [np.float32(2.5), np.int64(-3), np.float64(1e300)],
    "ragged": np.array([{"a": 1}, [np.arange(3)], None], dtype=object),
    "other containers": [
        {1, 2},
        frozenset("ab"),
        collections.OrderedDict(a=1, b=2),
        {(1, "a"): 3},
        bytearray(b"ab"),
        b"",
    ],
    "keys of numpy": {np.int64(3): 1},
}


def same(a, b):
    if isinstance(b, np.ndarray):
        assert isinstance(a, np.ndarray) and a.shape == b.shape
        assert (a.dtype.kind, a.dtype.itemsize) == (b.dtype.kind, b.dtype.itemsize)
        if b.dtype == object:
            return all(same(x, y) for x, y in zip(a.flat, b.flat, strict=True))
        return np.array_equal(a, b)
    if isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in b)
    if isinstance(b, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", HONEST.values(), ids=HONEST)
def test_honest_pickles_come_back(tmp_path, value, protocol):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    assert same(load_pickle(path), value)


def test_objects_met_twice_stay_one(tmp_path):
    shared, loop = np.arange(3.0), []
    loop.append(loop)
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps([shared, shared, loop]))
    a, b, c = load_pickle(path)
    assert a is b and c[0] is c


def test_python_2_wrote_arrays_as_text(tmp_path):
    """Protocols 0 and 2 of Python 2, written by hand: an array of two doubles, its bytes as `str`."""
    numbers = np.array([[1.5, -2.0]])
    escaped = "".join(f"\\x{b:02x}" for b in numbers.tobytes()).encode()
    head = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I1\nI2\nt"
    head += b"cnumpy\ndtype\n(S'f8'\nI0\nI1\n"
    zero = head + b"tR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\nS'" + escaped + b"'\ntb."
    raw = numbers.tobytes()
    two = (
        head
        + b"tR(I3\nU\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T"
        + struct.pack("<i", len(raw))
        + raw
        + b"tb."
    )
    for content in (zero, two):
        path = tmp_path / "a.pkl"
        path.write_bytes(content)
        np.testing.assert_array_equal(load_pickle(path), numbers)


class Bomb:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


class Plain:
    pass


def bombs(flag):
    yield "a command", pickle.dumps(Bomb(os.system, (f"touch {flag}",)))
    yield "an old command", pickle.dumps(Bomb(os.system, (f"touch {flag}",)), protocol=0)
    yield "eval", pickle.dumps([np.zeros(2), Bomb(eval, (f"open({str(flag)!r}, 'w')",))])
    yield "a class", pickle.dumps(Plain())
    yield "a function alone", pickle.dumps(print) + b""
    yield "inst", b"(S'touch " + str(flag).encode() + b"'\nios\nsystem\n."
    yield "obj", b"(cos\nsystem\nS'touch " + str(flag).encode() + b"'\no."
    yield "load of numpy", b"cnumpy\nload\n(S'x'\ntR."
    yield (
        "runstring",
        b"cnumpy.testing._private.utils\nrunstring\n(S'open(" + repr(str(flag)).encode()[1:-1] + b")'\n}tR.",
    )
    yield "persistent", b"P1\n."


def test_no_pickle_runs_code(tmp_path):
    flag = tmp_path / "ran"
    for what, content in bombs(flag):
        path = tmp_path / "bomb.pkl"
        path.write_bytes(content)
        if what == "a function alone":
            assert load_pickle(path) == ("builtins", "print")  # a name, never the function
            continue
        with pytest.raises(InputError, match=r"bomb\.pkl") as e:
            load_pickle(path)
        assert "\n" not in str(e.value) and not flag.exists(), what


def _array(shape=b"I2\n", dtype=b"f8", raw=b"x" * 16, order=b"<", names=b"N"):
    head = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(" + shape
    kind = b"tcnumpy\ndtype\n(S'" + dtype + b"'\nI0\nI1\ntR(I3\nS'" + order + b"'\nN" + names + b"NI-1\nI-1\nI0\ntb"
    return head + kind + b"I00\nS'" + raw + b"'\ntb"


HOSTILE = {
    "empty": b"",
    "text": b"hello, world",
    "broken off": pickle.dumps(np.zeros(1000))[:-100],
    "no stop": b"]",
    "empty stack": b".",
    "tuple of nothing": b"\x85.",
    "no mark": b"e.",
    "unknown memo": b"h\x07.",
    "bytes longer than the file": b"\x8e" + struct.pack("<Q", 2**62) + b"ab.",
    "text longer than the file": b"X" + struct.pack("<I", 2**31) + b"ab.",
    "integer of ten thousand digits": b"I" + b"9" * 10_000 + b"\n.",
    "list as key": b"}]N\x73.",
    "deep tuples as key": b"}" + b")" + b"\x85" * 200_000 + b"Ns.",
    "append to a dict": b"}Na.",
    "items to a list": b"](NNu.",
    "odd items": b"}(Nu.",
    "fewer bytes than the shape": _array(b"I9\n") + b".",
    "more bytes than the shape": _array(b"I1\n") + b".",
    "huge shape": _array(b"I1099511627775\nI1099511627775\nI1099511627775\n") + b".",
    "negative shape": _array(b"I-2\n") + b".",
    "text as shape": _array(b"S'a'\n") + b".",
    "objects from bytes": _array(dtype=b"O8") + b".",
    "void": _array(dtype=b"V8") + b".",
    "structured": _array(names=b"(S'a'\nt") + b".",
    "dates": _array(dtype=b"M8[s]") + b".",
    "no order": _array(order=b"q") + b".",
    "state twice": _array() + b"(I1\n(I0\ntNI00\nS''\ntb.",
    "state of a list": b"](I1\nI2\ntb.",
    "subclass of an array": _array().replace(b"numpy\nndarray", b"numpy\nmatrix") + b".",
    "buffer outside": b"\x97.",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_malformed_pickles_are_one_clear_line(tmp_path, content):
    path = tmp_path / "odd.pkl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"odd\.pkl: ") as e:
        load_pickle(path)
    assert "\n" not in str(e.value) and len(str(e.value)) < 300 + len(str(path))


def test_deep_lists_are_harmless(tmp_path):
    path = tmp_path / "deep.pkl"
    path.write_bytes(b"]" * 200_000 + b"a" * 199_999 + b".")
    assert isinstance(load_pickle(path), list)


def test_any_cut_or_flipped_byte_is_an_error_or_data(tmp_path):
    whole = pickle.dumps({"S1": {"a": np.arange(12.0).reshape(3, 4)}, "b": [1, "x", (2, 3)]})
    path = tmp_path / "odd.pkl"
    for i in range(len(whole)):
        for content in (whole[:i], whole[:i] + bytes([RNG.integers(256)]) + whole[i + 1 :]):
            path.write_bytes(content)
            try:
                load_pickle(path)
            except InputError as e:
                assert "\n" not in str(e)


def test_npz_of_plain_and_pickled_arrays(tmp_path):
    held = {"S1": {"Walking": [RNG.normal(size=(4, 17, 2)).astype("f4")] * 4}}
    path = tmp_path / "a.npz"
    np.savez_compressed(path, positions_2d=held, plain=np.arange(5), many=np.array([1, "a"], dtype=object))
    out = load_npz(path, ("positions_2d", "plain", "many"))
    assert same(out["positions_2d"], held) and same(out["plain"], np.arange(5))
    assert out["many"].tolist() == [1, "a"]


def test_npz_runs_nothing_and_names_what_is_missing(tmp_path):
    flag, path = tmp_path / "ran", tmp_path / "odd.npz"
    np.savez(path, positions_3d=np.array(Bomb(os.system, (f"touch {flag}",)), dtype=object))
    with pytest.raises(InputError, match=r"odd\.npz.*system"):
        load_npz(path, ["positions_3d"])
    assert not flag.exists()
    with pytest.raises(InputError, match="no 'metadata'"):
        load_npz(path, ["metadata"])
    for content in (b"", b"PK\x03\x04", b"hello"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"odd\.npz"):
            load_npz(path, ["a"])


def test_npz_with_broken_members(tmp_path):
    whole = io.BytesIO()
    np.save(whole, np.zeros((50, 3)))
    path = tmp_path / "odd.npz"
    huge = b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999,)}"
    for content in (
        b"",
        whole.getvalue()[:100],
        b"\x93NUMPY\x09\x00",
        b"\x93NUMPY\x01\x00" + struct.pack("<H", len(huge)) + huge,
    ):
        with zipfile.ZipFile(path, "w") as z:
            z.writestr("a.npy", content)
        with pytest.raises(InputError, match=r"odd\.npz") as e:
            load_npz(path, ["a"])
        assert "\n" not in str(e.value)


def test_files_beyond_the_limit_are_refused(tmp_path, monkeypatch):
    for limit in ("MAX_BYTES", "MAX_NPZ_BYTES"):
        monkeypatch.setattr(f"kinelift.datasets.safe_pickle.{limit}", 10_000)
    path = tmp_path / "big.pkl"
    path.write_bytes(pickle.dumps(np.zeros(10_000)))
    with pytest.raises(InputError, match="too large"):
        load_pickle(path)
    np.savez_compressed(tmp_path / "bomb.npz", a=np.zeros(10_000))  # small as a file, large once unpacked
    with pytest.raises(InputError, match="too large"):
        load_npz(tmp_path / "bomb.npz", ["a"])
    with pytest.raises(InputError, match="No such file"):
        load_pickle(tmp_path / "none.pkl")
