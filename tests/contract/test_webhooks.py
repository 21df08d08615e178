"""Webhooks over HTTP: made, listed, changed, deleted, given another secret, tested, and sent to again."""

import json
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.event import listen
from standardwebhooks import Webhook

from commands import start_webhooks
from database import delivery_lists
from rules.service import Service as Judging
from tests.conftest import SECRET_KEY, ClientMaker
from tests.contract.helpers import Sessions, pointers, problem, valid
from tests.keys import add_key, bearer, look
from tests.postgres import transaction
from tests.unit.test_webhook_messages import ALERT
from work import webhooks as work
from work.webhook_messages import CHANGED, EVENTS, alert_message, message_of_test, sign
from work.webhook_secrets import WebhookSecrets

URL = "https://example.com/alerts?token=hush"
NEW = {"url": URL, "events": ["alert.created"]}


def made(client: FlaskClient, **fields: Any) -> dict[str, Any]:
    """A new webhook."""
    answer = client.post("/webhooks", json=NEW | fields)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.get_json()
    assert answer.headers["Location"] == f"/webhooks/{found['id']}"
    return found


def stored(sessions: Sessions, column: str, webhook_id: int) -> Any:
    """A column of a webhook as it is stored."""
    with sessions() as session:
        found = session.execute(text(f"SELECT {column} FROM webhooks WHERE webhook_id = {webhook_id}")).scalar_one()
        return bytes(found) if isinstance(found, memoryview) else found


def log(client: FlaskClient) -> list[tuple[str, Any, Any]]:
    """What was done to webhooks, from what to what, oldest first."""
    lines = client.get("/log?kind=webhook").get_json()["log"]
    return [(line["what"], line["from"], line["to"]) for line in reversed(lines)]


def add_deliveries(sessions: Sessions, webhook_id: int, *, status: str, number: int, days: float = 0) -> list[int]:
    """Deliveries made so many days ago, a millisecond apart; those that are finished have had one attempt."""
    begin = datetime.now(UTC) - timedelta(days=days)
    with transaction(sessions) as session:
        ids = session.execute(
            text("""
                INSERT INTO deliveries (webhook_id, message_id, event, user_id, seq, code, body, created_at, status,
                    attempts, next_at, finished_at)
                SELECT :id, 'msg_' || n, 'alert.created', 7, n, 1100, '{}', :begin + n * interval '1 millisecond',
                    :status, 1, CASE WHEN :status = 'waiting' THEN now() + interval '1 hour' END,
                    CASE WHEN :status <> 'waiting' THEN now() END
                FROM generate_series(1, :number) AS n RETURNING delivery_id
            """),
            {"id": webhook_id, "begin": begin, "status": status, "number": number},
        ).scalars()
        found = list(ids)
        session.execute(
            text("INSERT INTO delivery_attempts (delivery_id, n, seconds, status) SELECT unnest(:ids), 1, 0.5, 500"),
            {"ids": found},
        )
    return found


def test_make_read_and_list(client: FlaskClient, sessions: Sessions) -> None:
    """It is shown as it was made, with its secret this once alone; what is stored does not contain it."""
    answer = made(client, codes=[1100, 30], risk=["high", "low"], amounts=True)
    secret = answer.pop("secret")
    assert answer == {
        "id": answer["id"],
        "url": URL,
        "events": ["alert.created"],
        "codes": [30, 1100],
        "risk": ["low", "high"],
        "amounts": True,
        "enabled": True,
        "disabled_reason": None,
        "created_at": answer["created_at"],
        "created_by": "anonymous",
        "previous_secret_until": None,
        "waiting": {"number": 0, "more": False, "oldest_at": None},
        "failing_since": None,
        "last_success_at": None,
        "last_failure_at": None,
        "last_error": None,
    }
    assert client.get(f"/webhooks/{answer['id']}").get_json() == answer
    other = made(client)
    other.pop("secret")
    assert (other["codes"], other["risk"], other["amounts"]) == (None, None, False)
    assert client.get("/webhooks").get_json() == {"webhooks": [answer, other], "held": None}
    assert WebhookSecrets(SECRET_KEY).read(stored(sessions, "secret", answer["id"])) == secret
    assert secret not in client.get("/log").text


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"url": "http://127.0.0.1/x"}, "/url"),
        ({"url": "https://user:pass@example.com/"}, "/url"),
        ({"url": f"https://example.com/{'x' * 3000}"}, "/url"),
        ({"url": None}, "/url"),
        ({"events": []}, "/events"),
        ({"events": ["alert.made"]}, "/events/0"),
        ({"events": ["alert.created", "alert.created"]}, "/events"),
        ({"codes": []}, "/codes"),
        ({"codes": [2]}, "/codes/0"),
        ({"codes": [1100, 1100]}, "/codes"),
        ({"risk": ["huge"]}, "/risk/0"),
        ({"risk": []}, "/risk"),
        ({"amounts": None}, "/amounts"),
        ({"amounts": "true"}, "/amounts"),
        ({"secret": "whsec_x"}, "/secret"),
    ],
)
def test_bad_fields_are_named(client: FlaskClient, fields: dict[str, Any], pointer: str) -> None:
    """When it is made and when it is changed; nothing is stored."""
    assert pointers(client.post("/webhooks", json=NEW | fields)) == [pointer]
    assert client.get("/webhooks").get_json()["webhooks"] == []
    webhook = made(client)
    assert pointers(client.patch(f"/webhooks/{webhook['id']}", json=fields)) == [pointer]
    assert client.get(f"/webhooks/{webhook['id']}").get_json()["url"] == URL


