"""The queue: the most urgent open alert that nobody has is claimed by who asks for the next one."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from sqlalchemy.orm import Session

from database import alert_queue, alert_work
from database.alert_filters import NOBODY, AlertFilter, AlertPlace
from database.alert_lists import page_of_alerts
from database.records import AlertKey
from database.session import Transaction
from rules.service import Service
from work.alert_at_work import AlertAtWork
from work.alerts import AlertAndHistory, read_alert, store
from work.tries import Tries

CLAIM = timedelta(minutes=30)  # after this, an alert that its assignee has not worked is nobody's again
CANDIDATES = 50  # alerts that are looked at before looking again


def next_alert(service: Service, wanted: AlertFilter, who: str) -> AlertAndHistory | None:
    """The most urgent alert in the queue that matches, now claimed by `who`; None if there is none.

    Those of users rated high come first, then the oldest (time, user_id, seq, code). Raises Overloaded if others have
    been deciding about all that are left for too long.
    """
    queue = in_queue(wanted)
    if queue is None:
        return None
    tries = Tries()
    while True:
        settled = service.run(_settle)
        keys = list(islice(_candidates(service, queue, tries), CANDIDATES))
        if found := service.run(lambda session: _claim(session, keys, who)):  # noqa: B023 (it is called here)
            return found
        # What others are claiming now is still in the queue, and may stay there.
        if not keys and settled < CANDIDATES:
            return None
        tries.pause()


def in_queue(wanted: AlertFilter) -> AlertFilter | None:
    """The same filter for the queue alone; None if nothing in the queue can match it."""
    # What such an alert has in these fields.
    fixed: dict[str, Any] = {
        "status": "open",
        "assignee": NOBODY,
        "superseded": False,
        "snoozed": False,
        "muted": False,
        "shadow": False,
        "outcome": None,
    }
    if any(getattr(wanted, name) not in (None, value) for name, value in fixed.items()):
        return None
    return wanted._replace(**fixed | {"status": None, "assignee": None}, queue="all")


def _candidates(service: Service, queue: AlertFilter, tries: Tries) -> Iterator[AlertKey]:
    seen: set[AlertKey] = set()
    for of_queue in (queue._replace(queue="urgent"), queue):
        for key in _oldest(service, of_queue, tries):
            if key not in seen:
                seen.add(key)
                yield key


def _oldest(service: Service, queue: AlertFilter, tries: Tries) -> Iterator[AlertKey]:
    after: AlertPlace | None = None
    while True:
        page = service.read(lambda session: page_of_alerts(session, queue, CANDIDATES, after, oldest_first=True))  # noqa: B023
        yield from (AlertKey(user_id=row.user_id, seq=row.seq, code=row.code) for row in page.rows)
        # The search for few among many breaks off, and is gone on with.
        if page.broke_off_at is None:
            return
        tries.go_on()
        after = page.broke_off_at


def _settle(session: Session) -> int:
    """Settle claims that have lapsed, some at a time. Returns how many were to be settled."""
    keys = alert_queue.lapsed_claims(session, CANDIDATES)
    if not keys:
        return 0
    session.close()
    with Transaction(session) as transaction:
        rows = [row for key in keys if (row := alert_queue.lock_lapsed(session, key)) is not None]
        at = alert_work.now(session)
        _store_locked(session, [AlertAtWork(row, at) for row in rows], at)
        transaction.commit()
    return len(keys)


def _claim(session: Session, keys: Sequence[AlertKey], who: str) -> AlertAndHistory | None:
    with Transaction(session) as transaction:
        for key in keys:
            row = alert_queue.lock_in_queue(session, key)
            if row is None:
                continue
            at = alert_work.now(session)
            alert = AlertAtWork(row, at)
            alert.change({"assignee": who}, who=who, note=None, lapses_at=at + CLAIM)
            _store_locked(session, [alert], at)
            found = read_alert(session, key)
            transaction.commit()
            return found
    return None


def _store_locked(session: Session, worked: Sequence[AlertAtWork], at: datetime) -> None:
    is_stored = store(session, worked, at)
    assert is_stored, "changed under the lock"
