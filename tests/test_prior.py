"""The pose prior as a density, and the losses that need no 3D as laws of projection."""

import numpy as np
import pytest
import torch

from kinelift import metrics
from kinelift.errors import InputError
from kinelift.lift.rays import INPUT_JOINTS, OPINION, encode, input_joints
from kinelift.skeleton import BODY26
from kinelift.training import unlabelled
from kinelift.training.actions import generate_actions
from kinelift.training.network import Prediction
from kinelift.training.prior import (
    PRIOR_JOINTS,
    PosePrior,
    as_rays,
    fit_prior,
    load_prior,
    read_mpii,
    save_prior,
)
from kinelift.training.views import described, random_cameras

B = BODY26.index
FILE_ORDER = (
    "pelvis", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "neck", "thorax", "head",
    "crown", "left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist",
)  # fmt: skip


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def seen():
    """Generated actions in camera axes (12, 40, 26, 3), gravity there (12, 3), contact."""
    positions, contact = generate_actions(rng(3), 12, 40)
    x, gravity = random_cameras(rng(4), positions.astype(float))
    return x, gravity, contact


@pytest.fixture(scope="module")
def poses():
    """(N, 13, 2) projections of generated actions."""
    x, _ = random_cameras(rng(6), generate_actions(rng(5), 80, 12)[0][:, ::3].astype(float))
    x = x[..., BODY26.indices(*PRIOR_JOINTS), :].reshape(-1, len(PRIOR_JOINTS), 3)
    return x[..., :2] / x[..., 2:]


@pytest.fixture(scope="module")
def prior(poses):
    return fit_prior(poses, steps=80)


def batch_of(seen):
    """What a faultless detector sees, and the truth in the aimed axes."""
    x, gravity, contact = seen
    true = input_joints(x)
    return described(
        true[..., :2] / true[..., 2:], np.ones(true.shape[:3]), np.zeros((*x.shape[:2], OPINION)), x, gravity[:, None],
        contact,
    )  # fmt: skip


def answer(batch):
    """The truth as a prediction."""
    p, g, c, d = (torch.from_numpy(getattr(batch, k)) for k in ("positions", "gravity", "contact", "distance"))
    return Prediction(p, torch.zeros(p.shape[:3]), g, c, d)


@pytest.fixture
def small():
    """A flow of 6 dimensions whose weights are far from where they start."""
    torch.manual_seed(1)
    flow = PosePrior(6, hidden=16, layers=4).double()
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(0.5 * torch.randn_like(p))
    return flow


def test_flow_is_invertible(small):
    x = torch.randn(20, 6, dtype=torch.float64)
    z, _ = small(x)
    assert (z - x).abs().mean() > 0.1
    torch.testing.assert_close(small.inverse(z), x)


def test_log_determinant_is_that_of_the_jacobian(small):
    x = torch.randn(5, 6, dtype=torch.float64)
    _, change = small(x)
    for row, said in zip(x, change, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda v: small(v[None])[0][0], row)
        torch.testing.assert_close(torch.linalg.slogdet(jacobian)[1], said)


def test_place_and_size_of_a_pose_do_not_matter(prior, poses):
    x = torch.tensor(poses[:50], dtype=torch.float32)
    torch.testing.assert_close(prior.log_prob(300 * x + 70), prior.log_prob(x), rtol=1e-3, atol=1e-2)
    assert prior.log_prob(x.reshape(5, 10, 13, 2)).shape == (5, 10)


def test_poses_are_likelier_than_shuffled_or_upside_down_ones(prior, poses):
    x = torch.tensor(poses, dtype=torch.float32)
    real = prior.log_prob(x).median()
    shuffled = x[:, torch.randperm(13, generator=torch.Generator().manual_seed(0))]
    assert real > prior.log_prob(shuffled).median() + 15
    assert real > prior.log_prob(x * torch.tensor([1.0, -1.0])).median() + 5
    assert real == pytest.approx(float(prior.typical), abs=8)


