"""Reading JSON without losing how its numbers were written, and a long array without holding all of it at once."""

import codecs
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from typing import Any, NoReturn, cast

from rules.values import Number

_LONGEST_INT = 20  # digits; longer ones are out of every range here, and Python refuses to parse very long ones
_STRETCH = 256 * 1024  # bytes of an array that are decoded at a time
# How far beyond its end a cut-off word, number or escape can be noticed: less than this many characters.
_LEEWAY = 32
_MARKED = "it begins with a byte order mark"  # as files of Windows do: nobody sees it

_blank = re.compile(r"[ \t\n\r]*").match


class BadJson(ValueError):
    """The bytes are not JSON in UTF-8; the message says why, as the end of a sentence."""


class NoArray(ValueError):
    """The JSON is something other than an array."""


class TooLong(ValueError):
    """An item of an array is longer than it may be: its index."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.index = index


class Repeating(dict[str, Any]):
    """A JSON object in which some names stand more than once: the last value of each, and which they are."""

    repeated: Collection[str] = ()


def parse(raw: bytes) -> Any:
    """The JSON value in `raw`; numbers that are not short integers come as `Number`. Raises BadJson.

    Of members of the same name the last one counts.
    """
    return _parse(raw, _DECODER)


def parse_once(raw: bytes) -> Any:
    """The same, but an object in which a name stands more than once comes as `Repeating`."""
    return _parse(raw, _NOTING_REPEATS)


def _parse(raw: bytes, decoder: json.JSONDecoder) -> Any:
    try:
        return decoder.decode(raw.decode())
    except (ValueError, RecursionError) as error:
        why = _short(error)
    raise BadJson(why)  # here, so that it keeps neither the other error nor the text alive


# Reads a whole array, or returns None: then it is read as by `parse`.
ReadArray = Callable[[str], list[Any] | None]


def items(raw: bytes, longest: int, read: ReadArray = lambda _: None) -> Iterator[Any]:
    """The items of the JSON array in `raw`, in order, each read as by `parse`, unless `read` can read several at once.

    Only about `longest` characters of items are held at a time, and no item may have more: a small array can describe
    objects that are thirty times its size. Raises BadJson where it turns out to be no JSON, NoArray and TooLong.
    """
    if raw.startswith(codecs.BOM_UTF8):
        raise BadJson(_MARKED)
    part = _JsonWindow(raw, longest, read)
    at = part.after_blanks(0)
    if not part.text.startswith("[", at):
        if len(raw) <= longest:
            parse(raw)  # it may be no JSON at all
        raise NoArray
    at = part.after_blanks(at + 1)
    index, is_more = 0, not part.text.startswith("]", at)
    while is_more:
        at = part.have_ahead(at)
        for value in (several := part.several(at)):
            yield value
            index += 1
        if several:
            at = part.after_several
        else:
            value, at = part.one(at, index)
            yield value
            index += 1
        del value, several  # not to be held while the next are read
        at = part.after_blanks(at)
        is_more = part.text.startswith(",", at)
        if is_more:
            at = part.after_blanks(at + 1)
        elif not part.text.startswith("]", at):
            raise BadJson(f"Expecting ',' delimiter at {part.place(at)}")
    at = part.after_blanks(at + 1)
    if at < len(part.text):
        raise BadJson(f"Extra data at {part.place(at)}")


class _JsonWindow:
    """The part of a long array in UTF-8 that is being read; no item may have more than `longest` characters."""

    def __init__(self, raw: bytes, longest: int, read: ReadArray) -> None:
        self._raw, self._longest, self._read = raw, longest, read
        self._taken = 0  # bytes decoded so far
        self._lines, self._column = 0, 0  # before `text`
        self._one_by_one = 0  # up to here
        self.text = ""
        self.after_several = 0  # where those that `several` has read end
        self._move(0)

    def have_ahead(self, at: int) -> int:
        """Make sure that the longest item fits between `at` and the end of `text`. Returns where `at` is now."""
        if len(self.text) - at < self._longest + _LEEWAY and self._is_more:
            return self._move(at)
        return at

    def after_blanks(self, at: int) -> int:
        """The place of the next character from `at` on that is no white space; the end of the text if there is none."""
        at = _blank(self.text, at).end()  # type: ignore[union-attr]  # it matches nothing too
        while at == len(self.text) and self._is_more:
            at = self._move(at)
            at = _blank(self.text, at).end()  # type: ignore[union-attr]
        return at

    def several(self, at: int) -> list[Any]:
        """As many items from `at` on as are likely to be whole, read at once: that is faster. None if that fails."""
        if at < self._one_by_one:
            return []
        # This may be within a string or an item. Then it does not read as an array.
        end = self.text.rfind("},", at, at + self._longest) + 1
        if end:
            array = f"[{self.text[at:end]}]"
            with suppress(ValueError, RecursionError):
                found = self._read(array)
                if found is None:
                    found = cast(list[Any], _DECODER.decode(array))
                self.after_several = end
                return found
        self._one_by_one = end or at + self._longest  # or each character might be read again for every item
        return []

    def one(self, at: int, index: int) -> tuple[Any, int]:
        """The item at `at`, whose index is `index`, and where it ends. Raises BadJson, TooLong."""
        try:
            value, end = _DECODER.raw_decode(self.text, at)
        except (ValueError, RecursionError) as error:
            why = self._why(error, at)
        else:
            if end - at <= self._longest:
                return value, end
            why = None
        if why is None:
            raise TooLong(index)
        raise BadJson(why)

    def place(self, at: int) -> str:
        """Where `at` is in the whole body, for people."""
        lines = self._lines + self.text.count("\n", 0, at)
        newline = self.text.rfind("\n", 0, at)
        column = at - newline if newline >= 0 else self._column + at + 1
        return f"line {lines + 1}, column {column}" if lines else f"column {column}"

    @property
    def _is_more(self) -> bool:
        return self._taken < len(self._raw)

    def _move(self, at: int) -> int:
        """Let go of what stands before `at`, and decode more. Returns where `at` is now. Raises BadJson."""
        end = self._taken + _STRETCH
        for _ in range(3):  # not in the middle of a character
            end -= end < len(self._raw) and self._raw[end] & 0xC0 == 0x80
        try:
            more = self._raw[self._taken : end].decode()
        except UnicodeDecodeError as error:
            bad = self._taken + error.start
        else:
            self._lines += self.text.count("\n", 0, at)
            newline = self.text.rfind("\n", 0, at)
            self._column = at - newline - 1 if newline >= 0 else self._column + at
            self._taken = min(end, len(self._raw))
            self._one_by_one = max(0, self._one_by_one - at)
            self.text = self.text[at:] + more
            return 0
        raise BadJson(f"byte {bad} is not UTF-8")

    def _why(self, error: Exception, start: int) -> str | None:
        """Why no item could be read from `start` on; None if it may only be longer than the text shows."""
        if not isinstance(error, json.JSONDecodeError):
            return _short(error)
        if self._is_more and (error.pos >= start + self._longest or error.msg.startswith("Unterminated")):
            return None
        return f"{error.msg} at {self.place(error.pos)}"


def _integer(text: str) -> int | Number:
    return int(text) if len(text) <= _LONGEST_INT else Number(text)


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number")


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) == len(members):
        return found
    repeating = Repeating(found)
    repeating.repeated = [name for name, count in Counter(name for name, _ in members).items() if count > 1]
    return repeating


# Made once: that takes longer than reading an event with it.
_DECODER, _NOTING_REPEATS = (
    json.JSONDecoder(parse_float=Number, parse_int=_integer, parse_constant=_no_constant, object_pairs_hook=hook)
    for hook in (None, _object)
)


def _short(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        if error.doc.startswith(codecs.BOM_UTF8.decode()):
            return _MARKED
        line = f"line {error.lineno}, " if "\n" in error.doc else ""
        return f"{error.msg} at {line}column {error.colno}"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not UTF-8"
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
