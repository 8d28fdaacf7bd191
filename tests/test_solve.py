"""The whole-clip solve: gradients and metrics of every kind of evidence by finite differences, its linear algebra,
and what it does with evidence whose truth is known."""

import numpy as np
import pytest

from kinelift import metrics
from kinelift.cleanup import TERMS, Weights
from kinelift.cleanup import limits as ranges
from kinelift.cleanup import solve as solver
from kinelift.cleanup.banded import BlockBanded
from kinelift.cleanup.body import AXIS, CENTRE, DOF, SOLES, SUPPORTS, moved, position_jacobian
from kinelift.cleanup.evidence import Evidence, flights
from kinelift.cleanup.normal import normal_equations
from kinelift.cleanup.residuals import costs
from kinelift.cleanup.rig import first_rotations
from kinelift.cleanup.solve import solve, windows
from kinelift.errors import KineliftError, UnknownNameError
from kinelift.kinematics import forward_kinematics, reference_offsets, rotvec_to_matrix
from kinelift.skeleton import BODY26
from kinelift.trajectory.root import second_difference

OFFSETS = reference_offsets()
RESIDUALS = [t for t in TERMS if t not in ("level", "balance")]  # `balance`: test_balance.py


def bent(frames, seed=0, size=0.4):
    """Random poses, every joint turned; smooth in no way."""
    v = np.random.default_rng(seed).normal(0, size, (frames, 26, 3))
    return rotvec_to_matrix(v), np.random.default_rng(seed + 1).normal(0, 0.3, (frames, 3))


def evidence(frames, seed=0, **changes):
    """Evidence about a random rig in front of a camera: everything known, nothing quite right."""
    rng = np.random.default_rng(seed)
    given = {
        "offsets": OFFSETS,
        "times": np.cumsum(rng.uniform(0.02, 0.05, frames)),
        "rays": rng.normal(0, 0.1, (frames, 26, 2)),
        "ray_weight": rng.uniform(0, 1, (frames, 26)),
        "lifted": rng.normal(0, 0.4, (frames, 26, 3)),
        "sigma_m": rng.uniform(0.03, 0.2, (frames, 26)),
        "contact": rng.uniform(0, 1, (frames, 8)),
        "support_y": np.full((frames, 4), -0.9),
        "drift": np.zeros((frames, 3)),
        "floor_y": -0.9,
        "R_cam_world": np.diag([1.0, -1, -1]),
        "t_cam_world": np.array([0.0, 1.0, 5.0]),
        "stature_m": 1.7,
        "depth": np.full(frames, np.nan),
        "depth_sigma": np.full(frames, np.nan),
    }
    if "floor_y" in changes and "support_y" not in changes:
        changes["support_y"] = np.full((frames, 4), changes["floor_y"])
    return Evidence(**given | changes)


def moving_camera(frames, seed=3):
    rng = np.random.default_rng(seed)
    R = rotvec_to_matrix(rng.normal(0, 0.1, (frames, 3))) @ np.diag([1.0, -1, -1])
    return {"R_cam_world": R, "t_cam_world": np.array([0.0, 1.0, 5.0]) + rng.normal(0, 0.2, (frames, 3))}


def test_position_jacobian_by_finite_differences():
    local, root = bent(2)
    J = position_jacobian(*forward_kinematics(BODY26, OFFSETS, local, root))
    h = 1e-6
    for i in range(DOF):
        step = np.zeros((2, DOF))
        step[:, i] = h
        ahead, back = (forward_kinematics(BODY26, OFFSETS, *moved(local, root, s))[0] for s in (step, -step))
        np.testing.assert_allclose(J[..., i], (ahead - back) / (2 * h), atol=1e-8)


def test_of_the_turns_that_no_joint_shows_only_those_of_hips_and_shoulders_are_left():
    """Turned about the limb, a thigh and an upper arm take the hinges of knee and elbow along: ranges speak of them."""
    J = position_jacobian(*forward_kinematics(BODY26, OFFSETS, *bent(1, 5)))[0].reshape(-1, DOF)
    assert np.linalg.matrix_rank(J, tol=1e-6) == DOF - 4
    limbs = [
        k + 3
        for k, (j, a) in enumerate(zip(CENTRE, AXIS, strict=True))
        if (BODY26.joints[j].endswith("hip") and a == 1) or (BODY26.joints[j].endswith("shoulder") and a == 0)
    ]
    assert np.linalg.matrix_rank(np.delete(J, limbs, 1), tol=1e-6) == DOF - 4


