"""MPII from its own .mat, from the seed's array, and from files that are neither."""

import pickle

import numpy as np
import pytest
from scipy.io import savemat

from kinelift.datasets import DATASETS, mpii
from kinelift.errors import InputError
from kinelift.skeleton import H36M17

J = H36M17.index
# Where the file's own names say each of the 17 is.
SAME = {"RFoot": 0, "RKnee": 1, "RHip": 2, "LHip": 3, "LKnee": 4, "LFoot": 5, "Hip": 6, "Thorax": 7, "Head": 9}
SAME |= {"RWrist": 10, "RElbow": 11, "RShoulder": 12, "LShoulder": 13, "LElbow": 14, "LWrist": 15}


def person(points, ids=range(16), **more):
    rows = [{"x": float(points[i, 0]), "y": float(points[i, 1]), "id": i, "is_visible": 1} for i in ids]
    point = np.array([tuple(r.values()) for r in rows], dtype=[(k, object) for k in rows[0]])
    return {"annopoints": {"point": point}, "scale": 3.2, "objpos": {"x": 1.0, "y": 2.0}} | more


def write_mat(path, images):
    """RELEASE as MATLAB has it: images of none, one or many people."""
    kind = [("image", object), ("annorect", object), ("frame_sec", object), ("vididx", object)]
    annolist = np.empty((1, len(images)), dtype=kind)
    for i, people in enumerate(images):
        keys = sorted({k for p in people for k in p})
        rects = np.empty((1, len(people)), dtype=[(k, object) for k in keys] or [("x1", object)])
        for n, p in enumerate(people):
            for k in keys:
                rects[0, n][k] = p.get(k, np.empty((0, 0)))
        annolist[0, i] = ({"name": f"{i:09d}.jpg"}, rects if people else np.empty((0, 0)), np.empty((0, 0)), 7)
    release = {"annolist": annolist, "img_train": np.ones((1, len(images))), "version": "12"}
    savemat(path, {"RELEASE": release})
    return path


@pytest.fixture
def people():
    return np.random.default_rng(2).uniform(50, 900, (60, 16, 2)).round(1)


