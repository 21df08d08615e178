"""The page of an alert: why it was raised, and what has become of it."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, NamedTuple, Self, TypeVar

from flask import Blueprint, Response, request
from pydantic import BaseModel, BeforeValidator
from sqlalchemy.orm import Session

from database.alert_lists import Neighbour, neighbours, place_of
from database.alert_work import page_of_history
from database.alerts import get_alert
from database.models import AlertChange
from database.records import AlertKey
from routes.desk.alert_context import of_user, picture_of, read_context
from routes.desk.alert_today import today_of
from routes.desk.forms import MAX_FORM, read_filters
from routes.desk.inbox_query import list_of
from routes.desk.shell import is_part, page, part
from routes.http.access import caller
from routes.http.hooks import service
from routes.http.operation import needs
from routes.http.unknown import unknown_alert
from routes.http.verifying import verified
from routes.schemas.fields import Id, digits
from rules.values import alert_id as written_id
from work.alerts import HISTORY_SHOWN, UnknownAlert

blueprint = Blueprint("desk_alert", __name__, template_folder="../templates")

T = TypeVar("T")


class Around(NamedTuple):
    """The ids of the alerts before and after one in the list it was opened from; None where none was found."""

    previous: str | None
    next: str | None

    @classmethod
    def of(cls, previous: Neighbour, following: Neighbour) -> Self:
        """The ids of these neighbours."""
        return cls(*(one.place and written_id(*one.place[1:]) for one in (previous, following)))


@blueprint.get("/desk/alerts/<alert:alert_id>")
@needs("read")
def get_alert_page(alert_id: tuple[int, int, int]) -> Response:
    """The page of an alert."""
    key, has_dates = AlertKey._make(alert_id), service().policy.time_is_epoch
    query = list_of(request)
    wanted, oldest_first = query.filter(caller()), query.oldest_first

    def read(session: Session) -> dict[str, Any]:
        found = read_context(session, key, has_dates=has_dates)
        others, more = of_user(session, key)
        return {
            "found": found,
            "line": found.line,
            "picture": picture_of(session, found, has_dates=has_dates),
            "of_user": others,
            "more_of_user": more,
            "around": Around.of(*neighbours(session, wanted, place_of(found.row), oldest_first=oldest_first)),
        }

    return page("desk/alert.html", query=query, **_read(key, read))


@blueprint.get("/desk/alerts/<alert:alert_id>/today")
@needs("read")
def get_today(alert_id: tuple[int, int, int]) -> Response:
    """Whether the rule, as it is set now, would raise the alert: a part of its page, or a page."""
    key, has_dates = AlertKey._make(alert_id), service().policy.time_is_epoch

    def read(session: Session) -> dict[str, Any]:
        found = read_context(session, key, has_dates=has_dates)
        return {
            "line": found.line,
            "sentence": found.sentence,
            "today": today_of(session, found, change, has_dates=has_dates),
        }

    # Nothing may have been read before this in the same session.
    change = service().read(service().rules).get(key.code)
    shown = _read(key, read)
    return part("desk/alert_today.html", **shown) if is_part() else page("desk/alert_today_page.html", **shown)


class OlderQuery(BaseModel):
    """Which lines of a history: those before line `before`."""

    before: Annotated[Id | None, BeforeValidator(digits)] = None


@blueprint.get("/desk/alerts/<alert:alert_id>/history")
@needs("read")
def get_history_page(alert_id: tuple[int, int, int]) -> Response:
    """Older lines of an alert's history."""
    key, before = AlertKey._make(alert_id), read_filters(OlderQuery).before

    def read(session: Session) -> Sequence[AlertChange]:
        if get_alert(session, *key) is None:
            raise UnknownAlert
        return page_of_history(session, key, HISTORY_SHOWN, before)[::-1]

    return page("desk/alert_history.html", id=written_id(*key), history=_read(key, read))


@blueprint.post("/desk/alerts/<alert:alert_id>/verify")
@needs("read", max_body=MAX_FORM)
def verify_alert(alert_id: tuple[int, int, int]) -> Response:
    """Derive the alerts of an alert's user again: what came out, as a part of the alert's page, or as a page."""
    shown: dict[str, Any] = {"id": written_id(*alert_id), "verified": verified(*alert_id)}
    return part("desk/alert_verified.html", **shown) if is_part() else page("desk/alert_verified_page.html", **shown)


def _read(key: AlertKey, read: Callable[[Session], T]) -> T:
    try:
        return service().read(read)
    except UnknownAlert:
        raise unknown_alert(*key) from None
