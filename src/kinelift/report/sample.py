"""The bundled sample's known truth, and how far a motion is from it."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np

from kinelift import metrics
from kinelift.kinematics import motion_positions
from kinelift.records import Motion
from kinelift.skeleton import BODY26


def sample_truth() -> tuple[np.ndarray, np.ndarray]:
    """(T, 26, 3) metres and (T,) seconds of the sample's true motion."""
    path = Path(str(files("kinelift") / "assets" / "sample_truth.npz"))
    with np.load(path, allow_pickle=False) as data:
        return data["positions"].astype(float), data["times"]


def sample_errors(motion: Motion) -> dict[str, float]:
    """Errors of the 12 limb joints against the truth, mm, and of the root path's length, percent."""
    truth, times = sample_truth()
    nearest = np.abs(times[:, None] - motion.times[None]).argmin(0)
    limbs = BODY26.indices(*metrics.LIMBS)
    positions, truth = motion_positions(motion), truth[nearest]
    found, true = positions[:, limbs], truth[:, limbs]

    def path(root: np.ndarray) -> float:
        return float(np.linalg.norm(root[-1, ::2] - root[0, ::2]))

    hips = tuple(metrics.LIMBS.index(f"{s}_hip") for s in ("left", "right"))
    return {
        "mpjpe_mm": metrics.mpjpe(found, true, hips),
        "pa_mpjpe_mm": metrics.pa_mpjpe(found, true),
        "abs_mpjpe_mm": metrics.abs_mpjpe(found, true),
        "path_error_percent": 100 * (path(positions[:, 0]) / max(path(truth[:, 0]), 1e-9) - 1),
    }
