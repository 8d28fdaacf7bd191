"""Which charts a report has, and from which series."""

from __future__ import annotations

import numpy as np

from kinelift import metrics
from kinelift.camera import Camera
from kinelift.metrics import LIMBS
from kinelift.report.limits import CONFIDENT, REPROJECTION_PERCENT, SLIDING_MM
from kinelift.report.plots import Band, Chart, Dots, Line
from kinelift.report.series import PLANTED, Series, spans

_FOOTPRINTS, _TRACK = 400, 1500


def charts(s: Series, camera: Camera) -> dict[str, Chart]:
    """All charts by name: feet's heights and speeds, sliding, path, reprojection, confidence, uncertainty."""
    return {
        **{f"{side}_height": _foot(s, side, "height") for side in ("left", "right")},
        **{f"{side}_speed": _foot(s, side, "speed") for side in ("left", "right")},
        "sliding": _sliding(s),
        "path": path(s, camera),
        "reprojection": _reprojection(s),
        "confidence": _confidence(s),
        "uncertainty": _uncertainty(s),
    }


def _foot(s: Series, side: str, what: str) -> Chart:
    columns = [i for i, n in enumerate(s.contact_joints) if n.startswith(side)]
    planted = s.contacts[:, columns] > PLANTED
    bands = [
        Band(spans(np.asarray(planted.any(1)), s.times, join_s=0), "heel or toe stands", "shade"),
        Band(spans(np.asarray(planted.all(1)), s.times, join_s=0), "both", "shade2"),
    ]
    values = 100 * s.soles[..., 1] if what == "height" else s.sole_speed
    lines = [
        Line(s.times, values[:, i], s.contact_joints[i].partition("_")[2], role)
        for i, role in zip(columns, "ab", strict=False)
    ]
    unit = "height (cm)" if what == "height" else "speed (m/s)"
    least = (0.0, 5.0) if what == "height" else (0.0, 0.5)
    return Chart(f"{side.capitalize()} foot: {unit}", lines=lines, bands=[*bands, *_gaps(s)], y_range=least)


def _gaps(s: Series) -> list[Band]:
    unseen = spans(~s.observed, s.times, join_s=0)
    return [Band(unseen, "person not seen", "gap")] if unseen else []


def _sliding(s: Series) -> Chart:
    lines = [Line(s.times, _side_mean(s, side), side, role) for side, role in (("left", "a"), ("right", "b"))]
    limit = (SLIDING_MM, f"visible: {SLIDING_MM:g}")
    title = "Sliding of planted feet (mm per 1/30 s)"
    return Chart(title, lines=lines, bands=_gaps(s), limit=limit, y_range=(0.0, 1.2 * SLIDING_MM))


def _side_mean(s: Series, side: str) -> np.ndarray:
    values = s.sliding[:, [i for i, n in enumerate(s.contact_joints) if n.startswith(side)]]
    given = np.isfinite(values)
    return np.where(given.any(1), np.where(given, values, 0).sum(1) / np.maximum(given.sum(1), 1), np.nan)


def _reprojection(s: Series) -> Chart:
    limit = (REPROJECTION_PERCENT, f"limit {REPROJECTION_PERCENT:g}")
    title = "Distance from the picture (% of body height)"
    lines = [Line(s.times, s.reprojection_percent)]
    return Chart(
        title, lines=lines, bands=_gaps(s), limit=limit, y_range=(0.0, 1.2 * REPROJECTION_PERCENT), y_most=20.0
    )


def _confidence(s: Series) -> Chart:
    groups = (("arms", ("elbow", "wrist"), "a"), ("legs", ("knee", "ankle"), "b"))
    lines = [
        Line(s.times, s.confidence[:, [i for i, n in enumerate(LIMBS) if n.endswith(parts)]].mean(1), label, role)
        for label, parts, role in groups
    ]
    limit = (CONFIDENT, f"unsure below {CONFIDENT:g}")
    return Chart("How well the person is seen (0 to 1)", lines=lines, bands=_gaps(s), limit=limit, y_range=(0.0, 1.0))


def _uncertainty(s: Series) -> Chart:
    groups = (("hands", "wrist", "a"), ("feet", "ankle", "b"), ("hips", "hip", "c"))
    lines = [
        Line(s.times, 100 * s.sigma_m[:, [i for i, n in enumerate(s.joints) if n.endswith(part)]].mean(1), label, role)
        for label, part, role in groups
    ]
    seen = np.concatenate([line.y[s.observed] for line in lines]) if s.observed.any() else np.array([10.0])
    title = "Stated uncertainty (cm)"
    return Chart(title, lines=lines, bands=_gaps(s), y_range=(0.0, 5.0), y_most=float(1.1 * seen.max()))


def path(s: Series, camera: Camera) -> Chart:
    """The root and the footprints from above; up is away from the camera as it stood at first."""
    R = camera.R_cam_world if camera.R_cam_world.ndim == 2 else camera.R_cam_world[0]
    ahead = R[2, ::2] / max(float(np.linalg.norm(R[2, ::2])), 1e-9)
    axes = np.stack([[-ahead[1], ahead[0]], ahead], -1)

    def plan(points: np.ndarray) -> np.ndarray:
        return (points[..., ::2] - s.root[0, ::2]) @ axes

    track = plan(s.root)
    dots = []
    for side, role in (("left", "a"), ("right", "b")):
        columns = [i for i, n in enumerate(s.contact_joints) if n.startswith(side)]
        stood = metrics.stances(s.contacts[:, columns] * s.observed[:, None], s.times)
        prints = [plan(s.soles[:, columns])[frames, f].mean(0) for frames, f in stood[:: len(stood) // _FOOTPRINTS + 1]]
        dots.append(Dots(np.reshape(prints, (-1, 2)), f"{side} footprints", role))
    dots += [Dots(track[:1], "start", "c", 4.5), Dots(track[-1:], "end", "limit", 4.5)]
    track = np.concatenate([track[: -1 : len(track) // _TRACK + 1], track[-1:]])
    lines = [Line(track[:, 0], track[:, 1], "pelvis", "ink")]
    return Chart(
        "Path from above (m)", "metres across the picture; up is away from the camera", lines, dots=dots, equal=True
    )
