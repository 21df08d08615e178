"""The pages for readers, and running those of their blocks that are marked.

A line `<!-- run -->` above a block of bash says that a test runs it, just as a reader would in the folder of the
project, with a service on its database. A block of JSON or text right below it is what it must print, where

- `"…"` stands for any value, `"…": "…"` for any further members, and a last `"…"` of a list for any further values;
- a time stands for any other time;
- in text, `…` stands for the rest of a line or any part of it.

`<!-- file: NAME -->` above a block says that what follows is a file of that name, for the commands further down.
`<!-- run with PROGRAM -->` runs the block only where that program is installed.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.service import ROOT

ADDRESS = "http://127.0.0.1:5000"  # where the pages say that the service is
ANY = "…"
SECONDS = 120  # longer than any block takes on a slow machine

_MARK = re.compile(r"<!-- (?:run(?: with (?P<program>[a-z]+))?|file: (?P<file>[\w.-]+)) -->")
_BLOCK = re.compile(
    rf"^{_MARK.pattern}\n```\w+\n(?P<text>.*?)^```$(?:\n\n```(?P<kind>json|text)\n(?P<answer>.*?)^```$)?",
    re.DOTALL | re.MULTILINE,
)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")
_NOT_LINKED = {".env", ".git", ".local", ".tools", ".venv"}


@dataclass(frozen=True, kw_only=True)
class Block:
    """A block of a page that is run, or kept as `file`; `answer` is what it must print, of the kind json or text."""

    text: str
    file: str | None
    program: str | None
    kind: str | None
    answer: str | None


def pages() -> list[Path]:
    """All pages for readers."""
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: str) -> list[Block]:
    """The marked blocks of the text of a page, in order. Every mark must have a block right below it."""
    found = [Block(**match.groupdict()) for match in _BLOCK.finditer(page)]
    marks = re.findall(r"^<!-- (?:run|file)\b", page, re.MULTILINE)
    assert len(found) == len(marks), "a mark has no block right below it, or is misspelt"
    return found


def make_folder(folder: Path) -> None:
    """Make `folder` look like one in which `make run` was called, without a developer's .env."""
    for entry in ROOT.iterdir():
        if entry.name not in _NOT_LINKED:
            (folder / entry.name).symlink_to(entry)
    for name in (".tools", ".venv"):
        (folder / name).mkdir()
    for entry in Path(sys.prefix).iterdir():
        if not entry.name.startswith("."):
            (folder / ".venv" / entry.name).symlink_to(entry)
    for name in (".tools/.ready", ".venv/.run", ".venv/.dev"):  # in the order in which make looks at them
        (folder / name).touch()


def run(block: Block, folder: Path, url: str, environment: dict[str, str]) -> None:
    """Run a block in `folder`, with the service at `url`, and compare what it prints."""
    text = block.text.replace(ADDRESS, url)
    if block.file:
        (folder / block.file).write_text(text)
        return
    if block.program and not shutil.which(block.program):
        return
    path = f"{folder / '.venv/bin'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=folder,
        env=os.environ | {"PATH": path} | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"
    if block.answer is not None:
        expected = block.answer.replace(ADDRESS, url)
        difference = _difference_of_texts if block.kind == "text" else _difference_of_json
        assert (found := difference(expected, done.stdout)) is None, f"{block.text}\n{found}\n{done.stdout}"


def _difference_of_texts(expected: str, actual: str) -> str | None:
    # A longer number takes the place of spaces before it.
    pattern = re.sub(rf"(\\ )*{re.escape(ANY)}", lambda found: " .*" if found[1] else ".*", re.escape(expected.strip()))
    return None if re.fullmatch(pattern, actual.strip()) else f"not as shown:\n{expected}"


def _difference_of_json(expected: str, actual: str) -> str | None:
    return difference(json.loads(expected), json.loads(actual))


def difference(expected: Any, actual: Any, where: str = "") -> str | None:
    """Where a JSON value is not as `expected`, which may have placeholders; None if it is."""
    if expected == ANY or _are_times(expected, actual):
        return None
    if isinstance(expected, dict) and isinstance(actual, dict):
        names = list(expected) if ANY in expected else list(expected | actual)
        for name in names:
            if name == ANY:
                continue
            if name not in expected or name not in actual:
                return f"{where}/{name} is {'not shown' if name in actual else 'missing'}"
            if found := difference(expected[name], actual[name], f"{where}/{name}"):
                return found
        return None
    if isinstance(expected, list) and isinstance(actual, list):
        if expected[-1:] == [ANY]:
            expected, actual = expected[:-1], actual[: len(expected) - 1]
        if len(expected) != len(actual):
            return f"{where} has {len(actual)} values"
        found_all = (difference(*pair, f"{where}/{n}") for n, pair in enumerate(zip(expected, actual, strict=True)))
        return next(filter(None, found_all), None)
    same = expected == actual and type(expected) is type(actual)
    return None if same else f"{where} is {actual!r}, not {expected!r}"


def _are_times(*values: Any) -> bool:
    return all(isinstance(value, str) and _TIME.fullmatch(value) for value in values)
