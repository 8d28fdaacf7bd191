"""Charts as data, and how they are drawn: axes with units, thresholds, shaded stretches, a legend. No plotting library.

A chart is drawn on any `Canvas` at any width, so that the page has one for wide and one for narrow screens.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from kinelift.report.canvas import Canvas, Picture, Svg, text_width
from kinelift.report.series import Span

_TOP, _BOTTOM, _LEFT, _RIGHT, _ROW = 8.0, 34.0, 46.0, 12.0, 18.0


@dataclass(frozen=True, eq=False)
class Line:
    """A curve: `x` and `y` (N,), NaN where it breaks off; `role` its colour. Without a label it has no legend."""

    x: np.ndarray
    y: np.ndarray
    label: str = ""
    role: str = "a"


@dataclass(frozen=True)
class Band:
    """Shaded stretches of the horizontal axis."""

    stretches: list[Span]
    label: str = ""
    role: str = "shade"


@dataclass(frozen=True, eq=False)
class Dots:
    """Single points (N, 2)."""

    xy: np.ndarray
    label: str = ""
    role: str = "a"
    radius: float = 2.5


@dataclass(frozen=True, eq=False)
class Chart:
    """One chart.

    Attributes:
        title: What is drawn, with its unit in brackets.
        x_label: The horizontal axis, with its unit.
        lines, bands, dots: What is drawn; bands lie behind.
        limit: A threshold and what it means, or None.
        y_range: What the vertical axis must at least hold.
        y_most: Where the axis ends at the latest: what is beyond is drawn at its end.
        equal: Both axes in one scale, as for a map.
    """

    title: str
    x_label: str = "time (s)"
    lines: list[Line] = field(default_factory=list)
    bands: list[Band] = field(default_factory=list)
    dots: list[Dots] = field(default_factory=list)
    limit: tuple[float, str] | None = None
    y_range: tuple[float, float] = (0.0, 0.0)
    y_most: float = np.inf
    equal: bool = False


def ticks(low: float, high: float, most: int) -> np.ndarray:
    """At most about `most` round numbers between two: steps of 1, 2 or 5 times a power of ten."""
    raw = max(high - low, 1e-9) / max(most, 1)
    power = 10.0 ** np.floor(np.log10(raw))
    step = power * next(m for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9))
    first, last = np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9)
    return np.arange(first, last + 1) * step + 0.0


def thinned(x: np.ndarray, y: np.ndarray, buckets: int) -> tuple[np.ndarray, np.ndarray]:
    """A curve of at most three points a bucket that looks the same: each bucket's lowest and highest, in their order.

    What lies between two gaps (NaN) of one bucket may close.
    """
    n = len(x)
    if n <= 3 * buckets:
        return x, y
    edges = np.linspace(0, n, buckets + 1).astype(int)[:-1]
    part = np.searchsorted(edges, np.arange(n), side="right") - 1
    given = np.isfinite(y)
    keep = np.zeros(n, bool)
    keep[edges[~np.logical_or.reduceat(given, edges)]] = True
    for sign in (1, -1):
        order = np.lexsort((np.where(given, sign * y, np.inf), part))
        best = order[np.searchsorted(part[order], np.arange(buckets))]
        keep[best[given[best]]] = True
    return x[keep], y[keep]


def _pieces(xy: np.ndarray) -> Iterable[np.ndarray]:
    """The stretches of points (N, 2) without NaN."""
    given = np.isfinite(xy).all(1)
    for a, b in np.flatnonzero(np.diff(np.concatenate([[0], given.astype(int), [0]]))).reshape(-1, 2):
        # A lone point is drawn as a short stroke.
        yield xy[a:b] if b - a > 1 else xy[[a, a]] + np.array([[-0.7, 0], [0.7, 0]])


def _reach(values: Iterable[np.ndarray], least: tuple[float, float] | None = None) -> tuple[float, float]:
    flat = np.concatenate([np.ravel(v) for v in values] or [np.empty(0)])
    flat = flat[np.isfinite(flat)]
    if least is not None:
        flat = np.append(flat, least)
    return (float(flat.min()), float(flat.max())) if len(flat) else (0.0, 1.0)


@dataclass(frozen=True)
class _Frame:
    """Where the plot lies on the canvas, and what its axes hold."""

    left: float
    top: float
    width: float
    height: float
    x: tuple[float, float]
    y: tuple[float, float]

    def place(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Pixels (N, 2) of data."""
        u = (np.asarray(x, float) - self.x[0]) / (self.x[1] - self.x[0])
        v = (np.clip(y, *self.y) - self.y[0]) / (self.y[1] - self.y[0])
        return np.stack([self.left + u * self.width, self.top + (1 - v) * self.height], -1)


