"""Other evidence of the root's depth beside the bones' apparent size."""

import numpy as np
import pytest

from kinelift.skeleton import BODY26
from kinelift.trajectory.depth import PersonDepth
from kinelift.trajectory.root import Depth, cue_depth, floor_depth, network_depth, solve_root

SOLES = list(BODY26.indices("left_heel", "left_toe", "right_heel", "right_toe"))
TIMES = np.arange(90) / 30


@pytest.fixture
def far(look_at, walk):
    """A walk 9 m away: truth, a shape that breathes by 3 % (so its depth does), exact rays, gravity, contact."""
    camera = look_at([2.0, 1.6, 9.0], [0, 0.9, 0])
    world = walk(TIMES)
    x = camera.to_camera(world)
    breath = 1 + 0.03 * np.sin(2 * np.pi * TIMES / 1.5)
    shape, rays = (x - x[:, :1]) * breath[:, None, None], x[..., :2] / x[..., 2:]
    contact = (np.abs(world[:, SOLES, 1]) < 0.005).astype(float)
    return x, shape, rays, camera.R_cam_world @ [0, -1.0, 0], contact


def error(root, truth):
    return np.abs(root[:, 2] - truth[:, 0, 2])


def solved(far, *depth):
    _, shape, rays, _, _ = far
    return solve_root(shape, rays, np.ones(rays.shape[:2]), TIMES, depth)


@pytest.mark.parametrize("scale, shift, metric", [(1.0, 0.0, True), (1.15, 0.0, True), (0.1, 3.0, False)])
def test_a_depth_network_steadies_the_root(far, scale, shift, metric):
    """Up to a scale where it is metric, up to scale and shift where it is not; gaps stay with the bones."""
    truth = far[0]
    z = scale * truth[:, 0, 2] + shift
    z[40:50] = np.nan
    seen = PersonDepth(z, np.where(np.isfinite(z), 0.01 * scale * truth[:, 0, 2], np.nan), metric, "net")
    plain, helped = error(solved(far), truth), error(solved(far, network_depth(seen)), truth)
    assert plain.mean() > 0.05
    assert helped.mean() < 0.7 * plain.mean()
    assert np.isfinite(helped).all()


def test_wild_frames_of_a_network_do_not_move_the_root(far):
    truth = far[0]
    z = truth[:, 0, 2].copy()
    z[::9] = 25.0
    seen = PersonDepth(z, 0.02 * truth[:, 0, 2], True, "net")
    assert error(solved(far, network_depth(seen)), truth).max() < 0.6


@pytest.mark.parametrize("z", [np.full(90, np.nan), np.full(90, 5.0), np.arange(90.0)], ids=["unseen", "same", "away"])
def test_relative_depth_that_says_nothing_changes_nothing(far, z):
    """Never seen, always the same, or the other way round."""
    said = Depth(z, np.full(90, 0.1), scaled=False)
    np.testing.assert_allclose(solved(far, said), solved(far), atol=1e-12)


def test_the_floor_places_planted_feet(far):
    """A camera 1.6 m up knows how far away a foot on the floor is; feet in the air say nothing."""
    truth, _, rays, down, contact = far
    exact, shape = rays[:, SOLES], (truth - truth[:, :1])[:, SOLES]
    found = floor_depth(truth[:, 0], shape, exact, contact, down)
    known = np.isfinite(found.z)
    assert known.mean() > 0.8
    np.testing.assert_allclose(found.z[known], truth[known, 0, 2], rtol=0.01)
    nothing = floor_depth(truth[:, 0], shape, exact, 0 * contact, down)
    assert np.isnan(nothing.z).all()
    level = floor_depth(truth[:, 0], shape, 0 * exact, contact, np.array([0, 1.0, 0]))
    assert np.isnan(level.z).all()


def test_floor_and_cue_steady_the_root(far):
    """Each brings the bones' own scale with it and takes away their wobble."""
    truth, shape, rays, down, contact = far
    plain = solved(far)
    floor = floor_depth(plain, shape[:, SOLES], rays[:, SOLES], contact, down)
    assert error(solved(far, floor), truth).mean() < 0.8 * error(plain, truth).mean()
    cue = cue_depth(1.3 * truth[:, 0, 2])
    assert error(solved(far, cue), truth).mean() < 0.95 * error(plain, truth).mean()
