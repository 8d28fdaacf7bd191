"""What several tests share: cameras that look at a point, a walk by rule, and the data folder where there is one."""

import os
from pathlib import Path

import numpy as np
import pytest

from kinelift.camera import Camera
from kinelift.kinematics import forward_kinematics, reference_offsets, rotvec_to_matrix
from kinelift.skeleton import BODY26


@pytest.fixture(scope="session")
def data() -> Path:
    """The data folder: $KINELIFT_DATA, else shared/data beside the repository."""
    root = Path(__file__).resolve().parent.parent
    folder = Path(os.environ.get("KINELIFT_DATA", root.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("no data folder (set KINELIFT_DATA)")
    return folder


def _look_at(position, target, focal_px=1200.0, image_size=(1920, 1080), distortion=(0, 0, 0, 0, 0)) -> Camera:
    position, forward = np.asarray(position, float), np.subtract(target, position)
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, [0, 1.0, 0])
    right /= np.linalg.norm(right)
    R = np.stack([right, np.cross(forward, right), forward])
    return Camera.from_focal(focal_px, image_size).replaced(
        R_cam_world=R, t_cam_world=-R @ position, distortion=np.array(distortion, float)
    )


def _turn(axis: int, radians: np.ndarray) -> np.ndarray:
    v = np.zeros((len(radians), 3))
    v[:, axis] = radians
    return rotvec_to_matrix(v)


def _walk(times, stature_m=1.7, heading=0.0):
    """A walk towards +Z turned by `heading` radians: 0.9 m/s, flat soles that stay exactly where they are planted.

    Returns local rotations (T, 26, 3, 3), offsets (26, 3), the root's path (T, 3) and contact (T, 4).
    """
    times = np.asarray(times, float)
    size, speed, cycle_s, stance = stature_m / 1.7, 0.9, 1.0, 0.6
    offsets, b = reference_offsets(stature_m), BODY26.index
    local = np.broadcast_to(np.eye(3), (len(times), 26, 3, 3)).copy()
    root = np.stack([0 * times, 0.84 + 0.012 * np.cos(4 * np.pi * times / cycle_s), speed * times], -1) * size
    thigh, shank = (np.linalg.norm(offsets[b(j)]) for j in ("left_knee", "left_ankle"))
    contact = np.zeros((len(times), 4))
    for i, (side, sign) in enumerate((("left", 1.0), ("right", -1.0))):
        cycle = times / cycle_s + i / 2
        n, u = np.floor(cycle), cycle % 1
        s = np.clip((u - stance) / (1 - stance), 0, 1)
        foothold = speed * cycle_s * (n - i / 2 + stance / 2 + s**3 * (10 - 15 * s + 6 * s * s))
        z = foothold * size - root[:, 2]
        y = root[:, 1] + offsets[b(f"{side}_heel"), 1] - 0.10 * size * 16 * s**2 * (1 - s) ** 2
        d, forward = np.hypot(y, z), np.arctan2(z, y)
        hip = forward + np.arccos((thigh**2 + d**2 - shank**2) / (2 * thigh * d))
        below = forward - np.arccos((shank**2 + d**2 - thigh**2) / (2 * shank * d))
        local[:, b(f"{side}_hip")] = _turn(0, -hip)
        local[:, b(f"{side}_knee")] = _turn(0, hip - below)
        local[:, b(f"{side}_ankle")] = _turn(0, below)
        swing = 0.4 * np.cos(2 * np.pi * cycle)
        local[:, b(f"{side}_shoulder")] = _turn(0, swing) @ _turn(2, 0 * swing - sign * 1.3)
        local[:, b(f"{side}_elbow")] = _turn(1, 0 * swing - sign * 0.5)
        contact[:, [2 * i, 2 * i + 1]] = (u < stance)[:, None]
    local[:, b("spine")] = _turn(1, 0.08 * np.sin(2 * np.pi * times / cycle_s))
    ahead = _turn(1, 0 * times + heading)
    local[:, 0] = ahead
    return local, offsets, np.einsum("tij,tj->ti", ahead, root), contact


@pytest.fixture(scope="session")
def look_at():
    return _look_at


@pytest.fixture(scope="session")
def walk_rig():
    return _walk


@pytest.fixture(scope="session")
def walk():
    """World positions (T, 26, 3) in metres of the walk at given times."""

    def positions(times, **kwargs):
        local, offsets, root, _ = _walk(times, **kwargs)
        return forward_kinematics(BODY26, offsets, local, root)[0]

    return positions
