"""What `world.py` measures of one clip, how clips are pooled, and the bars of each table."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from kinelift import metrics
from kinelift.datasets.mocap import SOLES
from kinelift.kinematics import mass_weights
from kinelift.skeleton import BODY26
from lifting import Bar

LIMBS = BODY26.indices(*metrics.LIMBS)
# A body that flies falls, so many times as fast as gravity has it (a short one is measured badly), and no sole of it is
# faster than a kick, m/s.
_FALLS, _FASTEST_M_S = (0.5, 2.0), 12.0
_GRAVITY_M_S2 = 9.81
# RTE means something on longer paths only; shorter ones state the root's error.
LONG_PATH_M = 4.0

WHERE = {"abs": "Abs", "wa": "WA100", "w": "W100", "rte": "RTE %", "root": "root mm", "scale": "scale %", "pa": "PA"}
WHERE |= {"wobble": "wobble"}
HOW = {"slide": "slide", "own_slide": "true", "jitter": "jitter", "own_jitter": "true", "sink": "sink"}
HOW |= {"own_sink": "true", "float": "float", "own_float": "true", "flight": "flight %", "f1": "contact F1"}
HOW |= {"abs": "Abs"}


@dataclass(frozen=True, eq=False)
class Score:
    """One clip measured.

    Attributes:
        name: The clip's.
        values: Measures by name; NaN where the clip has none.
        root_mm, path_m: The root's mean error and the true path's length.
        flights: Found over true height of every jump that is one (`falls`).
        doubted: How many spans of the truth look like jumps and are none.
        contact: Hits, predicted and true contacts.
    """

    name: str
    values: dict[str, float]
    root_mm: float
    path_m: float
    flights: list[float] = field(default_factory=list)
    contact: tuple[float, float, float] = (0.0, 0.0, 0.0)
    doubted: int = 0


def score(
    name: str,
    found: np.ndarray,
    true: np.ndarray,
    fps: float,
    said: np.ndarray | None = None,
    contact: np.ndarray | None = None,
    eye: np.ndarray | None = None,
) -> Score:
    """World positions (T, 26, 3) against the truth, of which limbs, soles and pelvis need be known.

    `said` (T, 4) is the found contact, `contact` (T, 4) bool the true one, `eye` (3,) or (T, 3) the true camera.
    """
    a, b, feet, own = found[:, LIMBS], true[:, LIMBS], found[:, SOLES], true[:, SOLES]
    touching = np.zeros(own.shape[:2]) if contact is None else contact.astype(float)
    values = {
        "abs": metrics.abs_mpjpe(a, b),
        "w": metrics.w_mpjpe100(a, b, fps),
        "wa": metrics.wa_mpjpe100(a, b, fps),
        "pa": metrics.pa_mpjpe(a, b),
        "scale": metrics.scale_error(a, b),
        "slide": metrics.sliding_against(feet, own, fps),
        "own_slide": metrics.sliding_against(own, own, fps),
        "jitter": metrics.jitter(a, fps),
        "own_jitter": metrics.jitter(b, fps),
        "sink": metrics.penetration(feet),
        "own_sink": metrics.penetration(own),
        "float": metrics.floating(feet, touching),
        "own_float": metrics.floating(own, touching),
    }
    if eye is not None:
        values["wobble"] = wobble(found, true, eye)
    spans = metrics.flights(own, fps, contact)
    flown = [s for s in spans if falls(true, s, fps)]
    jumps = [metrics.flight_height(feet, s) / metrics.flight_height(own, s) for s in flown]
    hits = (0.0, 0.0, 0.0)
    if said is not None and contact is not None:
        hits = (float((contact & (said > 0.5)).sum()), float((said > 0.5).sum()), float(contact.sum()))
    root, path = metrics.root_error(found[:, 0], true[:, 0]), metrics.path_length(true[:, 0])
    return Score(name, values, root, path, jumps, hits, len(spans) - len(flown))


def falls(true: np.ndarray, span: slice, fps: float) -> bool:
    """Whether a span in which the soles of true positions (T, 26, 3) are off the floor is a flight, by what flying is.

    The centre of mass falls by about gravity. Mocap loses its markers now and then, and the whole figure leaps for a
    few frames: it then rises, or its feet move as no feet do.
    """
    height = np.nan_to_num(true[span, :, 1]) @ mass_weights()
    fall = -2 * np.polyfit(np.arange(len(height)) / fps, height, 2)[0] / _GRAVITY_M_S2
    around = slice(max(span.start - 1, 0), span.stop + 1)
    fastest = np.linalg.norm(np.diff(true[around][:, SOLES], axis=0), axis=-1).max() * fps
    return bool(_FALLS[0] < fall < _FALLS[1] and fastest < _FASTEST_M_S)


def aligned(points: np.ndarray, found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Points (T, J, 3) moved by the one rigid transform that brings `found` (T, N, 3) to `true` (T, N, 3) best."""
    fit = metrics.similarity(found.reshape(-1, 3), true.reshape(-1, 3), scale=False)
    return metrics.transform(points.reshape(-1, 3), *fit).reshape(points.shape)


