"""Where a form leads after work on an alert: to the next one of the list one came from, or back."""

from urllib.parse import urlencode

from database.alerts import AlertRow
from routes.desk.done import Done
from routes.desk.work_forms import AlertForm, Do
from routes.http.pages import DESK
from routes.schemas.alerts import alert_id

LEAVES: tuple[Do, ...] = ("close", "snooze")  # what takes an alert out of the way, so that one goes on to the next


def after_work(alert: AlertRow, form: AlertForm, what: Done | None) -> str:
    """The path of the page that comes next, which tells what was done."""
    more = {"done": what.written()} if what else {}
    leads_on = form.then == "list" or (form.then == "next" and form.act in LEAVES)
    if not leads_on:
        return alert_path(alert_id(alert.user_id, alert.seq, alert.code), form.list, more)
    return list_path(form.list, more)


def alert_path(alert: str, of_list: str, more: dict[str, str]) -> str:
    """The path of an alert's page; `of_list` is the query of the list one came from."""
    query = urlencode(({"list": of_list} if of_list else {}) | more)
    return f"{DESK}/alerts/{alert}{'?' if query else ''}{query}"


def list_path(of_list: str, more: dict[str, str]) -> str:
    """The path of a list."""
    query = "&".join(filter(None, (of_list, urlencode(more))))
    return f"{DESK}/{'?' if query else ''}{query}"
