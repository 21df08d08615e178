"""`POST /event`: one event in, its alert codes out. `POST /events`: the same for many events."""

from flask import Blueprint, Response, request

from routes.http.bodies import TOO_LARGE
from routes.http.decisions import PATHS
from routes.http.json_body import json_body, read_items
from routes.http.judged import WITH_OTHERS, event_answer, events_answer
from routes.http.operation import Operation, describe
from routes.http.paging import BAD_QUERY, read_query
from routes.http.problems import (
    DATABASE_AWAY,
    NOT_JSON,
    OVERLOADED,
    QUEUE_FULL,
    UNCERTAIN,
    Problem,
)
from routes.schemas.events import (
    MAX_EVENTS,
    Decision,
    EventQuery,
    EventRequest,
    EventsAnswer,
    EventsProblemAnswer,
    EventsQuery,
    EventsRequest,
)
from rules.payload import FieldProblem, read_event
from rules.spelling import unknown

blueprint = Blueprint("events", __name__)

MAX_EVENTS_BODY = 16 * 1024 * 1024  # bytes, unpacked: MAX_EVENTS of 1,600 bytes each

BAD_EVENT = Problem(400, "The request has missing or bad fields.", errors=[FieldProblem("/amount", "Field required")])
BAD_EVENT_QUERY = Problem(400, BAD_QUERY.detail, errors=[FieldProblem("/limit", unknown("limit", ("dry_run",)))])


@blueprint.post(PATHS[1], endpoint="post_event_at_old_path")
@blueprint.post(PATHS[0])
@describe(
    Operation(
        needs="ingest",
        dry_run_needs="read",
        body=EventRequest,
        query=EventQuery,
        deprecated=(PATHS[1],),
        answers={200: Decision},
        problems=(
            BAD_EVENT,
            BAD_EVENT_QUERY,
            Problem(404, "There is no user 7.", kind="unknown-user"),
            Problem(409, "This event_id came before with another payload.", kind="event-id-conflict"),
            Problem(409, "The user's actions before time 10 have been removed.", kind="pruned"),
            Problem(409, "The withdrawal is larger than the balance.", kind="overdraft"),
            Problem(409, "The user's newest action is at time 10.", kind="out-of-order"),
            Problem(409, "The event is more than 3,600 s ahead of the clock.", kind="too-far-ahead"),
            Problem(409, "At most 200,000 of the user's actions may be later than an event.", kind="too-late"),
            Problem(409, "The user has as many actions, or as large a balance, as there can be.", kind="user-full"),
            TOO_LARGE,
            NOT_JSON,
            DATABASE_AWAY,
            UNCERTAIN,
            QUEUE_FULL,
            OVERLOADED,
        ),
        idempotent=True,
    )
)
def post_event() -> Response:
    """Store and judge one event.

    The answer is sent once the event and its alerts are durably committed. If an event has an `event_id` (or the
    header `Idempotency-Key`, which means the same), posting it again stores nothing and gets the first answer again,
    with the header `Idempotent-Replayed: true`.

    With `dry_run=true` the event is judged as it would be now, and nothing is stored: the answer, or the refusal, is
    the same, with `dry_run` and the evidence for each code. For that the scope `read` is enough.
    """
    is_dry = read_query(EventQuery).dry_run
    event = read_event(json_body(), request.headers.get("Idempotency-Key"))
    return event_answer(event, is_dry=is_dry).response()


@blueprint.post("/events")
@describe(
    Operation(
        needs="ingest",
        body=EventsRequest,
        lines=True,
        max_body=MAX_EVENTS_BODY,
        query=EventsQuery,
        answers={200: EventsAnswer},
        problems=(
            Problem(
                400,
                "Nothing was stored: some of the events are bad.",
                more={
                    "accepted": 0,
                    "rejected": 2,
                    "results": [
                        {"index": 0, "problem": WITH_OTHERS.document()},
                        {"index": 1, "problem": BAD_EVENT.document()},
                    ],
                },
            ),
            Problem(413, f"The body has more than {MAX_EVENTS:,} events."),
            Problem(415, "The Content-Type must be application/json or application/x-ndjson."),
            DATABASE_AWAY,
            UNCERTAIN,
            OVERLOADED,
        ),
        refusal=EventsProblemAnswer,
    )
)
def post_events() -> Response:
    """Store and judge many events.

    They are judged in the order given, as if posted one by one, and committed together. Good events are stored and
    bad ones are reported, each under its index; with `atomic=true`, one bad event means that none is stored. The body
    is a JSON array or has one event per line (NDJSON). It holds at most 10,000 events and 16 MiB, and may be sent with
    `Content-Encoding: gzip`.
    """
    atomic = read_query(EventsQuery).atomic
    return events_answer(read_items(MAX_EVENTS, MAX_EVENTS_BODY), atomic=atomic).response()
