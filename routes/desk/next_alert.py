"""Taking the next alert: the most urgent one that nobody has."""

from flask import Blueprint, Response

from database.alert_filters import AlertFilter
from routes.desk.done import NOTHING_LEFT
from routes.desk.forms import MAX_FORM, form_fields
from routes.desk.inbox_query import InboxQuery
from routes.desk.shell import go
from routes.desk.work_places import alert_path, list_path
from routes.http.access import caller
from routes.http.hooks import service
from routes.http.operation import needs
from rules.values import alert_id
from work.queue import next_alert

blueprint = Blueprint("desk_next_alert", __name__)


@blueprint.post("/desk/next")
@needs("work", max_body=MAX_FORM)
def take_next_alert() -> Response:
    """Claim the most urgent alert that nobody has, of those that a list is narrowed down to, and show it."""
    of_list = form_fields().get("list", [""])[-1]
    query = InboxQuery.read(of_list)
    # Who has them, and whether they are closed, is not asked for: those in the queue are open and nobody's.
    wanted = AlertFilter(
        user_id=query.user_id,
        code=query.code,
        risk=query.risk,
        late=query.late,
        start=query.start,
        end=query.end,
    )
    found = next_alert(service(), wanted, caller().name)
    if found is None:
        return go(list_path(of_list, NOTHING_LEFT))
    alert = found.alert
    return go(alert_path(alert_id(alert.user_id, alert.seq, alert.code), of_list))
