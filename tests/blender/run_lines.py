"""Run pieces of code that import a file, each in an empty scene, and say what came in. In Blender's own environment.

    python run_lines.py CODE.json

The file holds a list of texts. The last line printed is JSON with, for each, the suffix of the file that it names, the
frame range, the scene's rate and Blender's world position of the hips 40 frames after the first.
"""

import json
import re
import sys
from pathlib import Path

import bpy


def came_in(code):
    """What is in the scene after one text."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    exec(code, {"bpy": bpy})
    scene = bpy.context.scene
    (armature,) = [o for o in scene.objects if o.type == "ARMATURE"]
    first, last = armature.animation_data.action.frame_range
    scene.frame_set(round(first) + 40)
    return {
        "file": re.search(r"motion\.(\w+)", code)[1],
        "range": [first, last],
        "fps": scene.render.fps / scene.render.fps_base,
        "hips": list(armature.matrix_world @ armature.pose.bones["Hips"].head),
    }


if __name__ == "__main__":
    print("\n" + json.dumps([came_in(code) for code in json.loads(Path(sys.argv[1]).read_text())]))
