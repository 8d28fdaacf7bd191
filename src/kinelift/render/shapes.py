"""Round cones and where rays meet them: the only shape that bodies are made of.

A round cone is the hull of two balls. A linear warp of space about it gives flattened limbs and, with both balls in
one place, ellipsoids. Rays meet it in closed form, so a picture needs no mesh and no marching.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_FAR = np.inf
_BATCH_RAYS = 50_000


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
    origin: np.ndarray,
    direction: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    radius_a: float | np.ndarray,
    radius_b: float | np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Where rays first meet round cones, one for all rays or one each.

    Rays start at `origin` (..., 3) along unit `direction` (..., 3); `a`, `b` (..., 3) and the radii (...) broadcast
    with them. Returns the distance (...) (inf = a miss) and the place along a -> b (...), 0 to 1, from which the
    surface's normal points away. The formula is I. Quilez's (iquilezles.org, "intersectors"): the tangent cone first,
    then the two balls; where one ball holds the other there is no cone.
    """
    ba, oa = b - a, origin - a
    rr = radius_a - radius_b
    m0, m1, m2, m3, m5 = _dot(ba, ba), _dot(oa, ba), _dot(direction, ba), _dot(direction, oa), _dot(oa, oa)
    d2 = m0 - rr * rr
    k2 = d2 - m2 * m2
    k1 = d2 * m3 - m1 * m2 + m2 * rr * radius_a
    k0 = d2 * m5 - m1 * m1 + m1 * (2 * rr * radius_a) - m0 * radius_a**2
    h = k1 * k1 - k0 * k2
    k2 = np.where(np.abs(k2) < 1e-12, 1e-12, k2)
    t = (-np.sqrt(np.maximum(h, 0)) - k1) / k2
    y = m1 - radius_a * rr + t * m2
    side = (h >= 0) & (y > 0) & (y < d2) & (m0 > rr * rr * 1.0001)
    ta = _hit_ball(m3, m5, radius_a)
    tb = _hit_ball(m3 - m2, m5 - 2 * m1 + m0, radius_b)
    return np.where(side, t, np.minimum(ta, tb)), np.where(side, y / np.maximum(d2, 1e-300), ta > tb)


def normals(parts: Parts, part: np.ndarray, along: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Unit outward normals (n, 3) at surface points (n, 3) of parts (n,) at places along them (n,)."""
    centre = parts.a[part] + along[:, None] * (parts.b - parts.a)[part]
    squared = np.einsum("nij,njk->nik", parts.warp, parts.warp)
    normal = np.einsum("nij,nj->ni", squared[part], points - centre)
    return normal / np.maximum(np.sqrt(_dot(normal, normal)), 1e-12)[:, None]


def _dot(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return np.einsum("...i,...i->...", p, q)


def _hit_ball(ahead: np.ndarray, distance2: np.ndarray, radius: float | np.ndarray) -> np.ndarray:
    """Distance along a ray to a ball, from d . (o - c) and |o - c|^2 of the ray's origin and the ball's centre."""
    h = ahead * ahead - distance2 + radius * radius
    return np.where(h > 0, -ahead - np.sqrt(np.maximum(h, 0)), _FAR)


def trace_boxes(
    parts: Parts, origin: np.ndarray, direction: np.ndarray, boxes: np.ndarray
) -> Iterator[tuple[int, tuple[slice, slice], np.ndarray, np.ndarray]]:
    """Meet each part with the rays of its own box in the picture.

    `origin` (3,) or (H, W, 3) and `direction` (H, W, 3) or (3,), not of unit length: distances come in its units.
    `boxes` (N, 4) ints: left, top, right, bottom (exclusive). Yields (part, (rows, columns), distance (h, w), place
    along the part (h, w)). Parts are met by the handful: small ones alone would cost more to start than to compute.
    """
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    counts = np.where((width > 0) & (height > 0), width * height, 0)
    for batch in _batches(counts):
        yield from _trace_batch(parts, origin, direction, boxes, batch)


def _batches(counts: np.ndarray) -> Iterator[list[int]]:
    """Indices of parts with any rays, in order, together few enough to stay in the processor's cache."""
    batch: list[int] = []
    total = 0
    for i in np.flatnonzero(counts):
        if batch and total + counts[i] > _BATCH_RAYS:
            yield batch
            batch, total = [], 0
        batch.append(int(i))
        total += int(counts[i])
    if batch:
        yield batch


def _trace_batch(
    parts: Parts, origin: np.ndarray, direction: np.ndarray, boxes: np.ndarray, batch: list[int]
) -> Iterator[tuple[int, tuple[slice, slice], np.ndarray, np.ndarray]]:
    where = [(slice(y0, y1), slice(x0, x1)) for x0, y0, x1, y1 in boxes[batch]]
    counts = [(w[0].stop - w[0].start) * (w[1].stop - w[1].start) for w in where]
    warp = parts.warp[batch]

    def each(values: np.ndarray) -> np.ndarray:
        return np.repeat(values, counts, axis=0)

    def warped(rays: np.ndarray) -> np.ndarray:
        """Origins or directions of all the batch's rays (n, 3), each in its part's round space."""
        if rays.ndim == 1:
            return each(rays @ warp)
        boxed = (rays[w].reshape(-1, 3) for w in where)
        return np.concatenate([r @ warp[k] if bent[k] else r for k, r in enumerate(boxed)])

    bent = parts.bent[batch]
    o, d = warped(origin), warped(direction)
    speed = np.sqrt(_dot(d, d))
    a, b = (each(np.einsum("nij,nj->ni", warp, x[batch])) for x in (parts.a, parts.b))
    d /= speed[:, None]
    t, along = hit_round_cone(o, d, a, b, each(parts.radius_a[batch]), each(parts.radius_b[batch]))
    t /= speed
    ends = np.cumsum(counts)
    for k, (i, w) in enumerate(zip(batch, where, strict=True)):
        rays = slice(ends[k] - counts[k], ends[k])
        shape = (w[0].stop - w[0].start, -1)
        yield i, w, t[rays].reshape(shape), along[rays].reshape(shape)