def test_what_is_needed(client: FlaskClient) -> None:
    """A webhook says where to and of what it is told; a change names something that can be changed."""
    assert pointers(client.post("/webhooks", json={})) == ["/events", "/url"]
    webhook = made(client)
    assert pointers(client.patch(f"/webhooks/{webhook['id']}", json={})) == [""]
    read = client.get(f"/webhooks/{webhook['id']}").get_json()
    assert pointers(client.patch(f"/webhooks/{webhook['id']}", json=read)) == sorted(
        f"/{name}" for name in set(read) - {"url", "events", "codes", "risk", "amounts", "enabled"}
    )


def test_allowed_addresses(make_client: ClientMaker) -> None:
    """What settings allow can be entered."""
    client = make_client(webhook_allow="127.0.0.1/32")
    made(client, url="http://127.0.0.1:9/x")
    assert pointers(client.post("/webhooks", json=NEW | {"url": "http://127.0.0.2/x"})) == ["/url"]


def test_change(client: FlaskClient, sessions: Sessions) -> None:
    """What is left out stays; null means all; enabling it again takes the reason and the past of failures away."""
    webhook = made(client, codes=[1100])
    path = f"/webhooks/{webhook['id']}"
    before = client.get(path)
    changed = client.patch(path, json={"codes": None, "amounts": True}, headers={"If-Match": before.headers["ETag"]})
    assert changed.get_json() == before.get_json() | {"codes": None, "amounts": True}
    overtaken = client.patch(path, json={"amounts": False}, headers={"If-Match": before.headers["ETag"]})
    assert problem(overtaken, 412)["type"] == "urn:problem:changed"
    tag = client.get(path).headers["ETag"]
    assert tag == changed.headers["ETag"]
    assert client.get(path, headers={"If-None-Match": tag}).status_code == 304
    # The same again is no change, so it is not in the log.
    assert client.patch(path, json={"amounts": True}).headers["ETag"] == tag
    with transaction(sessions) as session:
        session.execute(text("UPDATE webhooks SET enabled = false, disabled_reason = 'gone'"))
        session.execute(text("UPDATE webhook_states SET failing_since = now()"))
    shown = client.get(path).get_json()
    assert (shown["enabled"], shown["disabled_reason"]) == (False, "gone")
    assert shown["failing_since"] is not None
    enabled = client.patch(path, json={"enabled": True}).get_json()
    assert (enabled["enabled"], enabled["disabled_reason"], enabled["failing_since"]) == (True, None, None)
    assert [what for what, *_ in log(client)] == ["made", "changed", "changed"]


def test_delete(client: FlaskClient) -> None:
    """It is gone at once, wherever it was; and makes room for another."""
    webhook = made(client)
    path = f"/webhooks/{webhook['id']}"
    answer = client.delete(path)
    assert (answer.status_code, answer.data) == (204, b"")
    assert client.get("/webhooks").get_json()["webhooks"] == []
    for call in (
        client.get(path),
        client.delete(path),
        client.patch(path, json={"enabled": True}),
        client.get(f"{path}/deliveries"),
        client.post(f"{path}/test"),
        client.post(f"{path}/rotate", json={}),
        client.post(f"{path}/resend", json={"delivery": 1}),
        client.post(f"{path}/resend", json={"since": "2026-01-31T12:00:00Z"}),
    ):
        assert problem(call, 404)["type"] == "urn:problem:unknown-webhook"
    assert log(client)[-1][0] == "deleted"


