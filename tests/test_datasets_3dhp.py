"""MPI-INF-3DHP from small files in its own forms: cell arrays with a calibration, and MATLAB 7.3."""

import importlib.util
import os
import sys

import numpy as np
import pytest
from scipy.io import savemat

from kinelift.datasets import DATASETS, mpi_inf_3dhp
from kinelift.errors import InputError, MissingExtraError
from kinelift.skeleton import H36M17

ARM, LEG = ("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle")
NAMES_28 = ["spine3", "spine4", "spine2", "spine", "pelvis", "neck", "head", "head_top"]
NAMES_28 += [f"{s}_{j}" for s in ("left", "right") for j in ("clavicle", *ARM, "hand")]
NAMES_28 += [f"{s}_{j}" for s in ("left", "right") for j in (*LEG, "foot", "toe")]
NAMES_TEST = ["head_top", "neck", *(f"{s}_{j}" for part in (ARM, LEG) for s in ("right", "left") for j in part)]
NAMES_TEST += ["pelvis", "spine", "head"]
CALLED = {"Hip": "pelvis", "Spine": "spine", "Thorax": "neck", "NeckNose": "head", "Head": "head_top"} | {
    f"{s[0].upper()}{ours}": f"{s}_{theirs}"
    for s in ("left", "right")
    for ours, theirs in zip(
        ("Hip", "Knee", "Foot", "Shoulder", "Elbow", "Wrist"), ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")
    )
}
K = np.array([[1497.7, 0, 1024.7], [0, 1497.1, 1051.4], [0, 0, 1.0]])


def bodies(n, joints, rng):
    """Points (n, joints, 3) mm in front of a camera, drifting from frame to frame."""
    first = rng.normal((0, 0, 3800), 400, (joints, 3))
    return first + rng.normal(0, 30, (n, 1, 3)).cumsum(0) + rng.normal(0, 10, (n, joints, 3))


def project(p, K=K):
    xy = p @ K.T
    return xy[..., :2] / xy[..., 2:]


@pytest.fixture
def train(tmp_path):
    """Two sequences of 14 cameras; (folder, {sequence: [positions of each camera]})."""
    rng = np.random.default_rng(1)
    truth = {}
    for s, n in (("S1/Seq1", 23), ("S2/Seq2", 11)):
        folder = tmp_path / s
        folder.mkdir(parents=True)
        truth[s] = [bodies(n, 28, rng) for _ in range(14)]
        cells = {k: np.empty((14, 1), object) for k in ("annot2", "annot3", "univ_annot3")}
        for c, p in enumerate(truth[s]):
            cells["annot2"][c, 0] = project(p, intrinsic(c)).reshape(n, 56)
            cells["annot3"][c, 0] = p.reshape(n, 84)
            cells["univ_annot3"][c, 0] = p.reshape(n, 84) * 0.97
        savemat(folder / "annot.mat", cells | {"cameras": np.arange(14), "frames": np.arange(n)[:, None]})
        (folder / "camera.calibration").write_text(calibration())
    return tmp_path, truth


def intrinsic(number):
    return K + np.diag([number, number, 0.0])


def calibration():
    text = "Skeletool Camera Calibration File V1\n"
    for c in range(14):
        whole, place = np.eye(4), np.eye(4)
        whole[:3, :3] = intrinsic(c)
        a = 0.4 * c
        place[:3] = [[np.cos(a), 0, -np.sin(a), 100 * c], [0, 1, 0, -50], [np.sin(a), 0, np.cos(a), 4000]]
        numbers = [" ".join(f"{v:.9g}" for v in m.ravel()) for m in (whole, place)]
        text += f"name          {c}\n  sensor      10 10\n  size        2048 2048\n  animated    0\n"
        text += f"  intrinsic   {numbers[0]} \n  extrinsic   {numbers[1]} \n  radial      0\n"
    return text


def test_training_views(train):
    folder, truth = train
    data = DATASETS["mpi-inf-3dhp"](folder, "train")
    kept = [NAMES_28.index(CALLED[j]) for j in H36M17.joints]
    views = [(s, c) for s in truth for c in (0, 2, 4, 7, 8)]
    assert len(data.cameras) == data.sequence.max() + 1 == len(views) == 10
    for i, (s, c) in enumerate(views):
        here = data.sequence == i
        p = truth[s][c][::5][:, kept]
        np.testing.assert_allclose(data.positions[here], p / 1000, atol=1e-5)
        np.testing.assert_allclose(data.xy[here], project(p, intrinsic(c)), atol=1e-3)
        np.testing.assert_allclose(data.cameras[i].project_camera(data.positions[here]), data.xy[here], atol=2e-3)
        np.testing.assert_allclose(data.cameras[i].t_cam_world, [0.1 * c, -0.05, 4.0], atol=1e-9)
        assert set(data.actions[here]) == {s}
    np.testing.assert_allclose(data.rays(), data.positions[..., :2] / data.positions[..., 2:], atol=2e-6)
    assert len(mpi_inf_3dhp.read(folder, "train", every=1)) == 5 * (23 + 11)


