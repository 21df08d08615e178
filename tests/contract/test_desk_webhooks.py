"""The pages of webhooks: what they show, what their forms do, and who sees them."""

import re
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from database import delivery_lists
from routes.desk import webhook_page
from tests.conftest import ClientMaker
from tests.contract.helpers import Sessions
from tests.contract.test_desk_frame import PART
from tests.contract.test_webhooks import URL, add_deliveries, log, made
from tests.keys import add_key, bearer
from tests.postgres import transaction
from work import webhooks as work

LIST = "/desk/webhooks"
EVIL = "<script>alert(1)</script>"
FORM: dict[str, Any] = {"newest": "0", "url": URL, "events": ["alert.created"]}
SECRET = re.compile(r'<input readonly value="(whsec_[^"]+)"')


def shown_secret(page: str) -> str:
    """The secret that a page shows."""
    (found,) = SECRET.findall(page)
    return str(found).replace("&#43;", "+")


def stored(client: FlaskClient) -> list[dict[str, Any]]:
    """All webhooks."""
    found: list[dict[str, Any]] = client.get("/webhooks").get_json()["webhooks"]
    return found


def change_state(sessions: Sessions, what: str) -> None:
    """Have a webhook's state be another one."""
    with transaction(sessions) as session:
        session.execute(text(what))


@pytest.mark.parametrize("headers", [{}, PART])
def test_making_one(client: FlaskClient, headers: dict[str, str]) -> None:
    """Its page is the answer, with the secret; that is on no other page, and nobody keeps the answer."""
    assert "There are no webhooks yet" in client.get(LIST).text
    fields = FORM | {"codes": ["1100", "30"], "risk": ["high"], "amounts": "true"}
    answer = client.post(LIST, data=fields, headers=headers)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "private, no-store")
    assert answer.headers["HX-Push-Url"] == "/desk/webhooks/1"
    assert ("<html" in answer.text) == (not headers)
    (webhook,) = stored(client)
    told = [webhook[name] for name in ("url", "events", "codes", "risk", "amounts")]
    assert told == [URL, ["alert.created"], [30, 1100], ["high"], True]
    secret = shown_secret(answer.text)
    for path in (LIST, "/desk/webhooks/1", "/desk/log"):
        assert secret not in client.get(path).text
    assert "hush" not in client.get(LIST).text  # the list has the host alone
    # The same form sent again, as a page that is loaded again sends it.
    again = client.post(LIST, data=fields, headers=headers)
    assert (again.status_code, "has made" in again.text, SECRET.findall(again.text)) == (409, True, [])
    assert len(stored(client)) == 1
    assert client.post(LIST, data=fields | {"newest": "1"}, headers=headers).status_code == 200


FAULTS: tuple[tuple[dict[str, Any], list[str]], ...] = (
    ({"url": ""}, ["url"]),
    ({"url": "http://127.0.0.1/x"}, ["url"]),
    ({"url": "", "events": []}, ["url", "events"]),
    ({"url": f"https://example.com/{'x' * 3000}"}, ["url"]),
    ({"url": "https://example.com/\x00"}, ["url"]),
    ({"events": ["alert.sold"]}, ["events"]),
    ({"codes": ["9" * 4300]}, ["codes"]),
    ({"codes": ["x"], "risk": ["none"]}, ["risk", "codes"]),
    ({"codes": ["30", "30"]}, ["codes"]),
)


@pytest.mark.parametrize("path", [LIST, "/desk/webhooks/1/settings"])
def test_what_cannot_be(client: FlaskClient, path: str) -> None:
    """The fault stands beside its field, with what was entered, and nothing is changed."""
    made(client)
    before = stored(client)
    for fields, faulty in FAULTS:
        answer = client.post(path, data=FORM | {"newest": "1", "version": "1", "risk": ["low"]} | fields)
        assert answer.status_code == 400, fields
        assert re.findall(r'class="fault" id="(\w+)-fault"', answer.text) == faulty
        assert ('value="low" checked' in answer.text) == ("risk" not in fields)
    assert stored(client) == before


