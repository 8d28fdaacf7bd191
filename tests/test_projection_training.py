"""The projection GAN's training on a few made poses: its losses, its rules, its files, and going on after a stop."""

import csv
import json
from dataclasses import asdict, replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")

from kinelift.camera import Camera  # noqa: E402
from kinelift.datasets.base import PoseSet  # noqa: E402
from kinelift.errors import InputError, UnknownNameError  # noqa: E402
from kinelift.lift import load_lifter  # noqa: E402
from kinelift.lift.projection import normalised  # noqa: E402
from kinelift.records import Pose2D  # noqa: E402
from kinelift.skeleton import H36M17  # noqa: E402
from kinelift.training.projection import gan  # noqa: E402
from kinelift.training.projection.export import load_generator  # noqa: E402
from kinelift.training.projection.gan import Config, train  # noqa: E402
from kinelift.training.projection.losses import Verdict, facing, heuristic_loss, turned  # noqa: E402
from kinelift.training.projection.networks import PoseMLP  # noqa: E402
from kinelift.training.projection.runs import Poses, validated  # noqa: E402

J = H36M17.index
CAMERA = Camera.from_focal(1000, (1000, 1000))
# A standing body from its hip in camera axes (y down, z away), facing the camera: its left is the picture's right.
BODY = {
    "RHip": (-0.13, 0, 0), "RKnee": (-0.13, 0.43, 0), "RFoot": (-0.13, 0.85, 0), "LHip": (0.13, 0, 0),
    "LKnee": (0.13, 0.43, 0), "LFoot": (0.13, 0.85, 0), "Spine": (0, -0.25, 0), "Thorax": (0, -0.5, 0),
    "NeckNose": (0, -0.6, -0.1), "Head": (0, -0.7, -0.05), "LShoulder": (0.17, -0.5, 0),
    "LElbow": (0.2, -0.25, 0), "LWrist": (0.2, -0.15, -0.2), "RShoulder": (-0.17, -0.5, 0),
    "RElbow": (-0.2, -0.25, 0), "RWrist": (-0.2, -0.15, -0.2),
}  # fmt: skip


def bodies(n, seed=0):
    """(n, 17, 3) metres: the standing body with bent limbs, at any heading, 3 to 6 m away."""
    rng = np.random.default_rng(seed)
    x = np.zeros((n, 17, 3))
    for joint, place in BODY.items():
        x[:, J(joint)] = place
    x[:, [J("LWrist"), J("RWrist"), J("LKnee"), J("RKnee")]] += rng.normal(0, 0.12, (n, 4, 3))
    a = rng.uniform(0, 2 * np.pi, n)
    cos, sin = np.cos(a)[:, None], np.sin(a)[:, None]
    x = np.stack([x[..., 0] * cos + x[..., 2] * sin, x[..., 1], x[..., 2] * cos - x[..., 0] * sin], -1)
    return x + np.stack([0 * a, 0 * a, rng.uniform(3, 6, n)], -1)[:, None]


