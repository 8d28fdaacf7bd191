"""Poses as a camera aimed at the hip sees them, and what turns, projects and lifts them.

Aimed axes: the camera turned so that the hip lies on its axis; y stays as upright as it was. A lifter that is given a
pose without its place in the picture can only answer in these. Distances are in units of the pose's own spread (about
half a metre): with a known lens the hip is 1 / spread of its rays away, else 10, as in ElePose (Wandt et al. 2022).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kinelift.datasets.base import PoseSet
from kinelift.errors import InputError, MissingExtraError
from kinelift.lift.projection import normalised

try:
    import torch
except ImportError:  # pragma: no cover - depends on the installation
    raise MissingExtraError("training", "pip install 'kinelift[train]'") from None
from torch import Tensor

UNKNOWN_DISTANCE = 10.0
_NEAREST = 1.0  # depth in spreads that no joint may come closer than


@dataclass(frozen=True, eq=False)
class Seen:
    """N poses.

    Attributes:
        flat: (N, 17, 2) aimed and `normalised`.
        distance: (N,) of the hip, in spreads.
        rays: (N, 17, 2) in the camera's axes; with an unknown lens, in the aimed ones.
        rotation: (N, 3, 3), aimed axes from the camera's: x_aimed = R x_cam.
        sequence: (N,) numbers of their clips, 0 to C - 1, rising.
        placed: Whether every lens is known, so that the hip's path means something.
    """

    flat: Tensor
    distance: Tensor
    rays: Tensor
    rotation: Tensor
    sequence: Tensor
    placed: bool

    @classmethod
    def of(cls, data: PoseSet, device: torch.device | str = "cpu") -> Seen:
        """The poses of a set. Raises `InputError` for one whose joints all coincide."""
        rays, known = data.rays(), np.array([c is not None for c in data.cameras])[data.sequence]
        rotation = aiming(np.where(known[:, None], rays[:, 0], 0))
        seen = np.concatenate([rays, np.ones((*rays.shape[:2], 1))], -1) @ np.swapaxes(rotation, 1, 2)
        flat, spread = normalised(np.where(known[:, None, None], seen[..., :2] / seen[..., 2:], rays))
        if not (spread > 0).all():
            raise InputError(f"{data.name}: a pose's joints all coincide; leave such poses out")
        distance = np.where(known, 1 / spread, UNKNOWN_DISTANCE)
        rays = np.where(known[:, None, None], rays, flat / UNKNOWN_DISTANCE)
        sequence = np.unique(data.sequence, return_inverse=True)[1]

        def tensor(a: np.ndarray) -> Tensor:
            return torch.from_numpy(np.asarray(a, np.float32)).to(device)

        clips = torch.from_numpy(sequence).to(device)
        return cls(tensor(flat), tensor(distance), tensor(rays), tensor(rotation), clips, bool(known.all()))

    def __len__(self) -> int:
        return len(self.flat)

    def in_camera(self, x: Tensor) -> Tensor:
        """Aimed root-relative positions (N, 17, 3) in the camera's axes."""
        return x @ self.rotation

    def in_aimed(self, x: Tensor) -> Tensor:
        """Positions (N, 17, 3) in the camera's axes, root-relative in the aimed ones."""
        return (x - x[:, :1]) @ self.rotation.transpose(1, 2)


def aiming(root: np.ndarray) -> np.ndarray:
    """(N, 3, 3) rotations that bring rays (N, 2) of the root onto the axis, x staying level in the camera's axes."""
    forward = np.concatenate([root, np.ones((len(root), 1))], 1)
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    right = np.cross([0.0, 1.0, 0.0], forward)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    return np.stack([right, np.cross(forward, right), forward], 1)


def lifted(flat: Tensor, depths: Tensor, distance: Tensor) -> Tensor:
    """Root-relative positions (N, 17, 3) of poses (N, 17, 2) with depths (N, 17) from the hip, all in spreads."""
    z = (distance[:, None] + depths).clamp(min=_NEAREST)
    return torch.cat([flat * (z / distance[:, None])[..., None], (z - distance[:, None])[..., None]], -1)


def projected(x: Tensor, distance: Tensor) -> Tensor:
    """Picture (N, 17, 2) of root-relative positions (N, 17, 3) in aimed axes, at the size they have at the hip."""
    z = (distance[:, None] + x[..., 2]).clamp(min=_NEAREST)
    return x[..., :2] * (distance[:, None] / z)[..., None]


def shaped(picture: Tensor) -> tuple[Tensor, Tensor]:
    """`normalised` for tensors: (N, 17, 2) with the hip at the origin to (N, 17, 2) and its spread (N,)."""
    spread = picture[:, 1:].square().sum(-1).add(1e-12).sqrt().mean(1)
    return picture / spread[:, None, None], spread


def turn_x(angle: Tensor) -> Tensor:
    """Rotations (N, 3, 3) about x by angles (N,)."""
    c, s, one, zero = angle.cos(), angle.sin(), torch.ones_like(angle), torch.zeros_like(angle)
    return torch.stack([one, zero, zero, zero, c, -s, zero, s, c], -1).view(-1, 3, 3)


def turn_y(angle: Tensor) -> Tensor:
    """Rotations (N, 3, 3) about y by angles (N,)."""
    c, s, one, zero = angle.cos(), angle.sin(), torch.ones_like(angle), torch.zeros_like(angle)
    return torch.stack([c, zero, s, zero, one, zero, -s, zero, c], -1).view(-1, 3, 3)


def orbiting(elevation: Tensor, azimuth: Tensor, new_elevation: Tensor) -> Tensor:
    """Rotations (N, 3, 3): level the view by its elevation, turn about the vertical, look from a new elevation.

    ElePose's Rx(-new) Ry(azimuth) Rx(elevation); elevations are negative for a camera that looks down.
    """
    return turn_x(-new_elevation) @ turn_y(azimuth) @ turn_x(elevation)


def moved(rotation: Tensor, x: Tensor) -> Tensor:
    """R x of rotations (N, 3, 3) or (1, 3, 3) and positions (N, 17, 3)."""
    return x @ rotation.transpose(1, 2)
