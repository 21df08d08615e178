"""Statements on what rules are set to."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, insert, select, text
from sqlalchemy.orm import Session

from database.models import RuleVersion

# Rules

_RULE_VERSIONS = text("""
SELECT number, code, version, status, parameters, by_risk, author, note, created_at FROM rule_versions ORDER BY number
""")


def rule_versions(session: Session | Connection) -> Sequence[Row[Any]]:
    """All changes of all rules, oldest first."""
    return session.execute(_RULE_VERSIONS).all()


def add_rule_versions(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Store changes of rules; each row has the columns of `rule_versions` by name."""
    session.execute(insert(RuleVersion), list(rows))


def lock_rules(session: Session, milliseconds: int | None = None) -> None:
    """Wait for all that judge by the rules as they are, and keep others from judging until the transaction ends.

    Who begins to judge meanwhile waits too; with `milliseconds` no longer than that, and then the database raises.
    """
    if milliseconds is not None:
        session.execute(text("SELECT set_config('lock_timeout', :timeout, true)"), {"timeout": f"{milliseconds}ms"})
    session.execute(text("LOCK TABLE rule_versions IN EXCLUSIVE MODE"))


_NEWEST_RULE_VERSIONS = text("""
SELECT DISTINCT ON (code) number, code, version, status, parameters, by_risk, author, note, created_at
FROM rule_versions ORDER BY code, version DESC
""")


def newest_rule_versions(session: Session) -> Sequence[Row[Any]]:
    """What every rule is set to, with who set it so, when and why."""
    return session.execute(_NEWEST_RULE_VERSIONS).all()


# The moment of the change is that of getting the lock, not that of beginning to wait for it.
_CHANGE_RULE = text("""
INSERT INTO rule_versions (number, code, version, status, parameters, by_risk, author, note, created_at)
SELECT max(number) + 1, :code, max(version) FILTER (WHERE code = :code) + 1, :status, CAST(:parameters AS jsonb),
    CAST(:by_risk AS jsonb), :author, :note, clock_timestamp()
FROM rule_versions
""")


def change_rule(
    session: Session, code: int, status: str, parameters: str, by_risk: str, author: str, note: str | None
) -> None:
    """Set a rule, which has been set before, to something else; `parameters` and `by_risk` are JSON text.

    Only within `lock_rules`.
    """
    values = {"code": code, "status": status, "parameters": parameters, "by_risk": by_risk}
    session.execute(_CHANGE_RULE, values | {"author": author, "note": note})


def page_of_rule_versions(session: Session, code: int, limit: int, before: int | None) -> Sequence[RuleVersion]:
    """Up to `limit` versions of a rule, newest first, those older than version `before` if it is given."""
    page = select(RuleVersion).where(RuleVersion.code == code)
    if before is not None:
        page = page.where(RuleVersion.version < before)
    return session.scalars(page.order_by(RuleVersion.version.desc()).limit(limit)).all()
