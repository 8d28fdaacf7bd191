"""Training windows: motion augmented, seen by a random camera, with detector-like errors.

Vectorised over the batch. Camera axes are OpenCV's; noise is in fractions of the body's apparent size.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from kinelift.datasets.mocap import Clip, contact_labels
from kinelift.kinematics import rotvec_to_matrix
from kinelift.lift.rays import INPUT_JOINTS, OPINION, encode, input_joints
from kinelift.skeleton import BODY26
from kinelift.training.detected import Detected
from kinelift.training.vary import (
    add_extremities,
    exchange_limbs,
    mirrored,
    smooth_noise,
    swap_halves,
    turn_parts,
    vary_bodies,
    vary_widths,
)

_B = BODY26.index
_MIRROR = np.array(BODY26.mirror)
_IN = {j: i for i, j in enumerate(INPUT_JOINTS)}


@dataclass(frozen=True)
class Batch:
    """B windows of T frames at 30 Hz, in the aimed camera's axes.

    Attributes:
        features: (B, T, 66) network input.
        positions: (B, T, 26, 3) metres, root-relative; NaN where the source has no such joint.
        gravity: (B, T, 3) unit vectors pointing down.
        contact: (B, T, 4) in [0, 1]; NaN where the source has no soles.
        distance: (B, T) metres from the camera to the root.
        opinion: (B, T, 64) network input, a detector's own 3D; zeros where there is none.
        fresh: (B,) 1, or 0 where the same key points come back again and again, so that their errors are soon known by
            heart and say nothing of sigma.
    """

    features: np.ndarray
    positions: np.ndarray
    gravity: np.ndarray
    contact: np.ndarray
    distance: np.ndarray
    opinion: np.ndarray
    fresh: np.ndarray

    @classmethod
    def joined(cls, batches: list[Batch]) -> Batch:
        """One batch of several."""
        return cls(*(np.concatenate([getattr(b, f.name) for b in batches]) for f in fields(cls)))


@dataclass(frozen=True, eq=False)
class Sources:
    """Where training windows come from.

    Attributes:
        clips: Motion capture.
        random: (M, T, 26, 3) generated motion, every angle by itself; None: none.
        actions: (N, L, 26, 3) generated actions, and their contacts (N, L, 4).
        detected: What a detector said of rendered clips.
    """

    clips: list[Clip]
    random: np.ndarray | None = None
    actions: tuple[np.ndarray, np.ndarray] | None = None
    detected: Detected | None = None


def windows(rng: np.random.Generator, clips: list[Clip], n: int, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, frames, 26, 3) positions and (n, frames, 4) contacts of random windows at 30 Hz, speed x 0.7..1.4."""
    lengths = np.array([len(c.positions) / c.fps for c in clips])
    chosen = rng.choice(len(clips), n, p=lengths / lengths.sum())
    positions = np.empty((n, frames, len(BODY26), 3), np.float32)
    for i, c in enumerate(chosen):
        clip = clips[c]
        step = clip.fps / 30 * np.exp(rng.uniform(np.log(0.7), np.log(1.4)))
        start = rng.uniform(0, max(len(clip.positions) - 1 - step * (frames - 1), 0))
        u = np.minimum(start + step * np.arange(frames), len(clip.positions) - 1.001)
        k = u.astype(int)
        f = (u - k)[:, None, None]
        positions[i] = clip.positions[k] * (1 - f) + clip.positions[k + 1] * f
    return positions, contact_labels(positions, 30.0)


