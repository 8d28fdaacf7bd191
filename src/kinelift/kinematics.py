"""Forward kinematics, rotations from positions, bone lengths, and the body's proportions.

Kernels are vectorised over frames. Quaternions are xyzw. The rest pose is a T-pose that faces +Z with its left
side towards +X; every rotation is the identity there.
"""

from __future__ import annotations

import numpy as np

from kinelift.records import Motion
from kinelift.skeleton import BODY26, Skeleton

# Height of the assumed body when no stature is given: the middle of world-wide adult means for men and women.
STATURE_PRIOR_M = 1.70
# Its stated uncertainty: adults of both sexes together spread by about 6 %.
STATURE_PRIOR_SIGMA = 0.06

# Rest offsets of BODY26 as fractions of stature, from its parent: x to the body's left, y up, z forwards. Segment
# lengths after Drillis and Contini (in Winter 2009, table 4.1): thigh .245, shank .246, foot height .039, upper arm
# .186, forearm .146, knuckles at half the hand's .108, hip height .530, shoulder height .818; foot length .152.
# Joint centres rather than skin landmarks across: hips .0525, shoulders .110 from the midline.
_LEFT = {
    "shoulder": (0.110, 0.100, -0.005),
    "elbow": (0.186, 0, 0),
    "wrist": (0.146, 0, 0),
    "hand": (0.050, 0, 0),
    "hip": (0.0525, 0, 0),
    "knee": (0, -0.245, 0),
    "ankle": (0, -0.246, 0),
    "heel": (0, -0.039, -0.028),
    "toe": (0, -0.039, 0.085),
}
_MIDLINE = {
    "pelvis": (0, 0, 0),
    "spine": (0, 0.075, -0.012),
    "chest": (0, 0.113, -0.003),
    "neck": (0, 0.100, -0.005),
    "head": (0, 0.112, 0.018),
    "nose": (0, -0.005, 0.062),
    "left_ear": (0.043, 0, 0),
    "right_ear": (-0.043, 0, 0),
}


def reference_offsets(stature_m: float = STATURE_PRIOR_M) -> np.ndarray:
    """Rest offsets (26, 3) in metres of an average adult of this stature."""
    rows = []
    for joint in BODY26.joints:
        if joint in _MIDLINE:
            rows.append(_MIDLINE[joint])
        else:
            side, _, part = joint.partition("_")
            x, y, z = _LEFT[part]
            rows.append((x if side == "left" else -x, y, z))
    return np.array(rows) * stature_m


def stature_from_offsets(offsets: np.ndarray) -> float:
    """Stature in metres that a BODY26 rig's bones imply: the one place where height and bones meet.

    Thigh, shank and hip-to-shoulder height are .245 + .246 + .288 = .779 of stature (Winter 2009, table 4.1); the
    trunk is measured along its bones in the rest pose.
    """
    b = BODY26.index
    length = np.linalg.norm(offsets, axis=-1)
    legs = sum(length[b(f"{s}_{j}")] for s in ("left", "right") for j in ("knee", "ankle")) / 2
    trunk = sum(length[b(j)] for j in ("spine", "chest", "neck"))
    reference = reference_offsets(1.0)
    lengths = np.linalg.norm(reference, axis=-1)
    return float((legs + trunk) / (0.491 + sum(lengths[b(j)] for j in ("spine", "chest", "neck"))))


# Mass of each segment as a fraction of the body's, and its centre from the proximal end as a fraction of its length
# (Winter 2009, table 4.1): segment ends, mass, centre. The trunk runs from the hips' middle to the shoulders'.
_SEGMENTS = (
    ("neck", "head", 0.081, 0.5),
    ("pelvis", "neck", 0.497, 0.5),
    *((f"{s}_shoulder", f"{s}_elbow", 0.028, 0.436) for s in ("left", "right")),
    *((f"{s}_elbow", f"{s}_wrist", 0.022, 0.682) for s in ("left", "right")),
    *((f"{s}_hip", f"{s}_knee", 0.100, 0.433) for s in ("left", "right")),
    *((f"{s}_knee", f"{s}_ankle", 0.0465, 0.433) for s in ("left", "right")),
    *((f"{s}_ankle", f"{s}_toe", 0.0145, 0.5) for s in ("left", "right")),
)


def mass_weights() -> np.ndarray:
    """(26,) share of each BODY26 joint in the body's centre of mass: `weights @ positions`."""
    weights = np.zeros(len(BODY26))
    for near, far, mass, centre in _SEGMENTS:
        weights[BODY26.index(near)] += mass * (1 - centre)
        weights[BODY26.index(far)] += mass * centre
    return weights / weights.sum()


