"""The bundled clip's motion, made by rule: walk in, turn to the camera, squat, wave, stand.

The feet come first (footsteps.py), the pelvis follows them, two-bone legs join the two exactly, and trunk and arms
answer the legs: shoulders turn against the hips, arms swing against the legs. Amplitudes are those of adult gait
(Perry and Burnfield 2010; Murray 1967 for the arms). No recorded motion is used.
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicSpline, PchipInterpolator
from scipy.ndimage import gaussian_filter1d, minimum_filter1d

from kinelift.errors import InputError
from kinelift.kinematics import continuous_quats, matrix_to_quat, reference_offsets, rotvec_to_matrix
from kinelift.records import CONTACT_JOINTS, Motion
from kinelift.render.footsteps import FootPath, Step, foot_path
from kinelift.skeleton import BODY26

SAMPLE_STATURE_M = 1.75
SAMPLE_DURATION_S = 6.8
SAMPLE_FPS = 30

# The body is solved on a finer grid than the clip's, so that its filters are the same at every frame rate.
_GRID_HZ = 120
_HEADING_RAD = np.radians(54.0)
_STEP_S, _STEP_M, _STEP_HALF_WIDTH_M = 0.52, 0.65, 0.055
_SQUAT_S = (3.65, 4.35, 4.60, 5.25)
_WAVE_S = (5.15, 5.75, 6.35, 6.80)
_LEG_REACH = 0.994


def sample_motion(fps: int = SAMPLE_FPS) -> Motion:
    """The sample clip's exact motion: 6.8 s, BODY26, stature 1.75 m, contacts of heels and toes.

    World: Y up, floor y = 0, the camera looks along -Z, origin below the first pelvis. `fps` must divide 120.
    """
    if fps < 1 or _GRID_HZ % fps:
        raise InputError(f"fps: expected a divisor of {_GRID_HZ}, got {fps}")
    offsets = reference_offsets(SAMPLE_STATURE_M)
    # A second of run-in and run-out keeps the filters' edges out of the clip.
    times = np.arange(-_GRID_HZ // 2, int(SAMPLE_DURATION_S * _GRID_HZ) + _GRID_HZ // 2) / _GRID_HZ
    b = BODY26.index
    sole = offsets[b("left_heel")], offsets[b("left_toe")]
    plans = _planned_steps()
    feet = tuple(foot_path(plan, times, *sole) for plan in plans)
    root, local = _body(times, plans, feet, offsets)
    first = int(np.argmin(np.abs(times)))
    root = root - root[first] * (1.0, 0.0, 1.0)
    keep = slice(first, first + round(SAMPLE_DURATION_S * _GRID_HZ), _GRID_HZ // fps)
    contacts = np.stack([d for f in feet for d in (f.heel_down, f.toe_down)], -1)[keep]
    n = len(contacts)
    return Motion(
        skeleton=BODY26,
        offsets=offsets,
        rotations=continuous_quats(matrix_to_quat(local[keep])),
        root=root[keep],
        contacts=contacts.astype(float),
        contact_joints=np.array(BODY26.indices(*CONTACT_JOINTS)),
        observed=np.ones(n, bool),
        sigma_m=np.zeros((n, len(BODY26))),
        times=np.arange(n) / fps,
    )


def _planned_steps() -> tuple[list[Step], list[Step]]:
    """The left and the right foot's plants."""
    ahead = np.array([np.sin(_HEADING_RAD), np.cos(_HEADING_RAD)])
    left = np.array([np.cos(_HEADING_RAD), -np.sin(_HEADING_RAD)])
    plans: tuple[list[Step], list[Step]] = ([], [])
    for k in range(-4, 4):
        side, sign = (1, -1.0) if k % 2 == 0 else (0, 1.0)
        x, z = k * _STEP_M * ahead + sign * _STEP_HALF_WIDTH_M * left
        plans[side].append(Step(x, z, _HEADING_RAD + sign * np.radians(6), 0.08 + k * _STEP_S))
    deg = np.pi / 180
    plans[1].append(Step(1.99, 1.52, 24 * deg, 2.19, 0.41))
    plans[0].append(Step(2.32, 1.83, 10 * deg, 2.76, 0.43))
    plans[1].append(Step(2.05, 1.85, -12 * deg, 3.36, 0.42))
    return plans