def draw(chart: Chart, canvas: Canvas, width: float, height: float, top: float = 0.0) -> None:
    """Draw a chart into the canvas' stretch of `height` pixels from `top` down."""
    title_rows = _legend(chart, canvas, width, top + _TOP)
    frame = _frame(chart, width, height - title_rows - _TOP - _BOTTOM, top + _TOP + title_rows)
    for band in chart.bands:
        _bands(band, canvas, frame)
    _axes(chart, canvas, frame)
    if chart.limit is not None and frame.y[0] <= chart.limit[0] <= frame.y[1]:
        canvas.line(frame.place(np.array(frame.x), np.full(2, chart.limit[0])), "limit", 1)
    for line in chart.lines:
        x, y = (line.x, line.y) if chart.equal else thinned(line.x, line.y, round(frame.width))
        for piece in _pieces(frame.place(x, y)):
            canvas.line(piece, line.role, 1.6)
    for dots in chart.dots:
        canvas.dots(frame.place(dots.xy[:, 0], dots.xy[:, 1]), dots.role, dots.radius)


def _legend(chart: Chart, canvas: Canvas, width: float, top: float) -> float:
    """Title and legend, wrapped into as many rows as the width takes; their height in pixels."""
    canvas.text(0, top + 10, chart.title, "ink", bold=True)
    entries = [(e.label, e.role, False) for e in chart.lines if e.label]
    entries += [(e.label, e.role, False) for e in chart.dots if e.label]
    entries += [(e.label, e.role, True) for e in chart.bands if e.label]
    if chart.limit is not None and chart.limit[1]:
        entries.append((chart.limit[1], "limit", False))
    x, row = text_width(chart.title) * 1.12 + 16, 0
    for label, role, filled in entries:
        needs = 20 + text_width(label) + 12
        if x + needs - 12 > width and x > 0:
            x, row = 0.0, row + 1
        y = top + 10 + row * _ROW
        if filled:
            canvas.rect(x, y - 9, 14, 10, role)
        else:
            canvas.line(np.array([[x, y - 4], [x + 14, y - 4]]), role, 2)
        canvas.text(x + 20, y, label)
        x += needs
    return (row + 1) * _ROW + 4


def _frame(chart: Chart, width: float, height: float, top: float) -> _Frame:
    xs = [*(line.x for line in chart.lines), *(d.xy[:, 0] for d in chart.dots)]
    ys = [*(line.y for line in chart.lines), *(d.xy[:, 1] for d in chart.dots)]
    x0, x1 = _reach(xs)
    y0, y1 = _reach(ys, None if chart.equal else chart.y_range)
    y1 = min(y1, max(chart.y_most, chart.y_range[1]))
    w, h = width - _LEFT - _RIGHT, height
    if not chart.equal:
        y1 = y1 if y1 > y0 else y0 + 1
        return _Frame(_LEFT, top, w, h, (x0, x1 if x1 > x0 else x0 + 1), (y0, y1 + 0.04 * (y1 - y0)))
    metres_per_px = max((x1 - x0) * 1.15 / w, (y1 - y0) * 1.15 / h, 0.5 / min(w, h))
    x, y = ((a + b) / 2 for a, b in ((x0, x1), (y0, y1)))
    dx, dy = metres_per_px * w / 2, metres_per_px * h / 2
    return _Frame(_LEFT, top, w, h, (x - dx, x + dx), (y - dy, y + dy))


def _bands(band: Band, canvas: Canvas, frame: _Frame) -> None:
    """Shade stretches; those less than half a pixel apart become one, so that long clips stay small."""
    if not band.stretches:
        return
    edges = np.clip(np.array(band.stretches), *frame.x)
    px = frame.left + (edges - frame.x[0]) / (frame.x[1] - frame.x[0]) * frame.width
    first = np.concatenate([[True], px[1:, 0] - px[:-1, 1] > 0.5])
    starts = px[first, 0]
    ends = np.maximum.reduceat(px[:, 1], np.flatnonzero(first))
    for a, b in zip(starts, ends, strict=True):
        canvas.rect(a, frame.top, max(b - a, 0.7), frame.height, band.role)


