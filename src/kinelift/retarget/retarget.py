"""A motion on another body: rotations carried over, the path scaled by leg length, the feet planted again."""

from __future__ import annotations

import numpy as np

from kinelift.errors import InputError
from kinelift.export.resample import at_constant_rate
from kinelift.export.rig import is_body
from kinelift.kinematics import (
    continuous_quats,
    forward_kinematics,
    matrix_to_quat,
    motion_positions,
    quat_to_matrix,
    rotvec_to_matrix,
)
from kinelift.records import Motion
from kinelift.retarget.animation import Animation
from kinelift.retarget.character import Character
from kinelift.retarget.feet import Soles, pelvis_height, planted, support_heights
from kinelift.retarget.legs import bent_leg
from kinelift.retarget.names import SIDES
from kinelift.retarget.transfer import Puppet, carried, puppet
from kinelift.skeleton import BODY26

# The leg is never longer than this share of its bones, but where the source's is.
_STRETCHED = 0.985
_LEG = ("upper_leg", "lower_leg", "foot")
# Seconds over which the path is averaged that `in_place` takes out.
_STRIDE_S = 0.4


def retarget(motion: Motion, character: Character, in_place: bool = False, fps: float | None = None) -> Animation:
    """The motion of a BODY26 rig on a character.

    `fps` None keeps the source's own times. `in_place` takes the path over the floor out, averaged over a stride, so
    that sway stays. Raises `InputError` for another skeleton, or a motion without frames.
    """
    if not is_body(motion.skeleton):
        raise InputError(f"a motion of the skeleton '{motion.skeleton.name}' cannot be retargeted; expected body26")
    if len(motion.times) == 0:
        raise InputError("a motion without frames cannot be retargeted")
    if fps is not None:
        motion, _ = at_constant_rate(motion, fps)
    doll = puppet(character)
    local = quat_to_matrix(motion.rotations)
    place, turned = forward_kinematics(BODY26, motion.offsets, local, motion.root)
    turns = carried(turned, motion.offsets, doll)
    size = leg_length(doll) / source_leg_length(motion.offsets)
    root = _over(doll, turns, size * motion.root)
    points = {s: soles_of(doll, s) for s in SIDES}
    soles = place[:, BODY26.indices("left_heel", "left_toe", "right_heel", "right_toe")]
    contact = _sole_contacts(motion)
    support = size * support_heights(soles, contact, size)
    turns, root, feet = _replanted(motion, doll, turns, root, turned, contact, support, points)
    if in_place:
        away = _walked(motion.times, root)
        root, feet = root - away, feet - away[:, None]
    return _animation(character, doll, turns, root, motion.times - motion.times[0], contact, feet)


def source_leg_length(offsets: np.ndarray) -> float:
    """Hip joint to sole along the bones, metres, mean of both sides."""
    joints = [BODY26.indices(f"{s}_knee", f"{s}_ankle") for s in SIDES]
    bones = np.linalg.norm(offsets[joints], axis=-1).sum(1).mean()
    return float(bones - offsets[BODY26.indices("left_heel", "right_heel"), 1].mean())


def leg_length(doll: Puppet) -> float:
    """The same of a puppet."""
    rest = [doll.rest[[doll.at[f"{s}_{p}"] for p in _LEG]] for s in SIDES]
    return float(np.mean([np.linalg.norm(np.diff(r, axis=0), axis=-1).sum() + r[2, 1] for r in rest]))


def soles_of(doll: Puppet, side: str) -> Soles:
    """The sole points of one foot at rest, by the joints and the body's proportions."""
    ankle = doll.rest[doll.at[f"{side}_foot"]]
    size = leg_length(doll) / 0.530
    if f"{side}_toes" in doll.at:
        ahead = doll.rest[doll.at[f"{side}_toes"]] - ankle
    else:
        ahead = np.array([0, 0, 0.085 * size])
    down = np.array([0, -ankle[1], 0])
    level = ahead * [1, 0, 1]
    along = level / max(float(np.linalg.norm(level)), 1e-9)
    return Soles(
        down - 0.028 / 0.085 * level, down + level, down + level + min(0.039 * size, np.linalg.norm(level) / 2) * along
    )


def _sole_contacts(motion: Motion) -> np.ndarray:
    """(T, 4) of left heel, left toe, right heel, right toe; 0 for a point that the motion does not tell."""
    out = np.zeros((len(motion.times), 4))
    told = motion.contact_joints.tolist()
    for k, joint in enumerate(BODY26.indices("left_heel", "left_toe", "right_heel", "right_toe")):
        if joint in told:
            out[:, k] = motion.contacts[:, told.index(joint)]
    return out


