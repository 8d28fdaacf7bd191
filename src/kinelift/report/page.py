"""The report as one HTML page that needs nothing else: a verdict in plain words, where to look, how sure, and plots.

No script, no font and no picture comes from anywhere; light and dark, wide and narrow screens. All text that is not
ours is escaped. Numbers are those of `report.json`: each carries its key and its exact value in a `data` element.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from kinelift.camera import Camera
from kinelift.errors import InputError
from kinelift.records import Take
from kinelift.report import limits
from kinelift.report.advice import judgement, lens_percent, scale_percent
from kinelift.report.canvas import colour_css
from kinelift.report.charts import charts
from kinelift.report.plots import Chart, Timeline, chart_height, png_file, svg, svg_file, timeline_svg
from kinelift.report.quality import clip_quality
from kinelift.report.series import Series, csv_text, series_of
from kinelift.report.style import STYLE

_WIDE, _NARROW = 720.0, 340.0
_SECTIONS = (
    ("Feet", "Where a foot is shaded, it stands. Its height should then be near 0 and its speed 0.",
     ("left_height", "right_height", "left_speed", "right_speed", "sliding")),
    ("Path", "Where the person went, seen from above.", ("path",)),
    ("Agreement with the picture", "How far the result lies from the detected points, how well these were seen, and "
     "the uncertainty that the result itself states (one standard deviation).",
     ("reprojection", "confidence", "uncertainty")),
)  # fmt: skip
_GROUPS = {
    "Seen": ("person_not_seen", "left_arm_hidden", "right_arm_hidden", "left_leg_hidden", "right_leg_hidden"),
    "In the picture": ("feet_outside", "hands_outside", "head_outside"),
    "Feet on the floor": ("feet_slide", "feet_sink", "feet_float", "feet_raised"),
    "Pose as in picture": ("not_in_pose", "sides_exchanged"),
}
_ROLES = {"note": "muted", "care": "b", "bad": "limit"}
_SURE = ("sure", "fairly sure", "unsure", "a guess")
_PARTS = {
    "Hips": ("hip",), "Knees": ("knee",), "Feet": ("ankle", "heel", "toe"), "Shoulders": ("shoulder",),
    "Elbows": ("elbow",), "Hands": ("wrist", "hand"), "Head": ("head", "nose"),
}  # fmt: skip


def report_page(take: Take, index: int = 0) -> str:
    """The HTML page of one person's motion. Needs nothing but the take, which may come from a `motion.npz`."""
    return _page(take, *_measured(take, index))


def write_report(take: Take, folder: Path | str) -> list[Path]:
    """Write `report.html`, `quality.csv`, `quality.svg` and `quality.png` into a folder that exists; their paths.

    Of several people each has its own, `report_p1.html` and so on. Raises `InputError` where it cannot be written.
    """
    out = []
    for index in range(len(take.motions)):
        series, clip = _measured(take, index)
        drawn = list(charts(series, take.camera).values())
        heights = [chart_height(c, _WIDE) for c in drawn]
        end = "" if len(take.motions) == 1 else f"_p{index + 1}"
        for name, content in (
            (f"report{end}.html", _page(take, series, clip).encode()),
            (f"quality{end}.csv", csv_text(series).encode()),
            (f"quality{end}.svg", svg_file(drawn, heights, _WIDE, "Quality over time").encode()),
            (f"quality{end}.png", png_file(drawn, heights, _WIDE)),
        ):
            path = Path(folder) / name
            try:
                path.write_bytes(content)
            except OSError as e:
                raise InputError(f"{path}: cannot be written ({e.strerror or e})") from None
            out.append(path)
    return out


def judged_report(take: Take, index: int = 0) -> dict[str, Any]:
    """The take's report with `verdict` and `advice`, as `report.json` holds them."""
    series, clip = _measured(take, index)
    return {**clip, **judgement(take, series, clip)}