def _axes(chart: Chart, canvas: Canvas, frame: _Frame) -> None:
    ys = ticks(*frame.y, max(int(frame.height / 24), 2))
    for y, label in zip(ys, _labels(ys), strict=True):
        at = frame.place(np.array(frame.x), np.full(2, y))
        canvas.line(at, "grid", 1)
        canvas.text(frame.left - 6, at[0, 1] + 4, label, anchor="end")
    if chart.equal:
        for x in ticks(*frame.x, max(int(frame.width / 64), 2)):
            canvas.line(frame.place(np.full(2, x), np.array(frame.y)), "grid", 1)
    _x_axis(chart, canvas, frame)


def _x_axis(chart: Chart, canvas: Canvas, frame: _Frame) -> None:
    bottom = frame.top + frame.height
    xs = ticks(*frame.x, max(int(frame.width / 64), 2))
    for x, label in zip(xs, _labels(xs), strict=True):
        px = frame.place(np.array([x]), np.array([frame.y[0]]))[0, 0]
        canvas.line(np.array([[px, bottom], [px, bottom + 4]]), "muted", 1)
        canvas.text(px, bottom + 16, label, anchor="middle")
    canvas.line(np.array([[frame.left, bottom], [frame.left + frame.width, bottom]]), "muted", 1)
    canvas.text(frame.left + frame.width, bottom + 30, chart.x_label, anchor="end")


def _labels(values: np.ndarray) -> list[str]:
    """As many digits after the point as the step between ticks needs."""
    step = float(np.diff(values).min()) if len(values) > 1 else 1.0
    digits = max(0, -int(np.floor(np.log10(step) + 1e-9)))
    return [f"{v:.{digits}f}" for v in values]


def chart_height(chart: Chart, width: float) -> float:
    """How high a chart is drawn at a width: maps as their extent asks for, others alike."""
    if not chart.equal:
        return 175.0
    (x0, x1), (y0, y1) = (_reach(a) for a in ([line.x for line in chart.lines], [line.y for line in chart.lines]))
    shape = (y1 - y0 + 0.8) / (x1 - x0 + 0.8)
    return float(np.clip(width * shape, 200, 420)) + _TOP + _BOTTOM + 2 * _ROW


@dataclass(frozen=True)
class Timeline:
    """Rows of marked stretches over a clip: (title, [(role, stretches)]), between two times in seconds."""

    times: Span
    rows: list[tuple[str, list[tuple[str, list[Span]]]]]


def timeline_svg(line: Timeline, width: float) -> str:
    """Where in the clip something is worth a look, as an element for an HTML page."""
    left, height, row = max(text_width(title) for title, _ in line.rows) + 12, 24.0, 12.0
    canvas = Svg(width, height * len(line.rows) + _BOTTOM, "Where in the clip to look")
    bottom = height * len(line.rows)
    frame = _Frame(left, 0, width - left - _RIGHT, bottom, line.times, (0.0, 1.0))
    for i, (title, marks) in enumerate(line.rows):
        top = i * height + (height - row) / 2
        canvas.text(0, top + 10, title)
        canvas.rect(left, top, frame.width, row, "shade2")
        for role, stretches in marks:
            _bands(Band(stretches, role=role), canvas, replace(frame, top=top, height=row))
    _x_axis(Chart("", "time (s)"), canvas, frame)
    return canvas.markup()


def svg(chart: Chart, width: float, height: float) -> str:
    """One chart as an element for an HTML page with `canvas.colour_css`."""
    canvas = Svg(width, height, chart.title)
    draw(chart, canvas, width, height)
    return canvas.markup()


def stacked(charts: list[Chart], heights: list[float], width: float, canvas: Canvas) -> None:
    """Several charts under one another."""
    top = 0.0
    for chart, height in zip(charts, heights, strict=True):
        draw(chart, canvas, width, height, top)
        top += height


def svg_file(charts: list[Chart], heights: list[float], width: float, label: str) -> str:
    """Several charts as one SVG file, light and dark."""
    canvas = Svg(width, sum(heights), label)
    stacked(charts, heights, width, canvas)
    return canvas.file()


def png_file(charts: list[Chart], heights: list[float], width: float, dark: bool = False) -> bytes:
    """Several charts as one PNG file."""
    canvas = Picture(width, sum(heights), dark)
    stacked(charts, heights, width, canvas)
    return canvas.png()
