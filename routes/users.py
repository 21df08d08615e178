"""Users: make one, read one, list what one did."""

from decimal import Decimal

from flask import Blueprint, Response
from sqlalchemy.orm import Session

from database import queries
from database.models import User, UserAction
from database.session import begin, commit
from routes.answers import json_answer
from routes.context import with_session
from routes.json_body import read_object, validate
from routes.openapi import Operation, describe
from routes.paging import cut, place, read_query
from routes.problems import Problem
from routes.schemas import ActionsAnswer, ActionsQuery, UserAnswer, UserRequest

blueprint = Blueprint("users", __name__)

# Ids that callers brought themselves can stand in the way of a new one this often in a row, at most.
ID_ATTEMPTS = 20


@blueprint.post("/users")
@blueprint.post("/user", endpoint="create_user_alias")
@describe(Operation(body=UserRequest, answers={201: UserAnswer}, problems=(400, 409, 413, 415, 503)))
def create_user() -> Response:
    """Make a user.

    Every field is optional. The answer has the `Location` of the new user; an id that exists is a 409.
    """
    wanted = validate(UserRequest, read_object())
    user = with_session(lambda session: _create(session, wanted))
    return json_answer(_user(user), 201, {"Location": f"/users/{user.user_id}"})


@blueprint.get("/users/<id:user_id>")
@describe(Operation(answers={200: UserAnswer}, problems=(404, 503)))
def get_user(user_id: int) -> Response:
    """Read a user with the balance of this moment."""
    return json_answer(_user(with_session(lambda session: _existing(session, user_id))))


@blueprint.get("/users/<id:user_id>/actions")
@describe(Operation(query=ActionsQuery, answers={200: ActionsAnswer}, problems=(400, 404, 503)))
def list_actions(user_id: int) -> Response:
    """List a user's actions, newest first.

    `from` and `to` bound the time (seconds, both included); `next` is the cursor of the next page.
    """
    query = read_query(ActionsQuery)

    def read(session: Session) -> list[UserAction]:
        _existing(session, user_id)
        # One more than the page shows whether there is a next one.
        return list(queries.page_of_actions(session, user_id, query.limit + 1, query.start, query.end, place(query)))

    page, following = cut(with_session(read), query, lambda action: (action.time, action.seq))
    return json_answer(
        {
            "actions": [
                {
                    "seq": action.seq,
                    "type": action.type,
                    "amount": str(action.amount),
                    "time": action.time,
                    "event_id": action.event_id,
                }
                for action in page
            ],
            "next": following,
        }
    )


def _create(session: Session, wanted: UserRequest) -> User:
    begin(session)
    for _ in range(1 if wanted.user_id else ID_ATTEMPTS):
        user_id = wanted.user_id or queries.next_user_id(session)
        if queries.create_user(session, user_id, wanted.name or None, wanted.total, wanted.risk):
            user = _existing(session, user_id)
            commit(session)
            return user
        if not wanted.user_id:
            queries.skip_taken_ids(session, user_id)
    if wanted.user_id:
        raise Problem(409, f"User {wanted.user_id} exists.", kind="user-exists")
    raise Problem(503, "No free user id was found; try again.")


def _existing(session: Session, user_id: int) -> User:
    user = queries.get_user(session, user_id)
    if user is None:
        raise Problem(404, f"There is no user {user_id}.", kind="unknown-user")
    return user


def _user(user: User) -> dict[str, object]:
    return {
        "id": user.user_id,
        "name": user.name,
        "total": _money(user.total),
        "balance": _money(user.balance),
        "risk": user.risk,
    }


def _money(value: Decimal) -> str:
    return f"{value:.2f}"
