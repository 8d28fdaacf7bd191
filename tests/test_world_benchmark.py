"""The world benchmark as a yardstick: zero for the truth, camera paths that mean what they say, baselines that work."""

import csv
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from kinelift import metrics
from kinelift.camera import Camera
from kinelift.datasets.mocap import SOLES
from kinelift.kinematics import STATURE_PRIOR_M
from kinelift.records import Lifted
from kinelift.skeleton import BODY26

pytest.importorskip("torch", reason="the benchmark's generated motion and held-out clips are the training's")
LIMBS = BODY26.indices(*metrics.LIMBS)
FPS = 30.0
FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
NAMES = ("_protocol", "_world_cases", "_world_baselines", "_world_depth", "_world_measures", "_world_rendered")
NAMES += ("_world_sigma", "lifting", "speed", "world")


@pytest.fixture(scope="module")
def bench():
    sys.path.insert(0, str(FOLDER))
    try:
        yield {name: importlib.import_module(name) for name in NAMES}
    finally:
        sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def true(walk):
    return walk(np.arange(90) / FPS)


@pytest.fixture(scope="module")
def contact(walk_rig):
    return walk_rig(np.arange(90) / FPS)[3]


def perfect(bench, true, camera):
    """Key points and a lifter's answer without any error, in the camera of each frame."""
    x = camera.to_camera(true)
    pose = bench["_protocol"].pose_of(
        camera.project(true[:, bench["_protocol"].KEY_POINTS]), np.ones((len(true), 21)), camera.image_size
    )
    down = camera.R_cam_world @ np.array([0, -1.0, 0])
    down = np.broadcast_to(down, (len(true), 3))
    return pose, Lifted(BODY26, x - x[:, :1], pose.times, scale="metric", gravity=down)


def cameras(bench, true):
    cases, rng = bench["_world_cases"], np.random.default_rng(0)
    place = bench["_protocol"].PLACES[0]
    return {move: cases.moving(move, place, true, rng) for move in cases.MOVES}


def test_the_truth_scores_zero_and_meets_every_bar(bench, true, contact):
    m = bench["_world_measures"]
    turned = true @ np.array([[0, 0, 1.0], [0, 1, 0], [-1, 0, 0]]) + [3, 0, 1]
    values = m.pooled([m.score("x", turned, true, FPS, contact, contact > 0.5)])
    for k in ("abs", "wa", "w", "root", "scale", "pa"):
        assert values[k] == pytest.approx(0, abs=1e-5), k
    assert values["f1"] == 1 and values["slide"] == pytest.approx(values["own_slide"])
    for bars in (m.bars_where("given"), m.bars_where("moving"), m.bars_how(values, {"abs": 1.0})):
        assert all(not values[k] > bar.high for k, bar in bars.items() if np.isfinite(values[k]))


def test_a_flight_is_one_that_falls(bench, true):
    """A body off the floor for half a second: thrown up, carried evenly, and as mocap leaps for two frames."""
    m, t = bench["_world_measures"], np.arange(-9, 10)
    span, fall = slice(30, 49), 0.5 * 9.81 * ((9 / FPS) ** 2 - (t / FPS) ** 2)
    for lift, counts in ((fall, True), (np.full(19, 0.3), False), (0.8 * (np.abs(t) < 2), False)):
        moved = np.repeat(true[:1], 90, 0)
        moved[span] += lift[:, None, None] * np.array([0, 1.0, 0])
        assert m.falls(moved, span, FPS) == counts
        s = m.score("x", moved, moved, FPS)
        assert len(s.flights) == counts and s.doubted <= (not counts)


def test_wobble_is_what_sways_along_the_line_of_sight(bench, true):
    m, sway = bench["_world_measures"], 0.05 * np.sin(np.arange(90) * 2 * np.pi / 45)
    eye = np.array([0, 1.0, 400.0])
    for axis, wanted in ((2, 50 / np.sqrt(2)), (0, 0)):
        swaying = true + sway[:, None, None] * np.eye(3)[axis]
        assert m.wobble(swaying + np.array([3, 0, 1]), true, eye) == pytest.approx(wanted, abs=1.5)
    assert "wobble" in m.score("x", true, true, FPS, eye=eye).values


def test_honest_sigmas_hold_nine_errors_of_ten(bench):
    rng = np.random.default_rng(0)
    sigmas = [np.full((400, 12), s) for s in (10.0, 20.0, 40.0)]
    clips = [(np.linalg.norm(rng.normal(0, s[..., None], (400, 12, 3)), axis=-1), s) for s in sigmas]
    found = bench["_world_sigma"].honesty(clips)
    assert found["inside"] == pytest.approx(90, abs=1) and found["factor"] == pytest.approx(100, abs=2)
    assert found["alike"] > 99
    bold = bench["_world_sigma"].honesty([(e, s / 2) for e, s in clips])
    assert bold["factor"] == pytest.approx(2 * found["factor"]) and bold["inside"] < 60