def test_no_more_than_there_may_be(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list then has no form; one that was open is refused."""
    monkeypatch.setattr(work, "MOST", 1)
    made(client)
    assert 'id="new"' not in client.get(LIST).text
    assert client.post(LIST, data=FORM | {"newest": "1"}).status_code == 409
    assert len(stored(client)) == 1


def test_without_a_secret_key(make_client: ClientMaker) -> None:
    """Making one and rotating say which setting is missing."""
    made(make_client())
    client = make_client(secret_key=None)
    for path, fields in (
        (LIST, FORM | {"newest": "1"}),
        ("/desk/webhooks/1/rotate", {"overlap_hours": "1", "version": "1"}),
    ):
        answer = client.post(path, data=fields)
        assert (answer.status_code, "SECRET_KEY" in answer.text) == (409, True)


def test_health(client: FlaskClient, sessions: Sessions) -> None:
    """It is said in words, on the list and on the page, with why, and what waits."""
    made(client)

    def health() -> tuple[str, str]:
        lines = client.get(LIST).text, client.get("/desk/webhooks/1").text
        (first, second) = (re.findall(r'class="status health-(\w+)', page) for page in lines)
        assert first == second
        return first[0], re.sub(r"<[^>]+>", "", lines[0])

    assert health()[0] == "new"
    change_state(sessions, "UPDATE webhook_states SET last_success_at = now()")
    assert health()[0] == "delivers"
    change_state(sessions, f"UPDATE webhook_states SET failing_since = now(), last_error = 'timed out {EVIL}'")
    state, said = health()
    assert (state, "timed out &lt;script&gt;" in said) == ("failing", True)
    change_state(sessions, "INSERT INTO webhook_relay (relay_id, held) VALUES (1, 'It was restored.')")
    state, said = health()
    assert (state, "It was restored." in said, "restored --resume" in said) == ("held", True, True)
    change_state(sessions, f"UPDATE webhooks SET enabled = false, disabled_reason = 'answered 410 {EVIL}'")
    state, said = health()
    assert (state, "answered 410 &lt;script&gt;" in said) == ("disabled", True)
    add_deliveries(sessions, 1, status="waiting", number=3)
    assert "Waiting 3oldest" in health()[1]
    assert "Waiting 3+" not in health()[1]


def test_a_count_that_may_be_larger(client: FlaskClient, sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a number there are just more."""
    monkeypatch.setattr(delivery_lists, "COUNTED", 2)
    made(client)
    add_deliveries(sessions, 1, status="waiting", number=3)
    assert "<strong>2+</strong>" in client.get(LIST).text
    assert "2+ deliveries wait and are never sent" in client.get("/desk/webhooks/1").text


def test_changing(client: FlaskClient) -> None:
    """Nothing ticked is all; a form for an older version is refused, and keeps what was entered."""
    made(client, codes=[30], risk=["high"], events=["alert.created", "webhook.test"])
    path = "/desk/webhooks/1/settings"
    page = client.get("/desk/webhooks/1").text
    assert re.findall(r'name="(?:codes|risk|events)" value="([^"]+)" checked', page) == ["alert.created", "high", "30"]
    answer = client.post(path, data={"version": "1", "url": URL, "events": ["alert.changed"], "amounts": "true"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/desk/webhooks/1?said=saved")
    (webhook,) = stored(client)
    assert webhook["events"] == ["alert.changed", "webhook.test"]  # what the form does not show stays
    assert (webhook["codes"], webhook["risk"], webhook["amounts"]) == (None, None, True)
    assert "Saved." in client.get(answer.headers["Location"]).text
    late = client.post(path, data={"version": "1", "url": f"{URL}&late", "events": ["alert.created"]}, headers=PART)
    assert (late.status_code, "&amp;late" in late.text, 'name="version" value="2"' in late.text) == (412, True, True)
    assert stored(client) == [webhook]


def test_disabling_and_enabling(client: FlaskClient) -> None:
    """Only one that is enabled can be tested."""
    made(client)
    for what, enabled in (("disable", False), ("enable", True)):
        answer = client.post(f"/desk/webhooks/1/{what}")
        assert (answer.status_code, answer.headers["Location"]) == (303, f"/desk/webhooks/1?said={what}d")
        assert stored(client)[0]["enabled"] == enabled
        page = client.get(answer.headers["Location"]).text
        assert ("/1/test" in page, "/1/enable" in page) == (enabled, not enabled)
    assert client.post("/desk/webhooks/1/test").status_code == 303
    assert "<code>webhook.test</code>" in client.get("/desk/webhooks/1").text
    client.post("/desk/webhooks/1/disable")
    refused = client.post("/desk/webhooks/1/test")
    assert (refused.status_code, "enable it first" in refused.text) == (409, True)


@pytest.mark.parametrize("headers", [{}, PART])
def test_rotating(client: FlaskClient, headers: dict[str, str]) -> None:
    """The new secret is shown once; a page that is loaded again rotates nothing."""
    before = made(client)["secret"]
    fields = {"version": "1", "overlap_hours": "2"}
    answer = client.post("/desk/webhooks/1/rotate", data=fields, headers=headers)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "private, no-store")
    assert answer.headers["HX-Push-Url"] == "/desk/webhooks/1"
    secret = shown_secret(answer.text)
    assert secret != before
    page = client.get("/desk/webhooks/1").text
    assert (secret in page, "The one before signs as well until" in page) == (False, True)
    assert client.post("/desk/webhooks/1/rotate", data=fields, headers=headers).status_code == 412
    assert [what for what, *_ in log(client)] == ["made", "rotated"]
    for hours in ("", "721", "-1", "1.5", "9" * 4300):
        bad = client.post("/desk/webhooks/1/rotate", data={"version": "2", "overlap_hours": hours}, headers=headers)
        assert (bad.status_code, 'id="overlap_hours-fault"' in bad.text) == (400, True), hours


def test_deliveries(client: FlaskClient, sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Newest first, page by page, with their attempts and the way to the alert; or those with one status."""
    monkeypatch.setattr(webhook_page, "SIZE", 2)
    made(client)
    failed = add_deliveries(sessions, 1, status="given_up", number=3)
    done = add_deliveries(sessions, 1, status="delivered", number=2)
    change_state(sessions, f"UPDATE delivery_attempts SET status = NULL, error = 'no route {EVIL}'")

    def pages(path: str) -> list[list[int]]:
        found = []
        while path:
            page = client.get(path).text
            assert EVIL not in page
            found.append([int(one) for one in re.findall(r'name="delivery" value="(\d+)"', page)])
            older = re.findall(r'rel="next" href="([^"#]+)', page)
            path = older[0].replace("&amp;", "&") if older else ""
        return found

    assert pages("/desk/webhooks/1") == [done[::-1], failed[:0:-1], failed[:1]]
    assert pages("/desk/webhooks/1?status=given_up") == [failed[:0:-1], failed[:1]]
    assert pages("/desk/webhooks/1?status=waiting") == [[]]
    page = client.get("/desk/webhooks/1").text
    assert ("no route &lt;script&gt;" in page, '<a href="/desk/alerts/7-2-1100">' in page) == (True, True)
    monkeypatch.setattr(delivery_lists, "LOOKED_AT", 2)
    assert "There are older ones" in client.get("/desk/webhooks/1?status=given_up").text
    for bad in ("?status=sent", "?before=0", "?number=-1", "?since=now", f"?before={'9' * 4300}"):
        assert client.get(f"/desk/webhooks/1{bad}").status_code == 400, bad


def test_sending_again(client: FlaskClient, sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """One; or all since a moment, so many at once, and the rest by another click."""
    monkeypatch.setattr(delivery_lists, "STRETCH", 2)
    monkeypatch.setattr(work.resend_since, "__kwdefaults__", {"most": 2})
    made(client)
    ids = add_deliveries(sessions, 1, status="delivered", number=3)
    path = "/desk/webhooks/1/resend"

    def waiting() -> list[int]:
        found = client.get("/webhooks/1/deliveries?status=waiting").get_json()["deliveries"]
        return sorted(one["id"] for one in found)

    one = client.post(path, data={"delivery": str(ids[2])})
    assert "1 delivery waits to be sent again" in client.get(one.headers["Location"]).text
    assert waiting() == ids[2:]
    first = client.get(client.post(path, data={"since": "2020-01-31T12:00"}).headers["Location"]).text
    assert "2 deliveries wait to be sent again" in first
    assert waiting() == ids
    left = dict(re.findall(r'<input type="hidden" name="(since|start)" value="([^"]+)"', first))
    assert left == {"since": "2020-01-31T12:00:00.000000Z", "start": str(ids[2])}
    rest = client.get(client.post(path, data=left).headers["Location"]).text
    assert ("1 delivery waits" in rest, "Go on" in rest) == (True, False)
    none = client.get(client.post(path, data={"since": "2999-01-01T00:00"}).headers["Location"]).text
    assert "There was nothing to send again" in none
    for since in ("", "yesterday", "0001-01-01T00:00+23:00", "9" * 4300):
        bad = client.post(path, data={"since": since})
        assert (bad.status_code, 'id="since-fault"' in bad.text) == (400, True), since
    assert client.post(path, data={"delivery": "x"}).status_code == 400
    assert client.post(path, data={"delivery": str(ids[2] + 1)}).status_code == 404


def test_deleting(client: FlaskClient) -> None:
    """Only once its number was entered; then there is no page of it any more."""
    made(client)
    for confirm in ("", "2", EVIL):
        answer = client.post("/desk/webhooks/1/delete", data={"confirm": confirm})
        assert (answer.status_code, 'id="confirm-fault"' in answer.text) == (400, True)
    answer = client.post("/desk/webhooks/1/delete", data={"confirm": "1"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/desk/webhooks?deleted=1")
    assert "Webhook 1 is deleted" in client.get(answer.headers["Location"]).text
    assert stored(client) == []
    assert client.get("/desk/webhooks/1").status_code == 404
    whole = {**FORM, "version": "1", "overlap_hours": "1", "confirm": "1", "delivery": "1"}
    for what in ("settings", "enable", "disable", "rotate", "test", "resend", "delete"):
        assert client.post(f"/desk/webhooks/1/{what}", data=whole).status_code == 404, what


def test_a_form_that_is_not_whole(client: FlaskClient) -> None:
    """One without what it was made for is refused."""
    made(client)
    for path in (LIST, "/desk/webhooks/1/settings"):
        answer = client.post(path, data={"url": URL, "events": ["alert.created"]})
        assert (answer.status_code, "not whole" in answer.text) == (400, True)


def test_who_sees_them(make_client: ClientMaker, sessions: Sessions) -> None:
    """Only who may; for others neither the rail nor the log leads there, and no form does anything."""
    reader, admin = (bearer(add_key(sessions, name, scopes)) for name, scopes in (
        ("reader", ["read", "work", "tune", "ingest"]), ("admin", ["read", "admin"])
    ))  # fmt: skip
    client = make_client()
    assert client.post(LIST, data=FORM, headers=admin).status_code == 200
    for page in ("/desk/", "/desk/log"):
        assert "/desk/webhooks" in client.get(page, headers=admin).text
        assert "/desk/webhooks" not in client.get(page, headers=reader).text
    assert 'href="/desk/webhooks/1"' in client.get("/desk/log", headers=admin).text
    for path in (LIST, "/desk/webhooks/1"):
        assert client.get(path, headers=reader).status_code == 403
    whole = {**FORM, "version": "1", "overlap_hours": "1", "confirm": "1", "delivery": "1"}
    for what in ("", "/1/settings", "/1/enable", "/1/disable", "/1/rotate", "/1/test", "/1/resend", "/1/delete"):
        assert client.post(f"{LIST}{what}", data=whole, headers=reader).status_code == 403, what
