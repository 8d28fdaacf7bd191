"""Files that ask for too much, of every reader with the bounds of `kinelift.safe`: one line, little memory, exit 2.

What is malformed in one format alone is in that format's own tests; `benchmarks/fuzz.py` tries many more.
"""

import io
import json
import pickle
import struct
import sys
import tracemalloc
import zipfile
import zlib

import cv2
import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from kinelift import cli
from kinelift.camera import read_cameras
from kinelift.datasets import h36m, matfile, mpii
from kinelift.datasets.mocap import MOCAP_JOINTS, read_mocap
from kinelift.datasets.safe_pickle import as_numbers, load_npz, load_pickle
from kinelift.detect import make_detector, read_keypoints, write_keypoints
from kinelift.errors import InputError, MissingExtraError
from kinelift.export import export
from kinelift.export.bvh import read_bvh
from kinelift.export.npz import load_motion
from kinelift.lift import load_lifter
from kinelift.records import Pose2D
from kinelift.repair.edits import read_edits
from kinelift.safe import npz as safe_npz
from kinelift.skeleton import BODY26
from kinelift.trajectory.depth import DepthNetwork
from kinelift.video import open_frames
from test_export import smooth_take

try:
    from kinelift.training.detector_data import read_detector_data
    from kinelift.training.prior import load_prior, read_mpii
except MissingExtraError:
    TRAINING = False
else:
    TRAINING = True


# Every reader of npz, and an array that it reads first or alone.
NPZ = {
    "motion": (load_motion, "times"),
    "key points": (read_keypoints, "format"),
    "mocap": (read_mocap, "positions"),
    "Chainer": (lambda path: load_lifter(str(path)), "l1/W"),
    "Human3.6M": (lambda path: load_npz(path, ["positions_3d"]), "positions_3d"),
}
NPY = {"MPII": lambda path: mpii.read(path, "train")}
if TRAINING:
    NPZ |= {"prior": (load_prior, "format"), "detector data": (read_detector_data, "about")}
    NPY |= {"MPII for the prior": read_mpii}


def npy(array):
    out = io.BytesIO()
    np.lib.format.write_array(out, array, allow_pickle=True)
    return out.getvalue()


def claimed(shape, descr="<f8"):
    """An npy of 64 bytes that claims to be larger."""
    return npy(np.zeros(8)).replace(b"(8,)", str(shape).encode()).replace(b"<f8", descr.encode())


def zipped(*members, method=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as z:
        for name, data in members:
            z.writestr(f"{name}.npy", data)
    return out.getvalue()


def lying(name, said):
    """A zip of a deflated member of 300 MB, of which the directory says how large it is."""
    machine = zlib.compressobj(1, zlib.DEFLATED, -15)
    machine.compress(bytes(10**7))
    machine.flush(zlib.Z_FULL_FLUSH)
    block = machine.compress(bytes(10**7)) + machine.flush(zlib.Z_FULL_FLUSH)
    head = zlib.compressobj(1, zlib.DEFLATED, -15)
    stream = head.compress(claimed((300_000_000,), "|u1")[:128]) + head.flush(zlib.Z_FULL_FLUSH) + block * 30
    name = f"{name}.npy".encode()
    sizes = (0, len(stream), said)
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 8, 0, 33, *sizes, len(name), 0) + name
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 8, 0, 33, *sizes, len(name), 0, 0, 0, 0, 0, 0) + name
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(entry), len(local) + len(stream), 0)
    return local + stream + entry + end


def directory():
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 65535, 65535, len(entry) * 30_000, 0, 0)
    return entry * 30_000 + end


class Command:
    def __init__(self, flag):
        self.flag = flag

    def __reduce__(self):
        return (type(self.flag).touch, (self.flag,))


HOSTILE_NPZ = {
    "a claimed terabyte": lambda name: zipped((name, claimed((10**12,)))),
    "a claimed text": lambda name: zipped((name, claimed((8,), "<U999999999"))),
    "a negative shape": lambda name: zipped((name, claimed((-8,)))),
    "a bomb": lambda name: lying(name, 4 * 10**9),
    "a bomb said to be small": lambda name: lying(name, 1000),
    "a bzip2 bomb": lambda name: zipped((name, npy(np.zeros(50_000))), method=zipfile.ZIP_BZIP2),
    "a huge directory": lambda name: directory(),
    "broken text": lambda name: zipped((name, npy(np.array("ab")).replace(b"a\0\0\0b\0\0\0", b"\xff" * 8))),
    "a header that is code": lambda name: zipped(
        (name, npy(np.zeros(8)).replace(b"{'descr': '<f8'", b"[[[[[[[[[[[[[[["))
    ),
}


