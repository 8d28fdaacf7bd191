"""A user's own GLB, VRM or glTF character: its bones, and the same file with an animation added.

Nothing of the file is touched but what an animation needs: one entry of `animations`, its accessors and views, and
bytes after the buffer's own. Node transforms at rest are the rest pose.
"""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kinelift.errors import InputError
from kinelift.kinematics import matrix_to_quat, nearest_rotation, quat_to_matrix
from kinelift.retarget.animation import Animation
from kinelift.retarget.character import MAX_BONES, Character, Source, Surface
from kinelift.retarget.container import (
    HUGE,
    Gltf,
    UnreadableError,
    accessor,
    container_bytes,
    entries,
    explained,
    index,
    numbers,
    read_container,
)
from kinelift.retarget.names import VRM_BONES

# Points of the skin that are looked at for the soles.
MAX_POINTS = 500_000
# Bound and saved poses that differ by less than a degree are the same.
_SAME_COSINE = np.cos(np.radians(1))


def read(path: Path) -> tuple[Character, dict[str, int] | None]:
    """The character of a file, and the roles that a VRM's humanoid says, or None. Raises `InputError`."""
    gltf = read_container(path)
    with explained(path):
        for name in ("accessors", "animations", "bufferViews", "buffers", "images"):
            entries(gltf, name)
        return _character(gltf)


def _character(gltf: Gltf) -> tuple[Character, dict[str, int] | None]:
    nodes = entries(gltf, "nodes")
    if not 0 < len(nodes) <= MAX_BONES:
        raise ValueError(f"expected 1 to {MAX_BONES} nodes, got {len(nodes)}")
    order, parents = _tree(nodes)
    kept = _bones(gltf, nodes, order, parents)
    place = {node: i for i, node in enumerate(kept)}
    local, rotation, stretch = (np.array(v) for v in zip(*(_transform(nodes[n], n) for n in kept), strict=True))
    _bind(gltf, place, parents, (local, rotation, stretch))
    character = Character(
        tuple(str(nodes[n].get("name", f"node {n}")) for n in kept),
        np.array([place.get(parents[n], -1) for n in kept]),
        local,
        rotation,
        stretch,
        1.0,
        Source(gltf.path.suffix.lower()[1:], gltf.path, tuple(kept), gltf),
    )
    said = {role: place[n] for role, n in _humanoid(gltf, len(nodes)).items() if n in place}
    return replace(character, surface=_surface(gltf, character, place)), said or None


