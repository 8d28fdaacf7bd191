"""Round cones and where rays meet them: the only shape that bodies are made of.

A round cone is the hull of two balls. A linear warp of space about it gives flattened limbs and, with both balls in
one place, ellipsoids. Rays meet it in closed form, so a picture needs no mesh and no marching.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_FAR = np.inf


@dataclass(frozen=True, eq=False)
class Parts:
    """N round cones in one frame of reference.

    Attributes:
        a, b: (N, 3) metres, the balls' centres.
        radius_a, radius_b: (N,) metres, the balls' radii where the warp is the identity; the widest extent.
        warp: (N, 3, 3) symmetric; x -> warp @ x makes the part round (eigenvalues >= 1: the part is thinner there).
        color_a, color_b: (N, 3) linear RGB in [0, 1] on a's side and on b's.
        split: (N,) where along a -> b, in [0, 1], the one colour ends and the other begins.
        group: (N,) int; neighbours in one group are shaded as one smooth skin; negative = keep every edge.
    """

    a: np.ndarray
    b: np.ndarray
    radius_a: np.ndarray
    radius_b: np.ndarray
    warp: np.ndarray
    color_a: np.ndarray
    color_b: np.ndarray
    split: np.ndarray
    group: np.ndarray

    def __len__(self) -> int:
        return len(self.a)

    @property
    def bent(self) -> np.ndarray:
        """(N,) bool: parts whose warp is not the identity."""
        return np.abs(self.warp - np.eye(3)).max((1, 2)) > 1e-9

    def moved(self, R: np.ndarray, t: np.ndarray) -> Parts:
        """The same parts in another frame, x_new = R @ x + t."""
        return Parts(
            self.a @ R.T + t,
            self.b @ R.T + t,
            self.radius_a,
            self.radius_b,
            R @ self.warp @ R.T,
            self.color_a,
            self.color_b,
            self.split,
            self.group,
        )

    @classmethod
    def joined(cls, figures: list[Parts]) -> Parts:
        """All parts of several figures, their groups kept apart."""
        groups = [np.where(f.group < 0, -1, f.group + 100 * i) for i, f in enumerate(figures)]

        def every(name: str) -> np.ndarray:
            return np.concatenate([getattr(f, name) for f in figures])

        return cls(
            a=every("a"),
            b=every("b"),
            radius_a=every("radius_a"),
            radius_b=every("radius_b"),
            warp=every("warp"),
            color_a=every("color_a"),
            color_b=every("color_b"),
            split=every("split"),
            group=np.concatenate(groups),
        )

    def corners(self) -> np.ndarray:
        """(N, 16, 3) corners of the two balls' boxes; their hull holds the part."""
        signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
        at_a = self.a[:, None] + signs * self.radius_a[:, None, None]
        at_b = self.b[:, None] + signs * self.radius_b[:, None, None]
        return np.concatenate([at_a, at_b], 1)


def warp_matrix(*flattened: tuple[np.ndarray, float]) -> np.ndarray:
    """(3, 3) warp of a part that is thinner by each factor (<= 1) along each unit direction (3,)."""
    m = np.eye(3)
    for direction, factor in flattened:
        m += (1 / factor - 1) * np.outer(direction, direction)
    return m


def hit_round_cone(
    origin: np.ndarray, direction: np.ndarray, a: np.ndarray, b: np.ndarray, radius_a: float, radius_b: float
) -> tuple[np.ndarray, np.ndarray]:
    """Where rays first meet one round cone.

    Rays start at `origin` (..., 3) along unit `direction` (..., 3), the two broadcasting. Returns the distance (...)
    (inf = a miss) and the place along a -> b (...), 0 to 1, from which the surface's normal points away. The formula
    is I. Quilez's (iquilezles.org, "intersectors"): the tangent cone first, then the two balls.
    """
    ba = b - a
    oa, ob = origin - a, origin - b
    rr = radius_a - radius_b
    m0 = float(ba @ ba)
    if m0 <= rr * rr * 1.0001:  # one ball holds the other
        t = _hit_ball(oa if rr >= 0 else ob, direction, max(radius_a, radius_b))
        return t, np.full(t.shape, float(rr < 0))
    m1, m2, m3 = oa @ ba, direction @ ba, _dot(direction, oa)
    d2 = m0 - rr * rr
    k2 = d2 - m2 * m2
    k1 = d2 * m3 - m1 * m2 + m2 * rr * radius_a
    k0 = d2 * _dot(oa, oa) - m1 * m1 + m1 * (2 * rr * radius_a) - m0 * radius_a**2
    h = k1 * k1 - k0 * k2
    k2 = np.where(np.abs(k2) < 1e-12, 1e-12, k2)
    t = (-np.sqrt(np.maximum(h, 0)) - k1) / k2
    y = m1 - radius_a * rr + t * m2
    side = (h >= 0) & (y > 0) & (y < d2)
    ta, tb = _hit_ball(oa, direction, radius_a), _hit_ball(ob, direction, radius_b)
    return np.where(side, t, np.minimum(ta, tb)), np.where(side, y / d2, ta > tb)


def normals(parts: Parts, part: np.ndarray, along: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Unit outward normals (n, 3) at surface points (n, 3) of parts (n,) at places along them (n,)."""
    centre = parts.a[part] + along[:, None] * (parts.b - parts.a)[part]
    squared = np.einsum("nij,njk->nik", parts.warp, parts.warp)
    normal = np.einsum("nij,nj->ni", squared[part], points - centre)
    return normal / np.maximum(np.sqrt(_dot(normal, normal)), 1e-12)[:, None]


def _dot(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return np.einsum("...i,...i->...", p, q)


def _hit_ball(from_centre: np.ndarray, direction: np.ndarray, radius: float) -> np.ndarray:
    m = _dot(direction, from_centre)
    h = m * m - _dot(from_centre, from_centre) + radius**2
    return np.where(h > 0, -m - np.sqrt(np.maximum(h, 0)), _FAR)


def trace_boxes(
    parts: Parts, origin: np.ndarray, direction: np.ndarray, boxes: np.ndarray
) -> Iterator[tuple[int, tuple[slice, slice], np.ndarray, np.ndarray]]:
    """Meet each part with the rays of its own box in the picture.

    `origin` (3,) or (H, W, 3) and `direction` (H, W, 3) or (3,), not of unit length: distances come in its units.
    `boxes` (N, 4) ints: left, top, right, bottom (exclusive). Yields (part, (rows, columns), distance (h, w), place
    along the part (h, w)).
    """
    length = np.sqrt(_dot(direction, direction))
    unit = direction / length[..., None]
    bent = parts.bent
    for i, (x0, y0, x1, y1) in enumerate(boxes):
        if x1 <= x0 or y1 <= y0:
            continue
        where = (slice(y0, y1), slice(x0, x1))
        o = origin[where] if origin.ndim == 3 else origin
        d, speed = (unit[where], length[where]) if unit.ndim == 3 else (unit, length)
        a, b = parts.a[i], parts.b[i]
        if bent[i]:
            warp = parts.warp[i]
            o, d, a, b = o @ warp, d @ warp, warp @ a, warp @ b
            stretch = np.sqrt(_dot(d, d))
            d, speed = d / stretch[..., None], speed * stretch
        t, along = hit_round_cone(o, d, a, b, parts.radius_a[i], parts.radius_b[i])
        yield i, where, t / speed, along
