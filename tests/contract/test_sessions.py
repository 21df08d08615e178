"""Sessions: a browser signs in with a key; what its cookie is worth, when it ends, and which pages may use it."""

import base64
import json
import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.sessions import SecureCookieSessionInterface
from flask.testing import FlaskClient
from itsdangerous import TimestampSigner

from access import keyring
from tests.conftest import ClientMaker
from tests.contract.helpers import NOTHING, Sessions, an_event, counts, problem
from tests.keys import add_key, bearer, look, revoke_key

OWN_PAGE = {"Sec-Fetch-Site": "same-origin"}
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
SECRETS = ("first secret of at least 32 characters", "second secret of at least 32 characters")
NAME = "transaction-alerts"
ELSEWHERE = {"Host": "alerts.example"}
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def key(sessions: Sessions) -> str:
    """Ada's key, which may do everything."""
    return add_key(sessions)


def sign_in(client: FlaskClient, key: str, **headers: str) -> Any:
    """The answer to signing in."""
    return client.post("/session", json={"key": key}, headers=headers)


def plain(client: FlaskClient) -> FlaskClient:
    """A client that sends the cookies that a test writes, and no others."""
    return client.application.test_client(use_cookies=False)


def test_signing_in_and_out(make_client: ClientMaker, sessions: Sessions, key: str) -> None:
    """With the cookie a browser is the key's holder; without it nobody."""
    client = make_client()
    problem(client.get("/rules"), 401)
    answer = sign_in(client, key)
    assert (answer.status_code, answer.get_json()["name"]) == (200, "Ada")
    assert client.get("/rules").status_code == 200
    who = client.get("/session").get_json()
    assert (who["name"], who["scopes"]) == ("Ada", ["ingest", "read", "work", "tune", "admin"])
    seconds = datetime.fromisoformat(who["expires_at"]).timestamp() - time.time()
    assert 11 * 3600 < seconds <= 12 * 3600
    changed = client.put("/rules/30", json={"note": "x"}, headers=OWN_PAGE)
    assert changed.get_json()["author"] == "Ada"
    assert client.delete("/session", headers=OWN_PAGE).status_code == 204
    problem(client.get("/rules"), 401)
    with sessions() as session:
        found = session.connection().exec_driver_sql("SELECT who, kind, what FROM log_entries ORDER BY entry_id")
        assert [tuple(row) for row in found] == [("Ada", "sign-in", "signed in"), ("Ada", "rule", "set")]


def test_who_one_is(make_client: ClientMaker, sessions: Sessions) -> None:
    """GET /session says it of a key that is sent too, whatever its scopes, and of nobody where there are no keys."""
    assert make_client().get("/session").get_json() == {
        "name": "anonymous",
        "scopes": ["ingest", "read", "work", "tune", "admin"],
        "expires_at": None,
    }
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    key = add_key(sessions, "Bob", ["work"], end)
    who = make_client().get("/session", headers=bearer(key)).get_json()
    assert (who["name"], who["scopes"]) == ("Bob", ["work"])
    assert datetime.fromisoformat(who["expires_at"]) == end


@pytest.mark.parametrize(
    ("headers", "name", "is_secure"),
    [({}, NAME, False), ({"Host": "127.0.0.1:5000"}, NAME, False), (ELSEWHERE, f"__Host-{NAME}", True)],
)
def test_the_cookie(make_client: ClientMaker, key: str, headers: Any, name: str, is_secure: bool) -> None:
    """Scripts cannot read it, other sites' pages do not send it, and off loopback it needs TLS and this very host."""
    answer = sign_in(make_client(trusted_hosts="alerts.example"), key, **headers)
    (cookie,) = answer.headers.getlist("Set-Cookie")
    value, *attributes = cookie.split("; ")
    assert value.startswith(f"{name}=")
    assert ("Secure" in attributes) == is_secure
    assert {"HttpOnly", "Path=/", "SameSite=Lax"} <= set(attributes)
    assert not any(attribute.startswith("Domain") for attribute in attributes)
    assert key not in cookie
    assert key.split("_")[2] not in base64.urlsafe_b64decode(value.split("=", 1)[1].split(".")[0] + "===").decode()


def test_it_is_not_renewed(make_client: ClientMaker, key: str) -> None:
    """Using a session does not make it last longer."""
    client = make_client()
    sign_in(client, key)
    for path in ("/session", "/rules", "/docs"):
        assert "Set-Cookie" not in client.get(path).headers


