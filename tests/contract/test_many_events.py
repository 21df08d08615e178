"""POST /events: many events in one request, judged as if they had come one by one."""

import gzip
import http.client
import io
import json
import random
import socket
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from tests.conftest import ClientMaker
from tests.contract.helpers import JSON, NOTHING, Sessions, an_event, counts, problem, without
from tests.service import Service
from tests.waiting import PATIENCE, wait_until

NDJSON = "application/x-ndjson"
MAX_EVENTS = 10_000
MAX_BODY = 16 * 1024 * 1024

LOUD = an_event(type="withdraw", amount="150.00", time=20)
GOOD = {"alert": False, "alert_codes": [], "user_id": 1}
BAD_AMOUNT = {
    "type": "about:blank",
    "title": "Bad Request",
    "status": 400,
    "detail": "The request has missing or bad fields.",
    "errors": [{"pointer": "/amount", "detail": "must be greater than 0"}],
}


def as_array(events: Any) -> dict[str, Any]:
    """How to post `events` as an array."""
    return {"data": json.dumps(events), "content_type": JSON}


def as_lines(events: Any) -> dict[str, Any]:
    """How to post `events` one a line."""
    return {"data": "".join(json.dumps(event) + "\n" for event in events), "content_type": NDJSON}


def packed(post: Any) -> Any:
    """How to post the same with gzip."""
    data = post["data"] if isinstance(post["data"], bytes) else post["data"].encode()
    return post | {"data": gzip.compress(data, compresslevel=1), "headers": {"Content-Encoding": "gzip"}}


WAYS = {
    "array": as_array,
    "lines": as_lines,
    "packed array": lambda events: packed(as_array(events)),
    "packed lines": lambda events: packed(as_lines(events)),
}


@pytest.fixture(params=list(WAYS.values()), ids=list(WAYS))
def way(request: pytest.FixtureRequest) -> Any:
    """Each way to post many events."""
    return request.param


def post(client: FlaskClient, events: Any, query: Any = "", way: Any = as_array) -> Any:
    """The JSON of the answer to `events`, checked to be a 200."""
    answer = client.post(f"/events{query}", **way(events))
    assert (answer.status_code, answer.content_type) == (200, JSON), answer.text
    return answer.get_json()


def statuses(answer: dict[str, Any]) -> list[Any]:
    """The status of each result: 200 for what is stored."""
    return [result["problem"]["status"] if "problem" in result else 200 for result in answer["results"]]


# Each event is answered for itself


def test_each_event_has_its_result(client: FlaskClient, sessions: Sessions, way: Any) -> None:
    """Good events are stored and answered as they are alone, bad ones reported, all in the order given."""
    events = [an_event(amount="60.00"), an_event(amount="0"), an_event(amount="150.00", time=20), LOUD]
    assert post(client, events, way=way) == {
        "accepted": 3,
        "rejected": 1,
        "results": [
            {"index": 0} | GOOD,
            {"index": 1, "problem": BAD_AMOUNT},
            {"index": 2, "alert": True, "alert_codes": [123], "user_id": 1},
            {"index": 3, "alert": True, "alert_codes": [1100], "user_id": 1},
        ],
    }
    assert counts(sessions) == {"users": 1, "user_actions": 3, "alerts": 2}


def test_no_events(client: FlaskClient, sessions: Sessions, way: Any) -> None:
    """An empty list of events is not a mistake."""
    assert post(client, [], way=way) == {"accepted": 0, "rejected": 0, "results": []}
    assert counts(sessions) == NOTHING


def test_every_bad_field_is_named(client: FlaskClient, sessions: Sessions) -> None:
    """A bad event names every bad field of it, with pointers from the event itself."""
    (result,) = post(client, [{"amount": "1e3", "user_id": True, "time": 1, "t": 1}])["results"]
    pointers = [error["pointer"] for error in result["problem"]["errors"]]
    assert sorted(pointers) == ["/amount", "/t", "/type", "/user_id"]
    assert counts(sessions) == NOTHING


