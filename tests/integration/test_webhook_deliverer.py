"""What delivers to webhooks, in threads of the test: the outbox, leases, attempts, giving up, disabling, removing."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from ipaddress import ip_network
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker
from standardwebhooks import Webhook
from structlog.testing import capture_logs

import metrics
from database import deliveries, delivery_lists, webhook_states
from database.deliveries import Claim, Ended
from database.records import AlertKey
from database.webhook_figures import WebhookFigures, read_webhook_figures
from tests.integration.test_engine import post, rows
from tests.integration.test_outbox import ALL_EVENTS, RULES, work
from tests.postgres import transaction
from tests.waiting import PATIENCE, wait_until
from tests.webhook_receiver import Received, Receiver
from work import webhook_claims, webhook_deliverer, webhook_line, webhook_messages, webhook_relay, webhook_schedule
from work.webhook_addresses import AddressPolicy
from work.webhook_deliverer import Deliverer
from work.webhook_messages import ToldAlert
from work.webhook_secrets import WebhookSecrets
from work.webhooks import Webhooks

Sessions = sessionmaker[Session]

SECRETS = WebhookSecrets("k" * 32)
POLICY = AddressPolicy(allow=(ip_network("127.0.0.0/8"),))


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """A receiver with many paths; each test has one of its own."""
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages are sent again soon, and nothing rests for long."""
    monkeypatch.setattr(webhook_schedule, "SCHEDULE", (0.0, 0.05, 0.05))
    monkeypatch.setattr(webhook_schedule, "LONGEST_REST", 0.05)
    monkeypatch.setattr(webhook_deliverer, "LONGEST_POLL", 0.05)
    monkeypatch.setattr(webhook_deliverer, "POLL_WITHOUT", 0.05)


class Delivering:
    """A deliverer in a thread."""

    def __init__(self, url: str, secrets: WebhookSecrets) -> None:
        self._stop = threading.Event()
        deliverer = Deliverer(url, policy=POLICY, secrets=secrets, time_is_epoch=False, timeout=PATIENCE)
        self._thread = threading.Thread(target=deliverer.run, args=(self._stop,))
        self._thread.start()

    def stop(self) -> None:
        """End it in order."""
        self._stop.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


Start = Callable[..., Delivering]


@pytest.fixture
def start(database_url: str) -> Iterator[Start]:
    """Starts what delivers from the test's database."""
    with ExitStack() as stack:

        def start(secrets: WebhookSecrets = SECRETS) -> Delivering:
            delivering = Delivering(database_url, secrets)
            stack.callback(delivering.stop)
            return delivering

        yield start


def subscribe(sessions: Sessions, url: str, **values: Any) -> tuple[int, str]:
    """Store a webhook that wants everything. Returns its id and its secret."""
    secret, encrypted = SECRETS.new()
    columns = {"url": url, "events": ALL_EVENTS, "secret": encrypted, "created_by": "test"} | values
    names = ", ".join(columns)
    with transaction(sessions) as session:
        made = session.execute(
            text(f"INSERT INTO webhooks ({names}) VALUES (:{names.replace(', ', ', :')}) RETURNING webhook_id"), columns
        )
        return made.scalar_one(), secret


def execute(sessions: Sessions, statement: str, **values: Any) -> None:
    """Change something in the database."""
    with transaction(sessions) as session:
        session.execute(text(statement), values)


def one(sessions: Sessions, query: str) -> Any:
    """The single value that a query finds."""
    [(value,)] = rows(sessions, query)
    return value


def data(received: Received) -> Any:
    """What a message says."""
    return json.loads(received.body)["data"]


def sent(sessions: Sessions, status: str = "delivered") -> int:
    """How many deliveries have this status."""
    return int(one(sessions, f"SELECT count(*) FROM deliveries WHERE status = '{status}'"))


