"""Lifters by what the user names, and what they say of a data set's poses."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from kinelift.camera import Camera, prior_focal_px
from kinelift.errors import InputError
from kinelift.lift import LIFTERS, Lifter, load_lifter, mapped
from kinelift.lift.projection import normalised
from kinelift.lift.rays import RATE_HZ
from kinelift.records import Pose2D
from kinelift.skeleton import H36M17, joint_map

if TYPE_CHECKING:
    from kinelift.datasets.base import PoseSet


@runtime_checkable
class FrameLifter(Protocol):
    """A lifter of single poses, such as a network that is still in training."""

    def lift_normalised(self, flat: np.ndarray) -> np.ndarray:
        """Depths (N, 17) relative to the root of (N, 17, 2), hip at the origin, divided by the others' mean distance.

        In the unit of `flat`.
        """
        ...


@dataclass(frozen=True, eq=False)
class Method:
    """One row of the table: lifters that differ by their seed only.

    Attributes:
        name: The row's name.
        lifters: Registry names, files, `package.module:Class`, or lifters themselves.
    """

    name: str
    lifters: tuple[str | Lifter | FrameLifter, ...]


# What may follow a file's name, as in FILE.npz?activation=relu.
_OPTION = re.compile(r"\?\w+=\w*$")


def read_method(text: str) -> Method:
    """A row of what the user wrote. Raises `InputError` for a pattern that no file fits.

    `LIFTER` is one lifter: a registry's name, a file or `package.module:Class`. `NAME=LIFTER,LIFTER,...` are seeds of
    one method, and so are the files of a pattern with `*` or `[...]` (in quotes, so that the shell leaves it).
    """
    if text in LIFTERS or Path(text).is_file():
        return Method(Path(text).stem, (text,))
    before, equals, after = text.partition("=")
    named = bool(equals) and not set(before) & set("?*[/")
    parts = (after if named else text).split(",")
    if not all(parts) or (named and not before):
        raise InputError(f"'{text}': expected LIFTER, NAME=LIFTER,LIFTER,... or a pattern of files")
    return Method(before if named else text, tuple(f for part in parts for f in _expanded(part)))


def _expanded(part: str) -> list[str]:
    option = _OPTION.search(part)
    pattern, after = (part[: option.start()], option[0]) if option else (part, "")
    if not set(pattern) & set("*[") or Path(pattern).is_file():
        return [part]
    parts = Path(pattern).parts
    fixed = Path(*itertools.takewhile(lambda p: not set(p) & set("*["), parts))
    found = sorted(fixed.glob(str(Path(*parts[len(fixed.parts) :]))))
    if not found:
        raise InputError(f"'{part}': no file fits this pattern")
    return [f"{f}{after}" for f in found]


def read_methods(given: Sequence[str | Lifter | FrameLifter | Method]) -> list[Method]:
    """Rows of whatever was given, each under a name of its own; files that share one go by their path."""
    methods = [m if isinstance(m, Method) else _row(m) for m in given]
    if not methods:
        raise InputError("nothing to evaluate: name at least one lifter")
    names = [m.name for m in methods]
    out: list[Method] = []
    for m in methods:
        only = m.lifters[0]
        name = only if names.count(m.name) > 1 and len(m.lifters) == 1 and isinstance(only, str) else m.name
        if name in (o.name for o in out):
            raise InputError(f"two lifters are called '{name}': name them apart (NAME=LIFTER)")
        out.append(Method(name, m.lifters))
    return out


def _row(given: str | Lifter | FrameLifter) -> Method:
    if isinstance(given, str):
        return read_method(given)
    return Method(str(getattr(given, "name", type(given).__name__)), (given,))


@dataclass(frozen=True, eq=False)
class Answers:
    """What a lifter says of N poses.

    Attributes:
        positions: (N, 17, 3) H36M17, relative to the root, in the camera's axes; NaN where it gives nothing.
        metric: Whether in metres; else in any unit.
        joints: (17,) bool: the joints that it is told about and gives.
    """

    positions: np.ndarray
    metric: bool
    joints: np.ndarray


def ask(lifter: str | Lifter | FrameLifter, data: PoseSet, threads: int = 1) -> Answers:
    """What a lifter says of the whole data set. Raises `InputError`.

    A `FrameLifter` gets all poses at once; every other gets whole sequences at their own frame rate (`RATE_HZ` where
    the set states none) through the sequence's camera (where the lens is unknown, one of the prior's focal length).
    """
    if isinstance(lifter, str):
        lifter = load_lifter(lifter, threads)
    if isinstance(lifter, Lifter):
        return _ask_sequences(lifter, data)
    if isinstance(lifter, FrameLifter):
        return _ask_frames(lifter, data)
    raise InputError(f"{type(lifter).__name__} is no lifter: it has neither lift() nor lift_normalised()")


def _ask_frames(lifter: FrameLifter, data: PoseSet) -> Answers:
    flat, _ = normalised(data.rays())
    depths = np.asarray(lifter.lift_normalised(flat), float)
    name = getattr(lifter, "name", type(lifter).__name__)
    if depths.shape != flat.shape[:2]:
        raise InputError(f"lifter {name}: expected depths {flat.shape[:2]}, got {depths.shape}")
    if not np.isfinite(depths).all():
        raise InputError(f"lifter {name}: depths are not finite")
    positions = np.concatenate([flat, (depths - depths[:, :1])[..., None]], -1)
    return Answers(positions, False, np.ones(len(H36M17), bool))


def _ask_sequences(lifter: Lifter, data: PoseSet) -> Answers:
    positions = np.full((len(data.xy), len(H36M17), 3), np.nan)
    scales = set()
    for rows in np.split(np.arange(len(data)), np.flatnonzero(np.diff(data.sequence)) + 1):
        camera = data.cameras[data.sequence[rows[0]]] or prior_camera(data.xy[rows])
        lifted = lifter.lift(mapped(_pose(data, rows, camera), lifter.skeleton), camera)
        if lifted.positions.shape[:1] != rows.shape:
            raise InputError(f"lifter {lifter.name}: expected {len(rows)} frames, got {len(lifted.positions)}")
        weights = joint_map(lifted.skeleton, H36M17)
        given = weights.any(1)
        used = weights.any(0)
        positions[np.ix_(rows, given)] = np.einsum("ij,tjc->tic", weights[given][:, used], lifted.positions[:, used])
        scales.add(lifted.scale)
    if len(scales) != 1:
        raise InputError(f"lifter {lifter.name}: answers in metres for some sequences, in any unit for others")
    told = joint_map(H36M17, lifter.skeleton).any(1)
    needs = joint_map(lifter.skeleton, H36M17) != 0
    joints = needs.any(1) & ~(needs & ~told).any(1) & np.isfinite(positions).all((0, 2))
    return Answers(positions, scales == {"metric"}, joints)


def prior_camera(xy: np.ndarray) -> Camera:
    """A camera of the prior's focal length whose picture is just large enough for (..., 2) pixels and the origin."""
    points = xy.reshape(-1, 2).astype(float)
    low = np.minimum(points.min(0), 0)
    w, h = (int(v) for v in np.ceil(points.max(0) - low).clip(0) + 1)
    camera = Camera.from_focal(prior_focal_px((w, h)), (w, h))
    K = camera.K.copy()
    K[:2, 2] += low
    return camera.replaced(K=K)


def _pose(data: PoseSet, rows: np.ndarray, camera: Camera) -> Pose2D:
    times = np.arange(len(rows)) / (data.fps or RATE_HZ)
    return Pose2D(H36M17, data.xy[rows], np.ones((len(rows), len(H36M17))), times, camera.image_size)
