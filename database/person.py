"""All that is stored about one user, table by table and page by page."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, select, tuple_
from sqlalchemy.orm import Session

from database.alerts import ALERTS, AlertRow
from database.erasures import entries_about
from database.models import (
    Alert,
    AlertChange,
    Checkpoint,
    Delivery,
    Erasure,
    LogEntry,
    Mute,
    UserAction,
    UserSettings,
    Webhook,
)

T = TypeVar("T")

Pages = Iterator[Sequence[T]]


def settings_of(session: Session, user_id: int, size: int) -> Pages[UserSettings]:
    """How the user was judged, version by version, up to `size` at a time, as of everything that follows."""
    rows = select(UserSettings).where(UserSettings.user_id == user_id)
    return _pages(session, rows, (UserSettings.version,), lambda row: (row.version,), size)


def actions_of(session: Session, user_id: int, size: int) -> Pages[UserAction]:
    """The user's actions in order of arrival."""
    rows = select(UserAction).where(UserAction.user_id == user_id)
    return _pages(session, rows, (UserAction.seq,), lambda row: (row.seq,), size)


def alerts_of(session: Session, user_id: int, size: int) -> Pages[AlertRow]:
    """The user's alerts with their actions, in order of arrival; those in shadow too."""
    rows = ALERTS.where(Alert.user_id == user_id, UserAction.user_id == user_id)
    return _pages(session, rows, (Alert.seq, Alert.code), lambda row: (row.seq, row.code), size, columns=True)


def history_of(session: Session, user_id: int, size: int) -> Pages[AlertChange]:
    """The histories of the user's alerts."""
    rows = select(AlertChange).where(AlertChange.user_id == user_id)
    place = (AlertChange.seq, AlertChange.code, AlertChange.n)
    return _pages(session, rows, place, lambda row: (row.seq, row.code, row.n), size)


def mutes_of(session: Session, user_id: int, size: int) -> Pages[Mute]:
    """The user's mutes, those that have ended by themselves too."""
    rows = select(Mute).where(Mute.user_id == user_id)
    return _pages(session, rows, (Mute.code,), lambda row: (row.code,), size)


def entries_of(session: Session, user_id: int, size: int) -> Pages[LogEntry]:
    """What the log says of the user, of mutes, and of exports of all that is stored about the user."""
    export = (LogEntry.kind == "export", LogEntry.subject == export_of(user_id))
    for which in ((entries_about(user_id, "user"),), (entries_about(user_id, "mute"),), export):
        rows = select(LogEntry).where(*which)
        yield from _pages(session, rows, (LogEntry.entry_id,), lambda row: (row.entry_id,), size)


def export_of(user_id: int) -> str:
    """The subject under which the log has exports of all that is stored about a user."""
    return f"users/{user_id}"


def deliveries_of(session: Session, user_id: int, size: int) -> Pages[tuple[Delivery, Webhook]]:
    """The messages about the user's alerts, each with its endpoint."""
    # By endpoint, as the index has them; there are few.
    for webhook in session.scalars(select(Webhook).order_by(Webhook.webhook_id)).all():
        rows = select(Delivery).where(Delivery.webhook_id == webhook.webhook_id, Delivery.user_id == user_id)
        pages: Pages[Delivery] = _pages(session, rows, (Delivery.delivery_id,), lambda row: (row.delivery_id,), size)
        yield from ([(one, webhook) for one in page] for page in pages)


def checkpoints_of(session: Session, user_id: int) -> Sequence[Checkpoint]:
    """What is left of the user's actions that were removed."""
    return session.scalars(select(Checkpoint).where(Checkpoint.user_id == user_id).order_by(Checkpoint.type)).all()


def erasures_of(session: Session, user_id: int) -> Sequence[Erasure]:
    """When the user was erased."""
    return session.scalars(select(Erasure).where(Erasure.user_id == user_id).order_by(Erasure.erased_at)).all()


def _pages(
    session: Session,
    rows: Select[Any],
    place: tuple[Any, ...],
    place_of: Callable[[Any], tuple[Any, ...]],
    size: int,
    *,
    columns: bool = False,
) -> Pages[Any]:
    page: Sequence[Any] = ()
    after: ColumnElement[bool] | None = None
    while True:
        wanted = rows.order_by(*place).limit(size)
        found = session.execute(wanted if after is None else wanted.where(after))
        page = found.all() if columns else found.scalars().all()
        if page:
            yield page
        if len(page) < size:
            return
        after = tuple_(*place) > tuple_(*place_of(page[-1]))
        session.expunge_all()  # what was read stays no longer than the page