def test_paths_are_pooled_by_their_length(bench):
    m = bench["_world_measures"]
    some = [m.Score("a", {"scale": -3.0}, 100.0, 5.0), m.Score("b", {"scale": 5.0}, 50.0, 10.0)]
    some.append(m.Score("c", {"scale": 1.0}, 900.0, 1.0))
    out = m.pooled(some)
    assert out["rte"] == pytest.approx(100 * 0.150 / 15) and out["root"] == 900 and out["scale"] == 3


def test_a_camera_path_is_the_cameras_up_to_one_unit(bench, true):
    cases = bench["_world_cases"]
    none = cases.OdometryNoise(0, 0, 0, 0)
    for move, camera in cameras(bench, true).items():
        first = camera.replaced(R_cam_world=camera.R_cam_world[0], t_cam_world=camera.t_cam_world[0])
        again = cases.true_path(camera).moved(first)
        np.testing.assert_allclose(again.R_cam_world, camera.R_cam_world, atol=1e-9)
        np.testing.assert_allclose(again.t_cam_world, camera.t_cam_world, atol=1e-6)
        said = cases.odometry(camera, move != cases.ALONG, np.random.default_rng(1), none)
        assert said.translating == (move == cases.ALONG)
        np.testing.assert_allclose(said.R, again.R_cam_world @ first.R_cam_world.T, atol=1e-9)
        errors = bench["_world_rendered"].path_errors(said, camera)
        assert errors["largest"] < 1e-4 and (move != cases.ALONG or errors["miss"] < 1e-6)


def test_odometry_errs_as_stated(bench):
    """Many still cameras: the turn's random walk has the stated size after one second."""
    cases = bench["_world_cases"]
    lens = Camera.from_focal(1000.0, (1280, 720))
    still = lens.replaced(R_cam_world=np.tile(np.eye(3), (31, 1, 1)), t_cam_world=np.zeros((31, 3)))
    rng = np.random.default_rng(3)
    turns = [cases.odometry(still, True, rng).R[-1] for _ in range(400)]
    angle = np.degrees([np.linalg.norm([R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]]) / 2 for R in turns])
    assert np.sqrt((angle**2).mean() / 3) == pytest.approx(cases.ODOMETRY.turn_deg, rel=0.15)


def test_a_moving_camera_keeps_the_person_in_its_picture(bench, true):
    for move, camera in cameras(bench, true).items():
        xy = camera.project(true[:, LIMBS])
        assert ((xy > 0) & (xy < camera.image_size)).all(-1).mean() > 0.9, move
        travel = np.linalg.norm(np.ptp(camera.position, axis=0))
        assert travel == pytest.approx(0, abs=1e-9) if move == "pan" else travel > 0.03


def test_least_squares_finds_the_truth_without_errors(bench, true, contact):
    cases, b = bench["_world_cases"], bench["_world_baselines"]
    for move, camera in cameras(bench, true).items():
        pose, lifted = perfect(bench, true, camera)
        lens = Camera.from_focal(camera.focal_px, camera.image_size)
        found = b.placed(lifted.replaced(contact=contact), pose, lens, STATURE_PRIOR_M, cases.true_path(camera))
        assert metrics.abs_mpjpe(found[:, LIMBS], true[:, LIMBS]) < 5, move
        assert found[:, SOLES, 1].min() == pytest.approx(0, abs=0.02)


def test_baselines_stop_feet_as_they_say(bench, true, contact):
    b = bench["_world_baselines"]
    t = np.arange(len(true))[:, None, None] / FPS
    slid = true + t * [0.15, 0, 0] + [0, 0.03, 0]
    before = metrics.foot_sliding(slid[:, SOLES], contact, FPS)
    assert before == pytest.approx(5, rel=0.05)
    nailed = b.pinned(slid, contact)
    assert metrics.foot_sliding(nailed[:, SOLES], contact, FPS) < 0.3 * before
    assert np.abs(nailed[:, SOLES, 1].min(1)).max() < 1e-6
    recipe = b.post_processed(slid, contact, FPS)
    assert metrics.foot_sliding(recipe[:, SOLES], contact, FPS) < 0.3 * before
    assert recipe[:, SOLES, 1].min() > -0.03
    bones = [(j, p) for j, p in enumerate(BODY26.parents) if p >= 0]
    for j, p in bones:
        length = np.linalg.norm(recipe[:, j] - recipe[:, p], axis=-1)
        np.testing.assert_allclose(length, np.linalg.norm(true[:, j] - true[:, p], axis=-1), atol=1e-6)


