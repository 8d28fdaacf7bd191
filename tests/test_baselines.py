"""The baselines: how many frames each sees, what comes out, that they learn, and that they export like ours."""

import copy

import numpy as np
import pytest

from kinelift.camera import Camera
from kinelift.lift import load_lifter
from kinelift.lift.rays import FEATURES, OPINION
from kinelift.records import Pose2D
from kinelift.skeleton import BODY26

torch = pytest.importorskip("torch")
from kinelift.training.baselines import BASELINES, SingleFrameNet, VideoPose3DNet  # noqa: E402
from kinelift.training.export import export  # noqa: E402

SMALL = {"single-frame": lambda: SingleFrameNet(32), "videopose3d": lambda: VideoPose3DNet(32)}
REACH = {"single-frame": 0, "videopose3d": 13}


def inputs(clips, frames):
    """Random features and a detector's random own 3D."""
    return torch.randn(clips, frames, FEATURES), torch.randn(clips, frames, OPINION)


@pytest.fixture(scope="module", params=BASELINES)
def named(request):
    """(name, network in evaluation mode with batch statistics of some data)."""
    torch.manual_seed(0)
    net = SMALL[request.param]()
    for _ in range(5):
        net(*inputs(4, 40))
    return request.param, net.eval()


@torch.no_grad()
def changed_frames(net, frame, frames=80):
    torch.manual_seed(1)
    x = inputs(1, frames)
    changed = torch.zeros(frames, dtype=torch.bool)
    for which in (0, 1):
        y = [v.clone() for v in x]
        y[which][:, frame] += 1.0
        for a, b in zip(net(*x), net(*y), strict=True):
            changed |= (a != b).reshape(frames, -1).any(-1)
    return np.flatnonzero(changed.numpy())


@pytest.mark.parametrize("frame", [40, 30, 5, 79])
def test_receptive_field_is_exactly_1_and_27_frames(named, frame):
    name, net = named
    reach = REACH[name]
    expected = np.arange(max(frame - reach, 0), min(frame + reach, 79) + 1)
    np.testing.assert_array_equal(changed_frames(net, frame), expected)


@torch.no_grad()
def test_outputs_have_the_shapes_and_meaning_of_our_network(named):
    _, net = named
    for frames in (1, 2, 64):
        positions, log_sigma, gravity, contact, distance = net(*inputs(3, frames))
        assert positions.shape == (3, frames, 26, 3) and log_sigma.shape == (3, frames, 26)
        assert contact.shape == (3, frames, 4) and distance.shape == (3, frames)
        assert positions[..., 0, :].abs().max() == 0
        torch.testing.assert_close(gravity.norm(dim=-1), torch.ones(3, frames))


@torch.no_grad()
def test_held_ends_make_a_still_clip_the_same_in_every_frame(named):
    _, net = named
    for out in net(*(v.expand(-1, 50, -1) for v in inputs(1, 1))):
        torch.testing.assert_close(out, out[:, :1].expand_as(out), atol=1e-5, rtol=1e-4)


def test_default_sizes_are_those_of_the_papers_or_stated():
    millions = {n: sum(p.numel() for p in c().parameters()) / 1e6 for n, c in BASELINES.items()}
    assert 4.2 < millions["single-frame"] < 4.6 and 2.2 < millions["videopose3d"] < 2.5


def test_they_learn_in_mixed_precision(named):
    net = copy.deepcopy(named[1]).train()
    torch.manual_seed(2)
    x, own = inputs(4, 32)
    target = 0.3 * x[..., :25, None].expand(-1, -1, -1, 3)
    optimiser = torch.optim.AdamW(net.parameters(), 3e-3)
    losses = []
    for _ in range(60):
        with torch.autocast("cpu", torch.bfloat16):
            positions = net(x, own).positions[:, :, 1:]
        assert positions.dtype == torch.float32  # millimetres need more than bfloat16's eight bits
        loss = (positions - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.parametrize("own_3d", [False, True])
def test_export_round_trip(named, own_3d, tmp_path, look_at, walk):
    """The file gives what the network gives, at other lengths than it was traced with, and lifts a walk."""
    import onnxruntime as ort

    name, net = named
    path = export(net, tmp_path / f"{name}.onnx", {"network": name}, {}, own_3d, "random numbers")
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for frames in (1, 31, 100):
        x, own = inputs(2, frames)
        with torch.no_grad():
            said = net(x, own if own_3d else torch.zeros_like(own))
        given = {"features": x.numpy()} | ({"opinion": own.numpy()} if own_3d else {})
        got = dict(zip([o.name for o in session.get_outputs()], session.run(None, given), strict=True))
        np.testing.assert_allclose(got["positions"], said.positions, atol=2e-3)
        np.testing.assert_allclose(got["sigma"], said.log_sigma.exp(), rtol=5e-3)
        np.testing.assert_allclose(got["gravity"], said.gravity, atol=2e-3)
        np.testing.assert_allclose(got["contact"], said.contact.sigmoid(), atol=2e-3)
    times = np.arange(45) / 30.0
    camera = look_at([0, 1.2, 5.0], [0, 0.9, 0.5])
    xy = camera.project(walk(times))
    pose = Pose2D(BODY26, xy, np.ones(xy.shape[:2]), times, camera.image_size)
    lifted = load_lifter(str(path)).lift(pose, Camera.from_focal(camera.focal_px, camera.image_size))
    assert lifted.positions.shape == (45, 26, 3) and (lifted.sigma > 0).all()
