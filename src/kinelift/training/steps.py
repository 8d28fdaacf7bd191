"""Actions that travel: walking, running, side steps, turning, dancing, climbing, walking a beam.

The body follows a path; each foot is put down where the body will be in the middle of its stance, stays there while
it rolls from heel to toe, and swings to the next spot. Phases follow Perry and Burnfield (Gait Analysis, 2010).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from kinelift.training.motion_plan import FPS, SIDE, Body, Plan, Timing, bump, chance, draw, minjerk, seconds, wander
from kinelift.training.stances import ANYTHING, held_arms, look, stand

RUN_IN = 60
_FULL_STRIDE_M = 1.3


@dataclass(eq=False)
class Gait:
    """How n people step; every number is (n, 1).

    Attributes:
        forward, aside, spin: (n, T + 2 * run-in) speeds in m/s and degrees/s, sideways positive to the left.
        step_s: Seconds from one foot's strike to the other's.
        stance: Share of a whole cycle (two steps) that a foot stands.
        half_width: Metres between each foot and the line of travel.
        lift: Metres of clearance in mid-swing of a full stride, and of a step on the spot.
        roll: Degrees of pitch at toe-off of a full stride.
        rise: Metres that every step climbs.
    """

    forward: np.ndarray
    aside: np.ndarray
    spin: np.ndarray
    step_s: np.ndarray
    stance: np.ndarray
    half_width: np.ndarray
    lift: np.ndarray
    march: np.ndarray
    roll: np.ndarray
    rise: np.ndarray
    start_s: np.ndarray = field(init=False)


@dataclass(eq=False)
class Walked:
    """What trunk and arms answer to: all (n, T).

    Attributes:
        lead: -1..1, positive when the left foot is ahead; scaled by the stride.
        beat: -1..1, 1 in the middle of the left foot's stance.
        active: 0..1, whether the feet step at all.
        stride: Signed length of a stride as a share of a full one.
    """

    lead: np.ndarray
    beat: np.ndarray
    active: np.ndarray
    stride: np.ndarray


def speeds(rng: np.random.Generator, n: int, frames: int, low: float, high: float, stops: float) -> np.ndarray:
    """(n, frames) speeds between low and high; this share of the windows starts or stops on the way."""
    speed = draw(rng, n, low, high)
    timing = Timing(rng, n, frames, (0.5, 1.2), (0.4, 2.5))
    on = timing((np.arange(timing.count)[None] + rng.integers(0, 2, (n, 1))) % 2 * 1.0)
    vary = 1 + 0.1 * wander(rng, (n, frames))
    return speed * np.where(rng.random((n, 1)) < stops, on, 1.0) * vary


def _at(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Values (n, G) on the run-in grid at times (n, ...) seconds of the clip, linear."""
    u = np.clip(times * FPS + RUN_IN, 0, values.shape[1] - 1.001)
    k = u.astype(int)
    rows = np.arange(len(values)).reshape(-1, *(1,) * (times.ndim - 1))
    return values[rows, k] + (u - k) * (values[rows, k + 1] - values[rows, k])


def walk_feet(rng: np.random.Generator, plan: Plan, gait: Gait) -> Walked:
    """Write heading, path, feet and height of a gait into the plan."""
    n, frames = plan.shape
    heading = np.cumsum(gait.spin, 1) / FPS
    heading -= heading[:, RUN_IN : RUN_IN + 1]
    angle = np.radians(heading)
    c, s = np.cos(angle), np.sin(angle)
    x = np.cumsum(gait.forward * s + gait.aside * c, 1) / FPS
    z = np.cumsum(gait.forward * c - gait.aside * s, 1) / FPS
    cycle = 2 * gait.step_s
    start = rng.uniform(0, 1, (n, 1)) * cycle
    t = np.broadcast_to(seconds(frames), (n, frames))
    for side in range(2):
        _one_foot(plan, gait, side, start + side * gait.step_s, cycle, (x, z, heading))
    plan.yaw = _at(heading, t)
    stride = _at(gait.forward, t) * cycle / _FULL_STRIDE_M
    moving = np.hypot(_at(gait.forward, t), _at(gait.aside, t)) + np.abs(_at(gait.spin, t)) / 90
    active = minjerk(np.maximum(moving / 0.35, gait.march / 0.02))
    phase = np.pi * (t - start) / gait.step_s
    middle = 2 * np.pi * gait.stance
    beat = np.cos(phase - middle / 2) * active
    plan.com = np.stack([_at(x, t), _at(z, t)], -1)
    angle = np.radians(plan.yaw)
    sway = beat * gait.half_width * np.clip(0.75 - 0.4 * np.abs(stride), 0.15, 1)
    plan.com += sway[..., None] * np.stack([np.cos(angle), -np.sin(angle)], -1)
    plan.com += 0.03 * np.stack([np.sin(angle), np.cos(angle)], -1)
    plan.balance = 1.0
    climbed = gait.rise * (t - start - gait.stance * gait.step_s) / gait.step_s
    plan.height += climbed
    return Walked(np.cos(phase) * np.clip(stride, -1, 1), beat, active, stride)