def huber(r, bend):
    return np.where(r <= bend, r * r / 2, bend * (r - bend / 2)), 1 / np.maximum(1, r / bend)


def cauchy(r, bend):
    return bend**2 / 2 * np.log1p((r / bend) ** 2), 1 / (1 + (r / bend) ** 2)


def pseudo_huber(r, bend):
    return bend**2 * (np.sqrt(1 + (r / bend) ** 2) - 1), 1 / np.sqrt(1 + (r / bend) ** 2)


def stated(term, e, p0, weights):
    """Residuals of a kind of evidence as the documentation states it: a function of positions and local rotations to
    (N, d), the weights (N,) without robustness, and the robust loss with its bend (N,)."""
    z0 = np.maximum(e.to_camera(p0)[..., 2], 0.2)
    dt = np.diff(e.times)[:, None]

    def rays(p, _):
        cam = e.to_camera(p)
        return cam[..., :2] / cam[..., 2:] - e.rays

    def speed(p, _):
        return np.diff(p[:, SUPPORTS], axis=0) - (e.drift[:-1] * dt)[:, None]

    def acceleration(p, _):
        c, _ = second_difference(e.times)
        falling = np.outer(e.flown()[1:-1, 0], [0, -9.81, 0])
        return sum(c[:, i, None, None] * p[i : len(p) - 2 + i] for i in range(3)) - falling[:, None]

    def height(p, _):
        return p[:, SOLES, 1:2] - e.support_y[..., None]

    def below(p, _):
        return np.minimum(p[:, SOLES, 1:2] - np.minimum(e.support_y, e.floor_y)[..., None], 0)

    def beyond(_, local):
        angles, _ = ranges.joint_angles(local)
        low, high = (np.array([getattr(r, x) for r in ranges.ORDER]) for x in ("low", "high"))
        return (np.minimum(angles - low, 0) + np.maximum(angles - high, 0))[..., None]

    w = weights
    sigma = np.broadcast_to(w.ray * e.stature_m / z0[:, :1], z0.shape)
    others = (np.arange(26) > 0) * np.ones((len(p0), 1))
    carried = e.contact * np.clip(4 - 4 * e.flown()[:, :1], 0, 1)
    both = np.minimum(carried[1:], carried[:-1])
    seconds = second_difference(e.times)[1] if len(p0) > 2 else np.zeros(0)
    freer = 1 + 2 * e.flown()[1:-1, 1:]
    return {
        "rays": (rays, e.ray_weight / sigma**2, huber, 2 * sigma),
        "lifted": (lambda p, _: p - p[:, :1] - e.lifted, others / e.sigma_m**2 / w.lifted**2, huber, 3 * e.sigma_m),
        "contact_speed": (
            speed, both**2 / (w.contact_speed_m_s * dt) ** 2 * np.minimum(30 * dt, 1), cauchy, 0.5 * dt,
        ),
        "contact_height": (height, e.contact[:, :4] / w.contact_height_m**2, cauchy, 0.05),
        "below_floor": (below, 1 / w.below_floor_m**2, cauchy, 0.015),
        "acceleration": (
            acceleration, 30 * seconds[:, None] / (w.acceleration_m_s2 * freer) ** 2, pseudo_huber,
            0.6 * w.acceleration_m_s2,
        ),
        "limits": (beyond, 1 / w.limit**2, huber, 0.3),
        "depth": (
            lambda p, _: (e.to_camera(p[:, :1])[..., 2:] - e.depth[:, None, None]),
            1 / e.depth_sigma[:, None] ** 2, huber, 2 * e.depth_sigma[:, None],
        ),
    }[term]  # fmt: skip


def dense(system):
    n, T = system.n, system.frames
    out = np.zeros((T * n, T * n))
    for t in range(T):
        blocks = [system.own[t], *(x[t] for x in (system.next, system.after) if t < len(x))]
        for k, block in enumerate(blocks):
            out[t * n : (t + 1) * n, (t + k) * n : (t + k + 1) * n] = block
    assert not np.tril(out, -1).any()
    return out + np.triu(out, 1).T


CASES = [(term, "static") for term in RESIDUALS] + [("rays", "moving"), ("depth", "moving")]


