"""Sets of 17-joint poses as mocap clips, so that `kinelift train temporal` learns from Human3.6M and MPI-INF-3DHP.

H36M17 becomes BODY26 by the named table; feet's soles, hands and face stay NaN: no such set has them. A sequence whose
camera has no known place in the world is left out, since nothing says where down is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from kinelift.camera import Camera
from kinelift.datasets import h36m, mpi_inf_3dhp, views17
from kinelift.datasets.base import PoseSet
from kinelift.datasets.mocap import Clip, _stature
from kinelift.errors import InputError, UnknownNameError
from kinelift.kinematics import STATURE_PRIOR_M, reference_offsets
from kinelift.skeleton import BODY26, H36M17, joint_map

log = logging.getLogger(__name__)

# Views of one take, through cameras calibrated together, agree to millimetres.
_SAME_TAKE_M = 0.03
_ANKLES = BODY26.indices("left_ankle", "right_ankle")
# The ankle's height over the sole at rest.
_ANKLE_M = -float(reference_offsets()[BODY26.index("left_heel"), 1])


# Frames per second of MPI-INF-3DHP's training sequences, from the info that comes with it; the others have 25.
_FAST_3DHP = dict.fromkeys(("S1/Seq2", "S3/Seq1", "S3/Seq2", "S5/Seq1", "S5/Seq2"), 50.0)
_RATES_3DHP = {f"S{s}/Seq{q}": 25.0 for s in range(1, 9) for q in (1, 2)} | _FAST_3DHP

# Readers of what the temporal lifter may train on, at 25 to 60 Hz.
TRAINING_CLIPS: dict[str, Callable[[Path], list[Clip]]] = {
    "h36m": lambda path: as_clips(h36m.read(path, "train", every=2)),
    "mpi-inf-3dhp": lambda path: as_clips(mpi_inf_3dhp.read(path, "train", every=1), _RATES_3DHP),
    "mocap": views17.read_clips,
}


def training_clips(dataset: str, path: Path) -> list[Clip]:
    """Clips of a data set by name. Raises `InputError`, `UnknownNameError`."""
    if dataset not in TRAINING_CLIPS:
        raise UnknownNameError("data set with motion in 3D", dataset, TRAINING_CLIPS)
    return TRAINING_CLIPS[dataset](path)


def as_clips(data: PoseSet, fps: Mapping[str, float] | None = None) -> list[Clip]:
    """BODY26 clips at reference stature of a set's sequences, Y up, floor near y = 0, each take once.

    `fps` by action, where the set states no single frame rate. Which axis of the source's world is up is read from the
    bodies, which stand more than they lie. Several cameras' views of one take become one clip. Raises `InputError` for
    a set without 3D, frame rate or placed cameras.
    """
    if data.positions is None:
        raise InputError(f"{data.name}: holds no 3D to train on")
    rates = fps or {}
    unknown = [] if data.fps is not None else sorted(set(map(str, data.actions)) - set(rates))
    if unknown:
        raise InputError(f"{data.name}: states no frame rate of {', '.join(unknown)}, so its poses are no motion")
    takes = _distinct(_world_takes(data))
    if not takes:
        raise InputError(
            f"{data.name}: no sequence's camera has a known place in the world, so nothing says what is up"
        )
    upright = _upright(np.concatenate([t for _, t in takes]))
    log.info("%s: %d takes from %d sequences", data.name, len(takes), int(data.sequence[-1]) + 1)
    return [
        Clip(f"{data.name}/{action}/{i}", _body26(x @ upright.T), data.fps or rates[action])
        for i, (action, x) in enumerate(takes)
    ]


def _world_takes(data: PoseSet) -> list[tuple[str, np.ndarray]]:
    """Action and positions (T, 17, 3) in the source's world, metres, of every placed sequence of two frames or more."""
    assert data.positions is not None
    out = []
    for rows in np.split(np.arange(len(data)), np.flatnonzero(np.diff(data.sequence)) + 1):
        camera = data.cameras[data.sequence[rows[0]]] if len(rows) > 1 else None
        if camera is not None and _placed(camera):
            x = data.positions[rows].astype(float)
            R, t = camera.R_cam_world, camera.t_cam_world
            out.append((str(data.actions[rows[0]]), np.einsum("...ji,...tj->...ti", R, x - np.expand_dims(t, -2))))
    return out


def _placed(camera: Camera) -> bool:
    """Whether the camera stands somewhere, rather than being the origin itself."""
    return bool((camera.R_cam_world != np.eye(3)).any() or (camera.t_cam_world != 0).any())


def _distinct(takes: list[tuple[str, np.ndarray]]) -> list[tuple[str, np.ndarray]]:
    """The takes without those that only are another camera's view of one before."""
    kept: list[tuple[str, np.ndarray]] = []
    alike: dict[tuple[str, int], list[np.ndarray]] = {}
    for action, x in takes:
        others = alike.setdefault((action, len(x)), [])
        if all(np.abs(x[:, 0] - o[:, 0]).max() > _SAME_TAKE_M for o in others):
            others.append(x)
            kept.append((action, x))
    return kept


def _upright(x: np.ndarray) -> np.ndarray:
    """Rotation (3, 3) of the source's axes that turns the one along which bodies (N, 17, 3) stand into Y."""
    feet = x[:, H36M17.indices("LFoot", "RFoot")].mean(1)
    stands = (x[:, H36M17.index("Thorax")] - feet).mean(0)
    axis = int(np.abs(stands).argmax())
    up = np.sign(stands[axis]) * np.eye(3)[axis]
    right = np.eye(3)[(axis + 2) % 3]
    return np.stack([right, up, np.cross(right, up)])


def _body26(x: np.ndarray) -> np.ndarray:
    """BODY26 (T, 26, 3) float32 at reference stature of H36M17 (T, 17, 3) with Y up; the lower ankle's sole near 0."""
    weights = joint_map(H36M17, BODY26)
    out = np.einsum("ij,tjc->tic", weights, x)
    out[:, ~weights.any(1)] = np.nan
    out *= STATURE_PRIOR_M / _stature(out)
    out[..., 1] += _ANKLE_M - np.percentile(out[:, _ANKLES, 1].min(1), 5)
    return out.astype(np.float32)