def test_bad_keys_do_not_sign_in(make_client: ClientMaker, sessions: Sessions, key: str) -> None:
    """A key that is none, or has ended, is a 401; a body that has none is a 400."""
    revoked = add_key(sessions, "Bob")
    revoke_key(sessions, revoked)
    client = make_client()
    for bad in ("x", key[:-1], revoked, f"Bearer {key}"):
        answer = sign_in(client, bad)
        assert problem(answer, 401)["type"] == "urn:problem:bad-key"
        assert "Set-Cookie" not in answer.headers
    for body in ({}, {"key": ""}, {"key": 7}, {"key": key, "more": 1}):
        problem(client.post("/session", json=body), 400)


def test_a_session_ends_with_its_key(make_client: ClientMaker, sessions: Sessions, key: str) -> None:
    """Revoked, changed or expired: the session is no longer good, in whichever process."""
    client = make_client()
    sign_in(client, key)
    assert client.get("/rules").status_code == 200
    revoke_key(sessions, key)
    look(client.application)
    problem(client.get("/rules"), 401)
    with sessions() as session:
        session.connection().exec_driver_sql("UPDATE keys SET revoked_at = NULL, changed = changed + 1")
    look(client.application)
    problem(client.get("/rules"), 401)
    assert client.get("/rules", headers=bearer(key)).status_code == 200
    sign_in(client, key)
    with sessions() as session:
        session.connection().exec_driver_sql("UPDATE keys SET expires_at = now(), changed = changed + 1")
    look(client.application)
    problem(client.get("/rules"), 401)


