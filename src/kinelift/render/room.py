"""The room a figure stands in: a floor at y = 0 with a pattern, four walls with pictures, and light on them.

Everything is a function of the world position that a ray meets, so that every camera sees the same room.
"""

from __future__ import annotations

import numpy as np

from kinelift.render.bodies import Look, linear


def _hash(i: np.ndarray, j: np.ndarray, seed: int) -> np.ndarray:
    """Repeatable noise in [0, 1) on integer lattice points."""
    x = (i.astype(np.int64) * 374761393 + j.astype(np.int64) * 668265263 + seed * 1442695041) & 0xFFFFFFFF
    x = ((x ^ (x >> 13)) * 1274126177) & 0xFFFFFFFF
    return ((x ^ (x >> 16)) & 0xFFFF) / 65536.0


def value_noise(x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    """Smooth noise in [0, 1) with features of size 1."""
    i, j = np.floor(x), np.floor(y)
    fx, fy = x - i, y - j
    fx, fy = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy)
    low = _hash(i, j, seed) * (1 - fx) + _hash(i + 1, j, seed) * fx
    high = _hash(i, j + 1, seed) * (1 - fx) + _hash(i + 1, j + 1, seed) * fx
    return low * (1 - fy) + high * fy


def floor_pattern(x: np.ndarray, z: np.ndarray, look: Look) -> np.ndarray:
    """Brightness (...) of the floor's pattern about 1."""
    grain = value_noise(x * 9, z * 9, look.seed) - 0.5
    if look.floor == "planks":
        row = np.floor(x / 0.16)
        shift = _hash(row, np.zeros_like(row), look.seed) * 1.4
        board = np.floor((z + shift) / 1.4)
        tone = 0.26 * (_hash(row, board, look.seed + 1) - 0.5)
        seam = (np.abs(x / 0.16 - row - 0.5) > 0.47) | (np.abs((z + shift) / 1.4 - board - 0.5) > 0.495)
        streak = value_noise(x * 70, z * 3, look.seed + 2) - 0.5
        return (1 + tone + 0.14 * streak) * np.where(seam, 0.68, 1.0)
    if look.floor == "tiles":
        i, j = np.floor(x / 0.5), np.floor(z / 0.5)
        odd = (i + j) % 2
        return 0.78 + 0.34 * odd + 0.10 * grain
    fine = value_noise(x * 45, z * 45, look.seed + 3) - 0.5
    return 1 + 0.22 * grain + 0.25 * fine


def _wall(across: np.ndarray, y: np.ndarray, which: np.ndarray, look: Look) -> np.ndarray:
    """Linear RGB (..., 3) of the walls at a place along them and a height, metres."""
    tone = 0.92 + 0.10 * np.clip(y / 2.6, 0, 1.2) + 0.05 * (value_noise(across * 0.8, y * 0.8, look.seed + 5) - 0.5)
    color = linear(look.wall_color) * tone[..., None]
    skirting = y < 0.09
    color[skirting] = linear((0.93, 0.92, 0.90)) * 0.8
    rng = np.random.default_rng(look.seed)
    for wall in range(4):
        for _ in range(3):
            middle, height = rng.uniform(-0.8, 0.8) * look.room_m, rng.uniform(1.3, 2.0)
            half_w, half_h = rng.uniform(0.2, 0.55), rng.uniform(0.2, 0.5)
            paint = rng.uniform(0.05, 0.75, 3)
            dx, dy = np.abs(across - middle), np.abs(y - height)
            here = which == wall
            color[here & (dx < half_w + 0.03) & (dy < half_h + 0.03)] = 0.08
            color[here & (dx < half_w) & (dy < half_h)] = paint
    return color


def room_colors(origin: np.ndarray, rays: np.ndarray, look: Look) -> tuple[np.ndarray, np.ndarray]:
    """What rays see of the empty room.

    `origin` (3,) world metres, `rays` (..., 3) world directions. Returns linear RGB (..., 3) and the floor points
    (..., 2) x, z in metres, NaN where a ray meets no floor.
    """
    rays = np.where(np.abs(rays) < 1e-9, 1e-9, rays)
    half = max(look.room_m, 0.1)
    far_x = (np.sign(rays[..., 0]) * half - origin[0]) / rays[..., 0]
    far_z = (np.sign(rays[..., 2]) * half - origin[2]) / rays[..., 2]
    far_x, far_z = (np.where(t > 0, t, np.inf) for t in (far_x, far_z))
    to_wall = np.minimum(np.minimum(far_x, far_z), 1e3)
    to_floor = np.where(rays[..., 1] < 0, -origin[1] / rays[..., 1], np.inf)
    on_floor = to_floor < to_wall
    hit = origin + np.minimum(to_wall, to_floor)[..., None] * rays
    x, y, z = np.moveaxis(hit, -1, 0)
    on_x = far_x < far_z
    which = np.where(on_x, (rays[..., 0] > 0) * 1, 2 + (rays[..., 2] > 0) * 1)
    color = _wall(np.where(on_x, z, x), y, which, look)
    facing = np.array([0.90, 0.96, 1.0, 0.94])[which]
    color *= (facing * (look.sky + 0.55 * look.sun))[..., None]
    sun = np.asarray(look.sun_direction) / np.linalg.norm(look.sun_direction)
    corner = np.clip((half - np.maximum(np.abs(x), np.abs(z))) / 0.5, 0, 1)
    light = look.sky * (0.8 + 0.2 * corner) + look.sun * sun[1]
    ground = linear(look.floor_color) * (np.where(on_floor, floor_pattern(x, z, look), 1.0) * light)[..., None]
    color = np.where(on_floor[..., None], ground, color)
    floor_xz = np.where(on_floor[..., None], np.stack([x, z], -1), np.nan)
    return color, floor_xz
