"""The inbox: the alerts that there are to work, and those of every other kind."""

from flask import Blueprint, Response

from database.alert_lists import page_of_alerts
from routes.desk.alert_rows import AlertLine
from routes.desk.forms import read_filters
from routes.desk.inbox_query import InboxQuery
from routes.desk.shell import page
from routes.http.access import caller
from routes.http.hooks import service
from routes.http.operation import needs

blueprint = Blueprint("desk_inbox", __name__, template_folder="../templates")


@blueprint.get("/desk/")
@needs("read")
def get_inbox() -> Response:
    """The inbox."""
    query, me = read_filters(InboxQuery), caller()
    found = service().read(
        lambda session: page_of_alerts(
            session, query.filter(me), query.size, query.after, oldest_first=query.oldest_first
        )
    )
    return page("desk/inbox.html", query=query, lines=[AlertLine.of(row) for row in found.rows])