def _one_foot(
    plan: Plan, gait: Gait, side: int, start: np.ndarray, cycle: np.ndarray, path: tuple[np.ndarray, ...]
) -> None:
    """One foot's plants and swings along the path."""
    frames = plan.shape[1]
    x, z, heading = path
    t = seconds(frames)
    stance = gait.stance * cycle
    turn = np.floor((t - start) / cycle)
    into = t - start - turn * cycle
    spots, yaws, strides = [], [], []
    for k in (-1, 0, 1, 2):
        when = start + (turn + k) * cycle + stance / 2
        yaw = _at(heading, when)
        out = np.radians(yaw)
        width = SIDE[side] * (gait.half_width + 0.5 * np.abs(_at(gait.aside, when)) * gait.step_s)
        spot = np.stack([_at(x, when) + width * np.cos(out), _at(z, when) - width * np.sin(out)], -1)
        spots.append(spot)
        yaws.append(yaw)
    for a, b, yaw in zip(spots, spots[1:], yaws[1:]):
        out = np.radians(yaw)
        way = (b - a) * np.stack([np.sin(out), np.cos(out)], -1)
        strides.append(np.clip(way.sum(-1) / _FULL_STRIDE_M, -0.8, 1.1))
    far = np.linalg.norm(spots[2] - spots[1], axis=-1)
    swing = cycle - stance
    u = np.clip((into - stance) / swing, 0, 1)
    moved = 0.5 * minjerk(u) + 0.5 * u * u * (3 - 2 * u)
    step = spots[1] + moved[..., None] * (spots[2] - spots[1])
    own_yaw = plan.foot_yaw[:, :, side]
    level = gait.rise * ((turn + minjerk(u / 0.75)) * 2 + side)
    steps_at_all = np.clip(far / 0.12 + np.abs(yaws[2] - yaws[1]) / 15, 0, 1)
    lift = gait.lift * np.clip(far / _FULL_STRIDE_M, 0.25, 1) * steps_at_all + gait.march
    around = 0.07 * np.clip(0.09 - gait.half_width, 0, 0.09) / 0.09 * SIDE[side] * steps_at_all
    out = np.radians(yaws[1])
    step = step + (bump(u) * around)[..., None] * np.stack([np.cos(out), -np.sin(out)], -1)
    plan.foot[:, :, side, 0], plan.foot[:, :, side, 2] = step[..., 0], step[..., 1]
    plan.foot[:, :, side, 1] = lift * bump(u**0.85) + level
    plan.ground[:, :, side] = level
    plan.foot_yaw[:, :, side] = own_yaw + yaws[1] + minjerk(u) * (yaws[2] - yaws[1])
    plan.foot_pitch[:, :, side] = _roll(gait, into, cycle, strides)


def _roll(gait: Gait, into: np.ndarray, cycle: np.ndarray, strides: list[np.ndarray]) -> np.ndarray:
    """(n, T) pitch: heel strike, flat, heel off, toe off; walking backwards lands on the toe."""
    stance = gait.stance * cycle
    swing = cycle - stance
    before, after, _ = strides
    landing = [np.where(s > 0, -18 * s, -22 * s) for s in (before, after)]
    leaving = np.where(after > 0, gait.roll * after, -12 * after)
    flat = 0.1 * cycle
    top = stance + 0.22 * swing
    rise = minjerk((into - 0.52 * stance) / (top - 0.52 * stance))
    fall = 1 - minjerk((into - top) / (0.62 * swing))
    touch = landing[0] * (1 - minjerk(into / flat)) + landing[1] * minjerk((into - cycle + 0.5 * swing) / (0.5 * swing))
    return leaving * rise * fall + touch


