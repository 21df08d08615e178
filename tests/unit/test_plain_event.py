"""The quick way to read an event says the same as the slow one, or nothing: whatever bytes it is given."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rules import json_text
from rules.model import Event
from rules.payload import BadPayload, event_of, read_object
from rules.plain_event import plain_event, plain_events

GOOD = {"type": "deposit", "amount": "42.00", "user_id": 1, "time": 10}


def slowly(raw: bytes, key: str | None) -> Event | None:
    """The event, read as if none were plain; None if it is refused."""
    try:
        return event_of(read_object(raw), key)
    except BadPayload:
        return None


def is_the_same(raw: bytes, key: str | None = None) -> bool:
    """Whether an event is read in both ways; if it is plain, they must agree to the digit and to the type."""
    found = plain_event(raw, key)
    assert found is None or repr(found) == repr(slowly(raw, key)), raw
    return found is not None


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"type": "withdraw"},
        {"event_id": "a"},
        {"event_id": "~" * 128},
        *({"amount": amount} for amount in ("1", "0.01", "007.5", "999999999999.99", "000000000000.10")),
        *({"user_id": number} for number in (2**63 - 1, 2**53 + 1)),
        *({"time": number} for number in (0, 2**63 - 1)),
    ],
)
def test_plain_ones_are_read(more: dict[str, Any]) -> None:
    """What most callers send, up to the bounds of each field, is read without the slow way."""
    event = GOOD | more
    assert is_the_same(json.dumps(event).encode())
    assert is_the_same(json.dumps(dict(reversed(event.items())), indent=2).encode())
    assert plain_events(json.dumps([event] * 2)) == [slowly(json.dumps(event).encode(), None)] * 2


@pytest.mark.parametrize("key", ["a", "~" * 128])
def test_a_key_is_the_id(key: str) -> None:
    """That of the header, whether the body names it too or not."""
    assert is_the_same(json.dumps(GOOD).encode(), key)
    assert is_the_same(json.dumps(GOOD | {"event_id": key}).encode(), key)


@pytest.mark.parametrize("key", ["", "é", "a" * 129, "b\n", "other"])
def test_a_key_that_cannot_be_the_id(key: str) -> None:
    """It is for the slow way to say why."""
    assert plain_event(json.dumps(GOOD | {"event_id": "b"}).encode(), key) is None
    assert plain_event(json.dumps(GOOD).encode(), key) == slowly(json.dumps(GOOD).encode(), key)


WORDS = st.sampled_from(["deposit", "withdraw", "Deposit", "deposit ", "", "a", "42", "42.50", "0", "0.00", "42.000"])
DIGITS = st.text("0123456789.", min_size=1, max_size=16)
NUMBERS = st.one_of(
    st.integers(),
    st.sampled_from([0, 1, 2**63 - 1, 2**63, 10**18, 10**19, 10**25, -1]),
    st.floats(),
).map(json.dumps)
VALUES = st.one_of(
    st.one_of(WORDS, DIGITS, st.text(max_size=3), st.text(" ~", min_size=126, max_size=130)).map(json.dumps),
    st.text(max_size=3).map(lambda text: json.dumps(text, ensure_ascii=False)),
    NUMBERS,
    DIGITS,
    st.sampled_from(["null", "true", "false", "-0", "1e0", "1.0", "01", "{}", "[]", "NaN", "-Infinity"]),
    st.sampled_from([r'"\u0061"', r'"\ud800"', r'"\ud83d\ude00"', r'"\/"', '"\t"', '"\x7f"', r'"4\u0032"', '"١"']),
)
NAMES = st.sampled_from(["type", "amount", "user_id", "time", "t", "event_id", "note", "TIME", r"t\u0079pe", ""])
BLANKS = st.sampled_from(["", "", "", " ", "\t", "\r\n", "\f", "\N{NO-BREAK SPACE}"])
# Each of them good, if it is not spoilt: else hardly any would be plain.
KINDS = st.sampled_from(["deposit", "withdraw"])
AMOUNTS = st.from_regex(r"[0-9]{1,12}(\.[0-9]{1,2})?", fullmatch=True)
POSITIVE = st.integers(1, 2**63 - 1)
PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=128)


@st.composite
def objects(draw: Callable[..., Any]) -> str:
    """An object much like an event, with members that are bad, missing, repeated or unknown."""
    members = [("type", draw(KINDS)), ("amount", draw(AMOUNTS)), ("user_id", draw(POSITIVE)), ("time", draw(POSITIVE))]
    if draw(st.booleans()):
        members.append(("event_id", draw(PRINTABLE)))
    texts = [(name, json.dumps(value)) for name, value in members]
    texts += draw(st.lists(st.tuples(NAMES, VALUES), max_size=2))
    if draw(st.booleans()):
        texts = draw(st.permutations(texts))
    if draw(st.integers(0, 3)) == 0:
        del texts[draw(st.integers(0, len(texts) - 1))]
    blank = draw(BLANKS)
    inner = ",".join(f'{blank}"{name}"{blank}:{blank}{value}{blank}' for name, value in texts)
    return f"{blank}{{{inner}}}{draw(BLANKS)}"


@settings(max_examples=1500)
@given(objects(), st.one_of(st.none(), st.sampled_from(["a", "", "é"]), PRINTABLE))
@example(json.dumps(GOOD), None)
@example('{"type": NaN, "type": "deposit", "amount": "1", "user_id": 1, "time": 1}', None)
def test_odd_objects(text: str, key: str | None) -> None:
    """Whatever its members are, and however they are written."""
    is_the_same(text.encode("utf-8", "surrogatepass"), key)


@settings(max_examples=1500)
@given(
    objects(),
    st.lists(st.tuples(st.integers(0, 400), st.sampled_from("icd"), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_spoilt_bytes(text: str, changes: list[tuple[int, str, int]]) -> None:
    """Whatever byte is inserted, changed or dropped."""
    raw = bytearray(text.encode())
    for at, what, byte in changes:
        at %= len(raw) or 1
        raw[at : at + (what != "i")] = b"" if what == "d" else bytes([byte])
    is_the_same(bytes(raw))


@settings(max_examples=300)
@given(st.lists(objects(), max_size=3), BLANKS)
def test_arrays(texts: list[str], blank: str) -> None:
    """An array is plain if all of it is, and then has the same events in the same order."""
    whole = f"{blank}[{','.join(texts)}]{blank}"
    found = plain_events(whole)
    each = [plain_event(text.encode()) for text in texts]
    assert (found is not None) == (None not in each and not blank.strip(" \t\r\n")), whole
    assert found is None or found == each
    if found is not None:
        assert [repr(event) for event in found] == [repr(event_of(item)) for item in json_text.parse(whole.encode())]


def test_amounts_keep_two_decimals() -> None:
    """However many were written."""
    found = [plain_event(json.dumps(GOOD | {"amount": amount}).encode()) for amount in ("5", "5.5", "5.50")]
    assert [str(event.amount) for event in found if event] == ["5.00", "5.50", "5.50"]
    assert all(event and type(event.amount) is Decimal for event in found)
