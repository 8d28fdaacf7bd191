"""The documentation keeps up with the program: options, public names, pages."""

import importlib
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import kinelift
from judges import absent
from kinelift.cli import app

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"


def commands(group: Any, name: str = "kinelift") -> Iterator[tuple[str, Any]]:
    """Every command that does something, by the words that call it. (Which Click it is, is Typer's business.)"""
    if hasattr(group, "commands"):
        for word, command in group.commands.items():
            yield from commands(command, f"{name} {word}")
    else:
        yield name, group


COMMANDS = dict(commands(typer.main.get_command(app)))


def missing(command: Any, section: str) -> list[str]:
    """Options, in every spelling, that a section does not name."""
    named = set(re.findall(r"(?<![\w-])-{1,2}[a-z0-9][a-z0-9-]*", section))
    options = [o for o in command.params if o.param_type_name == "option"]
    return [s for o in options for s in (*o.opts, *o.secondary_opts) if s not in named and s != "--help"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_every_command_is_documented(name):
    page = (DOCS / "cli.md").read_text()
    found = re.search(rf"^## `{name}`\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)
    assert found, f"docs/cli.md has no section for {name}"
    assert missing(COMMANDS[name], found[1]) == []
    assert f"\n{name} " in page[: page.index("\n## ")], f"{name} is not in the list at the top of docs/cli.md"


def test_an_option_that_is_not_documented_is_found():
    section = " ".join(o for p in COMMANDS["kinelift view"].params for o in (*p.opts, *p.secondary_opts))
    assert missing(COMMANDS["kinelift view"], section) == []
    assert missing(COMMANDS["kinelift view"], section.replace("--mp4", "--mp42")) == ["--mp4"]


def test_the_reference_has_every_public_name():
    names = re.findall(r"^::: ([\w.]+)", (DOCS / "api.md").read_text(), re.MULTILINE)
    documented = []
    for name in names:
        try:
            documented.append(importlib.import_module(name))
        except ModuleNotFoundError:
            module, _, attribute = name.rpartition(".")
            documented.append(getattr(importlib.import_module(module), attribute))
        assert documented[-1].__doc__, f"{name} has no docstring"
    errors = [v for v in vars(kinelift.errors).values() if isinstance(v, type)]
    for name in kinelift.__all__:
        thing = getattr(kinelift, name)
        if callable(thing):
            assert thing in documented or thing in errors, f"kinelift.{name} is not in docs/api.md"


def test_the_comparison_quotes_the_benchmarks():
    page = (DOCS / "comparison.md").read_text()
    section = page[page.index("## Measured side by side") : page.index("## Their published numbers")]
    quoted = [n for row in re.findall(r"^\|(?!---).*$", section, re.MULTILINE) for n in re.findall(r"\d+\.\d+", row)]
    printed = set(re.findall(r"\d+\.\d+", (DOCS / "benchmarks.md").read_text()))
    assert len(quoted) > 5 and [n for n in quoted if n not in printed] == []


def test_the_site_builds_without_a_warning(tmp_path):
    if importlib.util.find_spec("mkdocs") is None or importlib.util.find_spec("mkdocstrings") is None:
        absent("no mkdocs: pip install 'kinelift[docs]'")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    reference = (tmp_path / "site" / "api" / "index.html").read_text()
    assert 'id="kinelift.records.Motion"' in reference and "metres, the root joint in the world" in reference