def wobble(found: np.ndarray, true: np.ndarray, eye: np.ndarray) -> float:
    """Standard deviation over a clip, mm, of the limbs' mean error along the line of sight, frame by frame.

    Of positions (T, 26, 3) after one rigid alignment, from a camera at `eye` (3,) or (T, 3): the body's depth, which
    may sway with the feet where they are.
    """
    a, b = found[:, LIMBS], true[:, LIMBS]
    sight = b.mean(1) - eye
    sight /= np.linalg.norm(sight, axis=-1, keepdims=True)
    return float(1000 * np.std(((aligned(a, a, b) - b).mean(1) * sight).sum(-1)))


def pooled(scores: list[Score]) -> dict[str, float]:
    """Means over clips; RTE of the long paths together, root error of the short ones; size of the scale's error."""
    with np.errstate(all="ignore"):
        out = {k: _mean([s.values[k] for s in scores]) for k in scores[0].values}
    out["scale"] = _mean([abs(s.values["scale"]) for s in scores])
    far = [s for s in scores if s.path_m > LONG_PATH_M]
    out["rte"] = 100 * sum(s.root_mm for s in far) / 1000 / sum(s.path_m for s in far) if far else float("nan")
    out["root"] = _mean([s.root_mm for s in scores if s.path_m <= LONG_PATH_M])
    jumps = [100 * abs(f - 1) for s in scores for f in s.flights]
    out["flight"] = _mean(jumps)
    hit, said, true = np.sum([s.contact for s in scores], 0)
    out["f1"] = float(2 * hit / (said + true)) if said and true else float("nan")
    return out


def _mean(values: list[float]) -> float:
    known = [v for v in values if np.isfinite(v)]
    return float(np.mean(known)) if known else float("nan")


def bars_where(kind: str) -> dict[str, Bar]:
    """The bars of table 1: "given", "prior" or "moving"."""
    return {
        "given": {"abs": Bar(kind, "abs", 90), "wa": Bar(kind, "wa", 65), "rte": Bar(kind, "rte", 2)}
        | {"root": Bar(kind, "root", 60)},
        "prior": {"abs": Bar(kind, "abs", 160)},
        "moving": {"rte": Bar(kind, "rte", 5)},
    }[kind]


def bars_how(means: dict[str, float], without: dict[str, float]) -> dict[str, Bar]:
    """The bars of table 2, some of which depend on the truth's own numbers and on what no clean-up gives."""
    return {
        "slide": Bar("how", "slide", max(1.5, means["own_slide"] + 0.5)),
        "jitter": Bar("how", "jitter", 1.2 * means["own_jitter"]),
        "abs": Bar("how", "abs", without["abs"]),
        "sink": Bar("how", "sink", 5),
        "flight": Bar("how", "flight", 15),
    }