def _body(
    times: np.ndarray, plans: tuple[list[Step], list[Step]], feet: tuple[FootPath, ...], offsets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Root (T, 3) in metres and local rotations (T, 26, 3, 3)."""
    n = len(times)
    ground, heading = _pelvis_path(times, plans)
    forward = np.stack([np.sin(heading), np.zeros(n), np.cos(heading)], -1)
    squat, wave = _ramp(times, _SQUAT_S), _ramp(times, _WAVE_S)
    # Positive: the left foot leads.
    lead = _smooth(((feet[0].ankle - feet[1].ankle) * forward).sum(-1) / 0.62, 0.03)
    lift = _smooth((feet[0].ankle[:, 1] - feet[1].ankle[:, 1]) / 0.15, 0.05)
    lean = np.radians(4 + 22 * squat)
    pelvis = _turn(heading - np.radians(5) * lead, lean, -np.radians(3.5) * np.clip(lift, -1, 1))
    root = np.stack([ground[:, 0], np.zeros(n), ground[:, 1]], -1) - (0.15 * squat)[:, None] * forward
    root[:, 1] = _pelvis_height(root, pelvis, feet, offsets, squat)
    local = np.tile(np.eye(3), (n, len(BODY26), 1, 1))
    local[:, 0] = pelvis
    for side, foot in zip(("left", "right"), feet, strict=True):
        _set_leg(local, side, root, pelvis, foot, offsets, forward)
    _set_trunk(local, times, heading, lead, squat)
    _set_arms(local, times, lead, squat, wave)
    return root, local


def _pelvis_path(times: np.ndarray, plans: tuple[list[Step], list[Step]]) -> tuple[np.ndarray, np.ndarray]:
    """Pelvis on the floor (T, 2) x, z in metres and heading (T,) in radians, from the footsteps.

    Halfway between the feet when both are down, a little over the one foot in between.
    """
    steps = sorted(plans[0] + plans[1], key=lambda s: s.strike_s)
    place = np.array([[s.x, s.z] for s in steps])
    yaw = np.array([s.yaw for s in steps])
    strike = np.array([s.strike_s for s in steps])
    both_t, both = strike[1:] + 0.06, (place[1:] + place[:-1]) / 2
    both_yaw = (yaw[1:] + yaw[:-1]) / 2
    both_t[-1] += 0.16
    one_t, one = (both_t[1:] + both_t[:-1]) / 2, (both[1:] + both[:-1]) / 2
    one = one + 0.30 * (place[1:-1] - one)
    rest_t = both_t[-1] + np.array([0.45, 1.0, 1.9, 2.8, 3.6, 4.5])
    rest = both[-1] + np.array([[0, 0], [0.004, 0.005], [-0.006, 0], [0.010, 0.004], [-0.004, 0.006], [0, 0]])
    t = np.concatenate([both_t, one_t, rest_t])
    order = np.argsort(t)
    ground = CubicSpline(t[order], np.concatenate([both, one, rest])[order])(times)
    heading = PchipInterpolator(np.append(both_t, 9.0), np.append(both_yaw, both_yaw[-1]))(times)
    return _smooth(ground, 0.03), _smooth(heading, 0.08)


def _pelvis_height(
    root: np.ndarray, pelvis: np.ndarray, feet: tuple[FootPath, ...], offsets: np.ndarray, squat: np.ndarray
) -> np.ndarray:
    """The root's height (T,) in metres: as high as both legs reach, smoothed from below, lowered by the squat."""
    b = BODY26.index
    reach = _LEG_REACH * (np.linalg.norm(offsets[b("left_knee")]) + np.linalg.norm(offsets[b("left_ankle")]))
    limit = np.full(len(root), np.inf)
    for side, foot in zip(("left", "right"), feet, strict=True):
        hip = pelvis @ offsets[b(f"{side}_hip")]
        away = (root + hip - foot.ankle)[:, [0, 2]]
        limit = np.minimum(limit, foot.ankle[:, 1] + np.sqrt(reach**2 - (away**2).sum(1)) - hip[:, 1])
    limit = np.minimum(limit, limit.max() - 0.41 * squat)
    window = int(0.10 * _GRID_HZ)
    lowest = minimum_filter1d(limit, 2 * window + 1)
    return gaussian_filter1d(lowest, 0.045 * _GRID_HZ, radius=window)


def _set_leg(
    local: np.ndarray,
    side: str,
    root: np.ndarray,
    pelvis: np.ndarray,
    foot: FootPath,
    offsets: np.ndarray,
    forward: np.ndarray,
) -> None:
    """Hip, knee and ankle rotations that take the foot exactly where it is planned; the knee points where it does."""
    hip_i, knee_i, ankle_i = BODY26.indices(f"{side}_hip", f"{side}_knee", f"{side}_ankle")
    thigh, shank = (np.linalg.norm(offsets[i]) for i in (knee_i, ankle_i))
    hip = root + pelvis @ offsets[hip_i]
    reach = foot.ankle - hip
    distance = np.linalg.norm(reach, axis=-1)
    down = reach / distance[:, None]
    level = foot.rotation[:, :, 0]
    toe_way = np.cross(level, [0.0, 1.0, 0.0])
    pole = _unit(toe_way + 0.5 * forward)
    hinge = _unit(np.cross(pole, down))
    bend = np.arccos(np.clip((thigh**2 + distance**2 - shank**2) / (2 * thigh * distance), -1, 1))[:, None]
    knee = hip + thigh * (np.cos(bend) * down + np.sin(bend) * np.cross(down, hinge))
    upper, lower = _bone_frame(hip - knee, hinge), _bone_frame(knee - foot.ankle, hinge)
    local[:, hip_i] = np.swapaxes(pelvis, 1, 2) @ upper
    local[:, knee_i] = np.swapaxes(upper, 1, 2) @ lower
    local[:, ankle_i] = np.swapaxes(lower, 1, 2) @ foot.rotation


def _bone_frame(up: np.ndarray, hinge: np.ndarray) -> np.ndarray:
    """Rotations (T, 3, 3) of a leg bone from the direction up along it and its hinge, which points left."""
    y = _unit(up)
    return np.stack([hinge, y, np.cross(hinge, y)], -1)


def _set_trunk(local: np.ndarray, times: np.ndarray, heading: np.ndarray, lead: np.ndarray, squat: np.ndarray) -> None:
    """Spine, chest, neck and head: the shoulders turn against the hips, the eyes stay level and look ahead."""
    spine, chest, neck, head = BODY26.indices("spine", "chest", "neck", "head")
    counter = np.radians(9.5) * lead
    breath = np.radians(0.8) * np.sin(2 * np.pi * 0.28 * times)
    zero = np.zeros_like(times)
    local[:, spine] = _turn(0.5 * counter, np.radians(1 + 6 * squat), zero)
    local[:, chest] = _turn(0.5 * counter, np.radians(1 + 5 * squat) + breath, zero)
    # The eyes turn to where the body is about to go, and to the camera while passing it.
    ahead = np.interp(times + 0.28, times, heading)
    glance = np.radians(-18) * np.exp(-(((times - 1.35) / 0.45) ** 2))
    gaze = _smooth(ahead - heading + glance - np.radians(4.5) * lead, 0.08)
    nod = -np.radians(2 + 27 * squat)
    local[:, neck] = _turn(0.5 * gaze, 0.5 * nod, zero)
    local[:, head] = _turn(0.5 * gaze, 0.5 * nod, np.radians(2) * np.sin(1.3 * times))


def _set_arms(local: np.ndarray, times: np.ndarray, lead: np.ndarray, squat: np.ndarray, wave: np.ndarray) -> None:
    """Arms swing against the legs, reach forward in the squat; the right one waves."""
    beat = np.sin(2 * np.pi * 1.7 * (times - _WAVE_S[0]))
    for side, sign in (("left", 1.0), ("right", -1.0)):
        # The arm goes with the other side's leg, a little late.
        swing = _smooth(-sign * np.interp(times - 0.03, times, lead), 0.05)
        up = wave if side == "right" else np.zeros_like(wave)
        flex = np.radians(2 + 20 * swing) * (1 - up) + np.radians(108) * squat + np.radians(12) * up
        away = np.radians(7 + 3 * squat) + np.radians(87 + 5 * beat) * up
        twist = np.radians(-12) * (1 - up) - np.radians(80 + 10 * beat) * up
        elbow = np.radians(22 + 11 * swing) * (1 - up) - np.radians(8) * squat + np.radians(78 + 24 * beat) * up
        shoulder_i, elbow_i, wrist_i = BODY26.indices(f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist")
        local[:, shoulder_i] = _about(0, -flex) @ _about(2, -sign * (np.pi / 2 - away)) @ _about(0, twist)
        local[:, elbow_i] = _about(1, -sign * elbow)
        local[:, wrist_i] = _about(1, -sign * np.radians(8 + 10 * up * beat))


def _turn(yaw: np.ndarray, forward: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Rotations (T, 3, 3): yaw about +Y, then bend forward about +X, then roll about +Z (left up)."""
    yaw, forward, side = np.broadcast_arrays(yaw, forward, side)
    return _about(1, yaw) @ _about(0, forward) @ _about(2, side)


def _about(axis: int, angle: np.ndarray) -> np.ndarray:
    v = np.zeros((*np.shape(angle), 3))
    v[..., axis] = angle
    return rotvec_to_matrix(v)


def _ramp(times: np.ndarray, keys: tuple[float, float, float, float]) -> np.ndarray:
    """(T,) 0 before the first key, 1 between the second and third, 0 after the fourth; smooth (quintic) between."""

    def rise(start: float, end: float) -> np.ndarray:
        u = np.clip((times - start) / (end - start), 0, 1)
        return u**3 * (10 - 15 * u + 6 * u * u)

    return rise(*keys[:2]) - rise(*keys[2:])


def _smooth(values: np.ndarray, sigma_s: float) -> np.ndarray:
    return gaussian_filter1d(values, sigma_s * _GRID_HZ, axis=0, mode="nearest")


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v, axis=-1, keepdims=True)
