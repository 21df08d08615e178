"""The page of a user: the whole story on one axis, how the user is judged, and what is muted."""

from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from flask import Blueprint, Response, current_app, request
from pydantic import BaseModel, BeforeValidator, ConfigDict
from sqlalchemy.orm import Session

from database.actions import page_of_actions
from database.alert_counts import CountOfKind, count_wanted
from database.alert_filters import AlertFilter
from database.alert_lists import page_of_alerts
from database.user_lists import alerts_of_actions, late_among
from routes.desk.alert_rows import AlertLine
from routes.desk.forms import MAX_FORM, BadForm, read_filters, read_form
from routes.desk.inbox_query import InboxQuery
from routes.desk.shell import go, page, part
from routes.desk.user_picture import balance_picture
from routes.desk.user_timeline import read_story
from routes.desk.user_versions import read_versions
from routes.http.access import caller
from routes.http.answers import json_answer
from routes.http.hooks import service
from routes.http.operation import needs
from routes.http.pages import DESK
from routes.http.unknown import unknown_rule, unknown_user
from routes.schemas.fields import Code, Id, Period, cursor_of, digits
from routes.schemas.rules import Note
from routes.schemas.users import UserRulesAnswer
from rules.registry import REGISTRY
from rules.user_settings import UnknownUser, existing_user
from rules.values import LAST_TIME, MAX_ID
from work.mutes import NotMuted, UnknownRule, end_mute, mutes_of, set_mute
from work.retention import Retention

blueprint = Blueprint("desk_user", __name__, template_folder="../templates")

ACTIONS, VERSIONS, ALERTS = 25, 10, 10  # rows of a page of each
PICTURE = 160  # steps of the small picture of the balance
ACTIONS_PART = "section#actions"
Days = Literal[1, 7, 30, 90, 180]
SAID = {
    "settings": "Saved. It holds for every event judged from now on.",
    "muted": "Muted.",
    "unmuted": "No longer muted.",
}


class UserQuery(BaseModel):
    """Which page of the user's actions and of versions of the settings, and what has just been done."""

    model_config = ConfigDict(frozen=True)

    actions: Annotated[str, cursor_of(2)] = ""
    versions: Annotated[Id | None, BeforeValidator(digits)] = None
    said: str = ""


class MuteForm(BaseModel):
    """Which rule to mute, for how many days, and why."""

    code: Annotated[Code, BeforeValidator(digits)]
    days: Annotated[Days, BeforeValidator(digits)]
    note: Note = None


@blueprint.get("/desk/users/<id:user_id>")
@needs("read")
def get_user_page(user_id: int) -> Response:
    """The page of a user, or only a page of the actions."""
    query = read_filters(UserQuery)
    if request.headers.get("HX-Target") == ACTIONS_PART:
        return part("desk/user_actions.html", **_read(user_id, query, only_actions=True))
    return page("desk/user.html", said=SAID.get(query.said), **_read(user_id, query))


@blueprint.get("/desk/users/<id:user_id>/timeline")
@needs("read")
def get_timeline(user_id: int) -> Response:
    """A stretch of a user's story, `from` and `to` in seconds: each action, or what each column comes to."""
    query = read_filters(Period)

    def read(session: Session) -> Any:
        found = read_story(session, existing_user(session, user_id), query.start, query.end)
        return {} if found is None else found.shown()

    try:
        shown = service().read(read)
    except UnknownUser:
        raise unknown_user(user_id) from None
    return json_answer(shown, headers={"Cache-Control": "private, no-store"})


@blueprint.post("/desk/users/<id:user_id>/mutes")
@needs("work", max_body=MAX_FORM)
def mute_from_page(user_id: int) -> Response:
    """Mute a rule for a user."""
    try:
        wanted = read_form(MuteForm)
    except BadForm as bad:
        values = _read(user_id, UserQuery())
        return page("desk/user.html", status=400, faults=bad.faults, entered=bad.entered, **values)
    now, who = datetime.now(UTC), caller().name
    until, note = now + timedelta(days=wanted.days), wanted.note or None
    try:
        service().run(lambda session: set_mute(session, user_id, wanted.code, until=until, note=note, who=who, now=now))
    except UnknownRule:
        raise unknown_rule(wanted.code) from None
    except UnknownUser:
        raise unknown_user(user_id) from None
    return go(f"{DESK}/users/{user_id}?said=muted")


@blueprint.post("/desk/users/<id:user_id>/mutes/<id:code>/end")
@needs("work")
def end_mute_from_page(user_id: int, code: int) -> Response:
    """End a mute before its time; one that has ended already is ended."""
    who = caller().name
    with suppress(NotMuted):
        service().run(lambda session: end_mute(session, user_id, code, who=who))
    return go(f"{DESK}/users/{user_id}?said=unmuted")


def _read(user_id: int, query: UserQuery, *, only_actions: bool = False) -> Mapping[str, Any]:
    """What the page shows. Raises Problem 404."""

    def read(session: Session) -> dict[str, Any]:
        rules = {} if only_actions else service().rules(session)
        user, inbox = existing_user(session, user_id), InboxQuery(user_id=user_id)
        shown: dict[str, Any] = {"user": user, "inbox": inbox, "query": query}
        shown |= _actions(session, user_id, query.actions)
        if only_actions:
            return shown
        story = read_story(session, user, 0, LAST_TIME, points=PICTURE, columns=PICTURE, with_alerts=False)
        unclosed = inbox.filter(caller())
        return shown | {
            "unclosed": _count(session, unclosed),
            "all_alerts": _count(session, inbox.model_copy(update={"tab": "all"}).filter(caller())),
            "lines": [AlertLine.of(row) for row in page_of_alerts(session, unclosed, ALERTS, None).rows],
            "story": story,
            "until": Retention.of(current_app.extensions).until(user),
            "picture": None if story is None else balance_picture(story),
            "rules": UserRulesAnswer.of(user, (change.setting for change in rules.values())).rules,
            "units": {code: {one.name: one.unit for one in rule.declared} for code, rule in REGISTRY.items()},
            "mutes": mutes_of(session, user_id),
            "versions": read_versions(session, user_id, VERSIONS, query.versions),
        }

    try:
        return service().read(read)
    except UnknownUser:
        raise unknown_user(user_id) from None


def _actions(session: Session, user_id: int, cursor: str) -> dict[str, Any]:
    """A page of the user's actions, newest first, each with its alerts and whether it came late."""
    before = tuple(min(int(part), MAX_ID) for part in cursor.split("-")) if cursor else None
    found = page_of_actions(session, user_id, limit=ACTIONS + 1, start=None, end=None, before=before)
    rows = found[:ACTIONS]
    seqs = [row.seq for row in rows]
    alerts = defaultdict(list)
    for alert in alerts_of_actions(session, user_id, seqs):
        alerts[alert.seq].append(alert)
    ends = f"{rows[-1].time}-{rows[-1].seq}" if len(found) > ACTIONS else None
    return {"actions": rows, "alerts": alerts, "late": late_among(session, user_id, seqs), "next_actions": ends}


def _count(session: Session, wanted: AlertFilter) -> CountOfKind:
    """How many of these alerts there are, as far as they are counted."""
    counts = count_wanted(session, wanted, by_status=False, by_code=False, codes=list(REGISTRY))
    return counts[0] if counts else CountOfKind(None, None, 0, more=False)
