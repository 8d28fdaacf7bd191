"""The unsupervised benchmark from end to end on a few steps, and what it prints of answers that are known."""

import importlib
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="the benchmark trains")

from kinelift.datasets import views17
from kinelift.datasets.mocap import MOCAP_JOINTS
from kinelift.skeleton import BODY26, H36M17, joint_map

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
NAMES = [f"walks/{word}" for word in ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")]


@pytest.fixture(scope="module")
def bench_module():
    sys.path.insert(0, str(FOLDER))
    try:
        yield importlib.import_module("unsupervised")
    finally:
        sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, walk):
    """The data folder's layout, filled with one walk: mocap of nine clips, and its picture as photographs."""
    root = tmp_path_factory.mktemp("data")
    positions = walk(np.arange(24) / 30.0)
    joints = positions[:, BODY26.indices(*MOCAP_JOINTS)].astype(np.float32)
    assert {views17.held_out(n) for n in NAMES} == {True, False}
    (root / "mocap").mkdir()
    (root / "poses2d").mkdir()
    for name in ("cmu", "bandai_eval"):
        np.savez(
            root / "mocap" / f"{name}.npz",
            positions=np.tile(joints, (len(NAMES), 1, 1)),
            joint_names=np.array(MOCAP_JOINTS),
            clip_lengths=np.full(len(NAMES), 24),
            clip_names=np.array(NAMES),
            clip_fps=np.full(len(NAMES), 30.0),
        )
    known = np.nan_to_num(positions) @ [[1, 0], [0, -1], [0.3, 0.1]]
    xy = 200 * np.einsum("hb,tbc->thc", joint_map(BODY26, H36M17), known)
    np.save(root / "poses2d" / "mpii_poses.npy", np.tile(xy.reshape(24, 34), (20, 1)).astype(np.float32))
    return root


def run(module, monkeypatch, capsys, *args):
    monkeypatch.setattr(sys, "argv", ["unsupervised.py", *map(str, args)])
    module.main()
    return capsys.readouterr().out


def test_every_stage_runs_once_and_is_kept(bench_module, folder, tmp_path, monkeypatch, capsys):
    args = ["--data", folder, "--work", tmp_path, "--quick"]
    first = run(bench_module, monkeypatch, capsys, *args, "--stage", "seed-heuristic", "ours")
    assert (tmp_path / "ours" / "lifter.onnx").is_file() and not (tmp_path / "elepose").exists()
    assert "there already" not in first
    out = run(bench_module, monkeypatch, capsys, *args)
    assert out.count("there already") == 2
    for row in bench_module.ROWS:
        assert out.count(row) >= 2
    assert "PA-MPJPE" in out and "the seed's" in out and "iterations/s" in out and "left/right" in out
    assert not list(tmp_path.rglob("*.part"))
    picture = cv2.imread(str(tmp_path / "photographs-varied" / "sheet.png"))
    assert picture.shape[1] > 1400 and picture.std() > 5
    again = run(bench_module, monkeypatch, capsys, *args)
    assert again.count("there already") == len(bench_module.STAGES)
    assert again[again.index("MPJPE") :] == out[out.index("MPJPE") :]


def test_known_answers_get_the_numbers_they_deserve(bench_module, folder, tmp_path):
    """The truth in any unit errs by nothing, its mirror image in depth by much."""
    bench = bench_module.Bench(folder, tmp_path, bench_module.QUICK)
    files = {"ours, whole clips": 1, "ElePose": -1}
    for row, sign in files.items():
        path = tmp_path / bench_module.ROWS[row]
        path.parent.mkdir(parents=True)
        x = {k: v.positions - v.positions[:, :1] for k, v in bench.tests.items()}
        bench_module.save(path, {k: 3 * v * np.array([1, 1, sign]) for k, v in x.items()})
    for _, row, mm in bench_module.scores(bench):
        if files[row] == 1:
            assert max(mm["n-mpjpe"], mm["pa-mpjpe"]) < 0.01
        else:
            assert min(mm["n-mpjpe"], mm["pa-mpjpe"]) > 40


def test_asymmetry_is_the_share_by_which_sides_differ(bench_module):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(9, 17, 3))
    mirror = x[:, list(H36M17.mirror)] * [-1, 1, 1]
    even = (x + mirror) / 2
    assert bench_module.asymmetry(even) == pytest.approx(0, abs=1e-5)
    every = even.copy()
    order = [(H36M17.index(j), H36M17.parents[H36M17.index(j)]) for j in ("LKnee", "LFoot", "LElbow", "LWrist")]
    for j, p in order:
        every[:, j] = every[:, p] + 1.2 * (even[:, j] - even[:, p])
    assert bench_module.asymmetry(every) == pytest.approx(0.2 / 1.1, abs=1e-4)


def test_drawings_keep_left_blue_and_lower_joints_lower(bench_module):
    sheet = importlib.import_module("_unsupervised_sheet")
    points = np.zeros((17, 2))
    points[H36M17.index("LKnee")] = points[H36M17.index("LFoot")] = [40, 80]
    image = sheet.drawn(points).astype(int)
    rows, columns = np.nonzero(np.abs(image - sheet.PAPER).sum(-1) > 60)
    assert columns[rows.argmin()] < columns[rows.argmax()] - 20
    red, _, blue = image[rows, columns].mean(0)
    assert blue > red + 40
