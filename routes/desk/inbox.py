"""The inbox: the alerts that there are to work, and those of every other kind; and the views saved of it."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from flask import Blueprint, Response, request
from pydantic import BaseModel
from sqlalchemy.orm import Session
from werkzeug.exceptions import NotFound

from access.caller import Caller
from database import rule_versions, views
from database.alert_counts import count_each, count_wanted
from database.alert_filters import AlertFilter
from database.alert_lists import LOOKED_AT, page_of_alerts, place_of
from database.alert_work import now
from database.inbox import closed_since, users_with_alerts
from routes.desk import words
from routes.desk.alert_rows import lines_of
from routes.desk.forms import MAX_FORM, BadForm, read_filters, read_form
from routes.desk.inbox_chips import chips_of, facets_of
from routes.desk.inbox_query import SIZES, InboxQuery, Tab
from routes.desk.shell import go, page
from routes.http.access import caller
from routes.http.hooks import service
from routes.http.operation import needs
from routes.schemas.views import SavedQuery, ViewName
from rules.registry import REGISTRY
from work import views as work

blueprint = Blueprint("desk_inbox", __name__, template_folder="../templates")

SHOWN_TABS: tuple[tuple[Tab, str], ...] = (
    ("open", "Open"),
    ("mine", "Mine"),
    ("unassigned", "Unassigned"),
    ("snoozed", "Snoozed"),
    ("closed", "Closed"),
    ("shadow", "Shadow"),
    ("all", "All"),
)
_EMPTIED = ("open", "mine", "unassigned")  # what people mean to have done
VIEWS_SHOWN = 100
LATELY = timedelta(hours=24)


class ViewForm(BaseModel):
    """A view to be saved, of the page whose query string is `list`."""

    name: ViewName
    shared: bool = False
    list: str = ""


class ListForm(BaseModel):
    """The page from which a form was sent, as its query string."""

    list: str = ""


@blueprint.get("/desk/")
@needs("read")
def get_inbox() -> Response:
    """The inbox. An address with empty fields, as a form makes it, leads to the one without."""
    query = read_filters(InboxQuery)
    days = {name: request.args.get(f"{name}_day", "") for name in ("from", "to")}
    if "" in request.args.values() or any(days.values()):
        return go(_between(query, days).path())
    return _inbox(query)


@blueprint.post("/desk/views")
@needs("work", max_body=MAX_FORM)
def save_view() -> Response:
    """Save the filters of a page as a view. A name that cannot be is said on that page."""
    me = caller()
    try:
        asked = read_form(ViewForm)
    except BadForm as bad:
        query = InboxQuery.read(bad.entered.get("list", ""))
        return _inbox(query, 400, faults=bad.faults, entered=bad.entered)
    query = InboxQuery.read(asked.list)
    saved = query.as_view(me).written()
    try:
        service().run(
            lambda session: work.save_view(session, who=me.name, name=asked.name, query=saved, shared=asked.shared)
        )
    except work.ViewExists:
        fault = "You have a view of this name."
    except work.TooManyViews:
        fault = f"You have {work.MOST} views: delete one first."
    else:
        return go(query.path())
    return _inbox(query, 409, faults={"name": fault}, entered=asked.model_dump())


@blueprint.post("/desk/views/<id:view_id>/delete")
@needs("work", max_body=MAX_FORM)
def delete_view(view_id: int) -> Response:
    """Delete a view of one's own."""
    query, who = InboxQuery.read(read_form(ListForm).list), caller().name
    try:
        gone = service().run(lambda session: work.delete_view(session, view_id, who=who, may_others=False))
    except work.NotTheirs:
        gone = None
    if gone is None:
        raise NotFound
    return go(query.path())


def _inbox(query: InboxQuery, status: int = 200, **values: Any) -> Response:
    me = caller()
    found = service().read(lambda session: _read(session, query, me))
    return page(
        "desk/inbox.html",
        status,
        query=query,
        chips=chips_of(query),
        sizes=[(size, size) for size in SIZES],
        codes=[(code, code) for code in REGISTRY],
        looked_at=LOOKED_AT,
        host=request.host_url,
        **found,
        **({"faults": {}, "entered": {}} | values),
    )


def _read(session: Session, query: InboxQuery, me: Caller) -> dict[str, Any]:
    """What the page shows, by the names that its template has for it."""
    tag = now(session)
    wanted = query.filter(me)
    lists = {tab: query.on_tab(tab).filter(me) for tab, _ in SHOWN_TABS if tab != "all" or query.tab == tab}
    counted = count_each(session, list(lists.values()))
    others = [code for code in rule_versions.rule_codes(session) if code not in REGISTRY]
    kinds = count_wanted(
        session,
        wanted._replace(code=None, status=query.model_copy(update={"status": None}).filter(me).status),
        by_status=True,
        by_code=True,
        codes=(*REGISTRY, *others),
    )
    saved = views.page_of_views(session, me.name, VIEWS_SHOWN, None)
    shown: dict[str, Any] = {
        "tag": tag,
        "tabs": [(tab, name, one) for (tab, name), one in zip(_named(lists), counted, strict=True)],
        "fits": next(words.capped(*one) for tab, one in zip(lists, counted, strict=True) if tab == query.tab),
        "facets": facets_of(query, kinds),
        "views": [(view, InboxQuery.of_view(SavedQuery.model_validate(view.query), me)) for view in saved],
    }
    if query.by == "user":
        users = users_with_alerts(session, wanted, query.size, oldest_first=query.oldest_first)
        return shown | {"users": users, "lines": []} | ({} if users.users else _empty(session, query))
    found = page_of_alerts(session, wanted, query.size + 1, query.after, oldest_first=query.oldest_first)
    rows = found.rows[: query.size]
    end = place_of(rows[-1]) if len(found.rows) > len(rows) else found.broke_off_at
    shown |= {
        "lines": lines_of(session, rows, may_be_muted=wanted.muted is not False),
        "next": end and "-".join(map(str, end)),
        "broke_off": found.broke_off_at is not None and len(found.rows) <= len(rows),
    }
    return shown if rows or end else shown | _empty(session, query)


def _named(lists: dict[Tab, AlertFilter]) -> list[tuple[Tab, str]]:
    return [(tab, name) for tab, name in SHOWN_TABS if tab in lists]


def _empty(session: Session, query: InboxQuery) -> dict[str, Any]:
    """Why nothing is shown: `empty` is "none" if there is no alert at all, "done" or "filtered"."""
    if query.cursor or chips_of(query):
        return {"empty": "filtered"}
    every = (AlertFilter(snoozed=None, muted=None), AlertFilter(shadow=True, snoozed=None, muted=None))
    if not any(page_of_alerts(session, one, 1, None).rows for one in every):
        return {"empty": "none"}
    if query.tab in _EMPTIED:
        return {"empty": "done", "closed": closed_since(session, datetime.now(UTC) - LATELY)}
    return {"empty": "nothing"}


def _between(query: InboxQuery, days: dict[str, str]) -> InboxQuery:
    """The same with the bounds that were chosen as days, in UTC; what is no day is left out."""
    bounds: dict[str, Any] = {}
    for name, bound, clock in (("from", "start", time()), ("to", "end", time(23, 59, 59))):
        try:
            day = date.fromisoformat(days[name])
        except ValueError:
            continue
        # No event is older than the beginning of 1970.
        bounds[bound] = max(0, int(datetime.combine(day, clock, UTC).timestamp()))
    return query.model_copy(update=bounds)
