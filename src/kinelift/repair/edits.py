"""Repair by hand: a small TOML or JSON file that overrules what was found, for stretches of time.

Sides and names are the person's own, as the result shows them: edits apply after the automatic repair. An empty file is
valid and changes nothing. `SCHEMA` below is the whole format; docs/edits.md explains it.
"""

from __future__ import annotations

import itertools
import json
import math
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kinelift.errors import InputError
from kinelift.records import CONTACT_JOINTS, Motion, Pose2D
from kinelift.repair.points import exchanged
from kinelift.skeleton import Skeleton

if TYPE_CHECKING:
    from kinelift.camera import Camera

FORMAT = "kinelift-edits/1"
# A line is short because TOML readers take time with the square of a dotted key's length.
MAX_BYTES, MAX_LINE, MAX_ENTRIES = 256_000, 500, 2_000
Names = dict[str, tuple[str, ...]]

_FEET: Names = {f"{s}_foot": (f"{s}_heel", f"{s}_toe") for s in ("left", "right")}
SOLES: Names = {j: (j,) for j in CONTACT_JOINTS} | _FEET | {"feet": CONTACT_JOINTS}
GROUPS: Names = {"legs": ("legs",), "arms": ("arms",), "all": ("legs", "arms")}
_PARTS = ("shoulder", "elbow", "wrist", "hand", "hip", "knee", "ankle", "heel", "toe")
_LIMBS: Names = {
    **{f"{s}_{p}": (f"{s}_{p}",) for s in ("left", "right") for p in _PARTS},
    **{f"{s}_arm": tuple(f"{s}_{p}" for p in ("elbow", "wrist", "hand")) for s in ("left", "right")},
    **{f"{s}_leg": tuple(f"{s}_{p}" for p in ("knee", "ankle", "heel", "toe")) for s in ("left", "right")},
}
JOINTS: Names = _LIMBS | _FEET | {"head": ("head",)}
JOINTS |= {"all": tuple(dict.fromkeys(itertools.chain(*JOINTS.values())))}
# Detectors' own words for the ends of limbs.
_WORDS = {
    **dict.fromkeys(("index", "pinky", "thumb"), "hand"),
    **dict.fromkeys(("big_toe", "small_toe", "foot_index"), "toe"),
}
_HEAD = ("nose", "eye", "ear", "mouth", "head", "neck")

# Table -> (key of its names, known names, whether they must be given, key of its value, kind or range of the value).
SCHEMA: dict[str, tuple[str, Names, bool, str | None, Any]] = {
    "swap": ("parts", GROUPS, False, None, None),
    "hide": ("joints", JOINTS, False, None, None),
    "contact": ("soles", SOLES, True, "planted", bool),
    "support": ("soles", SOLES, True, "height_m", (-5.0, 5.0)),
}
_RANGES = {"height_m": (0.4, 2.6), "floor_y": (-100.0, 100.0)}


@dataclass(frozen=True)
class Entry:
    """One line of work for one stretch of time.

    Attributes:
        kind: A key of `SCHEMA`.
        number: Which entry of its kind, from 1.
        start, end: Seconds of the clip's own clock; infinite where the file leaves them out.
        given: The names as written.
        names: What they stand for: `legs`, `arms`; parts of the body; sole points.
        value: Planted or free; the height of a support in metres; None for the other kinds.
    """

    kind: str
    number: int
    start: float
    end: float
    given: tuple[str, ...]
    names: tuple[str, ...]
    value: float | None = None

    def __str__(self) -> str:
        return f"{self.kind} {self.number}"

    def frames(self, times: np.ndarray) -> np.ndarray:
        """(T,) bool: start <= t < end, and the clip's last frame where `end` is its time."""
        end = math.inf if self.end >= times[-1] else self.end
        return np.asarray((times >= self.start) & (times < end))