def _measured(take: Take, index: int) -> tuple[Series, dict[str, Any]]:
    """Series, and the numbers of the clip: the take's own report where it has one."""
    series, seen = series_of(take, index)
    clip = clip_quality(take.motions[index], series, seen, take.camera)
    return series, clip | (take.report if len(take.motions) == 1 else {})


def _page(take: Take, s: Series, clip: dict[str, Any]) -> str:
    judged = judgement(take, s, clip)
    name = str(take.meta.get("input", "motion"))
    drawn = charts(s, take.camera)
    plots = "".join(
        f"<section><h2>{title}</h2><p>{words}</p>{''.join(_figure(drawn[n]) for n in names)}</section>"
        for title, words, names in _SECTIONS
    )
    body = [
        _verdict(name, judged, clip),
        _tiles(clip),
        _advice(judged["advice"], s),
        _certainty(s),
        _sources(take, clip),
        plots,
        _by_hand(take),
        _details(take, clip),
    ]
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(name)}: kinelift report</title><style>{colour_css(':root')}{STYLE}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )


def _number(key: str, value: Any, digits: int, unit: str = "") -> str:
    """A number of the report: rounded to read, exact in its `value`."""
    if value is None:
        return "not measured"
    if not isinstance(value, int | float):
        return escape(str(value))
    return f'<data class="{escape(key)}" value="{value!r}">{value + 0.0:.{digits}f}</data>{unit}'


def _verdict(name: str, judged: dict[str, Any], clip: dict[str, Any]) -> str:
    verdict = judged["verdict"]
    sentences = [
        _graded(
            clip.get("reprojection_error_percent"), (limits.REPROJECTION_PERCENT, limits.LOST_PERCENT),
            ("The motion follows the picture closely", "The motion follows the picture roughly",
             "The motion does not follow the picture"),
            "reprojection_error_percent", " % of body height away",
        ),
        _graded(
            clip.get("foot_sliding_mm_per_frame"), (limits.SLIDING_MM / 2, limits.SLIDING_MM),
            ("planted feet keep still", "planted feet slide a little", "planted feet slide visibly"),
            "foot_sliding_mm_per_frame", " mm a frame",
        ),
    ]  # fmt: skip
    share = _number("sure_percent", verdict["sure_percent"], 0, " %")
    sentences.append(f"in {share} of the frames nothing speaks against the result")
    text = "; ".join(x for x in sentences if x)
    return (
        f'<header class="{verdict["level"]}"><p class="name">{escape(name)}</p><h1>{escape(verdict["grade"])}</h1>'
        f"<p>{text}.</p></header>"
    )


def _graded(value: Any, bounds: tuple[float, float], words: tuple[str, str, str], key: str, unit: str) -> str:
    """A number as the words for where it lies between two bounds."""
    if not isinstance(value, int | float):
        return ""
    return f"{words[int(np.searchsorted(bounds, value))]} ({_number(key, value, 1, unit)})"


def _tiles(clip: dict[str, Any]) -> str:
    root = clip["root"]
    rows = (
        ("Length", "seconds", clip["seconds"], 1, " s", f"{clip['frames']} frames, {clip['fps']:.4g} a second"),
        ("Person seen", "detected_percent", clip["detected_percent"], 0, " %", "of the frames"),
        ("Off the picture", "reprojection_error_px", clip["reprojection_error_px"], 1, " px", "the usual joint"),
        (
            "Feet slide",
            "foot_sliding_mm_per_frame",
            clip["foot_sliding_mm_per_frame"],
            1,
            " mm",
            "a frame of 30 a second",
        ),
        ("Feet sink", "penetration_mm", clip["penetration_mm"], 1, " mm", "on average"),
        ("Feet float", "float_mm", clip["float_mm"], 1, " mm", "on average, while planted"),
        ("Trembling", "jitter_10m_s3", clip["jitter_10m_s3"], 1, "", "people: 3 to 10"),
        ("Path", "path_m", root["path_m"], 2, " m", f"from start to end {root['travel_m']:.2f} m"),
    )
    tiles = "".join(
        f"<div><dt>{label}</dt><dd>{_number(key, value, digits, unit)}</dd><small>{escape(note)}</small></div>"
        for label, key, value, digits, unit, note in rows
    )
    return f'<dl class="tiles">{tiles}</dl>'


