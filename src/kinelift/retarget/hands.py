"""Hands that rest on the floor stay there, and none sinks into it: arms of other length would miss it."""

from __future__ import annotations

import numpy as np

from kinelift.retarget.feet import planted
from kinelift.retarget.legs import bent_limb
from kinelift.retarget.names import SIDES
from kinelift.retarget.skin import lowest
from kinelift.retarget.transfer import Puppet
from kinelift.skeleton import BODY26

# A hand's joint lies 3 cm over the floor that it rests on, and is still below 0.35 m/s, at 1.70 m of stature
# (as in cleanup.contacts).
_FLESH_M, _NEAR_M, _STILL_M_S = 0.03, 0.06, 0.35
_ARM = ("upper_arm", "lower_arm", "hand")
# A correction is made where it is over a millimetre at a leg length of 0.9 m somewhere in the clip.
_LEAST = 1e-3 / 0.9


def hands_on_floor(place: np.ndarray, times: np.ndarray, size: float) -> np.ndarray:
    """(T, 2) in [0, 1]: left and right hand of bodies (T, 26, 3) rest on the floor; `size` is stature over 1.70 m."""
    hands = place[:, BODY26.indices("left_hand", "right_hand")] / size
    speed = np.linalg.norm(np.gradient(hands, times, axis=0), axis=-1) if len(times) > 1 else np.zeros((1, 2))
    odds = np.minimum((_STILL_M_S - speed) / 0.08, (_NEAR_M + _FLESH_M - hands[..., 1]) / 0.02)
    return np.asarray(1 / (1 + np.exp(-np.clip(odds, -30, 30))))


def hands_up(
    times: np.ndarray,
    doll: Puppet,
    turns: np.ndarray,
    root: np.ndarray,
    turned: np.ndarray,
    touching: np.ndarray,
    skins: list[np.ndarray],
    leg_m: float,
) -> np.ndarray:
    """Turns (T, D, 3, 3) with arms that keep hands on the floor where they touch (T, 2) it, and out of it elsewhere.

    `turned` (T, 26, 3, 3) are the source's rotations, whose elbows say in which plane an arm bends.
    """
    turns, place = turns.copy(), doll.posed(turns, root)
    for k, (side, sign) in enumerate(zip(SIDES, (-1.0, 1.0), strict=True)):
        upper, lower, hand = (doll.at[f"{side}_{p}"] for p in _ARM)
        skin = skins[hand]
        bone = doll.rest[hand] - doll.rest[lower]
        palm = skin.mean(0) if len(skin) else bone / np.linalg.norm(bone) * 0.1 * leg_m
        low = lowest(turns[:, hand], skin if len(skin) else palm[None])
        at = turns[:, hand] @ palm
        at[:, 1] = low
        on = touching[:, k : k + 1]
        wrist = planted(times, place[:, hand], at[:, None], on, 0 * on, low, np.zeros(len(times)))
        if np.abs(wrist - place[:, hand]).max() < _LEAST * leg_m:
            continue
        first, second = place[:, lower] - place[:, upper], place[:, hand] - place[:, lower]
        axis = np.cross(first, second) / (np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1))[:, None]
        # An arm that is nearly straight bends about the source's elbow.
        hinge = axis + 0.1 * sign * turned[:, BODY26.index(f"{side}_shoulder"), :, 1]
        hinge /= np.maximum(np.linalg.norm(hinge, axis=-1, keepdims=True), 1e-9)
        turns[:, upper], turns[:, lower] = bent_limb(
            turns[:, upper],
            turns[:, lower],
            place[:, upper],
            wrist,
            np.diff(doll.rest[[upper, lower, hand]], axis=0),
            hinge,
        )
    return turns
