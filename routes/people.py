"""People: erasing one when the law allows it, and handing out all that is known of one."""

from datetime import UTC, datetime
from typing import Annotated

from flask import Blueprint, Response, current_app
from pydantic import Field

from routes.http.access import caller
from routes.http.answers import json_answer
from routes.http.hooks import service
from routes.http.operation import Nothing, Operation, describe
from routes.http.paging import read_query
from routes.http.person_file import person_file
from routes.http.problems import DATABASE_AWAY, Problem
from routes.http.unknown import unknown_user
from routes.schemas.fields import Query, query_filter
from routes.schemas.person import PersonAnswer
from routes.schemas.users import UserAnswer
from rules.payload import FieldProblem
from rules.user_settings import UnknownUser
from rules.values import written_moment
from work.erasure import NamesThePerson, ask_for_erasure, erase_rest
from work.retention import Retained, Retention

blueprint = Blueprint("people", __name__)

# Seconds after which an erasure goes on in the background: who asked for it waits for no longer.
PATIENCE = 2.0

USER = {"user_id": {"description": "The id of a user."}}
Override = Annotated[
    Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00]*[^\x00\s][^\x00]*$")] | None,
    query_filter(
        "Why it is erased although the law's time is not over: no such law applies.", "Asked for by the person."
    ),
]


class ErasureQuery(Query):
    """Whether to erase a user before the law's time is over."""

    override: Override = None


def kept(user_id: int, found: Retained) -> Problem:
    """The answer to who asks to erase a user whose data must be kept."""
    if found.legal_hold:
        why = "A legal hold keeps the data of user {}."
    elif found.until is None:
        why = "The account of user {} is open: the law keeps its data, from when it is closed for some years more."
    else:
        why = "The law keeps the data of user {} until then."
    return Problem(
        409,
        f"{why.format(user_id)} The user is marked, and erased when nothing keeps the data any more.",
        kind="kept",
        more={"retained_until": found.until and written_moment(found.until), "legal_hold": found.legal_hold},
    )


BAD_OVERRIDE = Problem(
    400,
    "The query has bad parameters.",
    errors=[FieldProblem("/override", "must not have the person's name in it: it is kept")],
)


@blueprint.delete("/users/<id:user_id>")
@describe(
    Operation(
        needs="admin",
        path=USER,
        query=ErasureQuery,
        answers={
            202: UserAnswer,
            204: Nothing("The user is erased: nothing that is stored links the number to a person."),
        },
        problems=(
            BAD_OVERRIDE,
            unknown_user(7),
            kept(7, Retained(datetime(2031, 1, 31, 12, tzinfo=UTC), legal_hold=False)),
            DATABASE_AWAY,
        ),
    )
)
def erase_user(user_id: int) -> Response:
    """Erase the person behind a user.

    The name goes, and so do the ids and the notes that others gave: `event_id` of the actions, and notes about the
    user, the settings, mutes and alerts. The number, the actions, the alerts and their evidence stay, so that sums and
    proofs still hold. An event that is sent again with its old `event_id` is a new event from then on.

    While the law or a legal hold keeps the data, the answer is a 409 with `retained_until` (null if there is no end
    yet), and the user is marked: it is erased some minutes after nothing keeps the data any more. `override` erases at
    once where no such law applies, for a reason that is kept; a hold cannot be overridden. A 202 means that the name is
    gone and the rest follows in the background, as of a user with very many actions: it is done when `GET /users/{id}`
    has no `erasure_requested_at`. A user who was erased before is erased again, of what has come since.
    """
    query, ours = read_query(ErasureQuery), service()
    retention, who = Retention.of(current_app.extensions), caller().name
    try:
        asked = ours.run(lambda session: ask_for_erasure(session, user_id, retention, who=who, override=query.override))
    except UnknownUser:
        raise unknown_user(user_id) from None
    except NamesThePerson:
        raise BAD_OVERRIDE.anew() from None
    if asked.kept is not None:
        raise kept(user_id, asked.kept)
    if erase_rest(ours.run, user_id, seconds=PATIENCE):
        return Response(status=204)
    return json_answer(UserAnswer.of(asked.user), 202)


@blueprint.get("/users/<id:user_id>/export")
@describe(
    Operation(
        needs="admin",
        path=USER,
        answers={200: PersonAnswer},
        problems=(unknown_user(7), DATABASE_AWAY),
        streams=True,
    )
)
def export_user(user_id: int) -> Response:
    """Export everything about a user as one JSON file.

    It shows one moment, however long it takes: name and balance, how the user was judged, all actions with their ids,
    alerts with their evidence and histories, mutes, what the log says, what webhooks were sent, what is left of removed
    actions, and erasures. If the database is lost in between, the connection is cut, so that no HTTP client takes a
    part for the whole. At most two exports at a time, and ten minutes for each; each is an entry in the log.
    """
    return person_file(user_id)
