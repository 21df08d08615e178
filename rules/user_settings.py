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
) -> User:
    """Give a user another rating or other overrides, for every event judged from now on; None keeps what there is.

    `must_match` is called under the user's lock with the present version; if it raises, nothing is stored. Raises
    UnknownUser, and BadPayload if overrides contradict what the rules are set to, or each other.
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
            before = _shown(user)
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
    """Note in the log of changes how a user is judged from now on."""
    subject = str(user.user_id)
    add_log_entry(
        session, who=who, kind="user", subject=subject, what=what, before=before, after=_shown(user), note=note
    )


def _shown(user: User) -> dict[str, Any]:
    """What the log says of a user."""
    return {"version": user.settings_version, "risk": user.risk, "overrides": user.overrides}
