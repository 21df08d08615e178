"""Figures by day: each stretch is counted once, whoever is killed, and they equal what a plain recount finds."""

import os
import random
import re
import signal
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient
from sqlalchemy import Connection, Engine, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from database import figures
from database.figures_step import Counted
from database.models import Alert, AlertChange, DailyFigure, MinuteFigure, UserAction
from tests.postgres import engine_on
from tests.service import ROOT, Service
from tests.waiting import PATIENCE, wait_until
from work import figures_job
from work.figures_job import count_next, fill_figures, make_figures_engine, run_if_due

Sessions = sessionmaker[Session]
NOW_SETTLED = timedelta(0)
OUTCOMES = ("true_positive", "false_positive", "inconclusive")
# In each of these many days some of it happens.
DAYS = 9


def recounted(sessions: Sessions, as_of: datetime) -> Counter[tuple[date, str, int]]:
    """What there is from before `as_of`, counted in the plainest way."""
    found: Counter[tuple[date, str, int]] = Counter()
    with sessions() as session:
        alerts = {(one.user_id, one.seq, one.code): one for one in session.scalars(select(Alert))}
        alerts = {key: one for key, one in alerts.items() if one.created_at < as_of}
        for action in session.scalars(select(UserAction).where(UserAction.created_at < as_of)):
            found[day_of(action.created_at), action.type, 0] += 1
        changes = session.scalars(select(AlertChange).where(AlertChange.at < as_of).order_by(AlertChange.n))
        lines = defaultdict(list)
        for line in changes:
            lines[line.user_id, line.seq, line.code].append(line)
    for (user_id, seq, code), alert in alerts.items():
        found[day_of(alert.created_at), "shadow" if alert.shadow else "alert", code] += 1
        if alert.shadow:
            continue
        found[day_of(alert.created_at), "superseded", code] += alert.superseded
        mine = lines[user_id, seq, code]
        status = next((one.after for one in reversed(mine) if one.what == "status"), "open")
        found[day_of(alert.created_at), "to_close", code] += status != "closed"
        if mine:
            found[day_of(mine[0].at), "first_touch", code] += 1
        decided = next((one for one in reversed(mine) if one.what == "outcome"), None)
        if decided is not None and decided.after is not None:
            found[day_of(decided.at), decided.after, code] += 1
            found[day_of(decided.at), "closing", code] += 1
    return +found


def counted(sessions: Sessions) -> Counter[tuple[date, str, int]]:
    """The figures."""
    found: Counter[tuple[date, str, int]] = Counter()
    with sessions() as session:
        for one in session.scalars(select(DailyFigure)):
            found[one.day, one.what, one.code] += one.number
    assert min(found.values(), default=0) >= 0
    return +found


def day_of(moment: datetime) -> date:
    return moment.astimezone(UTC).date()


def act(client: FlaskClient, chance: random.Random) -> None:
    """Events of a few users, some of them late, and some work on what they raise."""
    for _ in range(chance.randint(1, 8)):
        event = {
            "type": chance.choice(("deposit", "withdraw", "withdraw")),
            "amount": f"{chance.randint(1, 240)}.00",
            "user_id": chance.randint(1, 5),
            "time": chance.randint(0, 400),
        }
        assert client.post("/event", json=event).status_code == 200
    alerts = client.get("/alerts?limit=100").json
    assert alerts is not None
    for alert in chance.sample(alerts["alerts"], min(3, len(alerts["alerts"]))):
        wanted: Any = chance.choice(
            (
                {"status": "closed", "outcome": chance.choice(OUTCOMES)},
                {"status": "open"},
                {"status": "acknowledged", "note": "Looks odd."},
                {"assignee": "Ada"},
            )
        )
        assert client.patch(f"/alerts/{alert['id']}", json=wanted).status_code == 200


@pytest.fixture
def counting(database_url: str) -> Iterator[Engine]:
    """What counts on the test's database."""
    engine = make_figures_engine(database_url)
    yield engine
    engine.dispose()


def count_all(engine: Engine) -> Counted:
    """Count until nothing is left."""
    while not (found := count_next(engine, NOW_SETTLED)).is_last:
        pass
    return found


@pytest.fixture
def with_shadow(make_client: Callable[..., FlaskClient]) -> FlaskClient:
    """A client of a service with a rule in shadow."""
    client = make_client(rules="1100,30,300,123")
    rule = {"status": "shadow", "parameters": {"count": 2}, "note": "To see."}
    assert client.put("/rules/30", json=rule).status_code == 200
    return client


