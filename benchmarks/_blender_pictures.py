"""Runs in Blender: import each file of a job with default settings and render it on the example's grid.

    python _blender_pictures.py JOB.json

The job: {"example": path of 05_fbx_turntable.py, "pictures": [{"file", "frame" (of the clip, from 0), "fps", "out",
"from" (x, y, z: the camera seen from the aim, in Blender's axes), "aim" (height in metres), "size" [w, h]}]}.
"""

import json
import math
import runpy
import sys
from pathlib import Path

import bpy
from mathutils import Vector


def imported(path: str, fps: int):
    """The armature, and the frame that the clip starts at."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.context.scene.render.fps = fps
    kind = Path(path).suffix
    if kind == ".bvh":
        bpy.ops.import_anim.bvh(filepath=path)
    elif kind == ".fbx":
        bpy.ops.import_scene.fbx(filepath=path)
    elif kind == ".usda":
        bpy.ops.wm.usd_import(filepath=path)
    else:
        bpy.ops.import_scene.gltf(filepath=path)
    (armature,) = [o for o in bpy.context.scene.objects if o.type == "ARMATURE"]
    for o in [o for o in bpy.context.scene.objects if o.type == "MESH" and not o.modifiers]:
        bpy.data.objects.remove(o)
    return armature, 1 if kind in (".bvh", ".fbx") else 0


def draw_bones(armature) -> None:
    """A BVH has no body, and a render shows no armature: an octahedron for every posed bone."""
    corners, faces = [], []
    for bone in armature.pose.bones:
        head, tail = armature.matrix_world @ bone.head, armature.matrix_world @ bone.tail
        along = tail - head
        side = along.orthogonal().normalized() * max(0.1 * along.length, 0.012)
        other = along.cross(side).normalized() * side.length
        first = len(corners)
        corners += [head, *(head + 0.15 * along + s for s in (side, other, -side, -other)), tail]
        for i in range(4):
            a, b = first + 1 + i, first + 1 + (i + 1) % 4
            faces += [(first, b, a), (a, b, first + 5)]
    mesh = bpy.data.meshes.new("bones")
    mesh.from_pydata(corners, [], faces)
    mesh.materials.append(bpy.data.materials.new("bone"))
    mesh.materials[0].diffuse_color = (0.1, 0.35, 0.55, 1)
    mesh.materials[0].use_nodes = True
    mesh.materials[0].node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = (0.03, 0.2, 0.4, 1)
    bpy.context.scene.collection.objects.link(bpy.data.objects.new("bones", mesh))


def picture(item: dict, example: dict) -> None:
    """Render one."""
    armature, first = imported(item["file"], item["fps"])
    scene = bpy.context.scene
    scene.frame_set(first + item["frame"])
    bpy.context.view_layer.update()
    if not any(o.type == "MESH" for o in scene.objects):
        draw_bones(armature)
    example["add_floor"]()
    hips = armature.matrix_world @ armature.pose.bones["Hips"].head
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    camera.data.angle = math.radians(30)
    aim = Vector((hips.x, hips.y, item["aim"]))
    camera.location = aim + Vector(item["from"])
    camera.rotation_euler = (aim - camera.location).to_track_quat("-Z", "Y").to_euler()
    scene.collection.objects.link(camera)
    scene.camera = camera
    scene.render.engine, scene.cycles.samples = "CYCLES", 8
    scene.view_settings.view_transform = "Standard"
    scene.render.resolution_x, scene.render.resolution_y = item["size"]
    scene.render.filepath = item["out"]
    bpy.ops.render.render(write_still=True)


if __name__ == "__main__":
    job = json.loads(Path(sys.argv[1]).read_text())
    shared = runpy.run_path(job["example"])
    for item in job["pictures"]:
        picture(item, shared)