@pytest.mark.parametrize("make", HOSTILE_NPZ.values(), ids=HOSTILE_NPZ)
@pytest.mark.parametrize("reader", NPZ)
def test_an_npz_that_asks_for_much_is_refused_before_it_gets_it(tmp_path, reader, make):
    read, name = NPZ[reader]
    path = tmp_path / "odd.npz"
    path.write_bytes(make(name))
    refused_cheaply(read, path)


def refused_cheaply(read, path, megabytes=30):
    """One line that names the file, and no more memory than a small file may take."""
    tracemalloc.start()
    try:
        with pytest.raises(InputError) as e:
            read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert path.name in str(e.value) and str(e.value).isprintable()
    assert peak < megabytes * 1e6
    return str(e.value)


@pytest.mark.parametrize("data", [claimed((10**12,)), claimed((-8,)), claimed((2**62, 34)), npy(np.array([None]))])
@pytest.mark.parametrize("reader", NPY)
def test_an_npy_that_asks_for_much_is_refused(tmp_path, reader, data):
    (tmp_path / "odd.npy").write_bytes(data)
    refused_cheaply(NPY[reader], tmp_path / "odd.npy")


@pytest.mark.parametrize("reader", [r for r in NPZ if r != "Human3.6M"])  # whose pickles are read, and never run
def test_no_npz_runs_a_pickle(tmp_path, reader):
    read, name = NPZ[reader]
    path, flag = tmp_path / "odd.npz", tmp_path / "ran"
    path.write_bytes(zipped((name, npy(np.array([Command(flag)], object)))))
    refused_cheaply(read, path)
    assert not flag.exists()


def test_arrays_come_back_as_numpy_wrote_them(tmp_path):
    arrays = {
        "a": np.arange(12.0).reshape(3, 4), "f": np.asfortranarray(np.arange(6).reshape(2, 3)), "t": np.array(["é"]),
        "big": np.arange(5, dtype=">i4"), "b": np.array([True, False]), "none": np.zeros((0, 3)), "one": np.array(3.5),
    }  # fmt: skip
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", **arrays)
        read = safe_npz.read_npz(tmp_path / "a.npz", "is odd")
        for name, array in arrays.items():
            np.testing.assert_array_equal(read[name], array)
            assert read[name].dtype.kind == array.dtype.kind and read[name].shape == array.shape
    np.save(tmp_path / "a.npy", arrays["f"])
    np.testing.assert_array_equal(safe_npz.read_npy(tmp_path / "a.npy", "is odd"), arrays["f"])
    assert list(safe_npz.read_npz(tmp_path / "a.npz", "is odd", ["b"], ["a", "absent"])) == ["b", "a"]
    with pytest.raises(InputError, match=r"a\.npz: is odd \(it declares more than"):
        safe_npz.read_npz(tmp_path / "a.npz", "is odd", limit=100)


def test_a_body_of_no_size_is_refused(tmp_path):
    names = np.array(MOCAP_JOINTS)
    np.savez(tmp_path / "odd.npz", positions=np.zeros((5, len(names), 3)), joint_names=names, clip_lengths=[5],
             clip_names=["still"], clip_fps=[30.0])  # fmt: skip
    with pytest.raises(InputError, match=r"odd\.npz: clip 'still': legs and trunk have no length"):
        read_mocap(tmp_path / "odd.npz")


# Pickles and .mat: small files whose content is large once it is written out.


def test_a_pickle_cannot_hold_much_many_times(tmp_path):
    text = b"\x80\2X" + struct.pack("<I", 10**6) + b"a" * 10**6 + b"q\0"
    encode = b"c_codecs\nencode\n(h\0X\6\0\0\0latin1tR"
    (tmp_path / "odd.pkl").write_bytes(text + b"0](" + encode * 500 + b"e.")
    assert "repeats" in refused_cheaply(load_pickle, tmp_path / "odd.pkl")
    (tmp_path / "odd.pkl").write_bytes(pickle.dumps([np.zeros(10**5)] * 500, protocol=4))
    assert "repeats" in refused_cheaply(load_pickle, tmp_path / "odd.pkl")


def test_lists_that_hold_each_other_are_no_numbers():
    shared = [1.0] * 10
    for _ in range(7):
        shared = [shared] * 10
    inside = [1.0]
    inside.append(inside)
    for hostile in (shared, inside):
        with pytest.raises(ValueError, match="too many"):
            as_numbers(hostile)
    np.testing.assert_array_equal(as_numbers([[1, 2], [3, 4]]), [[1, 2], [3, 4]])


