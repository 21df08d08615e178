"""Behind PgBouncer in transaction mode: server connections change hands with every transaction, and are killed."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import count
from random import Random
from typing import Any

import psycopg2
import pytest
import requests
from alembic import command as alembic_command
from alembic.util import CommandError
from sqlalchemy import NullPool, make_url, text

from database import indexes, migrations, presence
from database.connecting import connect
from database.fitness import BEHIND_POOLER, check
from database.pooler import is_shared
from database.session import make_engine
from rules.hindsight.all_users import over_all_users
from rules.hindsight.verify_report import VerifyReport
from rules.hindsight.verify_work import VerifyWork
from rules.model import ACTION_TYPES
from tests.conftest import ClientMaker
from tests.integration.oracle import Oracle, Posted
from tests.pgbouncer import PgBouncer, pgbouncer
from tests.service import PATIENT_ENVIRONMENT, Service, with_constants
from tests.waiting import PATIENCE, wait_until

CLIENTS, USERS = 8, 4  # users of each client
KILLS, APART = 8, 0.5  # and seconds between two
KILL_OTHERS = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
LOCKS = """
    SELECT mode FROM pg_locks WHERE locktype = 'advisory'
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@pytest.fixture(scope="module")
def bouncer(shared_database_url: str) -> Iterator[PgBouncer]:
    with pgbouncer(shared_database_url, query_wait_timeout=str(PATIENCE), server_round_robin="1") as running:
        yield running


@pytest.fixture(scope="module")
def service(bouncer: PgBouncer) -> Iterator[Service]:
    command = with_constants("database.presence._CHECK = 0.2")
    with Service(PATIENT_ENVIRONMENT | {"DATABASE_URL": bouncer.url, "WORKERS": "2"}, command) as running:
        yield running


class Client(threading.Thread):
    """Posts events of its own users, each until it is answered, and reads in between."""

    def __init__(self, url: str, number: int, ended: threading.Event) -> None:
        super().__init__()
        self.url, self.number, self.ended = url, number, ended
        self.statuses: Counter[int] = Counter()
        self.answered: list[tuple[Posted, list[int]]] = []
        self.failure = ""

    def run(self) -> None:
        chance, times = Random(self.number), dict.fromkeys(range(USERS), 0)
        with requests.Session() as connection:
            for step in count():
                if self.ended.is_set() or self.failure:
                    return
                user = chance.randrange(USERS)
                times[user] += chance.choice([0, 1, 10, 31])
                amount = chance.choice([1_00, 99_99, 100_01, 200_01])
                event = Posted(
                    1 + self.number * USERS + user, chance.choice(ACTION_TYPES), amount, times[user], f"event {step}"
                )
                self.post(connection, event)
                self.read(connection, chance, event.user)

    def post(self, connection: requests.Session, event: Posted) -> None:
        body: dict[str, Any] = {
            "type": event.type,
            "amount": f"{event.cents / 100:.2f}",
            "user_id": event.user,
            "time": event.time,
            "event_id": event.key,
        }
        while True:
            answer = connection.post(f"{self.url}/event", json=body, timeout=PATIENCE)
            if self.note(answer) == 200:
                self.answered.append((event, answer.json()["alert_codes"]))
            if answer.status_code != 503:
                return

    def read(self, connection: requests.Session, chance: Random, user: int) -> None:
        paths = ("/alerts", f"/users/{user}", f"/users/{user}/actions", "/rules", "/log", "/backtests", "/desk/")
        self.note(connection.get(f"{self.url}{chance.choice(paths)}", timeout=PATIENCE))
        tried: dict[str, Any] = {"type": "deposit", "amount": "1.00", "user_id": user, "time": 2**40}
        self.note(connection.post(f"{self.url}/event?dry_run=true", json=tried, timeout=PATIENCE))

    def note(self, answer: requests.Response) -> int:
        self.statuses[answer.status_code] += 1
        if answer.status_code not in (200, 503) or (answer.status_code == 503 and "Retry-After" not in answer.headers):
            self.failure = f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text}"
        return answer.status_code


