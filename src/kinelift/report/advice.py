"""Plain words: what is doubtful in a result, where, and what to film differently. Each line follows from a number.

The thresholds are in `limits.py`. A finding is a note (something was assumed), a care (look there) or bad (do not use
that stretch as it is); the verdict is that of the worst.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from kinelift.camera import Camera
from kinelift.kinematics import STATURE_PRIOR_SIGMA
from kinelift.metrics import LIMBS
from kinelift.records import Take
from kinelift.report import limits
from kinelift.report.series import PLANTED, Series, Span, spans
from kinelift.trajectory.focal import PRIOR_SIGMA

LEVELS = ("note", "care", "bad")
_VERDICTS = {"note": "Good", "care": "Usable, with care", "bad": "Check before you use it"}
_SOLE_TABLE = "[[contact]] or [[support]]"


@dataclass(frozen=True)
class Finding:
    """One thing to know.

    Attributes:
        what: A stable name for programs.
        level: One of `LEVELS`.
        text: What was measured, in a sentence.
        do: What to do about it, in a sentence.
        measured, limit: The number and its threshold, in `unit`; None where a fact has none.
        spans: Where, in seconds; empty for the clip as a whole.
    """

    what: str
    level: str
    text: str
    do: str
    measured: float | None = None
    limit: float | None = None
    unit: str = ""
    spans: tuple[Span, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain data for `report.json`."""
        out = dataclasses.asdict(self)
        out["spans"] = [[round(a, 3), round(b, 3)] for a, b in self.spans]
        return out


def findings(take: Take, s: Series, clip: dict[str, Any]) -> list[Finding]:
    """Everything worth saying of a person's motion, the worst first; `clip` are the numbers of `quality`."""
    camera = take.camera
    found = [*_seen(s), *_hidden(s), *_feet(s, clip), *_fit(s, clip), *_camera(s, camera, take.meta)]
    found += [*_picture(s, clip, camera), *_assumed(take, clip)]
    return sorted(found, key=lambda f: -LEVELS.index(f.level))


def judgement(take: Take, s: Series, clip: dict[str, Any]) -> dict[str, Any]:
    """`verdict` and `advice` as `report.json` holds them."""
    found = findings(take, s, clip)
    level = found[0].level if found else "note"
    return {
        "verdict": {"grade": _VERDICTS[level], "level": level, "sure_percent": round(100 * float(sure(s).mean()), 1)},
        "advice": [f.as_dict() for f in found],
    }


def sure(s: Series) -> np.ndarray:
    """(T,) bool: seen well, near the picture, feet in view and not sliding: nothing speaks against the frame."""
    near = ~(s.reprojection_percent > limits.LOST_PERCENT)
    still = ~(s.sliding_mm > limits.SLIDING_MM)
    return s.observed & (s.confidence.mean(1) >= limits.CONFIDENT) & near & still & ~_out(s, ("heel", "toe"))


def said_spans(stretches: list[Span] | tuple[Span, ...], most: int = 4) -> str:
    """ "from 3.20 to 4.10 s, from 5.00 to 5.50 s and 3 more"."""
    parts = [f"from {a:.2f} to {b:.2f} s" for a, b in stretches[:most]]
    rest = len(stretches) - len(parts)
    if rest:
        return ", ".join(parts) + f" and {rest} more"
    return ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1] if parts else ""


def _percent(mask: np.ndarray) -> float:
    return 100 * float(mask.mean())


def _level(percent: float) -> str:
    return "bad" if percent > limits.MUCH_PERCENT else "care"


def _out(s: Series, ends: tuple[str, ...]) -> np.ndarray:
    """(T,) bool: some joint of these names lies outside the picture."""
    columns = [i for i, n in enumerate(s.joints) if n.endswith(ends)]
    return np.asarray(~s.inside[:, columns].all(1))


def _lasting(what: str, level: str, text: str, do: str, where: list[Span]) -> Finding:
    """A finding measured by its longest stretch."""
    longest = round(max(b - a for a, b in where), 2)
    return Finding(what, level, text, do, longest, limits.LEAST_S, "s at a stretch", tuple(where))


