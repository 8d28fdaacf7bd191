"""Files of the skinned characters of `rigs.py`: GLB, VRM 0 and 1, BVH; FBX through Blender (blender/rig_fbx.py)."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from kinelift.export.body import MATERIALS
from kinelift.kinematics import matrix_to_quat
from rigs import SkinnedRig


def write_glb(rig: SkinnedRig, path: Path, extension: dict[str, Any] | None = None) -> Path:
    """Binary glTF with skin, materials, texture coordinates and a texture; `extension` is put in by name."""
    moved, turned = rig.local()
    nodes: list[dict[str, Any]] = []
    for i, name in enumerate(rig.bones):
        quat = matrix_to_quat(turned[i])
        node = {"name": name, "translation": moved[i].tolist(), "rotation": (quat / np.linalg.norm(quat)).tolist()}
        children = np.flatnonzero(rig.parents == i).tolist()
        nodes.append(node | ({"children": children} if children else {}))
    roots = np.flatnonzero(rig.parents < 0).tolist()
    nodes.append({"name": "Armature", "scale": [rig.unit_m] * 3, "children": roots})
    nodes.append({"name": "Body", "mesh": 0, "skin": 0})
    blob, views, accessors = bytearray(), [], []

    def add(array: np.ndarray, kind: str, component: int, target: int | None = None, bounds: bool = False) -> int:
        blob.extend(bytes(-len(blob) % 4))
        raw = np.ascontiguousarray(array, {5126: "<f4", 5121: "u1", 5123: "<u2"}[component])
        views.append({"buffer": 0, "byteOffset": len(blob), "byteLength": raw.nbytes})
        if target:
            views[-1]["target"] = target
        accessor = {"bufferView": len(views) - 1, "componentType": component, "count": len(raw), "type": kind}
        if bounds:
            accessor |= {"min": raw.min(0).tolist(), "max": raw.max(0).tolist()}
        accessors.append(accessor)
        blob.extend(raw.tobytes())
        return len(accessors) - 1

    primitives, materials = [], []
    for k, (material, s) in enumerate(rig.surfaces.items()):
        colour, rough = MATERIALS[material]
        pbr = {"baseColorFactor": [*colour, 1.0], "metallicFactor": 0.0, "roughnessFactor": rough}
        if material == "shirt":
            pbr |= {"baseColorFactor": [1.0] * 4, "baseColorTexture": {"index": 0}}
        materials.append({"name": material, "pbrMetallicRoughness": pbr})
        normals = s.normals / np.linalg.norm(s.normals, axis=-1, keepdims=True)
        attributes = {
            "POSITION": add(s.positions, "VEC3", 5126, 34962, True), "NORMAL": add(normals, "VEC3", 5126, 34962),
            "JOINTS_0": add(s.joints, "VEC4", 5121, 34962), "WEIGHTS_0": add(s.weights, "VEC4", 5126, 34962),
        }  # fmt: skip
        if material == "shirt":
            attributes["TEXCOORD_0"] = add(s.positions[:, :2] * 3, "VEC2", 5126, 34962)
        indices = add(s.triangles.reshape(-1), "SCALAR", 5123, 34963)
        primitives.append({"attributes": attributes, "indices": indices, "material": k})
    bind = np.zeros((len(rig.bones), 4, 4))
    bind[:, :3, :3] = rig.unit_m * rig.rotations
    bind[:, :3, 3], bind[:, 3, 3] = rig.positions, 1
    inverse = np.linalg.inv(bind)
    inverse[:, 3] = [0, 0, 0, 1]
    matrices = add(inverse.transpose(0, 2, 1).reshape(-1, 16), "MAT4", 5126)
    png = _checks()
    blob.extend(bytes(-len(blob) % 4))
    views.append({"buffer": 0, "byteOffset": len(blob), "byteLength": len(png)})
    picture = len(views) - 1
    blob.extend(png)
    gltf: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "tests/rigs.py"},
        "scene": 0,
        "scenes": [{"nodes": [len(nodes) - 2, len(nodes) - 1]}],
        "nodes": nodes,
        "meshes": [{"name": "body", "primitives": primitives}],
        "skins": [{"joints": list(range(len(rig.bones))), "inverseBindMatrices": matrices}],
        "materials": materials,
        "textures": [{"source": 0}],
        "images": [{"name": "checks", "mimeType": "image/png", "bufferView": picture}],
        "accessors": accessors,
        "bufferViews": views,
    }
    if extension:
        gltf |= {"extensions": extension, "extensionsUsed": list(extension)}
    blob.extend(bytes(-len(blob) % 4))
    gltf["buffers"] = [{"byteLength": len(blob)}]
    text = json.dumps(gltf).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(blob), 0x004E4942) + bytes(blob)
    path.write_bytes(struct.pack("<III", 0x46546C67, 2, 12 + len(chunks)) + chunks)
    return path


def write_vrm(rig: SkinnedRig, path: Path, version: int = 1) -> Path:
    """The GLB with VRM's humanoid; version 0 faces -Z."""
    node = rig.bones.index
    if version == 0:
        bones0 = [{"bone": role, "node": node(bone), "useDefaultValues": True} for role, bone in rig.humanoid.items()]
        meta0 = {"title": "test", "version": "1", "author": "tests", "licenseName": "CC0"}
        return write_glb(
            rig.turned_about(), path, {"VRM": {"specVersion": "0.0", "meta": meta0, "humanoid": {"humanBones": bones0}}}
        )
    bones = {role: {"node": node(bone)} for role, bone in rig.humanoid.items()}
    meta = {"name": "test", "authors": ["tests"], "licenseUrl": "https://vrm.dev/licenses/1.0/"}
    return write_glb(rig, path, {"VRMC_vrm": {"specVersion": "1.0", "meta": meta, "humanoid": {"humanBones": bones}}})


def write_bvh(rig: SkinnedRig, path: Path) -> Path:
    """Bones without axes of their own, in the rig's units, one frame in the rest pose."""
    places = rig.positions / rig.unit_m
    lines, columns = ["HIERARCHY"], 0

    def joint(i: int, depth: int) -> None:
        nonlocal columns
        pad, p = "\t" * depth, rig.parents[i]
        offset = places[i] if p < 0 else places[i] - places[p]
        lines.extend([f"{pad}{'ROOT' if p < 0 else 'JOINT'} {rig.bones[i]}", pad + "{"])
        lines.append(f"{pad}\tOFFSET " + " ".join(f"{x:.6f}" for x in offset))
        position = "6 Xposition Yposition Zposition" if p < 0 else "3"
        lines.append(f"{pad}\tCHANNELS {position} Zrotation Xrotation Yrotation")
        columns += 6 if p < 0 else 3
        children = np.flatnonzero(rig.parents == i)
        for c in children:
            joint(c, depth + 1)
        if not len(children):
            lines.extend([f"{pad}\tEnd Site", pad + "\t{", f"{pad}\t\tOFFSET 0 {0.02 / rig.unit_m} 0", pad + "\t}"])
        lines.append(pad + "}")

    joint(0, 0)
    row = np.zeros(columns)
    row[:3] = places[0]
    lines += ["MOTION", "Frames: 1", "Frame Time: 0.0333333", " ".join(f"{x:.6f}" for x in row)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _checks() -> bytes:
    """A PNG of 16 x 16 pixels, a checkerboard."""
    light = (np.indices((16, 16)) // 4).sum(0) % 2 == 0
    pixels = np.where(light[..., None], [60, 130, 190], [40, 90, 140]).astype(np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 16, 16, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
