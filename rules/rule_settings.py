"""What the rules are set to in the database: reading it, storing what is declared, changing one rule."""

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection  # noqa: TID251
from sqlalchemy.orm import Session  # noqa: TID251

from database import rule_versions  # noqa: TID251
from database.log_entries import add_log_entry  # noqa: TID251
from database.pooled_connection import PooledConnection  # noqa: TID251
from database.session import Transaction  # noqa: TID251
from rules.base import RuleSetting
from rules.conflicts import setting_conflicts
from rules.model import RISKS
from rules.parameters import written_values
from rules.payload import conflicting
from rules.registry import REGISTRY
from rules.versions import RuleChange, RulesSnapshot, RuleVersions, WantedSetting

# How long a change waits for its turn, in seconds.
PATIENCE = 4.0
# No author would mean that nobody has set the rule.
UNKNOWN_AUTHOR = "unknown"


# Called with each rule that is replaced, as it was and as it will be, and with the codes of those that are active.
Approve = Callable[[Sequence[tuple[RuleChange, RuleChange]], Sequence[int]], None]


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

    def versions(self, session: Session | PooledConnection) -> RuleVersions:
        """All changes as far as they have been read. If there are none at all, what is declared is stored first."""
        if self._known is None:
            with session.session() if isinstance(session, PooledConnection) else nullcontext(session) as whole:
                found = read_versions(whole)
                self._known = found if found.number else self.enter_declared(whole)
        return self._known

    def would_be(self, session: Session) -> RuleVersions:
        """The same, but if there are none at all, it stores nothing: then they are what would be stored."""
        if self._known is not None:
            return self._known
        found = read_versions(session)
        return found if found.number else RuleVersions(found.changes_for(self._active))

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

    def enter_declared(self, session: Session, approve: Approve | None = None) -> RuleVersions:
        """Store what the declarations and the active codes say of rules that nobody has set, if that has changed.

        It holds for everyone who uses the database, so only the process that starts the service calls it, once. If it
        changes what others may be running by, `approve` is called first; what that raises keeps the rules as they are.
        Returns all changes.
        """
        found = read_versions(session)
        if changes := found.changes_for(self._active):
            session.close()
            present = {change.setting.code: change for change in found.changes}
            replaced = [(present[change.setting.code], change) for change in changes if change.setting.code in present]
            if replaced and approve is not None:
                approve(replaced, [code for code in present if present[code].setting.status == "active"])
            with Transaction(session) as transaction:
                # Several may start at once: the first stores it, the others find it.
                rule_versions.lock_rules(session, PATIENCE)
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


@dataclass(frozen=True, kw_only=True)
class RequestedChange:
    """What somebody wants the rule `code` to be set to.

    `must_match` is called under the lock with the present version; if it raises, the rule stays as it is.
    """

    code: int
    wanted: WantedSetting
    must_match: Callable[[int], None]


def set_rules(session: Session, requested: Sequence[RequestedChange]) -> list[RuleChange | Exception]:
    """Change what rules are set to, one change after the other, in one transaction; a first version must be stored.

    For each, the change, or what its `must_match` raised, or a BadPayload if its parameters contradict each other.
    Raises OperationalError if the rules cannot be locked within PATIENCE seconds.
    """
    with Transaction(session) as transaction:
        rule_versions.lock_rules(session, PATIENCE)
        present = {code: change.setting for code, change in _now(session).items()}
        changed = [_set_rule(session, one, present) for one in requested]
        transaction.commit()
        return changed


def _set_rule(session: Session, one: RequestedChange, present: dict[int, RuleSetting]) -> RuleChange | Exception:
    before, wanted = present[one.code], one.wanted
    try:
        one.must_match(before.version)
    except Exception as error:  # it is that caller's own
        return error
    after = replace(
        before,
        parameters={**before.parameters, **wanted.parameters},
        by_risk=before.by_risk if wanted.by_risk is None else wanted.by_risk,
    )
    named: dict[str, Collection[str]] = {}
    if wanted.by_risk is not None:  # a value that is taken away changes what is in force, too
        named = {risk: {*before.by_risk.get(risk, ()), *wanted.by_risk.get(risk, ())} for risk in RISKS}
    if found := setting_conflicts(after, wanted.parameters, named):
        return conflicting(found.items())
    row = rule_versions.change_rule(
        session,
        one.code,
        status=wanted.status or before.status,
        parameters=json.dumps(written_values(after.parameters)),
        by_risk=json.dumps({risk: written_values(values) for risk, values in after.by_risk.items()}),
        author=wanted.author or UNKNOWN_AUTHOR,
        note=wanted.note,
    )
    changed = RuleChange.stored(row)
    add_log_entry(
        session,
        who=row.author or UNKNOWN_AUTHOR,
        kind="rule",
        subject=str(one.code),
        what="set",
        before=_shown(before),
        after=_shown(changed.setting),
        note=wanted.note,
    )
    present[one.code] = changed.setting
    return changed


def _shown(setting: RuleSetting) -> dict[str, Any]:
    """What the log says of a setting."""
    return {
        "version": setting.version,
        "status": setting.status,
        "parameters": written_values(setting.parameters),
        "by_risk": {risk: written_values(values) for risk, values in setting.by_risk.items()},
    }


def _now(session: Session) -> dict[int, RuleChange]:
    rows = {row.code: row for row in rule_versions.newest_rule_versions(session)}
    return {code: RuleChange.stored(rows[code]) for code in REGISTRY if code in rows}
