"""Other bodies and poses of motion that is there: windows (B, T, 26, 3) in the world or in camera axes, vectorised."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter1d

from kinelift.kinematics import reference_offsets, rotvec_to_matrix
from kinelift.skeleton import BODY26

_B = BODY26.index
_MIRROR = np.array(BODY26.mirror)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], sigma_frames: float) -> np.ndarray:
    """Unit-variance noise, smooth along axis 1."""
    x = gaussian_filter1d(rng.standard_normal(shape), sigma_frames, axis=1, mode="reflect")
    return x * np.sqrt(2 * np.sqrt(np.pi) * sigma_frames)


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-9)


def add_extremities(rng: np.random.Generator, p: np.ndarray) -> np.ndarray:
    """Give windows without face and hands (NaN) a head and knuckles that move plausibly, in place and returned."""
    n, t = p.shape[:2]
    rest = reference_offsets()
    up = _unit(p[:, :, _B("neck")] - p[:, :, 0])
    left = _unit(p[:, :, _B("left_shoulder")] - p[:, :, _B("right_shoulder")])
    left = _unit(left - up * (left * up).sum(-1, keepdims=True))
    torso = np.stack([left, up, np.cross(left, up)], -1)
    turn = rotvec_to_matrix(smooth_noise(rng, (n, t, 3), 12) * [0.25, 0.45, 0.15] + rng.normal(0, 0.15, (n, 1, 3)))
    head = torso @ turn
    p[:, :, _B("head")] = p[:, :, _B("neck")] + head @ rest[_B("head")]
    for j in ("nose", "left_ear", "right_ear"):
        p[:, :, _B(j)] = p[:, :, _B("head")] + head @ rest[_B(j)]
    for side in ("left", "right"):
        forearm = _unit(p[:, :, _B(f"{side}_wrist")] - p[:, :, _B(f"{side}_elbow")])
        bend = rotvec_to_matrix(smooth_noise(rng, (n, t, 3), 6) * 0.25 + rng.normal(0, 0.25, (n, 1, 3)))
        hand = np.einsum("btij,btj->bti", bend, forearm) * np.linalg.norm(rest[_B(f"{side}_hand")])
        p[:, :, _B(f"{side}_hand")] = p[:, :, _B(f"{side}_wrist")] + hand
    return p


def vary_widths(rng: np.random.Generator, p: np.ndarray) -> np.ndarray:
    """Shoulders and hips wider or narrower, with all that hangs on them, in place and returned.

    Far beyond people's own range: what "shoulder" and "hip" mean differs by as much between detectors, marker sets and
    characters, and a lifter must then go by what it sees.
    """
    for joint, low, high in (("shoulder", 0.6, 1.2), ("hip", 0.75, 1.35)):
        factor = np.clip(rng.normal(1, 0.13, len(p)), low, high)[:, None, None]
        side = (p[:, :, _B(f"left_{joint}")] - p[:, :, _B(f"right_{joint}")]) / 2 * (factor - 1)
        for name, sign in (("left", 1), ("right", -1)):
            p[:, :, BODY26.indices(*(f"{name}_{j}" for j in _HANGING[joint]))] += (sign * side)[:, :, None]
    return p


_HANGING = {"shoulder": ("shoulder", "elbow", "wrist", "hand"), "hip": ("hip", "knee", "ankle", "heel", "toe")}
_CHAINS = {
    f"{s}_{part}": [f"{s}_{j}" for j in rest]
    for s in ("left", "right")
    for part, rest in (("shoulder", ("elbow", "wrist", "hand")), ("elbow", ("wrist", "hand")))
}


def vary_bodies(rng: np.random.Generator, p: np.ndarray, forearm: float) -> np.ndarray:
    """Other proportions and arms held a little differently, in place and returned.

    `forearm` multiplies forearms first (marker models may have them short). Legs and trunk vary together with what
    hangs on them; soles keep their contact since both legs scale alike.
    """
    n = len(p)
    factors = np.clip(rng.normal(1, 0.06, (n, 5)), 0.85, 1.18)[:, :, None, None]
    for side in ("left", "right"):
        chain = [_B(f"{side}_{j}") for j in ("shoulder", "elbow", "wrist", "hand")]
        bones = np.diff(p[:, :, chain], axis=2)
        bones[:, :, 0] *= factors[:, 0]
        bones[:, :, 1] *= factors[:, 1] * forearm
        p[:, :, chain[1:]] = p[:, :, chain[:1]] + np.cumsum(bones, 2)
    width = (p[:, :, _B("left_shoulder")] - p[:, :, _B("right_shoulder")]) / 2 * (factors[:, 2] - 1)
    trunk = (p[:, :, _B("neck")] - p[:, :, 0]) * (factors[:, 3] - 1)
    upper = BODY26.indices("neck", "head", "nose", "left_ear", "right_ear")
    for side, sign in (("left", 1), ("right", -1)):
        arm = BODY26.indices(*(f"{side}_{j}" for j in ("shoulder", "elbow", "wrist", "hand")))
        p[:, :, arm] += (sign * width + trunk)[:, :, None]
    p[:, :, upper] += trunk[:, :, None]
    for pivot, hanging in _CHAINS.items():
        bent = rng.random(n) < 0.3
        k = int(bent.sum())
        if k:
            turn = rng.normal(0, 0.35, (k, 1, 3)) + 0.2 * smooth_noise(rng, (k, p.shape[1], 3), 10)
            c = BODY26.indices(*hanging)
            part = p[bent]
            centre = part[:, :, _B(pivot)][:, :, None]
            part[:, :, c] = centre + (part[:, :, c] - centre) @ np.swapaxes(rotvec_to_matrix(turn), -1, -2)
            p[bent] = part
    return p


def swap_halves(rng: np.random.Generator, p: np.ndarray) -> np.ndarray:
    """A quarter of the windows get another window's upper body, turned to their own pelvis."""
    n = len(p)
    upper = np.array([i for i, j in enumerate(BODY26.joints) if not any(k in j for k in ("hip", "knee", "ankle"))])
    upper = upper[[not any(k in BODY26.joints[i] for k in ("heel", "toe", "pelvis")) for i in upper]]
    takes = rng.random(n) < 0.25
    other = rng.permutation(n)

    def heading(x: np.ndarray) -> np.ndarray:
        d = x[:, :, _B("left_hip")] - x[:, :, _B("right_hip")]
        return np.arctan2(-d[..., 2], d[..., 0])

    angle = heading(p) - heading(p[other])
    c, s = np.cos(angle)[..., None], np.sin(angle)[..., None]
    rel = p[other][:, :, upper] - p[other][:, :, :1]
    turned = np.stack([c * rel[..., 0] + s * rel[..., 2], rel[..., 1], c * rel[..., 2] - s * rel[..., 0]], -1)
    mixed = p.copy()
    mixed[:, :, upper] = p[:, :, :1] + turned
    return np.where(takes[:, None, None, None], mixed, p)


