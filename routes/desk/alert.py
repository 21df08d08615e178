"""The page of an alert: why it was raised, and what has become of it."""

from flask import Blueprint, Response

from database.records import AlertKey
from routes.desk.alert_rows import AlertLine
from routes.desk.shell import page
from routes.http.hooks import service
from routes.http.operation import needs
from routes.http.unknown import unknown_alert
from routes.schemas.alerts import AlertDetailAnswer
from work.alerts import UnknownAlert, read_alert

blueprint = Blueprint("desk_alert", __name__, template_folder="../templates")


@blueprint.get("/desk/alerts/<alert:alert_id>")
@needs("read")
def get_alert_page(alert_id: tuple[int, int, int]) -> Response:
    """The page of an alert."""
    key = AlertKey._make(alert_id)
    try:
        found = service().read(lambda session: read_alert(session, key))
    except UnknownAlert:
        raise unknown_alert(*key) from None
    shown = AlertDetailAnswer.with_history(found, time_is_epoch=service().policy.time_is_epoch)
    return page("desk/alert.html", line=AlertLine.of(found.alert), alert=shown)
