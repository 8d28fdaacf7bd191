"""Depth and scale, three ways, for `world.py`: geometry, the lifter's own depth cue, a metric depth network.

The network is synthetic, with stated errors (`NETWORK`), as networks are on data they were not trained on: none is
shipped. "Alone" places each frame by one kind of evidence, without clean-up; "in the solve" adds it to geometry. Where
the stature is not told, the solve takes what people's spread and the network say together (`trajectory.scale`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from _protocol import FPS, seeded, smooth_noise
from _world_baselines import placed, root_in_camera
from _world_cases import Case
from _world_measures import Score, score
from kinelift.cleanup import clean
from kinelift.cleanup.evidence import Weights
from kinelift.cleanup.settings import Given, Settings
from kinelift.kinematics import STATURE_PRIOR_M, motion_positions
from kinelift.records import Lifted
from kinelift.trajectory import scale
from kinelift.trajectory.depth import PersonDepth

# The lifter's word on the root's depth, as a share of it, where it is used.
CUE_SIGMA = 0.1


@dataclass(frozen=True)
class NetworkErrors:
    """Of a depth network, as shares of the depth.

    Attributes:
        clip: Scale of the whole clip.
        drift: Slow error, correlated over 1 s.
        frame: Each frame by itself.
    """

    clip: float = 0.10
    drift: float = 0.04
    frame: float = 0.03


NETWORK = NetworkErrors()


def network_depth(case: Case, errors: NetworkErrors = NETWORK) -> PersonDepth:
    """What a metric depth network might say of the pelvis."""
    rng = seeded(case.name, case.move, "depth")
    t = len(case.truth)
    log = errors.clip * rng.standard_normal() + errors.frame * rng.standard_normal(t)
    z = case.camera.to_camera(case.truth[:, :1])[:, 0, 2] * np.exp(log + errors.drift * smooth_noise(rng, (t,), 1.0))
    return PersonDepth(z, max(float(np.hypot(errors.drift, errors.frame)), 0.01) * z, True, "a metric depth network")


def alone(case: Case, lifted: Lifted, height_m: float) -> dict[str, tuple[Score, float]]:
    """Each kind of evidence by itself, frame by frame: its score and mean error of the root's depth, mm."""
    cue = None if lifted.depth_cue is None else np.asarray(lifted.depth_cue) * height_m / STATURE_PRIOR_M
    depths = {"geometry": None, "depth cue": cue, "depth network": network_depth(case).z}
    out = {}
    for name, z in depths.items():
        if name == "geometry" or z is not None:
            p = placed(lifted, case.pose, case.lens, height_m, case.path, z=z)
            shape = lifted.positions * height_m / STATURE_PRIOR_M
            root_z = root_in_camera(shape, case.pose, case.lens, z)[:, 2]
            out[name] = score(case.name, p, case.truth, FPS), _depth_error(case, root_z)
    return out


def in_solve(case: Case, lifted: Lifted, height_m: float | None) -> dict[str, tuple[Score, float]]:
    """Geometry in the whole-clip solve, and what else may join it; the stature told, or None."""
    network = network_depth(case)
    cued = Settings(weights=Weights(depth_cue=CUE_SIGMA))
    ways = {
        "geometry": (None, Settings()),
        "+ depth cue": (None, cued),
        "+ depth network": (network, Settings()),
        "+ both": (network, cued),
    }
    out = {}
    for name, (depth, settings) in ways.items():
        height = _height(case, lifted, depth) if height_m is None else height_m
        result = clean(lifted, case.pose, case.lens, height, given=Given(case.path, depth), settings=settings)
        root_z = result.camera.to_camera(result.motion.root[:, None])[:, 0, 2]
        out[name] = (
            score(case.name, motion_positions(result.motion), case.truth, FPS),
            _depth_error(case, root_z),
        )
    return out


def _height(case: Case, lifted: Lifted, depth: PersonDepth | None) -> float:
    """The stature that people's spread and the network, where there is one, say together."""
    witnesses: list[scale.Stature | None] = [scale.people()]
    if depth is not None:
        witnesses.append(scale.of_network(depth, root_in_camera(lifted.positions, case.pose, case.lens)[:, 2]))
    return scale.combined(witnesses).height_m


def _depth_error(case: Case, z: np.ndarray) -> float:
    return float(np.abs(z - case.camera.to_camera(case.truth[:, :1])[:, 0, 2]).mean() * 1000)
