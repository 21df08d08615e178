"""People at the running service: sessions and a proxy's header come to the bridge as they are written on the wire."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from database.session import make_sessions
from tests.contract.helpers import JSON, an_event
from tests.keys import add_key, bearer
from tests.postgres import engine_on
from tests.service import PATIENT_ENVIRONMENT, Service
from tests.waiting import PATIENCE

OWN_PAGE = ("Sec-Fetch-Site", "same-origin")
HEADER = "X-Forwarded-User"


@pytest.fixture(scope="module")
def key(shared_database_url: str) -> str:
    """A key that may do everything."""
    with engine_on(shared_database_url) as engine:
        return add_key(make_sessions(engine))


@pytest.fixture(scope="module")
def service(key: str, shared_database_url: str) -> Iterator[Service]:
    """A service behind a proxy on the same machine, with a key."""
    assert key
    settings = {"TRUSTED_PROXY_HEADER": HEADER, "TRUSTED_PROXY_SCOPES": "read,ingest"}
    with Service(PATIENT_ENVIRONMENT | {"DATABASE_URL": shared_database_url} | settings) as service:
        yield service


@pytest.fixture(scope="module")
def cookie(service: Service, key: str) -> str:
    """The cookie of a session."""
    answer = requests.post(f"{service.url}/session", json={"key": key}, timeout=PATIENCE)
    assert answer.status_code == 200
    return answer.headers["Set-Cookie"].partition(";")[0]


def post(service: Service, *headers: tuple[str, str]) -> int:
    """The status of an event posted with these headers, exactly as they are."""
    body = json.dumps(an_event())
    lines = ["POST /event HTTP/1.1", "Host: localhost", f"Content-Type: {JSON}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    with (
        socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE) as caller,
        caller.makefile("rb") as answers,
    ):
        caller.sendall("\r\n".join([*lines, "Connection: close", "", body]).encode("latin-1"))
        return int(answers.read().split(b" ", 2)[1])


def test_a_session(service: Service, cookie: str, key: str) -> None:
    """A session posts events for a page of this origin alone; a key beside it is all that counts."""
    session = ("Cookie", cookie)
    assert post(service, session, OWN_PAGE) == 200
    assert post(service, session) == 403
    assert post(service, session, ("Sec-Fetch-Site", "cross-site")) == 403
    assert post(service, session, OWN_PAGE, ("Authorization", "Bearer x")) == 401
    assert post(service, ("Cookie", "x=y"), ("Authorization", f"Bearer {key}")) == 200
    assert post(service, ("Cookie", cookie[:-1]), OWN_PAGE) == 401
    assert post(service, ("Cookie", "\xe9\xff"), OWN_PAGE) == 401
    assert post(service, ("Cookie", "a=b"), session, OWN_PAGE) in (200, 401)  # as the server joins two of them


def test_the_header_of_the_proxy(service: Service, key: str) -> None:
    """It is believed in its one plain form: not written with "_", not twice, not beside a key."""
    ada = (HEADER, "Ada")
    assert post(service, ada, OWN_PAGE) == 200
    assert post(service, (HEADER.lower(), "Ada"), OWN_PAGE) == 200
    assert post(service, ada) == 403
    assert post(service, (HEADER.replace("-", "_"), "Ada"), OWN_PAGE) == 401
    assert post(service, ada, (HEADER.replace("-", "_"), "Eve"), OWN_PAGE) == 200
    assert post(service, ada, (HEADER, "Eve"), OWN_PAGE) == 401
    assert post(service, ada, OWN_PAGE, ("Authorization", "Bearer x")) == 401
    who = requests.get(f"{service.url}/session", headers={HEADER: "Ada"} | bearer(key), timeout=PATIENCE)
    who_comes = requests.get(f"{service.url}/session", headers={HEADER: "Bob"}, timeout=PATIENCE)
    assert (len(who.json()["scopes"]), who_comes.json()["name"]) == (5, "Bob")


def test_a_browser(service: Service, key: str) -> None:
    """From a page that needs a key to the page to sign in, and back to it: what a browser without JavaScript does."""
    with requests.Session() as browser:
        browser.headers.update({"Accept": "text/html,*/*;q=0.8", "Sec-Fetch-Site": "same-origin"})
        page = browser.get(f"{service.url}/docs", timeout=PATIENCE)
        assert (page.status_code, page.url) == (200, f"{service.url}/sign-in?next=%2Fdocs")
        data: dict[str, Any] = {"key": key, "next": "/docs"}
        docs = browser.post(f"{service.url}/sign-in", data=data, timeout=PATIENCE)
        assert (docs.status_code, docs.url) == (200, f"{service.url}/docs")
        assert browser.get(f"{service.url}/openapi.json", timeout=PATIENCE).status_code == 200
        assert browser.delete(f"{service.url}/session", timeout=PATIENCE).status_code == 204
        assert browser.get(f"{service.url}/rules", headers={"Accept": JSON}, timeout=PATIENCE).status_code == 401
