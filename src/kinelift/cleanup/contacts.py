"""When heels and toes are planted: the lifter's word, how the solution's feet move, and what the picture shows.

Each kind of evidence is a log-odds per frame; their sum is made to persist over time. Found anew between the passes of
the solve. What the solve has planted moves little because it was planted, so the picture has a say of its own: a sole
whose key point moves there, beyond the key point's noise, is not planted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d, median_filter, minimum_filter1d

from kinelift.cleanup.surfaces import supports
from kinelift.errors import UnknownNameError
from kinelift.kinematics import STATURE_PRIOR_M, mass_weights
from kinelift.skeleton import BODY26

FOOT_LOCKS = ("auto", "always", "never", "ground")
OTHERS = BODY26.indices("left_hand", "right_hand", "left_knee", "right_knee")
# Height of a hand's and a knee's joint above the floor that it rests on, metres at reference stature.
_FLESH_M = np.array([0.03, 0.03, 0.055, 0.055])
# What a planted key point may drift in the picture, and how fast a free one goes, metres a second at its depth.
_PLANTED_M_S, _FREE_M_S = 0.07, 1.2


@dataclass(frozen=True)
class Standing:
    """Log-odds of a sole point's standing: a constant, and what each kind of evidence adds.

    By logistic regression on the solve's passes over generated motion and over mocap clips that no training has seen.

    Attributes:
        base: Of nothing known.
        said: Times the lifter's own log-odds.
        picture, seen: Times the picture's log-odds, and added where the picture shows the point.
        log_speed: Times the logarithm of the solution's speed in m/s and 2 cm/s.
        fast: Times m/s beyond 0.4.
        height: Times metres above the lowest sole of the neighbouring 0.7 s.
        tipped: Times metres above the foot's other point.
    """

    base: float
    said: float
    picture: float
    seen: float
    log_speed: float
    fast: float
    height: float
    tipped: float


_WITH_LIFTER = Standing(-1.02, 0.72, 0.29, -0.06, -0.42, -1.5, -8.0, -9.0)
_MOTION_ALONE = Standing(-1.4, 0.0, 0.25, -0.1, -1.2, -3.0, -12.0, -9.0)


@dataclass(frozen=True, eq=False)
class SeenSoles:
    """Where the picture shows the sole points, and the camera that shows them.

    Attributes:
        rays: (T, 4, 2) key points as rays of the camera; NaN where not seen.
        weight: (T, 4) 1 = fully trusted, 0 = not seen.
        R_cam_world: (3, 3), or (T, 3, 3) of a moving camera.
        t_cam_world: (3,) or (T, 3) metres.
    """

    rays: np.ndarray
    weight: np.ndarray
    R_cam_world: np.ndarray
    t_cam_world: np.ndarray

    @property
    def centre(self) -> np.ndarray:
        """The camera in the world, (3,) or (T, 3) metres."""
        return -(np.swapaxes(self.R_cam_world, -1, -2) @ self.t_cam_world[..., None])[..., 0]

    def project(self, points: np.ndarray, shift: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Rays (T, F, 2) and depths (T, F) of world points (T, F, 3) in the camera `shift` frames later."""
        T = len(points)
        k = np.clip(np.arange(T) + shift, 0, T - 1)
        R = np.broadcast_to(self.R_cam_world, (T, 3, 3))[k]
        t = np.broadcast_to(self.t_cam_world, (T, 3))[k]
        cam = points @ np.swapaxes(R, -1, -2) + t[:, None]
        z = np.maximum(cam[..., 2], 0.2)
        return cam[..., :2] / z[..., None], z


@dataclass(frozen=True, eq=False)
class Planted:
    """What a body stands on, frame by frame; sole points are left heel, left toe, right heel, right toe.

    Attributes:
        contact: (T, 4) in [0, 1], probability that a sole point is planted.
        support_y: (T, 4) metres, height of what is under each sole point.
        drift: (T, 3) m/s, velocity of the support: zero but on a treadmill.
        others: (T, 4) in [0, 1], left hand, right hand, left knee, right knee still on the floor.
    """

    contact: np.ndarray
    support_y: np.ndarray
    drift: np.ndarray
    others: np.ndarray


