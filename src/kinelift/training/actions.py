"""Everyday actions made by rule: walking, sitting, squatting, reaching and more, as training motion for the lifter.

`ACTIONS` names every action with its share. Plans are drawn per action, some windows go over from one action into
another, everybody gets a personal style, and body_ik.py turns the plans into bodies on a floor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kinelift.skeleton import BODY26
from kinelift.training import stances, steps
from kinelift.training.body_ik import contacts, solve
from kinelift.training.generate import random_offsets
from kinelift.training.motion_plan import ARM, Body, Plan, join, wander

PAD = 12
_CHUNK = 128
_BLEND_SHARE = 0.2
# Degrees by which people differ.
_STYLE = {"spine_flex": 3.0, "spine_side": 1.5, "neck_flex": 4.0, "neck_side": 2.0, "lean": 2.0}


@dataclass(frozen=True)
class Action:
    """How to plan an action, how often it comes, and whether it may go over into another."""

    plan: Callable[[np.random.Generator, Body, int], Plan]
    share: float
    blends: bool = True


ACTIONS: dict[str, Action] = {
    "standing": Action(stances.standing, 3.0),
    "weight_shift": Action(stances.weight_shift, 1.0),
    "walk": Action(steps.walk, 3.0),
    "side_steps": Action(steps.side_steps, 1.0),
    "run": Action(steps.run, 0.8),
    "beam": Action(steps.beam, 0.8),
    "march": Action(steps.march, 1.2),
    "climb": Action(steps.climb, 0.7, blends=False),
    "balance": Action(stances.balance, 1.2),
    "squat": Action(stances.squat, 1.5),
    "sit": Action(stances.sit, 2.0),
    "lunge": Action(stances.lunge, 1.2),
    "bend": Action(stances.bend, 1.2),
    "reach": Action(stances.reach, 1.5),
}


def generate_actions(rng: np.random.Generator, n: int, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, frames, 26, 3) float32 metres at 30 fps, Y up, floor y = 0, and (n, frames, 4) contacts (mocap.SOLES)."""
    positions, contacts, _ = generate_named_actions(rng, n, frames)
    return positions, contacts


def generate_named_actions(
    rng: np.random.Generator, n: int, frames: int, only: str | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Like `generate_actions`, with each window's action (n,) by name; `only` makes one action, unblended."""
    names = np.array(list(ACTIONS))
    share = np.array([a.share for a in ACTIONS.values()])
    chosen = rng.choice(len(names), n, p=share / share.sum())
    if only is not None:
        chosen[:] = list(ACTIONS).index(only)
    positions = np.empty((n, frames, len(BODY26), 3), np.float32)
    contacts = np.empty((n, frames, 4), np.float32)
    for start in range(0, n, _CHUNK):
        rows = slice(start, min(start + _CHUNK, n))
        positions[rows], contacts[rows] = _chunk(rng, chosen[rows], frames, only is None)
    return positions, contacts, names[chosen]


def _chunk(rng: np.random.Generator, chosen: np.ndarray, frames: int, blend: bool) -> tuple[np.ndarray, np.ndarray]:
    body = Body.of(random_offsets(rng, len(chosen)))
    plan = _plans(rng, chosen, body, frames + 2 * PAD)
    if blend:
        _go_over(rng, plan, chosen, body)
    _add_style(rng, plan)
    p = solve(plan, body)
    down = contacts(plan, p)
    p, down = _placed(rng, p[:, PAD:-PAD], down[:, PAD:-PAD])
    return p.astype(np.float32), down.astype(np.float32)


def _plans(rng: np.random.Generator, chosen: np.ndarray, body: Body, frames: int) -> Plan:
    plan = Plan(body, frames)
    for i, action in enumerate(ACTIONS.values()):
        rows = np.flatnonzero(chosen == i)
        if len(rows):
            plan.put(rows, action.plan(rng, body[rows], frames))
    return plan


def _go_over(rng: np.random.Generator, plan: Plan, chosen: np.ndarray, body: Body) -> None:
    """Let some windows change into another action on the way, in place."""
    able = np.array([i for i, a in enumerate(ACTIONS.values()) if a.blends])
    rows = np.flatnonzero(np.isin(chosen, able) & (rng.random(len(chosen)) < _BLEND_SHARE))
    if not len(rows):
        return
    n, frames = len(rows), plan.shape[1]
    share = np.array([list(ACTIONS.values())[i].share for i in able])
    second = _plans(rng, rng.choice(able, n, p=share / share.sum()), body[rows], frames)
    first = Plan(body[rows], frames)
    first.curves = plan.rows(rows)
    span = rng.uniform(0.8, 1.4, n)
    join(first, second, rng.uniform(0.1, frames / 30 - 1.5, n), span)
    plan.put(rows, first)


def _add_style(rng: np.random.Generator, plan: Plan) -> None:
    """A personal offset and a slow small drift on every angle, in place."""
    n, frames = plan.shape
    for name, spread in (
        ("spine_flex", 3.0),
        ("spine_side", 1.5),
        ("neck_flex", 4.0),
        ("neck_side", 2.0),
        ("lean", 2.0),
    ):
        plan.curves[name] += spread * (rng.normal(0, 1, (n, 1)) + 0.35 * wander(rng, (n, frames)))
    for name in ARM:
        spread = 4.0 * (rng.normal(0, 1, (n, 1, 2)) + 0.4 * wander(rng, (n, frames, 2)))
        plan.curves[name] += spread
    plan.elbow_flex = 2 + np.logaddexp(0, (plan.elbow_flex - 2) / 4) * 4
    plan.elbow_flex = 145 - np.logaddexp(0, (145 - plan.elbow_flex) / 4) * 4


def _placed(rng: np.random.Generator, p: np.ndarray, down: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn each window to a random heading, mirror half of them, start at x = z = 0 with the lowest step at y = 0."""
    n = len(p)
    angle = rng.uniform(0, 2 * np.pi, (n, 1, 1))
    c, s = np.cos(angle), np.sin(angle)
    p = p - p[:, :1, :1] * np.array([1.0, 0, 1.0])
    lowest = p[..., 1].min((1, 2))
    p[..., 1] -= np.where(np.abs(lowest) > 0.05, lowest, 0)[:, None, None]
    flip = rng.random(n) < 0.5
    p[flip] = p[flip][:, :, list(BODY26.mirror)] * np.array([-1.0, 1, 1])
    down = np.where(flip[:, None, None], down[..., [2, 3, 0, 1]], down)
    turned = np.stack([c * p[..., 0] + s * p[..., 2], p[..., 1], -s * p[..., 0] + c * p[..., 2]], -1)
    return turned, down
