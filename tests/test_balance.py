"""Laws of balance: who stands still says where up is, and who is carried by the feet does not sway beyond them."""

import numpy as np
import pytest

from kinelift.cleanup import TERMS, Weights
from kinelift.cleanup.balance import balance
from kinelift.cleanup.banded import BlockBanded
from kinelift.cleanup.body import DOF, SOLES, moved, twists
from kinelift.cleanup.evidence import Evidence
from kinelift.cleanup.normal import normal_equations
from kinelift.cleanup.residuals import costs
from kinelift.cleanup.solve import solve
from kinelift.kinematics import forward_kinematics, mass_weights, reference_offsets, rotvec_to_matrix
from kinelift.skeleton import BODY26
from kinelift.trajectory.root import second_difference
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


def carried(times, positions, contact, **changes):
    """Evidence of a body on its feet that nobody sees."""
    n = len(times)
    given = {
        "offsets": reference_offsets(), "times": times, "rays": np.zeros((n, 26, 2)), "ray_weight": np.zeros((n, 26)),
        "lifted": positions - positions[:, :1], "sigma_m": np.full((n, 26), 0.05), "contact": contact,
        "support_y": np.zeros((n, 4)), "drift": np.zeros((n, 3)), "floor_y": 0.0, "R_cam_world": np.diag([1.0, -1, -1]),
        "t_cam_world": np.array([0, 1.0, 5]), "stature_m": 1.7, "depth": np.full(n, np.nan),
        "depth_sigma": np.full(n, np.nan),
    }  # fmt: skip
    return Evidence(**given | changes)


def test_balance_is_what_it_says_by_finite_differences():
    """Rows: the zero moment point's way from the support. Gradient and metric against rows moved one unknown at a time,
    on uneven times, feet anywhere."""
    rng, n, h = np.random.default_rng(0), 6, 1e-6
    local, root = rotvec_to_matrix(rng.normal(0, 0.1, (n, 26, 3))), rng.normal([0, 1, 0], 0.001, (n, 3))
    p, glob = forward_kinematics(BODY26, reference_offsets(), local, root)
    times = np.cumsum(rng.uniform(0.3, 0.5, n))
    e = carried(times, p, rng.uniform(0.1, 0.9, (n, 8)))
    found = balance(e, p, Weights())
    c, _ = second_difference(times)
    rests = e.contact[:, :4] / e.contact[:, :4].sum(1, keepdims=True)

    def line(q):
        centre = np.einsum("j,tjc->tc", mass_weights(), q)
        acceleration = sum(c[:, k, None] * centre[k : n - 2 + k] for k in range(3))
        return centre - np.einsum("tf,tfc->tc", rests, q[:, SOLES]), np.pad(acceleration, ((1, 1), (0, 0)))

    aside, acceleration = line(p)
    lever = (aside[:, 1] / (9.81 + acceleration[:, 1]))[:, None] * [[0], *[[1]] * (n - 2), [0]]

    def rows(step):
        way, a = line(forward_kinematics(BODY26, reference_offsets(), *moved(local, root, step.reshape(n, DOF)))[0])
        return (way - lever * a)[:, ::2]

    units = np.eye(n * DOF) * h
    J = np.stack([(rows(u) - rows(-u)) / (2 * h) for u in units], -1)
    W, miss = found.W[:, 1], rows(0 * units[0])
    np.testing.assert_allclose(found.miss[:, 1], miss, atol=1e-12)
    system, gradient = BlockBanded(n, DOF), np.zeros((n, DOF))
    found.add_to(system, gradient, p - p[:, :1], twists(p, glob))
    slope = np.einsum("ri,rij,rju->u", miss, W, J)
    np.testing.assert_allclose(gradient.ravel(), slope, atol=1e-6 * np.abs(slope).max())
    metric = np.einsum("riu,rij,rjv->uv", J, W, J).reshape(n, DOF, n, DOF)
    for t in range(n):
        blocks = [np.tril(system.own[t].T).T, *(x[t] for x in (system.next, system.after) if t < len(x))]
        for k, block in enumerate(blocks):
            expected = np.triu(metric[t, :, t]) if k == 0 else metric[t, :, t + k]
            np.testing.assert_allclose(block, expected, atol=1e-6 * np.abs(metric).max())


def sway(standing, contact):
    """The largest lean, metres at the centre of mass, where a lifter has a body swaying by 10 cm about planted feet."""
    body, _ = standing
    times = np.arange(48) / 30
    lean = 0.1 * np.sin(2 * np.pi * times / 1.6)
    turn = np.zeros((48, 26, 3))
    turn[:, 0, 0] = lean / body[0, 0, 1]
    local = rotvec_to_matrix(turn)
    root = body[:1, 0] + np.stack([0 * lean, 0 * lean, lean], -1)
    p, _ = forward_kinematics(BODY26, reference_offsets(), local, root)
    e = carried(times, p, contact, sigma_m=np.full((48, 26), 0.3))
    out = []
    for weights in (Weights(), Weights().without("balance")):
        found = forward_kinematics(BODY26, e.offsets, *solve(e, local, root, 3, weights))[0]
        way = mass_weights() @ found - found[:, SOLES].mean(1)
        out.append(np.ptp(way[6:-6, 2]) / 2)
    return out


def test_who_is_carried_by_the_feet_does_not_sway_beyond_them(standing):
    feet = np.tile([1.0, 1, 1, 1, 0, 0, 0, 0], (48, 1))
    held, free = sway(standing, feet)
    assert free > 0.07 and held < 0.7 * free, (held, free)
    hands = feet.copy()
    hands[:, 4:6] = 1  # who holds on to something may
    np.testing.assert_allclose(*sway(standing, hands), rtol=1e-6)
    np.testing.assert_allclose(*sway(standing, 0 * feet), rtol=1e-6)


def test_two_frames_have_no_balance_and_none_is_asked_of_who_sits(standing):
    body, _ = standing
    feet = np.tile([1.0, 1, 1, 1, 0, 0, 0, 0], (40, 1))
    assert balance(carried(TIMES[:2], body[:2], feet[:2]), body[:2], Weights()) is None
    up = balance(carried(TIMES, body, feet), body, Weights()).W[5, 1].max()
    low = body * [1, 0.25, 1]
    assert balance(carried(TIMES, low, feet), low, Weights()).W[5, 1].max() < 0.05 * up
    e = carried(TIMES, body, feet)
    glob = np.tile(np.eye(3), (40, 26, 1, 1))
    _, gradient = normal_equations(costs(e, body, glob, Weights().without(*TERMS)), body, glob, Weights())
    assert not gradient.any()