def test_a_message(sessions: Sessions, receiver: Receiver, start: Start) -> None:
    """Each alert, and each change of one, is a message, signed, that names the one before it about the same user."""
    _, secret = subscribe(sessions, f"{receiver.url}/message")
    post(sessions, 1, "w 101 @1, w 1 @2", rules=RULES)
    work(sessions, AlertKey(user_id=1, seq=1, code=1100), status="acknowledged")
    post(sessions, 2, "w 101 @1", rules=RULES)
    start()
    wait_until(lambda: len(receiver.at("/message")) == 3)
    for got in receiver.at("/message"):
        Webhook(secret).verify(got.body, got.headers)
        assert got.headers["content-type"] == "application/json"
        assert "101" not in got.body
    mine = [got for got in receiver.at("/message") if data(got)["user_id"] == 1]
    assert [json.loads(got.body)["type"] for got in mine] == ["alert.created", "alert.changed"]
    assert [data(got)["previous_id"] for got in mine] == [None, mine[0].headers["webhook-id"]]
    assert (data(mine[1])["status"], data(mine[1])["who"], data(mine[1])["alert_id"]) == (
        "acknowledged",
        "ada",
        "1-1-1100",
    )
    wait_until(lambda: sent(sessions) == 3)
    attempts = rows(sessions, "SELECT n, status, error, seconds >= 0 FROM delivery_attempts")
    assert attempts == [(1, 204, None, True)] * 3
    [state] = rows(sessions, "SELECT delivered_count, failed_count, failing_since, last_error FROM webhook_states")
    assert state == (3, 0, None, None)
    assert one(sessions, "SELECT count(*) FROM outbox") == 0


def test_each_endpoint_gets_what_it_wants(sessions: Sessions, receiver: Receiver, start: Start) -> None:
    """By event, code and rating, with amounts or without; an outbox row that nobody wants any more goes."""
    subscribe(sessions, f"{receiver.url}/thirty", codes=[30], amounts=True)
    subscribe(sessions, f"{receiver.url}/high", risk=["high"])
    subscribe(sessions, f"{receiver.url}/changed", events=["alert.changed"])
    gone, _ = subscribe(sessions, f"{receiver.url}/gone")
    post(sessions, 1, "w 101 @1, w 1 @2, w 1 @3", rules=RULES)
    execute(sessions, "UPDATE webhooks SET enabled = false WHERE webhook_id = :id", id=gone)
    start()
    wait_until(lambda: one(sessions, "SELECT count(*) FROM outbox") == 0 and sent(sessions) == 1)
    [got] = receiver.at("/thirty")
    assert (data(got)["code"], data(got)["amount"]) == (30, "1.00")
    assert not any(receiver.at(path) for path in ("/high", "/changed", "/gone"))


