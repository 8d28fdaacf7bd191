"""Actions on planted feet: standing and gesturing, squats, sitting, lunges, bending, reaching, one-legged balance.

Each function draws a `Plan` for n bodies. Ranges are those of healthy adults, chosen by eye and clinical tables
(American Academy of Orthopaedic Surgeons); nothing is recorded.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kinelift.training.motion_plan import ARM, SIDE, Body, Plan, Timing, bump, chance, draw, lean_com, minjerk, wander

# Arm poses: shoulder flexion, abduction, inward twist and elbow flexion in degrees, and how much each may vary.
ARM_POSES = {
    "relaxed": ((0, 8, 12, 14), (7, 4, 10, 8)),
    "front": ((22, 10, 30, 85), (12, 8, 18, 20)),
    "talk": ((38, 22, 30, 72), (18, 14, 30, 28)),
    "point": ((85, 12, 8, 10), (18, 18, 15, 12)),
    "aside": ((8, 85, 0, 10), (18, 12, 20, 12)),
    "high": ((160, 14, 0, 15), (14, 12, 15, 15)),
    "head": ((85, 35, 15, 128), (18, 18, 15, 10)),
    "phone": ((35, 15, 20, 128), (12, 8, 15, 10)),
    "hips": ((-22, 42, 75, 92), (6, 5, 8, 8)),
    "folded": ((38, 4, 72, 98), (5, 4, 6, 6)),
    "behind": ((-32, 14, 62, 40), (6, 4, 8, 14)),
    "guard": ((48, 14, 22, 125), (12, 8, 12, 10)),
    "carry": ((18, 8, 8, 82), (10, 6, 10, 12)),
    "wave": ((70, 60, -75, 85), (18, 14, 12, 25)),
}
TALKING = ("relaxed", "relaxed", "relaxed", "front", "talk", "talk", "talk", "point", "aside", "phone", "head", "wave")
RESTING = ("relaxed", "relaxed", "relaxed", "front", "hips", "folded", "behind", "carry", "phone")
ANYTHING = tuple(ARM_POSES)


def arm_keys(rng: np.random.Generator, n: int, count: int, poses: Sequence[str], same: float = 0.45) -> np.ndarray:
    """(n, count, 2, 6) random arm poses of these kinds; both arms alike in this share of the windows."""
    middle = np.array([ARM_POSES[k][0] for k in poses], float)
    spread = np.array([ARM_POSES[k][1] for k in poses], float)
    pick = rng.integers(0, len(poses), (n, count, 2))
    pick[..., 1] = np.where(rng.random((n, 1)) < same, pick[..., 0], pick[..., 1])
    keys = middle[pick] + spread[pick] * np.clip(rng.normal(0, 0.8, (n, count, 2, 4)), -1.8, 1.8)
    wrists = rng.normal(0, (14, 7), (n, count, 2, 2))
    return np.concatenate([keys, wrists], -1)


def set_arms(plan: Plan, values: np.ndarray) -> None:
    """Write arm angles (n, T, 2, 6) into the plan."""
    for i, name in enumerate(ARM):
        plan.curves[name][...] = values[..., i]


def held_arms(rng: np.random.Generator, plan: Plan, poses: Sequence[str], still: float = 0.5) -> None:
    """Arms that keep one pose in this share of the windows, else change it now and then."""
    n, frames = plan.shape
    timing = Timing(rng, n, frames, (0.5, 1.4), (0.2, 2.0))
    keys = arm_keys(rng, n, timing.count, poses)
    stay = (rng.random(n) < still)[:, None, None, None]
    set_arms(plan, timing(np.where(stay, keys[:, :1], keys)))


def stand(rng: np.random.Generator, body: Body, frames: int, width: tuple[float, float] = (0.06, 0.17)) -> Plan:
    """Feet on the floor at about hip width, relaxed arms, weight in the middle."""
    n = len(body)
    plan = Plan(body, frames)
    half, stagger = draw(rng, n, *width), rng.normal(0, 0.04, (n, 1))
    plan.foot[..., 0] = (half * SIDE)[:, None]
    plan.foot[..., 2] = (stagger * SIDE)[:, None]
    plan.foot_yaw = (rng.normal(9, 7, (n, 2)) * SIDE)[:, None]
    plan.knee_out = rng.normal(0, 4, (n, 1, 2))
    plan.height = body.stand - np.abs(rng.normal(0, 0.005, (n, 1)))
    plan.hang = draw(rng, n, 0.3, 0.9)
    plan.yaw = (plan.foot_yaw.mean(-1)) * 0.5
    held_arms(rng, plan, RESTING)
    lean_com(plan)
    return plan


def look(rng: np.random.Generator, plan: Plan, size: float = 1.0) -> None:
    """A head that glances about, and a trunk that follows a little."""
    n, frames = plan.shape
    timing = Timing(rng, n, frames, (0.35, 1.0), (0.2, 2.0))
    keys = rng.normal(0, 1, (n, timing.count, 3)) * rng.uniform(0.1, 1, (n, 1, 1)) * size
    glance = timing(keys)
    plan.neck_twist += 28 * glance[..., 0]
    plan.neck_flex += 12 * glance[..., 1]
    plan.neck_side += 5 * glance[..., 2]
    plan.spine_twist += 5 * glance[..., 0]


def shift_weight(rng: np.random.Generator, plan: Plan, size: float) -> None:
    """Sway from foot to foot; the hip over the loaded leg rises."""
    n, frames = plan.shape
    timing = Timing(rng, n, frames, (0.6, 1.8), (0.2, 2.5))
    share = 0.5 + np.clip(timing(rng.normal(0, size, (n, timing.count))), -0.42, 0.42)
    plan.side -= 9 * (share - 0.5)
    plan.spine_side += 9 * (share - 0.5)
    lean_com(plan, share)


def standing(rng: np.random.Generator, body: Body, frames: int) -> Plan:
    """Standing about, talking with the hands."""
    n = len(body)
    plan = stand(rng, body, frames)
    timing = Timing(rng, n, frames, (0.3, 1.0), (0.0, 0.9))
    talk = timing(arm_keys(rng, n, timing.count, TALKING))
    beat = wander(rng, (n, frames, 2, 6), 0.6, 2.2) * np.array([4, 3, 6, 7, 6, 3]) * rng.uniform(0, 1, (n, 1, 1, 1))
    quiet = (rng.random(n) < 0.3)[:, None, None, None]
    arms = np.stack([plan.curves[k] for k in ARM], -1)
    set_arms(plan, np.where(quiet, arms, talk + beat))
    shift_weight(rng, plan, 0.12)
    plan.lean += rng.normal(2, 3, (n, 1))
    plan.spine_flex += np.abs(rng.normal(4, 6, (n, 1))) + 2 * wander(rng, (n, frames))
    plan.spine_twist += 6 * wander(rng, (n, frames)) * rng.random((n, 1))
    look(rng, plan)
    return plan


def weight_shift(rng: np.random.Generator, body: Body, frames: int) -> Plan:
    """Wide sways from side to side, knees giving way."""
    n = len(body)
    plan = stand(rng, body, frames, (0.08, 0.3))
    shift_weight(rng, plan, 0.35)
    give = Timing(rng, n, frames).reps(rng)
    plan.height -= draw(rng, n, 0, 0.12) * give
    plan.yaw += 10 * wander(rng, (n, frames)) * rng.random((n, 1))
    plan.spine_twist += 12 * wander(rng, (n, frames))
    held_arms(rng, plan, ANYTHING, 0.3)
    look(rng, plan, 0.7)
    return plan


def squat(rng: np.random.Generator, body: Body, frames: int) -> Plan:
    """Squats of any depth, heels down or up, arms forward, overhead, crossed or hanging."""
    n = len(body)
    plan = stand(rng, body, frames, (0.07, 0.28))
    deep = Timing(rng, n, frames, (0.5, 1.4), (0.0, 0.8)).reps(rng)
    depth = rng.triangular(0.12, 0.5, 0.66, (n, 1))
    plan.height -= depth * body.leg * deep
    plan.foot_yaw += (draw(rng, n, 0, 18) * SIDE)[:, None]
    plan.knee_out += (draw(rng, n, 0, 10) * np.minimum(depth / 0.4, 1))[..., None]
    lean = draw(rng, n, 22, 48)
    plan.lean += lean * deep * np.minimum(depth / 0.45, 1)
    plan.spine_flex += draw(rng, n, -6, 22) * deep
    plan.neck_flex -= draw(rng, n, 0.1, 0.7) * lean * deep
    plan.foot_pitch += (chance(rng, n, 0.25) * draw(rng, n, 10, 35) * deep)[..., None]
    both = arm_keys(rng, n, 2, ("relaxed", "point", "point", "high", "front", "folded", "guard", "hips", "carry"), 0.95)
    always = chance(rng, n, 0.5)[..., None, None]
    raised = np.maximum(always, deep[..., None, None])
    set_arms(plan, both[:, :1] * raised + arm_keys(rng, n, 1, ("relaxed",)) * (1 - raised))
    plan.hang = draw(rng, n, 0, 1)
    lean_com(plan)
    return plan


def sit(rng: np.random.Generator, body: Body, frames: int) -> Plan:
    """Sitting down, sitting and gesturing, standing up; the chair is not seen."""
    n = len(body)
    plan = stand(rng, body, frames)
    timing = Timing(rng, n, frames, (0.8, 1.6), (0.2, 1.8))
    still = rng.random((n, 1)) < 0.5
    down = np.where(still, 1.0, timing.reps(rng) ** 0.5)
    seat = body.ankle[:, None] + body.shank[:, None] * draw(rng, n, 0.88, 1.12) + 0.03
    plan.height += down * (seat - plan.height)
    behind = plan.foot[..., 2].mean(-1) - body.thigh[:, None] * draw(rng, n, 0.7, 1.05)
    plan.root[..., 1] = behind
    settle = minjerk((down - 0.35) / 0.6)
    way = bump(down)
    plan.lean += draw(rng, n, 24, 42) * way + rng.normal(-4, 9, (n, 1)) * settle
    plan.spine_flex += draw(rng, n, 5, 20) * way + np.abs(rng.normal(6, 10, (n, 1))) * settle
    plan.neck_flex -= draw(rng, n, 5, 22) * way
    spread = draw(rng, n, -4, 22)
    plan.knee_out += (spread * settle)[..., None]
    tuck = rng.normal(0, 0.06, (n, 1, 2)) * still[..., None]
    plan.foot[..., 2] += tuck
    busy = Timing(rng, n, frames, (0.4, 1.2), (0, 1.5))
    lap = arm_keys(rng, n, busy.count, ("front", "talk", "front", "carry", "folded", "head", "phone"))
    lap[..., 0] = np.where(rng.random((n, 1, 1)) < 0.5, draw(rng, n, 22, 45)[..., None], lap[..., 0])
    arms = np.stack([plan.curves[k] for k in ARM], -1)
    set_arms(plan, arms + down[..., None, None] * (busy(lap) - arms))
    plan.hang = 0.9 * (1 - settle)
    look(rng, plan, 0.8)
    lean_com(plan)
    plan.balance = 1 - settle
    return plan


def lunge(rng: np.random.Generator, body: Body, frames: int) -> Plan:
    """Lunges in place or with a step forwards, backwards or sideways and back."""
    n = len(body)
    plan = stand(rng, body, frames, (0.06, 0.14))
    timing = Timing(rng, n, frames, (0.55, 1.3), (0.0, 0.6))
    down = timing.reps(rng)
    stepping = rng.random((n, 1)) < 0.5
    size = rng.uniform(0.45, 0.85, (n, 1))
    turn = np.radians(rng.choice([0.0, 0.0, 0.0, 180.0, 75.0], (n, 1)) + rng.normal(0, 12, (n, 1)))
    aside = np.abs(np.sin(turn))
    out = np.where(stepping, minjerk(down / 0.55), 1.0)
    sink = np.where(stepping, minjerk((down - 0.35) / 0.65), down)
    step = out * size
    plan.foot[:, :, 0, 0] += step * np.sin(turn)
    plan.foot[:, :, 0, 2] += step * np.cos(turn)
    plan.foot[:, :, 0, 1] += np.where(stepping, 0.1 * bump(down / 0.55), 0)
    plan.foot_yaw[:, :, 0] += 12 * out * np.sin(turn)
    rear = 42 * size * out * np.cos(turn)
    plan.foot_pitch[:, :, 1] += np.maximum(rear, 0) * (0.5 + 0.5 * sink)
    plan.foot_pitch[:, :, 0] += np.maximum(-rear, 0) * (0.5 + 0.5 * sink)
    depth = rng.triangular(0.12, 0.36, 0.46, (n, 1)) * (1 - 0.25 * aside)
    plan.height -= (depth * sink + 0.05 * out) * body.leg
    plan.lean += draw(rng, n, 0, 22) * sink
    plan.spine_twist += 25 * rng.normal(0, 1, (n, 1)) * chance(rng, n, 0.3) * sink
    plan.side += 5 * np.sin(turn) * sink
    held_arms(rng, plan, ("relaxed", "hips", "front", "high", "aside", "guard", "point", "folded"), 0.5)
    reach = 0.5 + 0.18 * np.cos(turn) * out * draw(rng, n, 0, 1) + 0.35 * aside * sink
    lean_com(plan, np.clip(reach, 0.1, 0.9), 2.0, 0.5)
    return plan


def bend(rng: np.random.Generator, body: Body, frames: int) -> Plan:
    """Bending to the floor with straight or bent knees, picking things up, lifting, bowing."""
    n = len(body)
    plan = stand(rng, body, frames)
    timing = Timing(rng, n, frames, (0.6, 1.5), (0.0, 0.8))
    down = timing.reps(rng)
    size = rng.triangular(0.3, 0.9, 1.0, (n, 1))
    knees = rng.random((n, 1))
    plan.height -= size * (0.03 + 0.42 * knees**1.5) * body.leg * down
    plan.lean += size * (62 - 18 * knees) * down
    plan.spine_flex += size * draw(rng, n, 18, 52) * down
    plan.neck_flex += draw(rng, n, -30, 18) * size * down
    twist = rng.normal(0, 14, (n, 1)) * down
    plan.spine_twist += twist
    plan.yaw += 0.5 * twist
    plan.spine_side += rng.normal(0, 7, (n, 1)) * down
    grip = arm_keys(rng, n, timing.count, ("relaxed", "front", "carry", "hips", "phone"), 0.7)
    reach = arm_keys(rng, n, timing.count, ("relaxed",), 0.7)
    reach[..., 0] += draw(rng, n, 0, 30)[..., None]
    one = (rng.random((n, 1, 2)) < 0.85).astype(float)
    w = (down[..., None] * one)[..., None]
    set_arms(plan, timing(grip[:, :1] + 0 * grip) * (1 - w) + timing(reach) * w)
    plan.hang = np.maximum(draw(rng, n, 0.7, 1.05), 0)
    lean_com(plan)
    return plan


def reach(rng: np.random.Generator, body: Body, frames: int) -> Plan:
    """Reaching high, low, sideways, across; the trunk goes along and heels rise for high things."""
    n = len(body)
    plan = stand(rng, body, frames, (0.07, 0.25))
    timing = Timing(rng, n, frames, (0.45, 1.2), (0.1, 0.8))
    count = timing.count
    rest = np.arange(count)[None] % 2 == rng.integers(0, 2, (n, 1))
    rest = rest & (rng.random((n, 1)) < 0.6)
    arms = arm_keys(rng, n, count, RESTING)
    flex, out = rng.uniform(10, 172, (n, count)), rng.uniform(-15, 85, (n, count))
    out = out * np.sin(np.radians(np.clip(flex, 20, 160)))
    lead = np.stack([flex, out, rng.normal(0, 18, (n, count)), np.abs(rng.normal(8, 14, (n, count)))], -1)
    goes = ~rest[..., None]
    arms[:, :, 0, :4] = np.where(goes, lead, arms[:, :, 0, :4])
    two = (rng.random((n, 1)) < 0.35)[..., None]
    arms[:, :, 1, :4] = np.where(goes & two, lead + rng.normal(0, 8, lead.shape), arms[:, :, 1, :4])
    set_arms(plan, timing(arms))
    far = np.where(rest, 0, rng.uniform(0.1, 1, (n, count)))
    high = timing(np.clip((flex - 120) / 50, 0, 1) * far)
    low = timing(np.clip((60 - flex) / 50, 0, 1) * far)
    sideways = timing(np.clip(out / 60, -0.4, 1) * far)
    ahead = timing(np.clip(1 - np.abs(flex - 80) / 60, 0, 1) * far * np.cos(np.radians(out)))
    plan.foot_pitch += (28 * minjerk((high - 0.35) / 0.6) * chance(rng, n, 0.6))[..., None]
    plan.height += 0.02 * high - 0.3 * low * draw(rng, n, 0, 1) ** 2
    plan.lean += 14 * ahead + 38 * low - 4 * high
    plan.spine_flex += 14 * ahead + 25 * low - 9 * high
    plan.neck_flex += -26 * high - 10 * ahead - 12 * low
    plan.spine_side -= 18 * sideways * (1 - low)
    plan.side -= 5 * sideways
    plan.spine_twist += np.where(two[..., 0], 0.3, -1) * 16 * ahead * rng.random((n, 1)) + 10 * sideways
    plan.neck_twist += 22 * sideways
    plan.hang = 0.8 * low
    lean_com(plan, np.clip(0.5 + 0.3 * sideways, 0.1, 0.9))
    return plan


def balance(rng: np.random.Generator, body: Body, frames: int) -> Plan:
    """On one leg: the other swings, bends or points, arms out, trunk upright or bent."""
    n = len(body)
    plan = stand(rng, body, frames, (0.04, 0.1))
    up = np.where(rng.random((n, 1)) < 0.55, 1.0, Timing(rng, n, frames, (0.5, 1.0), (0.2, 1.5)).reps(rng))
    timing = Timing(rng, n, frames, (0.5, 1.5), (0.0, 1.2))
    keys = rng.uniform((-28, -6, 0), (75, 40, 105), (n, timing.count, 3))
    still = (rng.random((n, 1)) < 0.35)[..., None]
    leg = timing(np.where(still, keys[:, :1], keys)) + wander(rng, (n, frames, 3), 0.2, 0.9) * np.array([3, 2, 3])
    flex = leg[..., 0]
    hang_leg(plan, body, 0, flex, leg[..., 1], np.maximum(leg[..., 2], np.clip(flex * 0.7, 4, 60)), minjerk(up / 0.8))
    back = np.clip(-flex / 25, 0, 1) * up
    plan.lean += back * draw(rng, n, 5, 55) + rng.normal(2, 4, (n, 1)) + np.clip(flex, 0, 90) * -0.08
    plan.spine_flex += np.abs(rng.normal(0, 12, (n, 1))) + 3 * wander(rng, (n, frames))
    plan.height -= draw(rng, n, 0.0, 0.06) * up * (1 + 0.3 * wander(rng, (n, frames)))
    waver = wander(rng, (n, frames), 0.3, 1.1) * draw(rng, n, 1, 7) * up
    plan.side += draw(rng, n, -2, 8) * up - 0.3 * waver
    plan.spine_side += waver - draw(rng, n, 0, 12) * up
    held_arms(rng, plan, ANYTHING, 0.6)
    out = (rng.random((n, 1)) < 0.55)[..., None]
    plan.shoulder_abduct = np.where(out, draw(rng, n, 30, 95)[..., None], plan.shoulder_abduct)
    plan.shoulder_flex = np.where(out, rng.normal(5, 15, (n, 1, 2)), plan.shoulder_flex)
    plan.elbow_flex = np.where(out, np.abs(rng.normal(8, 18, (n, 1, 2))), plan.elbow_flex)
    plan.shoulder_twist = np.where(out, rng.normal(0, 12, (n, 1, 2)), plan.shoulder_twist)
    plan.shoulder_abduct += 2 * waver[..., None] * SIDE + 4 * wander(rng, (n, frames, 2), 0.2, 1.0)
    look(rng, plan, 0.6)
    lean_com(plan)
    return plan


def hang_leg(
    plan: Plan, body: Body, side: int, flex: np.ndarray, abduct: np.ndarray, knee: np.ndarray, weight: np.ndarray
) -> None:
    """Let one leg leave the floor as far as weight (n, T) says and hang from the hip at these angles (n, T)."""
    f, a, k = (np.radians(v) for v in (flex, abduct, knee))
    thigh, shank = body.thigh[:, None], body.shank[:, None]
    ahead = thigh * np.sin(f) + shank * np.sin(f - k)
    down = thigh * np.cos(f) + shank * np.cos(f - k)
    hip = body.hip[:, None]
    swing = np.stack([hip + down * np.sin(a), -down * np.cos(a), ahead], -1)
    swing[..., 0] *= SIDE[side]
    plan.swing[:, :, side] = swing
    plan.tied[:, :, side] = weight
    plan.loose[:, :, side] = minjerk(weight / 0.5)
    plan.loose_flex[:, :, side] = -18.0
