"""Cameras that move, and clips that they film: pictures whose true camera path is known.

Paths are made from a still camera and put together: `held(aimed(camera, walker), times, rng)`. Each returns a camera
with a pose per frame. World axes are Y up, metres.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kinelift.camera import Camera
from kinelift.kinematics import rotvec_to_matrix
from kinelift.records import Frame
from kinelift.render.bodies import Look
from kinelift.render.scene import Renderer
from kinelift.render.surroundings import Surroundings

_UP = np.array([0, 1.0, 0])


def eased(frames: int) -> np.ndarray:
    """(frames,) from 0 to 1, starting and ending at rest."""
    u = np.linspace(0, 1, frames)
    return u * u * (3 - 2 * u)


def posed(camera: Camera, R_cam_world: np.ndarray, position: np.ndarray) -> Camera:
    """The camera with rotations (T, 3, 3) at places (T, 3), world metres."""
    return camera.replaced(R_cam_world=R_cam_world, t_cam_world=-np.einsum("tij,tj->ti", R_cam_world, position))


def panned(camera: Camera, frames: int, yaw_deg: float, tilt_deg: float = 0.0) -> Camera:
    """On a tripod: turned about the vertical (left is positive) and up; the camera's place stays exactly."""
    u = eased(frames)[:, None]
    yaw = rotvec_to_matrix(-np.radians(yaw_deg) * u * _UP)
    tilt = rotvec_to_matrix(-np.radians(tilt_deg) * u * [1.0, 0, 0])
    return posed(camera, tilt @ camera.R_cam_world @ yaw, np.tile(camera.position, (frames, 1)))


def carried(camera: Camera, path: np.ndarray) -> Camera:
    """Moved along a path (T, 3) in metres from where it stands, without turning: a dolly."""
    R = np.tile(camera.R_cam_world, (len(path), 1, 1))
    return posed(camera, R, camera.position + path - path[0])


def orbited(camera: Camera, frames: int, centre: np.ndarray, degrees: float) -> Camera:
    """Led round the vertical through `centre` (3,), which it keeps in the same place of its picture."""
    turn = rotvec_to_matrix(np.radians(degrees) * eased(frames)[:, None] * _UP)
    away = camera.position - centre
    return posed(camera, camera.R_cam_world @ np.swapaxes(turn, -1, -2), centre + np.einsum("tij,j->ti", turn, away))


def aimed(camera: Camera, target: np.ndarray) -> Camera:
    """Upright, turned so that points (T, 3) stay in the picture's middle; the camera may have a pose per frame."""
    at = np.broadcast_to(camera.position, target.shape)
    forward = target - at
    forward = forward / np.linalg.norm(forward, axis=-1, keepdims=True)
    right = np.cross(forward, _UP)
    right /= np.linalg.norm(right, axis=-1, keepdims=True)
    return posed(camera, np.stack([right, np.cross(forward, right), forward], -2), at)


def held(
    camera: Camera, times: np.ndarray, rng: np.random.Generator, turn_deg: float = 1.0, shift_m: float = 0.02
) -> Camera:
    """In the hand: a path with trembling and sway of 0.3 to 4 Hz added, standard deviations in degrees and metres."""
    frequency = np.exp(rng.uniform(np.log(0.3), np.log(4.0), (12, 6)))
    phase = rng.uniform(0, 2 * np.pi, (12, 6))
    wave = np.sin(2 * np.pi * frequency * times[:, None, None] + phase) / frequency
    wave *= 1 / np.sqrt((0.5 / frequency**2).sum(0))
    shake = wave.sum(1)
    position = np.broadcast_to(camera.position, (len(times), 3)) + shift_m * shake[:, 3:]
    return posed(camera, rotvec_to_matrix(np.radians(turn_deg) * shake[:, :3]) @ camera.R_cam_world, position)


def film(
    positions: np.ndarray,
    times: np.ndarray,
    camera: Camera,
    look: Look | None = None,
    surroundings: Surroundings | None = None,
    supersample: int = 1,
) -> Iterator[Frame]:
    """Pictures of BODY26 figures in a furnished room, one for each time.

    Args:
        positions: (T, 26, 3) or (T, P, 26, 3) world metres, without gaps.
        times: (T,) seconds.
        camera: The true one, with a pose per frame or still; focal length and lens are the same throughout.
        look: Of figures and light.
        surroundings: The room; one of the look's own seed, with nothing between camera and people, when left out.
        supersample: Rays per pixel along each axis.
    """
    look = look or Look()
    T = len(times)
    R = np.broadcast_to(camera.R_cam_world, (T, 3, 3))
    t = np.broadcast_to(camera.t_cam_world, (T, 3))
    if surroundings is None:
        people = positions[..., 0, ::2].reshape(T, -1, 2)
        stand = np.broadcast_to(np.reshape(camera.position, (-1, 1, 3))[..., ::2], (T, 1, 2))
        way = np.concatenate([(stand + u * (people - stand)).reshape(-1, 2) for u in np.linspace(0, 1, 6)])
        surroundings = Surroundings(look, look.seed, clear=way)
    renderer = Renderer(camera.replaced(R_cam_world=R[0], t_cam_world=t[0]), look, supersample, True, surroundings)
    for k in range(T):
        yield Frame(renderer.moved(R[k], t[k]).frame(positions[k]), float(times[k]))
