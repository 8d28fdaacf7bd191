"""Rendered clips seen by a detector: their laws, the file format, and one look by the real detector."""

import dataclasses

import numpy as np
import pytest

from kinelift.camera import Camera
from kinelift.datasets.mocap import MOCAP_JOINTS
from kinelift.detect import Candidate
from kinelift.errors import InputError, RecordError
from kinelift.lift import mapped
from kinelift.lift.rays import input_joints
from kinelift.records import Pose2D
from kinelift.render import Renderer
from kinelift.repair import repair
from kinelift.skeleton import BODY26, MEDIAPIPE33
from kinelift.training import detector_data, rendered
from kinelift.training.detector_data import (
    DetectorClip,
    make_detector_data,
    observe_scene,
    read_about,
    read_detector_data,
    write_detector_data,
)
from kinelift.training.rendered import Wear, random_camera, random_scene, with_trunk
from kinelift.training.temporal import held_out


class Told:
    """A detector that says what it was told, frame by frame, and reads every picture."""

    name, skeleton = "told", BODY26

    def __init__(self, xy, detector_3d=None):
        self.xy, self.d3, self.sizes = xy, detector_3d, []

    def detect(self, frames):
        for i, frame in enumerate(frames):
            self.sizes.append(frame.image.shape)
            if not np.isfinite(self.xy[i % len(self.xy)]).any():
                yield []
                continue
            d3 = None if self.d3 is None else self.d3[i]
            yield [Candidate(self.xy[i % len(self.xy)], np.full(26, 0.9), d3)]

    def provenance(self):
        return {"detector": self.name}


@pytest.fixture
def short(monkeypatch):
    """Clips of 6 frames, one a shard."""
    monkeypatch.setattr(rendered, "FRAMES", 6)
    monkeypatch.setattr(detector_data, "CLIPS_PER_SHARD", 1)


def scene(seed, kind="generated", clips=()):
    return random_scene(np.random.default_rng((7, seed)), kind, list(clips))


def somebody():
    """One frame's key points of a standing person, pixels."""
    return np.random.default_rng(0).uniform(60, 200, (1, 26, 2))


def clip(seed=0, frames=5):
    rng = np.random.default_rng(seed)
    xy = rng.uniform(0, 300, (frames, 21, 2))
    confidence = rng.uniform(0.1, 1, (frames, 21))
    xy[1, 3], confidence[1, 3] = np.nan, 0
    d3 = rng.normal(0, 0.5, (frames, 21, 3))
    d3[2] = np.nan
    positions = rng.normal(0, 0.5, (frames, 26, 3)) + np.array([0.3, 0.1, 4])
    positions[:, BODY26.index("spine")] = np.nan
    camera = Camera.from_focal(300, (320, 240)).replaced(R_cam_world=np.diag([1.0, -1, -1]))
    return DetectorClip("generated", 15.0, camera, xy, confidence, d3, positions, rng.uniform(0, 1, (frames, 4)))


def mocap_file(path, names, frames=400):
    """Standing people who sway a little, as an npz of mocap."""
    joints = [*MOCAP_JOINTS, "pelvis"]
    where = {"shoulder": (0.18, 1.4), "elbow": (0.2, 1.1), "wrist": (0.2, 0.9), "hip": (0.1, 0.92), "knee": (0.1, 0.5)}
    where |= {"ankle": (0.1, 0.08), "toe": (0.1, 0.02), "pelvis": (0, 0.92)}
    body = np.array(
        [
            [(1 if j.startswith("left") else -1) * where[j.split("_")[-1]][0], where[j.split("_")[-1]][1], 0.0]
            for j in joints
        ]
    )
    body[[i for i, j in enumerate(joints) if j.endswith("toe")], 2] = 0.14
    body[[i for i, j in enumerate(joints) if j.endswith("elbow")], 2] = -0.05
    sway = 0.05 * np.sin(np.arange(frames) / 20)[:, None, None] * np.array([1.0, 0, 0]) * body[None, :, 1:2]
    np.savez(
        path,
        positions=np.tile(body + sway, (len(names), 1, 1)).astype(np.float32),
        joint_names=np.array(joints),
        clip_lengths=np.full(len(names), frames),
        clip_names=np.array(names),
        clip_fps=np.full(len(names), 30.0),
    )


