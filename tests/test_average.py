"""`kinelift train average`: the mean of weights, measured and calibrated on what is held out."""

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from kinelift.cli import app
from kinelift.datasets.mocap import MOCAP_JOINTS
from kinelift.errors import InputError
from kinelift.lift import load_lifter
from kinelift.skeleton import BODY26
from kinelift.training.average import average
from kinelift.training.checkpoint import read_network
from kinelift.training.export import export
from kinelift.training.generate import generate
from kinelift.training.network import TemporalNet


@pytest.fixture(scope="module")
def mocap(tmp_path_factory):
    path = tmp_path_factory.mktemp("mocap") / "some.npz"
    p = generate(np.random.default_rng(0), 2, 100)[:, :, BODY26.indices(*MOCAP_JOINTS)]
    np.savez(
        path, positions=p.reshape(-1, len(MOCAP_JOINTS), 3), joint_names=np.array(MOCAP_JOINTS),
        clip_lengths=[100, 100], clip_names=np.array(["a", "b"]), clip_fps=[30.0, 30.0],
    )  # fmt: skip
    return path


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A network, and the same trained on, as it were."""
    folder, paths = tmp_path_factory.mktemp("two"), []
    torch.manual_seed(0)
    net = TemporalNet(32, 32)
    for name in ("first.onnx", "second.onnx"):
        paths.append(export(net, folder / name, {"steps": 7}, {}, False, "nothing"))
        with torch.no_grad():
            for p in net.parameters():
                p.add_(0.01 * torch.randn_like(p))
    return paths


def test_weights_are_the_weighted_mean(two, mocap, tmp_path):
    path, measured = average(two, [mocap], tmp_path / "new" / "mean.onnx", shares=[1, 3])
    a, b, mean = (read_network(p).net.state_dict() for p in (*two, path))
    for key in mean:
        if key != "head.bias":  # calibrated
            np.testing.assert_allclose(mean[key], 0.25 * a[key] + 0.75 * b[key], atol=2e-3)
    assert list(measured) == ["first.onnx", "second.onnx", "mean"]
    assert all(v["mocap_pa"] > 0 for v in measured.values())
    about = load_lifter(str(path)).provenance()
    assert about["licence"] == "Apache-2.0" and about["training_data"] == "nothing"
    assert read_network(path).config() == {"steps": 7, "mean_of": [0.25, 0.75]}
    assert [f.name for f in path.parent.iterdir()] == ["mean.onnx"]


def test_the_command_prints_all_and_bad_input_is_one_line(two, mocap, tmp_path):
    out = tmp_path / "mean.onnx"
    said = CliRunner().invoke(app, ["train", "average", *map(str, two), "--data", str(mocap), "--out", str(out)])
    assert said.exit_code == 0 and "mean: held out" in said.output and out.exists()
    wide = export(TemporalNet(48, 32), tmp_path / "wide.onnx", {}, {}, False, "nothing")
    own = export(TemporalNet(32, 32), tmp_path / "own.onnx", {}, {}, True, "nothing")
    for lifters, shares, named in (
        ([two[0]], None, "at least two"),
        (two, [1.0], "2 lifters need as many"),
        (two, [1.0, -1.0], "2 lifters need as many"),
        ([two[0], wide], None, "wide.onnx"),
        ([two[0], own], None, "own 3D"),
        ([two[0], mocap], None, "some.npz"),
    ):
        with pytest.raises(InputError, match=named):
            average(lifters, [mocap], tmp_path / "no.onnx", shares)
    assert not (tmp_path / "no.onnx").exists()
