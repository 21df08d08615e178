"""Bodies made to cost much: each is refused with a reason of its own, and costs little."""

import asyncio
import gzip
import json
import tracemalloc
from typing import Any

import pytest
from flask.testing import FlaskClient

from routes import asgi
from routes.http import bodies
from rules.judging.engine import RuleEngine
from rules.payload import BadPayload, Payload, validate
from tests.contract.helpers import JSON, NOTHING, Sessions, an_event, counts, problem
from tests.contract.test_garbage import past_flask
from tests.waiting import PATIENCE

NDJSON = "application/x-ndjson"
MIB = 1024 * 1024
LIMIT = 64 * 1024
MANY_KEYS = json.dumps({f"k{n}": 1 for n in range(300_000)}).encode()
PADDED = json.dumps(an_event(note="x" * LIMIT)).encode()

REFUSED = {
    "packed numbers": (JSON, b"[" + b"1.5," * 4 * MIB, "gzip", "The body unpacks to more than 1,048,576 bytes plus"),
    "packed blank lines": (NDJSON, b"\n" * 16 * MIB, "gzip", "The body unpacks to more than 1,048,576 bytes plus"),
    "numbers": (JSON, b"[" + b"1.5," * MIB + b"1]", "", "The body has more than 10,000 events."),
    "numbers in an event": (JSON, b"[1,[" + b"1.5," * MIB + b"1]]", "", "The event with index 1 has more than 65,536"),
    "members": (JSON, b"[" + MANY_KEYS + b"]", "", "The event with index 0 has more than 65,536 characters."),
    "a long string": (JSON, b'["' + b"x" * MIB + b'"]', "", "The event with index 0 has more than 65,536 characters."),
    "blank lines": (NDJSON, b"\n" * MIB, "", "The body has more than 10,000 blank lines."),
    "blank lines with blanks": (NDJSON, b" \r\n" * MIB, "", "The body has more than 10,000 blank lines."),
    "lines": (NDJSON, b"1\n" * MIB, "", "The body has more than 10,000 events."),
    "gzip members": (NDJSON, gzip.compress(b"\n") * 2000, "as it is", "The body has more than 1,000 gzip members."),
    "gzip in gzip": (JSON, gzip.compress(b"[" + b"1," * 8 * MIB), "gzip", "The body is not JSON in UTF-8: byte 1"),
}


@pytest.mark.parametrize(("kind", "body", "packing", "detail"), REFUSED.values(), ids=REFUSED)
def test_a_costly_body(
    client: FlaskClient, sessions: Sessions, kind: str, body: bytes, packing: str, detail: str
) -> None:
    """It is refused, nothing is stored, and the memory it takes is about its own."""
    packed = gzip.compress(body) if packing == "gzip" else body
    headers = {"Content-Encoding": "gzip"} if packing else {}
    tracemalloc.start()
    try:
        answer = client.post("/events", data=packed, content_type=kind, headers=headers)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    document = problem(answer, 400 if packing == "gzip" and "gzip in" in detail else answer.status_code)
    assert (answer.status_code, document["detail"][: len(detail)]) == (400 if "UTF-8" in detail else 413, detail)
    assert peak < 16 * MIB + 4 * len(packed)
    assert counts(sessions) == NOTHING


def test_a_long_line_is_its_own_problem(client: FlaskClient) -> None:
    """A line longer than an event may be is a 413 for that event alone; the others are stored."""
    lines = b"\n".join([json.dumps(an_event()).encode(), PADDED, MANY_KEYS, json.dumps(an_event()).encode()])
    answer = client.post("/events", data=lines, content_type=NDJSON).get_json()
    found = [result.get("problem", {}).get("status", 200) for result in answer["results"]]
    assert found == [200, 413, 413, 200]


def test_ten_thousand_blank_lines_are_no_matter(client: FlaskClient) -> None:
    """A blank line after each event, and some more, are skipped as ever."""
    lines = (json.dumps(an_event(amount="0")).encode() + b"\n \r\n") * 5_000 + b"\n" * 5_000
    assert client.post("/events", data=lines, content_type=NDJSON).get_json()["rejected"] == 5_000


@pytest.mark.parametrize(
    "events",
    [
        [an_event()] * 10_000,
        [
            an_event(time=n, event_id=f"id-{n}", more={f"field_{k}": "the same" for k in range(60)})
            for n in range(9_000)
        ],
    ],
    ids=["equal", "equal but for time and id, and long"],
)
def test_events_that_pack_well(events: Any) -> None:
    """Real events are never taken for a bomb, however alike they are."""
    body = "".join(json.dumps(event) + "\n" for event in events).encode()
    packed = gzip.compress(body)
    assert len(body) / len(packed) > 100
    assert bodies._unpacked(packed, 16 * MIB) == body


@pytest.mark.parametrize("padding", [b"", b"\0", b"\0" * 200_000])
def test_gzip_in_pieces(padding: bytes) -> None:
    """Members, with zeros between and after them, unpack to what Python's own gzip makes of them."""
    packed = b"".join(gzip.compress(word) + padding for word in (b"a", b"", b"b" * 300_000, b"c"))
    assert bodies._unpacked(packed, 16 * MIB) == gzip.decompress(packed)


def test_thousands_of_faults() -> None:
    """Of thousands of bad fields a hundred are named, and the answer says so."""

    class Strict(Payload):
        """A body whose members are all known."""

    with pytest.raises(BadPayload) as caught:
        validate(Strict, {f"k{n}": 1 for n in range(5_000)})
    assert "the first 100 of 5,000" in caught.value.detail
    assert [error.pointer for error in caught.value.errors] == [f"/k{n}" for n in range(100)]


@pytest.mark.parametrize("path", ["/event", "/events", "/users/1"])
def test_out_of_memory(client: FlaskClient, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """When there is no memory for a request, the answer is a 503 that says to try again, both ways."""

    def short(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(RuleEngine, "_settle", short)
    monkeypatch.setattr("routes.users.service", short)
    body = [an_event()] if path == "/events" else an_event()
    answer = client.get(path) if path == "/users/1" else client.post(path, json=body)
    assert problem(answer, 503)["detail"] == "The service is short of memory; nothing was stored. Try again."
    assert answer.headers["Retry-After"] == "1"
    if path == "/event":
        application = asgi.application(client.application, threads=2, read_threads=1, body_timeout=PATIENCE)
        assert asyncio.run(past_flask(application, json.dumps(an_event()).encode())) == 503


@pytest.mark.parametrize(
    "inside",
    [
        b"[" * 900 + b"[]," * 20_000 + b"[]" + b"]" * 900,  # many paths, each long
        b'{"' + b"x" * 30_000 + b'": [' + b'{"a":1,"a":1},' * 2_000 + b"0]}",
        b'{"a": ' * 5_000 + b'{"b": 1, "b": 2}' + b"}" * 5_000,
    ],
)
def test_a_member_that_no_request_has(client: FlaskClient, inside: bytes) -> None:
    """Whatever is within it, finding what stands twice takes little memory, and the answer is short."""
    body = b'{"a": ' + inside + b"}"
    assert len(body) <= LIMIT
    tracemalloc.start()
    try:
        answer = client.post("/users", data=body, content_type=JSON)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(problem(answer, 400).get("errors", [])) <= 1
    assert (peak < 8 * MIB, len(answer.data) < 1000) == (True, True)
