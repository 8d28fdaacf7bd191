"""Universal Scene Description (USD): a UsdSkel skeleton, its animation and the skinned, shaded body, as text (USDA).

Metres, Y up, the person facing +Z. One time code a frame from 0, `timeCodesPerSecond` the rate. Rotations are the
joints' local ones (w x y z), continuous in time; scales are one. Written without a USD library, which readers have.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from kinelift.export.body import MATERIALS, Surface, body
from kinelift.export.resample import at_constant_rate
from kinelift.export.rig import Rig, rig_of
from kinelift.kinematics import continuous_quats
from kinelift.records import Motion, Take

suffix = ".usda"


def write(take: Take, index: int, path: Path, fps: float | None) -> None:
    """Write one motion; `fps` None takes the source's nearest constant rate."""
    motion, rate = at_constant_rate(take.motions[index], fps)
    rig = rig_of(motion)
    joints = _joint_paths(rig)
    with path.open("w", encoding="utf-8", newline="\n") as f:
        f.write(_HEADER.format(rate=f"{rate:.10g}", last=len(motion.times) - 1))
        f.write('def SkelRoot "Person" (\n    prepend apiSchemas = ["SkelBindingAPI"]\n)\n{\n')
        f.writelines(_skeleton(rig, joints))
        f.writelines(_animation(rig, motion, joints))
        for name, surface in body(rig).items():
            f.writelines(_mesh(name, surface))
        f.write('    def Scope "Looks"\n    {\n')
        for name in body(rig):
            f.write(_LOOK.format(name=name, colour=_tuple(MATERIALS[name][0]), roughness=MATERIALS[name][1]))
        f.write("    }\n}\n")


_HEADER = """#usda 1.0
(
    defaultPrim = "Person"
    doc = "kinelift"
    endTimeCode = {last}
    framesPerSecond = {rate}
    metersPerUnit = 1
    startTimeCode = 0
    timeCodesPerSecond = {rate}
    upAxis = "Y"
)

"""

_LOOK = """        def Material "{name}"
        {{
            token outputs:surface.connect = </Person/Looks/{name}/Surface.outputs:surface>

            def Shader "Surface"
            {{
                uniform token info:id = "UsdPreviewSurface"
                color3f inputs:diffuseColor = {colour}
                float inputs:roughness = {roughness}
                token outputs:surface
            }}
        }}
"""


def _joint_paths(rig: Rig) -> list[str]:
    """UsdSkel's joint tokens: the way from the root, such as "Hips/Spine"; names that USD's paths can hold."""
    paths: list[str] = []
    for i, name in enumerate(rig.names):
        clean = re.sub(r"\W", "_", name, flags=re.ASCII)
        clean = f"_{clean}" if not clean or clean[0].isdigit() else clean
        parent = "" if rig.parents[i] < 0 else f"{paths[rig.parents[i]]}/"
        # Names that differ only in what was replaced.
        while f"{parent}{clean}" in paths:
            clean += "_"
        paths.append(f"{parent}{clean}")
    return paths


def _skeleton(rig: Rig, joints: list[str]) -> Iterator[str]:
    rest = rig.rest_positions
    local = np.concatenate([rest[:1], rig.offsets[1:]])
    yield '    def Skeleton "Rig" (\n        prepend apiSchemas = ["SkelBindingAPI"]\n    )\n    {\n'
    yield f"        uniform token[] joints = {_texts(joints)}\n"
    yield f"        uniform matrix4d[] bindTransforms = [{', '.join(_translation(p) for p in rest)}]\n"
    yield f"        uniform matrix4d[] restTransforms = [{', '.join(_translation(p) for p in local)}]\n"
    yield "        rel skel:animationSource = </Person/Motion>\n    }\n\n"


def _animation(rig: Rig, motion: Motion, joints: list[str]) -> Iterator[str]:
    quats = continuous_quats(rig.rotations(motion))[..., [3, 0, 1, 2]]
    places = np.tile(rig.offsets, (len(quats), 1, 1))
    places[:, 0] = motion.root
    yield '    def SkelAnimation "Motion"\n    {\n'
    yield f"        uniform token[] joints = {_texts(joints)}\n"
    yield f"        half3[] scales = [{', '.join(['(1, 1, 1)'] * len(joints))}]\n"
    yield "        float3[] translations.timeSamples = {\n"
    yield from (f"            {frame}: {_tuples(values)},\n" for frame, values in enumerate(places))
    yield "        }\n        quatf[] rotations.timeSamples = {\n"
    yield from (f"            {frame}: {_tuples(values)},\n" for frame, values in enumerate(quats))
    yield "        }\n    }\n\n"


def _mesh(name: str, surface: Surface) -> Iterator[str]:
    low, high = surface.positions.min(0), surface.positions.max(0)
    yield f'    def Mesh "Body_{name}" (\n'
    yield '        prepend apiSchemas = ["MaterialBindingAPI", "SkelBindingAPI"]\n    )\n    {\n'
    yield f"        float3[] extent = {_tuples(np.stack([low, high]))}\n"
    yield f"        int[] faceVertexCounts = {_numbers([3] * len(surface.triangles))}\n"
    yield f"        int[] faceVertexIndices = {_numbers(surface.triangles.reshape(-1))}\n"
    yield f"        point3f[] points = {_tuples(surface.positions)}\n"
    yield f"        normal3f[] normals = {_tuples(surface.normals)} (\n"
    yield '            interpolation = "vertex"\n        )\n'
    skinning = '(\n            elementSize = 4\n            interpolation = "vertex"\n        )\n'
    yield f"        int[] primvars:skel:jointIndices = {_numbers(surface.joints.reshape(-1))} {skinning}"
    yield f"        float[] primvars:skel:jointWeights = {_numbers(surface.weights.reshape(-1))} {skinning}"
    yield f"        matrix4d primvars:skel:geomBindTransform = {_translation(np.zeros(3))}\n"
    yield f"        rel material:binding = </Person/Looks/{name}>\n"
    yield "        rel skel:skeleton = </Person/Rig>\n"
    yield '        uniform token subdivisionScheme = "none"\n    }\n\n'


def _translation(p: np.ndarray) -> str:
    """A matrix for row vectors, as USD writes it."""
    return f"((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), {_tuple([*p, 1])})"


def _tuple(values: Iterable[float]) -> str:
    return _tuples([list(values)])[1:-1]


def _tuples(rows: np.ndarray | list[list[float]]) -> str:
    # Seven digits are all that a float holds; "+ 0.0" turns -0 into 0.
    array = np.round(np.asarray(rows, float), 7) + 0.0
    row = "(" + ", ".join(["%.7g"] * array.shape[1]) + ")"
    return "[" + ", ".join([row] * len(array)) % tuple(array.ravel().tolist()) + "]"


def _numbers(values: Iterable[float]) -> str:
    return "[" + ", ".join(f"{v:.7g}" for v in values) + "]"


def _texts(texts: Iterable[str]) -> str:
    return "[" + ", ".join(f'"{text}"' for text in texts) + "]"