def _seen(s: Series) -> Iterator[Finding]:
    unseen = ~s.observed
    where = spans(unseen, s.times, limits.LEAST_S)
    if where:
        inner = [w for w in where if w[0] > s.times[0] and w[1] < s.times[-1]]
        seen = spans(s.observed, s.times)
        cut = f"--start {seen[0][0]:.2f} --end {seen[-1][1]:.2f}" if seen else "--start and --end"
        do = "Keep the whole person in the picture and nothing in front of them."
        do = do if inner else f"Use only the part that shows the person ({cut}), or film it whole."
        text = f"The person is not seen {said_spans(where)}: there the pose is filled or held, not measured."
        yield _lasting("person_not_seen", _level(_percent(unseen)) if inner else "care", text, do, where)
    for what, ends, do in (
        ("feet", ("heel", "toe"), "Step back, or tilt the camera down, until the feet have a margin in every frame."),
        ("hands", ("wrist", "hand"), "Step back, so that stretched arms stay in the picture."),
        ("head", ("head", "nose"), "Tilt the camera up or step back, so that the head stays in the picture."),
    ):
        mask = _out(s, ends) & s.observed
        where = spans(mask, s.times, limits.LEAST_S)
        if where:
            text = f"The {what} leave{'s' if what == 'head' else ''} the picture {said_spans(where)}."
            yield _lasting(f"{what}_outside", _level(_percent(mask)) if what == "feet" else "care", text, do, where)


def _hidden(s: Series) -> Iterator[Finding]:
    for side in ("left", "right"):
        for limb, parts in (("arm", ("elbow", "wrist")), ("leg", ("knee", "ankle"))):
            names = [f"{side}_{p}" for p in parts]
            inside = s.inside[:, [s.joints.index(n) for n in names]].all(1)
            seen = s.confidence[:, [LIMBS.index(n) for n in names]].mean(1)
            where = spans(s.observed & inside & (seen < limits.HIDDEN), s.times, limits.LEAST_S)
            if where:
                longest = max(b - a for a, b in where)
                level = "care" if longest > limits.HIDDEN_S else "note"
                text = f"The {side} {limb} is hidden {said_spans(where)}: it is filled from what is usual there."
                do = "Film from more in front or at a slight angle, with nothing between camera and person."
                yield _lasting(f"{side}_{limb}_hidden", level, text, do, where)
    share = _percent(s.swapped)
    if share > limits.SOME_PERCENT:
        text = f"The detector took left for right in {share:.0f} % of the frames; this was put right."
        do = "Left and right cross in this view: film from a slight angle, not exactly from the side or from behind."
        do += " Where the result is still wrong, say so with --edits ([[swap]])."
        level = "care" if share > limits.MUCH_PERCENT else "note"
        where = spans(s.swapped, s.times, limits.LEAST_S)
        measured = round(share, 1)
        yield Finding("sides_exchanged", level, text, do, measured, limits.SOME_PERCENT, "% of frames", tuple(where))


def _feet(s: Series, clip: dict[str, Any]) -> Iterator[Finding]:
    slides = np.nan_to_num(np.where(np.isfinite(s.sliding), s.sliding, 0).max(1))
    where = spans(s.observed & (slides > limits.SLIDING_MM), s.times, limits.SLIP_S)
    if where:
        text = f"A planted foot slides {said_spans(where)}, at up to {slides.max():.0f} mm a frame."
        do = "All is well if the foot really slides. If not, show feet and floor better, or plant it with --edits."
        mean = clip["foot_sliding_mm_per_frame"]
        level = "bad" if mean > limits.SLIDING_MM else "care"
        measured = round(float(slides.max()), 2)
        yield Finding("feet_slide", level, text, do, measured, limits.SLIDING_MM, "mm a frame", tuple(where))
    low = -1000 * s.soles[..., 1].min(1)
    for what, depth, limit, verb in (
        ("feet_sink", low, limits.SINK_MM, "sinks into the floor"),
        ("feet_float", np.nan_to_num(s.float_mm), limits.FLOAT_MM, "floats above the floor"),
    ):
        where = spans(s.observed & (depth > limit), s.times, limits.LEAST_S)
        if where:
            most = float(depth[s.observed].max())
            text = f"The foot {verb} {said_spans(where)}, by up to {most:.0f} mm."
            do = f"Is the floor level there? A step, a box or a slope can be told with --edits ({_SOLE_TABLE})."
            yield Finding(what, "care", text, do, round(most, 1), limit, "mm", tuple(where))
    raised = s.raised.any(1) & s.observed
    where = spans(raised, s.times, limits.LEAST_S)
    if where:
        height = float(np.median(s.soles[..., 1][s.raised]))
        text = f"A foot stands on something about {height:.2f} m above the floor {said_spans(where)}."
        do = "If nothing is there, the floor or the contact is wrong: tell it with --edits."
        yield Finding("feet_raised", "note", text, do, round(height, 3), None, "m", tuple(where))
    step = float(np.median(np.diff(s.times))) if len(s.times) > 1 else 0.0
    planted_s = step * float(((s.contacts > PLANTED).any(1) & s.observed).sum())
    if planted_s < limits.FLOOR_S and len(s.times) > 1:
        text = f"A foot stands in view for only {planted_s:.1f} s: the floor was found from little."
        do = "Show the feet and stand still for a second at the beginning."
        yield Finding("floor_unsure", "care", text, do, round(planted_s, 2), limits.FLOOR_S, "s")