@pytest.mark.parametrize(("term", "path"), CASES)
def test_gradient_and_metric_by_finite_differences(term, path):
    """With one kind of evidence alone, against its robust cost and its reweighted residuals, taken densely."""
    frames = {"contact_speed": 2, "acceleration": 4}.get(term, 1)
    camera = moving_camera(frames) if path == "moving" else {}
    drift = np.full((frames, 3), 0.2)
    floor = -0.3 if term == "below_floor" else -0.9
    e = evidence(
        frames, floor_y=floor, depth=np.full(frames, 4.7), depth_sigma=np.full(frames, 0.1), drift=drift, **camera
    )
    local, root = bent(frames, size=0.9 if term == "limits" else 0.4)
    if frames > 1:  # neighbours near enough for robust losses to be in both their regimes
        local, root = np.repeat(local[:1], frames, 0), root[:1] + 0.02 * np.arange(frames)[:, None] ** 2
    if term in ("acceleration", "contact_speed"):  # in flight
        e.flight = np.random.default_rng(7).uniform(0.7, 1, (frames, 2))
    weights = Weights().without(*(t for t in TERMS if t != term))
    p, glob = forward_kinematics(BODY26, OFFSETS, local, root)
    residual, w0, loss, bend = stated(term, e, p, weights)

    def at(step):
        turned, placed = moved(local, root, step.reshape(frames, DOF))
        return residual(forward_kinematics(BODY26, OFFSETS, turned, placed)[0], turned)

    r, h, units = at(np.zeros(frames * DOF)), 1e-5, np.eye(frames * DOF)
    distance = np.linalg.norm(r, axis=-1)
    w0, bend = np.broadcast_to(w0, distance.shape), np.broadcast_to(bend, distance.shape)
    cost = [[(w0 * loss(np.linalg.norm(at(s * h * v), axis=-1), bend)[0]).sum() for s in (1, -1)] for v in units]
    J = np.stack([((at(h * v) - at(-h * v)) / (2 * h)).ravel() for v in units], -1)
    w = np.repeat(w0 * loss(distance, bend)[1], r.shape[-1]).ravel()
    system, gradient = normal_equations(costs(e, p, local, weights), p, glob, weights)
    slope = np.array([(a - b) / (2 * h) for a, b in cost])
    assert np.abs(slope).max() > 1e-3  # the evidence speaks
    np.testing.assert_allclose(gradient.ravel(), slope, atol=1e-5 * np.abs(slope).max())
    quiet = weights.without(*TERMS)
    alone, none = normal_equations(costs(e, p, local, quiet), p, glob, quiet)
    assert not none.any()
    metric = dense(system) - dense(alone)
    np.testing.assert_allclose(metric, J.T @ (w[:, None] * J), atol=1e-5 * np.abs(metric).max())


def test_steps_are_kept_small_and_alike():
    """What holds where nothing is known: turns cost by themselves and by their change, the root next to nothing."""
    e, weights = evidence(3), Weights().without(*TERMS)
    local, root = bent(3)
    p, glob = forward_kinematics(BODY26, OFFSETS, local, root)
    system, _ = normal_equations(costs(e, p, local, weights), p, glob, weights)
    H = dense(system)
    turns = np.tile(np.arange(DOF) >= 3, 3)
    same, jump = np.tile(turns[:DOF] * 0.1, 3), np.where(np.arange(3 * DOF) < DOF, 0.1, 0) * turns
    assert same @ H @ same == pytest.approx(turns.sum() * 0.01 / 0.5**2)
    assert jump @ H @ jump == pytest.approx(turns.sum() / 3 * 0.01 * (1 / 0.5**2 + (8 / 0.5) ** 2))
    assert 0 < H[0, 0] < 0.01


def test_unknown_terms_are_named():
    with pytest.raises(UnknownNameError, match=r"'gravity'; known: .*contact_speed"):
        Weights().without("gravity")


