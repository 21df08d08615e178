"""What the judge looks at: the rows of the database, read as they are, a few thousand at a time."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
from sqlalchemy import make_url

from bench.soak.judge import Findings, InForce, Removed, RuleRow, Stored, StoredAlert, judge
from bench.soak.loads import RULED
from bench.soak.messages import AlertKey, ToldAlert

CHUNK = 5_000  # rows

_ACTIONS = """
SELECT user_id, seq, type, (amount * 100)::bigint, time, alert_codes, rules_number, settings_version
FROM user_actions ORDER BY user_id, seq
"""
_ALERTS = "SELECT user_id, seq, code, late, superseded, shadow FROM alerts ORDER BY user_id, seq, code"
_USERS = "SELECT user_id, last_seq, (net * 100)::bigint FROM users"
_RULES = "SELECT number, code, status, parameters, by_risk FROM rule_versions"
_SETTINGS = "SELECT user_id, version, risk, overrides FROM user_settings"
_CUTS = "SELECT user_id, pruned_before FROM users WHERE pruned_before IS NOT NULL"
_CHECKPOINTS = "SELECT user_id, type, actions, (total * 100)::bigint, until_seq FROM checkpoints"
_TOLD = """
SELECT user_id, seq, code, superseded, shadow, coalesce(changes, 0)
FROM alerts LEFT JOIN (
    SELECT user_id, seq, code, count(DISTINCT at) AS changes FROM alert_history GROUP BY user_id, seq, code
) AS history USING (user_id, seq, code)
"""
_WAITING = """
SELECT (SELECT count(*) FROM outbox), (SELECT count(*) FROM deliveries WHERE status = 'waiting')
"""
_GIVEN_UP = "SELECT count(*) FROM deliveries WHERE status = 'given_up'"
_EVENTS = """
SELECT event_id, user_id, type, (amount * 100)::bigint, time, alert_codes
FROM user_actions WHERE event_id IS NOT NULL
"""


@contextmanager
def connected(url: str) -> Iterator[Any]:
    """A connection to the database at `url` (a SQLAlchemy URL) that sees one state of it."""
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = psycopg2.connect(address, application_name="soak")
    connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
    try:
        yield connection
    finally:
        connection.close()


def rows(connection: Any, query: str, name: str) -> Iterator[tuple[Any, ...]]:
    """All rows of `query`, read bit by bit."""
    with connection.cursor(name) as cursor:
        cursor.itersize = CHUNK
        cursor.execute(query)
        yield from cursor


def removed(connection: Any) -> dict[int, Removed]:
    """What is on record of removed actions, by user."""
    with connection.cursor() as cursor:
        cursor.execute(_CUTS)
        found = {user_id: Removed(before) for user_id, before in cursor}
        cursor.execute(_CHECKPOINTS)
        for user_id, kind, count, cents, until_seq in cursor:
            one = found[user_id]
            found[user_id] = Removed(
                one.before,
                max(one.until_seq, until_seq),
                {**one.counts, kind: count},
                {**one.sums, kind: cents},
            )
    return found


def told(connection: Any) -> dict[AlertKey, ToldAlert]:
    """All alerts, as webhooks should have been told of them."""
    return {row[:3]: ToldAlert(*row[3:]) for row in rows(connection, _TOLD, "told")}


def waiting(connection: Any) -> int:
    """How many events and deliveries are still to be told; the connection sees all that is committed."""
    with connection.cursor() as cursor:
        cursor.execute(_WAITING)
        return int(sum(cursor.fetchone()))


def given_up(connection: Any) -> int:
    """How many deliveries were given up."""
    with connection.cursor() as cursor:
        cursor.execute(_GIVEN_UP)
        return int(cursor.fetchone()[0])


def judged(connection: Any) -> Findings:
    """What the independent judge says of all that is stored."""
    with connection.cursor() as cursor:
        cursor.execute(_RULES)
        rules = [RuleRow._make(row) for row in cursor]
        cursor.execute(_SETTINGS)
        users = {(row[0], row[1]): (row[2], row[3]) for row in cursor}
        cursor.execute(_USERS)
        counted = {row[0]: (row[1], row[2]) for row in cursor}
    actions = (Stored._make((*row[:5], tuple(row[5]), *row[6:])) for row in rows(connection, _ACTIONS, "actions"))
    alerts = (StoredAlert._make(row) for row in rows(connection, _ALERTS, "alerts"))
    return judge(actions, alerts, counted, InForce(rules, users), removed(connection))


def events(connection: Any) -> Iterator[tuple[Any, ...]]:
    """Each stored event that has an id: event_id, user_id, type, cents, time, codes."""
    return rows(connection, _EVENTS, "events")


def judged_by_older_rules(connection: Any, changes: Iterable[tuple[int, int, str]]) -> int:
    """How many events were judged by rules older than a change that had been answered before they were posted.

    `changes` have the code and version of the change, and the event_id.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT code, version, number FROM rule_versions")
        numbers = {(code, version): number for code, version, number in cursor}
        cursor.execute("SELECT event_id, rules_number FROM user_actions WHERE user_id >= %s", (RULED,))
        judged_by = dict(cursor)
    return sum(judged_by[event] < numbers[code, version] for code, version, event in changes if event in judged_by)


def count_of(connection: Any, first: int, last: int) -> int:
    """How many actions users with these ids have, with those that were removed."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM user_actions WHERE user_id BETWEEN %s AND %s", (first, last))
        there = int(cursor.fetchone()[0])
    was = removed(connection)
    return there + sum(sum(was[user_id].counts.values()) for user_id in was if first <= user_id <= last)


def notes_of(connection: Any, beginning: str) -> dict[str, int]:
    """How often each note on an alert that begins so is stored."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT note, count(*) FROM alert_history WHERE starts_with(note, %s) GROUP BY note", (beginning,)
        )
        return dict(cursor)