def test_a_scene_is_named_by_its_seed_alone():
    a, b, c = scene(3), scene(3), scene(4)
    assert np.array_equal(a.positions, b.positions) and np.array_equal(a.camera.K, b.camera.K)
    assert a.look == b.look and a.wear == b.wear
    assert a.look != c.look and not np.array_equal(a.camera.K, c.camera.K)


def test_scenes_keep_to_real_cameras():
    fractions, rates = [], set()
    for seed in range(40):
        s = scene(seed)
        x, c = s.camera.to_camera(s.positions), s.camera
        assert c.position[1] >= 0.1 - 1e-9
        assert x[..., 2].min() > 0.39
        assert 0.5 <= c.focal_px / max(c.image_size) <= 2
        assert np.abs(c.position[::2]).max() < s.look.room_m
        xy = c.project(s.positions)
        inside = ((xy > 0) & (xy < np.array(c.image_size) - 1)).all(-1).mean()
        assert inside > 0.4
        fractions.append(float((np.median(np.ptp(xy, axis=1), axis=0) / c.image_size).max()))
        rates.add((s.fps, len(s.positions)))
    assert rates == {(30.0, 128), (15.0, 64)}
    assert 0.35 < np.median(fractions) < 0.95
    assert np.mean((np.array(fractions) > 0.25) & (np.array(fractions) < 1.3)) > 0.9


def test_a_camera_that_cannot_see_the_clip_gives_way_to_a_plain_one():
    far = np.zeros((4, 26, 3))
    far[..., 0] = np.array([-30, -10, 10, 30])[:, None]
    far[..., 1] = np.linspace(0, 1.7, 26)
    camera = random_camera(np.random.default_rng(0), far)
    assert np.isfinite(camera.project(far)).all()


def test_pictures_show_the_figure_where_the_truth_is(short):
    s = scene(2)
    s = dataclasses.replace(s, wear=Wear(0.3, (1, 1, 1), 1.0, 0.0, 95))
    drawn, room = list(s.pictures()), Renderer(s.camera, s.look, supersample=1, quick=True)
    w, h = s.camera.image_size
    assert len(drawn) == len(s.positions) and all(p.shape == (h, w, 3) and p.dtype == np.uint8 for p in drawn)
    changed = np.abs(drawn[0].astype(int) - room.background).sum(-1) > 40
    _, coverage = room.frame_and_mask(s.positions[0])
    assert changed[coverage == 1].mean() > 0.7
    assert changed[coverage == 0].mean() < 0.25


def test_wear_darkens_and_adds_noise_of_its_size():
    grey = np.full((80, 90, 3), 128, np.uint8)
    worn = next(Wear(0.3, (0.5, 0.5, 0.5), 1.0, 4.0, 100).applied(iter([grey]), np.random.default_rng(0)))
    assert worn.mean() == pytest.approx(64, abs=1.5)
    assert 2 < worn.astype(float).std((0, 1)).mean() < 5


def test_quick_pictures_differ_in_shadows_only():
    s = scene(5)
    body = with_trunk(s.positions)[0]
    full, coverage = Renderer(s.camera, s.look, supersample=1).frame_and_mask(body)
    quick, same = Renderer(s.camera, s.look, supersample=1, quick=True).frame_and_mask(body)
    assert np.array_equal(coverage, same)
    difference = np.abs(full.astype(int) - quick)
    assert difference.mean() < 1.0
    assert np.median(difference[coverage == 1]) < 3


def test_the_trunk_is_filled_only_where_it_is_missing():
    p = scene(1).positions.copy()
    kept = with_trunk(p)
    assert np.array_equal(kept, p)
    middle = BODY26.indices("spine", "chest")
    p[:, middle] = np.nan
    filled = with_trunk(p)
    share = np.linalg.norm(filled[:, middle] - p[:, :1], axis=-1) / np.linalg.norm(
        p[:, BODY26.index("neck")] - p[:, 0], axis=-1, keepdims=True
    )
    assert np.isfinite(filled).all()
    assert ((share[:, 0] > 0.2) & (share[:, 0] < share[:, 1]) & (share[:, 1] < 0.8)).all()