def test_fit_repeats_itself(poses):
    a, b = (fit_prior(poses[:200], steps=3, seed=4).state_dict() for _ in range(2))
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_prior_comes_back_from_its_file(prior, poses, tmp_path):
    save_prior(prior, tmp_path / "prior.npz")
    x = torch.tensor(poses[:20], dtype=torch.float32)
    assert torch.equal(load_prior(tmp_path / "prior.npz").log_prob(x), prior.log_prob(x))


def test_foreign_priors_are_refused(tmp_path):
    files = {"none.npz": None, "text.npz": b"poses", "empty.npz": b""}
    for name, content in files.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
    np.savez(tmp_path / "other.npz", format="x")
    np.savez(tmp_path / "hollow.npz", format="kinelift-prior/1", basis=np.zeros((26, 4)))
    for path in [*(tmp_path / f for f in files), tmp_path / "other.npz", tmp_path / "hollow.npz"]:
        with pytest.raises(InputError, match=path.name) as e:
            load_prior(path)
        assert "\n" not in str(e.value)


def test_mpii_columns_go_to_their_joints(tmp_path):
    pose = np.array([[10.0 * i, i * i] for i in range(17)])
    np.save(tmp_path / "p.npy", np.repeat(pose.reshape(1, 34), 3, 0).astype(np.float32))
    read = read_mpii(tmp_path / "p.npy")
    assert read.shape == (3, 13, 2)
    hips = [FILE_ORDER.index(f"{s}_hip") for s in ("left", "right")]
    middle = pose[hips].mean(0)
    for joint, xy in zip(PRIOR_JOINTS, read[1], strict=True):
        given = pose[FILE_ORDER.index(joint)]
        if "hip" in joint:
            np.testing.assert_allclose(xy - middle, 0.78 * (given - middle))
        else:
            np.testing.assert_allclose(xy, given)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((5, 32), np.float32), "34"),
        (np.zeros(34, np.float32), "34"),
        (np.full((5, 34), np.nan, np.float32), "finite"),
        (np.zeros((5, 34), "U3"), "finite"),
        (np.ones((1, 34), np.float32), "1 poses"),
        (np.array([{}] * 34), "cannot be read"),
    ],
)
def test_arrays_that_are_no_poses_are_refused(tmp_path, array, said):
    np.save(tmp_path / "p.npy", array)
    with pytest.raises(InputError, match=said) as e:
        read_mpii(tmp_path / "p.npy")
    assert "p.npy" in str(e.value) and "\n" not in str(e.value)


@pytest.mark.data
def test_real_poses_stand_upright(data):
    poses = read_mpii(data / "poses2d" / "mpii_poses.npy")
    assert len(poses) > 19000
    height = {j: np.median(poses[:, PRIOR_JOINTS.index(j), 1] - poses[:, PRIOR_JOINTS.index("left_hip"), 1]) for j in
              ("head", "left_shoulder", "left_knee", "left_ankle")}  # fmt: skip
    assert height["head"] < height["left_shoulder"] < 0 < height["left_knee"] < height["left_ankle"]


def test_poses_become_still_windows_of_limbs(poses):
    rays, confidence = as_rays(rng(), poses[:9], 5)
    assert rays.shape == (9, 5, 21, 2)
    assert (rays == rays[:, :1]).all()
    limbs = [INPUT_JOINTS.index(j) for j in metrics.LIMBS]
    assert (confidence[..., limbs] == 1).all() and confidence.sum() == 9 * 5 * 12
    distance = 0.45 / np.exp(encode(rays, confidence)[0][..., -3])
    assert ((distance > 1.2) & (distance < 11)).all()
    shape = rays[:, 0, limbs] - rays[:, 0, [INPUT_JOINTS.index(f"{s}_hip") for s in ("left", "right")]].mean(
        1, keepdims=True
    )
    true = poses[:9, :12] - poses[:9, [3, 9]].mean(1, keepdims=True)
    ratio = np.linalg.norm(shape, axis=(1, 2)) / np.linalg.norm(true, axis=(1, 2))
    np.testing.assert_allclose(shape, true * ratio[:, None, None], atol=1e-9)


def test_reprojection_of_the_truth_is_nothing(seen):
    batch = batch_of(seen)
    features, said = torch.from_numpy(batch.features), answer(batch)
    assert unlabelled.reprojection(said, features) < 1e-3
    assert unlabelled.reprojection(said._replace(positions=said.positions[:, :, BODY26.mirror]), features) > 0.1
    assert unlabelled.reprojection(said._replace(distance=2 * said.distance), features) > 0.1


