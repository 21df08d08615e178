"""How a replay's file says what an event is: the names of its columns, and how it writes types, amounts, times and ids.

Whatever differs from our own names and forms is asked for by options of the command.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from rules.model import ACTION_TYPES, Event
from rules.payload import BadPayload, event_of
from rules.values import Number, read_whole_number

FIELDS = ("type", "amount", "user_id", "time", "event_id")
# Two columns in place of type and amount: each event has its amount in one of them.
SPLIT = ACTION_TYPES
SKIP = "skip"
OTHERS = "*"

# How many of each make a second, or how many seconds it has.
_FRACTIONS = {"milliseconds": 1_000, "microseconds": 1_000_000, "nanoseconds": 1_000_000_000}
_UNITS = {"seconds": 1, "minutes": 60, "hours": 3_600, "days": 86_400}
TIME_FORMATS = (*_UNITS, *_FRACTIONS, "iso")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DECIMAL_COMMA = re.compile(r"[0-9.' ]+,[0-9]{1,2}")
_BLANKS = str.maketrans("\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}", "  ")


class Rejected(Exception):
    """A line is not an event that can be stored; `reasons` says why, in sentences."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__(*reasons)
        self.reasons = reasons


class UnknownColumn(Exception):
    """The names of a file's columns do not say where a field is; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What a file calls the fields of an event, and how it writes them.

    `names` are the columns of fields, by field; `constants` are values that hold for every line. `types` says for each
    word of the file whether it is a deposit, a withdrawal, or to be skipped. With `signed` the sign of the amount says
    that. `thousands` is empty if amounts have no such separator. With `hashed_ids` the ids of users are any text.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)
    signed: bool = False
    time_format: str = "seconds"
    decimal: str = "."
    thousands: str = ""
    hashed_ids: bool = False

    @property
    def are_ours(self) -> bool:
        """Whether nothing differs from the names and forms of an event that is posted."""
        return self == Columns()

    @property
    def read(self) -> tuple[str, ...]:
        """The fields that are read from columns."""
        if self.is_split:
            return *SPLIT, *(name for name in FIELDS[2:] if name not in self.constants)
        values = {*self.constants, "type"} if self.signed else self.constants
        return tuple(name for name in FIELDS if name not in values)

    @property
    def is_split(self) -> bool:
        """Whether deposits and withdrawals have their amounts in columns of their own."""
        return any(name in self.names for name in SPLIT)

    def places(self, header: Sequence[str]) -> dict[str, int]:
        """The field that each column of a CSV file holds, as its place in `header`. Raises UnknownColumn."""
        return {name: place for name in self.read if (place := self._place(name, header)) is not None}

    def _place(self, name: str, header: Sequence[str]) -> int | None:
        wanted = self.names.get(name)
        candidates = [wanted] if wanted is not None else ["time", "t"] if name == "time" else [name]
        found = [place for place, column in enumerate(header) if column in candidates]
        if len(found) == 1:
            return found[0]
        if len(found) > 1:
            where = " and ".join(str(place + 1) for place in found)
            raise UnknownColumn(f"columns {where} are both named for {name}: choose by number, --map {name}=#N")
        if wanted is not None and re.fullmatch("#[0-9]{1,5}", wanted) and 1 <= int(wanted[1:]) <= len(header):
            return int(wanted[1:]) - 1
        if wanted is None and name == "event_id":
            return None
        raise UnknownColumn(f"there is no column {wanted or ' or '.join(candidates)}")

    def event(self, texts: Mapping[str, Any]) -> Event | None:
        """The event that a line describes by the texts of its fields; None if it is to be skipped. Raises Rejected."""
        values: dict[str, Any] = {**texts, **self.constants}
        problems: dict[str, str] = {}
        if self.is_split:
            self._split(values, problems)
        elif isinstance(values.get("type"), str):
            values["type"] = self.types.get(values["type"], self.types.get(OTHERS, values["type"]))
            if values["type"] == SKIP:
                return None
        if self.signed and isinstance(amount := values.get("amount"), str):
            values["type"] = "withdraw" if amount.lstrip().startswith("-") else "deposit"
            values["amount"] = re.sub(r"^\s*[+-]?\s*", "", amount.rstrip())
        for name, read in (("amount", self._amount), ("time", self._time), ("user_id", self._user_id)):
            if isinstance(values.get(name), str):
                try:
                    values[name] = read(values[name])
                except ValueError as error:
                    problems[name] = str(error)
        bad: BadPayload | None = None
        try:
            event = event_of(values)
            if not problems:
                return event
        except BadPayload as error:
            bad = error
        for pointer, detail in bad.errors if bad else ():
            problems.setdefault(pointer.removeprefix("/"), detail)
        names = sorted(problems, key=lambda name: FIELDS.index(name) if name in FIELDS else 0)
        raise Rejected([f"/{name}{self._column(name)}: {problems[name]}" for name in names])

    def _column(self, name: str) -> str:
        named = self.names.get(name, name)
        return "" if named == name else f" (column {named})"

    def _split(self, values: dict[str, Any], problems: dict[str, str]) -> None:
        amounts = {kind: values.pop(kind, "") for kind in SPLIT}
        filled = [kind for kind, amount in amounts.items() if str(amount).strip("0., ")]
        if len(filled) == 1:
            values["type"], values["amount"] = filled[0], amounts[filled[0]]
        else:
            values["type"], values["amount"] = SPLIT[0], "1"
            columns = " and ".join(self.names[kind] for kind in SPLIT)
            problems["amount"] = f"must be in one of the columns {columns}, not in {'both' if filled else 'neither'}"

    def _amount(self, text: str) -> str:
        whole, mark, cents = text.partition(self.decimal)
        if self.thousands:
            parts = whole.translate(_BLANKS).split(self.thousands)
            if len(parts) > 1 and (not 1 <= len(parts[0]) <= 3 or any(len(part) != 3 for part in parts[1:])):
                raise ValueError(f'has "{self.thousands}" somewhere else than before each three digits')
            whole = "".join(parts)
        if self.decimal == ",":
            if "." in whole or "." in cents:
                raise ValueError("has a point, though the option --decimal says that amounts have a comma")
        elif _DECIMAL_COMMA.fullmatch(text):
            raise ValueError("must have a decimal point; the option --decimal=, reads amounts with a comma")
        return f"{whole}.{cents}" if mark else whole

    def _time(self, text: str) -> int:
        if unit := _UNITS.get(self.time_format):
            try:
                return read_whole_number(text) * unit
            except ValueError:
                hint = "; the option --time-format reads other forms" if self.time_format == "seconds" else ""
                raise ValueError(f"must be a whole number of {self.time_format}{hint}") from None
        if fraction := _FRACTIONS.get(self.time_format):
            return read_whole_number(text) // fraction
        try:
            if self.time_format == "iso":
                moment = datetime.fromisoformat(text.strip())
            else:
                moment = datetime.strptime(text.strip(), self.time_format)
        except ValueError:
            form = "a date or time of ISO 8601" if self.time_format == "iso" else f"a time such as {self.time_format}"
            raise ValueError(f"must be {form}") from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        since = moment - _EPOCH
        if since.days < 0:
            raise ValueError("must not be before 1970")
        return since.days * 86_400 + since.seconds

    def _user_id(self, text: str) -> int:
        if not self.hashed_ids:
            try:
                return read_whole_number(text)
            except ValueError:
                raise ValueError(
                    "must be a whole number from 1; the option --user-ids=hashed makes numbers of any ids"
                ) from None
        # 63 bits: among a million users, the chance that any two get the same number is 1 in 18 million.
        return int.from_bytes(sha256(text.encode()).digest()[:8]) >> 1 or 1


def text_of(value: Any) -> Any:
    """A JSON value as the text of a field, if it is text or a number; else unchanged."""
    if isinstance(value, Number):
        return value.text
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value
