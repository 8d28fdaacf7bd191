"""Real 2D poses in the training: windows of standing people, a loss that reaches the network, and only it."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from kinelift.errors import InputError  # noqa: E402
from kinelift.training.network import TemporalNet  # noqa: E402
from kinelift.training.real_poses import RealPoses  # noqa: E402


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    rng = np.random.default_rng(0)
    trunk = [[0, 0], [-8, 0], [-9, 40], [-9, 80], [8, 0], [9, 40], [9, 80], [0, -50], [0, -50], [0, -65], [0, -80]]
    arms = [[18, -48], [26, -20], [30, 5], [-18, -48], [-26, -20], [-30, 5]]
    figure = np.array(trunk + arms)
    poses = figure * rng.uniform(1, 3, (60, 1, 1)) + rng.normal(0, 4, (60, 17, 2)) + 200
    path = tmp_path_factory.mktemp("poses") / "mpii.npy"
    np.save(path, poses.reshape(60, 34).astype(np.float32))
    return path


def test_the_loss_teaches_the_network_to_project_onto_what_is_seen(file):
    torch.manual_seed(0)
    real, net = RealPoses(file, windows=4, prior_steps=5), TemporalNet(32, 32)
    before = [p.clone() for p in real.prior.parameters()]
    optimiser = torch.optim.AdamW(net.parameters(), 3e-3)
    losses = []
    for step in range(40):
        optimiser.zero_grad()
        loss = real.loss(net, np.random.default_rng(step))
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:3])
    assert all(torch.equal(a, b) for a, b in zip(before, real.prior.parameters(), strict=True))


def test_it_draws_the_same_for_the_same_seed(file):
    torch.manual_seed(0)
    real, net = RealPoses(file, windows=3, prior_steps=2), TemporalNet(32, 32)
    a, b, c = (real.loss(net, np.random.default_rng(s)).item() for s in (1, 1, 2))
    assert a == b != c


def test_a_bad_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.npy"):
        RealPoses(tmp_path / "none.npy", 4)
