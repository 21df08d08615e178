"""Erasing people: the name goes, and so do the ids and notes that others gave; what is left is linked to no person.

An erasure begins in one transaction, which takes the name away and enters the ledger; nothing holds it up from then on.
The rest follows in stretches, each a transaction of its own, so that events of the user wait for none of them for long:
whoever finds an erasure that was begun goes on with it. docs/decisions/erasure.md has what happens to each column.
"""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple, TypeVar
from unicodedata import normalize

import structlog
from sqlalchemy.orm import Session

from database import erasures, users
from database.erasures import PARTS, Erased, Part, Place, has_begun
from database.log_entries import add_log_entry
from database.models import User
from database.session import Transaction
from rules.user_settings import UnknownUser, log_user, shown_in_log
from rules.values import written_moment
from work.retention import Retained, Retention

T = TypeVar("T")

Run = Callable[[Callable[[Session], T]], T]  # as of a Service: does work in a session of its own

STRETCH = 1_000  # rows of one transaction: some 50 ms
PAGE = 100  # users that are looked at at a time
BY_ITSELF = "service"  # who erases what somebody asked for when it is due

log = structlog.get_logger()


class NamesThePerson(Exception):
    """The reason for an override has the name in it that is to be erased; the ledger would keep it."""


class Asked(NamedTuple):
    """What came of a request to erase a user: what keeps the user, or None if the erasure has begun."""

    user: User
    kept: Retained | None


def ask_for_erasure(
    session: Session, user_id: int, retention: Retention, *, who: str, override: str | None = None
) -> Asked:
    """Begin to erase a user if nothing keeps the data, or mark that this is to be done as soon as nothing does.

    With `override`, the reason for it, the law keeps nothing, but a hold does. Raises UnknownUser and NamesThePerson.
    """
    with Transaction(session) as transaction:
        user = users.lock_user(session, user_id)
        if user is None:
            raise UnknownUser
        if override is not None and names(override, user.name):
            raise NamesThePerson
        kept = None
        if not has_begun(user):
            kept = retention.kept(user, datetime.now(UTC), override=override is not None)
            if kept is None:
                _begin(session, user, asked_by=who, who=who, override=override)
            elif user.erasure_requested_at is None:
                before = shown_in_log(user)
                erasures.request_erasure(session, user, who=who)
                log_user(session, "erasure requested", user, who=who, before=before)
        transaction.commit()
    return Asked(user, kept)


def names(text: str, name: str | None) -> bool:
    """Whether a text has this name in it, or a word of it, however either is written."""
    if name is None:
        return False
    text, name = (normalize("NFKC", one).casefold() for one in (text, name))
    # In Chinese, say, no spaces set words apart.
    return not _words(text).isdisjoint(_words(name)) or (not name.isascii() and name.strip() in text)


def _words(text: str) -> set[str]:
    # A single letter is in too many texts to be a name.
    return set(re.findall(r"[^\W_]{2,}", text))


def _begin(session: Session, user: User, *, asked_by: str, who: str, override: str | None = None) -> None:
    erasures.begin_erasure(session, user, who=asked_by, override=override)
    assert user.erased_at is not None
    after = {"erased_at": written_moment(user.erased_at)}
    if override is not None:
        after["override"] = override
    add_log_entry(session, who=who, kind="user", subject=str(user.user_id), what="erased", after=after)


class AccountChange(NamedTuple):
    """What to change about what keeps a user's data; None keeps what there is."""

    closed_at: datetime | None = None
    reopens: bool = False
    legal_hold: bool | None = None
    erasure_requested: bool | None = None


class HasBegun(Exception):
    """The erasure of the user has begun: it cannot be taken back any more."""


def change_account(session: Session, user: User, wanted: AccountChange, *, who: str) -> None:
    """Change what keeps a locked user's data, or whether it is to be erased when nothing does. Raises HasBegun."""
    if wanted.erasure_requested is False and has_begun(user):
        raise HasBegun
    is_requested = user.erasure_requested_at is not None
    if wanted.erasure_requested and not is_requested:
        erasures.request_erasure(session, user, who=who)
    elif wanted.erasure_requested is False and is_requested:
        erasures.withdraw_erasure(session, user)
    erasures.change_account(
        session,
        user,
        closed_at=None if wanted.reopens else wanted.closed_at or user.closed_at,
        legal_hold=user.legal_hold if wanted.legal_hold is None else wanted.legal_hold,
    )