def random_banded(frames, n, seed=0):
    """A positive definite block-banded system, and the same densely."""
    rng, system = np.random.default_rng(seed), BlockBanded(frames, n)
    lower = np.zeros((frames * n, frames * n))
    for t in range(frames):  # a product of block-banded factors is block-banded and positive
        for k in range(min(3, frames - t)):
            lower[(t + k) * n : (t + k + 1) * n, t * n : (t + 1) * n] = rng.normal(size=(n, n))
    full = lower @ lower.T + np.eye(frames * n)
    for t in range(frames):
        rows = full[t * n : (t + 1) * n]
        system.own[t] = np.triu(rows[:, t * n : (t + 1) * n])
        for k, out in ((1, system.next), (2, system.after)):
            if t + k < frames:
                out[t] = rows[:, (t + k) * n : (t + k + 1) * n]
    return system, full


@pytest.mark.parametrize("frames", [1, 2, 3, 7])
def test_block_banded_solve_and_inverse_are_the_dense_ones(frames):
    n = 5
    system, full = random_banded(frames, n, frames)
    np.testing.assert_array_equal(dense(system), full)
    system.factor()
    g = np.random.default_rng(0).normal(size=(frames, n))
    np.testing.assert_allclose(system.solve(g).ravel(), np.linalg.solve(full, g.ravel()), rtol=1e-8)
    inverse = np.linalg.inv(full).reshape(frames, n, frames, n)[np.arange(frames), :, np.arange(frames)]
    np.testing.assert_allclose(system.inverse_blocks(), inverse, rtol=1e-7, atol=1e-10)


def test_equations_that_break_down_are_one_clear_line():
    system = BlockBanded(3, 4)
    with pytest.raises(KineliftError, match="no answer"):
        system.factor()


def walk_evidence(walk_rig, frames, noise_m=0.02, **changes):
    times = np.arange(frames) / 30
    local, offsets, root, contact = walk_rig(times)
    p, _ = forward_kinematics(BODY26, offsets, local, root)
    noisy = p - p[:, :1] + np.random.default_rng(0).normal(0, noise_m, p.shape)
    cam = p * [1, -1, -1] + [0, 1, 5 + frames / 30]
    given = {
        "offsets": offsets, "times": times, "rays": cam[..., :2] / cam[..., 2:], "ray_weight": np.ones((frames, 26)),
        "lifted": noisy, "sigma_m": np.full((frames, 26), 0.03),
        "contact": np.concatenate([contact, np.zeros((frames, 4))], 1), "floor_y": 0.0,
        "t_cam_world": np.array([0, 1, 5 + frames / 30]),
    }  # fmt: skip
    return evidence(frames, **given | changes), local, root, contact


def test_a_long_clip_equals_its_pieces_within_a_millimetre(walk_rig, monkeypatch):
    """The walk is up to 14 m away, where depth is felt over many frames; the start is 2 cm off."""
    e, local, root, _ = walk_evidence(walk_rig, 260, 0.01)
    off = root + 0.02 * np.sin(e.times)[:, None] * [0.3, 0, 1]
    near = solve(e, local, off, 6)
    whole = [forward_kinematics(BODY26, e.offsets, *x)[0] for x in (near, solve(e, *near, 2))]
    monkeypatch.setattr(solver, "WINDOW", 90)
    far, settled = (forward_kinematics(BODY26, e.offsets, *solve(e, *x))[0] for x in ((local, off, 6), (*near, 2)))
    assert 0 < np.abs(settled - whole[1]).max() < 0.001
    assert np.abs(far - whole[0]).max() < 0.003 and np.abs(far - whole[0]).mean() < 0.0002


@pytest.mark.parametrize("frames", [1, 809, 810, 811, 1530, 5000])
def test_windows_settle_every_frame_once(frames):
    found = list(windows(frames, 720, 90))
    settled = np.concatenate([np.arange(a, b) for a, b, _ in found])
    np.testing.assert_array_equal(settled, np.arange(frames))
    assert max(stop - start for start, _, stop in found) <= 810
    assert all(stop == frames or stop - b == 90 for _, b, stop in found)


def test_planted_soles_stay_planted_and_above_the_floor(walk_rig):
    """A walk whose lifted feet slide and dip: contact holds them, the floor keeps them out."""
    e, local, root, contact = walk_evidence(walk_rig, 60, 0.0, ray_weight=np.zeros((60, 26)))
    times = e.times
    wrong = root + np.stack([0.05 * np.sin(3 * times), 0.03 * np.sin(5 * times), 0 * times], -1)
    before = forward_kinematics(BODY26, e.offsets, local, wrong)[0][:, SOLES]
    after = forward_kinematics(BODY26, e.offsets, *solve(e, local, wrong, 6))[0][:, SOLES]
    assert metrics.foot_sliding(before, contact, 30) > 3
    assert metrics.foot_sliding(after, contact, 30) < 0.5
    assert before[..., 1].min() < -0.02 and after[..., 1].min() > -0.004


