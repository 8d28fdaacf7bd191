"""`kinelift retarget`: a motion on the user's own character."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kinelift.errors import InputError


def retarget(
    motion: Annotated[Path, typer.Argument(help="A motion.npz, or a folder of them")],
    rig: Annotated[str, typer.Option(help="mixamo, vrm, mmd, unreal, or your character: .glb .gltf .vrm .bvh .fbx")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The file to write; its suffix says the format")],
    in_place: Annotated[bool, typer.Option("--in-place", help="Take the path over the floor out")] = False,
    fps: Annotated[float | None, typer.Option(help="Constant frame rate; default: the motion's own")] = None,
    mapping: Annotated[
        Path | None, typer.Option("--map", help="TOML or JSON that names bones: left_upper_leg = 'Thigh_L'")
    ] = None,
    person: Annotated[int, typer.Option(help="Which of a folder's people, from 1")] = 1,
) -> None:
    """Put a motion on a character: its own file comes back animated, feet planted."""
    from kinelift.export.resample import constant_fps
    from kinelift.retarget import read_character, write_character
    from kinelift.retarget import retarget as run
    from kinelift.viewer.takes import read_people

    if out.suffix.lower() == ".vmd":
        raise InputError(f"{out}: MikuMikuDance's motions are written by kinelift convert {motion} {out}")
    people = read_people(motion)
    if not 0 < person <= len(people):
        raise InputError(f"--person {person}: expected 1 to {len(people)}, which {motion} holds")
    character = read_character(rig, mapping)
    chosen = people[person - 1].motions[0]
    if fps is None and out.suffix.lower() in (".bvh", ".fbx"):
        fps = constant_fps(chosen.times)
    write_character(character, run(chosen, character, in_place, fps), out)
    typer.echo(f"wrote {out}")
