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


def _walk(times, stature_m=1.7, steps_hz=0.9, heading=0.0):
    """Local rotations, offsets and root path of a walk on flat soles towards +Z turned by `heading` radians."""
    times = np.asarray(times, float)
    offsets = reference_offsets(stature_m)
    b, o = BODY26.index, np.zeros(len(times))
    local = np.broadcast_to(np.eye(3), (len(times), 26, 3, 3)).copy()

    def about(axis, radians):
        v = np.zeros((len(times), 3))
        v[:, axis] = radians
        return rotvec_to_matrix(v)

    for side, sign in (("left", 1.0), ("right", -1.0)):
        phase = 2 * np.pi * steps_hz * times + (0 if sign > 0 else np.pi)
        hip, knee = 0.15 + 0.45 * np.sin(phase), 0.35 + 0.3 * np.cos(phase)
        local[:, b(f"{side}_hip")] = about(0, -hip)
        local[:, b(f"{side}_knee")] = about(0, knee)
        local[:, b(f"{side}_ankle")] = about(0, hip - knee)
        local[:, b(f"{side}_shoulder")] = about(0, 0.4 * np.sin(phase)) @ about(2, o - sign * 1.3)
        local[:, b(f"{side}_elbow")] = about(1, o - sign * 0.5)
    local[:, b("spine")] = about(1, 0.08 * np.sin(2 * np.pi * steps_hz * times))
    local[:, 0] = about(1, o + heading)
    p, _ = forward_kinematics(BODY26, offsets, local, np.zeros((len(times), 3)))
    soles = p[:, BODY26.indices("left_heel", "left_toe", "right_heel", "right_toe")]
    weight = np.exp(-(soles[..., 1] - soles[..., 1].min(-1, keepdims=True)) / 0.004)
    weight /= weight.sum(-1, keepdims=True)
    step = (((weight[1:] + weight[:-1]) / 2)[..., None] * np.diff(soles, axis=0)).sum(1)
    root = np.zeros((len(times), 3))
    root[1:] -= np.cumsum(step, 0)
    root[:, 1] = -soles[..., 1].min(1)
    return local, offsets, root


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
        local, offsets, root = _walk(times, **kwargs)
        return forward_kinematics(BODY26, offsets, local, root)[0]

    return positions