def _advice(advice: list[dict[str, Any]], s: Series) -> str:
    if not advice:
        return "<section><h2>What to look at</h2><p>Nothing: no measure is beyond its limit.</p></section>"
    rows = []
    for title, names in _GROUPS.items():
        marks = [(_ROLES[a["level"]], [tuple(x) for x in a["spans"]]) for a in advice if a["what"] in names]
        rows.append((title, marks))
    line = Timeline((float(s.times[0]), float(s.times[-1])), rows)
    words = {"note": "Good to know", "care": "Look here", "bad": "Doubtful"}
    items = "".join(
        f'<li class="{a["level"]}"><b>{words[a["level"]]}</b>'
        f"<p>{escape(a['text'])}</p><p>{_with_code(a['do'])}</p>{_measure(a)}</li>"
        for a in advice
    )
    figure = _both(lambda width: timeline_svg(line, width)) if len(s.times) > 1 else ""
    title = "What to look at, and what to film differently"
    return f'<section><h2>{title}</h2>{figure}<ul class="advice">{items}</ul></section>'


def _with_code(text: str) -> str:
    """Escaped text with options and tables of the edits file set as code."""
    return re.sub(r"--[a-z-]+( [0-9][0-9.x]*[0-9])?|\[\[[a-z]+\]\]", r"<code>\g<0></code>", escape(text))


def _measure(a: dict[str, Any]) -> str:
    if a["measured"] is None:
        return ""
    limit = "" if a["limit"] is None else f", limit {a['limit']:g}"
    return f"<small>measured {a['measured']:g} {escape(a['unit'])}{limit}</small>"


def _certainty(s: Series) -> str:
    """How far each part of the body may be off, and how well it was seen."""
    from kinelift.metrics import LIMBS

    watched = s.observed if s.observed.any() else np.ones(len(s.times), bool)
    rows = []
    for part, ends in _PARTS.items():
        sigma = 100 * float(np.median(s.sigma_m[watched][:, [i for i, n in enumerate(s.joints) if n.endswith(ends)]]))
        limbs = [i for i, n in enumerate(LIMBS) if n.endswith(ends)]
        seen = f"{100 * float((s.confidence[watched][:, limbs] >= limits.CONFIDENT).mean()):.0f} %" if limbs else "-"
        words = _SURE[int(np.searchsorted(limits.SIGMA_CM, sigma))]
        rows.append((part, words, f"±{sigma:.1f} cm", seen))
    table = _table(("", "", "typical error in each direction", "well seen in"), rows)
    return (
        "<section><h2>What is sure, and what is not</h2><p>The result states for every joint how far it may be off; "
        "two times in three the truth lies within. Directions towards and away from the camera are the least sure.</p>"
        f"{table}</section>"
    )


def _sources(take: Take, clip: dict[str, Any]) -> str:
    """Where scale, lens and world come from, and how sure each is."""
    meta = take.meta
    scale = {"height_m": meta.get("height_m"), "source": meta.get("scale_source", "unknown")} | clip.get("scale", {})
    focal = {"focal_px": meta.get("focal_px"), "source": meta.get("focal_source", "unknown")} | clip.get("focal", {})
    world = {"source": meta.get("world_source", "unknown"), **clip.get("world", {})}
    how = _sure_of_scale(meta)
    fov = _field_of_view(take.camera)
    moving = clip["camera_motion"]
    rows = [
        ("Person's height", _number("height_m", scale["height_m"], 2, " m"), escape(str(scale["source"])), how),
        ("Focal length", _number("focal_px", focal["focal_px"], 0, f" px ({fov:.0f}° wide)"),
         escape(str(focal["source"])), _sure_of_focal(meta)),
        ("World axes", "", escape(str(world["source"])), "upright to a few degrees where nothing else is known"),
    ]  # fmt: skip
    if "camera_height_m" in world:
        pitch = _pitch(world.get("camera_pitch_down_deg"))
        place = _number("camera_height_m", world["camera_height_m"], 2, " m above the floor, ")
        rows.append(("Camera", place + pitch, "found from the person", "a good check: you know how high it stood"))
    path, turn = _number("path_m", moving["path_m"], 2, " m"), _number("turn_deg", moving["turn_deg"], 0, "°")
    rows.append(("Camera's motion", f"{path}, {turn}" if moving["moving"] else "stands still", "", ""))
    table = _table(("", "value", "from", "how sure"), rows, plain=False)
    return f"<section><h2>Size, lens and world</h2>{table}</section>"


