"""What a body stands on: heels, toes, hands and knees; steps and boxes; treadmills; the picture's word."""

import numpy as np
import pytest

from kinelift import metrics
from kinelift.cleanup.contacts import FOOT_LOCKS, SeenSoles, local_slope, persistent, plant, touching
from kinelift.cleanup.surfaces import crowds, supports
from kinelift.datasets.mocap import contact_labels, read_mocap
from kinelift.errors import UnknownNameError
from kinelift.kinematics import forward_kinematics
from kinelift.skeleton import BODY26
from kinelift.training.actions import generate_named_actions

SOLES = list(BODY26.indices("left_heel", "left_toe", "right_heel", "right_toe"))
TIMES = np.arange(90) / 30


@pytest.fixture
def walked(walk_rig):
    """Positions (90, 26, 3) of a walk on a level floor, and its contact."""
    local, offsets, root, contact = walk_rig(TIMES)
    return forward_kinematics(BODY26, offsets, local, root)[0], contact


def acted(name, n=4, frames=90, seed=3):
    p, contact, _ = generate_named_actions(np.random.default_rng(seed), n, frames, only=name)
    return p.astype(float), contact.astype(float)


def spoken(contact):
    """What a good lifter says of contact."""
    return np.clip(contact, 0.03, 0.97)


def seen_by(look_at, soles, rng, noise=0.002, shift=None):
    """The soles (T, 4, 3) as a camera four metres aside sees them, with noise in rays; `shift` moves them in it."""
    camera = look_at([4.5, 1.4, 1.5], [0, 0.5, 1.0])
    cam = camera.to_camera(soles if shift is None else soles + shift)
    rays = cam[..., :2] / cam[..., 2:] + rng.normal(0, noise, cam[..., :2].shape)
    return SeenSoles(rays, np.ones(rays.shape[:2]), camera.R_cam_world, camera.t_cam_world)


@pytest.mark.parametrize("says", [True, False])
def test_a_walk_stands_where_it_stands(walked, says):
    p, contact = walked
    found = plant(spoken(contact) if says else None, p[:, SOLES], TIMES, 1.7, body=p)
    assert metrics.f1(found.contact > 0.5, contact > 0.5) > 0.95
    assert (found.support_y == 0).all() and (found.drift == 0).all() and found.others.max() < 0.1


def test_rate_and_size_do_not_matter(walk_rig):
    """The same walk at 60 frames a second, and by somebody of half the size at 0.7 of the distance a second."""
    shares = []
    for fps, size in ((30, 1.7), (60, 1.7), (30, 0.85)):
        times = np.arange(3 * fps) / fps
        local, offsets, root, contact = walk_rig(times, stature_m=size)
        soles = forward_kinematics(BODY26, offsets, local, root)[0][:, SOLES]
        found = plant(spoken(contact), soles, times, size).contact > 0.5
        assert metrics.f1(found, contact > 0.5) > 0.95
        shares.append(found.mean())
    assert np.ptp(shares) < 0.03


@pytest.mark.parametrize("name", ["walk", "run", "jump", "side_steps", "march"])
def test_actions_keep_their_contact_and_their_floor(name):
    """Running and jumping leave the floor; nothing on a level floor gets a floor of its own."""
    for p, contact in zip(*acted(name), strict=True):
        found = plant(0.2 + 0.6 * contact, p[:, SOLES], TIMES, 1.7, body=p)
        assert metrics.f1(found.contact > 0.5, contact > 0.5) > (0.75 if name == "run" else 0.85)
        assert (found.support_y == 0).all()
        air = p[:, SOLES, 1].min(1) > 0.08
        assert found.contact[air].max(initial=0) < 0.5


