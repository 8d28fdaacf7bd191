"""A character's animation, as files hold it: local rotations of the bones that move, and the path of one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kinelift.records import frozen_array


@dataclass(frozen=True, eq=False)
class Animation:
    """T frames of D driven bones; every other bone stays at rest on its parent.

    Attributes:
        times: (T,) seconds from 0.
        driven: (D,) bones that turn, parents first.
        rotations: (T, D, 4) their local quaternions xyzw, in the file's own axes; neighbours in one hemisphere.
        root: The bone that carries the path, one of `driven`.
        translation: (T, 3) its local translation, in its parent's axes and units.
        contacts: (T, 4) in [0, 1]: left heel, left toe, right heel, right toe stand.
        soles: (T, 4, 3) those points of the character, metres in kinelift's world.
    """

    times: np.ndarray
    driven: np.ndarray
    rotations: np.ndarray
    root: int
    translation: np.ndarray
    contacts: np.ndarray
    soles: np.ndarray

    def __post_init__(self) -> None:
        frozen_array(self, "times", (None,))
        frozen_array(self, "driven", (None,), np.int64)
        t, d = len(self.times), len(self.driven)
        for name, shape in (("rotations", (t, d, 4)), ("translation", (t, 3))):
            frozen_array(self, name, shape)
        for name, shape in (("contacts", (t, 4)), ("soles", (t, 4, 3))):
            frozen_array(self, name, shape)

    @property
    def fps(self) -> float:
        """Mean frames per second; 30 for a single frame."""
        return (len(self.times) - 1) / (self.times[-1] - self.times[0]) if len(self.times) > 1 else 30.0
