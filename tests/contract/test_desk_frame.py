"""What all pages of the desk share: the frame, where one is in it, and errors as pages by either door."""

import asyncio
import html
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, NamedTuple

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient
from pydantic import BaseModel

from routes.desk.forms import FORM, MAX_FORM, read_form
from routes.flask_threads import FlaskInThreads
from routes.http.intake import Intake
from routes.http.operation import needs
from routes.http.problems import Problem
from rules.service import Service
from tests.conftest import ClientMaker
from tests.contract.helpers import Sessions, codes, problem
from tests.keys import add_key, app_without_database, bearer, look

PAGE = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
PART = {"HX-Request": "true", "HX-Target": "main#main", "Accept": "text/html"}
PROGRAM = {"Accept": "*/*"}
STRICT = ("default-src 'self'", "script-src 'self'", "style-src 'self'", "form-action 'self'", "frame-ancestors 'none'")


@pytest.mark.parametrize(
    ("path", "named", "how"),
    [("/desk/", "Inbox", "page"), ("/desk/?tab=mine", "Mine", "page"), ("/desk/?code=30", "Inbox", "page")],
)
def test_the_rail_says_where_one_is(client: FlaskClient, path: str, named: str, how: str) -> None:
    """One entry of it is the present one: a page's own, or the one that the page is within."""
    (found,) = re.findall(r'<a href="[^"]*" aria-current="(\w+)">.*?<span>(\w+)</span>', client.get(path).text, re.S)
    assert found == (how, named)


def test_a_page_that_is_swapped_in(client: FlaskClient) -> None:
    """It brings the entries of the rail along, and says where one is now."""
    answer = client.get("/desk/?tab=mine", headers=PART)
    assert answer.headers["HX-Push-Url"] == "/desk/?tab=mine"
    assert '<ul id="rail-pages" hx-swap-oob="outerMorph">' in answer.text
    assert "<html" not in answer.text
    other = client.get("/desk/?tab=mine", headers=PART | {"HX-Target": "tbody#alerts"})
    assert ("HX-Push-Url" in other.headers, "rail-pages" in other.text) == (False, False)


def test_who_one_is(make_client: ClientMaker, sessions: Sessions) -> None:
    """The rail names who is signed in and lets them sign out; whoever sends a key has no session to end."""
    client = make_client()
    assert '<span class="who" title="No key' in client.get("/desk/").text
    key = add_key(sessions, "<b>Ada</b>")
    look(client.application)
    shown = client.get("/desk/", headers=bearer(key)).text
    assert ("&lt;b&gt;Ada&lt;/b&gt;</span>" in shown, "<b>Ada" in shown, "Sign out" in shown) == (True, False, False)
    client.post("/sign-in", data={"key": key}, headers={"Sec-Fetch-Site": "same-origin"})
    assert 'action="/desk/sign-out"' in client.get("/desk/").text


class Answered(NamedTuple):
    """An answer, whichever door it came through."""

    status: int
    headers: dict[str, str]
    text: str


Door = Callable[..., Answered]