def test_joints_unseen_do_not_count(seen):
    batch = batch_of(seen)
    said, features = answer(batch), torch.from_numpy(batch.features.copy())
    wrong = said.positions.clone()
    wrong[:, :, B("left_wrist")] += 0.5
    features[..., 42 + INPUT_JOINTS.index("left_wrist")] = 0
    assert unlabelled.reprojection(said._replace(positions=wrong), features) < 1e-3


def test_levelled_axes_have_gravity_down_and_keep_lengths(seen):
    gravity = answer(batch_of(seen)).gravity
    R = unlabelled.levelled(gravity)
    torch.testing.assert_close(R @ R.transpose(-1, -2), torch.eye(3).expand_as(R), atol=1e-4, rtol=0)
    assert torch.linalg.det(R).min() > 0.99
    down = (R @ gravity[..., None])[..., 0]
    torch.testing.assert_close(down, torch.tensor([0.0, 1.0, 0.0]).expand_as(down), atol=1e-4, rtol=0)


def test_turned_view_is_what_encode_makes_of_the_turned_figure(seen):
    said = answer(batch_of(seen))
    n, t = said.distance.shape
    far = torch.full((n, 1), 5.0)
    view = unlabelled.turned(said, torch.ones(n, t, 21), unlabelled.random_turns(rng(2), n), far)
    x = (said.positions @ view.rotation.transpose(-1, -2)).numpy().astype(float)
    x[..., 2] += 5.0
    rays = input_joints(x)[..., :2] / input_joints(x)[..., 2:]
    features, _ = encode(rays, np.ones((n, t, 21)))
    np.testing.assert_allclose(view.features[..., :64], features[..., :64], atol=0.02)
    bones = [np.linalg.norm(np.diff(p[..., [B("left_knee"), B("left_hip")], :], axis=-2)) for p in (x, said.positions)]
    assert bones[0] == pytest.approx(bones[1], rel=1e-5)


def test_cycle_of_a_lifter_that_knows_the_truth_is_nothing(seen, monkeypatch):
    batch = batch_of(seen)
    said = answer(batch)
    turns = unlabelled.random_turns(rng(2), len(said.distance))
    monkeypatch.setattr(unlabelled, "random_turns", lambda *_: turns)
    rotation = turns @ unlabelled.levelled(said.gravity)

    def losses(turned_answer):
        answers = iter([said, said._replace(positions=turned_answer)])
        features, opinion = torch.from_numpy(batch.features), torch.from_numpy(batch.opinion)
        return unlabelled.unlabelled_losses(lambda *_: next(answers), features, opinion, None, rng())

    knows = losses(said.positions @ rotation.transpose(-1, -2))
    assert set(knows) == {"reprojection", "cycle", "bones"}
    assert knows["cycle"] < 1e-3 and knows["reprojection"] < 1e-3 and knows["bones"] < 1e-3
    assert losses(said.positions)["cycle"] > 0.1


def test_stretched_limbs_are_uneven(seen):
    positions = answer(batch_of(seen)).positions
    assert unlabelled.uneven_bones(positions) < 1e-3
    one_side = positions.clone()
    one_side[:, :, B("left_wrist")] += 0.2 * (positions[:, :, B("left_wrist")] - positions[:, :, B("left_elbow")])
    assert unlabelled.uneven_bones(one_side) > 0.01
    growing = positions * torch.linspace(0.8, 1.2, positions.shape[1])[None, :, None, None]
    assert unlabelled.uneven_bones(growing) > 0.01


def test_implausible_views_cost_more(prior, poses):
    x = torch.tensor(poses[:100], dtype=torch.float32)
    upside_down = x * torch.tensor([1.0, -1.0])
    assert unlabelled.implausibility(prior, x) + 3 < unlabelled.implausibility(prior, upside_down)
    upside_down.requires_grad_()
    unlabelled.implausibility(prior, upside_down).backward()
    assert upside_down.grad.abs().sum() > 0
