"""An animated character to a file: its own format back, or its bare skeleton as BVH or GLB."""

from __future__ import annotations

import secrets
from contextlib import suppress
from pathlib import Path

from kinelift.errors import InputError
from kinelift.retarget import bvh_file, fresh, gltf_file
from kinelift.retarget.animation import Animation
from kinelift.retarget.character import Character

# What each kind of source can be written as: the first is its own.
_WRITERS = {
    "glb": (".glb",),
    "vrm": (".vrm", ".glb"),
    "gltf": (".gltf",),
    "bvh": (".bvh",),
    "fbx": (".fbx",),
}


def write_character(character: Character, animation: Animation, path: Path) -> None:
    """Write to `path`, whose suffix says the format; the file appears only when it is whole.

    The character's own format keeps all of its file; as .bvh (constant rate only) or .glb any character goes out as
    its skeleton. Raises `InputError`.
    """
    suffix, kind = path.suffix.lower(), character.source.kind
    if not path.parent.is_dir():
        raise InputError(f"{path}: cannot be written, there is no folder {path.parent}")
    if path.resolve() == character.source.path.resolve():
        raise InputError(f"{path}: is the rig itself; choose another name for the result")
    temporary = path.with_name(f".{secrets.token_hex(8)}{path.suffix}")
    try:
        if suffix in _WRITERS.get(kind, ()):
            if kind == "bvh":
                bvh_file.write(character, animation, temporary)
            elif kind == "fbx":
                from kinelift.retarget import blender_rig

                blender_rig.write(character, animation, temporary)
            else:
                gltf_file.write(character, animation, temporary)
        elif suffix == ".bvh":
            fresh.write_bvh(character, animation, temporary)
        elif suffix == ".glb":
            fresh.write_glb(character, animation, temporary)
        else:
            can = ", ".join(dict.fromkeys((*_WRITERS.get(kind, ()), ".bvh", ".glb")))
            raise InputError(f"{path}: a {kind} rig is written as {can}")
        temporary.replace(path)
    except OSError as e:
        raise InputError(f"{path}: cannot be written ({e.strerror or e})") from None
    finally:
        with suppress(OSError):
            temporary.unlink()
