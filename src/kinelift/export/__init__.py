"""Animation files from a take, chosen by the file's suffix.

An exporter is a module of this package with a `suffix` and a `write`, and one line in `EXPORTERS`. `export` hands
it a temporary file beside the target and moves it into place when everything is written, so that an exporter
cannot leave half a file behind. One that writes further files beside its own names them in `sidecars`.
"""

import math
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from kinelift.errors import InputError, UnknownNameError
from kinelift.records import Take

MAX_FPS = 1000.0

Write = Callable[[Take, int, Path, float | None], None]


class Exporter(Protocol):
    """What an entry of `EXPORTERS` must offer: a module with these two names, or any object.

    It may also have `sidecars: dict[str, Write]`: for "_sigma.csv", what writes `walk_sigma.csv` beside `walk.trc`.
    """

    suffix: str  # with its dot, lower case: ".bvh"

    def write(self, take: Take, index: int, path: Path, fps: float | None) -> None:
        """Write the motion `take.motions[index]` to `path`.

        `fps` None keeps the source's own times, or their nearest constant rate where the format knows no other.
        Raises `InputError` where the motion or `fps` cannot be written in this format.
        """
        ...


def _leaf(module: str) -> Exporter:
    return cast(Exporter, import_module(f"{__name__}.{module}"))


EXPORTERS: dict[str, Exporter] = {
    "npz": _leaf("npz"),
    "bvh": _leaf("bvh"),
    "glb": _leaf("gltf"),
    "csv": _leaf("csv"),
    "trc": _leaf("trc"),
    "c3d": _leaf("c3d"),
    "vmd": _leaf("vmd"),
    "mot": _leaf("mot"),
    "usda": _leaf("usd"),
    "fbx": _leaf("fbx"),
}


def exporter_for(path: Path) -> Exporter:
    """The exporter that a file's suffix names; raises `UnknownNameError`, which lists the known ones."""
    for exporter in EXPORTERS.values():
        if exporter.suffix == path.suffix.lower():
            return exporter
    raise UnknownNameError("output format", path.suffix or path.name, (e.suffix for e in EXPORTERS.values()))


def export(take: Take, path: Path | str, fps: float | None = None) -> list[Path]:
    """Write a take in the format of `path`'s suffix; the files written, motion by motion, each before its sidecars.

    One person goes to `path`; several go to one file each, `name_p1.bvh`, `name_p2.bvh`. All are written in full
    before the first is moved into place. `fps` resamples to a constant rate in frames per second. Raises
    `InputError` for an unknown suffix, an unusable `fps`, an empty motion or a folder that cannot be written.
    """
    path = Path(path)
    exporter = exporter_for(path)
    if fps is not None and not (math.isfinite(fps) and 0 < fps <= MAX_FPS):
        raise InputError(f"fps: expected a number above 0 and up to {MAX_FPS:g}, got {fps}")
    if not take.motions:
        raise InputError(f"{path}: nothing to write, the take holds no motion")
    if not path.parent.is_dir():
        raise InputError(f"{path}: cannot be written, there is no folder {path.parent}")
    targets = [path] if len(take.motions) == 1 else [_person_path(path, i) for i in range(len(take.motions))]
    jobs = [(i, file, write) for i, target in enumerate(targets) for file, write in _files(exporter, target)]
    with ExitStack() as stack:
        temporaries = [stack.enter_context(_temporary_beside(file)) for _, file, _ in jobs]
        for (index, file, write), temporary in zip(jobs, temporaries, strict=True):
            if len(take.motions[index].times) == 0:
                raise InputError(f"{file}: nothing to write, the motion has no frames")
            with _explained(file):
                write(take, index, temporary, fps)
        for (_, file, _), temporary in zip(jobs, temporaries, strict=True):
            with _explained(file):
                temporary.replace(file)
    return [file for _, file, _ in jobs]


save = export  # the public name: `kinelift.export` is this package


def _files(exporter: Exporter, target: Path) -> list[tuple[Path, Write]]:
    sidecars: dict[str, Write] = getattr(exporter, "sidecars", {})
    beside = [(target.with_name(f"{target.stem}{ending}"), write) for ending, write in sidecars.items()]
    return [(target, exporter.write), *beside]


def _person_path(path: Path, index: int) -> Path:
    return path.with_name(f"{path.stem}_p{index + 1}{path.suffix}")


@contextmanager
def _temporary_beside(target: Path) -> Iterator[Path]:
    """A free name in the target's folder and with its suffix; whatever is left there at the end is removed."""
    path = target.with_name(f".{secrets.token_hex(8)}{target.suffix}")
    try:
        yield path
    finally:
        # Gone after a success; and a folder that refused the file must not hide why.
        with suppress(OSError):
            path.unlink()


@contextmanager
def _explained(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        raise InputError(f"{target}: cannot be written ({e.strerror or e})") from None
