"""Statements on what rules are set to."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Integer, Text, bindparam, cast, func, insert, select, text
from sqlalchemy.dialects.postgresql import JSONB, distinct_on
from sqlalchemy.orm import Session

from database.models import RuleVersion
from database.records import RuleVersionRow

_CHANGES = select(*(getattr(RuleVersion, name) for name in RuleVersionRow._fields))
_AFTER = bindparam("after", type_=RuleVersion.number.type)
_RULE_VERSIONS = _CHANGES.where(RuleVersion.number > _AFTER).order_by(RuleVersion.number)


def rule_versions(session: Session | Connection, after: int = 0) -> list[RuleVersionRow]:
    """All changes of all rules after the change `after`, oldest first."""
    return [RuleVersionRow._make(row) for row in session.execute(_RULE_VERSIONS, {"after": after})]


def add_rule_versions(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Store changes of rules; each row has the attributes of RuleVersion by name."""
    session.execute(insert(RuleVersion), list(rows))


_LOCK = text(f"LOCK TABLE {RuleVersion.__tablename__} IN EXCLUSIVE MODE")
_LOCK_TIMEOUT = select(func.set_config("lock_timeout", bindparam("timeout", type_=Text), True))


def lock_rules(session: Session, milliseconds: int | None = None) -> None:
    """Wait for all transactions that judge, and keep others from judging until this transaction ends.

    Those that begin to judge meanwhile wait too. With `milliseconds`, waits no longer than that and then raises
    OperationalError.
    """
    if milliseconds is not None:
        session.execute(_LOCK_TIMEOUT, {"timeout": f"{milliseconds}ms"})
    session.execute(_LOCK)


_NEWEST_RULE_VERSIONS = _CHANGES.ext(distinct_on(RuleVersion.code)).order_by(
    RuleVersion.code, RuleVersion.version.desc()
)


def newest_rule_versions(session: Session) -> list[RuleVersionRow]:
    """What every rule is set to, by whom, when and why."""
    return [RuleVersionRow._make(row) for row in session.execute(_NEWEST_RULE_VERSIONS)]


_CODE = bindparam("given_code", type_=Integer)
_CHANGE_RULE = insert(RuleVersion).from_select(
    [
        RuleVersion.number,
        RuleVersion.code,
        RuleVersion.version,
        RuleVersion.status,
        RuleVersion.parameters,
        RuleVersion.by_risk,
        RuleVersion.author,
        RuleVersion.note,
        RuleVersion.created_at,
    ],
    select(
        func.max(RuleVersion.number) + 1,
        _CODE,
        func.max(RuleVersion.version).filter(RuleVersion.code == _CODE) + 1,
        bindparam("given_status", type_=Text),
        cast(bindparam("given_parameters", type_=Text), JSONB),
        cast(bindparam("given_by_risk", type_=Text), JSONB),
        bindparam("given_author", type_=Text),
        bindparam("given_note", type_=Text),
        # When the lock was taken, not when the wait for it began.
        func.clock_timestamp(),
    ),
)


def change_rule(
    session: Session, code: int, *, status: str, parameters: str, by_risk: str, author: str, note: str | None
) -> None:
    """Store another version of a rule that has one; `parameters` and `by_risk` are JSON text.

    Only after `lock_rules`, in the same transaction.
    """
    values = {
        "given_code": code,
        "given_status": status,
        "given_parameters": parameters,
        "given_by_risk": by_risk,
        "given_author": author,
        "given_note": note,
    }
    session.connection().execute(_CHANGE_RULE, values)  # a session would take an INSERT's parameters for rows


def page_of_rule_versions(session: Session, code: int, limit: int, before: int | None) -> Sequence[RuleVersion]:
    """Up to `limit` versions of a rule, newest first, those older than version `before` if it is given."""
    page = select(RuleVersion).where(RuleVersion.code == code)
    if before is not None:
        page = page.where(RuleVersion.version < before)
    return session.scalars(page.order_by(RuleVersion.version.desc()).limit(limit)).all()
