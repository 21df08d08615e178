"""Working alerts, one or many: each change is stored with its lines of history, in one transaction."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy.orm import Session

from database import alert_work, alerts
from database.alert_work import page_of_history
from database.alerts import AlertRow
from database.models import AlertChange
from database.records import AlertKey
from database.session import Transaction
from work.alert_at_work import AlertAtWork
from work.change import Faults, Wanted, faults

HISTORY_SHOWN = 100  # lines that come with an alert


class UnknownAlert(Exception):
    """There is no such alert."""


class Stale(Exception):
    """The alert is not at the version that was asked for; nothing was stored."""


class BadChange(Exception):
    """The change does not fit the alert as it is: by field, what is wrong. Nothing was stored."""

    def __init__(self, faults: dict[str, str]) -> None:
        super().__init__(faults)
        self.faults = faults


class AlertAndHistory(NamedTuple):
    """An alert with its action, and the newest HISTORY_SHOWN lines of its history, oldest first."""

    alert: AlertRow
    history: Sequence[AlertChange]


def read_alert(session: Session, key: AlertKey) -> AlertAndHistory:
    """The alert with its history. Raises UnknownAlert."""
    alert = alerts.get_alert(session, *key)
    if alert is None:
        raise UnknownAlert
    if not alert.work_version:
        return AlertAndHistory(alert, [])
    # What was added since the alert was read is left out, so that the two agree.
    return AlertAndHistory(alert, page_of_history(session, key, HISTORY_SHOWN, before=alert.work_version + 1)[::-1])


def change_alert(
    session: Session,
    key: AlertKey,
    wanted: Wanted,
    *,
    who: str,
    note: str | None,
    version_fits: Callable[[int], bool],
    faults_of: Faults = faults,
) -> AlertAndHistory:
    """Change what people make of an alert, or only note something; `version_fits` is asked about its version,
    `faults_of` what is wrong with the change for the alert as it is.

    What is as it is wanted already is no change. Raises UnknownAlert, Stale or BadChange.
    """
    with Transaction(session) as transaction:
        row = alert_work.lock_work(session, key)
        if row is None:
            raise UnknownAlert
        if not version_fits(row.work_version):
            raise Stale
        at = alert_work.now(session)
        worked = AlertAtWork(row, at)
        if wrong := faults_of(worked.state, wanted, at):
            raise BadChange(wrong)
        worked.change(wanted, who=who, note=note)
        store(session, [worked], at)
        found = read_alert(session, key)
        transaction.commit()
    return found


def store(session: Session, worked: Sequence[AlertAtWork], at: datetime) -> bool:
    """Store those that were changed. Returns False, and nothing must be committed, if one has changed meanwhile."""
    new = [one for one in worked if one.history]
    if not new:
        return True
    lines = [line for one in new for line in one.lines()]
    return alert_work.store_work(session, [one.stored() for one in new], lines, [one.event() for one in new], at)
