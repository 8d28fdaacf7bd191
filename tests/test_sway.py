"""Corrections of a camera path as unknowns of the solve: their equations, and what they are expected to be."""

import numpy as np
import pytest

from kinelift.cleanup import TERMS, Weights
from kinelift.cleanup.body import DOF
from kinelift.cleanup.evidence import Evidence
from kinelift.cleanup.moving import RootPath, weighed
from kinelift.cleanup.normal import normal_equations
from kinelift.cleanup.residuals import costs
from kinelift.cleanup.solve import path_step, solve
from kinelift.cleanup.sway import SWAY, Sway, expected_sway, swayed, trembling
from kinelift.kinematics import forward_kinematics, reference_offsets, rotvec_to_matrix
from kinelift.skeleton import BODY26

FRAMES = 4
TIMES = np.array([0, 0.03, 0.07, 0.1])
DOWN_THE_Z = np.diag([1.0, -1, -1])


def cameras(frames=FRAMES):
    rng = np.random.default_rng(3)
    R = rotvec_to_matrix(rng.normal(0, 0.1, (frames, 3))) @ DOWN_THE_Z
    return R, np.array([0.0, 1, 5]) + rng.normal(0, 0.2, (frames, 3))


def evidence(sway, R, t, rays, times=TIMES):
    T = len(times)
    return Evidence(
        reference_offsets(), times, rays, np.ones((T, 26)), np.full((T, 26, 3), np.nan), np.full((T, 26), 0.05),
        np.zeros((T, 8)), np.zeros((T, 4)), np.zeros((T, 3)), 0.0, R, t, 1.7, np.full(T, np.nan), np.full(T, np.nan),
        sway,
    )  # fmt: skip


def prior(sway, times):
    """The cost of corrections as documented: half the sums over time of hold c^2, slow (dc/dt)^2, even (d2c/dt2)^2."""
    c, dt = sway.so_far, np.diff(times)
    speed, mean = np.diff(c, axis=0) / dt[:, None], (dt[1:] + dt[:-1]) / 2
    bend = np.diff(speed, axis=0) / mean[:, None]
    slow = (sway.slow[1:] + sway.slow[:-1]) / 2
    parts = (
        (sway.hold * c**2 * np.gradient(times)[:, None]).sum(),
        (slow * speed**2 * dt[:, None]).sum(),
        (sway.even[1:-1] * bend**2 * mean[:, None]).sum(),
    )
    return sum(parts) / 2


