"""Mutes: a user's alerts of one rule stay out of lists for a while."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response
from sqlalchemy.orm import Session

from database import mutes, users
from database.log_entries import add_log_entry
from database.session import Transaction
from routes.http.access import caller
from routes.http.answers import json_answer
from routes.http.bodies import TOO_LARGE
from routes.http.hooks import service
from routes.http.json_body import read_model
from routes.http.operation import Operation, describe
from routes.http.problems import DATABASE_AWAY, NOT_JSON, Problem
from routes.http.unknown import unknown_rule, unknown_user
from routes.schemas.mutes import LONGEST, MuteAnswer, MuteRequest, MutesAnswer
from rules.payload import FieldProblem
from rules.registry import REGISTRY

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
        _must_exist(session, user_id)
        return MutesAnswer(mutes=[MuteAnswer.of(mute) for mute in mutes.mutes_of(session, user_id)])

    return json_answer(service().read(read))


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
    if not wanted.is_fine(datetime.now(UTC)):
        raise BAD_MUTE.anew()
    if code not in REGISTRY:
        raise unknown_rule(code)

    def change(session: Session) -> tuple[MuteAnswer, bool]:
        with Transaction(session) as transaction:
            _must_exist(session, user_id)
            before = _stored(session, user_id, code)
            mutes.set_mute(session, user_id, code, until=wanted.until, note=wanted.note or None, who=who)
            after = _stored(session, user_id, code)
            assert after is not None
            _note(session, who, after, "set", before, after)
            transaction.commit()
        return after, before is None

    answer, is_new = service().run(change)
    return json_answer(answer, 201 if is_new else 200, {"Location": f"/users/{user_id}/mutes"} if is_new else {})


@blueprint.delete("/users/<id:user_id>/mutes/<id:code>")
@describe(Operation(needs="work", path=PATH, answers={200: MuteAnswer}, problems=(not_muted(7, 1100), DATABASE_AWAY)))
def end_mute(user_id: int, code: int) -> Response:
    """End a mute before its time.

    The answer is the mute as it was.
    """
    who = caller().name

    def change(session: Session) -> MuteAnswer:
        with Transaction(session) as transaction:
            before = _stored(session, user_id, code)
            if before is None:
                raise not_muted(user_id, code)
            mutes.end_mute(session, user_id, code)
            _note(session, who, before, "ended", before, None)
            transaction.commit()
        return before

    return json_answer(service().run(change))


def _must_exist(session: Session, user_id: int) -> None:
    if users.get_user(session, user_id) is None:
        raise unknown_user(user_id)


def _stored(session: Session, user_id: int, code: int) -> MuteAnswer | None:
    found = mutes.find_mute(session, user_id, code)
    return None if found is None else MuteAnswer.of(found)


def _note(
    session: Session, who: str, mute: MuteAnswer, what: str, before: MuteAnswer | None, after: MuteAnswer | None
) -> None:
    def shown(one: MuteAnswer | None) -> Any:
        return None if one is None else one.model_dump(mode="json", include={"until", "note"})

    changed = {"subject": f"{mute.user_id}/{mute.code}", "before": shown(before), "after": shown(after)}
    add_log_entry(session, who=who, kind="mute", what=what, note=mute.note, **changed)
