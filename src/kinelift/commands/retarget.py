"""`kinelift retarget`: a motion on the user's own character."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kinelift.errors import InputError


def retarget(
    motion: Annotated[Path, typer.Argument(help="A motion.npz")],
    rig: Annotated[str, typer.Option(help="mixamo, vrm, mmd, unreal, or your character: .glb .gltf .vrm .bvh .fbx")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The file to write; its suffix says the format")],
    in_place: Annotated[bool, typer.Option("--in-place", help="Take the path over the floor out")] = False,
    fps: Annotated[float | None, typer.Option(help="Constant frame rate; default: the motion's own")] = None,
    mapping: Annotated[
        Path | None, typer.Option("--map", help="TOML or JSON that names bones: left_upper_leg = 'Thigh_L'")
    ] = None,
    person: Annotated[int, typer.Option(help="Which person of a folder of motions, from 1")] = 1,
) -> None:
    """Put a motion on a character: its own file comes back animated, feet planted."""
    from kinelift.export.npz import load_motion
    from kinelift.retarget import read_character, write_character
    from kinelift.retarget import retarget as run

    character = read_character(rig, mapping)
    take = load_motion(motion)
    if not 0 < person <= len(take.motions):
        raise InputError(f"--person {person}: expected 1 to {len(take.motions)}")
    animation = run(take.motions[person - 1], character, in_place, fps)
    write_character(character, animation, out)
    typer.echo(f"wrote {out}")
