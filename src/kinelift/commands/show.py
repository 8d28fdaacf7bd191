"""Commands that show what was made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from kinelift.commands.io import Progress
from kinelift.errors import InputError


def view(
    source: Annotated[Path, typer.Argument(help="A folder with motion.npz files of one take, or one motion.npz")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The page; beside the motion: view.html")] = None,
    video: Annotated[Path | None, typer.Option(help="The video; default: the one that the motion names")] = None,
    no_video: Annotated[bool, typer.Option("--no-video", help="Show the body alone")] = False,
    embed_video: Annotated[bool, typer.Option("--embed-video", help="Put the video into the page: one file")] = False,
    mp4: Annotated[bool, typer.Option("--mp4", help="Also a video of overlay and two views, to send")] = False,
) -> None:
    """Write one self-contained web page of the motion beside its video."""
    from kinelift.viewer import film
    from kinelift.viewer import view as run

    if no_video and (video is not None or embed_video):
        raise InputError("--no-video does not go with --video or --embed-video")
    page = out or (source if source.is_dir() else source.parent) / "view.html"
    shown: Path | Literal[False] | None = False if no_video else video or _found(source, page)
    with Progress() as progress:
        typer.echo(f"wrote {run(source, page, shown, embed_video, progress=progress)}")
        if mp4:
            typer.echo(f"wrote {film(source, page.with_suffix('.mp4'), shown, progress=progress)}")


def _found(source: Path, page: Path) -> Path | Literal[False]:
    from kinelift.viewer.takes import find_video, read_people

    people = read_people(source)
    name = people[0].meta.get("input")
    found = find_video(people, source, page)
    if found is None and name:
        typer.echo(
            f"note: {Path(str(name)).name} is not beside the motion: no video shown; give --video FILE", err=True
        )
    return found or False
