"""Import exported files into Blender and say where their joints are. Runs in Blender's own environment.

    python check_import.py JOB.json

The job: {"bvh": [{"path", "frames"}], "glb": [{"path", "fps", "times"}], "fbx" and "usd": [{"path", "fps", "frames"}]},
all optional.
The last line printed is JSON with, for each file, Blender's world positions (Z up) of the bones' heads and tails by
name and frame, the frame range, and the lowest point of the posed mesh.
"""

import json
import sys
from pathlib import Path

import bpy


def empty_scene(fps=24):
    """Blender's defaults, nothing in the scene; 24 is the rate that Blender itself starts with."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.context.scene.render.fps = fps
    return bpy.context.scene


def sampled(scene, frames):
    """Bones' heads and tails in the world at (possibly fractional) frames."""
    (armature,) = [o for o in scene.objects if o.type == "ARMATURE"]
    heads, tails, lowest = [], [], []
    for frame in frames:
        whole = int(frame // 1)
        scene.frame_set(whole, subframe=frame - whole)
        world = armature.matrix_world
        heads.append({b.name: list(world @ b.head) for b in armature.pose.bones})
        tails.append({b.name: list(world @ b.tail) for b in armature.pose.bones})
        lowest.append(lowest_point(scene))
    action = armature.animation_data.action
    return {"heads": heads, "tails": tails, "lowest": lowest, "frame_range": list(action.frame_range)}


def lowest_point(scene):
    """The lowest z of the posed meshes that hang on an armature, or None."""
    graph = bpy.context.evaluated_depsgraph_get()
    z = []
    for o in scene.objects:
        if o.type == "MESH" and any(m.type == "ARMATURE" for m in o.modifiers):
            posed = o.evaluated_get(graph)
            z += [(posed.matrix_world @ v.co).z for v in posed.data.vertices]
    return min(z, default=None)


def check_bvh(path, frames):
    """Default import settings; then once more taking the file's rate."""
    scene = empty_scene()
    bpy.ops.import_anim.bvh(filepath=path)
    # Blender plays a BVH's first frame at 1.
    out = sampled(scene, [f + 1 for f in frames])
    scene = empty_scene()
    bpy.ops.import_anim.bvh(filepath=path, update_scene_fps=True, update_scene_duration=True)
    return out | {"scene_fps": scene.render.fps / scene.render.fps_base}


def check_glb(path, fps, times):
    """The scene's rate is set first: Blender turns the file's seconds into frames as it imports."""
    scene = empty_scene(fps)
    bpy.ops.import_scene.gltf(filepath=path)
    return sampled(scene, [t * fps for t in times])


def check_fbx(path, fps, frames):
    """Default import settings: the scene takes the file's rate, the first key is at frame 1.

    Blender counts an FBX's seconds in whole frames a second: at 29.97 the keys of its import lie 1.001 frames apart.
    """
    scene = empty_scene()
    bpy.ops.import_scene.fbx(filepath=path)
    said = sampled(scene, [1 + f / fps * scene.render.fps for f in frames])
    return said | {"scene_fps": scene.render.fps / scene.render.fps_base}


def check_usd(path, fps, frames):
    """Default import settings: time codes are frames."""
    scene = empty_scene(fps)
    bpy.ops.wm.usd_import(filepath=path)
    return sampled(scene, frames)


def main():
    """Do the job; JSON on the last line."""
    job = json.loads(Path(sys.argv[1]).read_text())
    report = {
        "blender": bpy.app.version_string,
        "bvh": [check_bvh(**item) for item in job.get("bvh", [])],
        "glb": [check_glb(**item) for item in job.get("glb", [])],
        "fbx": [check_fbx(**item) for item in job.get("fbx", [])],
        "usd": [check_usd(**item) for item in job.get("usd", [])],
    }
    print("\n" + json.dumps(report))


if __name__ == "__main__":
    main()
