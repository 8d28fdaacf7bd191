"""Everyday actions made by rule: walking, sitting, squatting, reaching and more, as training motion for the lifter.

`ACTIONS` names every action with its share. Plans are drawn per action, some windows go over from one action into
another, everybody gets a personal style, and body_ik.py turns the plans into bodies on a floor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kinelift.errors import UnknownNameError
from kinelift.skeleton import BODY26
from kinelift.training import floor_actions, sports, stances, steps
from kinelift.training.body_ik import contacts as contact_of
from kinelift.training.body_ik import solve
from kinelift.training.generate import random_offsets
from kinelift.training.motion_plan import ARM, FPS, Body, Plan, join, wander

PAD = 12
# No joint accelerates faster (m/s2): hands of throwers and boxers reach two or three hundred.
MAX_ACCELERATION = 320.0
MAX_DEPTH_M = 0.005
# No leg misses its foot's spot by more, see body_ik.solve.
MAX_STRAIN_M = 0.012
_CHUNK = 256
_BLEND_SHARE = 0.2
# Degrees by which people differ.
_STYLE = {"spine_flex": 3.0, "spine_side": 1.5, "neck_flex": 4.0, "neck_side": 2.0, "lean": 2.0}


@dataclass(frozen=True)
class Action:
    """How to plan an action, how often it comes, and the groups within which it may go over into another."""

    plan: Callable[[np.random.Generator, Body, int], Plan]
    share: float
    groups: tuple[str, ...] = ("up",)


ACTIONS: dict[str, Action] = {
    "standing": Action(stances.standing, 3.0),
    "weight_shift": Action(stances.weight_shift, 1.0),
    "walk": Action(steps.walk, 3.0),
    "side_steps": Action(steps.side_steps, 1.0),
    "run": Action(steps.run, 0.8),
    "beam": Action(steps.beam, 0.8),
    "march": Action(steps.march, 1.2),
    "climb": Action(steps.climb, 0.7, ()),
    "balance": Action(stances.balance, 1.2),
    "kick": Action(sports.kick, 0.8),
    "throw": Action(sports.throw, 0.9),
    "jump": Action(sports.jump, 0.9),
    "jacks": Action(sports.jacks, 0.4),
    "boxing": Action(sports.boxing, 0.7),
    "stretch": Action(sports.stretch, 1.2),
    "kneel": Action(floor_actions.kneel, 1.2, ("up", "hands")),
    "sit_floor": Action(floor_actions.sit_floor, 1.0, ("up", "back")),
    "lie": Action(floor_actions.lie, 0.8, ("back",)),
    "lie_prone": Action(floor_actions.lie_prone, 0.4, ("hands",)),
    "crawl": Action(floor_actions.crawl, 0.6, ("hands",)),
    "plank": Action(floor_actions.plank, 0.6, ()),
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
    """Like `generate_actions`, with the name (n,) of the action that each window begins with.

    `only` makes one action, without going over into others. Raises `UnknownNameError`.
    """
    names = np.array(list(ACTIONS))
    share = np.array([a.share for a in ACTIONS.values()])
    chosen = rng.choice(len(names), n, p=share / share.sum())
    if only is not None:
        if only not in ACTIONS:
            raise UnknownNameError("action", only, ACTIONS)
        chosen[:] = list(ACTIONS).index(only)
    positions = np.empty((n, frames, len(BODY26), 3), np.float32)
    contacts = np.empty((n, frames, 4), np.float32)
    todo = np.arange(n)
    while len(todo):
        rows = todo[:_CHUNK]
        positions[rows], contacts[rows], good = _chunk(rng, chosen[rows], frames, only is None)
        todo = np.concatenate([rows[~good], todo[_CHUNK:]])
    return positions, contacts, names[chosen]


def _plausible(p: np.ndarray) -> np.ndarray:
    """(n,) whether nothing pops and nothing is below the floor."""
    pops = np.linalg.norm(np.diff(p, 2, axis=1), axis=-1).max((1, 2), initial=0) * FPS**2 > MAX_ACCELERATION
    return ~pops & (p[..., 1].min((1, 2)) > -MAX_DEPTH_M)


def _chunk(
    rng: np.random.Generator, chosen: np.ndarray, frames: int, blend: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions, contacts and which windows turned out well (n,); the others have to be drawn again."""
    body = Body.of(random_offsets(rng, len(chosen)))
    plan = _plans(rng, chosen, body, frames + 2 * PAD)
    if blend:
        _go_over(rng, plan, chosen, body)
    _add_style(rng, plan)
    p, strain = solve(plan, body)
    down = contact_of(plan, p)
    stairs = np.ptp(plan.ground, axis=(1, 2)) > 0
    p, down = _placed(rng, p[:, PAD:-PAD], down[:, PAD:-PAD], stairs)
    good = _plausible(p) & (strain[:, PAD:-PAD].max(1) < MAX_STRAIN_M)
    return p.astype(np.float32), down.astype(np.float32), good


