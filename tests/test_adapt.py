"""Adaptation to footage without 3D: it lowers held-out reprojection, repeats itself, leaves inputs alone, says no."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

import kinelift
from kinelift.camera import Camera, prior_focal_px
from kinelift.datasets.mocap import MOCAP_JOINTS, Clip
from kinelift.detect import Detection, write_keypoints
from kinelift.errors import InputError
from kinelift.lift import OnnxLifter
from kinelift.records import Pose2D
from kinelift.skeleton import BODY26
from kinelift.training import footage as footage_module
from kinelift.training.actions import generate_actions
from kinelift.training.adapt import AdaptConfig, adapt
from kinelift.training.checkpoint import read_network
from kinelift.training.export import export
from kinelift.training.footage import Footage, View, draw, read_footage
from kinelift.training.network import TemporalNet
from kinelift.training.prior import fit_prior
from kinelift.training.temporal import held_out

ASSETS = Path(kinelift.__file__).parent / "assets"

SIZE = (1280, 720)
SHORT = AdaptConfig(steps=12, own=6, made=6, learning_rate=3e-3)


def rng(seed=0):
    return np.random.default_rng(seed)


def seen_person(seed=1, seconds=5.0):
    """Key points of a generated action 4 m before a camera at 1.2 m height, with one pixel of noise."""
    positions, _ = generate_actions(rng(seed), 1, round(seconds * 30))
    x = positions[0].astype(float)
    x = (x - [*x[:, 0].mean(0)[:1], 1.2, x[:, 0].mean(0)[2]]) * [1, -1, -1] + [0, 0, 4]
    xy = x[..., :2] / x[..., 2:] * prior_focal_px(SIZE) + np.array(SIZE) / 2
    xy += rng(seed).normal(0, 1, xy.shape)
    return Pose2D(BODY26, xy, np.ones(xy.shape[:2]), np.arange(len(xy)) / 30, SIZE)


def digests(folder):
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*.*")}


@pytest.fixture(scope="module")
def lifter(tmp_path_factory):
    """A tiny network that knows nothing, as a lifter file."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("lifter") / "tiny.onnx"
    return export(TemporalNet(32, 32), path, {"channels": 32, "steps": 7}, {}, True, "nothing")


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A folder of two key point files, and a note."""
    folder = tmp_path_factory.mktemp("footage")
    for i in (1, 2):
        write_keypoints(folder / f"clip{i}.npz", seen_person(i))
    (folder / "notes.txt").write_text("shot in the garden")
    return folder


@pytest.fixture(scope="module")
def adapted(clips, lifter, tmp_path_factory):
    out = tmp_path_factory.mktemp("adapted") / "deep" / "out"
    before = digests(clips), digests(lifter.parent)
    report = adapt(clips, out, str(lifter), SHORT)
    assert (digests(clips), digests(lifter.parent)) == before, "inputs were touched"
    return out, report


def test_weights_come_back_from_a_lifter_file(tmp_path):
    torch.manual_seed(3)
    net = TemporalNet(64, 400)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.1 * torch.randn_like(p))
    for own in (True, False):
        source = read_network(export(net, tmp_path / "net.onnx", {"channels": 64}, {}, own, "nothing"))
        assert source.reads_own_3d == own and source.config() == {"channels": 64}
        for name, weights in net.state_dict().items():
            found = source.net.state_dict()[name]
            if weights.numel() >= 65_536:  # 8 bits and a scale for what makes one number
                assert name.endswith("gather.weight")
                assert ((found - weights).abs() <= weights.abs().amax(1, keepdim=True) / 253).all(), name
                assert not torch.equal(found, weights)
            else:  # large matrices in 16 bits
                assert torch.equal(found, weights.half().float() if weights.ndim == 2 else weights), name


def test_shipped_weights_can_be_trained_on():
    source = read_network(ASSETS / "temporal.onnx")
    assert source.config()["network"] == "temporal" and not source.reads_own_3d


def test_held_out_reprojection_falls(adapted):
    _, report = adapted
    assert report.helped and report.after["reprojection_mm"] < 0.85 * report.before["reprojection_mm"]
    assert report.clips == ("clip1.npz", "clip2.npz") and report.ignored == ("notes.txt",)
    assert report.held_out_s == pytest.approx(2.0, abs=0.1) and report.seconds == pytest.approx(8.0, abs=0.1)
    assert "helped" in report.line() and "\n" not in report.line()


def test_product_lifts_and_says_where_it_comes_from(adapted, lifter):
    out, report = adapted
    assert sorted(p.name for p in out.iterdir()) == ["lifter.onnx", "report.json"]
    new = OnnxLifter(report.lifter)
    pose = seen_person(3, 2.0)
    lifted = new.lift(pose, Camera.from_focal(prior_focal_px(SIZE), SIZE))
    assert lifted.positions.shape == (60, 26, 3)
    assert "adapted" in new.provenance()["training_data"]
    config = read_network(report.lifter).config()
    assert config["steps"] == 7 and config["adapted_from"] == hashlib.sha256(lifter.read_bytes()).hexdigest()


def test_how_far_to_follow_key_points_is_not_learned_from_them(adapted, lifter):
    old, new = (read_network(path).net.state_dict() for path in (lifter, adapted[1].lifter))
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert changed and not any(name.startswith("trust.") for name in changed)


def test_report_is_written(adapted):
    out, report = adapted
    said = json.loads((out / "report.json").read_text())
    assert said["helped"] is True and said["lifter"] == "lifter.onnx" and said["said"] == report.line()
    assert said["after"]["reprojection_mm"] == report.after["reprojection_mm"]


def test_the_same_again_gives_the_same_weights(adapted, clips, lifter, tmp_path):
    out, report = adapted
    again = adapt(clips, tmp_path / "out", str(lifter), SHORT)
    assert again.after == report.after
    first, second = (onnx.load(o / "lifter.onnx").graph.initializer for o in (out, tmp_path / "out"))
    for a, b in zip(first, second, strict=True):
        assert np.array_equal(numpy_helper.to_array(a), numpy_helper.to_array(b))


def test_what_does_not_help_is_not_written_unless_asked(clips, lifter, tmp_path):
    idle = AdaptConfig(steps=1, own=1, made=2, learning_rate=0.0)
    report = adapt(clips, tmp_path / "a", str(lifter), idle)
    assert not report.helped and report.lifter is None and report.before == report.after
    assert "did not help" in report.line()
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["report.json"]
    kept = adapt(clips, tmp_path / "b", str(lifter), idle, keep=True)
    assert not kept.helped and OnnxLifter(kept.lifter).name == "lifter"


def test_mocap_and_a_prior_join_in(clips, lifter, walk, tmp_path):
    """Mocap teaches and is watched, by its clips' names; a prior is reported."""
    names = [
        next(n for i in range(99) if held_out(Clip(n := f"{i}", np.empty(0), 1.0)) == kept) for kept in (True, False)
    ]
    p = walk(np.arange(150) / 30)[:, BODY26.indices(*MOCAP_JOINTS)].astype(np.float32)
    np.savez(
        tmp_path / "mocap.npz", positions=np.concatenate([p, p]), joint_names=np.array(MOCAP_JOINTS),
        clip_lengths=np.array([150, 150]), clip_names=np.array(names), clip_fps=np.array([30.0, 30.0]),
    )  # fmt: skip
    prior = fit_prior(rng().normal(0, 1, (40, 13, 2)), steps=2)
    config = AdaptConfig(steps=1, own=1, made=5, learning_rate=1e-2)
    report = adapt(clips, tmp_path / "out", str(lifter), config, data=[tmp_path / "mocap.npz"], prior=prior)
    for numbers in (report.before, report.after):
        assert {"mocap_pa_mm", "actions_pa_mm", "random_pa_mm", "implausible", "reprojection_mm"} <= set(numbers)
    assert report.before["mocap_pa_mm"] != report.after["mocap_pa_mm"]


