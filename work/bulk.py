"""Working many alerts at once: all changes in one transaction, and for each alert what came of it."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Literal, NamedTuple

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from database import alert_work
from database.alert_filters import AlertFilter, AlertPlace
from database.alert_lists import AlertsFound, page_of_alerts, place_of
from database.alert_work import WorkRow
from database.alerts import AlertRow
from database.records import AlertKey
from database.session import Transaction, is_lock_timeout
from rules.values import MAX_CODE, MAX_ID
from work.alert_at_work import AlertAtWork
from work.alerts import store
from work.change import NEW, Faults, Wanted, faults
from work.tries import Tries

MOST = 500  # alerts that are worked in one transaction: a tenth of a second

# Those who judge wait for the alerts that a transaction here has changed, so it waits for no other alert for long: it
# begins anew. It is less than PostgreSQL takes to look for deadlocks, in which judging might be the one to lose.
LOCK_WAIT = 0.05  # seconds


# Which alerts to change: each if what it is at first suits its caller.
Asked = Mapping[AlertKey, Callable[[WorkRow], bool]]


class Matching(NamedTuple):
    """Alerts that match, as they were found; how many more were touched too late; where others begin, if there are."""

    asked: Asked
    too_late: int
    ends_at: AlertPlace | None


class BulkResult(NamedTuple):
    """What came of one alert: its version (None: there is no such alert), and why it stays as it is, if it does."""

    key: AlertKey
    status: Literal[200, 404, 409, 412]
    version: int | None
    is_changed: bool = False
    why: str | None = None


class Overtaken(Exception):
    """Somebody else changed one of the alerts meanwhile; nothing was stored."""


def find_matching(
    read: Callable[[Callable[[Session], AlertsFound]], AlertsFound],
    wanted: AlertFilter,
    after: AlertPlace | None,
    touched_before: datetime | None,
) -> Matching:
    """Up to MOST alerts of the list of those `wanted`, behind the place `after`.

    Those that were touched at `touched_before` or later are left out. `read` runs a function with a session.
    """
    found = read(partial(page_of_alerts, wanted=wanted, limit=MOST + 1, after=after))
    rows = found.rows[:MOST]
    ends_at = place_of(rows[-1]) if len(found.rows) > len(rows) else found.broke_off_at
    in_time = [row for row in rows if touched_before is None or row.touched_at < touched_before]

    def suits(seen: AlertRow) -> Callable[[WorkRow], bool]:
        return lambda row: (row.work_version, row.touched_at) == (seen.work_version, seen.touched_at)

    asked = {AlertKey(user_id=row.user_id, seq=row.seq, code=row.code): suits(row) for row in in_time}
    return Matching(asked, len(rows) - len(in_time), ends_at)


def faults_for_all(wanted: Wanted, now: datetime) -> dict[str, str]:
    """What keeps a change from fitting any alert at all: by field, the end of a sentence."""
    # Whether an outcome fits an alert whose status stays as it is depends on the alert.
    whatever = wanted if "status" in wanted else {name: wanted[name] for name in wanted.keys() - {"outcome"}}
    return faults(NEW, whatever, now)


def change_alerts(
    run: Callable[[Callable[[Session], list[BulkResult]]], list[BulkResult]],
    asked: Asked,
    wanted: Wanted,
    *,
    who: str,
    note: str | None,
    faults_of: Faults = faults,
) -> list[BulkResult]:
    """Change what people make of the alerts `asked` for, each if what it is at first suits its caller.

    One result for each, in that order. `faults_of` says what is wrong with the change for one as it is. `run` runs a
    function with a session. Raises Overloaded if others are at the same alerts all the time; nothing was stored then.
    """
    tries = Tries()
    while True:
        try:
            return run(lambda session: _change(session, asked, wanted, who=who, note=note, faults_of=faults_of))
        except Overtaken:
            pass
        except DBAPIError as error:
            if not is_lock_timeout(error):
                raise
        tries.pause()


def can_be(key: AlertKey) -> bool:
    """Whether there could be such an alert: its numbers are not too large."""
    return key.user_id <= MAX_ID and key.seq <= MAX_ID and key.code <= MAX_CODE


def _change(
    session: Session,
    asked: Asked,
    wanted: Wanted,
    *,
    who: str,
    note: str | None,
    faults_of: Faults,
) -> list[BulkResult]:
    with Transaction(session) as transaction:
        alert_work.limit_lock_waits(session, LOCK_WAIT)
        rows = alert_work.read_work(session, sorted(key for key in asked if can_be(key)))
        # After that, so that no line of a history is older than the one before it.
        at = alert_work.now(session)
        worked: list[AlertAtWork] = []
        results: list[BulkResult] = []
        for key, suits in asked.items():
            row = rows.get(key)
            if row is None:
                results.append(BulkResult(key, 404, None, why="There is no such alert."))
                continue
            if not suits(row):
                results.append(BulkResult(key, 412, row.work_version, why="It has changed since it was read."))
                continue
            alert = AlertAtWork(row, at)
            if wrong := faults_of(alert.state, wanted, at):
                why = "; ".join(f"{field} {sentence}" for field, sentence in wrong.items())
                results.append(BulkResult(key, 409, row.work_version, why=f"{why}."))
                continue
            is_changed = alert.change(wanted, who=who, note=note)
            worked.append(alert)
            results.append(BulkResult(key, 200, alert.version, is_changed=is_changed))
        if not store(session, worked, at):
            raise Overtaken
        transaction.commit()
    return results
