"""Statements on what rules are set to."""

from collections.abc import Sequence
from itertools import chain, repeat
from time import monotonic, sleep
from typing import Any

from sqlalchemy import Connection, Integer, Text, bindparam, cast, func, insert, select
from sqlalchemy.dialects.postgresql import JSONB, distinct_on
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from database.locks import TURN_OF_CHANGES
from database.models import RuleVersion
from database.records import RuleVersionRow
from database.session import is_lock_timeout

_CHANGES = select(*(getattr(RuleVersion, name) for name in RuleVersionRow._fields))
_AFTER = bindparam("after", type_=RuleVersion.number.type)
_RULE_VERSIONS = _CHANGES.where(RuleVersion.number > _AFTER).order_by(RuleVersion.number)


def rule_versions(session: Session | Connection, after: int = 0) -> list[RuleVersionRow]:
    """All changes of all rules after the change `after`, oldest first."""
    return [RuleVersionRow._make(row) for row in session.execute(_RULE_VERSIONS, {"after": after})]


def rule_codes(session: Session) -> list[int]:
    """The codes of all rules that were ever set, in ascending order."""
    return list(session.scalars(select(RuleVersion.code).distinct().order_by(RuleVersion.code)))


def add_rule_versions(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Store changes of rules; each row has the attributes of RuleVersion by name."""
    session.execute(insert(RuleVersion), list(rows))


_LOCK = f"LOCK TABLE {RuleVersion.__tablename__} IN EXCLUSIVE MODE"
_LOCK_TIMEOUT = select(func.set_config("lock_timeout", bindparam("timeout", type_=Text), True))
_TAKE_TURN = f"SELECT pg_advisory_xact_lock({TURN_OF_CHANGES})"
_SINCE_NEWEST = select(func.extract("epoch", func.clock_timestamp() - func.max(RuleVersion.created_at)))

# Seconds. All that begins to judge waits along with a change, so it asks for a moment at a time and lets everybody pass
# in between. It asks for longer in the end: what is under way may take that long.
ASKS, PAUSE = (0.2, 0.3, 0.4), 0.2
# After each change every process reads the rules anew: between two of them events are to have their turn too.
APART = 0.25


def lock_rules(session: Session, seconds: float) -> None:
    """Wait for all transactions that hold the rules, and keep others from judging until this transaction ends.

    First it waits for its turn among those who want the same. Those that begin to judge wait as well, each time for as
    long as ASKS say. Raises OperationalError if the lock cannot be taken within `seconds`, and leaves the transaction
    broken.
    """
    connection, end = session.connection(), monotonic() + seconds
    _limit_locks(connection, seconds)
    connection.exec_driver_sql(_TAKE_TURN)
    since = connection.execute(_SINCE_NEWEST).scalar()
    if since is not None:
        sleep(min(APART, max(0.0, APART - float(since))))  # the database's clock may have been set back
    connection.exec_driver_sql("SAVEPOINT turn")
    for ask in chain(ASKS, repeat(ASKS[-1])):
        _limit_locks(connection, ask)
        try:
            connection.exec_driver_sql(_LOCK)
            return
        except OperationalError as error:
            if not is_lock_timeout(error) or monotonic() + PAUSE > end:
                raise
        connection.exec_driver_sql("ROLLBACK TO SAVEPOINT turn")
        sleep(PAUSE)


def _limit_locks(connection: Connection, seconds: float) -> None:
    connection.execute(_LOCK_TIMEOUT, {"timeout": f"{max(1, int(seconds * 1000))}ms"})


_NEWEST_RULE_VERSIONS = _CHANGES.ext(distinct_on(RuleVersion.code)).order_by(
    RuleVersion.code, RuleVersion.version.desc()
)


def newest_rule_versions(session: Session) -> list[RuleVersionRow]:
    """What every rule is set to, by whom, when and why."""
    return [RuleVersionRow._make(row) for row in session.execute(_NEWEST_RULE_VERSIONS)]


_CODE = bindparam("given_code", type_=Integer)
_CHANGE_RULE = (
    insert(RuleVersion)
    .from_select(
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
    .returning(*(getattr(RuleVersion, name) for name in RuleVersionRow._fields))
)


def change_rule(
    session: Session, code: int, *, status: str, parameters: str, by_risk: str, author: str, note: str | None
) -> RuleVersionRow:
    """Store another version of a rule that has one, and return it; `parameters` and `by_risk` are JSON text.

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
    # A session would take an INSERT's parameters for rows.
    return RuleVersionRow._make(session.connection().execute(_CHANGE_RULE, values).one())


def page_of_rule_versions(session: Session, code: int, limit: int, before: int | None) -> Sequence[RuleVersion]:
    """Up to `limit` versions of a rule, newest first, those older than version `before` if it is given."""
    page = select(RuleVersion).where(RuleVersion.code == code)
    if before is not None:
        page = page.where(RuleVersion.version < before)
    return session.scalars(page.order_by(RuleVersion.version.desc()).limit(limit)).all()
