"""The filters of the inbox as people see them: those in force, each of which can be taken away, and those at hand."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from database.alert_counts import COUNTED, CountOfKind
from routes.desk import words
from routes.desk.inbox_query import InboxQuery
from rules.values import LAST_TIME


class Chip(NamedTuple):
    """A filter in force, and the page without it."""

    text: str
    path: str


class Facet(NamedTuple):
    """A filter at hand: how many alerts it has, and the page with it, or without if it is in force."""

    text: str
    counted: str
    is_in_force: bool
    path: str


_WHICH = {
    "superseded": {"any": "Superseded too", "true": "Only superseded", "false": "Not superseded"},
    "snoozed": {"any": "Snoozed too", "true": "Only snoozed", "false": "Not snoozed"},
    "muted": {"any": "Muted too", "true": "Only muted", "false": "Not muted"},
}

_CHOICE = 2  # of fewer there is none


def chips_of(query: InboxQuery) -> list[Chip]:
    """The filters in force, in the order of the form."""
    return [Chip(text, query.path(**{name: unasked})) for name, unasked, text in _in_force(query)]


def _in_force(query: InboxQuery) -> Iterator[tuple[str, int | None, str]]:
    for name in ("status", "code", "user_id", "risk", "assignee", "outcome", "late", "closed", *_WHICH):
        value = getattr(query, name)
        if value is not None:
            yield name, None, _said(name, value)
    if query.touched_from is not None:
        yield "touched_from", None, f"Touched since {query.touched_from:%Y-%m-%d %H:%M:%S} UTC"
    if query.start:
        yield "start", 0, f"From {query.start}"
    if query.end != LAST_TIME:
        yield "end", LAST_TIME, f"To {query.end}"


def _said(name: str, value: object) -> str:
    text = str(value)
    if name in _WHICH:
        return _WHICH[name][text]
    if name == "assignee":
        return "Nobody's" if text == "none" else f"Assignee {text}"
    said = {
        "status": words.STATUS.get(text, ""),
        "code": f"Rule {text}",
        "user_id": f"User {text}",
        "risk": f"Risk {words.RISK.get(text, '').lower()}",
        "outcome": f"Closed as {words.OUTCOME.get(text, '').lower()}",
        "late": "Only late" if value else "Not late",
        "closed": "Only closed" if value else "Not closed",
    }
    return said[name]


def facets_of(query: InboxQuery, kinds: Sequence[CountOfKind]) -> dict[str, list[Facet]]:
    """Each status and rule that has alerts, with how many: of the rule and status that is asked for, if one is.

    A tab of one status has no statuses to choose from.
    """
    found: dict[str, list[Facet]] = {"status": [], "code": []}
    for status in dict.fromkeys(one.status for one in kinds):
        of_status = [one for one in kinds if one.status == status and query.code in (None, one.code)]
        if status and of_status:
            found["status"].append(_facet(query, "status", status, words.STATUS[status], of_status))
    for code in dict.fromkeys(one.code for one in kinds):
        of_code = [one for one in kinds if one.code == code and query.status in (None, one.status)]
        if code and of_code:
            found["code"].append(_facet(query, "code", code, str(code), of_code))
    if len(found["status"]) < _CHOICE and query.status is None:
        found["status"] = []
    return found


def _facet(query: InboxQuery, name: str, value: object, text: str, counted: Sequence[CountOfKind]) -> Facet:
    number, more = sum(one.number for one in counted), any(one.more for one in counted)
    is_in_force = getattr(query, name) == value
    count = words.capped(min(number, COUNTED), more or number > COUNTED)
    return Facet(text, count, is_in_force, query.path(**{name: None if is_in_force else value}))
