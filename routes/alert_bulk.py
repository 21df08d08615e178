"""Many alerts at once, and the next one to work."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import cast

from flask import Blueprint, Response

from database.alert_filters import AlertFilter, AlertPlace
from database.alert_work import WorkRow
from routes.http.access import caller
from routes.http.answers import json_answer
from routes.http.bodies import TOO_LARGE
from routes.http.etags import has_version, versioned
from routes.http.hooks import service
from routes.http.json_body import has_body, read_model
from routes.http.operation import Nothing, Operation, describe
from routes.http.problems import DATABASE_AWAY, NOT_JSON, OVERLOADED, Problem
from routes.schemas.alert_bulk import BulkAnswer, BulkItemAnswer, BulkRequest, NextRequest, key_of
from routes.schemas.alerts import AlertDetailAnswer
from rules.payload import FieldProblem
from rules.values import MAX_ID
from work import bulk, queue
from work.change import Wanted

blueprint = Blueprint("alerts bulk", __name__)

BAD_BULK = Problem(
    400, "The request has missing or bad fields.", errors=[FieldProblem("/set", "must name something to change")]
)
BAD_NEXT = Problem(
    400, BAD_BULK.detail, errors=[FieldProblem("/query/status", "Input should be 'open', 'acknowledged' or 'closed'")]
)


def other_number(expected: int, matched: int) -> Problem:
    """The answer when not as many alerts match as were expected."""
    detail = f"Alerts that match: {matched}, not {expected}. Nothing was stored."
    return Problem(409, detail, kind="other-number", more={"matched": matched})


@blueprint.post("/alerts/bulk")
@describe(
    Operation(
        needs="work",
        body=BulkRequest,
        answers={200: BulkAnswer},
        problems=(BAD_BULK, other_number(12, 13), TOO_LARGE, NOT_JSON, DATABASE_AWAY, OVERLOADED),
    )
)
def change_alerts() -> Response:
    """Change what people make of many alerts, up to 500.

    Those in `ids`, or those that match `query` now and, with `touched_before`, have not been touched since. With `next`
    as `cursor` come the next 500 of them, also where this call found fewer. All that fits is stored in one transaction;
    what became of each alert is in `results`: 404 there is none, 409 the change does not fit it as it is, 412 it has
    changed since its tag in `etags` was read, or since this call found it. The others are as wanted now (200).
    """
    wanted = read_model(BulkRequest)
    fields = wanted.set.wanted()
    _must_fit(fields)
    asked, following = _named(wanted) if wanted.ids is not None else _found(wanted)
    results = bulk.change_alerts(service().run, asked, fields, who=caller().name, note=wanted.note)
    return json_answer(
        BulkAnswer(
            matched=sum(one.status != 404 for one in results),
            changed=sum(one.is_changed for one in results),
            results=[BulkItemAnswer.of(one) for one in results],
            next=following,
        )
    )


@blueprint.post("/alerts/next")
@describe(
    Operation(
        needs="work",
        body=NextRequest,
        may_lack_body=True,
        answers={200: AlertDetailAnswer, 204: Nothing("There is none.")},
        problems=(BAD_NEXT, TOO_LARGE, NOT_JSON, DATABASE_AWAY, OVERLOADED),
        versioned=True,
    )
)
def claim_next_alert() -> Response:
    """Claim the most urgent alert that nobody has.

    It is open, not superseded, not in shadow, and neither snoozed nor muted; those of users who are rated high come
    first, then the oldest. It is assigned to the caller, and no other caller gets it. Unless somebody works it within
    30 minutes, it is nobody's again. The answer is a 204 if there is none. No body means all alerts.
    """
    query = read_model(NextRequest).query if has_body() else None
    found = queue.next_alert(service(), AlertFilter() if query is None else query.filter(), caller().name)
    if found is None:
        return Response(status=204)
    answer = AlertDetailAnswer.with_history(found, time_is_epoch=service().policy.time_is_epoch)
    return versioned(answer, found.alert.work_version)


def _must_fit(wanted: Wanted) -> None:
    """Raise Problem 400 if the change fits no alert at all."""
    if found := bulk.faults_for_all(wanted, datetime.now(UTC)):
        raise Problem(400, BAD_BULK.detail, errors=[FieldProblem(f"/set/{name}", why) for name, why in found.items()])


def _named(wanted: BulkRequest) -> tuple[bulk.Asked, None]:
    etags = wanted.etags or {}

    def suits(tags: str | None) -> Callable[[WorkRow], bool]:
        return lambda row: tags is None or has_version(tags, row.work_version)

    return {key_of(one): suits(etags.get(one)) for one in wanted.ids or ()}, None


def _found(wanted: BulkRequest) -> tuple[bulk.Asked, str | None]:
    """The alerts that match its query, and the cursor of the next ones. Raises Problem 409 if it expects others."""
    assert wanted.query is not None
    # A place that no bigint can name is behind all others.
    place = tuple(min(int(part), MAX_ID) for part in (wanted.cursor or "").split("-") if part)
    after = cast(AlertPlace, place) if place else None
    found = bulk.find_matching(service().read, wanted.query.filter(), after, wanted.touched_before)
    if wanted.expect is not None and len(found.asked) != wanted.expect:
        raise other_number(wanted.expect, len(found.asked))
    return found.asked, "-".join(map(str, found.ends_at)) if found.ends_at else None
