"""Lifting without 3D: geometry as round trips, anatomy that knows front from back, training that never sees truth."""

import dataclasses
import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'train'")

from kinelift.camera import Camera  # noqa: E402
from kinelift.datasets.base import PoseSet, View  # noqa: E402
from kinelift.errors import InputError  # noqa: E402
from kinelift.lift.onnx import OnnxLifter  # noqa: E402
from kinelift.records import Pose2D  # noqa: E402
from kinelift.skeleton import BODY26, H36M17, joint_map  # noqa: E402
from kinelift.training.projection import body, clips, elepose  # noqa: E402
from kinelift.training.projection.flow import PoseFlow, fit_flow  # noqa: E402
from kinelift.training.projection.seen import Seen, lifted, moved, orbiting, projected, shaped, turn_y  # noqa: E402

SMALL = elepose.Config(steps=6, batch=16, width=24, flow_steps=5)
FLIP = torch.tensor([1.0, 1.0, -1.0])


@pytest.fixture(scope="module")
def poses(walk, look_at):
    """A walk of 25 frames seen by three cameras, as a set with its truth."""
    world = np.einsum("hb,tbc->thc", joint_map(BODY26, H36M17), np.nan_to_num(walk(np.arange(25) / 15.0)))
    views = []
    for place in ([3.0, 1.5, 3.0], [-2.0, 1.6, 4.0], [0.5, 1.4, -4.0]):
        camera = look_at(place, [0.0, 0.9, 0.5])
        seen = camera.to_camera(world)
        views.append(View(camera.project_camera(seen), seen, "walk", camera))
    return PoseSet.from_views("walk", views, 15.0)


@pytest.fixture(scope="module")
def true(poses):
    """(N, 17, 3) root-relative, camera axes, metres."""
    return torch.tensor(poses.positions - poses.positions[:, :1])


@pytest.fixture(scope="module")
def seen(poses):
    return Seen.of(poses)


