"""The native file: what goes in comes out, and nothing hostile gets in."""

import io
import json
import zipfile

import numpy as np
import pytest

from kinelift.errors import InputError
from kinelift.export import export, npz
from kinelift.export.npz import load_motion
from kinelift.kinematics import motion_positions
from kinelift.records import Take
from kinelift.skeleton import BODY26, COCO17, make_skeleton
from test_export import at_fps, smooth_take


def contents(path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as f:
        return dict(f)


def same(a: Take, b: Take) -> None:
    m, n = a.motions[0], b.motions[0]
    for name in ("offsets", "rotations", "root", "contacts", "contact_joints", "observed", "sigma_m", "times"):
        assert np.array_equal(getattr(m, name), getattr(n, name)), name
    assert (m.skeleton.joints, m.skeleton.parents, m.person_id) == (n.skeleton.joints, n.skeleton.parents, n.person_id)
    for name in ("K", "R_cam_world", "t_cam_world", "distortion", "image_size"):
        assert np.array_equal(getattr(a.camera, name), getattr(b.camera, name)), name
    for p, q in zip(a.poses_2d, b.poses_2d, strict=True):
        assert np.array_equal(p.xy, q.xy, equal_nan=True) and np.array_equal(p.confidence, q.confidence)
        assert p.skeleton.joints == q.skeleton.joints and p.image_size == q.image_size and p.person_id == q.person_id
        assert np.array_equal(p.times, q.times)
        assert (p.detector_3d is None) == (q.detector_3d is None)
        assert p.detector_3d is None or np.array_equal(p.detector_3d, q.detector_3d, equal_nan=True)


@pytest.fixture
def take():
    return smooth_take(np.cumsum(np.random.default_rng(2).uniform(0.02, 0.05, 40)))


@pytest.fixture
def written(take, tmp_path):
    return export(take, tmp_path / "motion.npz")[0]


def test_round_trip_is_exact(take, written):
    back = load_motion(written)
    same(take, back)
    assert back.motions[0].skeleton is BODY26 and back.poses_2d[0].skeleton is COCO17
    assert back.meta == take.meta | {"take_id": back.meta["take_id"]}


def test_writing_what_was_read_gives_the_same_bytes(written, tmp_path):
    (again,) = export(load_motion(written), tmp_path / "again.npz")
    assert again.read_bytes() == written.read_bytes()


def test_detector_3d_a_moving_camera_and_an_own_skeleton_come_back(take, tmp_path):
    t = len(take.motions[0].times)
    pose = take.poses_2d[0].replaced(detector_3d=np.random.default_rng(0).normal(size=(t, 17, 3)))
    c = take.camera
    camera = c.replaced(
        K=np.tile(c.K, (t, 1, 1)), R_cam_world=np.tile(np.eye(3), (t, 1, 1)), t_cam_world=np.zeros((t, 3))
    )
    chain = make_skeleton("worm", [("a", None), ("b", "a"), ("c", "b")])
    worm = smooth_take(take.motions[0].times, skeleton=chain).motions
    own = take.replaced(poses_2d=(pose,), camera=camera, motions=(worm[0],))
    same(own, load_motion(export(own, tmp_path / "m.npz")[0]))


def test_a_take_without_2d(take, tmp_path):
    (path,) = export(take.replaced(poses_2d=()), tmp_path / "m.npz")
    assert load_motion(path).poses_2d == ()


def test_the_contract_for_other_programs(take, written):
    a = contents(written)
    t, n = take.motions[0].rotations.shape[:2]
    assert str(a["format"]) == "kinelift-motion/1" and str(a["take_id"])
    assert a["joint_names"].tolist() == list(BODY26.joints) and a["parents"].tolist() == list(BODY26.parents)
    shapes = {
        "times": (t,), "observed": (t,), "positions": (t, n, 3), "offsets": (n, 3), "rotations": (t, n, 4),
        "root": (t, 3), "sigma": (t, n), "contacts": (t, 4), "contact_joints": (4,), "K": (3, 3), "distortion": (5,),
        "R_cam_world": (3, 3), "t_cam_world": (3,), "image_size": (2,), "xy": (t, 17, 2), "confidence": (t, 17),
        "xy_joint_names": (17,), "person_id": (), "meta": (),
    }  # fmt: skip
    assert {k: a[k].shape for k in shapes} == shapes
    assert a["positions"].dtype == np.float32 and a["times"].dtype == np.float64 and a["observed"].dtype == bool
    assert np.abs(a["positions"] - motion_positions(take.motions[0])).max() < 1e-4
    assert json.loads(str(a["meta"]))["input"] == "clip.mp4"


def test_everyone_in_a_take_has_its_id_and_another_take_has_not(tmp_path):
    ids = [str(contents(p)["take_id"]) for p in export(smooth_take(at_fps(30), people=2), tmp_path / "m.npz")]
    other = smooth_take(at_fps(30)).replaced(meta={"input": "other.mp4"})
    ids += [str(contents(export(other, tmp_path / "o.npz")[0])["take_id"])]
    assert ids[0] == ids[1] != ids[2]


def test_meta_becomes_plain_json(take, tmp_path):
    meta = {"path": tmp_path, "n": np.int64(3), "x": np.float32(0.5), "bad": float("nan"), "t": (1, None, True)}
    (path,) = export(take.replaced(meta=meta), tmp_path / "m.npz")
    back = load_motion(path).meta
    back.pop("take_id")
    assert back == {"path": str(tmp_path), "n": 3, "x": 0.5, "bad": None, "t": [1, None, True]}


def test_fps_is_refused_not_ignored(take, tmp_path):
    with pytest.raises(InputError, match="keeps the source's own frames"):
        export(take, tmp_path / "m.npz", fps=30)


def test_2d_of_other_times_is_refused(take, tmp_path):
    pose = take.poses_2d[0].sliced(slice(0, 10))
    with pytest.raises(InputError, match="2D key points: expected the motion's 40 times, got 10"):
        export(take.replaced(poses_2d=(pose,)), tmp_path / "m.npz")
    assert list(tmp_path.iterdir()) == []


def test_a_camera_of_other_length_is_refused(take, tmp_path):
    camera = take.camera.replaced(K=np.tile(take.camera.K, (3, 1, 1)))
    with pytest.raises(InputError, match="camera's K: expected one or 40 frames, got 3"):
        export(take.replaced(camera=camera), tmp_path / "m.npz")


def nan_in(key):
    def change(a):
        a[key] = a[key].copy()
        a[key].flat[0] = np.nan

    return change


SPOILED = {
    "format": (lambda a: a.update(format=np.array("kinelift-motion/9")), "format: expected kinelift-motion/1"),
    "no times": (lambda a: a.pop("times"), "it has no times"),
    "nan root": (nan_in("root"), "root: expected finite"),
    "nan camera": (nan_in("R_cam_world"), "R_cam_world: expected finite"),
    "nan positions": (nan_in("positions"), "positions: expected finite"),
    "inf xy": (lambda a: a.update(xy=a["xy"] * np.inf), "xy: expected finite"),
    "short root": (lambda a: a.update(root=a["root"][:5]), "root: expected shape"),
    "wrong rank": (lambda a: a.update(rotations=a["rotations"][0]), "rotations: expected shape"),
    "not unit": (lambda a: a.update(rotations=a["rotations"] * 2), "unit quaternions"),
    "text for numbers": (lambda a: a.update(root=np.array("x")), "root: unexpected type"),
    "complex": (lambda a: a.update(root=a["root"] + 0j), "root: unexpected type"),
    "other positions": (lambda a: a.update(positions=a["positions"] + 0.01), "positions: 0.01 m from"),
    "parents ahead": (lambda a: a.update(parents=a["parents"][::-1]), "parents"),
    "parents huge": (lambda a: a.update(parents=a["parents"] + 10**12), "parents"),
    "few parents": (lambda a: a.update(parents=a["parents"][:3]), "parents"),
    "same names": (lambda a: a.update(joint_names=np.full(26, "x")), "distinct joints"),
    "no joints": (lambda a: a.update(joint_names=np.empty(0, "U1")), "joint names"),
    "contact joint": (lambda a: a.update(contact_joints=a["contact_joints"] + 99), "contact_joints"),
    "contacts": (lambda a: a.update(contacts=a["contacts"] + 9), "contacts: expected values"),
    "sigma": (lambda a: a.update(sigma=-a["sigma"]), "sigma"),
    "time stands": (lambda a: a.update(times=a["times"] * 0), "strictly increasing"),
    "camera frames": (lambda a: a.update(t_cam_world=np.zeros((3, 3))), "t_cam_world: expected one or 40"),
    "not a rotation": (lambda a: a.update(R_cam_world=np.ones((3, 3))), "expected a rotation"),
    "image size": (lambda a: a.update(image_size=np.array([0, 5])), "image_size"),
    "person": (lambda a: a.update(person_id=np.array([1, 2])), "person_id: expected one"),
    "meta text": (lambda a: a.update(meta=np.array("{nonsense")), "not a usable"),
    "meta list": (lambda a: a.update(meta=np.array("[1]")), "meta: expected a JSON object"),
    "meta deep": (lambda a: a.update(meta=np.array("[" * 100_000)), "meta: nested too deeply"),
    "xy alone": (lambda a: a.pop("confidence"), "it has xy but no confidence"),
    "confidence": (lambda a: a.update(confidence=a["confidence"] + 3), "confidence"),
}


@pytest.mark.parametrize("what", SPOILED)
def test_a_spoiled_file_is_one_clear_line(what, written, tmp_path):
    change, message = SPOILED[what]
    arrays = contents(written)
    change(arrays)
    path = tmp_path / "spoiled.npz"
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=message) as e:
        load_motion(path)
    assert "\n" not in str(e.value) and "spoiled.npz" in str(e.value)


