"""Binary glTF 2.0: the export rig as a skin, a shaded body on it, and the motion as its animation.

Metres, Y up, the person facing +Z, as glTF has it. Key frames lie at the source's own times in seconds, counted
from the first frame; rotations are linear samplers (slerp). The bind pose is the T-pose standing at the origin.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import kinelift
from kinelift.errors import InputError
from kinelift.export.body import MATERIALS, Surface, body
from kinelift.export.resample import at_constant_rate
from kinelift.export.rig import Rig, rig_of
from kinelift.kinematics import continuous_quats
from kinelift.records import Take

suffix = ".glb"

# glTF's numbers for component types and buffer targets (specification 2.0, 3.6.2 and 5.11.5).
_FLOAT, _UBYTE, _USHORT = 5126, 5121, 5123
_VERTICES, _INDICES = 34962, 34963
_KINDS = {(): "SCALAR", (3,): "VEC3", (4,): "VEC4", (4, 4): "MAT4"}
# Joint indices are bytes.
MAX_JOINTS = 256


def write(take: Take, index: int, path: Path, fps: float | None) -> None:
    """Write one motion at the source's own times, or resampled to `fps` frames per second."""
    import pygltflib as gl

    motion = take.motions[index]
    if fps is not None:
        motion, _ = at_constant_rate(motion, fps)
    rig = rig_of(motion)
    if len(rig.names) > MAX_JOINTS:
        raise InputError(f"{len(rig.names)} joints: glTF export knows at most {MAX_JOINTS}")
    gltf = gl.GLTF2(asset=gl.Asset(version="2.0", generator=f"kinelift {kinelift.__version__}"))
    blob = _Blob(gltf)
    _add_rig(gltf, blob, rig)
    _add_body(gltf, blob, rig)
    quats = continuous_quats(rig.rotations(motion)).astype(np.float32)
    _add_animation(gltf, blob, motion.times - motion.times[0], quats, motion.root)
    gltf.buffers = [gl.Buffer(byteLength=len(blob.data))]
    gltf.set_binary_blob(bytes(blob.data))
    path.write_bytes(b"".join(gltf.save_to_bytes()))


class _Blob:
    """The binary chunk and the accessors into it."""

    def __init__(self, gltf: Any):
        self.gltf, self.data = gltf, bytearray()

    def add(self, array: np.ndarray, component: int, target: int | None = None, bounds: bool = False) -> int:
        """The accessor of an array of elements (N, ...), appended on a four-byte boundary."""
        import pygltflib as gl

        self.data += bytes(-len(self.data) % 4)
        array = np.ascontiguousarray(array, {_FLOAT: "<f4", _UBYTE: "u1", _USHORT: "<u2"}[component])
        raw = array.tobytes()
        view = gl.BufferView(buffer=0, byteOffset=len(self.data), byteLength=len(raw), target=target)
        self.gltf.bufferViews.append(view)
        self.data += raw
        flat = array.reshape(len(array), -1)
        self.gltf.accessors.append(
            gl.Accessor(
                bufferView=len(self.gltf.bufferViews) - 1,
                byteOffset=0,
                componentType=component,
                count=len(array),
                type=_KINDS[array.shape[1:]],
                min=flat.min(0).tolist() if bounds else None,
                max=flat.max(0).tolist() if bounds else None,
            )
        )
        return len(self.gltf.accessors) - 1


def _add_rig(gltf: Any, blob: _Blob, rig: Rig) -> None:
    """Nodes 0 .. N - 1 are the rig's joints, in its order."""
    import pygltflib as gl

    rest = rig.rest_positions
    for i, name in enumerate(rig.names):
        place = rest[0] if i == 0 else rig.offsets[i]
        children = [c for c, p in enumerate(rig.parents) if p == i]
        gltf.nodes.append(gl.Node(name=name, translation=[float(v) for v in place], children=children))
    inverse_bind = np.tile(np.eye(4), (len(rest), 1, 1))
    inverse_bind[:, 3, :3] = -rest  # column-major: the translation is the last four numbers
    joints = list(range(len(rest)))
    gltf.skins = [gl.Skin(name="rig", inverseBindMatrices=blob.add(inverse_bind, _FLOAT), joints=joints, skeleton=0)]
    gltf.scenes, gltf.scene = [gl.Scene(nodes=[0])], 0


def _add_body(gltf: Any, blob: _Blob, rig: Rig) -> None:
    import pygltflib as gl

    primitives = []
    for material, surface in body(rig).items():
        colour, roughness = MATERIALS[material]
        pbr = gl.PbrMetallicRoughness(baseColorFactor=[*colour, 1.0], metallicFactor=0.0, roughnessFactor=roughness)
        gltf.materials.append(gl.Material(name=material, pbrMetallicRoughness=pbr, alphaCutoff=None))
        primitives.append(_primitive(blob, surface, len(gltf.materials) - 1))
    gltf.meshes = [gl.Mesh(name="body", primitives=primitives)]
    # A skinned mesh takes its place from the joints alone, so it stands at the scene's root.
    gltf.nodes.append(gl.Node(name="Body", mesh=0, skin=0))
    gltf.scenes[0].nodes.append(len(gltf.nodes) - 1)


def _primitive(blob: _Blob, surface: Surface, material: int) -> Any:
    import pygltflib as gl

    attributes = gl.Attributes(
        POSITION=blob.add(surface.positions, _FLOAT, _VERTICES, bounds=True),
        NORMAL=blob.add(surface.normals, _FLOAT, _VERTICES),
        JOINTS_0=blob.add(surface.joints, _UBYTE, _VERTICES),
        WEIGHTS_0=blob.add(surface.weights, _FLOAT, _VERTICES),
    )
    indices = blob.add(surface.triangles.reshape(-1), _USHORT, _INDICES)
    return gl.Primitive(attributes=attributes, indices=indices, material=material)


def _add_animation(gltf: Any, blob: _Blob, times_s: np.ndarray, quats: np.ndarray, root: np.ndarray) -> None:
    """One sampler a joint that moves, and one for the root's path; `quats` (T, N, 4) float32, `root` (T, 3) metres."""
    import pygltflib as gl

    stamps = blob.add(times_s, _FLOAT, bounds=True)
    animation = gl.Animation(name="motion", samplers=[], channels=[])

    def sample(node: int, path: str, values: np.ndarray) -> None:
        animation.samplers.append(gl.AnimationSampler(input=stamps, output=blob.add(values, _FLOAT)))
        target = gl.AnimationChannelTarget(node=node, path=path)
        animation.channels.append(gl.AnimationChannel(sampler=len(animation.samplers) - 1, target=target))

    sample(0, "translation", root)
    for joint in range(quats.shape[1]):
        if not (quats[:, joint] == (0, 0, 0, 1)).all():
            sample(joint, "rotation", quats[:, joint])
    gltf.animations = [animation]
