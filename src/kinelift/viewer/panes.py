"""Pictures of a moment: the skeleton over the video, and people on the floor as a standing camera sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from kinelift.camera import Camera
from kinelift.export.rig import is_body
from kinelift.records import Motion
from kinelift.render.views import side_color
from kinelift.viewer.pack import drawn_bones

_BACK, _GRID, _SHADOW, _PATH = (245, 246, 248), (216, 220, 227), (206, 210, 217), (138, 146, 222)
_SUB = 4  # bits of a pixel's fraction in OpenCV's drawing
# Metres: a stick's width, the head's ball, a lit sole, the floor's squares and its margin around the path.
_STICK, _HEAD, _SOLE, _SQUARE, _MARGIN = 0.05, 0.09, 0.07, 0.5, 0.6
_DISTANCE = 6.0  # metres from the eye to the nearest person, at least


@dataclass(frozen=True, eq=False)
class Moment:
    """One person in one frame.

    Attributes:
        motion: The person's motion.
        positions: (T, J, 3) world metres of all its frames.
        frame: Which of them.
    """

    motion: Motion
    positions: np.ndarray
    frame: int


def camera_in(camera: Camera, frame: int) -> Camera:
    """The camera of one frame."""
    fields = (("K", 2), ("R_cam_world", 2), ("t_cam_world", 1))
    moving = {name: getattr(camera, name)[frame] for name, still in fields if getattr(camera, name).ndim > still}
    return camera.replaced(**moving) if moving else camera


def overlaid(image: np.ndarray, camera: Camera, moment: Moment) -> np.ndarray:
    """A copy of the picture (H, W, 3) uint8 RGB with the solved skeleton as the camera sees it in that frame.

    The picture may have another size than the camera's.
    """
    skeleton = moment.motion.skeleton
    xy = camera_in(camera, moment.frame).project(moment.positions[moment.frame])
    xy = np.clip((xy + 0.5) * (np.array(image.shape[1::-1]) / camera.image_size) - 0.5, -1e5, 1e5)
    out = image.copy()
    width = max(2.0, max(image.shape[:2]) / 320)
    for edge in (True, False):
        for j, p in drawn_bones(skeleton):
            if np.isfinite(xy[[j, p]]).all():
                color = (255, 255, 255) if edge else side_color(skeleton, j)
                _line(out, xy[p], xy[j], width * (1.8 if edge else 1), color)
    return out


class View:
    """An eye that stands still in the world and sees the whole of everyone's path."""

    def __init__(self, everywhere: np.ndarray, direction: Sequence[float], size: tuple[int, int]):
        """`everywhere` (N, 3) world metres to fit; `direction` from them to the eye; `size` (width, height) pixels."""
        self.size = size
        low, high = everywhere.min(0), everywhere.max(0)
        self.low = np.floor((low - _MARGIN) / _SQUARE) * _SQUARE
        self.high = np.ceil((high + _MARGIN) / _SQUARE) * _SQUARE
        back = np.array(direction, float) / np.linalg.norm(direction)
        right = np.cross([0, 1.0, 0], back)
        right /= np.linalg.norm(right)
        R = np.stack([right, -np.cross(back, right), -back])
        eye = (low + high) / 2 + back * (_DISTANCE + np.linalg.norm(high - low) / 2)
        ends = np.stack([low * [1, 0, 1], np.add(high, [0, 0.1, 0])])
        corners = np.stack(np.meshgrid(*ends.T), -1).reshape(-1, 3)
        seen = (corners - eye) @ R.T
        rays = seen[:, :2] / seen[:, 2:]
        least, most = rays.min(0), rays.max(0)
        focal = float((0.9 * np.array(size) / (most - least)).min())
        centre = np.array(size) / 2 - focal * (least + most) / 2
        K = np.array([[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1]])
        self.camera = Camera(K, R, -R @ eye, size, np.zeros(5))
        self._floor = self._drawn_floor()

    def picture(self, moments: Sequence[Moment]) -> np.ndarray:
        """(height, width, 3) uint8 RGB of the people at one time."""
        canvas = self._floor.copy()
        for m in moments:
            self._draw_path(canvas, m)
            flat = m.positions[m.frame] * [1, 0, 1]
            self._draw_sticks(canvas, m, flat, (_SHADOW,) * len(flat))
        for m in moments:
            self._draw_soles(canvas, m)
        for m in sorted(moments, key=lambda m: -self.camera.to_camera(m.positions[m.frame, 0])[2]):
            colors = tuple(side_color(m.motion.skeleton, j) for j in range(len(m.motion.skeleton)))
            self._draw_sticks(canvas, m, m.positions[m.frame], colors)
            self._draw_head(canvas, m)
        return canvas

    def _drawn_floor(self) -> np.ndarray:
        canvas = np.empty((self.size[1], self.size[0], 3), np.uint8)
        canvas[:] = _BACK
        for axis, other in ((0, 2), (2, 0)):
            for at in np.arange(self.low[axis], self.high[axis] + 1e-6, _SQUARE):
                ends = np.zeros((2, 3))
                ends[:, axis], ends[:, other] = at, (self.low[other], self.high[other])
                xy = self.camera.project(ends)
                if np.isfinite(xy).all():
                    _line(canvas, xy[0], xy[1], 1, _GRID)
        return canvas

    def _draw_path(self, canvas: np.ndarray, m: Moment) -> None:
        xy = self.camera.project(m.positions[: m.frame + 1, 0] * [1, 0, 1])
        points = np.round(xy * 2**_SUB).astype(np.int32)
        cv2.polylines(canvas, [points[:, None]], False, _PATH, max(1, self.size[1] // 240), cv2.LINE_AA, _SUB)

    def _draw_sticks(self, canvas: np.ndarray, m: Moment, positions: np.ndarray, colors: Sequence[tuple]) -> None:
        """Bones, the farthest first."""
        xy, depth = self.camera.project(positions), self.camera.to_camera(positions)[:, 2]
        for j, p in sorted(drawn_bones(m.motion.skeleton), key=lambda b: -depth[list(b)].mean()):
            if np.isfinite(xy[[j, p]]).all():
                _line(canvas, xy[p], xy[j], _STICK * self.camera.focal_px / depth[[j, p]].mean(), colors[j])

    def _draw_soles(self, canvas: np.ndarray, m: Moment) -> None:
        turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        ring = _SOLE * np.stack([np.cos(turn), 0 * turn, np.sin(turn)], -1)
        for contact, j in zip(m.motion.contacts[m.frame], m.motion.contact_joints, strict=True):
            xy = self.camera.project(m.positions[m.frame, j] + ring)
            if contact > 0.5 and np.isfinite(xy).all():
                lit = np.array(side_color(m.motion.skeleton, j)) / 2 + 127
                cv2.fillConvexPoly(canvas, np.round(xy * 2**_SUB).astype(np.int32), lit.tolist(), cv2.LINE_AA, _SUB)

    def _draw_head(self, canvas: np.ndarray, m: Moment) -> None:
        if not is_body(m.motion.skeleton):
            return
        head = m.positions[m.frame, m.motion.skeleton.index("head")]
        xy, depth = self.camera.project(head), self.camera.to_camera(head)[2]
        if np.isfinite(xy).all():
            radius = round(_HEAD * self.camera.focal_px / depth * 2**_SUB)
            cv2.circle(canvas, _fixed(xy), radius, (168, 170, 178), -1, cv2.LINE_AA, _SUB)


def _fixed(point: np.ndarray) -> tuple[int, int]:
    """OpenCV's fixed-point pixel."""
    x, y = np.round(np.clip(point, -1e5, 1e5) * 2**_SUB)
    return int(x), int(y)


def _line(canvas: np.ndarray, a: np.ndarray, b: np.ndarray, width: float, color: tuple) -> None:
    cv2.line(canvas, _fixed(a), _fixed(b), color, max(1, round(width)), cv2.LINE_AA, _SUB)
