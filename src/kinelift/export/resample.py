"""A motion at other times, and the constant frame rate that suits a source.

Formats that know only a constant rate take the source's nearest one. Frames are kept as they are where the
container's time stamps already lie on that grid within their own rounding; otherwise they are interpolated.
"""

from __future__ import annotations

import numpy as np

from kinelift.errors import InputError
from kinelift.kinematics import continuous_quats
from kinelift.records import Motion

# Rates that cameras and editors use, frames per second. The NTSC rates are exact fractions.
STANDARD_FPS = np.array(
    [rate * 1000 / 1001 for rate in (24, 30, 60, 120, 240)]
    + [10, 12, 12.5, 15, 20, 24, 25, 30, 48, 50, 60, 90, 100, 120, 144, 200, 240, 300, 480, 960]
)
# Matroska and WebM round time stamps to a millisecond: half of it either way.
STAMP_ROUNDING_S = 0.0006
# No clip is so long; a wrong rate or time stamp is.
MAX_FRAMES = 2_000_000


def resampled(motion: Motion, times: np.ndarray) -> Motion:
    """The same motion at `times` (N,) seconds, strictly increasing.

    Rotations go along the shortest arc at constant speed (slerp); root, contacts and sigma linearly. Beyond the
    first and last frame the motion stands still. A frame is `observed` where every source frame it comes from is.
    Raises `InputError` for a motion without frames, `RecordError` for unusable times.
    """
    times = np.asarray(times, float)
    if len(motion.times) == 0:
        raise InputError("a motion without frames cannot be resampled")
    if len(motion.times) == 1:
        low, high, w = (np.zeros(len(times), int),) * 2 + (np.zeros(len(times)),)
    else:
        high = np.clip(np.searchsorted(motion.times, times, side="left"), 1, len(motion.times) - 1)
        low = high - 1
        w = np.clip((times - motion.times[low]) / (motion.times[high] - motion.times[low]), 0, 1)

    def mixed(a: np.ndarray) -> np.ndarray:
        v = w.reshape(-1, *(1,) * (a.ndim - 1))
        return a[low] * (1 - v) + a[high] * v

    observed = (motion.observed[low] | (w == 1)) & (motion.observed[high] | (w == 0))
    return motion.replaced(
        rotations=slerp(motion.rotations[low], motion.rotations[high], w[:, None]),
        root=mixed(motion.root),
        contacts=mixed(motion.contacts),
        sigma_m=mixed(motion.sigma_m),
        observed=observed,
        times=times,
    )


def slerp(a: np.ndarray, b: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Unit quaternions (..., 4) a fraction `w` (...) of the way from `a` to `b`, shortest arc (Shoemake 1985)."""
    dot = (a * b).sum(-1, keepdims=True)
    b = np.where(dot < 0, -b, b)
    w = np.broadcast_to(w[..., None], dot.shape)
    angle = np.arccos(np.clip(np.abs(dot), 0, 1))
    sine = np.sin(angle)
    small = sine < 1e-6
    safe = np.where(small, 1.0, sine)
    wa = np.where(small, 1 - w, np.sin((1 - w) * angle) / safe)
    wb = np.where(small, w, np.sin(w * angle) / safe)
    q = wa * a + wb * b
    return q / np.linalg.norm(q, axis=-1, keepdims=True)


def constant_fps(times: np.ndarray) -> float:
    """The constant rate nearest to a source's `times` (T,) seconds; 30 for a single frame.

    A regular source keeps its own rate, set to the exact standard one where the stamps cannot tell them apart. An
    irregular source gets the standard rate nearest to its median step.
    """
    if len(times) < 2:
        return 30.0
    # Least squares: the ends alone would carry their own rounding into the rate.
    frames = np.arange(len(times)) - (len(times) - 1) / 2
    own_fps = float((frames @ frames) / (frames @ times))
    if _on_grid(times, own_fps):
        nearest = _nearest_standard(own_fps)
        cannot_tell = abs(nearest / own_fps - 1) * (times[-1] - times[0]) <= 2 * STAMP_ROUNDING_S
        return nearest if cannot_tell else own_fps
    return _nearest_standard(1 / np.median(np.diff(times)))


def _nearest_standard(fps: float) -> float:
    return float(STANDARD_FPS[np.argmin(np.abs(np.log(STANDARD_FPS / fps)))])


def _on_grid(times: np.ndarray, fps: float) -> bool:
    off = times - np.arange(len(times)) / fps
    return float(off.max() - off.min()) <= 2 * STAMP_ROUNDING_S


def at_constant_rate(motion: Motion, fps: float | None) -> tuple[Motion, float]:
    """A motion on a regular grid that starts at its first frame, and the grid's rate in frames per second.

    `fps` None takes `constant_fps`. Frames that already lie on the grid are kept untouched. Raises `InputError`
    where the clip would have more than two million frames.
    """
    rate = constant_fps(motion.times) if fps is None else float(fps)
    if len(motion.times) > 1 and not _on_grid(motion.times, rate):
        steps = (motion.times[-1] - motion.times[0]) * rate
        if steps >= MAX_FRAMES:
            raise InputError(f"{steps:.0f} frames at {rate:g} frames per second: expected at most {MAX_FRAMES}")
        motion = resampled(motion, motion.times[0] + np.arange(int(steps + 1e-6) + 1) / rate)
    return motion.replaced(rotations=continuous_quats(motion.rotations)), rate