def rows(url: str, query: str) -> list[Any]:
    """What a query finds over a connection of its own, without any setting of the service's."""
    with closing(psycopg2.connect(url.replace("+psycopg2", ""))) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


def disturb(bouncer: PgBouncer, kill: int) -> None:
    """What operators do to a PgBouncer, something else before each kill."""
    name = make_url(bouncer.url).database
    if kill == 1:
        bouncer.do("RECONNECT")
    elif kill == 3:
        bouncer.do(f'KILL "{name}"')  # this ends its clients' connections, and lets nobody on
        bouncer.do(f'RESUME "{name}"')
    elif kill == 5:
        bouncer.stop()
        bouncer.start()


def test_server_connections_are_killed(service: Service, bouncer: PgBouncer, shared_database_url: str) -> None:
    """While all are killed again and again, nobody gets a 500, and nothing is lost or stored twice."""
    ended = threading.Event()
    clients = [Client(service.url, number, ended) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    killed = 0
    for kill in range(KILLS):
        time.sleep(APART)
        disturb(bouncer, kill)
        ((number,),) = rows(shared_database_url, KILL_OTHERS)
        killed += number
    ended.set()
    for client in clients:
        client.join(PATIENCE)
    assert [client.failure for client in clients if client.failure] == []
    assert killed > KILLS

    answered = [one for client in clients for one in client.answered]
    assert len(answered) > CLIENTS
    oracle = Oracle(frozenset({1100, 30, 300, 123}))
    assert [codes for _, codes in answered] == [oracle.post(event) for event, _ in answered]
    stored = rows(shared_database_url, "SELECT user_id, event_id FROM user_actions ORDER BY user_id, seq")
    assert stored == [(e.user, e.key) for e in sorted((e for e, _ in answered), key=lambda e: e.user)]


def test_all_of_history_is_read(service: Service, bouncer: PgBouncer) -> None:
    """A backtest and a verification share one state of the database between their processes, as ever."""
    started = requests.post(f"{service.url}/backtests", json={}, timeout=PATIENCE)
    place = f"{service.url}{started.headers['Location']}"
    wait_until(lambda: requests.get(place, timeout=PATIENCE).json()["status"] != "running")
    assert requests.get(place, timeout=PATIENCE).json()["status"] == "done"
    report = over_all_users(bouncer.url, VerifyWork(), VerifyReport(), 1, lambda _done, _total: None)
    assert (report.actions > 0, report.found) == (True, 0)


def test_a_start_says_what_is_missing(service: Service, shared_database_url: str) -> None:
    """One line at the start says that a pooler keeps the service's settings; without a pooler there is none."""
    assert service.output().count(BEHIND_POOLER) == 1
    assert check(shared_database_url) == ""


def test_it_is_seen_who_serves(service: Service, bouncer: PgBouncer, shared_database_url: str) -> None:
    """A service shows as long as it lives, and its end frees the server connection that showed it."""
    for url in (bouncer.url, shared_database_url):
        wait_until(lambda: presence.is_anybody_serving(url))  # noqa: B023
    service.stop()
    wait_until(lambda: not presence.is_anybody_serving(bouncer.url))
    wait_until(lambda: not rows(shared_database_url, LOCKS))


def test_the_settings_leave_nothing_behind(bouncer: PgBouncer) -> None:
    """They hold in each transaction, and nobody else who gets the server connection has them."""
    engine = make_engine(bouncer.url, timeout=PATIENCE, connections=1)
    with engine.connect() as connection:
        assert is_shared(connection)
        assert connection.scalar(text("SHOW statement_timeout")) == f"{PATIENCE // 60}min"
    engine.dispose()
    for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
        assert rows(bouncer.url, f"SHOW {name}") == [("0",)]


def test_no_server_connection_is_free(make_client: ClientMaker, database_url: str, notices: list[str]) -> None:
    """Who waits for one in vain gets a 503, and nothing is stored; then it goes on."""
    body = {"type": "deposit", "amount": "1.00", "user_id": 1, "time": 1}
    with pgbouncer(database_url, default_pool_size="1", query_wait_timeout="0.2") as bouncer:
        client = make_client(database_url=bouncer.url)
        assert client.post("/event", json=body).status_code == 200
        with closing(psycopg2.connect(bouncer.url.replace("+psycopg2", ""))) as other, other.cursor() as cursor:
            cursor.execute("SELECT 1")
            for answer in (client.post("/event", json=body), client.get("/alerts")):
                assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
        answer = client.post("/event", json=body | {"event_id": "again"})
        assert answer.status_code == 200
        assert len(client.get("/users/1/actions").get_json()["actions"]) == 2


def use_several(url: str) -> None:
    """Have PgBouncer open several server connections, so that one transaction after the other gets another one."""
    with ExitStack() as stack:
        address = url.replace("+psycopg2", "")
        connections = [stack.enter_context(closing(psycopg2.connect(address))) for _ in range(3)]
        for connection in connections:
            stack.enter_context(connection.cursor()).execute("SELECT 1")
        for connection in connections:
            connection.commit()


def remake_an_index(url: str) -> None:
    """What `upgrade` does with an index that is missing: it has to be done outside transactions."""
    engine = connect(url, poolclass=NullPool, isolation_level="AUTOCOMMIT", one_by_one=True)
    with engine.connect() as connection:
        connection.execute(text("DROP INDEX ix_alerts_touched"))
        (missing,) = indexes.unusable(connection)
        indexes.mend(connection, missing)
        assert indexes.unusable(connection) == []


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_it_migrates_and_serves(
    mode: str, empty_database_url: str, make_client: ClientMaker, notices: list[str]
) -> None:
    """In both modes: one runner at a time, and no lock or setting is left."""
    with pgbouncer(empty_database_url, pool_mode=mode, server_round_robin="1") as bouncer:
        use_several(bouncer.url)
        configuration = migrations.config(bouncer.url)
        configuration.attributes["turn_timeout"] = 0.1
        with closing(psycopg2.connect(empty_database_url.replace("+psycopg2", ""))) as other, other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(7310042)")
            with pytest.raises(CommandError, match="another process has been migrating"):
                alembic_command.upgrade(configuration, "head")
        assert migrations.upgrade(bouncer.url).revision == migrations.head()
        assert migrations.upgrade(bouncer.url).applied == 0
        assert rows(empty_database_url, LOCKS) == []
        assert rows(bouncer.url, "SHOW statement_timeout") == [("0",)]
        remake_an_index(bouncer.url)
        # Of DROP INDEX IF EXISTS: that they are not wanted is said on another server connection.
        assert [one for one in notices if not one.endswith("does not exist, skipping")] == []
        notices.clear()

        client = make_client(database_url=bouncer.url)
        body = {"type": "deposit", "amount": "201.00", "user_id": 1, "time": 1}
        assert client.post("/event", json=body).get_json()["alert_codes"] == [123]
        assert client.post("/event?dry_run=true", json=body).get_json()["alert_codes"] == [123]
        late = client.post("/event", json=body | {"amount": "1.00", "time": 0})
        assert late.get_json()["alert_codes"] == []
        assert client.put("/rules/123", json={"parameters": {"window": 31}}).status_code == 200
        assert [one["code"] for one in client.get("/alerts").get_json()["alerts"]] == [123]
        assert client.post("/alerts/1-1-123/verify").get_json()["same"]


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        ({"ignore_startup_parameters": ""}, "ignore_startup_parameters = options"),
        ({"pool_mode": "statement"}, "pool_mode = transaction, or session"),
    ],
    ids=["options", "statement mode"],
)
def test_what_cannot_work_is_said(settings: dict[str, str], advice: str, database_url: str) -> None:
    """A start that PgBouncer does not allow says what to set there."""
    with pgbouncer(database_url, **settings) as bouncer, pytest.raises(migrations.MigrationError, match=advice):
        migrations.upgrade(bouncer.url)


def test_a_schema_is_not_missed(empty_database_url: str) -> None:
    """What runs outside transactions would miss the URL's search_path, so there is no migration with it."""
    behind = pgbouncer(empty_database_url)
    with behind as bouncer, pytest.raises(migrations.MigrationError, match="search_path"):
        migrations.upgrade(f"{bouncer.url}?options=-csearch_path%3Dpublic")
