"""What the whole-clip fit may be given beside poses and key points, and how it is to weigh and use its evidence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from kinelift.cleanup.solve import Weights
from kinelift.errors import InputError

if TYPE_CHECKING:
    from kinelift.trajectory.depth import PersonDepth
    from kinelift.trajectory.odometry import CameraPath

FOOT_LOCKS = ("auto", "always", "never", "ground")


@dataclass(frozen=True, eq=False)
class Given:
    """Evidence from outside the lifter and the key points; None where there is none. T is the clip's frames.

    Attributes:
        path: How the camera moved.
        depth: Depth of the pelvis, in the camera's axes.
        contact: (T, 4) in [0, 1], NaN where not given: wins over contact as re-estimated.
        support_y: (T, 4) height in the world of what a sole stands on, NaN where not given.
    """

    path: CameraPath | None = None
    depth: PersonDepth | None = None
    contact: np.ndarray | None = None
    support_y: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Settings:
    """How to fit.

    Attributes:
        foot_lock: "auto", "always", "never" or "ground": what planted soles are held to.
        joint_limits: Whether joints keep within published ranges of motion.
        asymmetric: Whether bones of the left and of the right may differ in length.
        treadmill: Whether the belt moves under the person, who stays in place.
        weights: Standard deviations of each kind of evidence.
    """

    foot_lock: str = "auto"
    joint_limits: bool = True
    asymmetric: bool = False
    treadmill: bool = False
    weights: Weights = field(default_factory=Weights)

    def __post_init__(self) -> None:
        if self.foot_lock not in FOOT_LOCKS:
            raise InputError(f"unknown foot lock '{self.foot_lock}'; known: {', '.join(FOOT_LOCKS)}")