def test_a_session_ends_by_itself(make_client: ClientMaker, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After twelve hours it is over, however often it was used."""
    client = make_client()
    sign_in(client, key)
    now = time.time()
    for hours, status in ((0, 200), (11.9, 200), (12.1, 401)):
        monkeypatch.setattr("routes.http.sessions.time.time", lambda hours=hours: now + hours * 3600)
        look(client.application)
        assert client.get("/rules").status_code == status


def test_secrets_are_rotated(make_client: ClientMaker, key: str) -> None:
    """A session that an old secret signed holds while that is a fallback, and no longer."""
    before = make_client(secret_key=SECRETS[0])
    (cookie,) = sign_in(before, key).headers.getlist("Set-Cookie")
    value = cookie.partition(";")[0]
    for settings, status in (
        ({"secret_key": SECRETS[0]}, 200),
        ({"secret_key": SECRETS[1], "secret_key_fallbacks": SECRETS[0]}, 200),
        ({"secret_key": SECRETS[1]}, 401),
        ({}, 401),
    ):
        client = plain(make_client(**settings))
        assert client.get("/rules", headers={"Cookie": value}).status_code == status, settings


def test_forged_cookies(make_client: ClientMaker, key: str) -> None:
    """Whatever is not signed by the service is no session."""
    client = make_client(secret_key=SECRETS[0], trusted_hosts="alerts.example")
    (cookie,) = sign_in(client, key).headers.getlist("Set-Cookie")
    value = cookie.partition(";")[0].partition("=")[2]
    payload, stamp, signature = value.split(".")
    data = json.loads(base64.urlsafe_b64decode(payload + "==="))
    other = base64.urlsafe_b64encode(json.dumps(data | {"key": "0000000"}).encode()).decode().rstrip("=")
    fresh = plain(make_client(secret_key=SECRETS[0], trusted_hosts="alerts.example"))
    assert fresh.get("/rules", headers={"Cookie": f"{NAME}={value}"}).status_code == 200
    for forged in (
        *("", "x", ".", "..", payload, f"{payload}.{stamp}", f"{payload}.{stamp}.", f"{other}.{stamp}.{signature}"),
        *(f"{payload}.{stamp}.{signature[::-1]}", f"{payload}.AAAAAA.{signature}", value + "x", "é" * 50, "x" * 9_000),
        f".{value}",
    ):
        assert fresh.get("/rules", headers={"Cookie": f"{NAME}={forged}"}).status_code == 401, forged
    for path in ("/healthz", "/sign-in"):
        assert fresh.get(path, headers={"Cookie": "é"}).status_code == 200
    # The cookie of a host with TLS is none on loopback, and the other way round.
    assert fresh.get("/rules", headers={"Cookie": f"__Host-{NAME}={value}"}).status_code == 401
    assert fresh.get("/rules", headers=ELSEWHERE | {"Cookie": f"{NAME}={value}"}).status_code == 401
    assert fresh.get("/rules", headers=ELSEWHERE | {"Cookie": f"__Host-{NAME}={value}"}).status_code == 200


def test_cookies_that_hold_something_else(make_client: ClientMaker, key: str) -> None:
    """Signed with the same secret by another program, or another release: no session, and never a defect."""
    client = plain(make_client(secret_key=SECRETS[0]))
    serializer = SecureCookieSessionInterface().get_signing_serializer(client.application)
    assert serializer is not None
    good = {"key": key[4:11], "changed": 1, "until": time.time() + 3600}
    shapes = ({}, [], [1], "x", 7, None, {"key": 7}, {"user": "Ada"}, *({**good, name: None} for name in good))
    odd = ({**good, "key": ["x"]}, {**good, "changed": "1"}, *({**good, "until": at} for at in ("x", 1e999, 10**400)))
    signed = [serializer.dumps(one) for one in (*shapes, *odd)]
    signed.append(TimestampSigner(SECRETS[0], salt="cookie-session", key_derivation="hmac").sign("no JSON").decode())
    for cookie in signed:
        headers = {"Cookie": f"{NAME}={cookie}"}
        assert client.get("/rules", headers=headers).status_code == 401, cookie
        assert client.get("/session", headers=headers).status_code == 401, cookie
        assert client.post("/session", json={"key": key}, headers=headers | OWN_PAGE).status_code == 200, cookie


def test_the_page_while_the_database_is_away(
    make_client: ClientMaker, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can sign in, and the page says when to try again."""
    client = make_client()
    monkeypatch.setattr(keyring, "STALE", -1)
    page = client.post("/sign-in", data={"key": key}, headers=OWN_PAGE)
    assert (page.status_code, page.headers["Retry-After"], page.mimetype) == (503, "1", "text/html")


PAGES: dict[str, tuple[dict[str, str], int]] = {
    "its own page": ({"Sec-Fetch-Site": "same-origin"}, 200),
    "the address bar": ({"Sec-Fetch-Site": "none"}, 200),
    "an old browser on its own page": ({"Origin": "http://localhost"}, 200),
    "no word of where from": ({}, 403),
    "another site": ({"Sec-Fetch-Site": "cross-site"}, 403),
    "another host of the site": ({"Sec-Fetch-Site": "same-site"}, 403),
    "another origin": ({"Origin": "https://evil.test"}, 403),
    "another origin that pretends": ({"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.test"}, 403),
    "hidden": ({"Origin": "null"}, 403),
}


@pytest.mark.parametrize("page", PAGES)
def test_pages_that_use_a_session(make_client: ClientMaker, sessions: Sessions, key: str, page: str) -> None:
    """A session changes something only for a page that says it is of this origin; everybody may read."""
    client = make_client()
    sign_in(client, key)
    headers, status = PAGES[page]
    answer = client.post("/event", json=an_event(), headers=headers)
    assert answer.status_code == status
    if status == 403:
        assert problem(answer, 403)["type"] == "urn:problem:other-origin"
        assert counts(sessions) == NOTHING
    assert client.get("/rules", headers=headers).status_code == 200


def test_a_key_beats_a_session(make_client: ClientMaker, sessions: Sessions, key: str) -> None:
    """A request with Authorization never looks at the cookie: neither for a bad key nor for too few scopes."""
    reader = add_key(sessions, "Bob", ["read"])
    client = make_client()
    sign_in(client, key)
    problem(client.get("/rules", headers=bearer("x")), 401)
    problem(client.post("/event", json=an_event(), headers=bearer(reader) | OWN_PAGE), 403)
    assert client.get("/session", headers=bearer(reader)).get_json()["name"] == "Bob"
    assert client.post("/event", json=an_event(), headers=bearer(key)).status_code == 200  # needs no word of where from


# The page


def test_browsers_are_led_to_the_page(make_client: ClientMaker, key: str) -> None:
    """Who would rather see a page is sent to sign in, and back to where they wanted; programs get a 401."""
    client = make_client()
    for path in ("/docs", "/", "/nowhere", "/alerts?limit=2&code=30"):
        answer = client.get(path, headers=BROWSER)
        assert answer.status_code == 303
        page = client.get(answer.headers["Location"])
        assert page.status_code == 200
        assert f'name="next" value="{path.replace("&", "&amp;")}"' in page.text
    for headers in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}, {"Accept": "application/json, text/html"}):
        problem(client.get("/docs", headers=headers), 401)
    problem(client.post("/event", json=an_event(), headers=BROWSER), 401)
    problem(client.get("/docs", headers=BROWSER | bearer("x")), 401)


