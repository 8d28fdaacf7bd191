"""Actions near the floor: kneeling, sitting on it, lying, crawling, planks and push-ups."""

from __future__ import annotations

import numpy as np

from kinelift.skeleton import BODY26
from kinelift.training.motion_plan import SIDE, Body, Plan, Timing, bump, chance, draw, lean_com, wander
from kinelift.training.stances import ANYTHING, RESTING, held_arms, look, stand
from kinelift.training.steps import RUN_IN, Gait, speeds, walk_feet

_KNEE, _SEAT, _WRIST = 0.058, 0.10, 0.05
# A foot that lies on its instep, and one that stands on its toes, of a leg whose shank is level.
_INSTEP_PITCH, _TUCKED_PITCH = 138.0, 82.0


def _place(plan: Plan, x: np.ndarray, z: np.ndarray) -> None:
    """Put the pelvis over a spot without balancing."""
    plan.root[..., 0], plan.root[..., 1] = x, z
    plan.com = plan.root
    plan.balance = 0.0


def _ankle_from_toe(body: Body, pitch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far the ankle of a foot on its toe lies ahead of and above that toe, (n, 1) metres, pitch in degrees."""
    a = np.radians(pitch)
    height, toe = body.ankle[:, None], body.toe[:, None]
    return height * np.sin(a) - toe * np.cos(a), height * np.cos(a) + toe * np.sin(a)


def _set_foot(plan: Plan, side: int, x: np.ndarray, z: np.ndarray, pitch: np.ndarray, body: Body) -> None:
    """Stand a foot on its toe so that its ankle comes to x, z."""
    ahead, _ = _ankle_from_toe(body, pitch)
    plan.foot[:, :, side, 0] = x
    plan.foot[:, :, side, 2] = z - ahead - body.toe[:, None]
    plan.foot[:, :, side, 1] = 0.008
    plan.foot_pitch[:, :, side] = pitch
    plan.foot_yaw[:, :, side] = 0.0


def kneel(rng: np.random.Generator, body: Body, frames: int) -> Plan:
    """On both knees or on one, upright or sitting back on the heels, working with the hands."""
    n = len(body)
    plan = stand(rng, body, frames)
    plan.yaw = 0.0
    half = rng.random((n, 1)) < 0.45
    timing = Timing(rng, n, frames, (0.7, 1.5), (0.2, 1.5))
    deep = timing.reps(rng) * draw(rng, n, 0.2, 1.0)
    back = np.radians(np.where(half, -4 + 22 * deep * rng.choice([-1, 1], (n, 1)), 52 * deep))
    thigh, shank = body.thigh[:, None], body.shank[:, None]
    pitch = np.where(rng.random((n, 1)) < 0.6, _INSTEP_PITCH, _TUCKED_PITCH) + rng.normal(0, 4, (n, 1))
    _, ankle_up = _ankle_from_toe(body, pitch)
    reach = np.sqrt(np.maximum(shank**2 - (ankle_up - _KNEE) ** 2, 0.01))
    wide = body.hip[:, None] * draw(rng, n, 0.95, 1.5)
    for side in range(2):
        _set_foot(plan, side, wide * SIDE[side], -reach, pitch, body)
    level = np.sqrt(np.maximum(thigh**2 - (wide - body.hip[:, None]) ** 2, 0.01))
    _place(plan, np.zeros((n, 1)), -level * np.sin(back))
    plan.height = _KNEE + level * np.cos(back)
    front = half[..., None]
    ahead = thigh * draw(rng, n, 0.8, 1.12) - 0.02
    plan.foot[:, :, 0] = np.where(front, np.stack([wide + 0.02, 0 * wide, ahead], -1), plan.foot[:, :, 0])
    plan.foot_pitch[:, :, 0] = np.where(half, 0.0, plan.foot_pitch[:, :, 0])
    plan.foot_yaw[:, :, 0] = np.where(half, 8.0, 0.0)
    fold = np.maximum(np.degrees(back), 0) / 52
    bow = Timing(rng, n, frames, (0.6, 1.4), (0.1, 1.5)).reps(rng) * draw(rng, n, -10, 70).clip(0)
    plan.lean += draw(rng, n, 2, 22) * fold + 0.55 * bow
    plan.spine_flex += draw(rng, n, -4, 18) + 0.45 * bow
    plan.neck_flex += draw(rng, n, -8, 25)
    plan.spine_twist += 10 * wander(rng, (n, frames))
    held_arms(rng, plan, (*RESTING, "front", "talk", "head", "point", "high"), 0.35)
    plan.hang = draw(rng, n, 0.4, 1.0)
    look(rng, plan, 0.7)
    return plan


def sit_floor(rng: np.random.Generator, body: Body, frames: int) -> Plan:
    """Sitting on the floor: legs ahead, knees up, cross-legged or to one side; hands in front or propped behind."""
    n = len(body)
    plan = stand(rng, body, frames)
    plan.yaw = 0.0
    kind = rng.integers(0, 4, (n, 1))
    leg = body.leg
    timing = Timing(rng, n, frames, (0.6, 1.5), (0.3, 2.0))
    move = timing(rng.normal(0, 1, (n, timing.count, 2)) * rng.uniform(0, 1, (n, 1, 1)))
    _place(plan, np.zeros((n, 1)), np.zeros((n, 1)))
    plan.height = _SEAT
    wide = draw(rng, n, 0.07, 0.24)
    for side in range(2):
        far = (
            np.choose(
                kind, [draw(rng, n, 0.93, 0.985), draw(rng, n, 0.48, 0.7), np.full((n, 1), 0.3), np.full((n, 1), 0.42)]
            )
            * leg
        )
        far = far + np.where(kind == 1, 0.05, 0.008) * move[..., side]
        x = np.where(kind == 2, -0.5 * wide + 0.02 * side, wide) * SIDE[side]
        aside = np.where(kind == 3, 0.22, 0)
        plan.foot[:, :, side, 0], plan.foot[:, :, side, 2] = x + aside, far - 0.06 * (kind == 2) * side
        flat = kind == 1
        plan.foot_pitch[:, :, side] = np.where(kind == 0, -62 + 10 * move[..., side], 0)
        plan.foot_yaw[:, :, side] = draw(rng, n, -4, 18) * SIDE[side]
        plan.foot[:, :, side, 1] = np.where(flat | (kind == 0), 0, 0.02)
        out = np.choose(
            kind, [np.full((n, 1), 5.0), draw(rng, n, -6, 25), draw(rng, n, 68, 88), np.full((n, 1), -62 * SIDE[side])]
        )
        plan.knee_out[:, :, side] = out + 6 * move[..., side] * (kind != 0)
        plan.loose[:, :, side] = np.where(kind >= 2, 1.0, 0.0)
        plan.loose_flex[:, :, side] = -15.0
    behind = (rng.random((n, 1)) < 0.4).astype(float)
    plan.lean += -8 - 16 * behind + 5 * move[..., 0]
    plan.spine_flex += np.where(behind > 0, draw(rng, n, -5, 15), draw(rng, n, 10, 42)) + 4 * move[..., 1]
    plan.spine_twist += 8 * wander(rng, (n, frames))
    held_arms(rng, plan, ("front", "talk", "carry", "relaxed", "folded", "head", "phone"), 0.4)
    plan.shoulder_flex += (draw(rng, n, 0, 25) * (1 - behind))[..., None]
    _prop(rng, plan, behind, draw(rng, n, -0.42, -0.22))
    look(rng, plan)
    lean_com(plan)
    plan.balance = 0.0
    return plan


def _prop(rng: np.random.Generator, plan: Plan, weight: np.ndarray, z: np.ndarray) -> None:
    """Hands on the floor at this z beside the body, as far as weight says."""
    n = len(z)
    plan.hand[..., 0] = (draw(rng, n, 0.18, 0.38) * SIDE)[:, None]
    plan.hand[..., 1] = _WRIST
    plan.hand[..., 2] = (z + rng.normal(0, 0.03, (n, 2)))[:, None]
    plan.hold = np.broadcast_to(weight, plan.shape)[..., None]
    plan.shoulder_flex -= 60 * plan.hold
    plan.elbow_flex -= plan.hold * (plan.elbow_flex - 15)


def lie(rng: np.random.Generator, body: Body, frames: int) -> Plan:
    """Lying on the back or a side, moving arms and legs, rolling over."""
    return _lying(rng, body, frames, np.zeros((len(body), 1), bool))


def lie_prone(rng: np.random.Generator, body: Body, frames: int) -> Plan:
    """Lying on the belly or a side, arching, rolling over."""
    return _lying(rng, body, frames, np.ones((len(body), 1), bool))


def _lying(rng: np.random.Generator, body: Body, frames: int, prone: np.ndarray) -> Plan:
    n = len(body)
    plan = stand(rng, body, frames)
    plan.yaw = 0.0
    plan.lean = np.where(prone, 84.0, -88.0)
    _place(plan, np.zeros((n, 1)), np.zeros((n, 1)))
    plan.height = _SEAT
    timing = Timing(rng, n, frames, (0.6, 1.6), (0.1, 1.5))
    count = timing.count
    turned = rng.random((n, 1)) < 0.4
    rolls = rng.choice([-85.0, 0.0, 85.0], (n, count))
    rolls = np.where(rng.random((n, 1)) < 0.5, rolls[:, :1], rolls)
    roll = timing(rolls) * turned
    plan.roll = roll
    left_down = np.sin(np.radians(roll)) * np.where(prone, -1.0, 1.0)
    plan.height += (body.hip[:, None] + 0.02) * np.abs(left_down)
    plan.spine_side += 18 * left_down
    legs = rng.uniform((0, -2, 0), (80, 28, 115), (n, count, 2, 3)) * rng.uniform(0, 1, (n, 1, 1, 1)) ** 0.7
    legs[:, :, 1] = np.where(rng.random((n, 1, 1)) < 0.5, legs[:, :, 0], legs[:, :, 1])
    legs = timing(legs)
    down = np.where(prone, 0.08, 1.0)
    plan.spine_flex += np.where(prone, -draw(rng, n, 0, 28), draw(rng, n, -3, 10) + 24 * (rng.random((n, 1)) < 0.15))
    plan.neck_flex += np.where(prone, draw(rng, n, -35, 5), draw(rng, n, -8, 28))
    for side in range(2):
        knee = np.where(prone, legs[:, :, side, 2], np.maximum(legs[:, :, side, 2], 1.1 * legs[:, :, side, 0]))
        out = legs[:, :, side, 1] * (1 - 0.85 * np.abs(left_down))
        _leg_of_pelvis(plan, body, side, down * legs[:, :, side, 0] + 4, out, np.clip(knee + 6, 0, 135))
    held_arms(rng, plan, (*ANYTHING, "high", "relaxed"), 0.5)
    _arms_on_floor(plan, prone, left_down)
    plan.hang = 0.0
    look(rng, plan, 0.8)
    return plan


def _arms_on_floor(plan: Plan, prone: np.ndarray, left_down: np.ndarray) -> None:
    """Keep the arms of a lying body out of the floor: near its plane unless overhead or, on the back, in the air."""
    flex = plan.shoulder_flex.copy()
    aloft = 1 / (1 + np.exp(-(flex - 60) / 8))
    level = 10 + 0.25 * flex - 12 * prone[..., None]
    flex = aloft * flex + (1 - aloft) * level
    under = np.clip(SIDE * left_down[..., None], 0, 1)
    plan.shoulder_flex = flex + under * (85 - flex)
    plan.shoulder_abduct -= under * (plan.shoulder_abduct + 8)


def _leg_of_pelvis(plan: Plan, body: Body, side: int, flex: np.ndarray, abduct: np.ndarray, knee: np.ndarray) -> None:
    """Hang a leg on a pelvis of any attitude at these angles (n, T)."""
    f, a, k = (np.radians(v) for v in (flex, abduct, knee))
    thigh, shank = body.thigh[:, None], body.shank[:, None]
    down = thigh * np.cos(f) + shank * np.cos(f - k)
    x = SIDE[side] * (body.hip[:, None] + down * np.sin(a))
    y, z = -down * np.cos(a), thigh * np.sin(f) + shank * np.sin(f - k)
    turn, lean = np.radians(plan.roll), np.radians(plan.lean)
    x, z = x * np.cos(turn) + z * np.sin(turn), z * np.cos(turn) - x * np.sin(turn)
    y, z = y * np.cos(lean) - z * np.sin(lean), y * np.sin(lean) + z * np.cos(lean)
    plan.swing[:, :, side] = np.stack([x, y, z], -1)
    plan.tied[:, :, side] = 1.0
    plan.loose[:, :, side] = 1.0
    plan.loose_flex[:, :, side] = -25.0


def crawl(rng: np.random.Generator, body: Body, frames: int) -> Plan:
    """On hands and knees, crawling forwards, backwards or staying; opposite hand and knee move together."""
    n, grid = len(body), frames + 2 * RUN_IN
    plan = stand(rng, body, frames)
    plan.foot_yaw = 0.0
    still = chance(rng, n, 0.25)
    forward = speeds(rng, n, grid, 0.2, 0.65, 0.3) * (1 - still) * rng.choice([1.0, 1, 1, -0.6], (n, 1))
    spin = 18 * wander(rng, (n, grid)) * (1 - still)
    full = np.ones((n, 1))
    gait = Gait(
        forward=forward,
        aside=0 * forward,
        spin=spin,
        step_s=draw(rng, n, 0.45, 0.8),
        stance=0.62 * full,
        half_width=body.hip[:, None] * draw(rng, n, 0.9, 1.4),
        lift=draw(rng, n, 0.03, 0.07),
        march=0 * full,
        roll=0 * full,
        rise=0 * full,
    )
    walked = walk_feet(rng, plan, gait)
    pitch = np.where(rng.random((n, 1)) < 0.7, _INSTEP_PITCH, _TUCKED_PITCH)
    ahead, up = _ankle_from_toe(body, pitch)
    reach = np.sqrt(np.maximum(body.shank[:, None] ** 2 - (up - _KNEE) ** 2, 0.01))
    spots = plan.foot.copy()
    yaw = np.radians(plan.foot_yaw)
    way = np.stack([np.sin(yaw), np.zeros_like(yaw), np.cos(yaw)], -1)
    left = np.stack([np.cos(yaw), np.zeros_like(yaw), -np.sin(yaw)], -1)
    plan.foot = spots - (reach + ahead + body.toe[:, None])[..., None, None] * way
    plan.foot[..., 1] = 0.008 + np.maximum(spots[..., 1], 0)
    plan.foot_pitch = pitch[..., None]
    plan.root = plan.com - 0.02
    plan.balance = 0.0
    plan.height = _KNEE + body.thigh[:, None] * np.cos(np.arcsin(np.clip(0.35 * walked.stride, -0.4, 0.4))) - 0.01
    plan.lean = draw(rng, n, 68, 86)
    plan.spine_flex += draw(rng, n, -10, 16)
    plan.spine_side += 7 * walked.lead
    plan.side += 3 * walked.beat
    plan.neck_flex -= draw(rng, n, 5, 55)
    far = draw(rng, n, 0.4, 0.52)[..., None]
    wide = draw(rng, n, 0.02, 0.12)[..., None]
    for side in range(2):
        other = 1 - side
        over = 2 * gait.half_width[..., None] + wide
        plan.hand[:, :, side] = spots[:, :, other] + far * way[:, :, other] + SIDE[side] * over * left[:, :, other]
        plan.hand[:, :, side, 1] = _WRIST + 1.3 * np.maximum(spots[:, :, other, 1], 0)
    plan.hold = 1.0
    plan.shoulder_flex = 80.0
    plan.shoulder_abduct = 10.0
    plan.shoulder_twist = draw(rng, n, -10, 45)[..., None]
    plan.elbow_flex = 15.0
    plan.hang = 0.0
    look(rng, plan, 0.6)
    return plan


def plank(rng: np.random.Generator, body: Body, frames: int) -> Plan:
    """Planks on hands or forearms, push-ups, mountain climbing with a knee drawn in."""
    n = len(body)
    plan = stand(rng, body, frames)
    plan.yaw = 0.0
    timing = Timing(rng, n, frames, (0.45, 1.2), (0.0, 0.7))
    reps = timing.reps(rng) * chance(rng, n, 0.65)
    upper, fore = (body.offsets[:, i, 0][:, None] for i in BODY26.indices("left_elbow", "left_wrist"))
    low = chance(rng, n, 0.25)
    top = (1 - low) * 0.97 * (upper + fore) + low * upper + _WRIST
    bottom = np.where(low > 0, top, draw(rng, n, 0.16, 0.34))
    shoulder = top + (bottom - top) * reps
    pitch = draw(rng, n, 58, 72)
    _, up = _ankle_from_toe(body, pitch)
    wide = draw(rng, n, 0.04, 0.14)
    for side in range(2):
        _set_foot(plan, side, wide * SIDE[side], np.zeros((n, 1)), pitch + np.zeros((n, frames)), body)
        plan.foot[:, :, side, 1] = 0
    spine = BODY26.indices("spine", "chest", "left_shoulder")
    trunk = body.offsets[:, spine, 1].sum(1)[:, None]
    leg = 0.995 * body.leg
    sag = np.radians(draw(rng, n, -4, 9))
    rise = np.arcsin(np.clip((shoulder - up) / (leg + trunk), -0.4, 0.8))
    _place(plan, np.zeros((n, 1)), leg * np.cos(rise + sag))
    plan.height = up + leg * np.sin(rise + sag)
    tip = np.arcsin(np.clip((shoulder - plan.height) / trunk, -0.5, 0.9))
    plan.lean = 90 - np.degrees(tip) + 2
    start = np.arcsin(np.clip((top - up) / (leg + trunk), -0.4, 0.8))
    plan.hand[..., 0] = (draw(rng, n, 0.17, 0.36) * SIDE)[:, None]
    plan.hand[..., 1] = _WRIST
    plan.hand[..., 2] = ((leg + trunk) * np.cos(start) + np.where(low > 0, 0.9 * fore, 0.0))[..., None]
    plan.hold = 1.0
    plan.shoulder_flex = 85.0
    plan.shoulder_abduct = 15.0
    plan.shoulder_twist = draw(rng, n, 0, 60)[..., None]
    plan.elbow_flex = 20.0
    plan.hang = 0.0
    plan.neck_flex -= draw(rng, n, -10, 40)
    plan.spine_flex += draw(rng, n, -6, 8)
    drawn = chance(rng, n, 0.2) * (1 - (reps > 0).any(1, keepdims=True))
    pull = Timing(rng, n, frames, (0.3, 0.6), (0, 0.2)).reps(rng) * drawn
    plan.foot[:, :, 0, 2] += 0.55 * pull
    plan.foot[:, :, 0, 1] += 0.12 * bump(pull) + 0.02 * pull
    return plan
