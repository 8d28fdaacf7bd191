"""A picture of animated characters on a grid of metres. Runs in Blender's own environment.

    python render_rigs.py JOB.json

The job: {"path", "width", "height", "fps", "columns": [{"file" (GLB, VRM or FBX), "seconds": [...]}], "samples",
"azimuth_deg", "step_m"}. Each character stands in its own column, one behind the other in time where several moments
are asked for; the camera looks from the front and side.
"""

import json
import shutil
import sys
import tempfile
from math import cos, radians, sin
from pathlib import Path

import bpy
from mathutils import Vector


def imported(path, fps):
    """The new objects of a file, without the shapes that Blender's importer adds for bones."""
    before = set(bpy.data.objects)
    if path.endswith(".fbx"):
        bpy.ops.import_scene.fbx(filepath=path, anim_offset=0.0)
    else:
        with tempfile.TemporaryDirectory() as folder:  # a VRM is a GLB by another name
            copy = shutil.copyfile(path, Path(folder) / "rig.glb")
            bpy.ops.import_scene.gltf(filepath=str(copy))
    new = [o for o in bpy.data.objects if o not in before]
    for o in [o for o in new if o.type == "MESH" and not o.modifiers]:
        new.remove(o)
        bpy.data.objects.remove(o)
    return new


def frozen(objects, frame, at):
    """The posed meshes at one frame as plain objects, moved so that the body stands over `at`; their extent in z."""
    scene = bpy.context.scene
    scene.frame_set(int(frame // 1), subframe=frame % 1)
    graph = bpy.context.evaluated_depsgraph_get()
    copies, points = [], []
    for o in objects:
        if o.type == "MESH":
            posed = o.evaluated_get(graph)
            mesh = bpy.data.meshes.new_from_object(posed)
            mesh.transform(posed.matrix_world)
            copies.append(bpy.data.objects.new("posed", mesh))
            points += [v.co for v in mesh.vertices]
    middle = sum(points, Vector()) / len(points)
    for copy in copies:
        copy.location = (at[0] - middle.x, at[1] - middle.y, 0)
        scene.collection.objects.link(copy)
    return min(p.z for p in points), max(p.z for p in points)


def grid(size=12, line=0.012):
    """A floor with a line every metre."""
    bpy.ops.mesh.primitive_plane_add(size=2 * size, location=(0, 0, -0.004))
    floor = bpy.context.object
    floor.data.materials.append(paint((0.42, 0.44, 0.47)))
    ink = paint((0.16, 0.18, 0.22))
    for i in range(-size, size + 1):
        for horizontal in (True, False):
            bpy.ops.mesh.primitive_cube_add(size=1, location=(0, i, -0.003) if horizontal else (i, 0, -0.003))
            bar = bpy.context.object
            bar.scale = (2 * size, line, 0.002) if horizontal else (line, 2 * size, 0.002)
            bar.data.materials.append(ink)


def paint(colour):
    """A dull material."""
    material = bpy.data.materials.new("paint")
    material.use_nodes = True
    node = material.node_tree.nodes["Principled BSDF"]
    node.inputs["Base Color"].default_value = (*colour, 1)
    node.inputs["Roughness"].default_value = 0.9
    return material


def aimed(data, at, target):
    """A lamp or camera that looks at a place."""
    o = bpy.data.objects.new("aimed", data)
    bpy.context.scene.collection.objects.link(o)
    o.location = at
    o.rotation_euler = (Vector(target) - o.location).to_track_quat("-Z", "Y").to_euler()
    return o


def main():
    """Do the job; the characters' heights (lowest, highest vertex) on the last line, JSON."""
    job = json.loads(Path(sys.argv[1]).read_text())
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.fps = job["fps"]
    step, heights = job["step_m"], []
    n = len(job["columns"])
    for i, column in enumerate(job["columns"]):
        objects = imported(column["file"], job["fps"])
        moments = column["seconds"]
        for k, second in enumerate(moments):
            at = ((i - (n - 1) / 2) * step, (k - (len(moments) - 1) / 2) * job.get("deep_m", 1.0))
            heights.append(frozen(objects, second * job["fps"], at))
        for o in objects:
            bpy.data.objects.remove(o)
    grid()
    turn = radians(job["azimuth_deg"])
    far, target = job["far_m"], (0, 0, job.get("target_m", 0.85))
    camera = bpy.data.cameras.new("camera")
    camera.lens = 50
    scene.camera = aimed(camera, (far * sin(turn), -far * cos(turn), job.get("camera_m", 1.5)), target)
    for at, watts in (((3, -5, 6), 420), ((-6, -3, 4), 130), ((0, 5, 5), 160)):
        lamp = bpy.data.lights.new("lamp", "AREA")
        lamp.energy, lamp.size = watts, 3
        aimed(lamp, at, target)
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.use_denoising = job["samples"], True
    scene.view_settings.view_transform = "Standard"
    world = bpy.data.worlds.new("world")
    world.use_nodes = True
    world.node_tree.nodes["Background"].inputs["Color"].default_value = (0.85, 0.88, 0.92, 1)
    world.node_tree.nodes["Background"].inputs["Strength"].default_value = 0.35
    scene.world = world
    scene.render.resolution_x, scene.render.resolution_y = job["width"], job["height"]
    scene.render.filepath = job["path"]
    scene.render.image_settings.file_format = "PNG"
    bpy.ops.render.render(write_still=True)
    print("\n" + json.dumps(heights))


if __name__ == "__main__":
    main()
