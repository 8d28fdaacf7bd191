"""What the whole-clip fit may be given beside poses and key points, and how it is to weigh and use its evidence."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from kinelift.cleanup.contacts import FOOT_LOCKS
from kinelift.cleanup.evidence import Weights
from kinelift.errors import UnknownNameError

if TYPE_CHECKING:
    from kinelift.trajectory.depth import PersonDepth
    from kinelift.trajectory.odometry import CameraPath

# Standard deviation and bend of its height, where the lowest sole is on the floor however high the picture shows it.
_GROUND_M, _GROUND_BEND_M = 0.01, 0.5


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

    def sliced(self, frames: slice) -> Given:
        """The same for some of the frames; `path` stays whole, since it starts at the clip's first camera."""
        depth = self.depth
        if depth is not None:
            depth = depth.replaced(z=depth.z[frames], sigma=depth.sigma[frames])
        contact, support_y = (None if x is None else x[frames] for x in (self.contact, self.support_y))
        return replace(self, depth=depth, contact=contact, support_y=support_y)


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
            raise UnknownNameError("foot lock", self.foot_lock, FOOT_LOCKS)

    def solving(self) -> Weights:
        """The weights of the solve under the other settings."""
        weights = self.weights if self.joint_limits else self.weights.without("limits")
        if self.foot_lock != "ground":
            return weights
        return replace(weights, contact_height_m=_GROUND_M, contact_height_bend_m=_GROUND_BEND_M)
