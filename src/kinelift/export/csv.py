"""Comma-separated values: one row a frame, for spreadsheets and data frames.

`time_s`, `observed` (1 or 0), `<joint>_contact` in [0, 1], then `<joint>_x_m`, `_y_m`, `_z_m` in the world (Y up)
and `<joint>_sigma_m`. The first line is the header; there are no comments.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kinelift.export.resample import at_constant_rate
from kinelift.kinematics import motion_positions
from kinelift.records import Motion, Take

suffix = ".csv"


def write(take: Take, index: int, path: Path, fps: float | None) -> None:
    """Write one motion at the source's own times, or resampled to `fps` frames per second."""
    motion = take.motions[index]
    if fps is not None:
        motion, _ = at_constant_rate(motion, fps)
    positions = motion_positions(motion).reshape(len(motion.times), -1)
    rows = np.column_stack([motion.times, motion.observed, motion.contacts, positions, motion.sigma_m])
    formats = ["%.9f", "%d"] + ["%.6f"] * (rows.shape[1] - 2)
    with path.open("w", encoding="utf-8", newline="\n") as f:
        np.savetxt(f, rows, fmt=formats, delimiter=",", header=",".join(header(motion)), comments="")


def header(motion: Motion) -> list[str]:
    """Column names, units included."""
    joints = motion.skeleton.joints
    contacts = [f"{joints[j]}_contact" for j in motion.contact_joints]
    xyz = [f"{joint}_{axis}_m" for joint in joints for axis in "xyz"]
    return ["time_s", "observed", *contacts, *xyz, *(f"{joint}_sigma_m" for joint in joints)]
