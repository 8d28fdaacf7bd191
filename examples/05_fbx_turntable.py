"""From a result's GLB to an FBX and a rendered turntable, in Blender without a window, an add-on or kinelift.

    blender --background --python examples/05_fbx_turntable.py -- out/motion.glb out/turntable
    python examples/05_fbx_turntable.py -- out/motion.glb out/turntable       # where bpy is a Python module

Writes motion.fbx and turntable.mp4 (or pictures, with --png) into the second folder: the camera walks once around the
person while the clip plays. A second of video takes about a minute on two cores; --step 3 and --size 320 are quicker.
"""

import argparse
import json
import math
import struct
import sys
from pathlib import Path

import bpy
import numpy as np
from mathutils import Vector


def glb_fps(path: Path) -> int:
    """Frame rate of a GLB's key frames, rounded: Blender counts frames, glTF seconds."""
    data = path.read_bytes()
    gltf = json.loads(data[20 : 20 + struct.unpack_from("<I", data, 12)[0]])
    times = gltf["accessors"][gltf["animations"][0]["samplers"][0]["input"]]
    return max(round((times["count"] - 1) / times["max"][0]), 1) if times["count"] > 1 else 30


def imported(path: Path) -> bpy.types.Object:
    """The armature of a GLB in an empty scene whose frames are the clip's, from 0."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.fps = glb_fps(path)  # before the import, which turns seconds into frames
    bpy.ops.import_scene.gltf(filepath=str(path))
    (armature,) = [o for o in scene.objects if o.type == "ARMATURE"]
    scene.frame_start, scene.frame_end = (round(f) for f in armature.animation_data.action.frame_range)
    # The importer adds a shape for bones, which is no part of the person.
    for o in [o for o in scene.objects if o.type == "MESH" and not o.modifiers]:
        bpy.data.objects.remove(o)
    return armature


def write_fbx(path: Path) -> None:
    """Metres, Y up, a key a frame; nothing is simplified, no bones are added."""
    bpy.ops.export_scene.fbx(
        filepath=str(path),
        object_types={"ARMATURE", "MESH"},
        apply_scale_options="FBX_SCALE_ALL",
        add_leaf_bones=False,
        bake_anim_use_nla_strips=False,
        bake_anim_use_all_actions=False,
        bake_anim_simplify_factor=0.0,
    )


def add_floor() -> None:
    """A grid of 1 m squares at the floor's height, and daylight."""
    bpy.ops.mesh.primitive_plane_add(size=200)
    floor = bpy.data.materials.new("floor")
    floor.use_nodes = True
    nodes, link = floor.node_tree.nodes, floor.node_tree.links.new
    grid, place = nodes.new("ShaderNodeTexBrick"), nodes.new("ShaderNodeTexCoord")
    grid.offset, grid.squash = 0.0, 1.0
    values = {"Scale": 1.0, "Mortar Size": 0.012, "Mortar Smooth": 0.1, "Brick Width": 1.0, "Row Height": 1.0}
    colours = {"Color1": (0.55, 0.57, 0.6, 1), "Color2": (0.55, 0.57, 0.6, 1), "Mortar": (0.12, 0.13, 0.15, 1)}
    for name, value in (values | colours).items():
        grid.inputs[name].default_value = value
    link(place.outputs["Object"], grid.inputs["Vector"])
    link(grid.outputs["Color"], nodes["Principled BSDF"].inputs["Base Color"])
    bpy.context.object.data.materials.append(floor)

    world = bpy.data.worlds.new("sky")
    world.use_nodes = True
    world.node_tree.nodes["Background"].inputs["Color"].default_value = (0.75, 0.82, 0.9, 1)
    world.node_tree.nodes["Background"].inputs["Strength"].default_value = 0.5
    bpy.context.scene.world = world
    sun = bpy.data.objects.new("sun", bpy.data.lights.new("sun", "SUN"))
    sun.data.energy, sun.data.angle, sun.rotation_euler = 2.5, 0.05, (0.7, 0.2, -0.5)
    bpy.context.scene.collection.objects.link(sun)


def add_camera(armature: bpy.types.Object, frames: range, turns: float) -> None:
    """A camera that looks at the hips and goes around them, from the front, once over the clip times `turns`."""
    scene = bpy.context.scene
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    camera.data.sensor_fit, camera.data.angle = "VERTICAL", math.radians(35)
    scene.collection.objects.link(camera)
    scene.camera = camera
    hips = np.array([hips_at(armature, f) for f in frames])
    height, width = float(hips[:, 2].max()), max(len(frames) // 8, 1)
    smooth = np.pad(hips[:, :2], ((width, width), (0, 0)), mode="edge")
    kernel = np.ones(2 * width + 1) / (2 * width + 1)
    centre = np.stack([np.convolve(smooth[:, axis], kernel, "valid") for axis in (0, 1)], -1)
    for i, frame in enumerate(frames):
        angle = 2 * math.pi * turns * i / len(frames)
        aim = Vector((*centre[i], 0.95 * height))
        camera.location = aim + height * Vector((4 * math.sin(angle), -4 * math.cos(angle), 0.6))
        camera.rotation_euler = (aim - camera.location).to_track_quat("-Z", "Y").to_euler()
        camera.keyframe_insert("location", frame=frame)
        camera.keyframe_insert("rotation_euler", frame=frame)


def hips_at(armature: bpy.types.Object, frame: int) -> Vector:
    bpy.context.scene.frame_set(frame)
    return armature.matrix_world @ armature.pose.bones["Hips"].head


def render(out: Path, size: int, samples: int, png: bool) -> None:
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"  # needs neither a window nor a graphics card
    scene.cycles.samples = samples
    scene.view_settings.view_transform = "Standard"
    scene.render.resolution_x = scene.render.resolution_y = size
    if png:
        scene.render.filepath = f"{out / 'turntable'}_"
    else:
        if hasattr(scene.render.image_settings, "media_type"):  # Blender 5
            scene.render.image_settings.media_type = "VIDEO"
        scene.render.image_settings.file_format = "FFMPEG"
        scene.render.ffmpeg.format, scene.render.ffmpeg.codec = "MPEG4", "H264"
        scene.render.ffmpeg.constant_rate_factor = "HIGH"
        scene.render.filepath = str(out / "turntable.mp4")
    bpy.ops.render.render(animation=True)


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("glb", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--step", type=int, default=1, help="render every so many frames")
    parser.add_argument("--size", type=int, default=640, help="of the square picture, pixels")
    parser.add_argument("--samples", type=int, default=16, help="rays a pixel")
    parser.add_argument("--turns", type=float, default=1.0)
    parser.add_argument("--png", action="store_true", help="pictures instead of a video")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)

    armature = imported(args.glb)
    write_fbx(args.out / f"{args.glb.stem}.fbx")
    add_floor()
    scene = bpy.context.scene
    scene.frame_step = args.step
    scene.render.fps_base = args.step  # every third frame of 30 a second are 10 a second
    add_camera(armature, range(scene.frame_start, scene.frame_end + 1), args.turns)
    render(args.out.resolve(), args.size, args.samples, args.png)
    pictures = len(range(scene.frame_start, scene.frame_end + 1, args.step))
    print(f"{args.out}: {args.glb.stem}.fbx and a turntable of {pictures} pictures")


if __name__ == "__main__":
    main(sys.argv[sys.argv.index("--") + 1 :])
