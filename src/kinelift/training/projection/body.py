"""What is known of any human body without 3D data: proportions, and how far joints bend.

Depth from one orthographic view is ambiguous: a body mirrored in depth has the same picture, and so have all of its
turned views. Only anatomy tells the two apart: the nose is in front of the shoulders (Kudo et al. 2018), knees bend
backwards and hanging forearms forwards. Tensors are (N, 17, 3) in `H36M17`'s order, camera axes (x right, y down,
z forward), any unit.
"""

from __future__ import annotations

from kinelift.errors import MissingExtraError
from kinelift.kinematics import reference_offsets
from kinelift.skeleton import BODY26, H36M17, joint_map

try:
    import torch
except ImportError:  # pragma: no cover - depends on the installation
    raise MissingExtraError("training", "pip install 'kinelift[train]'") from None
from torch import Tensor
from torch.nn.functional import normalize

MIRROR = list(H36M17.mirror)
# Bones end in joints 1..16 and begin at the skeleton's parents; a shoulder hangs on the thorax.
ENDS = list(range(1, len(H36M17)))
STARTS = [H36M17.parents[j] for j in ENDS]
BONE_MIRROR = [ENDS.index(MIRROR[j]) for j in ENDS]
_I = H36M17.index
# Ranges of motion, as cosines; generous, so that an everyday pose costs nothing.
NOSE_AHEAD = 0.2  # of neck-to-nose along the shoulders' front, at least; 0 where the point is the head's middle
_NOSE_ASIDE = 0.4  # of neck-to-nose along the shoulders, at most
_TWIST = 0.6  # of the angle between hips and shoulders, at least
_TILT = 0.35  # of hips or shoulders along the trunk, at most
_STANDING, _FEWEST = 0.95, 100  # see seen_bones
_THIGH_BACK = 0.6  # of a thigh along the back, at most


def rest_bones() -> Tensor:
    """(16,) bone lengths of kinelift's reference body (anthropometric tables), divided by their mean."""
    offsets = torch.tensor(reference_offsets())
    positions = torch.zeros_like(offsets)
    for j in range(1, len(BODY26)):
        positions[j] = positions[BODY26.parents[j]] + offsets[j]
    x = torch.tensor(joint_map(BODY26, H36M17)) @ positions
    lengths = (x[ENDS] - x[STARTS]).norm(dim=-1)
    return (lengths / lengths.mean()).float()


def bone_lengths(x: Tensor) -> Tensor:
    """(N, 16) lengths of the bones that end in joints 1..16 of positions (N, 17, 3)."""
    return (x[:, ENDS] - x[:, STARTS]).square().sum(-1).add(1e-8).sqrt()


def seen_bones(flat: Tensor) -> Tensor:
    """(16,) bone lengths over their mean, left like right, of the people in poses (N, 17, 2), from 2D alone.

    In upright poses, level trunk and straight legs, what stands is seen at its length and what lies across or hangs is
    seen shortened by chance: the median of the former, the upper quartile of the latter. The reference body's
    (`rest_bones`) where fewer than 100 poses are upright.
    """
    bones = flat[:, ENDS] - flat[:, STARTS]
    length = bones.norm(dim=-1)
    trunk, upright = _stands(flat[:, 0] - flat[:, _I("Thorax")])
    height = trunk
    for s in "RL":
        hip, knee, foot = (flat[:, _I(s + j)] for j in ("Hip", "Knee", "Foot"))
        leg, stands = _stands(foot - hip)
        upright &= stands & (leg > _STANDING * ((knee - hip).norm(dim=-1) + (foot - knee).norm(dim=-1)))
        height = height + leg / 2
    if upright.sum() < _FEWEST:
        return rest_bones().to(flat)
    share = (length / height[:, None])[upright]
    share = torch.cat([share, share[:, BONE_MIRROR]])
    out = share.quantile(0.75, dim=0)
    standing = [ENDS.index(j) for j in H36M17.indices("RKnee", "RFoot", "LKnee", "LFoot", "Spine", "Thorax")]
    out[standing] = share[:, standing].median(0).values
    return out / out.mean()


def _stands(down: Tensor) -> tuple[Tensor, Tensor]:
    """Lengths (N,) of vectors (N, 2), y down, and whether they point down."""
    length = down.norm(dim=-1)
    return length, down[:, 1] > _STANDING * length


def jointed(bones: Tensor) -> Tensor:
    """Positions (N, 17, 3) from the hip of bones (N, 16, 3), from their beginnings to joints 1..16."""
    out = [torch.zeros_like(bones[:, 0])]
    for i, start in enumerate(STARTS):
        out.append(out[start] + bones[:, i])
    return torch.stack(out, 1)


def with_bones(x: Tensor, lengths: Tensor) -> Tensor:
    """Positions (N, 17, 3) from the hip of a body with bone lengths (16,) or (N, 16) in the pose of x (N, 17, 3)."""
    return jointed((x[:, ENDS] - x[:, STARTS]) * (lengths / bone_lengths(x))[..., None])


def mirrored(flat: Tensor) -> Tensor:
    """Poses (N, 17, 2) of the mirrored body."""
    return flat[:, MIRROR] * flat.new_tensor([-1.0, 1.0])


def _along(x: Tensor, a: str, b: str) -> Tensor:
    """Unit vectors (N, 3) from joint a to joint b."""
    return normalize(x[:, _I(b)] - x[:, _I(a)], dim=-1, eps=1e-4)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-1)


def _front(leftwards: Tensor, up: Tensor) -> Tensor:
    return normalize(torch.linalg.cross(leftwards, up), dim=-1, eps=1e-4)


def trunk_strain(x: Tensor, nose_ahead: float = NOSE_AHEAD) -> Tensor:
    """(N,): how far head, shoulders and hips are beyond what a trunk does; 0 within its range, about 1 for impossible.

    The nose ahead of the shoulders and over them, shoulders and hips across the trunk, not twisted by over 53 degrees.
    """
    up, shoulders, hips = _along(x, "Hip", "Thorax"), _along(x, "RShoulder", "LShoulder"), _along(x, "RHip", "LHip")
    nose = _along(x, "Thorax", "NeckNose")
    ahead = torch.relu(nose_ahead - _dot(nose, _front(shoulders, up)))
    aside = torch.relu(_dot(nose, shoulders).abs() - _NOSE_ASIDE)
    tilt = torch.relu(_dot(hips, up).abs() - _TILT) + torch.relu(_dot(shoulders, up).abs() - _TILT)
    return ahead + aside + tilt + torch.relu(_TWIST - _dot(hips, shoulders))


def limb_strain(x: Tensor) -> Tensor:
    """(N,): how far knees bend forwards, hanging forearms backwards, thighs go behind the hips; 0 within range."""
    up, shoulders, hips = _along(x, "Hip", "Thorax"), _along(x, "RShoulder", "LShoulder"), _along(x, "RHip", "LHip")
    belly, chest = _front(hips, up), _front(shoulders, up)
    total = torch.zeros_like(x[:, 0, 0])
    for s in ("R", "L"):
        thigh, shank = _along(x, f"{s}Hip", f"{s}Knee"), _along(x, f"{s}Knee", f"{s}Foot")
        total = total + 0.5 * torch.relu(_dot(torch.linalg.cross(shank, thigh), hips))
        total = total + torch.relu(-_THIGH_BACK - _dot(thigh, belly))
        arm, forearm = _along(x, f"{s}Shoulder", f"{s}Elbow"), _along(x, f"{s}Elbow", f"{s}Wrist")
        total = total + torch.relu(-_dot(forearm - arm, chest)) * torch.relu(-_dot(arm, up))
    return total
