"""Generated motion: a BODY26 figure whose joint angles wander inside human ranges, feet driving the root.

Mocap that may be used freely is small; lifters fail on poses that it lacks. Every angle runs through random keys
joined by cosine ramps; legs often move so that shanks stay upright (squats, lunges, sitting) and soles flat. Ranges
of motion in degrees are clinical ones (e.g. American Academy of Orthopaedic Surgeons), slightly widened.
"""

from __future__ import annotations

import numpy as np

from kinelift.datasets.mocap import SOLES
from kinelift.kinematics import forward_kinematics, reference_offsets
from kinelift.skeleton import BODY26

FPS = 30.0
_B = BODY26.index
# name: (low, high, middle) degrees; draws are triangular about the middle, so extremes stay rare.
_RANGES = {
    "pelvis_lean": (-20, 60, 5),
    "pelvis_side": (-15, 15, 0),
    "pelvis_yaw": (-60, 60, 0),
    "spine_flex": (-15, 55, 5),
    "spine_side": (-20, 20, 0),
    "spine_twist": (-30, 30, 0),
    "neck_flex": (-40, 40, 0),
    "neck_side": (-25, 25, 0),
    "neck_twist": (-60, 60, 0),
    "hip_flex": (-20, 120, 15),
    "hip_abduct": (-15, 45, 5),
    "hip_twist": (-30, 35, 5),
    "knee_flex": (0, 140, 15),
    "ankle_flex": (-45, 25, 0),
    "foot_side": (-12, 12, 0),
    "shoulder_flex": (-60, 170, 20),
    "shoulder_abduct": (-30, 150, 20),
    "shoulder_twist": (-90, 90, 0),
    "elbow_flex": (0, 145, 40),
    "wrist_flex": (-60, 60, 0),
    "wrist_side": (-25, 25, 0),
}
# This share of clips stands and gestures: trunk and legs keep to small angles. Without them a network has no reason
# to believe that a figure seen from the front stands upright.
_CALM_SHARE = 0.35
_CALM = {"pelvis_lean": 0.15, "pelvis_side": 0.3, "spine_flex": 0.35, "spine_side": 0.4, "hip_flex": 0.12}
_CALM |= {"hip_abduct": 0.5, "hip_twist": 0.6, "foot_side": 0.5}
_LEG = ("hip_flex", "hip_abduct", "hip_twist", "knee_flex", "ankle_flex", "foot_side")
_ARM = ("shoulder_flex", "shoulder_abduct", "shoulder_twist", "elbow_flex", "wrist_flex", "wrist_side")


def _curves(rng: np.random.Generator, n: int, frames: int, low: float, high: float, middle: float) -> np.ndarray:
    """(n, frames) angles through random keys joined by cosine ramps; 30 % nearly still."""
    keys = rng.triangular(low, middle, high, (n, 8))
    uniform = rng.uniform(low, high, (n, 8))
    keys = np.where(rng.random((n, 1)) < 0.5, keys, uniform)
    still = rng.random((n, 1)) < 0.3
    keys = np.where(still, keys[:, :1] + 0.1 * (keys - keys[:, :1]), keys)
    rate = np.exp(rng.uniform(np.log(0.4), np.log(5.0), (n, 1)))
    u = rng.random((n, 1)) + rate * np.linspace(0, 1, frames)
    k = u.astype(int)
    ramp = (1 - np.cos(np.pi * (u - k))) / 2
    rows = np.arange(n)[:, None]
    return keys[rows, k] * (1 - ramp) + keys[rows, k + 1] * ramp


def _rot(axis: str, degrees: np.ndarray) -> np.ndarray:
    """(..., 3, 3) rotations about one axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    o, i = np.zeros_like(c), np.ones_like(c)
    rows = {
        "x": (i, o, o, o, c, -s, o, s, c),
        "y": (c, o, s, o, i, o, -s, o, c),
        "z": (c, -s, o, s, c, o, o, o, i),
    }[axis]
    return np.stack(rows, -1).reshape(*c.shape, 3, 3)


def _mirrored(rotations: np.ndarray) -> np.ndarray:
    m = np.diag([-1.0, 1.0, 1.0])
    return m @ rotations @ m


def _leg_angles(
    rng: np.random.Generator, n: int, frames: int, lean: np.ndarray, calm: np.ndarray
) -> dict[str, np.ndarray]:
    a = {k: _curves(rng, n, frames, *_RANGES[k]) for k in _LEG}
    a = {k: v * np.where(calm, _CALM.get(k, 1.0), 1.0) for k, v in a.items()}
    thigh = a["hip_flex"] - lean
    follow = (rng.random((n, 1)) < 0.6) | calm
    upright = np.clip(thigh + rng.uniform(-5, 30, (n, 1)) * np.clip(thigh / 60, 0, 1), 0, 150)
    a["knee_flex"] = np.where(follow, upright, a["knee_flex"])
    flat = (rng.random((n, 1)) < 0.65) | calm
    shank = thigh - a["knee_flex"]
    a["ankle_flex"] = np.where(flat, np.clip(-shank + rng.normal(0, 3, (n, 1)), -50, 38), a["ankle_flex"])
    return a


def _side_rotations(a: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Local rotations of the left limbs."""
    return {
        "hip": _rot("x", -a["hip_flex"]) @ _rot("z", a["hip_abduct"]) @ _rot("y", a["hip_twist"]),
        "knee": _rot("x", a["knee_flex"]),
        "ankle": _rot("x", -a["ankle_flex"]) @ _rot("z", a["foot_side"]),
        "shoulder": _rot("x", -a["shoulder_flex"])
        @ _rot("z", a["shoulder_abduct"] - 90)
        @ _rot("x", a["shoulder_twist"]),
        "elbow": _rot("y", -a["elbow_flex"]),
        "wrist": _rot("z", a["wrist_flex"]) @ _rot("y", a["wrist_side"]),
    }