def test_the_page_signs_in(make_client: ClientMaker, key: str) -> None:
    """The form works without a script: a good key leads on, a bad one shows the page again, with the reason."""
    client = make_client()
    for data in ({"key": "x", "next": "/docs"}, {"next": "/docs"}, {"key": "<b>"}):
        again = client.post("/sign-in", data=data, headers=OWN_PAGE)
        assert again.status_code == 401
        assert "There is no such key" in again.text
        assert "<b>" not in again.text
        assert "Set-Cookie" not in again.headers
    answer = client.post("/sign-in", data={"key": f" {key}\n", "next": "/docs"}, headers=OWN_PAGE)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/docs")
    assert client.get("/docs", headers=BROWSER).status_code == 200
    with client.get("/docs/assets/docs.js") as script:
        assert script.status_code == 200


@pytest.mark.parametrize(
    "wanted",
    [
        *(
            "//evil.test",
            "///evil.test",
            "/\\evil.test",
            "\\\\evil.test",
            "https://evil.test",
            "evil.test",
            "",
            " /docs",
        ),
        *(
            "javascript:alert(1)",
            "/\t/evil.test",
            "/\n/evil.test",
            "/%09/evil\\test",
            "http:evil.test",
            "/" + "x" * 3000,
        ),
    ],
)
def test_it_leads_to_this_host_alone(make_client: ClientMaker, key: str, wanted: str) -> None:
    """Where one goes after signing in is a path of this service, or the start."""
    client = make_client()
    answer = client.post("/sign-in", data={"key": key, "next": wanted}, headers=OWN_PAGE)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert 'name="next" value="/"' in client.get("/sign-in", query_string={"next": wanted}).text


def test_the_form_from_elsewhere(make_client: ClientMaker, key: str) -> None:
    """No other site can sign its reader in, or out."""
    client = make_client()
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.test"}):
        problem(client.post("/sign-in", data={"key": key}, headers=headers), 403)
        problem(client.post("/session", json={"key": key}, headers=headers), 403)
        problem(client.delete("/session", headers=headers), 403)


def test_odd_forms(make_client: ClientMaker, key: str) -> None:
    """What is no form of ours is refused, and none is a defect."""
    client = make_client()
    problem(client.post("/sign-in", json={"key": key}), 415)
    problem(client.post("/sign-in", data="&".join(["a=b"] * 50), content_type=FORM), 400)
    problem(client.post("/sign-in", data="key=" + "x" * 9_000, content_type=FORM), 413)
    for data in (b"\xff\xfe", b"key=%ff", b"", b"key", b"=&=", b"key=a&key=b"):
        assert client.post("/sign-in", data=data, content_type=FORM).status_code == 401


def test_how_the_page_may_behave(make_client: ClientMaker, key: str) -> None:
    """It loads only what this host serves, runs nothing else, is kept by nobody, and is shown in no frame."""
    client = make_client()
    page = client.get("/sign-in")
    assert page.headers["Referrer-Policy"] == "same-origin"  # else browsers hide even from us where the form is from
    policy = page.headers["Content-Security-Policy"]
    for part in ("default-src 'self'", "script-src 'self'", "form-action 'self'", "frame-ancestors 'none'"):
        assert part in policy
    assert "unsafe" not in policy
    assert page.headers["Cache-Control"] == "private, no-store"
    assert "style=" not in page.text
    assert "<script" not in page.text
    (style,) = re.findall(r'<link rel="stylesheet" href="([^"]*)">', page.text)
    with client.get(style) as found:
        assert (found.status_code, found.mimetype) == (200, "text/css")


def test_who_is_signed_in(make_client: ClientMaker, sessions: Sessions, key: str) -> None:
    """The page says it, and lets one sign out, go on, or sign in as somebody else."""
    client = make_client()
    assert "You are signed in" not in client.get("/sign-in").text
    client.post("/sign-in", data={"key": key}, headers=OWN_PAGE)
    page = client.get("/sign-in?next=/docs").text
    assert "You are signed in as Ada" in page
    assert '<a class="button main" href="/docs">Go on</a>' in page
    assert problem(client.post("/desk/sign-out", headers={"Sec-Fetch-Site": "cross-site"}), 403)
    answer = client.post("/desk/sign-out", headers=OWN_PAGE)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in")
    assert "You are signed in" not in client.get("/sign-in").text
    assert client.get("/docs", headers=BROWSER).status_code == 303
    client.post("/sign-in", data={"key": key}, headers=OWN_PAGE)
    revoke_key(sessions, key)
    look(client.application)
    assert "You are signed in" not in client.get("/sign-in").text


def test_signing_out_of_nothing(make_client: ClientMaker, key: str) -> None:
    """Somebody whose session has ended gets the page to sign in, not an error."""
    answer = make_client().post("/desk/sign-out", headers=OWN_PAGE)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in")