def test_who_flies():
    """Between a take-off and a landing, not for seconds, and not where nothing is seen."""
    times, seen = np.arange(60) / 30, np.ones(60, bool)
    contact = np.ones((60, 8))
    contact[:5] = contact[20:35] = contact[55:] = 0
    flown = flights(contact, times, seen)
    assert (flown[21:34] == 1).all() and not flown[:12].any() and not flown[43:].any()
    assert flown[19:21, 0].tolist() == [0.25, 0.75] and not flown[:19, 0].any()
    assert (np.diff(flown[16:21, 1]) > 0.1).all() and (flown[20:35, 1] == 1).all() and not flown[:16].any()
    assert not flights(contact, 3 * times, seen).any()
    assert not flights(contact, times, seen & (np.arange(60) != 30)).any()
    contact[20:35, 4] = 0.9  # a hand holds on to something
    assert not flights(contact, times, seen).any()


def test_a_jump_keeps_its_height():
    """A stiff body on a parabola of 30 cm, key points and lifter with noise: taken for a body that nothing pulls down,
    it jumps lower."""
    times, duration = np.arange(60) / 30, np.sqrt(8 * 0.3 / 9.81)
    y = 9.81 / 2 * np.maximum((duration / 2) ** 2 - (times - 1) ** 2, 0)
    local = np.broadcast_to(np.eye(3), (60, 26, 3, 3))
    stood, _ = forward_kinematics(BODY26, OFFSETS, local, np.zeros((60, 3)))
    root = np.outer(y, [0, 1, 0]) - [0, stood[0, SOLES, 1].min(), 0]
    rng = np.random.default_rng(0)
    cam = (stood + root[:, None]) * [1, -1, -1] + [0, 1, 5]
    contact = np.zeros((60, 8))
    contact[y == 0, :4] = 0.98
    e = evidence(
        60, times=times, rays=cam[..., :2] / cam[..., 2:] + rng.normal(0, 0.006, (60, 26, 2)),
        ray_weight=np.full((60, 26), 0.1), lifted=stood + rng.normal(0, 0.02, stood.shape),
        sigma_m=np.full((60, 26), 0.05), contact=contact, floor_y=0.0,
    )  # fmt: skip

    def height():
        found = forward_kinematics(BODY26, OFFSETS, *solve(e, local, root, 6))[0][:, SOLES, 1].min(1)
        return found.max() - np.median(found[y == 0])

    falling = height()
    e.flight = np.zeros((60, 2))
    assert abs(falling / 0.3 - 1) < 0.1
    assert height() < falling - 0.015


def test_a_low_hop_is_hardly_held_down_by_contacts_that_fade():
    """A stiff body on a parabola of 10 cm, whose contacts fade over two frames instead of ending. All four soles fade
    at once: taken for independent, they would say that it stands, and the hop would lose 29 %.
    """
    times, duration = np.arange(40) / 30, np.sqrt(8 * 0.1 / 9.81)
    y = 9.81 / 2 * np.maximum((duration / 2) ** 2 - (times - 0.65) ** 2, 0)
    local = np.broadcast_to(np.eye(3), (40, 26, 3, 3))
    stood, _ = forward_kinematics(BODY26, OFFSETS, local, np.zeros((40, 3)))
    root = np.outer(y, [0, 1, 0]) - [0, stood[0, SOLES, 1].min(), 0]
    cam = (stood + root[:, None]) * [1, -1, -1] + [0, 1, 5]
    sharp, fading = np.zeros((2, 40, 8))
    sharp[y == 0, :4] = 0.98
    first, last = np.flatnonzero(y)[[0, -1]]
    fading[...] = sharp
    fading[[first, last], :4], fading[[first + 1, last - 1], :4] = 0.4, 0.15

    def height(contact):
        e = evidence(
            40, times=times, rays=cam[..., :2] / cam[..., 2:], ray_weight=np.full((40, 26), 0.3), lifted=stood,
            sigma_m=np.full((40, 26), 0.05), contact=contact, floor_y=0.0,
        )  # fmt: skip
        return forward_kinematics(BODY26, OFFSETS, *solve(e, local, root * [1, 0.9, 1], 6))[0][:, SOLES, 1].min(1).max()

    assert height(sharp) == pytest.approx(y.max(), rel=0.12)
    assert height(fading) == pytest.approx(height(sharp), rel=0.15)