def test_calibration_puts_the_world_where_the_cameras_are(train):
    folder, _ = train
    cameras = mpi_inf_3dhp.read_calibration(folder / "S1/Seq1/camera.calibration")
    assert sorted(cameras) == list(range(14)) and cameras[3].image_size == (2048, 2048)
    np.testing.assert_allclose(cameras[3].K, intrinsic(3))


@pytest.fixture
def test_set(tmp_path):
    """TS1 and TS5 as MATLAB 7.3 writes them; (folder, {name: (positions, valid, K)})."""
    h5py = pytest.importorskip("h5py", reason="h5py is not installed (extra: datasets)")
    rng = np.random.default_rng(4)
    truth = {}
    for name, lens in (("TS1", K), ("TS5", np.array([[1683.5, 0, 939.7], [0, 1672.6, 560.2], [0, 0, 1.0]]))):
        p, valid = bodies(20, 17, rng), np.ones(20)
        valid[[0, 7, 8]] = 0
        (tmp_path / name).mkdir()
        xy = project(p, lens)
        xy[7] = -1
        write_h5(
            h5py, tmp_path / name / "annot_data.mat", annot2=xy[:, None], annot3=p[:, None], valid_frame=valid[:, None]
        )
        truth[name] = p, valid > 0, lens
    return tmp_path, truth


def write_h5(h5py, path, **arrays):
    with h5py.File(path, "w", userblock_size=512) as f:
        for k, v in arrays.items():
            f.create_dataset(k, data=v, chunks=v.shape, compression="gzip")
    with path.open("r+b") as f:
        f.write(b"MATLAB 7.3 MAT-file, Platform: PCWIN64, HDF5 schema 1.00 .".ljust(124) + b"\x00\x02IM")


def test_test_views_and_the_cameras_found_from_them(test_set):
    folder, truth = test_set
    data = mpi_inf_3dhp.read(folder, "test")
    kept = [NAMES_TEST.index(CALLED[j]) for j in H36M17.joints]
    assert len(data) == 34 and data.fps is None
    assert [int((data.sequence == i).sum()) for i in range(4)] == [6, 11, 6, 11]  # broken where frames are not valid
    for name, (p, valid, lens) in truth.items():
        here = data.actions == name
        np.testing.assert_allclose(data.positions[here], p[valid][:, kept] / 1000, atol=1e-5)
        np.testing.assert_allclose(data.xy[here], project(p[valid][:, kept], lens), atol=1e-3)
        camera = data.cameras[data.sequence[here][0]]
        np.testing.assert_allclose(camera.K, lens, rtol=1e-6)
        assert camera.image_size == ((2048, 2048) if name == "TS1" else (1920, 1080))
    np.testing.assert_allclose(data.rays(), data.positions[..., :2] / data.positions[..., 2:], atol=2e-6)


def test_joint_lists_agree():
    """Both sets' 17 are the same parts of the body, and every joint once."""
    for names, kept in ((NAMES_28, mpi_inf_3dhp.JOINTS_17_OF_28), (NAMES_TEST, mpi_inf_3dhp.JOINTS_17_OF_TEST)):
        assert [names[i] for i in kept] == [CALLED[j] for j in H36M17.joints]


def test_what_is_missing_is_named(tmp_path, train, monkeypatch):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match=r"train set: expected S\*/Seq\*/annot\.mat\. .*mpi-inf\.mpg\.de"):
        mpi_inf_3dhp.read(empty, "train")
    with pytest.raises(InputError, match=r"test set: expected TS\*/annot_data\.mat"):
        mpi_inf_3dhp.read(tmp_path / "none", "test")
    with pytest.raises(InputError, match="unknown 2D 'cpn'"):
        mpi_inf_3dhp.read(train[0], "train", "cpn")
    (train[0] / "S1/Seq1/camera.calibration").unlink()
    with pytest.raises(InputError, match=r"camera\.calibration: cannot be read.*No such file"):
        mpi_inf_3dhp.read(train[0], "train")
    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "TS1").mkdir()
    (tmp_path / "TS1" / "annot_data.mat").write_bytes(b"")
    with pytest.raises(MissingExtraError, match=r"kinelift\[datasets\]"):
        mpi_inf_3dhp.read(tmp_path, "test")


