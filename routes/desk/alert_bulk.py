"""Working many alerts from a page: those selected, or all of a list, 500 at a time; and what became of them."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Literal, NamedTuple

from flask import Blueprint, Response
from pydantic import Field

from database.alert_work import WorkRow, now
from database.records import AlertKey
from routes.desk.forms import MAX_FORM, BadForm, form_fields, read_form
from routes.desk.inbox_query import PLACE, InboxQuery, place_at
from routes.desk.shell import is_part, page, part
from routes.desk.work_forms import LONGEST_LIST, WorkForm
from routes.desk.work_places import list_path
from routes.http.access import caller
from routes.http.hooks import service
from routes.http.operation import needs
from routes.schemas.fields import MomentText
from rules.values import ALERT_ID, MAX_ID, alert_id
from work import bulk

blueprint = Blueprint("desk_alert_bulk", __name__, template_folder="../templates")

MOST_NAMED = 200  # alerts that were refused and are named, of all that were
WHY: Mapping[int, str] = {
    404: "There is no such alert",
    409: "That does not fit an alert that is closed",
    412: "It has changed since it was read",
}

_SELECTED = re.compile(f"({ALERT_ID})(?:@(.+))?")
_Count = Annotated[int, Field(ge=0, le=MAX_ID)]


class BulkForm(WorkForm):
    """What to make of the alerts selected, or of all of a list; and what became of the ones before, to be gone on with.

    `began` is the moment at which it began: what was raised or worked since then stays as it is.
    """

    all: Literal["yes"] | None = None
    list: Annotated[str, Field(max_length=LONGEST_LIST)] = ""
    began: MomentText | None = None
    cursor: Annotated[str, Field(pattern=f"^{PLACE}$")] = ""
    matched: _Count = 0
    changed: _Count = 0
    too_late: _Count = 0
    unnamed: _Count = 0


class BulkTally(NamedTuple):
    """What became of many alerts so far: how many matched and were changed, and which were refused, by status.

    `too_late` counts those that were raised or worked after it had begun, `unnamed` the refused ones that are not in
    `refused`. `cursor` is where to go on; None if that was all.
    """

    matched: int
    changed: int
    too_late: int
    refused: Mapping[int, list[str]]
    unnamed: int
    began: datetime | None
    cursor: str | None

    @property
    def refused_in_all(self) -> int:
        """How many were refused."""
        return self.unnamed + sum(map(len, self.refused.values()))


@blueprint.post("/desk/alerts/bulk")
@needs("work", max_body=MAX_FORM)
def work_alerts() -> Response:
    """Change what people make of many alerts, and say what became of each."""
    fields = form_fields()
    try:
        form = read_form(BulkForm, fields)
        tally = _all_of_list(form, fields) if form.all else _selected(form, fields)
    except BadForm as bad:
        return _shown(400, fields, bad.faults, None)
    return _shown(200, fields, {}, tally)


def _shown(
    status: int, fields: Mapping[str, list[str]], faults: Mapping[str, str], tally: BulkTally | None
) -> Response:
    entered = {name: fields[name][-1] for name in ("do", "outcome", "assignee", "until", "note") if name in fields}
    of_list = fields.get("list", [""])[-1]
    values = {
        "tally": tally,
        "faults": faults,
        "entered": entered,
        "list": of_list,
        "back": list_path(of_list),
        "why": WHY,
        "most": bulk.MOST,
    }
    if not is_part():
        return page("desk/bulk.html", status, **values)
    shown = part("desk/bulk_part.html", status, **values)
    if tally is not None and tally.cursor is None and tally.changed:
        shown.headers["HX-Trigger"] = "desk:changed"
    return shown


def _selected(form: BulkForm, fields: Mapping[str, list[str]]) -> BulkTally:
    """Change the alerts that are named, each if it is as its row was when it was selected."""
    named = list(dict.fromkeys(fields.get("id", ())))
    if not named:
        raise BadForm({"id": "No alert is selected."}, {})
    if len(named) > bulk.MOST:
        raise BadForm({"id": f"More than {bulk.MOST} alerts are selected."}, {})
    found = [_SELECTED.fullmatch(one) for one in named]
    asked = {AlertKey._make(map(int, one[1].split("-"))): _touched_at(one[2]) for one in found if one}
    unknown = [one for one, match in zip(named, found, strict=True) if match is None]
    return _changed(form, asked, {404: unknown}, None)


def _touched_at(written: str | None) -> Callable[[WorkRow], bool]:
    if written is None:
        return lambda _: True
    return lambda row: bool(row.touched_at.isoformat() == written)


def _all_of_list(form: BulkForm, fields: Mapping[str, list[str]]) -> BulkTally:
    """Change the next ones of all alerts that the list has and that were there when it began."""
    ours, query = service(), InboxQuery.of_list(form.list)
    if query is None:  # the inbox as it is by itself would be far more than was meant
        raise BadForm({"list": "This list cannot be read: go back to it."}, {})
    began = form.began or ours.read(now)
    found = bulk.find_matching(ours.read, query.filter(caller()), place_at(form.cursor), began)
    before: dict[int, list[str]] = {}
    for one in fields.get("refused", ()):
        status, _, alert = one.partition("@")
        if status in map(str, WHY) and re.fullmatch(ALERT_ID, alert):
            before.setdefault(int(status), []).append(alert)
    cursor = "-".join(map(str, found.ends_at)) if found.ends_at else None
    so_far = form.model_copy(update={"began": began, "too_late": form.too_late + found.too_late})
    return _changed(so_far, found.asked, before, cursor)


def _changed(form: BulkForm, asked: bulk.Asked, refused: Mapping[int, list[str]], cursor: str | None) -> BulkTally:
    who = caller().name
    wanted, faults_of = form.wanted(who), form.faults_of
    results = (
        bulk.change_alerts(service().run, asked, wanted, who=who, note=form.note, faults_of=faults_of) if asked else []
    )
    named = {status: list(alerts) for status, alerts in refused.items()}
    unnamed = form.unnamed
    for result in results:
        if result.status == 200:
            continue
        if sum(map(len, named.values())) < MOST_NAMED:
            named.setdefault(result.status, []).append(alert_id(*result.key))
        else:
            unnamed += 1
    return BulkTally(
        matched=form.matched + sum(one.status != 404 for one in results),
        changed=form.changed + sum(one.is_changed for one in results),
        too_late=form.too_late,
        refused={status: alerts for status, alerts in sorted(named.items()) if alerts},
        unnamed=unnamed,
        began=form.began,
        cursor=cursor,
    )
