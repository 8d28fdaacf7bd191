"""The focal length that a clip gives away: a walk whose lifter is right up to how it is aimed."""

import numpy as np
import pytest

from kinelift.camera import Camera, prior_focal_px
from kinelift.lift.rays import aim
from kinelift.records import Lifted, Pose2D
from kinelift.skeleton import BODY26
from kinelift.trajectory.depth import PersonDepth
from kinelift.trajectory.focal import PRIOR_SIGMA, refine_focal

SIZE = (1920, 1080)
PRIOR = Camera.from_focal(prior_focal_px(SIZE), SIZE)
SOLES = BODY26.indices("left_heel", "left_toe", "right_heel", "right_toe")


class Aimed:
    """A lifter that gives the true shape as seen by a camera aimed at the hips, turned back by the focal length it is
    told: what an error of focal length does to a lifter that works on aimed rays.
    """

    def __init__(self, truth, pose, gravity, says=True):
        self.truth, self.gravity, self.says = truth, gravity, says
        self.hips = pose.xy[:, 0]
        self.true_aim = aim(truth[:, 0, :2] / truth[:, 0, 2:])
        self.asked = []

    def __call__(self, pose, camera):
        self.asked.append((len(pose.times), camera.focal_px))
        n = len(pose.times)
        turn = aim(camera.unproject(self.hips[:n])) @ np.swapaxes(self.true_aim[:n], -1, -2)
        x = np.einsum("tij,tnj->tni", turn, self.truth[:n] - self.truth[:n, :1])
        if not self.says:
            return Lifted(BODY26, x, pose.times)
        soles = np.linalg.norm(np.gradient(self.truth[:n, SOLES], pose.times, axis=0), axis=-1) < 0.05
        return Lifted(BODY26, x, pose.times, gravity=turn @ self.gravity, contact=soles.astype(float))


@pytest.fixture
def filmed(look_at, walk):
    def make(focal_px, seconds=6.0, heading=0.4, noise_px=2.0, **kwargs):
        times = np.arange(round(seconds * 30)) / 30
        world = walk(times, heading=heading)
        world = world - (world[:, :1].mean(0) * [1, 0, 1])
        away = 6.0 * focal_px / PRIOR.focal_px
        camera = look_at([0, 2.2, away], [0, 0.9, 0], focal_px=focal_px)
        truth = camera.to_camera(world)
        xy = camera.project_camera(truth) + np.random.default_rng(1).normal(0, noise_px, (*truth.shape[:2], 2))
        pose = Pose2D(BODY26, xy, np.ones(xy.shape[:2]), times, SIZE)
        return pose, Aimed(truth, pose, camera.R_cam_world @ [0, -1.0, 0], **kwargs)

    return make


@pytest.mark.parametrize("factor", [0.6, 1.0, 1.7])
def test_a_walk_towards_the_camera_tells_the_lens(filmed, factor):
    pose, lift = filmed(factor * PRIOR.focal_px)
    found = refine_focal(lift, pose, PRIOR)
    error = np.log(found.focal_px / PRIOR.focal_px / factor)
    assert abs(error) < 0.15
    assert abs(error) < 3 * found.sigma_px / found.focal_px
    assert found.moved == (factor != 1.0)
    assert found.sigma_px / found.focal_px < 0.8 * PRIOR_SIGMA
    assert "refined by the clip" in found.source


def test_without_evidence_the_prior_comes_back(filmed):
    """No gravity and no contact, and a picture that half fits any lens."""
    pose, lift = filmed(1.6 * PRIOR.focal_px, noise_px=60.0, says=False)
    found = refine_focal(lift, pose, PRIOR)
    assert found.focal_px == PRIOR.focal_px and not found.moved
    assert found.sigma_px == pytest.approx(PRIOR_SIGMA * PRIOR.focal_px)
    assert found.source.startswith("prior (0.85 x long side)")


def test_a_glimpse_is_no_evidence(filmed):
    pose, lift = filmed(1.6 * PRIOR.focal_px, seconds=0.5)
    found = refine_focal(lift, pose, PRIOR)
    assert not lift.asked and found.focal_px == PRIOR.focal_px and not found.moved


def test_a_networks_word_counts(filmed):
    """A network that sees the room: close to what it says, drawn a little to the prior."""
    pose, lift = filmed(1.6 * PRIOR.focal_px, seconds=0.5)
    z = np.full(len(pose.times), 4.0)
    depth = PersonDepth(z, z / 20, True, "metric depth network room.onnx", 1.5 * PRIOR.focal_px)
    found = refine_focal(lift, pose, PRIOR, depth)
    assert 1.35 < found.focal_px / PRIOR.focal_px < 1.5 and found.moved
    assert "room.onnx" in found.source and found.sigma_px < 0.15 * found.focal_px


def test_a_long_clip_is_lifted_in_part(filmed):
    pose, lift = filmed(PRIOR.focal_px, seconds=45.0, heading=1.57)
    refine_focal(lift, pose, PRIOR)
    assert max(n for n, _ in lift.asked) <= 301
    assert 3 <= len({f for _, f in lift.asked}) == len(lift.asked)


def test_the_principal_point_stays(filmed):
    """Only the focal length is tried: the optical axis stays where a cropped picture has it."""
    pose, lift = filmed(PRIOR.focal_px)
    seen = []

    def watched(part, camera):
        seen.append(camera.K[:2, 2].tolist())
        return lift(part, camera)

    refine_focal(watched, pose, PRIOR.replaced(K=PRIOR.K + np.array([[0, 0, 40.0], [0, 0, -25.0], [0, 0, 0]])))
    assert seen == [[959.5 + 40, 539.5 - 25]] * len(seen) and len(seen) >= 3
