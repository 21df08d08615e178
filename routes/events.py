"""POST /event: one event in, its alert codes out."""

from flask import Blueprint, Response, request

from routes.answers import json_answer
from routes.context import context
from routes.json_body import read_object, validate
from routes.openapi import Operation, describe
from routes.problems import FieldProblem, Problem
from routes.schemas import Decision, EventRequest, named_twice
from rules.engine import Refusal

blueprint = Blueprint("events", __name__)

STATUS = {"unknown_user": 404, "overdraft": 409, "out_of_order": 409, "event_id_conflict": 409}


@blueprint.post("/event")
@blueprint.post("/api/events", endpoint="post_event_alias")
@describe(
    Operation(body=EventRequest, answers={200: Decision}, problems=(400, 404, 409, 413, 415, 503), idempotent=True)
)
def post_event() -> Response:
    """Store and judge one event.

    Answers after the event and its alerts are durably committed. With an `event_id` (or the header
    `Idempotency-Key`, which means the same) a repeated post answers the first answer again, with the header
    `Idempotent-Replayed: true`, and stores nothing.
    """
    data = read_object()
    problems = named_twice(data) + _take_key(data)
    event = validate(EventRequest, data, problems).event()
    outcome = context().submit(event)
    if isinstance(outcome, Refusal):
        raise Problem(STATUS[outcome.reason], outcome.detail, kind=outcome.reason.replace("_", "-"))
    decision = {"alert": bool(outcome.codes), "alert_codes": outcome.codes, "user_id": outcome.user_id}
    return json_answer(decision, headers={"Idempotent-Replayed": "true"} if outcome.replayed else None)


def _take_key(data: dict[str, object]) -> list[FieldProblem]:
    # The header is the field under another name: both may be given where they agree.
    key = request.headers.get("Idempotency-Key")
    if key is None or data.setdefault("event_id", key) == key:
        return []
    return [FieldProblem("/event_id", "differs from the header Idempotency-Key")]