def test_the_picture_frees_a_foot_that_the_solve_had_nailed(walked, look_at):
    """A solution stands still, the lifter agrees, but the left toe slides in the picture."""
    p, _ = walked
    still = np.tile(p[:1], (90, 1, 1))
    slide = np.zeros((90, 4, 3))
    slide[30:60, 1, 2] = 0.5 * (TIMES[30:60] - TIMES[30])
    slide[60:, 1, 2] = slide[59, 1, 2]
    rng = np.random.default_rng(0)
    said = np.full((90, 4), 0.7)
    blind = plant(said, still[:, SOLES], TIMES, 1.7).contact
    seen = plant(said, still[:, SOLES], TIMES, 1.7, seen=seen_by(look_at, still[:, SOLES], rng, shift=slide)).contact
    assert blind.min() > 0.5
    assert (seen[33:57, 1] < 0.5).all() and (seen[:27, 1] > 0.5).all() and (seen[63:, 1] > 0.5).all()
    assert (seen[:, [0, 2, 3]] > 0.5).mean() > 0.97


def test_a_moving_camera_does_not_free_feet(walked, look_at):
    """The camera travels half a metre a second past somebody who stands: the picture moves, the soles do not."""
    p, _ = walked
    still = np.tile(p[:1], (90, 1, 1))[:, SOLES]
    cameras = [look_at([4.5, 1.4, z], [0, 0.5, z]) for z in 0.5 * TIMES]
    R, t = np.array([c.R_cam_world for c in cameras]), np.array([c.t_cam_world for c in cameras])
    cam = np.einsum("tij,tfj->tfi", R, still) + t[:, None]
    rays = cam[..., :2] / cam[..., 2:] + np.random.default_rng(1).normal(0, 0.002, (90, 4, 2))
    ones, said = np.ones((90, 4)), np.full((90, 4), 0.7)
    known = plant(said, still, TIMES, 1.7, seen=SeenSoles(rays, ones, R, t)).contact
    denied = plant(said, still, TIMES, 1.7, seen=SeenSoles(rays, ones, R[0], t[0])).contact
    assert (known > 0.5).mean() > 0.97 and (denied > 0.5).mean() < 0.2


def test_heel_and_toe_roll_one_after_the_other(walked):
    """A foot that turns about its toe: the heel rises and is free, the toe stays planted."""
    p, _ = walked
    soles = np.tile(p[:1, SOLES], (90, 1, 1))
    up = np.clip((TIMES - 1) / 0.5, 0, 1)
    reach = soles[0, 0] - soles[0, 1]
    soles[:, 0] = soles[:, 1] + np.stack([0 * up, np.sin(up) * 0.15, 0 * up], -1) + np.cos(up)[:, None] * reach
    found = plant(np.full((90, 4), 0.6), soles, TIMES, 1.7).contact
    assert found[:25, :2].min() > 0.5 and found[35:, 1].min() > 0.5 and found[36:44, 0].max() < 0.5


def test_modes(walked):
    p, contact = walked
    soles, said = p[:, SOLES], spoken(contact)
    by_mode = {m: plant(said, soles, TIMES, 1.7, m, body=p) for m in FOOT_LOCKS}
    assert not by_mode["never"].contact.any()
    assert (by_mode["always"].contact >= by_mode["auto"].contact).all()
    lowest = soles[..., 1] <= soles[..., 1].min(1, keepdims=True)
    assert (by_mode["ground"].contact[lowest] == 1).all()
    assert (by_mode["always"].contact[contact > 0.5] == 1).mean() > 0.9
    flying = p + np.array([0, 0.5, 0]) * np.clip(np.sin(2 * np.pi * TIMES), 0, 1)[:, None, None]
    high = flying[:, SOLES, 1].min(1) > 0.35
    assert not (plant(said, flying[:, SOLES], TIMES, 1.7, "always", body=flying).contact[high] == 1).any()
    with pytest.raises(UnknownNameError, match="always, auto, ground, never"):
        plant(said, soles, TIMES, 1.7, "sometimes")


