"""Finding an alert by its id, a user by theirs, and a rule by its code: what the box in the rail asks for."""

import re
from typing import Annotated, NamedTuple

from flask import Blueprint, Response
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from database.alerts import get_alert
from database.users import get_user
from routes.desk.forms import read_filters
from routes.desk.shell import go, page
from routes.http.hooks import service
from routes.http.operation import needs
from routes.http.pages import DESK
from rules.registry import REGISTRY
from rules.values import ALERT_ID, ID, MAX_CODE, MAX_ID

blueprint = Blueprint("desk_find", __name__, template_folder="../templates")

MOST_CHARACTERS = 60  # the longest id of an alert has 50

_ALERT, _NUMBER = re.compile(ALERT_ID), re.compile(ID)


class Match(NamedTuple):
    """What was found: its kind, its id or code, and the path of its page."""

    kind: str
    id: str
    path: str


class FindQuery(BaseModel):
    """What somebody looks for."""

    q: Annotated[str, Field(max_length=MOST_CHARACTERS)] = ""


@blueprint.get(f"{DESK}/find")
@needs("read")
def find() -> Response:
    """The way to what was asked for; a page if it is two things, or none."""
    wanted = read_filters(FindQuery).q
    found = service().read(lambda session: _found(session, wanted))
    if len(found) == 1:
        return go(found[0].path)
    return page("desk/find.html", wanted=wanted, found=found)


def _found(session: Session, wanted: str) -> list[Match]:
    """What there is under this id or number."""
    if _ALERT.fullmatch(wanted):
        user_id, seq, code = map(int, wanted.split("-"))
        is_there = max(user_id, seq) <= MAX_ID and code <= MAX_CODE and get_alert(session, user_id, seq, code)
        return [Match("Alert", wanted, f"{DESK}/alerts/{wanted}")] if is_there else []
    found = []
    number = int(wanted) if _NUMBER.fullmatch(wanted) else 0
    if number in REGISTRY:
        found.append(Match("Rule", wanted, f"{DESK}/rules/{wanted}"))
    if 0 < number <= MAX_ID and get_user(session, number) is not None:
        found.append(Match("User", wanted, f"{DESK}/users/{wanted}"))
    return found