def test_shared_lists_in_human36m_are_one_line(tmp_path):
    takes = [[0.0] * 96] * 10
    for _ in range(6):
        takes = [takes] * 10
    (tmp_path / "points_3d.pkl").write_bytes(pickle.dumps({s: {"Walking 1": takes} for s in ("S9", "S11")}))
    refused_cheaply(lambda path: h36m.read(path, "test"), tmp_path / "points_3d.pkl")


@pytest.mark.parametrize("limit", ["MAX_OBJECTS", "MAX_NUMBERS", "MAX_VARIABLES"])
def test_a_mat_is_bounded_in_what_it_holds(tmp_path, monkeypatch, limit):
    from scipy.io import savemat

    cells = np.empty((200, 1), object)
    cells[:] = [[np.arange(3.0)] for _ in range(200)]
    savemat(tmp_path / "odd.mat", {f"v{i}": 1.0 for i in range(20)} | {"a": cells})
    assert matfile.load_mat(tmp_path / "odd.mat", ["a"])["a"].shape == (200, 1)
    monkeypatch.setattr(matfile, limit, 15)
    with pytest.raises(InputError, match=r"odd\.mat: .*(too large|more than 15)"):
        matfile.load_mat(tmp_path / "odd.mat", ["a"])


# Texts.


@pytest.mark.parametrize("text", ["[" + "[]," * 50_000 + "0]", "[" + "0," * 100_000 + "0]"], ids=["lists", "numbers"])
def test_json_is_bounded_in_what_it_becomes(tmp_path, monkeypatch, text):
    monkeypatch.setattr("kinelift.detect.safe_json.MAX_MEMORY", 1_000_000)
    (tmp_path / "odd.json").write_text(text)
    assert "too many" in refused_cheaply(read_keypoints, tmp_path / "odd.json", megabytes=2)


PLACE = "CHANNELS 3 Xposition Yposition Zposition"
BVH = f"HIERARCHY\nROOT a\n{{\n OFFSET 0 0 0\n {PLACE}\n End Site\n {{\n OFFSET 0 1 0\n }}\n}}\n"
MOTION = "MOTION\nFrames: {}\nFrame Time: 0.033\n{}\n"


@pytest.mark.parametrize(
    "text, said",
    [
        (BVH + MOTION.format(10**9, "0 0 0\n" * 5), "expected 1000000000 frames"),
        (BVH + MOTION.format("9" * 150, "0 0 0"), "malformed"),
        (BVH + MOTION.format(1, "0 " * 500_000), "more numbers than"),
        (BVH + MOTION.format(1, "1e300 0 0"), "units away"),
        (BVH.replace("OFFSET 0 1 0", "OFFSET 0 1e308 0") + MOTION.format(1, "0 0 0"), "units away"),
    ],
    ids=["a billion frames", "many more", "a long line", "far away", "a long bone"],
)
def test_bvh_that_claims_too_much(tmp_path, text, said):
    (tmp_path / "odd.bvh").write_text(text)
    assert said in refused_cheaply(read_bvh, tmp_path / "odd.bvh")


CALIBRATIONS = {
    "dotted.toml": "a." * 400_000 + "a = 1",
    "list.yaml": "%YAML:1.0\nK:\n  rows: [3]\n  cols: 3\n  data: [1, 0]\n",
    "tree.xml": "<opencv_storage><K><rows><_>1</_></rows><cols>3</cols><data>1 2 3</data></K></opencv_storage>",
    "table.toml": "[cam]\nmatrix = 3\nrotation = {a = 1}\nsize = 4\ntranslation = []\n",
}


@pytest.mark.parametrize("name", CALIBRATIONS)
def test_calibrations_of_wrong_kinds(tmp_path, name):
    (tmp_path / name).write_text(CALIBRATIONS[name])
    refused_cheaply(read_cameras, tmp_path / name)


# Networks.


def network(path, nodes, constants=(), metadata=None):
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", [1, None, 17, 2]), ("y", None)))
    model = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y], list(constants)),
        opset_imports=[helper.make_opsetid("", 17)], ir_version=8,
    )  # fmt: skip
    helper.set_model_props(model, {"format": "kinelift-lifter/1", "layout": "screen"} if metadata is None else metadata)
    onnx.save(model, path)
    return path


