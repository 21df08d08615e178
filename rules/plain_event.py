"""The quick way from JSON to events, for those that are written as most are: plain ones.

A plain event has the members `type`, `amount`, `user_id`, `time` and perhaps `event_id`, each once or more, all as
they should be, with the amount as text. Whatever else there is, good or bad, is for `payload`, which knows what to say
of it. What is read here, it would read in the same way: see docs/decisions/plain-events.md.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from pydantic_core import SchemaValidator, core_schema

from rules.model import ACTION_TYPES, Event
from rules.values import CENT, DECIMAL, EVENT_ID, LAST_TIME, MAX_ID

_Read = Callable[[bytes | str], Any]


def _member(of: core_schema.CoreSchema, *, required: bool = True) -> core_schema.TypedDictField:
    return core_schema.typed_dict_field(of, required=required)


def _text(pattern: str) -> core_schema.CoreSchema:
    return core_schema.str_schema(pattern=f"^{pattern}$", strict=True)


_EVENT = core_schema.typed_dict_schema(
    {
        "user_id": _member(core_schema.int_schema(ge=1, le=MAX_ID, strict=True)),
        "type": _member(core_schema.literal_schema([*ACTION_TYPES])),
        "amount": _member(_text(DECIMAL)),
        "time": _member(core_schema.int_schema(ge=0, le=LAST_TIME, strict=True)),
        "event_id": _member(core_schema.with_default_schema(_text(EVENT_ID), default=None), required=False),
    },
    # A member that is ignored would be read all the same, and not as Python reads it.
    extra_behavior="forbid",
)
_is_id = re.compile(EVENT_ID).fullmatch
_read_one: _Read = SchemaValidator(_EVENT).validate_json
_read_many: _Read = SchemaValidator(core_schema.list_schema(_EVENT, fail_fast=True)).validate_json


def plain_event(raw: bytes, key: str | None = None) -> Event | None:
    """The event in a JSON object, if it is a plain one; `key` is its `event_id`, and then it may not have another."""
    # They are not JSON, but for pydantic they are, where the value of a member that stands again goes unchecked.
    if b"NaN" in raw or b"Infinity" in raw:
        return None
    try:
        event = _event(_read_one(raw))
    except ValueError:
        return None
    if key is None or key == event.event_id:
        return event
    return event._replace(event_id=key) if event.event_id is None and _is_id(key) else None


def plain_events(text: str) -> list[Event] | None:
    """The events in a JSON array, in order, if all of them are plain ones."""
    if "NaN" in text or "Infinity" in text:  # as above
        return None
    try:
        return [_event(found) for found in _read_many(text)]
    except ValueError:
        return None


def _event(found: dict[str, Any]) -> Event:
    """Raises ValueError if the amount is 0."""
    user_id, kind, text, time, event_id = found.values()  # in the order of the schema
    amount = Decimal(text)
    if text[-3:-2] != ".":
        amount = amount.quantize(CENT)
    if not amount:
        raise ValueError
    return tuple.__new__(Event, (user_id, kind, amount, time, event_id))  # without a further call: there may be many
