"""Human3.6M from files in its two forms: written small, read back to the same poses through the same cameras."""

import os
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinelift.camera import Camera
from kinelift.datasets import h36m
from kinelift.datasets.base import PoseSet, View
from kinelift.datasets.resection import fit_camera, fit_lens
from kinelift.errors import InputError
from kinelift.kinematics import rotvec_to_matrix
from kinelift.skeleton import BODY26, H36M17, joint_map

KEPT = list(h36m.JOINTS_17_OF_32)
ALL = ("S1", "S5", "S6", "S7", "S8", "S9", "S11")
DISTORTION = {"k": [-0.2, 0.24, -0.002], "p": [-0.0009, -0.0014]}


def lenses(subject):
    """Four cameras of a room 4-5 m around, z up, millimetres, as `cameras.pkl` has them."""
    rng = np.random.default_rng(int(subject[1:]))
    out = {}
    for i, name in enumerate(h36m.CAMERAS):
        yaw = np.pi / 4 + i * np.pi / 2 + rng.normal(0, 0.1)
        place = np.array([4.6 * np.cos(yaw), 4.6 * np.sin(yaw), 1.5]) * 1000
        forward = np.array([0, 0, 900.0]) - place
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0, 0, 1.0])
        right /= np.linalg.norm(right)
        R = rotvec_to_matrix(np.array([0, 0, rng.normal(0, 0.02)])) @ np.stack(
            [right, np.cross(forward, right), forward]
        )
        f, c = np.array([[1145.0], [1143.5]]), np.array([[512.5], [515.4]])
        extra = {k: np.array(v)[:, None] for k, v in DISTORTION.items()}
        out[name] = {"R": R, "T": place[:, None], "f": f, "c": c, **extra}
    return out


def project_h36m(world_mm, cam):
    """Human3.6M's own projection, written from its formula: (..., 3) mm to pixels."""
    x = (world_mm - cam["T"].ravel()) @ cam["R"].T
    u, v = x[..., 0] / x[..., 2], x[..., 1] / x[..., 2]
    r2 = u * u + v * v
    k, p = cam["k"].ravel(), cam["p"].ravel()
    bend = 1 + k[0] * r2 + k[1] * r2**2 + k[2] * r2**3 + p[0] * v + p[1] * u
    xy = np.stack([u * bend + p[1] * r2, v * bend + p[0] * r2], -1)
    return xy * cam["f"].ravel() + cam["c"].ravel()


@pytest.fixture(scope="module")
def motion(walk):
    """subject -> take -> (T, 32, 3) mm, z up: a walk across the room, other joints elsewhere."""

    def takes(subject):
        rng = np.random.default_rng(10 + int(subject[1:]))
        names = ["Walking", "Walking 1", "TakingPhoto" if subject == "S1" else "Photo", "Directions 1"]
        out = {}
        for i, name in enumerate(names):
            t = np.arange(23 + i) / 10
            body = walk(t, heading=rng.uniform(0, 6)).copy()
            body[:, BODY26.index("nose")] = body[:, BODY26.index("neck")] + [0, 0.1, 0.05]
            p = joint_map(BODY26, H36M17) @ np.nan_to_num(body)
            p = p[..., [2, 0, 1]] * 1000  # y up to z up
            p[..., :2] += rng.uniform(-900, 900, 2) - p[:, :1, :2].mean(0)
            whole = np.full((len(t), 32, 3), 12345.0)
            whole[:, KEPT] = p
            out[name] = whole
        return out

    return {s: takes(s) for s in ALL}


def seed_name(take):
    return take.replace("TakingPhoto", "Photo")


@pytest.fixture(scope="module")
def seed_files(tmp_path_factory, motion):
    folder = tmp_path_factory.mktemp("seed")
    rng = np.random.default_rng(0)
    cameras = {s: lenses(s) for s in ALL}
    points = {s: {k: v.reshape(len(v), 96) for k, v in t.items()} for s, t in motion.items()}
    found = {
        s: {
            seed_name(k): {
                n: (project_h36m(v[:, KEPT], cam) + rng.normal(0, 3, (len(v), 17, 2))).reshape(-1, 34)
                for n, cam in cameras[s].items()
            }
            for k, v in t.items()
        }
        for s, t in motion.items()
    }
    for name, data in (("points_3d", points), ("cameras", cameras), ("sh_detect_2d", found)):
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(data))
    return folder, cameras, found