def looping(path):
    scalar = {"i": TensorProto.INT64, "go": TensorProto.BOOL, "go_on": TensorProto.BOOL}
    i, go, on = (helper.make_tensor_value_info(n, k, []) for n, k in scalar.items())
    body = helper.make_graph([helper.make_node("Identity", ["go"], ["go_on"])], "b", [i, go], [on])
    most, yes = numpy_helper.from_array(np.array(2**62), "n"), numpy_helper.from_array(np.array(True), "yes")
    return network(path, [helper.make_node("Loop", ["n", "yes"], ["y"], body=body)], [most, yes])


def outside(path):
    weights = numpy_helper.from_array(np.ones(3, np.float32), "w")
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="/etc/hostname")
    return network(path, [helper.make_node("Mul", ["x", "w"], ["y"])], [weights])


NETWORKS = {
    "lifter": lambda path: load_lifter(str(path)),
    "depth": DepthNetwork,
    "mediapipe": lambda path: make_detector("mediapipe", model=path),
    "rtmpose": lambda path: make_detector("rtmpose", model=path),
}


@pytest.mark.parametrize("read", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("make, said", [(looping, "Loop"), (outside, "another file")])
def test_networks_that_could_do_more_than_compute_are_refused(tmp_path, read, make, said):
    assert said in refused_cheaply(read, make(tmp_path / "odd.onnx"))


def test_metadata_that_is_no_text_is_refused(tmp_path):
    path = network(tmp_path / "odd.onnx", [helper.make_node("Identity", ["x"], ["y"])], (), {"format": "AAAA"})
    path.write_bytes(path.read_bytes().replace(b"AAAA", b"\xff\xfeAA"))
    refused_cheaply(NETWORKS["lifter"], path)


def test_a_network_gets_no_terabytes(tmp_path, walk, look_at):
    from kinelift.lift import mapped

    much = numpy_helper.from_array(np.array([2**18, 2**17], np.int64), "much")
    nodes = [
        helper.make_node("ConstantOfShape", ["much"], ["big"]),
        helper.make_node("ReduceMax", ["big"], ["most"], keepdims=0),
    ]
    path = network(tmp_path / "odd.onnx", [*nodes, helper.make_node("Add", ["x", "most"], ["y"])], [much])

    def lifted(path):
        lifter = load_lifter(str(path))
        return lifter.lift(mapped(walking(walk, look_at), lifter.skeleton), look_at([0, 1.3, 6], [0, 1, 0]))

    refused_cheaply(lifted, path)


# Pictures.


@pytest.mark.parametrize("name", ["big.png", "big.avi"])
def test_pictures_of_too_many_pixels(tmp_path, monkeypatch, name):
    path, picture = tmp_path / name, np.zeros((64, 96, 3), np.uint8)
    if name.endswith("png"):
        cv2.imwrite(str(path), picture)
    else:
        movie = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (96, 64))
        movie.write(picture)
        movie.release()
    with open_frames(path) as frames:
        assert next(iter(frames)).image.shape == (64, 96, 3)
    monkeypatch.setattr("kinelift.video.MAX_PIXELS", 6000)
    with pytest.raises(InputError, match=rf"{name}.*(96 x 64 pixels are too large|no frame could be decoded)"):
        open_frames(path)


# The command line: exit code 2 and one line, nothing written.


def walking(walk, look_at, frames=12, times=None):
    camera = look_at([0, 1.3, 6], [0, 1, 0])
    p = np.nan_to_num(walk(np.arange(frames) / 30))
    times = np.arange(frames) / 30 if times is None else times
    return Pose2D(BODY26, camera.project(p), np.full((frames, 26), 0.9), times, camera.image_size)


@pytest.fixture
def points(tmp_path, walk, look_at):
    write_keypoints(tmp_path / "good.npz", walking(walk, look_at))
    return tmp_path / "good.npz"


def endless(folder, walk, look_at):
    write_keypoints(folder / "odd.npz", walking(walk, look_at, times=np.r_[np.arange(11) / 30, 1e12]))
    return ["animate", folder / "odd.npz"]


def wild_terminal(folder, *_):
    (folder / "odd.npz").write_bytes(zipped(("format", npy(np.array("\x1b[2J" + "x" * 5000)))))
    return ["convert", folder / "odd.npz", folder / "x.bvh"]


def odd_file(name, content, *arguments):
    def make(folder, *_):
        (folder / name).write_bytes(content)
        return [folder / a if a in (name, "good.npz") else a for a in arguments]

    return make


