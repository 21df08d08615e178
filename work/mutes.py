"""Muting a user's alerts of a rule for a while: they stay out of lists, counts and the queue."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from database import mutes, users
from database.log_entries import add_log_entry
from database.models import Mute
from database.session import Transaction
from rules.registry import REGISTRY
from rules.user_settings import UnknownUser
from rules.values import written_moment

LONGEST = timedelta(days=180)


class UnknownRule(Exception):
    """There is no such rule."""


class NotMuted(Exception):
    """No such mute is in force."""


class BadEnd(Exception):
    """A mute cannot last until this moment."""


class MuteInForce(NamedTuple):
    """A mute as it is, or was when it was read."""

    user_id: int
    code: int
    until: datetime
    note: str | None
    who: str
    created_at: datetime


class MuteSet(NamedTuple):
    """A mute that has been set, and whether there was none before."""

    mute: MuteInForce
    is_new: bool


def set_mute(
    session: Session, user_id: int, code: int, *, until: datetime, note: str | None, who: str, now: datetime
) -> MuteSet:
    """Mute a rule for a user until a moment, in place of a mute that is in force.

    Raises BadEnd if that is not after `now` or more than LONGEST after it, UnknownRule or UnknownUser.
    """
    if not now < until <= now + LONGEST:
        raise BadEnd
    if code not in REGISTRY:
        raise UnknownRule
    with Transaction(session) as transaction:
        if users.get_user(session, user_id) is None:
            raise UnknownUser
        before = _stored(session, user_id, code)
        mutes.set_mute(session, user_id, code, until=until, note=note, who=who)
        after = _stored(session, user_id, code)
        assert after is not None
        _log(session, who, "set", after, before, after)
        transaction.commit()
    return MuteSet(after, before is None)


def end_mute(session: Session, user_id: int, code: int, *, who: str) -> MuteInForce:
    """End a mute before its time; returns it as it was. Raises NotMuted."""
    with Transaction(session) as transaction:
        before = _stored(session, user_id, code)
        if before is None:
            raise NotMuted
        mutes.end_mute(session, user_id, code)
        _log(session, who, "ended", before, before, None)
        transaction.commit()
    return before


def mutes_of(session: Session, user_id: int) -> list[MuteInForce]:
    """A user's mutes in force, by code."""
    return [in_force(mute) for mute in mutes.mutes_of(session, user_id)]


def _stored(session: Session, user_id: int, code: int) -> MuteInForce | None:
    found = mutes.find_mute(session, user_id, code)
    return None if found is None else in_force(found)


def in_force(mute: Mute) -> MuteInForce:
    """A mute as it is stored."""
    return MuteInForce(**{name: getattr(mute, name) for name in MuteInForce._fields})


def _log(
    session: Session, who: str, what: str, mute: MuteInForce, before: MuteInForce | None, after: MuteInForce | None
) -> None:
    def shown(one: MuteInForce | None) -> Any:
        return None if one is None else {"until": written_moment(one.until), "note": one.note}

    changed = {"subject": f"{mute.user_id}/{mute.code}", "before": shown(before), "after": shown(after)}
    add_log_entry(session, who=who, kind="mute", what=what, note=mute.note, **changed)