def test_gradient_and_curvature_of_corrections_by_finite_differences():
    """Key points that are nearly met, so that the cost is their square: the camera's unknowns, the root's, and a path
    that all cameras share.
    """
    rng = np.random.default_rng(1)
    local, root = rotvec_to_matrix(rng.normal(0, 0.3, (FRAMES, 26, 3))), rng.normal(0, 0.2, (FRAMES, 3))
    p, glob = forward_kinematics(BODY26, reference_offsets(), local, root)
    R, t = cameras()
    seen = p @ np.swapaxes(R, 1, 2) + t[:, None]
    rays = seen[..., :2] / seen[..., 2:] + rng.normal(0, 1e-4, (FRAMES, 26, 2))
    so_far = rng.normal(0, 0.002, (FRAMES, SWAY))
    hold, slow, even = rng.uniform(1, 2, (3, FRAMES, SWAY)) * np.array([1e6, 1e4, 1e2])[:, None, None]
    way = rng.normal(0, 1, (FRAMES, 3))
    weights = Weights().without(*(x for x in TERMS if x != "rays"))
    e = evidence(Sway(so_far, hold, slow, even), R, t, rays)
    sigma = weights.ray * 1.7 / seen[:, :1, 2]

    def cost(step, further=0.0):
        """Of a step (T, 3 + SWAY) of the root and of the cameras, which are so much further along `way`."""
        turned, shifted = swayed(R, t, step[:, 3:] + np.pad(further * way, ((0, 0), (0, 3))))
        cam = (p + step[:, None, :3]) @ np.swapaxes(turned, 1, 2) + shifted[:, None]
        miss = cam[..., :2] / cam[..., 2:] - rays
        here = Sway(so_far + step[:, 3:], hold, slow, even)
        return (miss**2 / sigma[..., None] ** 2).sum() / 2 + prior(here, TIMES)

    known = costs(e, p, local, weights)
    system, gradient = normal_equations(known, p, glob, weights)
    shared, own, pull = known.sway.along(way, system.leading(system.n), gradient)
    some = np.r_[:3, DOF : DOF + SWAY]
    blocks = np.zeros((FRAMES, 9, FRAMES, 9))
    for lag, part in enumerate((system.own, system.next, system.after)):
        for k in range(len(part)):
            blocks[k, :, k + lag] = part[k][np.ix_(some, some)]
    H = blocks.reshape(9 * FRAMES, -1)
    H = H + np.triu(H, 1).T
    h, units = 1e-4, np.eye(9 * FRAMES).reshape(-1, FRAMES, 9)
    slope = np.array([(cost(h * u) - cost(-h * u)) / (2 * h) for u in units])
    assert np.abs(slope).max() > 1
    np.testing.assert_allclose(gradient[:, some].ravel(), slope, atol=2e-4 * np.abs(slope).max())
    pairs = [(0, 3), (3, 3), (4, 7), (1, 8), (3, 12), (6, 15), (7, 25), (5, 5), (8, 17), (13, 31)]
    for i, j in pairs:
        a, b = units[i] * h, units[j] * h
        curve = (cost(a + b) - cost(a - b) - cost(b - a) + cost(-a - b)) / (4 * h * h)
        assert H[i, j] == pytest.approx(curve, abs=2e-3 * np.abs(H).max() ** 0.5 * np.abs(H[i, i] * H[j, j]) ** 0.25)
    still, h = 0 * units[0], 1e-5
    assert pull == pytest.approx((cost(still, h) - cost(still, -h)) / (2 * h), rel=2e-3)
    assert own == pytest.approx((cost(still, h) - 2 * cost(still) + cost(still, -h)) / h**2, rel=2e-3)
    mixed = [(cost(h * u, h) - cost(h * u, -h) - cost(-h * u, h) + cost(-h * u, -h)) / (4 * h * h) for u in units]
    np.testing.assert_allclose(shared[:, some].ravel(), mixed, atol=2e-3 * np.abs(mixed).max())


def test_a_shift_that_the_path_lacks_is_the_cameras_where_the_body_stands():
    """Standing still, filmed from the hand: a solve that believes the path sways the body, this one the camera."""
    T = 90
    times = np.arange(T) / 30
    rng = np.random.default_rng(0)
    local = np.broadcast_to(np.eye(3), (T, 26, 3, 3))
    p, _ = forward_kinematics(BODY26, reference_offsets(), local, np.zeros((T, 3)))
    soles = [j for j, name in enumerate(BODY26.joints) if name.endswith(("heel", "toe"))]
    root = np.tile([0, -p[0, soles, 1].min(), 0], (T, 1))
    shake = 0.03 * np.sin(2 * np.pi * 0.8 * times)
    true = np.array([0.0, 1, 5]) - shake[:, None] * DOWN_THE_Z[:, 0]
    seen = (p + root[:, None]) @ DOWN_THE_Z.T + true[:, None]
    R, t = np.tile(DOWN_THE_Z, (T, 1, 1)), np.tile([0.0, 1, 5], (T, 1))
    unsteady = rotvec_to_matrix(np.radians(0.2) * rng.normal(0, 1, (T, 3)))

    def solved(sway):
        e = evidence(sway, R.copy(), t.copy(), seen[..., :2] / seen[..., 2:], times)
        e.contact[:, :4] = 1
        e.lifted, e.drift = p - p[:, :1], np.zeros((T, 3))
        return e, solve(e, local, root, 2)[1][:, 0]

    _, believing = solved(None)
    e, corrected = solved(expected_sway(unsteady, np.zeros((T, 3)), times, 0.0))
    assert np.ptp(believing) > 0.02 and np.ptp(corrected) < 0.5 * np.ptp(believing)
    assert np.corrcoef(e.centre[:, 0], shake)[0, 1] > 0.95
    np.testing.assert_allclose(e.centre - [0, 1, 5], e.sway.so_far[:, :3], atol=1e-6)


