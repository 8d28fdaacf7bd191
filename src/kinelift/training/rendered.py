"""Rendered clips for detectors to look at: a motion, a still camera, a dressed figure in a room, a worn picture.

Everything about a clip is drawn from one generator, so that a seed and a number name it. World axes are Y up, metres.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from kinelift.camera import Camera
from kinelift.datasets.mocap import Clip, contact_labels
from kinelift.kinematics import reference_offsets, rotvec_to_matrix
from kinelift.render import Look, Renderer
from kinelift.skeleton import BODY26
from kinelift.training.actions import generate_actions
from kinelift.training.generate import generate
from kinelift.training.vary import add_extremities, mirrored, swap_halves, vary_bodies
from kinelift.training.views import windows

KINDS = ("generated", "mocap")
_ACTIONS_SHARE = 0.85
FRAMES = 128  # at 30 fps, before half of the clips lose every other one
_B = BODY26.index
_TRIES = 60
_GRAIN_SHIFT = 32
_ASPECTS = (16 / 9, 16 / 9, 4 / 3, 3 / 2, 1.0)


@dataclass(frozen=True)
class Wear:
    """What happens to a picture between the scene and the file.

    Attributes:
        blur_px: Standard deviation of the lens' blur.
        gain: (3,) factors of the colour channels.
        gamma: Exponent on values in [0, 1].
        noise: Standard deviation of the sensor's noise, of 255.
        quality: Of JPEG compression, 1 to 100.
    """

    blur_px: float
    gain: tuple[float, float, float]
    gamma: float
    noise: float
    quality: int

    @classmethod
    def random(cls, rng: np.random.Generator) -> Wear:
        """Mostly mild, now and then dark, noisy or badly compressed."""
        r, g, b = rng.uniform(0.75, 1.2) * rng.uniform(0.93, 1.07, 3)
        return cls(
            blur_px=float(rng.uniform(0.3, 1.0)),
            gain=(float(r), float(g), float(b)),
            gamma=float(np.exp(rng.normal(0, 0.2))),
            noise=float(rng.exponential(2.5)),
            quality=int(rng.uniform(30, 96)),
        )

    def applied(self, pictures: Iterator[np.ndarray], rng: np.random.Generator) -> Iterator[np.ndarray]:
        """A worn copy of each picture (H, W, 3) uint8 RGB of one size."""
        levels = (np.arange(256) / 255) ** self.gamma * 255
        table = np.clip(levels[:, None] * np.array(self.gain), 0, 255).astype(np.uint8)[None]
        grain = None
        for image in pictures:
            height, width = image.shape[:2]
            if grain is None:  # drawn once, and laid elsewhere on each picture
                shape = (height + _GRAIN_SHIFT, width + _GRAIN_SHIFT, 3)
                grain = np.round(rng.standard_normal(shape) * self.noise).astype(np.int16)
            y, x = rng.integers(0, _GRAIN_SHIFT, 2)
            out = cv2.LUT(cv2.GaussianBlur(image, (0, 0), self.blur_px), table)
            worn = cv2.add(out, grain[y : y + height, x : x + width], dtype=cv2.CV_8U)
            _, code = cv2.imencode(".jpg", worn[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, self.quality])
            yield np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR))[..., ::-1]


@dataclass(frozen=True, eq=False)
class Scene:
    """One clip before it is drawn.

    Attributes:
        kind: One of `KINDS`.
        positions: (T, 26, 3) world metres; NaN for joints that the motion's source does not have.
        contact: (T, 4) in [0, 1], heels and toes as `datasets.mocap.SOLES`.
        fps: Frames per second.
        camera: Still.
        look: Of figure and room.
        wear: Of the pictures.
        seed: Of the sensor's noise.
    """

    kind: str
    positions: np.ndarray
    contact: np.ndarray
    fps: float
    camera: Camera
    look: Look
    wear: Wear
    seed: int

    def pictures(self) -> Iterator[np.ndarray]:
        """(H, W, 3) uint8 RGB of each frame."""
        renderer = Renderer(self.camera, self.look, supersample=1, quick=True)
        rng = np.random.default_rng(self.seed)
        drawn = (renderer.frame(body) for body in with_trunk(self.positions))
        yield from self.wear.applied(drawn, rng)


def random_scene(rng: np.random.Generator, kind: str, clips: list[Clip]) -> Scene:
    """A clip of about 4 s at 30 or 15 fps; `clips` are needed for the kind "mocap" only."""
    positions, contact = _motion(rng, kind, clips)
    if rng.random() < 0.5:
        positions, contact = mirrored(positions, contact)
    rate = int(rng.integers(1, 3))
    positions, contact = positions[::rate], contact[::rate]
    middle = np.nanmean(positions[:, 0], 0) * [1, 0, 1]
    positions = positions - middle + [rng.uniform(-1.5, 1.5), 0, rng.uniform(-1.5, 1.5)]
    camera = random_camera(rng, positions)
    look = Look.random(rng)
    reach = float(
        np.nanmax(np.abs(np.concatenate([positions[..., [0, 2]].reshape(-1, 2), camera.position[None, ::2]])))
    )
    look = dataclasses.replace(look, room_m=max(look.room_m, reach + rng.uniform(0.3, 2)))
    return Scene(kind, positions, contact, 30.0 / rate, camera, look, Wear.random(rng), int(rng.integers(2**31)))


def _motion(rng: np.random.Generator, kind: str, clips: list[Clip]) -> tuple[np.ndarray, np.ndarray]:
    """Positions (T, 26, 3) and contacts (T, 4) at 30 fps."""
    if kind == "generated" and rng.random() < _ACTIONS_SHARE:
        acted, contact = generate_actions(rng, 1, FRAMES)
        return acted[0].astype(np.float64), contact[0]
    if kind == "generated":
        made = generate(rng, 1, FRAMES)[0].astype(np.float64)
        return made, contact_labels(made, 30.0)
    # Four windows, so that the one taken may get another's upper body.
    real, contact = windows(rng, clips, 4, FRAMES)
    varied = vary_bodies(rng, swap_halves(rng, add_extremities(rng, real.astype(np.float64))), forearm=1.15)
    return varied[0], contact[0]


def with_trunk(positions: np.ndarray) -> np.ndarray:
    """Positions (T, 26, 3) with missing spine and chest put where a straight trunk has them."""
    rest = reference_offsets()
    heights = np.cumsum([rest[_B(j)][1] for j in ("spine", "chest", "neck")])
    out = positions.copy()
    for joint, height in zip(("spine", "chest"), heights / heights[-1], strict=False):
        between = out[:, 0] * (1 - height) + out[:, _B("neck")] * height
        out[:, _B(joint)] = np.where(np.isfinite(out[:, _B(joint)]), out[:, _B(joint)], between)
    return out


def random_camera(rng: np.random.Generator, positions: np.ndarray) -> Camera:
    """A still camera on positions (T, 26, 3), which take about 35 to 95 % of its picture and may be cut by its edge.

    Focal length 0.5 to 2 long sides, mostly 0.7 to 1.3; picture sizes about 320 to 640 pixels, upright or lying; pitch
    and roll as in `views.random_cameras`; at least 0.1 m above the floor. What sees too little is drawn again.
    """
    size = _picture_size(rng)
    wide = rng.random() < 0.25
    focal = max(size) * np.exp(rng.uniform(np.log(0.5), np.log(2)) if wide else rng.uniform(np.log(0.7), np.log(1.3)))
    best, best_seen = None, -1.0
    for _ in range(_TRIES):
        camera = _placed(rng, Camera.from_focal(focal, size), positions)
        if camera.position[1] < 0.1 or np.nanmin(camera.to_camera(positions)[..., 2]) < 0.4:
            continue
        seen = _share_inside(camera, positions)
        if seen > best_seen:
            best, best_seen = camera, seen
        if seen > 0.75:
            break
    return best or _plain(Camera.from_focal(focal, size), positions)


def _picture_size(rng: np.random.Generator) -> tuple[int, int]:
    aspect = _ASPECTS[rng.integers(len(_ASPECTS))]
    if rng.random() < 0.5:
        height = rng.uniform(320, 480)
        return round(height / aspect), round(height)
    width = rng.uniform(420, 620)
    return round(width), round(width / aspect)


def _placed(rng: np.random.Generator, camera: Camera, positions: np.ndarray) -> Camera:
    """One draw of where the camera stands and where it looks."""
    pitch = rng.uniform(-35, 65) if rng.random() < 0.17 else rng.normal(7, 14)
    roll = rng.uniform(-180, 180) if rng.random() < 0.125 else rng.normal(0, 7)
    yaw = rng.uniform(0, 2 * np.pi)
    R = (
        rotvec_to_matrix(np.array([0, 0, np.radians(roll)]))
        @ rotvec_to_matrix(np.array([np.radians(pitch), 0, 0]))
        @ np.diag([1.0, -1.0, -1.0])
        @ rotvec_to_matrix(np.array([0, yaw, 0]))
    )
    w, h = camera.image_size
    ray = np.clip(rng.normal(0, 0.06, 2), -0.2, 0.2) * (w, h) / camera.focal_px
    direction = np.append(ray, 1.0)
    low, high = np.nanmin(positions, (0, 1)), np.nanmax(positions, (0, 1))
    target = (low + high) / 2
    share = rng.uniform(0.35, 0.95) * (1.3 if rng.random() < 0.1 else 1.0)
    whole = rng.random() < 0.6
    depth = 4.0
    for _ in range(3):
        placed = camera.replaced(R_cam_world=R, t_cam_world=direction * depth - R @ target)
        x = placed.to_camera(positions)
        flat = x[..., :2] / np.maximum(x[..., 2:], 0.3) * camera.focal_px
        of_body = float(np.median((np.nanmax(flat, 1) - np.nanmin(flat, 1)) / (w, h), axis=0).max()) * 1.1
        of_clip = float(((np.nanmax(flat, (0, 1)) - np.nanmin(flat, (0, 1))) / (w, h)).max())
        # A person who walks far fills the picture less, but never less than a third of the height asked for.
        asked = max(min(share, 0.97 * of_body / of_clip), 0.3) if whole else share
        depth = float(np.clip(depth * of_body / asked, 1.2, 20))
    return camera.replaced(R_cam_world=R, t_cam_world=direction * depth - R @ target)


def _share_inside(camera: Camera, positions: np.ndarray) -> float:
    """How much of the clip's joints lies in the picture."""
    xy = camera.project(positions)
    inside: np.ndarray = np.asarray(((xy > 0) & (xy < np.array(camera.image_size) - 1)).all(-1))
    return float(inside[np.isfinite(positions[..., 0])].mean())


def _plain(camera: Camera, positions: np.ndarray) -> Camera:
    """A level camera at the figure's middle height, far enough away to see the clip."""
    low, high = np.nanmin(positions, (0, 1)), np.nanmax(positions, (0, 1))
    target = (low + high) / 2
    depth = float(np.linalg.norm(high - low)) * (camera.focal_px / min(camera.image_size) + 0.5)
    R = np.diag([1.0, -1.0, -1.0])
    height = max(target[1], 0.1)
    return camera.replaced(R_cam_world=R, t_cam_world=-R @ np.array([target[0], height, target[2] + depth]))