def test_no_more_than_there_may_be(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were deleted do not count."""
    monkeypatch.setattr(work, "MOST", 2)
    webhook = made(client)
    made(client)
    assert problem(client.post("/webhooks", json=NEW), 409)["type"] == "urn:problem:too-many-webhooks"
    client.delete(f"/webhooks/{webhook['id']}")
    made(client)


def test_rotate(client: FlaskClient, sessions: Sessions) -> None:
    """The secret before signs as well until the overlap has passed; with none it is gone at once."""
    webhook = made(client)
    path, secrets = f"/webhooks/{webhook['id']}", WebhookSecrets(SECRET_KEY)
    answer = client.post(f"{path}/rotate", json={"overlap_hours": 2}).get_json()
    now, body = datetime.now(UTC), "{}"
    both = [secrets.read(stored(sessions, column, webhook["id"])) for column in ("secret", "previous_secret")]
    assert both == [answer["secret"], webhook["secret"]]
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": sign(both, "msg_1", now, body),
    }
    for secret in (answer["secret"], webhook["secret"]):
        Webhook(secret).verify(body, headers)
    until = datetime.fromisoformat(answer["previous_secret_until"])
    assert timedelta(hours=1.9) < until - now < timedelta(hours=2.1)
    assert pointers(client.post(f"{path}/rotate", json={"overlap_hours": 721})) == ["/overlap_hours"]
    last = client.post(f"{path}/rotate", json={"overlap_hours": 0}).get_json()
    assert last["previous_secret_until"] is None
    assert stored(sessions, "previous_secret", webhook["id"]) is None
    assert log(client)[1:] == [("rotated", None, {"overlap_seconds": 7200}), ("rotated", None, {"overlap_seconds": 0})]


def test_without_a_secret_key(make_client: ClientMaker) -> None:
    """No secret can be stored that a later start could read: the answer says which setting is missing."""
    webhook = made(make_client())
    client = make_client(secret_key=None)
    for answer in (client.post("/webhooks", json=NEW), client.post(f"/webhooks/{webhook['id']}/rotate", json={})):
        found = problem(answer, 409)
        assert found["type"] == "urn:problem:no-secret-key"
        assert "SECRET_KEY" in found["detail"]


def test_a_test(client: FlaskClient) -> None:
    """A message is queued that says so; a webhook that is disabled gets none."""
    webhook = made(client)
    path = f"/webhooks/{webhook['id']}"
    answer = client.post(f"{path}/test")
    assert answer.status_code == 202
    (delivery,) = client.get(f"{path}/deliveries").get_json()["deliveries"]
    assert delivery == {
        "id": answer.get_json()["delivery"],
        "message_id": delivery["message_id"],
        "event": "webhook.test",
        "alert_id": None,
        "created_at": delivery["created_at"],
        "status": "waiting",
        "attempts_made": 0,
        "next_at": delivery["next_at"],
        "finished_at": None,
        "attempts": [],
    }
    waiting = client.get(path).get_json()["waiting"]
    assert waiting == {"number": 1, "more": False, "oldest_at": delivery["created_at"]}
    client.patch(path, json={"enabled": False})
    assert problem(client.post(f"{path}/test"), 409)["type"] == "urn:problem:webhook-disabled"


def test_deliveries(client: FlaskClient, sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Newest first, page by page, with their attempts; a page of one status may break off before it is full."""
    path = f"/webhooks/{made(client)['id']}/deliveries"
    other = made(client)["id"]
    webhook_id = int(path.split("/")[2])
    failed = add_deliveries(sessions, webhook_id, status="given_up", number=3)
    add_deliveries(sessions, other, status="given_up", number=3)
    done = add_deliveries(sessions, webhook_id, status="delivered", number=6)
    whole = client.get(path).get_json()
    assert [one["id"] for one in whole["deliveries"]] == [*reversed(done), *reversed(failed)]
    assert whole["next"] is None
    (attempt,) = whole["deliveries"][0]["attempts"]
    assert attempt == {"n": 1, "at": attempt["at"], "seconds": 0.5, "status": 500, "error": None}
    assert whole["deliveries"][0]["alert_id"] == "7-6-1100"
    with transaction(sessions) as session:
        session.execute(
            text("INSERT INTO delivery_attempts (delivery_id, n) SELECT :id, generate_series(2, 4)"), {"id": done[0]}
        )
    monkeypatch.setattr(delivery_lists, "ATTEMPTS", 2)
    whole = client.get(path).get_json()
    shown = {one["id"]: [attempt["n"] for attempt in one["attempts"]] for one in whole["deliveries"]}
    assert shown == {key: [1] for key in [*done, *failed]} | {done[0]: [4, 3]}
    first = client.get(f"{path}?limit=4").get_json()
    rest = client.get(f"{path}?limit=5&cursor={first['next']}").get_json()
    assert first["deliveries"] + rest["deliveries"] == whole["deliveries"]
    monkeypatch.setattr(delivery_lists, "LOOKED_AT", 4)
    found, cursor, pages = [], "", 0
    while cursor is not None:
        page = client.get(f"{path}?status=given_up&limit=2" + (f"&cursor={cursor}" if cursor else "")).get_json()
        found += [one["id"] for one in page["deliveries"]]
        cursor, pages = page["next"], pages + 1
    assert found == [*reversed(failed)]
    assert pages == 3
    assert pointers(client.get(f"{path}?status=sent")) == ["/status"]


def test_how_many_wait(client: FlaskClient, sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to a number, each webhook's own."""
    monkeypatch.setattr(delivery_lists, "COUNTED", 3)
    few, many = made(client)["id"], made(client)["id"]
    add_deliveries(sessions, few, status="waiting", number=3)
    add_deliveries(sessions, few, status="delivered", number=2)
    add_deliveries(sessions, many, status="waiting", number=9)
    found = [one["waiting"] for one in client.get("/webhooks").get_json()["webhooks"]]
    assert [(one["number"], one["more"]) for one in found] == [(3, False), (3, True)]


def test_counting_those_that_wait_reads_no_others(client: FlaskClient, sessions: Sessions) -> None:
    """However long the log is: they have an index of their own, which is read in its order."""
    webhook_id = made(client)["id"]
    add_deliveries(sessions, webhook_id, status="delivered", number=5_000)
    with sessions() as session:
        session.execute(text("ANALYZE deliveries"))
        connection = session.connection()
        asked: list[Any] = []
        listen(connection, "before_cursor_execute", lambda *given: asked.append(given[2:4]))
        assert delivery_lists.waiting_of(session, [webhook_id])[webhook_id].number == 0
        [(statement, values)] = asked
        plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN (COSTS OFF) {statement}", values).scalars())
    assert "Index Scan using ix_deliveries_waiting on deliveries" in plan
    assert "Sort Key" not in plan.partition("->  Limit")[2]


def test_resend_one(client: FlaskClient, sessions: Sessions) -> None:
    """It waits as if it never had been sent, and its attempts stay on record; another webhook's is none of its own."""
    webhook, other = made(client), made(client)
    path = f"/webhooks/{webhook['id']}"
    (delivery,) = add_deliveries(sessions, webhook["id"], status="given_up", number=1)
    answer = client.post(f"{path}/resend", json={"delivery": delivery})
    assert answer.get_json() == {"resent": 1, "next": None}
    (shown,) = client.get(f"{path}/deliveries").get_json()["deliveries"]
    assert (shown["status"], shown["attempts_made"], shown["finished_at"]) == ("waiting", 0, None)
    assert len(shown["attempts"]) == 1
    assert log(client)[-1] == ("resent", None, {"delivery": delivery})
    foreign = client.post(f"/webhooks/{other['id']}/resend", json={"delivery": delivery})
    assert problem(foreign, 404)["type"] == "urn:problem:unknown-delivery"


def test_resend_since(client: FlaskClient, sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """All since a moment, the oldest first, in stretches, so many a call; what is older stays as it is."""
    monkeypatch.setattr(delivery_lists, "STRETCH", 2)
    monkeypatch.setattr(work.resend_since, "__kwdefaults__", {"most": 4})
    webhook, other = made(client), made(client)
    path = f"/webhooks/{webhook['id']}"
    old = add_deliveries(sessions, webhook["id"], status="delivered", number=3, days=2)
    add_deliveries(sessions, other["id"], status="delivered", number=3, days=1)
    new = add_deliveries(sessions, webhook["id"], status="delivered", number=5, days=1)
    since = {"since": (datetime.now(UTC) - timedelta(days=1.5)).isoformat()}

    def resend(**more: Any) -> Any:
        return client.post(f"{path}/resend", json=since | more).get_json()

    def waiting() -> list[int]:
        found = client.get(f"{path}/deliveries?status=waiting").get_json()["deliveries"]
        return sorted(one["id"] for one in found)

    first = resend()
    assert first["resent"] == 4
    assert waiting() == new[:4]
    assert resend(**{"from": first["next"]}) == {"resent": 1, "next": None}
    assert waiting() == new
    assert old[-1] < min(waiting())
    later = client.post(f"{path}/resend", json={"since": "2100-01-01T00:00:00Z"})
    assert later.get_json() == {"resent": 0, "next": None}
    assert [one for what, _, one in log(client) if what == "resent" and one["deliveries"]][-1]["deliveries"] == 1
    assert client.post(f"/webhooks/{made(client)['id']}/resend", json=since).get_json()["resent"] == 0


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"since": "2026-01-31T12:00:00Z", "delivery": 1},
        {"from": 1},
        {"delivery": 1, "from": 1},
        {"since": None, "delivery": 1},
    ],
)
def test_either_one_or_all_since(client: FlaskClient, body: dict[str, Any]) -> None:
    """Exactly one of the two."""
    assert pointers(client.post("/webhooks/1/resend", json=body)) == [""]


