"""Where a form leads after work on an alert: to the next one of the list one came from, or back."""

from urllib.parse import urlencode

from database.alert_lists import neighbours, place_of
from database.alerts import AlertRow
from routes.desk.done import Done
from routes.desk.inbox_query import InboxQuery
from routes.desk.work_forms import AlertForm, Do
from routes.http.access import caller
from routes.http.hooks import service
from routes.http.pages import DESK
from rules.values import alert_id

LEAVES: tuple[Do, ...] = ("close", "snooze")  # what takes an alert out of the way, so that one goes on to the next


def after_work(alert: AlertRow, form: AlertForm, what: Done | None) -> str:
    """The path of the page that comes next, which says what was done."""
    done = what.written() if what else ""
    here = alert_id(alert.user_id, alert.seq, alert.code)
    if form.then == "next" and form.act in LEAVES:
        following = _next_of(alert, form.list)
        return alert_path(following, form.list, done) if following else list_path(form.list, done)
    return list_path(form.list, done) if form.then == "list" else alert_path(here, form.list, done)


def alert_path(alert: str, of_list: str, done: str = "") -> str:
    """The path of an alert's page; `of_list` is the query of the list one came from, `done` what was done before."""
    query = urlencode({name: value for name, value in (("list", _known(of_list)), ("done", done)) if value})
    return f"{DESK}/alerts/{alert}{'?' if query else ''}{query}"


def list_path(of_list: str, done: str = "") -> str:
    """The path of a list."""
    query = "&".join(filter(None, (_known(of_list), done and urlencode({"done": done}))))
    return f"{DESK}/{'?' if query else ''}{query}"


def _known(of_list: str) -> str:
    return InboxQuery.read(of_list).written()


def _next_of(alert: AlertRow, of_list: str) -> str | None:
    """The alert that comes after this one in the list, or before it if it was the last; None if it was the only one."""
    query = InboxQuery.read(of_list)
    wanted, place = query.filter(caller()), place_of(alert)
    before, after = service().read(lambda session: neighbours(session, wanted, place, oldest_first=query.oldest_first))
    found = after.place or before.place
    return alert_id(*found[1:]) if found else None
