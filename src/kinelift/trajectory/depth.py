"""How far away the person is, as a depth network sees it: metric where the network is, else up to scale and shift.

Networks are the user's ONNX files, known by their inputs and outputs: Depth Anything V2 (Yang et al. 2024, arXiv
2406.09414), metric or relative, and MoGe-2 (Wang et al. 2025, arXiv 2507.02546). One network run takes seconds on a
CPU, so the clip is sampled in time and the samples are joined by straight lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kinelift.errors import InputError, RecordError
from kinelift.records import Frame, Pose2D, _Record, frozen_array
from kinelift.safe.onnx import open_network, origin

# Depth Anything: sides are multiples of its patch, with about as many pixels as in its training.
_PATCH, _PIXELS = 14, 518 * 518
_MEAN, _STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
# MoGe-2: the least tokens it was trained with, and the longest side it is asked for.
_TOKENS, _LONGEST = 1200, 672
_WIDEST = 4096
# Metres from the skin that a camera sees down to the pelvis, which lies halfway through a trunk of about 0.2 m.
_SKIN_TO_PELVIS_M = 0.10
# Standard deviation of one frame's depth over its depth, apart from what its samples say.
_SIGMA_FRAME = 0.03
# Seconds between two looks, and how many looks a clip is worth at most.
SAMPLE_S, MOST_SAMPLES = 0.5, 600


_Answer = Callable[[Any, np.ndarray], tuple[np.ndarray, float | None]]


@dataclass(frozen=True, eq=False)
class PersonDepth(_Record):
    """Depth of one person's pelvis through a clip, from pixels.

    Attributes:
        z: (T,) along the optical axis, in camera axes; NaN where unknown. Metres if `metric`, else a depth that is
            right up to one scale and one shift for the clip.
        sigma: (T,) standard deviation of single frames, in the units of `z`; NaN where `z` is.
        metric: Whether `z` is in metres.
        source: What gave it, in plain words for the report.
        focal_px: Focal length in pixels of the clip's pictures that the network reads off them; None where it does not.
    """

    z: np.ndarray
    sigma: np.ndarray
    metric: bool
    source: str
    focal_px: float | None = None

    def __post_init__(self) -> None:
        frozen_array(self, "z", (None,))
        frozen_array(self, "sigma", (len(self.z),))
        known = np.isfinite(self.z)
        if np.isinf(self.z).any() or not (np.isfinite(self.sigma) & (self.sigma > 0))[known].all():
            raise RecordError("depth: expected finite z or NaN, and a positive sigma where z is known")


class DepthNetwork:
    """A depth network read from an ONNX file.

    Args:
        path: The file. Depth Anything V2 as exported: one image (1, 3, H, W) in, one depth (1, H, W) or (1, 1, H, W)
            out, in metres where the output comes from a sigmoid (the metric networks), inverse depth where it comes
            from a ReLU. MoGe-2: `image`, and `num_tokens` or not, in; `points`, `mask`, `metric_scale` out.
        threads: For ONNX Runtime.

    Attributes:
        metric: Whether depths are in metres.
        layout: "depth", "inverse depth" or "points".

    Raises `InputError` for any other file, naming what was found.
    """

    def __init__(self, path: str | Path, threads: int = 1):
        self.path = Path(path)
        self._session, weights = open_network(self.path, "cannot be loaded as a depth network", threads)
        self.layout = _layout(self._session, weights)
        if self.layout is None:
            raise InputError(f"{self.path}: is no depth network known here: {_told(self._session)}; {_ACCEPTED}")
        self.metric = self.layout != "inverse depth"
        self._answer: _Answer = _moge if self.layout == "points" else _depth_anything

    @property
    def source(self) -> str:
        """Plain words for the report."""
        return f"{'metric' if self.metric else 'relative'} depth network {self.path.name}"

    def depth(self, image: np.ndarray) -> tuple[np.ndarray, float | None]:
        """Depth (h, w) of an upright RGB picture (H, W, 3) uint8, a smaller grid over the same picture.

        Along the optical axis, metres if `metric`, else up to scale; NaN where the network sees nothing there. And the
        picture's focal length in pixels, where the network tells it. Raises `InputError`.
        """
        try:
            z, focal_px = self._answer(self._session, image)
        except Exception as e:  # shapes that do not fit, in numpy's words or in ONNX Runtime's private types
            reason = str(e).splitlines()[0][:200] if str(e) else type(e).__name__
            raise InputError(f"{self.path}: does not answer as its layout should ({reason})") from None
        if self.layout == "inverse depth":
            z = 1 / np.where(z > 1e-6, z, np.nan)
        return np.where(np.isfinite(z) & (z > 0), z, np.nan), focal_px


_ACCEPTED = (
    "accepted are Depth Anything V2 (an image in; a depth of 3 or 4 dimensions out, made by a sigmoid where metric, by"
    " a ReLU where relative) and MoGe-2 (image in; points, mask, metric_scale out)"
)


def _told(session: Any) -> str:
    def line(items: list[Any]) -> str:
        return ", ".join(f"{i.name[:40]} {i.shape}" for i in items[:6])

    return f"it takes {line(session.get_inputs())} and gives {line(session.get_outputs())}"


def _layout(session: Any, weights: bytes) -> str | None:
    """Which layout a network has, by its inputs and outputs and by what makes them."""
    inputs, outputs = session.get_inputs(), {o.name: o for o in session.get_outputs()}
    if not inputs or not outputs:
        return None
    shape = inputs[0].shape
    picture = inputs[0].type == "tensor(float)" and len(shape) == 4 and (shape[1] == 3 or not isinstance(shape[1], int))
    if not picture or any(isinstance(n, int) and n > _WIDEST for n in shape):
        return None
    if {"points", "mask", "metric_scale"} <= set(outputs):
        known = len(inputs) == 1 or (len(inputs) == 2 and inputs[1].name == "num_tokens")
        return "points" if known and len(outputs["points"].shape or [0] * 4) == 4 else None
    (name, output), *more = outputs.items()
    if len(inputs) > 1 or more or output.type != "tensor(float)" or len(output.shape or [0] * 3) not in (3, 4):
        return None
    return {"Sigmoid": "depth", "Relu": "inverse depth"}.get(origin(weights, name))


def _resized(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """(1, 3, height, width) float32 in [0, 1] of a picture (H, W, 3) uint8."""
    import cv2

    small = image.shape[0] > height
    picture = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if small else cv2.INTER_LINEAR)
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32) / 255


def _depth_anything(session: Any, image: np.ndarray) -> tuple[np.ndarray, None]:
    height, width = image.shape[:2]
    asked = session.get_inputs()[0].shape[2:]
    scale = np.sqrt(_PIXELS / (width * height))
    h, w = (
        a if isinstance(a, int) else max(round(n * scale / _PATCH), 1) * _PATCH
        for a, n in zip(asked, (height, width), strict=True)
    )
    x = (_resized(image, w, h) - _MEAN[:, None, None]) / _STD[:, None, None]
    z = np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0], float)
    return z.reshape(z.shape[-2:]), None


def _moge(session: Any, image: np.ndarray) -> tuple[np.ndarray, float | None]:
    height, width = image.shape[:2]
    inputs = session.get_inputs()
    scale = min(_LONGEST / max(width, height), 1.0)
    asked = inputs[0].shape[2:]
    h, w = (a if isinstance(a, int) else round(n * scale) for a, n in zip(asked, (height, width), strict=True))
    # A fixed input of other proportions has grey bars: the network's geometry would be wrong in a stretched picture.
    scale = min(h / height, w / width)
    inner_h, inner_w = min(round(height * scale), h), min(round(width * scale), w)
    top, left = (h - inner_h) // 2, (w - inner_w) // 2
    inside = np.s_[top : top + inner_h, left : left + inner_w]
    x = np.full((1, 3, h, w), 0.5, np.float32)
    x[0][(slice(None), *inside)] = _resized(image, inner_w, inner_h)[0]
    given = {inputs[0].name: x}
    if len(inputs) == 2:
        given[inputs[1].name] = np.array(_TOKENS, np.int64).reshape(inputs[1].shape or ())
    said = dict(zip((o.name for o in session.get_outputs()), session.run(None, given), strict=True))
    points = np.asarray(said["points"], float).reshape(h, w, 3)[inside]
    seen = np.asarray(said["mask"]).reshape(h, w)[inside] > 0.5
    columns, rows = np.arange(w) - (w - 1) / 2, np.arange(h) - (h - 1) / 2
    uv = np.stack(np.meshgrid(columns, rows), -1)[inside]
    shift, focal = _shift(points[seen], uv[seen])
    z = (points[..., 2] + shift) * float(np.asarray(said["metric_scale"]).reshape(-1)[0])
    return np.where(seen, z, np.nan), None if focal is None else focal / scale


def _shift(points: np.ndarray, uv: np.ndarray) -> tuple[float, float | None]:
    """The shift s along z that brings points (N, 3) best to their pixels (N, 2), uv = f (x, y) / (z + s), and that f.

    MoGe's points are known up to it (Wang et al. 2025, section 3.1); f follows in closed form.
    """
    from scipy.optimize import minimize_scalar

    keep = np.isfinite(points).all(-1)
    points, uv = points[keep], uv[keep]
    if len(points) < 16:
        return 0.0, None
    step, size = max(len(points) // 4000, 1), max(float(np.abs(uv).max()), 1e-9)
    points, uv = points[::step], uv[::step] / size
    near, usual = np.percentile(points[:, 2], [1, 50])

    def fitted(s: float) -> tuple[float, np.ndarray]:
        p = points[:, :2] / np.maximum(points[:, 2:] + s, 1e-3 * usual)
        focal = float((p * uv).sum() / max((p * p).sum(), 1e-12))
        return focal, focal * p - uv

    reach = max(usual - near, 0.2 * abs(usual))
    bounds = (-0.9 * near, 4 * reach)

    def miss(s: float) -> float:  # a wall seen straight on leaves the shift open: then none
        return float((fitted(s)[1] ** 2).mean() + 1e-7 * (s / usual) ** 2)

    best = float(minimize_scalar(miss, bounds=bounds, method="bounded", options={"xatol": 1e-6 * abs(usual)}).x)
    return best, fitted(best)[0] * size


# Where the pelvis is looked for: from the middle of the trunk to the upper thighs, inside the silhouette.
_ACROSS, _ALONG = (0.25, 0.5, 0.75), (0.5, 0.7, 0.9, 1.0)


def _places(pose: Pose2D, k: int) -> np.ndarray:
    """Pixels (N, 2) on the person's trunk in frame k; empty where hips or shoulders are unseen."""
    names = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
    j = pose.skeleton.indices(*names)
    if not pose.seen[k, j].all():
        return np.zeros((0, 2))
    (a, b), (c, d) = pose.xy[k, j[:2]], pose.xy[k, j[2:]]
    return np.array([(1 - v) * ((1 - u) * a + u * b) + v * ((1 - u) * c + u * d) for v in _ALONG for u in _ACROSS])