def test_a_treadmill_is_found_and_stays_in_place(walked):
    """A walk at 0.9 m/s carried back at 0.9 m/s: feet stand on a belt that runs backwards, at the belt's speed."""
    p, contact = walked
    carried = p - np.array([0, 0, 0.9]) * TIMES[:, None, None]
    soles = carried[:, SOLES] + np.random.default_rng(2).normal(0, 0.002, (90, 4, 3))
    found = plant(spoken(contact), soles, TIMES, 1.7, body=carried, treadmill=True)
    np.testing.assert_allclose(found.drift, np.tile([0, 0, -0.9], (90, 1)), atol=0.08)
    assert metrics.f1(found.contact > 0.5, contact > 0.5) > 0.9
    unsaid = plant(None, soles, TIMES, 1.7, body=carried, treadmill=True)
    np.testing.assert_allclose(unsaid.drift, np.tile([0, 0, -0.9], (90, 1)), atol=0.1)
    alone = plant(spoken(contact), p[:, SOLES], TIMES, 1.7, body=p, treadmill=True)
    np.testing.assert_allclose(alone.drift, 0, atol=0.08)


def off_the_floor(p, contact, rng, tilt=0.0):
    """Soles' error of support heights where planted, metres, from noisy positions in a world that is tilted."""
    noisy = p + rng.normal(0, 0.012, (len(p), 1, 3))
    noisy[..., 1] += tilt * p[:, :1, 2]
    found = plant(spoken(contact), noisy[:, SOLES], np.arange(len(p)) / 30, 1.7, body=noisy)
    return (found.support_y - noisy[:, SOLES, 1])[(contact > 0.5) & (found.contact > 0.5)], found


def test_stairs_are_stood_on():
    rng = np.random.default_rng(4)
    for p, contact in zip(*acted("climb", frames=120), strict=True):
        p[..., 1] -= p[:, SOLES, 1][contact > 0.5].min()
        miss, found = off_the_floor(p, contact, rng)
        assert np.ptp(p[:, SOLES, 1][contact > 0.5]) > 0.4
        assert np.percentile(np.abs(miss), 90) < 0.03
        assert metrics.f1(found.contact > 0.5, contact > 0.5) > 0.85


def test_a_box_is_stood_on_and_the_floor_stays(walk_rig):
    """Up onto a box of 30 cm in the middle of a walk and down again."""
    times = np.arange(150) / 30
    local, offsets, root, contact = walk_rig(times)
    p = forward_kinematics(BODY26, offsets, local, root)[0]
    z = np.where(contact > 0.5, p[:, SOLES, 2], np.nan)

    def box(z):
        return np.where((z > 1.3) & (z < 2.9), 0.3, 0.0)

    lift = np.zeros((150, 4))
    for foot in (slice(0, 2), slice(2, 4)):
        where = z[:, foot].mean(1)
        known = np.isfinite(where)
        lift[:, foot] = np.interp(times, times[known], box(where[known]))[:, None]
    p[:, SOLES, 1] += lift
    rest = [j for j in range(26) if j not in SOLES]
    p[:, rest, 1] += lift.mean(1)[:, None]
    miss, found = off_the_floor(p, contact, np.random.default_rng(5))
    assert np.percentile(np.abs(miss), 90) < 0.03
    assert {0.0, 0.3} == set(np.round(np.unique(found.support_y), 1))


@pytest.mark.parametrize("tilt", [0.0, 0.05, -0.08])
def test_a_level_walk_has_one_floor(walk, walk_rig, tilt):
    """Also where gravity is off by three or five degrees and heights drift by decimetres."""
    times = np.arange(150) / 30
    _, found = off_the_floor(walk(times), walk_rig(times)[3], np.random.default_rng(6), tilt)
    assert (found.support_y == 0).all()


def test_one_foot_on_a_step_and_the_other_never_down(walk_rig):
    """A foot that stands twice on the floor and twice on a box; the other one is never said to stand."""
    local, offsets, root, contact = walk_rig(times := np.arange(150) / 30)
    p = forward_kinematics(BODY26, offsets, local, root)[0]
    p[times > 2.5, :, 1] += 0.3
    contact[:, 2:] = 0
    found = supports(contact, p[:, SOLES], p[:, 0], times, 1.7)
    assert found[:, :2].max() == pytest.approx(0.3, abs=0.03)
    assert not found[:, 2:].any()


