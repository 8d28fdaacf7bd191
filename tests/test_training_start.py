"""`kinelift train temporal --from`: a run that begins from a lifter's weights, as they are or widened."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from kinelift.cli import app
from kinelift.datasets.mocap import MOCAP_JOINTS
from kinelift.errors import InputError
from kinelift.lift import load_lifter
from kinelift.lift.rays import FEATURES, OPINION
from kinelift.skeleton import BODY26
from kinelift.training import temporal
from kinelift.training.checkpoint import read_network
from kinelift.training.export import export
from kinelift.training.generate import generate
from kinelift.training.network import TemporalNet, widened

FEW = {"steps": 1, "batch": 4, "frames": 20, "random": 0, "actions": 0, "learning_rate": 0.0}


@pytest.fixture
def mocap(tmp_path, monkeypatch):
    """A small mocap file, and small checks."""
    checks = temporal.validation_batches
    monkeypatch.setattr(temporal, "validation_batches", lambda clips, seen: checks(clips, seen, n=4, frames=20))
    p = generate(np.random.default_rng(0), 2, 60)[:, :, BODY26.indices(*MOCAP_JOINTS)]
    np.savez(
        tmp_path / "some.npz", positions=p.reshape(-1, len(MOCAP_JOINTS), 3), joint_names=np.array(MOCAP_JOINTS),
        clip_lengths=[60, 60], clip_names=np.array(["a", "b"]), clip_fps=[30.0, 30.0],
    )  # fmt: skip
    return tmp_path / "some.npz"


@pytest.fixture
def lifter(tmp_path):
    torch.manual_seed(3)
    return export(TemporalNet(16, 24), tmp_path / "start.onnx", {"steps": 7}, {}, False, "somebody's motion")


def told(net, seed=0):
    torch.manual_seed(seed)
    with torch.no_grad():
        return net.eval()(torch.randn(2, 30, FEATURES), torch.randn(2, 30, OPINION))


def test_a_widened_network_answers_the_same_and_its_new_units_learn():
    torch.manual_seed(0)
    net = TemporalNet(16, 24)
    wide = widened(net, 40)
    assert wide.blocks[3].gather.weight.shape == (40, 48)
    for a, b in zip(told(net), told(wide), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-5)
    said = wide.train()(torch.randn(2, 30, FEATURES), torch.randn(2, 30, OPINION))
    said.positions.square().sum().backward()
    assert all((b.spread.weight.grad[:, 24:] != 0).any() for b in wide.blocks)


def test_a_run_begins_from_the_weights_given(mocap, lifter, tmp_path):
    """At a rate of nothing what comes out is what went in, but for what is calibrated."""
    same = temporal.train(temporal.Config(**FEW), [mocap], tmp_path / "same", start=str(lifter))
    before, after = read_network(lifter).net.state_dict(), read_network(same).net.state_dict()
    for name in before:
        if name != "head.bias":
            np.testing.assert_allclose(after[name], before[name], atol=1e-3, err_msg=name)
    about = load_lifter(str(same)).provenance()
    assert about["training_data"].endswith("begun from weights of: somebody's motion")
    wide = temporal.train(temporal.Config(**FEW, hidden=40), [mocap], tmp_path / "wide", start=str(lifter))
    grown = read_network(wide).net
    assert grown.blocks[0].gather.out_features == 40
    np.testing.assert_allclose(told(grown).gravity, told(read_network(same).net).gravity, atol=5e-3)


def test_the_command_takes_a_start_a_width_and_a_decay(mocap, lifter, tmp_path):
    few = ["--steps", "2", "--batch", "4", "--random", "0", "--actions", "0"]
    common = ["train", "temporal", "--data", str(mocap), *few]
    first = [*common, "--out", str(tmp_path / "a"), "--channels", "16", "--hidden", "20", "--decay", "1"]
    assert CliRunner().invoke(app, first).exit_code == 0
    source = read_network(tmp_path / "a" / "lifter.onnx")
    assert source.net.blocks[0].gather.out_features == 20 and source.config()["decay"] == 1
    again = [*common, "--out", str(tmp_path / "b"), "--from", str(tmp_path / "a" / "lifter.onnx"), "--hidden", "24"]
    assert CliRunner().invoke(app, again).exit_code == 0
    assert json.loads(read_network(tmp_path / "b" / "lifter.onnx").about["config"])["hidden"] == 24


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"channels": 32}, "has 16 channels"),
        ({"hidden": 8}, "24 hidden units"),
        ({"network": "videopose3d"}, "temporal lifter"),
        ({"own_3d": True}, "without a detector's own 3D"),
    ],
)
def test_a_start_of_another_kind_is_one_line_and_nothing_is_written(mocap, lifter, tmp_path, change, named):
    with pytest.raises(InputError, match=named):
        temporal.train(temporal.Config(**FEW, **change), [mocap], tmp_path / "no", start=str(lifter))
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("option", "named"),
    [(("--hidden", "0"), "--hidden 0"), (("--decay", "1.5"), "--decay 1.5"), (("--from", "MOCAP"), "some.npz")],
)
def test_bad_options_are_one_line(mocap, tmp_path, option, named):
    option = [str(mocap) if o == "MOCAP" else o for o in option]
    with pytest.raises(InputError, match=named):
        CliRunner().invoke(
            app, ["train", "temporal", "--data", str(mocap), "--out", str(tmp_path / "no"), *option],
            catch_exceptions=False,
        )  # fmt: skip
    assert not (tmp_path / "no").exists()
