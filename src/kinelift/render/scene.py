"""The picture: rays through the pixels, the nearest part, light and shadow, and the room behind.

All light is computed in linear RGB on a grid finer than the picture and averaged down, which is the anti-aliasing.
The room is drawn once; a frame touches only the box that holds the figure and its shadow.
"""

from __future__ import annotations

import copy

import cv2
import numpy as np

from kinelift.camera import Camera
from kinelift.errors import InputError
from kinelift.render.bodies import Look, body_parts
from kinelift.render.room import room_colors
from kinelift.render.shapes import Parts, normals, trace_boxes
from kinelift.render.surroundings import Surroundings

# Grid of the light's own depth picture, metres, and the floor's light in pixels a step: fine, and quick.
_SHADOW_CELL_M, _QUICK_CELL_M = 0.012, 0.03
_QUICK_STEP = 3
_BOUNCE = 0.35


class Renderer:
    """Draws figures in one room for one camera that stands still; `moved` draws from elsewhere.

    Args:
        camera: Its pose and lens; per-frame cameras are not drawn by one renderer.
        look: Of every figure and of the room.
        supersample: Rays per pixel along each axis.
        quick: Shadows on coarser grids, with softer edges: half the time for small pictures.
        surroundings: A furnished room instead of the plain one; its things hide what is behind them.
    """

    def __init__(
        self,
        camera: Camera,
        look: Look | None = None,
        supersample: int = 2,
        quick: bool = False,
        surroundings: Surroundings | None = None,
    ):
        if camera.K.ndim == 3 or camera.R_cam_world.ndim == 3 or camera.t_cam_world.ndim == 2:
            raise InputError(
                "camera: expected one that stands still; for a moving one, `Renderer.moved` or `moving.film`"
            )
        self.camera, self.look, self.scale = camera, look or Look(), supersample
        self._cell_m, self._floor_step = (_QUICK_CELL_M, _QUICK_STEP) if quick else (_SHADOW_CELL_M, 1)
        w, h = camera.image_size
        s = supersample
        grid = np.stack(np.meshgrid(np.arange(w * s), np.arange(h * s)), -1)
        pixels = (grid + 0.5) / s - 0.5
        rays = camera.unproject(pixels.astype(float).reshape(-1, 2)).reshape(h * s, w * s, 2)
        self._rays = np.concatenate([rays, np.ones_like(rays[..., :1])], -1)
        sun = np.asarray(self.look.sun_direction, float)
        self._sun = sun / np.linalg.norm(sun)
        self._surroundings = surroundings
        self._look_round()

    def _look_round(self) -> None:
        """See the empty room from where the camera is."""
        camera, s = self.camera, self.scale
        rays = self._rays @ camera.R_cam_world
        self._room_depth: np.ndarray | None = None
        if self._surroundings is None:
            room, floor_xz = room_colors(camera.position, rays, self.look)
        else:
            view = self._surroundings.seen(camera.position, rays, 1 / (camera.focal_px * s))
            room, floor_xz, self._room_depth = view.color, view.floor_xz, view.depth
        self._room = room.astype(np.float32)
        self._floor_xz = floor_xz.astype(np.float32)
        self._picture = _to_srgb(_averaged(self._room, s))

    def moved(self, R_cam_world: np.ndarray, t_cam_world: np.ndarray) -> Renderer:
        """A renderer of the same room and lens for another pose of the camera, (3, 3) and (3,) metres."""
        other = copy.copy(self)
        other.camera = self.camera.replaced(R_cam_world=R_cam_world, t_cam_world=t_cam_world)
        other._look_round()
        return other

    @property
    def background(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB, the empty room."""
        return self._picture.copy()

    def frame(self, positions: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 RGB picture of BODY26 figures, (26, 3) or (P, 26, 3) world metres."""
        image, _ = self.frame_and_mask(positions)
        return image

    def frame_and_mask(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The picture, and (H, W) float32 in [0, 1], how much of each pixel a figure covers."""
        people = [body_parts(p, self.look) for p in np.reshape(positions, (-1, 26, 3))]
        image, coverage = self._picture.copy(), np.zeros(self._picture.shape[:2], np.float32)
        if people:
            self._draw(Parts.joined(people), image, coverage)
        return image, coverage

    def draw_parts(self, parts: Parts) -> tuple[np.ndarray, np.ndarray]:
        """Picture and coverage, as `frame_and_mask`, of any parts in world metres."""
        image, coverage = self._picture.copy(), np.zeros(self._picture.shape[:2], np.float32)
        self._draw(parts, image, coverage)
        return image, coverage

    def _draw(self, parts: Parts, image: np.ndarray, coverage: np.ndarray) -> None:
        shadow = _ShadowMap(parts, self._sun, self._cell_m)
        x0, y0, x1, y1 = self._box_to_draw(parts, shadow)
        if x1 <= x0 or y1 <= y0:
            return
        s = self.scale
        fine = (slice(y0 * s, y1 * s), slice(x0 * s, x1 * s))
        color = self._room[fine] * self._floor_light(shadow, fine)[..., None]
        hit, where = self._trace(parts)
        rows, columns = where
        inner = (slice(rows.start - y0 * s, rows.stop - y0 * s), slice(columns.start - x0 * s, columns.stop - x0 * s))
        if hit.mask.any():
            color[inner][hit.mask] = self._shade(parts, hit, shadow)
        covered = np.zeros(color.shape[:2], np.float32)
        covered[inner] = hit.mask
        coarse = (slice(y0, y1), slice(x0, x1))
        image[coarse] = _to_srgb(_averaged(color, s))
        coverage[coarse] = _averaged(covered, s)

    def _box_to_draw(self, parts: Parts, shadow: _ShadowMap) -> tuple[int, int, int, int]:
        """Pixel box of the figure, its cast shadow and the dark floor beneath it."""
        corners = parts.corners().reshape(-1, 3)
        cast = corners - self._sun * np.clip(corners[:, 1:2] / self._sun[1], 0, 4.0)
        low = corners[corners[:, 1] < 0.6]
        under = [low + d for d in ((0.3, 0, 0.3), (0.3, 0, -0.3), (-0.3, 0, 0.3), (-0.3, 0, -0.3))]
        on_floor = self.camera.to_camera(np.concatenate([cast, *under]))
        body = parts.moved(self.camera.R_cam_world, self.camera.t_cam_world).corners().reshape(-1, 3)
        points = np.concatenate([body, on_floor])
        x0, y0, x1, y1 = (int(v) for v in _pixel_boxes(self.camera, points[None], 1)[0])
        return x0, y0, x1, y1

    def _trace(self, parts: Parts) -> tuple[_Hits, tuple[slice, slice]]:
        """Nearest parts on the fine grid, and the rows and columns of it that they may touch."""
        cam = parts.moved(self.camera.R_cam_world, self.camera.t_cam_world)
        boxes = _pixel_boxes(self.camera, cam.corners(), self.scale)
        drawn = boxes[(boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])]
        left, top, right, bottom = (*drawn[:, :2].min(0), *drawn[:, 2:].max(0)) if len(drawn) else (0, 0, 0, 0)
        fine = (slice(top, bottom), slice(left, right))
        h, w = bottom - top, right - left
        boxes = np.clip(boxes - (left, top, left, top), 0, (w, h, w, h))
        hits = _Hits((h, w))
        rays = self._rays[fine]
        for i, where, t, along in trace_boxes(cam, np.zeros(3), rays, boxes):
            nearer = (t < hits.depth[where]) & (t > 0.05)
            hits.depth[where][nearer] = t[nearer]
            hits.part[where][nearer] = i
            hits.along[where][nearer] = along[nearer]
        if self._room_depth is not None:
            hits.part[hits.depth > self._room_depth[fine]] = -1
        hits.mask = hits.part >= 0
        x_cam = rays[hits.mask] * hits.depth[hits.mask][:, None]
        hits.normal[hits.mask] = normals(cam, hits.part[hits.mask], hits.along[hits.mask], x_cam)
        hits.smooth_normals(parts.group, float(hits.mask.any(1).sum()))
        hits.points = (x_cam - self.camera.t_cam_world) @ self.camera.R_cam_world
        return hits, fine

    def _shade(self, parts: Parts, hit: _Hits, shadow: _ShadowMap) -> np.ndarray:
        """Linear RGB (n, 3) of the fine pixels on the figure."""
        look = self.look
        part, along = hit.part[hit.mask], hit.along[hit.mask]
        albedo = np.where((along > parts.split[part])[:, None], parts.color_b[part], parts.color_a[part])
        normal = hit.normal[hit.mask] @ self.camera.R_cam_world
        lambert = np.clip(normal @ self._sun, 0, None)
        seen = shadow.lit(hit.points + 0.02 * normal)
        up = 0.5 + 0.5 * normal[:, 1]
        near_floor = np.clip(hit.points[:, 1] / 0.5, 0.45, 1)
        bounce = _BOUNCE * np.asarray(look.floor_color) ** 2.2
        below = (look.sky + look.sun) * (1 - up) * near_floor
        ambient = look.sky * (0.35 + 0.65 * up)[:, None] + below[:, None] * bounce
        view = -hit.points + self.camera.position
        view /= np.linalg.norm(view, axis=1, keepdims=True)
        rim = 1 - 0.25 * (1 - np.clip((normal * view).sum(1), 0, 1)) ** 2
        light = ambient * (hit.openness()[hit.mask] * rim)[:, None] + (look.sun * lambert * seen)[:, None]
        return albedo * light

    def _floor_light(self, shadow: _ShadowMap, fine: tuple[slice, slice]) -> np.ndarray:
        """(h, w) factor on the room's light: the cast shadow and the dark beneath feet; soft, so found per pixel."""
        h, w = (s.stop - s.start for s in fine)
        step, first = self.scale * self._floor_step, self._floor_step // 2
        xz = self._floor_xz[fine][min(first, h - 1) :: step, min(first, w - 1) :: step]
        factor = np.ones(xz.shape[:2], np.float32)
        on = np.isfinite(xz[..., 0])
        points = np.zeros((int(on.sum()), 3))
        points[:, [0, 2]] = xz[on]
        even = shadow.open_sky(points)
        direct, sky = self.look.sun * self._sun[1], self.look.sky
        factor[on] = (direct * shadow.lit_floor(points) * (0.5 + 0.5 * even) + sky * even) / (direct + sky)
        return np.asarray(cv2.resize(factor, (w, h)))


class _Hits:
    """What the fine rays met: depth, camera-frame normal, part and place along it."""

    def __init__(self, shape: tuple[int, int]):
        self.depth = np.full(shape, np.inf)
        self.normal = np.zeros((*shape, 3))
        self.part = np.full(shape, -1)
        self.along = np.zeros(shape)
        self.mask = np.zeros(shape, bool)
        self.points = np.zeros((0, 3))

    def smooth_normals(self, group: np.ndarray, height_px: float) -> None:
        """Blur normals inside each group, so that a limb of several cones looks like one piece of cloth."""
        sigma = 0.006 * height_px
        if sigma < 0.5:
            return
        ids = np.where(self.part >= 0, group[self.part], -1)
        for g in np.unique(ids[ids >= 0]):
            here = ids == g
            rows, cols = np.nonzero(here.any(1))[0], np.nonzero(here.any(0))[0]
            box = (slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1))
            inside = here[box]
            blurred = cv2.GaussianBlur(self.normal[box] * inside[..., None], (0, 0), sigma)
            blurred /= np.maximum(np.linalg.norm(blurred, axis=-1, keepdims=True), 1e-9)
            self.normal[box][inside] = blurred[inside]

    def openness(self) -> np.ndarray:
        """(h, w) in (0, 1]: darker where the surroundings are nearer (unsharp masking of depth, Luft et al. 2006)."""
        sigma = 0.02 * max(float(self.mask.any(1).sum()), 25.0)
        mask = self.mask[::2, ::2]
        depth = np.where(mask, self.depth[::2, ::2], 0).astype(np.float32)
        total = cv2.GaussianBlur(depth, (0, 0), sigma / 2)
        weight = np.maximum(cv2.GaussianBlur(mask.astype(np.float32), (0, 0), sigma / 2), 1e-3)
        near = cv2.resize(total / weight, self.mask.shape[::-1])
        return 1 - np.clip(2.6 * (np.where(self.mask, self.depth, 0) - near), 0, 0.45)


class _ShadowMap:
    """The figure's depth as the sun sees it, and its mean height over the floor."""

    def __init__(self, parts: Parts, sun: np.ndarray, cell_m: float):
        side = np.cross(sun, [0.0, 0.0, 1.0] if abs(sun[2]) < 0.9 else [1.0, 0.0, 0.0])
        side /= np.linalg.norm(side)
        self.R_light_world = np.stack([side, np.cross(sun, side), -sun])
        self.cell_m = cell_m
        lit = parts.moved(self.R_light_world, np.zeros(3))
        corners = lit.corners()
        low, high = corners.min((0, 1)), corners.max((0, 1))
        self.corner = low[:2] - 4 * self.cell_m
        w, h = np.ceil((high[:2] - self.corner) / self.cell_m).astype(int) + 4
        cells = np.stack(np.meshgrid(np.arange(w), np.arange(h)), -1) * self.cell_m + self.corner
        origin = np.concatenate([cells, np.full((h, w, 1), low[2] - 1)], -1)
        boxes = np.concatenate([corners[..., :2].min(1), corners[..., :2].max(1)], -1)
        boxes = (boxes - np.tile(self.corner, 2)) / self.cell_m
        boxes = np.concatenate([np.floor(boxes[:, :2]), np.ceil(boxes[:, 2:]) + 1], -1).astype(int)
        self.depth = np.full((h, w), np.inf, np.float32)
        for _, where, t, _ in trace_boxes(lit, origin, np.array([0, 0, 1.0]), boxes):
            self.depth[where] = np.minimum(self.depth[where], t + (low[2] - 1))
        self.balls = np.concatenate([parts.a, parts.b])
        self.radii = np.concatenate([parts.radius_a, parts.radius_b])

    def _cells(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which points (n, 3) fall inside the map, their flat cells, and their depth along the light."""
        h, w = self.depth.shape
        cell = points @ self.R_light_world[:2].T
        cell -= self.corner
        x, y = np.round(cell / self.cell_m).astype(np.int32).T
        inside = np.nonzero((x > 0) & (y > 0) & (x < w - 1) & (y < h - 1))[0]
        return inside, y[inside] * w + x[inside], points[inside] @ self.R_light_world[2]

    def lit(self, points: np.ndarray) -> np.ndarray:
        """(n,) in [0, 1], how much of the sun reaches points (n, 3) on the figure: five neighbouring cells vote."""
        light = np.ones(len(points), np.float32)
        inside, cell, depth = self._cells(points)
        w = self.depth.shape[1]
        flat, behind = self.depth.ravel(), np.zeros(len(inside), np.float32)
        for step in (0, -w - 1, 1 - w, w - 1, w + 1):
            behind += flat[cell + step] < depth - 0.012
        light[inside] -= behind / 5
        return light

    def lit_floor(self, points: np.ndarray) -> np.ndarray:
        """As `lit` for points on the floor, which lies behind every part of the figure."""
        light = np.ones(len(points), np.float32)
        inside, cell, _ = self._cells(points)
        light[inside] -= cv2.blur(np.isfinite(self.depth).astype(np.float32), (3, 3)).ravel()[cell]
        return light

    def open_sky(self, points: np.ndarray) -> np.ndarray:
        """(n,) in (0, 1], how much even light reaches floor points (n, 3).

        A ball of radius r at height h and distance d takes r^2 h / d^3 of a horizontal surface's sky.
        """
        near = self.balls[:, 1] < 0.5
        blocked = np.zeros(len(points))
        if near.any():
            centre, reach = self.balls[near].mean(0), np.ptp(self.balls[near], 0).max() + 0.7
            close = np.nonzero(np.hypot(points[:, 0] - centre[0], points[:, 2] - centre[2]) < reach)[0]
            x, y, z = np.ascontiguousarray(points[close].T)
            taken = np.zeros(len(close))
            for ball, radius in zip(self.balls[near], self.radii[near], strict=True):
                d2 = (x - ball[0]) ** 2 + (y - ball[1]) ** 2 + (z - ball[2]) ** 2
                height = max(float(ball[1]), 0.3 * radius)
                taken += np.minimum(radius**2 * height / d2 / np.sqrt(d2), 1.0) * 0.5
            blocked[close] = taken
        return np.exp(-0.8 * blocked)


def _pixel_boxes(camera: Camera, corners_cam: np.ndarray, scale: int) -> np.ndarray:
    """(N, 4) ints left, top, right, bottom (exclusive) on the fine grid that hold corners (N, C, 3), camera axes."""
    w, h = camera.image_size
    clipped = corners_cam.copy()
    clipped[..., 2] = np.maximum(clipped[..., 2], 0.05)
    xy = (camera.project_camera(clipped) + 0.5) * scale
    low = np.floor(xy.min(1)) - 1
    high = np.ceil(xy.max(1)) + 1
    gone = (corners_cam[..., 2] < 0.05).all(1)
    size = np.array([w, h]) * scale
    boxes = np.concatenate([np.clip(low, 0, size), np.clip(high, 0, size)], -1)
    boxes[gone] = 0
    return boxes.astype(int)


def _averaged(image: np.ndarray, scale: int) -> np.ndarray:
    """Each scale x scale block's mean."""
    if scale == 1:
        return image
    return cv2.resize(image, (image.shape[1] // scale, image.shape[0] // scale), interpolation=cv2.INTER_AREA)


_SRGB = (255 * (np.arange(4096) / 4095) ** (1 / 2.2) + 0.5).astype(np.uint8)


def _to_srgb(image: np.ndarray) -> np.ndarray:
    """uint8 of linear RGB in [0, 1], by the plain 2.2 power and a table."""
    return _SRGB[(np.clip(image, 0, 1) * 4095).astype(np.int32)]