def quat_to_matrix(q: np.ndarray) -> np.ndarray:
    """Rotation matrices (..., 3, 3) of unit quaternions (..., 4) xyzw."""
    x, y, z, w = np.moveaxis(q, -1, 0)
    return np.stack(
        [
            *(1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
            *(2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
            *(2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
        ],
        -1,
    ).reshape(*q.shape[:-1], 3, 3)


def matrix_to_quat(m: np.ndarray) -> np.ndarray:
    """Unit quaternions (..., 4) xyzw with w >= 0 of rotation matrices (..., 3, 3)."""
    from scipy.spatial.transform import Rotation

    q = Rotation.from_matrix(m.reshape(-1, 3, 3)).as_quat(canonical=True)
    return q.reshape(*m.shape[:-2], 4)


def continuous_quats(q: np.ndarray) -> np.ndarray:
    """Flip signs along axis 0 so that neighbours in time lie in one hemisphere; the first has w >= 0."""
    q = q * np.where(q[:1, ..., 3:] < 0, -1.0, 1.0)
    dots = (q[1:] * q[:-1]).sum(-1, keepdims=True)
    signs = np.cumprod(np.where(dots < 0, -1.0, 1.0), 0)
    return np.concatenate([q[:1], q[1:] * signs])


def rotvec_to_matrix(v: np.ndarray) -> np.ndarray:
    """Rotation matrices (..., 3, 3) of rotation vectors (..., 3), Rodrigues' formula."""
    angle = np.linalg.norm(v, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(v, -1, 0)
    o = np.zeros_like(x)
    skew = np.stack([o, -z, y, z, o, -x, -y, x, o], -1).reshape(*v.shape[:-1], 3, 3)
    small = angle < 1e-6
    safe = np.where(small, 1.0, angle)
    a = np.where(small, 1 - angle**2 / 6, np.sin(safe) / safe)
    b = np.where(small, 0.5 - angle**2 / 24, (1 - np.cos(safe)) / safe**2)
    return np.eye(3) + a * skew + b * (skew @ skew)


def forward_kinematics(
    skeleton: Skeleton, offsets: np.ndarray, local: np.ndarray, root: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Positions (T, J, 3) and global rotations (T, J, 3, 3) of local rotation matrices (T, J, 3, 3).

    `offsets` (J, 3) and `root` (T, 3) in metres.
    """
    positions = np.empty((*local.shape[:2], 3))
    glob = np.empty_like(local)
    positions[:, 0], glob[:, 0] = root, local[:, 0]
    for j, p in enumerate(skeleton.parents):
        if j:
            positions[:, j] = positions[:, p] + glob[:, p] @ offsets[j]
            glob[:, j] = glob[:, p] @ local[:, j]
    return positions, glob


def motion_positions(motion: Motion) -> np.ndarray:
    """World positions (T, J, 3) in metres of a motion."""
    return forward_kinematics(motion.skeleton, motion.offsets, quat_to_matrix(motion.rotations), motion.root)[0]


def bone_lengths(skeleton: Skeleton, positions: np.ndarray) -> np.ndarray:
    """(..., J) lengths of each joint's bone to its parent; the root's is 0."""
    parents = np.array([max(p, 0) for p in skeleton.parents])
    return np.linalg.norm(positions - positions[..., parents, :], axis=-1)


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-9)


def fit_rotation(rest: np.ndarray, posed: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Rotations (..., 3, 3) that best turn rest vectors (K, 3) onto posed ones (..., K, 3) (Kabsch), weights (K,)."""
    h = np.einsum("ki,...kj,k->...ij", rest, posed, weights)
    u, _, vt = np.linalg.svd(h)
    d = np.sign(np.linalg.det(u @ vt))
    vt[..., 2, :] *= d[..., None]
    return np.swapaxes(u @ vt, -1, -2)


def nearest_rotation(m: np.ndarray) -> np.ndarray:
    """The rotations (..., 3, 3) nearest to matrices (..., 3, 3): of a sum of rotations, their mean."""
    u, _, vt = np.linalg.svd(m)
    d = np.sign(np.linalg.det(u @ vt))
    u[..., 2] *= d[..., None]
    return u @ vt


def shortest_arc(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Rotations (..., 3, 3) without twist that turn unit vectors a onto b; any half turn where they oppose."""
    v = np.cross(a, b)
    c = (a * b).sum(-1)[..., None, None]
    x, y, z = np.moveaxis(v, -1, 0)
    o = np.zeros_like(x)
    skew = np.stack([o, -z, y, z, o, -x, -y, x, o], -1).reshape(*v.shape[:-1], 3, 3)
    arc = np.eye(3) + skew + skew @ skew / np.maximum(1 + c, 1e-6)
    other = _unit(np.cross(a, np.where(np.abs(a[..., :1]) < 0.9, [1.0, 0, 0], [0, 1.0, 0])))
    half_turn = 2 * other[..., :, None] * other[..., None, :] - np.eye(3)
    return np.where(c < -1 + 1e-5, half_turn, arc)