@pytest.mark.parametrize("seed", range(3))
def test_they_equal_a_recount(
    with_shadow: FlaskClient, database_url: str, sessions: Sessions, counting: Engine, seed: int
) -> None:
    """Counted piece by piece between events, late events and work of all kinds."""
    chance = random.Random(seed)
    for _ in range(8):
        act(with_shadow, chance)
        if chance.random() < 0.7:
            count_next(counting, NOW_SETTLED)
    as_of = fill_figures(database_url)
    assert counted(sessions) == recounted(sessions, as_of)
    with sessions() as session:
        users = figures.users_by_code(session, day_of(as_of) - timedelta(days=1))
        found = select(Alert.code, Alert.user_id).where(~Alert.shadow).distinct()
        assert users == Counter(code for code, _ in session.execute(found))
        assert sum(one.events for one in figures.last_minutes(session, 60)) <= sum(
            number for (_, what, _), number in counted(sessions).items() if what in ("deposit", "withdraw")
        )


@pytest.mark.parametrize("seed", range(2))
def test_history_of_days_is_caught_up_with(
    with_shadow: FlaskClient, database_url: str, sessions: Sessions, counting: Engine, seed: int
) -> None:
    """What is written into the past is counted once the figures begin anew, day by day."""
    chance = random.Random(seed)
    count_all(counting)
    for _ in range(8):
        act(with_shadow, chance)
    with sessions() as session:
        # Each user's history, spread over some days in its order.
        session.execute(text(SPREAD_ACTIONS), {"days": DAYS})
        session.execute(text(SPREAD_ALERTS))
        session.execute(text(SPREAD_CHANGES))
    as_of = fill_figures(database_url, anew=True)
    assert counted(sessions) == recounted(sessions, as_of)
    assert len({day for day, _, _ in counted(sessions)}) > DAYS / 2
    # All of a second time changes nothing.
    as_of = fill_figures(database_url)
    assert counted(sessions) == recounted(sessions, as_of)
    with sessions() as session:
        by_code = figures.rule_figures(session, 2 * DAYS)
        alerts = Counter(session.scalars(select(Alert.code).where(~Alert.shadow)))
        assert {code: sum(one.per_day) for code, one in by_code.items() if sum(one.per_day)} == alerts
        assert sum(figures.left_to_close(session, (2, 10))) == sum(
            number for (_, what, _), number in recounted(sessions, as_of).items() if what == "to_close"
        )


SPREAD_ACTIONS = """
    UPDATE user_actions SET created_at = created_at - make_interval(days => CAST(:days AS integer))
        + make_interval(secs => (seq * 86400 * CAST(:days AS integer) / (SELECT last_seq + 1 FROM users AS u
        WHERE u.user_id = user_actions.user_id))::double precision)
"""
SPREAD_ALERTS = """
    UPDATE alerts SET created_at = a.created_at FROM user_actions AS a
    WHERE a.user_id = alerts.user_id AND a.seq = alerts.seq
"""
SPREAD_CHANGES = """
    UPDATE alert_history SET at = least(a.created_at + n * interval '5 hours', at) FROM alerts AS a
    WHERE a.user_id = alert_history.user_id AND a.seq = alert_history.seq AND a.code = alert_history.code
"""


def test_what_is_not_committed_yet_is_waited_for(
    database_url: str, client: FlaskClient, sessions: Sessions, counting: Engine
) -> None:
    """A transaction that began first and commits last is not passed over, and its event counts once."""
    event = {"type": "deposit", "amount": "5.00", "user_id": 1, "time": 1}
    assert client.post("/event", json=event).status_code == 200
    with engine_on(database_url) as engine, engine.connect() as slow:
        slow = slow.execution_options(isolation_level="READ COMMITTED")
        began = slow.execute(text("SELECT now()")).scalar_one()
        assert client.post("/event", json=event | {"user_id": 2}).status_code == 200
        before = count_all(counting)
        assert before.as_of <= began
        slow.execute(text(COPIED_ACTION))
        assert count_all(counting) == before
        slow.commit()
    after = count_all(counting)
    assert after.as_of > began
    assert counted(sessions) == recounted(sessions, after.as_of) == {(day_of(began), "deposit", 0): 3}


COPIED_ACTION = """
    INSERT INTO user_actions (user_id, seq, type, amount, time, alert_codes, rules_number, settings_version, ordinal,
        running_total)
    SELECT user_id, 99, type, amount, time, alert_codes, rules_number, settings_version, 2, running_total
    FROM user_actions WHERE user_id = 1
"""

PROGRAM = """
import sys
from datetime import timedelta
from work.figures_job import count_next, make_figures_engine
engine = make_figures_engine(sys.argv[1])
while True:
    count_next(engine, timedelta(0))
    print("counted", flush=True)
"""


