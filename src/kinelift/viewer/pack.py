"""A take as the page reads it: small JSON with its arrays as base64.

Rotations take 16 bits a number (places of joints within 1 mm), places and cameras 32, times 64. The page computes
joints and curves from them. Joints that turn nothing are left out: a minute at 30 fps is about 0.4 MB a person.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from kinelift.errors import InputError
from kinelift.export.body import MATERIALS, body
from kinelift.export.rig import is_body, rig_of
from kinelift.records import Motion, Take
from kinelift.skeleton import Skeleton

# Linear RGB of the second, third, ... person's shirt, and the colour of their paths.
_SHIRTS = ((0.42, 0.08, 0.06), (0.07, 0.26, 0.10), (0.26, 0.09, 0.34), (0.45, 0.26, 0.03), (0.03, 0.28, 0.28))
_TINTS = ("#4a86d8", "#d8604a", "#4fa860", "#a065c8", "#cf9a2b", "#2ba8a8")
_KINDS = {"f8": "<f8", "f4": "<f4", "i2": "<i2", "u2": "<u2", "u1": "u1"}
_QUATERNION_UNIT = 32767
MAX_BODY_JOINTS = 256  # a surface's joint numbers are bytes
# Metres: radii of the drawn joints.
_RADII = {"head": 0.085, "nose": 0.014, "left_ear": 0.014, "right_ear": 0.014}
_RADIUS = 0.023
# body26's shoulders hang on the chest, but look right on the neck.
_DRAWN_PARENT = {"left_shoulder": "neck", "right_shoulder": "neck"}


def packed(people: Sequence[Take]) -> dict[str, Any]:
    """JSON values for the page: `times` of all, `camera` of each of them, and the people.

    `people` are takes of one motion each, in one world. Raises `InputError` for numbers that no page can draw.
    """
    times = np.unique(np.concatenate([p.motions[0].times for p in people]))
    camera = people[0].camera
    return {
        "times": _array(times, "f8"),
        "image_size": list(camera.image_size),
        "camera": {
            "K": _array(_over_all(people, "K", times, 2), "f4"),
            "R": _array(_over_all(people, "R_cam_world", times, 2), "f4"),
            "t": _array(_over_all(people, "t_cam_world", times, 1), "f4"),
            "distortion": camera.distortion.tolist(),
        },
        "people": [_person(p.motions[0], i, len(people)) for i, p in enumerate(people)],
    }


def _array(array: np.ndarray, kind: str) -> dict[str, str]:
    with np.errstate(over="ignore"):
        stored = np.ascontiguousarray(array, _KINDS[kind])
    if kind[0] == "f" and not np.isfinite(stored).all():
        raise InputError("the motion cannot be shown: it has numbers beyond 1e38")
    raw = stored.tobytes()
    return {"type": kind, "base64": base64.b64encode(raw).decode("ascii")}


def _over_all(people: Sequence[Take], name: str, times: np.ndarray, still: int) -> np.ndarray:
    """One value if nobody's changes, else one for each of `times`: of the last person's frame that is not later."""
    if all(getattr(p.camera, name).ndim == still for p in people):
        return getattr(people[0].camera, name)
    first = getattr(people[0].camera, name)
    out = np.broadcast_to(first[0] if first.ndim > still else first, (len(times), *first.shape[-still:])).copy()
    for person in people:
        values, own = getattr(person.camera, name), person.motions[0].times
        inside = (times >= own[0]) & (times <= own[-1])
        if values.ndim > still:
            out[inside] = values[np.searchsorted(own, times[inside], side="right") - 1]
    return out


def _person(motion: Motion, index: int, count: int) -> dict[str, Any]:
    skeleton = motion.skeleton
    turning = sorted({p for p in skeleton.parents if p >= 0})
    return {
        "name": f"Person {motion.person_id + 1}" if count == 1 else f"Person {index + 1}",
        "tint": None if count == 1 else _TINTS[index % len(_TINTS)],
        "joints": list(skeleton.joints),
        "parents": list(skeleton.parents),
        "sides": [_side(skeleton, j) for j in range(len(skeleton))],
        "sizes": [_RADII.get(name, _RADIUS) if is_body(skeleton) else _RADIUS for name in skeleton.joints],
        "bones": drawn_bones(skeleton),
        "times": _array(motion.times, "f8"),
        "offsets": _array(motion.offsets, "f4"),
        "turning": turning,
        "rotations": _array(np.round(motion.rotations[:, turning] * _QUATERNION_UNIT), "i2"),
        "root": _array(motion.root, "f4"),
        "contacts": _array(np.round(motion.contacts * 255), "u1"),
        "contact_joints": motion.contact_joints.tolist(),
        "observed": _array(motion.observed, "u1"),
        "body": _body(motion, index),
    }


def _side(skeleton: Skeleton, joint: int) -> int:
    """0 the midline, 1 left, 2 right."""
    if skeleton.mirror[joint] == joint:
        return 0
    name = skeleton.joints[joint]
    return 1 if "left" in name.lower() or name.startswith("L") else 2


def drawn_bones(skeleton: Skeleton) -> list[tuple[int, int]]:
    """(joint, where its stick starts) for every joint but the root."""
    out = []
    for j, p in enumerate(skeleton.parents):
        if p >= 0:
            other = _DRAWN_PARENT.get(skeleton.joints[j]) if is_body(skeleton) else None
            out.append((j, p if other is None else skeleton.index(other)))
    return out


def _body(motion: Motion, index: int) -> dict[str, Any]:
    rig = rig_of(motion)
    surfaces = body(rig) if len(rig.names) <= MAX_BODY_JOINTS else {}
    return {
        "rig": {
            "names": list(rig.names),
            "parents": list(rig.parents),
            "sources": list(rig.sources),
            "offsets": _array(rig.offsets, "f4"),
            "rest": _array(rig.rest_positions, "f4"),
        },
        "surfaces": [
            {
                "color": _SHIRTS[(index - 1) % len(_SHIRTS)] if name == "shirt" and index else MATERIALS[name][0],
                "roughness": MATERIALS[name][1],
                "positions": _array(surface.positions, "f4"),
                "joints": _array(surface.joints, "u1"),
                "weights": _array(surface.weights, "f4"),
                "triangles": _array(surface.triangles.reshape(-1), "u2"),
            }
            for name, surface in surfaces.items()
        ],
    }