@pytest.fixture(scope="module")
def trained(poses, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    elepose.train(SMALL, poses, poses, out)
    return elepose.load_trained(out / "elepose.pt"), out


def error_mm(x, true):
    """Mean error after one scale a frame."""
    scale = (x * true).sum((1, 2)) / (x * x).sum((1, 2))
    return 1000 * float((x * scale[:, None, None] - true).norm(dim=-1).mean())


def test_true_depths_lift_to_the_truth(poses, seen, true):
    aimed = seen.in_aimed(torch.tensor(poses.positions))
    hip = torch.tensor(np.linalg.norm(poses.positions[:, 0], axis=-1))
    unit = (hip / seen.distance)[:, None]
    x = lifted(seen.flat, aimed[..., 2] / unit, seen.distance)
    torch.testing.assert_close(x * unit[..., None], aimed, atol=2e-4, rtol=0)
    torch.testing.assert_close(projected(x, seen.distance), seen.flat, atol=1e-5, rtol=0)
    torch.testing.assert_close(seen.in_camera(aimed), true, atol=1e-5, rtol=0)


def test_poses_of_unknown_lens_keep_their_shape(poses):
    views = [View(7 * poses.xy[poses.sequence == i] + 90, None) for i in range(3)]
    seen = Seen.of(PoseSet.from_views("pictures", views, None))
    assert not seen.placed and (seen.distance == 10).all()
    shape, _ = shaped(torch.tensor(poses.xy - poses.xy[:, :1]))
    torch.testing.assert_close(seen.flat, shape, atol=1e-4, rtol=0)
    torch.testing.assert_close(seen.rotation, torch.eye(3).expand(len(seen), 3, 3))


def test_joints_on_one_spot_are_refused(poses):
    with pytest.raises(InputError, match="coincide"):
        Seen.of(PoseSet.from_views("dots", [View(np.zeros((2, 17, 2)), None)], None))


def test_orbit_levels_turns_and_looks_from_anew():
    angle = torch.tensor([0.3])
    torch.testing.assert_close(orbiting(angle, torch.zeros(1), angle)[0], torch.eye(3))
    x = torch.randn(4, 17, 3)
    R = orbiting(*torch.randn(3, 4))
    torch.testing.assert_close(moved(R.transpose(1, 2), moved(R, x)), x, atol=1e-5, rtol=1e-4)
    up = moved(orbiting(angle, torch.ones(1), 0 * angle), torch.tensor([[[0.0, -1.0, 0.0]]]))
    assert torch.allclose(up[0, 0, 1], -angle.cos()[0])


def test_rest_bones_are_a_persons():
    rest = body.rest_bones()
    assert rest.mean() == pytest.approx(1) and torch.equal(rest, rest[body.BONE_MIRROR])
    knee, wrist = (rest[H36M17.index(j) - 1] for j in ("LKnee", "LWrist"))
    assert knee > 1.4 * wrist


def test_anatomy_tells_front_from_back(true):
    """A body mirrored in depth has the same picture; only strain tells."""
    for strain in (body.trunk_strain, body.limb_strain):
        assert strain(true).mean() < 0.05 < 0.3 < strain(true * FLIP).mean()
        torch.testing.assert_close(strain(2.5 * true + 1), strain(true), atol=1e-4, rtol=0)


def test_mirrored_bodies_are_as_strained(true):
    bent = true + 0.2 * torch.randn(true.shape, generator=torch.Generator().manual_seed(0))
    mirror = bent[:, body.MIRROR] * torch.tensor([-1.0, 1.0, 1.0])
    for strain in (body.trunk_strain, body.limb_strain):
        assert strain(bent).max() > 0.1
        torch.testing.assert_close(strain(mirror), strain(bent), atol=1e-4, rtol=0)


def test_flow_integrates_as_a_density_does(seen):
    """Couplings and basis: the likelihood's change is the Jacobian's, by finite differences of a 4-dimensional one."""
    torch.manual_seed(0)
    flow = PoseFlow(4, 30, hidden=8, layers=3).double()
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(0.4 * torch.randn_like(p))
    flow.basis.copy_(torch.eye(34)[:, :4])
    flow.rest.copy_(torch.eye(34)[:, 4:])
    x = torch.randn(34, dtype=torch.float64)

    def white(a):
        z, change = a[None, :4], 0
        for c in flow.couplings:
            z, more = c(z)
            change = change + more
        return z[0], change

    jacobian = torch.autograd.functional.jacobian(lambda a: white(a)[0], x)[:, :4]
    z, _ = white(x)
    expected = 0.5 * (z.square().sum() + x[4:].square().sum()) - torch.linalg.slogdet(jacobian)[1]
    torch.testing.assert_close(flow(x.reshape(1, 17, 2))[0], expected)


def test_what_never_varies_may_not_vary(seen):
    """The spine is halfway up in every pose seen: elsewhere it is unlikely, unless those components are left out."""
    off = seen.flat.clone()
    off[:, H36M17.index("Spine"), 0] += 0.3
    full, published = fit_flow(seen.flat, 30), fit_flow(seen.flat, 30, dimensions=6)
    assert (full(off) - full(seen.flat)).mean() > 10
    assert (published(off) - published(seen.flat)).mean() < (full(off) - full(seen.flat)).mean() / 2


def test_a_path_is_the_cheapest_of_all():
    rng = np.random.default_rng(0)
    clip = np.array([0, 0, 0, 0, 1, 2, 2, 2])
    cost, between = rng.normal(size=(8, 3)), rng.normal(size=(7, 3, 3))

    def total(path):
        steps = sum(between[t - 1, path[t], path[t - 1]] for t in range(1, 8) if clip[t] == clip[t - 1])
        return cost[np.arange(8), list(path)].sum() + steps

    best = min(itertools.product(range(3), repeat=8), key=total)
    assert clips.likeliest_path(cost, between, clip).tolist() == list(best)


def test_pieces_are_whole_clips(monkeypatch):
    monkeypatch.setattr(clips, "_FRAMES", 10)
    sequence = np.repeat([0, 1, 2, 3], [4, 5, 25, 3])
    pieces = clips._pieces(sequence)
    assert [(p.start, p.stop) for p in pieces] == [(0, 9), (9, 34), (34, 37)]
    assert [(p.start, p.stop) for p in clips._pieces(np.zeros(30, int))] == [(0, 30)]


def test_limbs_swapped_in_depth_stay_on_their_rays(poses, seen):
    x = torch.tensor(poses.positions)
    choices = clips._directions(x, seen.rays, clips.LIMBS[0])
    torch.testing.assert_close(choices[0], x, atol=1e-5, rtol=0)
    for c in choices:
        torch.testing.assert_close(c[..., :2] / c[..., 2:], seen.rays, atol=1e-5, rtol=0)
    knee, hip = H36M17.indices("RKnee", "RHip")
    depth = [c[:, knee, 2] - c[:, hip, 2] for c in choices]
    torch.testing.assert_close(depth[2], -depth[0], atol=1e-5, rtol=0)


def test_clip_fit_finds_lost_depth(poses, seen, true, trained):
    """Depths pressed to 60 % come back with the bones' lengths; the joints never leave their rays."""
    model, unit = trained[0], body.bone_lengths(true).mean()
    pressed = torch.tensor(poses.positions) / unit
    z = pressed[:, :1, 2] + 0.6 * (pressed[..., 2] - pressed[:, :1, 2])
    start = clips._on_rays(seen.rays, z)
    level, terms = torch.zeros(len(seen)), clips.Terms(start=3.0, proportions=0.06)
    fitted = clips._fitted(model, seen, level, start, terms, 150, likely=False)
    torch.testing.assert_close(fitted[..., :2] / fitted[..., 2:], seen.rays, atol=1e-4, rtol=0)
    before, after = (error_mm(x - x[:, :1], true) for x in (start, fitted))
    assert after < 0.9 * before
    short = [(body.bone_lengths(x) - body.bone_lengths(true) / unit).abs().mean() for x in (start, fitted)]
    assert short[1] < 0.4 * short[0]


def test_clips_lift_alike_alone_and_together(poses, trained, monkeypatch):
    """Without random views every clip's fit is its own."""
    model, terms = trained[0], clips.Terms(rounds=0, steps=8)
    whole = clips.lift_clips(model, Seen.of(poses), terms)
    alone = torch.cat([clips.lift_clips(model, Seen.of(poses.sliced(poses.sequence == i)), terms) for i in range(3)])
    torch.testing.assert_close(whole, alone, atol=2e-3, rtol=0)
    once = clips.lift_clips(model, Seen.of(poses), clips.Terms(rounds=1, steps=4, views=2))
    assert once.shape == (len(poses), 17, 3) and once.isfinite().all() and (once[:, 0] == 0).all()


def test_likelihood_is_the_poses_not_the_bodys(seen, true, trained):
    """Narrow shoulders make a pose no less likely; a trunk that leans does."""
    aimed, level, azimuth = seen.in_aimed(true), torch.zeros(len(true)), torch.linspace(0, 6, len(true))
    narrow = body.bone_lengths(aimed).clone()
    narrow[:, [j - 1 for j in H36M17.indices("LShoulder", "RShoulder")]] *= 0.5
    other = body.with_bones(aimed, narrow)
    torch.testing.assert_close(body.bone_lengths(other), narrow, atol=1e-4, rtol=0)
    nats = [clips.unlikeliness(trained[0], x, level, azimuth, 0 * azimuth) for x in (aimed, other, aimed.roll(1, 2))]
    torch.testing.assert_close(nats[1], nats[0], atol=1e-2, rtol=1e-3)
    assert (nats[2] - nats[0]).abs().mean() > 1


def test_clip_means():
    means = clips._clip_means(torch.tensor([1.0, 3.0, 5.0, 7.0, 9.0]), torch.tensor([0, 0, 1, 1, 1]))
    assert means.tolist() == [2, 2, 7, 7, 7]


def test_bones_are_read_off_upright_poses():
    """A standing body seen from all around, with arms that swing: its proportions come back from 2D."""
    g = torch.Generator().manual_seed(0)
    direction = torch.zeros(16, 3)
    direction[:, 1] = torch.tensor([1.0 if "Knee" in H36M17.joints[j] or "Foot" in H36M17.joints[j] else -1.0
                                    for j in body.ENDS])  # fmt: skip
    for joint in ("RHip", "LHip", "RShoulder", "LShoulder"):
        direction[H36M17.index(joint) - 1] = torch.tensor([1.0 if joint[0] == "L" else -1.0, 0, 0])
    direction = direction.expand(600, 16, 3).clone()
    for joint in ("RElbow", "RWrist", "LElbow", "LWrist"):
        swing = torch.randn(600, 3, generator=g) * 0.4 + torch.tensor([0.0, 1.0, 0.0])
        direction[:, H36M17.index(joint) - 1] = torch.nn.functional.normalize(swing, dim=-1)
    lengths = body.rest_bones()
    lengths[[j - 1 for j in H36M17.indices("Spine", "Thorax")]] *= 1.3
    x = moved(turn_y(6.3 * torch.rand(600, generator=g)), body.jointed(direction * lengths[:, None]))
    found = body.seen_bones(x[..., :2])
    assert (found / (lengths / lengths.mean())).log().abs().max() < 0.12
    torch.testing.assert_close(body.seen_bones(x[:50, :, :2]), body.rest_bones())


def test_training_never_looks_at_3d(poses, trained, tmp_path):
    blind = poses.replaced(positions=None)
    elepose.train(SMALL, blind, blind, tmp_path)
    a, b = trained[0].net.state_dict(), elepose.load_trained(tmp_path / "elepose.pt").net.state_dict()
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_a_stopped_run_goes_on_bit_for_bit(poses, tmp_path, monkeypatch):
    monkeypatch.setattr(elepose, "ROUND", 2)
    elepose.train(SMALL, poses, poses, tmp_path / "whole")

    class StopError(Exception):
        pass

    def stop(done, total):
        if done == SMALL.flow_steps + 4:
            raise StopError

    with pytest.raises(StopError):
        elepose.train(SMALL, poses, poses, tmp_path / "cut", progress=stop)
    elepose.train(SMALL, poses, poses, tmp_path / "cut", resume=True)
    runs = [elepose.load_trained(tmp_path / n / "elepose.pt") for n in ("whole", "cut")]
    a, b = (r.net.state_dict() | r.flow.state_dict() for r in runs)
    assert all(torch.equal(a[k], b[k]) for k in a)
    with pytest.raises(InputError, match="width"):
        elepose.train(dataclasses.replace(SMALL, width=32), poses, poses, tmp_path / "cut", resume=True)


def test_longer_training_lowers_its_losses(poses, tmp_path, monkeypatch):
    monkeypatch.setattr(elepose, "ROUND", 30)
    elepose.train(dataclasses.replace(SMALL, steps=120, width=64, batch=32), poses, poses, tmp_path)
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    name = lines[0].split(",")
    first, last = (dict(zip(name, map(float, row.split(",")), strict=True)) for row in (lines[1], lines[-1]))
    for loss in ("clip_bones", "trunk", "limbs"):
        assert last[loss] < 0.8 * first[loss]


def test_the_file_lifts_as_the_network_does(poses, seen, trained):
    """ONNX is given the shape as it is, the network the same: depths agree."""
    model, out = trained
    lifter = OnnxLifter(out / "lifter.onnx")
    camera = Camera.from_focal(1000.0, (2000, 2000))
    xy = camera.rays_to_pixels(seen.flat[:4].numpy().astype(float) * 0.1)
    said = lifter.lift(Pose2D(H36M17, xy, np.ones((4, 17)), np.arange(4) / 15.0, (2000, 2000)), camera)
    with torch.no_grad():
        depths = elepose.BothSides(model.net)(seen.flat[:4].flatten(1))
    np.testing.assert_allclose(said.positions[..., 2], depths.numpy(), atol=1e-4)


def test_mirrored_poses_lift_to_mirrored_bodies(seen, trained):
    net = elepose.BothSides(trained[0].net)
    with torch.no_grad():
        depths, other = (net(f.flatten(1)) for f in (seen.flat, body.mirrored(seen.flat)))
    torch.testing.assert_close(other[:, body.MIRROR], depths, atol=1e-5, rtol=0)
    assert depths[:, 1:].abs().max() > 1e-3


def test_published_terms_are_elepose_s():
    config = elepose.Config.published(steps=7)
    assert config.steps == 7 and config.dimensions == 26 and config.proportions == 50
    assert config.clip_bones == config.symmetry == config.trunk == config.limbs == config.level == 0


@pytest.mark.parametrize("wrong", [{"batch": 1}, {"steps": 0}, {"blur": 0.0}])
def test_wrong_options_are_refused(wrong):
    with pytest.raises(InputError):
        elepose.Config(**wrong)


@pytest.mark.parametrize("content", [None, b"", b"net"])
def test_foreign_files_are_refused(tmp_path, content):
    path = tmp_path / "elepose.pt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"elepose\.pt") as e:
        elepose.load_trained(path)
    assert "\n" not in str(e.value)
