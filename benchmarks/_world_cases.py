"""The clips of `world.py`: known motion, virtual cameras that stand or move, detector noise, disturbed odometry.

Motion is the held-out clips of `cmu.npz`, `bandai_eval.npz` and generated actions (jumps, and heels that are exact).
Pieces of at most 10 s at 30 fps, chosen by going round the actions, longest path first; every draw is seeded by a
piece's name. Places, detector noise and repair are those of `_protocol.py` and of the pipeline. World axes are Y up,
metres, the floor at y = 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d

from _filmed import stature
from _protocol import (
    FPS,
    PLACES,
    Place,
    bandai_action,
    cmu_action,
    detected,
    pieces,
    placed,
    pose_of,
    seeded,
    touching,
    with_face_and_hands,
)
from kinelift.camera import Camera
from kinelift.datasets.mocap import SOLES, Clip, read_mocap
from kinelift.kinematics import STATURE_PRIOR_M, STATURE_PRIOR_SIGMA, rotvec_to_matrix
from kinelift.metrics import path_length
from kinelift.records import Pose2D
from kinelift.render.moving import aimed, held, posed
from kinelift.repair import repair, within_picture
from kinelift.training.actions import generate_named_actions
from kinelift.training.temporal import held_out
from kinelift.trajectory.odometry import CameraPath

STATIC, PAN, HAND_HELD, ALONG = "static", "pan", "hand-held", "walking along"
MOVES = (PAN, HAND_HELD, ALONG)
SHORTEST_S = 2.5
# Generated actions, and how many clips of each; 5 s.
MADE = {"jump": 4, "run": 1, "walk": 1, "squat": 1, "sit": 1}
MADE_S = 5.0


@dataclass(frozen=True)
class OdometryNoise:
    """Errors of a camera path, as of visual odometry on a textured background.

    Attributes:
        turn_deg: Random walk of the rotation, degrees per axis after one second; grows with the root of time.
        shake_deg: Error of each frame's rotation by itself, degrees per axis.
        scale: Random walk of the logarithm of the step length, after one second.
        step: Error of each step, as a share of its length, per axis.
        unit: Sigma of the logarithm of the clip's one unknown unit, about 5 m.
    """

    turn_deg: float = 0.2
    shake_deg: float = 0.02
    scale: float = 0.01
    step: float = 0.05
    unit: float = 0.4


ODOMETRY = OdometryNoise()
_read = cache(read_mocap)  # several parts of a run read the same files


@dataclass(frozen=True, eq=False)
class Case:
    """One clip as one camera sees it.

    Attributes:
        set, name, action: Where it is from.
        stature_m: The person's true height.
        truth: (T, 26, 3) world metres; NaN where the source has no such joint.
        contact: (T, 4) bool, true contact of the soles.
        camera: The true camera, one pose or one per frame.
        pose: BODY26 key points after repair.
        path: What odometry says; None for a static camera.
        move: `STATIC` or one of `MOVES`.
        told_px: The focal length that a solver is told; None: the true one.
    """

    set: str
    name: str
    action: str
    stature_m: float
    truth: np.ndarray
    contact: np.ndarray
    camera: Camera
    pose: Pose2D
    path: CameraPath | None = None
    move: str = STATIC
    told_px: float | None = None

    @property
    def lens(self) -> Camera:
        """The camera as a solver may know it: its lens, not its place."""
        return Camera.from_focal(self.told_px or self.camera.focal_px, self.camera.image_size)


@dataclass(frozen=True, eq=False)
class Piece:
    """A piece of motion: its set, name, action, positions (T, 26, 3) of the person's own stature, contact (T, 4)."""

    set: str
    name: str
    action: str
    stature_m: float
    truth: np.ndarray
    contact: np.ndarray
    number: int

    def cut(self, frames: int) -> Piece:
        """Its first frames."""
        return replace(self, truth=self.truth[:frames], contact=self.contact[:frames])


def cases(data: Path | None, per_set: int, moving_too: bool = False, longest_s: float = 10.0) -> list[Case]:
    """Every piece with a static camera and, with `moving_too`, with one moving camera, the kinds in turn.

    `longest_s` cuts pieces. `data` holds `mocap/cmu.npz` and `mocap/bandai_eval.npz`; None: generated motion alone.
    Raises `InputError`.
    """
    found = made(per_set)
    if data is not None:
        kept = [c for c in _read(data / "mocap/cmu.npz") if held_out(c)]
        found = (
            _chosen("cmu held out", kept, cmu_action, per_set)
            + _chosen("bandai", _read(data / "mocap/bandai_eval.npz"), bandai_action, per_set)
            + found
        )
    found = [p.cut(round(longest_s * FPS)) for p in found]
    out = [_seen(p, placed(PLACES[p.number % len(PLACES)], _whole(p)), STATIC) for p in found]
    if moving_too:
        out += [moving_case(p, MOVES[i % len(MOVES)]) for i, p in enumerate(found)]
    return out


def made(at_most: int) -> list[Piece]:
    """Generated clips, at most so many."""
    out = []
    for action, n in MADE.items():
        p, contact, _ = generate_named_actions(seeded("world", action), n, round(MADE_S * FPS), only=action)
        out += [("generated", f"{action} {i}", action, p[i].astype(float), contact[i] > 0.5) for i in range(n)]
    return [grown(i, *o) for i, o in enumerate(out[:at_most])]


