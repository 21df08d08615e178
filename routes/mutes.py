"""Mutes: a user's alerts of one rule stay out of lists for a while."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response
from sqlalchemy.orm import Session

from routes.http.access import caller
from routes.http.answers import json_answer
from routes.http.bodies import TOO_LARGE
from routes.http.hooks import service
from routes.http.json_body import read_model
from routes.http.operation import Operation, describe
from routes.http.problems import DATABASE_AWAY, NOT_JSON, Problem
from routes.http.unknown import unknown_rule, unknown_user
from routes.schemas.mutes import MuteAnswer, MuteRequest, MutesAnswer
from rules.payload import FieldProblem
from rules.user_settings import UnknownUser, existing_user
from work.mutes import LONGEST, BadEnd, MuteSet, NotMuted, UnknownRule, mutes_of, set_mute
from work.mutes import end_mute as end_mute_of

blueprint = Blueprint("mutes", __name__)

BAD_MUTE = Problem(
    400,
    "The request has missing or bad fields.",
    errors=[FieldProblem("/until", f"must be in the future, and at most {LONGEST.days} days ahead")],
)
PATH: Mapping[str, Mapping[str, Any]] = {
    "user_id": {"description": "The id of a user."},
    "code": {"description": "The code of a rule.", "example": 1100},
}


def not_muted(user_id: int, code: int) -> Problem:
    """The answer when no such mute is in force."""
    return Problem(404, f"Rule {code} is not muted for user {user_id}.", kind="not-muted")


@blueprint.get("/users/<id:user_id>/mutes")
@describe(
    Operation(
        needs="read",
        path={"user_id": PATH["user_id"]},
        answers={200: MutesAnswer},
        problems=(unknown_user(7), DATABASE_AWAY),
    )
)
def list_mutes(user_id: int) -> Response:
    """List a user's mutes in force."""

    def read(session: Session) -> MutesAnswer:
        existing_user(session, user_id)
        return MutesAnswer(mutes=[MuteAnswer.of(mute) for mute in mutes_of(session, user_id)])

    try:
        return json_answer(service().read(read))
    except UnknownUser:
        raise unknown_user(user_id) from None


@blueprint.put("/users/<id:user_id>/mutes/<id:code>")
@describe(
    Operation(
        needs="work",
        path=PATH,
        body=MuteRequest,
        answers={200: MuteAnswer, 201: MuteAnswer},
        problems=(BAD_MUTE, unknown_user(7), unknown_rule(7), TOO_LARGE, NOT_JSON, DATABASE_AWAY),
    )
)
def mute(user_id: int, code: int) -> Response:
    """Mute a rule for a user.

    Until then, the user's alerts of this rule stay out of lists, counts and the queue, those that are there and those
    to come, unless a list asks for them (`muted`). Events are judged and answered, and alerts stored, as ever. A mute
    that is in force is replaced: 200, else 201.
    """
    wanted, who = read_model(MuteRequest), caller().name

    def change(session: Session) -> MuteSet:
        until, note = wanted.until, wanted.note or None
        return set_mute(session, user_id, code, until=until, note=note, who=who, now=datetime.now(UTC))

    try:
        found = service().run(change)
    except BadEnd:
        raise BAD_MUTE.anew() from None
    except UnknownRule:
        raise unknown_rule(code) from None
    except UnknownUser:
        raise unknown_user(user_id) from None
    headers = {"Location": f"/users/{user_id}/mutes"} if found.is_new else {}
    return json_answer(MuteAnswer.of(found.mute), 201 if found.is_new else 200, headers)


@blueprint.delete("/users/<id:user_id>/mutes/<id:code>")
@describe(Operation(needs="work", path=PATH, answers={200: MuteAnswer}, problems=(not_muted(7, 1100), DATABASE_AWAY)))
def end_mute(user_id: int, code: int) -> Response:
    """End a mute before its time.

    The answer is the mute as it was.
    """
    who = caller().name
    try:
        ended = service().run(lambda session: end_mute_of(session, user_id, code, who=who))
    except NotMuted:
        raise not_muted(user_id, code) from None
    return json_answer(MuteAnswer.of(ended))
