"""The lifting benchmark as a yardstick: fixed input, zero for a perfect lifter, disturbances that do what they say."""

import csv
import dataclasses
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from kinelift import metrics
from kinelift.datasets.mocap import Clip
from kinelift.kinematics import rotvec_to_matrix
from kinelift.records import Lifted
from kinelift.skeleton import BODY26

pytest.importorskip("torch", reason="the benchmark's generated motion and held-out clips are the training's")
LIMBS = BODY26.indices(*metrics.LIMBS)
FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def modules():
    sys.path.insert(0, str(FOLDER))
    try:
        yield {name: importlib.import_module(name) for name in ("_protocol", "_disturbed", "lifting")}
    finally:
        sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def protocol(modules):
    return modules["_protocol"]


@pytest.fixture(scope="module")
def disturbed(modules):
    return modules["_disturbed"]


@pytest.fixture(scope="module")
def lifting(modules):
    return modules["lifting"]


@pytest.fixture(scope="module")
def positions(walk):
    return walk(np.arange(45) / 30.0)


@pytest.fixture(scope="module")
def seen(protocol, positions):
    """The walk as any camera sees it, with or without the detector's errors."""
    contact = protocol.touching(positions[:, protocol.SOLES])
    none = protocol.Noise(bias=0, drift=0, jitter=0, peak=0, gone=0, toe_ahead=0)

    def view(number, noisy=False):
        noise = protocol.NOISE if noisy else none
        return protocol.seen_by(number, "a walk", "walk", positions, contact, noise)

    return view


class Knowing:
    """A lifter that is told each joint's depth and works out the rest from pixels and camera: perfect without noise."""

    name, skeleton = "knowing", BODY26

    def __init__(self, view, size=1.0, turn=(0.0, 0.0, 0.0), sigma=0.01):
        self.view, self.size, self.turn, self.sigma = view, size, rotvec_to_matrix(np.array(turn)), sigma

    def lift(self, pose, camera):
        rays = camera.unproject(np.nan_to_num(pose.xy))
        x = np.concatenate([rays, np.ones((*rays.shape[:-1], 1))], -1) * self.view.truth[..., 2:]
        x[:, 0] = x[:, BODY26.indices("left_hip", "right_hip")].mean(1)
        x = self.size * (x - x[:, :1]) @ self.turn.T
        t = len(x)
        return Lifted(
            BODY26, x, pose.times, sigma=np.full((t, 26), self.sigma), gravity=np.tile(self.view.gravity, (t, 1)),
            contact=self.view.contact.astype(float),
        )  # fmt: skip

    def provenance(self):
        return {"name": self.name}


def test_key_points_never_change(protocol, seen):
    """Cameras, noise and seeds together: numbers of another fingerprint cannot be compared with published ones."""
    assert protocol.fingerprint([seen(n, noisy=True) for n in range(len(protocol.PLACES))]) == "0e6982ce"


def test_a_clip_gets_the_same_key_points_whatever_else_is_measured(protocol, positions):
    clips = [Clip(f"clip {i}", positions + 0.01 * i, 30.0) for i in range(5)]
    every = protocol.mocap_views(clips, str, 2)
    fewer = protocol.mocap_views(clips, str, 2, at_most=3)
    kept = [v for v in every if v.action in {v.action for v in fewer}]
    assert len(every) == 10 and len(fewer) == 6
    assert protocol.fingerprint(kept) == protocol.fingerprint(fewer) != protocol.fingerprint(every[:6])
    same_clip = [v.camera.focal_px / max(v.camera.image_size) for v in every[:2]]
    assert same_clip[0] != pytest.approx(same_clip[1])


def test_cameras_stand_where_the_list_says(protocol, positions):
    for place in protocol.PLACES:
        camera = protocol.placed(place, positions)
        assert camera.focal_px == pytest.approx(place.focal * max(place.size)) and camera.image_size == place.size
        if place.look_down_deg is None:
            assert camera.position[1] == pytest.approx(place.height_m)
        else:
            pitch = np.degrees(np.arcsin(-camera.R_cam_world[2, 1]))
            assert pitch == pytest.approx(place.look_down_deg, abs=1e-6)
        xy = camera.project(positions)
        assert ((xy >= 0) & (xy < camera.image_size)).all(-1).mean() > 0.9
        middle = (positions[:, 0].min(0) + positions[:, 0].max(0)) / 2
        away = np.linalg.norm((camera.position - middle)[::2])
        assert min(abs(away / place.distance_m - f) for f in protocol._BACK) < 1e-6
    assert {np.sign(p.size[0] - p.size[1]) for p in protocol.PLACES} == {1, -1}
    assert any(p.look_down_deg == 30 for p in protocol.PLACES) and any(p.height_m == 0.3 for p in protocol.PLACES)


