"""From a plan's curves to joint positions: feet stand where planned, the pelvis balances over them, legs follow.

Vectorised over windows and frames; positions only. The pelvis, the feet and the trunk are given, two-bone legs join
them exactly, and the pelvis is moved until the centre of mass is where the plan wants it.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d, minimum_filter1d

from kinelift.datasets.mocap import SOLES
from kinelift.kinematics import mass_weights
from kinelift.skeleton import BODY26
from kinelift.training.generate import _rot
from kinelift.training.motion_plan import SIDE, Body, Plan

_B = BODY26.index
_UPPER = [i for i, j in enumerate(BODY26.joints) if not j.endswith(("hip", "knee", "ankle", "heel", "toe"))]
_TRUNK = [i for i in _UPPER if not BODY26.joints[i].endswith(("wrist", "hand"))]
_LEGS = {part: BODY26.indices(f"left_{part}", f"right_{part}") for part in ("hip", "knee", "ankle", "heel", "toe")}
_REACH = 0.998
_FOLD = 0.29
_MAX_DORSIFLEXION, _MAX_PLANTARFLEXION = 30.0, 48.0
_ROUNDS = 3
_TIPTOE_M = 0.0025
_MAY_SINK_M = 0.16
_KNEE_FLOOR = 0.055
_FOOT_FLOOR = 0.03
_TRUNK_FLOOR = 0.045


def solve(plan: Plan, body: Body) -> tuple[np.ndarray, np.ndarray]:
    """Positions (n, T, 26, 3) in metres of a plan, and its strain (n, T) in metres: how far it asked too much.

    Strain is the distance by which a standing foot is missed or, beyond `_MAY_SINK_M`, the pelvis is pulled down to
    reach both feet. The plan's `swing` is raised where a hanging foot would pierce the floor.
    """
    pelvis = _turned(plan.yaw, plan.lean, plan.side) @ _rot("y", plan.roll)
    upper = _upper(plan, body, pelvis)
    hips = np.einsum("ntij,nsj->ntsi", pelvis, body.offsets[:, _LEGS["hip"]])
    weights = mass_weights()
    upper_com = np.einsum("ntji,j->nti", upper[:, :, _UPPER], weights[_UPPER])
    lowest = upper[:, :, _TRUNK, 1].min(-1)
    keep = plan.balance[..., None]
    clearance = _FOOT_FLOOR * plan.tied * keep
    ground = (1 - keep) * plan.root + keep * plan.com
    pitch = plan.foot_pitch.copy()
    height = plan.height.copy()
    facing = np.stack([np.sin(np.radians(plan.yaw)), np.cos(np.radians(plan.yaw))], -1)
    tiptoe = np.zeros_like(ground)
    for _ in range(_ROUNDS):
        root, legs = _stand(plan, body, pelvis, hips, ground, height, pitch)
        com = upper_com + sum(weights[i[0]] * (legs[k] - root[:, :, None]).sum(2) for k, i in _LEGS.items())
        relief = _heel_relief(plan, legs, pitch)
        pitch += relief
        # Heels that had to rise take the weight on to the toes.
        tiptoe += _TIPTOE_M * np.clip(relief, 0, None).mean(-1, keepdims=True) * facing
        ground = (1 - keep) * plan.root + keep * (plan.com + tiptoe - com[..., ::2])
        low = np.minimum(legs["toe"][..., 1], legs["heel"][..., 1]) - plan.ground
        plan.swing[..., 1] += _softplus(clearance - low, 0.004) / np.maximum(plan.tied, 0.25)
        height += _softplus(_TRUNK_FLOOR - lowest - root[..., 1], 0.006)
        height += 1.5 * _softplus(_KNEE_FLOOR - (legs["knee"][..., 1] - plan.ground).min(-1), 0.006)
    root, legs = _stand(plan, body, pelvis, hips, ground, height, pitch)
    positions = upper + root[:, :, None]
    for part, i in _LEGS.items():
        positions[:, :, i] = legs[part]
    _place_hands(plan, positions, upper_hinge(plan, pelvis))
    return positions, _strain(plan, legs, _ankles(plan, body, root, pitch), root, height)


def _strain(
    plan: Plan, legs: dict[str, np.ndarray], ankle: np.ndarray, root: np.ndarray, height: np.ndarray
) -> np.ndarray:
    standing = (plan.foot[..., 1] - plan.ground < 0.01) & (plan.tied < 0.05)
    missed = np.where(standing, _length(legs["ankle"] - ankle), 0).max(-1)
    return np.maximum(missed, height - root[..., 1] - _MAY_SINK_M)


def contacts(plan: Plan, positions: np.ndarray) -> np.ndarray:
    """(n, T, 4) contact of heels and toes (mocap.SOLES) in 0..1: slow (WHAM's label), low and not lifted."""
    soles = positions[:, :, SOLES]
    speed = _length(np.gradient(soles, axis=1))
    slow = 1 / (1 + np.exp(np.clip((speed - 0.01) * 500, -30, 30)))
    clear = soles[..., 1] - np.repeat(plan.ground, 2, -1)
    lifted = np.repeat((1 - plan.tied) * (plan.foot[..., 1] - plan.ground), 2, -1)
    for height, limit in ((clear, 0.02), (lifted, 0.012)):
        slow = slow / (1 + np.exp(np.clip((height - limit) / 0.002, -30, 30)))
    return slow


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("...i,...i->...", a, b)


def _length(v: np.ndarray) -> np.ndarray:
    return np.sqrt(_dot(v, v))


def _turned(yaw: np.ndarray, lean: np.ndarray, side: np.ndarray) -> np.ndarray:
    return _rot("y", yaw) @ _rot("x", lean) @ _rot("z", side)


def _chest(plan: Plan, pelvis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """World rotations of spine and chest."""
    half = _turned(plan.spine_twist / 2, plan.spine_flex / 2, plan.spine_side / 2)
    spine = pelvis @ half
    return spine, spine @ half


def _shoulder(plan: Plan, chest: np.ndarray, s: int) -> np.ndarray:
    """World rotation of an upper arm."""
    flex = plan.shoulder_flex[:, :, s] + plan.hang * (plan.lean + plan.spine_flex)
    out, twist = plan.shoulder_abduct[:, :, s] - 90, plan.shoulder_twist[:, :, s]
    return chest @ _rot("x", -flex) @ _rot("z", SIDE[s] * out) @ _rot("x", twist)


def _upper(plan: Plan, body: Body, pelvis: np.ndarray) -> np.ndarray:
    """(n, T, 26, 3) trunk, head and arms from the pelvis."""
    n, frames = plan.shape
    p = np.zeros((n, frames, len(BODY26), 3))
    spine, chest = _chest(plan, pelvis)
    half = _turned(plan.neck_twist / 2, plan.neck_flex / 2, plan.neck_side / 2)
    neck = chest @ half
    head = neck @ half
    frame = {"pelvis": pelvis, "spine": spine, "chest": chest, "neck": neck, "head": head}
    for s, side in enumerate(("left", "right")):
        arm = _shoulder(plan, chest, s)
        fore = arm @ _rot("y", -SIDE[s] * plan.elbow_flex[:, :, s])
        turn = _rot("z", SIDE[s] * plan.wrist_flex[:, :, s]) @ _rot("y", SIDE[s] * plan.wrist_side[:, :, s])
        frame |= {f"{side}_shoulder": arm, f"{side}_elbow": fore, f"{side}_wrist": fore @ turn}
    for i in _UPPER[1:]:
        up = BODY26.parents[i]
        p[:, :, i] = p[:, :, up] + np.einsum("ntij,nj->nti", frame[BODY26.joints[up]], body.offsets[:, i])
    return p


def _stand(
    plan: Plan,
    body: Body,
    pelvis: np.ndarray,
    hips: np.ndarray,
    ground: np.ndarray,
    height: np.ndarray,
    pitch: np.ndarray,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Root (n, T, 3) and leg joints (n, T, 2, 3) with the pelvis above `ground` as high as planned and reachable."""
    root = np.stack([ground[..., 0], height, ground[..., 1]], -1)
    ankle = _ankles(plan, body, root, pitch)
    reach = (_REACH * body.leg)[..., None]
    away = (root[:, :, None] + hips - ankle)[..., ::2]
    room = np.sqrt(np.maximum(reach**2 - _dot(away, away), 0.02))
    limit = ankle[..., 1] + room - hips[..., 1] + 9 * plan.tied + 2.5 * (plan.foot[..., 1] - plan.ground)
    height = np.minimum(height, limit.min(-1))
    root[..., 1] = gaussian_filter1d(minimum_filter1d(height, 5, axis=1), 1.2, axis=1, radius=2)
    ankle = _ankles(plan, body, root, pitch)
    return root, _legs(plan, body, pelvis, root[:, :, None] + hips, ankle, pitch)


def _ankles(plan: Plan, body: Body, root: np.ndarray, pitch: np.ndarray) -> np.ndarray:
    """(n, T, 2, 3) ankles of feet that turn about their toe or heel on the planned spot, or hang on the pelvis."""
    yaw, tilt = np.radians(plan.foot_yaw), np.radians(pitch)
    on_toe = 1 / (1 + np.exp(-np.clip(pitch / 1.5, -30, 30)))
    y = -body.ankle[:, None, None]
    z = on_toe * body.toe[:, None, None] - (1 - on_toe) * body.heel[:, None, None]
    up = y - (y * np.cos(tilt) - z * np.sin(tilt)) - y
    ahead = z - (y * np.sin(tilt) + z * np.cos(tilt))
    stand = plan.foot + np.stack([ahead * np.sin(yaw), up, ahead * np.cos(yaw)], -1)
    if not plan.tied.any():
        return stand
    turn = _rot("y", plan.yaw)
    hang = root[:, :, None] + np.einsum("ntij,ntsj->ntsi", turn, plan.swing)
    w = plan.tied[..., None]
    return (1 - w) * stand + w * hang


def _legs(
    plan: Plan, body: Body, pelvis: np.ndarray, hip: np.ndarray, ankle: np.ndarray, pitch: np.ndarray
) -> dict[str, np.ndarray]:
    """Two-bone legs (n, T, 2, 3) by joint; an ankle out of reach is pulled in along its line to the hip."""
    thigh, shank = body.thigh[:, None, None], body.shank[:, None, None]
    line = ankle - hip
    far = _length(line)
    distance = np.clip(far, _FOLD * (thigh + shank), 0.9995 * (thigh + shank))
    down = line / np.maximum(far, 1e-6)[..., None]
    ankle = hip + distance[..., None] * down
    hinge = _hinges(plan, pelvis, down)
    bend = np.arccos(np.clip((thigh**2 + distance**2 - shank**2) / (2 * thigh * distance), -1, 1))[..., None]
    knee = hip + thigh[..., None] * (np.cos(bend) * down + np.sin(bend) * np.cross(down, hinge))
    along = (ankle - knee) / shank[..., None]
    forward, up = _foot_axes(plan, along, hinge, pitch)
    reach = {"toe": body.toe, "heel": -body.heel}
    soles = {
        k: ankle - body.ankle[:, None, None, None] * up + z[:, None, None, None] * forward for k, z in reach.items()
    }
    return {"hip": hip, "knee": knee, "ankle": ankle, **soles}


def _hinges(plan: Plan, pelvis: np.ndarray, down: np.ndarray) -> np.ndarray:
    """(n, T, 2, 3) unit knee axes that point left: the pelvis's own, swung with the leg and turned with the foot."""
    local = np.einsum("ntji,ntsj->ntsi", pelvis, down)
    turn = (plan.foot_yaw - plan.yaw[..., None] + 180) % 360 - 180
    turn = 0.8 * turn * (1 - plan.loose) + SIDE * plan.knee_out
    turn = np.radians(88 * np.tanh(turn / 88))
    axis = np.stack([np.cos(turn), np.zeros_like(turn), -np.sin(turn)], -1)
    axis = _swung(axis, np.array([0.0, -1.0, 0.0]), local)
    axis = np.einsum("ntij,ntsj->ntsi", pelvis, axis)
    axis -= _dot(axis, down)[..., None] * down
    return axis / _length(axis)[..., None]


def _swung(v: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Vectors (..., 3) turned by the shortest arc from unit vectors a to b."""
    both = a + b
    share = _dot(both, v) / np.maximum(1 + _dot(a, b), 1e-6)
    return v - share[..., None] * both + 2 * _dot(a, v)[..., None] * b


def _foot_axes(plan: Plan, along: np.ndarray, hinge: np.ndarray, pitch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Forward and up axes (n, T, 2, 3) of the feet: as planned, or following the shank where loose."""
    yaw, tilt = np.radians(plan.foot_yaw), np.radians(pitch)
    forward = np.stack([np.cos(tilt) * np.sin(yaw), -np.sin(tilt), np.cos(tilt) * np.cos(yaw)], -1)
    up = np.stack([np.sin(tilt) * np.sin(yaw), np.cos(tilt), np.sin(tilt) * np.cos(yaw)], -1)
    ahead = np.cross(along, hinge)
    flex = np.radians(plan.loose_flex)[..., None]
    w = plan.loose[..., None]
    forward = (1 - w) * forward + w * (np.cos(flex) * ahead - np.sin(flex) * along)
    up = (1 - w) * up + w * (-np.cos(flex) * along - np.sin(flex) * ahead)
    forward /= _length(forward)[..., None]
    up -= _dot(up, forward)[..., None] * forward
    return forward, up / _length(up)[..., None]


def _heel_relief(plan: Plan, legs: dict[str, np.ndarray], pitch: np.ndarray) -> np.ndarray:
    """Degrees (n, T, 2) to add to the feet's pitch so that ankles stay inside their range."""
    along = legs["ankle"] - legs["knee"]
    along /= _length(along)[..., None]
    yaw, tilt = np.radians(plan.foot_yaw), np.radians(pitch)
    forward = np.stack([np.cos(tilt) * np.sin(yaw), -np.sin(tilt), np.cos(tilt) * np.cos(yaw)], -1)
    flexion = np.degrees(np.arcsin(np.clip(-_dot(along, forward), -1, 1)))
    over = _softplus(flexion - _MAX_DORSIFLEXION)
    under = _softplus(-flexion - _MAX_PLANTARFLEXION)
    return (over - under) * (1 - plan.loose) * (1 - plan.tied)


def _softplus(x: np.ndarray, width: float = 2.0) -> np.ndarray:
    return width * np.logaddexp(0, x / width)


def upper_hinge(plan: Plan, pelvis: np.ndarray) -> np.ndarray:
    """(n, T, 2, 3) the axes about which the elbows bend."""
    _, chest = _chest(plan, pelvis)
    return np.stack([_shoulder(plan, chest, s)[..., 1] for s in (0, 1)], 2)


def _place_hands(plan: Plan, p: np.ndarray, hinge: np.ndarray) -> None:
    """Carry wrists to where the plan holds them and keep hands above the floor, in place."""
    arm = {j: BODY26.indices(f"left_{j}", f"right_{j}") for j in ("shoulder", "elbow", "wrist", "hand")}
    shoulder, elbow, wrist, hand = (p[:, :, i] for i in arm.values())
    w = plan.hold[..., None]
    target = wrist + w * (plan.hand - wrist)
    low = np.minimum(wrist[..., 1], hand[..., 1])
    lift = _softplus(0.03 - low, 0.012) * (1 - plan.hold)
    moved = (lift > 1e-4) | (plan.hold > 1e-4)
    if not moved.any():
        return
    target[..., 1] += lift
    upper, fore = (_length(b - a) for a, b in ((shoulder, elbow), (elbow, wrist)))
    line = target - shoulder
    far = _length(line)
    distance = np.clip(far, 0.36 * (upper + fore), 0.9995 * (upper + fore))
    way = line / np.maximum(far, 1e-6)[..., None]
    axis = hinge - _dot(hinge, way)[..., None] * way
    axis /= np.maximum(_length(axis)[..., None], 1e-6)
    bend = np.arccos(np.clip((upper**2 + distance**2 - fore**2) / (2 * upper * distance), -1, 1))[..., None]
    aside = -SIDE[:, None] * np.cross(way, axis)
    new_elbow = shoulder + upper[..., None] * (np.cos(bend) * way + np.sin(bend) * aside)
    new_wrist = shoulder + distance[..., None] * way
    before, after = (wrist - elbow) / fore[..., None], (new_wrist - new_elbow) / fore[..., None]
    palm = _swung(hand - wrist, before, after)
    yaw = np.radians(plan.yaw)
    flat = np.stack([0.9 * np.sin(yaw), np.full_like(yaw, -0.43), 0.9 * np.cos(yaw)], -1)[:, :, None]
    size = _length(palm)[..., None]
    palm = (1 - w) * palm + w * size * flat
    palm *= size / _length(palm)[..., None]
    new_hand = new_wrist + palm
    use = moved[..., None]
    for name, new in (("elbow", new_elbow), ("wrist", new_wrist), ("hand", new_hand)):
        p[:, :, arm[name]] = np.where(use, new, p[:, :, arm[name]])
