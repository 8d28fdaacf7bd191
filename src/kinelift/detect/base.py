"""What a 2D detector is: frames in, per frame the persons it sees out.

A detector does not choose whom to follow and knows nothing of the clip's end: `follow.py` does that for all of them.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from kinelift.records import Frame, Pose2D
from kinelift.skeleton import Skeleton


@dataclass(frozen=True, eq=False)
class Candidate:
    """One person in one frame.

    Attributes:
        xy: (J, 2) pixels, centres at integers; NaN where unseen.
        confidence: (J,) in [0, 1]; 0 where unseen.
        detector_3d: (J, 3) metres in the camera's axes (x right, y down, z forward), relative to the middle of the
            hips, or None.
    """

    xy: np.ndarray
    confidence: np.ndarray
    detector_3d: np.ndarray | None = None


@runtime_checkable
class Detector(Protocol):
    """Finds key points of persons.

    Attributes:
        name: The registry's name.
        skeleton: Names of the J key points.
    """

    name: str
    skeleton: Skeleton

    def detect(self, frames: Iterable[Frame]) -> Iterator[list[Candidate]]:
        """For each frame in turn, the persons seen in it (perhaps none), the surest first.

        Reads the frames one by one and keeps none. All state of a clip lives in the call, so a detector object may
        be used again, and the same frames give the same answer.
        """
        ...

    def provenance(self) -> dict[str, Any]:
        """What made the key points, for the output's `meta`: library versions, weights and their SHA-256."""
        ...


@dataclass(frozen=True, eq=False)
class Detection:
    """One person of a video, or of a file of key points, in 2D.

    Attributes:
        pose: The followed person.
        cuts: Indices of frames that start a new shot.
        persons: How many persons were seen.
        warnings: What the user should know, a line each.
        source: The video's own metadata (see `FrameSource.metadata`), with `fps` and `name`.
        provenance: What made the key points.
    """

    pose: Pose2D
    cuts: tuple[int, ...]
    persons: int
    warnings: tuple[str, ...]
    source: dict[str, Any]
    provenance: dict[str, Any]

    def shots(self) -> list[slice]:
        """The frames between cuts."""
        edges = [0, *self.cuts, len(self.pose.times)]
        return [slice(a, b) for a, b in itertools.pairwise(edges)]


def sha256(path: Path) -> str:
    """Of a network's file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