COMMANDS = {
    "times without end": endless,
    "words for the terminal": wild_terminal,
    "a motion's bomb": odd_file("odd.npz", lying("times", 4 * 10**9), "convert", "odd.npz", "x.bvh"),
    "key points": odd_file("odd.npz", zipped(("format", npy(np.array("kinelift-keypoints/1")))), "animate", "odd.npz"),
    "to view": odd_file("odd.npz", directory(), "view", "odd.npz"),
    "JSON": odd_file("odd.json", b"[" * 100_000, "animate", "odd.json"),
    "calibration": odd_file("odd.toml", b"a." * 400_000, "animate", "good.npz", "--calibration", "odd.toml"),
    "edits": odd_file("odd.toml", b"a." * 100_000, "animate", "good.npz", "--edits", "odd.toml"),
    "depth network": odd_file("odd.onnx", b"\x3a\xff\xff\xff\xff\x0f", "animate", "good.npz", "--depth", "odd.onnx"),
    "lifter": odd_file("odd.onnx", b"\x3a\xff\xff\xff\xff\x0f", "animate", "good.npz", "--lifter", "odd.onnx"),
    "pose model": odd_file(
        "odd.onnx", b"x", "animate", "odd.onnx", "--detector", "rtmpose", "--pose-model", "odd.onnx"
    ),
}


@pytest.mark.parametrize("make", COMMANDS.values(), ids=COMMANDS)
def test_the_command_answers_in_one_line(tmp_path, monkeypatch, capfd, points, walk, look_at, make):
    arguments = make(tmp_path, walk, look_at)
    if arguments[0] in ("animate", "demo"):
        arguments += ["-o", tmp_path / "out"]
    monkeypatch.setattr(sys, "argv", ["kinelift", *map(str, arguments)])
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SystemExit) as done:
        cli.main()
    said = capfd.readouterr().err
    assert done.value.code == 2, said
    assert said.startswith("kinelift: ") and len(said) < 1200 and said[:-1].isprintable() and said.endswith("\n")
    assert sorted(tmp_path.iterdir()) == before


META = {"height_m": "tall", "detector": "x", "edits": [1], "input": 3, "focal_px": -1.0, "floor_y": float("nan")}


@pytest.mark.parametrize("key", META)
def test_meta_of_wrong_kinds_is_refused_when_it_is_read(tmp_path, key):
    export(smooth_take(np.arange(20) / 30), tmp_path / "good.npz")
    with np.load(tmp_path / "good.npz") as data:
        arrays = dict(data)
    meta = json.loads(str(arrays["meta"]))
    np.savez(tmp_path / "odd.npz", **arrays | {"meta": np.array(json.dumps(meta | {key: None}))})
    load_motion(tmp_path / "odd.npz")
    np.savez(tmp_path / "odd.npz", **arrays | {"meta": np.array(json.dumps(meta | {key: META[key]}))})
    assert f"meta: {key}" in refused_cheaply(load_motion, tmp_path / "odd.npz")


# Anything at all.

TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda t: st.lists(t, max_size=4) | st.dictionaries(
        st.sampled_from(["people", "pose_keypoints_2d", "keypoints", "image_id", "instance_info", "instances",
                         "frame_id",
                         "keypoint_scores", "swap", "hide", "contact", "from", "soles", "planted", "height_m", "cuts"]),
        t, max_size=4),
    max_leaves=12,
)  # fmt: skip
ANYTHING = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)


@pytest.mark.parametrize("read", [read_keypoints, read_edits], ids=["key points", "edits"])
@ANYTHING
@given(tree=TREES)
def test_any_json_is_read_or_refused(tmp_path, read, tree):
    path = tmp_path / "any.json"
    path.write_text(json.dumps(tree))
    read_or_refused(read, path)


SUFFIXES = {
    ".bvh": read_bvh,
    ".xml": read_cameras,
    ".yml": read_cameras,
    ".toml": read_cameras,
    ".json": read_keypoints,
}
SUFFIXES |= {
    ".npz": load_motion,
    ".pkl": load_pickle,
    ".mat": lambda p: matfile.load_mat(p, ["a"]),
    ".onnx": DepthNetwork,
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@ANYTHING
@given(content=st.binary(max_size=300) | st.text('<>[]{}:=-.,ab01 \n"&!%#/?_e', max_size=300).map(str.encode))
def test_any_bytes_are_read_or_refused(tmp_path, suffix, content):
    path = tmp_path / f"any{suffix}"
    path.write_bytes(content)
    read_or_refused(SUFFIXES[suffix], path)


def read_or_refused(read, path):
    try:
        read(path)
    except InputError as e:
        assert str(e).isprintable() and len(str(e)) <= 1000
