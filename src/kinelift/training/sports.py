"""Quick actions: kicking, throwing and swinging, jumping, jumping jacks, boxing; and slow stretching."""

from __future__ import annotations

import numpy as np

from kinelift.training.motion_plan import SIDE, Body, Loop, Plan, Timing, bump, chance, draw, lean_com, minjerk, wander
from kinelift.training.stances import ANYTHING, arm_keys, hang_leg, held_arms, look, set_arms, stand

_GRAVITY = 9.81


def _keys(*columns: np.ndarray | float, n: int) -> np.ndarray:
    """(n, k) key values from k columns, each (n, 1) or a number."""
    return np.concatenate([np.broadcast_to(c, (n, 1)) for c in columns], 1)


def kick(rng: np.random.Generator, body: Body, frames: int) -> Plan:
    """Front, side and ball kicks of any height with one leg, the trunk leaning against it."""
    n = len(body)
    plan = stand(rng, body, frames, (0.06, 0.14))
    ball = rng.random((n, 1)) < 0.4
    side = np.where(~ball & (rng.random((n, 1)) < 0.45), 1.0, 0.0)
    high = draw(rng, n, 35, 105)
    spans = _keys(draw(rng, n, 0.3, 0.5), draw(rng, n, 0.16, 0.3), draw(rng, n, 0.18, 0.35), 0.4, 0.0, n=n)
    spans[:, 4:] = draw(rng, n, 0.2, 1.2)
    loop = Loop(rng, spans, frames)
    chamber = np.where(ball, -draw(rng, n, 8, 30), 0.75 * high)
    top = np.where(ball, 0.6 * high, high * (1 - 0.7 * side))
    flex = loop(_keys(2, chamber, top, 0.6 * top + 10, 2, n=n))
    abduct = loop(_keys(3, 5 + 25 * side, 4 + 0.8 * high * side, 5 + 30 * side, 3, n=n))
    knee = loop(
        _keys(10, draw(rng, n, 70, 115), draw(rng, n, 3, 20), np.where(ball, 25, draw(rng, n, 40, 100)), 10, n=n)
    )
    weight = minjerk(loop(_keys(0, 1, 1, 1, 0, n=n)))
    hang_leg(plan, body, 0, flex, abduct, knee, weight)
    force = loop(_keys(0, 0.2, 1, 0.5, 0, n=n))
    plan.lean += force * (-high / 90) * draw(rng, n, 2, 20) * (1 - side) + 4 * weight
    plan.side += force * side * high * 0.3
    plan.spine_side += force * side * draw(rng, n, 0, 18)
    plan.yaw -= force * draw(rng, n, 0, 25) - weight * draw(rng, n, -10, 10)
    plan.spine_twist += force * draw(rng, n, -25, 15)
    plan.spine_flex += force * draw(rng, n, -5, 20)
    plan.height -= draw(rng, n, 0.0, 0.05) * weight
    held_arms(rng, plan, ("relaxed", "guard", "guard", "aside", "front", "hips"), 0.7)
    plan.shoulder_flex += (force * draw(rng, n, -30, 25))[..., None] * -SIDE
    plan.shoulder_abduct += (np.abs(force) * draw(rng, n, 0, 45))[..., None]
    lean_com(plan)
    return plan


_THROWS = {
    # wind-up, release, follow-through: shoulder flexion, abduction, inward twist, elbow flexion of the throwing arm
    "overarm": ((-5, 92, -78, 92), (112, 30, -20, 25), (45, -5, 30, 20)),
    "underarm": ((-50, 10, 0, 15), (50, 8, 0, 12), (120, 8, 10, 40)),
    "sidearm": ((-20, 75, -30, 60), (70, 45, 0, 12), (75, -18, 40, 40)),
    "overhead": ((165, 15, 20, 75), (120, 10, 15, 20), (50, 5, 15, 12)),
    "swing": ((35, 60, 20, 25), (70, -10, 10, 10), (110, -30, 40, 60)),
}


