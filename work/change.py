"""What a change of work makes of an alert, and the lines that its history gets: pure, so that it can be replayed."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol

from rules.values import read_moment, written_moment

Status = Literal["open", "acknowledged", "closed"]
Outcome = Literal["true_positive", "false_positive", "inconclusive"]

SERVICE = "service"  # who does what nobody asked for
LAPSED = "claim lapsed"  # the note of what it does when a claim has ended

# What is wanted, by field of WorkState; what is not in it stays as it is.
Wanted = Mapping[str, str | datetime | None]


class WorkState(NamedTuple):
    """What people have made of an alert. It has an outcome if and only if it is closed; then it is not snoozed."""

    status: str
    outcome: str | None
    assignee: str | None
    snoozed_until: datetime | None


NEW = WorkState(status="open", outcome=None, assignee=None, snoozed_until=None)


class HistoryLine(NamedTuple):
    """One change of one field, or a note: who made it, what was changed, and from what to what."""

    n: int
    who: str
    what: str
    before: str | None
    after: str | None
    note: str | None


def faults(state: WorkState, wanted: Wanted, now: datetime) -> dict[str, str]:
    """What is wrong with the change for an alert in this state: by field, the end of a sentence."""
    status = wanted.get("status", state.status)
    found: dict[str, str] = {}
    if status == "closed":
        if "outcome" not in wanted and state.outcome is None:
            found["outcome"] = "is needed to close an alert"
        if wanted.get("snoozed_until") is not None:
            found["snoozed_until"] = "cannot be set for an alert that is closed"
    elif "outcome" in wanted:
        found["outcome"] = "is for an alert that is closed"
    until = wanted.get("snoozed_until")
    if isinstance(until, datetime) and until <= now:
        found["snoozed_until"] = "must be in the future"
    return found


Faults = Callable[[WorkState, Wanted, datetime], dict[str, str]]


def faults_of_taking(state: WorkState, wanted: Wanted, now: datetime) -> dict[str, str]:
    """The same for taking an alert: one that is closed would be open again, which nobody means by taking it."""
    if state.status == "closed":
        return {"status": "is closed: reopen the alert to take it"}
    return faults(state, wanted, now)


def changed(state: WorkState, wanted: Wanted) -> WorkState:
    """The state after a change without faults. Closing ends a snooze; opening again takes the outcome away."""
    fields: dict[str, Any] = state._asdict() | dict(wanted)
    after = WorkState(**fields)
    if after.status == "closed":
        return after._replace(snoozed_until=None)
    return after._replace(outcome=None)


def lines(version: int, before: WorkState, after: WorkState, *, who: str, note: str | None) -> list[HistoryLine]:
    """The history of a change: one line for each field that changed, counted on from `version`.

    The note stands on the first of them, or on a line of its own if there is none.
    """
    found: list[HistoryLine] = []
    for field in WorkState._fields:
        was, now = getattr(before, field), getattr(after, field)
        if was != now:
            n = version + len(found) + 1
            line = HistoryLine(n=n, who=who, what=field, before=written(was), after=written(now), note=None)
            found.append(line)
    if note is None:
        return found
    if not found:
        return [HistoryLine(n=version + 1, who=who, what="note", before=None, after=None, note=note)]
    return [found[0]._replace(note=note), *found[1:]]


class _Change(Protocol):
    """What undoing takes of a line of history, new or stored."""

    @property
    def what(self) -> Any: ...
    @property
    def before(self) -> Any: ...


def undoing(history: Iterable[_Change], now: datetime) -> Wanted:
    """What to want so that the fields that these lines changed, oldest first, are again as before.

    Notes stay. A snooze that would have ended by now stays ended.
    """
    before: dict[str, str | None] = {}
    for line in history:
        if line.what in WorkState._fields:
            before.setdefault(line.what, line.before)
    wanted: dict[str, str | datetime | None] = dict(before)
    if before.get("outcome") is None:
        wanted.pop("outcome", None)  # an alert that is opened again loses it by itself
    if until := before.get("snoozed_until"):
        wanted["snoozed_until"] = read_moment(until)
        if read_moment(until) <= now:
            del wanted["snoozed_until"]
    return wanted


def written(value: str | datetime | None) -> str | None:
    """A value as the history has it."""
    return written_moment(value) if isinstance(value, datetime) else value
