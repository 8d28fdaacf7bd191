"""Runs inside Blender, not in kinelift: read a GLB of ours, write it as FBX.

blender --background --factory-startup --python blender_fbx.py -- IN.glb OUT.fbx FPS FRAMES
or, with Blender as a Python module, python blender_fbx.py -- IN.glb OUT.fbx FPS FRAMES
"""

import sys

import bpy


def main(glb: str, fbx: str, fps: float, frames: int) -> None:
    """The GLB has one key every 1 / round(fps) seconds: Blender's import knows whole rates only. The FBX has `fps`."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.fps = max(round(fps), 1)
    bpy.ops.import_scene.gltf(filepath=glb)
    scene.render.fps_base = scene.render.fps / fps
    scene.frame_start, scene.frame_end = 0, frames - 1
    # The importer adds a shape for bones, which is no part of the person.
    for o in [o for o in scene.objects if o.type == "MESH" and not o.modifiers]:
        bpy.data.objects.remove(o)
    bpy.ops.export_scene.fbx(
        filepath=fbx,
        object_types={"ARMATURE", "MESH"},
        # The unit stands in the file's header; no object is scaled by 100.
        apply_scale_options="FBX_SCALE_ALL",
        add_leaf_bones=False,
        bake_anim_use_nla_strips=False,
        bake_anim_use_all_actions=False,
        bake_anim_simplify_factor=0.0,
    )


if __name__ == "__main__":
    glb, fbx, fps, frames = sys.argv[sys.argv.index("--") + 1 :]
    main(glb, fbx, float(fps), int(frames))