def test_what_is_seen_stands_beside_the_truth(short):
    s = scene(0)
    xy, x_cam = s.camera.project(s.positions), s.camera.to_camera(s.positions)
    told = Told(xy, x_cam - x_cam[:, :1])
    c = observe_scene(s, told)
    assert told.sizes == [(s.camera.image_size[1], s.camera.image_size[0], 3)] * len(s.positions)
    assert np.allclose(c.xy, input_joints(xy)) and np.allclose(c.true_xy, c.xy)
    assert (c.confidence == 0.9).all()
    assert np.allclose(c.rays, (input_joints(x_cam) / input_joints(x_cam)[..., 2:])[..., :2])
    assert np.allclose(c.positions, x_cam)
    assert np.allclose(c.gravity, s.camera.R_cam_world @ [0, -1, 0])
    assert np.allclose(c.times, np.arange(len(xy)) / s.fps)


def test_nobody_found_is_a_clip_without_key_points(short):
    c = observe_scene(scene(0), Told(np.full((1, 26, 2), np.nan)))
    assert not c.confidence.any() and np.isnan(c.xy).all() and np.isnan(c.detector_3d).all()
    assert np.isfinite(c.positions).all()


def test_a_clips_pose_is_what_the_pipeline_would_map():
    rng = np.random.default_rng(1)
    xy, confidence = rng.uniform(0, 300, (4, 33, 2)), rng.uniform(0.1, 1, (4, 33))
    xy[2, 23], confidence[2, 23] = np.nan, 0
    pose = Pose2D(MEDIAPIPE33, xy, confidence, np.arange(4) / 15, (320, 240), 0, rng.normal(0, 1, (4, 33, 3)))
    body = mapped(pose, BODY26)
    told = clip(frames=4).replaced(
        xy=input_joints(body.xy),
        confidence=input_joints(body.confidence[..., None])[..., 0],
        detector_3d=input_joints(body.detector_3d),
    )
    again = told.pose()
    for name in ("xy", "confidence", "detector_3d", "times"):
        assert np.allclose(getattr(again, name), getattr(body, name), equal_nan=True), name
    assert len(repair(again)[0].times) == 4


def test_a_shard_gives_back_what_was_written(tmp_path):
    there = [clip(0, 5), clip(1, 3)]
    write_detector_data(tmp_path / "a.npz", there, {"seed": 5})
    back = read_detector_data(tmp_path / "a.npz")
    assert [len(c.xy) for c in back] == [5, 3]
    for a, b in zip(there, back, strict=True):
        assert (a.kind, a.fps, a.camera.image_size) == (b.kind, b.fps, b.camera.image_size)
        assert np.allclose(a.xy, b.xy, atol=1 / 32, equal_nan=True)
        assert np.allclose(a.positions, b.positions, atol=2e-4, equal_nan=True)
        assert np.allclose(a.detector_3d, b.detector_3d, atol=2e-3, equal_nan=True)
        assert np.allclose(a.confidence, b.confidence, atol=1e-3)
        assert np.array_equal(a.camera.R_cam_world, b.camera.R_cam_world)
    assert read_about(tmp_path / "a.npz")["seed"] == 5
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


def test_a_run_goes_on_where_it_stopped(tmp_path, short):
    told, calls = Told(somebody()), []
    out = make_detector_data(tmp_path / "d", [], 3, seed=4, detector=told, progress=lambda *x: calls.append(x))
    names = sorted(p.name for p in out.iterdir())
    assert names == ["generated-0000.npz", "generated-0001.npz", "generated-0002.npz"]
    assert calls == [(1, 3), (2, 3), (3, 3)]
    first = read_detector_data(out)
    kept = (out / names[0]).stat().st_mtime_ns
    (out / names[1]).unlink()
    calls.clear()
    make_detector_data(out, [], 3, seed=4, detector=told, progress=lambda *x: calls.append(x))
    assert calls == [(2, 3)]
    assert (out / names[0]).stat().st_mtime_ns == kept
    for a, b in zip(first, read_detector_data(out), strict=True):
        assert np.array_equal(a.positions, b.positions) and np.array_equal(a.xy, b.xy)
    with pytest.raises(InputError, match="another run"):
        make_detector_data(out, [], 3, seed=5, detector=told)


