"""What the rules are set to in the database: reading it, storing what is declared, changing one rule."""

import json
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from sqlalchemy import Connection  # noqa: TID251
from sqlalchemy.exc import OperationalError  # noqa: TID251
from sqlalchemy.orm import Session  # noqa: TID251

from database import rule_versions  # noqa: TID251
from database.session import Transaction, sqlstate  # noqa: TID251
from rules.parameters import written_values
from rules.registry import REGISTRY
from rules.versions import RuleChange, RulesSnapshot, RuleVersions, WantedSetting

T = TypeVar("T")

# A change waits for the transactions that judge already, and those that begin meanwhile wait for it. So it does not
# wait for long, and lets all of them pass before it tries again.
LOCK_MILLISECONDS, PAUSES = 1000, (0.1, 0.2, 0.4)
LOCK_NOT_AVAILABLE = "55P03"
# No author would mean that nobody has set the rule.
UNKNOWN_AUTHOR = "unknown"


class StoredRules:
    """What all rules of one database are and were set to. Any number of threads may share it.

    `active` are the codes of the rules that are active until somebody sets them. What has been read is kept; which
    change holds for an event, each transaction asks for itself, see `at`.
    """

    def __init__(self, *, active: Iterable[int]) -> None:
        self._active = frozenset(active)
        self._known: RuleVersions | None = None

    @property
    def known(self) -> RuleVersions:
        """All changes as far as they have been read. Only after `versions` or `enter_declared`."""
        assert self._known is not None
        return self._known

    def versions(self, session: Session) -> RuleVersions:
        """All changes as far as they have been read. If there are none at all, what is declared is stored first."""
        if self._known is None:
            found = read_versions(session)
            self._known = found if found.number else self.enter_declared(session)
        return self._known

    def at(self, connection: Connection, number: int) -> RulesSnapshot:
        """What all rules are set to after the stored change `number`, which may be a moment old."""
        known = self._known
        if known is None or known.number < number:
            known = known or RuleVersions()
            self._known = known = known.followed_by(rule_versions.rule_versions(connection, after=known.number))
        return known.at(number)

    def now(self, session: Session) -> dict[int, RuleChange]:
        """What each rule is set to now, by code in the registry's order. Not to be called in a transaction."""
        self.versions(session)  # so that what is declared is stored
        return _now(session)

    def enter_declared(self, session: Session) -> RuleVersions:
        """Store what the declarations and the active codes say of rules that nobody has set, if that has changed.

        It holds for everyone who uses the database, so only the process that starts the service calls it, once. Returns
        all changes.
        """
        found = read_versions(session)
        if found.changes_for(self._active):
            session.close()
            with Transaction(session) as transaction:
                # Several may start at once: the first stores it, the others find it.
                rule_versions.lock_rules(session)
                found = read_versions(session)
                if changes := found.changes_for(self._active):
                    rule_versions.add_rule_versions(session, [change.columns() for change in changes])
                    found = RuleVersions((*found.changes, *changes))
                transaction.commit()
            session.close()
        self._known = found
        return found


def read_versions(session: Session | Connection) -> RuleVersions:
    """All stored changes of all rules."""
    return RuleVersions.stored(rule_versions.rule_versions(session))


def set_rule(session: Session, code: int, wanted: WantedSetting, must_match: Callable[[int], None]) -> RuleChange:
    """Change what a rule is set to, in a transaction of its own; returns the change. A first version must be stored.

    `must_match` is called under the lock with the present version; if it raises, the rule stays as it is. Raises
    OperationalError if others judge for so long that the lock cannot be taken in time.
    """
    with Transaction(session) as transaction:
        rule_versions.lock_rules(session, LOCK_MILLISECONDS)
        before = _now(session)[code].setting
        must_match(before.version)
        by_risk = before.by_risk if wanted.by_risk is None else wanted.by_risk
        rule_versions.change_rule(
            session,
            code,
            status=wanted.status or before.status,
            parameters=json.dumps(written_values({**before.parameters, **wanted.parameters})),
            by_risk=json.dumps({risk: written_values(values) for risk, values in by_risk.items()}),
            author=wanted.author or UNKNOWN_AUTHOR,
            note=wanted.note,
        )
        changed = _now(session)[code]
        transaction.commit()
        return changed


def patiently(work: Callable[[], T]) -> T:
    """What `work` returns; it is repeated, after a pause, if it could not lock the rules in time."""
    for pause in PAUSES:
        try:
            return work()
        except OperationalError as error:
            if sqlstate(error) != LOCK_NOT_AVAILABLE:
                raise
        time.sleep(pause)
    return work()


def _now(session: Session) -> dict[int, RuleChange]:
    rows = {row.code: row for row in rule_versions.newest_rule_versions(session)}
    return {code: RuleChange.stored(rows[code]) for code in REGISTRY if code in rows}
