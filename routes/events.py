"""`POST /event`: one event in, its alert codes out. `POST /events`: the same for many events."""

from collections.abc import Sequence
from typing import Any

from flask import Blueprint, Response, request

from routes.http.answers import json_answer
from routes.http.bodies import TOO_LARGE
from routes.http.decisions import PATHS, answer_with, decision_of, dry_run_answer, problem_of
from routes.http.hooks import service
from routes.http.json_body import json_body, read_items
from routes.http.operation import Operation, describe
from routes.http.paging import BAD_QUERY, read_query
from routes.http.problems import (
    DATABASE_AWAY,
    NOT_JSON,
    OVERLOADED,
    QUEUE_FULL,
    UNCERTAIN,
    Problem,
    refused,
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
from rules.model import Event, Outcome, Refusal, Verdict
from rules.payload import BadPayload, FieldProblem, event_of, read_event
from rules.spelling import unknown

blueprint = Blueprint("events", __name__)

MAX_EVENTS_BODY = 16 * 1024 * 1024  # bytes, unpacked: MAX_EVENTS of 1,600 bytes each

BAD_EVENT = Problem(400, "The request has missing or bad fields.", errors=[FieldProblem("/amount", "Field required")])
BAD_EVENT_QUERY = Problem(400, BAD_QUERY.detail, errors=[FieldProblem("/limit", unknown("limit", ("dry_run",)))])
_WITH_OTHERS = Problem(424, "It was not stored because other events are bad.")


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
    if is_dry:
        return dry_run_answer(service().dry_run(event), service().policy.time_is_epoch).response()
    return answer_with(service().judge(event)).response()


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
                        {"index": 0, "problem": _WITH_OTHERS.document()},
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
    results = _results([_event(item) for item in read_items(MAX_EVENTS, MAX_EVENTS_BODY)], atomic)
    rejected = sum(isinstance(result, Problem) for result in results)
    answer = {
        "accepted": len(results) - rejected,
        "rejected": rejected,
        "results": [{"index": index} | _shown(result) for index, result in enumerate(results)],
    }
    if atomic and rejected:
        raise Problem(400, "Nothing was stored: some of the events are bad.", more=answer)
    return json_answer(answer)


def _event(item: Any) -> Event | Problem:
    if isinstance(item, Problem):  # a line that is not JSON
        return item
    try:
        return event_of(item)
    except BadPayload as bad:
        return refused(bad)


def _results(items: Sequence[Event | Problem], atomic: bool) -> Sequence[Verdict | Problem]:
    events = [item for item in items if isinstance(item, Event)]
    if atomic and len(events) < len(items):
        return _all_refused(items)  # the others are not judged: events around them are missing
    outcomes = iter(service().judge_many(events, atomic=atomic) if events else [])
    results = [_result(next(outcomes)) if isinstance(item, Event) else item for item in items]
    is_bad = any(isinstance(result, Problem) for result in results)
    return _all_refused(results) if atomic and is_bad else results


def _all_refused(results: Sequence[Event | Verdict | Problem]) -> Sequence[Problem]:
    return [result if isinstance(result, Problem) else _WITH_OTHERS for result in results]


def _result(outcome: Outcome) -> Verdict | Problem:
    return problem_of(outcome) if isinstance(outcome, Refusal) else outcome


def _shown(result: Verdict | Problem) -> dict[str, Any]:
    if isinstance(result, Problem):
        return {"problem": result.document()}
    return decision_of(result) | ({"replayed": True} if result.replayed else {})
