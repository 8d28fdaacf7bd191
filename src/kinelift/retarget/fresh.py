"""A character's bare skeleton as a file of its own: for built-in rigs, and to leave a rig's own format.

The skeleton goes out in kinelift's axes and metres with every rotation at rest the identity; names stay.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import kinelift
from kinelift.errors import InputError
from kinelift.export.body import MATERIALS, Surface, body
from kinelift.export.bvh import MAX_JOINTS
from kinelift.export.rig import Rig
from kinelift.kinematics import continuous_quats, matrix_to_quat, quat_to_matrix
from kinelift.retarget import built_in, bvh_file, gltf_file
from kinelift.retarget.animation import Animation
from kinelift.retarget.character import Character, Source
from kinelift.retarget.container import Gltf
from kinelift.retarget.names import ancestors

# Joint indices are bytes in our meshes; larger rigs go out without one.
MAX_SKINNED = 256


def write_bvh(character: Character, animation: Animation, path: Path) -> None:
    """Write the skeleton and its animation as BVH in metres."""
    plain, moved = _plain(character, animation)
    if len(plain.bones) > MAX_JOINTS:
        raise InputError(f"{character.source.path}: BVH holds at most {MAX_JOINTS} bones, not {len(plain.bones)}")
    channels: list[tuple[str, ...]] = [("Zrotation", "Xrotation", "Yrotation")] * len(plain.bones)
    channels[moved.root] = ("Xposition", "Yposition", "Zposition", *channels[moved.root])
    content = bvh_file.Hierarchy(_hierarchy(plain, channels), tuple(channels))
    bvh_file.write(replace(plain, source=replace(plain.source, content=content)), moved, path)


def write_glb(character: Character, animation: Animation, path: Path) -> None:
    """Write the skeleton with a plain body on it and its animation as GLB."""
    plain, moved = _plain(character, animation)
    source = replace(plain.source, content=_container(plain, path))
    gltf_file.write(replace(plain, source=source), moved, path)


def _plain(character: Character, animation: Animation) -> tuple[Character, Animation]:
    """The tree that holds the driven bones, depth first, in kinelift's axes and metres, and the animation on it."""
    parents = character.parents.tolist()
    top = [animation.root, *ancestors(animation.root, parents)][-1]
    below: dict[int, list[int]] = {}
    for i, p in enumerate(parents):
        below.setdefault(p, []).append(i)
    order, stack = [], [top]
    while stack:
        order.append(stack.pop())
        stack.extend(reversed(below.get(order[-1], [])))
    place = {bone: i for i, bone in enumerate(order)}
    above = np.array([place.get(parents[b], -1) for b in order])
    world = character.world()[order]
    plain = Character(
        tuple(character.bones[b] for b in order),
        above,
        world - np.where(above[:, None] >= 0, world[above], 0),
        np.broadcast_to(np.eye(3), (len(order), 3, 3)),
        np.ones(len(order)),
        1.0,
        Source("built-in", character.source.path, tuple(range(len(order)))),
    )
    positions, rotations, scales = character.rest
    turn, hang = character.turn, np.concatenate([rotations, np.eye(3)[None]])
    before, after = turn.T @ hang[character.parents[animation.driven]], rotations[animation.driven].transpose(0, 2, 1)
    quats = matrix_to_quat(before @ quat_to_matrix(animation.rotations) @ (after @ turn))
    over = int(character.parents[animation.root])
    path = animation.translation
    if over >= 0:
        path = positions[over] + scales[over] * path @ rotations[over].T
    path = character.in_world(path) - (character.world()[over] if over >= 0 else 0)
    driven = np.array([place[int(b)] for b in animation.driven])
    moved = replace(
        animation, driven=driven, rotations=continuous_quats(quats), root=place[animation.root], translation=path
    )
    return plain, moved


def _hierarchy(plain: Character, channels: list[tuple[str, ...]]) -> str:
    lines, stack = ["HIERARCHY"], list[int]()
    for i, parent in enumerate(plain.parents):
        while stack and stack[-1] != parent:
            stack.pop()
            lines.append("  " * len(stack) + "}")
        pad, name = "  " * len(stack), "_".join(plain.bones[i].split()) or f"bone{i}"
        lines += [f"{pad}{'JOINT' if i else 'ROOT'} {name}", pad + "{"]
        lines += [f"{pad}  OFFSET " + " ".join(f"{x:.6f}" for x in plain.local[i])]
        lines += [f"{pad}  CHANNELS {len(channels[i])} {' '.join(channels[i])}"]
        if not (plain.parents == i).any():
            end = " ".join(f"{x:.6f}" for x in _end(plain, i))
            lines += [f"{pad}  End Site", f"{pad}  {{", f"{pad}    OFFSET {end}", f"{pad}  }}"]
        stack.append(i)
    lines += ["  " * depth + "}" for depth in range(len(stack) - 1, -1, -1)]
    return "\n".join(lines)