def test_cameras_see_the_side_they_are_turned_to(protocol, positions):
    """In front, the person's left is right in the picture; on their left, the left shoulder is the nearer one."""
    left, right = BODY26.indices("left_shoulder", "right_shoulder")
    place = dataclasses.replace(protocol.PLACES[0], aside_deg=0.0)
    xy = protocol.placed(dataclasses.replace(place, turn_deg=0), positions).project(positions)
    assert (xy[:, left, 0] > xy[:, right, 0]).all()
    depth = protocol.placed(dataclasses.replace(place, turn_deg=90), positions).to_camera(positions)[..., 2]
    assert (depth[:, left] < depth[:, right]).all()
    aimed = protocol.placed(dataclasses.replace(place, aside_deg=10.0, above_deg=5.0), positions).project(positions)
    plain = protocol.placed(place, positions).project(positions)
    assert (aimed[..., 0] < plain[..., 0]).all() and (aimed[..., 1] > plain[..., 1]).all()


def test_detector_errors_are_of_the_documented_size(protocol, seen):
    errors, confidence, gone = [], [], []
    for n in range(len(protocol.PLACES)):
        clean, noisy = seen(n).pose, seen(n, noisy=True).pose
        size = np.median(np.linalg.norm(np.ptp(clean.xy[:, protocol.KEY_POINTS], axis=1), axis=-1))
        errors.append(np.linalg.norm(noisy.xy - clean.xy, axis=-1)[:, LIMBS] / size)
        confidence.append(noisy.confidence[:, LIMBS])
        gone.append(~noisy.seen[:, protocol.KEY_POINTS])
    known = np.isfinite(errors)
    assert 0.009 < np.median(np.array(errors)[known]) < 0.017
    assert 0.015 < np.mean(gone) < 0.05
    assert np.corrcoef(np.array(errors)[known], np.array(confidence)[known])[0, 1] < -0.3


@pytest.mark.parametrize("number", [0, 1, 4, 7])
def test_a_perfect_lifter_errs_by_nothing(lifting, seen, number):
    view = seen(number)
    out = lifting.summary([lifting.measured(Knowing(view), view)])
    assert max(out[k] for k in ("mpjpe", "n_mpjpe", "pa", "gravity")) < 1e-3
    assert out["inside"] == 100 and out["f1"] == 1


@pytest.mark.parametrize("number", [0, 1, 4, 7])
def test_a_perfect_lifter_stays_perfect_when_the_picture_is_turned(lifting, disturbed, seen, number):
    turned = disturbed.turned(seen(number))
    assert turned.pose.image_size == seen(number).pose.image_size[::-1]
    out = lifting.summary([lifting.measured(Knowing(turned), turned)])
    assert max(out[k] for k in ("mpjpe", "pa", "gravity")) < 1e-3
    inside = np.nan_to_num(turned.pose.xy, nan=1.0)
    assert (inside >= 0).all() and (inside < turned.pose.image_size).all()


def test_turning_is_clockwise_and_four_turns_are_none(disturbed, seen):
    view = seen(6)
    head, toe = BODY26.indices("head", "left_toe")
    once = disturbed.turned(view)
    assert (once.pose.xy[:, head, 0] > once.pose.xy[:, toe, 0]).all()
    four = disturbed.turned(disturbed.turned(disturbed.turned(once)))
    np.testing.assert_allclose(four.pose.xy, view.pose.xy, atol=1e-9)
    np.testing.assert_allclose(four.truth, view.truth, atol=1e-12)
    np.testing.assert_allclose(four.camera.K, view.camera.K, atol=1e-9)


def test_each_metric_forgives_what_it_should(lifting, seen):
    view = seen(2)

    def score(**how):
        return lifting.summary([lifting.measured(Knowing(view, **how), view)])

    larger, leaning = score(size=1.2), score(turn=(0.2, 0.1, -0.1))
    assert larger["mpjpe"] > 50 and larger["n_mpjpe"] < 1e-6 and larger["pa"] < 1e-6
    assert leaning["mpjpe"] > 50 and leaning["n_mpjpe"] > 50 and leaning["pa"] < 1e-6


def test_an_honest_sigma_has_nine_tenths_of_its_errors_inside(lifting, seen):
    view, rng = seen(0), np.random.default_rng(0)

    class Noisy(Knowing):
        def lift(self, pose, camera):
            lifted = super().lift(pose, camera)
            off = np.concatenate([np.zeros((45, 1, 3)), rng.normal(0, 0.03, (45, 25, 3))], 1)
            return lifted.replaced(positions=lifted.positions + off)

    share = {s: lifting.summary([lifting.measured(Noisy(view, sigma=s), view)])["inside"] for s in (0.02, 0.03, 0.06)}
    assert share[0.03] == pytest.approx(90, abs=4) and share[0.02] < 70 and share[0.06] > 99


