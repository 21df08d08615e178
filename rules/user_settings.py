"""How users are judged besides what the rules are set to: changing a user's rating and overrides."""

import json
from collections.abc import Callable, Mapping
from typing import Any, cast

from sqlalchemy.orm import Session  # noqa: TID251

from database import users  # noqa: TID251
from database.log_entries import add_log_entry  # noqa: TID251
from database.models import User  # noqa: TID251
from database.session import Transaction  # noqa: TID251
from database.users import ManyAlerts  # noqa: TID251
from rules.conflicts import override_conflicts
from rules.model import Risk, Value
from rules.parameters import written_values
from rules.payload import conflicting
from rules.service import Service
from rules.values import written_moment
from rules.versions import RuleChange

Overrides = Mapping[str, Mapping[str, Value]]  # values of rules' parameters for one user, by code and name


class UnknownUser(Exception):
    """There is no such user."""


def existing_user(session: Session, user_id: int) -> User:
    """The user. Raises UnknownUser."""
    user = users.get_user(session, user_id)
    if user is None:
        raise UnknownUser
    return user


def set_user(
    service: Service,
    user_id: int,
    *,
    risk: Risk | None,
    overrides: Overrides | None,
    who: str,
    note: str | None,
    must_match: Callable[[int], None],
    also: Callable[[Session, User], None] | None = None,
) -> User:
    """Give a user another rating or other overrides, for every event judged from now on; None keeps what there is.

    `must_match` is called under the user's lock with the present version; if it raises, nothing is stored. `also`
    changes something else about the locked user; with it alone there is no new version. Raises UnknownUser, and
    BadPayload if overrides contradict what the rules are set to, or each other.
    """
    # Read before, since that may store what is declared.
    rules = service.run(service.rules) if overrides else {}

    def change(session: Session, *, may_take_long: bool) -> User:
        with Transaction(session) as transaction:
            user = users.lock_user(session, user_id)
            if user is None:
                raise UnknownUser
            must_match(user.settings_version)
            if overrides is not None:
                must_agree(overrides, risk or cast(Risk, user.risk), rules)
            before = shown_in_log(user)
            if also is not None:
                also(session, user)
            if also is None or risk is not None or overrides is not None:
                users.change_user(
                    session,
                    user,
                    risk=risk,
                    overrides=None if overrides is None else json.dumps(written(overrides)),
                    author=who,
                    note=note,
                    may_take_long=may_take_long,
                )
            log_user(session, "changed", user, who=who, before=before, note=note)
            transaction.commit()
        return user

    try:
        return service.run(lambda session: change(session, may_take_long=False))
    except ManyAlerts:
        return service.run_long(lambda session: change(session, may_take_long=True))


def must_agree(overrides: Overrides, risk: Risk, rules: Mapping[int, RuleChange]) -> None:
    """Raise BadPayload if overrides contradict what the rules are set to for a user of this rating, or each other."""
    found = [
        (("overrides", code, name), sentence)
        for code, own in overrides.items()
        for name, sentence in override_conflicts(rules[int(code)].setting, risk, own).items()
    ]
    if found:
        raise conflicting(found)


def written(overrides: Overrides) -> dict[str, dict[str, str | int]]:
    """Overrides in their JSON form."""
    return {code: written_values(values) for code, values in overrides.items()}


def log_user(
    session: Session,
    what: str,
    user: User,
    *,
    who: str,
    before: dict[str, Any] | None = None,
    note: str | None = None,
) -> None:
    """Note in the log of changes what a user is from now on."""
    add_log_entry(
        session,
        who=who,
        kind="user",
        subject=str(user.user_id),
        what=what,
        before=before,
        after=shown_in_log(user),
        note=note,
    )


def shown_in_log(user: User) -> dict[str, Any]:
    """What the log says of a user: how it is judged, and what keeps its data or not, if anything does."""
    account = {
        "closed_at": user.closed_at and written_moment(user.closed_at),
        "legal_hold": user.legal_hold,
        "erasure_requested": user.erasure_requested_at is not None,
    }
    settings = {"version": user.settings_version, "risk": user.risk, "overrides": user.overrides}
    return settings | {name: value for name, value in account.items() if value}