def _bind(
    gltf: Gltf, place: dict[int, int], parents: list[int], rest: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    """Where the nodes were saved in some other pose, put the one that the skin was bound in into `rest`.

    A joint's place on its parent when bound is the parent's inverse bind matrix times the inverse of its own.
    """
    for skin in entries(gltf, "skins"):
        inverse = _inverse_bind(gltf, skin) if "inverseBindMatrices" in skin else None
        if inverse is None:
            continue
        bound = {node: m for node, m in zip(skin["joints"], inverse, strict=False) if abs(np.linalg.det(m)) > 1e-30}
        for node in [n for n in bound if parents[n] in bound]:
            m, i = bound[parents[node]] @ np.linalg.inv(bound[node]), place[node]
            size, turned = np.linalg.det(m[:3, :3]), nearest_rotation(m[:3, :3])
            if size > 0 and (turned * rest[1][i]).sum() < 1 + 2 * _SAME_COSINE:
                rest[0][i], rest[1][i], rest[2][i] = m[:3, 3], turned, np.cbrt(size)


def _tree(nodes: list[dict[str, Any]]) -> tuple[list[int], list[int]]:
    """Nodes with parents first, and every node's parent, -1 for a root."""
    parents = [-1] * len(nodes)
    for i, node in enumerate(nodes):
        children = node.get("children", [])
        if not isinstance(children, list):
            raise ValueError(f"node {i}: expected an array of children")
        for child in children:
            if parents[index(child, len(nodes), f"node {i}: child")] >= 0:
                raise ValueError(f"node {child} has two parents")
            parents[child] = i
    order = [i for i, p in enumerate(parents) if p < 0]
    for i in order:
        order.extend(nodes[i].get("children", []))
    if len(order) < len(nodes):
        raise ValueError("the nodes' tree has a cycle")
    return order, parents


def _bones(gltf: Gltf, nodes: list[dict[str, Any]], order: list[int], parents: list[int]) -> list[int]:
    """The joints of all skins with what is above them; every node of a file without skins."""
    joints = {index(j, len(nodes), "skin: joint") for skin in entries(gltf, "skins") for j in skin["joints"]}
    joints |= set(_humanoid(gltf, len(nodes)).values())
    wanted = set()
    for node in joints:
        while node >= 0 and node not in wanted:
            wanted.add(node)
            node = parents[node]
    return [n for n in order if n in wanted or not joints]


def _transform(node: dict[str, Any], number: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Translation, rotation and scale of a node; of an uneven scale the mean."""
    what = f"node {number}"
    if "matrix" in node:
        m = numbers(node["matrix"], 16, what).reshape(4, 4).T
        stretch = float(np.cbrt(np.linalg.det(m[:3, :3])))
        translation, rotation = m[:3, 3], nearest_rotation(m[:3, :3])
    else:
        translation = numbers(node.get("translation", [0, 0, 0]), 3, what)
        quat = numbers(node.get("rotation", [0, 0, 0, 1]), 4, what)
        stretch = float(np.cbrt(np.prod(numbers(node.get("scale", [1, 1, 1]), 3, what))))
        if not 1e-3 < np.linalg.norm(quat) < 1e3:
            raise ValueError(f"{what}: no rotation")
        rotation = quat_to_matrix(quat / np.linalg.norm(quat))
    if not 1e-9 < stretch < 1e9 or np.abs(translation).max() > 1e9:
        raise ValueError(f"{what}: a mirrored, flat or huge transform")
    return translation, rotation, stretch


def _humanoid(gltf: Gltf, n: int) -> dict[str, int]:
    """Role -> node, of a VRM 1 or VRM 0 file."""
    extensions = gltf.json.get("extensions", {})
    said: dict[str, Any] = {}
    if "VRMC_vrm" in extensions:
        bones = extensions["VRMC_vrm"]["humanoid"]["humanBones"]
        said = {name: bone["node"] for name, bone in bones.items()}
    elif "VRM" in extensions:
        said = {b["bone"]: b["node"] for b in extensions["VRM"]["humanoid"]["humanBones"]}
    return {role: index(said[name], n, f"humanoid {name}") for role, name in VRM_BONES.items() if name in said}


def _surface(gltf: Gltf, character: Character, place: dict[int, int]) -> Surface | None:
    """The skinned meshes' points at rest; None where there are none, or only a decoder could read them."""
    positions, rotations, scales = character.rest
    points, bones = [np.empty((0, 3))], [np.empty(0, np.int64)]
    meshes, skins = entries(gltf, "meshes"), entries(gltf, "skins")
    done: set[tuple[int, ...]] = set()
    for node in entries(gltf, "nodes"):
        if "mesh" not in node or "skin" not in node:
            continue
        number = index(node["skin"], len(skins), "skin")
        inverse = _inverse_bind(gltf, skins[number])
        joints = np.array([place[j] for j in skins[number]["joints"]])
        for primitive in meshes[index(node["mesh"], len(meshes), "mesh")]["primitives"]:
            used = [primitive["attributes"].get(a) for a in ("POSITION", "JOINTS_0", "WEIGHTS_0")]
            # Primitives of several materials often share their points.
            if inverse is None or None in used or (number, *used) in done or sum(map(len, bones)) > MAX_POINTS:
                continue
            done.add((number, *used))
            try:
                p, j, w = (accessor(gltf, a) for a in used)
            except UnreadableError:
                continue
            if not len(p) == len(j) == len(w) or not (np.abs(p) < HUGE).all() or j.max(initial=0) >= len(joints):
                raise ValueError("a skinned mesh of unequal or unusable attributes")
            most = j[np.arange(len(p)), w.argmax(1)].astype(int)
            bone = joints[most]
            bound = np.einsum("vij,vj->vi", inverse[most][:, :3, :3], p[:, :3]) + inverse[most][:, :3, 3]
            points.append(positions[bone] + scales[bone, None] * np.einsum("vij,vj->vi", rotations[bone], bound))
            bones.append(bone)
    return Surface(np.concatenate(points), np.concatenate(bones)) if len(bones) > 1 else None


def _inverse_bind(gltf: Gltf, skin: dict[str, Any]) -> np.ndarray | None:
    """(joints, 4, 4) of a skin, the identity where it has none; None where only a decoder could read them."""
    if "inverseBindMatrices" not in skin:
        return np.tile(np.eye(4), (len(skin["joints"]), 1, 1))
    try:
        inverse = accessor(gltf, skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
    except UnreadableError:
        return None
    if len(inverse) < len(skin["joints"]) or not (np.abs(inverse) < HUGE).all():
        raise ValueError("skin: unusable inverse bind matrices")
    return inverse


def write(character: Character, animation: Animation, path: Path) -> None:
    """Write the character's own file with the animation, first of its animations, to `path`."""
    gltf: Gltf = character.source.content
    _check_links(gltf, path)
    content = {k: list(v) if isinstance(v, list) else v for k, v in gltf.json.items()}
    stored = gltf.path.suffix.lower() != ".gltf" and all("uri" not in b for b in content.get("buffers", [])[:1])
    buffer = 0 if stored else len(content.setdefault("buffers", []))
    data = bytearray(gltf.binary + bytes(-len(gltf.binary) % 4) if stored else b"")

    def add(values: np.ndarray, kind: str, bounds: bool = False) -> int:
        raw = np.ascontiguousarray(values, "<f4")
        view = {"buffer": buffer, "byteOffset": len(data), "byteLength": raw.nbytes}
        content.setdefault("bufferViews", []).append(view)
        data.extend(raw.tobytes())
        entry = {"bufferView": len(content["bufferViews"]) - 1, "componentType": 5126, "count": len(raw), "type": kind}
        if bounds:
            entry |= {"min": [float(raw.min())], "max": [float(raw.max())]}
        content.setdefault("accessors", []).append(entry)
        return len(content["accessors"]) - 1

    clip = _clip(character, animation, content, add)
    content["animations"] = [clip, *content.get("animations", [])]
    if stored:
        first, *others = content.get("buffers") or [{}]
        content["buffers"] = [first | {"byteLength": len(data)}, *others]
        binary = bytes(data)
    else:
        uri = "data:application/octet-stream;base64," + base64.b64encode(bytes(data)).decode()
        content["buffers"].append({"byteLength": len(data), "uri": uri})
        binary = gltf.binary
    path.write_bytes(container_bytes(replace(gltf, json=content, binary=binary)))


def _clip(character: Character, animation: Animation, content: dict[str, Any], add: Any) -> dict[str, Any]:
    stamps = add(animation.times, "SCALAR", True)
    clip: dict[str, Any] = {"name": "kinelift", "channels": [], "samplers": []}

    def sample(bone: int, path: str, values: np.ndarray) -> None:
        number = character.source.nodes[bone]
        node = content["nodes"][number]
        if "matrix" in node:  # an animated node must not have one (specification 2.0, 3.5.3)
            content["nodes"][number] = {k: v for k, v in node.items() if k != "matrix"} | {
                "translation": character.local[bone].tolist(),
                "rotation": matrix_to_quat(character.rotation[bone]).tolist(),
                "scale": [float(character.stretch[bone])] * 3,
            }
        kind = "VEC3" if path == "translation" else "VEC4"
        clip["samplers"].append({"input": stamps, "output": add(values, kind), "interpolation": "LINEAR"})
        target = {"node": character.source.nodes[bone], "path": path}
        clip["channels"].append({"sampler": len(clip["samplers"]) - 1, "target": target})

    sample(animation.root, "translation", animation.translation)
    for k, bone in enumerate(animation.driven):
        sample(int(bone), "rotation", animation.rotations[:, k])
    for bone in set(range(len(character.bones))) - set(animation.driven.tolist()):
        # What was saved in another pose stays in the one that it was bound in.
        moved, turned, _ = _transform(content["nodes"][character.source.nodes[bone]], bone)
        if not np.allclose(turned, character.rotation[bone], atol=1e-6):
            rest = matrix_to_quat(character.rotation[bone])
            sample(bone, "rotation", np.tile(rest, (len(animation.times), 1)))
        if not np.allclose(moved, character.local[bone], atol=1e-6 + 1e-6 * np.abs(moved).max()):
            sample(bone, "translation", np.tile(character.local[bone], (len(animation.times), 1)))
    return clip


def _check_links(gltf: Gltf, path: Path) -> None:
    """A file that names others must stay in their folder."""
    linked = [
        e["uri"]
        for name in ("buffers", "images")
        for e in entries(gltf, name)
        if isinstance(e.get("uri"), str) and not e["uri"].startswith("data:")
    ]
    if linked and path.parent.resolve() != gltf.path.parent.resolve():
        raise InputError(
            f"{gltf.path}: names other files ({linked[0][:60]}); write the result into its folder, "
            "or use a .glb, which holds everything"
        )
