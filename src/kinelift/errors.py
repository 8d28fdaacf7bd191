"""Every error a user can cause: one clear line that names the thing, the reason and the way out.

The command line prints the message without a traceback and exits with `exit_code`.
"""

from collections.abc import Iterable

_LONGEST = 1000


class KineliftError(Exception):
    """A failure that is ours to explain, in one line that any terminal can show, whatever a file put into it."""

    exit_code = 1

    def __init__(self, message: object = "") -> None:
        text = "".join(c if c.isprintable() else " " for c in str(message))
        super().__init__(text if len(text) <= _LONGEST else f"{text[: _LONGEST - 305]} ... {text[-300:]}")


class InputError(KineliftError):
    """The user's input or options cannot be used as they are."""

    exit_code = 2


class UnknownNameError(InputError):
    """A name that is in no registry; the message lists the known ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str]):
        super().__init__(f"unknown {kind} '{name}'; known: {', '.join(sorted(known))}")


class MissingExtraError(KineliftError):
    """An optional library is absent; the message says what installs it."""

    def __init__(self, what: str, install: str):
        super().__init__(f"{what} needs a package that is not installed; run: {install}")


class RecordError(InputError, ValueError):
    """A record's field has the wrong shape, type or values."""