def _chosen(name: str, clips: list[Clip], action, per_set: int) -> list[Piece]:
    """So many pieces, going round the actions, each action's longest path first."""
    by_action: dict[str, list] = {}
    for clip in clips:
        for k, p in enumerate(pieces(clip)):
            if len(p) >= SHORTEST_S * FPS:
                by_action.setdefault(action(clip.name), []).append((f"{clip.name} {k}", p))
    for some in by_action.values():
        some.sort(key=lambda x: -path_length(x[1][:, 0]))
    turns = max(map(len, by_action.values()), default=0)
    order = [(a, by_action[a][i]) for i in range(turns) for a in sorted(by_action) if i < len(by_action[a])]
    return [grown(i, name, n, a, p, touching(p[:, SOLES])) for i, (a, (n, p)) in enumerate(order[:per_set])]


def grown(number: int, group: str, name: str, action: str, p: np.ndarray, contact: np.ndarray) -> Piece:
    """The piece as a person of a drawn stature moves it: the prior's spread, at most two sigma off."""
    draw = float(np.clip(seeded(name, "stature").standard_normal(), -2, 2))
    height = STATURE_PRIOR_M * (1 + STATURE_PRIOR_SIGMA * draw)
    return Piece(group, name, action, height, p * height / stature(p), contact, number)


def _whole(piece: Piece) -> np.ndarray:
    return with_face_and_hands(piece.truth, seeded(piece.name))


def _seen(piece: Piece, camera: Camera, move: str, path: CameraPath | None = None) -> Case:
    xy, confidence = detected(seeded(piece.name, move), _whole(piece), camera)
    pose = repair(within_picture(pose_of(xy, confidence, camera.image_size))[0])[0]
    return Case(
        piece.set, piece.name, piece.action, piece.stature_m, piece.truth, piece.contact, camera, pose, path, move
    )


def moving_case(piece: Piece, move: str) -> Case:
    """The piece as a moving camera sees it, with what odometry says of the camera."""
    rng = seeded(piece.name, move, "camera")
    camera = moving(move, PLACES[(piece.number + 3) % len(PLACES)], piece.truth, rng)
    return _seen(piece, camera, move, odometry(camera, move != ALONG, rng))


def moving(move: str, place: Place, p: np.ndarray, rng: np.random.Generator) -> Camera:
    """A camera that pans after the person, is held by hand, or walks along with them at the place's distance.

    Hands shake by 0.8 degrees and 3 cm (`render.moving.held`). A pan turns about a point that never moves.
    """
    middle = (p[:, 0].min(0) + p[:, 0].max(0)) / 2
    a = np.radians(place.turn_deg)
    reach = float(np.linalg.norm(p[:, 0, ::2] - middle[::2], axis=-1).max())
    away = np.array([np.sin(a), 0, np.cos(a)]) * (place.distance_m + (0.0 if move == ALONG else reach))
    followed = _smooth(p[:, 0], 1.0) if move == ALONG else np.tile(middle, (len(p), 1))
    position = followed * [1, 0, 1] + away + np.array([0, place.height_m or 1.4, 0])
    lens = Camera.from_focal(min(place.focal, 0.85) * max(place.size), place.size)
    still = posed(lens, np.tile(np.eye(3), (len(p), 1, 1)), position)
    camera = aimed(still, np.tile(middle, (len(p), 1)) if move == HAND_HELD else _smooth(p[:, 0], 0.5))
    return camera if move == PAN else held(camera, np.arange(len(p)) / FPS, rng, turn_deg=0.8, shift_m=0.03)


def odometry(camera: Camera, turns_only: bool, rng: np.random.Generator, noise: OdometryNoise = ODOMETRY) -> CameraPath:
    """What visual odometry might say of a moving camera; `turns_only`: it saw no parallax, and says that t is zero."""
    R = camera.R_cam_world @ camera.R_cam_world[0].T
    t = len(R)
    walk = np.cumsum(rng.standard_normal((t, 3)), 0) / np.sqrt(FPS)
    turn = np.radians(noise.turn_deg * (walk - walk[0]) + noise.shake_deg * rng.standard_normal((t, 3)))
    turn[0] = 0
    R = rotvec_to_matrix(turn) @ R
    steps = np.diff(camera.position @ camera.R_cam_world[0].T, axis=0)
    drift = np.exp(noise.scale * np.cumsum(rng.standard_normal((t - 1, 1)), 0) / np.sqrt(FPS))
    steps = steps * drift + noise.step * np.linalg.norm(steps, axis=-1, keepdims=True) * rng.standard_normal((t - 1, 3))
    unit = 5.0 * np.exp(noise.unit * rng.standard_normal())
    position = np.concatenate([np.zeros((1, 3)), np.cumsum(steps, 0)]) / unit * (not turns_only)
    return CameraPath(R, -np.einsum("tij,tj->ti", R, position), True, not turns_only, np.ones(t))


def true_path(camera: Camera) -> CameraPath:
    """The path that perfect odometry would say."""
    R = camera.R_cam_world @ camera.R_cam_world[0].T
    t = np.round(camera.t_cam_world - np.einsum("tij,j->ti", R, camera.t_cam_world[0]), 9)
    return CameraPath(R, t, True, bool(t.any()), np.ones(len(R)))


def _smooth(x: np.ndarray, seconds: float) -> np.ndarray:
    return gaussian_filter1d(x, seconds * FPS, axis=0, mode="nearest")