def _plans(rng: np.random.Generator, chosen: np.ndarray, body: Body, frames: int) -> Plan:
    plan = Plan(body, frames)
    for i, action in enumerate(ACTIONS.values()):
        rows = np.flatnonzero(chosen == i)
        if len(rows):
            plan.put(rows, action.plan(rng, body[rows], frames))
    return plan


def _go_over(rng: np.random.Generator, plan: Plan, chosen: np.ndarray, body: Body) -> None:
    """Let some windows change into another action on the way, in place."""
    actions = list(ACTIONS.values())
    fits = np.array([[bool(set(a.groups) & set(b.groups)) for b in actions] for a in actions])
    share = np.array([a.share for a in actions])
    going = np.flatnonzero(fits[chosen].any(1) & (rng.random(len(chosen)) < _BLEND_SHARE))
    odds = np.cumsum(fits[chosen[going]] * share, 1)
    following = (rng.random((len(going), 1)) * odds[:, -1:] >= odds).sum(1)
    n, frames = len(going), plan.shape[1]
    second = _plans(rng, following, body[going], frames)
    first = Plan(body[going], frames)
    first.curves = plan.rows(going)
    low = np.array([_near_floor(actions[i]) or _near_floor(actions[j]) for i, j in zip(chosen[going], following)])
    span = rng.uniform(0.8, 1.4, n) * np.where(low, 1.5, 1.0)
    join(first, second, rng.uniform(0.1, np.maximum(frames / 30 - 0.1 - span, 0.2)), span)
    plan.put(going, first)


def _near_floor(action: Action) -> bool:
    return bool({"hands", "back"} & set(action.groups))


def _add_style(rng: np.random.Generator, plan: Plan) -> None:
    """A personal offset and a slow small drift on every angle, in place."""
    n, frames = plan.shape
    for name, degrees in _STYLE.items():
        plan.curves[name] += degrees * (rng.normal(0, 1, (n, 1)) + 0.35 * wander(rng, (n, frames)))
    for name in ARM:
        plan.curves[name] += 4.0 * (rng.normal(0, 1, (n, 1, 2)) + 0.4 * wander(rng, (n, frames, 2)))
    bend = plan.curves["elbow_flex"]
    bend[...] = 2 + np.logaddexp(0, (bend - 2) / 4) * 4
    bend[...] = 145 - np.logaddexp(0, (145 - bend) / 4) * 4


def _placed(
    rng: np.random.Generator, p: np.ndarray, down: np.ndarray, stepped: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Turn each window to a random heading, mirror half of them, start at x = z = 0; stairs begin at y = 0."""
    n = len(p)
    angle = rng.uniform(0, 2 * np.pi, (n, 1, 1))
    c, s = np.cos(angle), np.sin(angle)
    p = p - p[:, :1, :1] * np.array([1.0, 0, 1.0])
    lowest = p[..., 1].min((1, 2))
    p[..., 1] -= np.where(stepped, lowest, 0)[:, None, None]
    flip = rng.random(n) < 0.5
    p[flip] = p[flip][:, :, list(BODY26.mirror)] * np.array([-1.0, 1, 1])
    down = np.where(flip[:, None, None], down[..., [2, 3, 0, 1]], down)
    turned = np.stack([c * p[..., 0] + s * p[..., 2], p[..., 1], -s * p[..., 0] + c * p[..., 2]], -1)
    return turned, down
