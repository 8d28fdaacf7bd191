"""Bodies varied and seen from elsewhere: what each variation changes and leaves alone; training on them helps."""

import dataclasses

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'train'")

from kinelift.datasets.base import PoseSet, View  # noqa: E402
from kinelift.errors import InputError  # noqa: E402
from kinelift.skeleton import H36M17  # noqa: E402
from kinelift.training.projection import body, elepose, varied  # noqa: E402
from kinelift.training.projection.flow import PoseFlow  # noqa: E402
from kinelift.training.projection.seen import moved, turn_x  # noqa: E402

STILL = varied.Config(bones=0, widths=0, swing=0, swapped=0, tumbled=0, elevation=0, zoom=0, kept=0)
TILT = -0.2


@pytest.fixture(scope="module")
def bodies():
    """64 bodies of a person's bones in wild poses, under cameras that look down by 0.2."""
    g = torch.Generator().manual_seed(1)
    bones = torch.randn(64, 16, 3, generator=g)
    x = body.jointed(bones / bones.norm(dim=-1, keepdim=True) * body.rest_bones()[:, None])
    return varied.Bodies(x, torch.full((64,), 9.0), torch.full((64,), TILT))


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    flow = PoseFlow(10, 24, hidden=8, layers=1).requires_grad_(False)
    return elepose.Trained(elepose.EleposeNet(48), flow, body.rest_bones(), (TILT, 0.1), 0.2)


def made(bodies, trained, **other):
    config = dataclasses.replace(STILL, **other)
    return varied.varied(bodies, trained, config, torch.Generator().manual_seed(0))


def level(bodies):
    return moved(turn_x(torch.nan_to_num(bodies.elevation)), bodies.x)


def test_a_turned_body_is_itself_from_elsewhere(bodies, trained):
    """Heights above the ground, or the mirror image's, and bones stay; depths do not."""
    out = made(bodies, trained)
    y, was = level(out)[..., 1], level(bodies)[..., 1]
    same = ((y - was).abs().amax(1) < 1e-4) | ((y - was[:, body.MIRROR]).abs().amax(1) < 1e-4)
    assert same.all()
    lengths, before = body.bone_lengths(out.x), body.bone_lengths(bodies.x)
    torch.testing.assert_close(lengths, before, atol=1e-4, rtol=0)
    assert (out.x[..., 2] - bodies.x[..., 2]).abs().mean() > 0.3
    assert torch.equal(out.distance, bodies.distance)
    torch.testing.assert_close(out.elevation, bodies.elevation)


def test_kept_bodies_are_those_seen_or_their_mirror_images(bodies, trained):
    out = made(bodies, trained, kept=1.0, bones=0.3, zoom=0.3)
    mirror = bodies.x[:, body.MIRROR] * torch.tensor([-1.0, 1.0, 1.0])
    plain, flipped = ((out.x == x).all((1, 2)) for x in (bodies.x, mirror))
    assert (plain | flipped).all() and plain.any() and flipped.any()
    assert torch.equal(out.distance, bodies.distance)


def test_other_proportions_are_the_same_left_and_right(bodies, trained):
    lengths = body.bone_lengths(made(bodies, trained, bones=0.2, widths=0.2).x)
    torch.testing.assert_close(lengths, lengths[:, body.BONE_MIRROR], atol=1e-4, rtol=0)
    change = (lengths / body.bone_lengths(bodies.x)).log()
    assert 0.1 < change.std() < 0.3
    torch.testing.assert_close(lengths.mean(1), body.bone_lengths(bodies.x).mean(1), atol=1e-3, rtol=0)


def test_tumbled_bodies_have_no_elevation(bodies, trained):
    out = made(bodies, trained, tumbled=1.0)
    assert out.elevation.isnan().all()
    across = (out.x[:, :, None] - out.x[:, None]).norm(dim=-1)
    was = (bodies.x[:, :, None] - bodies.x[:, None]).norm(dim=-1)
    same = ((across - was).abs().amax((1, 2)) < 1e-3) | (
        (across - was[:, body.MIRROR][:, :, body.MIRROR]).abs().amax((1, 2)) < 1e-3
    )
    assert same.all()


