"""The part of YAML and XML that OpenCV's `FileStorage` writes (and ROS's camera_info): mappings, lists, matrices.

Written for files of strangers: no tags are acted upon, no anchors, no entities, bounded depth.
"""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import numpy as np

_DEEPEST = 12
_LONGEST = 20_000


def xml_tree(text: str) -> ElementTree.Element:
    """The root of an XML document that declares nothing. Raises ValueError, ParseError."""
    if "<!" in text.replace("<!--", "").replace("<![CDATA[", ""):
        raise ValueError("an XML file with a document type or entities is not read")
    return ElementTree.fromstring(text)


def parse_xml(element: ElementTree.Element, depth: int = 0) -> Any:
    """A mapping, list, matrix or text of an element of `opencv_storage`. Raises ValueError."""
    if depth > _DEEPEST:
        raise ValueError("nested too deep")
    children = list(element)
    if not children:
        return [] if depth == 0 else (element.text or "").strip()
    if children[0].tag == "_":
        return [parse_xml(c, depth + 1) for c in children]
    found = {c.tag: parse_xml(c, depth + 1) for c in children}
    return _matrix_or(found) if depth else found


def _matrix_or(found: dict[str, Any]) -> Any:
    """The matrix that rows, cols and data describe, else the mapping itself."""
    if not {"rows", "cols", "data"} <= set(found):
        return found
    data = found["data"].split() if isinstance(found["data"], str) else found["data"]
    rows, cols = int(found["rows"]), int(found["cols"])
    numbers = np.array(data, float)
    if numbers.ndim != 1 or rows < 1 or cols < 1 or rows * cols != len(numbers):
        raise ValueError(f"a matrix of {rows} x {cols} has {numbers.size} numbers")
    return numbers.reshape(rows, cols)


def parse_yaml(text: str) -> dict[str, Any]:
    """The mapping of a YAML file. Raises ValueError."""
    lines: list[tuple[int, str]] = []
    for line in text.splitlines():
        bare = line.split(" #")[0].rstrip()
        if lines and _open(lines[-1][1]):
            lines[-1] = (lines[-1][0], f"{lines[-1][1]} {bare.strip()}")
            if len(lines[-1][1]) > _LONGEST:
                raise ValueError("a list of more than a calibration's numbers")
        elif bare.strip() and not bare.startswith(("%", "---", "...")) and not bare.lstrip().startswith("#"):
            lines.append((len(bare) - len(bare.lstrip()), bare.strip()))
    value, rest = _block(lines, 0, 0)
    if rest != len(lines) or not isinstance(value, dict):
        raise ValueError(f"line '{lines[rest][1][:40]}' is not understood" if rest < len(lines) else "no mapping")
    return value


def _open(text: str) -> bool:
    return text.count("[") > text.count("]")


def _block(lines: list[tuple[int, str]], at: int, depth: int) -> tuple[Any, int]:
    """The mapping or list that starts at line `at`, and the line behind it."""
    if depth > _DEEPEST:
        raise ValueError("nested too deep")
    if at >= len(lines):
        return {}, at
    indent = lines[at][0]
    items: list[Any] = []
    found: dict[str, Any] = {}
    while at < len(lines) and lines[at][0] == indent:
        text = lines[at][1]
        if text.startswith("- ") and not found:
            items.append(_scalar(text[2:]))
            at += 1
            continue
        key, colon, value = text.partition(":")
        if not colon or items:
            break
        value, at = value.strip(), at + 1
        if value.startswith("!"):  # a tag; the content says what it is
            value = value.partition(" ")[2].strip()
        deeper = at < len(lines) and (lines[at][0] > indent or (lines[at][0] == indent and lines[at][1][:2] == "- "))
        if value or not deeper:
            found[key.strip().strip("\"'")] = _scalar(value)
        else:
            found[key.strip().strip("\"'")], at = _block(lines, at, depth + 1)
    return (items if items else _matrix_or(found) if depth else found), at


def _scalar(text: str) -> Any:
    """Text, or the nested lists of `[1, [2, 3]]`."""
    text = text.strip()
    if not text.startswith("["):
        return text.strip("\"'")
    stack: list[list[Any]] = [[]]
    word = ""
    for c in text:
        if c in "[],":
            if word.strip():
                stack[-1].append(word.strip().strip("\"'"))
            word = ""
            if c == "[":
                stack.append([])
            elif c == "]" and len(stack) > 1:
                inner = stack.pop()
                stack[-1].append(inner)
            if len(stack) > _DEEPEST:
                raise ValueError("nested too deep")
        else:
            word += c
    if len(stack) != 1 or len(stack[0]) != 1:
        raise ValueError(f"'{text[:40]}' is not understood")
    return stack[0][0]