@dataclass(frozen=True)
class Edits:
    """What a person says of a clip, and means to win over what was found. Nothing is edited by default.

    Attributes:
        entries: Swaps, hidden key points, contacts and supports.
        height_m: Stature in metres.
        floor_y: The true floor's height in metres, in the world as it is without this line.
        cuts: Seconds at which new shots begin, instead of those found; None: those found.
        source: The file's name, for messages.
    """

    entries: tuple[Entry, ...] = ()
    height_m: float | None = None
    floor_y: float | None = None
    cuts: tuple[float, ...] | None = None
    source: str = "edits"

    def swapped(self, pose: Pose2D) -> Pose2D:
        """Key points with left and right of legs, or of arms and face, exchanged as told."""
        marks = np.zeros((len(pose.times), 2), bool)
        for entry in self._of("swap"):
            marks |= entry.frames(pose.times)[:, None] & np.isin(("legs", "arms"), entry.names)
        return exchanged(pose, marks)

    def hidden(self, pose: Pose2D) -> Pose2D:
        """Key points without those that are to be ignored; raises `InputError` where none would be left."""
        hide = np.zeros(pose.xy.shape[:2], bool)
        for entry in self._of("hide"):
            hide |= entry.frames(pose.times)[:, None] & _points(pose.skeleton, entry.names)
        if not hide.any():
            return pose
        if pose.detected.any() and not (pose.seen & ~hide).any():
            raise InputError(f"{self.source}: hide: no key point of the clip is left to work from")
        d3 = None if pose.detector_3d is None else np.where(hide[..., None], np.nan, pose.detector_3d)
        xy, confidence = np.where(hide[..., None], np.nan, pose.xy), np.where(hide, 0, pose.confidence)
        return pose.replaced(xy=xy, confidence=confidence, detector_3d=d3)

    def contact(self, times: np.ndarray) -> np.ndarray:
        """(T, 4) of `CONTACT_JOINTS`: 1 planted, 0 free, NaN where nothing is said."""
        return self._per_sole("contact", times)

    def support_y(self, times: np.ndarray) -> np.ndarray:
        """(T, 4) metres: height of what a sole stands on, in the world before `grounded`; NaN where nothing is said."""
        return self._per_sole("support", times) + (self.floor_y or 0.0)

    def grounded(self, motion: Motion, camera: Camera) -> tuple[Motion, Camera]:
        """The same in a world whose y = 0 is the true floor; unchanged where `floor_y` is not given."""
        if self.floor_y is None:
            return motion, camera
        rise = np.array([0, self.floor_y, 0])
        moved = camera.replaced(t_cam_world=camera.t_cam_world + camera.R_cam_world @ rise)
        return motion.replaced(root=motion.root - rise), moved

    def check(self, pose: Pose2D) -> None:
        """Whether every entry is about this clip; raises `InputError` naming the first that is not."""
        times = pose.times
        step = float(np.median(np.diff(times))) if len(times) > 1 else 1 / 30
        held = f"the clip runs from {times[0]:.2f} to {times[-1]:.2f} s"
        first, last = times[0] - step, times[-1] + step
        for time in self.cuts or ():
            if not first <= time <= last:
                raise InputError(f"{self.source}: cuts: {time:g} s lies outside the clip; {held}")
        for entry in self.entries:
            for key, time in (("from", entry.start), ("to", entry.end)):
                if math.isfinite(time) and not first <= time <= last:
                    hint = f"{held}; without '{key}' an entry holds from its beginning to its end"
                    raise InputError(f"{self.source}: {entry}: {key} = {time:g} s lies outside the clip; {hint}")
            if not entry.frames(times).any():
                raise InputError(
                    f"{self.source}: {entry}: no frame lies between {entry.start:g} and {entry.end:g} s; "
                    f"frames are {step:.3f} s apart"
                )
            if entry.kind == "hide" and not _points(pose.skeleton, entry.names).any():
                raise InputError(
                    f"{self.source}: {entry}: the key points ({pose.skeleton.name}) have no {', '.join(entry.given)}"
                )

    def as_dict(self) -> dict[str, Any]:
        """The same edits as plain JSON data; `parsed_edits` reads them back."""
        out: dict[str, Any] = {"format": FORMAT}
        out |= {k: v for k in ("height_m", "floor_y") if (v := getattr(self, k)) is not None}
        if self.cuts is not None:
            out["cuts"] = list(self.cuts)
        for kind, (names_key, _, _, value_key, value_kind) in SCHEMA.items():
            rows = []
            for e in self._of(kind):
                row: dict[str, Any] = {k: t for k, t in (("from", e.start), ("to", e.end)) if math.isfinite(t)}
                row[names_key] = list(e.given)
                if value_key is not None and e.value is not None:
                    row[value_key] = bool(e.value) if value_kind is bool else e.value
                rows.append(row)
            if rows:
                out[kind] = rows
        return out

    def _of(self, kind: str) -> Iterator[Entry]:
        return (e for e in self.entries if e.kind == kind)

    def _per_sole(self, kind: str, times: np.ndarray) -> np.ndarray:
        out = np.full((len(times), len(CONTACT_JOINTS)), np.nan)
        for entry in self._of(kind):
            out[entry.frames(times)[:, None] & np.isin(CONTACT_JOINTS, entry.names)] = entry.value
        return out