def test_nothing_counts_twice_or_never_under_kills(
    database_url: str, client: FlaskClient, sessions: Sessions, counting: Engine
) -> None:
    """Several processes count at the same time, and are killed in the middle of it, while events arrive."""
    ended = threading.Event()

    def send() -> None:
        number = 0
        while not ended.is_set():
            number += 1
            event = {"type": "withdraw", "amount": "150.00", "user_id": number % 7 + 1, "time": number}
            assert client.post("/event", json=event).status_code == 200

    sender = threading.Thread(target=send)
    sender.start()
    try:
        for _ in range(2):
            command = [sys.executable, "-c", PROGRAM, database_url]
            processes = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) for _ in range(2)]
            for process in processes:
                assert process.stdout is not None
                for _ in range(5):
                    assert process.stdout.readline() == b"counted\n"
                os.kill(process.pid, signal.SIGKILL)
                process.stdout.close()
                process.wait()
    finally:
        ended.set()
        sender.join()
    wait_until(lambda: count_all(counting).as_of > newest(sessions))
    assert counted(sessions) == recounted(sessions, datetime.max.replace(tzinfo=UTC))


def newest(sessions: Sessions) -> datetime:
    with sessions() as session:
        found: datetime = session.execute(text("SELECT max(created_at) FROM user_actions")).scalar_one()
        return found