def test_on_a_belt_planted_soles_move_with_it(walk_rig):
    """A support that drifts: planted soles keep its speed, not the floor's."""
    e, local, root, contact = walk_evidence(walk_rig, 60, 0.0, drift=np.tile([0, 0, -0.9], (60, 1)))
    back = root - np.array([0, 0, 0.9]) * e.times[:, None]
    e.rays = (b := e.to_camera(forward_kinematics(BODY26, e.offsets, local, back)[0]))[..., :2] / b[..., 2:]
    soles = forward_kinematics(BODY26, e.offsets, *solve(e, local, back, 3))[0][:, SOLES]
    both = (contact[1:] > 0.5) & (contact[:-1] > 0.5)
    np.testing.assert_allclose((np.diff(soles, axis=0) * 30)[both].mean(0), [0, 0, -0.9], atol=0.02)


def test_no_sole_sinks_even_where_nothing_is_planted():
    p, _ = forward_kinematics(BODY26, OFFSETS, np.broadcast_to(np.eye(3), (3, 26, 3, 3)), np.zeros((3, 3)))
    floor = p[0, SOLES[0], 1] + 0.04
    e = evidence(
        3, times=np.arange(3) / 30, ray_weight=np.zeros((3, 26)), lifted=p, sigma_m=np.full((3, 26), 0.1),
        contact=np.zeros((3, 8)), floor_y=floor,
    )  # fmt: skip
    local, root = solve(e, np.broadcast_to(np.eye(3), (3, 26, 3, 3)), np.zeros((3, 3)), 4)
    assert (forward_kinematics(BODY26, OFFSETS, local, root)[0][:, SOLES, 1] - floor).min() > -0.01


def test_ranges_hold_natural_poses_and_mark_unnatural_ones(walk_rig):
    """A walk and generated motion lie within; a knee bent forwards, an elbow bent back, a head turned round do not."""
    low, high = (np.array([getattr(r, x) for r in ranges.ORDER]) for x in ("low", "high"))

    def beyond(local):
        angles, _ = ranges.joint_angles(local)
        return np.degrees(np.maximum(low - angles, angles - high))

    local, offsets, _, _ = walk_rig(np.arange(30) / 30)
    assert beyond(local).max() < 10
    p, _ = forward_kinematics(BODY26, offsets, local, np.zeros((30, 3)))
    assert beyond(first_rotations(p)).max() < 10
    names = np.array([BODY26.joints[r.joint] for r in ranges.ORDER])
    for joint, turn in (
        ("left_knee", [-0.6, 0, 0]), ("right_knee", [-0.6, 0, 0]), ("left_elbow", [0, 0.6, 0]),
        ("right_elbow", [0, -0.6, 0]), ("head", [0, 2.2, 0]), ("right_hip", [0.0, 2.0, 0]),
    ):  # fmt: skip
        wrong = np.broadcast_to(np.eye(3), (1, 26, 3, 3)).copy()
        wrong[:, BODY26.index(joint)] = rotvec_to_matrix(np.array([turn]))
        over = beyond(wrong)[0]
        assert over[names == joint].max() > 15, joint
        assert over[names != joint].max() <= 0, joint


def test_ranges_are_the_same_left_and_right():
    local, _ = bent(6, size=0.8)
    mirrored = local[:, list(BODY26.mirror)] * np.outer([-1, 1, 1], [-1, 1, 1])
    left, right = ranges.joint_angles(local)[0], ranges.joint_angles(mirrored)[0]
    at = {(BODY26.joints[r.joint], r.what, str(np.abs(r.first) * 1)): i for i, r in enumerate(ranges.ORDER)}
    for (joint, what, first), i in at.items():
        if joint.startswith("left"):
            j = at[joint.replace("left", "right"), what, first]
            np.testing.assert_allclose(left[:, i], right[:, j], atol=1e-9)
            assert (ranges.ORDER[i].low, ranges.ORDER[i].high) == (ranges.ORDER[j].low, ranges.ORDER[j].high)
