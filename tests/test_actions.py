"""Laws of generated actions: rigid bones, planted soles, a floor, balance, joints inside their ranges, no pops."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

from kinelift.datasets.mocap import SOLES, contact_labels
from kinelift.errors import UnknownNameError
from kinelift.kinematics import bone_lengths, mass_weights
from kinelift.skeleton import BODY26
from kinelift.training import actions, stances
from kinelift.training.actions import ACTIONS, generate_actions, generate_named_actions
from kinelift.training.body_ik import solve
from kinelift.training.generate import random_offsets
from kinelift.training.motion_plan import Body, Loop, Plan, Timing, join

FRAMES = 48
LEAVING_THE_FLOOR = {"run", "jump", "jacks"}
# Seat, back or knees carry the body; they are inside the flesh, up to this far above the floor.
ON_THE_FLOOR = {"sit_floor", "lie", "lie_prone", "crawl", "kneel"}
BALANCED = {"standing", "weight_shift", "squat", "bend", "reach", "balance", "kick", "stretch", "boxing"}


@dataclass(frozen=True, eq=False)
class Made:
    action: str
    positions: np.ndarray
    contacts: np.ndarray

    def joint(self, name: str) -> np.ndarray:
        return self.positions[:, :, BODY26.index(name)]

    def bend(self, a: str, b: str, c: str) -> np.ndarray:
        """Degrees by which the middle joint is bent, 0 = straight."""
        u, v = self.joint(b) - self.joint(a), self.joint(c) - self.joint(b)
        cosine = (u * v).sum(-1) / (np.linalg.norm(u, axis=-1) * np.linalg.norm(v, axis=-1))
        return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


@cache
def make(action: str) -> Made:
    positions, contacts, names = generate_named_actions(np.random.default_rng(5), 40, FRAMES, only=action)
    assert set(names) == {action}
    return Made(action, positions.astype(float), contacts.astype(float))


@pytest.fixture(scope="module", params=ACTIONS)
def made(request: pytest.FixtureRequest) -> Made:
    return make(request.param)


def test_bones_keep_their_length(made: Made) -> None:
    assert np.isfinite(made.positions).all()
    assert np.ptp(bone_lengths(BODY26, made.positions), axis=1).max() < 1e-5


def test_body_moves_and_windows_differ(made: Made) -> None:
    relative = made.positions - made.positions[:, :, :1]
    assert np.median(np.ptp(relative, axis=1).max((1, 2))) > 0.015
    assert np.linalg.norm(relative[:, 0] - relative[::-1, 0], axis=-1).mean() > 0.1


def test_soles_in_contact_stay(made: Made) -> None:
    step = np.linalg.norm(np.diff(made.positions[:, :, SOLES], axis=1), axis=-1)
    down = (made.contacts[:, 1:] > 0.5) & (made.contacts[:, :-1] > 0.5)
    if made.action not in {"lie", "lie_prone"}:
        assert down.mean() > 0.05
        assert np.percentile(step[down], 85) < 0.002
    # Heel and toe both down: the foot is flat and does not move at all, but for the roll at its beginning and end.
    flat = np.repeat(down[..., 0::2] & down[..., 1::2], 2, axis=-1)
    if flat.mean() > 0.2:
        assert np.median(step[flat]) < 0.0003 and np.percentile(step[flat], 80) < 0.0015


@pytest.mark.parametrize("action", sorted(set(ACTIONS) - {"climb"}))
def test_contacts_agree_with_the_label_of_mocap(action: str) -> None:
    made = make(action)
    label = contact_labels(made.positions, 30.0) > 0.5
    ours = made.contacts > 0.5
    assert (ours & ~label).mean() < 0.01


def test_floor_is_touched_and_not_pierced(made: Made) -> None:
    low = made.positions[..., 1].min(-1)
    assert low.min() > -actions.MAX_DEPTH_M - 1e-6
    if made.action in ON_THE_FLOOR:
        assert np.percentile(low, 95) < 0.11
    elif made.action == "climb":
        assert np.abs(low.min(1)).max() < 1e-6
    elif made.action not in LEAVING_THE_FLOOR:
        assert low.max() < 0.008
    else:
        assert low.max() > 0.02 and (low < 0.008).mean() > 0.2


def test_knees_and_elbows_bend_one_way(made: Made) -> None:
    for side in ("left", "right"):
        knee = made.bend(f"{side}_hip", f"{side}_knee", f"{side}_ankle")
        elbow = made.bend(f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist")
        assert knee.max() < 150 and elbow.max() < 150
        thigh = made.joint(f"{side}_knee") - made.joint(f"{side}_hip")
        shank = made.joint(f"{side}_ankle") - made.joint(f"{side}_knee")
        across = np.cross(thigh, shank)
        left = made.joint("left_hip") - made.joint("right_hip")
        trunk = made.joint("neck") - made.joint("pelvis")
        # The knee's axis points to the body's left or, for legs turned out, ahead or back, never to its right.
        ahead = np.cross(left, trunk)
        axis = across / np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-9)
        unit = [v / np.linalg.norm(v, axis=-1, keepdims=True) for v in (left, trunk, ahead)]
        along = (axis * unit[0]).sum(-1)
        bent = knee > 20
        if bent.any() and made.action not in {"sit_floor", "lie", "lie_prone"}:
            assert np.percentile(along[bent], 0.5) > -0.2 and np.median(along[bent]) > 0.7


def test_ankles_stay_in_range(made: Made) -> None:
    for side in ("left", "right"):
        shank = made.joint(f"{side}_knee") - made.joint(f"{side}_ankle")
        sole = made.joint(f"{side}_toe") - made.joint(f"{side}_heel")
        cosine = (shank * sole).sum(-1) / (np.linalg.norm(shank, axis=-1) * np.linalg.norm(sole, axis=-1))
        flexion = 90 - np.degrees(np.arccos(cosine))
        assert np.percentile(flexion, 99.5) < 42 and np.percentile(flexion, 0.5) > -62


def test_nothing_pops(made: Made) -> None:
    acceleration = np.linalg.norm(np.diff(made.positions, 2, axis=1), axis=-1) * 900
    assert acceleration.max() < actions.MAX_ACCELERATION * 1.01
    trunk = BODY26.indices("pelvis", "spine", "chest", "neck")
    assert np.percentile(acceleration[:, :, trunk], 99) < 45


@pytest.mark.parametrize("action", sorted(BALANCED))
def test_standing_actions_are_balanced(action: str) -> None:
    made = make(action)
    com = np.einsum("ntji,j->nti", made.positions, mass_weights())
    soles = made.positions[:, :, SOLES]
    near = (soles[..., 1:2] < 0.03) | (made.contacts[..., None] > 0.5)
    low = np.where(near, soles, np.inf).min(2)
    high = np.where(near, soles, -np.inf).max(2)
    outside = np.maximum(low - com, com - high)[..., [0, 2]].max(-1)
    assert np.percentile(outside, 95) < 0.03


def test_flight_obeys_gravity() -> None:
    p, _, _ = generate_named_actions(np.random.default_rng(2), 60, 64, only="jump")
    com = np.einsum("ntji,j->nti", p.astype(float), mass_weights())[..., 1]
    fall = np.diff(com, 2, axis=1) * 900
    low = p[..., 1].min(-1)
    flying = (low[:, 2:] > 0.03) & (low[:, 1:-1] > 0.03) & (low[:, :-2] > 0.03)
    assert flying.sum() > 100
    assert -14 < np.median(fall[flying]) < -6


def test_seed_decides_everything() -> None:
    first, second = (generate_actions(np.random.default_rng(3), 20, FRAMES) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    assert first[0].shape == (20, FRAMES, 26, 3) and first[0].dtype == np.float32
    assert first[1].shape == (20, FRAMES, 4) and first[1].dtype == np.float32
    assert first[1].min() >= 0 and first[1].max() <= 1
    other, _ = generate_actions(np.random.default_rng(4), 20, FRAMES)
    assert np.abs(other - first[0]).max() > 0.1


@pytest.fixture(scope="module")
def many() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return generate_named_actions(np.random.default_rng(8), 600, 32)


def test_left_and_right_are_treated_alike(many: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    p, contacts, _ = many
    for joint in ("hand", "knee", "toe"):
        left, right = (p[:, :, BODY26.index(f"{s}_{joint}"), 1].mean(1) for s in ("left", "right"))
        gap = left - right
        assert abs(gap.mean()) < 4 * gap.std() / np.sqrt(len(gap))
    gap = contacts[..., :2].mean((1, 2)) - contacts[..., 2:].mean((1, 2))
    assert abs(gap.mean()) < 4 * gap.std() / np.sqrt(len(gap))


def test_every_action_comes_in_its_share(many: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    names = many[2]
    total = sum(a.share for a in ACTIONS.values())
    for name, action in ACTIONS.items():
        expected = len(names) * action.share / total
        assert abs((names == name).sum() - expected) < 5 * np.sqrt(expected) + 1


def test_headings_are_even(many: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    left = many[0][:, 0, BODY26.index("left_hip")] - many[0][:, 0, BODY26.index("right_hip")]
    angle = np.arctan2(left[:, 2], left[:, 0])
    assert np.hypot(np.cos(angle).mean(), np.sin(angle).mean()) < 4 / np.sqrt(len(angle))


def test_loop_follows_a_parabola_exactly() -> None:
    rng = np.random.default_rng(0)
    spans = np.array([[0.5, 0.4]])
    loop = Loop(rng, spans, 90)
    flight = loop.spans[0, 0]
    values, slopes = np.array([[0.0, 0.0]]), np.array([[4.9 * 0.5, -4.9 * 0.5]])
    u = loop.during(0)[0]
    mine = loop(values, slopes)[0][u >= 0]
    span = loop.span[0][u >= 0]
    np.testing.assert_allclose(mine, 4.9 * 0.5 * span * u[u >= 0] * (1 - u[u >= 0]), atol=1e-12)
    assert abs(flight - 0.5) < 0.1


def test_timing_stays_between_its_keys_and_reaches_them() -> None:
    rng = np.random.default_rng(1)
    timing = Timing(rng, 50, 240)
    keys = rng.uniform(-1, 1, (50, timing.count))
    curve = timing(keys)
    assert curve.max() <= keys.max() and curve.min() >= keys.min()
    nearest = np.abs(curve[:, :, None] - keys[:, None]).min(1)
    assert np.median(nearest[:, 1]) < 0.02


def _standing_plans(n: int, frames: int) -> tuple[Body, Plan, Plan]:
    rng = np.random.default_rng(6)
    body = Body.of(random_offsets(rng, n))
    return body, stances.standing(rng, body, frames), stances.squat(rng, body, frames)


def test_going_over_starts_as_one_and_ends_as_the_other() -> None:
    body, first, second = _standing_plans(6, 80)
    before = {k: v.copy() for k, v in first.curves.items()}
    join(first, second, np.full(6, 0.8), np.full(6, 0.9))
    for name, curve in first.curves.items():
        np.testing.assert_allclose(curve[:, :24], before[name][:, :24], atol=1e-9)
        turned = name == "foot_yaw"
        gap = curve[:, 55:] - second.curves[name][:, 55:]
        np.testing.assert_allclose((gap + 180) % 360 - 180 if turned else gap, 0, atol=1e-9)
    positions, strain = solve(first, body)
    assert strain.max() < actions.MAX_STRAIN_M
    assert (np.linalg.norm(np.diff(positions, 2, axis=1), axis=-1) * 900).max() < actions.MAX_ACCELERATION


def test_plan_rejects_unknown_curves() -> None:
    _, plan, _ = _standing_plans(2, 10)
    with pytest.raises(AttributeError):
        _ = plan.tail
    with pytest.raises(KeyError):
        plan.tail = 1.0


def test_unknown_action_is_named_with_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"cartwheel.*walk"):
        generate_named_actions(np.random.default_rng(0), 1, 8, only="cartwheel")
