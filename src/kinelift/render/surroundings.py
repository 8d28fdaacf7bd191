"""Furnished surroundings for a camera that moves: painted walls and floor, boxes to look past, as textures.

Every surface is painted once; a picture looks its colours up where the rays meet it, each at the sharpness that the
pixel can resolve, so that patterns neither flicker nor swim. World axes are Y up, metres, the floor at y = 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from kinelift.render.bodies import Look, linear
from kinelift.render.room import floor_pattern

_TEXEL_M = 0.01
_WALL_M = 4.0  # painted height of the walls
_FACE_M = 1.6  # the longest edge of a box
_LEVELS = 6
_FACING = (0.80, 0.90, 1.0, 0.94, 0.86)  # light on what faces +-x, +-z, and on a box's top


@dataclass(frozen=True, eq=False)
class View:
    """What rays (h, w, 3) see: linear RGB, floor points x, z (NaN off the floor), and the rays' lengths to it."""

    color: np.ndarray
    floor_xz: np.ndarray
    depth: np.ndarray


class Surroundings:
    """A square room with posters, shelves and boxes, drawn at random.

    Args:
        look: Its floor, wall colour, light and size; its seed is not used here.
        seed: Of everything else; the same seed gives the same room.
        boxes: How many stand about.
        clear: (N, 2) points x, z in metres that stay free within 0.8 m: where people walk and the camera goes.
    """

    def __init__(self, look: Look, seed: int = 0, boxes: int = 12, clear: np.ndarray | None = None):
        rng = np.random.default_rng(seed)
        self.look, self._half = look, max(look.room_m, 0.5)
        self._low, self._high = _boxes(rng, self._half, boxes, np.zeros((0, 2)) if clear is None else clear)
        side, wall, face = (int(np.ceil(m / _TEXEL_M)) for m in (2 * self._half, _WALL_M, _FACE_M))
        height = max(side + 4 * wall, face * len(self._low))
        atlas = np.zeros((height, side + 5 * face, 3), np.float32)
        atlas[:side, :side] = _floor_paint(rng, side, look, self._half)
        for i in range(4):
            atlas[side + i * wall : side + (i + 1) * wall, :side] = _wall_paint(rng, side, wall, look) * _FACING[i]
        for b in range(len(self._low)):
            base = linear(tuple(rng.uniform(0.15, 0.9, 3)))
            for i in range(5):
                place = (slice(b * face, (b + 1) * face), slice(side + i * face, side + (i + 1) * face))
                atlas[place] = _box_paint(rng, face, base) * _FACING[i]
        sun = np.asarray(look.sun_direction) / np.linalg.norm(look.sun_direction)
        atlas *= look.sky + 0.55 * look.sun
        atlas[:side, :side] *= (look.sky + look.sun * sun[1]) / (look.sky + 0.55 * look.sun)
        self._side, self._wall, self._face = side, wall, face
        self._pyramid = [np.clip(atlas, 0, 1)]
        while len(self._pyramid) < _LEVELS:
            h, w = self._pyramid[-1].shape[:2]
            half = cv2.resize(self._pyramid[-1], ((w + 1) // 2, (h + 1) // 2), interpolation=cv2.INTER_AREA)
            self._pyramid.append(np.asarray(half))

    def seen(self, origin: np.ndarray, rays: np.ndarray, pixel: float) -> View:
        """What rays (h, w, 3) in world axes from `origin` (3,) see; `pixel` is one pixel's width at length 1."""
        rays = np.where(np.abs(rays) < 1e-9, 1e-9, rays).astype(np.float32)
        origin = origin.astype(np.float32)
        depth, surface = self._room(origin, rays)
        face, which = self._furniture(origin, rays, depth)
        hit = origin + depth[..., None] * rays
        u, v = self._on_room(hit, surface)
        on_box = which >= 0
        if on_box.any():
            u[on_box], v[on_box] = self._on_boxes(hit[on_box], which[on_box], face[on_box])
            surface[on_box] = face[on_box]
        color = self._painted(u, v, self._footprint(rays, depth, surface, pixel))
        on_floor = (surface == 5) & ~on_box
        floor_xz = np.where(on_floor[..., None], hit[..., ::2], np.float32(np.nan))
        return View(color, floor_xz, depth)

    def _room(self, origin: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Length of the rays to the room, and what they meet: walls 0 to 3 (-x, +x, -z, +z) or 5, the floor."""
        to_x, to_z = ((np.sign(rays[..., i]) * self._half - origin[i]) / rays[..., i] for i in (0, 2))
        to_x, to_z = (np.where(t > 0, t, 1e3) for t in (to_x, to_z))
        surface = np.where(to_x < to_z, rays[..., 0] > 0, 2 + (rays[..., 2] > 0)).astype(np.int32)
        depth = np.minimum(to_x, to_z)
        to_floor = np.where(rays[..., 1] < 0, -origin[1] / rays[..., 1], 1e3)
        surface[to_floor < depth] = 5
        return np.minimum(depth, to_floor), surface

    def _furniture(self, origin: np.ndarray, rays: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Faces (0 to 3 as walls, 4 the top) and numbers (-1 for none) of boxes met; `depth` becomes theirs there."""
        face, which = np.full(depth.shape, -1, np.int32), np.full(depth.shape, -1, np.int32)
        length = np.linalg.norm(rays, axis=-1)
        for b, (low, high) in enumerate(zip(self._low, self._high, strict=True)):
            towards, radius = (low + high) / 2 - origin, np.linalg.norm(high - low) / 2
            away = np.linalg.norm(towards)
            if away <= radius:
                continue
            near = np.nonzero(rays @ towards > length * away * np.sqrt(1 - (radius / away) ** 2))
            d = rays[near]
            t0, t1 = (low - origin) / d, (high - origin) / d
            enter, leave = np.minimum(t0, t1), np.maximum(t0, t1)
            axis = enter.argmax(-1)
            t = enter.max(-1)
            met = (t < leave.min(-1)) & (t > 0.02) & (t < depth[near])
            at = tuple(n[met] for n in near)
            depth[at], which[at] = t[met], b
            side = np.take_along_axis(d, axis[:, None], 1)[met, 0] < 0
            face[at] = np.where(axis[met] == 1, 4, (axis[met] == 2) * 2 + side)
        return face, which

    def _on_room(self, hit: np.ndarray, surface: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Atlas places of points on floor and walls, texels."""
        x, y, z = np.moveaxis(hit, -1, 0)
        on_floor = surface == 5
        along = np.where(on_floor | (surface >= 2), x, z)
        u = np.clip((along + self._half) / _TEXEL_M, 0.5, self._side - 1.5)
        down = np.clip((_WALL_M - y) / _TEXEL_M, 0.5, self._wall - 1.5)
        v = np.where(on_floor, (z + self._half) / _TEXEL_M, self._side + surface * np.float32(self._wall) + down)
        return u.astype(np.float32), v.astype(np.float32)

    def _on_boxes(self, hit: np.ndarray, which: np.ndarray, face: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        local = hit - self._low[which]
        x, y, z = np.clip(local / _TEXEL_M, 0.5, self._face - 1.5).T
        u = np.where(face < 2, z, x) + self._side + face * self._face
        v = np.where(face == 4, z, self._face - 1 - y) + which * self._face
        return u, v

    def _footprint(self, rays: np.ndarray, depth: np.ndarray, surface: np.ndarray, pixel: float) -> np.ndarray:
        """Texels that a pixel covers: the mean of how wide and how long."""
        axis = np.array([0, 0, 2, 2, 1, 1])[surface]
        slant = np.abs(np.take_along_axis(rays, axis[..., None], -1)[..., 0]) / np.linalg.norm(rays, axis=-1)
        return depth * pixel / _TEXEL_M / np.sqrt(np.maximum(slant, 0.02))

    def _painted(self, u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> np.ndarray:
        level = np.clip(np.log2(np.maximum(footprint, 1)), 0, len(self._pyramid) - 1)
        color = np.zeros((*u.shape, 3), np.float32)
        for i, paint in enumerate(self._pyramid):
            share = np.clip(1 - np.abs(level - i), 0, 1)
            if share.any():
                s = np.float32(0.5**i)
                found = cv2.remap(paint, (u + 0.5) * s - 0.5, (v + 0.5) * s - 0.5, cv2.INTER_LINEAR)
                color += share[..., None] * found
        return color


def _boxes(rng: np.random.Generator, half: float, count: int, clear: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest corners (N, 3) of boxes; those that find no room are left out."""
    low: list[np.ndarray] = []
    high: list[np.ndarray] = []
    for _ in range(20 * count):
        size = rng.uniform([0.3, 0.3, 0.3], [1.0, _FACE_M, 1.0])
        x, z = rng.uniform(-half, half - size[[0, 2]])
        corner = np.array([x, 0, z])
        apart = np.maximum(np.maximum(corner[::2] - clear, clear - (corner + size)[::2]), 0)
        free = np.linalg.norm(apart, axis=-1).min(initial=np.inf) > 0.8
        others = ((np.array(low).reshape(-1, 3) < corner + size) & (np.array(high).reshape(-1, 3) > corner)).all(-1)
        if free and not others.any():
            low.append(corner)
            high.append(corner + size)
        if len(low) == count:
            break
    return np.array(low, np.float32).reshape(-1, 3), np.array(high, np.float32).reshape(-1, 3)


def _noise(rng: np.random.Generator, w: int, h: int, metres: float, depth: float) -> np.ndarray:
    """(h, w, 1) brightness about 1, with features from `metres` down to an eighth of it."""
    out = np.ones((h, w), np.float32)
    for octave in range(4):
        coarse = (np.array([h, w]) * _TEXEL_M / metres * 2**octave).astype(int) + 2
        grid = (rng.random(coarse) - 0.5).astype(np.float32)
        out += depth * 0.6**octave * np.asarray(cv2.resize(grid, (w, h), interpolation=cv2.INTER_CUBIC))
    return np.maximum(out, 0)[..., None]


def _shapes(rng: np.random.Generator, image: np.ndarray, count: int) -> None:
    """Paint overlapping rectangles, discs and lines into (h, w, 3)."""
    h, w = image.shape[:2]
    flat = np.ascontiguousarray(image)
    for _ in range(count):
        color = tuple(float(c) for c in linear(tuple(rng.uniform(0.05, 0.95, 3))))
        (x0, x1), (y0, y1) = rng.integers(0, w, 2), rng.integers(0, h, 2)
        kind = rng.integers(3)
        if kind == 0:
            cv2.rectangle(flat, (int(x0), int(y0)), (int(x1), int(y1)), color, -1)
        elif kind == 1:
            cv2.circle(flat, (int(x0), int(y0)), int(rng.integers(2, max(3, min(w, h) // 3))), color, -1, cv2.LINE_AA)
        else:
            cv2.line(flat, (int(x0), int(y0)), (int(x1), int(y1)), color, int(rng.integers(1, 5)), cv2.LINE_AA)
    image[:] = flat


def _floor_paint(rng: np.random.Generator, side: int, look: Look, half: float) -> np.ndarray:
    at = (np.arange(side) + 0.5) * _TEXEL_M - half
    x, z = np.meshgrid(at, at)
    paint = (linear(look.floor_color) * floor_pattern(x, z, look)[..., None]).astype(np.float32)
    paint *= _noise(rng, side, side, 0.7, 0.35)
    for _ in range(3):  # rugs
        w, h = rng.integers(80, 200, 2)
        left, top = rng.integers(0, max(1, side - w)), rng.integers(0, max(1, side - h))
        rug = paint[top : top + h, left : left + w]
        rug[:] = linear(tuple(rng.uniform(0.2, 0.8, 3)))
        _shapes(rng, rug, 12)
        rug *= _noise(rng, rug.shape[1], rug.shape[0], 0.1, 0.4)
    return paint


def _wall_paint(rng: np.random.Generator, w: int, h: int, look: Look) -> np.ndarray:
    paint = np.tile(linear(look.wall_color).astype(np.float32), (h, w, 1)) * _noise(rng, w, h, 1.5, 0.12)
    for _ in range(max(3, w // 130)):
        pw, ph = int(rng.integers(40, 130)), int(rng.integers(40, 130))
        left, top = rng.integers(0, max(1, w - pw)), rng.integers(60, max(61, h - ph - 60))
        poster = paint[top : top + ph, left : left + pw]
        poster[:] = 0.05
        inner = poster[3:-3, 3:-3]
        inner[:] = linear(tuple(rng.uniform(0.2, 0.95, 3)))
        _shapes(rng, inner, int(rng.integers(4, 14)))
    paint[-9:] = linear((0.93, 0.92, 0.90)) * 0.8
    return paint


def _box_paint(rng: np.random.Generator, side: int, base: np.ndarray) -> np.ndarray:
    paint = np.tile(base.astype(np.float32), (side, side, 1))
    if rng.random() < 0.5:  # shelves of books
        for top in range(0, side, 32):
            left = 0
            while left < side:
                width = int(rng.integers(3, 9))
                paint[top + int(rng.integers(2, 10)) : top + 30, left : left + width] = rng.uniform(0.02, 0.7, 3)
                left += width
    else:
        _shapes(rng, paint, 8)
    paint[:2] = paint[:, :2] = 0.02
    return paint * _noise(rng, side, side, 0.25, 0.25)
