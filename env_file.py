"""Reading a `.env` file strictly: what cannot be read is an error that names the line, never something to pass over.

A line is `NAME=value`, `export NAME=value`, a comment or blank. In single quotes everything is literal. In double
quotes a backslash escapes, and there as without quotes `${NAME}` and `${NAME:-default}` are replaced. A value ends with
its line, or with its quote.
"""

import os
import re
import stat
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

MAX_BYTES = 1 << 20  # of the file; a real one has some hundred

_LINE_END = re.compile(r"\r\n|\n|\r")
_NAME = re.compile(r"[^\S\r\n]*(?:export[^\S\r\n]+)?([A-Za-z_][\w.-]*)[^\S\r\n]*=[^\S\r\n]*", re.ASCII)
_SINGLE = re.compile(r"'([^']*)'")
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_BARE = re.compile(r"[^\r\n]*")
_COMMENT = re.compile(r"\s+#.*")
_AFTER = re.compile(r"[^\S\r\n]*(?:#[^\r\n]*)?(?=\r|\n|\Z)")  # nothing but a comment may follow a closing quote
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_VARIABLE = re.compile(r"\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|[^}]*\}?)")


class Unreadable(Exception):
    """The file cannot be used; `problems` has a line for each reason, with line numbers and without any value."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class Entry(NamedTuple):
    """A value as read, and the line it begins in."""

    value: str
    line: int


def read(path: Path, *, wanted: Container[str], environment: Mapping[str, str]) -> dict[str, Entry]:
    """What the file at `path` sets, by name; nothing if there is no such file.

    `wanted` are the names that must be sound: a bad value of another program is left out. `environment` has the
    variables to be put into values; it wins over earlier lines. Raises Unreadable.
    """
    text = _text(path)
    return {} if text is None else _Reader(text, str(path), wanted, environment).read()


def _text(path: Path) -> str | None:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise Unreadable([f"{path} is a folder, not a file"])
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        if path.is_symlink():
            raise Unreadable([f"{path} is a link that leads nowhere"]) from None
        return None
    except OSError as error:
        raise Unreadable([f"{path} cannot be read: {error.strerror}"]) from None
    if len(data) > MAX_BYTES:
        raise Unreadable([f"{path} is larger than 1 MiB"])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = len(_LINE_END.findall(data[: error.start].decode("latin-1"))) + 1
        raise Unreadable([f"{path}, line {line}: is not text in UTF-8"]) from None
    if "\0" in text:
        line = len(_LINE_END.findall(text[: text.index("\0")])) + 1
        raise Unreadable([f"{path}, line {line}: has a null character"])
    return text


class _BadLine(Exception):
    """Why it cannot be read."""


class _BadValue(_BadLine):
    """It can be read, but not its value: that is the business of whoever wants it."""


@dataclass
class _Reader:
    text: str
    path: str
    wanted: Container[str]
    environment: Mapping[str, str]

    def read(self) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        problems = []
        at, line = 0, 1
        while at < len(self.text):
            begin = at
            try:
                at = self._entry(at, line, found)
            except _BadLine as bad:
                problems.append(f"{self.path}, line {line}: {bad}")
                at = _end_of_line(self.text, at)
            line += len(_LINE_END.findall(self.text[begin:at]))
        if problems:
            raise Unreadable(problems)
        return found

    def _entry(self, at: int, line: int, found: dict[str, Entry]) -> int:
        """Read what begins at `at`; returns where the next one does."""
        end = _end_of_line(self.text, at)
        if not (content := self.text[at:end].strip()) or content.startswith("#"):
            return end
        match = _NAME.match(self.text, at)
        if match is None or match.end() > end:
            raise _BadLine("is not NAME=value")
        name = match[1].upper() if match[1].upper() in self.wanted else match[1]
        is_wanted = name in self.wanted
        try:
            value, after = self._value(match.end(), found)
        except _BadValue:
            if is_wanted:
                raise
            found.pop(name, None)
            return end
        if is_wanted and ("\n" in self.text[match.end() : after] or "\r" in self.text[match.end() : after]):
            raise _BadLine(f"the value of {name} goes on in the next line; is a quote not closed?")
        if is_wanted and value and name in found and found[name].value:
            raise _BadLine(f"{name} is set in line {found[name].line} already")
        if value or name not in found or not is_wanted:
            found[name] = Entry(value, line)
        return _end_of_line(self.text, after)

    def _value(self, at: int, found: Mapping[str, Entry]) -> tuple[str, int]:
        def variable(match: re.Match[str]) -> str:
            return self._variable(match, found)

        if self.text.startswith("'", at):
            match = self._quoted(_SINGLE, at)
            return match[1], match.end()
        if self.text.startswith('"', at):
            match = self._quoted(_DOUBLE, at)
            return _unescaped(match[1], variable), match.end()
        bare = _BARE.match(self.text, at)
        assert bare is not None
        # With what stands before it: a comment begins after white space, A=#b has a value.
        raw = _COMMENT.sub("", self.text[at - 1 : bare.end()])[1:]
        return _VARIABLE.sub(variable, raw.strip()), bare.end()

    def _quoted(self, pattern: re.Pattern[str], at: int) -> re.Match[str]:
        match = pattern.match(self.text, at)
        if match is None:
            raise _BadLine("a quote is not closed")
        inside = _LINE_END.split(match[0])[1:]
        swallowed = any((name := _NAME.match(text)) and name[1].upper() in self.wanted for text in inside)
        if swallowed or not _AFTER.match(self.text, match.end()):
            raise _BadLine("a quote is not closed, or something follows it")
        return match

    def _variable(self, match: re.Match[str], found: Mapping[str, Entry]) -> str:
        name, default = match[1], match[2]
        if name is None:
            raise _BadValue("has a ${...} that names no variable; in single quotes it would be literal")
        value = self.environment.get(name) or (found[name].value if name in found else "")
        if not value and default is None:
            raise _BadValue("a variable in ${...} is not set; in single quotes it would be literal")
        return value or default


def _unescaped(text: str, variable: Callable[[re.Match[str]], str]) -> str:
    """What stands in double quotes: escapes are resolved, and variables replaced unless their $ is escaped."""
    parts, at = [], 0
    for match in _ESCAPE.finditer(text):
        parts.append(_VARIABLE.sub(variable, text[at : match.start()]))
        parts.append(_ESCAPES.get(match[1]) or (match[1] if match[1] in "\\'\"$" else match[0]))
        at = match.end()
    parts.append(_VARIABLE.sub(variable, text[at:]))
    return "".join(parts)


def _end_of_line(text: str, at: int) -> int:
    match = _LINE_END.search(text, at)
    return match.end() if match else len(text)


def names_at_start() -> set[str] | None:
    """The names of the variables that this process was started with; None where the system does not tell."""
    try:
        lines = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    return {os.fsdecode(line.partition(b"=")[0]) for line in lines}
