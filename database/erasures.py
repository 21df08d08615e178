"""Statements for erasing people: who is to be erased, what is known of a person, and the ledger of who was erased."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    JSON,
    ColumnElement,
    Text,
    and_,
    case,
    cast,
    func,
    literal,
    null,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.orm import InstrumentedAttribute, Session

from database.models import AlertChange, Erasure, LogEntry, Mute, User, UserAction, UserSettings

Place = tuple[Any, ...]

# Each change is a statement of its own, after the one that locked the user: a later one has a later moment.
_NOW = func.statement_timestamp()
# What was begun goes on whatever holds by now. A request that came after the last erasure asks for another one.
_HAS_BEGUN = and_(User.erasure_requested_at.is_not(None), User.erased_at >= User.erasure_requested_at)


class Erased(NamedTuple):
    """A line of the ledger: a user was erased, when, who asked for that, and why it was done before its time."""

    user_id: int
    erased_at: datetime
    who: str
    override: str | None


def has_begun(user: User) -> bool:
    """Whether the erasure of a user has begun and is not over."""
    requested, erased = user.erasure_requested_at, user.erased_at
    return requested is not None and erased is not None and erased >= requested


def page_of_users_to_erase(session: Session, closed_before: datetime, limit: int, after: int) -> Sequence[int]:
    """Up to `limit` users after user `after`, by id, who have to be erased or may have to be: without a hold, and
    closed before a moment or erased before; and those whose erasure has begun.
    """
    is_due = and_(~User.legal_hold, or_(User.erased_at.is_not(None), User.closed_at <= closed_before))
    asked = select(User.user_id).where(User.erasure_requested_at.is_not(None), User.user_id > after)
    return session.scalars(asked.where(or_(_HAS_BEGUN, is_due)).order_by(User.user_id).limit(limit)).all()


def lock_if_free(session: Session, user_id: int) -> User | None:
    """The user, locked as `users.lock_user` does; None if there is none, or if somebody else has it locked."""
    return session.get(User, user_id, with_for_update={"key_share": True, "skip_locked": True})


def change_account(session: Session, user: User, *, closed_at: datetime | None, legal_hold: bool) -> None:
    """Set when a locked user's account was closed, and whether its data must be kept."""
    _set(session, user, {User.closed_at: closed_at, User.legal_hold: legal_hold})


def request_erasure(session: Session, user: User, *, who: str) -> None:
    """Mark a locked user as one who is to be erased."""
    _set(session, user, {User.erasure_requested_at: _NOW, User.erasure_requested_by: who})


def withdraw_erasure(session: Session, user: User) -> None:
    """Take that back."""
    _set(session, user, _NOT_REQUESTED)


_NOT_REQUESTED: dict[Any, Any] = {User.erasure_requested_at: None, User.erasure_requested_by: None}


def begin_erasure(session: Session, user: User, *, who: str, override: str | None) -> None:
    """Take a locked user's name away, enter the erasure in the ledger, and mark that the rest is to follow."""
    values = {
        User.name: None,
        User.erasure_requested_at: user.erasure_requested_at or _NOW,
        User.erasure_requested_by: who,
        User.erased_at: _NOW,
    }
    _set(session, user, values)
    assert user.erased_at is not None
    enter_erasure(session, Erased(user.user_id, user.erased_at, who, override))


def begin_erasure_again(session: Session, user: User, erased: Erased) -> None:
    """The same for a user who was erased before, and has come back by a backup."""
    values = {
        User.name: None,
        User.erasure_requested_at: erased.erased_at,
        User.erasure_requested_by: erased.who,
        User.erased_at: erased.erased_at,
    }
    _set(session, user, values)
    enter_erasure(session, erased)


def end_erasure(session: Session, user: User) -> None:
    """Mark that nothing is left of a locked user's erasure."""
    _set(session, user, _NOT_REQUESTED)


def _set(session: Session, user: User, values: dict[Any, Any]) -> None:
    change = update(User).where(User.user_id == user.user_id).values(values)
    session.execute(change.execution_options(synchronize_session=False))
    session.refresh(user)


# What is known of a person