def swing_arms(rng: np.random.Generator, plan: Plan, walked: Walked, size: tuple[float, float], elbow: float) -> None:
    """Arms that swing against the legs, elbows more bent in front; some people carry, phone or gesture instead."""
    n = len(plan.yaw)
    amplitude = draw(rng, n, *size) * rng.uniform(0.75, 1.25, (n, 1, 2)).mean(-1)
    bend = elbow * draw(rng, n, 0.7, 1.3)
    own = np.stack([plan.curves["shoulder_flex"], plan.curves["elbow_flex"]], -1)
    busy = rng.random((n, 1, 2)) < 0.13
    wave = -walked.lead[..., None] * SIDE
    flex = 4 + amplitude[..., None] * wave
    plan.shoulder_flex = np.where(busy, own[..., 0], flex)
    plan.elbow_flex = np.where(busy, own[..., 1], bend[..., None] + 0.5 * amplitude[..., None] * wave)
    plan.shoulder_abduct = np.where(busy, plan.shoulder_abduct, 7 + 5 * rng.random((n, 1, 2)))
    plan.shoulder_twist = np.where(busy, plan.shoulder_twist, 18 + rng.normal(0, 8, (n, 1, 2)))
    plan.hang = 0.3


def sway_trunk(rng: np.random.Generator, plan: Plan, walked: Walked) -> None:
    """Hips turn with the leading leg and rise over the standing one; shoulders turn against them."""
    n = len(plan.yaw)
    size = draw(rng, n, 0.5, 1.5)
    plan.yaw -= 5 * size * walked.lead
    plan.spine_twist += 10 * size * walked.lead
    plan.neck_twist -= 4 * size * walked.lead
    drop = draw(rng, n, 1.0, 4.5) * walked.beat
    plan.side -= drop
    plan.spine_side += drop * draw(rng, n, 0.8, 1.6)


def _gait(
    rng: np.random.Generator, n: int, frames: int, forward: np.ndarray, aside: np.ndarray, spin: np.ndarray
) -> Gait:
    """A walking gait at these speeds: step time and stance share shorten with speed."""
    top = np.maximum(np.abs(forward).max(1, keepdims=True), np.abs(aside).max(1, keepdims=True))
    step = np.clip(0.66 - 0.12 * top, 0.38, 0.8) * draw(rng, n, 0.88, 1.15)
    return Gait(
        forward=forward,
        aside=aside,
        spin=spin,
        step_s=step,
        stance=np.clip(0.66 - 0.04 * top, 0.55, 0.68),
        half_width=draw(rng, n, 0.04, 0.11),
        lift=draw(rng, n, 0.05, 0.11),
        march=np.zeros((n, 1)),
        roll=draw(rng, n, 45, 66),
        rise=np.zeros((n, 1)),
    )


def _turning(rng: np.random.Generator, n: int, frames: int, size: float) -> np.ndarray:
    """(n, frames) degrees/s: mostly straight on, with turns now and then."""
    timing = Timing(rng, n, frames, (0.4, 0.9), (0.2, 1.5))
    keys = rng.normal(0, size, (n, timing.count)) * (rng.random((n, timing.count)) < 0.5)
    return timing(keys) * (rng.random((n, 1)) < 0.6)