def _over(doll: Puppet, turns: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """Where the path's bone is when the middle of the hip joints is at `middle` (T, 3)."""
    hips = [doll.at["left_upper_leg"], doll.at["right_upper_leg"]]
    return middle - doll.posed(turns, np.zeros_like(middle))[:, hips].mean(1)


def _replanted(
    motion: Motion,
    doll: Puppet,
    turns: np.ndarray,
    root: np.ndarray,
    turned: np.ndarray,
    contact: np.ndarray,
    support: np.ndarray,
    points: dict[str, Soles],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Turns, root and sole points (T, 4, 3) with feet that stand."""
    turns = turns.copy()
    place = doll.posed(turns, root)
    ankles, reach, arms = [], [], []
    source = motion_positions(motion)
    for k, side in enumerate(SIDES):
        foot = doll.at[f"{side}_foot"]
        p = points[side]
        has_toes = f"{side}_toes" in doll.at
        arm = np.stack([turns[:, foot] @ v for v in (p.heel, p.ball if has_toes else p.tip)], 1)
        at = slice(2 * k, 2 * k + 2)
        ankles.append(planted(motion.times, place[:, foot], arm, contact[:, at], support[:, at], arm[..., 1].min(1)))
        arms.append(arm)
        reach.append(_reach(motion, source, doll, side))
    hips = place[:, [doll.at[f"{s}_upper_leg"] for s in SIDES]]
    root = root.copy()
    raised = pelvis_height(motion.times, hips, np.stack(ankles, 1), np.stack(reach, 1))
    root[:, 1] += raised
    hips = hips + np.stack([0 * raised, raised, 0 * raised], -1)[:, None]
    for k, side in enumerate(SIDES):
        thigh, shank, foot = (doll.at[f"{side}_{p}"] for p in _LEG)
        bones = np.diff(doll.rest[[thigh, shank, foot]], axis=0)
        hinge = turned[:, BODY26.index(f"{side}_hip"), :, 0]
        turns[:, thigh], turns[:, shank] = bent_leg(
            turns[:, thigh], turns[:, shank], hips[:, k], ankles[k], bones, hinge
        )
        if f"{side}_toes" in doll.at:
            turns[:, doll.at[f"{side}_toes"]] = _toes(doll, side, turns[:, foot], ankles[k], points[side])
    place = doll.posed(turns, root)
    soles = [place[:, [doll.at[f"{s}_foot"]]] + arms[k] for k, s in enumerate(SIDES)]
    return turns, root, np.concatenate(soles, 1)


def _reach(motion: Motion, source: np.ndarray, doll: Puppet, side: str) -> np.ndarray:
    """(T,) metres that a leg may be long: as stretched as the source's, or nearly straight."""
    hip, _, ankle = (source[:, BODY26.index(f"{side}_{j}")] for j in ("hip", "knee", "ankle"))
    bones = np.linalg.norm(motion.offsets[BODY26.indices(f"{side}_knee", f"{side}_ankle")], axis=-1).sum()
    share = np.clip(np.linalg.norm(hip - ankle, axis=-1) / bones, _STRETCHED, 0.9995)
    own = np.linalg.norm(np.diff(doll.rest[[doll.at[f"{side}_{p}"] for p in _LEG]], axis=0), axis=-1).sum()
    return np.asarray(share * own)


def _toes(doll: Puppet, side: str, foot: np.ndarray, ankle: np.ndarray, points: Soles) -> np.ndarray:
    """Turns (T, 3, 3) of the toes: bent up as far as keeps their tip out of the floor, straight where it is free."""
    ball = ankle + foot @ points.ball
    ahead = foot @ (points.tip - points.ball)
    length = np.linalg.norm(points.tip - points.ball)
    dip = np.arcsin(np.clip(-ahead[:, 1] / length, -1, 1))
    least = np.arcsin(np.clip(-ball[:, 1] / length, -1, 1))
    bend = np.clip(dip + least, 0, np.radians(70)) * (dip > -np.pi)
    return foot @ rotvec_to_matrix(-bend[:, None] * np.array([1.0, 0, 0]))


def _walked(times: np.ndarray, root: np.ndarray) -> np.ndarray:
    """(T, 3) the path over the floor from the first frame on, without sway: averaged over a stride."""
    from scipy.ndimage import gaussian_filter1d

    grid = np.arange(times[0], times[-1] + 1 / 60, 1 / 60)
    path = np.stack([np.interp(grid, times, root[:, c]) for c in (0, 2)], -1)
    smooth = gaussian_filter1d(path, _STRIDE_S * 60, axis=0, mode="nearest") if len(grid) > 1 else path
    out = np.zeros_like(root)
    out[:, 0], out[:, 2] = (np.interp(times, grid, smooth[:, c]) for c in (0, 1))
    return out


def _animation(
    character: Character,
    doll: Puppet,
    turns: np.ndarray,
    root: np.ndarray,
    times: np.ndarray,
    contact: np.ndarray,
    soles: np.ndarray,
) -> Animation:
    """What the file holds: local rotations in its own axes, the path in its own units."""
    positions, rotations, scales = character.rest
    turn = character.turn
    quats = np.empty((len(times), len(doll.bones), 4))
    for i, (bone, over) in enumerate(zip(doll.bones, doll.parents, strict=True)):
        above = int(character.parents[bone])
        hang = rotations[above] if above >= 0 else np.eye(3)
        turned = np.swapaxes(turns[:, over], -1, -2) @ turns[:, i] if over >= 0 else turns[:, i]
        quats[:, i] = matrix_to_quat(hang.T @ turn @ turned @ turn.T @ rotations[bone])
    first = int(doll.bones[0])
    above = int(character.parents[first])
    path = (root + np.array([0, character.floor, 0])) / character.scale @ turn.T
    if above >= 0:
        path = (path - positions[above]) @ rotations[above] / scales[above]
    return Animation(times, doll.bones, continuous_quats(quats), 0 + first, path, contact, soles)
