"""The rate of a key, and bad keys from one address: what is refused, by which answer, and that others go on."""

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from sqlalchemy import text

from access import bad_keys
from access.key_format import make_key
from database.session import make_sessions
from tests.conftest import ClientMaker
from tests.contract.helpers import NOTHING, Sessions, an_event, counts, problem
from tests.keys import add_key, bearer
from tests.postgres import engine_on
from tests.service import Service
from tests.waiting import wait_until


def key_with_rate(sessions: Sessions, rate: str | None) -> str:
    """A new key for events and reads."""
    return add_key(sessions, scopes=["ingest", "read"], rate=rate)


def quota(headers: object) -> tuple[str, int, int]:
    """The policy of an answer, how many requests are left, and for how many seconds."""
    match = re.fullmatch(r'"key";r=(\d+);t=(\d+)', headers["RateLimit"])  # type: ignore[index]
    assert match is not None
    return headers["RateLimit-Policy"], int(match[1]), int(match[2])  # type: ignore[index]


def test_a_key_over_its_rate(make_client: ClientMaker, sessions: Sessions) -> None:
    """Each answer says what is left; then it is a 429 that says when to try again, and stores nothing."""
    headers, others = bearer(key_with_rate(sessions, "3/hour")), bearer(key_with_rate(sessions, None))
    client = make_client()
    for left, path in ((2, "/alerts"), (1, "/nothing/here"), (0, "/alerts?unknown=1")):
        policy, rest, _ = quota(client.get(path, headers=headers).headers)
        assert (policy, rest) == ('"key";q=3;w=3600', left)
    refused = client.post("/event", json=an_event(), headers=headers)
    document = problem(refused, 429)
    assert document["type"] == "urn:problem:rate"
    assert "3 requests in 3600 s" in document["detail"]
    policy, rest, seconds = quota(refused.headers)
    assert (policy, rest, str(seconds)) == ('"key";q=3;w=3600', 0, refused.headers["Retry-After"])
    assert 1 <= seconds <= 3600
    assert counts(sessions) == NOTHING
    other = client.get("/alerts", headers=others)
    assert (other.status_code, "RateLimit" in other.headers) == (200, False)


def test_the_rate_of_keys_without_one(make_client: ClientMaker, sessions: Sessions) -> None:
    """KEY_RATE holds for those; a key's own goes first."""
    plain, own = (bearer(key_with_rate(sessions, rate)) for rate in (None, "2/hour"))
    client = make_client(key_rate="1/hour")
    answered = [client.get("/alerts", headers=headers).status_code for headers in (plain, plain, own, own, own)]
    assert answered == [200, 429, 200, 200, 429]


def test_signing_in_over_the_rate(make_client: ClientMaker, sessions: Sessions) -> None:
    """It is a request with the key, in either form: beyond the rate nobody is signed in, and nothing is logged."""
    key = key_with_rate(sessions, "2/hour")
    client = make_client()
    assert [client.post("/session", json={"key": key}).status_code for _ in range(2)] == [200, 200]
    refused = client.post("/session", json={"key": key})
    page = client.post("/sign-in", data={"key": key})
    assert problem(refused, 429)["type"] == "urn:problem:rate"
    assert page.status_code == 429
    for answer in (refused, page):
        assert 1 <= int(answer.headers["Retry-After"]) <= 3600
        assert "Set-Cookie" not in answer.headers
    with sessions() as session:
        assert session.scalar(text("SELECT count(*) FROM log_entries")) == 2


def test_too_many_bad_keys(make_client: ClientMaker, sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """From one address there is an end of them, while good keys from there are let in."""
    monkeypatch.setattr(bad_keys, "MOST", 2)
    good = bearer(key_with_rate(sessions, None))
    bad = [bearer(make_key().key), {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic YTpi"}]
    client = make_client()
    assert [client.get("/alerts", headers=one).status_code for one in bad] == [401, 401, 429]
    refused = client.post("/event", json=an_event(), headers=bad[0])
    assert problem(refused, 429)["type"] == "urn:problem:bad-keys"
    assert 1 <= int(refused.headers["Retry-After"]) <= bad_keys.WINDOW
    assert client.get("/alerts", headers=good).status_code == 200
    assert client.get("/alerts").status_code == 401  # no key is not a bad one
    elsewhere = client.get("/alerts", headers=bad[0], environ_overrides={"REMOTE_ADDR": "192.0.2.7"})
    assert elsewhere.status_code == 401
    assert counts(sessions) == NOTHING


# At the server


@pytest.fixture(scope="module")
def shared_sessions(shared_database_url: str) -> Iterator[Sessions]:
    """Sessions on the database of the shared service."""
    with engine_on(shared_database_url) as engine:
        yield make_sessions(engine)


def known(service: Service, sessions: Sessions, rate: str | None) -> dict[str, str]:
    """The headers of a new key that every worker of the service knows."""
    key = bearer(key_with_rate(sessions, rate))
    wait_until(lambda: all(requests.options(f"{service.url}/event", headers=key).ok for _ in range(8)))
    return key


def test_both_doors_count_together(shared_service: Service, shared_sessions: Sessions) -> None:
    """Whichever door a request takes, its answer says what is left, and both are closed when nothing is."""
    key = bearer(key_with_rate(shared_sessions, "9/hour"))

    def post(session: requests.Session) -> requests.Response:
        return session.post(f"{shared_service.url}/event", json=an_event(user_id=9), headers=key)

    with requests.Session() as session:  # one connection, so one worker
        wait_until(lambda: post(session).status_code == 200)
        answers = [post(session), session.get(f"{shared_service.url}/alerts", headers=key)]
        first, second = (quota(answer.headers)[1] for answer in answers)
        assert second == first - 1
        for _ in range(first):
            last = post(session)
        assert (last.status_code, quota(last.headers)[1]) == (429, 0)
        assert last.json()["type"] == "urn:problem:rate"
        refused = session.get(f"{shared_service.url}/alerts", headers=key)
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, str(quota(refused.headers)[2]))
    stored = requests.get(f"{shared_service.url}/users/9/actions", headers=known(shared_service, shared_sessions, None))
    assert len(stored.json()["actions"]) == 8


RATE, WORKERS, SECONDS = 20, 4, 8
LEARNING = 3  # seconds in which a worker may not know yet what the others do


def test_one_rate_in_all_workers_of_two_services(
    shared_service: Service, shared_database_url: str, shared_sessions: Sessions, start_service: Callable[..., Service]
) -> None:
    """Asked for far more than the rate, they serve it together; four times as much only at the beginning."""
    other = start_service(DATABASE_URL=shared_database_url)
    key = known(shared_service, shared_sessions, f"{RATE}/second")
    known(other, shared_sessions, None)
    begin = time.time()

    def ask(url: str) -> tuple[int, int]:
        asked = served = 0
        while time.time() < begin + SECONDS:
            answer = requests.get(f"{url}/alerts?limit=1", headers=key)  # a new connection, to any worker
            asked, served = asked + 1, served + (answer.status_code == 200)
        return asked, served

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, [shared_service.url, other.url] * 4))
    asked, served = (sum(column) for column in zip(*found, strict=True))
    windows = int(time.time()) - int(begin) + 1
    # Each worker's share is rounded up.
    assert served <= windows * (RATE + WORKERS) + LEARNING * (WORKERS - 1) * RATE
    assert served >= min(asked, SECONDS * RATE) * 0.75