def test_frames_held_out_are_never_drawn(clips):
    shots, _ = read_footage(clips, View(), lambda *_: None)
    assert [f.learned for f in shots] == [120, 120]
    marked = [Footage(f.name, np.arange(150.0)[:, None] + np.zeros((150, 66)), f.opinion) for f in shots]
    features, opinion = draw(rng(), marked, 200, 64)
    assert features.shape == (200, 64, 66) and opinion.shape == (200, 64, 64)
    assert features.max() == 119 and features.min() == 0
    short, _ = draw(rng(), [Footage("s", marked[0].features[:40], marked[0].opinion[:40])], 3, 64)
    np.testing.assert_array_equal(short[0, :, 0], np.minimum(np.arange(64), 39))


def test_videos_are_read_shot_by_shot(tmp_path, monkeypatch):
    (tmp_path / "b.mp4").write_bytes(b"-")
    (tmp_path / "a.MOV").write_bytes(b"-")
    pose = seen_person(1, 6.0)
    found = Detection(pose, (70,), 1, (), {"focal_35mm": 30.0}, {})
    monkeypatch.setattr(footage_module, "detect_video", lambda path, detector: found)
    monkeypatch.setattr(footage_module, "make_detector", lambda name: name)
    shots, _ = read_footage(tmp_path, View(), lambda *_: None)
    assert [(f.name, len(f.features)) for f in shots] == [("a.MOV", 70), ("a.MOV", 110), ("b.mp4", 70), ("b.mp4", 110)]
    spread = {}
    for name, view in {"film": View(), "given": View(focal_px=2000.0), "field": View(fov_deg=60.0)}.items():
        spread[name] = np.exp(read_footage(tmp_path, view, lambda *_: None)[0][0].features[:, -3]).mean()
    focal = {"film": 30 / 43.267 * np.hypot(*SIZE), "given": 2000.0, "field": 640 / np.tan(np.radians(30))}
    for name in ("film", "field"):
        assert spread[name] / spread["given"] == pytest.approx(2000 / focal[name], rel=0.05)