@pytest.fixture(scope="module")
def common_files(tmp_path_factory, motion):
    """The npz form: metres, S1's names made the same, 2D of more frames than 3D, cameras nowhere."""
    folder = tmp_path_factory.mktemp("common")
    points = {s: {seed_name(k): (v / 1000).astype("f4") for k, v in t.items()} for s, t in motion.items()}
    gt = {
        s: {
            seed_name(k): [project_h36m(v[np.r_[: len(v), -1]][:, KEPT], c).astype("f4") for c in lenses(s).values()]
            for k, v in t.items()
        }
        for s, t in motion.items()
    }
    cpn = {s: {k: [x + np.float32(2) for x in v] for k, v in t.items()} for s, t in gt.items()}
    meta = {
        "layout_name": "h36m",
        "num_joints": 17,
        "keypoints_symmetry": [[4, 5, 6, 11, 12, 13], [1, 2, 3, 14, 15, 16]],
    }
    np.savez_compressed(folder / "data_3d_h36m.npz", positions_3d=points)
    np.savez_compressed(folder / "data_2d_h36m_gt.npz", positions_2d=gt, metadata=meta)
    np.savez_compressed(folder / "data_2d_h36m_cpn_ft_h36m_dbb.npz", positions_2d=cpn, metadata=meta)
    return folder


def expected(motion, split):
    """(subject, take, camera) of each view in order, and the left-out one gone."""
    for s in h36m.SUBJECTS[split]:
        for take in motion[s]:
            for name in h36m.CAMERAS:
                if not (s == "S11" and take == "Directions 1" and name == "54138969"):
                    yield s, take, name


@pytest.mark.parametrize("split", ("train", "test"))
def test_the_seeds_pickles(seed_files, motion, split):
    folder, cameras, _ = seed_files
    data = h36m.read(folder, split)
    views = list(expected(motion, split))
    assert len(views) == (80 if split == "train" else 31) and data.sequence.max() + 1 == len(views) == len(data.cameras)
    assert data.fps == 10 and data.xy.dtype == data.positions.dtype == np.float32
    assert set(data.actions) == {"Walking", "Photo", "Directions"}
    for i, (s, take, name) in enumerate(views):
        cam, here = cameras[s][name], data.sequence == i
        world = motion[s][take][::5, KEPT]
        inside = (world - cam["T"].ravel()) @ cam["R"].T / 1000
        np.testing.assert_allclose(data.positions[here], inside, atol=1e-5)
        np.testing.assert_allclose(data.xy[here], project_h36m(world, cam), atol=0.2)
        np.testing.assert_allclose(
            data.cameras[i].project_camera(data.positions[here].astype(float)), data.xy[here], atol=2e-3
        )


def test_rays_are_those_of_the_positions(seed_files):
    data = h36m.read(seed_files[0], "test")
    true = data.positions[..., :2] / data.positions[..., 2:]
    np.testing.assert_allclose(data.rays(), true, atol=2e-6)


def test_detected_2d_of_the_seed(seed_files, motion):
    folder, _, found = seed_files
    data = h36m.read(folder, "test", "sh")
    for i, (s, take, name) in enumerate(expected(motion, "test")):
        np.testing.assert_allclose(
            data.xy[data.sequence == i].reshape(-1, 34), found[s][seed_name(take)][name][::5], rtol=1e-6
        )
    np.testing.assert_array_equal(data.positions, h36m.read(folder, "test").positions)
    same = h36m.read(folder, "test", str(folder / "sh_detect_2d.pkl"))
    np.testing.assert_array_equal(same.xy, data.xy)


@pytest.mark.parametrize("split", ("train", "test"))
def test_the_common_npz_gives_the_same_poses_without_a_camera_file(common_files, seed_files, split):
    """The cameras are found again from the exact 2D: to a tenth of a pixel and a few millimetres."""
    a, b = h36m.read(common_files, split), h36m.read(seed_files[0], split)
    assert (a.sequence == b.sequence).all() and (a.actions == b.actions).all() and a.fps == b.fps
    np.testing.assert_allclose(a.xy, b.xy, atol=0.2)
    again = [c.project_camera(a.positions[a.sequence == i].astype(float)) for i, c in enumerate(a.cameras)]
    np.testing.assert_allclose(np.concatenate(again), a.xy, atol=0.05)
    assert np.linalg.norm(a.positions - b.positions, axis=-1).max() < 0.02
    shape = lambda p: p - p[:, :1]  # noqa: E731
    assert np.linalg.norm(shape(a.positions) - shape(b.positions), axis=-1).max() < 0.002


def test_detected_2d_of_the_common_form(common_files):
    gt, cpn = (h36m.read(common_files, "test", t) for t in ("gt", "cpn"))
    np.testing.assert_allclose(cpn.xy - gt.xy, 2, atol=1e-3)
    np.testing.assert_array_equal(cpn.positions, gt.positions)


