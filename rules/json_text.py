"""Reading JSON without losing how its numbers were written."""

import json
from typing import Any, NoReturn

from rules.values import Number

_LONGEST_INT = 20  # digits; longer ones are out of every range here, and Python refuses to parse very long ones


class BadJson(ValueError):
    """The bytes are not JSON in UTF-8; the message says why, as the end of a sentence."""


def parse(raw: bytes) -> Any:
    """The JSON value in `raw`; numbers that are not short integers come as `Number`. Raises BadJson."""
    try:
        return _DECODER.decode(raw.decode())
    except (ValueError, RecursionError) as error:
        why = _short(error)
    raise BadJson(why)  # here, so that it keeps neither the other error nor the text alive


def _integer(text: str) -> int | Number:
    return int(text) if len(text) <= _LONGEST_INT else Number(text)


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number")


# Made once: that takes longer than reading an event with it.
_DECODER = json.JSONDecoder(parse_float=Number, parse_int=_integer, parse_constant=_no_constant)


def _short(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        line = f"line {error.lineno}, " if "\n" in error.doc else ""
        return f"{error.msg} at {line}column {error.colno}"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not UTF-8"
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