CALIBRATIONS = {
    "empty": lambda t: "",
    "no numbers": lambda t: t.replace("1497", "x"),
    "fifteen numbers": lambda t: t.replace(" 0 0 0 1 \n", " 0 0 1 \n"),
    "no extrinsic": lambda t: t.replace("extrinsic", "elsewhere"),
    "not finite": lambda t: t.replace("4000", "nan"),
    "no rotation": lambda t: t.replace("extrinsic   1 0", "extrinsic   5 0"),
    "a chest camera short": lambda t: t[: t.index("name          8")],
}


@pytest.mark.parametrize("change", CALIBRATIONS.values(), ids=CALIBRATIONS)
def test_spoilt_calibrations(train, change):
    path = train[0] / "S2/Seq2/camera.calibration"
    changed = change(path.read_text())
    assert changed != path.read_text()
    path.write_text(changed)
    with pytest.raises(InputError, match=r"S2/Seq2/camera\.calibration") as e:
        mpi_inf_3dhp.read(train[0], "train")
    assert "\n" not in str(e.value)


def cell(value, number=14):
    out = np.empty((number, 1), object)
    out[:] = [[value]] * number
    return out


ANNOTATIONS = {
    "no 3D": {"annot2": cell(np.ones((9, 56)))},
    "17 joints": {"annot2": cell(np.ones((9, 34))), "annot3": cell(np.ones((9, 51)))},
    "five cameras": {"annot2": cell(np.ones((9, 56)), 5), "annot3": cell(np.ones((9, 84)), 5)},
    "other lengths": {"annot2": cell(np.ones((9, 56))), "annot3": cell(np.ones((8, 84)))},
    "text": {"annot2": "here", "annot3": "there"},
}


@pytest.mark.parametrize("fields", ANNOTATIONS.values(), ids=ANNOTATIONS)
def test_spoilt_annotations(train, fields):
    savemat(train[0] / "S2/Seq2/annot.mat", fields)
    with pytest.raises(InputError, match=r"S2/Seq2/annot\.mat") as e:
        mpi_inf_3dhp.read(train[0], "train")
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x04."], ids=["empty", "text", "pickle"])
def test_annotations_that_are_no_mat(train, content):
    (train[0] / "S1/Seq1/annot.mat").write_bytes(content)
    with pytest.raises(InputError, match=r"S1/Seq1/annot\.mat: cannot be read"):
        mpi_inf_3dhp.read(train[0], "train")


def test_spoilt_test_sets(test_set, tmp_path):
    h5py = pytest.importorskip("h5py")
    folder, _ = test_set
    path = folder / "TS1" / "annot_data.mat"
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    p = bodies(9, 17, rng)[:, None]
    ones = np.ones((9, 1))
    cases = {
        "does not fit": {"annot2": rng.uniform(0, 2000, (9, 1, 17, 2)), "annot3": p, "valid_frame": ones},
        "no frame is valid": {"annot2": project(p), "annot3": p, "valid_frame": 0 * ones},
        "no array 'valid_frame'": {"annot2": project(p), "annot3": p},
        "is no test set": {"annot2": project(p)[:, :, :9], "annot3": p, "valid_frame": ones},
        "behind": {"annot2": project(p), "annot3": -p, "valid_frame": ones},
    }
    for what, arrays in cases.items():
        write_h5(h5py, path, **arrays)
        with pytest.raises(InputError, match=r"TS1/annot_data\.mat") as e:
            mpi_inf_3dhp.read(folder, "test")
        assert "\n" not in str(e.value) and (what.startswith(("does", "behind")) or what in str(e.value))
    for content in (b"", b"hello", good[:600], good[:2000]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"TS1/annot_data\.mat"):
            mpi_inf_3dhp.read(folder, "test")


def test_a_test_set_that_points_elsewhere_reads_nothing_there(test_set):
    """HDF5 can name other files; those links are not followed."""
    h5py = pytest.importorskip("h5py")
    folder, _ = test_set
    path = folder / "TS1" / "annot_data.mat"
    whole = folder / "TS5" / "annot_data.mat"
    raw = folder / "secret.bin"
    raw.write_bytes(os.urandom(20 * 17 * 2 * 8))
    for how in ("external link", "soft link", "external file"):
        with h5py.File(path, "w") as f, h5py.File(whole) as g:
            f["annot3"], f["valid_frame"] = g["annot3"][()], g["valid_frame"][()]
            if how == "external link":
                f["annot2"] = h5py.ExternalLink(str(whole), "/annot2")
            elif how == "soft link":
                f["annot2"] = h5py.SoftLink("/annot3")
            else:
                f.create_dataset("annot2", (20, 1, 17, 2), "f8", external=[(str(raw), 0, 20 * 17 * 2 * 8)])
        with pytest.raises(InputError, match=r"annot_data\.mat.*'annot2'"):
            mpi_inf_3dhp.read(folder, "test")


def test_h5py_is_there_where_everything_must_be():
    if os.environ.get("CI") == "true":
        assert importlib.util.find_spec("h5py") is not None