def erase_rest(run: Run[Any], user_id: int, *, seconds: float | None = None) -> bool:
    """Go on with an erasure that was begun, until it is done or some seconds have passed. Returns whether it is done.

    After each stretch it rests for as long as that took, so that the user's events get their turn.
    """
    ends = None if seconds is None else time.monotonic() + seconds
    for part in PARTS:
        after: Place | None = None
        while True:
            began = time.monotonic()
            if ends is not None and began >= ends:
                return False
            after = run(partial(_erase_stretch, user_id=user_id, part=part, after=after))
            if after is None:
                break
            time.sleep(time.monotonic() - began)
    run(partial(_end, user_id=user_id))
    return True


def _erase_stretch(session: Session, *, user_id: int, part: Part, after: Place | None) -> Place | None:
    with Transaction(session) as transaction:
        # Late events write to the same rows, in another order.
        users.lock_user(session, user_id)
        last = erasures.erase_stretch(session, user_id, part, after, STRETCH)
        transaction.commit()
    return last


def _end(session: Session, *, user_id: int) -> None:
    with Transaction(session) as transaction:
        user = users.lock_user(session, user_id)
        if user is None or not has_begun(user):
            return  # another process has done the same
        assert user.erased_at is not None
        # Before the commit: whoever saves the log has the line at least once.
        log.info("user_erased", user_id=user_id, erased_at=written_moment(user.erased_at))
        erasures.end_erasure(session, user)
        transaction.commit()


def erase_due(run: Run[Any], retention: Retention, *, seconds: float | None = None) -> tuple[int, bool]:
    """Erase who was asked to be erased and is kept by nothing any more, until some seconds have passed.

    Returns how many users were erased, and whether there are no more. Users that somebody has locked are passed over:
    they are there the next time.
    """
    ends = None if seconds is None else time.monotonic() + seconds
    erased, after = 0, 0
    while True:
        closed_before = retention.closed_before(datetime.now(UTC))
        page = run(partial(erasures.page_of_users_to_erase, closed_before=closed_before, limit=PAGE, after=after))
        for user_id in page:
            left = None if ends is None else ends - time.monotonic()
            if left is not None and left <= 0:
                return erased, False
            if run(partial(_begin_due, user_id=user_id, retention=retention)):
                if not erase_rest(run, user_id, seconds=left):
                    return erased, False
                erased += 1
        if len(page) < PAGE:
            return erased, True
        after = page[-1]


def _begin_due(session: Session, *, user_id: int, retention: Retention) -> bool:
    """Begin an erasure if it is due. Returns whether there is one that has begun."""
    with Transaction(session) as transaction:
        user = erasures.lock_if_free(session, user_id)
        if user is None or user.erasure_requested_at is None:
            return False
        if not has_begun(user):
            if retention.kept(user, datetime.now(UTC)) is not None:
                return False
            _begin(session, user, asked_by=user.erasure_requested_by or BY_ITSELF, who=BY_ITSELF)
            transaction.commit()
        return True


# After a restore


class Applied(NamedTuple):
    """What was made of the lines of a ledger: users erased again, already erased, and not in this database."""

    again: int = 0
    already: int = 0
    unknown: int = 0


def erase_again(run: Run[Any], line: Erased) -> Applied:
    """Erase a user again if the database has the user as before this erasure; either way the line is in its ledger.

    It happened, so nothing that keeps people's data is asked.
    """
    found: bool | None = run(partial(_begin_again, line=line))
    if found is None:
        return Applied(unknown=1)
    if found:
        erase_rest(run, line.user_id)
        return Applied(again=1)
    return Applied(already=1)


def _begin_again(session: Session, *, line: Erased) -> bool | None:
    with Transaction(session) as transaction:
        user = users.lock_user(session, line.user_id)
        if user is None:
            erasures.enter_erasure(session, line)
            transaction.commit()
            return None
        if user.erased_at is not None and user.erased_at >= line.erased_at:
            is_unfinished = has_begun(user)
            erasures.enter_erasure(session, line)
        else:
            is_unfinished = True
            erasures.begin_erasure_again(session, user, line)
        transaction.commit()
        return is_unfinished
