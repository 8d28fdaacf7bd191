"""`demo`, `evaluate` and `train projection-gan` from the command line: what they write, say and refuse."""

import csv

import cv2
import numpy as np
import pytest

from kinelift import cli
from kinelift.commands.train import with_values
from kinelift.pipeline import sample_path
from kinelift.video import open_frames


@pytest.fixture
def kinelift(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["kinelift", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        said = capsys.readouterr()
        return stop.value.code, said.out, said.err

    return run


def refused(done, *names):
    assert done[0] == 2 and len(done[2].strip().splitlines()) == 1, done[2]
    for name in names:
        assert name in done[2]


@pytest.fixture(scope="module")
def mocap(tmp_path_factory):
    """Mocap of six waving people, some of whom the split holds out."""
    rng = np.random.default_rng(0)
    joints = {
        "hip": (0.1, 0.9, 0), "knee": (0.1, 0.5, 0), "ankle": (0.1, 0.08, 0), "toe": (0.1, 0.0, 0.15),
        "shoulder": (0.17, 1.4, 0), "elbow": (0.22, 1.1, 0), "wrist": (0.25, 0.9, 0.15),
    }  # fmt: skip
    names, rest = [], []
    for side, sign in (("left", 1), ("right", -1)):
        for joint, (x, y, z) in joints.items():
            names.append(f"{side}_{joint}")
            rest.append((sign * x, y, z))
    names += ["neck", "head"]
    rest += [(0, 1.45, 0), (0, 1.65, 0.03)]
    clips = 24
    wander = np.cumsum(rng.normal(0, 0.004, (clips * 40, len(names), 3)), 0).reshape(clips, 40, -1, 3)
    positions = np.array(rest) + wander - wander.mean(1, keepdims=True)
    path = tmp_path_factory.mktemp("mocap") / "clips.npz"
    np.savez(
        path, positions=positions.reshape(-1, len(names), 3).astype(np.float32), joint_names=np.array(names),
        clip_lengths=np.full(clips, 40), clip_names=np.array([f"waving/{i}" for i in range(clips)]),
        clip_fps=np.full(clips, 30.0),
    )  # fmt: skip
    return path


def test_a_value_may_be_left_out():
    assert with_values(["a", "--heuristic-loss"]) == ["a", "--heuristic-loss", "1"]
    assert with_values(["--heuristic-loss", "--seed", "3"]) == ["--heuristic-loss", "1", "--seed", "3"]
    assert with_values(["--heuristic-loss", "0.5", "b"]) == ["--heuristic-loss", "0.5", "b"]


def test_train_then_evaluate(kinelift, mocap, tmp_path):
    pytest.importorskip("torch")
    out = tmp_path / "gan"
    options = ("--dataset", "mocap", "--data", mocap)
    code, said, _ = kinelift(
        "train", "projection-gan", *options, "--out", out, "--epochs", 1, "--batch", 64, "--heuristic-loss"
    )
    assert code == 0 and str(out / "lifter.onnx") in said
    table = tmp_path / "table.csv"
    code, said, _ = kinelift(
        "evaluate",
        out / "lifter.onnx",
        "temporal",
        *options,
        "--protocol",
        "pa-mpjpe",
        "--protocol",
        "seed",
        "--csv",
        table,
    )
    assert code == 0 and "PA-MPJPE" in said and "temporal" in said
    rows = list(csv.reader(table.open()))
    assert any("temporal" in r for r in rows) and any("lifter" in r[0] or "lifter" in r[1] for r in rows)
    refused(kinelift("evaluate", "temporal", *options, "--protocol", "pa"), "pa-mpjpe")
    refused(kinelift("evaluate", "temporal", *options, "--action", "flying"), "flying", "waving")
    refused(kinelift("evaluate", "temporal", "--dataset", "h36n", "--data", mocap), "h36n", "h36m")
    refused(kinelift("evaluate", tmp_path / "no.onnx", *options), "no.onnx")
    refused(kinelift("train", "projection-gan", *options, "--out", tmp_path / "x", "--mode", "half"), "half")


def test_elepose_from_the_command_line(kinelift, mocap, tmp_path):
    pytest.importorskip("torch")
    out = tmp_path / "ele"
    options = ("--dataset", "mocap", "--data", mocap, "--steps", 3, "--flow-steps", 3, "--width", 16, "--batch", 32)
    code, said, err = kinelift("train", "elepose", *options, "--out", out, "--nose-ahead", 0, "--varied", 2)
    assert code == 0, err
    assert said.splitlines()[-2:] == [f"wrote {p}" for p in (out / "lifter.onnx", out / "varied" / "lifter.onnx")]
    code, said, _ = kinelift("evaluate", out / "varied" / "lifter.onnx", *options[:4], "--protocol", "n-mpjpe")
    assert code == 0 and "N-MPJPE" in said
    refused(kinelift("train", "elepose", *options, "--out", tmp_path / "x", "--threads", 0), "threads")


def test_demo_of_a_picture(kinelift, tmp_path):
    with open_frames(sample_path(), 2.0, 2.1) as frames:
        image = next(iter(frames)).image
    picture = tmp_path / "person.png"
    cv2.imwrite(str(picture), image[..., ::-1])
    out = tmp_path / "demo"
    code, said, err = kinelift("demo", picture, "-o", out)
    assert code == 0, err
    names = {p.name for p in out.iterdir()}
    assert {"pose_2d.png", "sheet.png", "turn.gif", "turn_000.png", "turn_345.png"} <= names and "sheet.png" in said
    refused(kinelift("demo", picture, "-o", tmp_path / "a", "--detector", "openpose"), "--proto2d")
    refused(kinelift("demo", picture, "-o", tmp_path / "b", "--proto2d", picture), "mediapipe")
    refused(kinelift("demo", tmp_path / "none.png", "-o", tmp_path / "c"), "none.png")
    assert not any((tmp_path / x).exists() for x in "abc")