def test_feet_in_the_air_are_no_stance():
    """Somebody stands, then sits on something high, feet dangling 25 cm above the floor ahead of the body."""
    p = np.tile(acted("standing", n=1)[0][0, :1], (90, 1, 1))
    p[45:, SOLES] += [0, 0.25, 0.6]
    found = plant(np.full((90, 4), 0.8), p[:, SOLES], TIMES, 1.7, body=p)
    assert (found.support_y == 0).all()
    assert found.contact[:40].min() > 0.5


def test_hands_and_knees():
    for p, _ in zip(*acted("crawl", n=2), strict=True):
        others = touching(p, TIMES, 1.7, 0.0)
        assert (others > 0.5).mean(0).min() > 0.2
        points = p[:, BODY26.indices("left_hand", "right_hand", "left_knee", "right_knee")]
        speed = np.linalg.norm(np.gradient(points, TIMES, axis=0), axis=-1)
        assert np.median(speed[others > 0.5]) < 0.1
    p, _ = acted("standing", n=2)
    assert touching(p[0], TIMES, 1.7, 0.0).max() < 0.1


def test_real_walks_stay_on_one_floor(data):
    """Held-out mocap of walking, with a gravity that is two degrees off."""
    clips = [c for c in read_mocap(data / "mocap" / "cmu.npz") if "walk" in c.name.lower()][:12]
    if not clips:
        pytest.skip("no walking clips")
    for clip in clips:
        p = clip.positions[:600].astype(float)
        p[..., 1] += 0.035 * p[..., 2]
        said = spoken(contact_labels(clip.positions[:600], clip.fps))
        lacking = ~np.isfinite(p).all((0, 2))
        p[:, lacking] = p[:, :1]
        found = plant(said, p[:, SOLES], np.arange(len(p)) / clip.fps, 1.7, body=p)
        assert (found.support_y == 0).mean() > 0.99, clip.name


def test_local_slope_is_exact_for_lines_and_knows_noise():
    rng = np.random.default_rng(7)
    t = np.cumsum(rng.uniform(0.02, 0.05, 300))
    line = t[:, None, None] * np.array([[3.0, -1.0]]) + 2
    slope, sigma = local_slope(line, np.ones((300, 1)), t)
    np.testing.assert_allclose(slope[:, 0], np.tile([3.0, -1.0], (300, 1)), atol=1e-9)
    assert sigma.max() < 1e-6
    slope, sigma = local_slope(line + rng.normal(0, 0.01, line.shape), np.ones((300, 1)), t)
    off = np.linalg.norm(slope[:, 0] - [3.0, -1.0], axis=-1) / np.sqrt(2)
    assert 0.6 < np.sqrt((off**2).mean()) / np.median(sigma) < 1.7
    assert np.isnan(local_slope(line, np.zeros((300, 1)), t)[1]).all()


def test_stray_frames_neither_make_nor_break_a_stance():
    odds = np.full((60, 1), -3.0)
    odds[20:40] = 3.0
    odds[[5, 30]] *= -1
    assert ((persistent(odds, np.arange(60) / 30) > 0)[:, 0] == ((np.arange(60) >= 20) & (np.arange(60) < 40))).all()


def test_crowds_are_told_apart():
    rng = np.random.default_rng(8)
    levels = np.repeat([0.0, 0.17, 0.34], 30)
    group = crowds(levels + rng.normal(0, 0.015, 90), np.ones(90))
    assert len(set(group)) == 3 and all(len(set(group[i : i + 30])) == 1 for i in (0, 30, 60))


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_short_clips(walked, frames):
    p, contact = (x[:frames] for x in walked)
    for mode in FOOT_LOCKS:
        found = plant(contact, p[:, SOLES], TIMES[:frames], 1.7, mode, body=p, treadmill=True)
        assert np.isfinite(found.contact).all() and found.contact.shape == (frames, 4)
