"""Runs inside Blender, not in kinelift: the bones of an FBX, and the same FBX with new motion on them.

blender --background --factory-startup --python inside_blender.py -- read IN.fbx RIG.npz
blender --background --factory-startup --python inside_blender.py -- write IN.fbx MOTION.npz OUT.fbx
or the same with a Python that has `bpy`.
"""

import re
import sys
from pathlib import Path
from typing import Any

import bpy
import numpy as np


def opened(fbx: str) -> Any:
    """The armature with the most bones of an FBX, in an empty scene, its motion left out."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    with Path(fbx).open("rb") as file:
        binary = file.read(18) == b"Kaydara FBX Binary"
    if binary:
        bpy.ops.import_scene.fbx(filepath=fbx, use_anim=False, use_image_search=False)
    elif hasattr(bpy.ops.wm, "fbx_import"):
        bpy.ops.wm.fbx_import(filepath=fbx, use_anim=False)
    else:
        sys.exit("an FBX as text needs Blender 4.5 or later")
    armatures = [o for o in bpy.context.scene.objects if o.type == "ARMATURE"]
    if not armatures:
        sys.exit("there is no armature in it")
    return max(armatures, key=lambda o: len(o.data.bones))


def in_order(armature: Any) -> list[Any]:
    """Its bones, parents first."""
    return sorted(armature.data.bones, key=lambda b: len(b.parent_recursive))


def read(fbx: str, out: str) -> None:
    """Names, parents and rest matrices in the armature, its own matrix, and the skin's points."""
    armature = opened(fbx)
    bones = in_order(armature)
    index = {b.name: i for i, b in enumerate(bones)}
    points, strongest = skin(armature, index)
    np.savez(
        out,
        names=np.array([b.name for b in bones]),
        parents=np.array([index[b.parent.name] if b.parent else -1 for b in bones]),
        rest=np.array([b.matrix_local for b in bones]),
        world=np.array(armature.matrix_world),
        points=points,
        strongest=strongest,
    )


def skin(armature: Any, index: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Points (V, 3) of the meshes on the armature, in the world at rest, and the bone (V,) that moves each most."""
    points, strongest = [np.zeros((0, 3))], [np.zeros(0, int)]
    for o in bpy.context.scene.objects:
        if o.type != "MESH" or not any(m.type == "ARMATURE" and m.object == armature for m in o.modifiers):
            continue
        bone = np.array([index.get(g.name, -1) for g in o.vertex_groups])
        main = [max(v.groups, key=lambda g: g.weight).group if v.groups else -1 for v in o.data.vertices]
        follows = np.array([bone[g] if g >= 0 else -1 for g in main], int)
        flat = np.empty(3 * len(main))
        o.data.vertices.foreach_get("co", flat)
        matrix = np.array(o.matrix_world)
        moved = flat.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3]
        points.append(moved[follows >= 0])
        strongest.append(follows[follows >= 0])
    return np.concatenate(points), np.concatenate(strongest)


def write(fbx: str, motion: str, out: str) -> None:
    """The FBX again, whole, with new keys on its bones and no other motion."""
    armature = opened(fbx)
    with np.load(motion, allow_pickle=False) as file:
        keys = dict(file)
    fps, last = float(keys["fps"]), int(keys["last"])
    scene = bpy.context.scene
    scene.render.fps = max(round(fps), 1)
    scene.render.fps_base = scene.render.fps / fps
    scene.frame_start, scene.frame_end = 0, last
    for o in scene.objects:
        o.animation_data_clear()
    action = bpy.data.actions.new("motion")
    armature.animation_data_create().action = action
    names = [b.name for b in in_order(armature)]
    for i, name in enumerate(names):
        bone = armature.pose.bones[name]
        bone.matrix_basis.identity()
        bone.rotation_mode = "QUATERNION"
        key(action, armature, bone, "rotation_quaternion", keys["frames"], keys["rotations"][:, i])
    for i, values in zip(keys["moved"], keys["locations"].transpose(1, 0, 2)):
        key(action, armature, armature.pose.bones[names[i]], "location", keys["frames"], values)
    bpy.ops.export_scene.fbx(
        filepath=out,
        # As it came: centimetres where the file counts in them.
        apply_scale_options="FBX_SCALE_ALL" if unit_cm(fbx) == 100 else "FBX_SCALE_NONE",
        add_leaf_bones=False,
        use_custom_props=True,
        path_mode="COPY",
        embed_textures=True,
        bake_anim_use_nla_strips=False,
        bake_anim_use_all_actions=False,
        bake_anim_simplify_factor=0.0,
    )


def key(action: Any, armature: Any, bone: Any, path: str, frames: np.ndarray, values: np.ndarray) -> None:
    """Keys at frames (T,) for every component of values (T, C) of a pose bone."""
    for c in range(values.shape[1]):
        data_path = bone.path_from_id(path)
        if hasattr(action, "fcurve_ensure_for_datablock"):
            curve = action.fcurve_ensure_for_datablock(armature, data_path, index=c)
        else:
            curve = action.fcurves.new(data_path, index=c)
        curve.keyframe_points.add(len(frames))
        curve.keyframe_points.foreach_set("co", np.stack([frames, values[:, c]], -1).ravel())
        curve.keyframe_points.foreach_set("interpolation", [1] * len(frames))  # linear
        curve.update()


def unit_cm(fbx: str) -> float:
    """Centimetres in the file's unit."""
    from io_scene_fbx import parse_fbx

    try:
        root, _ = parse_fbx.parse(fbx)
    except Exception:  # as text; the importer has taken it already
        with Path(fbx).open("rb") as file:
            said = re.search(rb'"UnitScaleFactor".*,\s*([0-9.]+)', file.read(1 << 16))
        return float(said[1]) if said else 1.0
    for element in root.elems:
        if element.id == b"GlobalSettings":
            for row in (r for block in element.elems for r in block.elems):
                if row.props and row.props[0] == b"UnitScaleFactor":
                    return float(row.props[4])
    return 1.0


if __name__ == "__main__":
    what, *paths = sys.argv[sys.argv.index("--") + 1 :]
    if what == "read":
        read(*paths)
    else:
        write(*paths)