def test_every_frame_and_a_file_of_the_folder(common_files):
    whole = h36m.read(common_files / "data_3d_h36m.npz", "test", every=1)
    fifth = h36m.read(common_files, "test")
    assert whole.fps == 50
    first = whole.sequence == 0
    np.testing.assert_array_equal(whole.positions[first][::5], fifth.positions[fifth.sequence == 0])


def test_cameras_of_the_pickle_serve_the_npz(common_files, seed_files, tmp_path):
    for source, name in ((common_files, "data_3d_h36m.npz"), (seed_files[0], "cameras.pkl")):
        (tmp_path / name).write_bytes((source / name).read_bytes())
    a, b = h36m.read(tmp_path, "test"), h36m.read(seed_files[0], "test")
    np.testing.assert_allclose(a.positions, b.positions, atol=1e-5)
    np.testing.assert_allclose(a.xy, b.xy, atol=2e-3)


def test_what_is_missing_is_named(tmp_path, common_files, seed_files):
    with pytest.raises(InputError, match=r"data_3d_h36m\.npz.*points_3d\.pkl.*vision\.imar\.ro"):
        h36m.read(tmp_path, "train")
    (tmp_path / "data_3d_h36m.npz").write_bytes((common_files / "data_3d_h36m.npz").read_bytes())
    with pytest.raises(InputError, match=r"cameras\.pkl, or data_2d_h36m_gt\.npz"):
        h36m.read(tmp_path, "train")
    with pytest.raises(InputError, match=r"sh_detect_2d\.pkl: no such file"):
        h36m.read(common_files, "train", "sh")
    with pytest.raises(InputError, match=r"data_2d_h36m_cpn_ft_h36m_dbb\.npz: no such file"):
        h36m.read(seed_files[0], "train", "cpn")
    with pytest.raises(InputError, match=r"unknown 2D 'gtt'.*cpn, sh"):
        h36m.read(common_files, "train", "gtt")
    with pytest.raises(InputError, match="unknown split 'val'; known: test, train"):
        h36m.read(common_files, "val")


class Bomb:
    def __init__(self, flag):
        self.flag = flag

    def __reduce__(self):
        return (os.system, (f"touch {self.flag}",))


def spoilt(seed_files, tmp_path, name, change):
    for file in seed_files[0].iterdir():
        data = pickle.loads(file.read_bytes())
        if file.name == name:
            data = change(data) or data
        (tmp_path / file.name).write_bytes(pickle.dumps(data))
    return tmp_path


SPOILT = {
    "a list": ("points_3d.pkl", lambda d: [1]),
    "no subject": ("points_3d.pkl", lambda d: {"S1": d["S1"]}),
    "no takes": ("points_3d.pkl", lambda d: d | {"S9": {}}),
    "text for points": ("points_3d.pkl", lambda d: d["S9"].update({"Walking": "x"})),
    "ragged points": ("points_3d.pkl", lambda d: d["S9"].update({"Walking": [[1], [2, 3]]})),
    "20 joints": ("points_3d.pkl", lambda d: d["S9"].update({"Walking": np.zeros((5, 60))})),
    "not a number": ("points_3d.pkl", lambda d: d["S9"].update({"Walking": np.full((5, 96), np.nan)})),
    "metres": ("points_3d.pkl", lambda d: {s: {k: v / 1000 for k, v in t.items()} for s, t in d.items()}),
    "camera of nothing": ("cameras.pkl", lambda d: d["S9"].update({"54138969": {}})),
    "camera without a rotation": ("cameras.pkl", lambda d: d["S9"]["54138969"].update({"R": np.ones((3, 3))})),
    "camera in text": ("cameras.pkl", lambda d: d["S9"].update({"54138969": "here"})),
    "detections too short": ("sh_detect_2d.pkl", lambda d: d["S9"]["Walking"].update({"54138969": np.zeros((3, 34))})),
    "detections of other joints": (
        "sh_detect_2d.pkl",
        lambda d: d["S9"]["Walking"].update({"54138969": np.zeros((30, 32))}),
    ),
    "no such take detected": ("sh_detect_2d.pkl", lambda d: d["S9"].pop("Walking") is None),
}


@pytest.mark.parametrize("name, change", SPOILT.values(), ids=SPOILT)
def test_spoilt_files_are_one_clear_line(seed_files, tmp_path, name, change):
    with pytest.raises(InputError) as e:
        h36m.read(spoilt(seed_files, tmp_path, name, change), "test", "sh")
    assert "\n" not in str(e.value) and len(str(e.value)) < 400