def throw(rng: np.random.Generator, body: Body, frames: int) -> Plan:
    """Throwing over, under and beside the body, with one arm or both, and swinging a bat or racket."""
    n = len(body)
    plan = stand(rng, body, frames, (0.07, 0.2))
    kind = rng.integers(0, len(_THROWS), n)
    arm = np.array(list(_THROWS.values()), float)[kind] + rng.normal(0, 9, (n, 3, 4))
    rest = arm_keys(rng, n, 1, ("relaxed", "front", "guard"))
    spans = _keys(draw(rng, n, 0.4, 0.8), draw(rng, n, 0.18, 0.35), draw(rng, n, 0.15, 0.35), 0.5, 0.0, n=n)
    spans[:, 4:] = draw(rng, n, 0.1, 1.2)
    loop = Loop(rng, spans, frames)
    keys = np.repeat(rest, 5, 1)
    keys[:, 1:4, 0, :4] = arm
    two = (kind >= 3)[:, None, None]
    other = np.where(two, arm, keys[:, 1:4, 1, :4] + rng.normal(0, 25, (n, 1, 4)) * np.array([1.0, 0.6, 0.4, 0.6]))
    across = (kind == 4)[:, None]
    other[..., 1] = np.where(across, -arm[..., 1] * 0.6 + 10, other[..., 1])
    keys[:, 1:4, 1, :4] = other
    keys[..., 3] = np.clip(keys[..., 3], 3, 140)
    set_arms(plan, loop(keys))
    turn = np.where(kind[:, None] == 3, 0.0, draw(rng, n, 12, 42)) * np.where(kind[:, None] == 1, 0.4, 1.0)
    wind = loop(_keys(0, 1, -0.5, -0.8, 0, n=n))
    plan.spine_twist += 0.65 * turn * wind
    plan.yaw += 0.7 * turn * wind
    plan.neck_twist -= 0.8 * turn * wind
    plan.spine_flex += loop(_keys(0, -10, 12, 22, 0, n=n)) * draw(rng, n, 0.3, 1.2)
    plan.lean += loop(_keys(0, -4, 8, 14, 0, n=n)) * draw(rng, n, 0.2, 1.3)
    plan.height -= np.abs(wind) * draw(rng, n, 0.0, 0.12)
    stride = draw(rng, n, 0, 0.55) * chance(rng, n, 0.6)
    out = minjerk(loop(_keys(0, 0.15, 1, 1, 0, n=n)))
    plan.foot[:, :, 1, 2] += stride * out
    plan.foot[:, :, 1, 1] += 0.35 * stride * bump(out)
    plan.foot_pitch[:, :, 0] += 30 * out * np.minimum(stride / 0.4, 1)
    plan.height -= 0.12 * stride * out
    plan.hang = 0.3
    lean_com(plan, np.clip(0.5 + 0.3 * wind, 0.1, 0.9), 2.0)
    return plan


def _flight(plan: Plan, loop: Loop, key: int, rise: np.ndarray, tuck: np.ndarray) -> np.ndarray:
    """Lift both feet along the parabola of the span after a key; returns its 0..1 progress, -1 outside."""
    u = loop.during(key)
    up = np.where(u >= 0, 4 * u * (1 - u), 0) * rise
    plan.foot[..., 1] += (up + tuck * bump(np.maximum(u, 0)))[..., None]
    return u