def broken(folder, lifter, out):
    """(call, words of the one line it is refused with) of everything a user can get wrong."""
    empty, text, torn, tiny, mixed = (folder / n for n in ("empty", "text", "torn", "tiny", "mixed"))
    for f in (empty, text, torn, tiny, mixed):
        f.mkdir()
    (text / "a.txt").write_text("a")
    (torn / "a.npz").write_bytes(b"PK\x03\x04")
    (mixed / "people.json").write_text("{")
    write_keypoints(tiny / "a.npz", seen_person(1, 1.0))
    good = folder / "good"
    good.mkdir()
    write_keypoints(good / "a.npz", seen_person(1))
    return {
        (empty, out, str(lifter)): "no video",
        (text, out, str(lifter)): "no video",
        (torn, out, str(lifter)): "a.npz",
        (mixed, out, str(lifter)): "people.json",
        (tiny, out, str(lifter)): "2 s",
        (folder / "none", out, str(lifter)): "no folder",
        (good, good, str(lifter)): "choose another --out",
        (good, good / "out", str(lifter)): "choose another --out",
        (good, out, "none.onnx"): "none.onnx",
        (good, out, "thing"): "thing",
    }


def test_bad_input_is_one_line_and_nothing_is_written(lifter, tmp_path):
    out = tmp_path / "out"
    for (folder, to, name), words in broken(tmp_path, lifter, out).items():
        with pytest.raises(InputError) as e:
            adapt(folder, to, name, SHORT)
        assert words in str(e.value) and "\n" not in str(e.value)
        assert not out.exists()


def test_an_earlier_product_is_not_replaced(clips, lifter, tmp_path):
    (tmp_path / "lifter.onnx").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"already holds a lifter\.onnx"):
        adapt(clips, tmp_path, str(lifter), SHORT)
    assert (tmp_path / "lifter.onnx").read_bytes() == b"mine"


def test_lifters_of_others_cannot_be_trained_on(lifter, tmp_path):
    path = shutil.copy(lifter, tmp_path / "x.onnx")
    model = onnx.load(path)
    bias = next(i for i in model.graph.initializer if i.name.endswith("head.bias"))
    bias.name = "other.bias"
    for node in model.graph.node:
        node.input[:] = ["other.bias" if i == "net.head.bias" else i for i in node.input]
    onnx.save(model, path)
    with pytest.raises(InputError, match="cannot be trained on"):
        read_network(path)
    plain = onnx.load(lifter)
    del plain.metadata_props[:]
    onnx.save(plain, path)
    with pytest.raises(InputError, match="format=kinelift-lifter/1"):
        read_network(path)
    path.write_bytes(b"no onnx")
    with pytest.raises(InputError, match=r"x\.onnx"):
        read_network(path)


def test_a_file_that_answers_otherwise_is_refused(lifter, tmp_path):
    """The same weights in another order of layers' dilations: the names fit, the network does not."""
    torch.manual_seed(0)
    other = TemporalNet(32, 32, dilations=(8, 1, 2, 4, 16, 8, 4, 1))
    path = export(other, tmp_path / "other.onnx", {}, {}, False, "nothing")
    with pytest.raises(InputError, match="answers otherwise"):
        read_network(path)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"threads": 0}])
def test_counts_below_one_are_refused(wrong):
    with pytest.raises(InputError, match="1 or more"):
        AdaptConfig(**wrong)