def _sampled(z: np.ndarray, xy: np.ndarray, size: tuple[int, int]) -> tuple[float, float]:
    """Median of a depth map (h, w) at pixels (N, 2) of a picture of `size`, and the median's own uncertainty."""
    h, w = z.shape
    at = np.floor((xy + 0.5) * [w / size[0], h / size[1]]).astype(int)
    inside = ((at >= 0) & (at < [w, h])).all(-1)
    values = z[at[inside, 1], at[inside, 0]]
    values = values[np.isfinite(values)]
    if len(values) < 4:
        return np.nan, np.nan
    middle = float(np.median(values))
    return middle, 1.48 * float(np.median(np.abs(values - middle))) / np.sqrt(len(values) / 2)


def person_depth(frames: Iterable[Frame], pose: Pose2D, network: DepthNetwork) -> PersonDepth:
    """Depth of the pelvis through a clip.

    `frames` have the times of `pose`, whose skeleton names shoulders and hips. The network looks every half second
    (at most 600 times a clip); between two looks a straight line, NaN where the person is unseen. Only one picture is
    held at a time. Raises `InputError`.
    """
    times = pose.times
    every = max(SAMPLE_S, float(np.ptp(times)) / MOST_SAMPLES)
    z, sigma = np.full(len(times), np.nan), np.full(len(times), np.nan)
    due, focals = -np.inf, []
    for k, frame in zip(range(len(times)), frames, strict=False):
        places = _places(pose, k) if times[k] >= due else np.zeros((0, 2))
        if not len(places):
            continue
        seen, focal = network.depth(frame.image)
        focals += [] if focal is None else [focal]
        z[k], spread = _sampled(seen, places, pose.image_size)
        z[k] += _SKIN_TO_PELVIS_M if network.metric else 0.0
        sigma[k] = np.hypot(_SIGMA_FRAME * z[k], spread)
        due = times[k] + every
    known = np.flatnonzero(np.isfinite(z))
    if len(known):
        looked = times[known]
        after = np.clip(np.searchsorted(looked, times), 1, max(len(known) - 1, 1))
        near = np.minimum(np.abs(times - looked[after - 1]), np.abs(times - looked[np.minimum(after, len(known) - 1)]))
        reached: np.ndarray = pose.detected & (near <= every)
        z = np.where(reached, np.interp(times, times[known], z[known]), np.nan)
        sigma = np.where(reached, np.interp(times, times[known], sigma[known]), np.nan)
    return PersonDepth(z, sigma, network.metric, network.source, float(np.median(focals)) if focals else None)
