"""Keys: make one, list them, revoke one, or have a new one take its place."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TypeVar

from flask import Blueprint, Response, current_app

from access.key_changes import (
    ChangesFull,
    KeyChanges,
    KeyEnded,
    KeyRefused,
    LastAdmin,
    MadeKey,
    NameTaken,
    TooManyKeys,
    UnknownKey,
)
from access.keyring import Keyring
from database import keys
from database.session import CommitUncertain
from routes.http.access import caller
from routes.http.answers import json_answer
from routes.http.bodies import TOO_LARGE
from routes.http.hooks import service
from routes.http.json_body import read_model
from routes.http.operation import Operation, describe
from routes.http.paging import BAD_QUERY, cut, place, read_query
from routes.http.problems import DATABASE_AWAY, NOT_JSON, Problem
from routes.schemas.keys import KeyAnswer, KeyRequest, KeysAnswer, KeysQuery, MadeKeyAnswer, RotationRequest
from rules.payload import FieldProblem

T = TypeVar("T")

blueprint = Blueprint("keys", __name__)

_BAD = "The request has missing or bad fields."
BAD_KEY_REQUEST = Problem(
    400, _BAD, errors=[FieldProblem("/scopes/0", "Input should be 'ingest', 'read', 'work', 'tune' or 'admin'")]
)
BAD_ROTATION = Problem(400, _BAD, errors=[FieldProblem("/overlap_hours", "Input should be greater than or equal to 0")])
CHANGES_FULL = Problem(
    503, "Too many changes of keys are under way already; nothing was stored. Try again.", kind="key-changes-full"
)
KEY_UNCERTAIN = Problem(503, "The connection to the database broke; GET /keys shows what was stored.")
_REFUSALS: Mapping[type[KeyRefused], tuple[int, str]] = {
    UnknownKey: (404, "unknown-key"),
    NameTaken: (409, "name-taken"),
    TooManyKeys: (409, "too-many-keys"),
    KeyEnded: (409, "key-ended"),
    LastAdmin: (409, "last-admin"),
}


def refusal(refused: KeyRefused) -> Problem:
    """The answer to a change of keys that was refused."""
    status, kind = _REFUSALS[type(refused)]
    return Problem(status, str(refused), kind=kind)


UNKNOWN_KEY, TOO_MANY_KEYS = refusal(UnknownKey("k3yI2d4")), refusal(TooManyKeys())
_SHARED = (TOO_LARGE, NOT_JSON, DATABASE_AWAY, CHANGES_FULL)


@blueprint.post("/keys")
@describe(
    Operation(
        needs="admin",
        body=KeyRequest,
        answers={201: MadeKeyAnswer},
        problems=(BAD_KEY_REQUEST, refusal(NameTaken("payments")), TOO_MANY_KEYS, *_SHARED),
    )
)
def create_key() -> Response:
    """Make a key.

    `key` is what its holder sends, as `Authorization: Bearer`; nobody can read it again. A key may have scopes that its
    maker lacks, so `admin` is as good as all of them. The answer takes one or two seconds, after which the key works in
    every process. With the first key of all it takes five: from then on nobody is answered without one.
    """
    wanted = read_model(KeyRequest)
    return _made(_change(lambda changes: changes.make(wanted.terms(), who=caller().name)))


@blueprint.get("/keys")
@describe(Operation(needs="admin", query=KeysQuery, answers={200: KeysAnswer}, problems=(BAD_QUERY, DATABASE_AWAY)))
def list_keys() -> Response:
    """List keys, newest first, also those that were revoked or have expired.

    `next` is the cursor of the next page.
    """
    query = read_query(KeysQuery)
    before = place(query)
    found = service().read(lambda session: keys.page_of_keys(session, query.to_read, before[0] if before else None))
    page, following = cut(found, query, lambda row: (row.number,))
    return json_answer(KeysAnswer(keys=[KeyAnswer.of(row) for row in page], next=following))


@blueprint.get("/keys/<key:key_id>")
@describe(Operation(needs="admin", answers={200: KeyAnswer}, problems=(UNKNOWN_KEY, DATABASE_AWAY)))
def get_key(key_id: str) -> Response:
    """Read a key, living or not."""
    row = service().read(lambda session: keys.get_key(session, key_id))
    if row is None:
        raise refusal(UnknownKey(key_id))
    return json_answer(KeyAnswer.of(row))


@blueprint.delete("/keys/<key:key_id>")
@describe(
    Operation(
        needs="admin",
        answers={200: KeyAnswer},
        problems=(UNKNOWN_KEY, refusal(LastAdmin()), DATABASE_AWAY, CHANGES_FULL),
    )
)
def revoke_key(key_id: str) -> Response:
    """Revoke a key.

    The answer takes five seconds: then it is certain that no process of any service on the database answers a request
    that begins later. A key that was revoked before stays as it is. Your own can be revoked too, but not the last
    living one with the scope `admin`.
    """
    row = _change(lambda changes: changes.revoke(key_id, who=caller().name, spare_last_admin=True))
    return json_answer(KeyAnswer.of(row))


@blueprint.post("/keys/<key:key_id>/rotate")
@describe(
    Operation(
        needs="admin",
        body=RotationRequest,
        answers={201: MadeKeyAnswer},
        problems=(BAD_ROTATION, UNKNOWN_KEY, refusal(KeyEnded("k3yI2d4")), TOO_MANY_KEYS, *_SHARED),
    )
)
def rotate_key(key_id: str) -> Response:
    """Make a new key that takes the place of another.

    It has the same name, scopes, rate and end. The old one ends when the overlap has passed, unless it would end
    before; with an overlap of 0 it is revoked, and the answer takes as long as that.
    """
    overlap = timedelta(hours=read_model(RotationRequest).overlap_hours)
    return _made(_change(lambda changes: changes.rotate(key_id, overlap=overlap, who=caller().name)))


def _change(change: Callable[[KeyChanges], T]) -> T:
    try:
        return change(KeyChanges(service().run, Keyring.of(current_app.extensions)))
    except KeyRefused as refused:
        raise refusal(refused) from None
    except ChangesFull:
        raise CHANGES_FULL.anew() from None
    except CommitUncertain:
        raise KEY_UNCERTAIN.anew() from None


def _made(made: MadeKey) -> Response:
    return json_answer(MadeKeyAnswer.made(made.row, made.key), 201, {"Location": f"/keys/{made.row.key_id}"})
