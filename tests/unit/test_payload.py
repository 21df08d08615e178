"""From bytes to an event: what is read, and how each fault is named. What routes make of it is in tests/contract."""

import json
import weakref
from decimal import Decimal
from typing import Any

import pytest

from routes.http import judged
from routes.http.problems import Problem
from rules.model import Event
from rules.payload import BadPayload, FieldProblem, event_of, read_event

GOOD = {"type": "deposit", "amount": "42.00", "user_id": 1, "time": 10}


def faults(body: bytes, key: str | None = None) -> tuple[str, list[tuple[str, str]]]:
    """The sentence and the bad fields."""
    with pytest.raises(BadPayload) as caught:
        read_event(body, key)
    # Kept by the thousand, it must keep nothing else alive.
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert str(caught.value) == caught.value.detail
    return caught.value.detail, [(pointer, detail) for pointer, detail in caught.value.errors]


def test_an_event() -> None:
    """All fields arrive; an amount may be a number as well, and the time may be called t."""
    wanted = Event(1, "deposit", Decimal("42.00"), 10)
    assert read_event(json.dumps(GOOD).encode()) == wanted
    assert read_event(b'{"type": "deposit", "amount": 42, "user_id": 1, "t": 10, "more": null}') == wanted
    assert read_event(b'{"type": "deposit", "amount": 42.0, "user_id": 1, "time": 10}') == wanted


def test_its_key() -> None:
    """The key in the header is the event's id, also next to the same id, but not next to a different one."""
    body = json.dumps(GOOD).encode()
    assert read_event(body, "k").event_id == "k"
    with_id = json.dumps(GOOD | {"event_id": "k"}).encode()
    assert (read_event(with_id).event_id, read_event(with_id, "k").event_id) == ("k", "k")
    assert faults(with_id, "other")[1] == [("/event_id", "differs from the header Idempotency-Key")]
    assert faults(body, "")[1] == [("/event_id", "must be 1 to 128 printable ASCII characters")]


def test_every_fault_is_named() -> None:
    """All bad fields come at once, each with a sentence."""
    bad = {"type": "loan", "amount": "0", "time": 1, "t": 2, "event_id": ""}
    assert faults(json.dumps(bad).encode()) == (
        "The request has missing or bad fields.",
        [
            ("/t", "must not stand beside time: it means the same"),
            ("/type", "Input should be 'deposit' or 'withdraw'"),
            ("/amount", "must be greater than 0"),
            ("/user_id", "Field required"),
            ("/event_id", "must be 1 to 128 printable ASCII characters"),
        ],
    )


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "The body is not JSON in UTF-8: Expecting value at column 1."),
        (
            b"{\n1}",
            "The body is not JSON in UTF-8: Expecting property name enclosed in double quotes at line 2, column 1.",
        ),
        (b"\xff", "The body is not JSON in UTF-8: byte 0 is not UTF-8."),
        (b"NaN", "The body is not JSON in UTF-8: NaN is not a JSON number."),
        (b"[" * 100_000, "The body is not JSON in UTF-8: it is nested too deeply."),
        (b"[]", "The body must be a JSON object."),
        (b'"text"', "The body must be a JSON object."),
    ],
)
def test_what_is_no_object(body: bytes, detail: str) -> None:
    """It is reported in one sentence, without fields."""
    assert faults(body) == (detail, [])


@pytest.mark.parametrize("item", [None, 1, "text", [GOOD]])
def test_an_item_that_is_no_object(item: Any) -> None:
    """Among many events it goes by another name."""
    with pytest.raises(BadPayload, match=r"^The event must be a JSON object\.$"):
        event_of(item)


class Item(dict[str, Any]):
    """An item that can have weak references."""


def test_nothing_is_kept_of_a_bad_event() -> None:
    """Among ten thousand bad events each is freed as soon as its faults are named."""
    item = Item(GOOD | {"amount": "0"})
    reference = weakref.ref(item)
    found = judged._event(item)
    del item
    assert isinstance(found, Problem)
    assert found.errors == (FieldProblem("/amount", "must be greater than 0"),)
    assert reference() is None
