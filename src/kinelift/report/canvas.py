"""Two surfaces that plots are drawn on alike: SVG text, and a Pillow picture for PNG.

Colours are roles, not values: an SVG adapts to light and dark by itself, a picture is drawn in one of both.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from io import BytesIO
from typing import Any, Protocol

import numpy as np

# Role -> (light, dark). "a" and "b" tell two things apart, also for the colour-blind; "limit" is a threshold.
COLOURS = {
    "paper": ("#ffffff", "#14171c"),
    "ink": ("#1c2430", "#e6e9ee"),
    "muted": ("#5b6675", "#9aa5b4"),
    "grid": ("#e3e7ec", "#2a303a"),
    "a": ("#1f66d1", "#74aaff"),
    "b": ("#c2570c", "#ffa85c"),
    "c": ("#5c6f14", "#b9cf5a"),
    "limit": ("#c02f3a", "#ff7b84"),
    "shade": ("#e4f1e8", "#1d2c24"),
    "shade2": ("#c3e2cd", "#29493a"),
    "gap": ("#ececef", "#24272e"),
}
FONT_PX = 12.0
# Mean width of a character of a sans-serif face, in its size.
_CHARACTER = 0.53


def text_width(text: str, size: float = FONT_PX) -> float:
    """About how wide a text is, pixels."""
    return _CHARACTER * size * len(text)


class Canvas(Protocol):
    """What plots draw with: pixels from the top left, roles of `COLOURS`."""

    def rect(self, x: float, y: float, w: float, h: float, role: str) -> None:
        """A filled rectangle."""
        ...

    def line(self, xy: np.ndarray, role: str, width: float = 1.0) -> None:
        """A line through points (N, 2)."""
        ...

    def dots(self, xy: np.ndarray, role: str, radius: float) -> None:
        """Filled circles at points (N, 2)."""
        ...

    def text(
        self, x: float, y: float, text: str, role: str = "muted", anchor: str = "start", bold: bool = False
    ) -> None:
        """Text on the baseline y; `anchor` start, middle or end."""
        ...


@dataclass
class Svg:
    """An SVG of so many pixels; `label` is what a screen reader says."""

    width: float
    height: float
    label: str

    def __post_init__(self) -> None:
        self._parts: list[str] = []

    def rect(self, x: float, y: float, w: float, h: float, role: str) -> None:
        """A filled rectangle."""
        self._parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" fill="var(--{role})"/>')

    def line(self, xy: np.ndarray, role: str, width: float = 1.0) -> None:
        """A line through points (N, 2)."""
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in xy)
        style = f'fill="none" stroke="var(--{role})" stroke-width="{width:g}" stroke-linejoin="round"'
        self._parts.append(f'<polyline points="{points}" {style}/>')

    def dots(self, xy: np.ndarray, role: str, radius: float) -> None:
        """Filled circles at points (N, 2)."""
        circles = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}"/>' for x, y in xy)
        self._parts.append(f'<g fill="var(--{role})">{circles}</g>')

    def text(
        self, x: float, y: float, text: str, role: str = "muted", anchor: str = "start", bold: bool = False
    ) -> None:
        """Text on the baseline y; `anchor` start, middle or end."""
        weight = ' font-weight="600"' if bold else ""
        at = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="var(--{role})"'
        self._parts.append(f"<text {at}{weight}>{escape(text)}</text>")

    def markup(self) -> str:
        """The element for an HTML page, whose style sheet defines the colours (`colour_css`)."""
        head = f'<svg viewBox="0 0 {self.width:g} {self.height:g}" role="img" aria-label="{escape(self.label)}"'
        face = f'font-family="system-ui, sans-serif" font-size="{FONT_PX:g}"'
        return f"{head} {face}>{''.join(self._parts)}</svg>"

    def file(self) -> str:
        """A file of its own, with its colours."""
        head, rest = self.markup().split(">", 1)
        size = f' xmlns="http://www.w3.org/2000/svg" width="{self.width:g}" height="{self.height:g}"'
        paper = '<rect width="100%" height="100%" fill="var(--paper)"/>'
        return f"{head}{size}><style>{colour_css('svg')}</style>{paper}{rest}\n"


def colour_css(selector: str) -> str:
    """Style rules that give the roles their colours, light and dark."""
    light, dark = (";".join(f"--{role}:{pair[i]}" for role, pair in COLOURS.items()) for i in (0, 1))
    return f"{selector}{{{light}}}@media (prefers-color-scheme:dark){{{selector}{{{dark}}}}}"


class Picture:
    """A Pillow picture of so many pixels, drawn at `scale` times the size and with smooth edges."""

    _FINER = 2

    def __init__(self, width: float, height: float, dark: bool = False, scale: int = 2):
        from PIL import Image, ImageDraw

        self._scale, self._dark = scale * self._FINER, dark
        size = (round(width * self._scale), round(height * self._scale))
        self._image = Image.new("RGB", size, self._colour("paper"))
        self._draw = ImageDraw.Draw(self._image)
        self._fonts: dict[bool, Any] = {}

    def _colour(self, role: str) -> str:
        return COLOURS[role][int(self._dark)]

    def rect(self, x: float, y: float, w: float, h: float, role: str) -> None:
        """A filled rectangle."""
        s = self._scale
        if round((x + w) * s) - 1 >= round(x * s) and round((y + h) * s) - 1 >= round(y * s):
            corners = (round(x * s), round(y * s), round((x + w) * s) - 1, round((y + h) * s) - 1)
            self._draw.rectangle(corners, fill=self._colour(role))

    def line(self, xy: np.ndarray, role: str, width: float = 1.0) -> None:
        """A line through points (N, 2)."""
        points = [(float(x), float(y)) for x, y in np.asarray(xy) * self._scale]
        self._draw.line(points, fill=self._colour(role), width=max(round(width * self._scale), 1), joint="curve")

    def dots(self, xy: np.ndarray, role: str, radius: float) -> None:
        """Filled circles at points (N, 2)."""
        r = radius * self._scale
        for x, y in np.asarray(xy) * self._scale:
            self._draw.ellipse((x - r, y - r, x + r, y + r), fill=self._colour(role))

    def text(
        self, x: float, y: float, text: str, role: str = "muted", anchor: str = "start", bold: bool = False
    ) -> None:
        """Text on the baseline y; `anchor` start, middle or end."""
        from PIL import ImageFont

        if bold not in self._fonts:
            self._fonts[bold] = ImageFont.load_default(FONT_PX * self._scale)
        where, colour = (x * self._scale, y * self._scale), self._colour(role)
        stroke = self._scale // 4 if bold else 0
        side = {"start": "ls", "middle": "ms", "end": "rs"}[anchor]
        self._draw.text(where, text, colour, self._fonts[bold], side, stroke_width=stroke, stroke_fill=colour)

    def png(self) -> bytes:
        """The picture as a PNG file."""
        from PIL import Image

        size = (self._image.width // self._FINER, self._image.height // self._FINER)
        out = BytesIO()
        self._image.resize(size, Image.Resampling.BOX).save(out, "PNG", optimize=True)
        return out.getvalue()
