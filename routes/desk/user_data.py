"""The page on a user's account and data: closing and holding the account, erasing the person, and the file with all."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import partial
from typing import Annotated, Any

from flask import Blueprint, Response, current_app
from pydantic import BaseModel, Field

from database.models import User
from routes.desk.forms import MAX_FORM, BadForm, read_form
from routes.desk.shell import go, page
from routes.http.access import caller
from routes.http.hooks import service
from routes.http.operation import needs
from routes.http.pages import DESK
from routes.http.unknown import unknown_user
from routes.schemas.rules import Note
from rules.user_settings import UnknownUser, existing_user, set_user
from work.erasure import (
    AccountChange,
    HasBegun,
    NamesThePerson,
    ask_for_erasure,
    change_account,
    erase_rest,
)
from work.retention import Retention

blueprint = Blueprint("desk_user_data", __name__, template_folder="../templates")

PATIENCE = 2.0  # seconds after which an erasure goes on in the background


class AccountForm(BaseModel):
    """When the account was closed, whether there is a hold, and why."""

    closed_on: date | None = None
    legal_hold: bool = False
    note: Note = None


class ErasureForm(BaseModel):
    """The number of the user once more, and why the law does not keep the data."""

    confirm: str = ""
    override: Annotated[str, Field(max_length=500)] = ""


@blueprint.get("/desk/users/<id:user_id>/data")
@needs("admin")
def get_user_data_page(user_id: int) -> Response:
    """The page with its forms."""
    return _shown(user_id)


@blueprint.post("/desk/users/<id:user_id>/account")
@needs("admin", max_body=MAX_FORM)
def set_account_from_page(user_id: int) -> Response:
    """Close, reopen or hold an account."""
    try:
        wanted = read_form(AccountForm)
        closed_at = None if wanted.closed_on is None else datetime(*wanted.closed_on.timetuple()[:3], tzinfo=UTC)
        if closed_at is not None and closed_at > datetime.now(UTC):
            raise BadForm({"closed_on": "Must not be in the future."}, {"closed_on": str(wanted.closed_on)})
    except BadForm as bad:
        return _shown(user_id, 400, faults=bad.faults, entered=bad.entered)

    def change(session: Any, user: User) -> None:
        # A day that is sent back as it was is the same moment.
        same = user.closed_at is not None and user.closed_at.astimezone(UTC).date() == wanted.closed_on
        account = AccountChange(
            closed_at=None if same else closed_at, reopens=closed_at is None, legal_hold=wanted.legal_hold
        )
        change_account(session, user, account, who=caller().name)

    return _changed(user_id, change, wanted.note or None)


@blueprint.post("/desk/users/<id:user_id>/erasure")
@needs("admin", max_body=MAX_FORM)
def erase_from_page(user_id: int) -> Response:
    """Erase the person, or mark the user to be erased later."""
    try:
        wanted = read_form(ErasureForm)
        if wanted.confirm != str(user_id):
            raise BadForm({"confirm": f"Enter {user_id} to confirm."}, wanted.model_dump())
    except BadForm as bad:
        return _shown(user_id, 400, faults=bad.faults, entered=bad.entered)
    retention, who = Retention.of(current_app.extensions), caller().name
    try:
        asked = service().run(
            partial(ask_for_erasure, user_id=user_id, retention=retention, who=who, override=wanted.override or None)
        )
    except UnknownUser:
        raise unknown_user(user_id) from None
    except NamesThePerson:
        return _shown(user_id, 400, faults={"override": "Must not name the person: it is kept."})
    if asked.kept is None:
        erase_rest(service().run, user_id, seconds=PATIENCE)
    return go(f"{DESK}/users/{user_id}/data")


@blueprint.post("/desk/users/<id:user_id>/erasure/withdraw")
@needs("admin")
def withdraw_from_page(user_id: int) -> Response:
    """Take back that the user is to be erased."""
    return _changed(
        user_id, partial(change_account, wanted=AccountChange(erasure_requested=False), who=caller().name), None
    )


def _changed(user_id: int, change: Any, note: str | None) -> Response:
    try:
        set_user(
            service(),
            user_id,
            risk=None,
            overrides=None,
            who=caller().name,
            note=note,
            must_match=lambda _: None,
            also=change,
        )
    except UnknownUser:
        raise unknown_user(user_id) from None
    except HasBegun:
        return _shown(user_id, 409, faults={"": "The erasure has begun; it cannot be taken back."})
    return go(f"{DESK}/users/{user_id}/data")


def _shown(
    user_id: int,
    status: int = 200,
    *,
    faults: Mapping[str, str] | None = None,
    entered: Mapping[str, str] | None = None,
) -> Response:
    try:
        user = service().read(lambda session: existing_user(session, user_id))
    except UnknownUser:
        raise unknown_user(user_id) from None
    retention = Retention.of(current_app.extensions)
    return page(
        "desk/user_data.html",
        status=status,
        user=user,
        years=retention.years,
        kept=retention.kept(user, datetime.now(UTC)),
        until=retention.until(user),
        closed_on="" if user.closed_at is None else f"{user.closed_at.astimezone(UTC):%Y-%m-%d}",
        faults=faults or {},
        entered=entered or {},
    )