def test_people_of_the_mat(tmp_path, people):
    path = write_mat(tmp_path / mpii.MAT, [[person(people[2 * i]), person(people[2 * i + 1])] for i in range(30)])
    parts = [DATASETS["mpii"](path, split) for split in ("train", "test")]
    assert all(p.positions is None and p.fps is None and p.cameras == (None,) * len(p) for p in parts)
    xy = np.concatenate([p.xy for p in parts])
    assert len(xy) == 60 and len(parts[1]) >= 2
    order = [int(np.abs(people[:, 6] - p[0]).sum(-1).argmin()) for p in xy]
    assert sorted(order) == list(range(60))
    for name, i in SAME.items():
        np.testing.assert_allclose(xy[:, J(name)], people[order, i], rtol=1e-6)
    np.testing.assert_allclose(xy[:, J("Spine")], people[order][:, [6, 7]].mean(1), rtol=1e-6)
    np.testing.assert_allclose(xy[:, J("NeckNose")], people[order][:, [8, 9]].mean(1), rtol=1e-6)
    images = [{i // 2 for i in order[: len(parts[0])]}, {i // 2 for i in order[len(parts[0]) :]}]
    assert not images[0] & images[1]  # one picture's people stay on one side
    assert len(set(xy.sum((1, 2)))) == 60


def test_people_of_whom_something_is_missing_are_left_out(tmp_path, people):
    images = [
        [person(people[0])],
        [],
        [person(people[1], ids=range(15))],
        [person(people[2]), {"scale": 1.0}],
        [{"x1": 3.0}],
        [{"annopoints": np.empty((0, 0))}],
        [person(people[3], ids=range(15, -1, -1))],  # in any order
        [person(np.where(np.arange(16)[:, None] == 4, np.nan, people[4]))],
    ]
    write_mat(tmp_path / mpii.MAT, images)
    xy = []
    for split in ("train", "test"):
        try:
            xy += list(mpii.read(tmp_path, split).xy)
        except InputError as e:
            assert "holds no pose" in str(e)
    assert sorted(p[0, 0] for p in xy) == pytest.approx(sorted(people[[0, 2, 3], 6, 0]))


def seed_rows(people):
    """The seed's array of MPII's 16 joints: its spine is MPII's thorax, its thorax the upper neck."""
    rows = np.empty((len(people), 17, 2), np.float32)
    for name, i in (SAME | {"Spine": 7, "Thorax": 8}).items():
        rows[:, J(name)] = people[:, i]
    rows[:, J("NeckNose")] = people[:, [8, 9]].mean(1)
    return rows.reshape(-1, 34)


def test_array_and_mat_give_the_same_joints(tmp_path):
    people = np.random.default_rng(3).uniform(50, 900, (150, 16, 2)).round(1)
    np.save(tmp_path / "a.npy", seed_rows(people))
    write_mat(tmp_path / "b.mat", [[person(p)] for p in people])
    both = []
    for name in ("a.npy", "b.mat"):
        parts = [mpii.read(tmp_path / name, split).xy for split in ("train", "test")]
        assert min(map(len, parts)) >= 3
        xy = np.concatenate(parts)
        both.append(xy[np.argsort(xy[:, 0, 0])])
    np.testing.assert_allclose(both[0], both[1], rtol=1e-5)


def test_the_split_is_fixed_and_in_blocks(tmp_path):
    rows = np.random.default_rng(0).uniform(0, 900, (2000, 34)).astype("f4")
    rows[7] = np.nan
    np.save(tmp_path / mpii.NPY, rows)
    train, test = (mpii.read(tmp_path, split) for split in ("train", "test"))
    assert len(train) + len(test) == 1999 and 0.05 < len(test) / 2000 < 0.15
    place = {r[0]: i for i, r in enumerate(rows)}
    blocks = [{place[x] // 10 for x in part.xy[:, 0, 0]} for part in (train, test)]
    assert not blocks[0] & blocks[1]
    np.save(tmp_path / mpii.NPY, rows[:1000])
    again = mpii.read(tmp_path, "test")
    np.testing.assert_array_equal(again.xy, test.xy[: len(again)])


def test_what_is_missing_is_named(tmp_path):
    for path in (tmp_path, tmp_path / "none.npy"):
        with pytest.raises(InputError, match=r"mpii_human_pose_v1_u12_1\.mat or mpii_poses\.npy\. .*mpi-inf\.mpg\.de"):
            mpii.read(path, "train")
    np.save(tmp_path / mpii.NPY, np.ones((30, 34)))
    with pytest.raises(InputError, match="unknown 2D 'sh' for MPII"):
        mpii.read(tmp_path, "train", "sh")
    with pytest.raises(InputError, match="unknown split"):
        mpii.read(tmp_path, "val")


def test_other_files_are_refused_in_one_line(tmp_path):
    pickled = b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(127) + b"\n"
    contents = {
        "empty.mat": b"",
        "text.mat": b"hello",
        "hdf5.mat": b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n",
        "broken.mat": write_mat(tmp_path / "whole.mat", [[person(np.ones((16, 2)))]]).read_bytes()[:900],
        "pickle.npy": pickled + pickle.dumps([pytest.fail]),
        "empty.npy": b"",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    np.save(tmp_path / "shape.npy", np.zeros((5, 32)))
    savemat(tmp_path / "other.mat", {"joints": np.zeros((3, 14, 5))})
    savemat(tmp_path / "numbers.mat", {"RELEASE": np.zeros((3, 14))})
    savemat(tmp_path / "fields.mat", {"RELEASE": {"annolist": {"picture": "a.jpg"}}})
    image = {"image": {"name": "a"}, "annorect": {"annopoints": {"point": {"id": "x", "x": 1}}}}
    savemat(tmp_path / "points.mat", {"RELEASE": {"annolist": image}})
    odd = [*contents, "shape.npy", "other.mat", "numbers.mat", "fields.mat", "points.mat"]
    for name in odd:
        with pytest.raises(InputError, match=name.replace(".", r"\.")) as e:
            mpii.read(tmp_path / name, "train")
        assert "\n" not in str(e.value), name


@pytest.mark.data
def test_the_real_array(data):
    """People in photographs: mostly upright, shoulders above hips, the thorax between the shoulders."""
    path = data / "poses2d" / mpii.NPY
    if not path.is_file():
        pytest.skip("no MPII poses in the data folder")
    train, test = (mpii.read(path, split) for split in ("train", "test"))
    assert len(train) + len(test) == 19919 and 0.08 < len(test) / 19919 < 0.12
    for xy in (train.xy, test.xy):
        spread = np.linalg.norm(xy - xy[:, :1], axis=-1).mean(1)
        between = xy[:, [J("LShoulder"), J("RShoulder")]].mean(1)
        assert np.median(np.linalg.norm(xy[:, J("Thorax")] - between, axis=-1) / spread) < 0.03
        assert (xy[:, J("Head"), 1] < xy[:, J("Hip"), 1]).mean() > 0.9
        np.testing.assert_allclose(xy[:, J("Spine")], xy[:, [0, J("Thorax")]].mean(1), atol=1e-3)