def random_offsets(rng: np.random.Generator, n: int) -> np.ndarray:
    """(n, 26, 3) rest offsets of reference stature whose segments vary by about 6 %, left = right."""
    factor = np.clip(rng.normal(1, 0.06, (n, len(BODY26))), 0.82, 1.2)
    mirror = np.array(BODY26.mirror)
    right = np.array([j.startswith("right") for j in BODY26.joints])
    factor[:, right] = factor[:, mirror[right]]
    feet = BODY26.indices("left_toe", "right_toe")
    factor[:, BODY26.indices("left_heel", "right_heel")] = factor[:, feet]
    return reference_offsets()[None] * factor[..., None]


def _local_rotations(rng: np.random.Generator, n: int, frames: int) -> np.ndarray:
    a = {k: _curves(rng, n, frames, *r) for k, r in _RANGES.items() if k.split("_")[0] in ("pelvis", "spine", "neck")}
    calm = rng.random((n, 1)) < _CALM_SHARE
    a = {k: v * np.where(calm, _CALM.get(k, 1.0), 1.0) for k, v in a.items()}
    local = np.broadcast_to(np.eye(3), (n, frames, len(BODY26), 3, 3)).copy()
    trunk = _rot("y", a["spine_twist"] / 2) @ _rot("x", a["spine_flex"] / 2) @ _rot("z", a["spine_side"] / 2)
    local[:, :, _B("spine")] = local[:, :, _B("chest")] = trunk
    neck = _rot("y", a["neck_twist"] / 2) @ _rot("x", a["neck_flex"] / 2) @ _rot("z", a["neck_side"] / 2)
    local[:, :, _B("neck")] = local[:, :, _B("head")] = neck
    legs = {"left": _leg_angles(rng, n, frames, a["pelvis_lean"], calm)}
    legs["right"] = _leg_angles(rng, n, frames, a["pelvis_lean"], calm)
    arms = {s: {k: _curves(rng, n, frames, *_RANGES[k]) for k in _ARM} for s in ("left", "right")}
    for both, chance in ((legs, 0.5), (arms, 0.4)):
        same = rng.random((n, 1)) < chance
        both["right"] = {k: np.where(same, both["left"][k], v) for k, v in both["right"].items()}
    for side in ("left", "right"):
        for part, r in _side_rotations(legs[side] | arms[side]).items():
            local[:, :, _B(f"{side}_{part}")] = r if side == "left" else _mirrored(r)
    yaw = rng.uniform(0, 360, (n, 1)) + a["pelvis_yaw"]
    pelvis = _rot("y", yaw) @ _rot("x", a["pelvis_lean"]) @ _rot("z", a["pelvis_side"])
    down = rng.random((n, 1)) < 0.08
    tilt = np.where(rng.random((n, 1)) < 0.5, 90.0, -90.0) + rng.normal(0, 12, (n, 1))
    lying = _rot("y", yaw) @ _rot("x", np.broadcast_to(tilt, yaw.shape)) @ _rot("y", rng.uniform(-180, 180, (n, 1)))
    local[:, :, 0] = np.where(down[..., None, None], lying, pelvis)
    return local


def generate(rng: np.random.Generator, n: int, frames: int) -> np.ndarray:
    """(n, frames, 26, 3) float32 positions in metres at 30 fps, Y up, lowest point on y = 0, reference stature."""
    local = _local_rotations(rng, n, frames)
    offsets = random_offsets(rng, n)
    positions = np.empty((n, frames, len(BODY26), 3))
    for i in range(n):
        positions[i], _ = forward_kinematics(BODY26, offsets[i], local[i], np.zeros((frames, 3)))
    _drive_root(rng, positions)
    return positions.astype(np.float32)


def _drive_root(rng: np.random.Generator, p: np.ndarray) -> None:
    """Move each body so that its support stays put: lowest point at y = 0, no slide of the supporting sole."""
    p[..., 1] -= p[..., 1].min(-1)[..., None]
    soles = p[:, :, SOLES]
    weight = np.exp(-(soles[..., 1] - soles[..., 1].min(-1, keepdims=True)) / 0.008)
    weight /= weight.sum(-1, keepdims=True)
    step = (weight[:, 1:, :, None] * np.diff(soles, axis=1)).sum(2)
    drift = np.cumsum(step, 1)
    p[:, 1:, :, 0] -= drift[:, :, None, 0]
    p[:, 1:, :, 2] -= drift[:, :, None, 2]
    # One clip in five travels as if carried or sliding: cameras also see escalators, skates and hand-held pans.
    n, frames = p.shape[:2]
    velocity = rng.normal(0, 0.6, (n, 1, 1, 2)) * (rng.random((n, 1, 1, 1)) < 0.2)
    p[..., ::2] += velocity * np.arange(frames)[None, :, None, None] / FPS
