"""Alerts: list them or read one."""

from typing import cast

from flask import Blueprint, Response

from database import alerts
from database.alerts import AlertFilter, AlertPlace, AlertRow
from database.records import AlertKey
from routes.http.answers import json_answer
from routes.http.etags import tagged
from routes.http.hooks import service
from routes.http.operation import Operation, describe
from routes.http.paging import BAD_QUERY, cut, place, read_query
from routes.http.problems import DATABASE_AWAY
from routes.http.unknown import unknown_alert
from routes.schemas.alerts import AlertAnswer, AlertDetailAnswer, AlertsAnswer, AlertsQuery
from work.alerts import UnknownAlert, read_alert

blueprint = Blueprint("alerts", __name__)


@blueprint.get("/alerts")
@describe(Operation(needs="read", query=AlertsQuery, answers={200: AlertsAnswer}, problems=(BAD_QUERY, DATABASE_AWAY)))
def list_alerts() -> Response:
    """List alerts, newest first.

    An alert must match all filters given. `from` and `to` bound the time of the action (in seconds, both included).
    `next` is the cursor of the next page, to be sent with the same filters. `shadow=true` lists the alerts of rules
    in shadow, and only those. A page can be shorter than `limit`, even empty, and not be the last one: looking through
    very many alerts for few takes several requests. Only a `next` of null ends the list.
    """
    query = read_query(AlertsQuery)
    wanted = AlertFilter(**query.model_dump(exclude={"limit", "cursor"}))
    # One row more than the page holds shows whether there is a next page.
    before = cast(AlertPlace | None, place(query))
    found = service().read(lambda session: alerts.page_of_alerts(session, wanted, query.limit + 1, before))
    page, following = cut(found.rows, query, _place, found.broke_off_at)
    has_dates = service().policy.time_is_epoch
    listed = [AlertAnswer.of(row, time_is_epoch=has_dates) for row in page]
    return json_answer(AlertsAnswer(alerts=listed, next=following))


@blueprint.get("/alerts/<alert:alert_id>")
@describe(
    Operation(
        needs="read",
        answers={200: AlertDetailAnswer},
        problems=(unknown_alert(7, 3, 123), DATABASE_AWAY),
        tagged=True,
    )
)
def get_alert(alert_id: tuple[int, int, int]) -> Response:
    """Read an alert with its history.

    The newest 100 lines come with it, oldest first; `GET /alerts/{alert_id}/history` has all.
    """
    key = AlertKey._make(alert_id)
    try:
        found = service().read(lambda session: read_alert(session, key))
    except UnknownAlert:
        raise unknown_alert(*key) from None
    answer = AlertDetailAnswer.with_history(found, time_is_epoch=service().policy.time_is_epoch)
    return tagged(answer, found.alert.work_version)


def _place(row: AlertRow) -> AlertPlace:
    return (row.time, row.user_id, row.seq, row.code)
