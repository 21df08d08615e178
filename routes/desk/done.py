"""What was done to an alert just now, in a few words, and how to undo it: all from lines of its history."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby
from typing import NamedTuple
from urllib.parse import urlencode

from flask import request
from markupsafe import Markup
from sqlalchemy.orm import Session

from database.alert_work import page_of_history
from database.models import AlertChange
from database.records import AlertKey
from routes.desk import words
from routes.http.hooks import service
from routes.http.pages import DESK
from rules.values import ALERT_ID, alert_id, read_moment
from work.bulk import can_be
from work.change import WorkState

NOTHING_LEFT = "nothing-left"  # as what was done: the next alert was asked for, and there was none

_DONE = re.compile(f"({ALERT_ID})@([1-9][0-9]{{0,8}})-([1-9][0-9]{{0,8}})")
_LONGEST = len(WorkState._fields) + 1  # lines of one change, and one of a claim that had lapsed


class Done(NamedTuple):
    """A change of an alert: its id, the numbers of its lines of history, what it was, and whether it can be undone."""

    alert: str
    first: int
    last: int
    said: Markup
    can_be_undone: bool

    def written(self) -> str:
        """It as the query of a page's address has it."""
        return f"{self.alert}@{self.first}-{self.last}"


class Change(NamedTuple):
    """A change of an alert: who made it and when, what it was, and the note."""

    who: str
    at: datetime
    said: Markup
    note: str | None


class WayBack(NamedTuple):
    """Where undoing leads that begins on the page shown: the query of a list, and a `then` of the form."""

    list: str
    then: str


def newest(key: AlertKey, history: Sequence[AlertChange], who: str) -> Done | None:
    """The newest change of an alert with this `history`, oldest first; None if `who` did not make it."""
    lines = [line for line in history if line.at == history[-1].at and line.who == who]
    return _done(key, lines) if lines else None


def shown(written: str, who: str) -> Done | None:
    """What the address of a page says was done, if it was done by `who`."""
    if written == NOTHING_LEFT:
        return Done("", 0, 0, Markup("Nothing is left that nobody has."), can_be_undone=False)
    found = _DONE.fullmatch(written)
    if found is None:
        return None
    key = AlertKey._make(map(int, found[1].split("-")))
    first, last = int(found[2]), int(found[3])
    if not (0 <= last - first < _LONGEST and can_be(key)):
        return None
    lines = service().read(lambda session: lines_of(session, key, first, last))
    return _done(key, lines) if lines and all(line.who == who for line in lines) else None


def way_back() -> WayBack:
    """From an alert to that alert, with the list one came from; from a list to that list."""
    if request.path != f"{DESK}/":
        return WayBack(request.args.get("list", ""), "stay")
    asked = [(name, value) for name, value in request.args.items(multi=True) if name != "done"]
    return WayBack(urlencode(asked), "list")


def lines_of(session: Session, key: AlertKey, first: int, last: int) -> list[AlertChange]:
    """The lines of an alert's history with these numbers, oldest first; none if one of them is not there."""
    limit = last - first + 1
    if not 0 < limit <= _LONGEST:
        return []
    found = page_of_history(session, key, limit, before=last + 1)[::-1]
    return list(found) if [line.n for line in found] == list(range(first, last + 1)) else []


def changes(history: Iterable[AlertChange]) -> list[Change]:
    """The changes that these lines of one alert make up, in their order."""
    found = []
    for (who, at), lines in groupby(history, key=lambda line: (line.who, line.at)):
        of_one = list(lines)
        note = next((line.note for line in of_one if line.note), None)
        found.append(Change(who, at, said(of_one), note))
    return found


def said(history: Sequence[AlertChange]) -> Markup:
    """What the lines of one change did: "closed as true", "acknowledged, assigned to Ada"."""
    after = {line.what: line.after for line in history}
    found: list[Markup | str] = []
    if after.get("status") == "closed" and "outcome" in after:
        found.append(f"closed as {words.OUTCOME[str(after['outcome'])].lower()}")
    elif "status" in after:
        found.append({"open": "opened again", "acknowledged": "acknowledged"}.get(str(after["status"]), "closed"))
    elif after.get("outcome"):
        found.append(f"outcome changed to {words.OUTCOME[str(after['outcome'])].lower()}")
    if "assignee" in after:
        found.append(f"assigned to {after['assignee']}" if after["assignee"] else "assigned to nobody")
    if (until := after.get("snoozed_until")) is not None:
        found.append(Markup("snoozed until {}").format(words.moment(read_moment(until))))
    elif "snoozed_until" in after and "status" not in after:
        found.append("woken")
    return Markup(", ").join(found or ["noted"])


def _done(key: AlertKey, lines: Sequence[AlertChange]) -> Done:
    can_be_undone = any(line.what != "note" for line in lines)
    return Done(alert_id(*key), lines[0].n, lines[-1].n, said(lines), can_be_undone)