def through_flask(app: Flask) -> Door:
    """Ask the application itself."""
    client = app.test_client()

    def ask(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> Answered:
        answer = client.open(path, method=method, headers=headers, data=body)
        return Answered(answer.status_code, dict(answer.headers), answer.text)

    return ask


def through_the_bridge(app: Flask) -> Door:
    """Ask the bridge, which refuses much before the application has the request."""

    def ask(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> Answered:
        found, _, query = path.partition("?")
        heads = {"host": "localhost", **headers, **({"content-length": str(len(body))} if body else {})}
        scope = {
            "type": "http",
            "http_version": "1.1",
            "scheme": "http",
            "method": method,
            "path": found,
            "raw_path": found.encode(),
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in heads.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        async def run() -> None:
            await FlaskInThreads(app, threads=1, read_threads=1, intake=Intake(60))(scope, receive, send)

        asyncio.run(run())
        got = {name.decode().title(): value.decode() for name, value in sent[0]["headers"]}
        return Answered(sent[0]["status"], got, b"".join(one.get("body", b"") for one in sent).decode())

    return ask


class Empty(BaseModel):
    """A form of any fields."""


def add_a_form(app: Flask) -> None:
    """Add pages that take a form, and one that refuses it since it is not of what is there now."""

    @app.post("/desk/test-form")
    @needs("work", max_body=MAX_FORM)
    def take() -> Response:
        read_form(Empty)
        return Response("taken")

    @app.post("/desk/test-changed")
    @needs("work", max_body=MAX_FORM)
    def refuse() -> Response:
        raise Problem(412, "Bob has changed it.")


KEYS = {"all": ("read", "work"), "ingest": ("ingest",), "slow": ("read",)}
CASES: dict[str, tuple[int, str | None, str, str, str, bytes, str]] = {
    "no key": (401, None, "POST", "/desk/test-form", FORM, b"a=b", "A key is needed"),
    "a scope is lacking": (403, "ingest", "GET", "/desk/", "", b"", "This call needs a key with the scope read."),
    "no such page": (404, "all", "GET", "/desk/nowhere?a=<b>", "", b"", "There is no such page."),
    "no such alert": (404, "all", "GET", "/desk/alerts/9-9-9", "", b"", "There is no alert"),
    "another method": (405, "all", "DELETE", "/desk/", "", b"", "The method is not allowed"),
    "it was changed": (412, "all", "POST", "/desk/test-changed", FORM, b"a=b", "Bob has changed it."),
    "too long": (413, "all", "POST", "/desk/test-form", FORM, b"a=" + b"b" * MAX_FORM, "The body has more than"),
    "no form": (415, "all", "POST", "/desk/test-form", "application/json", b"{}", f"must be {FORM}"),
    "too many": (429, "slow", "GET", "/desk/", "", b"", "This key may make 1 requests"),
}
DOORS = {"Flask": through_flask, "the bridge": through_the_bridge}


@pytest.fixture
def keys(sessions: Sessions) -> dict[str, str]:
    """Keys by what they may do."""
    rates = {"slow": "1/hour"}
    return {name: add_key(sessions, name, scopes, rate=rates.get(name)) for name, scopes in KEYS.items()}


@pytest.mark.parametrize("door", DOORS)
def test_errors_are_pages(make_client: ClientMaker, keys: dict[str, str], door: str) -> None:
    """A browser gets each as a page, a page that asks for a part as a card with a place of its own, a program as JSON.

    All are answered with the error's own status and headers, and all say the same.
    """
    app = make_client().application
    add_a_form(app)
    ask = DOORS[door](app)
    assert ask("GET", "/desk/", PAGE | bearer(keys["slow"])).status == 200
    for status, key, method, path, kind, body, told in CASES.values():
        sent = (bearer(keys[key]) if key else {}) | ({"Content-Type": kind} if kind else {})
        page, part, program = (ask(method, path, one | sent, body) for one in (PAGE, PART, PROGRAM))
        assert [one.status for one in (page, part, program)] == [status] * 3, (path, page.text)
        check_page(page, status, told)
        check_part(part, status, told)
        assert program.headers["Content-Type"] == "application/problem+json"
        assert f'"status": {status}' in program.text
        for name in ("Retry-After", "WWW-Authenticate", "Www-Authenticate", "Allow"):
            assert (name in page.headers) == (name in part.headers) == (name in program.headers), name


@pytest.mark.parametrize("door", DOORS)
def test_the_database_is_away(door: str) -> None:
    """Then a page says so, and leads to itself again; the frame needs no database."""
    ask = DOORS[door](app_without_database(db_timeout=0.5))
    page, part = ask("GET", "/desk/alerts/1-1-30?list=a%3Db", PAGE), ask("GET", "/desk/", PART)
    check_page(page, 503, "The database is unavailable")
    check_part(part, 503, "The database is unavailable")
    assert (page.headers["Retry-After"], part.headers["Retry-After"]) == ("1", "1")
    assert '<a class="button main" href="/desk/alerts/1-1-30?list=a%3Db">Try again</a>' in page.text


def check_page(page: Answered, status: int, told: str) -> None:
    """The page of an error: what it says, and what it may load."""
    title = HTTPStatus(status).phrase
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert title.lower() in page.text.lower()
    assert told in page.text
    assert f"<code>{page.headers.get('X-Request-ID') or page.headers['X-Request-Id']}</code>" in page.text
    assert page.text.startswith("<!doctype html>")
    assert all(part in page.headers["Content-Security-Policy"] for part in STRICT)
    assert page.headers["Cache-Control"] == "private, no-store"
    assert "Hx-Retarget" not in page.headers
    assert "<b>" not in page.text


def check_part(part: Answered, status: int, told: str) -> None:
    """The card of an error."""
    got = {name.lower(): value for name, value in part.headers.items()}
    assert (got["hx-retarget"], got["hx-reswap"]) == ("#notices", "innerHTML")
    assert f'data-status="{status}"' in part.text
    assert told in part.text
    assert "<html" not in part.text
    assert all(part in got["content-security-policy"] for part in STRICT)


@pytest.mark.parametrize("door", DOORS)
def test_a_form_after_the_session_has_ended(make_client: ClientMaker, keys: dict[str, str], door: str) -> None:
    """What was typed is not lost: whoever has sent it may sign in elsewhere and send it again."""
    app = make_client().application
    add_a_form(app)
    ask = DOORS[door](app)
    page, part = (ask("POST", "/desk/test-form", one | {"Content-Type": FORM}, b"a=b") for one in (PAGE, PART))
    for one, how in ((page, "reload this page, which sends it again"), (part, "try again here")):
        assert one.status == 401
        assert 'href="/sign-in?next=/desk/" target="_blank"' in one.text
        assert how in one.text
    away = ask("GET", "/desk/?code=30", PAGE)
    assert (away.status, away.headers["Location"]) == (303, "/sign-in?next=%2Fdesk%2F%3Fcode%3D30")
    lost = ask("GET", "/desk/?code=30", PART)
    assert 'href="/sign-in?next=/desk/%3Fcode%3D30"' in lost.text


@pytest.mark.parametrize(
    "path",
    ["", "overview", "alerts/1-1-1100?done=1-1-1100@1-2", "users", "users/1", "rules", "rules/1100", "send", "log"],
)
def test_a_page_takes_one_connection_at_a_time(client: FlaskClient, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """Reads have few, so those who waited for a second one could wait for each other."""
    codes(client, type="withdraw", amount="150.00", user_id=1)
    read, reading = Service.read, [False]

    def read_alone(ours: Service, work: Callable[[Any], Any]) -> Any:
        assert reading == [False]
        reading[:] = [True]
        try:
            return read(ours, work)
        finally:
            reading[:] = [False]

    monkeypatch.setattr(Service, "read", read_alone)
    assert client.get(f"/desk/{path}").status_code == 200


def test_errors_elsewhere_are_no_pages(client: FlaskClient) -> None:
    """What is not of the desk is answered as ever, whoever asks."""
    problem(client.get("/nowhere", headers=PAGE), 404)
    problem(client.get("/desks", headers=PAGE), 404)


def test_every_page_has_the_headers(client: FlaskClient) -> None:
    """Whatever a page is about: nothing else may run in it, nobody keeps it, and no other site shows it."""
    assert codes(client, type="withdraw", amount="150.00", user_id=7) == [1100]
    assert client.post("/webhooks", json={"url": "https://example.com", "events": ["alert.created"]}).status_code == 201
    values = {"alert_id": (7, 1, 1100), "user_id": 7, "code": 1100, "backtest_id": 1, "name": "desk.css"}
    values["webhook_id"] = 1
    seen = 0
    for rule in client.application.url_map.iter_rules():
        if (
            not rule.rule.startswith("/desk/")
            or "GET" not in (rule.methods or ())
            or rule.rule.startswith("/desk/assets")
        ):
            continue
        built = rule.build({name: values[name] for name in rule.arguments}, append_unknown=False)
        assert built is not None
        path = built[1].replace("(7, 1, 1100)", "7-1-1100").replace("(7,%201,%201100)", "7-1-1100")
        answer = client.get(path, headers=PAGE)
        assert answer.status_code in (200, 204, 303, 404), path
        headers = answer.headers
        assert headers["X-Content-Type-Options"] == "nosniff", path
        assert headers["X-Frame-Options"] == "DENY", path
        if answer.status_code == 303 or answer.mimetype != "text/html":
            assert headers["Cache-Control"] in ("no-store", "private, no-store"), path
            continue
        seen += 1
        assert all(part in headers["Content-Security-Policy"] for part in STRICT), path
        assert "unsafe" not in headers["Content-Security-Policy"], path
        assert headers["Cache-Control"] == "private, no-store", path
        assert headers["Referrer-Policy"] == "same-origin", path
        assert "style=" not in answer.text, path
        assert not re.search(r"<script(?! src=| type=\"application/json\")", answer.text), path
    assert seen >= 10


@pytest.mark.parametrize(
    "query", ["", "?tab=mine", "?tab=closed", "?tab=shadow", "?tab=all&code=30&sort=oldest&late=true"]
)
def test_what_is_listed_as_csv(client: FlaskClient, query: str) -> None:
    """The inbox leads to it: the call takes the filters of every tab."""
    (path,) = re.findall(r'href="(/alerts\.csv[^"]*)"', client.get(f"/desk/{query}").text)
    with client.get(html.unescape(path)) as file:
        assert (file.status_code, file.mimetype) == (200, "text/csv")
