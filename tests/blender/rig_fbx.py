"""Characters as FBX, made from GLB by Blender, and what Blender says of animated ones. Runs in Blender's environment.

    python rig_fbx.py JOB.json

The job: {"make": [{"glb", "fbx", "scale" (FBX_SCALE_NONE, FBX_SCALE_ALL), "up" (Y, Z)}],
"check": [{"path", "fps", "frames"}]}. The last line printed is JSON: for each file checked Blender's world positions
(Z up) of the bones' heads by name and frame, the posed mesh's lowest point, its vertices, materials and images.
"""

import json
import sys
from pathlib import Path

import bpy
from check_import import empty_scene, sampled


def make(glb, fbx, scale, up):
    """Blender's FBX of a GLB's character; the bones keep the axes that Blender's importer gives them."""
    empty_scene()
    bpy.ops.import_scene.gltf(filepath=glb)
    for o in [o for o in bpy.context.scene.objects if o.type == "MESH" and not o.modifiers]:
        bpy.data.objects.remove(o)
    bpy.ops.export_scene.fbx(
        filepath=fbx,
        apply_scale_options=scale,
        add_leaf_bones=False,
        bake_anim=False,
        path_mode="COPY",
        embed_textures=True,
        axis_up=up,
        axis_forward="-Z" if up == "Y" else "-Y",
    )


def check(path, fps, frames):
    """An FBX as Blender reads it by default; the first key is frame 1. Without `frames` it need not be animated."""
    scene = empty_scene(fps)
    bpy.ops.import_scene.fbx(filepath=path)
    report = sampled(scene, [f + 1 for f in frames]) if frames else {}
    meshes = [o for o in scene.objects if o.type == "MESH"]
    return report | {
        "vertices": sum(len(o.data.vertices) for o in meshes),
        "materials": sorted({m.material.name for o in meshes for m in o.material_slots}),
        "images": sorted(i.name for i in bpy.data.images),
        "scale": list(next(o for o in scene.objects if o.type == "ARMATURE").scale),
    }


def main():
    """Do the job; JSON on the last line."""
    job = json.loads(Path(sys.argv[1]).read_text())
    for item in job.get("make", []):
        make(**item)
    print("\n" + json.dumps([check(**item) for item in job.get("check", [])]))


if __name__ == "__main__":
    main()