def test_order_across_batches(
    sessions: Sessions, receiver: Receiver, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few events a batch of the relay takes, and however the users' ids lie, those of a user keep their order
    and nobody is left out."""
    monkeypatch.setattr(webhook_relay, "BATCH", 3)
    subscribe(sessions, f"{receiver.url}/order")
    for user_id in (1, 2, 3, 5):
        post(sessions, user_id, "w 101 @1, w 101 @2, w 101 @3, w 101 @4, w 101 @5", rules=RULES)
    start()
    wait_until(lambda: len(receiver.at("/order")) == 4 * 8)
    for user_id in (1, 2, 3, 5):
        mine = [data(got)["alert_id"] for got in receiver.at("/order") if data(got)["user_id"] == user_id]
        codes = [(1, 1100), (2, 1100), (3, 30), (3, 1100), (4, 30), (4, 1100), (5, 30), (5, 1100)]
        assert mine == [f"{user_id}-{seq}-{code}" for seq, code in codes]


def test_one_user_is_held_back_and_no_other(
    sessions: Sessions, receiver: Receiver, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message that fails holds back the later ones about its user, however often it fails; other users go on."""
    monkeypatch.setattr(webhook_schedule, "SCHEDULE", (0.0,) * 1000)
    monkeypatch.setattr(webhook_schedule, "FIRST_REST", 3600.0)
    monkeypatch.setattr(webhook_schedule, "LONGEST_REST", 3600.0)
    subscribe(sessions, f"{receiver.url}/refuse/1")
    post(sessions, 1, "w 101 @1, w 101 @2", rules=RULES)
    start()
    wait_until(lambda: one(sessions, "SELECT max(failures) FROM webhook_states") == webhook_schedule.FAILURES)
    for user_id in range(2, 12):
        post(sessions, user_id, "w 101 @1, w 101 @2", rules=RULES)
    wait_until(lambda: sent(sessions) == 20)
    assert {data(got)["seq"] for got in receiver.at("/refuse/1") if data(got)["user_id"] == 1} == {1}
    receiver.is_mended.set()
    wait_until(lambda: sent(sessions) == 22)


def test_a_message_is_given_up(sessions: Sessions, receiver: Receiver, start: Start) -> None:
    """After the last attempt, each of which is on record; then the next one about its user has its turn."""
    subscribe(sessions, f"{receiver.url}/status/500")
    with capture_logs() as logged:
        post(sessions, 1, "w 101 @1, w 101 @2", rules=RULES)
        start()
        wait_until(lambda: sent(sessions, "given_up") == 2)
    assert [data(got)["seq"] for got in receiver.at("/status/500")] == [1, 1, 1, 2, 2, 2]
    assert len({got.headers["webhook-id"] for got in receiver.at("/status/500")}) == 2
    attempts = rows(sessions, "SELECT n, status FROM delivery_attempts ORDER BY delivery_id, n")
    assert attempts == [(1, 500), (2, 500), (3, 500)] * 2
    assert [line["event"] for line in logged].count("webhook_message_given_up") == 2
    state = rows(sessions, "SELECT delivered_count, failed_count, abandoned_count, last_error FROM webhook_states")
    assert state == [(0, 6, 2, "status 500")]


def test_an_endpoint_that_hangs_holds_up_no_other(sessions: Sessions, receiver: Receiver, start: Start) -> None:
    """Not even with many messages; and it has but a few connections."""
    subscribe(sessions, f"{receiver.url}/hang")
    subscribe(sessions, f"{receiver.url}/brisk")
    for user_id in range(1, 21):
        post(sessions, user_id, "w 101 @1", rules=RULES)
    start()
    wait_until(lambda: len(receiver.at("/brisk")) == 20)
    assert len(receiver.at("/hang")) <= webhook_line.CONNECTIONS


def test_410_disables(sessions: Sessions, receiver: Receiver, start: Start) -> None:
    """At once, with a line in both logs; what waits is kept for when it is enabled again."""
    webhook_id, _ = subscribe(sessions, f"{receiver.url}/status/410")
    post(sessions, 1, "w 101 @1, w 101 @2", rules=RULES)
    with capture_logs() as logged:
        start()
        wait_until(lambda: rows(sessions, "SELECT 1 FROM log_entries"))
    reason = "the receiver answered 410 Gone"
    assert rows(sessions, "SELECT enabled, disabled_reason FROM webhooks") == [(False, reason)]
    line = rows(sessions, "SELECT who, kind, subject, what, after FROM log_entries")
    assert line == [("service", "webhook", str(webhook_id), "disabled", {"reason": reason})]
    assert [line["webhook"] for line in logged if line["event"] == "webhook_disabled"] == [webhook_id]
    assert (sent(sessions, "waiting"), len(receiver.at("/status/410"))) == (2, 1)
    execute(sessions, "UPDATE webhooks SET enabled = true, url = :url", url=f"{receiver.url}/again")
    wait_until(lambda: sent(sessions) == 2)


def test_five_days_of_failures_disable(sessions: Sessions, receiver: Receiver, start: Start) -> None:
    """Nothing but failures for so long: the next one is the last. One success begins a new count."""
    webhook_id, _ = subscribe(sessions, f"{receiver.url}/status/404")
    execute(
        sessions,
        "INSERT INTO webhook_states (webhook_id, failing_since) VALUES (:id, now() - interval '5 days')",
        id=webhook_id,
    )
    post(sessions, 1, "w 101 @1", rules=RULES)
    start()
    wait_until(lambda: not one(sessions, "SELECT enabled FROM webhooks"))
    assert one(sessions, "SELECT disabled_reason FROM webhooks") == "nothing but failures for 5 days"
    execute(sessions, "UPDATE webhooks SET enabled = true, disabled_reason = NULL, url = :u", u=f"{receiver.url}/fine")
    wait_until(lambda: sent(sessions) == 1)
    assert one(sessions, "SELECT failing_since FROM webhook_states") is None


def test_a_receiver_asks_for_a_pause(sessions: Sessions, receiver: Receiver, start: Start) -> None:
    """Nothing more is sent to it until then; but to another one at once, if somebody sets another URL."""
    webhook_id, _ = subscribe(sessions, f"{receiver.url}/retry-after/429/600")
    post(sessions, 1, "w 101 @1", rules=RULES)
    start()
    left = "SELECT extract(epoch FROM {} - now()) > 500 FROM {}"
    wait_until(lambda: rows(sessions, left.format("rests_until", "webhook_states")) == [(True,)])
    assert one(sessions, left.format("next_at", "deliveries"))
    post(sessions, 2, "w 101 @1", rules=RULES)
    wait_until(lambda: sent(sessions, "waiting") == 2)

    def run(work: Callable[[Session], Any]) -> Any:
        with sessions() as session:
            return work(session)

    other = {"url": f"{receiver.url}/no-pause"}
    Webhooks(SECRETS, POLICY).change(run, webhook_id, other, who="ada", must_match=lambda _: None)
    wait_until(lambda: sent(sessions) == 1)
    assert [data(got)["user_id"] for got in receiver.at("/no-pause")] == [2]
    assert len(receiver.at("/retry-after/429/600")) == 1


def test_an_endpoint_that_is_down_is_asked_now_and_then(
    sessions: Sessions, receiver: Receiver, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some failures in a row one message at a time is sent, however many are due."""
    monkeypatch.setattr(webhook_schedule, "FIRST_REST", 3600.0)
    monkeypatch.setattr(webhook_schedule, "LONGEST_REST", 3600.0)
    monkeypatch.setattr(webhook_schedule, "SCHEDULE", (0.0,) * 1000)
    subscribe(sessions, f"{receiver.url}/status/503")
    subscribe(sessions, f"{receiver.url}/up")
    for user_id in range(1, 51):
        post(sessions, user_id, "w 101 @1", rules=RULES)
    start()
    wait_until(lambda: sent(sessions) == 50)
    wait_until(lambda: one(sessions, "SELECT max(failures) FROM webhook_states") >= webhook_schedule.FAILURES)
    most = webhook_schedule.FAILURES + webhook_line.CONNECTIONS
    assert len(receiver.at("/status/503")) <= most


def test_nothing_is_sent_while_it_is_held(sessions: Sessions, receiver: Receiver, start: Start) -> None:
    """Neither are deliveries made; the log says so, and when that is over."""
    subscribe(sessions, f"{receiver.url}/held")
    execute(sessions, "INSERT INTO webhook_relay (relay_id, held) VALUES (1, 'restored')")
    post(sessions, 1, "w 101 @1", rules=RULES)
    with capture_logs() as logged:
        start()
        wait_until(lambda: [line for line in logged if line["event"] == "webhooks_held"])
        assert (one(sessions, "SELECT count(*) FROM outbox"), sent(sessions, "waiting")) == (1, 0)
        execute(sessions, "UPDATE webhook_relay SET held = NULL")
        wait_until(lambda: sent(sessions) == 1)
    assert [line["cause"] for line in logged if line["event"] == "webhooks_held"] == ["restored"]
    assert "webhooks_held_no_more" in [line["event"] for line in logged]


def test_a_deleted_endpoint_is_removed(
    sessions: Sessions, receiver: Receiver, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its deliveries, their attempts and its state; others keep theirs."""
    kept, _ = subscribe(sessions, f"{receiver.url}/kept")
    removed, _ = subscribe(sessions, f"{receiver.url}/removed")
    post(sessions, 1, "w 101 @1, w 101 @2", rules=RULES)
    start()
    wait_until(lambda: sent(sessions) == 4)
    execute(sessions, "UPDATE webhooks SET deleted_at = now(), enabled = false WHERE webhook_id = :id", id=removed)
    wait_until(lambda: rows(sessions, "SELECT webhook_id FROM webhooks") == [(kept,)])
    for table in ("webhook_states", "deliveries"):
        assert rows(sessions, f"SELECT DISTINCT webhook_id FROM {table}") == [(kept,)]
    assert one(sessions, "SELECT count(*) FROM delivery_attempts") == 2


def test_old_deliveries_are_removed(sessions: Sessions, receiver: Receiver, start: Start) -> None:
    """30 days after they were finished; what waits stays, however old."""
    webhook_id, _ = subscribe(sessions, f"{receiver.url}/old", enabled=False)
    for status, days in (("delivered", 31), ("given_up", 31), ("delivered", 29), ("waiting", 365)):
        waits = "now()" if status == "waiting" else "NULL"
        finished = "NULL" if status == "waiting" else f"now() - interval '{days} days'"
        execute(
            sessions,
            f"""
            WITH new AS (
                INSERT INTO deliveries (webhook_id, message_id, event, body, status, next_at, created_at, finished_at)
                VALUES (:id, 'msg', 'webhook.test', '{{}}', '{status}', {waits}, now() - interval '{days} days',
                    {finished})
                RETURNING delivery_id
            )
            INSERT INTO delivery_attempts (delivery_id, n) SELECT delivery_id, 1 FROM new
            """,
            id=webhook_id,
        )
    start()
    wait_until(lambda: one(sessions, "SELECT count(*) FROM delivery_attempts") == 2)
    assert rows(sessions, "SELECT status FROM deliveries ORDER BY status") == [("delivered",), ("waiting",)]


def test_tests_do_not_wait_for_one_another(sessions: Sessions, receiver: Receiver, start: Start) -> None:
    """Nor for messages about alerts."""
    webhook_id, _ = subscribe(sessions, f"{receiver.url}/tests")
    with transaction(sessions) as session:
        for number in range(webhook_claims.MOST_TESTS + 5):
            session.execute(
                text("""
                    INSERT INTO deliveries (webhook_id, message_id, event, body, next_at)
                    VALUES (:id, :message, 'webhook.test', '{}', now() + CAST(:pause AS interval))
                """),
                {"id": webhook_id, "message": f"msg_{number}", "pause": "0" if number else "1 hour"},
            )
    start()
    wait_until(lambda: sent(sessions) == webhook_claims.MOST_TESTS + 4)
    assert "msg_0" not in [got.headers["webhook-id"] for got in receiver.at("/tests")]


def test_both_secrets_sign_for_a_while(sessions: Sessions, receiver: Receiver, start: Start) -> None:
    """After a rotation, until the overlap is over."""
    old, encrypted = SECRETS.new()
    _, new = subscribe(sessions, f"{receiver.url}/rotated", previous_secret=encrypted)
    set_until = "UPDATE webhooks SET previous_secret_until = now() + CAST(:until AS interval)"
    execute(sessions, set_until, until="1 hour")
    start()
    post(sessions, 1, "w 101 @1", rules=RULES)
    wait_until(lambda: sent(sessions) == 1)
    execute(sessions, set_until, until="-1 hour")
    post(sessions, 1, "w 101 @2", rules=RULES)
    wait_until(lambda: sent(sessions) == 2)
    first, second = receiver.at("/rotated")
    for secret in (old, new):
        Webhook(secret).verify(first.body, first.headers)
    Webhook(new).verify(second.body, second.headers)
    assert [len(got.headers["webhook-signature"].split()) for got in (first, second)] == [2, 1]


def test_a_secret_that_cannot_be_read(sessions: Sessions, receiver: Receiver, start: Start) -> None:
    """Nothing is sent unsigned; the attempts say why."""
    subscribe(sessions, f"{receiver.url}/unsigned")
    post(sessions, 1, "w 101 @1", rules=RULES)
    start(WebhookSecrets("another" * 10))
    wait_until(lambda: sent(sessions, "given_up") == 1)
    assert "SECRET_KEY" in one(sessions, "SELECT last_error FROM webhook_states")
    assert receiver.at("/unsigned") == []


def test_a_secret_before_that_cannot_be_read(sessions: Sessions, receiver: Receiver, start: Start) -> None:
    """A new secret replaces one that is lost with its SECRET_KEY, and signs alone at once."""
    _, lost = WebhookSecrets("another" * 10).new()
    _, secret = subscribe(sessions, f"{receiver.url}/replaced", previous_secret=lost)
    execute(sessions, "UPDATE webhooks SET previous_secret_until = now() + interval '1 hour'")
    start()
    post(sessions, 1, "w 101 @1", rules=RULES)
    wait_until(lambda: sent(sessions) == 1)
    [got] = receiver.at("/replaced")
    assert Webhook(secret).verify(got.body, got.headers)


def test_an_answer_that_is_none_holds_nobody_up(sessions: Sessions, receiver: Receiver, start: Start) -> None:
    """Bytes that no text in the database may have are not stored."""
    subscribe(sessions, f"{receiver.url}/garbage")
    subscribe(sessions, f"{receiver.url}/beside-garbage")
    start()
    post(sessions, 1, "w 101 @1", rules=RULES)
    wait_until(lambda: sent(sessions, "given_up") == 1)
    assert sent(sessions) == 1
    assert one(sessions, "SELECT max(last_error) FROM webhook_states") == "no answer: ?garbage"


def test_a_message_that_cannot_be_made_is_left_out(
    sessions: Sessions, receiver: Receiver, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as by a defect: the log has it, and all others are sent, those about the same user too."""
    make = webhook_messages.alert_message

    def fail_once(event: str, at: datetime, alert: ToldAlert, **options: Any) -> str:
        if (alert.user_id, alert.seq) == (1, 1):
            raise KeyError("measured")
        return make(event, at, alert, **options)

    monkeypatch.setattr(webhook_relay, "alert_message", fail_once)
    webhook_id, _ = subscribe(sessions, f"{receiver.url}/left-out")
    post(sessions, 1, "w 101 @1, w 101 @2", rules=RULES)
    post(sessions, 2, "w 101 @1", rules=RULES)
    with capture_logs() as logged:
        start()
        wait_until(lambda: sent(sessions) == 2)
    got = receiver.at("/left-out")
    assert sorted((data(one)["alert_id"], data(one)["previous_id"]) for one in got) == [
        ("1-2-1100", None),
        ("2-1-1100", None),
    ]
    [line] = [line for line in logged if line["event"] == "webhook_message_dropped"]
    assert (line["webhook"], line["alert"], line["happened"]) == (webhook_id, "1-1-1100", "alert.created")
    assert one(sessions, "SELECT count(*) FROM outbox") == 0


def test_an_attempt_that_ends_late_finishes_no_other(sessions: Sessions) -> None:
    """Asked to be sent again meanwhile, a message waits, and the attempt that another process began for that counts."""
    webhook_id, _ = subscribe(sessions, "http://127.0.0.1:9/")
    execute(sessions, "INSERT INTO webhook_states (webhook_id) VALUES (:id)", id=webhook_id)
    execute(
        sessions,
        "INSERT INTO deliveries (webhook_id, message_id, event, body, next_at) VALUES (:id, 'm', 't', '{}', now())",
        id=webhook_id,
    )
    delivery = one(sessions, "SELECT delivery_id FROM deliveries")
    found = []
    for name in ("first", "second"):
        with transaction(sessions) as session:
            delivery_lists.resend_one(session, webhook_id, delivery)
            session.execute(text("UPDATE webhook_states SET leased_until = NULL"))
            webhook_states.lease(session.connection(), [webhook_id], name, 60.0)
            found += deliveries.claim(session.connection(), name, [Claim(delivery, 0, 60.0)])
    assert [(claimed.n, claimed.attempts) for claimed in found] == [(1, 1), (2, 1)]
    for claimed, status, becomes in zip(found, (200, 500), ("delivered", "given_up"), strict=True):
        end = Ended(delivery, claimed.n, claimed.attempts, 1.0, status, None, becomes, None)
        with transaction(sessions) as session:
            deliveries.end_attempts(session.connection(), [end])
        expected = "waiting" if claimed.n == 1 else "given_up"
        assert one(sessions, "SELECT status FROM deliveries") == expected
    assert rows(sessions, "SELECT n, status FROM delivery_attempts ORDER BY n") == [(1, 200), (2, 500)]


def test_one_process_sends_to_an_endpoint(
    sessions: Sessions, receiver: Receiver, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With several of them, each message arrives once; when one ends another takes over; a lease that lapsed too."""
    subscribe(sessions, f"{receiver.url}/leased")
    others = [start() for _ in range(3)]
    post(sessions, 1, "w 101 @1, w 101 @2, w 101 @3", rules=RULES)
    wait_until(lambda: sent(sessions) == 4)
    for number, other in enumerate(others[:2]):
        other.stop()
        post(sessions, 10 + number, "w 101 @1", rules=RULES)
        wait_until(lambda: sent(sessions) == 5 + number)  # noqa: B023
    others[2].stop()
    assert one(sessions, "SELECT leased_by FROM webhook_states") is None
    execute(sessions, "UPDATE webhook_states SET leased_by = 'somebody', leased_until = now() + interval '1 hour'")
    post(sessions, 20, "w 101 @1", rules=RULES)
    start()
    wait_until(lambda: sent(sessions, "waiting") == 1)
    execute(sessions, "UPDATE webhook_states SET leased_until = now()")
    wait_until(lambda: sent(sessions) == 7)
    ids = [got.headers["webhook-id"] for got in receiver.at("/leased")]
    assert len(ids) == len(set(ids)) == 7


def test_an_attempt_is_on_record_before_it_is_made(sessions: Sessions, receiver: Receiver, start: Start) -> None:
    """While the receiver makes up its mind, and when the process is stopped meanwhile: it is sent again later."""
    subscribe(sessions, f"{receiver.url}/hang")
    before = len(receiver.at("/hang"))
    post(sessions, 1, "w 101 @1", rules=RULES)
    delivering = start()
    wait_until(lambda: len(receiver.at("/hang")) > before)
    assert rows(sessions, "SELECT n, seconds, status, error FROM delivery_attempts") == [(1, None, None, None)]
    assert rows(sessions, "SELECT status, attempts FROM deliveries") == [("waiting", 1)]
    began = time.monotonic()
    delivering.stop()
    assert time.monotonic() - began < webhook_deliverer.STOP_SECONDS + 60
    assert rows(sessions, "SELECT status, attempts FROM deliveries") == [("waiting", 1)]
    execute(sessions, "UPDATE webhooks SET url = :url", url=f"{receiver.url}/after")
    start()
    wait_until(lambda: sent(sessions) == 1)


def test_figures(sessions: Sessions, receiver: Receiver, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the metrics say: what waits, events in the outbox too, but not for webhooks that are off; what was sent."""
    monkeypatch.setattr(metrics, "_of_webhooks", None)

    def read() -> WebhookFigures:
        with sessions() as session:
            return read_webhook_figures(session.connection())

    assert read() == WebhookFigures(waiting=0, oldest=0.0, held=False, disabled=0, counts={})
    webhook_id, _ = subscribe(sessions, f"{receiver.url}/refuse/7")
    off, _ = subscribe(sessions, f"{receiver.url}/off", enabled=False, disabled_reason="410")
    receiver.is_mended.clear()
    post(sessions, 7, "w 101 @1, w 101 @2", rules=RULES)
    post(sessions, 8, "w 101 @1", rules=RULES)
    assert (read().waiting, read().oldest > 0) == (3, True)
    delivering = start()
    wait_until(lambda: sent(sessions, "given_up") == 2 and sent(sessions) == 1)
    delivering.stop()
    execute(
        sessions,
        "INSERT INTO deliveries (webhook_id, message_id, event, body, next_at) "
        "VALUES (:id, 'm', 'webhook.test', '{}', now())",
        id=off,
    )
    execute(sessions, "UPDATE webhook_relay SET held = 'restored'")
    assert read() == WebhookFigures(waiting=0, oldest=0.0, held=True, disabled=1, counts={webhook_id: (1, 6, 2)})
    metrics.webhooks_known(read())
    text = metrics.exposition()[0].decode()
    for line in (
        f'webhook_deliveries_total{{outcome="given_up",webhook="{webhook_id}"}} 2.0',
        "webhook_held 1.0",
        "webhook_disabled 1.0",
        "webhook_waiting 0.0",
    ):
        assert f"transaction_alerts_{line}" in text
