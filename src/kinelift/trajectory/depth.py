"""How far away the person is, as a depth network sees it: metric where the network is, else up to scale and shift."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kinelift.errors import RecordError
from kinelift.records import _Record, frozen_array


@dataclass(frozen=True, eq=False)
class PersonDepth(_Record):
    """Depth of one person's pelvis through a clip, from pixels.

    Attributes:
        z: (T,) along the optical axis, in camera axes; NaN where unknown. Metres if `metric`, else a depth that is
            right up to one scale and one shift for the clip.
        sigma: (T,) standard deviation of single frames, in the units of `z`; NaN where `z` is.
        metric: Whether `z` is in metres.
        source: What gave it, in plain words for the report.
    """

    z: np.ndarray
    sigma: np.ndarray
    metric: bool
    source: str

    def __post_init__(self) -> None:
        frozen_array(self, "z", (None,))
        frozen_array(self, "sigma", (len(self.z),))
        known = np.isfinite(self.z)
        if np.isinf(self.z).any() or not (np.isfinite(self.sigma) & (self.sigma > 0))[known].all():
            raise RecordError("depth: expected finite z or NaN, and a positive sigma where z is known")