def jump(rng: np.random.Generator, body: Body, frames: int) -> Plan:
    """Jumps on the spot, forwards and sideways, small hops and skipping, on two legs or one."""
    n = len(body)
    plan = stand(rng, body, frames, (0.06, 0.2))
    small = rng.random((n, 1)) < 0.45
    rise = np.where(small, draw(rng, n, 0.02, 0.12), draw(rng, n, 0.1, 0.42))
    speed, flight = np.sqrt(2 * _GRAVITY * rise), 2 * np.sqrt(2 * rise / _GRAVITY)
    crouch = np.where(small, draw(rng, n, 0.03, 0.12), draw(rng, n, 0.12, 0.36))
    push = 2.2 * (crouch + 0.05) / speed
    wait = np.where(small & (rng.random((n, 1)) < 0.6), 0.04, draw(rng, n, 0.1, 0.9))
    spans = _keys(np.clip(2.2 * push, 0.2, 0.7), push, flight, np.clip(push, 0.1, 0.35), 0.4, wait, n=n)
    spans[:, 4:5] = np.where(small, 0.18, 0.45)
    loop = Loop(rng, spans, frames)
    tip = 0.085
    low = -0.8 * crouch
    heights = _keys(0, -crouch, tip, 0.4 * tip, low, 0, n=n)
    slopes = np.full((n, 6), np.nan)
    slopes[:, 2:3], slopes[:, 3:4] = speed, -speed
    plan.height += loop(heights, slopes)
    u = _flight(plan, loop, 2, rise, np.where(small, 0, draw(rng, n, -0.15, 0.2).clip(0)))
    plan.foot_pitch += np.clip(loop(_keys(0, 4, 42, 24, 0, 0, n=n)), 0, 60)[..., None]
    hop = chance(rng, n, 0.2) * (small | (rise < 0.2))
    bent = 70 + 10 * wander(rng, (n, frames))
    hang_leg(
        plan, body, 0, 20 + 10 * wander(rng, (n, frames)), np.full((n, frames), 5.0), bent, hop + np.zeros((n, frames))
    )
    _travel(rng, plan, loop, u, n)
    deep = np.clip(loop(_keys(0, 1, 0, 0, 0.7, 0, n=n)), 0, 1) * crouch / 0.36
    plan.lean += 42 * deep
    plan.spine_flex += 14 * deep
    plan.neck_flex -= 25 * deep
    held_arms(rng, plan, ("relaxed", "front", "hips", "guard", "aside", "carry"), 0.8)
    swing = chance(rng, n, 0.7) * np.where(small, 0.25, 1) * draw(rng, n, 40, 150)
    plan.shoulder_flex += (swing * loop(_keys(0, -0.45, 0.8, 0.7, 0.3, 0, n=n)))[..., None]
    plan.hang = 0.6
    lean_com(plan, 0.5, 4.0)
    return plan


def _travel(rng: np.random.Generator, plan: Plan, loop: Loop, u: np.ndarray, n: int) -> None:
    """Let both feet move on by the same distance in every flight."""
    way = rng.normal(0, 1, (n, 2)) * rng.uniform(0, 0.45, (n, 1)) * chance(rng, n, 0.5)
    laps = loop.index // loop.keys + np.where(u >= 0, np.clip(u, 0, 1), (loop.index % loop.keys > 2).astype(float))
    laps = laps - laps[:, :1]
    plan.foot[..., 0] += (laps * way[:, :1])[..., None]
    plan.foot[..., 2] += (laps * way[:, 1:])[..., None]


def jacks(rng: np.random.Generator, body: Body, frames: int) -> Plan:
    """Jumping jacks, feet and arms apart and together."""
    n = len(body)
    plan = stand(rng, body, frames, (0.05, 0.1))
    rise = draw(rng, n, 0.02, 0.09)
    flight, ground = 2 * np.sqrt(2 * rise / _GRAVITY), draw(rng, n, 0.16, 0.4)
    spans = np.concatenate([flight, ground / 2, ground / 2] * 2, 1)
    loop = Loop(rng, spans, frames)
    give = -draw(rng, n, 0.02, 0.08)
    speed = np.sqrt(2 * _GRAVITY * rise)
    slopes = np.tile(np.concatenate([speed, -speed, np.zeros((n, 1))], 1), 2)
    plan.height += loop(_keys(0.06, 0.03, give, 0.06, 0.03, give, n=n), slopes)
    for key in (0, 3):
        _flight(plan, loop, key, rise, np.zeros((n, 1)))
    wide = minjerk(np.maximum(loop.during(0), 0)) + (loop.index % 6 == 1) + (loop.index % 6 == 2)
    wide = wide + (loop.index % 6 == 3) * (1 - minjerk(np.maximum(loop.during(3), 0)))
    plan.foot[..., 0] += (draw(rng, n, 0.12, 0.36) * wide)[..., None] * SIDE
    plan.height -= 0.03 * wide
    plan.foot_pitch += np.clip(loop(_keys(30, 20, 4, 30, 20, 4, n=n)), 0, 40)[..., None]
    top = draw(rng, n, 80, 172)
    plan.shoulder_abduct = loop(_keys(0.1, 0.75, 1, 0.9, 0.25, 0, n=n))[..., None] * top[..., None] + 8
    plan.elbow_flex = draw(rng, n, 4, 35)[..., None]
    plan.shoulder_twist = rng.normal(-10, 15, (n, 1, 2))
    plan.shoulder_flex = rng.normal(8, 8, (n, 1, 2))
    lean_com(plan, 0.5, 2.0)
    return plan