def test_one_counts_at_a_time_and_rests(counting: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several who ask whether it is their turn one gets it; the next turn is far later, and known to all."""
    runs = []

    def run(_: object) -> int:
        runs.append(1)
        return PATIENCE

    monkeypatch.setattr(figures_job, "_run", run)
    threads = [threading.Thread(target=run_if_due, args=(counting,)) for _ in range(4)]
    run_if_due(counting)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(runs) == 1
    assert run_if_due(counting) == figures_job.INTERVAL


def test_a_dead_turn_ends(counting: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever was killed in its turn holds up the others only for a while."""
    runs = []

    def killed(_: object) -> int:
        runs.append(1)
        raise KeyboardInterrupt

    monkeypatch.setattr(figures_job, "_run", killed)
    with pytest.raises(KeyboardInterrupt):
        run_if_due(counting)
    assert 0 < run_if_due(counting) <= figures_job.LEASE
    assert len(runs) == 1
    with counting.connect() as connection:
        connection.execute(text("UPDATE figures_progress SET rests_until = now()"))
    monkeypatch.undo()
    monkeypatch.setattr(figures_job, "RUN", PATIENCE)
    known: list[datetime] = []
    assert run_if_due(counting, known.append) > figures_job.INTERVAL / 2
    assert known


def test_a_run_ends_and_goes_on_later(counting: Engine, client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long history is caught up with in short runs, with rests between them."""
    event = {"type": "deposit", "amount": "5.00", "user_id": 1, "time": 1}
    assert client.post("/event", json=event).status_code == 200
    with counting.connect() as connection:
        connection.execute(text("UPDATE user_actions SET created_at = created_at - interval '40 days'"))
    monkeypatch.setattr(figures_job, "RUN", 0.0)
    monkeypatch.setattr(figures_job, "RESTS", 1)
    monkeypatch.setattr(figures_job, "SETTLED", NOW_SETTLED)
    known: list[datetime] = []
    run_if_due(counting, known.append)
    for _ in range(3):
        with counting.connect() as connection:
            connection.execute(text("UPDATE figures_progress SET rests_until = now()"))
        rest = run_if_due(counting, known.append)
    assert rest < figures_job.INTERVAL
    assert known == sorted(known)
    assert len(set(known)) == 4
    assert known[-1] < datetime.now(UTC) - timedelta(days=1)


def test_a_stretch_that_takes_too_long_is_made_shorter(counting: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a statement is ended, nothing of the stretch is stored, and the next one is a part of it."""

    def too_long(connection: Connection, _: timedelta) -> Counted:
        connection.execute(text("SET LOCAL statement_timeout = 1; SELECT pg_sleep(9)"))
        raise AssertionError

    run_if_due(counting)
    with counting.connect() as connection:
        before = connection.execute(text("SELECT stretch_seconds FROM figures_progress")).scalar_one()
        connection.execute(text("UPDATE figures_progress SET rests_until = now()"))

    monkeypatch.setattr(figures_job, "count_stretch", too_long)
    run_if_due(counting)
    with counting.connect() as connection:
        after = connection.execute(text("SELECT stretch_seconds FROM figures_progress")).scalar_one()
    assert after == max(before / 8, 1)


def test_other_troubles_are_passed_on(counting: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else the database says is for the thread to log."""

    def broken(connection: Connection, _: timedelta) -> Counted:
        connection.execute(text("SELECT nothing"))
        raise AssertionError

    monkeypatch.setattr(figures_job, "count_stretch", broken)
    with pytest.raises(DBAPIError):
        run_if_due(counting)


def test_superseded_alerts_are_counted_again(client: FlaskClient, database_url: str, sessions: Sessions) -> None:
    """An alert of an earlier day that a late event supersedes is found when its day has its turn."""
    for time in (1, 3, 4):
        event = {"type": "withdraw", "amount": "5.00", "user_id": 1, "time": time}
        assert client.post("/event", json=event).status_code == 200
    with sessions() as session:
        for name in ("user_actions", "alerts"):
            session.execute(text(f"UPDATE {name} SET created_at = created_at - interval '3 days'"))
    day = day_of(fill_figures(database_url, anew=True)) - timedelta(days=3)
    assert counted(sessions)[day, "alert", 30] == 1
    late = {"type": "deposit", "amount": "5.00", "user_id": 1, "time": 2}
    assert client.post("/event", json=late).status_code == 200
    for _ in range(2 * 4):
        fill_figures(database_url)
    assert counted(sessions)[day, "superseded", 30] == 1
    assert counted(sessions)[day, "to_close", 30] == 1


@pytest.mark.parametrize("number", [999, 1_001, 30_000])
def test_many_users(database_url: str, sessions: Sessions, number: int) -> None:
    """Few users are counted exactly, many nearly so, however they come."""
    with sessions() as session:
        session.execute(text(MANY_USERS), {"number": number})
        session.execute(text(MANY_ACTIONS), {"number": number})
    fill_figures(database_url, anew=True)
    with sessions() as session:
        (day,) = [one for one in figures.days_of_events(session, 3) if one.deposits]
    assert day.deposits == number
    if number < 1_000:
        assert day.users == number
    assert abs(day.users - number) < 0.05 * number


MANY_USERS = "INSERT INTO users (user_id) SELECT generate_series(1, CAST(:number AS integer))"
MANY_ACTIONS = """
    INSERT INTO user_actions (user_id, seq, type, amount, time, alert_codes, rules_number, settings_version, ordinal,
        running_total, created_at)
    SELECT number, 1, 'deposit', 5, 1, '{}', 1, 0, 1, 5,
        CURRENT_DATE - interval '1 day' + make_interval(secs => number * 86000.0 / CAST(:number AS integer))
    FROM generate_series(1, CAST(:number AS integer)) AS number
"""


def test_a_new_service_has_none(sessions: Sessions) -> None:
    """Before anything was counted there are no figures, and nobody fails over that."""
    with sessions() as session:
        assert figures.as_of(session) is None
        assert figures.rule_figures(session) == {}
        assert figures.last_minutes(session) == []
        assert figures.left_to_close(session, (2, 10, 30)) == [0, 0, 0, 0]
        assert [one.closing for one in figures.last_weeks(session)] == [None] * 8
        assert {one.users for one in figures.days_of_events(session, 14)} == {0}


def test_minutes_take_the_place_of_older_ones(client: FlaskClient, database_url: str, sessions: Sessions) -> None:
    """Figures by minute are those of the last two hours, whatever came before."""
    event = {"type": "withdraw", "amount": "150.00", "user_id": 1, "time": 1}
    for minutes in (figures.MINUTES, 5, 0):
        assert client.post("/event", json=event).status_code == 200
        with sessions() as session:
            for name in ("user_actions", "alerts"):
                moved = f"UPDATE {name} SET created_at = created_at - make_interval(mins => {minutes})"
                session.execute(text(moved))
    fill_figures(database_url, anew=True)
    with sessions() as session:
        shown = figures.last_minutes(session, figures.MINUTES - 1)
        assert len(shown) == figures.MINUTES - 1
        # The first is too long ago, and the last in a minute that is not over, as a rule.
        assert sum(one.events for one in shown) in (1, 2)
        assert [one for one in shown if one.alerts > one.events] == []
        assert len(session.scalars(select(MinuteFigure.slot)).all()) <= figures.MINUTES


def test_a_service_counts_by_itself(start_service: Callable[..., Service]) -> None:
    """Its workers count, and each says the same of how far it is."""
    service = start_service(WORKERS="2")

    def as_of() -> float:
        metrics = requests.get(f"{service.url}/metrics", timeout=PATIENCE).text
        return float(re.findall(r"^transaction_alerts_figures_as_of_timestamp_seconds (\S+)", metrics, re.MULTILINE)[0])

    began = datetime.now(UTC).timestamp()
    wait_until(lambda: as_of() > began - PATIENCE)