def test_legs_of_another_keep_their_bend():
    g = torch.Generator().manual_seed(2)
    bones, other = torch.randn(8, 16, 3, generator=g), torch.arange(8).roll(1)
    out = varied._with_legs(bones, torch.tensor([True] * 4 + [False] * 4), other)
    assert torch.equal(out[4:], bones[4:]) and torch.equal(out[:, varied._TRUNK], bones[:, varied._TRUNK])
    legs, theirs = out[:4, varied._LEGS], bones[other][:4, varied._LEGS]
    torch.testing.assert_close(legs @ legs.transpose(1, 2), theirs @ theirs.transpose(1, 2), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(legs[..., 1], theirs[..., 1])
    across = [b[:4, H36M17.index("LHip") - 1] - b[:4, H36M17.index("RHip") - 1] for b in (out, bones)]
    a, b = (torch.nn.functional.normalize(v[:, ::2], dim=-1) for v in across)
    torch.testing.assert_close(a, b, atol=1e-4, rtol=0)


def test_limbs_swing_about_their_joints():
    bones = torch.randn(5, 16, 3, generator=torch.Generator().manual_seed(3))
    angles = torch.zeros(5, 9, 3)
    angles[:, 5] = 0.7  # the right shank
    out = varied._swung(bones, angles)
    shank = H36M17.index("RFoot") - 1
    others = [b for b in range(16) if b != shank]
    torch.testing.assert_close(out[:, others], bones[:, others])
    torch.testing.assert_close(out.norm(dim=-1), bones.norm(dim=-1))
    assert (out[:, shank] - bones[:, shank]).norm(dim=-1).min() > 0.1


def test_strained_poses_are_not_used(bodies, trained):
    """Swung by anything, nobody is further beyond a person's range of motion than before."""
    out = made(bodies, trained, swing=2.0)
    strain = [varied._strain(level(b)[:, body.ENDS] - level(b)[:, body.STARTS], trained) for b in (out, bodies)]
    assert (strain[0] < strain[1] + varied._STRAINED + 1e-3).all()
    assert (body.bone_lengths(out.x) - body.bone_lengths(bodies.x)).abs().max() < 1e-3


def test_training_on_varied_bodies_lowers_their_error(bodies, trained, tmp_path, monkeypatch):
    """A lifter that knew four bodies by heart teaches them as seen from anywhere; 3D of the set is not there at all."""
    x = bodies.x[:4].repeat(16, 1, 1)
    xy = (x[..., :2] * 9 / (9 + x[..., 2:])).numpy()
    poses = PoseSet.from_views("bodies", [View(p[None], None) for p in xy], None)
    elepose.save_trained(trained, {}, tmp_path / "elepose.pt")
    monkeypatch.setattr(elepose.Trained, "lift", lambda self, seen: x)
    config = dataclasses.replace(STILL, steps=80, batch=32, learning_rate=5e-3, bones=0.05)
    path = varied.train(config, tmp_path / "elepose.pt", poses, poses, tmp_path / "out")
    after = elepose.load_trained(path.parent / "elepose.pt")
    assert after.elevation == trained.elevation and after.nose_ahead == trained.nose_ahead and path.is_file()
    batch = made(bodies, trained, bones=0.05)
    batch = varied.Bodies(batch.x[:4], batch.distance[:4], batch.elevation[:4])
    with torch.no_grad():
        losses = [float(varied._loss(t.net, batch)) for t in (trained, after)]
    assert losses[1] < 0.8 * losses[0]


@pytest.mark.parametrize("wrong", [{"batch": 1}, {"steps": 0}, {"threads": 0}])
def test_wrong_options_are_refused(wrong):
    with pytest.raises(InputError):
        varied.Config(**wrong)