def plant(
    said: np.ndarray | None,
    soles: np.ndarray,
    times: np.ndarray,
    stature_m: float,
    mode: str = "auto",
    *,
    floor_y: float = 0.0,
    body: np.ndarray | None = None,
    seen: SeenSoles | None = None,
    treadmill: bool = False,
) -> Planted:
    """What soles (T, 4, 3) in world metres stand on, from the lifter's word `said` (T, 4) or None and the motion.

    `body` (T, 26, 3) are all joints of the solution, for flights and for hands and knees; `seen` the soles in the
    picture; `floor_y` the floor's height. Modes: `auto`; `always` locks the lowest point of every foot that is slow at
    all; `never` plants nothing; `ground` keeps the lowest sole on the floor, so that nobody jumps.

    Raises:
        UnknownNameError: `mode` is none of `FOOT_LOCKS`.
    """
    if mode not in FOOT_LOCKS:
        raise UnknownNameError("foot lock", mode, FOOT_LOCKS)
    T, size = len(times), stature_m / STATURE_PRIOR_M
    flat, still = np.full((T, 4), float(floor_y)), np.zeros((T, 3))
    others = np.zeros((T, 4)) if body is None else touching(body, times, stature_m, floor_y)
    if mode == "never":
        return Planted(np.zeros((T, 4)), flat, still, others)
    drift = belt_velocity(said, soles, times, stature_m) if treadmill else still
    speed = np.linalg.norm(sole_velocity(soles, times) - drift[:, None], axis=-1) / size
    k = _WITH_LIFTER if said is not None else _MOTION_ALONE
    odds = k.base + k.log_speed * np.clip(np.log(speed + 0.02), -4, 1) + k.fast * np.clip(speed - 0.4, 0, 3)
    if said is not None:
        odds = odds + k.said * _logit(said)
    if seen is not None and T > 2:
        shown = picture_odds(seen, soles, times, drift, size)
        odds = odds + np.where(np.isfinite(shown), k.picture * np.nan_to_num(shown) + k.seen, 0)
    height = soles[..., 1] / size
    pairs = height.reshape(T, 2, 2)
    odds = odds + k.tipped * np.minimum(pairs - pairs.min(-1, keepdims=True), 0.2).reshape(T, 4)
    low = low_soles(soles, times)
    support_y = flat
    if mode != "ground" and body is not None:
        maybe = _sigmoid(persistent(odds + k.height * np.clip(height - low / size, 0, 0.1), times))
        centre = None if seen is None else seen.centre
        support_y = supports(
            maybe, soles, np.einsum("j,tjc->tc", mass_weights(), body), times, stature_m, floor_y, centre
        )
        low = np.where(support_y == floor_y, low, np.minimum(support_y, soles[..., 1]))
    contact = _sigmoid(persistent(odds + k.height * np.clip(height - low / size, 0, 0.5), times))
    if mode == "always":
        contact = np.maximum(contact, _locked(soles, speed, low, times, size))
    elif mode == "ground":
        contact = np.maximum(contact, soles[..., 1] <= soles[..., 1].min(1, keepdims=True) + 0.01 * size)
    return Planted(contact, support_y, drift, others)


