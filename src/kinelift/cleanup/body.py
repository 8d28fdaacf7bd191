"""The body's degrees of freedom in the solve, and how each moves the joints.

Per frame: the root's translation, then turns of joints about axes of their own frames. Turns that no joint shows are
left out: about the bone of lumbar spine, neck, elbow, wrist and knee. Turning joint a by w moves what hangs on it by
w x (x - a): every degree of freedom is a *twist* (v, w), in Featherstone's sense, that moves point x by v + w x x.
"""

from __future__ import annotations

import numpy as np

from kinelift.kinematics import rotvec_to_matrix
from kinelift.skeleton import BODY26

_B = BODY26.index
SOLES = BODY26.indices("left_heel", "left_toe", "right_heel", "right_toe")
# Everything that may rest on the floor: soles first, then hands and knees.
SUPPORTS = [*SOLES, *BODY26.indices("left_hand", "right_hand", "left_knee", "right_knee")]
TURNING = [j for j in range(len(BODY26)) if BODY26.children(j)]
# The axis (0, 1, 2 = x, y, z at rest) along the bone of joints whose turn about it shows in no other joint.
_UNSEEN = {"spine": 1, "neck": 1, "elbow": 0, "wrist": 0, "knee": 1}


def _turns() -> list[tuple[int, int]]:
    return [(j, a) for j in TURNING for a in range(3) if a != _UNSEEN.get(BODY26.joints[j].split("_")[-1])]


# (K,) each turn's joint, and its axis in that joint's own frame.
CENTRE, AXIS = (np.array(x) for x in zip(*_turns(), strict=True))
DOF = 3 + len(CENTRE)
# (DOF,) the place in TURNING of the joint whose subtree a degree of freedom moves; the root's moves all.
PLACE = np.array([0, 0, 0, *(TURNING.index(j) for j in CENTRE)])


def _ancestry() -> np.ndarray:
    """(J, J) bool: [a, j] whether a is j or an ancestor of j."""
    out = np.eye(len(BODY26), dtype=bool)
    for j in range(1, len(BODY26)):
        out[:, j] |= out[:, BODY26.parents[j]]
    return out


_ABOVE = _ancestry()
# (17, 26) 1 where a joint hangs on, or is, a turning joint.
SUBTREE = _ABOVE[TURNING].astype(float)
# (DOF, DOF) whether the column's subtree lies in the row's, and whether strictly inside.
HOLDS = _ABOVE[np.ix_(TURNING, TURNING)][np.ix_(PLACE, PLACE)]
HOLDS_STRICTLY = HOLDS & ~HOLDS.T
# Each place's degrees of freedom; the root's translation is moved with the pelvis.
COLUMNS = [
    (i, slice(int(at[0]), int(at[-1]) + 1)) for i in range(len(TURNING)) if len(at := np.flatnonzero(i == PLACE))
]


def twists(positions: np.ndarray, glob: np.ndarray) -> np.ndarray:
    """(T, DOF, 6) each degree of freedom as (v, w) about the frame's own root, world axes.

    `positions` (T, 26, 3) and global rotations (T, 26, 3, 3) as forward kinematics give them.
    """
    out = np.zeros((len(positions), DOF, 6))
    out[:, :3, :3] = np.eye(3)
    w = glob[:, CENTRE, :, AXIS].swapaxes(0, 1)
    out[:, 3:, :3] = np.cross(positions[:, CENTRE] - positions[:, :1], w)
    out[:, 3:, 3:] = w
    return out


def position_jacobian(positions: np.ndarray, glob: np.ndarray) -> np.ndarray:
    """(T, 26, 3, DOF): how joint positions move with the degrees of freedom."""
    b = twists(positions, glob)
    x = positions - positions[:, :1]
    moved = b[:, None, :, :3] + np.cross(b[:, None, :, 3:], x[:, :, None])
    return np.swapaxes(moved * SUBTREE[PLACE].T[None, :, :, None], 2, 3)


def moved(local: np.ndarray, root: np.ndarray, step: np.ndarray, most: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    """Local rotations (T, 26, 3, 3) and root (T, 3) after a step (T, DOF); no joint turns by more than `most` rad."""
    turn = np.zeros((len(root), len(TURNING), 3))
    turn[:, PLACE[3:], AXIS] = step[:, 3:]
    turn *= np.minimum(1, most / np.maximum(np.linalg.norm(turn, axis=-1, keepdims=True), 1e-9))
    local = local.copy()
    local[:, TURNING] = local[:, TURNING] @ rotvec_to_matrix(turn)
    return local, root + step[:, :3]