def _fit(s: Series, clip: dict[str, Any]) -> Iterator[Finding]:
    where = spans(s.observed & (s.reprojection_percent > limits.LOST_PERCENT), s.times, limits.LEAST_S)
    if where:
        most = float(np.nanmax(s.reprojection_percent[s.observed]))
        text = f"The result leaves the picture's pose {said_spans(where)}, by up to {most:.0f} % of the body's height."
        do = "Look there first. If another person or a hidden limb misled the detector, say so with --edits ([[hide]])."
        yield Finding("not_in_pose", "care", text, do, round(most, 1), limits.LOST_PERCENT, "% of height", tuple(where))
    whole = clip.get("reprojection_error_percent")
    if whole is not None and whole > limits.REPROJECTION_PERCENT:
        text = f"The result lies {whole:.1f} % of the body's height from the key points, in the middle of all frames."
        do = "Check height and lens (--height, --fov); an unusual lens bends the pose."
        level = "bad" if whole > limits.LOST_PERCENT else "care"
        yield Finding("far_from_picture", level, text, do, whole, limits.REPROJECTION_PERCENT, "% of height")
    if s.observed.any() and (sigma := clip["median_sigma_mm"] / 10) > limits.SIGMA_CM[1]:
        text = f"The result is unsure of itself: limbs may be off by {sigma:.0f} cm in each direction."
        do = "Film the person large and whole, at chest height, in even light and at a slight angle."
        yield Finding("unsure", "care", text, do, round(sigma, 1), limits.SIGMA_CM[1], "cm")
    jitter = clip["jitter_10m_s3"]
    if jitter > limits.JITTER:
        text = f"The motion trembles: {jitter:.0f} (people have 3 to 10)."
        do = "More light and a faster shutter; blurred hands and feet jump about."
        yield Finding("trembles", "care", text, do, jitter, limits.JITTER, "10 m/s^3")


def _camera(s: Series, camera: Camera, meta: dict[str, Any]) -> Iterator[Finding]:
    R = camera.R_cam_world.reshape(-1, 3, 3)
    pitch = float(np.degrees(np.arcsin(np.clip(-np.median(R[:, 2, 1]), -1, 1))))
    if abs(pitch) > limits.STEEP_DEG:
        text = f"The camera looks {abs(pitch):.0f} degrees {'down' if pitch > 0 else 'up'}: legs are foreshortened."
        do = "Put the camera at chest height and let it look straight ahead."
        yield Finding("camera_steep", "care", text, do, round(pitch, 1), limits.STEEP_DEG, "degrees")
    floor = meta.get("floor_y", 0.0)
    height = float(np.median(camera.position.reshape(-1, 3)[:, 1])) - (floor if isinstance(floor, int | float) else 0.0)
    low, high = limits.CAMERA_HEIGHTS_M
    if not low <= height <= high and meta.get("world_source") != "calibration":
        text = f"The camera seems to stand {height:.2f} m above the floor."
        do = "If it did not, the floor or the scale is wrong: give --height, and show the feet on the floor."
        yield Finding("camera_height", "care", text, do, round(height, 2), low if height < low else high, "m")
    if (s.camera_step_m > 0).any() or (s.camera_turn_deg > 0).any():
        text = "The camera moves: the person's path depends on how well the camera's own motion was found."
        do = "A tripod, a shelf or a bottle makes the path surer."
        yield Finding(
            "camera_moves", "note", text, do, round(float(s.camera_turn_deg.sum()), 1), None, "degrees in all"
        )


