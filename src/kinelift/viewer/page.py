"""One self-contained HTML file of a take.

Every text of the user's is escaped, the data lie in blocks that no browser runs, and the page's own policy allows
one script (by its hash) and no connection: nothing in a motion file or a file name can act.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
import secrets
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import kinelift
from kinelift.errors import InputError
from kinelift.records import Take
from kinelift.viewer.pack import packed
from kinelift.viewer.proxy import Progress, browser_plays, write_proxy
from kinelift.viewer.takes import find_video, read_people

MAX_PAGE_BYTES = 400 * 10**6
MAX_TITLE = 120


def view(
    source: Take | Path | str,
    path: Path | str,
    video: Path | str | Literal[False] | None = None,
    embed: bool = False,
    longest_side: int = 1280,
    home: Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write the page of a take to `path`; that path.

    Args:
        source: A take, a folder with `motion.npz` files of one take, or one such file.
        path: The page to write, `.html`. It is whole or not there.
        video: The video to show beside the body; None looks for the one that the motion names; False shows none.
        embed: Put the video into the page, as H.264 in upright pictures. Else the page links to it, or to such a
            copy beside the page, `NAME.video.mp4`, where browsers do not play the video itself.
        longest_side: Pixels of a copy's longer side, at most.
        home: The folder that the page will be moved to, from which it links; None: it stays where it is written.
        progress: Called with ("video", frames done, frames in all or None) while a copy is made.

    Raises `InputError` where there is no motion, the video cannot be read, or nothing can be written.
    """
    path = Path(path)
    people = read_people(source)
    film = find_video(people, source, path) if video is None else Path(video) if video else None
    _check_target(path)
    take = packed(people)
    take["video"], embedded = (None, "")
    if film and not embed and browser_plays(film):
        link = _link(film, path.parent if home is None else home)
        take["video"] = {"name": film.name, "embedded": False, "src": link, "offset_s": 0.0}
    elif film:
        take["video"], embedded = _copied(film, people, path, embed, longest_side, progress)
    title = str(people[0].meta.get("input") or "") or (path.stem if isinstance(source, Take) else Path(source).name)
    text = _filled(title[:MAX_TITLE], _facts(people), take, embedded)
    if len(text) > MAX_PAGE_BYTES:
        size = f"{len(text) / 1e6:.0f} MB, more than {MAX_PAGE_BYTES / 1e6:.0f}"
        raise InputError(f"{path}: the page would take {size}; link to the video, or animate a shorter part")
    write_whole(path, text.encode("utf-8", "replace"))
    return path


def write_whole(path: Path, data: bytes) -> None:
    """Write a file beside its place and move it there; raises `InputError` where that cannot be done."""
    part = path.with_name(f".{secrets.token_hex(8)}{path.suffix}")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError as e:
        raise InputError(f"{path}: cannot be written ({e.strerror or e})") from None
    finally:
        with suppress(OSError):
            part.unlink()


def _check_target(path: Path) -> None:
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{path}: expected a name that ends in .html")
    if not path.parent.is_dir():
        raise InputError(f"{path}: cannot be written, there is no folder {path.parent}")


def _copied(
    film: Path, people: list[Take], page: Path, embed: bool, longest_side: int, progress: Progress | None
) -> tuple[dict[str, Any], str]:
    """What the page is told of a copy of the video, and the copy itself as base64 if it lies in the page."""
    start = min(float(p.motions[0].times[0]) for p in people)
    end = max(float(p.motions[0].times[-1]) for p in people)
    copy = page.with_name(f"{page.stem}.video.mp4")
    part = page.with_name(f".{secrets.token_hex(8)}.mp4")
    told: dict[str, Any] = {"name": film.name, "embedded": embed, "src": _address(copy.name)}
    try:
        told["offset_s"] = write_proxy(film, part, start, end, longest_side, progress)
        if embed:
            if part.stat().st_size * 4 / 3 > MAX_PAGE_BYTES:
                raise InputError(f"{film}: too long to lie in the page; link to it instead")
            return told | {"src": None}, base64.b64encode(part.read_bytes()).decode("ascii")
        part.replace(copy)
    except OSError as e:
        raise InputError(f"{copy}: cannot be written ({e.strerror or e})") from None
    finally:
        with suppress(OSError):
            part.unlink()
    return told, ""


def _link(film: Path, folder: Path) -> str:
    """A relative address from a folder; an absolute one on another Windows drive."""
    try:
        return _address(Path(os.path.relpath(film.resolve(), folder.resolve())).as_posix())
    except ValueError:
        return film.resolve().as_uri()


def _address(path: str) -> str:
    """A path as a relative address, also where its name is no Unicode."""
    return quote(os.fsencode(path))


def _facts(people: list[Take]) -> str:
    motions = [p.motions[0] for p in people]
    longest = max(motions, key=lambda m: len(m.times))
    facts = [
        f"{len(longest.times)} frames",
        f"{longest.times[-1] - longest.times[0]:.2f} s",
        f"{longest.fps:.4g} fps",
    ]
    height = people[0].meta.get("height_m")
    if len(people) > 1:
        facts.append(f"{len(people)} people")
    elif isinstance(height, float):
        facts.append(f"{height:.2f} m tall")
    return " \N{MIDDLE DOT} ".join(facts)


def _filled(title: str, facts: str, take: dict[str, Any], film: str) -> str:
    assets = files("kinelift.viewer") / "assets"
    script, style = ((assets / name).read_text(encoding="utf-8") for name in ("viewer.js", "style.css"))
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "img-src blob: data:; media-src 'self' file: blob:; base-uri 'none'; form-action 'none'"
    )
    parts = {
        "policy": policy,
        "generator": f"kinelift {kinelift.__version__}",
        "title": html.escape(title),
        "facts": html.escape(facts),
        "style": style,
        "take": _in_script(json.dumps(take, ensure_ascii=True, allow_nan=False, separators=(",", ":"))),
        "film": film,
        "script": script,
    }
    # In one pass: what is filled in is not searched again.
    page = (assets / "page.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda m: parts[m[1]], page)


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _in_script(text: str) -> str:
    """JSON that cannot end the element it lies in."""
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
