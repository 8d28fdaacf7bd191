"""Methods, data and protocols in; a table out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from kinelift.errors import InputError, UnknownNameError
from kinelift.evaluate.answers import Answers, FrameLifter, Method, ask, read_methods
from kinelift.evaluate.protocols import PROTOCOLS, Compared
from kinelift.evaluate.table import Score, Table
from kinelift.lift import Lifter
from kinelift.skeleton import H36M17

if TYPE_CHECKING:
    from kinelift.datasets.base import PoseSet


def evaluate(
    lifters: Sequence[str | Lifter | FrameLifter | Method],
    data: PoseSet,
    protocols: Sequence[str] = tuple(PROTOCOLS),
    allow_inversion: bool = False,
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Table:
    """Every lifter on the same poses and joints, by every protocol, per action and on average.

    Args:
        lifters: What `read_method` reads (names, files, patterns, NAME=FILE,FILE), methods, or lifters themselves.
        data: Poses with 3D truth.
        protocols: Keys of `PROTOCOLS`.
        allow_inversion: Whether the better of z and -z about the root counts, pose by pose.
        threads: Of the lifters.
        progress: Called with lifters done and in all.

    Raises `InputError` for data without truth and for lifters that cannot be read or do not answer.
    """
    _check_protocols(protocols)
    true = _truth(data)
    methods = read_methods(lifters)
    answers = _answers(methods, data, threads, progress)
    joints = _common_joints([a for row in answers for a in row])
    rays, true = data.rays()[:, joints], true[:, joints]
    actions, action_of, counts = np.unique(data.actions, return_inverse=True, return_counts=True)
    scores = []
    for m, row in zip(methods, answers, strict=True):
        compared = [Compared.of(a.positions[:, joints], a.metric, rays, true) for a in row]
        for p in protocols:
            poses = [PROTOCOLS[p].of(c, allow_inversion) for c in compared]
            seeds = np.array([np.bincount(action_of, x) / counts for x in poses])
            scores.append(Score(m.name, p, seeds))
    return Table(
        data.name,
        tuple(map(str, actions)),
        tuple(map(int, counts)),
        tuple(map(str, np.array(H36M17.joints)[~joints])),
        tuple(m.name for m, row in zip(methods, answers, strict=True) if not all(a.metric for a in row)),
        allow_inversion,
        tuple(scores),
    )


def _check_protocols(protocols: Sequence[str]) -> None:
    if not protocols:
        raise InputError(f"no protocol: choose among {', '.join(PROTOCOLS)}")
    for p in protocols:
        if p not in PROTOCOLS:
            raise UnknownNameError("protocol", p, PROTOCOLS)


def _answers(
    methods: list[Method], data: PoseSet, threads: int, progress: Callable[[int, int], None] | None
) -> list[list[Answers]]:
    """What every lifter of every method says."""
    out: list[list[Answers]] = []
    count = sum(len(m.lifters) for m in methods)
    for m in methods:
        out.append([])
        for lifter in m.lifters:
            out[-1].append(ask(lifter, data, threads))
            if progress:
                progress(sum(map(len, out)), count)
    return out


def _truth(data: PoseSet) -> np.ndarray:
    if data.positions is None:
        raise InputError(f"{data.name}: holds no 3D truth to compare with (2D poses can only be trained on)")
    if not len(data.positions):
        raise InputError(f"{data.name}: holds no poses")
    return np.asarray(data.positions, float)


def _common_joints(answers: list[Answers]) -> np.ndarray:
    """(17,) bool: joints that every lifter is told about and gives. Raises `InputError` where hardly any is left."""
    joints = np.all([a.joints for a in answers], axis=0)
    if not joints[0] or joints.sum() < 4:
        raise InputError(f"too few joints to compare: {', '.join(np.array(H36M17.joints)[joints]) or 'none'}")
    return joints