# Limbs: joints, each with the one it hangs on; and the share of windows that get another's.
_LIMBS = (
    (("shoulder", "elbow", "wrist", "hand"), (0, 1, 2), 0.3),
    (("hip", "knee", "ankle", "heel", "toe"), (0, 1, 2, 2), 0.12),
)


def exchange_limbs(rng: np.random.Generator, p: np.ndarray, contact: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Arms and legs move as another window's do, turned to their own trunk, with their own bones' lengths.

    Positions (B, T, 26, 3) and contacts (B, T, 4); contacts of another's legs are unknown (NaN).
    """
    out, contact = p.copy(), contact.copy()
    for joints, parents, share in _LIMBS:
        pair = BODY26.indices(f"left_{joints[0]}", f"right_{joints[0]}")
        for side in ("left", "right"):
            chain = BODY26.indices(*(f"{side}_{j}" for j in joints))
            takes = np.flatnonzero(rng.random(len(p)) < share)
            other = rng.integers(0, len(p), len(takes))
            turn = np.swapaxes(_trunk(p[other], pair), -1, -2) @ _trunk(p[takes], pair)
            for k, parent in enumerate(parents, 1):
                bone = p[takes, :, chain[k]] - p[takes, :, chain[parent]]
                theirs = p[other, :, chain[k]] - p[other, :, chain[parent]]
                way = np.einsum("bti,btij->btj", _unit(theirs), turn)
                length = np.linalg.norm(bone, axis=-1, keepdims=True)
                out[takes, :, chain[k]] = out[takes, :, chain[parent]] + way * length
            if joints[0] == "hip":
                contact[takes] = np.nan
    return out, contact


def _trunk(p: np.ndarray, pair: Sequence[int]) -> np.ndarray:
    """(B, T, 3, 3) of windows (B, T, 26, 3), rows: the direction of a pair of joints, up the trunk, and across both."""
    up = _unit(p[:, :, _B("neck")] - p[:, :, 0])
    left = p[:, :, pair[0]] - p[:, :, pair[1]]
    left = _unit(left - up * (left * up).sum(-1, keepdims=True))
    return np.stack([left, up, np.cross(left, up)], -2)


# What turns, about what, in which share of the windows.
_LEG = ("knee", "ankle", "heel", "toe")
_TURNING = (
    ("pelvis", [j for j in BODY26.joints if j != "pelvis" and not any(k in j for k in ("hip", *_LEG))], 0.25),
    *((f"{s}_hip", [f"{s}_{j}" for j in _LEG], 0.1) for s in ("left", "right")),
    *((f"{s}_knee", [f"{s}_{j}" for j in _LEG[1:]], 0.1) for s in ("left", "right")),
)


def turn_parts(rng: np.random.Generator, p: np.ndarray, contact: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The trunk and all above it, legs and shanks held a little differently: sigma 11 degrees, and swaying.

    Positions (B, T, 26, 3) and contacts (B, T, 4); contacts of legs that were turned are unknown (NaN).
    """
    p, contact = p.copy(), contact.copy()
    for pivot, names, share in _TURNING:
        takes = np.flatnonzero(rng.random(len(p)) < share)
        hanging = np.array(BODY26.indices(*names))
        turn = rng.normal(0, 0.2, (len(takes), 1, 3)) + 0.1 * smooth_noise(rng, (len(takes), p.shape[1], 3), 10)
        centre = p[takes, :, None, _B(pivot)]
        part = p[takes][:, :, hanging] - centre
        p[np.ix_(takes, np.arange(p.shape[1]), hanging)] = centre + part @ np.swapaxes(rotvec_to_matrix(turn), -1, -2)
        if pivot != "pelvis":
            contact[takes] = np.nan
    return p, contact


def mirrored(p: np.ndarray, contact: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Left and right exchanged of positions (..., 26, 3) and contacts (..., 4)."""
    return p[..., _MIRROR, :] * np.array([-1.0, 1.0, 1.0]), contact[..., [2, 3, 0, 1]]
