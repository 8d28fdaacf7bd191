"""Figures to look at: a 2D pose over its picture, a 3D pose on a turntable, a sheet and a GIF of them.

Left is blue, right orange, the midline grey. The turntable's camera stands still and looks slightly down; the pose
turns before it, so all views share one scale. Everything is drawn twice too large and scaled down.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from kinelift.render.views import side_color
from kinelift.skeleton import BODY26, H36M17, Skeleton

BACKGROUND = np.array([247.0, 247.0, 249.0])
_GRID, _INK = np.array([196.0, 200.0, 208.0]), (92, 96, 106)
_FINER = 2  # drawn so many times too large, then scaled down
_SUB = 4  # bits of a pixel's fraction in OpenCV's drawing
# Metres: a limb's and a joint's thickness, the head's ball, the floor's squares, its depth below the lowest joint.
_LIMB, _JOINT, _HEAD, _SQUARE, _SOLE = 0.046, 0.060, 0.105, 0.25, 0.025
_FLOOR_MARGIN = 0.45  # metres of floor around the figure
_DISTANCE = 5.0  # metres from the camera to the turntable's axis
_LOOK_DOWN = np.radians(12.0)
_LONG = 0.2  # metres from which a bone has an edge
_SKULL = np.array([168.0, 170.0, 178.0])
_FAR_FADE = 0.62  # how much of its colour the farthest bone loses

# Where a body26 picture's lines start when spine and chest, which no detector sees, are left out.
_PICTURE_PARENTS = {
    "neck": "pelvis",
    "nose": "neck",
    "left_ear": "nose",
    "right_ear": "nose",
    "left_shoulder": "neck",
    "right_shoulder": "neck",
}


def bones(skeleton: Skeleton, given: np.ndarray) -> list[tuple[int, int]]:
    """(joint, ancestor) pairs among the joints that are `given` (J,) bool: each with its nearest given ancestor."""
    out = []
    for j in np.flatnonzero(given):
        p = skeleton.parents[j]
        while p >= 0 and not given[p]:
            p = skeleton.parents[p]
        if p >= 0:
            out.append((int(j), int(p)))
    return out


def pose_on_picture(image: np.ndarray, xy: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """A copy of the picture (H, W, 3) uint8 RGB with body26 key points (26, 2) pixels drawn on it.

    Points of `confidence` (26,) 0 or without a place are left out; those below 0.5 are drawn as by a ghost.
    """
    seen = (confidence > 0) & np.isfinite(xy).all(1)
    if not seen.any():
        return image.copy()
    places = np.clip(np.where(seen[:, None], xy, 0.0), -1e4, 1e4)
    width = max(1.5, 0.011 * float(np.linalg.norm(np.ptp(places[seen], axis=0))))
    out = image.copy()
    for sure in (False, True):
        layer = out.copy()
        some = [(j, p) for j, p in _picture_lines(seen) if (min(confidence[j], confidence[p]) >= 0.5) == sure]
        dots = [int(j) for j in np.flatnonzero(seen) if (confidence[j] >= 0.5) == sure]
        for edge in (True, False):
            for j, p in some:
                color = (255, 255, 255) if edge else side_color(BODY26, j)
                _line(layer, places[p], places[j], width * (1.7 if edge else 1), color)
            for j in dots:
                color = (255, 255, 255) if edge else side_color(BODY26, j)
                _ball(layer, places[j], width * (1.25 if edge else 0.85), color)
        out = layer if sure else cv2.addWeighted(layer, 0.55, out, 0.45, 0)
    return out


def _picture_lines(seen: np.ndarray) -> list[tuple[int, int]]:
    """(joint, where its line starts) of body26 in a picture; the head hangs on the neck where there is no nose."""
    lines = []
    for j, name in enumerate(BODY26.joints):
        p = BODY26.index(_PICTURE_PARENTS[name]) if name in _PICTURE_PARENTS else BODY26.parents[j]
        if p >= 0 and seen[j] and seen[p] and not (name == "head" and seen[BODY26.index("nose")]):
            lines.append((j, p))
    return lines


@dataclass(frozen=True, eq=False)
class Turntable:
    """A pose on a round floor, seen by one camera while it turns.

    Attributes:
        positions: (J, 3) metres, x right, y up, z towards the viewer; NaN where not given.
        skeleton: Names of the J joints.
        size: (width, height) of a view, pixels.
    """

    positions: np.ndarray
    skeleton: Skeleton
    size: tuple[int, int] = (480, 600)

    @cached_property
    def _given(self) -> np.ndarray:
        return np.isfinite(self.positions).all(1)

    @cached_property
    def _placed(self) -> np.ndarray:
        """(J, 3) with the axis through the middle of the figure and the floor at y = 0."""
        p = self.positions[self._given]
        middle = (p.max(0) + p.min(0)) / 2
        return self.positions - [middle[0], p[:, 1].min() - _SOLE, middle[2]]

    @cached_property
    def _radius(self) -> float:
        p = self._placed[self._given]
        return float(np.linalg.norm(p[:, [0, 2]], axis=1).max())

    @cached_property
    def _frame(self) -> tuple[float, float]:
        """Pixels per unit of the picture plane, and where its horizon lies, so that every view fits."""
        p = self._placed[self._given]
        circle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        r = np.linalg.norm(p[:, [0, 2]], axis=1)[:, None]
        around = np.stack([r * np.cos(circle), np.repeat(p[:, 1:2], 48, 1), r * np.sin(circle)], -1).reshape(-1, 3)
        seen = self._plane(around)[0]
        low, high = seen[:, 1].min(), seen[:, 1].max()
        margin = 1.4 * _HEAD / _DISTANCE
        width, height = (n * _FINER for n in self.size)
        scale = min(width / (2 * (np.abs(seen[:, 0]).max() + margin)), height / (high - low + 2 * margin))
        return scale, height / 2 - scale * (low + high) / 2

    def _plane(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places (..., 2) on the plane one unit before the camera, y down, and distances (...,) of points (..., 3)."""
        down, ahead = np.sin(_LOOK_DOWN), np.cos(_LOOK_DOWN)
        x, y, z = np.moveaxis(points, -1, 0)
        y = y - 0.85
        distance = _DISTANCE - (z * ahead + y * down)
        return np.stack([x, z * down - y * ahead], -1) / distance[..., None], distance

    def _pixels(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (..., 2) of the large drawing, and pixels per metre there (...,)."""
        scale, horizon = self._frame
        at, distance = self._plane(points)
        return at * scale + [self.size[0] * _FINER / 2, horizon], scale / distance

    def view(self, turn_deg: float) -> np.ndarray:
        """(height, width, 3) uint8 RGB after the pose has turned to its own left by `turn_deg` degrees."""
        width, height = self.size
        canvas = _blank(height * _FINER, width * _FINER)
        turned = self._placed @ turn_about_y(turn_deg).T
        self._draw_floor(canvas, turn_deg)
        self._draw_shadow(canvas, turned)
        self._draw_body(canvas, turned)
        return cv2.resize(canvas, self.size, interpolation=cv2.INTER_AREA)

    def _draw_floor(self, canvas: np.ndarray, turn_deg: float) -> None:
        reach = self._radius + _FLOOR_MARGIN
        count = int(np.ceil(reach / _SQUARE))
        steps = np.linspace(-reach, reach, 25)
        R = turn_about_y(turn_deg).T
        for k in range(-count, count + 1):
            for swap in (False, True):
                other = np.full_like(steps, k * _SQUARE)
                flat = np.stack([steps, 0 * steps, other] if not swap else [other, 0 * steps, steps], -1)
                at, _ = self._pixels(flat @ R)
                fade = np.clip(1 - (np.linalg.norm(flat, axis=1) / reach) ** 2, 0, 1)
                for i in np.flatnonzero((fade[1:] > 0) | (fade[:-1] > 0)):
                    share = (fade[i] + fade[i + 1]) / 2
                    color = BACKGROUND + share * (_GRID - BACKGROUND)
                    _line(canvas, at[i], at[i + 1], _FINER * (1.6 if k % 2 == 0 else 0.9), color)

    def _draw_shadow(self, canvas: np.ndarray, turned: np.ndarray) -> None:
        """The figure's own shadow, straight below it, soft."""
        mask = np.zeros(canvas.shape[:2], np.uint8)
        flat = np.where(self._given[:, None], turned * [1, 0, 1], 0.0)
        at, scale = self._pixels(flat)
        for j, p in _lines(self.skeleton, self._given):
            _line(mask, at[p], at[j], 1.6 * _LIMB * scale[j], (255,))
        blur = self.size[0] * _FINER / 55
        reach = int(_LIMB * scale[self._given].max() + 3 * blur)
        low = np.maximum(at[self._given].min(0).astype(int) - reach, 0)
        high = np.maximum(at[self._given].max(0).astype(int) + reach, low + 1)
        some = (slice(low[1], high[1]), slice(low[0], high[0]))
        light = 1 - 0.28 / 255 * cv2.GaussianBlur(mask[some], (0, 0), blur).astype(np.float32)
        canvas[some] = (canvas[some] * light[..., None]).astype(np.uint8)

    def _draw_body(self, canvas: np.ndarray, turned: np.ndarray) -> None:
        """Bones, joints and the head, the farthest first."""
        at, scale = self._pixels(np.where(self._given[:, None], turned, 0.0))
        reach = max(self._radius, 0.3)
        head = _head(self.skeleton, turned)
        given = [int(j) for j in np.flatnonzero(self._given)]
        on_head = [] if head is None else [j for j in given if self.skeleton.joints[j] in _FACE]
        pieces: list[tuple[float, tuple]] = []
        for j, p in _lines(self.skeleton, self._given):
            if self.skeleton.joints[j] not in _FACE or head is None:
                pieces.append((float(turned[[j, p], 2].mean()), ("bone", j, p)))
        for j in given:
            if j not in on_head and (head is None or self.skeleton.joints[j] not in _INSIDE):
                pieces.append((float(turned[j, 2]) + 0.5 * _JOINT, ("joint", j)))
        if head is not None:
            pieces.append((float(head[2]) + _HEAD, ("head",)))
        for depth, piece in sorted(pieces, key=lambda p: p[0]):
            fade = _FAR_FADE * float(np.clip(0.1 - depth / reach, 0, 1))
            if piece[0] == "bone":
                _, j, p = piece
                long = float(np.linalg.norm(turned[j] - turned[p])) > _LONG
                self._draw_bone(canvas, at[p], at[j], _LIMB * scale[[p, j]].mean(), self._color(j), fade, long)
            elif piece[0] == "joint":
                j = piece[1]
                _draw_ball(canvas, at[j], _JOINT * scale[j] / 2, self._color(j), fade)
            elif head is not None:
                self._draw_head(canvas, turned, head, on_head, fade)

    def _draw_head(
        self, canvas: np.ndarray, turned: np.ndarray, head: np.ndarray, on_it: list[int], fade: float
    ) -> None:
        """A ball, and on its near side nose and ears."""
        middle, size = self._pixels(head)
        _draw_ball(canvas, middle, _HEAD * float(size), _SKULL, fade)
        for j in sorted(on_it, key=lambda j: turned[j, 2]):
            if turned[j, 2] > head[2] - 0.02 and self.skeleton.joints[j] != "Head":
                at, scale = self._pixels(turned[j])
                _draw_ball(canvas, at, 0.3 * _JOINT * float(scale), self._color(j), fade)

    def _color(self, j: int) -> np.ndarray:
        return np.array(side_color(self.skeleton, j), float)

    def _draw_bone(
        self, canvas: np.ndarray, a: np.ndarray, b: np.ndarray, width: float, color: np.ndarray, fade: float, edge: bool
    ) -> None:
        """A tube with a brighter line along it; its `edge` clears what lies behind the middle of it."""
        if edge:
            _line(canvas, a + 0.25 * (b - a), b - 0.25 * (b - a), width * 1.5, BACKGROUND)
        _line(canvas, a, b, width, _faded(color * 0.86, fade))
        along = b - a
        across = np.array([-along[1], along[0]]) / max(float(np.linalg.norm(along)), 1e-6)
        across = across if across @ [-0.6, -1.0] > 0 else -across
        lift = 0.17 * width * across
        _line(canvas, a + lift, b + lift, width * 0.42, _faded(color + 0.32 * (255 - color), fade))


def turn_about_y(degrees: float) -> np.ndarray:
    """(3, 3): a turn about the vertical, anticlockwise seen from above: what faces the viewer turns to its own left."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


# Drawn on the head's ball, without bones.
_FACE = {"nose", "left_ear", "right_ear", "Head"}
_INSIDE = {"head", "NeckNose"}


def _lines(skeleton: Skeleton, given: np.ndarray) -> list[tuple[int, int]]:
    """The bones to draw: as `bones`, but body26's shoulders hang on the neck, as they look."""
    pairs = bones(skeleton, given)
    if skeleton.joints != BODY26.joints or not given[BODY26.index("neck")]:
        return pairs
    shoulders = BODY26.indices("left_shoulder", "right_shoulder")
    return [(j, BODY26.index("neck") if j in shoulders else p) for j, p in pairs]


def _blank(height: int, width: int) -> np.ndarray:
    canvas = np.empty((height, width, 3), np.uint8)
    canvas[:] = BACKGROUND.astype(np.uint8)
    return canvas


def _head(skeleton: Skeleton, positions: np.ndarray) -> np.ndarray | None:
    """(3,) the head's middle where the skeleton's names tell it."""
    where = {
        BODY26.joints: lambda: positions[BODY26.index("head")],
        # The crown of the seed's rule lies as far before the nose as above it.
        H36M17.joints: lambda: np.array([0.65, 0.35]) @ positions[H36M17.indices("NeckNose", "Head")],
    }.get(skeleton.joints)
    middle = None if where is None else where()
    return middle if middle is not None and np.isfinite(middle).all() else None


def _faded(color: np.ndarray, fade: float) -> np.ndarray:
    return color + fade * (BACKGROUND - color)


def _fixed(point: np.ndarray) -> tuple[int, int]:
    """OpenCV's fixed-point pixel."""
    x, y = np.round(np.asarray(point) * 2**_SUB)
    return int(x), int(y)


def _value(color: np.ndarray | tuple[int, ...]) -> tuple[float, ...]:
    return tuple(float(c) for c in color)


def _line(canvas: np.ndarray, a: np.ndarray, b: np.ndarray, width: float, color: np.ndarray | tuple[int, ...]) -> None:
    cv2.line(canvas, _fixed(a), _fixed(b), _value(color), max(1, round(width)), cv2.LINE_AA, _SUB)


def _ball(canvas: np.ndarray, at: np.ndarray, radius: float, color: np.ndarray | tuple[int, ...]) -> None:
    cv2.circle(canvas, _fixed(at), max(1, round(radius * 2**_SUB)), _value(color), -1, cv2.LINE_AA, _SUB)


def _draw_ball(canvas: np.ndarray, at: np.ndarray, radius: float, color: np.ndarray, fade: float) -> None:
    """A ball lit from above left."""
    for share in np.linspace(0, 1, 4 + int(radius / 6)):
        tone = color * 0.82 + share * (0.18 * color + 0.38 * (255 - color))
        _ball(canvas, at - share * radius * np.array([0.28, 0.36]), radius * (1 - 0.72 * share), _faded(tone, fade))


def labelled(image: np.ndarray, text: str) -> np.ndarray:
    """A copy of a picture with small words in its upper left corner."""
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.fromarray(image)
    size = max(11, round(image.shape[0] / 28))
    ImageDraw.Draw(picture).text((0.7 * size, 0.6 * size), text, fill=_INK, font=ImageFont.load_default(size))
    return np.asarray(picture)


def close_up(image: np.ndarray, xy: np.ndarray, confidence: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The part of a picture around body26 key points, `size` (width, height) or less, with the pose drawn on it."""
    height, width = image.shape[:2]
    seen = xy[(confidence > 0) & np.isfinite(xy).all(1)]
    inside = np.clip(seen, 0, (width - 1, height - 1)) if len(seen) else np.array([[0, 0], [width, height]], float)
    low, high = inside.min(0), inside.max(0)
    share = size[0] / size[1]
    tall = max(1.4 * (high[1] - low[1]), 1.4 * (high[0] - low[0]) / share, 32.0)
    w, h = min(width, round(tall * share)), min(height, round(tall))
    corner = np.clip((low + high) / 2 - np.array([w, h]) / 2, 0, (width - w, height - h)).astype(int)
    scale = min(size[0] / w, size[1] / h)
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    part = image[corner[1] : corner[1] + h, corner[0] : corner[0] + w]
    part = cv2.resize(part, (max(1, round(w * scale)), max(1, round(h * scale))), interpolation=way)
    return pose_on_picture(part, (xy - corner + 0.5) * scale - 0.5, confidence)


def contact_sheet(picture: np.ndarray, views: Sequence[np.ndarray], columns: int = 6, cell: int = 200) -> np.ndarray:
    """One RGB image: the picture on the left, the views (of one size) in rows `columns` wide, `cell` pixels each.

    The picture must be no taller than the rows together.
    """
    height = round(cell * views[0].shape[0] / views[0].shape[1])
    rows = -(-len(views) // columns)
    grid = _blank(rows * height, columns * cell)
    for i, view in enumerate(views):
        y, x = i // columns * height, i % columns * cell
        grid[y : y + height, x : x + cell] = cv2.resize(view, (cell, height), interpolation=cv2.INTER_AREA)
    gap = cell // 10
    left = _blank(len(grid), picture.shape[1] + 2 * gap)
    top = (len(grid) - picture.shape[0]) // 2
    left[top : top + picture.shape[0], gap : gap + picture.shape[1]] = picture
    return np.concatenate([left, grid], 1)


def png(image: np.ndarray) -> bytes:
    """An RGB picture (H, W, 3) uint8 as PNG."""
    return bytes(cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]))[1])


def gif(images: Sequence[np.ndarray], seconds: float) -> bytes:
    """RGB pictures of one size as an endless GIF, `seconds` a round, one palette for all."""
    from PIL import Image

    some = np.concatenate(images[:: max(1, len(images) // 6)], 1)
    palette = Image.fromarray(some).quantize(255)
    frames = [Image.fromarray(i).quantize(palette=palette, dither=Image.Dither.NONE) for i in images]
    buffer = io.BytesIO()
    step_ms = max(20, 10 * round(100 * seconds / len(frames)))
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=step_ms, loop=0)
    return buffer.getvalue()