def _pitch(down_deg: Any) -> str:
    if not isinstance(down_deg, int | float):
        return "pitch not measured"
    size = f"{abs(down_deg):.0f}° {'down' if down_deg >= 0 else 'up'}"
    return f'looking <data class="camera_pitch_down_deg" value="{down_deg!r}">{size}</data>'


def _sure_of_scale(meta: dict[str, Any]) -> str:
    share = scale_percent(meta)
    if share is None:
        return "as sure as the height given; an error of 1 % is 1 % of all lengths"
    return f"±{share:.1f} % on all lengths"


def _sure_of_focal(meta: dict[str, Any]) -> str:
    share = lens_percent(meta)
    return f"±{share:.0f} %, and distances from the camera with it" if share else "as sure as its source"


def _field_of_view(camera: Camera) -> float:
    return float(2 * np.degrees(np.arctan(camera.image_size[0] / 2 / camera.focal_px)))


def _both(draw: Any) -> str:
    """A figure twice: for wide and for narrow screens."""
    return f'<figure><div class="wide">{draw(_WIDE)}</div><div class="narrow">{draw(_NARROW)}</div></figure>'


def _figure(chart: Chart) -> str:
    return _both(lambda width: svg(chart, width, chart_height(chart, width)))


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]], plain: bool = True) -> str:
    """A table; `plain` text is escaped here, else the cells are markup already."""
    show = escape if plain else str
    top = "".join(f"<th>{escape(h)}</th>" for h in head)
    body = "".join(f"<tr><th>{show(r[0])}</th>{''.join(f'<td>{show(c)}</td>' for c in r[1:])}</tr>" for r in rows)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _by_hand(take: Take) -> str:
    edits = {k: v for k, v in (take.meta.get("edits") or {}).items() if k != "format"}
    if not edits:
        return ""
    rows = [(k, json.dumps(x)) for k, v in edits.items() for x in (v if isinstance(v, list) else [v])]
    return f"<section><h2>Edited by hand</h2>{_table(('what', 'as told'), rows)}</section>"


def _details(take: Take, clip: dict[str, Any]) -> str:
    """Warnings, every number, and what made the result."""
    warnings = "".join(f"<li>{escape(str(w))}</li>" for w in clip.get("warnings", []))
    numbers = {k: v for k, v in clip.items() if k not in ("warnings", "advice", "verdict")}
    made = {k: take.meta[k] for k in ("source", "detector", "lifter", "options", "versions") if k in take.meta}
    return (
        (f"<section><h2>Warnings of the run</h2><ul>{warnings}</ul></section>" if warnings else "")
        + f"<details><summary>All numbers</summary>{_table(('key', 'value'), _flat(numbers))}</details>"
        + f"<details><summary>What made this</summary>{_table(('key', 'value'), _flat(made))}</details>"
    )


def _flat(value: Any, key: str = "", depth: int = 0) -> list[tuple[str, str]]:
    """Nested plain data as rows of dotted keys and JSON values; what lies deeper than five levels stays JSON."""
    if isinstance(value, dict) and depth < 5:
        return [row for k, v in value.items() for row in _flat(v, f"{key}.{k}" if key else str(k), depth + 1)]
    return [(key, json.dumps(value, default=str)[:500])]
