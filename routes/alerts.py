"""Alerts: find them, work them, and prove them.

This reads one; lists, work and proof have files of their own.
"""

from flask import Blueprint, Response

from database.records import AlertKey
from routes.http.etags import versioned
from routes.http.hooks import service
from routes.http.operation import Operation, describe
from routes.http.problems import DATABASE_AWAY
from routes.http.unknown import unknown_alert
from routes.schemas.alerts import AlertDetailAnswer
from work.alerts import UnknownAlert, read_alert

blueprint = Blueprint("alerts", __name__)


@blueprint.get("/alerts/<alert:alert_id>")
@describe(
    Operation(
        needs="read",
        answers={200: AlertDetailAnswer},
        problems=(unknown_alert(7, 3, 123), DATABASE_AWAY),
        versioned=True,
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
    return versioned(answer, found.alert.work_version)
