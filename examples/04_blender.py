"""Open a result in Blender, in metres, upright, at its own frame rate.

    blender --python examples/04_blender.py -- out/motion.bvh
    blender --python examples/04_blender.py -- out/motion.glb

Runs inside Blender's own Python; kinelift is not needed there. The BVH is a skeleton alone, the GLB brings a body.
"""

import json
import struct
import sys
from pathlib import Path

import bpy


def glb_fps(path: Path) -> int:
    """Frame rate of a GLB's key frames, rounded: Blender counts frames, glTF seconds."""
    data = path.read_bytes()
    gltf = json.loads(data[20 : 20 + struct.unpack_from("<I", data, 12)[0]])
    times = gltf["accessors"][gltf["animations"][0]["samplers"][0]["input"]]
    return max(round((times["count"] - 1) / times["max"][0]), 1) if times["count"] > 1 else 30


path = Path(sys.argv[sys.argv.index("--") + 1])
if path.suffix == ".bvh":
    bpy.ops.import_anim.bvh(filepath=str(path), update_scene_fps=True, update_scene_duration=True)
else:
    bpy.context.scene.render.fps = glb_fps(path)  # before the import, which turns seconds into frames
    bpy.ops.import_scene.gltf(filepath=str(path))

scene = bpy.context.scene
rigs = [o.name for o in scene.objects if o.type == "ARMATURE"]
print(f"{path.name}: {', '.join(rigs)} at {scene.render.fps / scene.render.fps_base:.2f} fps")
