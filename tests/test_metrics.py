"""Measures on motions whose answer is known."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from kinelift import metrics


def points(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=(*shape, 3))


def turns(n, seed=1):
    return Rotation.random(n, rng=np.random.default_rng(seed)).as_matrix()


def test_similarity_recovers_a_transform():
    x, R = points(7, 12), turns(7)
    s, t = np.linspace(0.2, 5, 7), points(7, seed=2)
    found = metrics.similarity(x, metrics.transform(x, s, R, t))
    for got, true in zip(found, (s, R, t), strict=True):
        np.testing.assert_allclose(got, true, atol=1e-9)


def test_rigid_alignment_leaves_scale_alone():
    x = points(10)
    s, R, _ = metrics.similarity(x, 3 * x @ turns(1)[0].T + 1, scale=False)
    assert s == 1
    np.testing.assert_allclose(R, turns(1)[0], atol=1e-9)


def test_similarity_never_reflects():
    """A mirror image cannot be fitted, in space nor in a plane, and is reported as an error."""
    x = points(50, 14)
    mirror = x * [-1, 1, 1]
    np.testing.assert_allclose(np.linalg.det(metrics.similarity(x, mirror)[1]), 1)
    assert metrics.pa_mpjpe(x, mirror) > 100
    flat = x * [1, 1, 0]
    np.testing.assert_allclose(np.linalg.det(metrics.similarity(flat, flat @ turns(1)[0].T)[1]), 1)


@pytest.mark.parametrize("mirror", [1, -1])
def test_similarity_is_the_best_of_its_neighbours(mirror):
    x = points(12) * [1, 2, 3]
    y = x * [mirror, 1, 1] @ turns(1)[0].T + 0.3 * points(12, seed=5)
    s, R, t = metrics.similarity(x, y)

    def cost(s, R, t):
        return ((metrics.transform(x, s, R, t) - y) ** 2).sum()

    best = cost(s, R, t)
    for small in Rotation.from_rotvec(0.03 * points(30, seed=6)).as_matrix():
        assert best < cost(s, small @ R, y.mean(0) - s * small @ R @ x.mean(0))
    assert best < min(cost(s * 1.02, R, t), cost(s / 1.02, R, t), cost(s, R, t + 0.01))


def test_pa_ignores_similarity_of_either_side_but_keeps_the_targets_scale():
    a, b = points(9, 14), points(9, 14, seed=1)
    moved = metrics.transform(a, np.full(9, 0.3), turns(9), points(9, seed=3))
    assert metrics.pa_mpjpe(moved, b) == pytest.approx(metrics.pa_mpjpe(a, b))
    assert metrics.pa_mpjpe(a, 2 * b) == pytest.approx(2 * metrics.pa_mpjpe(a, b))
    assert metrics.pa_mpjpe(moved, a) == pytest.approx(0, abs=1e-6)


def test_mpjpe_is_millimetres_after_moving_the_root():
    a = points(4, 5)
    b = a + np.array([7, 8, 9])
    b[:, 2] += [0.03, 0.04, 0]
    assert metrics.mpjpe(a, b) == pytest.approx(50 / 5)
    c = b + 0
    c[:, 0] += [0.1, 0, 0]
    assert metrics.mpjpe(a, c) > metrics.mpjpe(a, c, root=(3, 4)) > 0


def test_n_mpjpe_forgives_scale_of_the_prediction_only():
    a, b = points(9, 14), points(9, 14, seed=1)
    sizes = np.linspace(0.1, 7, 9)[:, None, None]
    assert metrics.n_mpjpe(sizes * b + 3, b) == pytest.approx(0, abs=1e-9)
    assert metrics.n_mpjpe(sizes * a, b) == pytest.approx(metrics.n_mpjpe(a, b))
    assert metrics.n_mpjpe(a, 2 * b) == pytest.approx(2 * metrics.n_mpjpe(a, b))
    assert metrics.n_mpjpe(b @ turns(9), b) > 100


def test_the_scale_of_n_mpjpe_is_the_best_and_never_reflects():
    a, b = points(1, 14) + np.array([1, 2, 3]), points(1, 14, seed=1)
    a[:, 0] = b[:, 0] = 0
    a += 0.5 * b

    def squares(scale):
        return ((scale * a - b) ** 2).sum()

    scale = (a * b).sum() / (a * a).sum()
    assert scale > 0 and squares(scale) < min(squares(scale * 1.01), squares(scale * 0.99))
    expected = np.linalg.norm(scale * a - b, axis=-1).mean() * 1000
    assert metrics.n_mpjpe(a, b) == pytest.approx(expected)
    size = np.linalg.norm(b, axis=-1).mean() * 1000
    assert metrics.n_mpjpe(-b, b) == pytest.approx(size), "inverted: the best scale is none, not minus one"


def offset(errors_mm):
    """Predictions and truth of one pose: the root, and a joint for each of these errors, in random directions."""
    directions = points(len(errors_mm), seed=4)
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    true = points(1, len(errors_mm) + 1, seed=7)
    predicted = true + 5
    predicted[0, 1:] += directions * np.array(errors_mm)[:, None] / 1000
    return predicted, true


def test_pck_counts_joints_besides_the_root():
    p, t = offset([0, 10, 149, 151, 3000])
    assert metrics.pck(p, t) == pytest.approx(60)
    assert metrics.pck(p, t, 9.9) == pytest.approx(20)
    assert metrics.pck(*offset([150] * 4)) == 100
    assert metrics.pck(t + 1, t) == 100 and metrics.auc(t + 1, t) == 100
    moved = p[:, [1, 0, 2, 3, 4, 5]], t[:, [1, 0, 2, 3, 4, 5]]
    assert metrics.pck(*moved, root=1) == pytest.approx(60)


def test_auc_is_the_mean_of_pck_over_its_thresholds():
    p, t = offset(np.random.default_rng(2).uniform(0, 200, 60))
    expected = np.mean([metrics.pck(p, t, threshold) for threshold in range(0, 151, 5)])
    assert metrics.auc(p, t) == pytest.approx(expected)
    assert metrics.auc(*offset([12.0])) == pytest.approx(100 * 28 / 31)
    assert metrics.auc(*offset([151.0] * 3)) == 0


def test_errors_of_poses_average_to_the_measures():
    a, b = points(6, 5), points(6, 5, seed=1)
    assert metrics.joint_errors(a, b).mean() == pytest.approx(metrics.mpjpe(a, b))
    errors = metrics.joint_errors(a / 10, b / 10)[:, 1:]
    assert metrics.correct(errors).shape == metrics.area_correct(errors).shape == (6,)
    assert metrics.correct(errors).mean() == pytest.approx(metrics.pck(a / 10, b / 10))


def test_absolute_error_forgives_one_rigid_motion_only():
    a = points(6, 5)
    R = turns(1)[0]
    assert metrics.abs_mpjpe(a @ R.T + 4, a) == pytest.approx(0, abs=1e-6)
    assert metrics.abs_mpjpe(a * 1.1, a) > 10
    drift = a + np.linspace(0, 1, 6)[:, None, None] * [1.0, 0, 0]
    assert metrics.abs_mpjpe(drift, a) > 100


@pytest.mark.parametrize("fps", [24.0, 30.0, 120.0])
def test_jitter_is_the_third_derivative_at_any_rate(fps):
    t = np.arange(0, 1, 1 / fps)
    path = np.zeros((len(t), 2, 3))
    path[..., 0] = (5 * t**3 - 3 * t**2 + t)[:, None]
    assert metrics.jitter(path, fps) == pytest.approx(30 / 10)
    path[..., 0] = (3 * t**2 + t)[:, None]
    assert metrics.jitter(path, fps) == pytest.approx(0, abs=1e-6)
    assert metrics.jitter(path[:3], fps) == 0


@pytest.mark.parametrize("fps", [15.0, 30.0, 60.0])
def test_sliding_is_speed_over_thirty_at_any_rate(fps):
    """0.3 m/s sideways is 10 mm in a thirtieth of a second; rising is no slide, nor is a foot in the air."""
    t = np.arange(0, 2, 1 / fps)
    soles = np.zeros((len(t), 2, 3))
    soles[:, 0] = t[:, None] * [0.18, 0.5, 0.24]
    soles[:, 1] = t[:, None] * [2.0, 0, 0]
    contact = np.zeros((len(t), 2))
    contact[:, 0] = 1
    assert metrics.foot_sliding(soles, contact, fps) == pytest.approx(10)
    assert metrics.foot_sliding(soles, contact * 0.4, fps) == 0
    contact[1::2, 0] = 0  # never planted in two frames together
    assert metrics.foot_sliding(soles, contact, fps) == 0


def test_penetration_is_mean_depth_below_the_floor():
    soles = np.zeros((2, 2, 3))
    soles[..., 1] = [[-0.02, 0.5], [0.0, -0.06]]
    assert metrics.penetration(soles) == pytest.approx(20)
    assert metrics.penetration(soles, floor_y=-0.06) == 0


def test_f1_balances_precision_and_recall():
    true = np.array([1, 1, 1, 1, 0, 0], bool)
    predicted = np.array([1, 1, 0, 0, 1, 0], bool)
    precision, recall = 2 / 3, 2 / 4
    assert metrics.f1(predicted, true) == pytest.approx(2 * precision * recall / (precision + recall))
    assert metrics.f1(true, true) == 1 and metrics.f1(~true, true) == 0


def rigid(x, seed=1):
    return x @ turns(1, seed)[0].T + [3, -2, 1]


def test_world_measures_forgive_what_they_say_and_no_more():
    """Rigid motion of the clip is free for all; W- and WA- forgive scale, and drift only between chunks."""
    true = np.cumsum(points(250, 5) / 50, 0)
    for measure in (metrics.w_mpjpe100, metrics.wa_mpjpe100):
        assert measure(rigid(true), true, 30.0) == pytest.approx(0, abs=1e-6)
        assert measure(1.2 * rigid(true), true, 30.0) == pytest.approx(0, abs=1e-6)
    drift = true + np.linspace(0, 1, 250)[:, None, None] * [1.0, 0, 0]
    wa, w = metrics.wa_mpjpe100(drift, true, 30.0), metrics.w_mpjpe100(drift, true, 30.0)
    assert 10 < wa < w < metrics.abs_mpjpe(drift, true) + 400 and wa < metrics.abs_mpjpe(drift, true)
    jumps = true + np.repeat(np.arange(3), 100)[:250, None, None] * [1.0, 0, 0]
    assert metrics.wa_mpjpe100(jumps, true, 30.0) == pytest.approx(0, abs=1e-6), "chunks are of 100 frames"
    assert metrics.wa_mpjpe100(np.repeat(jumps, 2, 0), np.repeat(true, 2, 0), 60.0) == pytest.approx(0, abs=1e-6)


def test_w_mpjpe_looks_at_the_first_two_frames_only():
    true = np.cumsum(points(100, 5) / 50, 0)
    moved = true.copy()
    moved[2:] += [0.3, 0, 0]
    assert metrics.w_mpjpe100(moved, true, 30.0) == pytest.approx(300 * 98 / 100, rel=1e-6)


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.13])
def test_scale_error_is_how_much_too_large(factor):
    x = points(6, 5)
    assert metrics.scale_error(factor * rigid(x), x) == pytest.approx(100 * (factor - 1))


def test_root_error_is_over_the_true_path():
    t = np.linspace(0, 1, 101)[:, None]
    path = np.concatenate([6 * t, 0 * t, np.sin(3 * t)], 1)
    assert metrics.rte(rigid(path), path) == pytest.approx(0, abs=1e-6)
    line = t * [5.0, 0, 0]
    assert metrics.path_length(line) == pytest.approx(5)
    # 2 % too long: off by 2 % of the distance from the middle, a quarter of the path on average.
    assert metrics.rte(1.02 * line, line) == pytest.approx(2 / 4, rel=0.02)
    assert metrics.root_error(1.02 * line, line) == pytest.approx(25, rel=0.02)


@pytest.mark.parametrize("fps", [15.0, 30.0, 60.0])
def test_sliding_against_the_truth_counts_where_the_truth_rests(fps):
    """0.06 m/s is 2 mm in a thirtieth of a second, in any direction; the point that truly moves is not counted."""
    t = np.arange(0, 2, 1 / fps)[:, None]
    true = np.stack([0 * t * [1, 1, 1], t * [0.4, 0, 0]], 1)
    found = np.stack([t * [0.0, 0.06, 0], t * [1, 1, 1]], 1)
    assert metrics.sliding_against(found, true, fps) == pytest.approx(2)
    assert metrics.sliding_against(true, true, fps) == 0
    assert np.isnan(metrics.sliding_against(found[:, 1:], true[:, 1:], fps))


def test_floating_is_the_lowest_points_height_during_contact():
    soles = np.ones((4, 2, 3))
    soles[:, 0, 1] = [0.02, 0.04, -0.5, 0.9]
    contact = np.array([[1, 0], [0, 1], [1, 1], [0, 0]])
    assert metrics.floating(soles, contact) == pytest.approx(20)
    assert metrics.floating(soles - [0, 0.02, 0], contact) == pytest.approx(20 / 3)
    assert np.isnan(metrics.floating(soles, 0 * contact))


def test_a_jump_is_a_flight_of_its_own_height():
    """A throw of 0.4 s reaches g t^2 / 8; lifted heels, hops below the limit and a raised start are no jumps."""
    fps = 120.0
    t = np.arange(0, 2, 1 / fps)
    soles = np.zeros((len(t), 4, 3))
    for start, seconds in ((0.3, 0.4), (1.0, 0.2)):
        u = t - start
        soles[..., 1] += (np.maximum(0, 9.81 / 2 * u * (seconds - u)) * (u < seconds))[:, None]
    soles[150:, 0, 1] = 0.5
    soles[:5, :, 1] = 0.3
    (span,) = metrics.flights(soles, fps)
    assert 0.3 < t[span.start] < t[span.stop] < 0.71
    assert metrics.flight_height(soles, span) == pytest.approx(9.81 * 0.4**2 / 8, rel=1e-3)
    assert metrics.flight_height(soles, span, floor_y=0.05) == pytest.approx(9.81 * 0.4**2 / 8 - 0.05, rel=1e-3)
    assert len(metrics.flights(soles, fps, least_m=0.04)) == 2
    contact = np.zeros((len(t), 4))
    assert metrics.flights(soles, fps, contact) == [span]
    contact[60, 2] = 1  # stands on something there
    assert metrics.flights(soles, fps, contact) == []


def test_stances_and_how_far_a_foot_gets_in_them():
    times = np.arange(20) / 30.0
    contact = np.zeros((20, 2))
    contact[2:9, 0] = contact[12:14, 0] = contact[10:, 1] = 1
    assert metrics.stances(contact, times) == [(slice(2, 9), 0), (slice(10, 20), 1)]
    soles = np.zeros((20, 2, 3))
    soles[2:9, 0, 0] = [0, 1, 2, 30, 2, 1, 0]
    soles[:, 0, 1] = 9  # height is no drift
    assert metrics.stance_drift(soles / 1000, (slice(2, 9), 0)) == pytest.approx(30)