def walk(rng: np.random.Generator, body: Body, frames: int) -> Plan:
    """Walking at 0.4 to 2 m/s with turns, starts and stops; one in ten walks backwards."""
    n, grid = len(body), frames + 2 * RUN_IN
    plan = stand(rng, body, frames)
    forward = speeds(rng, n, grid, 0.4, 1.9, 0.3)
    back = rng.random((n, 1)) < 0.1
    forward = np.where(back, -0.5 * forward, forward)
    gait = _gait(rng, n, grid, forward, 0.05 * wander(rng, (n, grid)) * forward, _turning(rng, n, grid, 45))
    walked = walk_feet(rng, plan, gait)
    bob = draw(rng, n, 0.006, 0.02)
    plan.height -= 0.01 + bob * (1 - np.cos(2 * np.arccos(np.clip(walked.beat, -1, 1)))) * walked.active
    sway_trunk(rng, plan, walked)
    swing_arms(rng, plan, walked, (12, 45), 22)
    plan.lean += draw(rng, n, 0, 7) + 2 * np.abs(walked.stride)
    look(rng, plan, 0.7)
    return plan


def side_steps(rng: np.random.Generator, body: Body, frames: int) -> Plan:
    """Stepping sideways, turning on the spot, shuffling about."""
    n, grid = len(body), frames + 2 * RUN_IN
    plan = stand(rng, body, frames)
    kind = rng.integers(0, 3, (n, 1))
    aside = np.where(kind == 0, speeds(rng, n, grid, 0.2, 0.8, 0.4), 0) * np.sign(rng.normal(size=(n, 1)))
    aside = np.where(kind == 2, 0.35 * wander(rng, (n, grid)), aside)
    forward = np.where(kind == 2, 0.35 * wander(rng, (n, grid)), 0)
    spin = np.where(kind == 1, _turning(rng, n, grid, 110) + rng.normal(0, 60, (n, 1)), 0)
    spin = np.where(kind == 2, 40 * wander(rng, (n, grid)), spin)
    gait = _gait(rng, n, grid, forward, aside, spin)
    gait.half_width = draw(rng, n, 0.06, 0.16)
    walked = walk_feet(rng, plan, gait)
    plan.height -= draw(rng, n, 0.0, 0.14) * (0.4 + 0.6 * walked.active)
    sway_trunk(rng, plan, walked)
    held_arms(rng, plan, ANYTHING, 0.4)
    look(rng, plan)
    return plan


def beam(rng: np.random.Generator, body: Body, frames: int) -> Plan:
    """Walking along a line or a beam, slowly, arms out to balance, trunk wavering."""
    n, grid = len(body), frames + 2 * RUN_IN
    plan = stand(rng, body, frames)
    zero = np.zeros((n, grid))
    gait = _gait(rng, n, grid, speeds(rng, n, grid, 0.2, 0.75, 0.4) * rng.choice([1.0, 1, 1, -0.6], (n, 1)), zero, zero)
    gait.step_s = draw(rng, n, 0.55, 1.0)
    gait.half_width = draw(rng, n, 0.0, 0.025)
    gait.lift = draw(rng, n, 0.06, 0.3)
    plan.foot_yaw *= 0.5
    walked = walk_feet(rng, plan, gait)
    waver = wander(rng, (n, frames), 0.3, 1.2) * draw(rng, n, 2, 9)
    plan.spine_side += waver
    plan.side -= 0.4 * waver + 3 * walked.beat
    plan.lean += draw(rng, n, 0, 18)
    plan.spine_flex += draw(rng, n, -4, 22)
    plan.neck_flex += draw(rng, n, -8, 20)
    out = draw(rng, n, 35, 95)
    plan.shoulder_abduct = (out + 12 * wander(rng, (n, frames)))[..., None] + 1.6 * waver[..., None] * SIDE
    plan.shoulder_flex = 12 * rng.normal(0, 1, (n, 1, 2)) + 8 * wander(rng, (n, frames, 2))
    plan.elbow_flex = draw(rng, n, 3, 40)[..., None] + 8 * wander(rng, (n, frames, 2), 0.2, 1.0)
    plan.shoulder_twist = rng.normal(0, 15, (n, 1, 2))
    return plan


