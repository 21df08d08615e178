"""The inbox: the alerts that there are to work, and those of every other kind."""

from flask import Blueprint, Response

from database.alert_filters import AlertFilter
from database.alert_lists import page_of_alerts
from routes.desk.alert_rows import AlertLine
from routes.desk.shell import page
from routes.http.hooks import service
from routes.http.operation import needs

blueprint = Blueprint("desk_inbox", __name__, template_folder="../templates")


@blueprint.get("/desk/")
@needs("read")
def get_inbox() -> Response:
    """The inbox."""
    found = service().read(lambda session: page_of_alerts(session, AlertFilter(status="open"), 50, None))
    return page("desk/inbox.html", lines=[AlertLine.of(row) for row in found.rows])
