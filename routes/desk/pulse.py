"""The pulse: what has become of a list since it was shown, asked by its page every few seconds; and rows of it anew."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated

from flask import Blueprint, Response, jsonify
from pydantic import BaseModel, BeforeValidator, Field
from sqlalchemy.orm import Session

from database.alert_filters import AlertPlace
from database.alert_work import now
from database.alerts import alerts_by_key
from database.inbox import pulse
from database.records import AlertKey
from routes.desk.alert_rows import AlertLine, lines_of
from routes.desk.forms import read_filters
from routes.desk.inbox_query import PLACE, SIZES, InboxQuery, place_at
from routes.desk.shell import part, rail_counts
from routes.http.access import caller
from routes.http.hooks import service
from routes.http.operation import needs
from routes.http.pages import PAGE_HEADERS
from routes.schemas.fields import AlertId, MomentText
from rules.values import alert_id
from work.bulk import can_be

blueprint = Blueprint("desk_pulse", __name__, template_folder="../templates")

TAG = "Pulse-Tag"  # the moment from which to ask the next time
MOST_TOUCHED = 200
MOST_SHOWN = max(SIZES)
# A transaction says when it touches an alert and is seen once it is committed, so a pulse asks from before its tag on;
# the page knows what it has seen.
OVERLAP = timedelta(seconds=10)
_FIRST = datetime.min.replace(tzinfo=UTC) + OVERLAP  # before that there is no moment to ask from


def _ids(written: object) -> object:
    return written.split(",") if isinstance(written, str) else written


Shown = Annotated[tuple[AlertId, ...], Field(max_length=MOST_SHOWN), BeforeValidator(_ids)]


class PulseQuery(InboxQuery):
    """A list as it is shown: which alerts, where the page ends if it is not the last, and the tag of its last pulse."""

    since: MomentText | None = None
    shown: Shown = ()
    ends: Annotated[str, Field(pattern=f"^({PLACE})?$")] = ""


class RowsQuery(BaseModel):
    """Rows of a list, whose query string is `list`."""

    ids: Shown = ()
    list: str = ""


@blueprint.get("/desk/pulse")
@needs("read")
def get_pulse() -> Response:
    """What has been touched since the tag: 204 if nothing was, else which alerts are new in this page of the list,
    which do not fit it any more, and which of those shown have changed, and when; and the numbers of the rail.

    `more`: so many were touched that some of the new ones may be missing.
    """
    query = read_filters(PulseQuery)
    if query.since is None or query.tab == "shadow":  # of alerts in shadow nobody keeps when they were touched
        return _nothing(service().read(now))
    wanted, since = query.filter(caller()), max(query.since, _FIRST) - OVERLAP
    shown = set(_keys(query.shown))
    found = service().read(lambda session: pulse(session, wanted, since, shown, MOST_TOUCHED))
    new = [one.place for one in found.touched if one.matches and _key_of(one.place) not in shown]
    gone = [one.place for one in found.touched if not one.matches and _key_of(one.place) not in shown]
    answer = {
        "new": [alert_id(*place[1:]) for place in new if _is_on_page(query, place)],
        "gone": [alert_id(*place[1:]) for place in gone],
        "changed": {alert_id(*one.place[1:]): one.touched_at.isoformat() for one in found.named},
        "more": found.more,
    }
    if not any(answer.values()):
        return _nothing(found.now)
    return _tagged(jsonify(answer | {"rail": rail_counts()}), found.now)


@blueprint.get("/desk/rows")
@needs("read")
def get_rows() -> Response:
    """Rows as they are now, each to take the place of the one that is shown."""
    query = read_filters(RowsQuery)

    def read(session: Session) -> list[AlertLine]:
        return lines_of(session, alerts_by_key(session, _keys(query.ids)), may_be_muted=True)

    return part("desk/inbox_rows.html", lines=service().read(read), list=InboxQuery.read(query.list).written())


def _keys(written: Iterable[str]) -> list[AlertKey]:
    # PostgreSQL would look for a number that is too large for a column without its index.
    return [key for one in written if can_be(key := AlertKey._make(map(int, one.split("-"))))]


def _key_of(place: AlertPlace) -> AlertKey:
    return AlertKey._make(place[1:])


def _is_on_page(query: PulseQuery, place: AlertPlace) -> bool:
    """Whether an alert at this place stands on the page: behind where it begins, and before where it ends."""
    begins, ends = query.after, place_at(query.ends)
    if query.oldest_first:
        return (begins is None or place > begins) and (ends is None or place < ends)
    return (begins is None or place < begins) and (ends is None or place > ends)


def _nothing(tag: datetime) -> Response:
    return _tagged(Response(status=204), tag)


def _tagged(answer: Response, tag: datetime) -> Response:
    answer.headers.update(PAGE_HEADERS)
    answer.headers[TAG] = tag.isoformat()
    return answer