def _picture(s: Series, clip: dict[str, Any], camera: Camera) -> Iterator[Finding]:
    tall = s.stature_px[s.observed & np.isfinite(s.stature_px)]
    if len(tall) and (size := float(np.median(tall))) < limits.SMALL_PX:
        text = f"The person is only about {size:.0f} pixels tall."
        do = "Come closer, or film in a higher resolution."
        level = "care" if size >= limits.TINY_PX else "bad"
        yield Finding("person_small", level, text, do, round(size), limits.SMALL_PX, "pixels")
    if len(tall) and (heights := camera.focal_px / float(np.median(tall))) < limits.NEAR_HEIGHTS:
        text = f"The camera stands only {heights:.1f} body heights away: near limbs look too large."
        do = "Step back to 2 or 3 body heights."
        yield Finding("too_near", "care", text, do, round(heights, 2), limits.NEAR_HEIGHTS, "body heights")
    fps = clip["fps"]
    if len(s.times) > 1 and fps < limits.SLOW_FPS:
        text = f"There are {fps:.1f} frames a second: fast steps fall between two of them."
        yield Finding("few_frames", "care", text, "Film 30 to 60 frames a second.", fps, limits.SLOW_FPS, "frames/s")
    if len(s.times) == 1:
        text = "A single frame shows one pose: nothing in it says how anything moves."
        yield Finding("single_frame", "note", text, "Film a few seconds where motion matters.", 1, None, "frames")
    seen = clip["confidence"]
    if s.observed.any() and seen < limits.CONFIDENT:
        text = f"The detector is unsure of the person throughout: {seen:.2f} of 1."
        do = "More light, clothes that differ from the background, and no wide skirts or coats."
        yield Finding("seen_badly", "care", text, do, seen, limits.CONFIDENT, "confidence")


def scale_percent(meta: dict[str, Any]) -> float | None:
    """Standard deviation of the stature, hence of all lengths, per cent; None where it is not stated."""
    height, sigma = meta.get("height_m"), meta.get("height_sigma_m")
    if isinstance(sigma, int | float) and isinstance(height, int | float) and height > 0:
        return 100 * sigma / height
    return 100 * STATURE_PRIOR_SIGMA if str(meta.get("scale_source", "")).startswith("prior") else None


def lens_percent(meta: dict[str, Any]) -> float | None:
    """Standard deviation of the focal length, per cent; None where it is not stated."""
    sigma = meta.get("focal_sigma")
    if isinstance(sigma, int | float):
        return 100 * float(sigma)
    return 100 * PRIOR_SIGMA if str(meta.get("focal_source", "")).startswith("prior") else None


def _assumed(take: Take, clip: dict[str, Any]) -> Iterator[Finding]:
    meta = take.meta
    path = clip["root"]["path_m"]
    if (share := scale_percent(meta)) is not None and share > limits.HEIGHT_PERCENT:
        text = f"The height was not given: all lengths may be wrong by {share:.0f} %, "
        text += f"the path of {path:.2f} m by {path * share / 100:.2f} m."
        do = "Give the person's height: --height 1.75."
        yield Finding("height_assumed", "note", text, do, round(share, 1), limits.HEIGHT_PERCENT, "%")
    if (share := lens_percent(meta)) is not None and share > limits.LENS_PERCENT:
        text = f"The lens is not known: distances from the camera may be wrong by {share:.0f} %."
        do = "Use the file as the phone wrote it, or give --fov or --calibration."
        yield Finding("lens_assumed", "note", text, do, round(share, 1), limits.LENS_PERCENT, "%")
    if str(meta.get("image_size_source", "stated")) != "stated":
        text = "The picture's size was not stated and was taken from the key points."
        yield Finding("size_assumed", "note", text, "Give --image-size, such as 1920x1080.")