def boxing(rng: np.random.Generator, body: Body, frames: int) -> Plan:
    """A guard with jabs, hooks and uppercuts, trunk turning behind them, a bounce in the knees."""
    n = len(body)
    plan = stand(rng, body, frames, (0.08, 0.16))
    ahead = draw(rng, n, 0.08, 0.24)
    plan.foot[..., 2] += (ahead * SIDE)[:, None]
    plan.foot_yaw += draw(rng, n, -45, -5)[..., None]
    plan.yaw -= draw(rng, n, 5, 40)
    timing = Timing(rng, n, frames, (0.14, 0.35), (0.0, 0.5))
    count = timing.count
    keys = arm_keys(rng, n, count, ("guard",))
    hits = np.array([[88, 8, 20, 10], [80, 60, 60, 75], [60, 5, -20, 100]], float)
    blow = hits[rng.integers(0, 3, (n, count))] + rng.normal(0, 8, (n, count, 4))
    odd = (np.arange(count)[None] + rng.integers(0, 2, (n, 1))) % 2 == 1
    left = odd & (rng.random((n, count)) < 0.6)
    right = odd & ~left
    for s, goes in ((0, left), (1, right)):
        keys[:, :, s, :4] = np.where(goes[..., None], blow, keys[:, :, s, :4])
    set_arms(plan, timing(keys))
    turn = timing(np.where(right, 1.0, 0.0) - np.where(left, 1.0, 0.0)) * draw(rng, n, 8, 30)
    plan.spine_twist += 0.6 * turn
    plan.yaw += 0.5 * turn
    plan.neck_twist -= 0.8 * turn - draw(rng, n, 5, 25)
    plan.height -= draw(rng, n, 0.03, 0.16) + draw(rng, n, 0, 0.025) * wander(rng, (n, frames), 0.8, 2.2)
    plan.lean += draw(rng, n, 0, 12)
    plan.spine_flex += draw(rng, n, 2, 18)
    plan.spine_side += 5 * wander(rng, (n, frames), 0.3, 1.0)
    plan.hang = 0.2
    lean_com(plan, np.clip(0.5 + 0.16 * wander(rng, (n, frames), 0.3, 1.1), 0.15, 0.85))
    return plan


def stretch(rng: np.random.Generator, body: Body, frames: int) -> Plan:
    """Stretching and warming up: side bends, turns, arching, arms in any held pose, slow."""
    n = len(body)
    plan = stand(rng, body, frames, (0.06, 0.42))
    timing = Timing(rng, n, frames, (0.6, 1.8), (0.1, 1.5))
    count = timing.count
    size = rng.uniform(0, 1, (n, 1, 5)) ** 1.5
    keys = timing(rng.uniform(-1, 1, (n, count, 5)) * size)
    plan.spine_side += 26 * keys[..., 0]
    plan.side += 10 * keys[..., 0]
    plan.spine_twist += 34 * keys[..., 1]
    plan.yaw += 18 * keys[..., 1]
    plan.spine_flex += np.where(keys[..., 2] > 0, 40, 18) * keys[..., 2]
    plan.lean += np.where(keys[..., 2] > 0, 35, 10) * keys[..., 2]
    plan.neck_side += 22 * keys[..., 3]
    plan.neck_flex += 22 * keys[..., 4]
    arms = arm_keys(rng, n, count, (*ANYTHING, "high", "high", "aside"), 0.6)
    circles = 30 * wander(rng, (n, frames, 2, 6), 0.4, 1.2) * (rng.random((n, 1, 1, 1)) < 0.25)
    circles[..., 3] = np.abs(circles[..., 3]) * 0.5
    set_arms(plan, timing(arms) + circles * np.array([1, 1, 0.6, 0.6, 0.3, 0.2]))
    plan.hang = draw(rng, n, 0, 1)
    shift = 0.3 * timing(rng.uniform(-1, 1, (n, count))) * rng.random((n, 1))
    plan.height -= 0.5 * np.abs(shift) * rng.random((n, 1))
    look(rng, plan, 0.3)
    lean_com(plan, 0.5 + shift)
    return plan