def test_depths_place_the_root_as_deep_as_they_say(bench, true):
    b = bench["_world_baselines"]
    camera = cameras(bench, true)["walking along"]
    pose, lifted = perfect(bench, true, camera)
    root = camera.to_camera(true[:, :1])[:, 0]
    lens = Camera.from_focal(camera.focal_px, camera.image_size)
    np.testing.assert_allclose(b.root_in_camera(lifted.positions, pose, lens), root, atol=0.02)
    z = root[:, 2].copy()
    z[10:13] = np.nan
    np.testing.assert_allclose(b.root_in_camera(lifted.positions, pose, lens, z), root, atol=0.02)
    np.testing.assert_allclose(b.root_in_camera(lifted.positions, pose, lens, 1.1 * z)[20:], 1.1 * root[20:], atol=0.02)


def test_the_synthetic_depth_network_errs_as_stated(bench, true):
    d, made = bench["_world_depth"], bench["_world_cases"].made(2)
    case = bench["_world_cases"].moving_case(made[0], "walking along")
    z = case.camera.to_camera(case.truth[:, :1])[:, 0, 2]
    only_clip = d.network_depth(case, d.NetworkErrors(0.1, 0, 0)).z / z
    assert only_clip.std() < 1e-9 and abs(only_clip[0] - 1) < 0.4
    frame = np.log(d.network_depth(case, d.NetworkErrors(0, 0, 0.05)).z / z)
    assert frame.std() == pytest.approx(0.05, rel=0.25)
    drift = np.log(d.network_depth(case, d.NetworkErrors(0, 0.05, 0)).z / z)
    assert np.abs(np.diff(drift)).max() < 0.02 < np.ptp(drift)


def test_longer_clips_for_the_cost_have_no_jumps(bench, true):
    pose, _ = perfect(bench, true, bench["_protocol"].placed(bench["_protocol"].PLACES[0], true))
    longer = bench["speed"].to_and_fro(pose, 10.0)
    assert len(longer.times) == 300 and longer.times[-1] == pytest.approx(299 / FPS)
    step, own = (np.nanmax(np.abs(np.diff(p.xy, axis=0))) for p in (longer, pose))
    assert step <= own + 1e-9
    np.testing.assert_array_equal(longer.xy[:90], pose.xy)
    np.testing.assert_array_equal(longer.xy[178:268], pose.xy)


def test_cost_is_judged_by_how_it_grows(bench, tmp_path, capsys):
    speed, table = bench["speed"], bench["lifting"].Table()
    frames = [300.0, 1800.0, 18000.0]
    lines = speed.fitted(
        table, [{"frames": n, "after_detection": 0.1 + n / 900, "peak": 200 + n / 100} for n in frames]
    )
    assert lines["after_detection"] == pytest.approx([1 / 900, 0.1]) and "met" in capsys.readouterr().out
    speed.fitted(table, [{"frames": n, "after_detection": n * n / 1e6, "peak": 200.0} for n in frames])
    assert "missed" in capsys.readouterr().out
    rows = [{"frames": n, "after_detection": n / 900, "peak": 200.0} for n in frames]
    speed.plot(rows, lines, tmp_path)
    assert (tmp_path / "cost.png").read_bytes().startswith(b"\x89PNG") and "<svg" in (tmp_path / "cost.svg").read_text()


def test_a_quick_run_prints_every_row_and_keeps_every_number(bench, monkeypatch, tmp_path, capsys):
    world = bench["world"]
    table = tmp_path / "world.csv"
    parts = ["static", "moving", "rendered", "real", "sigma"]
    monkeypatch.setattr(
        sys, "argv", ["world.py", "--quick", "--work", str(tmp_path), "--csv", str(table), "--part", *parts]
    )
    world.main()
    said = capsys.readouterr().out
    for row in (world.PLAIN, world.RECIPE, world.PINNED, world.SOLVED):
        assert f"  {row}" in said
    assert "real: skipped" in said and "rendered: left out" in said
    with table.open() as f:
        rows = list(csv.DictReader(f))
    value = {(r["set"], r["row"], r["metric"]): float(r["value"]) for r in rows}
    solved, plain = (
        {m: value["static, generated", r, m] for m in ("abs", "slide")} for r in (world.SOLVED, world.PLAIN)
    )
    assert solved["slide"] < plain["slide"] / 2 and 0 < solved["abs"] < 1.1 * plain["abs"]  # two clips of two seconds
    assert 75 < value["sigma", "generated, 2 clips", "inside"] <= 100  # the solve knows how sure it is
    assert list(tmp_path.iterdir()) == [table]
