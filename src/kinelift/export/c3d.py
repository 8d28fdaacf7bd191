"""C3D, the file of gait laboratories: every joint as a point, contacts as analog channels, steps as events.

Millimetres, Z up (`axes.LABORATORY`; X_SCREEN +X, Y_SCREEN +Z), 32-bit floats, Intel byte order, constant rate. A
point's residual is the joint's standard deviation; 0, the format's mark of an interpolated point, where the person
was not seen. Layout after the C3D user guide (c3d.org): a header, parameter and data section in blocks of 512 bytes.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

import kinelift
from kinelift.errors import InputError
from kinelift.export.axes import LABORATORY
from kinelift.export.resample import at_constant_rate
from kinelift.kinematics import motion_positions
from kinelift.records import Motion, Take

suffix = ".c3d"

BLOCK = 512
# Dimensions of a parameter, and the frame numbers of the header, are unsigned bytes and words.
MAX_POINTS, MAX_EVENTS, MAX_HEADER_FRAMES = 255, 255, 65535
_PARAMETERS_AT = 2  # the block where they start, counted from 1


def write(take: Take, index: int, path: Path, fps: float | None) -> None:
    """Write one motion; `fps` None takes the source's nearest constant rate.

    More than 255 steps do not fit the format's events: they are then in the analog channels only. Raises
    `InputError` for more than 255 joints.
    """
    motion, rate = at_constant_rate(take.motions[index], fps)
    if len(motion.skeleton) > MAX_POINTS:
        raise InputError(f"{len(motion.skeleton)} joints: C3D export knows at most {MAX_POINTS}")
    points_mm = 1000 * motion_positions(motion) @ LABORATORY.T
    sigma_mm = 1000 * motion.sigma_m
    # Fine enough to store the residuals in one byte and, for who converts the file, the points in 16 bits.
    scale = float(max(np.abs(points_mm).max() / 32000, sigma_mm.max() / 255, 1e-3))
    residual = np.where(motion.observed[:, None], np.clip(np.round(sigma_mm / scale), 1, 255), 0)
    t, n = points_mm.shape[:2]
    frames = np.concatenate([points_mm, residual[..., None]], -1).reshape(t, -1)
    frames = np.concatenate([frames, motion.contacts], 1)
    parameters = _parameters(motion, rate, scale)
    data_at = _PARAMETERS_AT + len(parameters) // BLOCK
    # The section says itself where the data are; of the same length with the true number.
    parameters = _parameters(motion, rate, scale, data_at)
    channels = motion.contacts.shape[1]
    last = min(t, MAX_HEADER_FRAMES)
    header = struct.pack("<BBHHHHHfHHf", _PARAMETERS_AT, 0x50, n, channels, 1, last, 0, -scale, data_at, 1, rate)
    data = frames.astype("<f4").tobytes()
    path.write_bytes(_padded(header) + parameters + _padded(data))


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


Value = int | float | str | list[str] | np.ndarray


def _parameters(motion: Motion, rate: float, scale: float, data_at: int = 0) -> bytes:
    """The parameter section, whole blocks."""
    t, joints = len(motion.times), list(motion.skeleton.joints)
    contacts = [f"{joints[j]}_contact" for j in motion.contact_joints]
    channels = len(contacts)
    groups: dict[str, dict[str, Value]] = {
        "POINT": {
            "USED": len(joints),
            "FRAMES": min(t, MAX_HEADER_FRAMES),
            "LONG_FRAMES": float(t),
            "DATA_START": data_at,
            "SCALE": -scale,
            "RATE": rate,
            "UNITS": "mm",
            "X_SCREEN": "+X",
            "Y_SCREEN": "+Z",
            "LABELS": joints,
            "DESCRIPTIONS": [joint.replace("_", " ") for joint in joints],
        },
        "ANALOG": {
            "USED": channels,
            "RATE": rate,
            "GEN_SCALE": 1.0,
            "SCALE": np.ones(channels, "<f4"),
            "OFFSET": np.zeros(channels, "<i2"),
            "UNITS": ["1"] * channels,
            "LABELS": contacts,
            "DESCRIPTIONS": ["probability that the point is planted"] * channels,
        },
        "TRIAL": {"ACTUAL_START_FIELD": _words(1), "ACTUAL_END_FIELD": _words(t)},
        "FORCE_PLATFORM": {"USED": 0},
        "MANUFACTURER": {"COMPANY": "kinelift", "SOFTWARE": f"kinelift {kinelift.__version__}"},
    }
    events = _events(motion, rate)
    if 0 < len(events) <= MAX_EVENTS:
        seconds = np.array([time for time, _, _ in events])
        groups["EVENT"] = {
            "USED": len(events),
            "CONTEXTS": [side for _, side, _ in events],
            "LABELS": [label for _, _, label in events],
            "TIMES": np.stack([seconds // 60, seconds % 60], -1).astype("<f4"),
        }
    body = b""
    for number, (group, values) in enumerate(groups.items(), 1):
        body += _record(group, -number, b"\0")
        body += b"".join(_record(name, number, _value(value)) for name, value in values.items())
    blocks = -(-(4 + len(body) + 2) // BLOCK)
    if blocks > 255:
        raise InputError(f"joint names too long for a C3D file's parameters ({blocks * BLOCK >> 10} kB)")
    return _padded(struct.pack("<BBBB", 1, 0x50, blocks, 84) + body + b"\0\0")


def _record(name: str, group: int, content: bytes) -> bytes:
    """A group or a parameter: its name, its group's number, and how far it is from there to the next record."""
    text = name.encode("ascii")
    return struct.pack("<bb", len(text), group) + text + struct.pack("<h", 2 + len(content)) + content


def _value(value: Value) -> bytes:
    """Type, dimensions (the fastest first), data, and an empty description."""
    if isinstance(value, int):
        return struct.pack("<bBH", 2, 0, value) + b"\0"
    if isinstance(value, float):
        return struct.pack("<bBf", 4, 0, value) + b"\0"
    if isinstance(value, np.ndarray):
        shape = value.shape[::-1]
        return struct.pack(f"<bB{len(shape)}B", value.dtype.itemsize, len(shape), *shape) + value.tobytes() + b"\0"
    texts = [text.encode("utf-8")[:127] for text in ([value] if isinstance(value, str) else value)]
    width = max((len(text) for text in texts), default=0)
    shape = (width,) if isinstance(value, str) else (width, len(texts))
    return struct.pack(f"<bB{len(shape)}B", -1, len(shape), *shape) + b"".join(x.ljust(width) for x in texts) + b"\0"


def _words(number: int) -> np.ndarray:
    """A long number as the two 16-bit words of the TRIAL group, the lower first."""
    return np.array([number & 0xFFFF, number >> 16], "<u2")


def _events(motion: Motion, rate: float) -> list[tuple[float, str, str]]:
    """(seconds, "Left" or "Right", "Foot Strike" or "Foot Off") in the order of time: either sole point planted."""
    names = [motion.skeleton.joints[j] for j in motion.contact_joints]
    events = []
    for side in ("left", "right"):
        points = [i for i, name in enumerate(names) if name.startswith(side)]
        planted = np.any(motion.contacts[:, points] >= 0.5, axis=1)
        change = np.flatnonzero(np.diff(planted.astype(int))) + 1
        events += [(k / rate, side.capitalize(), "Foot Strike" if planted[k] else "Foot Off") for k in change.tolist()]
    return sorted(events)
