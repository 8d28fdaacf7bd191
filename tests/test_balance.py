"""Laws of balance: a person who stands still says where up is."""

import numpy as np
import pytest

from kinelift.cleanup.body import SOLES
from kinelift.kinematics import forward_kinematics, mass_weights, reference_offsets
from kinelift.skeleton import BODY26
from kinelift.trajectory.world import levelled, standing_lean, world_axes

DOWN = np.array([0, 1.0, 0])  # of a level camera, in its own axes
TIMES = np.arange(40) / 30
PLANTED = np.ones((40, 4))


@pytest.fixture
def standing():
    """(40, 26, 3) of a person at rest on the floor, and the share of mass above the soles."""
    rest, _ = forward_kinematics(BODY26, reference_offsets(), np.tile(np.eye(3), (40, 26, 1, 1)), np.zeros((40, 3)))
    mass = mass_weights() * ~np.isin(np.arange(26), SOLES)
    return rest - [0, rest[0, SOLES[0], 1], 0], mass / mass.sum()


def leaning(body: np.ndarray, mass: np.ndarray, slope: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The body moved off its planted soles until the line from support to centre of mass has this slope."""
    soles = body[:, SOLES]
    line = (mass @ body - soles.mean(1))[0]
    return body + np.array([line[1] * slope[0] - line[0], 0, line[1] * slope[1] - line[2]]), soles


def test_masses_are_shares_and_lie_at_hip_height():
    assert mass_weights().sum() == pytest.approx(1)
    assert (mass_weights() >= 0).all()
    rest, _ = forward_kinematics(BODY26, reference_offsets(1.0), np.eye(3)[None, None].repeat(26, 1), np.zeros((1, 3)))
    floor = rest[0, SOLES[0], 1]
    # Textbooks put it at 55 to 57 % of stature with arms down; a T-pose lifts it a little.
    assert 0.54 < (mass_weights() @ rest)[0, 1] - floor < 0.62


def test_slope_is_found(standing):
    body, mass = standing
    for slope in ([0.0, 0.0], [0.06, -0.04], [-0.15, 0.1]):
        found = standing_lean(*leaning(body, mass, np.array(slope)), PLANTED, TIMES, mass)
        np.testing.assert_allclose(found, slope, atol=1e-9)


def test_who_walks_hangs_or_sits_is_no_evidence(standing):
    body, mass = standing
    still, soles = leaning(body, mass, np.zeros(2))
    assert standing_lean(still + np.array([1.0, 0, 0]) * TIMES[:, None, None], soles, PLANTED, TIMES, mass) is None
    assert standing_lean(still, soles, 0 * PLANTED, TIMES, mass) is None
    assert standing_lean(*leaning(body, mass, np.array([0.5, 0])), PLANTED, TIMES, mass) is None
    assert standing_lean(still[:10], soles[:10], PLANTED[:10], TIMES[:10], mass) is None  # a third of a second


def test_lean_turns_the_world_towards_balance():
    R = world_axes(DOWN)
    flat = np.random.default_rng(1).uniform(-0.05, 0.05, (40, 3)) * [1, 0, 1]
    lean = np.array([0.05, -0.03])
    upright = np.array([lean[0], 1, lean[1]]) / np.linalg.norm([lean[0], 1, lean[1]])
    turned = levelled(R, flat, np.ones(40), DOWN, 0.03, lean)
    up = turned[:, 1] @ R  # the new up in the old world
    before, after = np.arccos(upright[1]), np.arccos(np.clip(up @ upright, -1, 1))
    assert after < 0.7 * before
    np.testing.assert_allclose(levelled(R, flat, np.ones(40), DOWN, 0.03, np.zeros(2))[:, 1], R[:, 1], atol=1e-9)
