"""Pictures of a moment: the skeleton over the video, and people on the floor as a camera beside them sees them."""

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

_BACK, _GRID, _SHADOW, _PATH = (245, 246, 248), (200, 205, 214), (208, 212, 219), (138, 146, 222)
_SUB = 4  # bits of a pixel's fraction in OpenCV's drawing
# Metres: a stick's width, the head's ball, a lit sole, the floor's squares and its margin around the box.
_STICK, _HEAD, _SOLE, _SQUARE, _MARGIN = 0.05, 0.09, 0.07, 0.5, 1.2
_DISTANCE = 6.0  # metres from the eye to the box, at least


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
    """An eye that looks at a box around the people from one direction and moves along the floor with it."""

    def __init__(self, box: np.ndarray, direction: Sequence[float], size: tuple[int, int]):
        """`box` (2, 3) its corners in metres about a middle on the floor; `direction` from there to the eye; `size`
        (width, height) pixels."""
        self.size = size
        back = np.array(direction, float) / np.linalg.norm(direction)
        right = np.cross([0, 1.0, 0], back)
        right /= np.linalg.norm(right)
        R = np.stack([right, -np.cross(back, right), -back])
        eye = box.mean(0) + back * (_DISTANCE + np.linalg.norm(box[1] - box[0]) / 2)
        corners = np.stack(np.meshgrid(*box.T), -1).reshape(-1, 3)
        seen = (corners - eye) @ R.T
        rays = seen[:, :2] / seen[:, 2:]
        least, most = rays.min(0), rays.max(0)
        focal = float((0.92 * np.array(size) / (most - least)).min())
        centre = np.array(size) / 2 - focal * (least + most) / 2
        K = np.array([[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1]])
        self.camera = Camera(K, R, -R @ eye, size, np.zeros(5))
        self._reach = float(np.abs(box).max()) + _MARGIN
        self._ground: tuple[np.ndarray, np.ndarray] | None = None

    def picture(self, moments: Sequence[Moment], middle: np.ndarray) -> np.ndarray:
        """(height, width, 3) uint8 RGB of the people at one time, `middle` (3,) of the floor in the box's middle."""
        here = [Moment(m.motion, m.positions - middle, m.frame) for m in moments]
        canvas = self._floor(middle)
        for m in here:
            self._draw_path(canvas, m)
            flat = m.positions[m.frame] * [1, 0, 1]
            self._draw_sticks(canvas, m, flat, (_SHADOW,) * len(flat))
        for m in here:
            self._draw_soles(canvas, m)
        for m in sorted(here, key=lambda m: -self.camera.to_camera(m.positions[m.frame, 0])[2]):
            colors = tuple(side_color(m.motion.skeleton, j) for j in range(len(m.motion.skeleton)))
            self._draw_sticks(canvas, m, m.positions[m.frame], colors)
            self._draw_head(canvas, m)
        return canvas

    def _floor(self, middle: np.ndarray) -> np.ndarray:
        """A new picture of the world's floor in squares that fade towards the edge; drawn again where it glides."""
        if self._ground is None or not np.array_equal(self._ground[0], middle):
            canvas = np.empty((self.size[1], self.size[0], 3), np.uint8)
            canvas[:] = _BACK
            lines = self._grid(middle)
            xy = self.camera.project(lines.reshape(-1, 3)).reshape(*lines.shape[:2], 2)
            fade = np.clip(1.3 - 1.3 * (np.linalg.norm(lines, axis=-1) / self._reach) ** 2, 0, 1)
            fade = (fade[:, 1:] + fade[:, :-1]) / 2
            ends = np.nan_to_num(np.round(np.clip(xy, -1e5, 1e5) * 2**_SUB)).astype(int).tolist()
            colors = (np.array(_BACK) + fade[..., None] * (np.array(_GRID) - _BACK)).tolist()
            for k, i in np.argwhere((fade > 0) & np.isfinite(xy[:, 1:] + xy[:, :-1]).all(-1)).tolist():
                cv2.line(canvas, ends[k][i], ends[k][i + 1], colors[k][i], 1, cv2.LINE_AA, _SUB)
            self._ground = (middle, canvas)
        return self._ground[1].copy()

    def _grid(self, middle: np.ndarray) -> np.ndarray:
        """(lines, 17, 3) points of the squares' lines about the middle, metres."""
        count = int(np.ceil(self._reach / _SQUARE))
        steps = np.linspace(-self._reach, self._reach, 17)
        lines = np.zeros((2, 2 * count + 2, len(steps), 3))
        for k, (axis, other) in enumerate(((0, 2), (2, 0))):
            lines[k, ..., axis] = (_SQUARE * np.arange(-count, count + 2) - middle[axis] % _SQUARE)[:, None]
            lines[k, ..., other] = steps
        return lines.reshape(-1, len(steps), 3)

    def _draw_path(self, canvas: np.ndarray, m: Moment) -> None:
        xy = self.camera.project(m.positions[: m.frame + 1, 0] * [1, 0, 1])
        points = np.round(np.clip(xy[np.isfinite(xy).all(1)], -1e5, 1e5) * 2**_SUB).astype(np.int32)
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