def test_the_log_does_not_show_what_lets_others_post(client: FlaskClient) -> None:
    """Whoever may read sees the host alone, and that the address has changed."""
    webhook = made(client)
    client.patch(f"/webhooks/{webhook['id']}", json={"url": URL.replace("hush", "hush2")})
    ((_, _, first), (_, before, after)) = log(client)
    assert first == before
    assert before["url"].startswith("https://example.com (")
    assert before["url"] != after["url"]
    assert "hush" not in client.get("/log").text


def test_who_may(make_client: ClientMaker, sessions: Sessions) -> None:
    """Only a key with the scope admin; it is on record who made it."""
    app = make_client().application
    keys = {scope: bearer(add_key(sessions, scope, [scope])) for scope in ("read", "work", "tune", "ingest", "admin")}
    look(app)
    client = app.test_client()
    assert client.post("/webhooks", json=NEW, headers=keys["admin"]).get_json()["created_by"] == "admin"
    for scope in ("read", "work", "tune", "ingest"):
        for answer in (
            client.get("/webhooks", headers=keys[scope]),
            client.post("/webhooks", json=NEW, headers=keys[scope]),
        ):
            assert problem(answer, 403)["type"] == "urn:problem:scope"


def test_messages_are_as_described(client: FlaskClient) -> None:
    """The document describes each message that is sent, with amounts and without."""
    document = client.get("/openapi.json").get_json()
    described = {
        name: one["post"]["requestBody"]["content"]["application/json"] for name, one in document["webhooks"].items()
    }
    assert tuple(described) == EVENTS
    now, change = datetime.now(UTC), {"status": "open", "outcome": None, "assignee": None, "snoozed_until": None}
    bodies = [message_of_test(now, 1)]
    for event, amounts in product(EVENTS[:4], (True, False)):
        changed = {**change, "fields": ["note"], "who": "Ada"} if event == CHANGED else None
        bodies.append(
            alert_message(event, now, ALERT, change=changed, previous_id="msg_1", amounts=amounts, time_is_epoch=False)
        )
    for body in map(json.loads, bodies):
        media = described[body["type"]]
        for value in (body, media["example"]):
            assert valid(document, media["schema"], value), value
        assert not valid(document, media["schema"], body | {"data": {}})


def test_another_secret_key(make_client: ClientMaker, sessions: Sessions, capfd: pytest.CaptureFixture[str]) -> None:
    """A start stores secrets anew with the key in force; it says which ones it cannot read, and leaves them."""
    client = make_client()
    kept, lost = made(client), made(client)
    client.post(f"/webhooks/{kept['id']}/rotate", json={})
    version = stored(sessions, "version", kept["id"])
    with transaction(sessions) as session:
        session.execute(text("UPDATE webhooks SET secret = 'x' WHERE webhook_id = :id"), {"id": lost["id"]})
    start_webhooks.enter(Judging.of(client.application.extensions), "n" * 32, [SECRET_KEY])
    assert f"webhook {lost['id']} was stored with another SECRET_KEY" in capfd.readouterr().err
    assert WebhookSecrets("n" * 32).read(stored(sessions, "previous_secret", kept["id"])) == kept["secret"]
    assert stored(sessions, "version", kept["id"]) == version
    assert stored(sessions, "secret", lost["id"]) == b"x"