def run(rng: np.random.Generator, body: Body, frames: int) -> Plan:
    """Running at 1.6 to 3.1 m/s with flight, elbows bent."""
    n, grid = len(body), frames + 2 * RUN_IN
    plan = stand(rng, body, frames)
    forward = speeds(rng, n, grid, 1.6, 3.1, 0.1)
    gait = _gait(rng, n, grid, forward, np.zeros((n, grid)), _turning(rng, n, grid, 35))
    gait.step_s = draw(rng, n, 0.33, 0.42)
    gait.stance = draw(rng, n, 0.32, 0.4)
    gait.half_width = draw(rng, n, 0.02, 0.06)
    gait.lift = draw(rng, n, 0.18, 0.42)
    gait.roll = draw(rng, n, 55, 75)
    walked = walk_feet(rng, plan, gait)
    bounce = np.cos(2 * np.arccos(np.clip(walked.beat, -1, 1)))
    plan.height -= draw(rng, n, 0.05, 0.1) + draw(rng, n, 0.02, 0.04) * bounce * walked.active
    sway_trunk(rng, plan, walked)
    swing_arms(rng, plan, walked, (25, 50), 85)
    plan.lean += draw(rng, n, 4, 14)
    return plan


def march(rng: np.random.Generator, body: Body, frames: int) -> Plan:
    """Marching on the spot, high knees, dancing steps: rhythm in hips, trunk and arms."""
    n, grid = len(body), frames + 2 * RUN_IN
    plan = stand(rng, body, frames)
    dance = chance(rng, n, 0.65)
    drift = 0.25 * wander(rng, (n, grid), 0.2, 0.6) * dance
    gait = _gait(
        rng, n, grid, drift, 0.3 * wander(rng, (n, grid), 0.2, 0.6) * dance, _turning(rng, n, grid, 80) * dance
    )
    gait.step_s = draw(rng, n, 0.32, 0.7)
    gait.half_width = draw(rng, n, 0.06, 0.16)
    gait.march = np.where(dance > 0, draw(rng, n, 0.01, 0.15), draw(rng, n, 0.08, 0.4))
    walked = walk_feet(rng, plan, gait)
    beat = walked.beat
    twice = np.cos(2 * np.arccos(np.clip(beat, -1, 1)))
    plan.height -= draw(rng, n, 0.01, 0.05) * (1 + twice) + draw(rng, n, 0, 0.08) * dance
    hips = draw(rng, n, 2, 13) * np.where(dance > 0, 1, 0.3)
    plan.side -= hips * beat
    plan.spine_side += 1.4 * hips * beat
    plan.yaw += draw(rng, n, -18, 18) * beat * dance
    plan.spine_twist += draw(rng, n, -18, 18) * beat
    plan.spine_flex += draw(rng, n, -5, 10) * twice * dance
    plan.neck_side += draw(rng, n, -8, 8) * beat * dance
    plan.neck_flex += draw(rng, n, -6, 8) * twice * dance
    held_arms(rng, plan, ANYTHING, 0.35)
    pump = rng.normal(0, 1, (n, 1, 2)) * rng.uniform(3, 26, (n, 1, 1))
    plan.shoulder_flex += pump * (beat[..., None] * np.where(rng.random((n, 1, 1)) < 0.6, SIDE, 1.0))
    plan.elbow_flex += rng.normal(0, 14, (n, 1, 2)) * twice[..., None]
    plan.shoulder_abduct += np.abs(rng.normal(0, 14, (n, 1, 2))) * (1 + beat[..., None])
    return plan


def climb(rng: np.random.Generator, body: Body, frames: int) -> Plan:
    """Climbing or going down steps, a hand sometimes on a rail."""
    n, grid = len(body), frames + 2 * RUN_IN
    plan = stand(rng, body, frames)
    forward = np.broadcast_to(draw(rng, n, 0.4, 0.75), (n, grid)).copy()
    zero = np.zeros((n, grid))
    gait = _gait(rng, n, grid, forward, zero, zero)
    gait.rise = draw(rng, n, 0.12, 0.2) * rng.choice([1.0, 1.0, -1.0], (n, 1))
    gait.step_s = draw(rng, n, 0.5, 0.75)
    gait.lift = draw(rng, n, 0.08, 0.18)
    gait.roll = draw(rng, n, 25, 45)
    walked = walk_feet(rng, plan, gait)
    sway_trunk(rng, plan, walked)
    swing_arms(rng, plan, walked, (8, 30), 30)
    plan.lean += np.where(gait.rise > 0, draw(rng, n, 4, 18), draw(rng, n, -2, 6))
    plan.neck_flex += draw(rng, n, 0, 22)
    return plan
