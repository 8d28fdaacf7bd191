"""Track rows and columns (TRC): every joint as a marker, for OpenSim and gait tools; uncertainties in a sidecar.

Metres in OpenSim's axes: X forward (out of the picture, towards the camera), Y up, Z to the right of who faces
forward. Constant frame rate, time from 0. TRC has no place for uncertainty: `walk_sigma.csv`, written beside
`walk.trc` with the same rows, holds each marker's standard deviation in metres, which OpenSim's inverse kinematics
takes as weights (1 / sigma^2).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kinelift.export.axes import OPENSIM
from kinelift.export.resample import at_constant_rate
from kinelift.kinematics import motion_positions
from kinelift.records import Take

suffix = ".trc"


def write(take: Take, index: int, path: Path, fps: float | None) -> None:
    """Write one motion; `fps` None takes the source's nearest constant rate."""
    motion, rate = at_constant_rate(take.motions[index], fps)
    markers = _names(motion.skeleton.joints)
    t, n = len(motion.times), len(markers)
    fps_text = f"{rate:.8g}"
    header = {"DataRate": fps_text, "CameraRate": fps_text, "NumFrames": t, "NumMarkers": n, "Units": "m"}
    header |= {"OrigDataRate": fps_text, "OrigDataStartFrame": 1, "OrigNumFrames": t}
    lines = [
        ["PathFileType", "4", "(X/Y/Z)", "motion.trc"],
        list(header),
        [str(value) for value in header.values()],
        ["Frame#", "Time", *(cell for marker in markers for cell in (marker, "", ""))],
        ["", "", *(f"{axis}{i + 1}" for i in range(n) for axis in "XYZ")],
        [],
    ]
    positions = (motion_positions(motion) @ OPENSIM.T).reshape(t, -1)
    rows = np.column_stack([np.arange(1, t + 1), np.arange(t) / rate, positions])
    with path.open("w", encoding="utf-8", newline="\n") as f:
        f.writelines("\t".join(line) + "\n" for line in lines)
        np.savetxt(f, rows, fmt=["%d", "%.9f"] + ["%.6f"] * (3 * n), delimiter="\t")


def write_sigma(take: Take, index: int, path: Path, fps: float | None) -> None:
    """The sidecar: `time_s` as in the TRC, then `<marker>_sigma_m`, one row a frame."""
    motion, rate = at_constant_rate(take.motions[index], fps)
    header = ["time_s", *(f"{name}_sigma_m" for name in _names(motion.skeleton.joints))]
    rows = np.column_stack([np.arange(len(motion.times)) / rate, motion.sigma_m])
    np.savetxt(path, rows, fmt=["%.9f"] + ["%.6f"] * (rows.shape[1] - 1), delimiter=",", header=",".join(header),
               comments="", encoding="utf-8")  # fmt: skip


sidecars = {"_sigma.csv": write_sigma}


def _names(joints: tuple[str, ...]) -> list[str]:
    """Marker names: the joints', without the white space that separates columns."""
    return ["_".join(joint.split()) for joint in joints]
