"""A motion on another body: rotations carried over, the path scaled by leg length, the feet planted again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kinelift.errors import InputError
from kinelift.export import MAX_FPS
from kinelift.export.resample import at_constant_rate
from kinelift.export.rig import is_body
from kinelift.kinematics import (
    continuous_quats,
    forward_kinematics,
    matrix_to_quat,
    quat_to_matrix,
)
from kinelift.records import CONTACT_JOINTS, Motion
from kinelift.retarget.animation import Animation
from kinelift.retarget.character import Character
from kinelift.retarget.feet import pelvis_height, planted, settled, support_heights
from kinelift.retarget.hands import hands_on_floor, hands_up
from kinelift.retarget.legs import bent_limb
from kinelift.retarget.names import SIDES
from kinelift.retarget.skin import skins_of, sunk
from kinelift.retarget.soles import Soles, soles_of
from kinelift.retarget.transfer import Puppet, carried, puppet
from kinelift.skeleton import BODY26

_SOLES = BODY26.indices(*CONTACT_JOINTS)
# Hip joint over the floor at 1.70 m of stature, metres (conventions.md).
_LEG_M = 0.530 * 1.70
# A foot in the air keeps this much of the source's height over the floor.
_CLEAR = 0.7
_LEG = ("upper_leg", "lower_leg", "foot")
# Seconds over which the path is averaged that `in_place` takes out.
_STRIDE_S = 0.4


def retarget(motion: Motion, character: Character, in_place: bool = False, fps: float | None = None) -> Animation:
    """The motion of a BODY26 rig on a character.

    `fps` None keeps the source's own times. `in_place` takes the path over the floor out, averaged over a stride, so
    that sway stays. Raises `InputError` for another skeleton, a motion without frames, or an unusable `fps`.
    """
    if not is_body(motion.skeleton):
        raise InputError(f"a motion of the skeleton '{motion.skeleton.name}' cannot be retargeted; expected body26")
    if len(motion.times) == 0:
        raise InputError("a motion without frames cannot be retargeted")
    if fps is not None and not 0 < fps <= MAX_FPS:
        raise InputError(f"fps: expected a number above 0 and up to {MAX_FPS:g}, got {fps}")
    if fps is not None:
        motion, _ = at_constant_rate(motion, fps)
    doll = puppet(character)
    source = _source(motion, leg_length(doll))
    turns = carried(source.turned, motion.offsets, doll)
    skins = skins_of(doll, character)
    points = tuple(soles_of(doll, skins, s) for s in SIDES)
    turns, root, feet = _replanted(source, doll, turns, points, skins)
    turns = hands_up(source.times, doll, turns, root, source.turned, source.touching, skins, leg_length(doll))
    if in_place:
        away = _walked(motion.times, root)
        root, feet = root - away, feet - away[:, None]
    return _animation(character, doll, turns, root, motion.times - motion.times[0], source.contact, feet)


@dataclass(frozen=True, eq=False)
class _Source:
    """A motion as a character of other size needs it.

    Attributes:
        times: (T,) seconds.
        turned: (T, 26, 3, 3) rotations in the world.
        middle: (T, 3) middle of the hip joints, metres of the character.
        stretched: (T, 2) left and right leg's length as a share of its bones.
        clear: (T, 2) how far left and right foot must be over their support, metres of the character.
        touching: (T, 2) in [0, 1]: left and right hand rest on the floor.
        contact, support: (T, 4) of left heel, left toe, right heel, right toe; metres of the character.
    """

    times: np.ndarray
    turned: np.ndarray
    middle: np.ndarray
    stretched: np.ndarray
    clear: np.ndarray
    touching: np.ndarray
    contact: np.ndarray
    support: np.ndarray


def _source(motion: Motion, leg_m: float) -> _Source:
    place, turned = forward_kinematics(BODY26, motion.offsets, quat_to_matrix(motion.rotations), motion.root)
    own_m = source_leg_length(motion.offsets)
    size, stature = leg_m / own_m, own_m / _LEG_M
    contact = _sole_contacts(motion)
    legs = np.array([BODY26.indices(f"{s}_hip", f"{s}_knee", f"{s}_ankle") for s in SIDES])
    far = np.linalg.norm(place[:, legs[:, 0]] - place[:, legs[:, 2]], axis=-1)
    bones = np.linalg.norm(motion.offsets[legs[:, 1:]], axis=-1).sum(1)
    support = support_heights(place[:, _SOLES], contact, stature)
    over = place[:, _SOLES, 1] - support
    return _Source(
        motion.times,
        turned,
        size * place[:, legs[:, 0]].mean(1),
        far / bones,
        size * _CLEAR * np.maximum(over.reshape(-1, 2, 2).min(-1), 0),
        hands_on_floor(place, motion.times, stature),
        contact,
        size * support,
    )


def source_leg_length(offsets: np.ndarray) -> float:
    """Hip joint to sole along the bones, metres, mean of both sides."""
    joints = [BODY26.indices(f"{s}_knee", f"{s}_ankle") for s in SIDES]
    bones = np.linalg.norm(offsets[joints], axis=-1).sum(1).mean()
    return float(bones - offsets[BODY26.indices("left_heel", "right_heel"), 1].mean())


def leg_length(doll: Puppet) -> float:
    """The same of a puppet."""
    rest = [doll.rest[[doll.at[f"{s}_{p}"] for p in _LEG]] for s in SIDES]
    return float(np.mean([np.linalg.norm(np.diff(r, axis=0), axis=-1).sum() + r[2, 1] for r in rest]))


def _sole_contacts(motion: Motion) -> np.ndarray:
    """(T, 4) of left heel, left toe, right heel, right toe; 0 for a point that the motion does not tell."""
    out = np.zeros((len(motion.times), 4))
    told = motion.contact_joints.tolist()
    for k, joint in enumerate(_SOLES):
        if joint in told:
            out[:, k] = motion.contacts[:, told.index(joint)]
    return out


def _over(doll: Puppet, turns: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """Where the path's bone is when the middle of the hip joints is at `middle` (T, 3)."""
    hips = [doll.at["left_upper_leg"], doll.at["right_upper_leg"]]
    return middle - doll.posed(turns, np.zeros_like(middle))[:, hips].mean(1)