def with_member(source, target, name, data, compress=zipfile.ZIP_STORED):
    """A copy of an npz in which one member has other bytes."""
    with zipfile.ZipFile(source) as a, zipfile.ZipFile(target, "w", compress) as b:
        for info in a.infolist():
            b.writestr(info.filename, data if info.filename == name else a.read(info))


def header(shape, dtype="<f8") -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": dtype, "fortran_order": False, "shape": shape})
    return out.getvalue()


class TestHostile:
    def test_a_pickle_is_never_run(self, written, tmp_path):
        ran = tmp_path / "ran"

        class Evil:
            def __reduce__(self):
                return (type(ran).touch, (ran,))

        out = io.BytesIO()
        np.lib.format.write_array(out, np.array([Evil()], dtype=object), allow_pickle=True)
        with_member(written, tmp_path / "h.npz", "root.npy", out.getvalue())
        with pytest.raises(InputError, match="unexpected type object"):
            load_motion(tmp_path / "h.npz")
        assert not ran.exists()

    @pytest.mark.parametrize("shape", [(10**12, 3), (2**62, 4), (-1, 3), (40, 10**6, 3)])
    def test_a_declared_size_that_is_not_there(self, shape, written, tmp_path):
        with_member(written, tmp_path / "h.npz", "root.npy", header(shape) + bytes(100))
        with pytest.raises(InputError, match="more than it holds"):
            load_motion(tmp_path / "h.npz")

    def test_a_zip_bomb(self, written, tmp_path, monkeypatch):
        monkeypatch.setattr(npz, "MAX_BYTES", 10_000_000)
        with_member(written, tmp_path / "h.npz", "root.npy", bytes(20_000_000), zipfile.ZIP_DEFLATED)
        assert (tmp_path / "h.npz").stat().st_size < 500_000
        with pytest.raises(InputError, match=r"declares more than 0\.01 GB"):
            load_motion(tmp_path / "h.npz")

    @pytest.mark.parametrize("data", [b"", b"PK", b"not a zip at all", bytes(1000)])
    def test_not_an_npz(self, data, tmp_path):
        (tmp_path / "h.npz").write_bytes(data)
        with pytest.raises(InputError, match="not a usable"):
            load_motion(tmp_path / "h.npz")

    @pytest.mark.parametrize("data", [b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00\xff\xff{", header((3,))[:40]])
    def test_a_broken_member(self, data, written, tmp_path):
        with_member(written, tmp_path / "h.npz", "times.npy", data)
        with pytest.raises(InputError, match="not a usable"):
            load_motion(tmp_path / "h.npz")

    def test_any_flipped_or_missing_bytes(self, written, tmp_path):
        good = written.read_bytes()
        rng = np.random.default_rng(0)
        for _ in range(150):
            bad = bytearray(good[: rng.integers(1, len(good))] if rng.uniform() < 0.2 else good)
            for at in rng.integers(0, len(bad), 8):
                bad[at] = rng.integers(256)
            (tmp_path / "h.npz").write_bytes(bad)
            try:
                same(load_motion(written), load_motion(tmp_path / "h.npz"))  # a flip where zip keeps nothing of ours
            except InputError as e:
                assert "\n" not in str(e)

    def test_absent(self, tmp_path):
        with pytest.raises(InputError, match="there is no such file"):
            load_motion(tmp_path / "absent.npz")
        with pytest.raises(InputError, match="not a usable"):
            load_motion(tmp_path)