def _points(skeleton: Skeleton, names: tuple[str, ...]) -> np.ndarray:
    """(J,) bool: the skeleton's points that belong to parts of the body."""
    return np.array([_part(joint) in names for joint in skeleton.joints])


def _part(joint: str) -> str:
    """The part of the body in `JOINTS` that a detector's point is on; its own name where it is none of them."""
    side, _, rest = joint.lower().partition("_")
    if side in ("left", "right"):
        rest = _WORDS.get(rest, rest)
        if rest in _PARTS:
            return f"{side}_{rest}"
    return "head" if any(word in joint.lower() for word in _HEAD) else joint


def read_edits(path: Path | str) -> Edits:
    """Edits of a `.toml` or `.json` file, by its suffix; raises `InputError` with one line naming the entry."""
    path = Path(path)
    readers = {".toml": _toml, ".json": _json}
    if path.suffix.lower() not in readers:
        raise InputError(f"{path}: edits are a .toml or a .json file")
    try:
        if not path.is_file():
            raise InputError(f"{path}: there is no such file")
        with path.open("rb") as f:
            raw = f.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise InputError(f"{path}: is too large for edits (at most {MAX_BYTES // 1000} kB)")
        data = readers[path.suffix.lower()](raw.decode("utf-8-sig"))
    except RecursionError:
        raise InputError(f"{path}: is nested too deeply for edits") from None
    except (OSError, ValueError) as e:
        reason = getattr(e, "strerror", None) or " ".join(str(e).split())[:160]
        raise InputError(f"{path}: cannot be read as edits ({reason})") from None
    return parsed_edits(data, str(path))


def _toml(text: str) -> Any:
    if max(map(len, text.splitlines()), default=0) > MAX_LINE:
        raise ValueError(f"a line is longer than {MAX_LINE} characters")
    return tomllib.loads(text)