def _replanted(
    source: _Source, doll: Puppet, turns: np.ndarray, points: tuple[Soles, ...], skins: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Turns (T, D, 3, 3), root (T, 3) and sole points (T, 4, 3) with feet that stand."""
    turns = turns.copy()
    root = _over(doll, turns, source.middle)
    place = doll.posed(turns, root)
    legs = [[doll.at[f"{s}_{p}"] for p in _LEG] for s in SIDES]
    ankles, stands = [], []
    for k, (_, _, foot) in enumerate(legs):
        at = slice(2 * k, 2 * k + 2)
        turns[:, foot] = turn = settled(source.times, turns[:, foot], source.contact[:, at])
        stands.append(points[k].stands(turn))
        ankles.append(
            planted(
                source.times,
                place[:, foot],
                stands[k],
                source.contact[:, at],
                source.support[:, at],
                points[k].lowest(turn),
                source.clear[:, k],
            )
        )
    hips = place[:, [thigh for thigh, _, _ in legs]]
    lengths = np.array([np.linalg.norm(np.diff(doll.rest[leg], axis=0), axis=-1).sum() for leg in legs])
    stand = source.contact.reshape(-1, 2, 2).max(-1)
    raised = pelvis_height(
        source.times, hips, np.stack(ankles, 1), lengths, source.stretched, stand, sunk(doll, skins, turns, place)
    )
    root[:, 1] += raised
    hips[..., 1] += raised[:, None]
    for k, side in enumerate(SIDES):
        thigh, shank, foot = legs[k]
        hinge = source.turned[:, BODY26.index(f"{side}_hip"), :, 0]
        turns[:, thigh], turns[:, shank] = bent_limb(
            turns[:, thigh], turns[:, shank], hips[:, k], ankles[k], np.diff(doll.rest[legs[k]], axis=0), hinge
        )
    place = doll.posed(turns, root)
    soles = []
    for k, side in enumerate(SIDES):
        turn, ankle = turns[:, legs[k][2]], place[:, legs[k][2]]
        # Not before the ball has left the floor by 2 % of the leg do the toes stretch.
        over = (ankle + stands[k][:, 1])[:, 1] - source.support[:, 2 * k + 1] - 0.02 * leg_length(doll)
        clear = over / np.linalg.norm(points[k].tips, axis=-1).max(initial=1e-9)
        if f"{side}_toes" in doll.at:
            turns[:, doll.at[f"{side}_toes"]] = points[k].bent(turn, clear)
        soles.append(ankle[:, None] + points[k].stands(turn, clear))
    return turns, root, np.concatenate(soles, 1)


def _walked(times: np.ndarray, root: np.ndarray) -> np.ndarray:
    """(T, 3) the path over the floor from the first frame on, without sway: averaged over a stride."""
    from scipy.ndimage import gaussian_filter1d

    grid = np.arange(times[0], times[-1] + 1 / 60, 1 / 60)
    path = np.stack([np.interp(grid, times, root[:, c]) for c in (0, 2)], -1)
    # Before and after the clip the walk goes on as it was.
    beyond = min(len(grid) - 1, round(4 * 60 * _STRIDE_S))
    long = np.pad(path, ((beyond, beyond), (0, 0)), mode="reflect", reflect_type="odd")
    smooth = gaussian_filter1d(long, _STRIDE_S * 60, axis=0, mode="nearest")[beyond : beyond + len(grid)]
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