def test_mocap_comes_in_every_other_shard_and_held_out_clips_never(tmp_path, short, monkeypatch):
    names = [f"clip{i}" for i in range(20)]
    kept = [n for n in names if not held_out(rendered.Clip(n, np.zeros((1, 26, 3)), 30.0))]
    assert 0 < len(kept) < 20
    mocap_file(tmp_path / "m.npz", names)
    used, windows = set(), rendered.windows

    def watched(rng, clips, n, frames):
        used.update(c.name for c in clips)
        return windows(rng, clips, n, frames)

    monkeypatch.setattr(rendered, "windows", watched)
    out = make_detector_data(tmp_path / "d", [tmp_path / "m.npz"], 2, detector=Told(somebody()))
    made = {c.kind: c for c in read_detector_data(out)}
    assert set(made) == {"generated", "mocap"}
    assert used == set(kept)
    spine = BODY26.index("spine")
    assert np.isnan(made["mocap"].positions[:, spine]).all()
    assert np.isfinite(np.delete(made["mocap"].positions, BODY26.indices("spine", "chest"), 1)).all()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"about": np.array("{}")}, "not of the format"),
        ({"about": np.array("[1")}, "cannot be read"),
        ({"lengths": np.array([5, 4], np.int32)}, "lengths do not fit"),
        ({"joint_names": np.array(["nose"])}, "joint_names"),
        ({"kind": np.array(["dance", "mocap"])}, "kind"),
        ({"contact": None}, "cannot be read"),
        ({"K": np.zeros((1, 3, 3))}, "expected|cannot be read"),
        ({"fps": np.array([None, 1], object)}, "cannot be read"),
    ],
)
def test_a_malformed_file_is_one_clear_line(tmp_path, change, says):
    path = tmp_path / "a.npz"
    write_detector_data(path, [clip(0, 5), clip(1, 3)])
    with np.load(path) as data:
        arrays = {**data, **change}
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
    with pytest.raises(InputError, match=says) as e:
        read_detector_data(path)
    assert "\n" not in str(e.value)


def test_what_is_no_file_of_ours_is_refused(tmp_path):
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04rest")
    for path in (tmp_path / "cut.npz", tmp_path / "none.npz"):
        with pytest.raises(InputError, match="cannot be read"):
            read_detector_data(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no detector data"):
        read_detector_data(tmp_path / "empty")
    for wrong in ({"clips": 0}, {"seed": -1}):
        with pytest.raises(InputError, match="expected at least"):
            make_detector_data(tmp_path / "o", [], detector=Told(somebody()), **wrong)
    with pytest.raises(InputError, match="unknown detector"):
        make_detector_data(tmp_path / "o", [], detector="nosuch")


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "dance"},
        {"fps": 0.0},
        {"contact": np.full((5, 4), 2.0)},
        {"confidence": np.ones((5, 21))},
        {"positions": np.full((5, 26, 3), np.nan)},
        {"xy": np.zeros((5, 20, 2))},
    ],
)
def test_a_clip_is_checked(change):
    with pytest.raises(RecordError):
        clip().replaced(**change)


def test_the_real_detector_sees_the_figure(monkeypatch, tmp_path):
    monkeypatch.setattr(rendered, "FRAMES", 12)
    monkeypatch.setattr(detector_data, "CLIPS_PER_SHARD", 4)
    out = make_detector_data(tmp_path, [], 4, seed=0)
    found, errors = [], []
    for c in read_detector_data(out):
        height = np.ptp(c.true_xy, axis=1).max(-1)
        found.append((c.confidence > 0).any(1))
        errors.append((np.linalg.norm(c.xy - c.true_xy, axis=-1) / height[:, None]).ravel())
        assert np.isfinite(c.detector_3d[found[-1]]).all()
    assert np.concatenate(found).mean() > 0.8
    assert np.nanmedian(np.concatenate(errors)) < 0.06
    about = read_about(out / "generated-0000.npz")
    assert about["detector"]["detector"] == "mediapipe" and len(about["detector"]["weights_sha256"]) == 64
    assert about["seed"] == 0 and about["kinds"] == ["generated"]