def test_events_that_are_no_objects(client: FlaskClient, way: Any) -> None:
    """Anything else in an event's place is that event's problem."""
    answer = post(client, [1, "deposit", None, [an_event()], 4.2, an_event()], way=way)
    assert statuses(answer) == [400, 400, 400, 400, 400, 200]
    assert answer["results"][0]["problem"]["detail"] == "The event must be a JSON object."


def test_numbers_count_as_written(client: FlaskClient, way: Any) -> None:
    """An amount that is a number is taken as it was written, as in a single event."""
    body = way(["@@"])["data"]
    assert post(client, [an_event(amount=42.5), an_event(amount=42)], way=way)["accepted"] == 2
    if isinstance(body, str):
        for written, status in (("42.00", 200), ("42.000", 400), ("4.2e1", 400), ("1" * 30, 400)):
            raw = body.replace('"@@"', json.dumps(an_event(amount="##")).replace('"##"', written))
            answer = client.post("/events", **(way([]) | {"data": raw}))
            assert statuses(answer.get_json()) == [status]


def a_stream(seed: Any) -> Any:
    """Events of a few users, in no order of time, some twice, some bad, some too large to be withdrawn."""
    choice = random.Random(seed)
    events = []
    for number in range(120):
        event = {
            "type": choice.choice(["deposit", "deposit", "withdraw"]),
            "amount": f"{choice.randint(0, 180)}.{choice.randint(0, 99):02}",
            "user_id": choice.randint(1, 4),
            "time": choice.randint(0, 200),
        }
        if choice.random() < 0.3:
            event["event_id"] = f"id-{choice.randint(0, 25)}"
        if choice.random() < 0.1:
            event["event_id"] = f"own-{number}"
            events.append(event)
        if choice.random() < 0.05:
            event = without(event, "time")
        events.append(event)
    return events


POLICIES = [{}, {"overdraft": "reject"}, {"out_of_order": "reject"}, {"unknown_users": "reject"}]


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_it_is_as_if_posted_one_by_one(make_client: ClientMaker, sessions: Sessions, policy: Any) -> None:
    """The answers, balances, actions and alerts are those of the same events posted alone, one after the other."""
    client = make_client(**policy)
    apart = 100  # between the users of one half and those of the other
    for user_id in (1, 2, 1 + apart, 2 + apart):
        client.post("/users", json={"user_id": user_id, "total": "200.00"})
    expected, results = [], []
    for seed in range(3):
        events = a_stream(seed)
        for index, event in enumerate(events):
            alone = client.post("/event", json=event | {"user_id": event["user_id"] + apart})
            if alone.status_code == 200:
                result = {"index": index} | alone.get_json()
                result["user_id"] -= apart
                if "Idempotent-Replayed" in alone.headers:
                    result["replayed"] = True
            else:
                result = {"index": index, "problem": without(alone.get_json(), "request_id")}
            expected.append(result)
        results += post(client, events)["results"]
    assert json.dumps(results) == json.dumps(expected).replace("There is no user 10", "There is no user ")
    with sessions() as session:
        for what in (
            "last_seq, balance FROM users WHERE true",
            "seq, type, amount, time, event_id, alert_codes FROM user_actions WHERE true",
            "seq, code, late FROM alerts WHERE NOT superseded",
        ):
            one, other = (
                session.execute(text(f"SELECT user_id % {apart}, {what} AND user_id / {apart} = {half}")).all()
                for half in (0, 1)
            )
            assert sorted(one) == sorted(other)
            assert one


# A body that cannot be read

EVENT = json.dumps(an_event()).encode()

