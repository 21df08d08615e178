"""The log of what people and programs have changed: rows are only ever added.

Only when a person is erased are notes taken out of them (database/erasures.py).
"""

from typing import Any, Literal, get_args

from sqlalchemy import Connection, insert, null
from sqlalchemy.orm import Session

from database.models import LogEntry

Kind = Literal["rule", "user", "key", "mute", "view", "backtest", "export", "sign-in", "prune", "webhook"]
KINDS: tuple[Kind, ...] = get_args(Kind)


def add_log_entry(
    session: Session | Connection,
    *,
    who: str,
    kind: Kind,
    subject: str,
    what: str,
    before: Any = None,
    after: Any = None,
    note: str | None = None,
) -> None:
    """Note, in the transaction that changes it, that `who` did `what` to the `subject` of this kind.

    `before` and `after` are what it was and is, as JSON; None for nothing.
    """
    values = {"who": who, "kind": kind, "subject": subject, "what": what, "note": note}
    seen = {name: null() if value is None else value for name, value in (("before", before), ("after", after))}
    session.execute(insert(LogEntry).values(values | seen))