def sole_velocity(soles: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(T, F, 3) velocity in m/s of sole points (T, F, 3), central differences."""
    return np.zeros(soles.shape) if len(times) < 2 else np.gradient(soles, times, axis=0)


def low_soles(soles: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(T, 1) height of the lowest sole within 0.7 s: what the floor can be at most."""
    return minimum_filter1d(soles[..., 1].min(1), 2 * int(0.7 * _rate(times)) + 1, mode="nearest")[:, None]


def persistent(odds: np.ndarray, times: np.ndarray, switches_hz: float = 10.0) -> np.ndarray:
    """Log-odds (T, F) of a state that seldom changes, given each frame's own log-odds (T, F) at 30 frames a second.

    Stray frames are voted down by their neighbours. Then two-state max-product smoothing (Viterbi's recursion run both
    ways): what the neighbours say counts up to the cost of a change between them.
    """
    if len(times) < 2:
        return odds
    dt = np.maximum(np.diff(times), 1e-3)
    width = 2 * max(round(_rate(times) / 30), 1) + 1
    odds = median_filter(odds, (width, 1), mode="nearest") if len(times) >= 5 else odds
    own = odds * np.clip(30 * np.gradient(times), 0.1, 2)[:, None]
    change = np.minimum(switches_hz * dt, 0.5)
    limit = np.log((1 - change) / change)
    ahead, back = own.copy(), own.copy()
    for k in range(1, len(own)):
        ahead[k] += np.minimum(np.maximum(ahead[k - 1], -limit[k - 1]), limit[k - 1])
    for k in range(len(own) - 2, -1, -1):
        back[k] += np.minimum(np.maximum(back[k + 1], -limit[k]), limit[k])
    return ahead + back - own


def local_slope(
    values: np.ndarray, weight: np.ndarray, times: np.ndarray, window_s: float = 0.035
) -> tuple[np.ndarray, np.ndarray]:
    """Rate of change (T, F, C) of values (T, F, C) by a local line, and its standard deviation (T, F).

    Weighted by `weight` (T, F) and a Gaussian of `window_s`; noise is that of the residuals over the clip. NaN
    deviation where too little is seen.
    """
    T = len(times)
    reach = max(1, int(np.ceil(2 * window_s * _rate(times))))
    near = np.arange(T)[:, None] + np.arange(-reach, reach + 1)
    inside, near = (near >= 0) & (near < T), near.clip(0, T - 1)
    dt = times[near] - times[:, None]
    kernel = np.exp(-0.5 * (dt / window_s) ** 2) * inside
    w = kernel[..., None] * (weight / np.maximum(weight.max(0), 1e-9))[near]
    total = np.maximum(w.sum(1), 1e-9)
    x = np.nan_to_num(values)[near]
    d = dt[..., None] - ((w * dt[..., None]).sum(1) / total)[:, None]
    spread = (w * d * d).sum(1)
    x = x - ((w[..., None] * x).sum(1) / total[..., None])[:, None]
    slope = (w[..., None] * d[..., None] * x).sum(1) / np.maximum(spread, 1e-12)[..., None]
    rest = x - slope[:, None] * d[..., None]
    enough = (total > 0.4 * kernel.sum(1)[:, None]) & (spread > 0.2 * (kernel * dt**2).sum(1)[:, None])
    residual = np.where(enough, np.sqrt((w[..., None] * rest**2).sum((1, -1)) / 2 / total), np.nan)
    noise = np.array(
        [1.2 * np.percentile(r[np.isfinite(r)], 40) if np.isfinite(r).any() else np.nan for r in residual.T]
    )
    sigma = noise * np.sqrt((w * w * d * d).sum(1)) / np.maximum(spread, 1e-12)
    return slope, np.where(enough, sigma, np.nan)


def picture_odds(seen: SeenSoles, soles: np.ndarray, times: np.ndarray, drift: np.ndarray, size: float) -> np.ndarray:
    """(T, F) log-odds from how soles move in the picture against how planted ones would, and against their noise.

    Speeds are metres a second across the line of sight: Rayleigh distributed, with a wide scale where a sole is free.
    NaN where too little is seen.
    """
    slope, sigma = local_slope(seen.rays, seen.weight, times)
    frame = np.arange(len(times))
    span = (times[np.minimum(frame + 1, len(times) - 1)] - times[np.maximum(frame - 1, 0)])[:, None, None]
    ahead = np.gradient(times)[:, None, None] * drift[:, None]
    still = (seen.project(soles + ahead, 1)[0] - seen.project(soles - ahead, -1)[0]) / span
    depth = seen.project(soles)[1] / size
    speed = np.linalg.norm(slope - still, axis=-1) * depth
    planted = (np.nan_to_num(sigma) * depth) ** 2 + _PLANTED_M_S**2
    free = planted + _FREE_M_S**2
    odds = np.log(free / planted) - speed**2 / 2 * (1 / planted - 1 / free)
    return np.where(np.isfinite(sigma), np.clip(odds, -6, 6), np.nan)


def touching(body: np.ndarray, times: np.ndarray, stature_m: float, floor_y: float) -> np.ndarray:
    """(T, 4) in [0, 1]: left hand, right hand, left knee, right knee of bodies (T, 26, 3) rest on the floor.

    Slow (a soft step at 0.35 m/s) and low (6 cm over the height of a joint whose flesh touches).
    """
    size, points = stature_m / STATURE_PRIOR_M, body[:, OTHERS]
    speed = np.linalg.norm(sole_velocity(points, times), axis=-1) / size
    height = (points[..., 1] - floor_y) / size - _FLESH_M
    odds = np.minimum((0.35 - speed) / 0.08, (0.06 - height) / 0.02)
    return _sigmoid(persistent(np.clip(odds, -4, 4), times))


def belt_velocity(said: np.ndarray | None, soles: np.ndarray, times: np.ndarray, stature_m: float) -> np.ndarray:
    """(T, 3) horizontal velocity in m/s that planted soles (T, 4, 3) have in common: a treadmill's belt.

    Sole points that are low and that neither rise nor fall vote; swinging feet, which differ among themselves and from
    each other, are voted down. The belt may change its speed over seconds.
    """
    size = stature_m / STATURE_PRIOR_M
    velocity = sole_velocity(soles, times)
    height = (soles[..., 1] - low_soles(soles, times)) / size
    vote = _sigmoid((0.03 - height) / 0.01) * _sigmoid((0.15 - np.abs(velocity[..., 1]) / size) / 0.05)
    vote = vote if said is None else vote * said**2
    flat = velocity[..., ::2].reshape(-1, 2)
    belt = _mode(flat, vote.ravel(), 0.15 * size)
    drift = np.repeat(belt[None], len(times), 0)
    for _ in range(5):
        near = vote / (1 + (np.linalg.norm(velocity[..., ::2] - drift[:, None], axis=-1) / (0.1 * size)) ** 2) ** 2
        width = 2.0 * _rate(times)
        total = gaussian_filter1d(near.sum(1), width, mode="nearest")[:, None]
        mean = gaussian_filter1d((near[..., None] * velocity[..., ::2]).sum(1), width, axis=0, mode="nearest")
        drift = np.where(total > 1e-6, mean / np.maximum(total, 1e-9), belt)
    return np.stack([drift[:, 0], np.zeros(len(times)), drift[:, 1]], -1)


def _mode(values: np.ndarray, weight: np.ndarray, width: float) -> np.ndarray:
    """The most crowded of values (N, C) with weights (N,), by mean shift from several starts."""
    some = np.argsort(-weight)[:400]
    values, weight = values[some], weight[some]
    at = values[np.linspace(0, len(values) - 1, 24).astype(int)]
    for _ in range(15):
        near = weight * np.exp(-0.5 * ((at[:, None] - values) ** 2).sum(-1) / width**2)
        at = (near @ values) / np.maximum(near.sum(1, keepdims=True), 1e-9)
    return at[np.argmax(near.sum(1))]


def _locked(soles: np.ndarray, speed: np.ndarray, low: np.ndarray, times: np.ndarray, size: float) -> np.ndarray:
    """(T, 4) 0 or 1: the lowest point of each foot, while that point is slow at all and near its support."""
    height = soles[..., 1]
    pairs = height.reshape(-1, 2, 2)
    lowest = (pairs <= pairs.min(-1, keepdims=True) + 0.01 * size).reshape(height.shape)
    odds = np.minimum((0.8 * size - speed) / 0.1, (0.1 - (height - low) / size) / 0.02)
    return (lowest & (persistent(np.clip(odds, -4, 4), times) > 0)).astype(float)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))


def _logit(p: np.ndarray) -> np.ndarray:
    p = np.clip(p, 0.01, 0.99)
    return np.log(p / (1 - p))


def _rate(times: np.ndarray) -> float:
    return (len(times) - 1) / max(times[-1] - times[0], 1e-6) if len(times) > 1 else 30.0
