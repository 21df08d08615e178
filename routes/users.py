"""Users: create one, read one, change one, list a user's actions."""

from datetime import datetime
from functools import partial

from flask import Blueprint, Response, current_app
from sqlalchemy.orm import Session

from database import actions, users
from database.models import User, UserAction
from database.session import Transaction
from routes.http.access import caller, must_be_author, must_hold
from routes.http.answers import json_answer
from routes.http.bodies import TOO_LARGE
from routes.http.etags import changed, must_match, tagged
from routes.http.hooks import service
from routes.http.json_body import read_model
from routes.http.operation import Operation, describe
from routes.http.paging import BAD_QUERY, cut, place, read_query
from routes.http.problems import DATABASE_AWAY, EXHAUSTED, NOT_JSON, Problem
from routes.http.unknown import unknown_user
from routes.schemas.user_actions import ActionAnswer, ActionsAnswer, ActionsQuery
from routes.schemas.users import (
    UserAnswer,
    UserChange,
    UserChangedAnswer,
    UserChangeRequest,
    UserRequest,
    UserRulesAnswer,
)
from rules.payload import FieldProblem
from rules.user_settings import UnknownUser, existing_user, log_user, set_user
from work.erasure import HasBegun, change_account
from work.retention import Retention

blueprint = Blueprint("users", __name__)

BAD_USER = Problem(
    400,
    "The request has missing or bad fields.",
    errors=[FieldProblem("/total", 'must be 1 to 12 digits with at most 2 decimals, such as "42.00"')],
)
BAD_CHANGE = Problem(
    400,
    "The request has missing or bad fields.",
    errors=[FieldProblem("/risk", "Input should be 'low', 'normal' or 'high'")],
)
BEING_ERASED = Problem(
    409, "The user's erasure has begun; it cannot be taken back. Nothing was stored.", kind="being-erased"
)

USER = {"user_id": {"description": "The id of a user."}}

# How many ids to try for a new user: callers may have taken some of them by choosing ids themselves.
ID_ATTEMPTS = 20


def user_exists(user_id: int) -> Problem:
    """The answer to a new user whose id is taken."""
    return Problem(409, f"User {user_id} already exists.", kind="user-exists")


@blueprint.post("/user", endpoint="create_user_at_old_path")
@blueprint.post("/users")
@describe(
    Operation(
        needs="ingest",
        body=UserRequest,
        deprecated=("/user",),
        answers={201: UserAnswer},
        problems=(BAD_USER, user_exists(7), EXHAUSTED, TOO_LARGE, NOT_JSON, DATABASE_AWAY),
    )
)
def create_user() -> Response:
    """Create a user.

    Every field is optional. `Location` says where to read the new user; an id that is taken gets a 409. A `risk` other
    than `normal` needs the scope `tune` as well.
    """
    wanted = read_model(UserRequest)
    if wanted.risk != "normal":
        must_hold("tune")
    user = service().run(lambda session: _create(session, wanted))
    return json_answer(UserAnswer.of(user), 201, {"Location": f"/users/{user.user_id}"})


@blueprint.get("/users/<id:user_id>")
@describe(
    Operation(
        needs="read", path=USER, answers={200: UserAnswer}, problems=(unknown_user(7), DATABASE_AWAY), tagged=True
    )
)
def get_user(user_id: int) -> Response:
    """Read a user with the present balance.

    `overrides` is there if the user has any, and so are `closed_at`, `legal_hold`, `retained_until`,
    `erasure_requested_at` and `erased_at`.
    """
    user = service().read(lambda session: _existing(session, user_id))
    return tagged(UserAnswer.of(user, _retained_until(user)), user.settings_version)