def random_cameras(rng: np.random.Generator, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions (B, T, 26, 3) in a static random camera's axes, and gravity (B, 3) there.

    Pitch N(7, 14) degrees, one in eight -35..65; roll N(0, 7), one in ten any; depth 1.5..12 m; the person up to about
    25 degrees off the axis. A camera that would stand inside the person moves back.
    """
    n = len(p)
    pitch = np.where(rng.random(n) < 0.125, rng.uniform(-35, 65, n), rng.normal(7, 14, n))
    roll = np.where(rng.random(n) < 0.1, rng.uniform(-180, 180, n), rng.normal(0, 7, n))
    yaw = rng.uniform(0, 2 * np.pi, n)
    flip = np.diag([1.0, -1.0, -1.0])  # Y up, looking along -Z  ->  OpenCV axes
    zero = np.zeros(n)
    R = (
        rotvec_to_matrix(np.stack([zero, zero, np.radians(roll)], -1))
        @ rotvec_to_matrix(np.stack([np.radians(pitch), zero, zero], -1))
        @ flip
        @ rotvec_to_matrix(np.stack([zero, yaw, zero], -1))
    )
    x = (p - p[:, p.shape[1] // 2, None, :1]) @ np.swapaxes(R, -1, -2)[:, None]
    depth = np.exp(rng.uniform(np.log(1.5), np.log(12), n))
    depth += np.maximum(0.7 - (np.nanmin(x[..., 2], (1, 2)) + depth), 0)
    ray = np.clip(rng.normal(0, 0.18, (n, 2)), -0.5, 0.5)
    x = x + (np.concatenate([ray, np.ones((n, 1))], 1) * depth[:, None])[:, None, None]
    return x, R @ np.array([0, -1.0, 0])


def detect(rng: np.random.Generator, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rays (B, T, 21, 2) and confidence (B, T, 21) that a detector might say of positions in camera axes.

    Per clip a noise level (exponential, mean 0.8 % of the body's size): half of it per frame, all of it constant per
    joint, and slow drift; toes anywhere between ball and tip; rare jumps; joints, frames and picture edges missing.
    What a confidence means is each detector's own: one says 0.65 at its surest, another 1 of almost everything.
    """
    n, t = x.shape[:2]
    x = x.copy()
    for side in ("left", "right"):
        foot = x[:, :, _B(f"{side}_toe")] - x[:, :, _B(f"{side}_heel")]
        x[:, :, _B(f"{side}_toe")] += foot * rng.uniform(-0.05, 0.4, (n, 1, 1))
    true = input_joints(x)
    rays = true[..., :2] / np.maximum(true[..., 2:], 0.1)
    size = np.linalg.norm(rays.max(2) - rays.min(2), axis=-1).mean(1)[:, None, None, None]
    level = rng.exponential(0.008, (n, 1, 1, 1))
    wide = rng.lognormal(0, 0.4, (n, 1, len(INPUT_JOINTS), 1))
    noise = wide * level * 0.5 * rng.standard_normal(rays.shape)
    noise += wide * level * rng.standard_normal((n, 1, *rays.shape[2:]))
    noise += wide * level * 0.7 * smooth_noise(rng, rays.shape, 6)
    peak = rng.random((n, t, len(INPUT_JOINTS), 1)) < 0.004
    noise += peak * rng.normal(0, 0.05, rays.shape)
    noisy = rays + noise * size
    error = np.linalg.norm(noise, axis=-1)
    confidence = np.clip(1 - 6 * error - np.abs(rng.normal(0, 0.12, error.shape)), 0.05, 1)
    own_scale = rng.random((n, 1, 1)) < 0.2
    said = rng.uniform(0.5, 1, (n, 1, 1)) * confidence ** rng.uniform(0.3, 2.5, (n, 1, 1))
    confidence = np.where(own_scale, said, confidence)
    return noisy, np.where(_missing(rng, rays), 0.0, confidence)


_SOLE = ("ankle", "heel", "toe")
_ABSENT = (  # joints that whole detectors lack: COCO-17 has no hands and feet, others no hands or no face
    ("heel", "toe", "hand"),
    ("hand",),
    ("nose", "ear"),
    ("nose", "ear", "hand", "heel", "toe"),
)

_HIDDEN = [
    [k for k, name in enumerate(INPUT_JOINTS) if name in {f"{side}_{j}" for j in joints}]
    for side in ("left", "right")
    for joints in (("elbow", "wrist", "hand"), ("wrist", "hand"), ("knee", "ankle", "heel", "toe"), _SOLE)
]


def _missing(rng: np.random.Generator, rays: np.ndarray) -> np.ndarray:
    n, t, j = rays.shape[:3]
    gone = (rng.random((n, 1, j)) < 0.03) & (rng.random((n, t, 1)) < 0.5)
    gone |= (rng.random((n, t, j)) < 0.02) & (rng.random((n, 1, 1)) < 0.5)
    for i in np.flatnonzero(rng.random(n) < 0.15):
        start, length = rng.integers(0, t), rng.integers(2, 12)
        gone[i, start : start + length] = True
    for i in np.flatnonzero(rng.random(n) < 0.12):  # limbs behind something for long
        start, length = rng.integers(0, t), rng.integers(t // 4, t + 1)
        for hidden in rng.choice(len(_HIDDEN), rng.integers(1, 3), replace=False):
            gone[i, start : start + length, _HIDDEN[hidden]] = True
    for i in np.flatnonzero(rng.random(n) < 0.35):
        words = _ABSENT[rng.integers(len(_ABSENT))]
        gone[i][:, [k for k, name in enumerate(INPUT_JOINTS) if any(w in name for w in words)]] = True
    for i in np.flatnonzero(rng.random(n) < 0.08):  # the picture's edge cuts the figure
        axis, sign = rng.integers(2), rng.choice([-1.0, 1.0])
        v = rays[i, ..., axis] * sign
        gone[i] |= v > np.quantile(v, rng.uniform(0.6, 0.95))
    return gone


def make_batch(rng: np.random.Generator, sources: Sources, n: int, frames: int) -> Batch:
    """A training batch of n windows: mocap, generated actions, random angles, and rendered clips if there are any."""
    seen = 0 if sources.detected is None else round(n * DETECTED_SHARE)
    acted = 0 if sources.actions is None else round((n - seen) * ACTIONS_SHARE)
    drawn = 0 if sources.random is None else round((n - seen) * RANDOM_SHARE)
    p, contact = windows(rng, sources.clips, n - seen - acted - drawn, frames)
    p = vary_bodies(rng, swap_halves(rng, add_extremities(rng, p.astype(np.float64))), forearm=1.15)
    parts = [(p, contact)]
    if sources.random is not None:
        g = sources.random[rng.integers(0, len(sources.random), drawn)][:, :frames].astype(np.float64)
        parts.append((g, contact_labels(g, 30.0)))
    if sources.actions is not None:
        parts.append(_cut(rng, *sources.actions, acted, frames))
    p, contact = exchange_limbs(rng, *(np.concatenate(x) for x in zip(*parts, strict=True)))
    p, contact = turn_parts(rng, vary_widths(rng, p), contact)
    flip = rng.random(len(p)) < 0.5
    p[flip], contact[flip] = mirrored(p[flip], contact[flip])
    batch = observe(rng, p, contact, sources.detected)
    return Batch.joined([batch, sources.detected.windows(rng, seen)]) if sources.detected else batch


# Shares of a batch: rendered clips of the whole, actions and random angles of the rest, what remains is mocap.
DETECTED_SHARE, ACTIONS_SHARE, RANDOM_SHARE = 0.2, 0.3, 0.1
# Share of the windows seen by virtual cameras that borrow a real detector's errors where there are rendered clips.
BORROWED_SHARE = 0.5


def _cut(
    rng: np.random.Generator, positions: np.ndarray, contact: np.ndarray, n: int, frames: int
) -> tuple[np.ndarray, np.ndarray]:
    """n random windows of clips (N, L, 26, 3), contacts (N, L, 4)."""
    clip = rng.integers(0, len(positions), n)[:, None]
    frame = rng.integers(0, positions.shape[1] - frames + 1, n)[:, None] + np.arange(frames)
    return positions[clip, frame].astype(np.float64), contact[clip, frame]


def observe(rng: np.random.Generator, p: np.ndarray, contact: np.ndarray, lender: Detected | None = None) -> Batch:
    """World windows (B, T, 26, 3) as seen by random cameras and an imperfect detector without a 3D of its own.

    Joints that a window lacks (NaN) are not seen.
    """
    x, gravity = random_cameras(rng, p)
    known = np.isfinite(x).all(-1)
    whole = _stood_in(x, known)
    rays, confidence = detect(rng, whole)
    borrows = rng.random(len(x)) < BORROWED_SHARE
    if lender is not None and borrows.any():
        true = input_joints(whole[borrows])
        lent, sure = lender.lend(rng, true[..., :2] / np.maximum(true[..., 2:], 0.1))
        absent = _missing(rng, lent) & (rng.random((len(lent), 1, 1)) < 0.5)
        rays[borrows], confidence[borrows] = lent, np.where(absent, 0.0, sure)
    confidence = np.where(input_joints(known[..., None])[..., 0], confidence, 0.0)
    return described(rays, confidence, np.zeros((*rays.shape[:2], OPINION)), x, gravity[:, None], contact)


def _stood_in(x: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Positions (B, T, 26, 3) in which a joint that is not `known` (B, T, 26) lies on its parent."""
    out = x.copy()
    for j, parent in enumerate(BODY26.parents[1:], 1):
        out[:, :, j] = np.where(known[:, :, j, None], x[:, :, j], out[:, :, parent])
    return out


def described(
    rays: np.ndarray,
    confidence: np.ndarray,
    opinion: np.ndarray,
    x: np.ndarray,
    gravity: np.ndarray,
    contact: np.ndarray,
    fresh: bool = True,
) -> Batch:
    """A batch of rays and confidences (B, T, 21), opinion features, true camera positions x (B, T, 26, 3), gravity."""
    features, R = encode(rays, confidence)
    relative = (x - x[:, :, :1]) @ R
    down = np.einsum("btji,btj->bti", R, np.broadcast_to(gravity, (*x.shape[:2], 3)))
    distance = np.linalg.norm(x[:, :, 0], axis=-1)
    anew = np.full(len(x), fresh)
    return Batch(*(a.astype(np.float32) for a in (features, relative, down, contact, distance, opinion, anew)))