UNREADABLE = {
    "empty": (b"", "The body is not JSON in UTF-8: Expecting value at column 1."),
    "truncated": (b"[" + EVENT, "The body is not JSON in UTF-8: "),
    "lines": (EVENT + b"\n" + EVENT, "The body is not JSON in UTF-8: Extra data at line 2, column 1."),
    "NaN": (b"[" + EVENT + b", NaN]", "The body is not JSON in UTF-8: NaN is not a JSON number."),
    "not UTF-8": (b"[" + EVENT.replace(b"deposit", b"\xff") + b"]", "The body is not JSON in UTF-8: byte "),
    "a byte order mark": (b"\xef\xbb\xbf[]", "The body is not JSON in UTF-8: "),
    "UTF-16": ("[]".encode("utf-16"), "The body is not JSON in UTF-8: "),
    "too deep": (b"[" * 100_000, "The body is not JSON in UTF-8: it is nested too deeply."),
    "gzip without saying so": (gzip.compress(b"[]"), "The body is not JSON in UTF-8: "),
    "one event": (EVENT, "The body must be a JSON array."),
    "null": (b"null", "The body must be a JSON array."),
    "text": (b'"[]"', "The body must be a JSON array."),
}


@pytest.mark.parametrize(("body", "detail"), UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("query", ["", "?atomic=true"])
def test_a_body_that_cannot_be_read(
    client: FlaskClient, sessions: Sessions, body: Any, detail: Any, query: str
) -> None:
    """A body that is not a JSON array in UTF-8 is one plain problem, and nothing is stored."""
    document = problem(client.post(f"/events{query}", data=body, content_type=JSON), 400)
    assert document["detail"].startswith(detail)
    assert counts(sessions) == NOTHING


# Lines


BAD_LINES = {
    "no JSON": b"deposit",
    "truncated": EVENT[:-1],
    "two events": EVENT + EVENT,
    "a comma": EVENT + b",",
    "a bracket": b"[",
    "NaN": b"NaN",
    "not UTF-8": b'"\xff"',
    "too deep": b"[" * 50_000,
    "half a surrogate pair": b'"\xed\xa0\x80"',
    "a NUL": b"\x00",
}


@pytest.mark.parametrize("line", BAD_LINES.values(), ids=BAD_LINES)
def test_a_line_that_is_no_json(client: FlaskClient, sessions: Sessions, line: Any) -> None:
    """A line that is not JSON in UTF-8 is the problem of that event alone; the others are stored."""
    answer = client.post("/events", data=b"\n".join([EVENT, line, EVENT]), content_type=NDJSON).get_json()
    assert (answer["accepted"], answer["rejected"], statuses(answer)) == (2, 1, [200, 400, 200])
    assert answer["results"][1]["problem"]["detail"].startswith("The line is not JSON in UTF-8: ")
    assert counts(sessions)["user_actions"] == 2


def test_where_a_line_is_bad(client: FlaskClient) -> None:
    """The position of a mistake is given within its line."""
    answer = client.post("/events", data=EVENT + b"\n  {,}\n", content_type=NDJSON).get_json()
    assert answer["results"][1]["problem"]["detail"].endswith(" at column 2.")


@pytest.mark.parametrize("between", [b"\n", b"\r\n", b"\n\n", b"\n \t\r\n\n"])
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\n\n\n"])
def test_the_ends_of_lines(client: FlaskClient, between: bytes, end: bytes) -> None:
    """Lines end in LF or CRLF, the last one may have neither, and blank lines are no events."""
    body = between.join([EVENT, EVENT.replace(b": ", b":\t"), b"1"]) + end
    answer = client.post("/events", data=body, content_type=NDJSON).get_json()
    assert statuses(answer) == [200, 200, 400]
    assert [result["index"] for result in answer["results"]] == [0, 1, 2]


def test_a_line_separator_within_text(client: FlaskClient) -> None:
    """Only LF ends a line: Unicode's separators may occur in text."""
    events = [an_event(note="a\u2028b\u0085c\x0bd")]
    body = json.dumps(events[0], ensure_ascii=False).encode().replace(b"\\u000b", b" ")
    assert statuses(client.post("/events", data=body, content_type=NDJSON).get_json()) == [200]


# 415


@pytest.mark.parametrize(
    "content_type", [None, "", "text/plain", "application/ndjson", "application/jsonl", "application/x-ndjson, x/y"]
)
def test_another_content_type(client: FlaskClient, sessions: Sessions, content_type: Any) -> None:
    """A missing or different Content-Type is a 415 that names the two that are accepted."""
    headers = {} if content_type is None else {"Content-Type": content_type}
    document = problem(client.post("/events", data=b"[]", headers=headers), 415)
    assert document["detail"] == f"The Content-Type must be {JSON} or {NDJSON}."


@pytest.mark.parametrize("content_type", ["Application/JSON; charset=utf-8", "Application/X-NDJSON;charset=UTF-8"])
def test_a_content_type_with_parameters(client: FlaskClient, content_type: str) -> None:
    """Both types are taken in any case and with any parameters."""
    assert client.post("/events", data=b"[]", content_type=content_type).status_code == 200


CODINGS = ["deflate", "br", "zstd", "gzip, gzip", "gzip;q=1", "x", ""]


@pytest.mark.parametrize("coding", CODINGS)
def test_another_content_encoding(client: FlaskClient, sessions: Sessions, coding: Any) -> None:
    """A Content-Encoding other than gzip is a 415 and stores nothing."""
    headers = {"Content-Encoding": coding}
    document = problem(client.post("/events", **as_array([an_event()]), headers=headers), 415)
    assert document["detail"] == "The Content-Encoding must be gzip, or be left out."
    assert counts(sessions) == NOTHING


@pytest.mark.parametrize("path", ["/event", "/api/events", "/users", "/user"])
def test_single_bodies_are_not_packed(client: FlaskClient, sessions: Sessions, path: str) -> None:
    """For one event or one user every Content-Encoding, gzip too, is a 415 that says so."""
    for coding in ("gzip", *CODINGS):
        for body in (EVENT, gzip.compress(EVENT)):
            answer = client.post(path, data=body, content_type=JSON, headers={"Content-Encoding": coding})
            assert "compressed bodies are not accepted here" in problem(answer, 415)["detail"]
    assert counts(sessions) == NOTHING


# gzip


PACKED = gzip.compress(as_lines([an_event(), an_event()])["data"].encode())
GZIP = {"Content-Encoding": "gzip"}


@pytest.mark.parametrize("coding", ["gzip", "GZIP"])
def test_gzip(client: FlaskClient, coding: str) -> None:
    """A body packed with gzip is taken, in one piece or in several."""
    for body in (PACKED, PACKED + PACKED, PACKED + gzip.compress(b"")):
        answer = client.post("/events", data=body, content_type=NDJSON, headers={"Content-Encoding": coding})
        assert set(statuses(answer.get_json())) == {200}


def test_gzip_that_breaks_off(client: FlaskClient, sessions: Sessions) -> None:
    """A gzip cut off anywhere is a 400 and stores nothing, even where whole lines have come."""
    for length in range(len(PACKED)):
        problem(client.post("/events", data=PACKED[:length], content_type=NDJSON, headers=GZIP), 400)
    assert counts(sessions) == NOTHING


BROKEN = {
    "no gzip": EVENT,
    "deflate": zlib.compress(EVENT),
    "a wrong checksum": PACKED[:-8] + bytes(4) + PACKED[-4:],
    "a wrong length": PACKED[:-4] + bytes(4),
    "a wrong byte": PACKED[:20] + bytes([PACKED[20] ^ 0xFF]) + PACKED[21:],
    "something after it": PACKED + b"x",
    "half of a second piece": PACKED + PACKED[:-1],
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
def test_broken_gzip(client: FlaskClient, sessions: Sessions, body: Any) -> None:
    """What is not gzip, or is broken, is a 400 and stores nothing."""
    document = problem(client.post("/events", data=body, content_type=NDJSON, headers=GZIP), 400)
    assert "gzip" in document["detail"]
    assert counts(sessions) == NOTHING


def test_a_zip_bomb(client: FlaskClient, sessions: Sessions) -> None:
    """A small body that unpacks to far too much is a 413, and is not unpacked beyond the limit."""
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(b" " * MAX_BODY) for _ in range(20)) + packer.flush()
    assert len(bomb) < MAX_BODY / 40
    tracemalloc.start()
    try:
        problem(client.post("/events", data=bomb, content_type=JSON, headers=GZIP), 413)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * MAX_BODY
    assert counts(sessions) == NOTHING
    assert post(client, [an_event()])["accepted"] == 1


# 413


def padded(length: Any) -> Any:
    """The body of one event that is `length` bytes long."""
    # gzip would pack equal blanks too well. It looks for repetitions 32 kB back, so here it finds none.
    blanks, missing = bytes(random.Random(1).choices(b" \t\n\r", k=1 << 16)), length - len(EVENT) - 2
    return b"[" + EVENT + (blanks * (missing // len(blanks) + 1))[:missing] + b"]"


@pytest.mark.parametrize("pack", [lambda post: post, packed], ids=["plain", "packed"])
def test_the_largest_body(client: FlaskClient, sessions: Sessions, pack: Any) -> None:
    """A body of 16 MiB, unpacked, is read; one more byte is a 413 and stores nothing."""
    assert client.post("/events", **pack({"data": padded(MAX_BODY), "content_type": JSON})).status_code == 200
    problem(client.post("/events", **pack({"data": padded(MAX_BODY + 1), "content_type": JSON})), 413)
    assert counts(sessions)["user_actions"] == 1


def test_too_many_events(client: FlaskClient, sessions: Sessions, way: Any) -> None:
    """10,001 events are a 413 that names the limit, and none is stored, even if few of them could be."""
    document = problem(client.post("/events", **way([an_event()] * (MAX_EVENTS + 1))), 413)
    assert document["detail"] == "The body has more than 10,000 events."
    problem(client.post("/events", **way([an_event(), *[None] * MAX_EVENTS])), 413)
    assert counts(sessions) == NOTHING


class Endless(io.RawIOBase):
    """A body without an end that counts what is read of it."""

    taken = 0

    def readinto(self, buffer: Any) -> int:
        """Fill the whole of `buffer`."""
        self.taken += len(buffer)
        buffer[:] = b" " * len(buffer)
        return len(buffer)


SINGLE = 64 * 1024
LIMITS = {"/event": SINGLE, "/api/events": SINGLE, "/users": SINGLE, "/user": SINGLE, "/events": MAX_BODY}


def post_stream(client: FlaskClient, path: Any, stream: Any) -> TestResponse:
    """Post a body without a length, in the way the server passes on a chunked one."""
    chunked = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input": stream, "wsgi.input_terminated": True}
    return client.post(path, content_type=JSON, environ_overrides=chunked)


@pytest.mark.parametrize(("path", "limit"), LIMITS.items(), ids=LIMITS)
def test_a_body_of_unknown_length(client: FlaskClient, sessions: Sessions, path: Any, limit: Any) -> None:
    """A body without a length is read up to the limit; a longer one is a 413 and is not stored."""
    one = b'{"name": "Ada"}' if "user" in path else EVENT
    body = padded(limit) if path == "/events" else one + b" " * (limit - len(one))
    assert post_stream(client, path, io.BytesIO(body)).status_code in (200, 201)
    stored = counts(sessions)
    problem(post_stream(client, path, io.BytesIO(body + b" ")), 413)
    problem(post_stream(client, path, io.BytesIO(body + one)), 413)
    endless = Endless()
    problem(post_stream(client, path, endless), 413)
    assert endless.taken == limit + 1
    assert counts(sessions) == stored


# All or nothing


WITH_OTHERS = {
    "type": "about:blank",
    "title": "Failed Dependency",
    "status": 424,
    "detail": "It was not stored because other events are bad.",
}


def post_atomic(client: FlaskClient, events: Any, way: Any = as_array) -> list[Any]:
    """The results of `events`, checked to be all refused under ?atomic=true."""
    document = problem_of_many(client.post("/events?atomic=true", **way(events)))
    assert (document["accepted"], document["rejected"]) == (0, len(events))
    assert [result["index"] for result in document["results"]] == list(range(len(events)))
    return [result["problem"] for result in document["results"]]


def problem_of_many(answer: TestResponse) -> Any:
    """The document of a 400 that carries results, checked to be a problem that has them as well."""
    assert (answer.status_code, answer.content_type) == (400, "application/problem+json"), answer.text
    document = answer.get_json()
    assert set(document) == {
        *("type", "title", "status", "detail", "request_id"),
        *("accepted", "rejected", "results"),
    }
    assert document["detail"] == "Nothing was stored: some of the events are bad."
    return document


def test_all_good(client: FlaskClient, sessions: Sessions, way: Any) -> None:
    """With atomic=true events that are all good are stored and answered as without it."""
    events = [an_event(user_id=1), an_event(user_id=2), LOUD]
    answer = post(client, events, "?atomic=true", way)
    assert (answer["accepted"], answer["rejected"], statuses(answer)) == (3, 0, [200, 200, 200])
    assert counts(sessions) == {"users": 2, "user_actions": 3, "alerts": 1}
    assert post(client, [], "?atomic=true", way) == {"accepted": 0, "rejected": 0, "results": []}


def test_one_that_cannot_be_read(client: FlaskClient, sessions: Sessions, way: Any) -> None:
    """With atomic=true one event with a bad field refuses all; the good ones say that it was not because of them."""
    assert post_atomic(client, [an_event(), an_event(amount="0"), LOUD], way) == [WITH_OTHERS, BAD_AMOUNT, WITH_OTHERS]
    assert counts(sessions) == NOTHING


def test_a_line_that_cannot_be_read(client: FlaskClient, sessions: Sessions) -> None:
    """With atomic=true a line that is not JSON refuses all."""
    answer = client.post("/events?atomic=true", data=EVENT + b"\n{", content_type=NDJSON)
    assert statuses(problem_of_many(answer)) == [424, 400]
    assert counts(sessions) == NOTHING


ONE_REFUSED = {
    "overdraft": ({"overdraft": "reject"}, an_event(user_id=1, type="withdraw", amount="142.01"), 409),
    "out of order": ({"out_of_order": "reject"}, an_event(user_id=1, time=9), 409),
    "too late": ({"late_limit": 0}, an_event(user_id=1, time=9), 409),
    "another payload": ({}, an_event(user_id=1, amount="1.00", event_id="first"), 409),
    "another payload in the same request": ({}, an_event(user_id=2, amount="1.00", event_id="second"), 409),
    "unknown user": ({"unknown_users": "reject"}, an_event(user_id=9), 404),
}


@pytest.mark.parametrize(("policy", "bad", "status"), ONE_REFUSED.values(), ids=ONE_REFUSED)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_that_is_refused(
    make_client: ClientMaker, sessions: Sessions, policy: Any, bad: Any, status: Any, place: int
) -> None:
    """With atomic=true one event that is refused as it is judged leaves nothing of any stored, nor a new user."""
    client = make_client(**policy)
    client.post("/users", json={"user_id": 1, "total": "100.00"})
    if "unknown_users" in policy:
        client.post("/users", json={"user_id": 2})
    client.post("/event", json=an_event(user_id=1, event_id="first"))
    before = counts(sessions)
    events = [an_event(user_id=2, event_id="second"), an_event(user_id=2, amount="250.00")]
    events.insert(place, bad)
    if bad.get("event_id") == "second" and place == 0:
        place = 1  # whichever comes second is the one in conflict
    results = post_atomic(client, events)
    assert [result["status"] for result in results] == [status if at == place else 424 for at in range(3)]
    assert results[place]["type"].startswith("urn:problem:")
    assert counts(sessions) == before
    assert client.get("/users/1").get_json()["balance"] == "142.00"
    with sessions() as session:
        assert session.scalars(text("SELECT last_seq FROM users WHERE user_id = 1")).all() == [1]
    events.pop(place)
    assert post(client, events, "?atomic=true")["rejected"] == 0


def test_a_repeat_among_the_refused(client: FlaskClient, sessions: Sessions) -> None:
    """With atomic=true a repeat next to a bad event is refused with it; what is stored stays."""
    client.post("/event", json=an_event(event_id="a"))
    results = post_atomic(client, [an_event(event_id="a"), an_event(event_id="a", time=11)])
    assert [result["status"] for result in results] == [424, 409]
    assert counts(sessions)["user_actions"] == 1


@pytest.mark.parametrize("value", ["", "1", "0", "True", "yes", "on", "null", "true ", "falsee"])
def test_atomic_is_true_or_false(client: FlaskClient, sessions: Sessions, value: str) -> None:
    """Any other value of atomic is a 400 that names it, and nothing is stored."""
    answer = client.post("/events", query_string={"atomic": value}, json=[an_event()])
    assert [error["pointer"] for error in problem(answer, 400)["errors"]] == ["/atomic"]
    assert counts(sessions) == NOTHING


def test_atomic_false(client: FlaskClient, sessions: Sessions) -> None:
    """atomic=false is the same as leaving it out."""
    assert statuses(post(client, [an_event(), an_event(amount="0")], "?atomic=false")) == [200, 400]
    assert counts(sessions)["user_actions"] == 1


# Repeats


@pytest.mark.parametrize("query", ["", "?atomic=true"])
def test_the_same_events_again(client: FlaskClient, sessions: Sessions, way: Any, query: str) -> None:
    """Events posted again with their ids are answered the same and marked as replayed, and nothing is stored."""
    events = [an_event(event_id="a"), LOUD | {"event_id": "b"}, an_event(user_id=2, event_id="a", amount="250.00")]
    first = post(client, events, query, way)
    stored = counts(sessions)
    again = post(client, events, query, way)
    assert again == first | {"results": [result | {"replayed": True} for result in first["results"]]}
    assert [result["alert_codes"] for result in again["results"]] == [[], [1100], [123]]
    assert counts(sessions) == stored


def test_the_same_event_twice_in_one_request(client: FlaskClient, sessions: Sessions) -> None:
    """An id that comes twice in one request is stored once; with another payload it is a 409."""
    event = LOUD | {"event_id": "a"}
    answer = post(client, [event, event, event | {"amount": "1.00"}, event])
    assert statuses(answer) == [200, 200, 409, 200]
    assert [result.get("replayed") for result in answer["results"]] == [None, True, None, True]
    assert counts(sessions) == {"users": 1, "user_actions": 1, "alerts": 1}


def test_alone_and_among_others(client: FlaskClient, sessions: Sessions) -> None:
    """An event stored alone is replayed among many, and the other way round, whichever way its id was given."""
    client.post("/event", json=LOUD, headers={"Idempotency-Key": "a"})
    answer = post(client, [LOUD | {"event_id": "a"}, an_event(event_id="b")])
    assert [result.get("replayed") for result in answer["results"]] == [True, None]
    alone = client.post("/event", json=an_event(event_id="b"))
    assert (alone.headers["Idempotent-Replayed"], alone.get_json()) == ("true", GOOD)
    assert counts(sessions)["user_actions"] == 2


def test_the_header_means_nothing(client: FlaskClient, sessions: Sessions) -> None:
    """Idempotency-Key names one event: with many it is ignored, and no answer is marked by a header."""
    for _ in range(2):
        answer = client.post("/events", **as_array([an_event(), an_event()]), headers={"Idempotency-Key": "\xff"})
        assert (answer.status_code, "Idempotent-Replayed" in answer.headers) == (200, False)
    assert counts(sessions)["user_actions"] == 4


# Many


def test_ten_thousand_events(client: FlaskClient, sessions: Sessions) -> None:
    """10,000 events of many users in one request are judged and stored, every one in its order."""
    events = [
        an_event(user_id=1 + number % 500, time=number // 500, amount="15.00", event_id=str(number))
        for number in range(MAX_EVENTS)
    ]
    answer = client.post("/events", **packed(as_lines(events))).get_json()
    assert (answer["accepted"], answer["rejected"], len(answer["results"])) == (MAX_EVENTS, 0, MAX_EVENTS)
    # With deposits of 15.00 a second a user's 14th is the first to bring the sum over 200.00.
    for number, result in enumerate(answer["results"]):
        fires = number // 500 >= 13
        assert result == {
            "index": number,
            "alert": fires,
            "alert_codes": [123] if fires else [],
            "user_id": 1 + number % 500,
        }
    assert counts(sessions) == {"users": 500, "user_actions": MAX_EVENTS, "alerts": 7 * 500}


# The real service


def post_chunks(service: Service, path: Any, body: Any) -> Any:
    """The status of `body` posted in chunks, without a Content-Length."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=PATIENCE)
    chunks = (body[at : at + 2**16] for at in range(0, len(body), 2**16))
    with closing(connection):
        connection.request("POST", path, chunks, {"Content-Type": JSON}, encode_chunked=True)
        return connection.getresponse().status


def test_chunks_over_the_limit(start_service: Callable[..., Service], sessions: Sessions) -> None:
    """A chunked body is taken up to the limit; a longer one is a 413, however complete it looks up to there."""
    service = start_service()
    for path, limit, body in (
        ("/event", SINGLE, EVENT + b" " * (SINGLE - len(EVENT))),
        ("/events", MAX_BODY, padded(MAX_BODY)),
    ):
        assert len(body) == limit
        assert post_chunks(service, path, body) == 200
        stored = counts(sessions)
        assert post_chunks(service, path, body + b" ") == 413
        assert counts(sessions) == stored


HALVES = {
    "lines": (f"Content-Type: {NDJSON}\r\nContent-Length: {4 * len(EVENT)}", EVENT + b"\n" + EVENT + b"\n"),
    "an array": (f"Content-Type: {JSON}\r\nContent-Length: {4 * len(EVENT)}", b"[" + EVENT + b"," + EVENT),
    "a chunked array": (
        f"Content-Type: {JSON}\r\nTransfer-Encoding: chunked",
        b"%x\r\n[%b,\r\n" % (len(EVENT) + 2, EVENT),
    ),
    "packed lines in chunks": (
        f"Content-Type: {NDJSON}\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked",
        b"%x\r\n%b\r\n" % (len(PACKED) - 9, PACKED[:-9]),
    ),
    "nothing yet": (f"Content-Type: {NDJSON}\r\nContent-Length: 4", b""),
}


def statuses_in_log(service: Service) -> list[Any]:
    """The statuses of the posts to /events that are logged so far."""
    lines = [json.loads(line) for line in service.output().splitlines() if line.endswith("}")]
    return [line["status"] for line in lines if line.get("route") == "/events"]


def test_a_caller_that_hangs_up(
    start_service: Callable[..., Service], sessions: Sessions, subtests: pytest.Subtests
) -> None:
    """Nothing is stored of a body that is cut off halfway, and the service carries on."""
    service = start_service()
    for number, (name, (headers, half)) in enumerate(HALVES.items(), 1):
        with subtests.test(name), socket.create_connection(("127.0.0.1", service.port)) as caller:
            caller.sendall(f"POST /events HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n\r\n".encode() + half)
            caller.close()
            wait_until(lambda: len(statuses_in_log(service)) >= number)  # noqa: B023
            assert statuses_in_log(service) == [400] * number
            assert counts(sessions) == NOTHING
    answer = requests.post(f"{service.url}/events", json=[an_event(), LOUD], timeout=PATIENCE)
    assert (answer.status_code, statuses(answer.json())) == (200, [200, 200])
