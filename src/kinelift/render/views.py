"""Drawings to look at results: key points on a picture, a motion from the side and from above."""

from __future__ import annotations

import io

import cv2
import numpy as np

from kinelift.errors import MissingExtraError
from kinelift.skeleton import Skeleton

# RGB of left, right and midline.
LEFT, RIGHT, MIDDLE = (45, 120, 230), (240, 130, 25), (150, 150, 150)


def side_color(skeleton: Skeleton, joint: int) -> tuple[int, int, int]:
    """RGB of a joint by its side: left blue, right orange, midline grey."""
    if skeleton.mirror[joint] == joint:
        return MIDDLE
    name = skeleton.joints[joint]
    return LEFT if "left" in name or name.startswith("L") else RIGHT


def draw_skeleton(image: np.ndarray, skeleton: Skeleton, xy: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """A copy of the picture (H, W, 3) uint8 RGB with key points (J, 2) in pixels and their bones.

    Points with `confidence` (J,) 0 or NaN coordinates are left out; faint ones are drawn thin.
    """
    out = image.copy()
    size = max(1, round(max(image.shape[:2]) / 400))
    seen = (np.asarray(confidence) > 0) & np.isfinite(xy).all(-1)
    inside = np.zeros_like(xy)
    inside[seen] = np.clip(xy[seen], -1e4, 1e4)
    points = [(int(x), int(y)) for x, y in np.round(inside * 16)]
    for j, p in enumerate(skeleton.parents):
        if p >= 0 and seen[j] and seen[p]:
            width = size if min(confidence[j], confidence[p]) < 0.5 else 2 * size
            cv2.line(out, points[p], points[j], side_color(skeleton, j), width, cv2.LINE_AA, 4)
    for j in range(len(skeleton)):
        if not seen[j]:
            continue
        radius = 16 * size * (2 if confidence[j] >= 0.5 else 1)
        cv2.circle(out, points[j], radius, side_color(skeleton, j), -1, cv2.LINE_AA, 4)
    return out


def side_and_top(
    motion_positions: np.ndarray,
    skeleton: Skeleton,
    times: np.ndarray,
    contacts: np.ndarray | None = None,
    contact_joints: np.ndarray | None = None,
) -> bytes:
    """A PNG figure of a motion: stick figures from the side, the path from above, feet's heights and speeds.

    Args:
        motion_positions: (T, J, 3) world metres, Y up.
        skeleton: Names of the J joints; sole points are those named heel and toe, ankles where there are none.
        times: (T,) seconds.
        contacts: (T, F) in [0, 1], drawn as shaded stretches.
        contact_joints: (F,) joint indices of `contacts`; the sole points' order when left out.

    Raises `MissingExtraError` where matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("a motion's figure", "pip install matplotlib") from None
    feet = [i for i, n in enumerate(skeleton.joints) if n.lower().endswith(("heel", "toe"))]
    feet = feet or [i for i, n in enumerate(skeleton.joints) if n.lower().endswith(("ankle", "foot"))]
    figure = Figure(figsize=(15, 11), dpi=75, layout="constrained")
    grid = figure.add_gridspec(4, 3)
    half = len(times) // 2
    for row, frames in enumerate((slice(None, half + 1), slice(half, None))):
        axes = figure.add_subplot(grid[row, :])
        _draw_side(axes, motion_positions[frames], skeleton)
        axes.set_title(f"from the right-hand side, {times[frames][0]:.2f} to {times[frames][-1]:.2f} s", fontsize=10)
    _draw_top(figure.add_subplot(grid[2:, 0]), motion_positions, feet, skeleton)
    height, speed = figure.add_subplot(grid[2, 1:]), figure.add_subplot(grid[3, 1:])
    step = np.diff(motion_positions, axis=0) / np.diff(times)[:, None, None]
    for i in feet:
        color = np.array(side_color(skeleton, i)) / 255
        style = "-" if skeleton.joints[i].lower().endswith("heel") else "--"
        height.plot(times, motion_positions[:, i, 1], style, color=color, label=skeleton.joints[i])
        speed.plot(times[1:], np.linalg.norm(step[:, i], axis=-1), style, color=color)
    height.plot(times, motion_positions[:, 0, 1] - 0.5, color="0.5", label=f"{skeleton.joints[0]} - 0.5 m")
    _shade_contacts(height, times, contacts, feet if contact_joints is None else list(contact_joints), skeleton)
    height.set_ylabel("height, m")
    height.legend(fontsize=8, ncols=5)
    speed.set(ylabel="speed, m/s", xlabel="time, s")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _draw_side(axes, positions: np.ndarray, skeleton: Skeleton) -> None:  # type: ignore[no-untyped-def]
    """Stick figures spread along time: the body's own sagittal plane to the right, height up."""
    shown = np.unique(np.linspace(0, len(positions) - 1, 14).astype(int))
    left = np.array([skeleton.mirror[j] > j for j in range(len(skeleton))])
    across = positions[:, left].mean(1) - positions[:, np.array(skeleton.mirror)[left]].mean(1)
    forward = np.cross(across, [0.0, 1.0, 0.0])
    forward /= np.maximum(np.linalg.norm(forward, axis=-1, keepdims=True), 1e-9)
    for k, i in enumerate(shown):
        flat = np.stack([(positions[i] - positions[i, 0]) @ forward[i] + 0.75 * k, positions[i, :, 1]], -1)
        for j, p in enumerate(skeleton.parents):
            if p >= 0:
                axes.plot(*flat[[p, j]].T, color=np.array(side_color(skeleton, j)) / 255, lw=1.5)
    axes.axhline(0, color="0.3", lw=0.8)
    axes.set(aspect="equal", xticks=[], ylabel="height, m")


def _draw_top(axes, positions: np.ndarray, feet: list[int], skeleton: Skeleton) -> None:  # type: ignore[no-untyped-def]
    axes.plot(positions[:, 0, 0], positions[:, 0, 2], color="0.4")
    for i in feet:
        color = np.array(side_color(skeleton, i)) / 255
        axes.plot(positions[:, i, 0], positions[:, i, 2], ".", ms=2, color=color)
    axes.invert_yaxis()
    axes.set(aspect="equal", xlabel="x, m", ylabel="z, m (towards the camera)", title="from above")


def _shade_contacts(axes, times, contacts, joints, skeleton) -> None:  # type: ignore[no-untyped-def]
    if contacts is None:
        return
    for f, j in enumerate(joints):
        low = -0.03 - 0.02 * f
        color = np.array(side_color(skeleton, j)) / 255
        axes.fill_between(times, low, low - 0.015, where=np.asarray(contacts)[:, f] > 0.5, color=color, lw=0)