def test_no_file_runs_code(seed_files, common_files, tmp_path):
    flag = tmp_path / "ran"
    for name in ("points_3d.pkl", "cameras.pkl", "sh_detect_2d.pkl"):
        folder = tmp_path / name[:3]
        folder.mkdir()
        spoilt(seed_files, folder, name, lambda d: d | {"S9": Bomb(flag)})
        with pytest.raises(InputError, match=f"{name}.*system"):
            h36m.read(folder, "test", "sh")
    np.savez(tmp_path / "data_3d_h36m.npz", positions_3d=np.array({"S9": Bomb(flag)}, dtype=object))
    with pytest.raises(InputError, match=r"data_3d_h36m\.npz.*system"):
        h36m.read(tmp_path, "test")
    assert not flag.exists()


def test_2d_that_belongs_to_other_3d_finds_no_camera(common_files, tmp_path):
    for file in common_files.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    gt = np.load(common_files / "data_2d_h36m_gt.npz", allow_pickle=True)  # our own file
    data = gt["positions_2d"].item()
    data["S9"] = {k: [x[::-1] for x in v] for k, v in data["S9"].items()}
    np.savez(tmp_path / "data_2d_h36m_gt.npz", positions_2d=data, metadata=gt["metadata"].item())
    with pytest.raises(InputError, match=r"S9, camera 54138969.*do not belong together"):
        h36m.read(tmp_path, "test")
    np.savez(tmp_path / "data_2d_h36m_gt.npz", positions_2d=data, metadata={"layout_name": "coco"})
    with pytest.raises(InputError, match="laid out as 'coco'"):
        h36m.read(tmp_path, "test")


def test_a_lens_from_rays():
    rng = np.random.default_rng(3)
    true = Camera.from_focal(1500.0, (2048, 2048))
    rays = rng.normal(0, 0.2, (200, 2))
    found = fit_lens(rays, true.rays_to_pixels(rays), true.image_size)
    np.testing.assert_allclose(found.K, true.K, rtol=1e-9)
    with pytest.raises(InputError, match="do not belong"):
        fit_lens(rays, rng.normal(0, 300, (200, 2)), true.image_size)
    with pytest.raises(InputError, match="camera"):
        fit_camera(np.zeros((3, 3)), np.zeros((3, 2)), (100, 100))


@given(st.lists(st.integers(0, 6), min_size=1, max_size=6), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_slices_keep_what_belongs_together(lengths, random):
    """Any mask: poses, actions and cameras stay with one another; equal numbers are neighbours of the whole set."""
    if not sum(lengths):
        lengths = [1]
    place = iter(np.arange(1000))
    cameras = [Camera.from_focal(100.0 + i, (64, 64)) if i % 2 else None for i in range(len(lengths))]
    views = [
        View(np.array([np.full((17, 2), next(place)) for _ in range(n)]).reshape(n, 17, 2), None, f"a{i}", cameras[i])
        for i, n in enumerate(lengths)
    ]
    data = PoseSet.from_views("x", views, None)
    mask = np.array([random.random() < 0.6 for _ in range(len(data))])
    part = data.sliced(mask)
    where = part.xy[:, 0, 0].astype(int)
    np.testing.assert_array_equal(where, np.flatnonzero(mask))
    np.testing.assert_array_equal(part.actions, data.actions[mask])
    for i, camera in enumerate(part.cameras):
        mine = where[part.sequence == i]
        assert len(mine) and (np.diff(mine) == 1).all() and len(set(data.sequence[mine])) == 1
        assert camera is data.cameras[data.sequence[mine[0]]]
    np.testing.assert_allclose(part.rays(), data.rays()[mask])


BAD = {
    "16 joints": {"xy": np.zeros((4, 16, 2))},
    "positions of other frames": {"positions": np.zeros((3, 17, 3))},
    "falling numbers": {"sequence": [1, 1, 0, 0]},
    "a number without a camera": {"sequence": [0, 0, 1, 2]},
    "negative": {"sequence": [-1, 0, 0, 0]},
    "not finite": {"xy": np.full((4, 17, 2), np.nan)},
    "no rate": {"fps": 0.0},
}


@pytest.mark.parametrize("changes", BAD.values(), ids=BAD)
def test_a_set_is_checked_once(changes):
    good = PoseSet("x", np.ones((4, 17, 2)), None, np.array([0, 0, 1, 1]), np.array(["a"] * 4), (None, None), 10.0)
    with pytest.raises(InputError):
        good.replaced(**changes)
    with pytest.raises(ValueError):
        good.xy[0] = 0
