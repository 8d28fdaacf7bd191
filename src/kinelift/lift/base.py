"""What a lifter is: one person's 2D key points in, root-relative 3D out."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np

from kinelift.camera import Camera
from kinelift.errors import InputError, KineliftError
from kinelift.records import Lifted, Pose2D
from kinelift.skeleton import BODY26, JOINT_MAPS, Skeleton, joint_map


@runtime_checkable
class Lifter(Protocol):
    """Lifts 2D key points to 3D.

    Attributes:
        name: The registry's name or the file's.
        skeleton: The key points it wants; every detector's are mapped to them by the named tables.
    """

    name: str
    skeleton: Skeleton

    def lift(self, pose: Pose2D, camera: Camera) -> Lifted:
        """3D of `pose` (in `self.skeleton`, any frame rate, gaps allowed) at the same times, in the camera's axes."""
        ...

    def provenance(self) -> dict[str, Any]:
        """What `meta` says of it: weights, hash, licence."""
        ...


def answer(lifter: Lifter, pose: Pose2D, camera: Camera) -> Lifted:
    """The lifter's answer, whoever wrote the lifter: what it does wrong becomes one line."""
    try:
        lifted = lifter.lift(pose, camera)
    except KineliftError:
        raise
    except Exception as e:
        raise InputError(f"lifter '{lifter.name}' failed: {type(e).__name__}: {e}") from e
    if not isinstance(lifted, Lifted) or len(lifted.times) != len(pose.times):
        raise InputError(
            f"lifter '{lifter.name}': expected Lifted with {len(pose.times)} frames, got {type(lifted).__name__}"
        )
    return lifted


def mapped(pose: Pose2D, skeleton: Skeleton) -> Pose2D:
    """Key points carried to another skeleton by the named tables (through body26 where there is no direct one)."""
    if pose.skeleton.joints == skeleton.joints:
        return pose
    names = pose.skeleton.name, skeleton.name
    if names not in JOINT_MAPS and BODY26.name not in names:
        pose = mapped(pose, BODY26)
    weights = joint_map(pose.skeleton, skeleton)
    xy, confidence = _combined(pose.xy, pose.confidence, weights)
    d3 = None
    if pose.detector_3d is not None:
        d3, _ = _combined(pose.detector_3d, pose.confidence, weights)
    return pose.replaced(skeleton=skeleton, xy=xy, confidence=confidence, detector_3d=d3)


def _combined(x: np.ndarray, confidence: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted means (T, J2, C) of points (T, J, C); missing where any source is. Confidence is the sources' least."""
    used = weights != 0
    out = np.einsum("ij,tjc->tic", weights, np.nan_to_num(x))
    least = np.where(used[None], confidence[:, None], 1.0).min(-1)
    least = np.where(used.any(1), least, 0.0)
    out[least <= 0] = np.nan
    return out, least