def test_contact_counts_slow_low_feet(protocol):
    t = np.arange(60) / 30.0
    points = np.zeros((60, 4, 3))
    points[:, 0, 1] = 0.08
    points[:, 1] = [0, 0, 0]
    points[:, 2, 2] = points[:, 3, 2] = t * 1.0
    points[:, 2, 1] = 0.08
    contact = protocol.touching(points)
    assert contact[:, :2].all() and not contact[:, 2:].any()
    points[:, :, 1] += np.where(t > 1, 0.5, 0)[:, None]
    assert not protocol.touching(points)[35:45].any()


def test_disturbances(disturbed, seen):
    view = seen(0, noisy=True)
    wide = disturbed.refocused(view, 1.3)
    known = view.pose.seen
    ratio = view.camera.unproject(view.pose.xy)[known] / wide.camera.unproject(wide.pose.xy)[known]
    np.testing.assert_allclose(ratio, 1.3, atol=1e-6)
    half = disturbed.halved(view)
    np.testing.assert_allclose(np.diff(half.pose.times), 1 / 15)
    assert len(half.truth) == len(half.contact) == len(half.pose.times) == 23
    thin = disturbed.thinned(view)
    keys = disturbed.KEY_POINTS
    taken = view.pose.seen[:, keys] & ~thin.pose.seen[:, keys]
    assert taken.sum() / view.pose.seen[:, keys].sum() == pytest.approx(0.2, abs=0.02)
    runs = np.diff(taken.astype(int), axis=0)
    assert 4 < taken.sum() / max((runs == 1).sum(), 1) < 20
    np.testing.assert_array_equal(thin.pose.xy, disturbed.thinned(view).pose.xy)


@pytest.mark.parametrize(
    ("name", "action"),
    [
        ("dataset-1_walk-left_not-confident_001", "walk sideways"),
        ("dataset-2_walk-turn-right_normal_012", "walk and turn"),
        ("dataset-1_walk-back_old_001", "walk-back"),
        ("dataset-2_walk_active_003", "walk"),
        ("dataset-2_raise-up-both-hands_active_001", "raise hands"),
        ("dataset-1_byebye_sad_001", "wave"),
    ],
)
def test_bandai_clips_are_grouped_by_content(protocol, name, action):
    assert protocol.bandai_action(name) == action


def test_pieces_cover_long_clips_at_thirty_frames_a_second(protocol, walk):
    clip = Clip("long", walk(np.arange(60 * 25 + 1) / 60.0), 60.0)
    parts = protocol.pieces(clip)
    assert [len(p) for p in parts] == [300, 300, 300]
    np.testing.assert_allclose(parts[0], clip.positions[:600:2], atol=1e-9)
    np.testing.assert_allclose(parts[-1][-1], clip.positions[-1], atol=1e-9)
    assert [len(p) for p in protocol.pieces(Clip("short", clip.positions[:1], 60.0))] == [1]


def test_mocap_without_a_face_gets_one_that_the_detector_can_see(protocol, positions):
    lacking = positions.copy()
    made_up = BODY26.indices("nose", "left_ear", "right_ear", "head", "left_hand", "right_hand")
    lacking[:, made_up] = np.nan
    whole = protocol.with_face_and_hands(lacking, protocol.seeded("x"))
    known = [i for i in range(26) if i not in made_up]
    np.testing.assert_array_equal(whole[:, known], positions[:, known])
    assert np.linalg.norm(whole - positions, axis=-1).max() < 0.25
    face = BODY26.indices("nose", "head")
    assert ((whole[:, face[0]] - whole[:, face[1]])[:, 2] > 0).all()


def test_the_program_prints_bars_and_writes_every_number(lifting, protocol, data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(protocol, "MADE", {})
    table = tmp_path / "table.csv"
    mocap = [f"--{k}={data / 'mocap' / v}" for k, v in (("mocap", "cmu.npz"), ("bandai", "bandai_eval.npz"))]
    args = ["lifting.py", *mocap, "--clips=2", "--disturbed=2", f"--csv={table}"]
    monkeypatch.setattr(sys, "argv", args)
    lifting.main()
    printed = capsys.readouterr().out
    assert "bandai, MPJPE" in printed and "(at most 85, aim 60)" in printed and "turned by 90 degrees" in printed
    with table.open() as f:
        rows = {(r["set"], r["row"], r["metric"]): float(r["value"]) for r in csv.DictReader(f)}
    assert 20 < rows["bandai", "all", "pa"] < rows["bandai", "all", "mpjpe"] < 200
    assert 20 < rows["cmu held out", "all", "pa"] < 200
    assert rows["speed", "", "network/s"] > 100
