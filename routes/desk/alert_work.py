"""Working one alert from a page: what its forms are answered."""

from collections.abc import Mapping
from datetime import UTC, datetime

from flask import Blueprint, Response
from sqlalchemy.orm import Session

from database.alerts import AlertRow
from database.records import AlertKey
from routes.desk import done
from routes.desk.alert_rows import AlertLine, lines_of
from routes.desk.forms import MAX_FORM, BadForm, form_fields, read_form
from routes.desk.shell import go, is_part, page, part
from routes.desk.work_forms import AlertForm
from routes.desk.work_places import after_work
from routes.http.access import caller
from routes.http.hooks import service
from routes.http.operation import needs
from routes.http.unknown import unknown_alert
from work.alerts import AlertAndHistory, BadChange, Stale, UnknownAlert, change_alert, read_alert
from work.change import SERVICE, Wanted, undoing

blueprint = Blueprint("desk_alert_work", __name__, template_folder="../templates")

SHOWN_FIRST = 3  # changes that came first
# Of what was entered, all but the version, which the form to send it again takes anew.
_ENTERED = ("do", "outcome", "assignee", "until", "note", "list", "then")


@blueprint.post("/desk/alerts/<alert:alert_id>/work")
@needs("work", max_body=MAX_FORM)
def work_alert(alert_id: tuple[int, int, int]) -> Response:
    """Change what people make of an alert, if it is as the sender has seen it."""
    key, fields = AlertKey._make(alert_id), form_fields()
    entered = {name: values[-1].strip() for name, values in fields.items() if values[-1].strip()}
    try:
        form = read_form(AlertForm, fields)
        found = service().run(lambda session: _change(session, key, form))
    except UnknownAlert:
        raise unknown_alert(*key) from None
    except BadForm as bad:
        return _again(key, 400, entered, bad.faults)
    except BadChange as bad:
        return _again(key, 400, entered, {field: f"{field} {why}." for field, why in bad.faults.items()})
    except Stale:
        return _again(key, 412, entered, {})
    is_changed = found.alert.work_version > form.etag
    what = done.newest(key, found.history, caller().name) if is_changed else None
    if form.then == "row":
        return _row(found.alert, what, form)
    return go(after_work(found.alert, form, what))


def _change(session: Session, key: AlertKey, form: AlertForm) -> AlertAndHistory:
    who = caller().name
    wanted = _undoing(session, key, form) if form.act == "undo" else form.wanted(who)
    return change_alert(
        session,
        key,
        wanted,
        who=who,
        note=form.note,
        version_fits=lambda version: version == form.etag,
        faults_of=form.faults_of,
    )


def _undoing(session: Session, key: AlertKey, form: AlertForm) -> Wanted:
    """What undoing wants. Raises Stale if somebody else made the change, or another one since."""
    who = caller().name
    lines = done.lines_of(session, key, form.first, form.last)
    since = [line for line in read_alert(session, key).history if line.n >= form.first]
    session.close()  # the change is made in a transaction of its own, which sees to it that nothing has come since
    if not lines or any(line.who not in (who, SERVICE) for line in since):
        raise Stale
    return undoing((line for line in lines if line.who == who), datetime.now(UTC))


def _row(alert: AlertRow, what: done.Done | None, form: AlertForm) -> Response:
    """The row of a list as it is now, for a script that has shown it so already."""
    (line,) = service().read(lambda session: lines_of(session, [alert], may_be_muted=True))
    shown = part("desk/worked_row.html", line=line, what=what, list=form.list)
    shown.headers["ETag"] = f'"{alert.work_version}"'
    return shown


def _again(key: AlertKey, status: int, entered: Mapping[str, str], faults: Mapping[str, str]) -> Response:
    """What keeps the change from being made, with a form to make it of the alert as it is now: nothing typed is lost.

    Whose changes came first is told if the alert has changed since it was seen.
    """
    try:
        found = service().read(lambda session: read_alert(session, key))
    except UnknownAlert:
        raise unknown_alert(*key) from None
    seen = entered.get("etag", "")
    if entered.get("do") == "undo":
        seen = entered.get("last", "")
    since = [line for line in found.history if seen.isdecimal() and line.n > int(seen)] if status == 412 else []
    values = {
        "line": AlertLine.of(found.alert),
        "faults": faults,
        "came_first": done.changes(since)[:SHOWN_FIRST],
        "entered": {name: entered[name] for name in _ENTERED if name in entered},
        "is_row": entered.get("then") == "row",
    }
    if not is_part():
        return page("desk/work_again.html", status, **values)
    shown = part("desk/work_again_part.html", status, **values)
    # What was typed stays in its form as well.
    shown.headers.update({"HX-Retarget": "#notices", "HX-Reswap": "innerHTML"})
    return shown
