"""What every command shares: live progress, and an output folder that is whole or not there."""

from __future__ import annotations

import secrets
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from kinelift.errors import InputError

_STAGES = {"detect": "2D pose"}  # what a stage is called where its name does not say it


class Progress:
    """A live bar per stage on a terminal; nothing where standard error is not one."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bars = Progress(
            TextColumn("{task.description:>8}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Progress:
        self._bars.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bars.stop()

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """A stage has done so much of its total, or of an unknown one."""
        if stage not in self._tasks:
            for task in self._tasks.values():
                self._bars.update(task, completed=self._bars.tasks[task].total or self._bars.tasks[task].completed)
            self._tasks[stage] = self._bars.add_task(_STAGES.get(stage, stage), total=total)
        self._bars.update(self._tasks[stage], completed=done, total=total)


class OutputFolder:
    """The output folder: proved writable before any work, filled all at once at the end, untouched on failure."""

    def __init__(self, path: Path):
        self.path = path
        if path.exists() and not path.is_dir():
            raise InputError(f"{path}: is a file; -o names a folder")
        missing = [p for p in (path, *path.parents) if not p.exists()]
        self._made = list(missing)
        try:
            path.mkdir(parents=True, exist_ok=True)
            self.part = path / f".kinelift-{secrets.token_hex(4)}"
            self.part.mkdir()
        except OSError as e:
            self._remove_made()
            raise InputError(f"{path}: cannot be written ({e.strerror}); choose another folder with -o") from None

    def __enter__(self) -> OutputFolder:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        shutil.rmtree(self.part, ignore_errors=True)
        if kind is not None:
            self._remove_made()

    def publish(self) -> list[Path]:
        """Move everything written into place; the files' paths."""
        out = []
        for file in sorted(self.part.iterdir()):
            target = self.path / file.name
            file.replace(target)
            out.append(target)
        return out

    def _remove_made(self) -> None:
        for folder in self._made:
            with suppress(OSError):
                folder.rmdir()


def parsed_size(text: str | None) -> tuple[int, int] | None:
    """(width, height) of "1920x1080"; None for None. Raises `InputError`."""
    if text is None:
        return None
    parts = text.lower().replace("x", " ").split()
    if len(parts) != 2 or not all(p.isdigit() and int(p) > 0 for p in parts):
        raise InputError(f"--image-size {text}: expected WIDTHxHEIGHT in pixels, such as 1920x1080")
    return int(parts[0]), int(parts[1])
