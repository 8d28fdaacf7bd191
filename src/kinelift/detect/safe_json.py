"""JSON from strangers: bounded in size and depth, without NaN, and every fault one line that names the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kinelift.errors import InputError

MAX_BYTES = 512_000_000
# Python's objects take up to twenty times their text: about so many bytes a list or table, and a value of one.
_LIST, _VALUE = 100, 40
MAX_MEMORY = 2 * 10**9


def load_json(path: Path) -> Any:
    """A JSON file's content; raises `InputError`."""
    try:
        size = path.stat().st_size
        if size == 0:
            raise InputError(f"{path}: the file is empty (0 bytes)")
        if size > MAX_BYTES:
            raise InputError(
                f"{path}: is too large for key points ({size / 1e6:.0f} MB, at most {MAX_BYTES / 1e6:.0f})"
            )
        text = path.read_text("utf-8-sig")
        if _LIST * (text.count("[") + text.count("{")) + _VALUE * text.count(",") > MAX_MEMORY:
            raise InputError(f"{path}: holds too many lists and values for key points")
        return json.loads(text, parse_constant=_refused)
    except RecursionError:
        raise InputError(f"{path}: is nested too deeply for key points") from None
    except json.JSONDecodeError as e:
        raise InputError(f"{path}: is no valid JSON (line {e.lineno}: {e.msg})") from None
    except (OSError, UnicodeDecodeError, ValueError, MemoryError) as e:
        reason = getattr(e, "strerror", None) or str(e)[:120]
        raise InputError(f"{path}: cannot be read as JSON ({reason})") from None


def _refused(constant: str) -> float:
    raise ValueError(f"{constant} is no number")
