"""Alerts: list them, read one."""

from flask import Blueprint, Response

from database import alerts
from database.alerts import AlertFilter, AlertRow
from routes.http.answers import json_answer
from routes.http.hooks import service
from routes.http.operation import Operation, describe
from routes.http.paging import BAD_QUERY, cut, place, read_query
from routes.http.problems import DATABASE_AWAY, Problem
from routes.schemas.alerts import AlertDetailAnswer, AlertsAnswer, AlertsQuery
from routes.schemas.fields import rfc3339
from rules.registry import REGISTRY

blueprint = Blueprint("alerts", __name__)


def _id(user_id: int, seq: int, code: int) -> str:
    return f"{user_id}-{seq}-{code}"


def unknown_alert(user_id: int, seq: int, code: int) -> Problem:
    """The answer where there is no such alert."""
    return Problem(404, f"There is no alert {_id(user_id, seq, code)}.", kind="unknown-alert")


@blueprint.get("/alerts")
@describe(Operation(query=AlertsQuery, answers={200: AlertsAnswer}, problems=(BAD_QUERY, DATABASE_AWAY)))
def list_alerts() -> Response:
    """List alerts, newest first.

    All filters given must fit. `from` and `to` bound the time of the action (seconds, both included); `next` is the
    cursor of the next page, to be sent with the same filters. Alerts of rules in shadow are listed with `shadow=true`,
    and then alone.
    """
    query = read_query(AlertsQuery)
    wanted = AlertFilter(**query.model_dump(exclude={"limit", "cursor"}))
    # One more than the page shows whether there is a next one.
    found = service().run(lambda session: alerts.page_of_alerts(session, wanted, query.limit + 1, place(query)))
    page, following = cut(found, query, _place)
    return json_answer({"alerts": [_alert(row) for row in page], "next": following})


@blueprint.get("/alerts/<alert:alert_id>")
@describe(Operation(answers={200: AlertDetailAnswer}, problems=(unknown_alert(7, 3, 123), DATABASE_AWAY)))
def get_alert(alert_id: tuple[int, int, int]) -> Response:
    """Read an alert with the changes of its status."""
    row = service().run(lambda session: alerts.get_alert(session, *alert_id))
    if row is None:
        raise unknown_alert(*alert_id)
    return json_answer(_alert(row) | {"history": []})


def _alert(row: AlertRow) -> dict[str, object]:
    alert, kind, amount = row
    return {
        "id": _id(alert.user_id, alert.seq, alert.code),
        "user_id": alert.user_id,
        "seq": alert.seq,
        "code": alert.code,
        "title": _title(alert.code, alert.evidence["parameters"]),
        "time": alert.time,
        "type": kind,
        "amount": str(amount),
        "status": alert.status,
        "late": alert.late,
        "superseded": alert.superseded,
        **({"shadow": True} if alert.shadow else {}),
        "created_at": rfc3339(alert.created_at),
        "evidence": alert.evidence,
    }


def _place(row: AlertRow) -> tuple[int, int, int, int]:
    alert = row[0]
    return (alert.time, alert.user_id, alert.seq, alert.code)


def _title(code: int, parameters: dict[str, object]) -> str:
    # The rule may have left the service, or have other parameters by now.
    try:
        return REGISTRY[code].title.format_map(parameters)
    except KeyError:
        return f"Rule {code}"