class Part(NamedTuple):
    """Rows of one table about a user, which are looked at in order of `place`.

    `known` says which of them hold anything of the person, and `nothing` what takes its place. `user_id` is the column
    that says whose rows they are; entries of the log have a `kind` instead. With `has_index` an index has only those
    that are known.
    """

    model: Any
    place: tuple[ColumnElement[Any] | InstrumentedAttribute[Any], ...]
    known: ColumnElement[bool]
    nothing: dict[Any, Any]
    user_id: Any = None
    kind: str = ""
    has_index: bool = False

    def own(self, user_id: int) -> ColumnElement[bool]:
        """Which rows of the table are about this user."""
        if self.user_id is None:
            return entries_about(user_id, self.kind)
        found: ColumnElement[bool] = self.user_id == user_id
        return found


def entries_about(user_id: int, kind: str) -> ColumnElement[bool]:
    """Which entries of the log are about a user, of the kind "user" or "mute"."""
    # The subject of a mute is such as "7/1100".
    subject = LogEntry.subject.like(f"{user_id}/%") if kind == "mute" else LogEntry.subject == str(user_id)
    return and_(LogEntry.kind == kind, subject)


def _note(column: InstrumentedAttribute[Any]) -> ColumnElement[Any]:
    return column.op("->>")(literal("note", Text))


def _without_note(column: InstrumentedAttribute[Any]) -> ColumnElement[Any]:
    nothing = func.jsonb_build_object(literal("note", Text), null())
    return case((_note(column).is_not(None), cast(cast(column, JSONB).op("||")(nothing), JSON)), else_=column)


def _column(column: InstrumentedAttribute[Any], place: InstrumentedAttribute[Any], *more: Any) -> Part:
    """A column of a table of what belongs to users, and the rest of the table's key."""
    user_id = column.class_.user_id
    return Part(column.class_, (place, *more), column.is_not(None), {column: None}, user_id)


_IN_LOG = (LogEntry.before, LogEntry.after)

PARTS: tuple[Part, ...] = (
    _column(UserAction.event_id, UserAction.event_id)._replace(has_index=True),
    _column(UserSettings.note, UserSettings.version),
    _column(Mute.note, Mute.code),
    _column(AlertChange.note, AlertChange.seq, AlertChange.code, AlertChange.n),
    Part(LogEntry, (LogEntry.entry_id,), LogEntry.note.is_not(None), {LogEntry.note: None}, kind="user"),
    Part(
        LogEntry,
        (LogEntry.entry_id,),
        or_(LogEntry.note.is_not(None), *(_note(one).is_not(None) for one in _IN_LOG)),
        {LogEntry.note: None} | {one: _without_note(one) for one in _IN_LOG},
        kind="mute",
    ),
)


def erase_stretch(session: Session, user_id: int, part: Part, after: Place | None, limit: int) -> Place | None:
    """Erase what up to `limit` rows of a part hold, from the place `after` on. Returns the place of the last; None if
    there were none.
    """
    own = part.own(user_id)
    rows = select(*part.place).select_from(part.model).where(own).order_by(*part.place).limit(limit)
    if part.has_index:
        rows = rows.where(part.known)
    if after is not None:
        rows = rows.where(tuple_(*part.place) > tuple_(*after))
    found = session.execute(rows).all()
    if not found:
        return None
    last = tuple(found[-1])
    bounds = [tuple_(*part.place) <= tuple_(*last)] + ([] if after is None else [tuple_(*part.place) > tuple_(*after)])
    change = update(part.model).where(own, part.known, *bounds).values(part.nothing)
    session.execute(change.execution_options(synchronize_session=False))
    return last


# The ledger


def enter_erasure(session: Session, erased: Erased) -> None:
    """Enter an erasure; one that is in the ledger already stays as it is."""
    session.execute(insert(Erasure).values(erased._asdict()).on_conflict_do_nothing())


def page_of_erasures(session: Session, limit: int, after: tuple[int, datetime] | None) -> list[Erased]:
    """Up to `limit` lines of the ledger, by user and moment, those behind the place `after`."""
    place = (Erasure.user_id, Erasure.erased_at)
    page = select(*(getattr(Erasure, name) for name in Erased._fields)).order_by(*place).limit(limit)
    if after is not None:
        page = page.where(tuple_(*place) > tuple_(*after))
    return [Erased(*row) for row in session.execute(page)]