def _end(plain: Character, bone: int) -> np.ndarray:
    """(3,) where a bone without children ends."""
    length = np.linalg.norm(plain.local[bone])
    return plain.local[bone] * 0.3 if length > 1e-3 else np.array([0, 0.05, 0])


def _container(plain: Character, path: Path) -> Gltf:
    """A glTF of the skeleton, without an animation yet."""
    n = len(plain.bones)
    nodes: list[dict[str, Any]] = []
    for i in range(n):
        children = np.flatnonzero(plain.parents == i).tolist()
        node = {"name": plain.bones[i], "translation": plain.local[i].tolist()}
        nodes.append(node | ({"children": children} if children else {}))
    content: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": f"kinelift {kinelift.__version__}"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": nodes,
        "accessors": [],
        "bufferViews": [],
        "buffers": [{"byteLength": 0}],
    }
    data = bytearray()
    if n <= MAX_SKINNED:
        _add_body(content, data, plain)
    content["buffers"][0]["byteLength"] = len(data)
    return Gltf(content, bytes(data), b"", path)


def _add_body(content: dict[str, Any], data: bytearray, plain: Character) -> None:
    def add(array: np.ndarray, dtype: str, kind: str, target: int | None = None, bounds: bool = False) -> int:
        data.extend(bytes(-len(data) % 4))
        raw = np.ascontiguousarray(array, dtype)
        view: dict[str, Any] = {"buffer": 0, "byteOffset": len(data), "byteLength": raw.nbytes}
        content["bufferViews"].append(view | ({"target": target} if target else {}))
        data.extend(raw.tobytes())
        component = {"<f4": 5126, "u1": 5121, "<u4": 5125}[dtype]
        entry: dict[str, Any] = {"bufferView": len(content["bufferViews"]) - 1, "componentType": component}
        entry |= {"count": len(raw), "type": kind}
        if bounds:
            entry |= {"min": raw.min(0).tolist(), "max": raw.max(0).tolist()}
        content["accessors"].append(entry)
        return len(content["accessors"]) - 1

    world = plain.rest[0]
    inverse = np.tile(np.eye(4), (len(world), 1, 1))
    inverse[:, 3, :3] = -world  # column-major
    joints = list(range(len(world)))
    content["skins"] = [{"inverseBindMatrices": add(inverse.reshape(-1, 16), "<f4", "MAT4"), "joints": joints}]
    primitives: list[dict[str, Any]] = []
    content["materials"] = []
    for name, surface in _surfaces(plain).items():
        colour, roughness = MATERIALS[name]
        pbr = {"baseColorFactor": [*colour, 1.0], "metallicFactor": 0.0, "roughnessFactor": roughness}
        content["materials"].append({"name": name, "pbrMetallicRoughness": pbr})
        attributes = {
            "POSITION": add(surface.positions, "<f4", "VEC3", 34962, True),
            "NORMAL": add(surface.normals, "<f4", "VEC3", 34962),
            "JOINTS_0": add(surface.joints, "u1", "VEC4", 34962),
            "WEIGHTS_0": add(surface.weights, "<f4", "VEC4", 34962),
        }
        indices = add(surface.triangles.reshape(-1), "<u4", "SCALAR", 34963)
        primitives.append({"attributes": attributes, "indices": indices, "material": len(primitives)})
    content["meshes"] = [{"name": "body", "primitives": primitives}]
    content["nodes"].append({"name": "Body", "mesh": 0, "skin": 0})
    content["scenes"][0]["nodes"].append(len(content["nodes"]) - 1)


def _surfaces(plain: Character) -> dict[str, Surface]:
    """The body of a built-in rig; else capsules along the bones, flat on the floor."""
    if str(plain.source.path) in built_in.BUILT_IN:
        return built_in.surfaces(str(plain.source.path))
    n = len(plain.bones)
    ends = {i: _end(plain, i) for i in range(n) if not (plain.parents == i).any()}
    offsets = np.concatenate([np.zeros((1, 3)), plain.local[1:]])
    rig = Rig(plain.bones, tuple(plain.parents.tolist()), offsets, (None,) * n, ends, body=False)
    shift = plain.rest[0][0] - rig.rest_positions[0]
    try:
        drawn = {k: replace(s, positions=s.positions + shift) for k, s in body(rig).items()}
        return {k: replace(s, positions=np.maximum(s.positions, [-np.inf, 0, -np.inf])) for k, s in drawn.items()}
    except ValueError:
        raise InputError(f"{plain.source.path}: the skeleton has no bones to show") from None