def _json(text: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(keys := dict(pairs)) < len(pairs):
            twice = next(k for i, (k, _) in enumerate(pairs) if k in [p for p, _ in pairs[:i]])
            raise ValueError(f"'{twice[:40]}' is there twice")
        return keys

    return json.loads(text, object_pairs_hook=once)


def parsed_edits(data: Any, source: str = "edits") -> Edits:
    """Edits of plain data, as `Edits.as_dict` gives them; raises `InputError` with one line naming the entry."""
    if not isinstance(data, dict):
        raise InputError(f"{source}: expected a table of edits, got {_said(data)}")
    _known(data, ("format", *_RANGES, "cuts", *SCHEMA), source)
    if data.get("format", FORMAT) != FORMAT:
        raise InputError(f"{source}: format: expected '{FORMAT}', got {_said(data['format'])}")
    plain = {k: _number(data[k], f"{source}: {k}", *r) for k, r in _RANGES.items() if k in data}
    cuts = None
    if "cuts" in data:
        times = _listed(data["cuts"], f"{source}: cuts", "a list of seconds")
        cuts = tuple(sorted({_number(t, f"{source}: cuts") for t in times}))
    entries = []
    for kind in SCHEMA:
        rows = _listed(data.get(kind, []), f"{source}: {kind}", f"a list of tables ([[{kind}]] in TOML)")
        entries += [_entry(kind, i + 1, row, source) for i, row in enumerate(rows)]
    _consistent(entries, source)
    return Edits(tuple(entries), plain.get("height_m"), plain.get("floor_y"), cuts, source)


def _entry(kind: str, number: int, row: Any, source: str) -> Entry:
    names_key, choices, required, value_key, value_kind = SCHEMA[kind]
    where = f"{source}: {kind} {number}"
    if not isinstance(row, dict):
        raise InputError(f"{where}: expected a table, got {_said(row)}")
    _known(row, tuple(k for k in ("from", "to", names_key, value_key) if k), where)
    needed = [names_key] * required + [value_key] * (value_key is not None)
    if missing := [k for k in needed if k not in row]:
        raise InputError(f"{where}: '{missing[0]}' is missing; {_choices(missing[0], choices)}")
    start = _number(row["from"], f"{where}: from") if "from" in row else -math.inf
    end = _number(row["to"], f"{where}: to") if "to" in row else math.inf
    if end <= start:
        raise InputError(f"{where}: to = {end:g} s must come after from = {start:g} s")
    given = row.get(names_key, ["all"])
    given = [given] if isinstance(given, str) else _listed(given, f"{where}: {names_key}", "a list of names")
    if not given:
        raise InputError(f"{where}: {names_key}: expected at least one of {', '.join(choices)}")
    for name in given:
        if not isinstance(name, str) or name not in choices:
            raise InputError(f"{where}: {names_key}: unknown {_said(name)}; known: {', '.join(choices)}")
    value = None
    if value_kind is bool:
        if not isinstance(row[value_key], bool):
            raise InputError(f"{where}: {value_key}: expected true or false, got {_said(row[value_key])}")
        value = float(row[value_key])
    elif value_key is not None:
        value = _number(row[value_key], f"{where}: {value_key}", *value_kind)
    names = tuple(dict.fromkeys(itertools.chain(*(choices[n] for n in given))))
    return Entry(kind, number, start, end, tuple(given), names, value)


def _consistent(entries: list[Entry], source: str) -> None:
    """No two entries say different things of one time and thing; nor is anything exchanged twice."""
    latest: dict[tuple[str, str], Entry] = {}
    for entry in sorted((e for e in entries if e.kind != "hide"), key=lambda e: e.start):
        for name in entry.names:
            before = latest.get((entry.kind, name))
            if (
                before is not None
                and before.end > entry.start
                and (entry.kind == "swap" or before.value != entry.value)
            ):
                at = "throughout" if math.isinf(entry.start) else f"from {entry.start:g} s on"
                raise InputError(
                    f"{source}: {before} and {entry} contradict each other about '{name}' {at}; "
                    f"shorten one or take it out"
                )
            if before is None or entry.end > before.end:
                latest[entry.kind, name] = entry


def _choices(key: str | None, names: Names) -> str:
    if key == "planted":
        return "expected true or false"
    return "expected metres" if key == "height_m" else f"known: {', '.join(names)}"


def _known(table: dict[str, Any], keys: tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in keys:
            raise InputError(f"{where}: unknown key {_said(key)}; known: {', '.join(keys)}")


def _listed(value: Any, where: str, expected: str) -> list[Any]:
    if not isinstance(value, list):
        raise InputError(f"{where}: expected {expected}, got {_said(value)}")
    if len(value) > MAX_ENTRIES:
        raise InputError(f"{where}: {len(value)} entries are too many (at most {MAX_ENTRIES})")
    return value


def _number(value: Any, where: str, low: float = -1e9, high: float = 1e9) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{where}: expected a number, got {_said(value)}")
    if not low <= value <= high:
        limits = f" between {low:g} and {high:g}" if (low, high) != (-1e9, 1e9) else ""
        raise InputError(f"{where}: expected a finite number{limits}, got {_said(value)}")
    return float(value)


def _said(value: Any) -> str:
    """A stranger's value in a message: short, on one line."""
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    text = repr(value) if isinstance(value, str) else str(value) if not isinstance(value, bool) else str(value).lower()
    return text if len(text) <= 40 else text[:37] + "..."