def pose_set(n=160, seed=0, with_3d=True):
    positions = bodies(n, seed)
    return PoseSet(
        name="made", xy=CAMERA.project_camera(positions), positions=positions if with_3d else None,
        sequence=np.arange(n) // 40, actions=np.where(np.arange(n) % 2, "wave", "walk"),
        cameras=(CAMERA,) * (n // 40 + 1), fps=30.0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def data():
    return pose_set()


@pytest.fixture(scope="module")
def held_out():
    return pose_set(80, seed=1)


SMALL = Config(width=32, epochs=3, heuristic_loss=1.0)


def rows(out):
    """metrics.csv without what depends on the clock."""
    with (out / "metrics.csv").open() as f:
        return [{k: v for k, v in r.items() if k != "iterations_per_s"} for r in csv.DictReader(f)]


def same(a, b):
    """Whether two checkpoints' tensors are equal to the last bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def test_turning_is_a_rotation_about_the_vertical_seen_along_z():
    x = torch.from_numpy(bodies(7)).float()
    x = x - x[:, :1]
    angles = torch.rand(7) * 6
    out = turned(x[..., :2].flatten(1), x[..., 2], angles).reshape(7, 17, 2)
    R = torch.stack([torch.stack([angles.cos(), 0 * angles, angles.sin()], -1), torch.tensor([[0.0, 1, 0]] * 7)], 1)
    torch.testing.assert_close(out, torch.einsum("nij,nkj->nki", R, x))
    torch.testing.assert_close(turned(out.flatten(1), x[..., 2], 0 * angles), out.flatten(1))


def test_noses_point_ahead_of_people_and_behind_those_lifted_inside_out():
    x = torch.from_numpy(bodies(50)).float()
    flat, z = (x - x[:, :1])[..., :2].flatten(1), (x - x[:, :1])[..., 2]
    torch.testing.assert_close(facing(flat, z), torch.ones(50), atol=1e-4, rtol=0)
    torch.testing.assert_close(facing(flat, -z), -torch.ones(50), atol=1e-4, rtol=0)
    assert heuristic_loss(flat, z) < 1e-4 < 0.99 < heuristic_loss(flat, -z)


def test_the_heuristics_gradient_is_finite_where_joints_coincide():
    z = torch.zeros(4, 17, requires_grad=True)
    heuristic_loss(torch.zeros(4, 34), z).backward()
    assert torch.isfinite(z.grad).all()


def test_losses_are_least_for_whom_they_serve():
    right = Verdict(torch.full((4, 1), 5.0), torch.full((4, 1), -5.0))
    wrong = Verdict(right.fake, right.real)
    assert right.accuracies().tolist() == [1, 1] and wrong.accuracies().tolist() == [0, 0]
    assert right.discriminator_loss() < 0.1 < 9 < wrong.discriminator_loss()
    assert wrong.generator_loss() < 0.1 < 4 < right.generator_loss()
    undecided = Verdict(torch.zeros(4, 1), torch.zeros(4, 1))
    assert undecided.discriminator_loss().item() == pytest.approx(2 * np.log(2))


def test_truth_has_no_error_and_depth_alone_is_measured(data):
    """The true depths' z MSE is 0; what is left in mm is perspective, as with the authors."""
    poses = Poses.of(data)

    class Truth(torch.nn.Module):
        def forward(self, flat):
            return poses.truth[..., 2]

    measured = validated(Truth(), poses)
    assert measured["val_z_mse"] == 0 and 0 < measured["val_mm"] < 60
    far = data.positions + np.array([0, 0, 500], np.float32)
    distant = Poses.of(data.replaced(positions=far, xy=CAMERA.project_camera(far)))
    assert validated(Truth(), distant)["val_mm"] < 1
    xyz = data.positions - data.positions[:, :1]
    expected = normalised(data.positions[..., :2])[1] * 1000
    np.testing.assert_allclose(poses.scale_mm, expected, rtol=1e-5)
    np.testing.assert_allclose(poses.truth * poses.scale_mm[:, None, None] / 1000, xyz, atol=1e-5)


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("mode", ["unsupervised", "supervised"])
def test_a_run_writes_a_lifter_that_is_the_trained_network(tmp_path, data, held_out, mode, batch_norm):
    config = replace(SMALL, mode=mode, batch_norm=batch_norm, epochs=1)
    path = train(config, data, held_out, tmp_path)
    net = load_generator(path.with_suffix(".safetensors"))
    lifter = load_lifter(str(path))
    assert lifter.skeleton is H36M17 and lifter.provenance()["training_data"] == "made"
    assert set(lifter.provenance()["held_out"]) == {"val_z_mse", "val_mm"}
    pose = Pose2D(H36M17, held_out.xy, np.ones((80, 17)), np.arange(80) / 30, (1000, 1000))
    z = lifter.lift(pose, CAMERA).positions[..., 2]
    flat, _ = normalised(held_out.rays())
    with torch.no_grad():
        expected = net(torch.from_numpy(flat.reshape(80, 34)).float()).numpy()
    np.testing.assert_allclose(z, expected - expected[:, :1], atol=1e-5)
    assert np.abs(z).max() > 1e-4
    checkpoint = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert Config(**checkpoint["config"]) == config and checkpoint["epoch"] == 1
    assert list((tmp_path / "tensorboard").rglob("events*"))


def test_metrics_are_the_authors(tmp_path, data, held_out):
    train(SMALL, data, held_out, tmp_path)
    read = rows(tmp_path)
    assert [int(r["epoch"]) for r in read] == [1, 2, 3] and int(read[-1]["iteration"]) == 30
    for r in read:
        values = {k: float(v) for k, v in r.items()}
        assert np.isfinite(list(values.values())).all()
        assert values["acc"] == pytest.approx((values["acc_real"] + values["acc_fake"]) / 2, abs=1e-4)
        assert 0 <= values["loss_heuristic"] <= 1 and values["z_mse"] > 0


def test_supervised_training_learns_the_depths(tmp_path, data):
    config = replace(SMALL, mode="supervised", epochs=30, learning_rate=2e-3)
    train(config, data, data, tmp_path)
    read = rows(tmp_path)
    assert float(read[-1]["val_z_mse"]) < 0.3 * float(read[0]["z_mse"])
    assert float(read[-1]["val_mm"]) < float(read[0]["val_mm"])
    net = load_generator(tmp_path / "lifter.safetensors")
    assert float(read[-1]["val_z_mse"]) == pytest.approx(validated(net, Poses.of(data))["val_z_mse"], rel=1e-4)


def test_the_heuristic_turns_people_the_right_way_round(tmp_path, data, held_out):
    """Without 3D, with the heuristic's weight so high that it must win."""
    config = replace(SMALL, heuristic_loss=20.0, epochs=25, learning_rate=1e-3)
    bare = replace(held_out, positions=None)
    train(config, replace(data, positions=None), bare, tmp_path)
    flat = Poses.of(held_out).flat
    with torch.no_grad():
        right = (facing(flat, load_generator(tmp_path / "lifter.safetensors")(flat)) > 0).float().mean()
    assert right > 0.85  # of people seen from the side hardly anything shows it
    last = rows(tmp_path)[-1]
    assert last["val_mm"] == last["z_mse"] == "nan" and float(last["loss_heuristic"]) < 0.05


class Judge(torch.nn.Module):
    """A discriminator that is always right, or always wrong."""

    def __init__(self, right):
        super().__init__()
        self.sign = 1.0 if right else -1.0
        self.scale = torch.nn.Parameter(torch.ones(1))

    def forward(self, x):
        half = len(x) // 2
        verdict = torch.cat([torch.ones(half, 1), -torch.ones(len(x) - half, 1)]) * self.sign * self.scale
        return verdict + 0 * x.sum(1, keepdim=True)


@pytest.mark.parametrize("right", [True, False])
def test_the_better_player_waits(monkeypatch, tmp_path, data, held_out, right):
    """Above the cap the discriminator does not learn, below 1 - cap the generator does not."""
    make = gan.PoseMLP
    monkeypatch.setattr(gan, "PoseMLP", lambda n, *a: Judge(right) if n == 1 else make(n, *a))
    train(replace(SMALL, epochs=1), data, held_out, tmp_path)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    learned = {k: len(state[f"optimiser_{k}"]["state"]) > 0 for k in ("gen", "dis")}
    assert learned == {"gen": right, "dis": not right}
    row = rows(tmp_path)[0]
    assert (float(row["updates_gen"]), float(row["updates_dis"])) == (right, not right)
    assert float(row["acc"]) == right


def test_each_player_learns_from_its_own_loss_only(data):
    """The step's gradients are those of the plain definition: two passes, the made poses cut off for the second."""
    fabric = gan.Fabric(accelerator="cpu", devices=1)
    sgd = lambda weights, *_, **__: torch.optim.SGD(weights, lr=1.0)  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim, "Adam", sgd)
        players = gan._Players(replace(SMALL, gan_accuracy_cap=1.0), fabric)
    gen, dis = PoseMLP(width=32), PoseMLP(1, width=32)
    gen.load_state_dict(players.nets["gen"].module.state_dict())
    dis.load_state_dict(players.nets["dis"].module.state_dict())
    flat, angles = Poses.of(data).flat[:16], torch.linspace(0, 6, 16)
    players.step(flat, angles, None)
    z = gen(flat)
    fake = turned(flat, z, angles)
    softplus = torch.nn.functional.softplus
    loss = softplus(-dis(fake)).sum() / 16 + heuristic_loss(flat, z)
    of_gen = torch.autograd.grad(loss, list(gen.parameters()))
    loss = softplus(-dis(flat)).sum() / 16 + softplus(dis(fake.detach())).sum() / 16
    of_dis = torch.autograd.grad(loss, list(dis.parameters()))
    for net, name, gradients in ((gen, "gen", of_gen), (dis, "dis", of_dis)):
        for before, after, gradient in zip(net.parameters(), players.weights[name], gradients, strict=True):
            torch.testing.assert_close(before - after, gradient, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("config", [SMALL, replace(SMALL, batch_norm=True), replace(SMALL, mode="supervised")])
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, data, held_out, config):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(config, data, held_out, whole)
    train(replace(config, epochs=1), data, held_out, parts)
    torch.manual_seed(99)
    train(config, data, held_out, parts, resume=True)
    assert rows(parts) == rows(whole)
    a, b = (torch.load(o / "checkpoint.pt", weights_only=True) for o in (whole, parts))
    assert same(a, b)
    assert (whole / "lifter.safetensors").read_bytes() == (parts / "lifter.safetensors").read_bytes()


def test_a_run_killed_within_an_epoch_repeats_that_epoch(tmp_path, data, held_out, monkeypatch):
    """Also where the metrics of an epoch were written and its checkpoint was not."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(SMALL, data, held_out, whole)

    def killed(path, state, config, data, epoch, save=gan.save_checkpoint):
        if epoch == 2:
            raise KeyboardInterrupt
        save(path, state, config, data, epoch)

    with monkeypatch.context() as patch:
        patch.setattr(gan, "save_checkpoint", killed)
        with pytest.raises(KeyboardInterrupt):
            train(SMALL, data, held_out, parts)
    assert len(rows(parts)) == 2
    train(SMALL, data, held_out, parts, resume=True)
    assert rows(parts) == rows(whole)


def test_seeds_differ_and_one_seed_is_one_run(tmp_path, data, held_out):
    config = replace(SMALL, epochs=1)
    for name, c in (("a", config), ("b", config), ("c", replace(config, seed=1))):
        train(c, data, held_out, tmp_path / name)
    assert rows(tmp_path / "a") == rows(tmp_path / "b") != rows(tmp_path / "c")


def test_without_resume_a_run_begins_anew_and_a_finished_one_only_exports(tmp_path, data, held_out):
    config = replace(SMALL, epochs=1)
    path = train(config, data, held_out, tmp_path)
    first = path.read_bytes()
    path.unlink()
    assert train(config, data, held_out, tmp_path, resume=True).read_bytes() == first
    train(config, data, held_out, tmp_path)
    assert len(rows(tmp_path)) == 1


def test_resuming_with_other_options_or_data_is_refused(tmp_path, data, held_out):
    train(replace(SMALL, epochs=1), data, held_out, tmp_path)
    with pytest.raises(InputError, match=r"batch was 16, is 8"):
        train(replace(SMALL, batch=8), data, held_out, tmp_path, resume=True)
    with pytest.raises(InputError, match="other data"):
        train(SMALL, pose_set(120), held_out, tmp_path, resume=True)
    (tmp_path / "checkpoint.pt").write_bytes(b"nothing")
    with pytest.raises(InputError, match="cannot be resumed"):
        train(SMALL, data, held_out, tmp_path, resume=True)


def test_snapshots_are_kept_and_progress_is_told(tmp_path, data, held_out):
    told = []
    train(replace(SMALL, snapshots=2), data, held_out, tmp_path, progress=lambda i, n: told.append((i, n)))
    assert told == [(i + 1, 30) for i in range(30)]
    assert {p.name for p in tmp_path.glob("*.onnx")} == {"epoch_2.onnx", "lifter.onnx"}


def test_one_action_trains_on_that_action(tmp_path, data, held_out):
    train(replace(SMALL, action="walk", epochs=1), data, held_out, tmp_path)
    assert int(rows(tmp_path)[0]["iteration"]) == 5  # half of 160 poses
    with pytest.raises(UnknownNameError, match="all, walk, wave"):
        train(replace(SMALL, action="dance"), data, held_out, tmp_path)


def test_what_cannot_be_trained_says_so(tmp_path, data, held_out):
    with pytest.raises(InputError, match="2D only"):
        train(replace(SMALL, mode="supervised"), data.replaced(positions=None), held_out, tmp_path)
    with pytest.raises(InputError, match="too few"):
        train(SMALL, data.sliced(slice(0, 1)), held_out, tmp_path)
    point = data.replaced(xy=np.ones_like(data.xy), positions=None)
    with pytest.raises(InputError, match="no pose"):
        train(SMALL, point, held_out, tmp_path)


@pytest.mark.parametrize("device", ["abacus", "" if torch.cuda.is_available() else "cuda"])
def test_a_device_that_is_not_there_is_one_line(tmp_path, data, held_out, device):
    with pytest.raises(InputError, match="cpu always can"):
        train(replace(SMALL, device=device), data, held_out, tmp_path)


@pytest.mark.parametrize(
    "wrong", [{"mode": "wgan"}, {"gan_accuracy_cap": 0.4}, {"heuristic_loss": -1.0}, {"batch": 1}, {"epochs": 0}]
)
def test_options_are_checked(wrong):
    with pytest.raises(InputError):
        Config(**wrong)


def test_the_defaults_are_the_authors():
    expected = {"epochs": 20, "batch": 16, "learning_rate": 2e-4, "beta1": 0.5, "weight_decay": 1e-5, "width": 1024,
                "gan_accuracy_cap": 0.9, "batch_norm": False, "activation": "leaky_relu"}  # fmt: skip
    assert expected.items() <= asdict(Config()).items()
    net = PoseMLP()
    assert sum(p.numel() for p in net.parameters()) == 2_152_465  # of the published weights
    assert net.l2.weight.std().item() == pytest.approx(0.02, rel=0.01) and not net.l2.bias.any()


@pytest.mark.parametrize("batch_norm", [False, True])
def test_the_network_is_the_one_in_the_authors_files(tmp_path, batch_norm):
    """Its weights, written under Chainer's names, are read by the loader that Chainer's own answers verify."""
    torch.manual_seed(0)
    net = PoseMLP(width=24, batch_norm=batch_norm, activation="relu").train()
    for _ in range(3):
        net(torch.randn(16, 34))  # batch statistics of their own
    names = {"weight": "gamma", "bias": "beta", "running_mean": "avg_mean", "running_var": "avg_var"}
    arrays = {}
    for key, value in net.state_dict().items():
        layer, _, kind = key.partition(".")
        arrays[f"{layer}/{names.get(kind, kind) if layer[0] == 'b' else kind[0].replace('w', 'W')}"] = value.numpy()
    np.savez(tmp_path / "x.npz", **arrays)
    flat = torch.randn(5, 34)
    with torch.no_grad():
        expected = 50 * net.eval()(flat).numpy()
    said = 50 * load_lifter(f"{tmp_path / 'x.npz'}?activation=relu").lift_normalised(flat.reshape(5, 17, 2).numpy())
    np.testing.assert_allclose(said, expected, atol=1e-5)


def test_weights_of_something_else_are_refused(tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(2)}, path, {"format": "other"})
    with pytest.raises(InputError, match="generator's weights"):
        load_generator(path)
    path.write_bytes(json.dumps({}).encode())
    with pytest.raises(InputError, match="generator's weights"):
        load_generator(path)
