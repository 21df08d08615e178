"""The statements that store what a batch has come to: actions, alerts, and events for the outbox."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, cast, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import InstrumentedAttribute

from database.copying import Copied
from database.models import Alert, OutboxEvent, UserAction
from database.outbox import somebody_wants
from database.prepared import Prepared, Records, run_directly
from database.records import NewAction, NewAlert, NewOutboxEvent

ACTIONS = Records(NewAction, "action", UserAction)
ALERTS = Records(NewAlert, "alert", Alert)
OUTBOX = Records(NewOutboxEvent, "happened", OutboxEvent)


def _insert(model: type[Any], new: Records, *conditions: ColumnElement[bool]) -> Any:
    columns: list[InstrumentedAttribute[Any]] = [getattr(model, column.name) for column in new.c]
    values: list[ColumnElement[Any]] = [
        own if own.type is column.type else cast(own, column.type) for own, column in zip(new.c, columns, strict=True)
    ]
    return insert(model).from_select(columns, select(*values).where(*conditions))


_INSERT_ACTIONS = Prepared("insert_actions", _insert(UserAction, ACTIONS))
_INSERT_ALERTS = Prepared("insert_alerts", _insert(Alert, ALERTS))
_INSERT_OUTBOX = Prepared("insert_outbox", _insert(OutboxEvent, OUTBOX, somebody_wants(OUTBOX.c)))
PREPARED = (_INSERT_ACTIONS, _INSERT_ALERTS, _INSERT_OUTBOX)


ACTIONS_BY_COPY, ALERTS_BY_COPY = Copied(NewAction, UserAction), Copied(NewAlert, Alert)


class NewRows(NamedTuple):
    """What a batch stores, but for what its late events change."""

    actions: Sequence[NewAction] = ()
    alerts: Sequence[NewAlert] = ()
    outbox: Sequence[NewOutboxEvent] = ()


def store(connection: Connection, rows: NewRows) -> None:
    """Store new rows; those for the outbox only if a webhook wants them."""
    statements, values = _stored(rows)
    if statements:
        run_directly(connection, statements, values)


def store_and_commit(connection: Connection, rows: NewRows) -> None:
    """The same, and commit the transaction."""
    statements, values = _stored(rows)
    run_directly(connection, statements + "COMMIT", values)


def _stored(rows: NewRows) -> tuple[str, dict[str, str]]:
    statements, values = "", {}
    if rows.actions:
        statements, values = _INSERT_ACTIONS.execute, ACTIONS.arrays(rows.actions)
    if rows.alerts:
        statements, values = statements + _INSERT_ALERTS.execute, values | ALERTS.arrays(rows.alerts)
    if rows.outbox:
        statements, values = statements + _INSERT_OUTBOX.execute, values | OUTBOX.arrays(rows.outbox)
    return statements, values