@blueprint.patch("/users/<id:user_id>")
@describe(
    Operation(
        needs="tune",
        path=USER,
        body=UserChangeRequest,
        answers={200: UserChangedAnswer},
        problems=(BAD_CHANGE, unknown_user(7), EXHAUSTED, BEING_ERASED, changed(), TOO_LARGE, NOT_JSON, DATABASE_AWAY),
        tagged=True,
    )
)
def change_user(user_id: int) -> Response:
    """Change a user: how one is judged, and what keeps the data.

    Sets the risk rating and the overrides, which are values of rule parameters for this user alone. What is left out
    stays as it is; `overrides` is replaced as a whole. The change is in force for every event judged after the answer.
    With `If-Match`, the answer is a 412 if somebody else has changed the rating or the overrides in the meantime.

    `closed_at`, `legal_hold` and `erasure_requested` need the scope `admin` as well. They say how long the data of the
    person is kept: the law's years run from `closed_at`, and a hold has no end. With `erasure_requested` the user is
    erased some minutes after nothing keeps the data any more; `DELETE /users/{id}` asks for the same.
    """
    wanted = read_model(UserChange)
    must_be_author(wanted.author)
    account, who = wanted.account(), caller().name
    if account is not None:
        must_hold("admin")
    try:
        user = set_user(
            service(),
            user_id,
            risk=wanted.risk if "risk" in wanted.model_fields_set else None,
            overrides=None if wanted.overrides is None else wanted.overrides.values(),
            who=who,
            note=wanted.note or None,
            must_match=must_match,
            also=None if account is None else partial(change_account, wanted=account, who=who),
        )
    except UnknownUser:
        raise unknown_user(user_id) from None
    except HasBegun:
        raise BEING_ERASED.anew() from None
    return tagged(UserChangedAnswer.of(user, _retained_until(user)), user.settings_version)


@blueprint.get("/users/<id:user_id>/rules")
@describe(Operation(needs="read", path=USER, answers={200: UserRulesAnswer}, problems=(unknown_user(7), DATABASE_AWAY)))
def list_user_rules(user_id: int) -> Response:
    """List all rules with the parameters in force for a user.

    Each parameter has its value in force and its origin: the user's override, else the value for the user's rating,
    else the default scaled by the rating (money only), else the default.
    """
    rules, user = service().read(lambda session: (service().rules(session), _existing(session, user_id)))
    return json_answer(UserRulesAnswer.of(user, (change.setting for change in rules.values())))


@blueprint.get("/users/<id:user_id>/actions")
@describe(
    Operation(
        needs="read",
        path=USER,
        query=ActionsQuery,
        answers={200: ActionsAnswer},
        problems=(BAD_QUERY, unknown_user(7), DATABASE_AWAY),
    )
)
def list_user_actions(user_id: int) -> Response:
    """List a user's actions, newest first.

    `from` and `to` bound the time (in seconds, both included). `next` is the cursor of the next page.
    """
    query = read_query(ActionsQuery)
    before = place(query)

    def read(session: Session) -> list[UserAction]:
        _existing(session, user_id)
        return list(
            actions.page_of_actions(
                session, user_id, limit=query.to_read, start=query.start, end=query.end, before=before
            )
        )

    page, following = cut(service().read(read), query, lambda action: (action.time, action.seq))
    return json_answer(ActionsAnswer(actions=[ActionAnswer.of(action) for action in page], next=following))


def _create(session: Session, wanted: UserRequest) -> User:
    with Transaction(session) as transaction:
        for _ in range(1 if wanted.user_id else ID_ATTEMPTS):
            user_id = wanted.user_id or users.next_user_id(session)
            if users.create_user(session, user_id, name=wanted.name or None, total=wanted.total, risk=wanted.risk):
                user = _existing(session, user_id)
                if wanted.risk != "normal":
                    log_user(session, "created", user, who=caller().name)
                transaction.commit()
                return user
            if not wanted.user_id:
                users.skip_taken_ids(session, user_id)
    if wanted.user_id:
        raise user_exists(wanted.user_id)
    raise Problem(503, "No free user id was found; try again.")


def _existing(session: Session, user_id: int) -> User:
    try:
        return existing_user(session, user_id)
    except UnknownUser:
        raise unknown_user(user_id) from None


def _retained_until(user: User) -> datetime | None:
    return Retention.of(current_app.extensions).until(user)