def test_a_tripod_that_pans_does_not_tremble_and_a_hand_does():
    times = np.arange(120) / 30
    u = np.linspace(0, 1, 120)
    pan = np.outer(np.radians(60) * u * u * (3 - 2 * u), [0, 1.0, 0])
    hand = pan + np.radians(0.3) * np.sin(2 * np.pi * np.array([1.7, 2.3, 3.1]) * times[:, None])
    still, shaken = (trembling(rotvec_to_matrix(x), times) for x in (pan, hand))
    assert still < np.radians(0.01) < np.radians(0.1) < shaken < np.radians(0.3)
    assert trembling(np.tile(np.eye(3), (2, 1, 1)), times[:2]) == 0


def test_a_camera_that_walks_may_shift_by_its_steps_and_one_that_turns_by_its_trembling():
    times, R = np.arange(60) / 30, np.tile(np.eye(3), (60, 1, 1))
    slowly, quickly = (expected_sway(R, np.outer(times, [v, 0, 0]), times, 2.0).slow[30, 0] for v in (0.1, 1.0))
    assert slowly > 10 * quickly
    shaken = rotvec_to_matrix(np.radians(0.3) * np.sin(2 * np.pi * 2.5 * times)[:, None] * np.ones(3))
    held, stood = (expected_sway(x, np.zeros((60, 3)), times, 0.0).hold[30, 0] for x in (shaken, R))
    assert stood > 100 * held > 0


@pytest.mark.parametrize("window", [720, 40])
def test_who_stands_tells_how_far_a_camera_went(window, monkeypatch):
    """A body that stands, the path taken for 0.9 of its length: the bordered system says so, whole or in windows."""
    monkeypatch.setattr("kinelift.cleanup.solve.WINDOW", window)
    T = 90
    times, local = np.arange(T) / 30, np.broadcast_to(np.eye(3), (T, 26, 3, 3))
    p, _ = forward_kinematics(BODY26, reference_offsets(), local, np.zeros((T, 3)))
    root = np.tile([0, -p[0, BODY26.index("left_heel"), 1], 0], (T, 1))
    way = np.outer(np.sin(1.5 * times), [1.0, 0, 0.2])
    R = np.tile(DOWN_THE_Z, (T, 1, 1))
    t = [[0.0, 1, 5] - scale * way @ DOWN_THE_Z.T for scale in (0.9, 1.0)]
    seen = (p + root[:, None]) @ DOWN_THE_Z.T + t[1][:, None]
    e = evidence(expected_sway(R, way, times, 0.9), R, t[0], seen[..., :2] / seen[..., 2:], times)
    e.contact[:, :4], e.lifted = 1, p - p[:, :1]
    step, sigma = path_step(e, local, root, way, Weights())
    assert step == pytest.approx(0.1, abs=0.02)
    assert 0.001 < sigma < 0.05
    _, unsure = path_step(e, local, root, way, Weights().without("contact_speed", "acceleration"))
    assert unsure > 5 * sigma


def test_two_words_on_a_paths_scale_are_weighed_by_what_they_are_worth():
    root, by_scale = np.ones((3, 3)), np.full((3, 3), 2.0)
    path = RootPath(root, by_scale, 1.0, 0.1)
    floor = 0.05  # what the solve's own word errs by at least
    equal = weighed(path, 1.2, np.sqrt(0.1**2 - floor**2))
    assert equal.scale == pytest.approx(1.1) and equal.sigma == pytest.approx(0.1)
    np.testing.assert_allclose(equal.root, 1.2)
    assert weighed(path, 1.2, 10.0).scale == pytest.approx(1.0, abs=1e-3)
    assert weighed(path, 1.2, 0.0).scale == pytest.approx(1.16) and weighed(path, -9.0, 0.0).scale == 0
    unsure = RootPath(root, by_scale, 1.0, np.inf)
    assert weighed(unsure, 1.2, 0.01).scale == pytest.approx(1.2)
